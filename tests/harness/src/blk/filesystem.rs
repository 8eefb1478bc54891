// SPDX-License-Identifier: GPL-2.0

//! File systems: what programs do with files, on a disk of the driver, is there afterwards, and the
//! file system is in order.

use super::{data::image, driver::OURS};
use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::{self, Scratch},
};
use anyhow::{Context, Result, ensure};
use std::fs::File;

/// The size of a disk, in bytes: XFS is not made on less than 300 MB.
const SIZE: u64 = 400 << 20;

/// A file system, and how it is made and looked at.
struct Kind {
    name: &'static str,
    make: &'static str,
    check: &'static str,
}

const KINDS: [Kind; 2] = [
    Kind {
        name: "ext4",
        make: "mkfs.ext4 -q -F",
        check: "e2fsck -f -n",
    },
    Kind {
        name: "xfs",
        make: "mkfs.xfs -q -f",
        check: "xfs_repair -n",
    },
];

/// Forms of the device.
const FORMS: [(&str, &str); 4] = [
    ("split", ",num-queues=2"),
    ("packed", ",packed=on,num-queues=2"),
    ("small_ring", ",queue-size=32,indirect_desc=off"),
    (
        "large_blocks",
        ",logical_block_size=4096,physical_block_size=4096",
    ),
];

pub fn are_kept_stock(cx: &mut Cx) -> Result<()> {
    are_kept(cx, STOCK, &[(0, 0), (1, 1)], 600)
}

pub fn are_kept_debug(cx: &mut Cx) -> Result<()> {
    are_kept(cx, DEBUG, &[(0, 1), (1, 0)], 100)
}

/// Every file system on every form.
const ALL: [(usize, usize); 8] = [
    (0, 0),
    (0, 1),
    (0, 2),
    (0, 3),
    (1, 0),
    (1, 1),
    (1, 2),
    (1, 3),
];

pub fn are_kept_everywhere_stock(cx: &mut Cx) -> Result<()> {
    are_kept(cx, STOCK, &ALL, 8000)
}

pub fn are_kept_everywhere_debug(cx: &mut Cx) -> Result<()> {
    are_kept(cx, DEBUG, &ALL, 1500)
}

/// Does so many steps of work for each combination of a file system and a form, by their numbers.
fn are_kept(cx: &mut Cx, flavour: &str, which: &[(usize, usize)], steps: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let filework = paths::built("filework")?;
    let filework = filework.to_str().context("an odd path")?;
    let mut builder = OURS
        .builder(cx, flavour)?
        .kernel_module("ext4")
        .kernel_module("xfs")
        .tool("mkfs.ext4")
        .tool("e2fsck")
        .tool("mkfs.xfs")
        .tool("xfs_repair")
        .tool(filework)
        .memory(1024);
    for (index, (_, form)) in which.iter().enumerate() {
        let path = scratch.path().join(format!("disk{index}"));
        File::create(&path)?.set_len(SIZE)?;
        builder = image(builder, &path, index, FORMS[*form].1);
    }
    let guest = cx.boot(&builder)?;
    OURS.load(&guest, "", which.len())?;
    for (index, (kind, form)) in which.iter().enumerate() {
        let (kind, form) = (&KINDS[*kind], FORMS[*form].0);
        cx.case(&format!("{}/{form}", kind.name), |_| {
            is_kept(&guest, &OURS.disk(index), kind, steps)
        });
    }
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}

/// Makes a file system, works on it, and looks at it again after it was unmounted.
fn is_kept(guest: &Guest, disk: &str, kind: &Kind, steps: u32) -> Result<()> {
    let Kind { name, make, check } = kind;
    let mount = format!("modprobe {name}; mount -t {name} -o discard /dev/{disk} /mnt");
    let sums = "cd /mnt && find . -type f | sort | xargs sha256sum";
    guest.sh(&format!(
        "{make} /dev/{disk} && {mount} &&
         filework --workers 3 --steps {steps} /mnt"
    ))?;
    let before = guest.sh(sums)?;
    let files = before.lines().count();
    ensure!(files > 30, "there are only {files} files");
    let checked = guest.run(&format!("umount /mnt && {check} /dev/{disk} 2>&1"))?;
    ensure!(
        checked.status == 0,
        "{check} ends with {}: {}",
        checked.status,
        checked.text
    );
    guest.sh(&mount)?;
    let after = guest.sh(sums)?;
    ensure!(
        before == after,
        "the files have changed, from\n{before}\nto\n{after}"
    );
    guest.sh(&format!(
        "umount /mnt && {check} /dev/{disk} >/dev/null 2>&1"
    ))?;
    Ok(())
}
