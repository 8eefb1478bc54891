// SPDX-License-Identifier: GPL-2.0

//! A device: its queues, and what serves them.
//!
//! Everything here happens under the lock of the device: messages of QEMU, notifications of the
//! driver, time that has come, and commands of the control socket.

mod fill;
mod late;

pub use late::After;

use crate::{
    class::{Class, Use},
    data::Data,
    log::{detail, note, warning},
    memory::{Area, Memory},
    order::Order,
    queue::{Done, Join, Queue, Waiting},
    replay::Recorder,
    ring::{Buffer, Form, Ring, inflight},
    rule::{Action, Facts, Rules},
    wake::Waker,
};
use rustix::event::epoll;
use std::{
    fs::File,
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
    /// The notification of queue 0; the other queues follow.
    pub const KICK: u64 = 16;
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
    /// What happened.
    pub counters: Counters,
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
            record: None,
            rules: Rules::new(C::SCOPE),
            recorder: None,
            order: Order::default(),
            latency: Duration::ZERO,
            counters: Counters::default(),
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
                warning!("{}: a queue cannot be waited for: {error}", self.name);
            }
            queue.kick = Some(kick);
        }
    }

    /// Starts a queue, of which all is known.
    pub fn start(&mut self, index: usize) {
        let form = self.form();
        let order = if has(self.accepted, Feature::IN_ORDER) {
            Order::Came
        } else {
            self.order
        };
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
                queue.start(ring, order);
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

    /// Stops a queue: what is only late is served, what is held is not. Returns where to go on.
    pub fn stop(&mut self, index: usize) -> u32 {
        self.serve_waiting(index, |waiting| waiting.ready.is_some());
        self.release_gate(index);
        self.set_kick(index, None);
        let Some(queue) = self.queues.get_mut(index) else {
            return 0;
        };
        let base = queue.ring.as_ref().map_or(queue.setup.base, Ring::base);
        if queue.ring.is_some() {
            note!("{}: queue {index} stops at {base:#x}", self.name);
        }
        queue.stop();
        base
    }

    /// Forgets the driver: everything but what the control socket has set.
    pub fn reset(&mut self) {
        for index in 0..self.queues.len() {
            self.set_kick(index, None);
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
    }

    /// Forgets QEMU.
    pub fn disconnected(&mut self) {
        self.reset();
        self.memory.clear();
        self.channel = None;
        self.connection = None;
        self.record = None;
        self.protocol = 0;
    }

    /// Closes the connection.
    pub fn hang_up(&mut self) {
        if let Some(connection) = &self.connection {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
        // What follows is not to be served any more.
        for queue in &mut self.queues {
            queue.stop();
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
        queue.counters.kicks += 1;
        let taken = queue.counters.taken;
        self.run(index);
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

    fn notify(&mut self, index: usize) {
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
        let bytes = if self.rules.look_for_patterns() {
            self.bytes(&buffer)
        } else {
            Vec::new()
        };
        let actions = self.apply(&facts, index, &bytes);
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

    /// Returns what rules say of a request that has these bytes.
    fn apply(&mut self, facts: &Facts, index: usize, bytes: &[u8]) -> Vec<Action> {
        let queue = u16::try_from(index).unwrap_or(u16::MAX);
        let before = self.rules.acted();
        let actions = self.rules.apply(facts, queue, bytes);
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
    fn accept_job(
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
                Action::Die => die(),
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

    /// Serves a request, and returns its buffer, if it is its turn.
    fn serve(&mut self, index: usize, waiting: Waiting<C::Job>) {
        let Waiting {
            number,
            buffer,
            job,
            actions,
            join,
            ..
        } = waiting;
        let written = self.serve_job(index, &buffer, job, &actions);
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        let done = Done {
            buffer,
            written,
            actions,
            join,
        };
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
            result = result.and_then(|()| queue.give_back(done));
            if let (true, Some(ring)) = (muted, &mut queue.ring) {
                result = result.and_then(|()| ring.wants_call().map(|_| ()));
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
            queue.gate = crate::order::Gate::new(self.order);
        }
    }

    fn release_gate(&mut self, index: usize) {
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

    /// Does what it is time for, and returns when it is time again.
    pub fn tick(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
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
            let Some(queue) = self.queues.get(index) else {
                continue;
            };
            let times = queue.waiting.iter().filter_map(|waiting| waiting.ready);
            let storm = queue.storm.iter().map(|storm| storm.next);
            let late = queue.after.iter().map(|after| after.ready);
            let here = times.chain(storm).chain(late).chain(queue.gate_limit).min();
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

/// Dies as if killed: nothing is flushed, nothing is said.
pub fn die() {
    let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
}
