// SPDX-License-Identifier: GPL-2.0

//! A device from the first message to the last, with a front-end that is not QEMU.

use super::{
    host::{AVAILABLE, Host, SIZE, event},
    *,
};
use crate::{
    blk::{Blk, Medium, Options},
    memory::tests::{GUEST, USER},
};
use serde_json::json;
use std::{io::Read, os::fd::AsRawFd, thread};
use vhost::{
    VhostBackend, VhostUserMemoryRegionInfo,
    vhost_user::{
        Frontend, VhostUserFrontend, VhostUserProtocolFeatures,
        message::{VhostUserConfigFlags, VhostUserHeaderFlag},
    },
};
use virtio_wire::{
    blk::{RequestHeader, RequestKind},
    ring::split::Descriptor,
};
use vmm_sys_util::eventfd::EventFd;

const LENGTH: u64 = 0x10000;

/// VERSION_1, FLUSH, and the protocol.
pub(super) const FEATURES: u64 = 1 << 32 | 1 << 9 | 1 << 30;

/// A device that runs, and its other end.
pub(super) struct Bench {
    pub(super) host: Host<Blk>,
    kick: EventFd,
    pub(super) call: EventFd,
    sent: u16,
}

fn protocol() -> VhostUserProtocolFeatures {
    VhostUserProtocolFeatures::MQ
        | VhostUserProtocolFeatures::REPLY_ACK
        | VhostUserProtocolFeatures::BACKEND_REQ
        | VhostUserProtocolFeatures::CONFIG
        | VhostUserProtocolFeatures::INFLIGHT_SHMFD
        | VhostUserProtocolFeatures::LOG_SHMFD
        | VhostUserProtocolFeatures::RESET_DEVICE
        | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS
}

impl Bench {
    pub(super) fn new(name: &str) -> Self {
        let blk = Blk::new(&Options::new(Medium::Ram(64 * 512))).expect("a disk");
        let mut bench = Self {
            host: Host::new(name, blk, LENGTH),
            kick: event(),
            call: event(),
            sent: 0,
        };
        bench.negotiate();
        bench
    }

    pub(super) fn negotiate(&mut self) {
        let front = &mut self.host.front;
        front.set_owner().expect("an owner");
        let offered = front.get_features().expect("features");
        assert_ne!(offered & 1 << 30, 0, "there is a protocol to negotiate");
        let there = front.get_protocol_features().expect("features");
        assert_eq!(there, protocol());
        front.set_protocol_features(protocol()).expect("accepted");
        front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        front.set_features(FEATURES).expect("accepted");
    }

    /// Gives it memory, starts queue 0, and has it serve a request.
    pub(super) fn serves_first(&mut self) {
        let region = self.host.region();
        self.host.front.set_mem_table(&[region]).expect("memory");
        self.start(0);
        self.send();
        self.wait();
        assert_eq!(self.status(), 0);
    }

    /// Starts queue 0 at some base.
    pub(super) fn start(&mut self, base: u16) {
        self.host.start(0, 0, base, &self.kick, &self.call);
        self.host.enable(0, true);
    }

    /// Makes a request to read the first sector available.
    pub(super) fn send(&mut self) {
        self.prepare();
        self.kick();
    }

    /// Makes a request, of which the device is not told.
    pub(super) fn prepare(&mut self) {
        let header = RequestHeader::new(RequestKind::Read, 0);
        let write = |address, bytes: &[u8]| self.host.write(address, bytes);
        write(0x3000, &header.to_bytes());
        write(0x3100, &[0xff]);
        for (at, address, length, flags) in [
            (0, 0x3000, 16, 1_u16),
            (1, 0x4000, 512, 3),
            (2, 0x3100, 1_u32, 2),
        ] {
            let descriptor = Descriptor {
                addr: (GUEST + address).into(),
                len: length.into(),
                flags: flags.into(),
                next: (at + 1).into(),
            };
            write(u64::from(at) * 16, &descriptor.to_bytes());
        }
        write(AVAILABLE + 4 + u64::from(self.sent % SIZE) * 2, &[0; 2]);
        self.sent += 1;
        write(AVAILABLE + 2, &self.sent.to_le_bytes());
    }

    pub(super) fn kick(&self) {
        self.kick.write(1).expect("a kick");
    }

    pub(super) fn status(&self) -> u8 {
        let [status] = self.host.read(0x3100);
        status
    }

