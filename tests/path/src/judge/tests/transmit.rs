// SPDX-License-Identifier: GPL-2.0

//! Faults on the way out, until the backend has a frame.

use super::{DRIVERS, Driver, World};
use serde_json::json;

/// Runs a test with a world of each driver, in which frames come as far as a hop.
fn each(hop: &str, test: impl Fn(World)) {
    for driver in DRIVERS {
        test(World::out_to(driver, hop));
    }
}

/// Has the driver stop its queue, with frames behind it.
fn full(world: &mut World) {
    world.grow("/guest/queue_stats/tx/0/stop", 1);
    world.set("/guest/tx_queues/0/inflight", json!(23_814));
    world.set("/guest/qdisc/backlog", json!(57));
}

#[test]
fn an_interface_is_down() {
    each("socket", |mut world| {
        world.set("/guest/link/up", json!(false));
        world.set("/guest/link/carrier", json!(null));
        world.set("/guest/link/lower_up", json!(false));
        world.grow("/guest/protocols/Ip/OutNoRoutes", 20);
        world.stops(
            "interface",
            &["eth0 is down in the guest", "(on the way out)"],
        );
    });
}

#[test]
fn a_carrier_is_gone() {
    each("socket", |mut world| {
        world.set("/guest/link/carrier", json!(false));
        world.set("/guest/link/lower_up", json!(false));
        world.stops(
            "interface",
            &["eth0 is up in the guest, and has no carrier"],
        );
        // An old kernel tells it by netlink only.
        world.hide("/guest/link/carrier");
        world.stops("interface", &["no carrier"]);
    });
    let mut world = World::out_to(Driver::Ours, "socket");
    world.set("/guest/link/carrier", json!(false));
    world.set("/guest/debugfs/violations", json!("4"));
    world.set("/guest/debugfs/phase", json!("failed"));
    world.stops(
        "interface",
        &["has seen 4 violations", "is in phase failed"],
    );
}

#[test]
fn a_backend_is_at_a_pause() {
    each("ring", |mut world| {
        world.grow("/host/counters/queues/1/kicks", 20);
        world.set("/host/counters/queues/1/paused", json!(true));
        world.set("/host/counters/queues/1/available", json!(20));
        world.stops(
            "backend pop",
            &["does not consume: queue 1 is at a pause, and 20 buffers are"],
        );
        full(&mut world);
        world.grow("/guest/qdisc/drops", 40);
        world.stops(
            "backend pop",
            &[
                "pause",
                "the queue of the driver is stopped; 57 packets wait in the qdisc",
            ],
        );
    });
}

#[test]
fn a_ring_is_full_and_nobody_sees_why() {
    each("qdisc", |mut world| {
        full(&mut world);
        world.hide("/host");
        world.stops(
            "driver queue",
            &[
                "ring is full",
                "23814 bytes in flight, and 57 packets wait in the qdisc",
            ],
        );
        world.grow("/guest/tx_queues/0/timeouts", 2);
        world.stops("driver queue", &["the kernel has complained 2 times"]);
    });
}

#[test]
fn a_ring_is_full_by_the_names_of_ethtool() {
    let mut world = World::out_to(Driver::Ours, "qdisc");
    full(&mut world);
    world.hide("/host");
    world.hide("/guest/queue_stats");
    world.grow("/guest/ethtool/tx_stops", 1);
    world.stops("driver queue", &["the driver has stopped its queue"]);
}

#[test]
fn a_kick_is_lost() {
    each("qdisc", |mut world| {
        world.set("/host/counters/queues/1/available", json!(3));
        world.stops(
            "kick",
            &["3 buffers of queue 1 are available, and the backend, which has asked to be notified"],
        );
    });
    let mut world = World::out_to(Driver::Ours, "ring");
    world.set("/host/counters/queues/1/available", json!(1));
    world.stops(
        "kick",
        &[
            "1 buffer of queue 1 is available",
            "the driver says that it has (",
        ],
    );
    world.grow("/guest/ethtool/tx_kicks", 0);
    world.stops("kick", &["the driver says that it has not notified"]);
}

#[test]
fn a_kick_that_is_under_way_is_not_lost() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        world.set("/host/counters/queues/1/available", json!(3));
        // A moment before, less was taken.
        let taken = world.after["host"]["counters"]["queues"][1]["taken"].as_u64();
        let before = taken.expect("a counter") - 2;
        world.set("/host/earlier/queues/1/taken", json!(before));
        let line = world.line_as_is();
        assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
    }
}

#[test]
fn a_backend_does_not_look_by_itself() {
    each("ring", |mut world| {
        world.set("/host/counters/queues/1/available", json!(5));
        world.set("/host/counters/queues/1/asked", json!(false));
        world.stops(
            "backend pop",
            &["5 buffers of queue 1 not taken", "has not asked"],
        );
    });
}

