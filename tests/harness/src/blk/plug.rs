// SPDX-License-Identifier: GPL-2.0

//! Disks that come and go while they are used: plugged, pulled, unbound, unloaded.

use super::load::{Driver, LIMIT, Load, file, image, waits};
use crate::{
    cx::{Cx, Test},
    guest::{Builder, Guest},
    kernel::STOCK,
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::plug::is_pulled_stock", |cx| {
        is_pulled(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("blk::plug::is_pulled_in_tree", |cx| {
        is_pulled(cx, STOCK, Driver::InTree)
    })
    .limit(200)
    .exhaustive(),
    Test::new("blk::plug::is_mounted_stock", |cx| {
        is_mounted(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("blk::plug::is_mounted_in_tree", |cx| {
        is_mounted(cx, STOCK, Driver::InTree)
    })
    .exhaustive(),
];

/// Where a disk is plugged in.
const PORT: &str = "pcie-root-port,id=slot0,chassis=1,slot=1";

/// How a disk goes.
#[derive(Clone, Copy)]
enum Way {
    /// The guest is asked to let it go.
    Asked,
    /// The guest lets it go by itself.
    Removed,
}

/// How the guest is told of a disk that comes or goes.
struct Form {
    name: &'static str,
    options: &'static [&'static str],
    ways: &'static [(&'static str, Way)],
}

const FORMS: &[Form] = &[
    Form {
        name: "firmware",
        options: &[],
        ways: &[
            ("asked", Way::Asked),
            ("asked_again", Way::Asked),
            ("removed", Way::Removed),
            ("removed_again", Way::Removed),
        ],
    },
    Form {
        name: "port",
        options: &[
            "-global",
            "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off",
        ],
        ways: &[("asked", Way::Asked), ("asked_again", Way::Asked)],
    },
];

/// A guest with a port, into which a disk can be plugged.
struct Bench<'a> {
    guest: &'a Guest,
    driver: Driver,
}

