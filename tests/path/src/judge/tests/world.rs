// SPDX-License-Identifier: GPL-2.0

//! A guest with a network device at a switch that has a tap, too.

use crate::{judge::judge, snapshot::Snapshot};
use serde::Deserialize;
use serde_json::{Value, json};

/// How many frames pass.
pub const MANY: u64 = 20;

/// Who drives the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// That of this project.
    Ours,
    /// That of the kernel, which counts less.
    InTree,
    /// The same in a guest without `ethtool`.
    Bare,
}

/// All of them.
pub const DRIVERS: [Driver; 3] = [Driver::Ours, Driver::InTree, Driver::Bare];

/// What grows with each frame out, hop by hop.
const OUT: &[(&str, &[&str])] = &[
    ("socket", &["/guest/protocols/Ip/OutRequests"]),
    ("qdisc", &["/guest/qdisc/packets"]),
    ("ring", &["/guest/ethtool/tx_kicks"]),
    (
        "pop",
        &[
            "/host/counters/queues/1/kicks",
            "/host/counters/queues/1/taken",
            "/host/counters/queues/1/returned",
            "/host/counters/class/tx/frames",
        ],
    ),
    (
        "back",
        &[
            "/host/counters/queues/1/calls",
            "/guest/interrupts/virtio1-output.0",
            "/guest/statistics/tx_packets",
            "/guest/queue_stats/tx/0/packets",
            "/guest/ethtool/tx_packets",
        ],
    ),
    ("in", &["/host/switch/ports/net/in_frames"]),
    (
        "out",
        &[
            "/host/switch/ports/host/out_frames",
            "/host/switch/ports/host/outlet/taken",
        ],
    ),
    ("tap", &["/host/peer/to_host"]),
];

/// What grows with each frame in.
const IN: &[(&str, &[&str])] = &[
    ("tap", &["/host/peer/from_host"]),
    ("in", &["/host/switch/ports/host/in_frames"]),
    (
        "out",
        &[
            "/host/switch/ports/net/out_frames",
            "/host/switch/ports/net/outlet/taken",
        ],
    ),
    (
        "rx",
        &[
            "/host/counters/class/rx/frames",
            "/host/counters/queues/0/taken",
            "/host/counters/queues/0/returned",
        ],
    ),
    ("call", &["/host/counters/queues/0/calls"]),
    ("interrupt", &["/guest/interrupts/virtio1-input.0"]),
    (
        "driver",
        &[
            "/guest/statistics/rx_packets",
            "/guest/queue_stats/rx/0/packets",
            "/guest/ethtool/rx_packets",
        ],
    ),
    (
        "stack",
        &[
            "/guest/protocols/Ip/InReceives",
            "/guest/protocols/Ip/InDelivers",
            "/guest/protocols/Icmp/InMsgs",
        ],
    ),
];

/// Both sides, before and after.
#[derive(Clone, Debug)]
pub struct World {
    pub before: Value,
    pub after: Value,
}

impl World {
    /// One in which [`MANY`] frames go each way.
    pub fn new(driver: Driver) -> Self {
        let before = json!({ "guest": guest(driver), "host": host() });
        let mut world = Self {
            after: before.clone(),
            before,
        };
        world.pass(OUT, "tap", MANY);
        world.pass(IN, "stack", MANY);
        world
    }

    /// One in which frames come as far as a hop on the way out, and none comes back.
    pub fn out_to(driver: Driver, hop: &str) -> Self {
        let mut world = Self::new(driver);
        world.after = world.before.clone();
        world.pass(OUT, hop, MANY);
        world
    }

    /// One in which frames go out, and come as far as a hop on the way in.
    pub fn in_to(driver: Driver, hop: &str) -> Self {
        let mut world = Self::out_to(driver, "tap");
        world.pass(IN, hop, MANY);
        world
    }

    fn pass(&mut self, hops: &[(&str, &[&str])], last: &str, count: u64) {
        assert!(
            hops.iter().any(|(hop, _)| *hop == last),
            "there is no hop {last}"
        );
        for (hop, counters) in hops {
            for counter in *counters {
                // Not every guest counts all of it.
                if self.before.pointer(counter).is_some() {
                    self.grow(counter, count);
                }
            }
            if *hop == last {
                break;
            }
        }
    }

    /// Has something be so much more in the end.
    pub fn grow(&mut self, pointer: &str, by: u64) {
        let before = self.before.pointer(pointer).and_then(Value::as_u64);
        let before = before.unwrap_or_else(|| panic!("there is no counter {pointer}"));
        self.set(pointer, json!(before + by));
    }

