// SPDX-License-Identifier: GPL-2.0

//! Each feature of the device, with it and without: it is negotiated or not, data is kept, and what
//! follows from it is there or not.

use super::{
    data::{disk, verifies},
    driver::OURS,
};
use crate::{
    cx::Cx,
    form::{EVENT_IDX, Form, IN_ORDER, INDIRECT, Negotiated, PACKED, VERSION_1},
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::{fs::File, io::Read, os::unix::fs::MetadataExt, path::Path};

/// The bits of features of a disk, as the specification has them.
const FLUSH: usize = 9;
const CONFIG_WCE: usize = 11;
const MQ: usize = 12;
const DISCARD: usize = 13;
const WRITE_ZEROES: usize = 14;

/// The default comes first.
const FORMS: &[Form] = &[
    Form {
        name: "default",
        options: "",
        with: &[
            FLUSH,
            CONFIG_WCE,
            MQ,
            DISCARD,
            WRITE_ZEROES,
            INDIRECT,
            EVENT_IDX,
            VERSION_1,
        ],
        without: &[PACKED, IN_ORDER],
    },
    Form {
        name: "packed",
        options: ",packed=on",
        with: &[PACKED, INDIRECT, EVENT_IDX],
        without: &[IN_ORDER],
    },
    Form {
        name: "packed_without_events",
        options: ",packed=on,event_idx=off",
        with: &[PACKED, INDIRECT],
        without: &[EVENT_IDX],
    },
    Form {
        name: "packed_without_tables",
        options: ",packed=on,indirect_desc=off",
        with: &[PACKED, EVENT_IDX],
        without: &[INDIRECT],
    },
    Form {
        name: "packed_in_order",
        options: ",packed=on,in_order=on",
        with: &[PACKED],
        without: &[IN_ORDER],
    },
    Form {
        name: "in_order",
        options: ",in_order=on",
        with: &[],
        without: &[PACKED, IN_ORDER],
    },
    Form {
        name: "without_events",
        options: ",event_idx=off",
        with: &[INDIRECT],
        without: &[EVENT_IDX],
    },
    Form {
        name: "without_tables",
        options: ",indirect_desc=off",
        with: &[EVENT_IDX],
        without: &[INDIRECT],
    },
    Form {
        name: "without_discard",
        options: ",discard=off",
        with: &[WRITE_ZEROES],
        without: &[DISCARD],
    },
    Form {
        name: "without_zeroes",
        options: ",write-zeroes=off",
        with: &[DISCARD],
        without: &[WRITE_ZEROES],
    },
    Form {
        name: "without_mode",
        options: ",config-wce=off",
        with: &[FLUSH],
        without: &[CONFIG_WCE],
    },
    Form {
        name: "one_queue",
        options: ",num-queues=1",
        with: &[FLUSH],
        without: &[MQ],
    },
    Form {
        name: "four_queues",
        options: ",num-queues=4",
        with: &[MQ],
        without: &[],
    },
    Form {
        name: "no_vectors",
        options: ",vectors=0",
        with: &[MQ],
        without: &[],
    },
    Form {
        name: "shared_vectors",
        options: ",vectors=2,num-queues=4",
        with: &[MQ],
        without: &[],
    },
    Form {
        name: "smallest_ring",
        options: ",queue-size=4,seg-max-adjust=on",
        with: &[INDIRECT],
        without: &[],
    },
    Form {
        name: "largest_ring",
        options: ",queue-size=1024",
        with: &[INDIRECT],
        without: &[],
    },
    Form {
        name: "iommu",
        options: ",disable-legacy=on,iommu_platform=on,page-per-vq=on",
        with: &[VERSION_1, 33],
        without: &[],
    },
    Form {
        name: "legacy",
        options: ",disable-modern=on,disable-legacy=off",
        with: &[FLUSH, MQ, DISCARD],
        without: &[VERSION_1, PACKED],
    },
    Form {
        name: "large_blocks",
        options: ",logical_block_size=4096,physical_block_size=4096",
        with: &[MQ],
        without: &[],
    },
];

pub fn work_with_and_without_stock(cx: &mut Cx) -> Result<()> {
    work_with_and_without(cx, STOCK)
}

pub fn work_with_and_without_debug(cx: &mut Cx) -> Result<()> {
    work_with_and_without(cx, DEBUG)
}

fn work_with_and_without(cx: &mut Cx, flavour: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = OURS.builder(cx, flavour)?.tool("fio").tool("blkdiscard");
    let mut builder = builder.cpus(4);
    for (index, form) in FORMS.iter().enumerate() {
        builder = disk(builder, scratch.path(), index, form.options)?;
    }
    let guest = cx.boot(&builder)?;
    OURS.load(&guest, "", FORMS.len())?;
    for (index, form) in FORMS.iter().enumerate() {
        cx.case(form.name, |_| works(&guest, index, form));
    }
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}

fn works(guest: &Guest, index: usize, form: &Form) -> Result<()> {
    let disk = OURS.disk(index);
    let negotiated = Negotiated::read(guest, &format!("/sys/block/{disk}/device"))?;
    negotiated.check(form)?;
    let has = |bit: usize| negotiated.has(bit);
    let options = "--ioengine=libaio --iodepth=16 --numjobs=2 --offset_increment=8m";
    verifies(guest, &disk, options, 4)?;

    let limit = |name: &str| -> Result<bool> {
        let text = guest.sh(&format!("cat /sys/block/{disk}/queue/{name}"))?;
        Ok(text.trim().parse::<u64>()? > 0)
    };
    ensure!(limit("discard_max_bytes")? == has(DISCARD), "discards");
    ensure!(
        limit("write_zeroes_max_bytes")? == has(WRITE_ZEROES),
        "zeroes"
    );
    let discard = guest.run(&format!("blkdiscard -l 1M /dev/{disk} 2>&1"))?;
    ensure!(
        (discard.status == 0) == has(DISCARD),
        "blkdiscard ends with {}: {}",
        discard.status,
        discard.text
    );
    // Without the feature, the kernel writes zeroes itself.
    let zeroes = guest.sh(&format!(
        "dd if=/dev/urandom of=/dev/{disk} bs=64k count=16 oflag=direct 2>/dev/null &&
         blkdiscard --zeroout -l 1M /dev/{disk} &&
         dd if=/dev/{disk} bs=64k count=16 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c"
    ))?;
    ensure!(zeroes == "0\n", "{zeroes} bytes are left");
    let mode = guest.run(&format!(
        "echo write through 2>/dev/null >/sys/block/{disk}/cache_type"
    ))?;
    ensure!(
        (mode.status == 0) == has(CONFIG_WCE),
        "the mode is written with status {}",
        mode.status
    );
    Ok(())
}

/// How large the parts of the image are.
const PART: usize = 1 << 20;

pub fn arrive_stock(cx: &mut Cx) -> Result<()> {
    arrive(cx, STOCK)
}

pub fn arrive_debug(cx: &mut Cx) -> Result<()> {
    arrive(cx, DEBUG)
}

/// What the guest discards, zeroes, and flushes is seen on the host.
fn arrive(cx: &mut Cx, flavour: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = OURS.builder(cx, flavour)?.tool("blkdiscard").tool("fio");
    let builder = disk(builder, scratch.path(), 0, "")?;
    let guest = cx.boot(&disk(builder, scratch.path(), 1, ",packed=on")?)?;
    OURS.load(&guest, "", 2)?;
    for (index, name) in ["split", "packed"].into_iter().enumerate() {
        let (disk, image) = (
            OURS.disk(index),
            scratch.path().join(format!("disk{index}")),
        );
        cx.case(&format!("{name}/discards_and_zeroes"), |_| {
            reaches_the_image(&guest, &disk, &image)
        });
        cx.case(&format!("{name}/flushes"), |_| {
            reaches_the_device(&guest, &disk, index)
        });
    }
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}

/// Of four parts, one is discarded, one is zeroed, and one is zeroed and must stay allocated.
fn reaches_the_image(guest: &Guest, disk: &str, image: &Path) -> Result<()> {
    guest.sh(&format!(
        "tr '\\0' x </dev/zero | dd of=/dev/{disk} bs=1M count=4 iflag=fullblock oflag=direct 2>/dev/null
         sync"
    ))?;
    let full = std::fs::metadata(image)?.blocks();
    guest.sh(&format!(
        "blkdiscard --offset 1M --length 1M /dev/{disk} &&
         blkdiscard --zeroout --offset 2M --length 1M /dev/{disk} && sync"
    ))?;
    let mut content = vec![0; 4 * PART];
    File::open(image)?.read_exact(&mut content)?;
    for (part, wanted) in [b'x', 0, 0, b'x'].into_iter().enumerate() {
        let bytes = &content[part * PART..(part + 1) * PART];
        let wrong = bytes.iter().filter(|byte| **byte != wanted).count();
        ensure!(wrong == 0, "{wrong} bytes of part {part} are wrong");
    }
    // In units of 512 bytes: at least the discarded part needs no place any more.
    let freed = full.saturating_sub(std::fs::metadata(image)?.blocks());
    ensure!(freed >= 2048, "{freed} sectors of the image are freed");
    Ok(())
}

/// Returns how often QEMU was asked to flush a device.
fn flushes(guest: &Guest, index: usize) -> Result<u64> {
    let stats = guest.qmp("query-blockstats", json!({}))?;
    let node = format!("d{index}");
    let Some(device) = stats
        .as_array()
        .into_iter()
        .flatten()
        .find(|device| device["node-name"] == node)
    else {
        bail!("there is no {node}: {stats:#}");
    };
    let count = &device["stats"]["flush_operations"];
    count.as_u64().context("no counter of flushes")
}

/// A write back cache is flushed when somebody asks for it, one that writes through is not.
fn reaches_the_device(guest: &Guest, disk: &str, index: usize) -> Result<()> {
    let mode = |mode: &str| guest.sh(&format!("echo {mode} >/sys/block/{disk}/cache_type"));
    let write = |flags: &str| {
        guest.sh(&format!(
            "dd if=/dev/zero of=/dev/{disk} bs=4k count=3 oflag=direct {flags} 2>/dev/null"
        ))
    };
    mode("write back")?;
    let before = flushes(guest, index)?;
    write("")?;
    let written = flushes(guest, index)?;
    ensure!(written == before, "a write flushes {}", written - before);
    write("conv=fsync")?;
    let synchronized = flushes(guest, index)? - written;
    ensure!(synchronized == 1, "fsync flushes {synchronized} times");
    let before = flushes(guest, index)?;
    guest.sh(&format!(
        "fio --name=sync --filename=/dev/{disk} --ioengine=psync --direct=1 --sync=dsync \
             --rw=write --bs=4k --size=12k >/dev/null"
    ))?;
    let flushed = flushes(guest, index)? - before;
    // Once for the write itself, as the device cannot write through, and once as by fsync().
    ensure!(
        flushed == 6,
        "three writes with O_DSYNC flush {flushed} times"
    );
    mode("write through")?;
    let before = flushes(guest, index)?;
    write("conv=fsync")?;
    let through = flushes(guest, index)? - before;
    ensure!(through == 0, "write through flushes {through} times");
    Ok(())
}
