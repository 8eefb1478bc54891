// SPDX-License-Identifier: GPL-2.0

//! What a piece of work costs: the instructions that a guest's kernel executes for it.
//!
//! The work is done some times, and twice as often: what is between the two is the work, without what
//! comes before and after it. Both are measured several times, which must agree.

use crate::{
    counts::{self, Function, Loaded, Symbols},
    guest::Guest,
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// What was executed in each function.
pub type Functions = BTreeMap<Function, u64>;

/// What a piece of work costs, in instructions.
#[derive(Clone, Debug, Default)]
pub struct Cost(BTreeMap<Function, f64>);

impl Cost {
    /// Returns all of it.
    pub fn total(&self) -> f64 {
        self.0.values().sum()
    }

    /// Returns what of it is in functions of a kind.
    pub fn part(&self, is_part: impl Fn(&Function) -> bool) -> f64 {
        self.0
            .iter()
            .filter(|(function, _)| is_part(function))
            .map(|(_, cost)| cost)
            .sum()
    }

    /// Prints in which functions of a kind it is, the most first.
    pub fn print(&self, is_part: impl Fn(&Function) -> bool) {
        let mut functions: Vec<_> = self.0.iter().filter(|(f, _)| is_part(f)).collect();
        functions.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        for (function, count) in functions {
            if *count >= 0.05 {
                let module = function.module.as_deref().unwrap_or_default();
                println!("{count:9.1}  {} {module}", function.name);
            }
        }
    }
}

/// A guest in which instructions are counted.
pub struct Bench<'a> {
    guest: &'a Guest,
    counts: PathBuf,
    windows: Cell<usize>,
    symbols: Symbols,
}

