// SPDX-License-Identifier: GPL-2.0

//! Commands of the driver.

use super::{Job as NetJob, Net};
use crate::{
    data::Data,
    log::warning,
    memory::Memory,
    ring::Buffer,
    rule::{Action, Facts},
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use virtio_wire::net::{
    Ack, Command, Config, CtrlError, FeatureSet, config::status, ctrl::CtrlRules,
};

/// The longest command: a table of addresses that has all there can be in 64 KiB.
const MOST: u64 = 1 << 16;

/// What was read of a command.
#[derive(Debug)]
pub struct Job {
    bytes: Vec<u8>,
    writable: Data,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Commands were done.
    done: u64,
    /// ... and others were refused.
    refused: u64,
    /// What the driver takes, if it has said so.
    pub offloads: Option<FeatureSet>,
}

impl Counters {
    /// Describes it.
    pub fn describe(&self) -> Value {
        json!({ "done": self.done, "refused": self.refused })
    }
}

impl Net {
    /// Reads a command.
    pub(super) fn read_command(
        &mut self,
        memory: &Memory,
        buffer: &Buffer,
    ) -> Result<(Facts, NetJob)> {
        let readable: Data = buffer.readable().collect();
        let writable: Data = buffer.writable().collect();
        ensure!(writable.length() > 0, "a command without an answer");
        ensure!(
            readable.length() <= MOST,
            "a command of {} bytes",
            readable.length()
        );
        let mut bytes = vec![0; usize::try_from(readable.length())?];
        readable.cursor().read(memory, &mut bytes)?;
        let facts = Facts::of("control");
        Ok((facts, NetJob::Control(Job { bytes, writable })))
    }

    /// Executes a command, and returns how many bytes were written.
    pub(super) fn command_of_driver(
        &mut self,
        memory: &Memory,
        job: &Job,
        actions: &[Action],
    ) -> u32 {
        let fail = actions.iter().find_map(|action| match action {
            Action::Fail(status) => Some(*status),
            _ => None,
        });
        let mut ack = fail.unwrap_or_else(|| match self.execute(&job.bytes) {
            Ok(()) => Ack::Ok.byte(),
            Err(error) => {
                warning!("a command is refused: {error:#}");
                Ack::Error.byte()
            }
        });
        if ack == Ack::Ok.byte() {
            self.commands.done += 1;
        } else {
            self.commands.refused += 1;
        }
        for action in actions {
            if let Action::Status(lie) = action {
                ack = *lie;
            }
        }
        if actions.contains(&Action::NoStatus) {
            return 0;
        }
        match job.writable.cursor().write(memory, &[ack]) {
            Ok(()) => 1,
            Err(error) => {
                warning!("an answer cannot be written: {error}");
                0
            }
        }
    }

    fn execute(&mut self, bytes: &[u8]) -> Result<()> {
        let form = self.form.context("there is no driver")?;
        // What is true counts, not what is said.
        let config = Config::parse(&self.layout.to_bytes(), form.accepted)?;
        let rules = CtrlRules::new(form.accepted, &config)?;
        match rules.decode(bytes)? {
            Command::RxMode(mode, switch) => self.filter.set(mode, switch),
            Command::MacTable(table) => self.filter.set_table(table),
            Command::SetMac(mac) => self.filter.set_own(mac.bytes()),
            Command::AddVlan(id) => self.filter.set_vlan(id.get(), true),
            Command::RemoveVlan(id) => self.filter.set_vlan(id.get(), false),
            Command::AnnounceAck => {
                let told = self.layout.status.get() & !status::ANNOUNCE;
                self.layout.status = told.into();
            }
            Command::QueuePairs(pairs) => self.used_pairs = pairs.get(),
            Command::Offloads(offloads) => self.commands.offloads = Some(offloads.features()),
            // These need features that are not on offer, unless somebody has added them.
            Command::Rss(_)
            | Command::Hash(_)
            | Command::CoalesceTx(_)
            | Command::CoalesceRx(_)
            | Command::CoalesceQueue(..)
            | Command::StatsQuery
            | Command::StatsGet(_) => {
                let [class, command, ..] = bytes else {
                    return Err(CtrlError::Unknown {
                        class: 0,
                        command: 0,
                    }
                    .into());
                };
                let (class, command) = (*class, *command);
                return Err(CtrlError::Unknown { class, command }.into());
            }
        }
        Ok(())
    }
}
