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

#[test]
fn what_a_queue_waits_for_is_counted() {
    let mut bench = Bench::new("waits");
    let queue = |bench: &Bench| bench.host.counters()["queues"][0].clone();
    assert_eq!(queue(&bench)["available"], json!(null), "it does not run");
    let region = bench.host.region();
    bench.host.front.set_mem_table(&[region]).expect("memory");
    bench.start(0);
    bench.says("All that the driver has made available was taken.");
    let waits = queue(&bench);
    assert_eq!(
        (&waits["available"], &waits["asked"]),
        (&json!(0), &json!(true))
    );
    assert_eq!(
        (&waits["wanted"], &waits["owes_call"]),
        (&json!(1), &json!(false))
    );

    bench.prepare();
    assert_eq!(queue(&bench)["available"], 1);
    // From now on the driver does not want to be notified.
    bench.host.write(AVAILABLE, &[1, 0]);
    assert_eq!(queue(&bench)["wanted"], json!(null));
}

#[test]
fn notifications_are_lost_on_purpose() {
    let mut bench = Bench::new("deaf");
    bench.serves_first();
    bench.host.command("deafen", json!({ "queue": 0 }));
    bench.send();
    let deadline = Instant::now() + Duration::from_secs(5);
    while bench.host.counters()["queues"][0]["lost_kicks"] != 1 {
        assert!(Instant::now() < deadline, "{}", bench.host.counters());
        thread::sleep(Duration::from_millis(5));
    }
    let queue = bench.host.counters()["queues"][0].clone();
    assert_eq!((&queue["kicks"], &queue["taken"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&queue["available"], &queue["asked"]),
        (&json!(1), &json!(true))
    );
    assert_eq!(bench.status(), 0xff);

    bench.host.command("listen", json!({}));
    bench.wait();
    assert_eq!(bench.status(), 0);
    bench.send();
    bench.wait();
    assert_eq!(bench.host.counters()["queues"][0]["kicks"], 2);
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
