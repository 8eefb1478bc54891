// SPDX-License-Identifier: GPL-2.0

//! A queue: what QEMU tells of it, its ring while it runs, and what is being served.

mod batch;
mod explain;
mod watch;

pub use watch::{Seen, Telling, Watch};

use crate::{
    device::After,
    histogram::Histogram,
    log::error,
    memory::Memory,
    order::{Gate, Order},
    ring::{Buffer, Ring, Setup, Told},
    rule::Action,
};
use batch::Batch;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Write,
    time::{Duration, Instant},
};

/// A request that is served later.
#[derive(Debug)]
pub struct Waiting<J> {
    /// Its number, in the order in which they came.
    pub number: u64,
    /// Its buffer.
    pub buffer: Buffer,
    /// What was read of it.
    pub job: J,
    /// What rules say.
    pub actions: Vec<Action>,
    /// Whether it is the last of its kind.
    pub join: Join,
    /// When it is served; if never, then when it is released.
    pub ready: Option<Instant>,
}

/// A request that goes on by itself.
#[derive(Debug)]
pub struct Flying<J> {
    /// Its number, in the order in which they came.
    pub number: u64,
    /// Its buffer.
    pub buffer: Buffer,
    /// What was read of it.
    pub job: J,
    /// Whether it is the last of its kind.
    pub join: Join,
}

/// A request that was served, and not returned.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its buffer.
    pub buffer: Buffer,
    /// How many bytes were written to it.
    pub written: u32,
    /// What rules say.
    pub actions: Vec<Action>,
    /// Whether it is returned with the next one.
    pub join: Join,
}

/// Whether buffers belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// It is returned with the next one.
    Next,
    /// It is the last one, or the only one.
    Last,
}

/// Interrupts without a reason.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// How many more.
    pub left: u64,
    /// How long from one to the next.
    pub interval: Duration,
    /// When the next one comes.
    pub next: Instant,
}

/// What happened on a queue.
#[derive(Debug, Default)]
pub struct Counters {
    /// The driver has notified.
    pub kicks: u64,
    /// ... and there was nothing.
    pub empty_kicks: u64,
    /// Notifications that were lost on purpose.
    pub lost_kicks: u64,
    /// The driver was notified.
    pub calls: u64,
    /// ... or did not want to be, when something was returned.
    pub quiet: u64,
    /// ... or was, without anything being returned.
    pub storm_calls: u64,
    /// Buffers were taken.
    pub taken: u64,
    /// ... and returned.
    pub returned: u64,
    /// ... without the driver being told of them, as they were in a batch with a later one.
    pub spared: u64,
    /// ... and taken again, after another backend.
    pub resumed: u64,
    /// The most buffers that were out at once.
    pub depth: u16,
    /// How many were out, each time that one was taken.
    pub depths: Histogram,
    /// How many elements buffers had.
    pub chains: Histogram,
    /// How many buffers were there at once, when the device looked.
    pub batches: Histogram,
    /// How many microseconds they were out.
    pub latency: Histogram,
    /// The bytes of buffers that the device could read, and could write.
    pub readable: u64,
    /// See there.
    pub writable: u64,
    /// Buffers were taken that were out.
    pub twice: u64,
    /// The driver, or the ring, was not to be understood.
    pub errors: u64,
    /// It was started.
    pub starts: u64,
    /// The driver has notified after the queue was stopped.
    pub kicks_after_reset: u64,
    /// ... or has changed its parts of the ring, as far as somebody has looked.
    pub ring_changes_after_reset: u64,
    /// ... and has made so many buffers available.
    pub buffers_after_reset: u64,
}

/// Changes what the driver is told of buffers that belong together; `free` is a number that is not out.
fn distort(told: &mut Vec<Told>, lie: Option<&Action>, free: u16) {
    let Some(first) = told.first_mut() else {
        return;
    };
    match lie {
        Some(Action::UsedId(id)) => first.id = *id,
        Some(Action::UsedNotOut) => first.id = free.into(),
        Some(Action::UsedLength(length)) => first.written = *length,
        Some(Action::UsedTwice) => {
            let again = *first;
            told.insert(1, again);
        }
        _ => {}
    }
}

