// SPDX-License-Identifier: GPL-2.0

//! Finds what a test should have removed: processes, network interfaces, network name spaces.
//!
//! A test runs in network and mount name spaces of its own, and its process adopts the orphans of
//! its children; so whatever is there in the end and was not at the start is the test's.

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, getpid, kill_process, set_child_subreaper};
use std::{collections::BTreeSet, fs};

/// What there was before the test.
pub struct Before(BTreeSet<String>);

impl Before {
    /// Looks, and makes this process adopt its orphans.
    pub fn look() -> Result<Self> {
        set_child_subreaper(Some(getpid())).context("adopting orphans")?;
        Ok(Self(network()?))
    }

    /// Returns a line for each thing that was left over. Processes are killed.
    pub fn compare(&self) -> Result<Vec<String>> {
        let mut found: Vec<_> = network()?.difference(&self.0).cloned().collect();
        for (pid, command) in children()? {
            found.push(format!("process {}: {command}", pid.as_raw_nonzero()));
            // It may end by itself at this moment.
            let _ = kill_process(pid, Signal::KILL);
        }
        Ok(found)
    }
}

/// Lists the network interfaces, and the names of network name spaces.
fn network() -> Result<BTreeSet<String>> {
    let interfaces = fs::read_to_string("/proc/self/net/dev")?;
    let mut names: BTreeSet<_> = interfaces
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| format!("network interface {}", name.trim()))
        .collect();
    if let Ok(directory) = fs::read_dir("/run/netns") {
        for entry in directory {
            let name = entry?.file_name();
            names.insert(format!("network name space {}", name.to_string_lossy()));
        }
    }
    Ok(names)
}

/// Lists the children of this process that are alive.
pub fn children() -> Result<Vec<(Pid, String)>> {
    let parent = getpid().as_raw_nonzero().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        // A process may end while it is looked at.
        let Ok(stat) = fs::read_to_string(path.join("stat")) else {
            continue;
        };
        // The name is in parentheses, and may contain some.
        let Some((head, tail)) = stat.rsplit_once(')') else {
            continue;
        };
        let mut fields = tail.split_whitespace();
        let (state, ppid) = (fields.next(), fields.next());
        if state == Some("Z") || ppid != Some(parent.as_str()) {
            continue;
        }
        let pid = head
            .split_whitespace()
            .next()
            .and_then(|pid| pid.parse().ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            let command = fs::read(path.join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            let name = match command.trim() {
                // It is about to execute another program.
                "" => head,
                command => command,
            };
            found.push((pid, name.to_owned()));
        }
    }
    Ok(found)
}
