// SPDX-License-Identifier: GPL-2.0

//! Acts that depend on more than their request: on notifications, on other queues, on tables.

use super::stage::{Asked, BEFORE, FORMS, Seen, Stage};
use crate::{blk::Blk, net::Net, ring::Form};
use serde_json::{Value, json};

#[test]
fn a_notification_chooses_requests() {
    for form in FORMS {
        let mut stage = Stage::<Blk>::new(form);
        let rule = json!({ "do": "status", "value": 77, "queue": 0, "kick": 1 });
        stage.command("inject", rule).expect("a rule");
        let mut all = Vec::new();
        // The second notification is for two requests; that of another queue does not count.
        stage.kick(1);
        for count in [1, 2, 1] {
            all.extend((0..count).map(|_| stage.prepare("read", 0)));
            stage.kick(0);
        }
        let seen = stage.see();
        let status = |asked| seen.written(asked).last().copied();
        let statuses: Vec<_> = all.iter().map(status).collect();
        assert_eq!(statuses, [Some(0), Some(77), Some(77), Some(0)]);
        assert_eq!(seen.used.len(), 4);
    }
}

#[test]
fn what_nobody_has_notified_of_has_no_notification() {
    for form in FORMS {
        let mut stage = Stage::<Blk>::new(form);
        let rule = json!({ "do": "no-status", "kick": 0 });
        stage.command("inject", rule).expect("a rule");
        let first = stage.prepare("read", 0);
        // The device looks by itself.
        stage.shared.lock().run(0);
        let second = stage.ask("read");
        let seen = stage.see();
        assert_eq!(seen.written(&first).last(), Some(&0));
        assert_eq!(seen.written(&second).last(), Some(&BEFORE));
    }
}

#[test]
fn a_notification_chooses_frames() {
    for form in FORMS {
        let mut stage = Stage::<Net>::new(form);
        let rule = json!({ "do": "drop", "kick": 1 });
        stage.command("inject", rule).expect("a rule");
        for _ in 0..3 {
            stage.ask("tx");
        }
        assert_eq!(stage.see().frames.len(), 2);
        assert_eq!(stage.see().used.len(), 3);
        let used = stage.see().used.len();
        for _ in 0..3 {
            stage.ask("rx");
        }
        assert_eq!(stage.see().used.len(), used + 2);
    }
}

#[test]
fn only_what_is_out_elsewhere_is_returned_instead() {
    for form in FORMS {
        let mut stage = Stage::<Blk>::new(form);
        for rule in [
            json!({ "do": "hold", "queue": 1 }),
            json!({ "do": "used-id-of", "value": 1, "queue": 0, "count": 1 }),
        ] {
            stage.command("inject", rule).expect("a rule");
        }
        let mut others = vec![stage.prepare("read", 1).id];
        stage.kick(1);
        // What is out in the other queue has the number of this one.
        let first = stage.ask("read");
        assert_eq!(others, [first.id]);
        assert_eq!(stage.see().used, [(first.id, 513)]);
        others.push(stage.prepare("read", 1).id);
        stage.kick(1);
        let second = stage.ask("read");
        let (id, length) = stage.see().used[1];
        assert_ne!(id, second.id);
        assert!(others.contains(&id), "{id} of {others:?}");
        assert_eq!(length, 513);
        let rules = stage.command("rules", json!({})).expect("rules");
        assert_eq!(rules[1]["matched"], 1);
    }
}

#[test]
fn nothing_is_out_of_a_queue_that_has_nothing() {
    for form in FORMS {
        let mut stage = Stage::<Blk>::new(form);
        // There is no queue 9, and this one is no other.
        for queue in [0, 1, 9] {
            let lie = json!({ "do": "used-id-of", "value": queue, "queue": 0 });
            stage.command("inject", lie).expect("a rule");
        }
        let asked = stage.ask("read");
        assert_eq!(stage.see().used, [(asked.id, 513)]);
        let acts = stage.command("acts", json!({})).expect("acts");
        assert_eq!(acts, json!([]));
    }
}