/// A queue.
#[derive(Debug)]
pub struct Queue<J> {
    /// What QEMU tells.
    pub setup: Setup,
    /// What the driver notifies by, while the queue runs.
    pub kick: Option<File>,
    /// What notifies the driver.
    pub call: Option<File>,
    /// What tells QEMU of an error.
    pub error: Option<File>,
    /// Whether QEMU lets it run.
    pub enabled: bool,
    /// Whether it is stopped by the control socket.
    pub paused: bool,
    /// Whether notifications are lost.
    pub deaf: bool,
    /// How many buffers had been returned when the ring began.
    began: u64,
    /// The ring, while the queue runs.
    pub ring: Option<Ring>,
    /// What is served later.
    pub waiting: Vec<Waiting<J>>,
    /// What goes on by itself, by the number of its ticket.
    pub flying: BTreeMap<u64, Flying<J>>,
    /// What was served, and has to wait for its turn.
    pub gate: Gate<Done>,
    /// When what is kept in the gate is returned all the same.
    pub gate_limit: Option<Instant>,
    /// The number of the next request.
    pub number: u64,
    /// The buffers that are out.
    pub out: BTreeMap<u16, Instant>,
    /// What is done to buffers that were returned.
    pub after: Vec<After<J>>,
    /// Interrupts without a reason.
    pub storm: Option<Storm>,
    /// What is returned with the next one.
    pub joined: Vec<Done>,
    /// Whether the driver takes batches, and that of which it is told next.
    takes_batches: bool,
    batch: Option<Batch>,
    /// How many were returned when the driver was asked for the last time.
    returned_before: u64,
    /// An interrupt is owed, as there was no way to send it.
    pub owes_call: bool,
    /// What the driver does after the queue was stopped, until it starts again.
    pub watch: Option<Watch>,
    /// What happened.
    pub counters: Counters,
}

impl<J> Queue<J> {
    /// A queue that nothing is known of.
    pub fn new() -> Self {
        Self {
            setup: Setup::default(),
            kick: None,
            call: None,
            error: None,
            enabled: false,
            paused: false,
            deaf: false,
            began: 0,
            ring: None,
            waiting: Vec::new(),
            flying: BTreeMap::new(),
            gate: Gate::new(Order::default()),
            gate_limit: None,
            number: 0,
            out: BTreeMap::new(),
            after: Vec::new(),
            storm: None,
            joined: Vec::new(),
            takes_batches: false,
            batch: None,
            returned_before: 0,
            owes_call: false,
            watch: None,
            counters: Counters::default(),
        }
    }

    /// Returns whether buffers may be taken.
    pub fn runs(&self) -> bool {
        self.enabled && !self.paused && self.ring.is_some()
    }

    /// Returns whether buffers may be taken, though QEMU has not enabled the queue.
    pub fn streams(&self) -> bool {
        !self.paused && self.ring.is_some()
    }

    /// Takes what is to be returned with the next one. Returns whether it is such a one.
    pub fn joins(&mut self, done: &Done) -> bool {
        let joins = done.join == Join::Next;
        if joins {
            self.joined.push(done.clone());
        }
        joins
    }

    /// Forgets what is being served, and the ring.
    pub fn stop(&mut self) {
        self.ring = None;
        self.waiting.clear();
        // What comes back of these is not for this ring any more.
        self.flying.clear();
        self.out.clear();
        self.after.clear();
        self.storm = None;
        self.joined.clear();
        self.batch = None;
        self.owes_call = false;
        self.gate_limit = None;
    }

    /// Begins anew with a ring, whose driver takes batches or does not.
    pub fn start(&mut self, ring: Ring, order: Order, takes_batches: bool) {
        self.stop();
        self.ring = Some(ring);
        self.takes_batches = takes_batches;
        self.gate = Gate::new(order);
        self.number = 0;
        self.began = self.counters.returned;
        self.counters.starts += 1;
    }

