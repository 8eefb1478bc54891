// SPDX-License-Identifier: GPL-2.0

//! A disk in the process of the hypervisor, with a thread of its own, and one in a process beside it: the
//! same is done with both, by both drivers; and what a request costs is counted on both sides.

use super::others::keeps_data;
use crate::{
    backend::{
        Backend,
        handle::{number, sum},
    },
    bench::{COUNTS_KICKS, PROBE_KICKS},
    blk::{
        driver::{Driver, IN_TREE, RENAMED},
        traffic::{self, Traffic},
    },
    cx::Cx,
    guest::Guest,
    kernel::STOCK,
    paths::Scratch,
};
use anyhow::{Result, ensure};
use std::fs::File;

/// The size of the disks, in MiB.
const MIB: u64 = 64;

/// A disk of QEMU, and one of the backend, by their slots on the bus.
const QEMU: u32 = 0x10;
const BACKEND: u32 = 0x11;

/// How requests come.
const WAYS: [(&str, &str); 2] = [("1", "--iodepth=1"), ("32", "--iodepth=32")];

/// Either disk keeps data, with either driver; then requests are counted.
pub fn are_counted(cx: &mut Cx) -> Result<()> {
    let scratch = Scratch::new()?;
    let image = |name: &str| {
        let path = scratch.path().join(name);
        File::create(&path)?.set_len(MIB << 20)?;
        anyhow::Ok(path)
    };
    let (there, beside) = (image("qemu")?, image("backend")?);
    let file = format!("driver=file,node-name=file,filename={}", there.display());
    let spec = format!("file={},queues=2", beside.display());
    let backend = cx.backend(&[("disk", &spec)])?;
    let builder = RENAMED
        .builder(cx, STOCK)?
        .kernel_module(IN_TREE.module)
        .tool("fio")
        .memory(512)
        .qemu(&["-blockdev", &file, "-object", "iothread,id=thread"])
        .device(&format!(
            "virtio-blk-pci,drive=file,iothread=thread,num-queues=2,addr={QEMU:#x}"
        ));
    let options = format!("num-queues=2,addr={BACKEND:#x}");
    let guest = cx.boot(&backend.attach(builder, "disk", &options))?;
    guest.sh(&format!(
        "{PROBE_KICKS} && echo 1 >{COUNTS_KICKS} && echo 0 >/sys/bus/virtio/drivers_autoprobe"
    ))?;

    for (device, slot) in [("qemu", QEMU), ("backend", BACKEND)] {
        for (name, driver) in [("in_tree", &IN_TREE), ("ours", &RENAMED)] {
            cx.case(&format!("{device}/{name}/data"), |_| {
                has_data(&guest, driver, slot)
            });
            cx.case(&format!("{device}/{name}/requests"), |cx| {
                for (depth, options) in WAYS {
                    let before = backend.counters("disk")?;
                    let traffic = traffic::run(&guest, driver, slot, options)?;
                    let name = name.replace('_', "-");
                    let mut said = format!(
                        "{device}, {name}, {depth} at once: {:.2} kicks, {:.2} interrupts for a request",
                        traffic.kicks, traffic.interrupts
                    );
                    if slot == BACKEND {
                        said += &served(&backend, &before, traffic)?;
                    }
                    cx.say(&said);
                }
                Ok(())
            });
        }
    }
    cx.end(&guest)
}

/// Writes to the disk in a slot, reads again, and compares, with a driver.
fn has_data(guest: &Guest, driver: &Driver, slot: u32) -> Result<()> {
    let (module, disk) = (driver.module, driver.disk(0));
    let parameters = driver.parameters();
    guest.sh(&format!(
        "modprobe {module} {parameters} && cd /sys/bus/virtio/drivers/{module} &&
         basename /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio* >bind &&
         until [ -b /dev/{disk} ]; do usleep 10000; done"
    ))?;
    keeps_data(guest, &disk)?;
    guest.sh(&format!("rmmod {module}"))?;
    Ok(())
}

/// Says what the backend has counted since, in which nothing was copied.
fn served(backend: &Backend, before: &serde_json::Value, traffic: Traffic) -> Result<String> {
    let after = backend.counters("disk")?;
    let since = |count: fn(&serde_json::Value) -> u64| count(&after) - count(before);
    let of = |counters: &serde_json::Value, name: &str| {
        number(&counters["class"], name).unwrap_or_default()
    };
    let requests = u32::try_from(since(|counters| sum(counters, "returned")))?;
    let each =
        |count: u64| u32::try_from(count).map(|count| f64::from(count) / f64::from(requests));
    let kicks = each(since(|counters| sum(counters, "kicks")))?;
    let calls = each(since(|counters| sum(counters, "calls")))?;
    // An event that has not been taken yet takes the next one with it. The backend has also seen the few
    // requests by which the kernel looks for partitions.
    ensure!(kicks <= traffic.kicks + 0.02, "{kicks} of {traffic:?}");
    ensure!(calls >= traffic.interrupts - 0.02, "{calls} of {traffic:?}");
    let read = of(&after, "bytes_read") - of(before, "bytes_read");
    ensure!(read > 1 << 20, "{read} bytes were read");
    let copied = of(&after, "bytes_copied") - of(before, "bytes_copied");
    let way = if after["class"]["uring"].is_null() {
        "without io_uring, which the host has not"
    } else {
        ensure!(
            copied == 0,
            "{copied} of {read} bytes were copied: {after:#}"
        );
        "by io_uring"
    };
    Ok(format!(
        "; {kicks:.2} and {calls:.2} by the backend's count, {copied} of {read} bytes copied, {way}"
    ))
}
