// SPDX-License-Identifier: GPL-2.0

//! fio writes, reads back and compares: in blocks of every size, through every way that requests
//! come, with one queue and with several, and with rings that are full all the time.

use super::{data::disk, driver::OURS};
use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};
use std::sync::Arc;

/// A way of asking for requests.
struct Way {
    name: &'static str,
    options: &'static str,
}

const WAYS: &[Way] = &[
    Way {
        name: "libaio",
        options: "--direct=1 --ioengine=libaio --iodepth=16",
    },
    Way {
        name: "libaio_buffered",
        options: "--direct=0 --ioengine=libaio --iodepth=16 --end_fsync=1",
    },
    Way {
        name: "io_uring",
        options: "--direct=1 --ioengine=io_uring --iodepth=16",
    },
    Way {
        name: "io_uring_buffered",
        options: "--direct=0 --ioengine=io_uring --iodepth=16 --end_fsync=1",
    },
    Way {
        name: "io_uring_polled",
        options: "--direct=1 --ioengine=io_uring --iodepth=16 --hipri",
    },
];

/// The sizes of blocks, from and to, and how much is written in them.
const SIZES: &[(&str, &str)] = &[
    ("512-512", "512k"),
    ("1k-1k", "1m"),
    ("4k-4k", "4m"),
    ("16k-16k", "8m"),
    ("64k-64k", "8m"),
    ("256k-256k", "16m"),
    ("1m-1m", "16m"),
];

/// Sizes that follow each other in one run.
const MIXED: (&str, &str) = ("512-1m", "8m");

/// Devices: their name, how many queues they have, and how many of these are polled.
const QUEUES: &[(&str, u32, u32)] = &[("one_queue", 2, 1), ("four_queues", 5, 1)];

pub fn some_ways_stock(cx: &mut Cx) -> Result<()> {
    ways(cx, STOCK, &QUEUES[1..], &[MIXED])
}

pub fn some_ways_debug(cx: &mut Cx) -> Result<()> {
    ways(cx, DEBUG, &QUEUES[1..], &[MIXED])
}

pub fn all_ways_stock(cx: &mut Cx) -> Result<()> {
    ways(cx, STOCK, QUEUES, SIZES)
}

pub fn all_ways_debug(cx: &mut Cx) -> Result<()> {
    ways(cx, DEBUG, QUEUES, SIZES)
}

fn ways(
    cx: &mut Cx,
    flavour: &str,
    devices: &[(&str, u32, u32)],
    sizes: &[(&str, &str)],
) -> Result<()> {
    let scratch = Scratch::new()?;
    for (name, queues, polled) in devices {
        let builder = OURS.builder(cx, flavour)?.tool("fio").name(name).cpus(4);
        let options = format!(",num-queues={queues}");
        let guest = cx.boot(&disk(builder, scratch.path(), 0, &options)?)?;
        OURS.load(&guest, &format!("poll_queues={polled}"), 1)?;
        let said =
            guest.sh("ls /sys/block/vdaaa/mq | wc -l; cat /sys/block/vdaaa/queue/io_poll")?;
        ensure!(
            said == format!("{queues}\n1\n"),
            "queues, and whether they are polled: {said}"
        );
        for way in WAYS {
            for (range, amount) in sizes {
                cx.case(&format!("{name}/{}/{range}", way.name), |_| {
                    let options = format!("{} --bsrange={range} --size={amount}", way.options);
                    verifies(&guest, &OURS.disk(0), &options)
                });
            }
        }
        guest.sh("rmmod virtio_blk_rs")?;
        cx.end(&guest)?;
    }
    Ok(())
}

/// Has fio write at random, read back, and compare.
fn verifies(guest: &Guest, disk: &str, options: &str) -> Result<()> {
    guest.sh(&format!(
        "fio --name=verify --filename=/dev/{disk} --rw=randwrite --verify=crc32c \
             --verify_fatal=1 {options} >/tmp/fio 2>&1 || {{ cat /tmp/fio; exit 1; }}"
    ))?;
    Ok(())
}

/// Rings that hold a few requests: the options of the device, and how many places that is.
const SMALL: &[(&str, &str)] = &[
    (
        "split",
        ",queue-size=16,seg-max-adjust=off,indirect_desc=off",
    ),
    (
        "split_events",
        ",queue-size=32,indirect_desc=off,event_idx=on",
    ),
    (
        "packed",
        ",queue-size=32,packed=on,indirect_desc=off,event_idx=off",
    ),
];

