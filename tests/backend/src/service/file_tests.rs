// SPDX-License-Identifier: GPL-2.0

//! Disks in files, whose requests go on by themselves, from the kick to the interrupt.

use super::{
    host::{AVAILABLE, Host, SIZE, USED, event},
    *,
};
use crate::{
    blk::{Blk, Medium, Options},
    memory::tests::{GUEST, file},
};
use serde_json::{Value, json};
use std::{
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
    thread,
};
use vhost::{
    VhostBackend,
    vhost_user::{VhostUserFrontend, VhostUserProtocolFeatures, message::VhostUserHeaderFlag},
};
use virtio_wire::{
    blk::{RequestHeader, RequestKind},
    ring::split::Descriptor,
};
use vmm_sys_util::eventfd::EventFd;

const LENGTH: u64 = 0x20000;

/// Where request 0 has its header, and its data with the status behind; the others follow.
const HEADER: u64 = 0x3000;
const DATA: u64 = 0x4000;
const STEP: u64 = 0x400;

/// How many requests the ring has room for: each has two descriptors.
const MOST: u16 = SIZE / 2;

const VERSION_1: u64 = 1 << 32;
const FLUSH: u64 = 1 << 9;
const IN_ORDER: u64 = 1 << 35;

/// A disk in a file, and its driver.
struct Bench {
    host: Host<Blk>,
    image: File,
    kick: EventFd,
    call: EventFd,
    sent: u16,
}

impl Bench {
    fn new(name: &str, features: u64) -> Self {
        let image = file(64 * 512);
        for sector in 0..64_u8 {
            let bytes = [sector; 512];
            let at = u64::from(sector) * 512;
            image.write_all_at(&bytes, at).expect("a sector");
        }
        let path = format!("/proc/self/fd/{}", image.as_raw_fd());
        let blk = Blk::new(&Options::new(Medium::File(path.into()))).expect("a disk");
        let mut bench = Self {
            host: Host::new(name, blk, LENGTH),
            image,
            kick: event(),
            call: event(),
            sent: 0,
        };
        bench.negotiate(features);
        bench
    }

    fn negotiate(&mut self, features: u64) {
        let front = &mut self.host.front;
        front.set_owner().expect("an owner");
        front.get_features().expect("features");
        let protocol = front.get_protocol_features().expect("features");
        assert!(protocol.contains(VhostUserProtocolFeatures::INFLIGHT_SHMFD));
        front.set_protocol_features(protocol).expect("accepted");
        front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        let features = VERSION_1 | features | 1 << 30;
        front.set_features(features).expect("accepted");
        let region = self.host.region();
        self.host.front.set_mem_table(&[region]).expect("memory");
    }

    fn start(&mut self, base: u16) {
        self.host.start(0, 0, base, &self.kick, &self.call);
        self.host.enable(0, true);
    }

    /// Makes requests available, which the device is not told of.
    fn prepare(&mut self, kind: RequestKind, sectors: &[u64]) {
        for sector in sectors {
            let slot = self.sent % MOST;
            let (header, data) = (
                HEADER + u64::from(slot) * STEP,
                DATA + u64::from(slot) * STEP,
            );
            let filling = u8::try_from(sector + 100).expect("a byte");
            self.host
                .write(header, &RequestHeader::new(kind, *sector).to_bytes());
            self.host.write(data, &[filling; 512]);
            self.host.write(data + 512, &[0x55]);
            // A write has its data in the first descriptor, behind the header.
            let (first, second) = match kind {
                RequestKind::Write => {
                    self.host.write(header + 16, &[filling; 512]);
                    (16 + 512, (data + 512, 1))
                }
                RequestKind::Flush => (16, (data + 512, 1)),
                _ => (16, (data, 513)),
            };
            for (at, address, length, flags) in [
                (2 * slot, header, first, 1_u16),
                (2 * slot + 1, second.0, second.1, 2),
            ] {
                let descriptor = Descriptor {
                    addr: (GUEST + address).into(),
                    len: u32::try_from(length).expect("a length").into(),
                    flags: flags.into(),
                    next: (at + 1).into(),
                };
                self.host.write(u64::from(at) * 16, &descriptor.to_bytes());
            }
            let entry = AVAILABLE + 4 + u64::from(self.sent % SIZE) * 2;
            self.host.write(entry, &(2 * slot).to_le_bytes());
            self.sent += 1;
            self.host.write(AVAILABLE + 2, &self.sent.to_le_bytes());
        }
    }

