// SPDX-License-Identifier: GPL-2.0

//! Faults on the way out, in the switch and behind it.

use super::{DRIVERS, World};
use serde_json::json;

/// Runs a test with a world of each driver, in which frames come as far as a hop.
fn each(hop: &str, test: impl Fn(World)) {
    for driver in DRIVERS {
        test(World::out_to(driver, hop));
    }
}

#[test]
fn a_link_of_the_switch_is_down() {
    each("in", |mut world| {
        world.set("/host/switch/ports/net/link", json!(false));
        world.grow("/host/switch/ports/net/link_down", 20);
        world.stops(
            "switch port in",
            &["the link of port net of the switch is down"],
        );
    });
    each("in", |mut world| {
        world.set("/host/switch/ports/host/link", json!(false));
        world.grow("/host/switch/ports/host/link_down", 20);
        world.stops(
            "switch port out",
            &["the link of port host of the switch is down"],
        );
    });
}

#[test]
fn an_address_is_not_that_of_the_port() {
    each("in", |mut world| {
        world.grow("/host/switch/ports/net/wrong_source", 20);
        world.stops(
            "switch port in",
            &["20 frames refused at port net: another source"],
        );
    });
}

#[test]
fn vlans_do_not_match() {
    each("in", |mut world| {
        world.set_both("/host/switch/ports/net/vlans", json!("access 30"));
        world.grow("/host/switch/ports/net/nowhere", 20);
        world.grow("/host/switch/ports/host/other_vlan", 20);
        world.stops(
            "VLAN",
            &["port net (access 30) and port host (trunk 10:20 native none) have no VLAN in common"],
        );
        // A backend that does not describe them, and then one that does not count, either.
        world.hide("/host/switch/ports/net/vlans");
        world.stops("VLAN", &["20 frames of port net (unknown) left nowhere"]);
    });
}

#[test]
fn vlans_do_not_matter_to_what_was_not_sent() {
    for driver in DRIVERS {
        let mut world = World::out_to(driver, "qdisc");
        world.set_both("/host/switch/ports/net/vlans", json!("access 30"));
        let line = world.line();
        assert!(
            line.starts_with("frames stop between qdisc and ring: "),
            "{line}"
        );
    }
}

#[test]
fn a_tag_is_not_taken() {
    each("in", |mut world| {
        world.grow("/host/switch/ports/net/wrong_vlan", 20);
        world.stops(
            "VLAN",
            &["20 frames with a VLAN that port net is not in (access 10)"],
        );
    });
}

#[test]
fn a_tag_is_not_that_of_the_peer() {
    each("in", |mut world| {
        world.set_both(
            "/host/switch/ports/net/vlans",
            json!("trunk 10:30 native none"),
        );
        world.grow("/host/switch/ports/host/other_vlan", 20);
        world.stops(
            "VLAN",
            &["20 frames with a VLAN that port host is not in (trunk 10:20"],
        );
    });
}

#[test]
fn an_address_is_at_another_port() {
    each("in", |mut world| {
        world.set("/host/table/1/port", json!("other"));
        world.grow("/host/switch/ports/other/out_frames", 20);
        world.stops(
            "learning",
            &[
                "20 frames did not go to port host",
                "10.0.0.1 has 52:54:00:00:00:fe",
                "port other",
            ],
        );
    });
}

#[test]
fn somebody_else_may_be_at_the_port() {
    each("in", |mut world| {
        let router = "52:54:00:00:00:fd";
        world.set(
            "/host/table",
            json!([
                { "vlan": 10, "mac": "52:54:00:00:00:fe", "port": "other" },
                { "vlan": 10, "mac": router, "port": "host" },
            ]),
        );
        let known = json!({ "address": "fe80::1", "mac": router, "state": "stale" });
        let neighbours = [known, world.before["guest"]["neighbours"][0].clone()];
        world.set("/guest/neighbours", json!(neighbours));
        world.stops("learning", &["10.0.0.1 has 52:54:00:00:00:fe"]);
        // Or it is that guest with which this one talks.
        world.grow("/host/switch/ports/net/out_frames", 20);
        let line = world.line();
        assert!(!line.contains("learning"), "{line}");
    });
}

