// SPDX-License-Identifier: GPL-2.0

//! Interrupts that come at the worst time (`tests/guest/modules/late.c`): while the core has freed a
//! ring that was resized, and has not put another into its place.
//!
//! The core reads the ring when an interrupt comes. Our driver does not let it come then; the kernel's
//! own does, by which it is seen that the test would find out.

use super::rig::{self, Driver};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::DEBUG,
};
use anyhow::{Context, Result, ensure};

/// The tests of this file.
pub const TESTS: &[Test] = &[Test::new("net::late::is_not_heard", is_not_heard)
    .kernels(&[DEBUG])
    .limit(400)];

/// The options of the two devices.
const SPLIT: &str = ",disable-legacy=on";
const PACKED: &str = ",disable-legacy=on,packed=on";

fn is_not_heard(cx: &mut Cx) -> Result<()> {
    let mut builder = Driver::Ours
        .builder(cx, DEBUG)?
        .kernel_module(Driver::InTree.module())
        .module("late")?;
    for (number, options) in [SPLIT, PACKED].into_iter().enumerate() {
        let id = format!("user{number}");
        let netdev = format!("user,restrict=on,id={id}");
        builder = rig::device(builder, number, &netdev, &id, options);
    }
    let guest = cx.boot(&builder)?;

    rig::load(&guest, Driver::Ours)?;
    cx.case("split", |_| resize(&guest, 0));
    cx.case("packed", |_| resize(&guest, 1));
    guest.excuse(&[])?;
    guest.sh(&format!(
        "rmmod {} && modprobe {}",
        Driver::Ours.module(),
        Driver::InTree.module()
    ))?;
    cx.case("in_tree", |_| {
        resize(&guest, 0)?;
        let splats = guest.take_splats();
        ensure!(
            splats
                .iter()
                .any(|splat| splat.line.contains("in vring_interrupt")),
            "the kernel only complains: {splats:#?}"
        );
        Ok(())
    });
    cx.end(&guest)
}

/// Makes the first ring of an interface smaller, and larger.
fn resize(guest: &Guest, number: usize) -> Result<()> {
    let came = guest.sh(&format!(
        "nic=$(nic {number}) && ip link set $nic up || exit
         device=$(basename $(readlink -f /sys/class/net/$nic/device))
         irq=$(awk -v name=$device-input 'index($NF, name) == 1 {{ print $1 + 0 }}' /proc/interrupts)
         modprobe late irq=$irq && ethtool -G $nic rx 128 && ethtool -G $nic rx 256 || exit
         cat /sys/module/late/parameters/came; rmmod late"
    ))?;
    let count: u32 = came
        .trim()
        .parse()
        .with_context(|| format!("the guest says {came}"))?;
    ensure!(count >= 2, "{count} interrupts came late");
    Ok(())
}