    /// Takes the buffers that there are, but not more than `most`.
    pub fn take(&mut self, memory: &Memory, most: usize) -> crate::ring::Result<Vec<Buffer>> {
        let mut taken = Vec::new();
        let Some(ring) = &mut self.ring else {
            return Ok(taken);
        };
        while taken.len() < most {
            let Some(buffer) = ring.pop(memory)? else {
                break;
            };
            taken.push(buffer);
        }
        if !taken.is_empty() {
            ring.refuse_kicks()?;
        }
        if !taken.is_empty() {
            let count = u64::try_from(taken.len()).unwrap_or(0);
            self.counters.batches.add(count);
        }
        for buffer in &taken {
            self.note_taken(buffer);
        }
        Ok(taken)
    }

    /// Returns the numbers of all buffers that the driver has made available, and not got back, as far
    /// as these can be read.
    pub fn outstanding(&self, memory: &Memory) -> BTreeSet<u16> {
        let ring = self.ring.as_ref();
        let waiting = ring.and_then(|ring| ring.waiting(memory).ok());
        let taken = self.out.keys().copied();
        taken.chain(waiting.into_iter().flatten()).collect()
    }

    /// Counts a buffer that was taken.
    pub fn note_taken(&mut self, buffer: &Buffer) {
        let counters = &mut self.counters;
        counters.taken += 1;
        let out = self.ring.as_ref().map_or(0, Ring::out);
        counters.depth = counters.depth.max(out);
        counters.depths.add(out.into());
        let elements = u64::try_from(buffer.elements.len()).unwrap_or(0);
        counters.chains.add(elements);
        counters.readable += buffer.readable_length();
        counters.writable += buffer.writable_length();
        if self.out.insert(buffer.id, Instant::now()).is_some() {
            counters.twice += 1;
        }
    }

