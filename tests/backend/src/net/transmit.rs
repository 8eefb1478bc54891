// SPDX-License-Identifier: GPL-2.0

//! Frames from the driver.

use super::{Job, Net};
use crate::{
    data::Data,
    frame::{ETHERNET, Frame, TAG},
    log::warning,
    memory::Memory,
    ring::Buffer,
    rule::{Action, Facts},
};
use anyhow::{Context, Result, ensure};
use std::fmt;
use virtio_wire::net::{Checksum, Header, HeaderError};

/// The most bytes in a frame: a large packet, with its Ethernet header, and tags.
const MOST: u64 = 65535 + 14 + 8;

super::counters! {
    /// Frames were taken, and went into the switch.
    frames,
    /// Their bytes.
    bytes,
    /// ... that stand for several.
    large,
    /// ... whose checksum is to be completed.
    partial,
    /// ... whose header says what it must not, but does no harm.
    slips,
    /// A header says what cannot be.
    bad_header,
    /// A frame is longer than the port has it.
    too_long,
    /// A frame came while QEMU had not enabled the queue.
    disabled,
    /// Rules had a frame left out.
    left_out,
}

/// Why a frame does not go into the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its header says what cannot be.
    Header(HeaderError),
    /// It is too long.
    TooLong(u64),
    /// QEMU has not enabled the queue.
    Disabled,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(error) => error.fmt(f),
            Self::TooLong(length) => write!(f, "a frame of {length} bytes is too long"),
            Self::Disabled => f.write_str("the queue is not enabled"),
        }
    }
}

impl Net {
    /// Reads a frame of a pair.
    pub(super) fn read_frame(
        &mut self,
        memory: &Memory,
        pair: u16,
        buffer: &Buffer,
    ) -> Result<(Facts, Job)> {
        let form = self.form.context("there is no driver")?;
        let data: Data = buffer.readable().collect();
        let kind = form.tx.kind();
        let header_length = u64::try_from(kind.length())?;
        ensure!(
            data.length() >= header_length,
            "a transmit buffer of {} bytes",
            data.length()
        );
        let mut cursor = data.cursor();
        let mut header = vec![0; kind.length()];
        cursor.read(memory, &mut header)?;
        let header = Header::read(kind, &header)?;
        let length = data.length() - header_length;

        let queue = usize::from(pair) * 2 + 1;
        let frame = if !self.enabled(queue) {
            Err(Refusal::Disabled)
        } else if length > MOST {
            Err(Refusal::TooLong(length))
        } else {
            let mut bytes = vec![0; usize::try_from(length)?];
            cursor.read(memory, &mut bytes)?;
            let checked = form.tx.check(&header, u32::try_from(length)?);
            self.transmitted.slips += u64::from(form.tx.slip(&header).is_some());
            checked.map_err(Refusal::Header).map(|said| Frame {
                bytes,
                offload: said.offload,
            })
        };
        let frame = frame.and_then(|frame| self.not_too_long(frame));
        let protocol = frame.as_ref().ok().map(Frame::protocol);
        if let Ok(frame) = &frame {
            self.steering.learn(frame, pair);
        }
        let facts = Facts {
            length: Some(length),
            protocol,
            ..Facts::of("tx")
        };
        Ok((facts, Job::Transmit(frame)))
    }

    fn not_too_long(&self, frame: Frame) -> Result<Frame, Refusal> {
        let length = frame.bytes.len();
        let tag = if frame.tag().is_some() { TAG } else { 0 };
        if frame.offload.gso.is_none() && length > self.mtu + ETHERNET + tag {
            return Err(Refusal::TooLong(u64::try_from(length).unwrap_or(u64::MAX)));
        }
        Ok(frame)
    }

    /// Sends a frame into the switch.
    pub(super) fn transmit(&mut self, frame: &Result<Frame, Refusal>, actions: &[Action]) {
        let counters = &mut self.transmitted;
        let frame = match frame {
            Ok(frame) => frame,
            Err(refusal) => {
                match refusal {
                    Refusal::Header(_) => counters.bad_header += 1,
                    Refusal::TooLong(_) => counters.too_long += 1,
                    Refusal::Disabled => counters.disabled += 1,
                }
                if *refusal != Refusal::Disabled {
                    warning!("a frame is lost: {refusal}");
                }
                return;
            }
        };
        let fails = |action: &Action| matches!(action, Action::Drop | Action::Fail(_));
        if actions.iter().any(fails) {
            counters.left_out += 1;
            return;
        }
        counters.frames += 1;
        counters.bytes += u64::try_from(frame.bytes.len()).unwrap_or(0);
        counters.large += u64::from(frame.offload.gso.is_some());
        let partial = matches!(frame.offload.checksum, Checksum::Partial { .. });
        counters.partial += u64::from(partial);
        let mut frame = frame.clone();
        if actions.contains(&Action::Corrupt)
            && let Some(last) = frame.bytes.last_mut()
        {
            *last ^= 0xff;
        }
        self.port.send(frame);
    }
}
