// SPDX-License-Identifier: GPL-2.0

//! What a driver does after a reset, and what it is allowed to do.

use super::{tests::Bench, *};
use serde_json::{Value, json};
use std::thread;
use vhost::{VhostBackend, vhost_user::VhostUserFrontend};

/// A driver that has had a request served, and then has reset the device.
fn reset(name: &str, watch: Duration) -> Bench {
    let mut bench = Bench::new(name);
    bench.host.shared.lock().watch = watch;
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    bench.start(0);
    bench.prepare();
    bench.kick();
    counted(&bench, "returned", 1);
    bench.host.front.get_vring_base(0).expect("a base");
    bench
}

fn queue(bench: &Bench) -> Value {
    let mut counters = bench.host.counters();
    counters["queues"][0].take()
}

/// Waits until so much was counted.
fn counted(bench: &Bench, what: &str, wanted: u64) {
    for _ in 0..400 {
        if queue(bench)[what] == wanted {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("{what} is not {wanted}: {:#}", queue(bench));
}

fn said(bench: &Bench) -> Vec<String> {
    let said = bench.host.command("explain", json!({ "queue": 0 }));
    let said = said["0"].as_array().expect("words");
    said.iter()
        .map(|word| word.as_str().unwrap_or_default().to_owned())
        .collect()
}

const LONG: Duration = Duration::from_secs(1000);
const SHORT: Duration = Duration::from_millis(20);

#[test]
fn a_driver_that_does_nothing_is_not_blamed() {
    let mut bench = reset("quiet", SHORT);
    thread::sleep(3 * SHORT);
    // The other message of a reset changes nothing.
    bench.host.front.reset_device().expect("a reset");
    thread::sleep(3 * SHORT);

    let queue = queue(&bench);
    for counter in [
        "kicks_after_reset",
        "ring_changes_after_reset",
        "buffers_after_reset",
    ] {
        assert_eq!(queue[counter], 0, "{counter}");
    }
    assert_eq!(said(&bench).len(), 1);
}

#[test]
fn a_notification_after_a_reset_is_seen_at_once() {
    let mut bench = reset("kick", LONG);
    bench.prepare();
    bench.kick();
    counted(&bench, "kicks_after_reset", 1);
    let counters = queue(&bench);
    assert_eq!(counters["ring_changes_after_reset"], 1);
    assert_eq!(counters["buffers_after_reset"], 1);
    assert_eq!(
        said(&bench)[1],
        "Since then, the driver has notified once, the available index went on by 1, as if buffers \
         were added."
    );
    bench.kick();
    counted(&bench, "kicks_after_reset", 2);
    assert_eq!(queue(&bench)["ring_changes_after_reset"], 1);
    assert_eq!(bench.status(), 0xff, "nothing was served");

    // It starts again, and goes on: from then on it may notify.
    bench.start(1);
    counted(&bench, "returned", 2);
    bench.prepare();
    bench.kick();
    counted(&bench, "returned", 3);
    assert_eq!(queue(&bench)["kicks_after_reset"], 2);
}

#[test]
fn a_change_without_a_notification_is_seen_in_time() {
    let mut bench = reset("change", 10 * SHORT);
    bench.prepare();
    counted(&bench, "buffers_after_reset", 1);
    assert_eq!(queue(&bench)["kicks_after_reset"], 0);
    // What is later is not looked at: the memory may be used for something else.
    bench.host.write(0, &[0xee; 0x100]);
    thread::sleep(3 * SHORT);
    assert_eq!(queue(&bench)["ring_changes_after_reset"], 1);
}

#[test]
fn memory_that_is_remapped_is_still_watched() {
    let mut bench = reset("remapped", LONG);
    let gone = bench.host.region();
    bench.host.front.remove_mem_region(&gone).expect("removed");
    bench.prepare();
    bench.kick();
    counted(&bench, "buffers_after_reset", 1);
}

#[test]
fn nobody_watches_who_is_not_asked_to() {
    let mut bench = reset("unwatched", Duration::ZERO);
    bench.prepare();
    bench.kick();
    thread::sleep(3 * SHORT);
    assert_eq!(queue(&bench)["kicks_after_reset"], 0);
    assert_eq!(queue(&bench)["ring_changes_after_reset"], 0);
}
