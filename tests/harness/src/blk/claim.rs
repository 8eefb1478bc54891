// SPDX-License-Identifier: GPL-2.0

//! Which devices the driver takes, beside the kernel's own driver.

use super::data;
use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
};
use anyhow::{Result, ensure};

const OURS: &str = "virtio_blk_rs";
const IN_TREE: &str = "virtio_blk";

/// What is claimed of three disks, at 0000:00:10.0, 11.0 and 12.0, with serial numbers from serial0
/// to serial2; and which of them the driver has, before the kernel's own driver is loaded and gets
/// the others.
struct Case {
    name: &'static str,
    claim: &'static str,
    ours: [bool; 3],
}

const CASES: &[Case] = &[
    Case {
        name: "default",
        claim: "",
        ours: [false, false, false],
    },
    Case {
        name: "none",
        claim: "claim=none",
        ours: [false, false, false],
    },
    Case {
        name: "all",
        claim: "claim=all",
        ours: [true, true, true],
    },
    Case {
        name: "address",
        claim: "claim=0000:00:11.0",
        ours: [false, true, false],
    },
    Case {
        name: "addresses",
        claim: "claim=0000:00:12.0,0000:00:10.0,0000:00:13.0",
        ours: [true, false, true],
    },
    Case {
        name: "serial",
        claim: "claim=serial:serial2",
        ours: [false, false, true],
    },
    Case {
        name: "address_and_serial",
        claim: "claim=0000:00:10.0,serial:serial1,serial:serial",
        ours: [true, true, false],
    },
    Case {
        name: "no_such",
        claim: "claim=0000:00:1,serial:erial0,mac:serial0",
        ours: [false, false, false],
    },
];

/// What the parameter cannot be.
const WRONG: &[&str] = &["claim=", "claim=all,", "claim=,all", "claim"];

pub fn is_heeded_stock(cx: &mut Cx) -> Result<()> {
    is_heeded(cx, STOCK)
}

pub fn is_heeded_debug(cx: &mut Cx) -> Result<()> {
    is_heeded(cx, DEBUG)
}

fn is_heeded(cx: &mut Cx, flavour: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = cx.kernel(flavour)?.module_as_is(OURS)?;
    let mut builder = builder.kernel_module(IN_TREE);
    for index in 0..3 {
        let options = format!(",addr=1{index}");
        builder = data::disk(builder, scratch.path(), index, &options)?;
    }
    let guest = cx.boot(&builder)?;

    for case in CASES {
        cx.case(case.name, |_| takes(&guest, case));
    }
    cx.case("wrong", |_| {
        for wrong in WRONG {
            let output = guest.run(&format!("modprobe {OURS} {wrong} 2>&1"))?;
            ensure!(output.status != 0, "the module loads with {wrong}");
        }
        Ok(())
    });
    cx.case("too_late", |_| moves_nothing(&guest));
    cx.end(&guest)
}

/// Returns the drivers of the disks.
fn drivers(guest: &Guest) -> Result<String> {
    guest.sh("for i in 0 1 2; do
             driver=$(readlink /sys/bus/virtio/devices/virtio$i/driver)
             echo ${driver##*/}
         done")
}

/// Reads a block of each disk, whoever drives it.
fn all_can_be_read(guest: &Guest) -> Result<()> {
    guest.sh("n=0
         for i in /sys/bus/virtio/devices/virtio?/block/*; do
             dd if=/dev/${i##*/} of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null || exit
             n=$((n + 1))
         done
         [ $n = 3 ]")?;
    Ok(())
}

fn takes(guest: &Guest, case: &Case) -> Result<()> {
    let with = |other: &str| -> String {
        let driver = |ours: &bool| format!("{}\n", if *ours { OURS } else { other });
        case.ours.iter().map(driver).collect()
    };
    guest.sh(&format!("modprobe {OURS} {}", case.claim))?;
    let alone = drivers(guest)?;
    guest.sh(&format!("modprobe {IN_TREE}"))?;
    let both = drivers(guest)?;
    let read = all_can_be_read(guest);
    guest.sh(&format!("rmmod {OURS} {IN_TREE}"))?;

    ensure!(alone == with(""), "alone, the drivers are {alone:?}");
    ensure!(both == with(IN_TREE), "the drivers are {both:?}");
    read
}

/// A device that has a driver stays there, whatever is claimed, until it is moved.
fn moves_nothing(guest: &Guest) -> Result<()> {
    guest.sh(&format!("modprobe {IN_TREE} && modprobe {OURS} claim=all"))?;
    let before = drivers(guest)?;
    guest.sh(&format!(
        "cd /sys/bus/virtio/drivers &&
         echo virtio1 >{IN_TREE}/unbind && echo virtio1 >{OURS}/bind"
    ))?;
    let after = drivers(guest)?;
    let read = all_can_be_read(guest);
    guest.sh(&format!("rmmod {OURS} {IN_TREE}"))?;

    ensure!(
        before == format!("{IN_TREE}\n{IN_TREE}\n{IN_TREE}\n"),
        "the drivers are {before:?}"
    );
    ensure!(
        after == format!("{IN_TREE}\n{OURS}\n{IN_TREE}\n"),
        "after one was moved, the drivers are {after:?}"
    );
    read
}
