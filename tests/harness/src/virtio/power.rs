// SPDX-License-Identifier: GPL-2.0

//! Suspend to memory, and the end of a kernel: what a device is left as, and whether it works
//! again. The in-tree driver goes the same way, to tell whose fault a failure is.

use crate::{
    cx::Cx,
    guest::{Builder, Guest},
    kernel::{DEBUG, Kernel, STOCK},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long the machine may take to fall asleep, to end, or to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it sleeps.
const NIGHTS: usize = 3;

/// The configuration space of the bridge that has the registers of power management.
const LPC: &str = "/sys/bus/pci/devices/0000:00:1f.0/config";

/// The bit of the status that makes a device live.
const DRIVER_OK: u8 = 4;

/// A driver of entropy devices.
#[derive(Clone, Copy)]
enum Driver {
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

    fn load(self, guest: &Guest) -> Result<()> {
        guest.sh(&format!(
            "modprobe {0} && grep -q ^{0}.0 /sys/class/misc/hw_random/rng_current",
            self.module()
        ))?;
        works(guest)
    }
}

/// Reads from the device.
fn works(guest: &Guest) -> Result<()> {
    guest.sh("dd if=/dev/hwrng of=/dev/null bs=64 count=64 iflag=fullblock")?;
    Ok(())
}

/// Waits for the machine to be in a state of QEMU's.
fn wait_for(guest: &Guest, state: &str) -> Result<()> {
    let start = Instant::now();
    loop {
        let status = guest.qmp("query-status", json!({}))?;
        if status["status"] == state {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "the machine is {} instead of {state}",
            status["status"]
        );
        thread::sleep(Duration::from_millis(100));
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
    let guest = cx.boot(&driver.builder(cx, flavour)?)?;
    driver.load(&guest)?;
    ensure!(
        guest.sh("cat /sys/power/mem_sleep")?.contains("[deep]"),
        "the machine cannot suspend to memory"
    );

    for _ in 0..NIGHTS {
        sleep(&guest)?;
        works(&guest)?;
    }
    guest.sh("(while :; do cat /dev/hwrng; done) >/dev/null 2>&1 &")?;
    for _ in 0..NIGHTS {
        sleep(&guest)?;
    }
    guest.sh("kill %1 2>/dev/null; killall cat 2>/dev/null; true")?;
    works(&guest)?;
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

/// Returns the address of the device's status register (virtio 1.3, 4.1.4.3).
fn status_address(guest: &Guest) -> Result<u64> {
    // QEMU's devices have their common configuration at the start of BAR 4.
    let bar = guest.sh("cd /sys/bus/virtio/devices/virtio0/; sed -n 5p ../resource")?;
    let start = bar.split_whitespace().next().unwrap_or_default();
    let start = u64::from_str_radix(start.trim_start_matches("0x"), 16)?;
    ensure!(start != 0, "the device has no BAR 4");
    Ok(start + 20)
}

/// Reads a register as the machine sees it, whatever its kernel does.
fn register(guest: &Guest, address: u64) -> Result<u8> {
    let command = json!({ "command-line": format!("xp /1bx {address:#x}") });
    let said = guest.qmp("human-monitor-command", command)?;
    let value = said
        .as_str()
        .and_then(|said| said.trim().rsplit_once("0x"))
        .and_then(|(_, digits)| u8::from_str_radix(digits, 16).ok());
    value.with_context(|| format!("QEMU says {said}"))
}

pub fn reboots_in_tree(cx: &mut Cx) -> Result<()> {
    reboots(cx, STOCK, Driver::InTree)
}

pub fn reboots_stock(cx: &mut Cx) -> Result<()> {
    reboots(cx, STOCK, Driver::Ours)
}

pub fn reboots_debug(cx: &mut Cx) -> Result<()> {
    reboots(cx, DEBUG, Driver::Ours)
}

/// A kernel that ends leaves the device reset, while somebody reads from it. One that is cut off
/// does not: so the question is a good one.
fn reboots(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    for (name, command, live) in [
        ("reboots", "reboot -f", false),
        ("is_cut_off", "echo b >/proc/sysrq-trigger", true),
    ] {
        let guest = cx.boot(&driver.builder(cx, flavour)?.name(name))?;
        driver.load(&guest)?;
        let address = status_address(&guest)?;
        let before = register(&guest, address)?;
        ensure!(before & DRIVER_OK != 0, "the status is {before:#x}");
        // The machine stops where it would begin anew.
        guest.qmp(
            "set-action",
            json!({ "reboot": "shutdown", "shutdown": "pause" }),
        )?;
        guest.sh(&format!(
            "(while :; do cat /dev/hwrng; done) >/dev/null 2>&1 &
             (sleep 1; {command}) >/dev/null 2>&1 &"
        ))?;
        wait_for(&guest, "shutdown")?;
        let after = register(&guest, address)?;
        cx.case(name, |_| {
            ensure!((after != 0) == live, "the status is {after:#x} then");
            Ok(())
        });
        guest.kill();
    }
    Ok(())
}

pub fn starts_another_kernel_stock(cx: &mut Cx) -> Result<()> {
    starts_another_kernel(cx, STOCK)
}

pub fn starts_another_kernel_debug(cx: &mut Cx) -> Result<()> {
    starts_another_kernel(cx, DEBUG)
}

/// The first process of the other kernel. The harness sees what it says on the console.
const SECOND: &[u8] = b"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo '<2>the other kernel is here' >/dev/kmsg
modprobe rust_virtio_rng && dd if=/dev/hwrng of=/dev/null bs=64 count=64 iflag=fullblock &&
	echo '<2>the other kernel reads' >/dev/kmsg
sleep 1
poweroff -f
";

/// A kernel starts another one in its place while somebody reads: no reset of the machine is
/// between them, and the device must not write to memory that is the other kernel's.
fn starts_another_kernel(cx: &mut Cx, flavour: &str) -> Result<()> {
    let image = fs::read(Kernel::find(flavour)?.image)?;
    let builder = Driver::Ours
        .builder(cx, flavour)?
        .memory(1536)
        .tool("perl")
        .file("/boot/vmlinuz", &image)
        .file("/second", SECOND);
    let guest = cx.boot(&builder)?;
    Driver::Ours.load(&guest)?;

    // Perl can call what the tools of the guest cannot: kexec_file_load(), and reboot() with its
    // magic numbers. The other kernel tests the timer against a clock that it does not know yet, and
    // on a busy host that may fail.
    guest.sh(
        r#"cd / && find . -xdev ! -path './boot/*' | cpio -o -H newc >/tmp/initrd 2>/dev/null &&
        perl -e 'open(K, "<", "/boot/vmlinuz") && open(I, "<", "/tmp/initrd") or die;
            $line = "console=ttyS0 loglevel=5 panic=-1 nokaslr no_timer_check rdinit=/second\0";
            syscall(320, fileno(K), fileno(I), length($line), $line, 0) == 0 or die "$!"' &&
        [ "$(cat /sys/kernel/kexec_loaded)" = 1 ]"#,
    )?;
    guest.sh(
        "(while :; do cat /dev/hwrng; done) >/dev/null 2>&1 &
         (sleep 1; perl -e 'syscall(169, 0xfee1dead, 672274793, 0x45584543, 0)') >/dev/null 2>&1 &",
    )?;

    ensure!(
        guest.wait_off(2 * PATIENCE)?,
        "the other kernel does not end"
    );
    let log = guest.log();
    for line in ["the other kernel is here", "the other kernel reads"] {
        ensure!(log.contains(line), "the log lacks: {line}");
    }
    Ok(())
}
