// SPDX-License-Identifier: GPL-2.0

//! What it costs to pass a buffer to a device and to get it back: the instructions of the guest,
//! compared with those of the same loop in C, in the same boot.
//!
//! `tests/bench` has both loops, and says why nothing waits in them. A loop is run with some rounds
//! and with twice as many: what is between them is the loop, without the start of the driver.

use crate::{
    counts::{self, Function, Loaded, Symbols},
    cx::Cx,
    guest::{Builder, Guest, WINDOW},
    kernel::{Kernel, STOCK},
    paths::Scratch,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    cell::Cell,
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// How many buffers are passed at least: a multiple of a batch.
const ROUNDS: u32 = 8192;

/// How much two measurements of the same may differ.
const TOLERANCE: f64 = 0.01;

/// How much more than C may a buffer cost that is passed by itself.
const SINGLE_LIMIT: f64 = 1.05;

/// The same for a buffer of a batch.
const BATCH_LIMIT: f64 = 1.0;

/// The loop in C, and ours.
const C: &str = "cost_c";
const RUST: &str = "cost_rust";

/// A device, and what it answers at once.
struct Device {
    /// What the buffers are.
    name: &'static str,
    options: &'static [&'static str],
}

const CONSOLE: &str = "virtio-serial-pci,ioeventfd=off,max_ports=1";
const NET: &str = "virtio-net-pci,ioeventfd=off,romfile=";

/// The devices, by their slots from [`SLOT`] on. `$` stands for the slot.
const DEVICES: &[Device] = &[
    Device {
        name: "one part, split ring",
        options: &[CONSOLE],
    },
    Device {
        name: "one part, packed ring",
        options: &[CONSOLE, "packed=on"],
    },
    Device {
        name: "two parts, split ring",
        options: &[NET],
    },
    Device {
        name: "two parts, packed ring",
        options: &[NET, "packed=on"],
    },
    Device {
        name: "two parts, split ring, no tables",
        options: &[NET, "indirect_desc=off"],
    },
    Device {
        name: "two parts, packed ring, no tables",
        options: &[NET, "packed=on", "indirect_desc=off"],
    },
];

/// The PCI slot of the first device.
const SLOT: usize = 0x10;

/// Whether buffers are passed in batches, and what they may cost.
struct Mode {
    name: &'static str,
    parameter: &'static str,
    limit: f64,
}

const MODES: &[Mode] = &[
    Mode {
        name: "single",
        parameter: "batch=0",
        limit: SINGLE_LIMIT,
    },
    Mode {
        name: "batch of 32",
        parameter: "batch=1",
        limit: BATCH_LIMIT,
    },
];

/// The order of the measurements. What changes in the course of time changes both.
const ORDER: [&str; 6] = [C, RUST, RUST, C, C, RUST];

/// What was executed in each function.
type Functions = BTreeMap<Function, u64>;

/// What a buffer costs, in instructions.
#[derive(Clone, Debug, Default)]
struct Cost(BTreeMap<Function, f64>);

impl Cost {
    fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// Returns what of it is in a part of the kernel.
    fn part(&self, part: Part) -> f64 {
        self.0
            .iter()
            .filter(|(function, _)| Part::of(function) == part)
            .map(|(_, cost)| cost)
            .sum()
    }
}

/// Where instructions are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// In a module, with what is linked into it.
    Module,
    /// In the kernel's virtio core and its transport.
    Core,
    /// In what these call, and in interrupts.
    Rest,
}

impl Part {
    fn of(function: &Function) -> Self {
        let core = ["virtqueue", "vring", "vp_", "virtio", "_split", "_packed"];
        if function.module.is_some() {
            Self::Module
        } else if core.iter().any(|part| function.name.contains(part)) {
            Self::Core
        } else {
            Self::Rest
        }
    }
}