impl<'a> Bench<'a> {
    /// Takes a guest that shares directory `shared`, and counts to file `counts` of it; `modules` are
    /// those that are measured. No device has a driver unless it is told to.
    pub fn new(guest: &'a Guest, shared: &Path, modules: &[&str]) -> Result<Self> {
        guest.sh("echo 0 >/sys/bus/virtio/drivers_autoprobe
             sysctl -w vm.stat_interval=1000 >/dev/null")?;
        let loaded = modules
            .iter()
            .map(|module| load(guest, module, ""))
            .collect::<Result<Vec<_>>>()?;
        guest.sh(&format!(
            "cat /proc/kallsyms >/mnt/shared/kallsyms; rmmod {}",
            modules.join(" ")
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

    /// Loads a module with parameters, runs a command that has one window, and returns what was
    /// executed in that.
    pub fn run(&self, module: &str, parameters: &str, command: &str) -> Result<Functions> {
        let loaded = load(self.guest, module, parameters)?;
        self.guest.sh(command)?;
        let windows = counts::read(&self.counts)?;
        ensure!(
            windows.len() == self.windows.get() + 1,
            "the plugin has not counted"
        );
        self.windows.set(windows.len());
        let window = windows.last().context("no window")?;
        Ok(window.functions(&self.symbols, &loaded))
    }
}

/// Loads a module, and returns where it is.
fn load(guest: &Guest, module: &str, parameters: &str) -> Result<Loaded> {
    let base = guest.sh(&format!(
        "modprobe {module} {parameters} && cat /sys/module/{module}/sections/.text"
    ))?;
    Ok(Loaded {
        module: module.to_owned(),
        base: u64::from_str_radix(base.trim().trim_start_matches("0x"), 16)?,
    })
}

/// Which of the two that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The one in C.
    Theirs,
    /// The one in Rust.
    Ours,
}

/// The order of the measurements. What changes in the course of time changes both.
pub const ORDER: [Side; 4] = [Side::Theirs, Side::Ours, Side::Ours, Side::Theirs];

/// Has a guest count how often it notifies its devices, while [`COUNTS_KICKS`] is 1.
pub const PROBE_KICKS: &str = "echo 'p:rv_kick vp_notify' >/sys/kernel/tracing/kprobe_events";

/// The file that starts and stops that.
pub const COUNTS_KICKS: &str = "/sys/kernel/tracing/events/kprobes/rv_kick/enable";

/// Defines a function of the shell that prints how often it was.
pub const KICKS: &str =
    "kicks() { set -- $(grep rv_kick /sys/kernel/tracing/kprobe_profile); echo $2; }";

/// How often they are made at most, until two of each side agree: how often the guest is idle, and
/// what it does then, depends on the host.
const ATTEMPTS: u32 = 6;

/// Returns what a round costs on their side and on ours: `run` is called with a number of rounds.
///
/// Fails if no two measurements of the same differ by at most this part.
pub fn compare(
    rounds: u32,
    tolerance: f64,
    run: impl Fn(Side, u32) -> Result<Functions>,
) -> Result<(Cost, Cost)> {
    let (mut theirs, mut ours) = (Legs::default(), Legs::default());
    for attempt in 1.. {
        for side in ORDER {
            let legs = match side {
                Side::Theirs => &mut theirs,
                Side::Ours => &mut ours,
            };
            legs.once.push(run(side, rounds)?);
            legs.twice.push(run(side, 2 * rounds)?);
        }
        let agreed = theirs.agree(tolerance).and_then(|()| ours.agree(tolerance));
        if agreed.is_ok() {
            break;
        }
        if attempt == ATTEMPTS {
            agreed?;
        }
    }
    Ok((theirs.cost(rounds)?, ours.cost(rounds)?))
}

/// What was executed in a number of rounds, several times.
#[derive(Default)]
struct Legs {
    once: Vec<Functions>,
    /// With twice as many rounds.
    twice: Vec<Functions>,
}

impl Legs {
    /// Returns what a round costs: interrupts only ever add to what is measured, so the least is
    /// nearest to the truth.
    fn cost(&self, rounds: u32) -> Result<Cost> {
        let least = |legs: &[Functions]| {
            let leg = legs.iter().min_by_key(|leg| leg.values().sum::<u64>());
            leg.cloned().context("nothing was measured")
        };
        let (once, twice) = (least(&self.once)?, least(&self.twice)?);
        let mut cost = Cost::default();
        for (function, count) in twice {
            let before = once.get(&function).copied().unwrap_or(0);
            let more = float(count)? - float(before)?;
            cost.0.insert(function, more / f64::from(rounds));
        }
        Ok(cost)
    }

    /// Fails if the two least measurements of the same differ by more than this part: they say nothing
    /// then.
    fn agree(&self, tolerance: f64) -> Result<()> {
        for legs in [&self.once, &self.twice] {
            let mut legs: Vec<_> = legs.iter().collect();
            legs.sort_by_key(|leg| leg.values().sum::<u64>());
            let &[least, next, ..] = legs.as_slice() else {
                bail!("two measurements are needed");
            };
            let total = |leg: &Functions| float(leg.values().sum());
            let spread = total(next)? / total(least)? - 1.0;
            ensure!(
                spread <= tolerance,
                "two measurements of the same differ by {:.2} %, most in {}",
                spread * 100.0,
                most_of_difference(least, next)
            );
        }
        Ok(())
    }
}

/// Names the functions in which two measurements differ most.
fn most_of_difference(one: &Functions, other: &Functions) -> String {
    let mut differences: Vec<_> = one
        .keys()
        .chain(other.keys())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|function| {
            let of = |leg: &Functions| leg.get(function).copied().unwrap_or(0);
            (of(one).abs_diff(of(other)), function.name.as_str())
        })
        .collect();
    differences.sort_unstable();
    let most = differences.iter().rev().take(4);
    let most: Vec<_> = most
        .map(|(count, name)| format!("{name} ({count})"))
        .collect();
    most.join(", ")
}

/// A count of instructions, which is small.
fn float(count: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?))
}
