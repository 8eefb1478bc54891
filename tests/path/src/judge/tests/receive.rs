// SPDX-License-Identifier: GPL-2.0

//! Faults on the way in.

use super::{DRIVERS, Driver, World};
use serde_json::json;

/// Runs a test with a world of each driver, in which answers come as far as a hop.
fn each(hop: &str, test: impl Fn(World)) {
    for driver in DRIVERS {
        test(World::in_to(driver, hop));
    }
}

/// Has so many frames wait for buffers of the driver.
fn wait(world: &mut World, waiting: u64) {
    world.set("/host/counters/class/waiting/0", json!(waiting));
}

#[test]
fn a_tap_sends_what_nobody_understands() {
    for driver in DRIVERS {
        let mut world = World::out_to(driver, "tap");
        world.grow("/host/peer/malformed", 20);
        // On the way out, all was taken: it is what comes back.
        world.stops(
            "tap",
            &[
                "20 frames from host lost: not to be understood",
                "(on the way in)",
            ],
        );
    }
}

#[test]
fn a_tag_of_the_host_is_not_taken() {
    each("in", |mut world| {
        world.grow("/host/switch/ports/host/wrong_vlan", 20);
        world.stops(
            "VLAN",
            &[
                "20 frames with a VLAN that port host is not in",
                "(on the way in)",
            ],
        );
    });
}

#[test]
fn the_host_sends_in_another_vlan() {
    each("in", |mut world| {
        world.grow("/host/switch/ports/net/other_vlan", 20);
        world.stops(
            "VLAN",
            &["20 frames with a VLAN that port net is not in (access 10)"],
        );
    });
}

#[test]
fn the_address_of_the_guest_is_elsewhere() {
    each("in", |mut world| {
        world.set("/host/table/0/port", json!("other"));
        world.grow("/host/switch/ports/other/out_frames", 20);
        world.stops(
            "learning",
            &["52:54:00:00:00:01, which is the guest's, at port other"],
        );
    });
}

#[test]
fn what_the_host_sends_need_not_be_for_the_guest() {
    for driver in DRIVERS {
        // The guest sends nothing, and the host talks with somebody else.
        let mut world = World::new(driver);
        world.after = world.before.clone();
        world.grow("/host/peer/from_host", 20);
        world.grow("/host/switch/ports/host/in_frames", 20);
        world.grow("/host/switch/ports/other/out_frames", 20);
        world.stops("socket", &["no frame was sent, and none came"]);
    }
}

#[test]
fn nobody_takes_what_leaves_for_the_guest() {
    each("out", |mut world| {
        world.grow("/host/switch/ports/net/outlet/lost_closed", 20);
        world.stops(
            "switch port out",
            &["20 frames lost leaving port net: nobody"],
        );
    });
}

#[test]
fn a_driver_has_added_no_buffers() {
    each("out", |mut world| {
        world.set("/host/counters/queues/0/available", json!(0));
        wait(&mut world, 20);
        world.stops(
            "RX buffers",
            &["the driver has added no buffers to queue 0: 20 frames for the driver wait"],
        );
        world.grow("/host/counters/class/rx/lost_full", 5);
        world.stops(
            "RX buffers",
            &["20 frames for the driver wait, and 5 are lost"],
        );
    });
}

#[test]
fn a_driver_that_has_buffers_again_did_not_say_so() {
    each("out", |mut world| {
        wait(&mut world, 20);
        world.stops(
            "kick",
            &["249 buffers of queue 0 to be filled", "(on the way in)"],
        );
        world.set("/host/counters/queues/0/asked", json!(false));
        world.stops(
            "RX buffers",
            &["249 buffers of queue 0 to be filled, and the backend does not"],
        );
    });
}

#[test]
fn a_receive_queue_is_at_a_pause() {
    each("out", |mut world| {
        world.set("/host/counters/queues/0/paused", json!(true));
        wait(&mut world, 20);
        world.stops(
            "RX buffers",
            &["queue 0 is at a pause, and 20 frames for the driver wait"],
        );
    });
}

#[test]
fn a_receive_queue_does_not_run() {
    each("out", |mut world| {
        world.set("/host/counters/queues/0/running", json!(false));
        let said = "QEMU has not started it: the driver has not set it up.";
        world.set("/host/explain/0", json!([said]));
        world.stops(
            "RX buffers",
            &["queue 0 does not run: QEMU has not started it"],
        );
    });
}

#[test]
fn buffers_with_frames_are_kept() {
    each("rx", |mut world| {
        world.grow("/host/counters/queues/0/returned", 0);
        world.set("/host/counters/queues/0/out", json!(20));
        world.stops(
            "used ring",
            &["has filled 20 buffers of queue 0, and does not return them"],
        );
        // All of them, so that others wait.
        world.set("/host/counters/queues/0/available", json!(0));
        world.set("/host/counters/queues/0/out", json!(256));
        wait(&mut world, 9);
        world.stops(
            "used ring",
            &["256 buffers of queue 0 and returns none: 9 frames"],
        );
    });
}

