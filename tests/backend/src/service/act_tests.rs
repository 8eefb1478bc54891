// SPDX-License-Identifier: GPL-2.0

//! What an adversary does is there, on the ring and in the memory of a driver; and it is done again.

use super::{
    host::{SIZE, USED},
    tests::Bench,
    *,
};
use crate::{
    replay::{Recorder, Replay},
    rule::{ACTIONS, Scope},
};
use serde_json::{Value, json};
use std::thread;
use vhost::VhostBackend;

/// Where a request has its data, and what is there before.
const DATA: u64 = 0x4000;
const BEFORE: u8 = 0xaa;

/// The descriptors of the ring.
const DESCRIPTORS: usize = SIZE as usize * 16;

/// What a driver sees.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    descriptors: [u8; DESCRIPTORS],
    index: u16,
    /// The number and the length of the first used buffer, and of the second.
    used: [(u32, u32); 2],
    status: u8,
    data: [u8; 512],
}

/// What it sees if there is no lie; a sector is all zeroes.
fn truth(sent: &Seen) -> Seen {
    Seen {
        index: 1,
        used: [(0, 513), (0, 0)],
        status: 0,
        data: [0; 512],
        ..sent.clone()
    }
}

fn differing(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).filter(|(a, b)| a != b).count()
}

impl Bench {
    /// A device that runs, with a rule.
    fn with_rules(name: &str, rules: &[Value]) -> Self {
        let mut bench = Self::new(name);
        let region = bench.host.region();
        bench.host.front.set_mem_table(&[region]).expect("memory");
        for rule in rules {
            bench.host.command("inject", rule.clone());
        }
        bench.start(0);
        bench
    }

    fn see(&self) -> Seen {
        let word = |at: u64| u32::from_le_bytes(self.host.read(USED + at));
        Seen {
            descriptors: self.host.read(0),
            index: u16::from_le_bytes(self.host.read(USED + 2)),
            used: [(word(4), word(8)), (word(12), word(16))],
            status: self.status(),
            data: self.host.read(DATA),
        }
    }

    /// Makes a request, and returns what was there before it was served.
    fn request(&mut self) -> Seen {
        self.host.write(DATA, &[BEFORE; 512]);
        self.prepare();
        let before = self.see();
        self.kick();
        before
    }

