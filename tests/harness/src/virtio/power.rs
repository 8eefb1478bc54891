// SPDX-License-Identifier: GPL-2.0

//! Suspend to memory: whether a device works again. The in-tree driver goes the same way, to tell whose
//! fault a failure is.

use super::end::{Victim, wait_for};
use crate::{
    cx::Cx,
    guest::{Builder, Guest},
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long the machine may take to wake.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it sleeps.
const NIGHTS: usize = 3;

/// The configuration space of the bridge that has the registers of power management.
const LPC: &str = "/sys/bus/pci/devices/0000:00:1f.0/config";

/// What reads from the device.
const READS: &str = "dd if=/dev/hwrng of=/dev/null bs=64 count=64 iflag=fullblock";

/// A driver of entropy devices.
#[derive(Clone, Copy)]
pub(super) enum Driver {
    InTree,
    Ours,
}

impl Driver {
    const fn module(self) -> &'static str {
        match self {
            Self::InTree => "virtio_rng",
            Self::Ours => "rust_virtio_rng",
        }
    }

    fn builder(self, cx: &Cx, flavour: &str) -> Result<Builder> {
        let builder = cx
            .kernel(flavour)?
            .name(self.module())
            .device("virtio-rng-pci,id=rng");
        match self {
            Self::InTree => Ok(builder.kernel_module(self.module())),
            Self::Ours => builder.module(self.module()),
        }
    }

    /// What tests of the end of a kernel use.
    pub(super) fn victim(self, cx: &Cx, flavour: &str) -> Result<Victim> {
        let module = self.module();
        Ok(Victim {
            module,
            builder: self.builder(cx, flavour)?,
            works: format!("grep -q ^{module}.0 /sys/class/misc/hw_random/rng_current && {READS}"),
            uses: "cat /dev/hwrng".to_owned(),
        })
    }
}

pub fn sleeps_in_tree_stock(cx: &mut Cx) -> Result<()> {
    sleeps(cx, STOCK, Driver::InTree)
}

pub fn sleeps_in_tree_debug(cx: &mut Cx) -> Result<()> {
    sleeps(cx, DEBUG, Driver::InTree)
}

pub fn sleeps_stock(cx: &mut Cx) -> Result<()> {
    sleeps(cx, STOCK, Driver::Ours)
}

pub fn sleeps_debug(cx: &mut Cx) -> Result<()> {
    sleeps(cx, DEBUG, Driver::Ours)
}

/// The machine sleeps while the device is idle, and while it is read.
fn sleeps(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let guest = driver.victim(cx, flavour)?.boot(cx)?;
    ensure!(
        guest.sh("cat /sys/power/mem_sleep")?.contains("[deep]"),
        "the machine cannot suspend to memory"
    );

    for _ in 0..NIGHTS {
        sleep(&guest)?;
        guest.sh(READS)?;
    }
    guest.sh("(while :; do cat /dev/hwrng; done) >/dev/null 2>&1 &")?;
    for _ in 0..NIGHTS {
        sleep(&guest)?;
    }
    guest.sh("kill %1 2>/dev/null; killall cat 2>/dev/null; true")?;
    guest.sh(READS)?;
    guest.sh(&format!("rmmod {}", driver.module()))?;
    Ok(())
}

/// Suspends the machine, and wakes it.
pub fn sleep(guest: &Guest) -> Result<()> {
    let nights = || guest.log().matches("PM: suspend exit").count();
    let before = nights();
    // The BIOS leaves the registers of power management disabled when the machine wakes, and it
    // would not sleep again. The answer to this command must leave before the machine sleeps.
    guest.sh(&format!(
        "dd if={LPC} of=/tmp/pm bs=8 skip=8 count=1 2>/dev/null
         (sleep 1; echo mem >/sys/power/state; status=$?
          dd if=/tmp/pm of={LPC} bs=8 seek=8 conv=notrunc; echo $status >/tmp/woken) >/dev/null 2>&1 &"
    ))?;
    wait_for(guest, "suspended")?;
    guest.qmp("system_wakeup", json!({}))?;

    // The serial ports lose what comes before they are awake.
    let start = Instant::now();
    while nights() == before {
        ensure!(start.elapsed() < PATIENCE, "the machine does not wake");
        thread::sleep(Duration::from_millis(100));
    }
    let said = guest.sh("while [ ! -s /tmp/woken ]; do usleep 100000; done
         cat /tmp/woken; rm /tmp/woken")?;
    ensure!(said == "0\n", "suspending fails: {said}");
    Ok(())
}
