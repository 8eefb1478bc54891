// SPDX-License-Identifier: GPL-2.0

//! What a request costs: the instructions of the guest's kernel, compared with those of the in-tree
//! driver, in the same boot, on the same device.
//!
//! The device has nothing behind it, and is served by the thread that executes the guest. fio is run
//! with some requests and with twice as many: what is between them are requests.

use crate::{
    bench::{self, Bench, Cost, Functions, Side},
    counts::Function,
    cx::Cx,
    guest::{Builder, Guest, Idle, WINDOW},
    kernel::{Kernel, STOCK},
    paths::Scratch,
    report::{CostRow, Spent},
};
use anyhow::{Result, ensure};
use std::path::Path;

/// How many requests there are at least.
const REQUESTS: u32 = 2000;

/// What the whole kernel executes for a request, compared with the in-tree driver: less than this.
const TOTAL_LIMIT: f64 = 1.0;

/// The same for the driver, the virtio core, and what these allocate.
const DRIVER_LIMIT: f64 = 0.75;

/// How much two measurements of the same may differ.
const TOLERANCE: f64 = 0.01;

/// How long a request takes the device, in nanoseconds of the host. Without that, whether the guest is
/// idle before it is done depends on how fast the host is.
const LATENCY: u32 = 200_000;

/// The drivers, and the names of their disks.
const IN_TREE: (&str, &str) = ("virtio_blk", "vda");
const OURS: (&str, &str) = ("virtio_blk_rs", "vdaaa");

/// The PCI slots of the devices, with a split and with a packed ring.
const SLOTS: &[(&str, &str, u32)] = &[("split", "", 0x10), ("packed", ",packed=on", 0x11)];

/// What fio does.
struct Load {
    engine: &'static str,
    depth: u32,
    direction: &'static str,
}

const fn load(engine: &'static str, depth: u32, direction: &'static str) -> Load {
    Load {
        engine,
        depth,
        direction,
    }
}

const LOADS: &[Load] = &[
    load("libaio", 1, "randread"),
    load("libaio", 32, "randread"),
    load("libaio", 1, "randwrite"),
    load("libaio", 32, "randwrite"),
    load("io_uring", 1, "randread"),
    load("io_uring", 32, "randread"),
    load("io_uring", 1, "randwrite"),
    load("io_uring", 32, "randwrite"),
];

/// Tells whether what a function executes is caused by the driver: in it, in the virtio core, or to
/// allocate memory for them.
fn is_driver(function: &Function) -> bool {
    let core = [
        "virtqueue",
        "vring",
        "vp_",
        "virtio",
        "_split",
        "_packed",
        "kmalloc",
        "kfree",
    ];
    let module = function.module.as_deref();
    module.is_some_and(|module| module == IN_TREE.0 || module == OURS.0)
        || (module.is_none() && core.iter().any(|part| function.name.contains(part)))
}

/// What a row of the table is about.
const WORK: &str = "requests of 4 KiB";

/// A line of the table.
struct Row {
    name: String,
    theirs: Cost,
    ours: Cost,
}

impl Row {
    fn check(&self) -> Result<()> {
        let whole = self.ours.total() / self.theirs.total();
        let driver = self.ours.part(is_driver) / self.theirs.part(is_driver);
        ensure!(
            whole < TOTAL_LIMIT && driver <= DRIVER_LIMIT,
            "a request takes {whole:.3} times the instructions, and {driver:.3} times those of \
             the driver and of the virtio core"
        );
        Ok(())
    }

    fn print(&self) {
        println!(
            "{:<30}  {:8.1}  {:7.1}  {:8.1}  {:7.1}  {:5.3}  {:5.3}",
            self.name,
            self.theirs.total(),
            self.theirs.part(is_driver),
            self.ours.total(),
            self.ours.part(is_driver),
            self.ours.total() / self.theirs.total(),
            self.ours.part(is_driver) / self.theirs.part(is_driver)
        );
    }

    /// Returns what a file has of it.
    fn record(&self) -> CostRow {
        let spent = |cost: &Cost| Spent {
            whole: cost.total(),
            driver: cost.part(is_driver),
            core: None,
            traffic: None,
        };
        CostRow {
            work: WORK.to_owned(),
            name: self.name.clone(),
            other: "in-tree".to_owned(),
            theirs: spent(&self.theirs),
            ours: spent(&self.ours),
        }
    }

    fn print_functions(&self) {
        for (driver, cost) in [(IN_TREE.0, &self.theirs), (OURS.0, &self.ours)] {
            println!("{}, {driver}:", self.name);
            cost.print(is_driver);
        }
    }
}