/// A line of the table.
struct Row {
    name: String,
    limit: f64,
    c: Cost,
    rust: Cost,
    /// How much measurements of the same differ.
    spread: f64,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.rust.total() / self.c.total()
    }

    /// Fails if measurements of the same differ: they say nothing then.
    fn check_repeats(&self) -> Result<()> {
        ensure!(
            self.spread <= TOLERANCE,
            "two measurements of the same differ by {:.2} %",
            self.spread * 100.0
        );
        Ok(())
    }

    fn check(&self) -> Result<()> {
        self.check_repeats()?;
        ensure!(
            self.ratio() <= self.limit,
            "{:.1} instructions are {:.3} times those of C, {:.1}; at most {} times are allowed",
            self.rust.total(),
            self.ratio(),
            self.c.total(),
            self.limit
        );
        Ok(())
    }

    fn print(&self) {
        let of = |cost: &Cost| {
            format!(
                "{:7.1}  {:6.1}  {:6.1}",
                cost.total(),
                cost.part(Part::Module),
                cost.part(Part::Core)
            )
        };
        println!(
            "{:<46}  {}  {}  {:5.3}",
            self.name,
            of(&self.c),
            of(&self.rust),
            self.ratio()
        );
    }

    /// Prints where the instructions are, the most first.
    fn print_functions(&self) {
        for (language, cost) in [("C", &self.c), ("Rust", &self.rust)] {
            println!("{}, {language}:", self.name);
            let mut functions: Vec<_> = cost.0.iter().collect();
            functions.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            for (function, count) in functions {
                if *count >= 0.05 {
                    let module = function.module.as_deref().unwrap_or_default();
                    println!("{count:9.1}  {} {module}", function.name);
                }
            }
        }
    }
}

/// A guest in which loops are measured.
struct Bench<'a> {
    guest: &'a Guest,
    counts: PathBuf,
    windows: Cell<usize>,
    symbols: Symbols,
}

/// Describes a guest with every device, which shares directory `shared`.
fn builder(kernel: Builder, shared: &Path) -> Result<Builder> {
    let mut builder = kernel
        .module(C)?
        .module(RUST)?
        .share(shared, "shared")
        // Its place is taken.
        .append("initcall_blacklist=virtio_console_init")
        .count(&shared.join("counts"))?;
    for (index, device) in DEVICES.iter().enumerate() {
        let options = device.options.join(",");
        let slot = SLOT + index;
        builder = builder.device(&format!("{options},id=device{slot},addr={slot:#x}"));
        if options.starts_with(CONSOLE) {
            builder = builder
                .qemu(&["-chardev", &format!("null,id=null{slot}")])
                .device(&format!(
                    "virtconsole,chardev=null{slot},bus=device{slot}.0"
                ));
        }
    }
    Ok(builder)
}

