// SPDX-License-Identifier: GPL-2.0

//! Guests whose instructions are counted.
//!
//! Such a guest runs in a time of its own, which is the number of its instructions; so does all
//! that depends on time, and two runs of the same are the same. It has one CPU, as QEMU can do this
//! with one thread only.

use super::Builder;
use crate::paths;
use anyhow::{Result, ensure};
use std::{ffi::OsString, path::Path, time::Duration};

/// The program of the guest that opens a window around a write to a file.
pub const WINDOW: &str = "/usr/bin/window";

/// How time goes on while such a guest is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// At once, to the next event of the guest: nothing waits for the host.
    Skipped,
    /// As the host's time does, for a device that works by that.
    OfHost,
}

/// How long such a guest may take to boot: one thread emulates it, which counts.
const STALL: Duration = Duration::from_secs(50);

impl Builder {
    /// Counts the instructions that the kernel executes in windows, to file `counts`: see
    /// `tests/bench/count.c`, and [`crate::counts`].
    pub fn count(mut self, counts: &Path, idle: Idle) -> Result<Self> {
        let window = paths::project().join("build/bench/window");
        ensure!(
            window.exists(),
            "{} is not built: make harness",
            window.display()
        );
        let window = std::fs::read(window)?;
        self.counts = Some((counts.to_owned(), idle));
        // What a processor's flaws cost is not the drivers'.
        Ok(self
            .cpus(1)
            .stall(STALL)
            .append("mitigations=off")
            .file(WINDOW, &window))
    }

    /// Returns the options that make QEMU count, and what is not the same in each run go away.
    pub(super) fn count_options(counts: &Path, idle: Idle) -> [OsString; 8] {
        let mut plugin = paths::project()
            .join("build/bench/count.so")
            .into_os_string();
        plugin.push(",out=");
        plugin.push(counts);
        [
            "-icount".into(),
            match idle {
                Idle::Skipped => "shift=0,sleep=off,align=off".into(),
                Idle::OfHost => "shift=0,sleep=on,align=off".into(),
            },
            "-rtc".into(),
            "base=2026-01-01,clock=vm".into(),
            "-cpu".into(),
            "max,la57=off,rdrand=off,rdseed=off".into(),
            "-plugin".into(),
            plugin,
        ]
    }
}