impl Bench<'_> {
    /// Plugs the disk in.
    fn plug(&self) -> Result<()> {
        let device = json!({
            "driver": "virtio-blk-pci", "id": "disk", "drive": "d0", "bus": "slot0", "num-queues": 2,
        });
        // QEMU lets go of the file of a disk somewhat later than of the disk.
        let start = Instant::now();
        while let Err(error) = self.guest.qmp("device_add", device.clone()) {
            ensure!(start.elapsed() < LIMIT, "{error:#}");
            thread::sleep(Duration::from_millis(50));
        }
        self.driver.appears(self.guest)
    }

    /// Takes the disk away from those who use it, and waits until all have noticed.
    fn take(&self, way: Way) -> Result<()> {
        let disk = self.driver.disk();
        let load = Load::start(self.guest, &format!("/dev/{disk}"), disk)?;
        self.guest.sh(&format!(
            "rm -f /tmp/wrong
             for i in 1 2 3; do
                 (while dd if=/dev/{disk} of=/tmp/back$i bs=64k skip=512 count=32 iflag=direct &&
                      [ -s /tmp/back$i ]; do
                      cmp -n $(stat -c %s /tmp/back$i) /tmp/data /tmp/back$i || touch /tmp/wrong
                  done) >/dev/null 2>&1 &
             done"
        ))?;
        let device = self
            .guest
            .sh(&format!("realpath /sys/block/{disk}/device/.."))?;
        let device = device.trim();
        match way {
            Way::Asked => self
                .guest
                .qmp("device_del", json!({ "id": "disk" }))
                .map(|_| ())?,
            Way::Removed => self.remove(device)?,
        }
        load.fails()?;
        self.guest.sh("wait; [ ! -e /tmp/wrong ]")?;
        waits(self.guest, &format!("[ ! -e /sys/block/{disk} ]"))?;
        let start = Instant::now();
        while !matches!(way, Way::Removed) && self.is_plugged()? {
            ensure!(start.elapsed() < LIMIT, "QEMU keeps the device");
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// Lets the guest let go of a device.
    fn remove(&self, device: &str) -> Result<()> {
        let said = self
            .guest
            .run_within(&format!("echo 1 >{device}/remove"), LIMIT)?;
        ensure!(said.status == 0, "it is not removed: {}", said.text);
        Ok(())
    }

    fn is_plugged(&self) -> Result<bool> {
        let said = self
            .guest
            .qmp("qom-list", json!({ "path": "/machine/peripheral" }))?;
        let devices = said.as_array().context("QEMU has no devices")?;
        Ok(devices.iter().any(|device| device["name"] == "disk"))
    }
}

fn builder(cx: &Cx, flavour: &str, driver: Driver, scratch: &Scratch) -> Result<Builder> {
    let builder = driver.builder(cx, flavour)?.device(PORT);
    Ok(file(builder, &image(scratch.path())?, ""))
}

/// A disk is plugged in and goes in every way, while somebody uses it, who gets errors. What was
/// written stays; in the end there is nothing to keep the driver.
fn is_pulled(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    for form in FORMS {
        let scratch = Scratch::new()?;
        let builder = builder(cx, flavour, driver, &scratch)?
            .name(form.name)
            .qemu(form.options);
        let guest = cx.boot(&builder)?;
        let bench = Bench {
            guest: &guest,
            driver,
        };
        let disk = driver.disk();
        guest.sh(&format!("modprobe {}", driver.module()))?;
        bench.plug()?;
        guest.sh(&format!(
            "dd if=/dev/urandom of=/tmp/data bs=1M count=2 2>/dev/null
             dd if=/tmp/data of=/dev/{disk} bs=1M seek=32 oflag=direct 2>/dev/null"
        ))?;
        for (name, way) in form.ways {
            cx.case(&format!("{}/{name}", form.name), |_| {
                bench.take(*way)?;
                match way {
                    Way::Removed => guest.sh("echo 1 >/sys/bus/pci/rescan").map(|_| ())?,
                    Way::Asked => bench.plug()?,
                }
                driver.appears(&guest)?;
                guest.sh(&format!(
                    "dd if=/dev/{disk} of=/tmp/back bs=1M skip=32 count=2 iflag=direct 2>/dev/null
                     cmp /tmp/data /tmp/back"
                ))?;
                Ok(())
            });
        }
        driver.unload(&guest)?;
        cx.end(&guest)?;
    }
    Ok(())
}

/// A disk that has a mounted filesystem keeps the driver, but can be unbound; the filesystem comes
/// back with the disk.
fn is_mounted(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = builder(cx, flavour, driver, &scratch)?
        .device("virtio-blk-pci,drive=d0,num-queues=2")
        .tool("mke2fs");
    let builder = match flavour {
        STOCK => builder.kernel_module("ext4"),
        _ => builder,
    };
    let guest = cx.boot(&builder)?;
    driver.load(&guest)?;
    let (module, disk) = (driver.module(), driver.disk());
    let mount = format!("mount -t ext4 /dev/{disk} /mnt");
    guest.sh(&format!(
        "modprobe ext4; mke2fs -q -t ext4 /dev/{disk} && {mount} &&
         dd if=/dev/urandom of=/tmp/data bs=1M count=2 2>/dev/null && cp /tmp/data /mnt/kept && sync"
    ))?;

    cx.case("module_stays", |_| {
        guest.sh(&format!(
            "rmmod {module} 2>/dev/null && exit 1; cmp /tmp/data /mnt/kept"
        ))?;
        guest.sh("umount /mnt")?;
        driver.unload(&guest)?;
        driver.load(&guest)?;
        guest.sh(&mount)?;
        Ok(())
    });
    cx.case("is_unbound", |_| {
        guest.sh("dd if=/dev/zero of=/mnt/load bs=1M count=16 2>/dev/null; sync")?;
        let load = Load::start(&guest, "/mnt/load", disk)?;
        let said = guest.run_within(
            &format!("cd /sys/bus/virtio/drivers/{module}; echo virtio0 >unbind"),
            LIMIT,
        )?;
        ensure!(said.status == 0, "it is not unbound: {}", said.text);
        load.fails()?;
        guest.sh(&format!(
            "[ ! -e /dev/{disk} ] && umount /mnt || exit
             echo virtio0 >/sys/bus/virtio/drivers/{module}/bind && {mount} &&
             cmp /tmp/data /mnt/kept && umount /mnt"
        ))?;
        Ok(())
    });
    driver.unload(&guest)?;
    cx.end(&guest)
}
