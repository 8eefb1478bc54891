// SPDX-License-Identifier: GPL-2.0

//! What is written to the memory of the guest is logged, as a migration needs it.

use super::{
    host::{ENOUGH, LOG_ALL, USED, event},
    tests::{Bench, FEATURES},
    *,
};
use crate::memory::tests::{GUEST, marked};
use serde_json::json;
use std::{os::unix::fs::FileExt, thread};
use vhost::VhostBackend;

/// The pages of a request: those of the used ring, of the status, and of the data.
const RING: u64 = (GUEST + USED) >> 12;
const STATUS: u64 = (GUEST + 0x3100) >> 12;
const DATA: u64 = (GUEST + 0x4000) >> 12;

impl Bench {
    /// A device that runs.
    fn running(name: &str) -> Self {
        let mut bench = Self::new(name);
        let region = bench.host.region();
        bench.host.front.set_mem_table(&[region]).expect("memory");
        bench.start(0);
        bench
    }

    fn accept(&self, features: u64) {
        self.host.front.set_features(features).expect("accepted");
    }

    /// Makes a request, and waits until it is served.
    fn is_served(&mut self) {
        self.send();
        self.wait();
        assert_eq!(self.status(), 0);
    }
}

#[test]
fn exactly_what_is_written_is_marked() {
    let mut bench = Bench::running("log");
    bench.is_served();
    let log = bench.host.give_log(ENOUGH).expect("a log");
    bench.is_served();
    assert_eq!(marked(&log), [0; 0], "nobody has asked for it");

    bench.accept(FEATURES | LOG_ALL);
    bench.is_served();
    assert_eq!(marked(&log), [STATUS, DATA], "not the used ring");
    bench.host.place(0, 0, Some(GUEST + USED));
    bench.is_served();
    assert_eq!(marked(&log), [RING, STATUS, DATA]);
    let counters = bench.host.counters();
    assert_eq!(counters["logging"], true);
    assert_eq!(counters["logged_pages"], 3);

    // A second log begins with what comes now; the used ring is where QEMU says that it is.
    let second = bench.host.give_log(ENOUGH).expect("a log");
    bench.host.place(0, 0, Some(GUEST + 0x9000));
    bench.is_served();
    assert_eq!(marked(&second), [STATUS, DATA, (GUEST + 0x9000) >> 12]);

    bench.accept(FEATURES);
    bench.host.place(0, 0, None);
    second.write_all_at(&[0; 8], 0).expect("zeroes");
    bench.is_served();
    assert_eq!(marked(&second), [0; 0]);
    let counters = bench.host.counters();
    assert_eq!(counters["logging"], false);
    assert_eq!(counters["logged_pages"], 6);
    assert_eq!(counters["not_in_log"], 0);
    let queue = &counters["queues"][0];
    assert_eq!((&queue["starts"], &queue["taken"]), (&json!(1), &json!(6)));
    assert_eq!(bench.host.front.get_vring_base(0).expect("a base"), 6);
}

#[test]
fn a_log_that_comes_last_has_what_was_written() {
    // As QEMU does it when the driver starts the device during a migration.
    let mut bench = Bench::new("log-last");
    bench.accept(FEATURES | LOG_ALL);
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    bench.start(0);
    bench.host.place(0, 0, Some(GUEST + USED));
    bench.is_served();
    let log = bench.host.give_log(ENOUGH).expect("a log");
    assert_eq!(marked(&log), [RING, STATUS, DATA]);
}

#[test]
fn a_log_that_is_too_short_ends_the_connection() {
    let mut bench = Bench::running("log-short");
    // The memory ends at page 32.
    assert!(bench.host.give_log(3).is_err());
    while bench.host.counters()["connected"] == true {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(bench.host.counters()["refused"], 1);
    bench.host.reconnect();
    bench.negotiate();
    bench.accept(FEATURES | LOG_ALL);
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    let log = bench.host.give_log(4).expect("a log");
    bench.call = event();
    bench.start(0);
    bench.is_served();
    assert_eq!(marked(&log), [STATUS, DATA]);
}

#[test]
fn what_is_held_is_served_before_another_backend_goes_on() {
    let mut bench = Bench::running("log-held");
    let hold = json!({ "do": "hold", "count": 2 });
    bench.host.command("inject", hold);
    let log = bench.host.give_log(ENOUGH).expect("a log");
    bench.send();
    while bench.host.counters()["queues"][0]["waiting"] != 1 {
        thread::sleep(Duration::from_millis(5));
    }
    // Without a migration, it is kept for who goes on with the record.
    assert_eq!(bench.host.front.get_vring_base(0).expect("a base"), 1);
    assert_eq!(bench.status(), 0xff);

    bench.accept(FEATURES | LOG_ALL);
    bench.start(1);
    bench.host.place(0, 0, Some(GUEST + USED));
    bench.send();
    while bench.host.counters()["queues"][0]["waiting"] != 1 {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(marked(&log), [RING]);
    assert_eq!(bench.host.front.get_vring_base(0).expect("a base"), 2);
    assert_eq!(bench.status(), 0);
    assert_eq!(marked(&log), [RING, STATUS, DATA]);
    bench.wait();
}
