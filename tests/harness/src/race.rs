// SPDX-License-Identifier: GPL-2.0

//! How fast drivers and devices are: programs of the guest, against the clock.
//!
//! What is compared is used in turn, in one guest, in the order A B B A. Whatever else the host does
//! makes a leg slower, never faster: so the best legs are compared, and their medians, with an
//! interval in which the ratio of these is likely to be. Where that contains 1, nothing is concluded.

pub mod backend;
mod disk;
mod driver;
mod emulated;
pub mod latency;
mod nic;
mod progress;
pub mod statistics;
mod way;

use crate::{
    bench::{ORDER, Side},
    guest::Guest,
    paths::Scratch,
    report::{self, About, Features, Outcome, Record},
};
use anyhow::{Result, ensure};
use latency::Latencies;
use progress::Progress;
use statistics::Comparison;
use std::path::{Path, PathBuf};

/// What is wanted.
pub struct Options {
    /// How often each driver runs each scenario, in pairs of legs.
    pub rounds: u32,
    /// Where the results go, as JSON. What is there already, and was measured the same way, is kept.
    pub json: Option<PathBuf>,
    /// Nothing is kept.
    pub is_fresh: bool,
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

/// What was reached in a leg.
struct Leg {
    /// In the scenario's unit.
    value: f64,
    /// How long each operation took, where that is measured.
    latencies: Latencies,
}

impl From<f64> for Leg {
    fn from(value: f64) -> Self {
        Self {
            value,
            latencies: Latencies::default(),
        }
    }
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

    /// The features that both sides have negotiated, if these are two drivers of one device.
    fn features(&self) -> Option<&Features> {
        None
    }

    /// Does it once with this side.
    fn leg(&self, scenario: &Scenario<Self::Load>, side: Side) -> Result<Leg>;
}

/// A kind of course.
#[derive(Clone, Copy)]
struct Kind {
    /// Tells how many of its scenarios have to be run.
    missing: fn(&Race<'_>) -> u32,
    /// Runs these.
    run: fn(&mut Race<'_>) -> Result<()>,
}

impl Kind {
    const fn of<C: Course>() -> Self {
        Self {
            missing: |race| race.missing::<C>(),
            run: |race| race.course::<C>(),
        }
    }
}

/// Runs the scenarios, and prints the table.
pub fn run(options: &Options) -> Result<()> {
    let mut kinds = Vec::from(way::KINDS);
    kinds.extend(backend::KINDS);
    kinds.extend(emulated::KINDS);
    Race::new(options)?.run(&kinds).map(|_| ())
}

/// The legs of a scenario before the first round: each side once, to warm up.
const WARM_UP: [Side; 2] = [Side::Theirs, Side::Ours];

/// What is run, and what came out of it.
struct Race<'a> {
    options: &'a Options,
    record: Option<Record>,
    progress: Progress,
    outcomes: Vec<Outcome>,
}

impl<'a> Race<'a> {
    /// Opens the file for the results.
    fn new(options: &'a Options) -> Result<Self> {
        ensure!(options.rounds > 0, "there must be a round");
        let record = |path: &PathBuf| {
            let about = About::here(report::accelerator())?;
            Record::open(path, about, options.is_fresh)
        };
        Ok(Self {
            options,
            record: options.json.as_ref().map(record).transpose()?,
            progress: Progress::default(),
            outcomes: Vec::new(),
        })
    }

    /// Runs what is wanted of some kinds, and returns what came out.
    fn run(mut self, kinds: &[Kind]) -> Result<Vec<Outcome>> {
        let missing = kinds.iter().map(|kind| (kind.missing)(&self)).sum();
        self.progress = Progress::new(missing, self.legs());
        for kind in kinds {
            (kind.run)(&mut self)?;
        }
        Ok(self.outcomes)
    }

    /// Returns how many legs a scenario has.
    fn legs(&self) -> u32 {
        let rounds: u32 = ORDER.iter().map(|_| self.options.rounds).sum();
        WARM_UP.iter().map(|_| 1).sum::<u32>() + rounds
    }

    fn wanted<C: Course>(&self) -> impl Iterator<Item = &'static Scenario<C::Load>> {
        let wanted = |scenario: &&Scenario<C::Load>| self.options.wants(scenario.name);
        C::SCENARIOS.iter().filter(wanted)
    }

    /// Returns what an earlier run has reached in a scenario, in at least as many rounds.
    fn kept(&self, name: &str) -> Option<&Outcome> {
        let found = self.record.as_ref()?.find(name)?;
        (found.rounds >= self.options.rounds).then_some(found)
    }

    fn missing<C: Course>(&self) -> u32 {
        self.wanted::<C>()
            .map(|scenario| u32::from(self.kept(scenario.name).is_none()))
            .sum()
    }

    /// Runs what is wanted of the scenarios of a guest, and not there yet.
    fn course<C: Course>(&mut self) -> Result<()> {
        let scenarios: Vec<_> = self.wanted::<C>().collect();
        if scenarios.is_empty() {
            return Ok(());
        }
        let scratch = Scratch::new()?;
        let mut course = None;
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
            if let Some(kept) = self.kept(scenario.name).cloned() {
                println!("{kept} (kept)");
                self.outcomes.push(kept);
                continue;
            }
            // What is kept needs no guest.
            let course = match &course {
                Some(course) => course,
                None => &*course.insert(C::boot(scratch.path())?),
            };
            let outcome = self.scenario(course, scenario)?;
            println!("{outcome}");
            if let Some(record) = &mut self.record {
                record.add(outcome.clone())?;
            }
            self.outcomes.push(outcome);
        }
        course.map_or(Ok(()), |course| course.guest().end())
    }

    /// Runs a scenario.
    fn scenario<C: Course>(&mut self, course: &C, scenario: &Scenario<C::Load>) -> Result<Outcome> {
        self.progress.begin(scenario.name);
        let mut leg = |side| {
            let used = if scenario.is_control {
                Side::Theirs
            } else {
                side
            };
            let leg = course.leg(scenario, used)?;
            self.progress.leg();
            anyhow::Ok(leg)
        };
        for side in WARM_UP {
            leg(side)?;
        }
        let (mut theirs, mut ours) = (Reached::default(), Reached::default());
        for _ in 0..self.options.rounds {
            for side in ORDER {
                match side {
                    Side::Theirs => theirs.add(leg(side)?),
                    Side::Ours => ours.add(leg(side)?),
                }
            }
        }
        self.progress.end();
        Ok(Outcome {
            name: scenario.name.to_owned(),
            other: C::OTHER.to_owned(),
            unit: scenario.unit.to_owned(),
            is_control: scenario.is_control,
            rounds: self.options.rounds,
            features: course.features().cloned(),
            comparison: Comparison::new(theirs.values, ours.values)?,
            latencies: theirs.latencies.points().zip(ours.latencies.points()),
        })
    }
}

/// What a side has reached in all of its legs.
#[derive(Default)]
struct Reached {
    values: Vec<f64>,
    latencies: Latencies,
}

impl Reached {
    fn add(&mut self, leg: Leg) {
        self.values.push(leg.value);
        self.latencies.add(&leg.latencies);
    }
}
