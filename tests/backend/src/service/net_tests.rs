// SPDX-License-Identifier: GPL-2.0

//! A network device from the first message to the last, with a front-end that is not QEMU.

use super::{
    host::{AVAILABLE, ENOUGH, Host, LOG_ALL, SIZE, USED, event},
    *,
};
use crate::{
    frame::Frame,
    memory::tests::{GUEST, marked},
    net::{Net, Options},
    rule::{ACTIONS, Scope},
    switch::{Handle, PortOptions, Switch},
};
use serde_json::json;
use std::{os::unix::fs::FileExt, thread};
use vhost::{
    VhostBackend,
    vhost_user::{VhostUserFrontend, VhostUserProtocolFeatures, message::VhostUserHeaderFlag},
};
use virtio_wire::ring::split::Descriptor;
use vmm_sys_util::eventfd::EventFd;

const LENGTH: u64 = 0x20000;
/// How far apart the queues are.
const STRIDE: u64 = 0x4000;
/// Where buffers are, each of `BUFFER` bytes.
const DATA: u64 = 0x10000;
const BUFFER: u64 = 0x400;

/// VERSION_1, MRG_RXBUF, and the protocol.
const FEATURES: u64 = 1 << 32 | 1 << 15 | 1 << 30;

/// A device that runs, its other end, and another port of its switch.
struct Bench {
    host: Host<Net>,
    kicks: [EventFd; 2],
    calls: [EventFd; 2],
    available: [u16; 2],
    other: Handle,
}

impl Bench {
    fn new(name: &str) -> Self {
        let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
        let port = switch.add(PortOptions::new("net")).expect("a port");
        let other = switch.add(PortOptions::new("other")).expect("a port");
        other.outlet().set_open(true);
        let net = Net::new(&Options::new("net"), port);
        let mut bench = Self {
            host: Host::new(name, net, LENGTH),
            kicks: [event(), event()],
            calls: [event(), event()],
            available: [0; 2],
            other,
        };
        bench.negotiate();
        bench
    }

    fn negotiate(&mut self) {
        let region = self.host.region();
        let front = &mut self.host.front;
        front.set_owner().expect("an owner");
        front.get_features().expect("features");
        let there = front.get_protocol_features().expect("features");
        assert!(!there.contains(VhostUserProtocolFeatures::INFLIGHT_SHMFD));
        front.set_protocol_features(there).expect("accepted");
        assert_eq!(front.get_queue_num().expect("a number"), 8, "pairs");
        front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        front.set_features(FEATURES).expect("accepted");
        front.set_mem_table(&[region]).expect("memory");
    }

    /// Starts a queue, not enabled.
    fn start(&mut self, queue: usize) {
        let offset = u64::try_from(queue).expect("a queue") * STRIDE;
        let (kick, call) = (&self.kicks[queue], &self.calls[queue]);
        self.host.start(queue, offset, 0, kick, call);
    }

    /// Makes a buffer of a queue available: in the queue to transmit, with a frame.
    fn add(&mut self, queue: usize, frame: Option<&[u8]>) {
        let index = self.available[queue] % SIZE;
        let base = u64::try_from(queue).expect("a queue") * STRIDE;
        let data = DATA + (u64::from(index) + base / STRIDE * u64::from(SIZE)) * BUFFER;
        let (length, flags) = match frame {
            Some(frame) => {
                self.host.write(data, &[&[0; 12], frame].concat());
                (u32::try_from(frame.len()).expect("a length") + 12, 0_u16)
            }
            None => (100, 2),
        };
        let descriptor = Descriptor {
            addr: (GUEST + data).into(),
            len: length.into(),
            flags: flags.into(),
            next: 0.into(),
        };
        self.host
            .write(base + u64::from(index) * 16, &descriptor.to_bytes());
        let entry = base + AVAILABLE + 4 + u64::from(index) * 2;
        self.host.write(entry, &index.to_le_bytes());
        self.available[queue] += 1;
        self.host
            .write(base + AVAILABLE + 2, &self.available[queue].to_le_bytes());
        self.kicks[queue].write(1).expect("a kick");
    }

    /// Returns the lengths of what was used of a queue.
    fn used(&self, queue: usize) -> Vec<u32> {
        let base = u64::try_from(queue).expect("a queue") * STRIDE + USED;
        let index = u16::from_le_bytes(self.host.read(base + 2));
        (0..u64::from(index))
            .map(|at| u32::from_le_bytes(self.host.read(base + 8 + at * 8)))
            .collect()
    }

    fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..2000 {
            if done(self) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{what}: {:#}", self.host.counters());
    }
}

fn frame(length: usize) -> Vec<u8> {
    let mut bytes = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 7], &[0x88, 0xb5]].concat();
    bytes.resize(length, 0x5a);
    bytes
}

