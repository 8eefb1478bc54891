// SPDX-License-Identifier: GPL-2.0

//! The guest sleeps, or the device is reset, as somebody does that or it asks for it, while somebody writes,
//! reads and compares: who goes on as if nothing had been.

use super::load::{Driver, LIMIT, Load, file, image};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
    virtio,
};
use anyhow::{Result, bail, ensure};
use std::sync::Arc;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::power::sleeps_stock", |cx| {
        sleeps(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("blk::power::sleeps_in_tree", |cx| {
        sleeps(cx, STOCK, Driver::InTree)
    })
    .limit(150)
    .exhaustive(),
    Test::new("blk::power::is_reset_stock", |cx| {
        is_reset(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK]),
    Test::new("blk::power::is_reset_in_tree", |cx| {
        is_reset(cx, STOCK, Driver::InTree)
    })
    .exhaustive(),
    Test::new("blk::power::is_asked_for_stock", |cx| {
        is_asked_for(cx, STOCK)
    })
    .kernels(&[STOCK]),
    Test::new("blk::power::is_asked_for_debug", |cx| {
        is_asked_for(cx, DEBUG)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(150),
    Test::new("blk::power::is_asked_for_in_tree", is_asked_in_vain).kernels(&[STOCK]),
];

/// How many requests the disk does in a second: there are always some that it has not done yet.
const RATE: u32 = 100;

/// How often the guest sleeps, and the function is reset.
const ROUNDS: usize = 2;
const RESETS: usize = 10;

/// How deep the kernel goes in a test of its own, before it comes back by itself.
const LEVELS: &[(&str, &str)] = &[
    ("mem", "devices"),
    ("mem", "core"),
    ("freeze", "devices"),
    ("freeze", "platform"),
];

/// What the kernel says if a processor does not wake up. There are no interrupts for disks any more
/// then, whatever their driver: emulated processors on a busy host do that now and then.
const LOST: &str = "CPU1 failed to report alive state";

/// How many guests may lose a processor.
const LOSSES: usize = 3;

/// A guest whose disk is slow, and behind a port, so that its function can be reset.
fn boot(cx: &mut Cx, flavour: &str, driver: Driver, scratch: &Scratch) -> Result<Arc<Guest>> {
    let builder = driver
        .builder(cx, flavour)?
        .device("pcie-root-port,id=slot0,chassis=1,slot=1");
    let builder = file(builder, &image(scratch.path())?, "").qemu(&[
        "-object",
        &format!("throttle-group,id=slow,x-iops-total={RATE}"),
        "-blockdev",
        "driver=throttle,node-name=d1,throttle-group=slow,file=d0",
    ]);
    let guest = cx.boot(&builder.device("virtio-blk-pci,drive=d1,bus=slot0,num-queues=2"))?;
    driver.load(&guest)?;
    Ok(guest)
}

/// Suspends as far as the kernel's own tests go, and to memory.
fn sleeps(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let guest = boot(cx, flavour, driver, &scratch)?;
    let disk = driver.disk();
    let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;
    guest.sh("echo 1 >/sys/module/suspend/parameters/pm_test_delay")?;

    for (state, level) in LEVELS {
        cx.case(&format!("{state}_{level}"), |_| {
            let said = guest.run_within(
                &format!(
                    "echo {level} >/sys/power/pm_test && echo {state} >/sys/power/state
                     status=$?; echo none >/sys/power/pm_test; exit $status"
                ),
                LIMIT,
            )?;
            ensure!(said.status == 0, "suspending fails: {}", said.text);
            load.goes_on(disk)
        });
    }
    cx.case("data", |_| load.end());
    driver.unload(&guest)?;
    cx.end(&guest)?;

    for loss in 1..=LOSSES {
        if sleeps_to_memory(cx, flavour, driver, loss)? {
            return Ok(());
        }
    }
    bail!("{LOSSES} guests have lost a processor");
}

/// Suspends to memory. Returns whether the guest still has its processors.
fn sleeps_to_memory(cx: &mut Cx, flavour: &str, driver: Driver, attempt: usize) -> Result<bool> {
    let scratch = Scratch::new()?;
    let guest = boot(cx, flavour, driver, &scratch)?;
    let disk = driver.disk();
    let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;

    for round in 0..ROUNDS {
        virtio::power::sleep(&guest)?;
        if guest.log().contains(LOST) {
            println!("        attempt {attempt}: a processor has not woken up");
            return Ok(false);
        }
        cx.case(&format!("memory_{round}"), |_| load.goes_on(disk));
    }
    cx.case("memory_data", |_| load.end());
    driver.unload(&guest)?;
    cx.end(&guest)?;
    Ok(true)
}

/// Resets the function as often as one can.
fn is_reset(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let guest = boot(cx, flavour, driver, &scratch)?;
    let disk = driver.disk();
    let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;

    for _ in 0..RESETS {
        let said = guest.run_within(
            &format!("echo 1 >/sys/block/{disk}/device/../reset; usleep 100000"),
            LIMIT,
        )?;
        ensure!(said.status == 0, "it is not reset: {}", said.text);
    }
    let log = guest.log();
    ensure!(
        !log.contains("Reset prepare failure") && !log.contains("Reset done failure"),
        "a reset fails"
    );
    load.goes_on(disk)?;
    load.end()?;
    driver.unload(&guest)?;
    cx.end(&guest)
}

/// What has the device find a descriptor that cannot be (`tests/guest/modules/mislead.c`): it says that
/// it needs a reset.
const MISLEAD: &str = "modprobe mislead type=2 queue=0 && rmmod mislead";

/// What prints how often our driver has reset the device.
const RECOVERIES: &str =
    "awk '$1 == \"recoveries:\" { print $2 }' /sys/kernel/debug/virtio_blk_rs/virtio0";

/// The device asks for a reset again and again, and gets it.
fn is_asked_for(cx: &mut Cx, flavour: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let (guest, driver) = (misled(cx, flavour, Driver::Ours, &scratch)?, Driver::Ours);
    let disk = driver.disk();
    let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;
    for _ in 0..ROUNDS {
        // The driver may write over it before the device looks.
        let said = guest.run_within(
            &format!(
                "before=$({RECOVERIES})
                 until [ $({RECOVERIES}) -gt $before ]; do {MISLEAD} || exit; usleep 200000; done"
            ),
            LIMIT,
        )?;
        ensure!(said.status == 0, "it is not reset: {}", said.text);
        load.goes_on(disk)?;
    }
    load.end()?;
    driver.unload(&guest)?;
    cx.end(&guest)
}

/// The kernel's own driver does not look whether the device asks.
fn is_asked_in_vain(cx: &mut Cx) -> Result<()> {
    let scratch = Scratch::new()?;
    let guest = misled(cx, STOCK, Driver::InTree, &scratch)?;
    guest.sh("dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct")?;
    guest.sh(MISLEAD)?;
    guest.sh("(dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct; touch /tmp/done) >/dev/null 2>&1 &
         sleep 10; [ ! -e /tmp/done ]")?;
    guest.kill();
    Ok(())
}

/// A guest whose device follows the specification.
fn misled(cx: &mut Cx, flavour: &str, driver: Driver, scratch: &Scratch) -> Result<Arc<Guest>> {
    let builder = driver.builder(cx, flavour)?.module("mislead")?;
    let builder = file(builder, &image(scratch.path())?, "");
    let guest = cx.boot(&builder.device("virtio-blk-pci,drive=d0,disable-legacy=on"))?;
    driver.load(&guest)?;
    Ok(guest)
}
