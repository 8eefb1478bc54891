// SPDX-License-Identifier: GPL-2.0

//! What a request costs: the instructions of the guest's kernel, compared with those of the in-tree
//! driver, in the same boot, on the same device.
//!
//! The device has nothing behind it, and is served by the thread that executes the guest. fio is run
//! with some requests and with twice as many: what is between them are requests.

use crate::{
    counts::{self, Function, Loaded, Symbols},
    cx::Cx,
    guest::{Builder, Guest, WINDOW},
    kernel::{Kernel, STOCK},
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// How many requests there are at least.
const REQUESTS: u32 = 2000;

/// What the whole kernel may execute for a request, compared with the in-tree driver: not more, but
/// for what two measurements of the same differ by.
const TOTAL_LIMIT: f64 = 1.01;

/// The same for the driver, the virtio core, and what these allocate: what is left is mostly the
/// core's, which adds a chain of descriptors in the same way for both.
const PART_LIMIT: f64 = 1.05;

/// The drivers, and the names of their disks.
const IN_TREE: (&str, &str) = ("virtio_blk", "vda");
const OURS: (&str, &str) = ("virtio_blk_rs", "vdaaa");

/// The order of the measurements.
const ORDER: [(&str, &str); 4] = [IN_TREE, OURS, OURS, IN_TREE];

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

type Functions = BTreeMap<Function, f64>;

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

fn total(functions: &Functions) -> f64 {
    functions.values().sum()
}

fn part(functions: &Functions) -> f64 {
    functions
        .iter()
        .filter(|(function, _)| is_driver(function))
        .map(|(_, count)| count)
        .sum()
}

/// A line of the table.
struct Row {
    name: String,
    theirs: Functions,
    ours: Functions,
}

impl Row {
    fn check(&self) -> Result<()> {
        let whole = total(&self.ours) / total(&self.theirs);
        let driver = part(&self.ours) / part(&self.theirs);
        ensure!(
            whole <= TOTAL_LIMIT && driver <= PART_LIMIT,
            "a request takes {whole:.3} times the instructions, and {driver:.3} times those of \
             the driver and of the virtio core"
        );
        Ok(())
    }

    fn print(&self) {
        println!(
            "{:<30}  {:8.1}  {:7.1}  {:8.1}  {:7.1}  {:5.3}  {:5.3}",
            self.name,
            total(&self.theirs),
            part(&self.theirs),
            total(&self.ours),
            part(&self.ours),
            total(&self.ours) / total(&self.theirs),
            part(&self.ours) / part(&self.theirs)
        );
    }

    fn print_functions(&self) {
        for (driver, functions) in [(IN_TREE.0, &self.theirs), (OURS.0, &self.ours)] {
            println!("{}, {driver}:", self.name);
            let mut sorted: Vec<_> = functions.iter().filter(|(f, _)| is_driver(f)).collect();
            sorted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            for (function, count) in sorted.into_iter().take_while(|(_, count)| **count > 0.5) {
                println!("{count:9.1}  {}", function.name);
            }
        }
    }
}

struct Bench<'a> {
    guest: &'a Guest,
    counts: PathBuf,
    windows: Cell<usize>,
    symbols: Symbols,
}

fn builder(kernel: Builder, shared: &Path) -> Result<Builder> {
    let mut builder = kernel
        .module(OURS.0)?
        .kernel_module(IN_TREE.0)
        .tool("fio")
        .share(shared, "shared")
        .count(&shared.join("counts"))?
        .memory(1024);
    for (name, options, slot) in SLOTS {
        builder = builder
            .qemu(&[
                "-blockdev",
                &format!("driver=null-co,node-name={name},size=1073741824,read-zeroes=on"),
            ])
            .device(&format!(
                "virtio-blk-pci,drive={name},ioeventfd=off,addr={slot:#x}{options}"
            ));
    }
    Ok(builder)
}

impl<'a> Bench<'a> {
    fn new(guest: &'a Guest, shared: &Path) -> Result<Self> {
        guest.sh("echo 0 >/sys/bus/virtio/drivers_autoprobe")?;
        let loaded = [IN_TREE.0, OURS.0]
            .into_iter()
            .map(|module| load_module(guest, module))
            .collect::<Result<Vec<_>>>()?;
        guest.sh(&format!(
            "cat /proc/kallsyms >/mnt/shared/kallsyms; rmmod {} {}
             head -c 64 /dev/random >/dev/null; sleep 4",
            IN_TREE.0, OURS.0
        ))?;
        let kallsyms =
            fs::read_to_string(shared.join("kallsyms")).context("reading the symbols")?;
        Ok(Self {
            guest,
            counts: shared.join("counts"),
            windows: Cell::new(0),
            symbols: Symbols::parse(&kallsyms, &loaded)?,
        })
    }