    /// Returns what there is when it is as expected, or at last.
    fn until(&self, is_there: impl Fn(&Seen) -> bool) -> Seen {
        for _ in 0..400 {
            let seen = self.see();
            if is_there(&seen) {
                return seen;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.see()
    }

    /// Waits until a driver sees this.
    fn becomes(&self, wanted: &Seen) {
        assert_eq!(&self.until(|seen| seen == wanted), wanted);
    }

    fn interrupts(&self) -> bool {
        self.call.read().is_ok()
    }
}

/// Does an act to a request, and fails if it is not seen.
fn check(name: &str) {
    let value = match name {
        "delay" | "early" | "late" => Some(150),
        "used-id" => Some(5),
        _ => None,
    };
    let mut rule = json!({ "do": name, "count": 1 });
    if let Some(value) = value {
        rule["value"] = value.into();
    }
    let mut bench = Bench::with_rules(&format!("act-{name}"), &[rule]);
    let begun = Instant::now();
    let sent = bench.request();
    let truth = truth(&sent);
    let wait = Duration::from_millis(60);
    match name {
        "delay" => {
            bench.becomes(&truth);
            assert!(begun.elapsed() >= Duration::from_millis(150));
        }
        "hold" => {
            thread::sleep(wait);
            assert_eq!(bench.see(), sent);
            bench.host.command("release", json!({}));
            bench.becomes(&truth);
        }
        "fail" => {
            let wanted = Seen { status: 1, ..truth };
            bench.becomes(&wanted);
        }
        "status" => {
            let wanted = Seen { status: 3, ..truth };
            bench.becomes(&wanted);
        }
        "no-status" => {
            let wanted = Seen {
                status: 0xff,
                ..truth
            };
            bench.becomes(&wanted);
        }
        "corrupt" => {
            let mut wanted = truth;
            wanted.data[0] = 0xff;
            bench.becomes(&wanted);
        }
        "short" => {
            let mut wanted = truth;
            wanted.used[0].1 = 257;
            wanted.data[256..].fill(BEFORE);
            bench.becomes(&wanted);
        }
        "used-id" => {
            let mut wanted = truth;
            wanted.used[0].0 = 5;
            bench.becomes(&wanted);
        }
        "used-not-out" => {
            let seen = bench.until(|seen| seen.index == 1);
            assert!((1..u32::from(SIZE)).contains(&seen.used[0].0), "{seen:?}");
        }
        "used-twice" => {
            let mut wanted = truth;
            wanted.index = 2;
            wanted.used[1] = wanted.used[0];
            bench.becomes(&wanted);
        }
        "used-length" => {
            let mut wanted = truth;
            wanted.used[0].1 = 0xffff_fff0;
            bench.becomes(&wanted);
        }
        "used-jump" => {
            let wanted = Seen { index: 2, ..truth };
            bench.becomes(&wanted);
        }
        "mute" => {
            bench.becomes(&truth);
            thread::sleep(wait);
            assert!(!bench.interrupts());
        }
        "keep" => {
            let wanted = Seen {
                index: 0,
                used: sent.used,
                ..truth
            };
            bench.becomes(&wanted);
            thread::sleep(wait);
            assert_eq!(bench.see(), wanted);
        }
        "early" => {
            let wanted = Seen {
                index: 1,
                used: truth.used,
                ..sent
            };
            assert_eq!(bench.until(|seen| seen.index == 1), wanted);
            bench.becomes(&truth);
            assert!(begun.elapsed() >= Duration::from_millis(150));
        }
        "late" => {
            bench.becomes(&truth);
            let seen = bench.until(|seen| *seen != truth);
            let bytes = |seen: &Seen| [&seen.data[..], &[seen.status]].concat();
            assert!((1..=4).contains(&differing(&bytes(&seen), &bytes(&truth))));
            assert!(begun.elapsed() >= Duration::from_millis(150));
        }
        "mutate" => {
            let seen = bench.until(|seen| seen.index == 1);
            let bytes = |seen: &Seen| [&seen.data[..], &[seen.status]].concat();
            assert!((1..=4).contains(&differing(&bytes(&seen), &bytes(&truth))));
            assert_eq!(seen.used, truth.used);
        }
        "scribble" => {
            let seen = bench.until(|seen| seen.index == 1);
            let changed = differing(&seen.descriptors, &sent.descriptors);
            assert!((1..=4).contains(&changed), "{changed} bytes");
            assert_eq!(seen.data, truth.data);
        }
        "disconnect" => {
            while bench.host.counters()["connected"] == true {
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(bench.see(), sent);
        }
        other => panic!("{other} is not tested"),
    }
    // Who dies, or hangs up, tells nothing.
    let acts = bench.host.command("acts", json!({}));
    assert_eq!(acts[0]["do"], name);
    assert_eq!((&acts[0]["at"], &acts[0]["queue"]), (&json!(0), &json!(0)));
}

#[test]
fn each_act_is_seen_by_the_driver() {
    let acts = ACTIONS.iter().filter(|act| act.scope != Scope::Net);
    for act in acts {
        // The harness kills backends, which are programs of their own; what needs more than one queue,
        // or tables, is tested without a front-end.
        if !["die", "used-id-of"].contains(&act.name) && !act.needs_table() {
            check(act.name);
        }
    }
}

/// Makes requests one after the other, and returns all that a driver sees after each of them.
fn requests(bench: &mut Bench, count: usize) -> Vec<Seen> {
    (1..=count)
        .map(|done| {
            bench.request();
            let done = u16::try_from(done).expect("a number");
            bench.until(|seen| seen.index == done)
        })
        .collect()
}

#[test]
fn what_was_done_is_done_again_byte_for_byte() {
    const COUNT: usize = 60;
    let rules = [
        json!({"do": "mutate", "value": 9, "percent": 40, "seed": 11}),
        json!({"do": "used-length", "value": 77, "percent": 20, "seed": 12}),
        json!({"do": "status", "skip": 10, "count": 2}),
    ];
    let mut first = Bench::with_rules("replay", &rules);
    let seen = requests(&mut first, COUNT);
    let acts = first.host.command("acts", json!({}));
    let acts = acts.as_array().expect("acts");
    assert!(acts.len() > 20, "{} acts", acts.len());
    assert!(seen.iter().any(|seen| seen.data != [0; 512]));
    drop(first);

    let path = std::env::temp_dir().join(format!("rv-{}-acts", std::process::id()));
    let recorder = Recorder::create(&path).expect("a record");
    let mut recorded = Bench::with_rules("replay", &rules);
    recorded.host.shared.lock().recorder = Some(recorder);
    assert_eq!(requests(&mut recorded, COUNT), seen, "the same seeds");
    drop(recorded);

    let mut again = Bench::with_rules("replay", &[]);
    let replay = Replay::read(&path).expect("a record");
    std::fs::remove_file(&path).expect("the file");
    let device = Arc::clone(&again.host.shared) as Arc<dyn Controlled>;
    replay.begin(vec![device]).expect("to begin");
    assert_eq!(requests(&mut again, COUNT), seen, "the record");
}
