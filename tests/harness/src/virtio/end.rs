// SPDX-License-Identifier: GPL-2.0

//! The end of a kernel, while somebody uses a device: what that is left as, and whether another kernel
//! can use it.

use crate::{
    cx::Cx,
    guest::{Builder, Guest},
    kernel::Kernel,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// How long the machine may take to fall asleep, to end, or to begin.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bit of the status that makes a device live.
const DRIVER_OK: u8 = 4;

/// A driver that is used until the end.
pub struct Victim {
    /// The name of its module.
    pub module: &'static str,
    /// A guest that has it, and a device.
    pub builder: Builder,
    /// What fails unless the device works, once the module is loaded.
    pub works: String,
    /// What uses the device, again and again.
    pub uses: String,
}

impl Victim {
    /// Boots a guest, and loads the driver.
    pub fn boot(&self, cx: &mut Cx) -> Result<Arc<Guest>> {
        self.boot_as(cx, &self.builder)
    }

    fn boot_as(&self, cx: &mut Cx, builder: &Builder) -> Result<Arc<Guest>> {
        let guest = cx.boot(builder)?;
        guest.sh(&format!("modprobe {}", self.module))?;
        guest.sh(&self.works)?;
        Ok(guest)
    }

    /// Uses the device from now on, and does something else in a second.
    fn is_used_until(&self, guest: &Guest, end: &str) -> Result<()> {
        guest.sh(&format!(
            "(while :; do {}; done) >/dev/null 2>&1 &
             (sleep 1; {end}) >/dev/null 2>&1 &",
            self.uses
        ))?;
        Ok(())
    }
}

/// Waits for the machine to be in a state of QEMU's.
pub fn wait_for(guest: &Guest, state: &str) -> Result<()> {
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

/// A kernel that ends leaves the device reset, while somebody uses it. One that is cut off does not: so
/// the question is a good one.
pub fn reboots(cx: &mut Cx, victim: &Victim) -> Result<()> {
    for (name, command, live) in [
        ("reboots", "reboot -f", false),
        ("is_cut_off", "echo b >/proc/sysrq-trigger", true),
    ] {
        let guest = victim.boot_as(cx, &victim.builder.clone().name(name))?;
        let address = status_address(&guest)?;
        let before = register(&guest, address)?;
        ensure!(before & DRIVER_OK != 0, "the status is {before:#x}");
        // The machine stops where it would begin anew.
        guest.qmp(
            "set-action",
            json!({ "reboot": "shutdown", "shutdown": "pause" }),
        )?;
        victim.is_used_until(&guest, command)?;
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

/// The first process of the other kernel. The harness sees what it says on the console.
const SECOND: &str = "#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo '<2>the other kernel is here' >/dev/kmsg
modprobe MODULE && (WORKS
) && echo '<2>the other kernel works' >/dev/kmsg
sleep 1
poweroff -f
";

/// How one kernel makes place for another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is asked to, and takes leave of its drivers.
    Kexec,
    /// It crashes, and takes leave of nobody. The other kernel is in memory that was set aside.
    Crash,
}

/// A kernel starts another one in its place while somebody uses the device: no reset of the machine is
/// between them, and the device must not write to memory that is the other kernel's.
pub fn starts_another_kernel(cx: &mut Cx, flavour: &str, victim: &Victim) -> Result<()> {
    changes_kernels(cx, flavour, victim, Change::Kexec)
}

/// The same, in a way.
pub fn changes_kernels(cx: &mut Cx, flavour: &str, victim: &Victim, change: Change) -> Result<()> {
    let image = fs::read(Kernel::find(flavour)?.image)?;
    let second = SECOND
        .replace("MODULE", victim.module)
        .replace("WORKS", &victim.works);
    let builder = match change {
        Change::Kexec => victim.builder.clone().memory(1536),
        Change::Crash => victim
            .builder
            .clone()
            .memory(1536)
            .append("crashkernel=512M"),
    };
    let builder = builder
        .tool("perl")
        .file("/boot/vmlinuz", &image)
        .file("/second", second.as_bytes());
    let guest = victim.boot_as(cx, &builder)?;

    // Perl can call what the tools of the guest cannot: kexec_file_load(), and reboot() with its
    // magic numbers. The other kernel tests the timer against a clock that it does not know yet, and
    // on a busy host that may fail.
    // Drivers that claim nothing by themselves are told to.
    let claim = format!("{}.claim=all", victim.module);
    let (flags, loaded, more) = match change {
        Change::Kexec => ("0", "kexec_loaded", ""),
        Change::Crash => ("2", "kexec_crash_loaded", " nr_cpus=1 reset_devices"),
    };
    guest.sh(&
        r#"cd / && find . -xdev ! -path './boot/*' | cpio -o -H newc >/tmp/initrd 2>/dev/null &&
        perl -e 'open(K, "<", "/boot/vmlinuz") && open(I, "<", "/tmp/initrd") or die;
            $line = "console=ttyS0 loglevel=5 panic=-1 nokaslr no_timer_check rdinit=/second MORE\0";
            syscall(320, fileno(K), fileno(I), length($line), $line, FLAGS) == 0 or die "$!"' &&
        [ "$(cat /sys/kernel/LOADED)" = 1 ]"#
            .replace("MORE", &format!("{claim}{more}"))
            .replace("FLAGS", flags)
            .replace("LOADED", loaded),
    )?;
    victim.is_used_until(
        &guest,
        match change {
            Change::Kexec => "perl -e 'syscall(169, 0xfee1dead, 672274793, 0x45584543, 0)'",
            Change::Crash => "echo c >/proc/sysrq-trigger",
        },
    )?;

    ensure!(
        guest.wait_off(2 * PATIENCE)?,
        "the other kernel does not end"
    );
    let log = guest.log();
    for line in ["the other kernel is here", "the other kernel works"] {
        ensure!(log.contains(line), "the log lacks: {line}");
    }
    if change == Change::Crash {
        guest.excuse(&["Kernel panic - not syncing: sysrq triggered crash"])?;
    }
    Ok(())
}