#[test]
fn a_backend_keeps_what_it_has_taken() {
    each("ring", |mut world| {
        world.grow("/host/counters/queues/1/kicks", 20);
        world.grow("/host/counters/queues/1/taken", 20);
        world.set("/host/counters/queues/1/out", json!(20));
        world.stops(
            "backend pop",
            &["has taken 20 buffers of queue 1, and does not return them"],
        );
    });
}

#[test]
fn what_was_kept_before_holds_nothing_up() {
    let kept = |world: &mut World| world.set_both("/host/counters/queues/1/out", json!(64));
    for driver in DRIVERS {
        let mut world = World::new(driver);
        kept(&mut world);
        let line = world.line();
        assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
    }
    // It does if there is no room for more.
    each("qdisc", |mut world| {
        kept(&mut world);
        full(&mut world);
        world.stops("backend pop", &["has taken 64 buffers of queue 1"]);
    });
}

#[test]
fn what_is_being_sent_is_not_kept() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        world.set("/host/counters/queues/1/out", json!(64));
        // A moment before, less was returned.
        let returned = world.after["host"]["counters"]["queues"][1]["returned"].as_u64();
        let before = returned.expect("a counter") - 2;
        world.set("/host/earlier/queues/1/returned", json!(before));
        let line = world.line_as_is();
        assert!(line.ends_with("1.00 interrupts for each)"), "{line}");
    }
}

#[test]
fn a_ring_that_is_full_for_a_moment_is_no_fault() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        full(&mut world);
        // The backend takes frames, but none came back in so short a time.
        world.grow("/guest/statistics/tx_packets", 0);
        world.set("/host/counters/queues/1/available", json!(200));
        let taken = world.after["host"]["counters"]["queues"][1]["taken"].as_u64();
        let before = taken.expect("a counter") - 7;
        world.set("/host/earlier/queues/1/taken", json!(before));
        let line = world.line_as_is();
        assert!(line.starts_with("no fault found: "), "{line}");
    }
}

#[test]
fn a_queue_does_not_run() {
    each("qdisc", |mut world| {
        world.set("/host/counters/queues/1/running", json!(false));
        world.set("/host/counters/queues/1/available", json!(null));
        world.grow("/host/counters/queues/1/errors", 1);
        let said = "It has ended after an error, which the log of the backend tells.";
        world.set("/host/explain/1", json!([said]));
        world.stops(
            "backend pop",
            &["queue 1 does not run: It has ended after an error"],
        );
    });
}

#[test]
fn a_queue_is_not_enabled() {
    each("ring", |mut world| {
        world.set("/host/counters/queues/1/enabled", json!(false));
        world.stops("backend pop", &["queue 1 is not enabled"]);
    });
}

#[test]
fn qemu_is_gone() {
    each("ring", |mut world| {
        world.set("/host/counters/connected", json!(false));
        world.stops("kick", &["QEMU is not connected to the backend"]);
    });
}

#[test]
fn what_was_sent_is_not_taken_back() {
    each("in", |mut world| {
        world.grow("/guest/statistics/tx_packets", 0);
        world.grow("/guest/interrupts/virtio1-output.0", 0);
        full(&mut world);
        world.stops(
            "interrupt",
            &[
                "returned all buffers of queue 1",
                "the guest has seen none of it",
            ],
        );
        world.grow("/host/counters/queues/1/calls", 0);
        world.stops("interrupt", &["the backend has not interrupted"]);
    });
}

#[test]
fn the_driver_drops() {
    each("qdisc", |mut world| {
        world.grow("/guest/statistics/tx_dropped", 20);
        world.stops(
            "driver queue",
            &["20 frames dropped by the driver (tx_dropped)"],
        );
    });
}

#[test]
fn the_qdisc_drops_or_keeps() {
    each("socket", |mut world| {
        world.grow("/guest/qdisc/drops", 20);
        world.stops("qdisc", &["20 frames dropped by the qdisc pfifo_fast"]);
    });
    each("socket", |mut world| {
        world.set("/guest/qdisc/backlog", json!(20));
        world.stops(
            "qdisc",
            &["20 packets wait in the qdisc pfifo_fast, and none has left it"],
        );
    });
}

#[test]
fn there_is_no_route() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        world.after = world.before.clone();
        world.grow("/guest/protocols/Ip/OutNoRoutes", 20);
        world.stops(
            "socket",
            &["20 packets of the guest without a route (OutNoRoutes)"],
        );
    }
}

#[test]
fn the_backend_refuses_frames() {
    each("back", |mut world| {
        world.grow("/host/counters/class/tx/frames", 0);
        world.grow("/host/counters/class/tx/bad_header", 20);
        world.stops(
            "backend pop",
            &["20 frames with headers that cannot be (tx bad_header)"],
        );
    });
}
