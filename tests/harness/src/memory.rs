// SPDX-License-Identifier: GPL-2.0

//! What a device takes of the guest's memory: with the kernel's own driver, and with that of this
//! project, in the same guest.

use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::STOCK,
    net::{lan::Lan, rig},
};
use anyhow::{Context, Result, ensure};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("bench::memory::is_not_much_more", is_not_much_more)
        .kernels(&[STOCK])
        .exhaustive()
        .limit(300),
];

/// How often each is measured: the least counts, as what else the kernel keeps is not the device's.
const ROUNDS: usize = 5;

/// The drivers of a kind: the kernel's own, and ours.
type Drivers = [&'static str; 2];

const NETWORK: Drivers = ["virtio_net", "virtio_net_rs"];
const DISK: Drivers = ["virtio_blk", "virtio_blk_rs"];

/// What is bound, and used.
struct Load {
    name: &'static str,
    drivers: Drivers,
    /// The PCI slot of the device.
    slot: u32,
    /// What is done in the directory of the device when it is bound.
    command: &'static str,
    /// How many KiB more than with the kernel's own driver it may take.
    more: i64,
}

const LOADS: [Load; 4] = [
    Load {
        name: "network, 1 pair of queues of 256 places",
        drivers: NETWORK,
        slot: 0x10,
        command: "nic=$(ls net) && ethtool -L $nic combined 1 && ip link set $nic up",
        more: 128,
    },
    Load {
        name: "network, 4 pairs of queues of 256 places",
        drivers: NETWORK,
        slot: 0x10,
        command: "nic=$(ls net) && ethtool -L $nic combined 4 && ip link set $nic up",
        more: 128,
    },
    Load {
        name: "disk, 1 queue of 256 places",
        drivers: DISK,
        slot: 0x11,
        command: "until ls block >/dev/null 2>&1; do usleep 50000; done",
        // Each request has room for a list of its segments; here, those of a scheduler have it, too.
        more: 800,
    },
    Load {
        name: "disk, 4 queues of 256 places",
        drivers: DISK,
        slot: 0x12,
        command: "until ls block >/dev/null 2>&1; do usleep 50000; done",
        more: 1200,
    },
];

fn is_not_much_more(cx: &mut Cx) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 4)?;
    let mut builder = rig::tools(cx.kernel(STOCK)?)?.cpus(4).memory(1024);
    for [theirs, ours] in [NETWORK, DISK] {
        builder = builder.kernel_module(theirs).module(ours)?;
    }
    builder = rig::device(builder, 0, &netdev, "tap0", ",mq=on,addr=0x10");
    for (slot, queues) in [(0x11, 1), (0x12, 4)] {
        builder = builder
            .qemu(&[
                "-blockdev",
                &format!("driver=null-co,node-name=null{queues},size=1073741824,read-zeroes=on"),
            ])
            .device(&format!(
                "virtio-blk-pci,drive=null{queues},num-queues={queues},addr={slot:#x}"
            ));
    }
    let guest = cx.boot(&builder)?;
    // What a CPU keeps for itself is as little as can be.
    guest.sh("sysctl -w vm.percpu_pagelist_high_fraction=8192 >/dev/null")?;
    println!("        KiB of the guest: the kernel's own driver, ours");
    for load in &LOADS {
        let [theirs, ours] = load.drivers.map(|driver| takes(&guest, driver, load));
        let (theirs, ours) = (theirs?, ours?);
        println!("        {:<42}  {theirs:6}  {ours:6}", load.name);
        cx.case(load.name, |_| {
            ensure!(
                ours <= theirs + load.more,
                "{ours} KiB instead of {theirs} KiB"
            );
            Ok(())
        });
    }
    cx.end(&guest)
}

/// Returns how many KiB a device takes with a driver.
fn takes(guest: &Guest, driver: &str, load: &Load) -> Result<i64> {
    guest.sh(&format!(
        "modprobe {driver} && cd /sys/bus/virtio/drivers/{driver} &&
         for i in virtio*; do echo $i >unbind || exit; done"
    ))?;
    let mut least = None;
    for _ in 0..ROUNDS {
        let said = guest.sh(&format!(
            "free() {{
                 echo 3 >/proc/sys/vm/drop_caches; sleep 1; awk '/^MemFree:/ {{ print $2 }}' /proc/meminfo
             }}
             cd /sys/bus/virtio/drivers/{driver}
             device=$(basename /sys/bus/pci/devices/0000:00:{:02x}.0/virtio*)
             before=$(free)
             echo $device >bind && (cd $device/ && {}) >/dev/null || exit
             after=$(free)
             echo $device >unbind
             echo $((before - after))",
            load.slot, load.command
        ))?;
        let said = said.lines().last().unwrap_or_default();
        let taken: i64 = said.parse().with_context(|| format!("it says {said}"))?;
        least = Some(least.map_or(taken, |least: i64| least.min(taken)));
    }
    guest.sh(&format!("rmmod {driver}"))?;
    least.context("nothing was measured")
}
