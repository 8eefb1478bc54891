// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::control::Controlled;

const SECOND: Duration = Duration::from_secs(1);

/// A switch, with all its ports open.
struct Bench {
    switch: Arc<Switch>,
    ports: Vec<Handle>,
    now: Instant,
}

impl Bench {
    fn new(ports: &[PortOptions]) -> Self {
        let switch = Arc::new(Switch::new("switch", 300 * SECOND));
        let ports = ports
            .iter()
            .map(|options| {
                let handle = switch.add(options.clone()).expect("a port");
                handle.outlet().set_open(true);
                handle
            })
            .collect();
        Self {
            switch,
            ports,
            now: Instant::now(),
        }
    }

    /// Sends a frame from one address to another. Returns the ports where it left, and its tag there.
    fn send(&self, port: usize, from: u8, to: u8, tag: Option<u16>) -> Vec<(usize, Option<u16>)> {
        let mac = |number| {
            if number == 0xff {
                [0xff; 6]
            } else {
                [2, 0, 0, 0, 0, number]
            }
        };
        let bytes = [&mac(to)[..], &mac(from), &[0x88, 0xb5], &[7; 46]].concat();
        let frame = Frame::plain(bytes);
        let frame = tag.map_or(frame.clone(), |tag| frame.with_tag(tag));
        self.switch.send(port, frame, self.now);
        self.left()
    }

    fn left(&self) -> Vec<(usize, Option<u16>)> {
        let mut left = Vec::new();
        for (index, port) in self.ports.iter().enumerate() {
            left.extend(
                port.outlet()
                    .take()
                    .iter()
                    .map(|frame| (index, frame.tag())),
            );
        }
        left
    }

    fn command(&self, command: &str, arguments: Value) -> Value {
        self.switch.execute(command, &arguments).expect("an answer")
    }

    fn counter(&self, port: &str, field: &str) -> u64 {
        let counters = self.command("counters", json!({}));
        let value = &counters["ports"][port][field];
        value.as_u64().expect("a counter")
    }
}

fn ports(names: &[&str]) -> Vec<PortOptions> {
    names.iter().map(|name| PortOptions::new(name)).collect()
}

fn access(name: &str, vlan: u16) -> PortOptions {
    PortOptions {
        vlans: Vlans::Access(vlan),
        ..PortOptions::new(name)
    }
}

#[test]
fn addresses_are_learnt_and_forgotten() {
    let mut bench = Bench::new(&ports(&["a", "b", "c"]));
    assert_eq!(bench.send(0, 1, 2, None), [(1, None), (2, None)]);
    assert_eq!(bench.send(1, 2, 1, None), [(0, None)]);
    assert_eq!(bench.send(0, 1, 2, None), [(1, None)]);
    assert_eq!(bench.send(0, 1, 0xff, None), [(1, None), (2, None)]);
    // It is where it comes from.
    assert_eq!(bench.send(1, 3, 2, None), []);
    assert_eq!(bench.counter("b", "filtered"), 1);
    assert_eq!(bench.counter("a", "flooded"), 2);

    // It moves.
    assert_eq!(bench.send(2, 2, 1, None), [(0, None)]);
    assert_eq!(bench.send(0, 1, 2, None), [(2, None)]);
    assert_eq!(bench.command("counters", json!({}))["moves"], 1);

    bench.now += 301 * SECOND;
    assert_eq!(bench.send(0, 1, 2, None), [(1, None), (2, None)]);
    bench.send(2, 2, 1, None);
    bench.command("flush", json!({ "port": "c" }));
    assert_eq!(bench.send(0, 1, 2, None).len(), 2);
}

#[test]
fn vlans_are_apart() {
    let trunk = PortOptions {
        vlans: Vlans::Trunk {
            native: None,
            tagged: vec![10..=10, 20..=29],
        },
        ..PortOptions::new("trunk")
    };
    let bench = Bench::new(&[access("a", 10), access("b", 20), access("c", 10), trunk]);
    assert_eq!(bench.send(0, 1, 0xff, None), [(2, None), (3, Some(10))]);
    assert_eq!(bench.send(1, 2, 0xff, None), [(3, Some(20))]);
    // The same address is another one in another VLAN.
    assert_eq!(bench.send(1, 1, 9, None), [(3, Some(20))]);
    assert_eq!(bench.send(2, 3, 1, None), [(0, None)]);
    assert_eq!(bench.send(3, 4, 1, Some(10)), [(0, None)]);
    assert_eq!(bench.send(3, 4, 1, Some(20)), [(1, None)]);
    assert_eq!(bench.send(3, 4, 1, Some(30)), []);
    assert_eq!(bench.send(3, 4, 1, None), []);
    assert_eq!(bench.counter("trunk", "wrong_vlan"), 2);
    // An access port takes no tags, but for those that have a priority only.
    assert_eq!(bench.send(0, 1, 3, Some(10)), []);
    assert_eq!(bench.send(0, 1, 3, Some(0x6000)), [(2, None)]);

    bench.command("vlans", json!({ "port": "b", "vlan": 10 }));
    assert_eq!(bench.send(1, 2, 3, None), [(2, None)]);
}