impl<'a> Bench<'a> {
    fn new(guest: &'a Guest, shared: &Path) -> Result<Self> {
        // A device gets a driver when it is told to, in a window.
        guest.sh("echo 0 >/sys/bus/virtio/drivers_autoprobe")?;
        let loaded = [C, RUST]
            .into_iter()
            .map(|module| load(guest, module, ""))
            .collect::<Result<Vec<_>>>()?;
        guest.sh(&format!(
            "cat /proc/kallsyms >/mnt/shared/kallsyms; rmmod {C} {RUST}"
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

    /// Runs a loop, and returns what was executed.
    fn run(&self, module: &str, slot: usize, mode: &Mode, rounds: u32) -> Result<Functions> {
        let parameters = format!("rounds={rounds} {}", mode.parameter);
        let loaded = load(self.guest, module, &parameters)?;
        // What loading a module leaves for later is done when the window begins.
        self.guest.sh(&format!(
            "cd /sys/bus/virtio/drivers/{module}
             device=$(basename /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio*)
             sleep 1
             {WINDOW} bind $device && echo $device >unbind && rmmod {module}"
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

    /// Compares the loops with each other, and the one in C with itself.
    fn row(&self, index: usize, device: &Device, mode: &Mode) -> Result<Row> {
        let slot = SLOT + index;
        let (mut c, mut rust) = (Legs::default(), Legs::default());
        for module in ORDER {
            let legs = if module == C { &mut c } else { &mut rust };
            legs.once.push(self.run(module, slot, mode, ROUNDS)?);
            legs.twice.push(self.run(module, slot, mode, 2 * ROUNDS)?);
        }
        Ok(Row {
            name: format!("{}, {}", device.name, mode.name),
            limit: mode.limit,
            c: c.cost()?,
            rust: rust.cost()?,
            spread: c.spread()?.max(rust.spread()?),
        })
    }
}

/// What was executed in a loop, several times.
#[derive(Default)]
struct Legs {
    once: Vec<Functions>,
    /// With twice as many rounds.
    twice: Vec<Functions>,
}

impl Legs {
    /// Returns what a buffer costs: interrupts only ever add to what is measured, so the least is
    /// nearest to the truth.
    fn cost(&self) -> Result<Cost> {
        let least = |legs: &[Functions]| {
            let leg = legs.iter().min_by_key(|leg| leg.values().sum::<u64>());
            leg.cloned().context("nothing was measured")
        };
        let (once, twice) = (least(&self.once)?, least(&self.twice)?);
        let mut cost = Cost::default();
        for (function, count) in twice {
            let before = once.get(&function).copied().unwrap_or(0);
            let more = float(count)? - float(before)?;
            cost.0.insert(function, more / f64::from(ROUNDS));
        }
        Ok(cost)
    }

    /// Returns how much the two least measurements differ.
    fn spread(&self) -> Result<f64> {
        let mut spread = 0.0;
        for legs in [&self.once, &self.twice] {
            let mut totals: Vec<u64> = legs.iter().map(|leg| leg.values().sum()).collect();
            totals.sort_unstable();
            let &[least, next, ..] = totals.as_slice() else {
                bail!("two measurements are needed");
            };
            spread = f64::max(spread, float(next)? / float(least)? - 1.0);
        }
        Ok(spread)
    }
}

/// Loads a module with parameters, and returns where it is.
fn load(guest: &Guest, module: &str, parameters: &str) -> Result<Loaded> {
    let base = guest.sh(&format!(
        "modprobe {module} {parameters} && cat /sys/module/{module}/sections/.text"
    ))?;
    Ok(Loaded {
        module: module.to_owned(),
        base: u64::from_str_radix(base.trim().trim_start_matches("0x"), 16)?,
    })
}

/// A count of instructions, which is small.
fn float(count: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?))
}

/// A buffer costs about as much as in C, and not more in a batch.
pub fn is_at_most_that_of_c(cx: &mut Cx) -> Result<()> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?, &shared)?)?;
    let bench = Bench::new(&guest, &shared)?;
    for (index, device) in DEVICES.iter().enumerate() {
        for mode in MODES {
            let name = format!("{}, {}", device.name, mode.name);
            cx.case(&name, |_| bench.row(index, device, mode)?.check());
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

    let line = ["=".repeat(46), ["=======  ======  ======"; 2].join("  ")].join("  ");
    println!("{line}  =====");
    println!(
        "{:<46}  C        module  core    Rust     module  core    ratio",
        "buffers"
    );
    println!("{line}  =====");
    let mut rows = Vec::new();
    for (index, device) in DEVICES.iter().enumerate() {
        for mode in MODES {
            let row = bench.row(index, device, mode)?;
            row.check_repeats()?;
            row.print();
            rows.push(row);
        }
    }
    println!("{line}  =====");
    if functions {
        rows.iter().for_each(Row::print_functions);
    }
    let splats = guest.shut_down()?;
    ensure!(splats.is_empty(), "the kernel complains: {splats:#?}");
    Ok(())
}
