// SPDX-License-Identifier: GPL-2.0

//! What was written is read back, on every form of the device.

use super::driver::{Driver, OURS};
use crate::{
    cx::Cx,
    guest::{Builder, Guest},
    kernel::{DEBUG, STOCK},
    paths::Scratch,
};
use anyhow::{Result, ensure};
use std::{fs::File, path::Path};

/// The size of a disk.
const MIB: u64 = 64;

/// A form of the device.
struct Form {
    name: &'static str,
    options: &'static str,
}

const FORMS: &[Form] = &[
    Form {
        name: "transitional",
        options: "",
    },
    Form {
        name: "modern",
        options: ",disable-legacy=on,num-queues=2",
    },
    Form {
        name: "legacy",
        options: ",disable-modern=on,disable-legacy=off",
    },
    Form {
        name: "packed",
        options: ",packed=on",
    },
    Form {
        name: "in_order",
        options: ",in_order=on",
    },
    Form {
        name: "plain_ring",
        options: ",indirect_desc=off,event_idx=off,queue-size=64",
    },
    Form {
        name: "large_blocks",
        options: ",logical_block_size=4096,physical_block_size=4096,write-cache=on",
    },
];

/// What fio does: how it asks for requests, and how many at once.
const ENGINES: &[(&str, &str)] = &[
    ("psync", "--ioengine=psync"),
    ("libaio", "--ioengine=libaio --iodepth=32"),
    (
        "io_uring",
        "--ioengine=io_uring --iodepth=32 --numjobs=2 --offset_increment=16m",
    ),
];

/// Adds a disk with a file of the host.
pub fn disk(builder: Builder, directory: &Path, index: usize, options: &str) -> Result<Builder> {
    let path = directory.join(format!("disk{index}"));
    File::create(&path)?.set_len(MIB << 20)?;
    Ok(image(builder, &path, index, options))
}

/// Adds a disk with a file of the host that is there.
pub fn image(builder: Builder, path: &Path, index: usize, options: &str) -> Builder {
    builder
        .qemu(&[
            "-blockdev",
            &format!(
                "driver=file,filename={},node-name=d{index},discard=unmap,locking=off",
                path.display()
            ),
        ])
        .device(&format!(
            "virtio-blk-pci,drive=d{index},serial=serial{index}{options}"
        ))
}

fn builder(cx: &Cx, flavour: &str) -> Result<Builder> {
    let builder = cx.kernel(flavour)?.module("virtio_blk_rs")?;
    Ok(builder.tool("fio").tool("blkdiscard"))
}

pub fn is_kept_stock(cx: &mut Cx) -> Result<()> {
    is_kept(cx, &OURS, STOCK, 16)
}

pub fn is_kept_debug(cx: &mut Cx) -> Result<()> {
    is_kept(cx, &OURS, DEBUG, 2)
}

/// Writes and reads back on disks of each form, `mib` at a time.
pub fn is_kept(cx: &mut Cx, driver: &Driver, flavour: &str, mib: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = driver.builder(cx, flavour)?;
    let mut builder = builder.tool("fio").tool("blkdiscard");
    for (index, form) in FORMS.iter().enumerate() {
        builder = disk(builder, scratch.path(), index, form.options)?;
    }
    let guest = cx.boot(&builder)?;
    driver.load(&guest, "", FORMS.len())?;

    for (index, form) in FORMS.iter().enumerate() {
        let disk = driver.disk(index);
        for (engine, options) in ENGINES {
            cx.case(&format!("{}/{engine}", form.name), |_| {
                verifies(&guest, &disk, options, mib)
            });
        }
        cx.case(&format!("{}/attributes", form.name), |_| {
            has_attributes(&guest, driver, index)
        });
        cx.case(&format!("{}/discards", form.name), |_| {
            discards(&guest, &disk)
        });
    }
    guest.sh(&format!(
        "rmmod {} && [ ! -e /sys/block/{} ]",
        driver.module,
        driver.disk(0)
    ))?;
    cx.end(&guest)
}

/// Has fio write, read back, and compare.
pub fn verifies(guest: &Guest, disk: &str, options: &str, mib: u32) -> Result<()> {
    guest.sh(&format!(
        "fio --name=verify --filename=/dev/{disk} --direct=1 {options} --rw=randwrite \
         --bsrange=4k-128k --size={mib}m --verify=crc32c --verify_fatal=1 >/tmp/fio 2>&1 ||
         {{ cat /tmp/fio; exit 1; }}"
    ))?;
    Ok(())
}

fn has_attributes(guest: &Guest, driver: &Driver, index: usize) -> Result<()> {
    let disk = driver.disk(index);
    let said = guest.sh(&format!(
        "cd /sys/block/{disk} && cat serial && echo && cat size queue/rotational"
    ))?;
    let sectors = MIB << 11;
    ensure!(
        said == format!("serial{index}\n{sectors}\n{}\n", driver.rotational()),
        "the guest says {said}"
    );
    guest.sh(&format!(
        "cd /sys/block/{disk}
         for i in 'write through' 'write back'; do
             echo $i >cache_type && [ \"$(cat cache_type)\" = \"$i\" ] &&
                 [ \"$(cat queue/write_cache)\" = \"$i\" ] || exit
         done"
    ))?;
    Ok(())
}

/// What is discarded, or zeroed, reads as zeroes from a file.
fn discards(guest: &Guest, disk: &str) -> Result<()> {
    let said = guest.sh(&format!(
        "tr '\\0' x </dev/zero | dd of=/dev/{disk} bs=1M count=4 iflag=fullblock oflag=direct 2>/dev/null
         blkdiscard --offset 1048576 --length 1048576 /dev/{disk} &&
         blkdiscard --zeroout --offset 2097152 --length 1048576 /dev/{disk} &&
         dd if=/dev/{disk} bs=1M count=4 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c"
    ))?;
    ensure!(said == format!("{}\n", 2 << 20), "the guest says {said}");
    Ok(())
}

pub fn survives_rebinds_stock(cx: &mut Cx) -> Result<()> {
    survives_rebinds(cx, STOCK, 50)
}

pub fn survives_rebinds_debug(cx: &mut Cx) -> Result<()> {
    survives_rebinds(cx, DEBUG, 10)
}

/// The driver comes and goes while somebody reads and writes; what was synchronized stays.
fn survives_rebinds(cx: &mut Cx, flavour: &str, rounds: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = disk(builder(cx, flavour)?, scratch.path(), 0, ",num-queues=2")?;
    // That of busybox makes a file where there is no disk, and goes on for ever.
    let guest = cx.boot(&builder.tool("dd"))?;

    guest.sh(&format!(
        "modprobe virtio_blk_rs && cd /sys/bus/virtio/drivers/virtio_blk_rs
         dd if=/dev/urandom of=/tmp/data bs=1M count=4 2>/dev/null
         dd if=/tmp/data of=/dev/vdaaa bs=1M oflag=direct 2>/dev/null || exit
         for i in $(seq {rounds}); do
             (while cat /dev/vdaaa >/dev/null 2>&1; do :; done) &
             (while dd if=/dev/zero of=/dev/vdaaa bs=4k seek=4096 count=64 oflag=direct \
                       conv=notrunc,nocreat 2>/dev/null
              do :; done) &
             usleep 50000
             echo virtio0 >unbind || exit
             kill %1 2>/dev/null; kill %2 2>/dev/null
             wait
             echo virtio0 >bind || exit
             cmp -n 4194304 /tmp/data /dev/vdaaa || exit
         done"
    ))?;
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}
