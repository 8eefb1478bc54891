// SPDX-License-Identifier: GPL-2.0

//! What a guest tells of a network interface, and of its protocols.

use super::Counters;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An interface, and what is above it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Guest {
    /// Its name.
    pub interface: String,
    /// Its number, which is another one when it is made anew.
    pub index: Option<u64>,
    /// The driver of its device.
    pub driver: Option<String>,
    /// The name of its device on the virtio bus.
    pub device: Option<String>,
    /// Its MAC address.
    pub address: Option<String>,
    /// How long packets may be.
    pub mtu: Option<u64>,
    /// Whether it can be used.
    pub link: Link,
    /// What the kernel counts of it: `rx_packets`, `tx_dropped`, ...
    pub statistics: Counters,
    /// What waits to be sent.
    pub qdisc: Option<Qdisc>,
    /// Its queues to the device.
    pub tx_queues: Vec<TxQueue>,
    /// What the driver tells the kernel of each queue, by netlink.
    pub queue_stats: QueueStats,
    /// What the driver tells `ethtool -S`.
    pub ethtool: Counters,
    /// What the driver shows in debugfs.
    pub debugfs: BTreeMap<String, String>,
    /// How often its device has interrupted, by the names of the interrupts.
    pub interrupts: Counters,
    /// What it knows of others.
    pub neighbours: Vec<Neighbour>,
    /// What protocols count, of all interfaces: `Ip`, `Tcp`, `Udp6`, ...
    pub protocols: BTreeMap<String, Counters>,
    /// What waits in sockets: `udp`, `tcp6`, ...
    pub sockets: BTreeMap<String, Sockets>,
    /// What all CPUs have taken from network devices.
    pub softnet: Counters,
}

/// Whether an interface can be used.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct Link {
    /// Somebody has set it up.
    pub up: Option<bool>,
    /// It is up, and can send.
    pub running: Option<bool>,
    /// Its device is up.
    pub lower_up: Option<bool>,
    /// The device has a link.
    pub carrier: Option<bool>,
    /// How often that has changed.
    pub carrier_changes: Option<u64>,
    /// The state that the kernel makes of it.
    pub operstate: Option<String>,
}

/// What waits to be sent, and what did.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Qdisc {
    /// Its kind.
    pub kind: String,
    /// Packets have gone to the driver.
    pub packets: Option<u64>,
    /// Their bytes.
    pub bytes: Option<u64>,
    /// Packets wait.
    pub backlog: Option<u64>,
    /// Their bytes.
    pub backlog_bytes: Option<u64>,
    /// Packets were dropped.
    pub drops: Option<u64>,
    /// Packets came back from the driver.
    pub requeues: Option<u64>,
    /// It was too early to send.
    pub overlimits: Option<u64>,
}

/// A queue to the device.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct TxQueue {
    /// How many bytes the driver has not got back.
    pub inflight: Option<u64>,
    /// How often it stood still for too long.
    pub timeouts: Option<u64>,
}

/// What the driver tells of each queue.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct QueueStats {
    /// Queues from the device.
    pub rx: Vec<Counters>,
    /// Queues to the device.
    pub tx: Vec<Counters>,
}

/// What is known of another station.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Neighbour {
    /// Its address.
    pub address: String,
    /// Its MAC address, if that is known.
    pub mac: Option<String>,
    /// Whether it answers: `reachable`, `stale`, `incomplete`, `failed`, ...
    pub state: String,
}

/// What waits in all sockets of a kind.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct Sockets {
    /// How many there are.
    pub sockets: u64,
    /// Bytes that were not sent.
    pub tx_bytes: u64,
    /// Bytes that nobody has taken.
    pub rx_bytes: u64,
    /// Datagrams were dropped.
    pub drops: Option<u64>,
}
