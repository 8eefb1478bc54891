// SPDX-License-Identifier: GPL-2.0

//! How often a driver notifies its device, and is interrupted by it: not more often than the kernel's
//! own driver, for the same requests to the same device, in the same boot.

use super::driver::{Driver, IN_TREE, RENAMED};
use crate::{
    bench::{COUNTS_KICKS, KICKS, PROBE_KICKS},
    cx::{Cx, Test},
    guest::Guest,
    kernel::STOCK,
    race::statistics::Series,
};
use anyhow::{Context, Result, ensure};

/// The tests of this file.
pub const TESTS: &[Test] = &[Test::new("blk::traffic::is_not_more", is_not_more)
    .kernels(&[STOCK])
    .limit(300)];

/// How many requests there are each time.
const REQUESTS: u32 = 4000;

/// How often each driver is measured. Between, the other one is: what changes in the course of time
/// changes both.
const ROUNDS: usize = 5;

/// How often there are so many rounds, at most, as long as what is in the middle of all until then is too
/// much.
const TRIES: usize = 3;

/// How the requests come: how this is called, what fio is told, and how much more than theirs ours may
/// be.
///
/// Of those that come one by one, how many the device has done when it is notified or interrupts depends
/// on which thread the host runs: either driver has had 0.3 notifications a request, and 0.7; one that
/// asks for each interrupt has 1. Those that come together are one notification, always.
const WAYS: &[(&str, &str, f64)] = &[
    ("1", "--iodepth=1", 0.01),
    ("32", "--iodepth=32", 0.25),
    (
        "batches",
        "--iodepth=32 --iodepth_batch_submit=32 --iodepth_batch_complete_min=32",
        0.1,
    ),
];

/// The devices: how they are called, what QEMU is told, and their PCI slots.
const DEVICES: &[(&str, &str, u32)] = &[("split", "", 0x10), ("packed", ",packed=on", 0x11)];

/// What there was for each request.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    pub kicks: f64,
    pub interrupts: f64,
}

impl Traffic {
    /// Returns what is in the middle: the host may be busy with something else for some time.
    fn median(of: &[Self]) -> Result<Self> {
        let middle = |each: fn(&Self) -> f64| {
            let series = Series::new(of.iter().map(each).collect());
            series.map(|series| series.median())
        };
        Ok(Self {
            kicks: middle(|traffic| traffic.kicks)?,
            interrupts: middle(|traffic| traffic.interrupts)?,
        })
    }
}

fn is_not_more(cx: &mut Cx) -> Result<()> {
    let mut builder = RENAMED
        .builder(cx, STOCK)?
        .kernel_module(IN_TREE.module)
        .tool("fio")
        .memory(1024);
    for (name, options, slot) in DEVICES {
        builder = builder
            .qemu(&[
                "-blockdev",
                &format!("driver=null-co,node-name={name},size=1073741824,read-zeroes=on"),
            ])
            .device(&format!(
                "virtio-blk-pci,drive={name},addr={slot:#x}{options}"
            ));
    }
    let guest = cx.boot(&builder)?;
    guest.sh(&format!(
        "{PROBE_KICKS} && echo 1 >{COUNTS_KICKS} && echo 0 >/sys/bus/virtio/drivers_autoprobe"
    ))?;

    for (name, _, slot) in DEVICES {
        for (way, options, tolerance) in WAYS {
            cx.case(&format!("{name}_{way}"), |_| {
                is_within(&guest, *slot, options, 1.0 + tolerance)
            });
        }
    }
    cx.end(&guest)
}

/// Compares what a request has with either driver.
fn is_within(guest: &Guest, slot: u32, options: &str, most: f64) -> Result<()> {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for last in (1..=TRIES).map(|count| count == TRIES) {
        for _ in 0..ROUNDS {
            theirs.push(run(guest, &IN_TREE, slot, options)?);
            ours.push(run(guest, &RENAMED, slot, options)?);
        }
        let (theirs, ours) = (Traffic::median(&theirs)?, Traffic::median(&ours)?);
        let within =
            ours.kicks <= theirs.kicks * most && ours.interrupts <= theirs.interrupts * most;
        if within {
            break;
        }
        ensure!(
            !last,
            "a request has {ours:.3?}, with the kernel's own driver {theirs:.3?}"
        );
    }
    Ok(())
}

/// Has fio read from the disk in a slot, with a driver, and counts. Nothing has a driver by itself in the
/// guest, in which kicks are counted.
pub fn run(guest: &Guest, driver: &Driver, slot: u32, options: &str) -> Result<Traffic> {
    let (module, disk) = (driver.module, driver.disk(0));
    let parameters = driver.parameters();
    let said = guest.sh(&format!(
        "modprobe {module} {parameters} && cd /sys/bus/virtio/drivers/{module} || exit
         device=$(basename /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio*)
         echo $device >bind || exit
         until [ -b /dev/{disk} ]; do usleep 10000; done
         {KICKS}
         interrupts() {{
             awk -v name=$device-req '
                 index($NF, name) {{ for (i = 2; $i ~ /^[0-9]+$/; i++) n += $i }}
                 END {{ print n + 0 }}' /proc/interrupts
         }}
         requests() {{ set -- $(cat /sys/block/{disk}/stat); echo $(($1 + $5)); }}
         all() {{ echo $(kicks) $(interrupts) $(requests); }}
         before=$(all)
         fio --name=traffic --filename=/dev/{disk} --direct=1 --bs=4k --norandommap --thread \
             --ioengine=libaio {options} --rw=randread --number_ios={REQUESTS} \
             --size=100% >/tmp/fio 2>&1 || {{ cat /tmp/fio; exit 1; }}
         echo $before $(all)
         echo $device >unbind && rmmod {module}"
    ))?;
    let numbers: Vec<u32> = said.split_whitespace().flat_map(str::parse).collect();
    let [kicks, interrupts, requests, ..] = numbers[..] else {
        return Err(anyhow::anyhow!("the guest says {said}"));
    };
    let after = numbers.get(3..6).context("there is nothing afterwards")?;
    let more = |before: u32, at: usize| f64::from(after[at].saturating_sub(before));
    let requests = more(requests, 2);
    ensure!(
        requests >= f64::from(REQUESTS),
        "there were {requests} requests"
    );
    Ok(Traffic {
        kicks: more(kicks, 0) / requests,
        interrupts: more(interrupts, 1) / requests,
    })
}
