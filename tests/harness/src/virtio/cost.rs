// SPDX-License-Identifier: GPL-2.0

//! What it costs to pass a buffer to a device and to get it back: the instructions of the guest,
//! compared with those of the same loop in C, in the same boot.
//!
//! `tests/bench` has both loops, and says why nothing waits in them. A loop is run with some rounds
//! and with twice as many: what is between them is the loop, without the start of the driver.

use crate::{
    bench::{self, Bench, Cost, Side},
    counts::Function,
    cx::Cx,
    guest::{Builder, Idle, WINDOW},
    kernel::{Kernel, STOCK},
    paths::Scratch,
    report::{CostRow, Spent},
};
use anyhow::{Result, ensure};
use std::path::Path;

/// How many buffers are passed at least: a multiple of a batch.
const ROUNDS: u32 = 8192;

/// How much two measurements of the same may differ.
const TOLERANCE: f64 = 0.005;

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

/// Whether buffers are passed in batches.
struct Mode {
    name: &'static str,
    parameter: &'static str,
    /// What a buffer may cost, compared with C.
    limit: f64,
}

const MODES: &[Mode] = &[
    Mode {
        name: "single",
        parameter: "batch=0",
        limit: 0.6,
    },
    Mode {
        name: "batch of 32",
        parameter: "batch=1",
        limit: 0.55,
    },
];

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

    /// Returns how much of a cost is there.
    fn within(self, cost: &Cost) -> f64 {
        cost.part(|function| Self::of(function) == self)
    }
}

/// What a row of the table is about.
const WORK: &str = "buffers";

/// A line of the table.
struct Row {
    name: String,
    limit: f64,
    c: Cost,
    rust: Cost,
}

impl Row {
    fn ratio(&self) -> f64 {
        self.rust.total() / self.c.total()
    }

    fn check(&self) -> Result<()> {
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
                Part::Module.within(cost),
                Part::Core.within(cost)
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

    /// Returns what a file has of it. The ring is a part of our module, and of their core: both are what
    /// a driver costs.
    fn record(&self) -> CostRow {
        let spent = |cost: &Cost| Spent {
            whole: cost.total(),
            driver: Part::Module.within(cost) + Part::Core.within(cost),
            core: Some(Part::Core.within(cost)),
            traffic: None,
        };
        CostRow {
            work: WORK.to_owned(),
            name: self.name.clone(),
            other: "C".to_owned(),
            theirs: spent(&self.c),
            ours: spent(&self.rust),
        }
    }

    /// Prints where the instructions are, the most first.
    fn print_functions(&self) {
        for (language, cost) in [("C", &self.c), ("Rust", &self.rust)] {
            println!("{}, {language}:", self.name);
            cost.print(|_| true);
        }
    }
}

/// Describes a guest with every device, which shares directory `shared`.
fn builder(kernel: Builder, shared: &Path) -> Result<Builder> {
    let mut builder = kernel
        .module(C)?
        .module(RUST)?
        .share(shared, "shared")
        // The first: its place is taken. The others: they take turns of their own.
        .append("initcall_blacklist=virtio_console_init psi=0 cgroup_disable=memory")
        .count(&shared.join("counts"), Idle::Skipped)?;
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

/// Runs both loops, and compares them.
fn row(bench: &Bench<'_>, index: usize, device: &Device, mode: &Mode) -> Result<Row> {
    let slot = SLOT + index;
    let (c, rust) = bench::compare(ROUNDS, TOLERANCE, |side, rounds| {
        let module = match side {
            Side::Theirs => C,
            Side::Ours => RUST,
        };
        // What loading a module leaves for later is done when the window begins.
        bench.run(
            module,
            &format!("rounds={rounds} {}", mode.parameter),
            &format!(
                "cd /sys/bus/virtio/drivers/{module}
                 device=$(basename /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio*)
                 sleep 1
                 {WINDOW} bind $device && echo $device >unbind && rmmod {module}"
            ),
        )
    })?;
    Ok(Row {
        name: format!("{}, {}", device.name, mode.name),
        limit: mode.limit,
        c,
        rust,
    })
}

/// A buffer costs about as much as in C, and not more in a batch.
pub fn is_at_most_that_of_c(cx: &mut Cx) -> Result<()> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?, &shared)?)?;
    let bench = Bench::new(&guest, &shared, &[C, RUST])?;
    for (index, device) in DEVICES.iter().enumerate() {
        for mode in MODES {
            let name = format!("{}, {}", device.name, mode.name);
            cx.case(&name, |_| row(&bench, index, device, mode)?.check());
        }
    }
    Ok(())
}

/// Prints the table of the documentation, and where the instructions are if `functions` says so; returns
/// its rows.
pub fn print(functions: bool) -> Result<Vec<CostRow>> {
    let shared = Scratch::new()?;
    let kernel = Builder::new(&Kernel::find(STOCK)?);
    let guest = builder(kernel, shared.path())?.boot(shared.path())?;
    let bench = Bench::new(&guest, shared.path(), &[C, RUST])?;

    let line = ["=".repeat(46), ["=======  ======  ======"; 2].join("  ")].join("  ");
    println!("{line}  =====");
    println!(
        "{:<46}  C        module  core    Rust     module  core    ratio",
        WORK
    );
    println!("{line}  =====");
    let mut rows = Vec::new();
    for (index, device) in DEVICES.iter().enumerate() {
        for mode in MODES {
            let row = row(&bench, index, device, mode)?;
            row.print();
            rows.push(row);
        }
    }
    println!("{line}  =====");
    if functions {
        rows.iter().for_each(Row::print_functions);
    }
    guest.end()?;
    Ok(rows.iter().map(Row::record).collect())
}
