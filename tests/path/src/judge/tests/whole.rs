// SPDX-License-Identifier: GPL-2.0

//! What goes well, and how it is told.

use super::{DRIVERS, Driver, World};
use crate::{
    judge::{Verdict, judge},
    snapshot::Snapshot,
};
use serde_json::{Value, json};

/// Returns the places of all values, and of all that has values.
pub fn places(value: &Value, at: &str, all: &mut Vec<String>) {
    let parts: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, it)| (name.clone(), it)).collect(),
        Value::Array(parts) => (0..).map(|at: u32| at.to_string()).zip(parts).collect(),
        _ => Vec::new(),
    };
    for (name, value) in parts {
        let place = format!("{at}/{name}");
        places(value, &place, all);
        all.push(place);
    }
}

#[test]
fn all_goes_well() {
    let world = World::new(Driver::Ours);
    assert_eq!(
        world.line(),
        "no fault found: 20 frames out (1.00 kicks and 1.00 interrupts for each), 20 frames in (0.00 \
         kicks and 1.00 interrupts for each)"
    );
    let world = World::new(Driver::InTree);
    assert_eq!(world.line(), World::new(Driver::Bare).line());
}

#[test]
fn some_may_be_lost() {
    let mut world = World::new(Driver::Ours);
    world.grow("/host/switch/ports/host/shaper/lost", 1);
    world.grow("/guest/protocols/Udp/NoPorts", 2);
    let line = world.line();

    assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
    for words in [
        "; on the way out, at switch port out: 1 frame lost leaving port host",
        "; on the way in, at socket: 2 packets for a port without a socket",
    ] {
        assert!(line.contains(words), "without {words}: {line}");
    }
}

#[test]
fn others_may_do_something_else() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        // Another guest floods, in another VLAN and in this one; IPv6 is off in this guest.
        world.grow("/host/switch/ports/net/other_vlan", 500);
        world.grow("/guest/protocols/Ip6/InDiscards", 19);
        world.grow("/guest/statistics/rx_otherhost_dropped", 300);
        world.grow("/host/switch/ports/other/unknown", 300);
        let line = world.line();
        assert!(line.starts_with("no fault found: "), "{line}");
    }
}

#[test]
fn what_only_goes_out_is_no_fault() {
    for driver in DRIVERS {
        let line = World::out_to(driver, "tap").line();
        assert!(line.starts_with("no fault found: 20 frames out"), "{line}");
        assert!(
            line.ends_with(", 0 frames in; host has sent none"),
            "{line}"
        );
    }
}

#[test]
fn what_only_comes_in_is_no_fault() {
    for driver in DRIVERS {
        let mut world = World::in_to(driver, "stack");
        let sent = World::out_to(driver, "tap");
        let mut places = Vec::new();
        self::places(&sent.before, "", &mut places);
        for place in &places {
            let (before, after) = (sent.before.pointer(place), sent.after.pointer(place));
            if before != after && before.is_some_and(Value::is_number) {
                world.grow(place, 0);
            }
        }
        let line = world.line();
        assert!(
            line.starts_with("no fault found: 0 frames out, 20 frames in"),
            "{line}"
        );
    }
}

#[test]
fn nothing_happens() {
    for driver in DRIVERS {
        let mut world = World::new(driver);
        world.after = world.before.clone();
        world.stops(
            "socket",
            &["no frame was sent, and none came; no counter tells why"],
        );
        world.set("/guest/neighbours/0/state", json!("incomplete"));
        world.stops("socket", &["the guest waits for 10.0.0.1 to answer"]);
    }
}

#[test]
fn frames_stop_and_no_counter_tells_why() {
    for driver in DRIVERS {
        let line = World::out_to(driver, "in").line();
        let wanted = "frames stop between VLAN and switch port out: 20 frames came to the first, and \
                      none to the second; no counter tells why (on the way out)";
        assert_eq!(line, wanted);
        let line = World::in_to(driver, "in").line();
        assert!(
            line.starts_with("frames stop between VLAN and switch port out: 20"),
            "{line}"
        );
        assert!(line.ends_with("(on the way in)"), "{line}");
    }
}