fn builder(kernel: Builder, shared: &Path) -> Result<Builder> {
    let mut builder = kernel
        .module(OURS.0)?
        .kernel_module(IN_TREE.0)
        .tool("fio")
        // What fio needs of memory and of the scheduler is the same each time.
        .append("norandmaps transparent_hugepage=never psi=0")
        .share(shared, "shared")
        .count(&shared.join("counts"), Idle::OfHost)?
        .memory(1024);
    for (name, options, slot) in SLOTS {
        builder = builder
            .qemu(&[
                "-blockdev",
                &format!(
                    "driver=null-co,node-name={name},size=1073741824,read-zeroes=on,\
                     latency-ns={LATENCY}"
                ),
            ])
            .device(&format!(
                "virtio-blk-pci,drive={name},ioeventfd=off,addr={slot:#x}{options}"
            ));
    }
    Ok(builder)
}

/// Returns what counts in a guest that has settled.
fn bench<'a>(guest: &'a Guest, shared: &Path) -> Result<Bench<'a>> {
    let bench = Bench::new(guest, shared, &[IN_TREE.0, OURS.0])?;
    guest.sh("head -c 64 /dev/random >/dev/null; sleep 4
         sysctl -w vm.percpu_pagelist_high_fraction=8 >/dev/null")?;
    Ok(bench)
}

/// Has fio make requests, and returns what was executed.
fn run(
    bench: &Bench<'_>,
    driver: (&str, &str),
    slot: u32,
    work: &Load,
    requests: u32,
) -> Result<Functions> {
    let (module, disk) = driver;
    let Load {
        engine,
        depth,
        direction,
    } = work;
    let command = format!(
        "cd /sys/bus/virtio/drivers/{module}
         device=$(basename /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio*)
         echo $device >bind || exit
         fio() {{
             command fio --name=cost --filename=/dev/{disk} --direct=1 --bs=4k --randseed=1 \
                 --norandommap --gtod_reduce=1 --eta=never --thread --ioengine={engine} \
                 --iodepth={depth} --rw={direction} --number_ios=$1 --size=512m \
                 >/tmp/fio 2>&1 || {{ cat /tmp/fio; exit 1; }}
         }}
         fio 64
         sleep 1
         {WINDOW} begin; fio {requests}; {WINDOW} end
         echo $device >unbind && rmmod {module}"
    );
    bench.run(module, "", &command)
}

/// Compares what both drivers execute for requests.
fn row(bench: &Bench<'_>, ring: &str, slot: u32, work: &Load) -> Result<Row> {
    let (theirs, ours) = bench::compare(REQUESTS, TOLERANCE, |side, requests| {
        let driver = match side {
            Side::Theirs => IN_TREE,
            Side::Ours => OURS,
        };
        run(bench, driver, slot, work, requests)
    })?;
    Ok(Row {
        name: format!(
            "{} {} of {}, {ring}",
            work.direction, work.depth, work.engine
        ),
        theirs,
        ours,
    })
}

/// A request takes fewer instructions than with the in-tree driver: the first loads, on both rings.
pub fn is_below_that_of_the_in_tree_driver(cx: &mut Cx) -> Result<()> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?, &shared)?)?;
    let bench = bench(&guest, &shared)?;
    for (ring, _, slot) in SLOTS {
        for work in LOADS.iter().take(2) {
            let name = format!("{} {} {ring}", work.direction, work.depth);
            cx.case(&name, |_| row(&bench, ring, *slot, work)?.check());
        }
    }
    Ok(())
}

/// Returns some rows of the table: a request that comes alone, on each ring.
pub fn some(cx: &mut Cx) -> Result<Vec<CostRow>> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?.name("disks"), &shared)?)?;
    let bench = bench(&guest, &shared)?;
    let mut rows = Vec::new();
    for (ring, _, slot) in SLOTS {
        for work in LOADS.iter().take(1) {
            rows.push(row(&bench, ring, *slot, work)?.record());
        }
    }
    cx.end(&guest)?;
    Ok(rows)
}

/// Prints the table of the documentation, and where the instructions are if `functions` says so; returns
/// its rows.
pub fn print(functions: bool) -> Result<Vec<CostRow>> {
    let shared = Scratch::new()?;
    let kernel = Builder::new(&Kernel::find(STOCK)?);
    let guest = builder(kernel, shared.path())?.boot(shared.path())?;
    let bench = bench(&guest, shared.path())?;
    println!(
        "{:<30}  in-tree   driver   ours      driver   whole  driver",
        WORK
    );
    let mut records = Vec::new();
    for (ring, _, slot) in SLOTS {
        for work in LOADS {
            let row = row(&bench, ring, *slot, work)?;
            row.print();
            if functions {
                row.print_functions();
            }
            records.push(row.record());
        }
    }
    guest.end()?;
    Ok(records)
}
