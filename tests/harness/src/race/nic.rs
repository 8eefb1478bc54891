// SPDX-License-Identifier: GPL-2.0

//! A network device, by a tap and a bridge, to a peer on the host.

use super::{
    Course, Leg, Scenario,
    driver::{Drivers, IN_TREE},
    latency::Latencies,
    way::{Many, Packed, Plain, Served, Way, properties},
};
use crate::{
    backend::{Backend, Part},
    bench::Side,
    guest::{Builder, Guest},
    kernel::{Kernel, STOCK},
    net::{
        lan::Lan,
        rig::{self, Driver, PEER},
    },
    program::Program,
    report::Features,
};
use anyhow::{Context, Result, ensure};
use std::{marker::PhantomData, path::Path, sync::Arc};

/// The drivers.
const DRIVERS: Drivers = Drivers {
    theirs: Driver::InTree.module(),
    ours: Driver::Ours.module(),
};

/// How long iperf3 runs, in seconds.
const SECONDS: u32 = 1;

/// What is done.
#[derive(Clone, Copy)]
pub enum Load {
    /// What iperf3 is told.
    Iperf(&'static str),
    /// So many datagrams are answered, one after the other.
    Answers(u32),
    /// So many connections are opened, answered, and closed.
    Connections(u32),
    /// The kernel sends so many frames, of so many bytes.
    Frames(u32, u32),
}

/// Something to do.
pub(super) const fn load(name: &'static str, unit: &'static str, load: Load) -> Scenario<Load> {
    Scenario {
        name,
        unit,
        is_control: false,
        load,
    }
}

/// Something for iperf3 to do, by its options.
pub(super) const fn iperf(name: &'static str, options: &'static str) -> Scenario<Load> {
    load(name, "Mbit/s", Load::Iperf(options))
}

/// How many are answered in a second, for datagrams and connections.
const ANSWERED: &str = "1/s";

const ANSWERS: Load = Load::Answers(2000);

/// What is done in a way.
pub trait Streams: Way {
    const SCENARIOS: &[Scenario<Load>];
}

impl Streams for Plain {
    const SCENARIOS: &[Scenario<Load>] = &[
        iperf("nic tcp out", ""),
        iperf("nic tcp in", "-R"),
        iperf("nic tcp both", "--bidir"),
        iperf("nic tcp out, 4 streams", "-P 4"),
        iperf("nic tcp in, 4 streams", "-P 4 -R"),
        iperf("nic tcp out, 32 streams", "-P 32"),
        iperf("nic udp 64 out", "-u -b 0 -l 64"),
        iperf("nic udp 1400 out", "-u -b 0 -l 1400"),
        load("nic udp request/response", ANSWERED, ANSWERS),
        load("nic tcp connections", ANSWERED, Load::Connections(400)),
        load("nic pktgen 60 out", FRAMES, Load::Frames(60_000, 60)),
        load("nic pktgen 1500 out", FRAMES, Load::Frames(60_000, 1500)),
        Scenario {
            is_control: true,
            ..iperf("nic tcp out, control", "")
        },
    ];
}

/// The unit of frames.
const FRAMES: &str = "frames/s";

impl Streams for Packed {
    const SCENARIOS: &[Scenario<Load>] = &[
        iperf("packed tcp out", ""),
        iperf("packed tcp in", "-R"),
        load("packed udp request/response", ANSWERED, ANSWERS),
    ];
}

impl Streams for Served {
    const SCENARIOS: &[Scenario<Load>] = &[
        iperf("served tcp out", ""),
        iperf("served tcp in", "-R"),
        iperf("served udp 1400 out", "-u -b 0 -l 1400"),
        load("served udp request/response", ANSWERED, ANSWERS),
    ];
}

impl Streams for Many {
    const SCENARIOS: &[Scenario<Load>] = &[
        iperf("queues tcp out, 4 streams", "-P 4"),
        iperf("queues tcp in, 4 streams", "-P 4 -R"),
    ];
}

/// A guest with a network device.
pub struct Nic<W> {
    guest: Arc<Guest>,
    features: Features,
    _server: Program,
    _backend: Option<Backend>,
    _lan: Lan,
    _way: PhantomData<W>,
}

impl<W: Streams> Course for Nic<W> {
    type Load = Load;

    const OTHER: &str = IN_TREE;

    const SCENARIOS: &[Scenario<Load>] = W::SCENARIOS;