#[test]
fn frames_go_through() {
    let mut bench = Bench::new("through");
    for queue in 0..2 {
        bench.start(queue);
        bench.host.enable(queue, true);
    }
    bench.add(1, Some(&frame(60)));
    bench.wait("a frame leaves", |bench| !bench.other.outlet().is_empty());
    assert_eq!(bench.other.outlet().take()[0].bytes, frame(60));
    bench.wait("the buffer comes back", |bench| bench.used(1) == [0]);

    // A frame waits for buffers, of which there are too few at first.
    bench.other.send(Frame::plain(frame(60)));
    bench.other.send(Frame::plain(frame(200)));
    bench.add(0, None);
    bench.wait("a frame is received", |bench| bench.used(0) == [72]);
    assert!(bench.calls[0].read().is_ok(), "the driver is notified");
    bench.add(0, None);
    bench.add(0, None);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(bench.used(0), [72], "no part of a frame is given");
    bench.add(0, None);
    bench.wait("the rest", |bench| bench.used(0) == [72, 100, 100, 12]);
    let counters = bench.host.counters();
    assert_eq!(counters["class"]["rx"]["merged"], 1);
    assert_eq!(counters["queues"][0]["out"], 0);
    assert_eq!(counters["queues"][0]["twice"], 0);
    assert_eq!(bench.host.front.get_vring_base(0).expect("a base"), 4);
}

#[test]
fn queues_that_are_not_enabled_are_emptied() {
    let mut bench = Bench::new("disabled");
    for queue in 0..2 {
        bench.start(queue);
    }
    bench.add(1, Some(&frame(60)));
    bench.wait("it is taken", |bench| bench.used(1) == [0]);
    assert!(bench.other.outlet().is_empty(), "but goes nowhere");
    bench.add(0, None);
    bench.other.send(Frame::plain(frame(60)));
    thread::sleep(Duration::from_millis(50));
    assert_eq!(bench.used(0), [0; 0], "nothing is received");
    bench.host.enable(0, true);
    bench.other.send(Frame::plain(frame(60)));
    bench.wait("it is received", |bench| bench.used(0) == [72]);
    let counters = bench.host.counters();
    assert_eq!(counters["class"]["tx"]["disabled"], 1);
    assert_eq!(counters["class"]["outlet"]["lost_closed"], 1);
}

#[test]
fn what_is_received_is_logged() {
    let mut bench = Bench::new("net-log");
    let log = bench.host.give_log(ENOUGH).expect("a log");
    let accepted = bench.host.front.set_features(FEATURES | LOG_ALL);
    accepted.expect("accepted");
    for queue in 0..2 {
        bench.start(queue);
        let offset = u64::try_from(queue).expect("a queue") * STRIDE;
        let used = Some(GUEST + offset + USED);
        bench.host.place(queue, offset, used);
        bench.host.enable(queue, true);
    }
    // A frame in buffers 3 and 4 of the receive queue, of which the second is in another page.
    for _ in 0..3 {
        bench.add(0, None);
        bench.other.send(Frame::plain(frame(60)));
    }
    bench.wait("frames", |bench| bench.used(0).len() == 3);
    bench.host.counters();
    log.write_all_at(&[0; 8], 0).expect("zeroes");
    bench.add(0, None);
    bench.add(0, None);
    bench.other.send(Frame::plain(frame(150)));
    bench.wait("a frame", |bench| bench.used(0).len() == 5);
    // Whoever has this has waited for the device.
    bench.host.counters();
    let page = |address: u64| (GUEST + address) >> 12;
    assert_eq!(marked(&log), [page(USED), page(DATA), page(DATA + 0x1000)]);
    bench.add(1, Some(&frame(60)));
    bench.wait("it is taken", |bench| bench.used(1) == [0]);
    bench.host.counters();
    let all = [
        page(USED),
        page(STRIDE + USED),
        page(DATA),
        page(DATA + 0x1000),
    ];
    assert_eq!(marked(&log), all);
}

/// Where a field of the header of a frame is, and how many bytes it has.
fn field(name: &str) -> Option<(u64, usize)> {
    Some(match name {
        "flags" => (0, 1),
        "gso-type" => (1, 1),
        "hdr-len" => (2, 2),
        "gso-size" => (4, 2),
        "csum-start" => (6, 2),
        "csum-offset" => (8, 2),
        "num-buffers" => (10, 2),
        _ => return None,
    })
}

/// Does an act to a frame, and fails if it is not seen.
fn check(name: &str) {
    let mut bench = Bench::new(&format!("act-{name}"));
    for queue in 0..2 {
        bench.start(queue);
        bench.host.enable(queue, true);
    }
    let mut rule = json!({ "do": name, "op": "rx", "count": 1 });
    let there = field(name);
    if let Some((_, length)) = there {
        rule["value"] = if length == 1 { 0x5a } else { 0x5a5a }.into();
    }
    bench.host.command("inject", rule);
    bench.add(0, None);
    bench.other.send(Frame::plain(frame(60)));
    match (name, there) {
        (_, Some((at, length))) => {
            bench.wait(name, |bench| bench.used(0) == [72]);
            let header: [u8; 12] = bench.host.read(DATA);
            let (begin, end) = (usize::try_from(at).expect("a place"), length);
            assert_eq!(header[begin..begin + end], [0x5a, 0x5a][..end]);
        }
        ("drop", _) => {
            bench.wait(name, |bench| {
                bench.host.command("rules", json!({}))[0]["done"] == 1
            });
            bench.other.send(Frame::plain(frame(70)));
            bench.wait("the next one", |bench| bench.used(0) == [82]);
        }
        ("truncate", _) => bench.wait(name, |bench| bench.used(0) == [20]),
        ("lengthen", _) => bench.wait(name, |bench| bench.used(0) == [100]),
        _ => panic!("{name} is not tested"),
    }
}

#[test]
fn each_act_on_a_frame_is_seen_by_the_driver() {
    for act in ACTIONS.iter().filter(|act| act.scope == Scope::Net) {
        check(act.name);
    }
}