    /// Has fio make requests, and returns what was executed.
    fn run(
        &self,
        driver: (&str, &str),
        slot: u32,
        work: &Load,
        requests: u32,
    ) -> Result<BTreeMap<Function, u64>> {
        let (module, disk) = driver;
        let loaded = load_module(self.guest, module)?;
        let Load {
            engine,
            depth,
            direction,
        } = work;
        self.guest.sh(&format!(
            "cd /sys/bus/virtio/drivers/{module}
             device=$(basename /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio*)
             echo $device >bind || exit
             fio() {{
                 command fio --name=cost --filename=/dev/{disk} --direct=1 --bs=4k --randseed=1 \
                     --norandommap --gtod_reduce=1 --thread --ioengine={engine} \
                     --iodepth={depth} --rw={direction} --number_ios=$1 --size=512m \
                     >/tmp/fio 2>&1 || cat /tmp/fio
             }}
             fio 64
             sleep 1
             {WINDOW} begin; fio {requests}; {WINDOW} end
             echo $device >unbind && rmmod {module}"
        ))?;

        let windows = counts::read(&self.counts)?;
        ensure!(
            windows.len() == self.windows.get() + 1,
            "the plugin has not counted"
        );
        self.windows.set(windows.len());
        let window = windows.last().context("no window")?;
        Ok(window.functions(&self.symbols, &loaded))
    }

    fn row(&self, ring: &str, slot: u32, work: &Load) -> Result<Row> {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for driver in ORDER {
            let once = self.run(driver, slot, work, REQUESTS)?;
            let twice = self.run(driver, slot, work, 2 * REQUESTS)?;
            let legs = if driver == OURS {
                &mut ours
            } else {
                &mut theirs
            };
            legs.push(cost(&once, &twice)?);
        }
        Ok(Row {
            name: format!(
                "{} {} of {}, {ring}",
                work.direction, work.depth, work.engine
            ),
            theirs: mean(&theirs)?,
            ours: mean(&ours)?,
        })
    }
}

/// Returns what a request costs.
fn cost(once: &BTreeMap<Function, u64>, twice: &BTreeMap<Function, u64>) -> Result<Functions> {
    let mut cost = Functions::new();
    for (function, count) in twice {
        let before = once.get(function).copied().unwrap_or(0);
        let more = f64::from(u32::try_from(*count)?) - f64::from(u32::try_from(before)?);
        cost.insert(function.clone(), more / f64::from(REQUESTS));
    }
    Ok(cost)
}

fn mean(legs: &[Functions]) -> Result<Functions> {
    let mut mean = Functions::new();
    let count = f64::from(u32::try_from(legs.len())?);
    for leg in legs {
        for (function, cost) in leg {
            *mean.entry(function.clone()).or_insert(0.0) += cost / count;
        }
    }
    Ok(mean)
}

fn load_module(guest: &Guest, module: &str) -> Result<Loaded> {
    let base = guest.sh(&format!(
        "modprobe {module} && cat /sys/module/{module}/sections/.text"
    ))?;
    Ok(Loaded {
        module: module.to_owned(),
        base: u64::from_str_radix(base.trim().trim_start_matches("0x"), 16)?,
    })
}

/// A request takes fewer instructions than with the in-tree driver: the first loads, on both rings.
pub fn is_below_that_of_the_in_tree_driver(cx: &mut Cx) -> Result<()> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?, &shared)?)?;
    let bench = Bench::new(&guest, &shared)?;
    for (ring, _, slot) in SLOTS {
        for work in LOADS.iter().take(2) {
            let name = format!("{} {} {ring}", work.direction, work.depth);
            cx.case(&name, |_| bench.row(ring, *slot, work)?.check());
        }
    }
    Ok(())
}

/// Prints the table of the documentation, and where the instructions are if `functions` says so.
pub fn print(functions: bool) -> Result<()> {
    let shared = Scratch::new()?;
    let kernel = Builder::new(&Kernel::find(STOCK)?);
    let guest = builder(kernel, shared.path())?.boot(shared.path())?;
    let bench = Bench::new(&guest, shared.path())?;
    println!(
        "{:<30}  in-tree   driver   ours      driver   whole  driver",
        "requests of 4 KiB"
    );
    for (ring, _, slot) in SLOTS {
        for work in LOADS {
            let row = bench.row(ring, *slot, work)?;
            row.print();
            if functions {
                row.print_functions();
            }
        }
    }
    let splats = guest.shut_down()?;
    ensure!(splats.is_empty(), "the kernel complains: {splats:#?}");
    Ok(())
}
