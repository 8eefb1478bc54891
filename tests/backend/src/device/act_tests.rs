// SPDX-License-Identifier: GPL-2.0

//! Each act, on each sort of requests, on rings of each form: it is refused, or a driver sees what is
//! said of it.

use super::stage::{Asked, BEFORE, FORMS, FRAME, HEADER, Play, ROOM, Seen, Stage};
use crate::{
    blk::Blk,
    net::Net,
    ring::Form,
    rule::{ACTIONS, Named, Scope},
};
use serde_json::{Value, json};

/// What there is to see: at once, after a second, and after what is held was released.
type Story = [Seen; 3];

/// Makes a request of some sort, to which rules do something, or not.
fn play<C: Play>(
    form: Form,
    operation: &str,
    tables: bool,
    rules: &[Value],
) -> (Asked, Story, Value) {
    let mut stage = Stage::<C>::new(form);
    stage.tables = tables;
    for rule in rules {
        stage.command("inject", rule.clone()).expect("a rule");
    }
    // A queue beside it has requests that the device has not looked at.
    let other = stage.queue_after(C::queue_of(operation));
    stage.crowd(other);
    let asked = stage.ask(operation);
    let at_once = stage.see();
    stage.wait();
    let later = stage.see();
    stage.release();
    let story = [at_once, later, stage.see()];
    let acts = stage.command("acts", json!({})).expect("acts");
    (asked, story, acts)
}

fn differing(one: &[u8], other: &[u8]) -> usize {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).filter(|(a, b)| a != b).count()
}

/// Where a field of the header of a frame is, how long it is, and what it is set to.
fn field(name: &str) -> Option<(usize, Vec<u8>)> {
    Some(match name {
        "flags" => (0, vec![0xff]),
        "gso-type" => (1, vec![0x7f]),
        "hdr-len" => (2, vec![0xff; 2]),
        "gso-size" => (4, vec![0x5a; 2]),
        "csum-start" => (6, vec![0xff; 2]),
        "csum-offset" => (8, vec![0xff; 2]),
        "num-buffers" => (10, vec![0xff; 2]),
        _ => return None,
    })
}

/// A request without a lie, and the same one with it.
struct Case<'a> {
    operation: &'a str,
    form: Form,
    asked: &'a Asked,
    truth: &'a Story,
    lie: &'a Story,
}

impl Case<'_> {
    /// What there is at the end, without the lie and with it.
    fn ends(&self) -> (&Seen, &Seen) {
        (&self.truth[2], &self.lie[2])
    }

    /// What the device has written in the end, without the lie and with it.
    fn written(&self) -> (Vec<u8>, Vec<u8>) {
        let (truth, lie) = self.ends();
        (truth.written(self.asked), lie.written(self.asked))
    }

    /// Only what the device has written may be another.
    fn returns_as_ever(&self) {
        let (truth, lie) = self.ends();
        assert_eq!(lie.used, truth.used);
        assert_eq!(lie.calls, truth.calls);
    }

    /// The last byte that the device writes, which is the status, is this.
    fn has_status(&self, status: u8) {
        self.returns_as_ever();
        assert_eq!(self.written().1.last(), Some(&status));
    }

    /// It is returned as that, in the end.
    fn is_used_as(&self, used: &[(u16, u32)]) {
        assert_eq!(self.ends().1.used, used);
        assert_eq!(self.written().0, self.written().1);
    }

    /// The data is another.
    fn is_corrupt(&self) {
        self.returns_as_ever();
        let (truth, lie) = self.ends();
        let (before, after) = self.written();
        match self.operation {
            "read" => assert_eq!(after[0], before[0] ^ 0xff),
            "rx" => assert_eq!(after[HEADER + FRAME - 1], before[HEADER + FRAME - 1] ^ 0xff),
            _ => {
                assert_eq!(differing(&lie.frames[0], &truth.frames[0]), 1);
                return;
            }
        }
        assert_eq!(differing(&before, &after), 1);
    }

    /// It is not done.
    fn fails(&self) {
        if self.operation == "tx" {
            self.returns_as_ever();
            assert!(self.ends().1.frames.is_empty());
        } else {
            self.has_status(1);
        }
    }

    /// So many bytes of what the driver gets are others, or all if there are fewer.
    fn changes(&self, truth: &Seen, lie: &Seen) {
        let (before, after) = (truth.written(self.asked), lie.written(self.asked));
        assert_eq!(differing(&before, &after), before.len().min(4));
        assert_eq!(lie.used, truth.used);
    }

    /// Four bytes of its table are others, and nothing else is.
    fn changes_table(&self, truth: &Seen, lie: &Seen) {
        let table = |seen: &Seen| seen.memory[self.asked.table.clone()].to_vec();
        assert_eq!(differing(&table(truth), &table(lie)), 4);
        assert_eq!(differing(&truth.memory, &lie.memory), 4);
        assert_eq!(lie.used, truth.used);
    }

    fn check(&self, name: &str) {
        let ([first, later, last], (truth, lie)) = (self.lie, self.ends());
        let used = truth.used.first().copied().expect("a used buffer");
        match name {
            "delay" => {
                assert!(first.used.is_empty());
                assert!(*later == self.truth[1]);
            }
            "hold" => {
                assert!(later.used.is_empty());
                assert!(last == truth);
            }
            "fail" => self.fails(),
            "status" => self.has_status(3),
            "no-status" => {
                assert_eq!(lie.used[0].0, used.0);
                assert_eq!(self.written().1.last(), Some(&BEFORE));
            }
            "corrupt" => self.is_corrupt(),
            "short" => {
                assert_eq!(lie.used, [(used.0, 257)]);
                assert_eq!(self.written().1[256..512], [BEFORE; 256]);
            }
            "used-id" => self.is_used_as(&[(0x7777, used.1)]),
            "used-id-of" => {
                assert_eq!((lie.used.len(), lie.used[0].1), (1, used.1));
                // The first of those beside it has the same number.
                assert!(lie.used[0].0 > self.asked.id);
            }
            "used-not-out" => {
                assert_eq!(lie.used.len(), 1);
                assert_ne!(lie.used[0].0, self.asked.id);
            }
            "used-twice" => self.is_used_as(&[used, used]),
            "used-length" => self.is_used_as(&[(used.0, 0xffff_fff0)]),
            "used-jump" => {
                assert_eq!(lie.used[0], used);
                assert_eq!(lie.used.len(), 2);
            }
            "drop" => {
                assert!(lie.frames.is_empty());
                assert_eq!(lie.used.is_empty(), self.operation == "rx");
            }
            "truncate" => assert_eq!(lie.used, [(used.0, 20)]),
            "lengthen" => {
                assert_eq!(lie.used, [(used.0, ROOM)]);
                assert_eq!(self.written().1[HEADER + FRAME], 0xee);
            }
            "mute" => {
                assert_eq!((truth.calls, lie.calls), (1, 0));
                assert!(lie.memory == truth.memory);
            }
            "keep" => {
                assert!(lie.used.is_empty());
                assert_eq!(self.written().0, self.written().1);
                assert_eq!(lie.frames, truth.frames);
            }
            "early" => {
                assert_eq!(first.used, truth.used);
                assert!(first.frames.is_empty());
                let untouched = first.written(self.asked);
                assert!(untouched.iter().all(|byte| *byte == BEFORE));
                assert!(last == truth);
            }
            "late" => {
                assert!(*first == self.truth[0]);
                self.changes(&self.truth[1], later);
            }
            "mutate" => self.changes(&self.truth[0], first),
            "scribble" => {
                let queue = if self.operation == "control" { 2 } else { 0 };
                let queue = queue + u64::from(self.operation == "tx");
                let changed = differing(truth.descriptors(queue), lie.descriptors(queue));
                // In a packed ring, the used buffer is written over it.
                let least = if self.form.packed { 1 } else { 4 };
                assert!((least..=4).contains(&changed), "{changed} bytes");
            }
            "table" => self.changes_table(&self.truth[0], first),
            "late-table" => {
                assert!(*first == self.truth[0]);
                self.changes_table(&self.truth[1], later);
            }
            "disconnect" => {
                assert!(truth.connected && !first.connected);
                assert!(last.used.is_empty());
            }
            "die" => {
                assert_eq!((truth.deaths, first.deaths), (0, 1));
                assert!(last.used.is_empty());
            }
            other => {
                let (at, wanted) = field(other).expect("an act that is tested");
                self.returns_as_ever();
                assert_eq!(self.written().1[at..at + wanted.len()], wanted);
            }
        }
    }
}