    /// Has something be this in the end.
    pub fn set(&mut self, pointer: &str, value: Value) {
        let place = self.after.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("there is no {pointer}")) = value;
    }

    /// The same at all times.
    pub fn set_both(&mut self, pointer: &str, value: Value) {
        let place = self.before.pointer_mut(pointer);
        *place.unwrap_or_else(|| panic!("there is no {pointer}")) = value.clone();
        self.set(pointer, value);
    }

    /// Has nobody see something.
    pub fn hide(&mut self, pointer: &str) {
        let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
        for snapshot in [&mut self.before, &mut self.after] {
            let parent = snapshot.pointer_mut(parent);
            if let Some(fields) = parent.and_then(Value::as_object_mut) {
                fields.remove(name);
            }
        }
    }

    /// Judges it, as of when nothing moves any more.
    pub fn line(&self) -> String {
        let mut world = self.clone();
        let counters = world.after.pointer("/host/counters").cloned();
        let earlier = world.after.pointer_mut("/host/earlier");
        if let (Some(earlier), Some(counters)) = (earlier, counters) {
            *earlier = counters;
        }
        world.line_as_is()
    }

    /// Judges it.
    pub fn line_as_is(&self) -> String {
        let read = |value: &Value| Snapshot::deserialize(value).expect("a snapshot");
        judge(&read(&self.before), &read(&self.after))
            .verdict
            .to_string()
    }

    /// Fails unless it is said that frames stop at a hop, for a reason that has all of these words.
    pub fn stops(&self, hop: &str, words: &[&str]) {
        let line = self.line();
        let begin = format!("frames stop at {hop}: ");
        assert!(line.starts_with(&begin), "not at {hop}: {line}");
        assert!(!line.contains('\n'), "{line}");
        for word in words {
            assert!(line.contains(word), "without {word:?}: {line}");
        }
    }
}

fn guest(driver: Driver) -> Value {
    let mut guest = json!({
        "interface": "eth0", "index": 2, "driver": "virtio_net", "device": "virtio1",
        "address": "52:54:00:00:00:01", "mtu": 1500,
        "link": {
            "up": true, "running": true, "lower_up": true, "carrier": true, "carrier_changes": 1,
            "operstate": "up",
        },
        "statistics": {
            "rx_packets": 7, "rx_bytes": 600, "rx_errors": 0, "rx_dropped": 0, "rx_frame_errors": 0,
            "rx_length_errors": 0, "rx_nohandler": 0, "rx_otherhost_dropped": 0,
            "tx_packets": 9, "tx_bytes": 800, "tx_errors": 0, "tx_dropped": 0,
        },
        "qdisc": {
            "kind": "pfifo_fast", "packets": 9, "bytes": 800, "backlog": 0, "backlog_bytes": 0,
            "drops": 0, "requeues": 0, "overlimits": 0,
        },
        "tx_queues": [{ "inflight": 0, "timeouts": 0 }],
        "queue_stats": {
            "rx": [{ "packets": 7, "bytes": 600 }],
            "tx": [{ "packets": 9, "bytes": 800, "stop": 0, "wake": 0 }],
        },
        "ethtool": {
            "rx_drops": 0, "rx_kicks": 1, "tx_kicks": 9, "tx_tx_timeouts": 0,
            "rx0_drops": 0, "rx0_kicks": 1, "tx0_kicks": 9, "tx0_tx_timeouts": 0,
        },
        "interrupts": { "virtio1-config": 0, "virtio1-input.0": 7, "virtio1-output.0": 2 },
        "neighbours": [
            { "address": "10.0.0.1", "mac": "52:54:00:00:00:fe", "state": "reachable" },
        ],
        "protocols": {
            "Ip": {
                "Forwarding": 2, "InReceives": 5, "InHdrErrors": 0, "InAddrErrors": 0,
                "InUnknownProtos": 0, "InDiscards": 0, "InDelivers": 5, "OutRequests": 5,
                "OutDiscards": 0, "OutNoRoutes": 0,
            },
            "IpExt": { "InNoRoutes": 0, "InCsumErrors": 0 },
            "Icmp": { "InMsgs": 5, "InErrors": 0, "InCsumErrors": 0 },
            "Tcp": { "InSegs": 0, "InErrs": 0, "InCsumErrors": 0 },
            "TcpExt": { "IPReversePathFilter": 0, "ListenDrops": 0 },
            "Udp": {
                "InDatagrams": 0, "NoPorts": 0, "InErrors": 0, "OutDatagrams": 0, "RcvbufErrors": 0,
                "SndbufErrors": 0, "InCsumErrors": 0,
            },
            "Ip6": {
                "InReceives": 2, "InDelivers": 0, "InDiscards": 2, "InHdrErrors": 0, "InNoRoutes": 0,
                "OutRequests": 4, "OutNoRoutes": 0,
            },
        },
        "sockets": { "udp": { "sockets": 0, "tx_bytes": 0, "rx_bytes": 0 } },
        "softnet": { "processed": 40, "dropped": 0, "squeezed": 0 },
    });
    match driver {
        Driver::InTree => {}
        Driver::Ours => {
            guest["driver"] = json!("virtio_net_rs");
            guest["debugfs"] = json!({ "phase": "live", "violations": "0" });
            guest["ethtool"] = json!({
                "rx_packets": 7, "rx_bytes": 600, "rx_drops": 0, "rx_kicks": 1, "rx_gso_packets": 0,
                "rx_buffers": 7, "rx_bad_header": 0, "rx_bad_length": 0, "rx_bad_buffers": 0,
                "rx_no_memory": 0,
                "tx_packets": 9, "tx_bytes": 800, "tx_drops": 0, "tx_kicks": 9, "tx_tx_timeouts": 0,
                "tx_gso_packets": 0, "tx_stops": 0, "tx_wakes": 0, "resets": 0,
            });
        }
        Driver::Bare => {
            guest.as_object_mut().expect("an object").remove("ethtool");
        }
    }
    guest
}

