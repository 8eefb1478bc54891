// SPDX-License-Identifier: GPL-2.0

use super::*;

fn facts(operation: &'static str, sectors: Range<u64>) -> Facts {
    Facts {
        sectors: Some(sectors),
        ..Facts::of(operation)
    }
}

/// Has rules meet a request of a queue that was never notified of.
fn apply(rules: &mut Rules, facts: &Facts, queue: u16, bytes: &[u8]) -> Vec<Action> {
    rules.apply(&Request {
        facts,
        queue,
        kick: None,
        bytes,
        has_table: false,
        out_of: &|_| None,
    })
}

fn rules(value: Value) -> Rules {
    let mut rules = Rules::new(Scope::Disk);
    rules.add(&value, &["read", "write"]).expect("a rule");
    rules
}

#[test]
fn conditions_are_met_all_at_once() {
    let mut rules = rules(json!({"do": "fail", "op": "read", "sector": [8, 16], "queue": 1}));

    assert_eq!(apply(&mut rules, &facts("read", 0..8), 1, &[]), []);
    assert_eq!(
        apply(&mut rules, &facts("read", 0..9), 1, &[]),
        [Action::Fail(1)]
    );
    assert_eq!(
        apply(&mut rules, &facts("read", 15..99), 1, &[]),
        [Action::Fail(1)]
    );
    assert_eq!(apply(&mut rules, &facts("read", 16..17), 1, &[]), []);
    assert_eq!(apply(&mut rules, &facts("write", 8..9), 1, &[]), []);
    assert_eq!(apply(&mut rules, &facts("read", 8..9), 0, &[]), []);
    let flush = Facts::of("read");
    assert_eq!(apply(&mut rules, &flush, 1, &[]), []);
}

#[test]
fn a_rule_begins_and_ends() {
    let mut rules = rules(json!({"do": "used-id", "value": 9, "skip": 2, "count": 1}));
    let done: Vec<_> = (0..4)
        .map(|_| apply(&mut rules, &facts("read", 0..1), 0, &[]).len())
        .collect();

    assert_eq!(done, [0, 0, 1, 0]);
    assert_eq!(
        rules.list(),
        json!([{"rule": 0, "do": "used-id", "matched": 4, "done": 1}])
    );
    rules.remove(Some(0)).expect("to be removed");
    assert!(rules.remove(Some(0)).is_err());
    assert_eq!(rules.list(), json!([]));
}

#[test]
fn what_cannot_be_is_refused() {
    let mut rules = Rules::new(Scope::Disk);
    for (value, why) in [
        (json!({}), "there is no action "),
        (json!({"do": "explode"}), "there is no action explode"),
        (
            json!({"do": "hold", "value": 1}),
            "action hold takes no value",
        ),
        (
            json!({"do": "fail", "value": 256}),
            "out of range integral type conversion attempted",
        ),
        (
            json!({"do": "fail", "op": "fly"}),
            "there is no operation fly; there are read",
        ),
        (
            json!({"do": "fail", "protocol": "icmpv6"}),
            "there is no protocol icmpv6; there are arp, tcp, udp, icmp, icmp6, ip, other",
        ),
        (json!({"do": "fail", "sector": [1]}), "sector is no range"),
        (json!({"do": "fail", "skip": "x"}), "skip is no number"),
        (json!({"do": "fail", "sectors": 1}), "a rule has no sectors"),
        (
            json!({"do": "fail", "pattern": "abc"}),
            "pattern is no bytes in hexadecimal digits",
        ),
        (
            json!({"do": "fail", "percent": 101}),
            "percent is more than 100",
        ),
    ] {
        let error = rules.add(&value, &["read"]).expect_err("an error");
        assert_eq!(error.to_string(), why);
    }
}

#[test]
fn every_action_has_a_name() {
    for action in ACTIONS {
        let found = Named::find(action.name, action.scope).expect("an action");
        assert!(found.action(None, 1).is_ok(), "{}", action.name);
    }
    let mut network = Rules::new(Scope::Net);
    let operations = ["rx", "tx", "control"];
    let truncate = json!({ "do": "truncate", "op": "tx" });
    let error = network.add(&truncate, &operations).expect_err("an error");
    assert_eq!(error.to_string(), "action truncate changes nothing of tx");
    let everywhere = json!({ "do": "truncate" });
    network.add(&everywhere, &operations).expect("a rule");
    assert_eq!(apply(&mut network, &Facts::of("tx"), 1, &[]), []);
    assert_eq!(
        apply(&mut network, &Facts::of("rx"), 0, &[]),
        [Action::Truncate(8)]
    );
    assert_eq!(network.list()[0]["matched"], 1);
    assert!(Named::find("short", Scope::Net).is_err());
    assert!(Named::find("truncate", Scope::Disk).is_err());
}