#[test]
fn frames_that_do_not_arrive_are_counted() {
    let bench = Bench::new(&[access("a", 10), access("b", 10), access("c", 20)]);
    // For all, and for nobody known; then for somebody who is.
    bench.send(0, 1, 0xff, None);
    bench.send(0, 1, 2, None);
    bench.send(1, 2, 1, None);
    bench.send(0, 1, 2, None);
    assert_eq!(bench.counter("a", "flooded"), 2);
    assert_eq!(bench.counter("a", "unknown"), 1);
    assert_eq!(
        bench.counter("c", "other_vlan"),
        2,
        "what is for one is not for all"
    );
    assert_eq!(bench.counter("a", "nowhere"), 0);

    // Nobody else is in VLAN 20.
    assert_eq!(bench.send(2, 3, 0xff, None), []);
    assert_eq!(bench.send(2, 3, 1, None), []);
    assert_eq!(bench.counter("c", "nowhere"), 2);
    assert_eq!(bench.counter("a", "other_vlan"), 2);
    bench.command("vlans", json!({ "port": "b", "vlan": 20 }));
    assert_eq!(bench.send(2, 3, 0xff, None), [(1, None)]);
    assert_eq!(bench.counter("c", "nowhere"), 2);

    // Nor may it be reached.
    for port in ["b", "c"] {
        bench.command("isolate", json!({ "port": port, "on": true }));
    }
    assert_eq!(bench.send(2, 3, 0xff, None), []);
    assert_eq!(bench.counter("c", "nowhere"), 3);
}

#[test]
fn by_default_a_port_is_in_all_vlans() {
    let bench = Bench::new(&ports(&["a", "b"]));
    assert_eq!(bench.send(0, 1, 2, Some(77)), [(1, Some(77))]);
    // The tag of VLAN 1 is left out.
    assert_eq!(bench.send(0, 1, 2, Some(1)), [(1, None)]);
}

#[test]
fn isolated_ports_do_not_meet() {
    let isolated = |name: &str| PortOptions {
        isolated: true,
        ..PortOptions::new(name)
    };
    let bench = Bench::new(&[isolated("a"), isolated("b"), PortOptions::new("gateway")]);
    assert_eq!(bench.send(0, 1, 0xff, None), [(2, None)]);
    assert_eq!(bench.send(2, 3, 0xff, None), [(0, None), (1, None)]);
    bench.send(1, 2, 3, None);
    assert_eq!(bench.send(0, 1, 2, None), [], "though it was learnt");
    bench.command("isolate", json!({ "port": "b", "on": false }));
    assert_eq!(bench.send(0, 1, 2, None), [(1, None)]);
}

#[test]
fn what_should_not_come_is_counted() {
    let mut strict = PortOptions::new("a");
    strict.mac = Some([2, 0, 0, 0, 0, 1]);
    strict.strict = true;
    let bench = Bench::new(&[strict, PortOptions::new("b")]);
    assert_eq!(bench.send(0, 9, 2, None), []);
    assert_eq!(bench.send(0, 1, 2, None).len(), 1);
    assert_eq!(bench.counter("a", "wrong_source"), 1);

    assert_eq!(bench.send(1, 0xff, 1, None), []);
    bench.switch.send(1, Frame::plain(vec![0; 13]), bench.now);
    assert_eq!(bench.counter("b", "malformed"), 2);
    let mut pause = vec![1, 0x80, 0xc2, 0, 0, 1, 2, 0, 0, 0, 0, 5];
    pause.resize(60, 0);
    bench.switch.send(1, Frame::plain(pause), bench.now);
    assert_eq!(bench.left(), []);
    assert_eq!(bench.counter("b", "reserved"), 1);

    bench.command("link", json!({ "port": "a", "up": false }));
    assert_eq!(bench.send(1, 5, 1, None), []);
    assert_eq!(bench.send(0, 1, 5, None), []);
    assert_eq!(bench.counter("a", "link_down"), 2);
    assert!(bench.switch.add(PortOptions::new("b")).is_err());
}