    /// Counts a buffer that was returned.
    fn note_returned(&mut self, id: u16) {
        self.counters.returned += 1;
        if let Some(taken) = self.out.remove(&id) {
            let micros = u64::try_from(taken.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.counters.latency.add(micros);
        }
    }

    /// Takes what notifies the driver. QEMU gives it to a queue that runs already, and does not look at
    /// what it had before: what was returned meanwhile is told of again.
    pub fn set_call(&mut self, call: Option<File>) {
        self.call = call;
        let returned = self.ring.is_some() && self.counters.returned > self.began;
        let owed = std::mem::take(&mut self.owes_call);
        if self.call.is_some() && (owed || returned) {
            self.send_call();
        }
    }

    /// Notifies the driver.
    pub fn send_call(&mut self) {
        match &mut self.call {
            Some(call) => {
                // A counter that is full is a notification that was not seen yet.
                let _ = call.write(&1_u64.to_ne_bytes());
                self.counters.calls += 1;
            }
            None => self.owes_call = true,
        }
    }

    /// Notifies the driver of what was returned, if it wants to be.
    pub fn notify(&mut self) -> crate::ring::Result<()> {
        self.end_batch()?;
        let Some(ring) = &mut self.ring else {
            return Ok(());
        };
        let wanted = ring.wants_call()?;
        let returned = self.counters.returned;
        let news = std::mem::replace(&mut self.returned_before, returned) != returned;
        if wanted {
            self.send_call();
        } else if news {
            self.counters.quiet += 1;
        }
        Ok(())
    }

    /// Ends the use of the ring after an error, and tells QEMU.
    pub fn fail(&mut self, why: &dyn std::fmt::Display) {
        error!("a queue ends: {why}");
        self.counters.errors += 1;
        self.stop();
        if let Some(error) = &mut self.error {
            let _ = error.write(&1_u64.to_ne_bytes());
        }
    }

    /// Returns a buffer, as rules say it.
    pub fn give_back(&mut self, memory: &Memory, done: &Done) -> crate::ring::Result<()> {
        let Done {
            buffer,
            written,
            actions,
            ..
        } = done;
        let lie = actions.iter().find(|action| {
            matches!(
                action,
                Action::UsedId(_)
                    | Action::UsedNotOut
                    | Action::UsedTwice
                    | Action::UsedLength(_)
                    | Action::UsedJump(_)
                    | Action::Keep
            )
        });
        if lie == Some(&Action::Keep) {
            self.joined.clear();
            return Ok(());
        }
        if self.takes_batches && lie.is_none() && self.joined.is_empty() {
            return self.give_back_in_batch(done);
        }
        self.end_batch()?;
        let free = lie.map_or(0, |_| self.free_id(memory));
        if !self.joined.is_empty() {
            return self.give_back_together(done, lie, free);
        }
        let Some(ring) = &mut self.ring else {
            return Ok(());
        };
        let mut returned = true;
        match lie {
            Some(Action::UsedId(id)) => {
                ring.forge(*id, *written, buffer.count)?;
                returned = false;
            }
            Some(Action::UsedNotOut) => {
                ring.forge(free.into(), *written, buffer.count)?;
                returned = false;
            }
            Some(Action::UsedTwice) => {
                ring.push(buffer, *written)?;
                ring.forge(buffer.id.into(), *written, buffer.count)?;
            }
            Some(Action::UsedLength(length)) => ring.push(buffer, *length)?,
            Some(Action::UsedJump(by)) => {
                ring.push(buffer, *written)?;
                ring.jump(*by)?;
            }
            _ => ring.push(buffer, *written)?,
        }
        if returned {
            self.note_returned(buffer.id);
        }
        Ok(())
    }

    /// Returns buffers that belong together, of which this is the last one. A lie is told about the
    /// first of them.
    fn give_back_together(
        &mut self,
        last: &Done,
        lie: Option<&Action>,
        free: u16,
    ) -> crate::ring::Result<()> {
        let joined = std::mem::take(&mut self.joined);
        let Some(ring) = &mut self.ring else {
            return Ok(());
        };
        let all = joined.iter().chain([last]);
        let all: Vec<_> = all.map(|done| (&done.buffer, done.written)).collect();
        ring.push_together(&all, |told| distort(told, lie, free))?;
        if let Some(Action::UsedJump(by)) = lie {
            ring.jump(*by)?;
        }
        // The driver does not get back what it is told another number of.
        let hidden = matches!(lie, Some(Action::UsedId(_) | Action::UsedNotOut));
        for (buffer, _) in all.iter().skip(hidden.into()) {
            self.note_returned(buffer.id);
        }
        Ok(())
    }

    /// Returns a number that is not out; if there is none, one that the device has not taken.
    fn free_id(&self, memory: &Memory) -> u16 {
        let outstanding = self.outstanding(memory);
        let all = || (0..self.setup.size).rev();
        let free = all().find(|id| !outstanding.contains(id));
        let free = free.or_else(|| all().find(|id| !self.out.contains_key(id)));
        free.unwrap_or(0)
    }

    /// Describes the queue.
    pub fn describe(&self) -> Value {
        let counters = &self.counters;
        // A ring that cannot be understood says nothing.
        let look = self.ring.as_ref().and_then(|ring| ring.look().ok());
        json!({
            "size": self.setup.size,
            "running": self.ring.is_some(),
            "enabled": self.enabled,
            "paused": self.paused,
            "available": look.map(|look| look.waiting),
            "asked": look.map(|look| look.asked),
            "wanted": look.and_then(|look| look.wanted),
            "owes_call": self.owes_call,
            "waiting": self.waiting.len(),
            "in_flight": self.flying.len(),
            "out": self.ring.as_ref().map_or(0, Ring::out),
            "base": self.ring.as_ref().map_or(0, Ring::base),
            "kicks": counters.kicks,
            "empty_kicks": counters.empty_kicks,
            "lost_kicks": counters.lost_kicks,
            "calls": counters.calls,
            "quiet": counters.quiet,
            "storm_calls": counters.storm_calls,
            "taken": counters.taken,
            "returned": counters.returned,
            "spared": counters.spared,
            "resumed": counters.resumed,
            "depth": counters.depth,
            "depths": counters.depths.describe(),
            "chains": counters.chains.describe(),
            "batches": counters.batches.describe(),
            "latency_us": counters.latency.describe(),
            "readable_bytes": counters.readable,
            "writable_bytes": counters.writable,
            "twice": counters.twice,
            "errors": counters.errors,
            "starts": counters.starts,
            "kicks_after_reset": counters.kicks_after_reset,
            "ring_changes_after_reset": counters.ring_changes_after_reset,
            "buffers_after_reset": counters.buffers_after_reset,
        })
    }
}
