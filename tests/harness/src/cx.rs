// SPDX-License-Identifier: GPL-2.0

//! What a test is, and what it has at hand while it runs.

use crate::{
    backend::{Backend, Part},
    guest::{Builder, Guest},
    kernel::{Kernel, STOCK},
    paths::Scratch,
    program::Program,
};
use anyhow::{Context, Result};
use std::{
    fmt, fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

/// A test: a function, and what it needs.
#[derive(Clone, Copy)]
pub struct Test {
    /// Its group, file and own name, separated by `::`.
    pub name: &'static str,
    /// What it does.
    pub run: fn(&mut Cx) -> Result<()>,
    /// How long it may take.
    pub limit: Duration,
    /// The kernels whose modules it loads.
    pub kernels: &'static [&'static str],
    /// The kernels that it boots or builds for, beside those; by default, the stock one.
    pub trees: &'static [&'static str],
    /// How much memory its guests have, in MiB.
    pub memory: u32,
    /// Whether it runs alone, because it measures time.
    pub alone: bool,
    /// Whether it uses the network of the host.
    pub network: bool,
    /// Whether it is long, and runs only when all tests do.
    pub exhaustive: bool,
}

impl Test {
    /// A test that may take a minute, with a guest of 1 GiB.
    pub const fn new(name: &'static str, run: fn(&mut Cx) -> Result<()>) -> Self {
        Self {
            name,
            run,
            limit: Duration::from_secs(60),
            kernels: &[],
            trees: &[STOCK],
            memory: 1024,
            alone: false,
            network: false,
            exhaustive: false,
        }
    }

    /// Sets the time limit, in seconds.
    pub const fn limit(mut self, seconds: u64) -> Self {
        self.limit = Duration::from_secs(seconds);
        self
    }

    /// Names the kernels whose modules it loads.
    pub const fn kernels(mut self, kernels: &'static [&'static str]) -> Self {
        self.kernels = kernels;
        self
    }

    /// Names kernels that it boots or builds for, without our modules.
    pub const fn trees(mut self, trees: &'static [&'static str]) -> Self {
        self.trees = trees;
        self
    }

    /// Tells how much memory it takes, in MiB.
    pub const fn memory(mut self, mebibytes: u32) -> Self {
        self.memory = mebibytes;
        self
    }

    /// Has it run while no other test does.
    pub const fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Lets it use the network of the host.
    pub const fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// Leaves it out, unless all tests are asked for.
    pub const fn exhaustive(mut self) -> Self {
        self.exhaustive = true;
        self
    }
}

/// Why a test did not run. As an error, it makes a test skipped.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// How a test or one of its cases ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// It did not run, for this reason.
    Skipped(String),
    /// It failed, for this reason.
    Failed(String),
}

impl Verdict {
    /// Returns what it is called in files, and the reason.
    pub fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Passed => ("passed", ""),
            Self::Skipped(why) => ("skipped", why),
            Self::Failed(why) => ("failed", why),
        }
    }

    /// Returns what is called like that, if there is such a one.
    pub fn from_words(word: &str, why: &str) -> Option<Self> {
        match word {
            "passed" => Some(Self::Passed),
            "skipped" => Some(Self::Skipped(why.to_owned())),
            "failed" => Some(Self::Failed(why.to_owned())),
            _ => None,
        }
    }
}

impl From<Result<()>> for Verdict {
    fn from(result: Result<()>) -> Self {
        match result {
            Ok(()) => Self::Passed,
            Err(error) => match error.downcast::<Skip>() {
                Ok(skip) => Self::Skipped(skip.0),
                Err(error) => Self::Failed(format!("{error:#}")),
            },
        }
    }
}

/// The context of a test that runs: its guests, its artefacts, its cases.
pub struct Cx {
    artefacts: PathBuf,
    guests: Vec<Arc<Guest>>,
    backends: Vec<Arc<Backend>>,
    scratches: Vec<Scratch>,
    failed_cases: u32,
    verdicts: fs::File,
}

impl Cx {
    /// Makes a context; what the test leaves goes to directory `artefacts`.
    pub fn new(artefacts: &Path) -> Result<Self> {
        Ok(Self {
            artefacts: artefacts.to_owned(),
            guests: Vec::new(),
            backends: Vec::new(),
            scratches: Vec::new(),
            failed_cases: 0,
            verdicts: fs::File::create(artefacts.join(VERDICTS))?,
        })
    }

    /// Returns the directory for what the test leaves; it is kept if the test fails.
    pub fn artefacts(&self) -> &Path {
        &self.artefacts
    }

    /// Finds a kernel, and starts the description of a guest that boots it.
    pub fn kernel(&self, flavour: &str) -> Result<Builder> {
        Ok(Builder::new(&Kernel::find(flavour)?))
    }

    /// Boots a guest. When the test has ended, it is shut down and looked at for leaks and
    /// complaints.
    pub fn boot(&mut self, builder: &Builder) -> Result<Arc<Guest>> {
        let guest = builder.boot(&self.artefacts)?;
        self.guests.push(Arc::clone(&guest));
        Ok(guest)
    }

