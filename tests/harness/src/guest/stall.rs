// SPDX-License-Identifier: GPL-2.0

//! Guests that do not come up, and are booted again.
//!
//! The log of the first boot is what tells of it, and is kept: a run counts these logs.

use crate::kernel::{Arch, Kernel};
use anyhow::Result;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// How the names of the logs end.
const SUFFIX: &str = ".stalled.log";

/// Returns the time after which a guest is booted again: five times what a boot takes.
pub fn limit(kernel: &Kernel) -> Duration {
    let is_slow = kernel.is_debug() || kernel.arch == Arch::Arm64;
    Duration::from_secs(if is_slow { 50 } else { 20 })
}

/// Tells whether a boot has failed as only emulated processors do: while the kernel patches itself, one
/// of them meets the breakpoint of a place that is patched already, as another has just written it.
pub fn is_of_emulation(log: &str) -> bool {
    log.contains("] Oops: int3: 0000 ")
}

/// Returns a name for a log: a guest of that name may have stalled before.
pub fn log(artefacts: &Path, guest: &str) -> PathBuf {
    let first = artefacts.join(format!("{guest}{SUFFIX}"));
    let more = (2..).map(|number| artefacts.join(format!("{guest}.{number}{SUFFIX}")));
    let mut names = std::iter::once(first.clone()).chain(more);
    names.find(|path| !path.exists()).unwrap_or(first)
}

/// Returns the logs of boots that stalled.
pub fn stalled_logs(artefacts: &Path) -> Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(artefacts)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(SUFFIX) {
            logs.push(path);
        }
    }
    logs.sort();
    Ok(logs)
}