fn queue(available: u64, kicks: u64, taken: u64) -> Value {
    json!({
        "size": 256, "running": true, "enabled": true, "paused": false,
        "available": available, "asked": true, "wanted": 1, "owes_call": false,
        "waiting": 0, "in_flight": 0, "out": 0, "base": taken,
        "kicks": kicks, "empty_kicks": 0, "calls": taken, "quiet": 0, "storm_calls": 0,
        "taken": taken, "returned": taken, "resumed": 0, "depth": 3,
        "batches": { "count": 5, "sum": 5, "buckets": [[1, 5]] },
        "twice": 0, "errors": 0, "starts": 1, "kicks_after_reset": 0,
    })
}

fn port(vlans: &str, in_frames: u64, out_frames: u64) -> Value {
    json!({
        "in_frames": in_frames, "in_bytes": 60 * in_frames, "in_large": 0,
        "out_frames": out_frames, "out_bytes": 60 * out_frames,
        "flooded": 3, "unknown": 0, "nowhere": 0, "filtered": 0, "malformed": 0, "wrong_vlan": 0,
        "wrong_source": 0, "other_vlan": 0, "reserved": 0, "link_down": 0,
        "vlans": vlans, "link": true, "captured": null,
        "outlet": { "waiting": 0, "taken": out_frames, "lost_full": 0, "lost_closed": 0 },
        "shaper": { "lost": 0, "duplicated": 0, "reordered": 0, "delayed": 0 },
    })
}

fn host() -> Value {
    let counters = json!({
        "name": "net", "connected": true, "connections": 1, "messages": 60, "refused": 0, "cuts": 0,
        "resets": 1, "config_changes": 0, "features": 0x1_3060_7fa3_u64, "logging": false,
        "queues": [queue(249, 1, 7), queue(0, 9, 9)],
        "class": {
            "rx": {
                "frames": 7, "bytes": 600, "large": 0, "partial": 0, "merged": 0, "cut": 0,
                "filtered": 0, "malformed": 0, "too_long": 0, "no_queue": 0, "lost_full": 0,
                "lost_reset": 0, "left_out": 0, "lies": 0,
            },
            "tx": {
                "frames": 9, "bytes": 800, "large": 0, "partial": 0, "slips": 0, "bad_header": 0,
                "too_long": 0, "disabled": 0, "left_out": 0,
            },
            "control": {}, "receiving": 1, "waiting": [0],
            "outlet": { "waiting": 0, "taken": 7, "lost_full": 0, "lost_closed": 0 },
        },
    });
    json!({
        "device": "net", "port": "host", "earlier": counters, "counters": counters,
        "explain": {
            "0": ["249 buffers are there to be filled."],
            "1": ["All that the driver has made available was taken."],
        },
        "switch": {
            "ports": {
                "net": port("access 10", 9, 7),
                "host": port("trunk 10:20 native none", 7, 9),
                "other": port("access 10", 0, 3),
            },
            "addresses": 2, "moves": 0, "overflows": 0,
        },
        "table": [
            { "vlan": 10, "mac": "52:54:00:00:00:01", "port": "net", "age": 0 },
            { "vlan": 10, "mac": "52:54:00:00:00:fe", "port": "host", "age": 0 },
        ],
        "peer": {
            "interface": "tap0", "tcp_offload": true, "udp_offload": true,
            "from_host": 7, "from_host_large": 0, "to_host": 9, "to_host_large": 0,
            "malformed": 0, "too_long": 0, "down": 0, "refused": 0,
        },
        "interface": {
            "name": "tap0", "up": true, "operstate": "up", "master": "br0",
            "statistics": { "rx_packets": 9, "tx_packets": 7, "tx_dropped": 0 },
        },
    })
}
