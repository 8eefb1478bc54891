// SPDX-License-Identifier: GPL-2.0

//! Requests, from the queue they are taken of to the queue they are returned to.

use super::{BATCH, Device, GATE_PATIENCE, MOST_SEARCHED, die, has, late};
use crate::{
    class::{Class, Use},
    data::Data,
    log::{detail, trace},
    order::Gate,
    queue::{Done, Join, Queue, Waiting},
    ring::Buffer,
    rule::{Action, Facts, Request},
};
use std::time::Instant;
use virtio_wire::feature::Feature;

impl<C: Class> Device<C> {
    /// Takes what there is in a queue, and serves it.
    pub fn run(&mut self, index: usize) {
        let used_for = self.class.queue_use(index);
        if used_for == Use::Filled {
            return self.fill(index);
        }
        let stream = used_for == Use::Stream;
        let runs = |queue: &&mut Queue<_>| queue.runs() || (stream && queue.streams());
        loop {
            let Some(queue) = self.queues.get_mut(index).filter(runs) else {
                return;
            };
            let taken = match queue.take(&self.memory, BATCH) {
                Ok(taken) => taken,
                Err(error) => return queue.fail(&error),
            };
            let nothing = taken.is_empty();
            for buffer in taken {
                self.take(index, buffer);
            }
            self.notify(index);
            let Some(queue) = self.queues.get_mut(index) else {
                return;
            };
            match &mut queue.ring {
                Some(ring) if nothing => match ring.ask_for_kicks() {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(error) => return queue.fail(&error),
                },
                _ => {}
            }
        }
    }

    pub(super) fn notify(&mut self, index: usize) {
        if let Some(queue) = self.queues.get_mut(index)
            && let Err(error) = queue.notify()
        {
            queue.fail(&error);
        }
    }