#[test]
fn only_tables_that_are_there_are_changed() {
    for form in FORMS {
        let mut stage = Stage::<Net>::new(form);
        for act in ["table", "late-table"] {
            stage
                .command("inject", json!({ "do": act }))
                .expect("a rule");
        }
        let acts = |stage: &Stage<Net>| stage.command("acts", json!({})).expect("acts");
        for operation in ["rx", "tx", "control"] {
            stage.ask(operation);
        }
        assert_eq!(acts(&stage), json!([]));
        stage.tables = true;
        let asked = stage.ask("tx");
        let told = acts(&stage);
        assert_eq!((&told[0]["at"], &told[1]["at"]), (&json!(1), &json!(1)));
        let scribbled = stage.see();
        stage.wait();
        let late = stage.see();
        let tables = [&scribbled, &late].map(|seen| &seen.memory[asked.table.clone()]);
        assert_ne!(tables[0], tables[1], "each act draws places of its own");
        assert_eq!(late.frames.len(), 2, "it was read before");
    }
}

/// Has a frame come into two of three buffers, and returns these, and what is seen at once and later.
fn parts(form: Form, rules: &[Value]) -> ([Asked; 2], [Seen; 2]) {
    let mut stage = Stage::<Net>::new(form);
    for rule in rules {
        stage.command("inject", rule.clone()).expect("a rule");
    }
    let [first, second, _] = [(); 3].map(|()| stage.add((vec![], vec![40]), 0));
    stage.send();
    let at_once = stage.see();
    stage.wait();
    ([first, second], [at_once, stage.see()])
}

#[test]
fn a_lie_about_several_buffers_is_one_about_the_first() {
    for form in FORMS {
        let ([a, b], [truth, _]) = parts(form, &[]);
        let (first, second) = ((a.id, 40), (b.id, 32));
        assert_eq!(truth.used, [first, second]);
        for (act, wanted) in [
            ("used-id", vec![(0x7777, 40), second]),
            ("used-not-out", vec![(63, 40), second]),
            ("used-length", vec![(a.id, 0xffff_fff0), second]),
            ("used-twice", vec![first, first, second]),
            ("keep", vec![]),
            ("mute", vec![first, second]),
        ] {
            let (_, [lie, _]) = parts(form, &[json!({ "do": act })]);
            assert_eq!(lie.used, wanted, "{act}: {form:?}");
            let written = [&a, &b].map(|part| lie.written(part));
            assert_eq!(written, [&a, &b].map(|part| truth.written(part)), "{act}");
            assert_eq!(lie.calls, u64::from(!["keep", "mute"].contains(&act)));
        }
        let (_, [lie, _]) = parts(form, &[json!({ "do": "used-jump" })]);
        assert_eq!(lie.used[..2], [first, second]);
        assert_eq!(lie.used.len(), 3);
    }
}

#[test]
fn what_is_done_to_memory_is_done_to_all_of_several_buffers() {
    for form in FORMS {
        let ([a, b], [truth, _]) = parts(form, &[]);
        for act in ["early", "late", "mutate"] {
            let (_, [at_once, later]) = parts(form, &[json!({ "do": act })]);
            assert_eq!(at_once.used, truth.used, "{act}: {form:?}");
            for part in [&a, &b] {
                let [now, then] = [&at_once, &later].map(|seen| seen.written(part));
                let truth = truth.written(part);
                let (now, then) = (now == truth, then == truth);
                let wanted = match act {
                    "early" => (false, true),
                    "late" => (true, false),
                    _ => (false, false),
                };
                assert_eq!((now, then), wanted, "{act}: {form:?}");
            }
        }
    }
}

#[test]
fn what_is_available_is_out() {
    for form in FORMS {
        let mut stage = Stage::<Net>::new(form);
        let lie = json!({ "do": "used-not-out", "at": 1 });
        stage.command("inject", lie).expect("a rule");
        stage.ask("rx");
        assert_eq!(stage.see().used.len(), 1);
        // The driver has one number left, for which there is no buffer.
        let mut ids: Vec<_> = (0..63).map(|_| stage.prepare("rx", 0).id).collect();
        stage.send();
        let (id, _) = stage.see().used[1];
        assert!(!ids.contains(&id), "{id}: {form:?}");
        ids.push(id);
        ids.sort_unstable();
        assert_eq!(ids, (0..64).collect::<Vec<_>>());
    }
}
