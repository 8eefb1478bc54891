// SPDX-License-Identifier: GPL-2.0

//! Which address is at which port.

use crate::frame::Mac;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// The most addresses: a guest can make up any number of them.
const MOST: usize = 8192;

/// Where an address was seen.
#[derive(Clone, Copy, Debug)]
pub struct Learnt {
    /// At which port.
    pub port: usize,
    /// When, for the last time.
    pub seen: Instant,
}

/// The addresses that were seen, in each VLAN.
#[derive(Debug)]
pub struct Table {
    ageing: Duration,
    entries: HashMap<(u16, Mac), Learnt>,
    /// Addresses were seen at another port than before.
    pub moves: u64,
    /// Addresses were not learnt, as there were too many.
    pub overflows: u64,
}

impl Table {
    /// Makes one whose entries end after some time.
    pub fn new(ageing: Duration) -> Self {
        Self {
            ageing,
            entries: HashMap::new(),
            moves: 0,
            overflows: 0,
        }
    }

    /// Notes that an address is at a port.
    pub fn learn(&mut self, vlan: u16, mac: Mac, port: usize, now: Instant) {
        let new = Learnt { port, seen: now };
        if let Some(entry) = self.entries.get_mut(&(vlan, mac)) {
            if entry.port != port {
                self.moves += 1;
            }
            *entry = new;
            return;
        }
        if self.entries.len() >= MOST {
            self.age(now);
        }
        if self.entries.len() >= MOST {
            self.overflows += 1;
        } else {
            self.entries.insert((vlan, mac), new);
        }
    }

    /// Finds the port of an address.
    pub fn find(&self, vlan: u16, mac: Mac, now: Instant) -> Option<usize> {
        let entry = self.entries.get(&(vlan, mac))?;
        let age = now.saturating_duration_since(entry.seen);
        (age < self.ageing).then_some(entry.port)
    }

    /// Forgets what was not seen for long.
    pub fn age(&mut self, now: Instant) {
        let ageing = self.ageing;
        self.entries
            .retain(|_, entry| now.saturating_duration_since(entry.seen) < ageing);
    }

    /// Sets how long entries last.
    pub fn set_ageing(&mut self, ageing: Duration) {
        self.ageing = ageing;
    }

    /// Forgets the addresses at a port, or all.
    pub fn flush(&mut self, port: Option<usize>) {
        self.entries
            .retain(|_, entry| port.is_some_and(|port| port != entry.port));
    }

    /// Returns all entries, in their order.
    pub fn list(&self) -> Vec<(u16, Mac, Learnt)> {
        let mut all: Vec<_> = self
            .entries
            .iter()
            .map(|((vlan, mac), learnt)| (*vlan, *mac, *learnt))
            .collect();
        all.sort_by_key(|(vlan, mac, _)| (*vlan, *mac));
        all
    }
}
