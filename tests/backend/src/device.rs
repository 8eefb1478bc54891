// SPDX-License-Identifier: GPL-2.0

//! A device: its queues, and what serves them.
//!
//! Everything here happens under the lock of the device: messages of QEMU, notifications of the
//! driver, time that has come, and commands of the control socket.

#[cfg(test)]
mod act_tests;
mod fill;
mod flight;
mod late;
mod life;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod rule_tests;
mod serve;
#[cfg(test)]
mod stage;
mod watch;

pub use late::After;
pub use watch::WATCH;

use crate::{
    class::{Class, Use},
    log::warning,
    memory::{Area, Memory},
    order::Order,
    queue::Queue,
    replay::Recorder,
    ring::Form,
    rule::Rules,
    session::Cut,
    wake::Waker,
};
use std::{
    io::{Read, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::Arc,
    time::{Duration, Instant},
};
use virtio_wire::feature::{Entropy, Feature, FeatureSet};

/// How long what is to be returned together waits for more.
const GATE_PATIENCE: Duration = Duration::from_millis(10);

/// After how many buffers the driver is notified, though there are more.
const BATCH: usize = 64;

/// How much of a request is searched for patterns.
const MOST_SEARCHED: usize = 1 << 20;

/// What events of epoll are called.
pub mod token {
    /// A connection to accept.
    pub const LISTENER: u64 = 0;
    /// A message of QEMU.
    pub const CONNECTION: u64 = 1;
    /// Something has changed, such as the time of the next event.
    pub const WAKE: u64 = 2;
    /// A request that went on by itself is done.
    pub const DONE: u64 = 3;
    /// The notification of queue 0; the other queues follow.
    pub const KICK: u64 = 16;
    /// The notification of queue 0 after it was stopped; the other queues follow.
    pub const AFTER: u64 = 1 << 32;
}

/// The record of what is in flight, for all queues.
#[derive(Debug)]
pub struct Record {
    /// All of it.
    pub area: Area,
    /// How many queues it has.
    pub queues: u16,
    /// How long the queues are.
    pub size: u16,
}

/// What happened to a device.
#[derive(Debug, Default)]
pub struct Counters {
    /// QEMU has connected.
    pub connections: u64,
    /// QEMU has sent a message.
    pub messages: u64,
    /// ... of which some made no sense, or asked for what cannot be.
    pub refused: u64,
    /// The connection was ended at a message, as somebody wanted.
    pub cuts: u64,
    /// The device was reset.
    pub resets: u64,
    /// The driver was told that the configuration space has changed.
    pub config_changes: u64,
}

/// A device.
#[derive(Debug)]
pub struct Device<C: Class> {
    /// What it is called on the control socket.
    pub name: String,
    /// What serves requests.
    pub class: C,
    /// The memory of the guest.
    pub memory: Memory,
    /// The queues.
    pub queues: Vec<Queue<C::Job>>,
    /// The features that QEMU has accepted for the driver.
    pub accepted: u64,
    /// The features of the protocol that QEMU has accepted.
    pub protocol: u64,
    /// Where QEMU listens to this device.
    pub channel: Option<UnixStream>,
    /// The connection, to close it.
    pub connection: Option<UnixStream>,
    /// At which message the connection ends.
    pub cut: Option<Cut>,
    /// What is in flight, where QEMU keeps it.
    pub record: Option<Record>,
    /// What is done to which requests.
    pub rules: Rules,
    /// Where it is noted what rules do.
    pub recorder: Option<Recorder>,
    /// In which order buffers are returned, if the driver does not ask for one.
    pub order: Order,
    /// How long each request takes.
    pub latency: Duration,
    /// How long after a reset it is looked at what the driver has done since; if zero, never.
    pub watch: Duration,
    /// What happened.
    pub counters: Counters,
    /// How many requests have had a ticket.
    tickets: u64,
    epoll: Arc<OwnedFd>,
    waker: Waker,
}

/// Returns whether a feature of rings is in a set.
fn has(features: u64, feature: Feature<Entropy>) -> bool {
    FeatureSet::<Entropy>::from_bits(features.into()).contains(feature)
}

impl<C: Class> Device<C> {
    /// Makes a device.
    pub fn new(name: &str, mut class: C, epoll: Arc<OwnedFd>, waker: Waker) -> Self {
        class.set_waker(waker.clone());
        let queues = (0..class.queues()).map(|_| Queue::new()).collect();
        Self {
            name: name.to_owned(),
            class,
            memory: Memory::default(),
            queues,
            accepted: 0,
            protocol: 0,
            channel: None,
            connection: None,
            cut: None,
            record: None,
            rules: Rules::new(C::SCOPE),
            recorder: None,
            order: Order::default(),
            latency: Duration::ZERO,
            watch: WATCH,
            counters: Counters::default(),
            tickets: 0,
            epoll,
            waker,
        }
    }

    /// Has the loop look at the time again.
    pub fn wake(&self) {
        self.waker.wake();
    }

    fn form(&self) -> Form {
        Form {
            packed: has(self.accepted, Feature::RING_PACKED),
            event_index: has(self.accepted, Feature::EVENT_IDX),
            indirect: has(self.accepted, Feature::INDIRECT_DESC),
        }
    }

    /// Takes a notification of a queue.
    pub fn kicked(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        if let Some(kick) = &mut queue.kick {
            let mut count = [0; 8];
            // Only what epoll says is there is read: the description is QEMU's, too.
            if kick.read(&mut count).is_err() {
                return;
            }
        }
        if queue.deaf {
            queue.counters.lost_kicks += 1;
            return;
        }
        queue.counters.kicks += 1;
        let taken = queue.counters.taken;
        self.run(index);
        self.go_on();
        // The driver need not know whether there is something to fill a buffer with.
        let filled = self.class.queue_use(index) == Use::Filled;
        if let Some(queue) = self.queues.get_mut(index)
            && queue.counters.taken == taken
            && !queue.paused
            && !filled
        {
            queue.counters.empty_kicks += 1;
        }
    }

    /// Does what it is time for, and returns when it is time again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        for index in 0..self.queues.len() {
            self.serve_waiting(index, |waiting| {
                waiting.ready.is_some_and(|ready| ready <= now)
            });
            let Some(queue) = self.queues.get_mut(index) else {
                continue;
            };
            if let Some(mut storm) = queue.storm.take() {
                while storm.left > 0 && storm.next <= now {
                    queue.counters.storm_calls += 1;
                    queue.send_call();
                    storm.left -= 1;
                    storm.next += storm.interval;
                }
                queue.storm = (storm.left > 0).then_some(storm);
            }
            if queue.gate_limit.is_some_and(|limit| limit <= now) {
                self.release_gate(index);
            }
            self.do_late(index, now);
            self.look_after_reset(index, now);
        }
        // What was begun here, or by a command, is handed over by the thread that waits for it.
        self.go_on();
        self.next_time()
    }

    /// Returns when it is time for something.
    fn next_time(&self) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for queue in &self.queues {
            let times = queue.waiting.iter().filter_map(|waiting| waiting.ready);
            let storm = queue.storm.iter().map(|storm| storm.next);
            let late = queue.after.iter().map(|after| after.ready);
            let watch = queue.watch.as_ref().and_then(|watch| watch.look);
            let others = queue.gate_limit.into_iter().chain(watch);
            let here = times.chain(storm).chain(late).chain(others).min();
            next = [next, here].into_iter().flatten().min();
        }
        next
    }

    /// Tells the driver that the configuration space has changed.
    pub fn config_changed(&mut self) {
        let Some(channel) = &mut self.channel else {
            return;
        };
        // VHOST_USER_BACKEND_CONFIG_CHANGE_MSG, version 1, without a payload: the crate has no such
        // call. No answer is asked for, so none has to be waited for.
        let message: Vec<u8> = [2_u32, 1, 0]
            .into_iter()
            .flat_map(u32::to_ne_bytes)
            .collect();
        match channel.write_all(&message) {
            Ok(()) => self.counters.config_changes += 1,
            Err(error) => warning!("{}: QEMU cannot be told: {error}", self.name),
        }
    }
}

#[cfg(test)]
pub use stage::die;

/// Dies as if killed: nothing is flushed, nothing is said.
#[cfg(not(test))]
pub fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
