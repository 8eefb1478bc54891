// SPDX-License-Identifier: GPL-2.0

//! How fast drivers and devices are: programs of the guest, against the clock.
//!
//! What is compared is used in turn, in one guest, in the order A B B A. Whatever else the host does
//! makes a leg slower, never faster: so the best legs are compared, and their medians, with an
//! interval in which the ratio of these is likely to be. Where that contains 1, nothing is concluded.

pub mod backend;
mod disk;
mod driver;
mod nic;
pub mod statistics;

use crate::{
    bench::{ORDER, Side},
    guest::Guest,
    paths::Scratch,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use statistics::Comparison;
use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

/// What is wanted.
pub struct Options {
    /// How often each driver runs each scenario, in pairs of legs.
    pub rounds: u32,
    /// Where the results go, as JSON.
    pub json: Option<PathBuf>,
    /// Parts of the names of scenarios; all, if there is none.
    pub patterns: Vec<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|part| name.contains(part))
    }
}

/// Something that both sides do.
struct Scenario<Load: 'static> {
    name: &'static str,
    /// What is measured; more is better.
    unit: &'static str,
    /// The other side runs as both: the ratio should be 1.
    is_control: bool,
    load: Load,
}

/// A guest with what is compared, and something to do with it.
trait Course: Sized {
    /// How it is told what to do.
    type Load: 'static;

    /// What is compared with ours.
    const OTHER: &str;

    /// What there is to do.
    const SCENARIOS: &[Scenario<Self::Load>];

    /// Boots the guest; what is left is below `directory`.
    fn boot(directory: &Path) -> Result<Self>;

    /// The guest.
    fn guest(&self) -> &Guest;

    /// Does it once with this side, and returns how much of the unit was reached.
    fn leg(&self, scenario: &Scenario<Self::Load>, side: Side) -> Result<f64>;
}

/// A line of the result.
struct Line {
    name: &'static str,
    /// What is compared with ours.
    other: &'static str,
    unit: &'static str,
    is_control: bool,
    comparison: Comparison,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = &self.comparison;
        let (low, high) = comparison.interval;
        write!(
            f,
            "{:<36}  {:>9.1}  {:>9.1}  {:<8}  {:5.2}  {:5.2}  {low:4.2}..{high:4.2}  {}",
            self.name,
            comparison.theirs.median(),
            comparison.ours.median(),
            self.unit,
            comparison.best,
            comparison.median,
            comparison.verdict()
        )
    }
}

impl Line {
    fn json(&self) -> Value {
        let comparison = &self.comparison;
        let (low, high) = comparison.interval;
        json!({
            "scenario": self.name,
            "unit": self.unit,
            "control": self.is_control,
            "other": self.other,
            "theirs": comparison.theirs.values(),
            "ours": comparison.ours.values(),
            "best": comparison.best,
            "median": comparison.median,
            "interval": [low, high],
            "verdict": comparison.verdict(),
        })
    }
}

/// Runs the scenarios, and prints the table.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "there must be a round");
    let mut lines = course::<disk::Disk>(options)?;
    lines.extend(course::<nic::Nic>(options)?);
    lines.extend(backend::run(options)?);
    if let Some(path) = &options.json {
        let lines: Vec<_> = lines.iter().map(Line::json).collect();
        fs::write(path, serde_json::to_string_pretty(&lines)?)?;
    }
    Ok(())
}

/// Runs what is wanted of the scenarios of a guest.
fn course<C: Course>(options: &Options) -> Result<Vec<Line>> {
    let scenarios: Vec<_> = C::SCENARIOS
        .iter()
        .filter(|scenario| options.wants(scenario.name))
        .collect();
    let mut lines = Vec::new();
    if scenarios.is_empty() {
        return Ok(lines);
    }
    let scratch = Scratch::new()?;
    let course = C::boot(scratch.path())?;
    println!(
        "{:<36}  {:>9}  {:>9}  {:<8}  {:>5}  {:>5}  {:<10}  verdict",
        "",
        C::OTHER,
        "ours",
        "",
        "best",
        "med.",
        "95 %"
    );
    for scenario in scenarios {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for round in 0..=options.rounds {
            for side in ORDER {
                let used = if scenario.is_control {
                    Side::Theirs
                } else {
                    side
                };
                let value = course.leg(scenario, used)?;
                // The first round warms up.
                match side {
                    _ if round == 0 => {}
                    Side::Theirs => theirs.push(value),
                    Side::Ours => ours.push(value),
                }
            }
        }
        let line = Line {
            name: scenario.name,
            other: C::OTHER,
            unit: scenario.unit,
            is_control: scenario.is_control,
            comparison: Comparison::new(theirs, ours)?,
        };
        println!("{line}");
        lines.push(line);
    }
    course.guest().end()?;
    Ok(lines)
}
