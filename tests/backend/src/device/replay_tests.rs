// SPDX-License-Identifier: GPL-2.0

//! What was done to a driver is done to it again, byte for byte, by what was noted of it: each act, to
//! some of many requests.

use super::stage::{FORMS, Play, Seen, Stage};
use crate::{
    blk::Blk,
    control::Controlled,
    net::Net,
    replay::{Recorder, Replay},
    ring::Form,
    rule::{ACTIONS, Named, Scope},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// How many requests there are, of all sorts in turn.
const REQUESTS: usize = 18;

/// Makes a device, whose requests have tables, or not.
fn stage<C: Play>(form: Form, tables: bool) -> Stage<C> {
    let mut stage = Stage::new(form);
    stage.tables = tables;
    stage
}

/// Makes requests, and returns all that is seen of each, at once and later.
fn requests<C: Play>(stage: &mut Stage<C>) -> Vec<Seen> {
    let mut story = Vec::new();
    stage.crowd(C::OTHER);
    for operation in C::OPERATIONS.iter().cycle().take(REQUESTS) {
        stage.ask(operation);
        story.push(stage.see());
        stage.wait();
        story.push(stage.see());
    }
    stage.release();
    story.push(stage.see());
    story
}

/// Returns what was done to which request, without the time.
fn acts<C: Play>(stage: &Stage<C>) -> Vec<Value> {
    let acts = stage.command("acts", json!({})).expect("acts");
    let acts = acts.as_array().expect("a list").iter();
    let fields = ["do", "op", "queue", "at", "value", "seed"];
    acts.map(|act| fields.map(|field| act[field].clone()).into())
        .collect()
}

/// Has a rule meet many requests, and returns what was seen, what was done, and the record of it.
fn record<C: Play>(form: Form, act: &Named, rule: Value) -> (Vec<Seen>, Vec<Value>, PathBuf) {
    let name = format!(
        "rv-{}-{}-{}",
        std::process::id(),
        C::OPERATIONS[0],
        rule["do"]
    );
    let path = std::env::temp_dir().join(name.replace('"', ""));
    let mut stage = stage::<C>(form, act.needs_table());
    let recorder = Recorder::create(&path).expect("a record");
    stage.shared.lock().recorder = Some(recorder);
    stage.command("inject", rule).expect("a rule");
    (requests(&mut stage), acts(&stage), path)
}

/// Does what a record has, and returns what was seen, and what was done.
fn replay<C: Play>(form: Form, act: &Named, path: &Path) -> (Vec<Seen>, Vec<Value>) {
    let mut stage = stage::<C>(form, act.needs_table());
    let replay = Replay::read(path).expect("a record");
    let device = Arc::clone(&stage.shared) as Arc<dyn Controlled>;
    replay.begin(vec![device]).expect("to begin");
    (requests(&mut stage), acts(&stage))
}

fn check<C: Play>(form: Form, act: &Named, plain: &[Seen]) {
    let name = act.name;
    let mut rule = json!({ "do": name, "percent": 60, "seed": 5 });
    if name == "gso-size" {
        // By default, it says what is true.
        rule["value"] = 0x5a5a.into();
    }
    if name == "used-id-of" {
        rule["value"] = C::OTHER.into();
    }
    let (seen, done, path) = record::<C>(form, act, rule);
    assert!(seen != *plain, "{name}: nothing is seen: {form:?}");
    let (again, done_again) = replay::<C>(form, act, &path);
    std::fs::remove_file(&path).expect("the record");

    assert_eq!(done_again, done, "{name}: {form:?}");
    assert!(!done.is_empty(), "{name}");
    for (at, (one, other)) in seen.iter().zip(&again).enumerate() {
        assert!(one == other, "{name}: {at} is not the same: {form:?}");
    }
}

fn each<C: Play>() {
    let there = |act: &&Named| act.scope == Scope::All || act.scope == C::SCOPE;
    for form in FORMS {
        let plain = [false, true].map(|tables| requests(&mut stage::<C>(form, tables)));
        for act in ACTIONS.iter().filter(there) {
            check::<C>(form, act, &plain[usize::from(act.needs_table())]);
        }
    }
}

#[test]
fn each_act_on_a_disk_is_done_again() {
    each::<Blk>();
}

#[test]
fn each_act_on_a_network_is_done_again() {
    each::<Net>();
}
