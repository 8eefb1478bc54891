// SPDX-License-Identifier: GPL-2.0

//! What a class of devices adds to the queues.

use crate::{
    memory::Memory,
    ring::Buffer,
    rule::{Action, Facts, Scope},
    wake::Waker,
};
use anyhow::Result;
use serde_json::Value;
use std::{io, os::fd::BorrowedFd};

/// A class of devices: what their requests are, and what serves them.
pub trait Class: std::fmt::Debug + Send + 'static {
    /// A request that was read, once, and not served yet.
    type Job: std::fmt::Debug + Send;

    /// What a rule can call a request.
    const OPERATIONS: &'static [&'static str];

    /// Which actions make sense for it, beside those of all.
    const SCOPE: Scope;

    /// Whether what is in flight is recorded, for another backend to serve it.
    const RECORDED: bool;

    /// Returns the features that the device offers.
    fn offers(&self) -> u64;

    /// Returns the number of queues.
    fn queues(&self) -> u16;

    /// Returns the number of queues, as QEMU counts them.
    fn announced(&self) -> u16 {
        self.queues()
    }

    /// Takes what wakes the device: see [`collect`](Self::collect).
    fn set_waker(&mut self, _waker: Waker) {}

    /// Returns what a queue is used for.
    fn queue_use(&self, _queue: usize) -> Use {
        Use::Requests
    }

    /// Takes note that a queue runs, or does not any more.
    fn enable(&mut self, _queue: usize, _enabled: bool) {}

    /// Takes what has come for the driver, after the device was woken.
    fn collect(&mut self) {}

    /// Returns what is next for the driver in a queue that is filled.
    fn next(&mut self, _queue: usize) -> Option<Next> {
        None
    }

    /// Returns the bytes of what is next, as they are on the wire.
    fn peek(&self, _queue: usize) -> Option<&[u8]> {
        None
    }

    /// Leaves out what is next.
    fn skip(&mut self, _queue: usize) {}

    /// Writes what is next to buffers, and returns a job for each of them, which is served as any
    /// other. An error ends the use of the queue.
    fn fill(
        &mut self,
        _memory: &Memory,
        _queue: usize,
        _buffers: &[Buffer],
        _actions: &[Action],
    ) -> Result<Vec<Self::Job>> {
        Ok(Vec::new())
    }

    /// Returns the configuration space, as the driver sees it.
    fn config(&self) -> Vec<u8>;

    /// Takes what the driver writes to the configuration space.
    fn write_config(&mut self, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Takes the features that the driver has accepted.
    fn accept(&mut self, features: u64);

    /// Reads a request of a queue. An error ends the use of the queue.
    fn read(
        &mut self,
        memory: &Memory,
        queue: usize,
        buffer: &Buffer,
    ) -> Result<(Facts, Self::Job)>;

    /// Serves a request, and returns how many bytes were written to it.
    fn serve(&mut self, memory: &Memory, job: &Self::Job, actions: &[Action]) -> u32;

    /// Returns how many bytes are going to be written to a request, if that is known before; else it
    /// may be all that there is room for.
    fn length(&self, _job: &Self::Job) -> Option<u32> {
        None
    }

    /// Begins to serve a request, to which nothing is done beside what a device does. One that cannot
    /// be left to itself is not begun, and has to be [served](Self::serve).
    fn begin(&mut self, _memory: &Memory, _job: &Self::Job, _ticket: Ticket) -> Begun {
        Begun::No
    }

    /// Hands over what was begun.
    fn launch(&mut self) {}

    /// Waits until all that was begun is done.
    fn drain(&mut self) {}

    /// Returns what was begun, and is done.
    fn completed(&mut self) -> Vec<Completed> {
        Vec::new()
    }

    /// Ends a request that was begun, and returns how many bytes were written to it.
    fn end(&mut self, _memory: &Memory, _job: &Self::Job, _result: io::Result<()>) -> u32 {
        0
    }

    /// Returns what can be read when something that was begun is done.
    fn events(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Executes a command of the control socket that is of this class; tells whether the
    /// configuration space has changed.
    fn command(&mut self, name: &str, arguments: &Value) -> Option<Result<Answer>>;

    /// Counts what was done.
    fn counters(&self) -> Value;

    /// Makes everything stable, when no queue runs any more, and at the end.
    fn finish(&mut self) -> Result<()>;
}

/// What a queue is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Its buffers are requests, which are taken when they come.
    Requests,
    /// The same, and while QEMU has not enabled the queue, they are taken and left out.
    Stream,
    /// Its buffers are filled when there is something for the driver.
    Filled,
}

/// What a request is called from its beginning to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// No other one has this number; those that came before have lower ones.
    pub number: u64,
    /// The queue it is from.
    pub queue: usize,
}

/// Whether a request goes on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It does, and is [completed](Class::completed) later.
    Yes,
    /// It does not, and nothing was done to it.
    No,
}

/// A request that was begun, and is done.
#[derive(Debug)]
pub struct Completed {
    /// What it is called.
    pub ticket: Ticket,
    /// How it went.
    pub result: io::Result<()>,
}

/// What is next for the driver.
#[derive(Clone, Debug)]
pub struct Next {
    /// What rules can ask about it.
    pub facts: Facts,
    /// How many bytes it has.
    pub length: usize,
    /// Whether it may be in several buffers.
    pub several: bool,
}

/// What a command returns.
#[derive(Debug)]
pub struct Answer {
    /// For who asked.
    pub value: Value,
    /// Whether the driver has to be told that the configuration space has changed.
    pub config_changed: bool,
}

impl From<Value> for Answer {
    fn from(value: Value) -> Self {
        Self {
            value,
            config_changed: false,
        }
    }
}