    fn kick(&self) {
        self.kick.write(1).expect("a kick");
    }

    fn status(&self, slot: u16) -> u8 {
        let [status] = self.host.read(DATA + u64::from(slot) * STEP + 512);
        status
    }

    fn used(&self) -> u16 {
        u16::from_le_bytes(self.host.read(USED + 2))
    }

    /// Waits until so many were returned.
    fn wait(&self, count: u16) {
        for _ in 0..2000 {
            if self.used() == count {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{} are returned: {:#}", self.used(), self.host.counters());
    }

    /// Returns what is counted of the disk, if requests go on by themselves here.
    fn flights(&self) -> Option<Value> {
        let mut counters = self.host.counters();
        let counted = counters["class"]["uring"].take();
        if counted.is_null() {
            println!("skipped: there is no io_uring");
            return None;
        }
        Some(counted)
    }
}

#[test]
fn several_requests_come_back() {
    let mut bench = Bench::new("file", FLUSH);
    let Some(_) = bench.flights() else { return };
    bench.start(0);
    for round in 1..=5 {
        bench.prepare(RequestKind::Read, &[1, 2, 3, 60]);
        bench.kick();
        bench.wait(round * MOST);
        assert!(bench.call.read().is_ok());
        for (slot, sector) in [1_u8, 2, 3, 60].into_iter().enumerate() {
            let at = DATA + u64::try_from(slot).expect("a slot") * STEP;
            let bytes: [u8; 513] = bench.host.read(at);
            assert_eq!(bytes[..512], [sector; 512]);
            assert_eq!(bytes[512], 0);
        }
    }
    let counted = bench.flights().expect("counted");
    assert_eq!(
        (&counted["requests"], &counted["in_flight"]),
        (&json!(20), &json!(0))
    );
    assert_eq!(counted["most_in_flight"], MOST);
    let counters = bench.host.counters();
    assert_eq!(counters["queues"][0]["returned"], 20);
    assert_eq!(counters["queues"][0]["in_flight"], 0);
    assert_eq!(counters["queues"][0]["twice"], 0);
}

#[test]
fn what_is_written_through_is_in_the_file() {
    // Without FLUSH there is no cache.
    let mut bench = Bench::new("through", 0);
    let Some(_) = bench.flights() else { return };
    bench.start(0);
    bench.prepare(RequestKind::Write, &[5, 6, 7]);
    bench.kick();
    bench.wait(3);
    let mut bytes = [0; 3 * 512];
    bench
        .image
        .read_exact_at(&mut bytes, 5 * 512)
        .expect("a read");
    let wanted = [[105; 512], [106; 512], [107; 512]].concat();
    assert_eq!(bytes[..], wanted);
    assert_eq!(bench.flights().expect("counted")["requests"], 3);
}

#[test]
fn buffers_are_returned_in_order() {
    let mut bench = Bench::new("in-order", FLUSH | IN_ORDER);
    let Some(_) = bench.flights() else { return };
    bench.start(0);
    for round in 0..20 {
        // One of them is served at once, the others go on by themselves.
        let rule = json!({ "do": "status", "value": 0, "at": round * u64::from(MOST) + 1 });
        bench.host.command("inject", rule);
        bench.prepare(RequestKind::Read, &[10, 20, 30, 40]);
        bench.kick();
        bench.wait(bench.sent);
        let mut at = 0;
        while at < MOST {
            let place = (bench.sent - MOST + at) % SIZE;
            let element = USED + 4 + u64::from(place) * 8;
            // It may stand for those before it, too.
            let id = u32::from_le_bytes(bench.host.read(element));
            let last = (at..MOST).find(|at| id == u32::from(2 * at));
            at = last.unwrap_or_else(|| panic!("{id} in round {round}")) + 1;
        }
    }
}

#[test]
fn a_stop_waits_for_what_is_under_way() {
    let mut bench = Bench::new("stopped", 0);
    let Some(_) = bench.flights() else { return };
    for round in 0..50 {
        bench.start(bench.sent);
        bench.prepare(RequestKind::Write, &[round, 20, 21, 22]);
        bench.kick();
        let base = bench.host.front.get_vring_base(0).expect("a base");
        // What was taken is returned; what was not may be taken later.
        assert_eq!(u32::from(bench.used()), base);
        let (left, sent) = (u32::from(bench.sent) - base, bench.sent);
        assert!(left == 0 || left == 4, "{left} of {sent} are left");
        if left > 0 {
            bench.start(sent - 4);
            bench.wait(sent);
            bench.host.front.get_vring_base(0).expect("a base");
        }
        let mut byte = [0];
        bench
            .image
            .read_exact_at(&mut byte, round * 512)
            .expect("a read");
        assert_eq!(
            u64::from(byte[0]),
            if round == 20 { 120 } else { round + 100 }
        );
    }
}

#[test]
fn memory_may_change_while_requests_are_under_way() {
    let mut bench = Bench::new("memory", 0);
    let Some(_) = bench.flights() else { return };
    bench.start(0);
    for round in 1..=50 {
        bench.prepare(RequestKind::Read, &[1, 2, 3, 4]);
        bench.kick();
        let region = bench.host.region();
        bench.host.front.set_mem_table(&[region]).expect("memory");
        bench.wait(round * MOST);
        assert_eq!([0, 1, 2, 3].map(|slot| bench.status(slot)), [0; 4]);
    }
    assert_eq!(bench.host.counters()["queues"][0]["errors"], 0);
}

#[test]
fn another_connection_serves_what_was_under_way() {
    let mut bench = Bench::new("record", 0);
    let Some(_) = bench.flights() else { return };
    let wanted = vhost::vhost_user::message::VhostUserInflight::new(0, 0, 1, SIZE);
    let front = &mut bench.host.front;
    let (record, file) = front.get_inflight_fd(&wanted).expect("a record");
    for round in 0..20 {
        bench.start(bench.sent);
        bench.prepare(RequestKind::Write, &[1, 2, 3, 4]);
        // It is cut off before, after, or in the middle.
        bench.kick();
        if round % 2 == 0 {
            thread::sleep(Duration::from_micros(50 * round));
        }
        bench.host.command("disconnect", json!({}));
        bench.host.reconnect();
        bench.negotiate(0);
        let front = &mut bench.host.front;
        front
            .set_inflight_fd(&record, file.as_raw_fd())
            .expect("the record");
        bench.start(bench.used());
        bench.wait(bench.sent);
        assert_eq!([0, 1, 2, 3].map(|slot| bench.status(slot)), [0; 4]);
        let base = bench.host.front.get_vring_base(0).expect("a base");
        assert_eq!(base, u32::from(bench.sent));
    }
    assert_eq!(bench.host.counters()["queues"][0]["errors"], 0);
}

#[test]
fn a_command_waits_for_what_is_under_way() {
    let mut bench = Bench::new("commands", 0);
    let Some(_) = bench.flights() else { return };
    bench.start(0);
    for round in 1..=30 {
        bench.prepare(RequestKind::Write, &[1, 2, 3, 40]);
        bench.host.command("pause", json!({}));
        bench.kick();
        // Another thread than the one of the device begins them, and ends.
        let shared = Arc::clone(&bench.host.shared);
        let other = thread::spawn(move || {
            let executed = crate::control::Controlled::execute(&*shared, "resume", &json!({}));
            executed.expect("an answer");
        });
        other.join().expect("a thread");
        bench.host.command("resize", json!({ "sectors": 30 }));
        bench.host.command("resize", json!({ "sectors": 64 }));
        bench.wait(round * MOST);
        assert_eq!([0, 1, 2].map(|slot| bench.status(slot)), [0; 3]);
    }
}
