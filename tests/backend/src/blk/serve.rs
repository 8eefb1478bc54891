// SPDX-License-Identifier: GPL-2.0

//! Serving requests.

use super::{Blk, Job};
use crate::{data::Data, log::warning, memory::Memory, rule::Action};
use std::io;
use virtio_wire::blk::{
    DeviceId, LifetimeLayout, Range, RequestKind,
    request::{Request, SegmentKind},
    status::Status,
};

/// How much is read or written at once.
const CHUNK: usize = 1 << 20;

/// Returns how much of a length to do at once.
fn chunk(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK)
}

fn long(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

impl Blk {
    /// Serves a request, and returns how many bytes were written to it.
    pub(super) fn serve_job(&mut self, memory: &Memory, job: &Job, actions: &[Action]) -> u32 {
        self.make_way(job);
        self.count(job.kind);
        let fail = actions.iter().find_map(|action| match action {
            Action::Fail(status) => Some(*status),
            _ => None,
        });
        let status = match fail {
            Some(status) => status,
            None => self.run(memory, job, actions).byte(),
        };
        self.answer(memory, job, status, actions)
    }

    /// Answers to a request with a status, and returns how many bytes were written to it.
    pub(super) fn answer(
        &mut self,
        memory: &Memory,
        job: &Job,
        mut status: u8,
        actions: &[Action],
    ) -> u32 {
        match Status::new(status) {
            Ok(Status::IoError) => self.counters.io_errors += 1,
            Ok(Status::Unsupported) => self.counters.unsupported += 1,
            _ => {}
        }
        if status != 0 {
            // The driver is told that all was written: what failed are zeroes.
            clear(memory, &job.writable);
        }
        let mut written = job.writable.length();
        for action in actions {
            match action {
                Action::Status(lie) => status = *lie,
                Action::Short => written /= 2,
                _ => {}
            }
        }
        if !actions.contains(&Action::NoStatus)
            && let Err(error) = job.status.cursor().write(memory, &[status])
        {
            warning!("a status cannot be written: {error}");
        }
        u32::try_from(written + 1).unwrap_or(u32::MAX)
    }

    /// Counts a request.
    pub(super) fn count(&mut self, kind: Option<RequestKind>) {
        let at = kind.and_then(|kind| RequestKind::ALL.iter().position(|known| *known == kind));
        match at.and_then(|at| self.counters.requests.get_mut(at)) {
            Some(count) => *count += 1,
            None => self.counters.unknown += 1,
        }
    }

    fn run(&mut self, memory: &Memory, job: &Job, actions: &[Action]) -> Status {
        let request = match job.request {
            Ok(request) => request,
            Err(error) => return error.status(),
        };
        let result = match request {
            Request::Read(range) => self.read_sectors(memory, range, &job.writable, actions),
            Request::Write(range) => self.write_sectors(memory, range, &job.readable),
            Request::Flush => self.disk.flush(),
            Request::GetId => {
                let id = DeviceId::new(self.serial.as_bytes());
                put(memory, &job.writable, &id.to_bytes())
            }
            Request::GetLifetime => {
                let lifetime = LifetimeLayout {
                    pre_eol_info: 1.into(),
                    device_lifetime_est_typ_a: 2.into(),
                    device_lifetime_est_typ_b: 3.into(),
                };
                put(memory, &job.writable, &lifetime.to_bytes())
            }
            Request::Segments { kind, length } => {
                return self.segments(memory, kind, length, &job.readable);
            }
        };
        match result {
            Ok(()) => Status::Ok,
            Err(error) => {
                warning!("{request:?} fails: {error}");
                Status::IoError
            }
        }
    }

    fn read_sectors(
        &mut self,
        memory: &Memory,
        range: Range,
        data: &Data,
        actions: &[Action],
    ) -> io::Result<()> {
        let mut end = range.length();
        if actions.contains(&Action::Short) {
            end /= 2;
        }
        let mut cursor = data.cursor();
        let mut done = 0;
        while done < end {
            let count = chunk(end - done);
            // Whole sectors are read, though the last one may not be written as a whole.
            self.scratch.resize(count.next_multiple_of(512), 0);
            self.disk.read(range.offset() + done, &mut self.scratch)?;
            if actions.contains(&Action::Corrupt) {
                for byte in self.scratch.iter_mut().step_by(512) {
                    *byte ^= 0xff;
                }
            }
            let part = self.scratch.get(..count).unwrap_or_default();
            cursor.write(memory, part).map_err(io::Error::other)?;
            done += long(count);
        }
        self.counters.bytes_read += end;
        self.counters.bytes_copied += end;
        Ok(())
    }

    fn write_sectors(&mut self, memory: &Memory, range: Range, data: &Data) -> io::Result<()> {
        let mut cursor = data.cursor();
        let mut done = 0;
        while done < range.length() {
            let count = chunk(range.length() - done);
            self.scratch.resize(count, 0);
            cursor
                .read(memory, &mut self.scratch)
                .map_err(io::Error::other)?;
            self.disk.write(range.offset() + done, &self.scratch)?;
            done += long(count);
        }
        self.counters.bytes_written += range.length();
        self.counters.bytes_copied += range.length();
        Ok(())
    }

    fn segments(
        &mut self,
        memory: &Memory,
        kind: SegmentKind,
        length: usize,
        data: &Data,
    ) -> Status {
        let mut bytes = vec![0; length];
        if let Err(error) = data.cursor().read(memory, &mut bytes) {
            warning!("segments cannot be read: {error}");
            return Status::IoError;
        }
        let Some(rules) = &self.rules else {
            return Status::IoError;
        };
        let segments = match rules.segments(kind, &bytes) {
            Ok(segments) => segments,
            Err(error) => return error.status(),
        };
        for segment in segments.iter() {
            let (offset, length) = (segment.range.offset(), segment.range.length());
            let result = match kind {
                SegmentKind::Discard | SegmentKind::WriteZeroes => self.disk.zero(offset, length),
                SegmentKind::SecureErase => self.disk.erase(offset, length),
            };
            if let Err(error) = result {
                warning!("{kind:?} fails: {error}");
                return Status::IoError;
            }
        }
        Status::Ok
    }
}

fn put(memory: &Memory, data: &Data, bytes: &[u8]) -> io::Result<()> {
    data.cursor().write(memory, bytes).map_err(io::Error::other)
}

/// Makes zeroes of data that is there; it may be no memory.
fn clear(memory: &Memory, data: &Data) {
    const ZEROES: [u8; 4096] = [0; 4096];
    let mut cursor = data.cursor();
    let mut left = data.length();
    while left > 0 {
        let count = chunk(left).min(ZEROES.len());
        let zeroes = ZEROES.get(..count).unwrap_or_default();
        if cursor.write(memory, zeroes).is_err() {
            return;
        }
        left -= long(count);
    }
}