    fn boot(directory: &Path) -> Result<Self> {
        let mut lan = Lan::at(directory)?;
        // A port of the backend has one queue of a tap.
        let queues = if W::IS_SERVED { 1 } else { W::CPUS };
        let netdev = lan.tap("tap0", queues.into())?;
        let server = lan.run(&["iperf3", "--server"], "iperf3.log")?;
        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name(W::NAME)
            .module(DRIVERS.ours)?
            .kernel_module(DRIVERS.theirs)
            .kernel_module("pktgen")
            .tool("iperf3")
            .cpus(W::CPUS.into())
            .memory(1024);
        let builder = rig::tools(builder)?;
        // What only one of them knows.
        let properties = format!(
            "{},host_tunnel=off,guest_tunnel=off,host_tunnel_csum=off,guest_tunnel_csum=off",
            properties::<W>()
        );
        let (builder, backend) = if W::IS_SERVED {
            let net = format!("queues={}", W::CPUS);
            let parts = vec![Part::net("net", &net), Part::port("host", "tap=tap0")];
            let backend = Backend::start(parts, directory)?;
            let properties = format!("mac=52:54:00:09:00:00,romfile=,{properties}");
            let builder = backend.attach_net(builder, "net", W::CPUS, &properties);
            (builder, Some(backend))
        } else {
            let options = format!(",mq=on,{properties}");
            let builder = rig::device(builder, 0, &netdev, "tap0", &options);
            (builder, None)
        };
        let guest = builder.boot(directory)?;
        let features = DRIVERS.load(&guest, "")?;
        Ok(Self {
            guest,
            features,
            _server: server,
            _backend: backend,
            _lan: lan,
            _way: PhantomData,
        })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn features(&self) -> Option<&Features> {
        Some(&self.features)
    }

    fn leg(&self, scenario: &Scenario<Load>, side: Side) -> Result<Leg> {
        DRIVERS.bind(&self.guest, side)?;
        self.guest.sh(&format!(
            "up 0 && until ping -c 1 -W 1 {PEER} >/dev/null; do :; done"
        ))?;
        run(&self.guest, scenario.load)
    }
}

/// Has a guest, whose interface is up, do something.
pub(super) fn run(guest: &Guest, load: Load) -> Result<Leg> {
    match load {
        Load::Iperf(options) => iperf3(guest, options).map(Leg::from),
        Load::Answers(count) => times(guest, &count.to_string()),
        Load::Connections(count) => times(guest, &format!("{count} --connections")),
        Load::Frames(count, size) => frames(guest, count, size).map(Leg::from),
    }
}

/// Has the peer answer, and measures how long each answer takes.
fn times(guest: &Guest, what: &str) -> Result<Leg> {
    let latencies = Latencies::parse(&guest.sh(&format!("netcheck times {PEER} {what}"))?)?;
    Ok(Leg {
        value: latencies.per_second()?,
        latencies,
    })
}

/// Has the kernel send frames, which nobody takes, and returns how many in a second.
fn frames(guest: &Guest, count: u32, size: u32) -> Result<f64> {
    let said = guest.sh(&format!(
        "modprobe pktgen && cd /proc/net/pktgen
         nic=$(nic 0)
         echo rem_device_all >kpktgend_0
         echo add_device $nic >kpktgend_0
         for i in 'count {count}' 'pkt_size {size}' 'delay 0' 'clone_skb 0' \
             'dst_mac 52:54:00:09:00:ff'; do
             echo \"$i\" >$nic
         done
         echo start >pgctrl
         cat $nic
         echo rem_device_all >kpktgend_0"
    ))?;
    ensure!(
        said.contains("Result: OK") && said.contains("errors: 0"),
        "pktgen says {said}"
    );
    let rate = said
        .split_whitespace()
        .find_map(|word| word.strip_suffix("pps"));
    rate.and_then(|rate| rate.parse().ok())
        .with_context(|| format!("pktgen says {said}"))
}

/// Has iperf3 of a guest talk to the peer, and returns what has arrived, in Mbit/s.
pub fn iperf3(guest: &Guest, options: &str) -> Result<f64> {
    let said = guest.sh(&format!(
        "iperf3 --client {PEER} --time {SECONDS} --json {options}"
    ))?;
    let report: serde_json::Value =
        serde_json::from_str(&said).with_context(|| format!("iperf3 says {said}"))?;
    let end = &report["end"];
    let sums = ["sum_received", "sum_received_bidir_reverse"];
    let bits: f64 = sums
        .iter()
        .filter_map(|sum| end[*sum]["bits_per_second"].as_f64())
        .sum();
    Ok(bits / 1e6)
}
