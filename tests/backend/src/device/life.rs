// SPDX-License-Identifier: GPL-2.0

//! The life of queues: they start, stop, and are forgotten.

use super::{Device, has, token};
use crate::{
    class::Class,
    log::{error, note},
    memory::Area,
    order::Order,
    ring::{Ring, inflight},
};
use rustix::event::epoll;
use std::{fs::File, os::unix::net::UnixStream};
use virtio_wire::feature::Feature;

impl<C: Class> Device<C> {
    /// Sets what notifies of a queue, or nothing.
    pub fn set_kick(&mut self, index: usize, kick: Option<File>) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if let Some(old) = queue.kick.take() {
            // QEMU has it open, too: closing it would not take it out.
            let _ = epoll::delete(&*self.epoll, &old);
        }
        if let Some(kick) = kick {
            let number = token::KICK + u64::try_from(index).unwrap_or(0);
            let data = epoll::EventData::new_u64(number);
            if let Err(error) = epoll::add(&*self.epoll, &kick, data, epoll::EventFlags::IN) {
                error!("{}: a queue cannot be waited for: {error}", self.name);
            }
            queue.kick = Some(kick);
        }
    }

    /// Starts a queue, of which all is known.
    pub fn start(&mut self, index: usize) {
        self.end_watch(index);
        let form = self.form();
        let in_order = has(self.accepted, Feature::IN_ORDER);
        let order = if in_order { Order::Came } else { self.order };
        let record = self.record.as_ref().and_then(|record| {
            let length = inflight::length(record.size);
            let there = index < usize::from(record.queues);
            there.then(|| record.area.part(index * length, length).ok())?
        });
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        let fits = |record: &&Area| inflight::length(queue.setup.size) <= record.length();
        let record = record.as_ref().filter(fits);
        match Ring::new(&self.memory, &queue.setup, form, record) {
            Ok(ring) => {
                let resumed = ring.to_resume();
                let size = queue.setup.size;
                note!("{}: queue {index} of {size} starts: {form:?}", self.name);
                // The record has each buffer by itself.
                queue.start(ring, order, in_order && record.is_none());
                queue.counters.resumed += u64::try_from(resumed).unwrap_or(0);
                if resumed > 0 {
                    // The one before may not have sent its last interrupt.
                    queue.send_call();
                }
            }
            Err(error) => queue.fail(&error),
        }
    }

    /// Translates the addresses of all rings again, after regions have changed.
    pub fn remap(&mut self) {
        let form = self.form();
        for queue in &mut self.queues {
            if let Some(ring) = &mut queue.ring
                && let Err(error) = ring.remap(&self.memory, &queue.setup, form)
            {
                queue.fail(&error);
            }
        }
    }

    /// Stops a queue: what was taken is served. Returns where to go on.
    ///
    /// What is held is not served, as that is what somebody waits for to see: the record of what is in
    /// flight keeps it. But in a migration, the other backend has no such record.
    pub fn stop(&mut self, index: usize) -> u32 {
        let migrates = self.memory.log().is_on();
        self.serve_waiting(index, |waiting| migrates || waiting.ready.is_some());
        self.drain();
        self.release_gate(index);
        self.begin_watch(index);
        let Some(queue) = self.queues.get_mut(index) else {
            return 0;
        };
        let ran = queue.ring.is_some();
        let base = queue.ring.as_ref().map_or(queue.setup.base, Ring::base);
        queue.stop();
        if ran {
            note!("{}: queue {index} stops at {base:#x}", self.name);
            self.settle();
        }
        base
    }

    /// Makes everything stable when the last queue has stopped: the other backend of a migration, which
    /// uses the same file, begins when this one has answered.
    fn settle(&mut self) {
        if self.queues.iter().any(|queue| queue.ring.is_some()) {
            return;
        }
        if let Err(error) = self.class.finish() {
            error!("{}: what was written is not stable: {error:#}", self.name);
        }
    }

    /// Forgets the driver: everything but what the control socket has set.
    pub fn reset(&mut self) {
        self.drain_and_forget();
        for index in 0..self.queues.len() {
            self.begin_watch(index);
        }
        for queue in &mut self.queues {
            queue.stop();
            queue.setup = crate::ring::Setup::default();
            queue.call = None;
            queue.error = None;
            queue.enabled = false;
        }
        for index in 0..self.queues.len() {
            self.class.enable(index, false);
        }
        self.accepted = 0;
        self.class.accept(0);
        self.memory.log().stop();
    }

    /// Forgets QEMU.
    pub fn disconnected(&mut self) {
        self.reset();
        for index in 0..self.queues.len() {
            self.end_watch(index);
        }
        self.memory.clear();
        self.memory.log().forget();
        self.channel = None;
        self.connection = None;
        self.record = None;
        self.protocol = 0;
    }

    /// Closes the connection, if the next message is the one at which it is to end. Returns whether it
    /// was.
    pub fn ends_at(&mut self, connection: &UnixStream) -> bool {
        let ends = self.cut.as_mut().is_some_and(|cut| cut.is_here(connection));
        if ends {
            self.cut = None;
            self.counters.cuts += 1;
            self.hang_up();
        }
        ends
    }

    /// Closes the connection.
    pub fn hang_up(&mut self) {
        // What came before is returned, whether there is a record of it or not.
        self.drain();
        if let Some(connection) = &self.connection {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        // What follows is not to be served any more.
        for queue in &mut self.queues {
            queue.stop();
        }
    }
}
