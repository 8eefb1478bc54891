// SPDX-License-Identifier: GPL-2.0

//! Where and with what something was measured.

use super::field;
use crate::{
    guest,
    kernel::{Kernel, STOCK},
    paths,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
    thread,
};

/// How many digits of a commit people are shown.
const SHORT: usize = 12;

/// Where and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The release of the guest's kernel.
    pub kernel: String,
    /// The version of QEMU.
    pub qemu: String,
    /// The model of the host's CPUs, and how many there are.
    pub cpu: String,
    pub cpus: u32,
    /// What QEMU runs guests with.
    pub accelerator: String,
    /// The commit of the checkout; and a hash of what was changed since, if anything was: two changes
    /// of one commit are not the same.
    pub commit: String,
    pub changes: Option<String>,
    /// When.
    pub date: String,
}

impl About {
    /// Looks at this machine and this checkout.
    pub fn here(accelerator: &str) -> Result<Self> {
        Ok(Self {
            kernel: Kernel::find(STOCK)?.release,
            qemu: qemu()?,
            cpu: cpu(),
            cpus: u32::try_from(thread::available_parallelism()?.get())?,
            accelerator: accelerator.to_owned(),
            commit: commit(),
            changes: changes()?,
            date: date("+%Y-%m-%d %H:%M UTC")?,
        })
    }

    /// Returns in what two differ that are not of the same: when they are does not matter.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        self.facts()
            .into_iter()
            .zip(other.facts())
            .filter(|((name, one), (_, other))| *name != "date" && one != other)
            .map(|((name, _), _)| name)
            .collect()
    }

    /// Returns all of it, by names.
    pub fn facts(&self) -> [(&'static str, String); 7] {
        let commit = match &self.changes {
            Some(changes) => format!("{}, with changes {changes}", self.commit),
            None => self.commit.clone(),
        };
        [
            ("kernel", self.kernel.clone()),
            ("QEMU", self.qemu.clone()),
            ("CPU", self.cpu.clone()),
            ("CPUs", self.cpus.to_string()),
            ("accelerator", self.accelerator.clone()),
            ("commit", commit),
            ("date", self.date.clone()),
        ]
    }

    /// Returns the commit, for people.
    pub fn revision(&self) -> String {
        let commit = short(&self.commit);
        match self.changes {
            Some(_) => format!("{commit} with changes"),
            None => commit.to_owned(),
        }
    }

    /// Writes it.
    pub fn json(&self) -> Value {
        json!({
            "kernel": self.kernel,
            "qemu": self.qemu,
            "cpu": self.cpu,
            "cpus": self.cpus,
            "accelerator": self.accelerator,
            "commit": self.commit,
            "dirty": self.changes.is_some(),
            "changes": self.changes,
            "date": self.date,
        })
    }

    /// Reads it.
    pub fn from_json(value: &Value) -> Result<Self> {
        Ok(Self {
            kernel: field::text(value, "kernel")?,
            qemu: field::text(value, "qemu")?,
            cpu: field::text(value, "cpu")?,
            cpus: field::count(value, "cpus")?,
            accelerator: field::text(value, "accelerator")?,
            commit: field::text(value, "commit")?,
            changes: field::optional_text(value, "changes"),
            date: field::text(value, "date")?,
        })
    }
}

/// Of what something is, and when, in short.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The day, in UTC.
    pub day: String,
    /// The commit of the checkout, with `-dirty` if anything was changed since.
    pub commit: String,
}

impl Stamp {
    /// Looks at this checkout, and the clock.
    pub fn now() -> Result<Self> {
        let mut commit = short(&commit()).to_owned();
        // Without a repository, there is nothing to tell.
        if git(&["status", "--porcelain"]).is_ok_and(|status| !status.is_empty()) {
            commit += "-dirty";
        }
        Ok(Self {
            day: date("+%Y-%m-%d")?,
            commit,
        })
    }
}

