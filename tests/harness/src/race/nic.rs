// SPDX-License-Identifier: GPL-2.0

//! A network device, by a tap and a bridge, to a peer on the host.

use super::{
    Course, Scenario,
    driver::{Drivers, IN_TREE},
};
use crate::{
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
use anyhow::{Context, Result};
use std::{path::Path, sync::Arc};

/// The drivers.
const DRIVERS: Drivers = Drivers {
    theirs: Driver::InTree.module(),
    ours: Driver::Ours.module(),
};

/// How long iperf3 runs, in seconds.
const SECONDS: u32 = 2;

/// How many datagrams are answered, one after the other.
const ANSWERS: u32 = 2000;

/// What is done.
pub enum Load {
    /// What iperf3 is told.
    Iperf(&'static str),
    /// A datagram is sent when the one before was answered.
    Answers,
}

/// Something for iperf3 to do, by its options.
pub(super) const fn iperf(name: &'static str, options: &'static str) -> Scenario<Load> {
    Scenario {
        name,
        unit: "Mbit/s",
        is_control: false,
        load: Load::Iperf(options),
    }
}

/// A guest with a network device.
pub struct Nic {
    guest: Arc<Guest>,
    features: Features,
    _server: Program,
    _lan: Lan,
}

impl Course for Nic {
    type Load = Load;

    const OTHER: &str = IN_TREE;

    const SCENARIOS: &[Scenario<Load>] = &[
        iperf("nic tcp out", ""),
        iperf("nic tcp in", "-R"),
        iperf("nic tcp both", "--bidir"),
        iperf("nic tcp out, 4 streams", "-P 4"),
        iperf("nic tcp in, 4 streams", "-P 4 -R"),
        iperf("nic udp 64 out", "-u -b 0 -l 64"),
        iperf("nic udp 1400 out", "-u -b 0 -l 1400"),
        Scenario {
            name: "nic udp request/response",
            unit: "1/s",
            is_control: false,
            load: Load::Answers,
        },
        Scenario {
            is_control: true,
            ..iperf("nic tcp out, control", "")
        },
    ];

    fn boot(directory: &Path) -> Result<Self> {
        let mut lan = Lan::at(directory)?;
        let netdev = lan.tap("tap0", 2)?;
        let server = lan.run(&["iperf3", "--server"], "iperf3.log")?;
        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name("nic")
            .module(DRIVERS.ours)?
            .kernel_module(DRIVERS.theirs)
            .tool("iperf3")
            .cpus(2)
            .memory(1024);
        let builder = rig::tools(builder)?;
        // What only one of them knows.
        let options = ",mq=on,addr=0x10,host_tunnel=off,guest_tunnel=off,\
                       host_tunnel_csum=off,guest_tunnel_csum=off";
        let guest = rig::device(builder, 0, &netdev, "tap0", options).boot(directory)?;
        let features = DRIVERS.load(&guest, "")?;
        Ok(Self {
            guest,
            features,
            _server: server,
            _lan: lan,
        })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn features(&self) -> Option<&Features> {
        Some(&self.features)
    }

    fn leg(&self, scenario: &Scenario<Load>, side: Side) -> Result<f64> {
        DRIVERS.bind(&self.guest, side)?;
        self.guest.sh(&format!(
            "up 0 && until ping -c 1 -W 1 {PEER} >/dev/null; do :; done"
        ))?;
        run(&self.guest, &scenario.load)
    }
}

/// Has a guest, whose interface is up, do something; returns how much of it.
pub(super) fn run(guest: &Guest, load: &Load) -> Result<f64> {
    let options = match load {
        Load::Iperf(options) => options,
        Load::Answers => return answers(guest),
    };
    iperf3(guest, options)
}

fn answers(guest: &Guest) -> Result<f64> {
    let said = guest.sh(&format!(
        "sizes=$(yes 1 | head -n {ANSWERS})
         begin=$(cut -d ' ' -f 1 /proc/uptime)
         netcheck udp {PEER} $sizes >/dev/null
         echo $begin $(cut -d ' ' -f 1 /proc/uptime)"
    ))?;
    let times: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
    let &[begin, end] = times.as_slice() else {
        anyhow::bail!("the guest says {said}");
    };
    Ok(f64::from(ANSWERS) / (end - begin))
}

/// Has iperf3 of a guest talk to the peer, and returns what has arrived, in Mbit/s.
pub fn iperf3(guest: &Guest, options: &str) -> Result<f64> {
    let said = guest.sh(&format!(
        "iperf3 --client {PEER} --time {SECONDS} --omit 1 --json {options}"
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