#[test]
fn a_mirror_sees_all() {
    let mirror = PortOptions {
        mirror: true,
        vlans: Vlans::Access(7),
        ..PortOptions::new("mirror")
    };
    let bench = Bench::new(&[access("a", 10), access("b", 10), mirror]);
    assert_eq!(bench.send(0, 1, 2, None), [(1, None), (2, Some(10))]);
    assert_eq!(bench.send(1, 2, 1, None), [(0, None), (2, Some(10))]);
}

#[test]
fn a_table_does_not_grow_without_end() {
    let bench = Bench::new(&ports(&["a", "b"]));
    for number in 0..10_000_u32 {
        let [a, b, c, d] = number.to_be_bytes();
        let bytes = [&[0xff; 6][..], &[2, 0, a, b, c, d], &[0; 48]].concat();
        bench.switch.send(0, Frame::plain(bytes), bench.now);
    }
    let counters = bench.command("counters", json!({}));
    assert_eq!(counters["addresses"], 8192);
    assert_eq!(counters["overflows"], 10_000 - 8192);
    // What cannot wait is lost, too.
    assert_eq!(counters["ports"]["b"]["outlet"]["waiting"], 1024);
    assert_eq!(counters["ports"]["b"]["outlet"]["lost_full"], 10_000 - 1024);
}

#[test]
fn frames_are_lost_doubled_and_late() {
    let mut bench = Bench::new(&ports(&["a", "b"]));
    bench.command("shape", json!({ "port": "b", "loss": 50, "seed": 7 }));
    let count = (0..1000)
        .map(|_| bench.send(0, 1, 2, None).len())
        .sum::<usize>();
    assert!((400..600).contains(&count), "{count}");
    bench.command("shape", json!({ "port": "b", "loss": 0, "duplicate": 100 }));
    assert_eq!(bench.send(0, 1, 2, None).len(), 2);
    bench.command(
        "shape",
        json!({ "port": "b", "duplicate": 0, "delay": 20_000 }),
    );
    bench.now = Instant::now();
    assert_eq!(bench.send(0, 1, 2, None), []);
    let start = Instant::now();
    while bench.ports[1].outlet().is_empty() {
        assert!(start.elapsed() < 10 * SECOND, "it never comes");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(bench.now.elapsed() >= Duration::from_millis(20));
    assert_eq!(bench.left().len(), 1);

    // Some come behind those that were sent after them.
    bench.command("shape", json!({ "port": "b", "delay": 0, "reorder": 50 }));
    // Long enough for the first of them not to come before the last one is sent.
    bench.now = Instant::now() + SECOND;
    let early = (0..20)
        .map(|_| bench.send(0, 1, 2, None).len())
        .sum::<usize>();
    let start = Instant::now();
    let mut late = 0;
    while early + late < 20 {
        late += bench.left().len();
        assert!(start.elapsed() < 10 * SECOND, "{early} and {late}");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(late > 0 && early > 0);
    assert!(
        bench
            .switch
            .execute("shape", &json!({ "port": "b", "loss": 101 }))
            .is_err()
    );
}

#[test]
fn lists_of_vlans_are_read() {
    assert_eq!(vlan::list("10:20-29").expect("a list"), [10..=10, 20..=29]);
    for (bad, why) in [
        ("0", "there is no VLAN 0: their numbers are 1 to 4094"),
        ("4095", "there is no VLAN 4095: their numbers are 1 to 4094"),
        ("65537", "65537 is no number of a VLAN"),
        ("x", "x is no number of a VLAN"),
        ("1-x", "x is no number of a VLAN"),
        ("9-7", "9-7 has no VLAN: say 7-9 for those between them"),
        ("10:10", "VLAN 10 is twice in 10:10"),
        ("15:10-20", "VLAN 15 is twice in 15:10-20"),
        ("10-20:18-30", "VLAN 18 is twice in 10-20:18-30"),
    ] {
        let error = vlan::list(bad).expect_err("no list").to_string();
        assert_eq!(error, why);
    }
    assert!(Vlans::from_texts(Some("1"), Some("2"), None).is_err());
    let trunk = Vlans::from_texts(None, Some("5:7-9"), Some("3")).expect("a trunk");
    assert_eq!(trunk.text(), "trunk 5:7-9 native 3");
}