/// The same, where requests have tables when there is no place for them.
const DEEP: &[(&str, &str)] = &[
    ("split", ",queue-size=32"),
    ("packed", ",queue-size=32,packed=on"),
    (
        "mapped",
        ",queue-size=32,disable-legacy=on,iommu_platform=on",
    ),
];

/// How many seconds each of them has bursts.
const BURSTS: u32 = 8;

pub fn full_rings_stock(cx: &mut Cx) -> Result<()> {
    full_rings(cx, STOCK)
}

pub fn full_rings_debug(cx: &mut Cx) -> Result<()> {
    full_rings(cx, DEBUG)
}

/// Boots a guest with disks that have such rings, and loads the driver.
fn boot(
    cx: &mut Cx,
    flavour: &str,
    scratch: &Scratch,
    rings: &[(&str, &str)],
) -> Result<Arc<Guest>> {
    let mut builder = OURS.builder(cx, flavour)?.tool("fio").cpus(4);
    for (index, (_, options)) in rings.iter().enumerate() {
        let options = format!("{options},num-queues=1");
        builder = disk(builder, scratch.path(), index, &options)?;
    }
    let guest = cx.boot(&builder)?;
    OURS.load(&guest, "", rings.len())?;
    Ok(guest)
}

/// Nothing follows a burst before all of it has ended, and helps the last requests on.
fn bursts(guest: &Guest, index: usize) -> Result<()> {
    let options = format!(
        "--direct=1 --ioengine=libaio --iodepth=24 --iodepth_batch_submit=24 \
         --iodepth_batch_complete_min=24 --bsrange=4k-64k --size=16m --verify_backlog=64 \
         --loops=1000 --time_based --runtime={BURSTS}"
    );
    verifies(guest, &OURS.disk(index), &options)
}

/// Returns how many requests of a disk were given a table.
fn tables(guest: &Guest, index: usize) -> Result<u64> {
    let disk = OURS.disk(index);
    let said = guest.sh(&format!(
        "device=$(basename $(readlink -f /sys/block/{disk}/device))
         sed -n 's/^  tables: //p' /sys/kernel/debug/virtio_blk_rs/$device"
    ))?;
    said.trim().parse().context("how many tables there were")
}

/// Whoever finds a ring full goes on when there is place in it, also if all that was in it has ended
/// meanwhile.
fn full_rings(cx: &mut Cx, flavour: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let guest = boot(cx, flavour, &scratch, SMALL)?;
    for (index, (name, _)) in SMALL.iter().enumerate() {
        cx.case(name, |_| {
            bursts(&guest, index)?;
            let tables = tables(&guest, index)?;
            ensure!(tables == 0, "{tables} requests were given a table");
            Ok(())
        });
    }
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}

pub fn deep_rings_stock(cx: &mut Cx) -> Result<()> {
    deep_rings(cx, STOCK)
}

pub fn deep_rings_debug(cx: &mut Cx) -> Result<()> {
    deep_rings(cx, DEBUG)
}

/// Has allocations that cannot wait fail, most of the time: those of tables do not wait.
const SHORT: &str = "cd /sys/kernel/debug/failslab; echo Y >ignore-gfp-wait; echo 0 >verbose
     echo 1000000 >times; echo 60 >probability";

/// Ends that, and fails if none has failed.
const PLENTY: &str = "cd /sys/kernel/debug/failslab; echo 0 >probability
     [ $(cat times) -lt 1000000 ]";

/// Requests have tables when the ring gets full, if there is memory for them.
fn deep_rings(cx: &mut Cx, flavour: &str) -> Result<()> {
    let scratch = Scratch::new()?;
    let guest = boot(cx, flavour, &scratch, DEEP)?;
    for (index, (name, _)) in DEEP.iter().enumerate() {
        cx.case(name, |_| {
            bursts(&guest, index)?;
            ensure!(tables(&guest, index)? > 0, "no request was given a table");
            Ok(())
        });
    }
    if flavour == DEBUG {
        for (index, (name, _)) in DEEP.iter().enumerate() {
            cx.case(&format!("{name}_without_memory"), |_| {
                guest.sh(SHORT)?;
                let result = bursts(&guest, index);
                guest.sh(PLENTY)?;
                result
            });
        }
        // What keeps an account of mappings needs memory, too, and then gives up.
        guest.excuse(&["DMA-API: cacheline tracking ENOMEM"])?;
    }
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}
