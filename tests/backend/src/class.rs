// SPDX-License-Identifier: GPL-2.0

//! What a class of devices adds to the queues.

use crate::{memory::Memory, ring::Buffer, rule::Action, rule::Facts};
use anyhow::Result;
use serde_json::Value;

/// A class of devices: what their requests are, and what serves them.
pub trait Class: std::fmt::Debug + Send + 'static {
    /// A request that was read, once, and not served yet.
    type Job: std::fmt::Debug + Send;

    /// What a rule can call a request.
    const OPERATIONS: &'static [&'static str];

    /// Returns the features that the device offers.
    fn offers(&self) -> u64;

    /// Returns the number of queues.
    fn queues(&self) -> u16;

    /// Returns the configuration space, as the driver sees it.
    fn config(&self) -> Vec<u8>;

    /// Takes what the driver writes to the configuration space.
    fn write_config(&mut self, offset: usize, bytes: &[u8]) -> Result<()>;

    /// Takes the features that the driver has accepted.
    fn accept(&mut self, features: u64);

    /// Reads a request. An error ends the use of the queue.
    fn read(&mut self, memory: &Memory, buffer: &Buffer) -> Result<(Facts, Self::Job)>;

    /// Serves a request, and returns how many bytes were written to it.
    fn serve(&mut self, memory: &Memory, job: &Self::Job, actions: &[Action]) -> u32;

    /// Executes a command of the control socket that is of this class; tells whether the
    /// configuration space has changed.
    fn command(&mut self, name: &str, arguments: &Value) -> Option<Result<Answer>>;

    /// Counts what was done.
    fn counters(&self) -> Value;

    /// Makes everything stable, at the end.
    fn finish(&mut self) -> Result<()>;
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