#[test]
fn interrupts_are_masked() {
    each("rx", |mut world| {
        world.set("/host/counters/queues/0/wanted", json!(null));
        world.grow("/host/counters/queues/0/quiet", 20);
        world.stops(
            "interrupt",
            &[
                "20 frames in the used ring not taken",
                "interrupts are masked",
            ],
        );
    });
}

#[test]
fn interrupts_are_not_sent() {
    each("rx", |mut world| {
        world.stops("interrupt", &["the backend has not interrupted"]);
        world.set("/host/counters/queues/0/owes_call", json!(true));
        world.stops(
            "interrupt",
            &["QEMU has told the backend no way to interrupt"],
        );
    });
}

#[test]
fn interrupts_are_lost() {
    each("call", |world| {
        world.stops(
            "interrupt",
            &["the backend has interrupted 20 times, and the guest has seen none of it"],
        );
    });
    // One interrupt for all queues: the kernel does not tell of which this was.
    each("call", |mut world| {
        world.set_both("/guest/interrupts", json!({ "virtio1": 40 }));
        world.stops("interrupt", &["the backend has interrupted 20 times ("]);
    });
}

#[test]
fn a_ring_runs_empty_as_interrupts_are_lost() {
    each("call", |mut world| {
        world.set("/host/counters/queues/0/available", json!(0));
        wait(&mut world, 100);
        world.grow("/host/counters/class/rx/lost_full", 30);
        world.stops(
            "interrupt",
            &["20 frames in the used ring not taken by the driver"],
        );
    });
}

#[test]
fn a_driver_does_not_look() {
    each("interrupt", |world| {
        world.stops(
            "NAPI",
            &[
                "20 frames in the used ring not taken",
                "was interrupted 20 times",
            ],
        );
    });
}

#[test]
fn headers_are_bad() {
    each("driver", |mut world| {
        world.grow("/guest/statistics/rx_frame_errors", 20);
        world.stops(
            "NAPI",
            &["the driver has dropped 20 frames: 20 with a bad header"],
        );
    });
    let mut world = World::in_to(Driver::Ours, "driver");
    for counter in ["statistics/rx_frame_errors", "ethtool/rx_bad_header"] {
        world.grow(&format!("/guest/{counter}"), 15);
    }
    world.grow("/guest/ethtool/rx_bad_buffers", 5);
    world.grow("/guest/statistics/rx_errors", 20);
    let words =
        "15 with a bad header (rx_bad_header), 5 in a wrong number of buffers (rx_bad_buffers)";
    world.stops("NAPI", &[words]);
}

#[test]
fn lengths_are_bad() {
    each("driver", |mut world| {
        world.grow("/guest/statistics/rx_length_errors", 20);
        world.stops("NAPI", &["20 with a bad length"]);
    });
}

#[test]
fn there_is_no_memory() {
    let mut world = World::in_to(Driver::Ours, "driver");
    world.grow("/guest/statistics/rx_packets", 0);
    world.grow("/guest/statistics/rx_dropped", 20);
    world.grow("/guest/ethtool/rx_no_memory", 20);
    // It has taken them from the ring, and counts them.
    world.grow("/guest/statistics/rx_packets", 20);
    world.stops(
        "NAPI",
        &["20 frames dropped by the driver, which has no memory"],
    );
}

#[test]
fn packets_are_dropped_by_the_stack() {
    for (protocol, counter, words) in [
        (
            "Ip",
            "InHdrErrors",
            "20 packets with a wrong header (Ip InHdrErrors)",
        ),
        (
            "Ip",
            "InAddrErrors",
            "for an address that the guest has not",
        ),
        ("IpExt", "InNoRoutes", "without a route"),
        ("IpExt", "InCsumErrors", "with a wrong checksum"),
        ("TcpExt", "IPReversePathFilter", "from where no route goes"),
    ] {
        each("driver", |mut world| {
            world.grow("/guest/protocols/Ip/InReceives", 20);
            world.grow(&format!("/guest/protocols/{protocol}/{counter}"), 20);
            world.stops("IP stack", &[words]);
        });
    }
}

#[test]
fn checksums_are_wrong() {
    for protocol in ["Tcp", "Udp", "Icmp"] {
        each("stack", |mut world| {
            world.grow(&format!("/guest/protocols/{protocol}/InCsumErrors"), 20);
            let words = format!("20 packets with a wrong checksum ({protocol} InCsumErrors)");
            world.stops("IP stack", &[&words]);
        });
    }
}

#[test]
fn frames_are_for_another_station() {
    each("driver", |mut world| {
        world.grow("/guest/statistics/rx_otherhost_dropped", 20);
        world.stops("IP stack", &["20 frames for another MAC address"]);
    });
}

#[test]
fn nobody_listens() {
    for (counter, words) in [
        ("NoPorts", "for a port without a socket"),
        ("RcvbufErrors", "for a socket whose buffer is full"),
    ] {
        each("stack", |mut world| {
            world.grow(&format!("/guest/protocols/Udp/{counter}"), 20);
            world.stops("socket", &[words, "(on the way in)"]);
        });
    }
}