    /// Waits for the interrupt.
    pub(super) fn wait(&self) {
        for _ in 0..2000 {
            if self.call.read().is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("there is no interrupt");
    }
}

#[test]
fn who_notifies_from_now_on_does_so_at_once() {
    let mut bench = Bench::new("call");
    let unused = event();
    bench.host.front.set_vring_call(0, &unused).expect("a call");
    assert!(unused.read().is_err(), "nothing was returned");
    bench.serves_first();
    // QEMU does not look at the one that it has given before.
    bench.call = event();
    let call = &bench.call;
    bench.host.front.set_vring_call(0, call).expect("a call");
    bench.wait();
    assert_eq!(bench.host.counters()["queues"][0]["calls"], 2);
    bench.send();
    bench.wait();
    assert_eq!(bench.host.counters()["queues"][0]["calls"], 3);
}

#[test]
fn a_request_is_served() {
    let mut bench = Bench::new("served");
    assert_eq!(bench.host.front.get_queue_num().expect("a number"), 8);
    bench.serves_first();

    let counters = bench.host.counters();
    assert_eq!(counters["queues"][0]["taken"], 1);
    assert_eq!(counters["queues"][0]["calls"], 1);
    assert_eq!(counters["class"]["requests"]["read"], 1);
    assert_eq!(bench.host.front.get_vring_base(0).expect("a base"), 1);

    // It is stopped: a kick does nothing.
    bench.send();
    thread::sleep(Duration::from_millis(50));
    assert_eq!(bench.status(), 0xff);
    bench.start(1);
    bench.wait();
    assert_eq!(bench.status(), 0);

    bench.host.front.reset_device().expect("a reset");
    let counters = bench.host.counters();
    assert_eq!(counters["queues"][0]["running"], false);
    assert_eq!(counters["resets"], 1);
}

#[test]
fn another_connection_takes_up_what_was_taken() {
    let mut bench = Bench::new("again");
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    let wanted = vhost::vhost_user::message::VhostUserInflight::new(0, 0, 1, SIZE);
    let (record, file) = bench.host.front.get_inflight_fd(&wanted).expect("a record");
    bench.start(0);
    bench
        .host
        .command("inject", json!({ "do": "hold", "count": 1 }));
    bench.send();
    while bench.host.counters()["queues"][0]["waiting"] != 1 {
        thread::sleep(Duration::from_millis(5));
    }
    bench.host.command("disconnect", json!({}));

    bench.host.reconnect();
    bench.negotiate();
    let region = bench.host.region();
    bench
        .host
        .front
        .add_mem_region(&region)
        .expect("memory, in another way");
    bench
        .host
        .front
        .set_inflight_fd(&record, file.as_raw_fd())
        .expect("the record");
    bench.start(0);
    bench.wait();
    let counters = bench.host.counters();
    assert_eq!(counters["queues"][0]["resumed"], 1);
    assert_eq!(counters["connections"], 2);
    // The interrupt may be the one that is sent for the backend before.
    while bench.status() == 0xff {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.status(), 0);
}

#[test]
fn the_configuration_space_is_read_and_announced() {
    let mut bench = Bench::new("config");
    let flags = VhostUserConfigFlags::empty();
    let capacity = |front: &mut Frontend| {
        let (_, bytes) = front.get_config(0, 8, flags, &[0; 8]).expect("a config");
        bytes[0]
    };
    assert_eq!(capacity(&mut bench.host.front), 64);
    let (mut here, there) = UnixStream::pair().expect("a channel");
    bench
        .host
        .front
        .set_backend_request_fd(&there)
        .expect("a channel");
    bench.host.command("resize", json!({ "sectors": 100 }));

    let mut message = [0; 12];
    here.read_exact(&mut message).expect("a message");
    assert_eq!(message, [2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(capacity(&mut bench.host.front), 100);
    // The driver may change the cache mode, and nothing else.
    bench
        .host
        .front
        .set_config(32, flags, &[0])
        .expect("to write");
    assert!(bench.host.front.set_config(0, flags, &[0]).is_err());
    // The answer comes before it is counted.
    while bench.host.counters()["refused"] == 0 {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.host.counters()["refused"], 1);
}

#[test]
fn what_cannot_be_is_refused_and_it_goes_on() {
    let mut bench = Bench::new("refused");
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    let region = bench.host.region();
    assert!(
        bench.host.front.add_mem_region(&region).is_err(),
        "it is there"
    );
    let beyond = VhostUserMemoryRegionInfo {
        guest_phys_addr: GUEST + LENGTH,
        userspace_addr: USER + LENGTH,
        mmap_offset: 0x1000,
        ..bench.host.region()
    };
    assert!(bench.host.front.add_mem_region(&beyond).is_err());
    // The rings are nowhere: the queue ends, the connection does not.
    let gone = bench.host.region();
    bench.host.front.remove_mem_region(&gone).expect("removed");
    bench.start(0);
    bench.send();
    thread::sleep(Duration::from_millis(20));
    let counters = bench.host.counters();
    assert_eq!(counters["queues"][0]["errors"], 1);
    assert_eq!(counters["connected"], true);
    assert_eq!(bench.host.front.get_queue_num().expect("a number"), 8);
}
