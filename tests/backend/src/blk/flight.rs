// SPDX-License-Identifier: GPL-2.0

//! Requests to files that the kernel serves while others are taken, by io_uring.
//!
//! Only what the kernel can do by itself is here: to read sectors that are in a file, to write them
//! through, and to make a file stable. What is anything else is served at once, and waits for what it
//! could meet: see [`Blk::make_way`].
//!
//! A flush waits for the writes that came before it, though virtio asks that only for those that the
//! driver has got back.

#[cfg(test)]
mod tests;

use super::{Blk, Job, disk::Disk};
use crate::{
    class::{Begun, Completed, Ticket},
    data::Data,
    log::warning,
    memory::Memory,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    sync::{Arc, Once},
};
use uring::{Completion, Kind, Operation, Uring};
use virtio_wire::blk::{self, request::Request, status::Status};

/// How many requests can be under way.
const MOST: u32 = 1024;

/// How files are read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// By io_uring, if there is one: several requests at once.
    Uring,
    /// One request after the other.
    Sync,
}

/// A request that is under way.
#[derive(Debug)]
struct Flight {
    ticket: Ticket,
    kind: Kind,
    /// The bytes of the disk.
    span: Range<u64>,
}

/// The requests that are under way.
#[derive(Debug)]
pub struct Flights {
    uring: Uring,
    /// By the numbers of their tickets.
    under_way: BTreeMap<u64, Flight>,
    /// Flushes that wait for writes which came before them, and what they make stable.
    flushes: VecDeque<(Ticket, Arc<File>)>,
    /// What is done, and was not asked for yet.
    done: Vec<Completed>,
    begun: u64,
    most: usize,
}

fn span(range: blk::Range) -> Range<u64> {
    range.offset()..range.offset().saturating_add(range.length())
}

impl Flights {
    /// Makes room for requests to a disk, if it is in a file, and there is an io_uring.
    pub fn of(disk: &Disk, io: Io) -> Option<Self> {
        static SAID: Once = Once::new();
        if io == Io::Sync || !disk.has_file() {
            return None;
        }
        match Uring::new(MOST) {
            Ok(uring) => Some(Self {
                uring,
                under_way: BTreeMap::new(),
                flushes: VecDeque::new(),
                done: Vec::new(),
                begun: 0,
                most: 0,
            }),
            Err(error) => {
                SAID.call_once(|| warning!("files have one request at a time: {error}"));
                None
            }
        }
    }

    /// Returns whether a request would meet one that is under way, with one of both being a write.
    fn meets(&self, span: &Range<u64>, kind: Kind) -> bool {
        self.under_way.values().any(|flight| {
            (kind == Kind::Write || flight.kind == Kind::Write)
                && flight.span.start < span.end
                && span.start < flight.span.end
        })
    }

    /// Returns whether nothing is under way.
    fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.flushes.is_empty()
    }

    fn submit(&mut self, flight: Flight, operation: Operation) -> bool {
        let number = flight.ticket.number;
        if self.uring.submit(number, operation).is_err() {
            return false;
        }
        self.under_way.insert(number, flight);
        self.begun += 1;
        self.most = self.most.max(self.under_way.len());
        true
    }

    /// Makes a file stable, after the writes that are under way.
    fn flush(&mut self, ticket: Ticket, file: Arc<File>) -> bool {
        if self.writes_before(ticket) {
            self.flushes.push_back((ticket, file));
            return true;
        }
        let operation = Operation {
            file,
            kind: Kind::Sync,
            offset: 0,
            pieces: Vec::new(),
        };
        let flight = Flight {
            ticket,
            kind: Kind::Sync,
            span: 0..0,
        };
        self.submit(flight, operation)
    }

    fn writes_before(&self, ticket: Ticket) -> bool {
        let mut before = self.under_way.range(..ticket.number);
        before.any(|(_, flight)| flight.kind == Kind::Write)
    }

    /// Takes note of what is done, and begins what has waited for it.
    fn take(&mut self, completions: Vec<Completion>) {
        for Completion { token, result } in completions {
            if let Some(Flight { ticket, .. }) = self.under_way.remove(&token) {
                self.done.push(Completed { ticket, result });
            }
        }
        while let Some((ticket, file)) = self.flushes.pop_front() {
            if self.writes_before(ticket) || !self.flush(ticket, Arc::clone(&file)) {
                // What comes behind has to wait for more.
                self.flushes.push_front((ticket, file));
                break;
            }
        }
    }

    /// Hands over what was begun.
    pub fn launch(&mut self) {
        self.uring.launch();
    }

    /// Returns what is done.
    pub fn completed(&mut self) -> Vec<Completed> {
        let completions = self.uring.reap();
        self.take(completions);
        // A flush may have waited for one of them.
        self.uring.launch();
        std::mem::take(&mut self.done)
    }

    /// Waits until nothing is under way.
    pub fn drain(&mut self) {
        while !self.is_idle() {
            let completions = self.uring.wait();
            self.take(completions);
        }
    }

    /// Returns what can be read when something is done.
    pub fn events(&self) -> BorrowedFd<'_> {
        self.uring.as_fd()
    }

    /// Tells how much was done.
    pub fn describe(&self) -> Value {
        json!({
            "requests": self.begun,
            "in_flight": self.under_way.len() + self.flushes.len(),
            "most_in_flight": self.most,
            "continued": self.uring.continued(),
        })
    }
}

