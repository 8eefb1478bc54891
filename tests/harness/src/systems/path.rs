// SPDX-License-Identifier: GPL-2.0

//! `virtio-path` names the hop at which frames stop, whichever of them is broken, and none if none is.

use crate::{
    backend::{
        Backend, Part,
        net::{Interface, builder_of, load_driver},
        switch::{host, tap_works},
    },
    cx::Cx,
    guest::{Board, Guest},
    net::rig::Driver,
    paths,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

/// The interface of the device.
const LAN: Interface = Interface {
    mac: "52:54:00:00:00:01",
    name: "lan",
    address: "10.0.0.2/24",
};

/// What makes frames pass in both directions.
const PING: &str = "ping -c 5 -i 0.2 -W 1 10.0.0.1";

/// A step that breaks something, or mends it.
enum Step {
    /// A command of the guest.
    Guest(&'static str),
    /// One of the host, where the tap is.
    Host(&'static str),
    /// One for the backend's control socket.
    Backend(&'static str),
    /// The link of the device, as QEMU has it, goes up or down.
    Link(bool),
}

use Step::{Backend as Tell, Guest as InGuest, Host as OnHost, Link};

/// What is broken.
struct Fault {
    name: &'static str,
    broken_by: &'static [Step],
    mended_by: &'static [Step],
    /// What the guest does meanwhile.
    work: Step,
    /// Where frames stop, and what is said of it.
    hop: &'static str,
    reason: &'static str,
}

impl Fault {
    const fn new(name: &'static str, hop: &'static str, reason: &'static str) -> Self {
        Self {
            name,
            broken_by: &[],
            mended_by: &[],
            work: InGuest(PING),
            hop,
            reason,
        }
    }

    const fn broken_by(mut self, steps: &'static [Step]) -> Self {
        self.broken_by = steps;
        self
    }

    const fn mended_by(mut self, steps: &'static [Step]) -> Self {
        self.mended_by = steps;
        self
    }

    const fn work(mut self, work: Step) -> Self {
        self.work = work;
        self
    }
}

/// A command for the device.
macro_rules! net {
    ($fields:literal) => {
        Tell(concat!(r#"{"device": "net", "command": "#, $fields, "}"))
    };
}

/// One for a port of the switch.
macro_rules! port {
    ($fields:literal) => {
        Tell(concat!(r#"{"device": "switch", "command": "#, $fields, "}"))
    };
}

const PAUSE_TX: Step = net!(r#""pause", "queue": 1"#);
const RESUME_TX: Step = net!(r#""resume", "queue": 1"#);

/// The kernel holds frames back long before a ring is full, unless it may not. It looks at that when
/// frames come back.
const NO_LIMIT: Step =
    InGuest("echo 10000000 >/sys/class/net/lan/queues/tx-0/byte_queue_limits/limit_min");
const LIMIT: Step = InGuest("echo 0 >/sys/class/net/lan/queues/tx-0/byte_queue_limits/limit_min");

const CLEAR: Step = net!(r#""clear""#);

const FAULTS: &[Fault] = &[
    Fault::new("no_route", "socket", "route").work(InGuest("timeout 1 netcheck udp 192.0.2.1 10")),
    Fault::new("interface_down", "interface", "down")
        .broken_by(&[InGuest("ip link set lan down")])
        .mended_by(&[InGuest("ip link set lan up")]),
    Fault::new("no_carrier", "interface", "carrier")
        .broken_by(&[Link(false)])
        .mended_by(&[Link(true)]),
    Fault::new(
        "queue_stopped",
        "backend pop",
        "the queue of the driver is stopped",
    )
    .broken_by(&[NO_LIMIT, InGuest(PING), PAUSE_TX])
    .work(InGuest("ping -c 300 -i 0.002 -W 1 10.0.0.1"))
    .mended_by(&[RESUME_TX, LIMIT]),
    Fault::new("not_consumed", "backend pop", "at a pause")
        .broken_by(&[PAUSE_TX])
        .mended_by(&[RESUME_TX]),
    Fault::new("not_notified", "kick", "was not")
        .broken_by(&[net!(r#""deafen", "queue": 1"#)])
        .mended_by(&[net!(r#""listen", "queue": 1"#)]),
    Fault::new("held_back", "backend pop", "does not return")
        .broken_by(&[net!(r#""inject", "do": "hold", "op": "tx""#)])
        .mended_by(&[CLEAR, net!(r#""release""#)]),
    Fault::new("port_down", "switch port in", "link")
        .broken_by(&[port!(r#""link", "port": "net", "up": false"#)])
        .mended_by(&[port!(r#""link", "port": "net", "up": true"#)]),
    Fault::new("other_vlan", "VLAN", "no VLAN in common")
        .broken_by(&[port!(r#""vlans", "port": "host", "vlan": 20"#)])
        .mended_by(&[port!(r#""vlans", "port": "host", "vlan": 10"#)]),
    Fault::new("wrong_tag", "VLAN", "not in")
        .broken_by(&[port!(r#""vlans", "port": "net", "trunk": "30""#)])
        .mended_by(&[port!(r#""vlans", "port": "net", "vlan": 10"#)]),
    Fault::new(
        "nobody_has_the_address",
        "learning",
        "the guest has 02:00:00:00:00:77 for 10.0.0.1",
    )
    .broken_by(&[InGuest(
        "ip neigh replace 10.0.0.1 lladdr 02:00:00:00:00:77 nud permanent dev lan",
    )])
    .mended_by(&[InGuest("ip neigh del 10.0.0.1 dev lan")]),
    Fault::new("tap_down", "tap", "down")
        .broken_by(&[OnHost("ip link set rv0 down")])
        .mended_by(&[OnHost("ip link set rv0 up")]),
    Fault::new("nothing_filled", "RX buffers", "at a pause")
        .broken_by(&[net!(r#""pause", "queue": 0"#)])
        .mended_by(&[net!(r#""resume", "queue": 0"#)]),
    Fault::new("nothing_returned", "used ring", "does not return")
        .broken_by(&[net!(r#""inject", "do": "keep", "op": "rx""#)])
        .mended_by(&[CLEAR]),
    Fault::new("not_interrupted", "interrupt", "not taken by the driver")
        // Both queues have one interrupt where devices are mapped.
        .broken_by(&[
            net!(r#""inject", "do": "mute", "op": "rx""#),
            net!(r#""inject", "do": "mute", "op": "tx""#),
        ])
        .mended_by(&[
            CLEAR,
            net!(r#""interrupt", "queue": 0"#),
            net!(r#""interrupt", "queue": 1"#),
        ]),
    Fault::new("bad_headers", "NAPI", "with a bad header")
        .broken_by(&[net!(r#""inject", "do": "gso-type", "op": "rx""#)])
        .mended_by(&[CLEAR]),
    Fault::new("wrong_data", "IP stack", "checksum")
        .broken_by(&[net!(
            r#""inject", "do": "corrupt", "op": "rx", "protocol": "icmp""#
        )])
        .mended_by(&[CLEAR]),
    Fault::new("nobody_listens", "socket", "without a socket").work(OnHost(
        "for i in 1 2 3 4 5; do bash -c 'echo x >/dev/udp/10.0.0.2/9'; sleep 0.1; done",
    )),
];

/// Breaks one hop after the other.
pub fn names_the_hop(cx: &mut Cx, board: Board, driver: Driver) -> Result<()> {
    tap_works()?;
    let backend = cx.backend_of(vec![
        Part::net("net", "vlan=10"),
        Part::port("host", "tap=rv0,vlan=10"),
    ])?;
    // Neither end sends frames of its own accord: they would get through where those of a case do not.
    host(
        "echo 1 >/proc/sys/net/ipv6/conf/rv0/disable_ipv6
         ip link set rv0 up; ip addr add 10.0.0.1/24 dev rv0",
    )?;
    let program = paths::built("virtio-path")?;
    let builder = builder_of(cx, driver)?
        .board(board)?
        .tool(&program.to_string_lossy());
    let builder = backend.attach_net(builder, "net", 1, &format!("mac={}", LAN.mac));
    let guest = cx.boot(&builder)?;
    guest.sh("echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6")?;
    load_driver(&guest, driver, &[LAN])?;
    let artefacts = cx.artefacts().to_owned();
    let bench = Bench {
        guest: &guest,
        backend: &backend,
        program: &program,
        artefacts: &artefacts,
    };

    let whole = || bench.finds("whole", &InGuest(PING), "no fault found: ", "");
    cx.case("nothing_is_broken", |_| whole());
    for fault in FAULTS {
        cx.case(fault.name, |_| {
            fault
                .broken_by
                .iter()
                .try_for_each(|step| bench.take(step))?;
            let begins = format!("frames stop at {}: ", fault.hop);
            let found = bench.finds(fault.name, &fault.work, &begins, fault.reason);
            fault
                .mended_by
                .iter()
                .try_for_each(|step| bench.take(step))?;
            bench.goes_on()?;
            found
        });
    }
    cx.case("all_is_mended", |_| whole());
    cx.end(&guest)
}

struct Bench<'a> {
    guest: &'a Guest,
    backend: &'a Backend,
    program: &'a Path,
    artefacts: &'a Path,
}

impl Bench<'_> {
    fn take(&self, step: &Step) -> Result<()> {
        match step {
            InGuest(command) => self.guest.sh(command).map(|_| ()),
            OnHost(command) => host(command),
            Tell(command) => self
                .backend
                .command(serde_json::from_str(command)?)
                .map(|_| ()),
            Link(up) => {
                let arguments = json!({ "name": "net", "up": up });
                self.guest.qmp("set_link", arguments)?;
                let carrier = u8::from(*up);
                let wait = format!(
                    "n=0; until [ $(cat /sys/class/net/lan/carrier) = {carrier} ]; do
                         n=$((n + 1)); [ $n -lt 50 ] || exit; sleep 0.1
                     done"
                );
                self.guest.sh(&wait).map(|_| ())
            }
        }
    }

    /// Waits until frames pass again.
    fn goes_on(&self) -> Result<()> {
        self.guest
            .sh("n=0; until ping -c 1 -W 1 10.0.0.1 >/dev/null; do
                     n=$((n + 1)); [ $n -lt 20 ] || exit
                 done")
            .map(|_| ())
    }

    /// Takes both snapshots, with work in between that may fail, and compares what is said.
    fn finds(&self, name: &str, work: &Step, begins: &str, reason: &str) -> Result<()> {
        let before = json!({ "guest": self.seen_by_guest()?, "host": self.seen_by_host()? });
        match work {
            InGuest(command) => {
                self.guest.run(command)?;
            }
            step => self.take(step)?,
        }
        let host = self.seen_by_host()?;
        let after = json!({ "guest": self.seen_by_guest()?, "host": host });

        let mut files = Vec::new();
        for (moment, snapshot) in [("before", before), ("after", after)] {
            let file = self.artefacts.join(format!("{name}.{moment}.json"));
            fs::write(&file, format!("{snapshot:#}\n"))?;
            files.push(file);
        }
        let output = Command::new(self.program)
            .args(["judge", "--verbose"])
            .args(&files)
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let verdict = said.lines().last().unwrap_or_default();
        ensure!(
            verdict.starts_with(begins) && verdict.contains(reason),
            "it says:\n{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }

    fn seen_by_guest(&self) -> Result<Value> {
        let said = self.guest.sh("virtio-path guest --interface lan")?;
        serde_json::from_str(&said).with_context(|| format!("the guest says {said}"))
    }

    fn seen_by_host(&self) -> Result<Value> {
        let output = Command::new(self.program)
            .args(["host", "--device", "net", "--port", "host", "--control"])
            .arg(self.backend.control())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        let error = String::from_utf8_lossy(&output.stderr);
        serde_json::from_str(&said).with_context(|| format!("it says {said}{error}"))
    }
}