    /// Takes a buffer: it is served now, later, or never.
    fn take(&mut self, index: usize, buffer: Buffer) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if queue.ring.is_none() {
            // The queue has ended with one that came before.
            return;
        }
        let (facts, job) = match self.class.read(&self.memory, index, &buffer) {
            Ok(read) => read,
            Err(error) => return queue.fail(&format!("{error:#}")),
        };
        trace!("{}: queue {index} has {facts:?}", self.name);
        let bytes = if self.rules.look_for_patterns() {
            self.bytes(&buffer)
        } else {
            Vec::new()
        };
        let actions = self.apply(&facts, index, std::slice::from_ref(&buffer), &bytes);
        self.accept_job(index, (buffer, job), actions, Join::Last);
    }

    /// Returns what the driver sends.
    fn bytes(&self, buffer: &Buffer) -> Vec<u8> {
        let data: Data = buffer.readable().collect();
        let length = usize::try_from(data.length()).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(MOST_SEARCHED)];
        // What cannot be read is what the request fails for.
        let _ = data.cursor().read(&self.memory, &mut bytes);
        bytes
    }

    /// Returns what rules say of a request that is in these buffers, and has these bytes.
    pub(super) fn apply(
        &mut self,
        facts: &Facts,
        index: usize,
        buffers: &[Buffer],
        bytes: &[u8],
    ) -> Vec<Action> {
        let kicks = self.queues.get(index).map_or(0, |it| it.counters.kicks);
        let before = self.rules.acted();
        let (queues, memory) = (&self.queues, &self.memory);
        let out = |index: usize| queues.get(index).map(|queue| queue.outstanding(memory));
        let out_of = |other: u16| {
            let mut own = out(index).unwrap_or_default();
            own.extend(buffers.iter().map(|buffer| buffer.id));
            out(other.into())?.difference(&own).next().copied()
        };
        let actions = self.rules.apply(&Request {
            facts,
            queue: u16::try_from(index).unwrap_or(u16::MAX),
            kick: kicks.checked_sub(1),
            bytes,
            has_table: buffers.iter().any(|buffer| buffer.table.is_some()),
            out_of: &out_of,
        });
        if let Some(recorder) = &self.recorder {
            for act in self.rules.acts_after(before) {
                recorder.note_rule(&self.name, act);
            }
        }
        if !actions.is_empty() {
            detail!(
                "{}: {} of queue {index}: {actions:?}",
                self.name,
                facts.operation
            );
        }
        actions
    }

    /// Serves a request now, later, or never.
    pub(super) fn accept_job(
        &mut self,
        index: usize,
        (buffer, job): (Buffer, C::Job),
        actions: Vec<Action>,
        join: Join,
    ) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if queue.ring.is_none() {
            return;
        }
        let number = queue.number;
        queue.number += 1;
        let mut delay = self.latency;
        let mut hold = false;
        for action in &actions {
            match action {
                Action::Delay(time) => delay += *time,
                Action::Hold => hold = true,
                Action::Disconnect => return self.hang_up(),
                Action::Die => return die(),
                _ => {}
            }
        }
        let waiting = Waiting {
            number,
            buffer,
            job,
            actions,
            join,
            ready: (!hold).then(|| Instant::now() + delay),
        };
        if hold || !delay.is_zero() {
            queue.waiting.push(waiting);
        } else {
            self.serve(index, waiting);
        }
    }

    /// Serves a request, and returns its buffer, if it is its turn; or has it go on by itself.
    fn serve(&mut self, index: usize, waiting: Waiting<C::Job>) {
        let Some(waiting) = self.begin(index, waiting) else {
            return;
        };
        let Waiting {
            number,
            buffer,
            job,
            actions,
            join,
            ..
        } = waiting;
        let written = self.serve_job(index, &buffer, job, &actions);
        // What it had to wait for is returned before it.
        self.collect();
        let done = Done {
            buffer,
            written,
            actions,
            join,
        };
        self.put(index, number, done);
    }

    /// Returns the buffer of a request that is done, if it is its turn.
    pub(super) fn put(&mut self, index: usize, number: u64, done: Done) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        let written = done.written;
        trace!(
            "{}: queue {index}: buffer {number} is done: {written} bytes",
            self.name
        );
        let ready = queue.gate.put(number, done);
        queue.gate_limit = queue.gate.waits().then(|| Instant::now() + GATE_PATIENCE);
        self.give_back(index, &ready);
    }

    fn give_back(&mut self, index: usize, ready: &[Done]) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        for done in ready {
            if queue.joins(done) {
                continue;
            }
            if let Some((bytes, seed)) = late::scribbles(&done.actions)
                && let Some(ring) = &mut queue.ring
                && let Err(error) = ring.scribble(bytes, seed)
            {
                return queue.fail(&error);
            }
            let muted = done.actions.contains(&Action::Mute);
            let mut result = Ok(());
            if muted {
                // The driver is asked about the others, but not about this one.
                result = queue.notify();
            }
            result = result.and_then(|()| queue.give_back(&self.memory, done));
            if muted {
                result = result.and_then(|()| queue.end_batch());
                if let Some(ring) = &mut queue.ring {
                    result = result.and_then(|()| ring.wants_call().map(|_| ()));
                }
            }
            if let Err(error) = result {
                return queue.fail(&error);
            }
        }
    }

    /// Lets an order of the control socket take effect, unless the driver has asked for one.
    pub fn change_order(&mut self, index: usize) {
        if has(self.accepted, Feature::IN_ORDER) {
            return;
        }
        self.release_gate(index);
        if let Some(queue) = self.queues.get_mut(index) {
            queue.gate = Gate::new(self.order);
        }
    }

    pub(super) fn release_gate(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        let ready = queue.gate.flush();
        queue.gate_limit = None;
        self.give_back(index, &ready);
        self.notify(index);
    }

    /// Serves what waits, as `which` chooses. Returns how many that were.
    pub fn serve_waiting(
        &mut self,
        index: usize,
        which: impl Fn(&Waiting<C::Job>) -> bool,
    ) -> usize {
        let Some(queue) = self.queues.get_mut(index) else {
            return 0;
        };
        let (ready, rest) = std::mem::take(&mut queue.waiting)
            .into_iter()
            .partition(which);
        queue.waiting = rest;
        let ready: Vec<_> = ready;
        let count = ready.len();
        for waiting in ready {
            self.serve(index, waiting);
        }
        if count > 0 {
            self.notify(index);
        }
        count
    }
}
