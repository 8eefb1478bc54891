// SPDX-License-Identifier: GPL-2.0

//! A guest whose root file system is on a disk of the driver.

use super::{data::image, driver::OURS};
use crate::{
    cx::Cx,
    guest::{Builder, Guest},
    kernel::{DEBUG, STOCK},
    paths::{self, Scratch},
};
use anyhow::{Context, Result, ensure};
use std::{path::Path, process::Command};

/// The size of the disk.
const MIB: u32 = 384;

pub fn is_booted_from_stock(cx: &mut Cx) -> Result<()> {
    is_booted_from(cx, STOCK, 500)
}

pub fn is_booted_from_debug(cx: &mut Cx) -> Result<()> {
    is_booted_from(cx, DEBUG, 100)
}

/// The guest boots, works, and goes; so it does again, and finds what it has left. Each time, the
/// host finds a file system that is in order.
fn is_booted_from(cx: &mut Cx, flavour: &str, steps: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let disk = scratch.path().join("root");
    let filework = paths::built("filework")?;
    let builder = OURS
        .builder(cx, flavour)?
        .kernel_module("ext4")
        .tool(filework.to_str().context("an odd path")?)
        .memory(1024);
    builder.write_root(&disk, MIB)?;
    let builder = image(builder, &disk, 0, ",packed=on,num-queues=2");
    let builder = builder.root(OURS.module, &OURS.disk(0));

    let sums = "cd /root && find . -type f | sort | xargs sha256sum";
    let guest = boot(cx, &builder, "first")?;
    let work = format!("filework --workers 2 --steps {steps} /root");
    let before = guest.sh(&format!("{work} && {sums}"))?;
    ensure!(before.lines().count() > 20, "there are few files: {before}");
    leave(cx, &guest, &disk)?;

    let guest = boot(cx, &builder, "second")?;
    let after = guest.sh(sums)?;
    ensure!(
        before == after,
        "the files have changed, from\n{before}\nto\n{after}"
    );
    guest.sh("cd && rm -r worker0")?;
    leave(cx, &guest, &disk)
}

fn boot(cx: &mut Cx, builder: &Builder, name: &str) -> Result<std::sync::Arc<Guest>> {
    let guest = cx.boot(&builder.clone().name(name))?;
    let root = guest.sh("grep ' / ' /proc/mounts")?;
    ensure!(
        root.starts_with(&format!("/dev/{} / ext4 rw", OURS.disk(0))),
        "the root is {root}"
    );
    Ok(guest)
}

/// Ends the guest as an init does: nothing is written any more.
fn leave(cx: &mut Cx, guest: &std::sync::Arc<Guest>, disk: &Path) -> Result<()> {
    guest.sh("sync && mount -o remount,ro /")?;
    cx.end(guest)?;
    let output = Command::new("e2fsck")
        .args(["-f", "-n"])
        .arg(disk)
        .output()?;
    ensure!(
        output.status.success(),
        "e2fsck ends with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    Ok(())
}
