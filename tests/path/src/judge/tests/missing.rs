// SPDX-License-Identifier: GPL-2.0

//! What cannot be seen, and what cannot be compared.

use super::{DRIVERS, Driver, World, whole::places};
use serde_json::json;

fn all_places(world: &World) -> Vec<String> {
    let mut all = Vec::new();
    places(&world.before, "", &mut all);
    assert!(all.len() > 200, "there are only {}", all.len());
    all
}

#[test]
fn one_side_may_be_missing() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        world.hide("/host");
        let line = world.line();
        assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
        assert!(line.ends_with("; not seen: backend"), "{line}");

        let mut world = World::new(driver);
        world.hide("/guest");
        let line = world.line();
        assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
        assert!(line.ends_with("; not seen: guest"), "{line}");

        let mut world = World::new(driver);
        for place in [
            "/guest/statistics",
            "/guest/qdisc",
            "/guest/interrupts",
            "/host/peer",
        ] {
            world.hide(place);
        }
        let line = world.line();
        let unseen = "; not seen: qdisc, driver, interrupts, tap";
        assert!(line.ends_with(unseen), "{line}");
    }
}

#[test]
fn without_counters_nothing_is_told() {
    let mut world = World::new(Driver::Ours);
    for place in ["/guest/statistics", "/host/counters"] {
        world.hide(place);
    }
    let line = world.line();
    assert!(
        line.starts_with("cannot tell: neither side has counted frames"),
        "{line}"
    );
}

#[test]
fn no_fault_is_made_up_for_what_is_missing() {
    let world = World::new(Driver::Ours);
    for place in all_places(&world) {
        let mut less = world.clone();
        less.hide(&place);
        let line = less.line_as_is();
        assert!(!line.starts_with("frames stop"), "without {place}: {line}");
        // Only one of the two snapshots has it.
        less.after = world.after.clone();
        let line = less.line_as_is();
        assert!(
            !line.starts_with("frames stop"),
            "first without {place}: {line}"
        );
    }
}

#[test]
fn a_fault_stays_the_same_or_is_not_told_apart() {
    // The tap is down: whatever else is missing, nothing in the guest is blamed.
    let mut world = World::out_to(Driver::Ours, "out");
    world.grow("/host/peer/down", 20);
    for place in all_places(&world) {
        let mut less = world.clone();
        less.hide(&place);
        let line = less.line_as_is();
        let right = line.starts_with("frames stop at tap: ")
            || (line.starts_with("frames stop between ") && line.contains(" and tap: "));
        let blames = line.starts_with("frames stop") && !right;
        assert!(!blames, "without {place}: {line}");
    }
}

#[test]
fn counters_that_went_back_are_told() {
    for (place, words) in [
        (
            "/guest/statistics/rx_packets",
            "rx_packets of eth0 went back from 1007 to 27: the driver",
        ),
        (
            "/guest/ethtool/tx_kicks",
            "tx_kicks of eth0 went back from 1009 to 29: the driver",
        ),
        (
            "/host/counters/queues/1/taken",
            "taken of queue 1 of net went back from 1009 to 29: the backend",
        ),
        (
            "/host/counters/class/rx/frames",
            "rx frames of net went back from 1007 to 27: the backend",
        ),
        (
            "/host/counters/class/tx/frames",
            "tx frames of net went back",
        ),
        (
            "/host/switch/ports/host/in_frames",
            "in_frames of port host went back",
        ),
        (
            "/host/peer/to_host",
            "what the port has got went back from 1009 to 29: the backend",
        ),
        ("/host/peer/from_host", "what the port has sent went back"),
    ] {
        let mut world = World::new(Driver::Ours);
        let before = world.before.pointer_mut(place).expect("a counter");
        *before = json!(before.as_u64().expect("a number") + 1000);
        let line = world.line();
        assert!(line.starts_with("cannot tell: "), "{place}: {line}");
        assert!(line.contains(words), "{place}: {line}");
    }
}

#[test]
fn what_is_something_else_is_not_compared() {
    for (place, value, words) in [
        (
            "/guest/interface",
            json!("eth1"),
            "has told of eth0 before, and of eth1 after",
        ),
        (
            "/guest/index",
            json!(3),
            "eth0 was made anew, with number 3 instead of 2",
        ),
        (
            "/host/device",
            json!("other"),
            "has told of net before, and of other after",
        ),
        (
            "/host/port",
            json!("other"),
            "has told of two different ports",
        ),
    ] {
        let mut world = World::new(Driver::Ours);
        world.set(place, value);
        let line = world.line();
        assert!(
            line.starts_with("cannot tell: ") && line.contains(words),
            "{line}"
        );
    }
}

#[test]
fn what_was_not_seen_on_the_way_is_told() {
    let mut world = World::out_to(Driver::Ours, "in");
    world.hide("/host/switch");
    let line = world.line();
    assert_eq!(
        line,
        "frames stop between backend pop and tap: 20 frames came to the first, and none to the second; \
         not seen: switch port in, VLAN, switch port out (on the way out)"
    );
}
