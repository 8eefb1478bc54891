// SPDX-License-Identifier: GPL-2.0

//! A network card that is emulated in full, and a virtio device beside it: how often a guest is left for
//! the same work, and is interrupted.

use crate::{
    bench::{COUNTS_KICKS, KICKS, PROBE_KICKS},
    cx::Cx,
    guest::Guest,
    kernel::STOCK,
    net::{
        lan::Lan,
        rig::{self, Driver, PEER},
    },
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The card, as QEMU and the kernel call it.
const CARD: &str = "e1000";

/// What QEMU tells of each access that a device handles.
const ACCESSES: &str = "memory_region_ops_*";

/// Who is used: the interface, and the virtio driver, if it is one.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    number: usize,
    driver: Option<Driver>,
}

const WAYS: [Way; 3] = [
    Way {
        name: CARD,
        number: 0,
        driver: None,
    },
    Way {
        name: "in-tree",
        number: 1,
        driver: Some(Driver::InTree),
    },
    Way {
        name: "ours",
        number: 1,
        driver: Some(Driver::Ours),
    },
];

/// What is done, how often by the unit in which it is counted, and how.
struct Work {
    name: &'static str,
    unit: &'static str,
    amount: u32,
    command: &'static str,
}

const WORKS: &[Work] = &[
    Work {
        name: "stream_out",
        unit: "MiB",
        amount: 16,
        command: "iperf3 --client PEER --bytes 16M",
    },
    Work {
        name: "stream_in",
        unit: "MiB",
        amount: 16,
        command: "iperf3 --client PEER --bytes 16M --reverse",
    },
    Work {
        name: "answers",
        unit: "datagram",
        amount: 1000,
        command: "netcheck udp PEER $(yes 1 | head -n 1000)",
    },
];

/// How often the guest was left for the device, and interrupted by it.
#[derive(Clone, Copy)]
struct Spent {
    exits: f64,
    interrupts: f64,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} exits, {:.2} interrupts",
            self.exits, self.interrupts
        )
    }
}

/// The same work by each: the virtio device costs less with either driver.
pub fn costs_more(cx: &mut Cx) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let (card, virtio) = (lan.tap("tap0", 1)?, lan.tap("tap1", 1)?);
    let _server = lan.run(&["iperf3", "--server"], "iperf3.log")?;
    let log = cx.artefacts().join("accesses.log");
    let builder = rig::tools(cx.kernel(STOCK)?)?
        .module(Driver::Ours.module())?
        .kernel_module(Driver::InTree.module())
        .kernel_module(CARD)
        .tool("iperf3")
        // An event that never is has QEMU open the log.
        .qemu(&[
            "-D",
            &log.to_string_lossy(),
            "-trace",
            "e1000_receiver_overrun",
        ])
        .qemu(&["-netdev", &card])
        .device(&format!(
            "{CARD},netdev=tap0,mac=52:54:00:09:00:00,romfile="
        ));
    let guest = cx.boot(&rig::device(builder, 1, &virtio, "tap1", ""))?;
    guest.sh(&format!(
        "{PROBE_KICKS} && echo 1 >{COUNTS_KICKS} && modprobe {CARD}"
    ))?;
    let bench = Bench { guest, log };
    for work in WORKS {
        cx.case(work.name, |cx| bench.compare(cx, work));
    }
    let log = bench.log;
    cx.end(&bench.guest)?;
    Ok(fs::remove_file(log)?)
}

struct Bench {
    guest: Arc<Guest>,
    log: PathBuf,
}

impl Bench {
    fn compare(&self, cx: &Cx, work: &Work) -> Result<()> {
        let mut spent = Vec::new();
        for way in WAYS {
            let result = self.spent(way, work);
            let result = result.with_context(|| format!("by {}", way.name))?;
            cx.say(&format!(
                "{}, {}: {result} for a {}",
                work.name, way.name, work.unit
            ));
            spent.push(result);
        }
        let [card, in_tree, ours] = spent[..] else {
            anyhow::bail!("not all are there");
        };
        for (name, virtio) in [("in-tree", in_tree), ("ours", ours)] {
            ensure!(
                virtio.exits < card.exits / 2.0,
                "{name} has {virtio}, the card {card}"
            );
        }
        Ok(())
    }

    /// Does some work, by one of the interfaces, and counts.
    fn spent(&self, way: Way, work: &Work) -> Result<Spent> {
        let guest = &self.guest;
        if let Some(driver) = way.driver {
            guest.sh(&format!("modprobe {}", driver.module()))?;
        }
        let nic = guest.sh(&format!("nic {}", way.number))?;
        let nic = nic.trim();
        guest.sh(&format!(
            "up {} && until ping -c 1 -W 1 {PEER} >/dev/null; do :; done",
            way.number
        ))?;

        let before = self.counts(nic)?;
        self.tell_accesses(true)?;
        guest.sh(&work.command.replace("PEER", PEER))?;
        self.tell_accesses(false)?;
        let after = self.counts(nic)?;

        guest.sh(&format!(
            "ip addr flush dev {nic} && ip link set {nic} down"
        ))?;
        if let Some(driver) = way.driver {
            guest.sh(&format!("rmmod {}", driver.module()))?;
        }
        let each = |at: usize| {
            let more = after[at].saturating_sub(before[at]);
            u32::try_from(more).map(|more| f64::from(more) / f64::from(work.amount))
        };
        Ok(Spent {
            exits: each(0)? + each(1)?,
            interrupts: each(2)?,
        })
    }

    fn tell_accesses(&self, enable: bool) -> Result<()> {
        let arguments = json!({ "name": ACCESSES, "enable": enable });
        self.guest
            .qmp("trace-event-set-state", arguments)
            .map(|_| ())
    }

    /// Returns how many accesses to registers there were, kicks that no device handles as one, and
    /// interrupts of an interface.
    fn counts(&self, nic: &str) -> Result<[u64; 3]> {
        let said = self.guest.sh(&format!(
            "{KICKS}
             echo $(kicks) $(awk '
                 $NF ~ /^virtio[0-9]+-(in|out)put/ || $NF == \"{nic}\" {{
                     for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i
                 }}
                 END {{ print n + 0 }}' /proc/interrupts)"
        ))?;
        let numbers: Vec<u64> = said.split_whitespace().flat_map(str::parse).collect();
        let &[kicks, interrupts] = numbers.as_slice() else {
            anyhow::bail!("the guest says {said}");
        };
        Ok([accesses(&self.log)?, kicks, interrupts])
    }
}

/// Counts the accesses to network devices in a log of QEMU. A kick wakes a device, which does not handle
/// it as an access.
fn accesses(log: &Path) -> Result<u64> {
    let text = fs::read_to_string(log).context("reading what QEMU has told")?;
    let count = text.lines().filter(|line| {
        line.contains("memory_region_ops_")
            && (line.contains("name 'e1000-") || line.contains("name 'virtio-pci-"))
    });
    Ok(u64::try_from(count.count())?)
}