impl Blk {
    /// Begins a request, if the kernel can serve it by itself.
    pub(super) fn begin_job(&mut self, memory: &Memory, job: &Job, ticket: Ticket) -> Begun {
        let begun = match job.request {
            Ok(Request::Read(range)) => {
                self.begin_transfer(memory, (Kind::Read, range), &job.writable, ticket)
            }
            Ok(Request::Write(range)) if !self.disk.writes_back() => {
                self.begin_transfer(memory, (Kind::Write, range), &job.readable, ticket)
            }
            Ok(Request::Flush) => self.begin_flush(ticket),
            _ => None,
        };
        if begun.is_none() {
            return Begun::No;
        }
        self.count(job.kind);
        Begun::Yes
    }

    fn begin_transfer(
        &mut self,
        memory: &Memory,
        (kind, range): (Kind, blk::Range),
        data: &Data,
        ticket: Ticket,
    ) -> Option<()> {
        let flights = self.flights.as_mut()?;
        let span = span(range);
        if data.length() != range.length() || flights.meets(&span, kind) {
            return None;
        }
        let (file, offset) = self.disk.place(span.clone(), kind)?;
        let operation = Operation {
            file,
            kind,
            offset,
            // What is not in memory is an error that is found again when it is served.
            pieces: data.find_pieces(memory).ok()?,
        };
        let flight = Flight { ticket, kind, span };
        flights.submit(flight, operation).then_some(())
    }

    fn begin_flush(&mut self, ticket: Ticket) -> Option<()> {
        let flights = self.flights.as_mut()?;
        // What the cache has is written here: it must not meet what is being read.
        let mut reads = flights.under_way.values();
        if reads.any(|flight| self.disk.is_cached(&flight.span)) {
            flights.drain();
        }
        self.disk.write_out().ok()?;
        let file = self.disk.file_to_sync()?;
        flights.flush(ticket, file).then_some(())
    }

    /// Waits for what is under way, if a request that is served now could meet it.
    pub(super) fn make_way(&mut self, job: &Job) {
        let Some(flights) = &mut self.flights else {
            return;
        };
        let meets = match job.request {
            Ok(Request::Read(range)) => flights.meets(&span(range), Kind::Read),
            // The cache is nowhere where the kernel reads.
            Ok(Request::Write(_)) if self.disk.writes_back() => false,
            Ok(Request::Write(range)) => flights.meets(&span(range), Kind::Write),
            Ok(Request::Flush | Request::Segments { .. }) => true,
            _ => false,
        };
        if meets {
            flights.drain();
        }
    }

    /// Waits for all that is under way.
    pub(super) fn drain_flights(&mut self) {
        if let Some(flights) = &mut self.flights {
            flights.drain();
        }
    }

    /// Answers to a request that the kernel has served.
    pub(super) fn end_job(&mut self, memory: &Memory, job: &Job, result: io::Result<()>) -> u32 {
        if matches!(job.request, Ok(Request::Read(_))) {
            // Also when it has failed: a part may have been read.
            job.writable.log(memory);
        }
        let status = match (result, job.request) {
            (Ok(()), Ok(Request::Read(range))) => {
                memory.count_written(range.length());
                self.counters.bytes_read += range.length();
                Status::Ok
            }
            (Ok(()), Ok(Request::Write(range))) => {
                self.counters.bytes_written += range.length();
                Status::Ok
            }
            (Ok(()), _) => Status::Ok,
            (Err(error), request) => {
                warning!("{request:?} fails: {error}");
                Status::IoError
            }
        };
        self.answer(memory, job, status.byte(), &[])
    }
}
