// SPDX-License-Identifier: GPL-2.0

//! Requests that go on by themselves, while others are taken.

use super::Device;
use crate::{
    class::{Begun, Class, Completed, Ticket},
    queue::{Done, Flying, Waiting},
    rule::Action,
};
use std::collections::BTreeSet;

/// Returns whether what is done to a request is done before it is served.
fn is_plain(actions: &[Action]) -> bool {
    actions
        .iter()
        .all(|action| matches!(action, Action::Delay(_) | Action::Hold))
}

impl<C: Class> Device<C> {
    /// Begins a request, if it can go on by itself; else returns it.
    pub(super) fn begin(
        &mut self,
        index: usize,
        waiting: Waiting<C::Job>,
    ) -> Option<Waiting<C::Job>> {
        if !is_plain(&waiting.actions) {
            return Some(waiting);
        }
        let ticket = Ticket {
            number: self.tickets,
            queue: index,
        };
        self.tickets += 1;
        let Some(queue) = self.queues.get_mut(index) else {
            return Some(waiting);
        };
        if self.class.begin(&self.memory, &waiting.job, ticket) == Begun::No {
            return Some(waiting);
        }
        let flying = Flying {
            number: waiting.number,
            buffer: waiting.buffer,
            job: waiting.job,
            join: waiting.join,
        };
        queue.flying.insert(ticket.number, flying);
        None
    }

    /// Hands over what was begun, and returns what is done.
    pub(super) fn go_on(&mut self) {
        self.class.launch();
        self.collect();
    }

    /// Returns what was begun, and is done.
    pub(super) fn collect(&mut self) {
        let mut queues = BTreeSet::new();
        for Completed { ticket, result } in self.class.completed() {
            let queue = self.queues.get_mut(ticket.queue);
            let flying = queue.and_then(|queue| queue.flying.remove(&ticket.number));
            // A queue that has ended since then has forgotten it.
            let Some(flying) = flying else { continue };
            let written = self.class.end(&self.memory, &flying.job, result);
            let done = Done {
                buffer: flying.buffer,
                written,
                actions: Vec::new(),
                join: flying.join,
            };
            self.put(ticket.queue, flying.number, done);
            queues.insert(ticket.queue);
        }
        for index in queues {
            self.notify(index);
        }
    }

    /// Waits for all that was begun, and returns it.
    pub fn drain(&mut self) {
        self.class.drain();
        self.collect();
    }

    /// Waits for all that was begun. Nobody is to get it back, but what it has written is logged.
    pub(super) fn drain_and_forget(&mut self) {
        self.class.drain();
        for Completed { ticket, result } in self.class.completed() {
            let queue = self.queues.get_mut(ticket.queue);
            let flying = queue.and_then(|queue| queue.flying.remove(&ticket.number));
            if let Some(flying) = flying {
                self.class.end(&self.memory, &flying.job, result);
            }
        }
        for queue in &mut self.queues {
            queue.flying.clear();
        }
    }
}
