// SPDX-License-Identifier: GPL-2.0

//! What is seen beside the backend. Only what is judged has a type: the snapshot has all of it.

use super::Counters;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A network device of the backend, its switch, and what is at another port of that.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Host {
    /// The device, and its port.
    pub device: String,
    /// The port at which its frames are to leave, and those for it come in.
    pub port: Option<String>,
    /// What the device has counted.
    pub counters: Option<Device>,
    /// The same, a moment before.
    pub earlier: Option<Device>,
    /// What is said of its queues, by their numbers.
    pub explain: BTreeMap<String, Vec<String>>,
    /// What the switch has counted.
    pub switch: Option<Switch>,
    /// Which address is at which port.
    pub table: Option<Vec<Entry>>,
    /// What was counted at the other port.
    pub peer: Option<Peer>,
    /// The interface of the host that is there.
    pub interface: Option<Interface>,
}

/// What a network device has counted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Whether QEMU is there.
    pub connected: Option<bool>,
    /// What was negotiated.
    pub features: Option<u64>,
    /// Its queues.
    pub queues: Vec<Queue>,
    /// What it does as a network device.
    pub class: Option<Class>,
}

/// What a network device does.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Class {
    /// Frames for the driver.
    pub rx: Counters,
    /// Frames of the driver.
    pub tx: Counters,
    /// How many frames wait for buffers, for each queue from the device.
    pub waiting: Vec<u64>,
}

/// A queue.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// It has a ring.
    pub running: Option<bool>,
    /// QEMU lets it run.
    pub enabled: Option<bool>,
    /// The control socket has stopped it.
    pub paused: Option<bool>,
    /// Buffers that were not taken.
    pub available: Option<u64>,
    /// The driver is asked to notify.
    pub asked: Option<bool>,
    /// After how many more the driver wants to be notified.
    pub wanted: Option<u64>,
    /// There is no way to notify the driver.
    pub owes_call: Option<bool>,
    /// Buffers that were taken, and not returned.
    pub out: Option<u64>,
    /// How many there can be.
    pub size: Option<u64>,
    /// The driver has notified.
    pub kicks: Option<u64>,
    /// It was notified.
    pub calls: Option<u64>,
    /// It did not want to be.
    pub quiet: Option<u64>,
    /// Buffers were taken.
    pub taken: Option<u64>,
    /// ... and returned.
    pub returned: Option<u64>,
    /// The ring was not to be understood.
    pub errors: Option<u64>,
    /// It was started.
    pub starts: Option<u64>,
}

/// What the switch has counted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Switch {
    /// Its ports, by their names.
    pub ports: BTreeMap<String, Port>,
}

/// What was counted at a port.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Port {
    /// The VLANs that it is in.
    pub vlans: Option<String>,
    /// Whether the link is up.
    pub link: Option<bool>,
    /// What waits to leave, or did.
    pub outlet: Counters,
    /// What was lost there as it was wanted.
    pub shaper: Counters,
    /// All else.
    #[serde(flatten)]
    pub counters: Counters,
}

/// Where an address is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// In this VLAN.
    pub vlan: u64,
    /// The address.
    pub mac: String,
    /// The port.
    pub port: String,
}

/// What is at another port: a tap, a station, the device of another guest, ...
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Peer {
    /// If it is a device: what it does.
    pub class: Option<Class>,
    /// All else.
    #[serde(flatten)]
    pub counters: Counters,
}

/// An interface of the host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Somebody has set it up.
    pub up: Option<bool>,
    /// The bridge that it is at.
    pub master: Option<String>,
    /// What the host counts of it.
    pub statistics: Counters,
}
