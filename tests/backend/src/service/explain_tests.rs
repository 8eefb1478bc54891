// SPDX-License-Identifier: GPL-2.0

//! What is said of queues that do not go on.

use super::{host::AVAILABLE, tests::Bench, *};
use serde_json::json;
use std::thread;
use vhost::VhostBackend;

impl Bench {
    /// Waits until this is said of the first queue, among other things.
    fn says(&self, wanted: &str) {
        let mut said = json!(null);
        for _ in 0..400 {
            said = self.host.command("explain", json!({ "queue": 0 }));
            let words = said["0"].as_array().expect("words");
            if words.iter().any(|word| word == wanted) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("{wanted} is not said: {said:#}");
    }
}

#[test]
fn what_a_queue_waits_for_is_told() {
    let mut bench = Bench::new("explain");
    bench.says("QEMU has not started it: the driver has not set it up.");
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    bench.start(0);
    bench.says("All that the driver has made available was taken.");
    bench.says("The driver wants to be notified of the next one.");
    bench.says("The driver has got back all that was taken.");

    bench.prepare();
    bench.says("1 buffer is available, and not taken.");
    bench.says("The device has asked to be notified, and was not.");
    bench.host.command("pause", json!({}));
    bench.says("It is at a pause; `resume` has it go on.");

    bench
        .host
        .command("inject", json!({"do": "hold", "count": 1}));
    bench.host.command("resume", json!({}));
    bench.says("1 buffer is held; `release` serves them.");
    bench.host.command("inject", json!({"do": "keep", "at": 1}));
    bench.prepare();
    bench.kick();
    bench.says("1 buffer is not going to be returned.");
    bench.says("1 buffer is held; `release` serves them.");
    bench.host.command("release", json!({}));
    bench.says("1 buffer is not going to be returned.");

    bench.host.front.get_vring_base(0).expect("a base");
    bench.says("It was stopped: the driver has reset the device, or QEMU is stopped.");
}

/// Has a request served, and waits until so many are.
fn serve(bench: &mut Bench, done: u32) {
    bench.prepare();
    bench.kick();
    while bench.host.counters()["queues"][0]["returned"] != done {
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn buffers_are_counted_by_size_and_time() {
    let mut bench = Bench::new("histograms");
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    bench.start(0);
    // They have the same number, and so cannot be out at once.
    for done in 1..=5 {
        serve(&mut bench, done);
    }
    let counters = bench.host.counters();
    let queue = &counters["queues"][0];
    assert_eq!(queue["batches"]["buckets"], json!([[1, 5]]));
    assert_eq!(queue["chains"]["buckets"], json!([[3, 5]]));
    assert_eq!(queue["latency_us"]["count"], 5);
    assert_eq!((&queue["calls"], &queue["quiet"]), (&json!(5), &json!(0)));
    assert_eq!(queue["readable_bytes"], 5 * 16);
    assert_eq!(queue["writable_bytes"], 5 * 513);

    // From now on the driver does not want to be notified.
    bench.host.write(AVAILABLE, &[1, 0]);
    for done in 6..=7 {
        serve(&mut bench, done);
    }
    let counters = bench.host.counters();
    let queue = &counters["queues"][0];
    assert_eq!((&queue["calls"], &queue["quiet"]), (&json!(5), &json!(2)));
}
