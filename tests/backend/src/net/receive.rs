// SPDX-License-Identifier: GPL-2.0

//! Frames for the driver.

use super::{Job, Net};
use crate::{
    class::Next,
    data::Data,
    frame::{Frame, Takes, fit},
    log::warning,
    memory::Memory,
    ring::Buffer,
    rule::{Action, Facts, Field},
};
use anyhow::{Context, Result, ensure};
use std::{num::NonZeroU16, sync::Arc};
use virtio_wire::net::{Checksum, Header, HeaderKind, Offload, Receive};

super::counters! {
    /// Frames were given to the driver.
    frames,
    /// Their bytes.
    bytes,
    /// ... that stand for several.
    large,
    /// ... whose checksum the driver has to complete.
    partial,
    /// ... in more than one buffer.
    merged,
    /// Frames were made of larger ones that the driver does not take.
    cut,
    /// The driver does not want a frame, as it has said.
    filtered,
    /// A frame is not what was said of it.
    malformed,
    /// A frame was too long for the port, or for the buffers.
    too_long,
    /// No queue receives.
    no_queue,
    /// There were no buffers for too long.
    lost_full,
    /// The driver has reset the device while frames waited.
    lost_reset,
    /// Rules, or buffers that are too short, had a frame left out.
    left_out,
    /// The headers were not as they should have been, as rules wanted.
    lies,
}

/// A part of a frame, in a buffer.
#[derive(Debug, Default)]
pub struct Part {
    length: u32,
    /// What is written when it is served, as it was not before.
    later: Option<(Data, Vec<u8>)>,
}

impl Part {
    /// Writes it.
    fn now(memory: &Memory, room: &Data, bytes: &[u8]) -> Result<Self> {
        room.cursor().write(memory, bytes)?;
        Ok(Self {
            length: u32::try_from(bytes.len())?,
            later: None,
        })
    }

    /// Keeps it until it is served.
    fn later(room: &Data, bytes: &[u8]) -> Result<Self> {
        Ok(Self {
            length: u32::try_from(bytes.len())?,
            later: Some((room.clone(), bytes.to_vec())),
        })
    }

    /// Returns how long it is.
    pub(super) fn length(&self) -> u32 {
        self.length
    }

    /// Writes it, unless it is there, and returns how long it is.
    pub(super) fn serve(&self, memory: &Memory) -> u32 {
        if let Some((room, bytes)) = &self.later
            && let Err(error) = room.cursor().write(memory, bytes)
        {
            warning!("a frame cannot be written: {error}");
        }
        self.length
    }
}

impl Net {
    /// Takes frames that have left the switch.
    pub(super) fn take_frames(&mut self) {
        let outlet = Arc::clone(self.port.outlet());
        let Some(form) = self.form else {
            return;
        };
        for frame in outlet.take() {
            let pairs = self.receiving();
            if pairs == 0 {
                self.received.no_queue += 1;
                continue;
            }
            if self.control && !self.filter.wants(&form, self.layout.mac, &frame) {
                self.received.filtered += 1;
                continue;
            }
            let pieces = match fit(&frame, self.taken(form.takes), self.mtu) {
                Ok(pieces) => pieces,
                Err(crate::frame::Misfit::TooLong(_)) => {
                    self.received.too_long += 1;
                    continue;
                }
                Err(_) => {
                    self.received.malformed += 1;
                    continue;
                }
            };
            if pieces.len() > 1 {
                self.received.cut += u64::try_from(pieces.len()).unwrap_or(0);
            }
            let pair = self.steering.choose(&frame, pairs);
            let Some(backlog) = self.backlog.get_mut(pair) else {
                continue;
            };
            for piece in pieces {
                if backlog.len() < self.most_waiting {
                    backlog.push_back(piece);
                } else {
                    self.received.lost_full += 1;
                }
            }
        }
    }

    /// Returns what the driver takes, after its commands.
    fn taken(&self, takes: Takes) -> Takes {
        self.commands.offloads.map_or(takes, super::takes)
    }

    fn backlog_of(&self, queue: usize) -> Option<usize> {
        (queue.is_multiple_of(2)).then_some(queue / 2)
    }

    /// Returns what is next in a queue.
    pub(super) fn next_frame(&mut self, queue: usize) -> Option<Next> {
        let form = self.form?;
        let frame = self.backlog.get(self.backlog_of(queue)?)?.front()?;
        let length = u64::try_from(frame.bytes.len()).ok()?;
        Some(Next {
            facts: Facts {
                length: Some(length),
                protocol: Some(frame.protocol()),
                ..Facts::of("rx")
            },
            length: form.rx.kind().length() + frame.bytes.len(),
            several: form.mergeable,
        })
    }

    /// Returns the bytes of what is next.
    pub(super) fn next_bytes(&self, queue: usize) -> Option<&[u8]> {
        let frame = self.backlog.get(self.backlog_of(queue)?)?.front()?;
        Some(&frame.bytes)
    }