/// Does an act to a request, and fails if it is not what is said of it.
fn check<C: Play>(form: Form, operation: &str, act: &Named, truth: &Story) {
    let mut rule = json!({ "do": act.name, "op": operation, "count": 1 });
    if act.name == "gso-size" {
        // By default, it says what is true.
        rule["value"] = 0x5a5a.into();
    }
    if act.name == "used-id-of" {
        let queue = C::queue_of(operation);
        rule["value"] = Stage::<C>::new(form).queue_after(queue).into();
    }
    let (asked, lie, acts) = play::<C>(form, operation, act.needs_table(), &[rule]);
    assert!(*truth != lie, "nothing is seen");
    let case = Case {
        operation,
        form,
        asked: &asked,
        truth,
        lie: &lie,
    };
    case.check(act.name);
    let noted = match act.name {
        "used-id-of" => "used-id",
        name => name,
    };
    assert_eq!(acts[0]["do"], noted);
    assert_eq!(acts.as_array().map(Vec::len), Some(1));
}

/// Does an act, by a rule that names no sort, to a request of a sort that it does not suit.
fn is_left_out<C: Play>(form: Form, operation: &str, act: &Named, truth: &Story) {
    let named = json!({ "do": act.name, "op": operation });
    let stage = Stage::<C>::new(form);
    let refusal = stage.command("inject", named).expect_err("a refusal");
    let rule = json!({ "do": act.name });
    let (_, same, acts) = play::<C>(form, operation, act.needs_table(), &[rule]);

    let why = format!("action {} changes nothing of {operation}", act.name);
    assert_eq!(refusal.to_string(), why);
    assert!(*truth == same, "something is seen");
    assert_eq!(acts, json!([]), "nothing is said to be done");
}

/// Tells what went on when a test failed.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

fn each<C: Play>() {
    let acts = || {
        let there = |act: &&Named| act.scope == Scope::All || act.scope == C::SCOPE;
        ACTIONS.iter().filter(there)
    };
    for form in FORMS {
        for operation in C::OPERATIONS {
            let truths = [false, true].map(|tables| play::<C>(form, operation, tables, &[]).1);
            for act in acts() {
                let truth = &truths[usize::from(act.needs_table())];
                let _told = Told(format!("{} of {operation}: {form:?}", act.name));
                if act.suits(operation) {
                    check::<C>(form, operation, act, truth);
                } else {
                    is_left_out::<C>(form, operation, act, truth);
                }
            }
        }
    }
}

#[test]
fn each_act_on_a_disk_is_seen_or_refused() {
    each::<Blk>();
}

#[test]
fn each_act_on_a_network_is_seen_or_refused() {
    each::<Net>();
}