    /// Starts a backend with disks: each has a name, and what `virtio-backend --blk` takes, but for
    /// the name and the socket. When the guests of the test have ended, it is asked to end.
    pub fn backend(&mut self, disks: &[(&str, &str)]) -> Result<Arc<Backend>> {
        let parts = disks.iter().map(|(name, spec)| Part::blk(name, spec));
        self.backend_of(parts.collect())
    }

    /// Starts a backend with devices of any kind, and with ports of its switch.
    pub fn backend_of(&mut self, parts: Vec<Part>) -> Result<Arc<Backend>> {
        let backend = Arc::new(Backend::start(parts, &self.artefacts)?);
        self.backends.push(Arc::clone(&backend));
        Ok(backend)
    }

    /// Ends a guest before the test does, for the next one to have its memory. It fails if the guest
    /// has complained.
    pub fn end(&mut self, guest: &Arc<Guest>) -> Result<()> {
        self.guests.retain(|other| !Arc::ptr_eq(other, guest));
        guest.end()
    }

    /// Runs a part of the test that has a result of its own. The test goes on if it fails.
    pub fn case(&mut self, name: &str, run: impl FnOnce(&mut Self) -> Result<()>) {
        let verdict = Verdict::from(run(self));
        self.add_case(name, &verdict);
    }

    /// Adds the result of a part of the test that something else has run.
    pub fn add_case(&mut self, name: &str, verdict: &Verdict) {
        if matches!(verdict, Verdict::Failed(_)) {
            self.failed_cases += 1;
        }
        self.tell(Some(name), verdict);
    }

    /// Makes a directory with a short name, for sockets; it ends with the test.
    pub fn scratch(&mut self) -> Result<PathBuf> {
        let scratch = Scratch::new()?;
        let path = scratch.path().to_owned();
        self.scratches.push(scratch);
        Ok(path)
    }

    /// Starts a program of the host, such as a backend. It is killed when the handle is dropped.
    pub fn spawn(&self, command: &mut Command) -> Result<Program> {
        Program::spawn(command, &self.artefacts)
    }

    /// Ends the test: shuts its guests down, then its backends, and fails if any guest has
    /// complained.
    pub fn finish(&mut self, result: Result<()>) -> Verdict {
        let mut problems = Vec::new();
        let mut verdict = Verdict::from(result);
        if let Verdict::Failed(why) = &verdict {
            problems.push(why.clone());
        }
        for guest in self.guests.drain(..) {
            match guest.shut_down() {
                Ok(splats) => problems.extend(
                    splats
                        .iter()
                        .map(|splat| format!("the kernel of {} complains: {splat}", guest.name())),
                ),
                Err(error) => problems.push(format!("{error:#}")),
            }
        }
        for backend in self.backends.drain(..) {
            if let Err(error) = backend.end() {
                problems.push(format!("{error:#}"));
            }
        }
        if self.failed_cases > 0 {
            problems.push(format!("{} of its cases failed", self.failed_cases));
        }
        if !problems.is_empty() {
            verdict = Verdict::Failed(problems.join("\n"));
        }
        verdict
    }

    /// Tells the runner how the test, or a case of it, ended.
    pub fn tell(&self, case: Option<&str>, verdict: &Verdict) {
        Self::tell_to(&self.verdicts, case, verdict);
    }

    /// Says something that was found out, such as a figure. The report has it below the case in which it
    /// is said, or below the test.
    pub fn say(&self, text: &str) {
        write_line(&self.verdicts, &serde_json::json!({ "said": text }));
    }

    /// Does the same, for whoever has the file of the verdicts only.
    pub fn tell_to(verdicts: &fs::File, case: Option<&str>, verdict: &Verdict) {
        let (outcome, why) = verdict.words();
        let line = serde_json::json!({ "case": case, "outcome": outcome, "why": why });
        write_line(verdicts, &line);
    }
}

fn write_line(mut verdicts: &fs::File, line: &serde_json::Value) {
    if let Err(error) = writeln!(verdicts, "{line}") {
        eprintln!("the verdict cannot be written: {error}");
    }
}

/// What a test tells the runner.
pub enum Told {
    /// How it ended, or a case of it.
    Verdict(Option<String>, Verdict),
    /// What it found out.
    Said(String),
}

/// The file of a test's artefacts that has its verdicts, a line of JSON each.
pub const VERDICTS: &str = "verdicts.json";

/// Reads what [`Cx::tell`] or [`Cx::say`] wrote.
pub fn read_told(line: &str) -> Result<Told> {
    let value: serde_json::Value = serde_json::from_str(line)?;
    if let Some(said) = value["said"].as_str() {
        return Ok(Told::Said(said.to_owned()));
    }
    let why = value["why"].as_str().unwrap_or_default();
    let verdict = value["outcome"]
        .as_str()
        .and_then(|outcome| Verdict::from_words(outcome, why))
        .with_context(|| format!("not a verdict: {line}"))?;
    let case = value["case"].as_str().map(str::to_owned);
    Ok(Told::Verdict(case, verdict))
}
