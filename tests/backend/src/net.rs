// SPDX-License-Identifier: GPL-2.0

//! Network devices, each at a port of the switch.
//!
//! A frame that the driver transmits is copied, checked, and goes into the switch. A frame that
//! leaves the switch waits until the device's thread takes it ([`Class::collect`]), is made into what
//! the driver takes, and gets a receive queue; there it waits for buffers.
//!
//! With QEMU's `virtio-net-pci`, QEMU has the configuration space and the control queue. With
//! `vhost-user-test-device-pci`, this has both: option `control`.

mod config;
mod control;
mod filter;
mod receive;
mod steering;
mod transmit;

#[cfg(test)]
mod tests;

pub use config::Options;

use crate::{
    claim::{Lies, change_features, hex},
    class::{Answer, Class, Next, Use},
    frame::{Frame, Takes},
    memory::Memory,
    ring::Buffer,
    rule::{Action, Facts, Scope},
    switch::Handle,
    wake::Waker,
};
use anyhow::{Context, Result, bail};
use filter::Filter;
use serde_json::{Value, json};
use std::{collections::VecDeque, sync::Arc};
use steering::Steering;
use virtio_wire::net::{
    Accepted, ConfigLayout, Feature, FeatureSet, Offered, RxRules, TxRules,
    config::{Queue, QueuePairs, status},
};

/// What was read of a buffer.
#[derive(Debug)]
pub enum Job {
    /// A frame to transmit, or why it is none.
    Transmit(Result<Frame, transmit::Refusal>),
    /// A buffer that has a part of a frame.
    Filled(receive::Part),
    /// A command.
    Control(control::Job),
}

/// What was negotiated, as far as frames are concerned.
#[derive(Clone, Copy, Debug)]
struct Form {
    accepted: Accepted,
    tx: TxRules,
    rx: RxRules,
    mergeable: bool,
    takes: Takes,
}

/// A network device.
#[derive(Debug)]
pub struct Net {
    pairs: u16,
    control: bool,
    mtu: usize,
    layout: ConfigLayout,
    lies: Lies,
    offered: FeatureSet,
    form: Option<Form>,
    /// Whether QEMU lets queues run.
    enabled: Vec<bool>,
    /// How many pairs the driver uses, if it tells this device.
    used_pairs: u16,
    filter: Filter,
    steering: Steering,
    port: Handle,
    /// What waits for buffers, for each receive queue.
    backlog: Vec<VecDeque<Arc<Frame>>>,
    most_waiting: usize,
    received: receive::Counters,
    transmitted: transmit::Counters,
    commands: control::Counters,
}

impl Net {
    /// Makes a device at a port.
    pub fn new(options: &Options, port: Handle) -> Self {
        let (layout, offered) = options.describe();
        let mut net = Self {
            pairs: options.queues,
            control: options.control,
            mtu: options.port.mtu,
            layout,
            lies: Lies::default(),
            offered,
            form: None,
            enabled: vec![false; usize::from(options.queues) * 2 + 1],
            used_pairs: 1,
            filter: Filter::default(),
            steering: Steering::default(),
            port,
            backlog: vec![VecDeque::new(); usize::from(options.queues)],
            most_waiting: options.port.queue,
            received: receive::Counters::default(),
            transmitted: transmit::Counters::default(),
            commands: control::Counters::default(),
        };
        net.accept(0);
        net
    }

    /// Returns what a queue is for.
    fn queue(&self, index: usize) -> Option<Queue> {
        let pairs = QueuePairs::new(self.pairs).ok()?;
        // Without the feature, the control queue is the third.
        let mq = self.form.is_none_or(|form| form.accepted.has(Feature::MQ));
        let pairs = if self.control && !mq {
            QueuePairs::ONE
        } else {
            pairs
        };
        pairs.queue(u32::try_from(index).ok()?)
    }

    /// Returns whether a queue may be used.
    fn enabled(&self, index: usize) -> bool {
        self.enabled.get(index).copied().unwrap_or(false)
    }

    /// Returns how many pairs receive.
    fn receiving(&self) -> usize {
        let most = if self.control {
            self.used_pairs.min(self.pairs)
        } else {
            self.pairs
        };
        (0..usize::from(most))
            .take_while(|pair| self.enabled(pair * 2))
            .count()
    }

    /// Forgets the driver.
    fn forget(&mut self) {
        for waiting in &mut self.backlog {
            self.received.lost_reset += u64::try_from(waiting.len()).unwrap_or(0);
            waiting.clear();
        }
        self.used_pairs = 1;
        self.commands.offloads = None;
        self.filter = Filter::default();
        self.steering = Steering::default();
        self.layout.status = (self.layout.status.get() & !status::ANNOUNCE).into();
    }

    fn set_status(&mut self, bit: u16, on: bool) -> Answer {
        let status = self.layout.status.get() & !bit;
        self.layout.status = (status | if on { bit } else { 0 }).into();
        Answer {
            value: json!({ "status": self.layout.status.get() }),
            config_changed: self.control,
        }
    }

    fn lie(&mut self, arguments: &Value) -> Result<Answer> {
        self.lies.change(arguments, config::field)?;
        Ok(Answer {
            value: json!({ "config": hex(&self.config()) }),
            config_changed: arguments["notify"].as_bool().unwrap_or(true),
        })
    }
}

fn bits(set: FeatureSet) -> u64 {
    // What is above was never on offer: QEMU asks for 64 bits.
    u64::try_from(set.bits() & u128::from(u64::MAX)).unwrap_or(0)
}

impl Class for Net {
    type Job = Job;

