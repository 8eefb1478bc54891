// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    control::Controlled,
    pcapng::{
        Packets,
        tests::{Told, told},
    },
    switch::{Handle, PortOptions, Shape, Switch, Vlans},
};
use serde_json::{Value, json};
use std::{fs, path::PathBuf, time::Duration};

const IN: u32 = 1;
const OUT: u32 = 2;

/// A switch with a port whose frames are captured, and another one.
struct Bench {
    path: PathBuf,
    switch: Arc<Switch>,
    captured: Handle,
    other: Handle,
}

impl Bench {
    fn new(name: &str, options: PortOptions) -> Self {
        let name = format!("rv-{}-capture-{name}.pcapng", std::process::id());
        let path = std::env::temp_dir().join(name);
        let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
        let options = PortOptions {
            capture: Some(path.clone()),
            ..options
        };
        let captured = switch.add(options).expect("a port");
        captured.outlet().set_open(true);
        let other = switch.add(PortOptions::new("other")).expect("a port");
        Self {
            path,
            switch,
            captured,
            other,
        }
    }

    fn command(&self, command: &str, arguments: Value) -> Value {
        self.switch.execute(command, &arguments).expect("an answer")
    }

    /// Returns what the file tells of each frame.
    fn told(&self) -> Vec<Told> {
        told(&fs::read(&self.path).expect("the file"))
    }

    fn frames(&self) -> Vec<Vec<u8>> {
        let packets = Packets::read(&fs::read(&self.path).expect("the file"));
        let packets = packets.expect("packets");
        packets.into_iter().map(|(_, frame)| frame).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// A frame from one address to another.
fn frame(from: u8, to: u8) -> Frame {
    let mac = |number| [2, 0, 0, 0, 0, number];
    Frame::plain([&mac(to)[..], &mac(from), &[0x88, 0xb5], &[7; 46]].concat())
}

fn passed(direction: u32) -> Told {
    (direction, None)
}

fn lost(direction: u32, loss: Loss) -> Told {
    (direction, Some(loss.comment().to_owned()))
}

#[test]
fn frames_have_directions() {
    let bench = Bench::new("ways", PortOptions::new("one"));
    let tagged = frame(1, 2).with_tag(10);
    bench.captured.send(tagged.clone());
    bench.other.send(frame(2, 1).with_tag(10));
    bench.captured.send(frame(1, 2));

    assert_eq!(bench.told(), [passed(IN), passed(OUT), passed(IN)]);
    let frames = bench.frames();
    assert_eq!(frames[0], tagged.bytes, "as they are on the wire");
    assert_eq!(frames[1], frame(2, 1).with_tag(10).bytes);
    let counters = bench.command("counters", json!({}));
    assert_eq!(counters["ports"]["one"]["captured"], 3);
    assert_eq!(counters["ports"]["other"]["captured"], Value::Null);
}

#[test]
fn what_comes_in_and_is_lost_has_a_reason() {
    let bench = Bench::new(
        "in",
        PortOptions {
            vlans: Vlans::Access(10),
            mac: Some([2, 0, 0, 0, 0, 1]),
            strict: true,
            ..PortOptions::new("one")
        },
    );
    bench.captured.send(Frame::plain(vec![0; 13]));
    bench.captured.send(frame(3, 2));
    bench.captured.send(frame(1, 2).with_tag(20));
    bench.captured.send(frame(1, 2));
    bench.captured.send(frame(1, 1));
    let mut pause = frame(1, 2);
    pause.bytes[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 1]);
    bench.captured.send(pause);
    // The other port is in no VLAN that this one is in.
    bench.command("vlans", json!({ "port": "other", "vlan": 20 }));
    bench.captured.send(frame(1, 2));
    bench.command("link", json!({ "port": "one", "up": false }));
    bench.captured.send(frame(1, 2));

    let wanted = [
        lost(IN, Loss::Malformed),
        lost(IN, Loss::WrongSource),
        lost(IN, Loss::WrongVlan),
        passed(IN),
        lost(IN, Loss::Filtered),
        lost(IN, Loss::Reserved),
        lost(IN, Loss::Nowhere),
        lost(IN, Loss::LinkDown),
    ];
    assert_eq!(bench.told(), wanted);
}

#[test]
fn what_leaves_and_is_lost_has_a_reason() {
    let options = PortOptions {
        queue: 1,
        ..PortOptions::new("one")
    };
    let bench = Bench::new("out", options);
    bench.other.send(frame(2, 1));
    bench.other.send(frame(2, 1));
    bench.captured.outlet().set_open(false);
    bench.other.send(frame(2, 1));
    bench.command("shape", json!({ "port": "one", "loss": 100 }));
    bench.other.send(frame(2, 1));
    bench.command("link", json!({ "port": "one", "up": false }));
    bench.other.send(frame(2, 1));
    // Nothing of this is for the port.
    bench.command("link", json!({ "port": "one", "up": true }));
    bench.command("vlans", json!({ "port": "one", "vlan": 10 }));
    bench.other.send(frame(2, 1));

    let wanted = [
        passed(OUT),
        lost(OUT, Loss::Full),
        lost(OUT, Loss::Closed),
        lost(OUT, Loss::Shaper),
        lost(OUT, Loss::LinkDown),
    ];
    assert_eq!(bench.told(), wanted);
}

#[test]
fn what_is_late_is_captured_when_it_leaves() {
    let shape = Shape {
        delay: Duration::from_millis(20),
        ..Shape::default()
    };
    let options = PortOptions {
        shape,
        ..PortOptions::new("one")
    };
    let bench = Bench::new("late", options);
    let begun = std::time::Instant::now();
    bench.other.send(frame(2, 1));
    while bench.captured.outlet().is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "it never comes");
        std::thread::sleep(Duration::from_millis(1));
    }

    assert_eq!(bench.told(), [passed(OUT)]);
}

#[test]
fn a_file_that_cannot_be_made_is_said() {
    let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
    let mut options = PortOptions::new("one");
    options.capture = Some("/nowhere/file".into());

    let error = switch.add(options).expect_err("no directory");

    assert_eq!(error.to_string(), "making /nowhere/file");
    switch
        .add(PortOptions::new("one"))
        .expect("it is not there");
}