/// Returns what guests run with, for people.
pub fn accelerator() -> &'static str {
    if guest::accelerator() == "kvm" {
        "KVM"
    } else {
        "TCG"
    }
}

/// Returns the version of QEMU.
fn qemu() -> Result<String> {
    let said = said(Command::new("qemu-system-x86_64").arg("--version"))?;
    let line = said.lines().next().unwrap_or_default();
    Ok(line
        .trim_start_matches("QEMU emulator version ")
        .trim()
        .to_owned())
}

/// Returns the model of the CPUs: not every architecture tells it.
fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    text.lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// Returns the commit of the checkout. A release has no repository.
fn commit() -> String {
    git(&["rev-parse", "HEAD"]).map_or_else(|_| "unknown".to_owned(), |said| said.trim().to_owned())
}

/// Returns as much of a commit as people are shown.
fn short(commit: &str) -> &str {
    commit.get(..SHORT).unwrap_or(commit)
}

/// Returns the time, in UTC, in a format of `date`.
fn date(format: &str) -> Result<String> {
    let said = said(Command::new("date").args(["--utc", format]))?;
    Ok(said.trim().to_owned())
}

/// Returns a hash of what is not committed, if there is anything.
fn changes() -> Result<Option<String>> {
    // Without a repository, there is nothing to tell.
    let Ok(status) = git(&["status", "--porcelain"]) else {
        return Ok(None);
    };
    if status.is_empty() {
        return Ok(None);
    }
    let text = status + &git(&["diff", "HEAD"])?;
    let mut hasher = command(&["hash-object", "--stdin"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("running git")?;
    // What is taken is dropped, which ends the input.
    let mut input = hasher.stdin.take().context("git takes no input")?;
    input.write_all(text.as_bytes())?;
    drop(input);
    let hash = String::from_utf8(hasher.wait_with_output()?.stdout)?;
    Ok(hash.get(..SHORT).map(str::to_owned))
}

/// Returns git, to be run in this checkout, whoever owns it.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(["-c", "safe.directory=*", "-C"])
        .arg(paths::project())
        .args(arguments);
    command
}

fn git(arguments: &[&str]) -> Result<String> {
    said(&mut command(arguments))
}

/// Runs a program, and returns what it says.
fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("running {name}"))?;
    ensure!(output.status.success(), "{name} fails");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn it_is_read_as_it_was_written() -> Result<()> {
        let clean = samples::about();
        let dirty = About {
            changes: Some("0123456789ab".to_owned()),
            ..samples::about()
        };
        for about in [clean, dirty] {
            assert_eq!(About::from_json(&about.json())?, about);
        }
        Ok(())
    }

    #[test]
    fn all_but_the_date_is_a_difference() {
        let one = samples::about();
        let later = About {
            date: "later".to_owned(),
            ..one.clone()
        };
        assert_eq!(one.differences(&later), Vec::<&str>::new());
        let other = About {
            kernel: "7.4".to_owned(),
            changes: Some("0123456789ab".to_owned()),
            ..one.clone()
        };
        assert_eq!(one.differences(&other), ["kernel", "commit"]);
    }

    #[test]
    fn a_stamp_has_a_day_and_a_short_commit() -> Result<()> {
        let Stamp { day, commit } = Stamp::now()?;
        let numbers: Vec<_> = day.split('-').map(str::parse::<u32>).collect();
        assert!(
            matches!(numbers[..], [Ok(2024..), Ok(1..=12), Ok(1..=31)]),
            "{day}"
        );
        let hash = commit.trim_end_matches("-dirty");
        assert!(hash == "unknown" || hash.len() == SHORT, "{commit}");
        Ok(())
    }

    #[test]
    fn people_see_a_part_of_the_commit() {
        let mut about = samples::about();
        assert_eq!(about.revision(), "0011223344ff");
        about.changes = Some("0123456789ab".to_owned());
        assert_eq!(about.revision(), "0011223344ff with changes");
    }
}
