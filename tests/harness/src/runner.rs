// SPDX-License-Identifier: GPL-2.0

//! Runs tests, each in a process of its own, and reports.

use crate::{
    cx::{Cx, Test, Told, VERDICTS, Verdict, read_told},
    guest,
    leftovers::{self, Before},
    registry::{self, Found, Wanted},
    results::{Case, Entry, Recorder},
};
use anyhow::{Context, Result, anyhow, bail, ensure};
use std::{
    env,
    fs::{self, File},
    io,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

/// How long a test's process may take beyond its limit, to look into what hangs.
const GRACE: Duration = Duration::from_secs(90);

/// How many lines of the reason of a failure are repeated at the end.
const REASON: usize = 25;

/// The exit status of a test's process that ended itself at its time limit.
const TIMED_OUT: i32 = 124;

/// Whether the verdict of this process's test is being told.
static OVER: AtomicBool = AtomicBool::new(false);

/// The result of a test, or of a case of it.
struct Outcome {
    name: String,
    verdict: Verdict,
    /// What was found out.
    said: Vec<String>,
}

/// What came out of running a test.
struct Run {
    test: Test,
    outcomes: Vec<Outcome>,
    time: Duration,
    artefacts: PathBuf,
    /// The logs of boots that stalled, and were repeated.
    stalled: Vec<PathBuf>,
}

impl Run {
    /// Returns what is kept of it.
    fn entry(&self, recorder: &Recorder) -> Entry {
        let prefix = format!("{}/", self.test.name);
        let mut entry = Entry {
            verdict: Verdict::Failed("it has no verdict".to_owned()),
            seconds: self.time.as_secs_f64(),
            said: Vec::new(),
            cases: Vec::new(),
            stamp: recorder.stamp().clone(),
        };
        for Outcome {
            name,
            verdict,
            said,
        } in &self.outcomes
        {
            let (verdict, said) = (verdict.clone(), said.clone());
            match name.strip_prefix(&prefix) {
                Some(name) => entry.cases.push(Case {
                    name: name.to_owned(),
                    verdict,
                    said,
                }),
                None => (entry.verdict, entry.said) = (verdict, said),
            }
        }
        entry
    }
}

/// Where a run leaves what.
pub struct Places {
    /// What failed tests leave, in a directory.
    pub artefacts: PathBuf,
    /// What came out of the tests, in a file.
    pub results: PathBuf,
}

/// Runs the tests that are wanted, at most `jobs` at a time. Returns whether none failed.
pub fn run(wanted: &Wanted, jobs: usize, places: &Places) -> Result<bool> {
    let started = Instant::now();
    let Found {
        tests: mut waiting,
        left_out,
    } = registry::find(wanted)?;
    let total = waiting.len();
    let mut memory = available_memory()? / 4 * 3;
    let mut running: Vec<Test> = Vec::new();
    let mut runs = Vec::new();
    let (sender, receiver) = mpsc::channel();
    let recorder = Recorder::new(&places.results)?;
    Before::look()?;

    while !waiting.is_empty() || !running.is_empty() {
        let next = waiting.iter().position(|test| {
            running.is_empty()
                || (running.len() < jobs
                    && !test.alone
                    && !running.iter().any(|other| other.alone)
                    && u64::from(test.memory) <= memory)
        });
        if let Some(at) = next {
            let test = waiting.remove(at);
            memory = memory.saturating_sub(u64::from(test.memory));
            running.push(test);
            let (sender, artefacts) = (sender.clone(), places.artefacts.clone());
            thread::spawn(move || {
                // The receiver lives until all have reported.
                let _ = sender.send(run_one(test, &artefacts));
            });
            continue;
        }
        let run: Run = receiver.recv()?;
        memory += u64::from(run.test.memory);
        running.retain(|test| test.name != run.test.name);
        runs.push(run);
        if let Some(run) = runs.last() {
            report(run, runs.len(), total);
            if let Err(error) = recorder.add(run.test.name, run.entry(&recorder)) {
                eprintln!("what came out of {} is not kept: {error:#}", run.test.name);
            }
        }
    }

    // What escaped from a test's process that was killed.
    for (pid, command) in leftovers::children()? {
        eprintln!("left over: process {}: {command}", pid.as_raw_nonzero());
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    let seconds = started.elapsed().as_secs();
    println!("\nran for {} min {} s", seconds / 60, seconds % 60);
    if !left_out.is_empty() {
        println!("left out, as they are long; make test-all runs them:");
        left_out
            .iter()
            .for_each(|test| println!("    {}", test.name));
    }
    Ok(summary(&runs))
}

/// Prints the results of a test.
fn report(run: &Run, done: usize, total: usize) {
    let seconds = run.time.as_secs_f32();
    for outcome in &run.outcomes {
        let is_test = outcome.name == run.test.name;
        let head = if is_test {
            format!("[{done:2}/{total}] {seconds:6.1} s")
        } else {
            " ".repeat(16)
        };
        match &outcome.verdict {
            Verdict::Passed => println!("{head}  ok      {}", outcome.name),
            Verdict::Skipped(why) => println!("{head}  skipped {}: {why}", outcome.name),
            Verdict::Failed(why) => {
                println!("{head}  FAILED  {}", outcome.name);
                for line in why.lines() {
                    println!("        {line}");
                }
                if is_test {
                    println!("        see {}", run.artefacts.display());
                }
            }
        }
        for said in &outcome.said {
            println!("        {said}");
        }
    }
    for log in &run.stalled {
        println!("        a guest was booted again, see {}", log.display());
    }
}

/// Prints what was skipped, what failed, and how many.
fn summary(runs: &[Run]) -> bool {
    let outcomes = || runs.iter().flat_map(|run| &run.outcomes);
    let mut counts = [0; 3];
    for outcome in outcomes() {
        match &outcome.verdict {
            Verdict::Passed => counts[0] += 1,
            Verdict::Failed(why) => {
                counts[1] += 1;
                println!("failed: {}", outcome.name);
                // Again: who sees only the end of a long log should see the reason.
                for line in why.lines().take(REASON) {
                    println!("        {line}");
                }
            }
            Verdict::Skipped(why) => {
                counts[2] += 1;
                println!("skipped: {}: {why}", outcome.name);
            }
        }
    }
    for run in runs.iter().filter(|run| !run.stalled.is_empty()) {
        println!("booted again: {} of {}", run.stalled.len(), run.test.name);
    }
    let repeated: usize = runs.iter().map(|run| run.stalled.len()).sum();
    if repeated > 0 {
        println!("boots repeated: {repeated}");
    }
    let [passed, failed, skipped] = counts;
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}

/// Runs a test in a process of its own, and collects its verdicts.
fn run_one(test: Test, artefacts: &Path) -> Run {
    let started = Instant::now();
    let artefacts = artefacts.join(test.name.replace("::", "."));
    let mut outcomes = Vec::new();
    let end = spawn(&test, &artefacts).and_then(|mut child| wait(&mut child, test.limit + GRACE));

    let mut last = None;
    let mut said = Vec::new();
    let verdicts = fs::read_to_string(artefacts.join(VERDICTS)).unwrap_or_default();
    for line in verdicts.lines() {
        match read_told(line) {
            Ok(Told::Verdict(Some(case), verdict)) => outcomes.push(Outcome {
                name: format!("{}/{case}", test.name),
                verdict,
                said: std::mem::take(&mut said),
            }),
            Ok(Told::Verdict(None, verdict)) => last = Some(verdict),
            Ok(Told::Said(text)) => said.push(text),
            Err(error) => last = Some(Verdict::Failed(format!("{error:#}"))),
        }
    }
    let verdict = match (end, last) {
        (Err(error), _) => Verdict::Failed(format!("{error:#}")),
        (Ok(_), Some(verdict)) => verdict,
        (Ok(status), None) => {
            let log = fs::read_to_string(artefacts.join("log")).unwrap_or_default();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            Verdict::Failed(format!("its process ends with {status}\n{tail}"))
        }
    };
    let failed = |verdict: &Verdict| matches!(verdict, Verdict::Failed(_));
    let stalled = guest::stalled_logs(&artefacts).unwrap_or_default();
    if !failed(&verdict) && !outcomes.iter().any(|outcome| failed(&outcome.verdict)) {
        // What cannot be removed will be overwritten.
        let _ = remove_but(&artefacts, &stalled);
    }
    outcomes.push(Outcome {
        name: test.name.to_owned(),
        verdict,
        said,
    });
    Run {
        test,
        outcomes,
        time: started.elapsed(),
        artefacts,
        stalled,
    }
}

/// Removes what a test has left, but for some files.
fn remove_but(artefacts: &Path, kept: &[PathBuf]) -> io::Result<()> {
    if kept.is_empty() {
        return fs::remove_dir_all(artefacts);
    }
    for entry in fs::read_dir(artefacts)? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else if !kept.contains(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Starts the process of a test, in name spaces of its own.
fn spawn(test: &Test, artefacts: &Path) -> Result<process::Child> {
    if artefacts.exists() {
        fs::remove_dir_all(artefacts)?;
    }
    fs::create_dir_all(artefacts).context("making the directory for artefacts")?;
    let log = File::create(artefacts.join("log"))?;
    let network = if test.network {
        Network::Host
    } else {
        Network::Own
    };
    apart(network)?
        .args(["exec", test.name])
        .arg(artefacts)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting the process of the test")
}

/// The network of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// That of the host.
    Host,
    /// One that ends with it.
    Own,
}

/// Returns a command that runs this program in name spaces of its own, and is to be given arguments.
pub fn apart(network: Network) -> Result<Command> {
    let mut command = Command::new("unshare");
    if network == Network::Own {
        command.arg("--net");
    }
    command
        .args(["--mount", "sh", "-ec"])
        .arg(
            "mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns
             ip link set lo up
             exec \"$@\"",
        )
        .arg("-")
        .arg(env::current_exe()?);
    Ok(command)
}

fn wait(child: &mut process::Child, limit: Duration) -> Result<process::ExitStatus> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            bail!("its process did not end itself at its time limit, it was killed");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a test in this process: what [`spawn`] starts.
pub fn exec(name: &str, artefacts: &Path) -> Result<()> {
    let test = registry::all()
        .find(|test| test.name == name)
        .with_context(|| format!("there is no test {name}"))?;
    let before = Before::look()?;
    let mut cx = Cx::new(artefacts)?;
    watch(test, artefacts)?;

    // A panic has printed itself to the log.
    let result = panic::catch_unwind(AssertUnwindSafe(|| (test.run)(&mut cx)))
        .unwrap_or_else(|panic| Err(anyhow!("it panics: {}", panic_text(&*panic))));
    let mut verdict = cx.finish(result);
    let left = before.compare()?;
    if !left.is_empty() {
        let left = format!("left over: {}", left.join("\nleft over: "));
        verdict = Verdict::Failed(match verdict {
            Verdict::Failed(why) => format!("{why}\n{left}"),
            _ => left,
        });
    }
    // Only one thread tells a verdict: this one, or the one that watches the time.
    while OVER.swap(true, Ordering::SeqCst) {
        thread::park();
    }
    cx.tell(None, &verdict);
    process::exit(0);
}

/// Ends this process when the test's time is over, after a look at its guests.
fn watch(test: Test, artefacts: &Path) -> Result<()> {
    let verdicts = File::options()
        .append(true)
        .open(artefacts.join(VERDICTS))?;
    thread::spawn(move || {
        thread::sleep(test.limit);
        if OVER.swap(true, Ordering::SeqCst) {
            return;
        }
        let verdict = Verdict::Failed(format!(
            "it hangs: it has not ended within its limit of {} s; its guests' state is in *.hang.txt \
             and at the end of *.serial.log",
            test.limit.as_secs()
        ));
        guest::look_and_kill_all();
        Cx::tell_to(&verdicts, None, &verdict);
        process::exit(TIMED_OUT);
    });
    Ok(())
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "see the log".to_owned())
}

/// Returns how much memory is free for guests, in MiB.
fn available_memory() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kib: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.split_whitespace().next())
        .context("/proc/meminfo tells no available memory")?
        .parse()?;
    ensure!(kib > 1 << 20, "less than 1 GiB of memory is available");
    Ok(kib >> 10)
}