    /// Forgets what is next. Returns whether there was something.
    pub(super) fn drop_frame(&mut self, queue: usize) -> bool {
        self.take_next(queue).is_some()
    }

    fn take_next(&mut self, queue: usize) -> Option<Arc<Frame>> {
        let at = self.backlog_of(queue)?;
        self.backlog.get_mut(at)?.pop_front()
    }

    /// Writes what is next to buffers.
    pub(super) fn fill_buffers(
        &mut self,
        memory: &Memory,
        queue: usize,
        buffers: &[Buffer],
        actions: &[Action],
    ) -> Result<Vec<Job>> {
        let form = self.form.context("there is no driver")?;
        let frame = self.take_next(queue).context("there is no frame")?;
        let kind = form.rx.kind();
        let first = buffers.first().context("there is no buffer")?;
        let first: Data = first.writable().collect();
        ensure!(
            first.length() >= u64::try_from(kind.length())?,
            "a receive buffer of {} bytes",
            first.length()
        );
        let rooms: Vec<Data> = buffers
            .iter()
            .map(|buffer| buffer.writable().collect())
            .collect();

        let count = u16::try_from(buffers.len())?;
        let header = self.header(&frame, NonZeroU16::new(count).context("no buffer")?);
        let Some(mut header) = header else {
            // The driver would not take it: what was negotiated has changed since it came.
            self.received.malformed += 1;
            return Ok(buffers
                .iter()
                .map(|_| Job::Filled(Part::default()))
                .collect());
        };
        self.distort_header(&mut header, actions);
        let mut bytes = vec![0; kind.length()];
        header.write(kind, &mut bytes)?;
        bytes.extend(&frame.bytes);
        let room: u64 = rooms.iter().map(Data::length).sum();
        distort(
            &mut bytes,
            kind,
            usize::try_from(room).unwrap_or(usize::MAX),
            actions,
        );

        let early = actions.iter().any(|it| matches!(it, Action::Early(_)));
        let mut jobs = Vec::new();
        let mut left = bytes.as_slice();
        for room in &rooms {
            let here = usize::try_from(room.length()).unwrap_or(usize::MAX);
            let (part, rest) = left.split_at(left.len().min(here));
            let part = if early {
                Part::later(room, part)
            } else {
                Part::now(memory, room, part)
            };
            jobs.push(Job::Filled(part?));
            left = rest;
        }
        self.count_received(&frame, count);
        Ok(jobs)
    }

    fn count_received(&mut self, frame: &Frame, buffers: u16) {
        let counters = &mut self.received;
        counters.frames += 1;
        counters.bytes += u64::try_from(frame.bytes.len()).unwrap_or(0);
        counters.large += u64::from(frame.offload.gso.is_some());
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        counters.partial += u64::from(partial);
        counters.merged += u64::from(buffers > 1);
    }

    /// Makes the header of a frame.
    fn header(&self, frame: &Frame, buffers: NonZeroU16) -> Option<Header> {
        let form = self.form?;
        let headers = frame.header_length().unwrap_or(0);
        let receive = Receive {
            offload: frame.offload,
            hash: None,
            header_hint: match frame.offload {
                Offload { gso: None, .. } => 0,
                _ => u16::try_from(headers).unwrap_or(0),
            },
        };
        let length = u32::try_from(frame.bytes.len()).ok()?;
        form.rx.build(&receive, length, buffers).ok()
    }

    /// Has the header say what rules want.
    fn distort_header(&mut self, header: &mut Header, actions: &[Action]) {
        for action in actions {
            let Action::Header(field, value) = action else {
                continue;
            };
            let [low, _] = value.to_le_bytes();
            match field {
                Field::Flags => header.flags = low,
                Field::GsoType => header.gso_type = low,
                Field::HdrLen => header.hdr_len = (*value).into(),
                Field::GsoSize => header.gso_size = (*value).into(),
                Field::CsumStart => header.csum_start = (*value).into(),
                Field::CsumOffset => header.csum_offset = (*value).into(),
                Field::NumBuffers => header.num_buffers = (*value).into(),
            }
            self.received.lies += 1;
        }
    }
}

/// Changes a frame, behind its header, as rules want it, where there is room.
fn distort(bytes: &mut Vec<u8>, kind: HeaderKind, room: usize, actions: &[Action]) {
    for action in actions {
        match action {
            Action::Corrupt => {
                if let Some(byte) = bytes.get_mut(kind.length()..).and_then(<[u8]>::last_mut) {
                    *byte ^= 0xff;
                }
            }
            Action::Truncate(length) => bytes.truncate(kind.length().saturating_add(*length)),
            Action::Lengthen(length) => {
                let most = kind.length().saturating_add(*length).min(room);
                bytes.resize(bytes.len().max(most), 0xee);
            }
            _ => {}
        }
    }
}
