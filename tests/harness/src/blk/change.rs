// SPDX-License-Identifier: GPL-2.0

//! What a disk is, and how that changes: its size, its name, and whether it can be written.

use super::load::{Driver, LIMIT, Load, MIB, file, image, waits};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
};
use anyhow::{Result, ensure};
use serde_json::json;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::change::is_seen_stock", |cx| {
        is_seen(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(120),
    Test::new("blk::change::is_seen_debug", |cx| {
        is_seen(cx, DEBUG, Driver::Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(400),
    Test::new("blk::change::is_seen_in_tree", |cx| {
        is_seen(cx, STOCK, Driver::InTree)
    })
    .limit(120)
    .exhaustive(),
];

/// The longest name that a disk can have.
const NAME: &str = "twenty-letters-it-is";

/// A disk is made larger and smaller while somebody uses it; another one cannot be written.
fn is_seen(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = file(driver.builder(cx, flavour)?, &image(scratch.path())?, "")
        .tool("blockdev")
        .device(&format!(
            "virtio-blk-pci,drive=d0,num-queues=2,serial={NAME}"
        ))
        .qemu(&[
            "-blockdev",
            "driver=null-co,node-name=d1,size=1048576,read-zeroes=on,read-only=on",
        ])
        .device("virtio-blk-pci,drive=d1");
    let guest = cx.boot(&builder)?;
    driver.load(&guest)?;
    let disk = driver.disk();
    let other = format!("{}b", &disk[..disk.len() - 1]);
    waits(&guest, &format!("[ -b /dev/{other} ]"))?;

    cx.case("name", |_| {
        let said = guest.sh(&format!(
            "cd /sys/block; cat {disk}/serial; echo; cat {other}/serial; echo"
        ))?;
        ensure!(said == format!("{NAME}\n\n"), "the names are {said}");
        Ok(())
    });
    cx.case("size", |_| {
        let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;
        guest.sh(
            "uevent sh -c 'echo RESIZE=$RESIZE >>/tmp/uevents' >/dev/null 2>&1 &
             touch /tmp/uevents; sleep 1",
        )?;
        for (times, mib) in [(1, 2 * MIB), (2, MIB / 2), (3, MIB)] {
            guest.qmp(
                "block_resize",
                json!({ "node-name": "d0", "size": mib << 20 }),
            )?;
            has(&guest, disk, mib)?;
            waits(
                &guest,
                &format!("[ $(grep -c ^RESIZE=1 /tmp/uevents) = {times} ]"),
            )?;
            load.goes_on(disk)?;
        }
        guest.sh("killall uevent")?;
        load.end()
    });
    cx.case("read_only", |_| {
        let write = format!("dd if=/dev/zero of=/dev/{other} bs=4k count=1 oflag=direct 2>&1");
        let said = guest.sh(&format!(
            "cat /sys/block/{other}/ro; blockdev --getro /dev/{other}
             {write} && exit 1
             blockdev --setrw /dev/{other}; blockdev --getro /dev/{other}
             {write} && exit 1
             dd if=/dev/{other} of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null"
        ))?;
        let lines: Vec<_> = said.lines().filter(|line| line.len() == 1).collect();
        ensure!(lines == ["1", "1", "1"], "the guest says {said}");
        ensure!(
            said.matches("Operation not permitted").count() == 2,
            "the guest says {said}"
        );
        Ok(())
    });
    driver.unload(&guest)?;
    cx.end(&guest)
}

/// Waits until the disk has so many MiB; the last one can be used, and what is behind it cannot.
fn has(guest: &Guest, disk: &str, mib: u64) -> Result<()> {
    let sectors = mib << 11;
    waits(
        guest,
        &format!("[ $(cat /sys/block/{disk}/size) = {sectors} ]"),
    )?;
    let last = mib - 1;
    let said = guest.run_within(
        &format!(
            "dd if=/dev/urandom of=/tmp/mib bs=1M count=1 2>/dev/null
             dd if=/tmp/mib of=/dev/{disk} bs=1M seek={last} oflag=direct 2>/dev/null &&
             dd if=/dev/{disk} of=/tmp/back bs=1M skip={last} iflag=direct 2>/dev/null &&
             cmp /tmp/mib /tmp/back || exit
             dd if=/tmp/mib of=/dev/{disk} bs=1M seek={mib} oflag=direct 2>&1 && exit 1; true"
        ),
        LIMIT,
    )?;
    ensure!(
        said.status == 0 && said.text.contains("No space left"),
        "with {mib} MiB, the guest says {}",
        said.text
    );
    Ok(())
}