#[test]
fn a_place_a_pattern_and_a_time_are_conditions() {
    let mut at = rules(json!({"do": "hold", "queue": 1, "at": 2}));
    let done: Vec<_> = (0..4)
        .map(|_| {
            apply(&mut at, &Facts::of("read"), 0, &[]);
            apply(&mut at, &Facts::of("read"), 1, &[]).len()
        })
        .collect();
    assert_eq!(done, [0, 0, 1, 0]);

    let mut pattern = rules(json!({"do": "hold", "pattern": "beef"}));
    assert!(pattern.look_for_patterns());
    let mut done = |bytes: &[u8]| apply(&mut pattern, &Facts::of("write"), 0, bytes).len();
    assert_eq!(done(&[1, 0xbe, 0xef]), 1);
    assert_eq!(done(&[0xbe, 1, 0xef]), 0);
    assert_eq!(done(&[]), 0);

    let mut kick = rules(json!({"do": "hold", "kick": 1}));
    let mut done = |kick_before: Option<u64>| {
        let facts = Facts::of("read");
        let request = Request {
            facts: &facts,
            queue: 0,
            kick: kick_before,
            bytes: &[],
            has_table: false,
            out_of: &|_| None,
        };
        kick.apply(&request).len()
    };
    let done = [None, Some(0), Some(1), Some(1), Some(2)].map(&mut done);
    assert_eq!(done, [0, 0, 1, 1, 0]);

    let mut later = rules(json!({"do": "hold", "after": 20}));
    assert_eq!(apply(&mut later, &Facts::of("read"), 0, &[]), []);
    std::thread::sleep(Duration::from_millis(25));
    assert_eq!(
        apply(&mut later, &Facts::of("read"), 0, &[]),
        [Action::Hold]
    );
}

#[test]
fn the_number_of_another_queue_is_noted() {
    let mut rules = rules(json!({"do": "used-id-of", "value": 3, "count": 2}));
    let facts = Facts::of("read");
    let mut done = |found: Option<u16>| {
        rules.apply(&Request {
            facts: &facts,
            queue: 0,
            kick: None,
            bytes: &[],
            has_table: false,
            out_of: &|queue| found.filter(|_| queue == 3),
        })
    };
    assert_eq!(done(None), []);
    assert_eq!(done(Some(9)), [Action::UsedId(9)]);
    assert_eq!(rules.list()[0]["matched"], 1);
    let acts = rules.acts_after(0);
    assert_eq!(
        (&acts[0]["do"], &acts[0]["value"]),
        (&json!("used-id"), &json!(9))
    );
}

#[test]
fn chance_is_what_the_seed_says() {
    let run = |seed: u64| -> Vec<_> {
        let mut rules = rules(json!({"do": "mutate", "percent": 25, "seed": seed}));
        (0..400)
            .map(|_| apply(&mut rules, &Facts::of("read"), 0, &[]))
            .collect()
    };
    let count = run(7).iter().flatten().count();
    assert!((60..140).contains(&count), "{count} of 400");
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}

#[test]
fn what_was_done_is_done_again() {
    let operations = ["read", "write"];
    let mut first = Rules::new(Scope::Disk);
    for rule in [
        json!({"do": "mutate", "value": 3, "percent": 30, "seed": 5}),
        json!({"do": "status", "op": "write", "skip": 4, "count": 3}),
        json!({"do": "scribble", "queue": 1, "percent": 10}),
    ] {
        first.add(&rule, &operations).expect("a rule");
    }
    let run = |rules: &mut Rules| -> Vec<_> {
        (0_usize..200)
            .map(|n| {
                let operation = operations.get(n % 2).expect("one of two");
                apply(rules, &Facts::of(operation), u16::from(n % 3 == 0), &[])
            })
            .collect()
    };
    let done = run(&mut first);
    assert!(first.acted() > 20);

    let mut again = Rules::new(Scope::Disk);
    for rule in first.acts_after(0) {
        again.add(&rule, &operations).expect("a rule");
    }
    assert_eq!(run(&mut again), done);
    assert_eq!(again.acts_after(0), first.acts_after(0));
}