#[test]
fn what_is_flooded_may_be_lost_at_a_tap() {
    each("out", |mut world| {
        world.grow("/host/switch/ports/net/flooded", 20);
        world.grow("/host/switch/ports/net/unknown", 20);
        world.grow("/host/peer/down", 20);
        world.stops("tap", &["its interface is down"]);
    });
}

#[test]
fn an_address_is_at_the_port_itself() {
    each("in", |mut world| {
        world.set("/host/table/1/port", json!("net"));
        world.grow("/host/switch/ports/net/filtered", 20);
        world.stops(
            "learning",
            &["20 frames for an address that the switch has at port net"],
        );
    });
}

#[test]
fn nobody_has_an_address() {
    each("tap", |mut world| {
        world.set("/guest/neighbours/0/mac", json!("52:54:00:00:00:99"));
        world.grow("/host/switch/ports/net/flooded", 20);
        world.grow("/host/switch/ports/net/unknown", 20);
        world.stops(
            "learning",
            &[
                "20 frames of port net flooded, for an address that is at no port",
                "52:54:00:00:00:99",
            ],
        );
    });
}

#[test]
fn what_is_flooded_may_arrive() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        world.grow("/host/switch/ports/net/flooded", 20);
        world.grow("/host/switch/ports/net/unknown", 20);
        let line = world.line();
        assert!(
            line.starts_with("no fault found: "),
            "it is answered: {line}"
        );
    }
}

#[test]
fn where_nobody_ever_sends_all_is_unknown() {
    each("out", |mut world| {
        world.hide("/host/interface");
        world.before["host"]["peer"] = json!({ "frames": 9, "bytes": 800 });
        world.after["host"]["peer"] = json!({ "frames": 29, "bytes": 2800 });
        world.grow("/host/switch/ports/net/flooded", 20);
        world.grow("/host/switch/ports/net/unknown", 20);
        let line = world.line();
        assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
    });
}

#[test]
fn a_port_loses_what_leaves() {
    for (counter, words) in [
        ("shaper/lost", "(shaper)"),
        ("outlet/lost_full", "(lost_full)"),
        ("outlet/lost_closed", "(lost_closed)"),
    ] {
        each("out", |mut world| {
            world.grow(&format!("/host/switch/ports/host/{counter}"), 20);
            world.stops(
                "switch port out",
                &["20 frames lost leaving port host", words],
            );
        });
    }
}

#[test]
fn a_tap_is_down() {
    each("out", |mut world| {
        world.grow("/host/peer/down", 20);
        world.stops(
            "tap",
            &["20 frames lost at host: its interface is down (down)"],
        );
        world.set("/host/interface/up", json!(false));
        world.stops("tap", &["interface tap0 of the host is down"]);
    });
}

#[test]
fn a_host_refuses() {
    each("out", |mut world| {
        world.grow("/host/peer/refused", 20);
        world.stops(
            "tap",
            &["20 frames lost at host: the host does not like them (refused)"],
        );
    });
}

#[test]
fn another_guest_has_no_buffers() {
    each("out", |mut world| {
        let counters = |lost: u64| {
            json!({
                "queues": [],
                "class": { "rx": { "frames": 3, "lost_full": lost }, "tx": { "frames": 1 } },
            })
        };
        world.before["host"]["peer"] = counters(0);
        world.after["host"]["peer"] = counters(20);
        world.hide("/host/interface");
        world.stops(
            "peer",
            &["20 frames lost at the device host: it has no buffers"],
        );
    });
}

#[test]
fn nobody_answers() {
    each("tap", |mut world| {
        world.set(
            "/guest/neighbours/0",
            json!({ "address": "10.0.0.1", "state": "failed" }),
        );
        world.stops(
            "tap",
            &["host has got 20 frames and sent none: nobody there answers for 10.0.0.1"],
        );
        world.hide("/host");
        world.stops(
            "peer",
            &["nobody answers for 10.0.0.1", "not seen: backend"],
        );
    });
}