/// Writes a value with its fields in the other order.
fn reversed(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .rev()
                .map(|(name, value)| format!("{}:{}", json!(name), reversed(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        Value::Array(parts) => {
            let parts: Vec<_> = parts.iter().map(reversed).collect();
            format!("[{}]", parts.join(","))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_order_of_fields_does_not_matter() {
    let mut broken = World::out_to(Driver::Ours, "in");
    broken.grow("/host/switch/ports/net/wrong_vlan", 20);
    for world in [World::new(Driver::Ours), broken] {
        let read = |value: &Value| {
            let text = reversed(value);
            assert_ne!(text, value.to_string());
            Snapshot::read(&text).expect("a snapshot")
        };
        let judged = judge(&read(&world.before), &read(&world.after));
        assert_eq!(judged.verdict.to_string(), world.line_as_is());
    }
}

#[test]
fn fields_may_be_null_or_new() {
    let mut world = World::new(Driver::Ours);
    let wanted = world.line_as_is();
    world.after["guest"]["weather"] = json!("fine");
    world.after["host"]["counters"]["queues"][0]["mood"] = json!({ "good": true });
    assert_eq!(world.line_as_is(), wanted);
    for place in [
        "/guest/link/carrier",
        "/guest/driver",
        "/host/counters/queues/0/wanted",
    ] {
        world.set(place, json!(null));
    }
    assert_eq!(world.line_as_is(), wanted);
}

#[test]
fn only_the_queues_that_are_used_count() {
    let mut world = World::new(Driver::Ours);
    for snapshot in [&mut world.before, &mut world.after] {
        // Without MQ, the control queue of a device with two pairs is the third.
        let device = &mut snapshot["host"]["counters"];
        device["features"] = json!(0x1_3020_7fa3_u64);
        let queues = device["queues"].as_array_mut().expect("queues");
        let control = json!({ "running": true, "enabled": false, "kicks": 3, "taken": 3 });
        queues.extend([
            control,
            json!({ "running": false }),
            json!({ "running": false }),
        ]);
    }
    world.grow("/host/counters/queues/2/kicks", 90);
    let line = world.line();
    assert!(line.contains("20 frames in (0.00 kicks"), "{line}");
}

#[test]
fn a_table_has_all_hops() {
    let world = World::new(Driver::Ours);
    let read = |value: &Value| Snapshot::read(&value.to_string()).expect("a snapshot");
    let judged = judge(&read(&world.before), &read(&world.after));
    let table = judged.table();

    assert!(matches!(judged.verdict, Verdict::Passes { .. }));
    let line = |way: &str, hop: &str| {
        let begin = format!("{way:<4} {hop:<16} ");
        let line = table.lines().find(|line| line.starts_with(&begin));
        line.unwrap_or_else(|| panic!("{begin} is not in\n{table}"))
            .to_owned()
    };
    for hop in [
        "socket",
        "qdisc",
        "driver queue",
        "ring",
        "kick",
        "backend pop",
        "switch port in",
    ] {
        assert_eq!(
            line("out", hop)
                .split_whitespace()
                .nth(hop.split(' ').count() + 1),
            Some("20")
        );
    }
    for hop in [
        "tap",
        "VLAN",
        "switch port out",
        "RX buffers",
        "used ring",
        "interrupt",
        "NAPI",
    ] {
        assert_eq!(
            line("in", hop)
                .split_whitespace()
                .nth(hop.split(' ').count() + 1),
            Some("20")
        );
    }
    assert!(line("out", "kick").ends_with("by the driver's count 20"));
    assert!(line("in", "RX buffers").contains("waiting 0"));
    assert_eq!(table.lines().count(), 1 + 11 + 9);
}