    const OPERATIONS: &'static [&'static str] = &["rx", "tx", "control"];
    const SCOPE: Scope = Scope::Net;
    // QEMU does not keep records for networks.
    const RECORDED: bool = false;

    fn offers(&self) -> u64 {
        bits(self.offered)
    }

    fn queues(&self) -> u16 {
        self.pairs * 2 + u16::from(self.control)
    }

    fn announced(&self) -> u16 {
        // QEMU counts pairs, unless it does not know what the device is.
        if self.control {
            self.queues()
        } else {
            self.pairs
        }
    }

    fn set_waker(&mut self, waker: Waker) {
        self.port.outlet().set_waker(waker);
    }

    fn queue_use(&self, queue: usize) -> Use {
        match self.queue(queue) {
            Some(Queue::Receive(_)) => Use::Filled,
            Some(Queue::Transmit(_)) => Use::Stream,
            _ => Use::Requests,
        }
    }

    fn enable(&mut self, queue: usize, enabled: bool) {
        if let Some(place) = self.enabled.get_mut(queue) {
            *place = enabled;
        }
        if !enabled && self.queue_use(queue) == Use::Filled {
            // What waits is not for whoever uses the queue next.
            while self.drop_frame(queue) {
                self.received.lost_reset += 1;
            }
        }
        let receives = self.receiving() > 0;
        self.port.outlet().set_open(receives);
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = self.layout.to_bytes().to_vec();
        self.lies.tell(&mut bytes);
        bytes
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        // The legacy interface has the driver set its address like that.
        bail!(
            "the driver writes {} bytes at {offset} of the configuration space",
            bytes.len()
        );
    }

    fn accept(&mut self, features: u64) {
        if features == 0 {
            self.forget();
        }
        let mut set = FeatureSet::from_bits(features.into());
        if !self.control {
            // QEMU has it, and does not tell; but others need it.
            set = set.with(Feature::CTRL_VQ);
        }
        let everything = FeatureSet::from_bits(u128::MAX);
        // What breaks a rule is taken away, for the features on offer may break some.
        self.form = Offered::new(set).negotiate(everything).ok().map(Form::new);
    }

    fn collect(&mut self) {
        self.take_frames();
    }

    fn next(&mut self, queue: usize) -> Option<Next> {
        self.next_frame(queue)
    }

    fn peek(&self, queue: usize) -> Option<&[u8]> {
        self.next_bytes(queue)
    }

    fn skip(&mut self, queue: usize) {
        if self.drop_frame(queue) {
            self.received.left_out += 1;
        }
    }

    fn fill(
        &mut self,
        memory: &Memory,
        queue: usize,
        buffers: &[Buffer],
        actions: &[Action],
    ) -> Result<Vec<Job>> {
        self.fill_buffers(memory, queue, buffers, actions)
    }

    fn read(&mut self, memory: &Memory, queue: usize, buffer: &Buffer) -> Result<(Facts, Job)> {
        match self.queue(queue) {
            Some(Queue::Transmit(pair)) => self.read_frame(memory, pair, buffer),
            Some(Queue::Control) => self.read_command(memory, buffer),
            _ => bail!("queue {queue} has no requests"),
        }
    }

    fn serve(&mut self, memory: &Memory, job: &Job, actions: &[Action]) -> u32 {
        match job {
            Job::Transmit(frame) => {
                self.transmit(frame, actions);
                0
            }
            Job::Filled(part) => part.serve(memory),
            Job::Control(job) => self.command_of_driver(memory, job, actions),
        }
    }

    fn length(&self, job: &Job) -> Option<u32> {
        match job {
            Job::Filled(part) => Some(part.length()),
            _ => None,
        }
    }

    fn command(&mut self, name: &str, arguments: &Value) -> Option<Result<Answer>> {
        Some(match name {
            "config" => self.lie(arguments),
            "features" => change_features(&mut self.offered, arguments).map(|()| {
                json!({ "features": self.offered.to_string(), "bits": self.offers() }).into()
            }),
            "link" => arguments["up"]
                .as_bool()
                .context("up is missing")
                .map(|up| self.set_status(status::LINK_UP, up)),
            "announce" => Ok(self.set_status(status::ANNOUNCE, true)),
            _ => return None,
        })
    }

    fn counters(&self) -> Value {
        let waiting: Vec<_> = self.backlog.iter().map(VecDeque::len).collect();
        json!({
            "rx": self.received.describe(),
            "tx": self.transmitted.describe(),
            "control": self.commands.describe(),
            "receiving": self.receiving(),
            "waiting": waiting,
            "outlet": self.port.outlet().counters(),
        })
    }

    fn finish(&mut self) -> Result<()> {
        Ok(())
    }
}

impl Form {
    fn new(accepted: Accepted) -> Self {
        let has = |feature| accepted.has(feature);
        Self {
            accepted,
            tx: TxRules::new(accepted),
            rx: RxRules::new(accepted),
            mergeable: has(Feature::MRG_RXBUF),
            takes: takes(accepted.set()),
        }
    }
}

/// Returns what a driver takes.
fn takes(set: FeatureSet) -> Takes {
    let has = |feature| set.contains(feature);
    Takes {
        checksum: has(Feature::GUEST_CSUM),
        tcp_v4: has(Feature::GUEST_TSO4),
        tcp_v6: has(Feature::GUEST_TSO6),
        ecn: has(Feature::GUEST_ECN),
        udp_v4: has(Feature::GUEST_USO4),
        udp_v6: has(Feature::GUEST_USO6),
    }
}

/// Defines counters that can be described.
macro_rules! counters {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// What happened.
        #[derive(Clone, Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $field: u64,)*
        }

        impl Counters {
            /// Describes it.
            pub fn describe(&self) -> serde_json::Value {
                serde_json::json!({ $(stringify!($field): self.$field,)* })
            }
        }
    };
}

use counters;
