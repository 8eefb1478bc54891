// SPDX-License-Identifier: GPL-2.0

//! How guests end.

use super::{Guest, Output, lock};
use crate::splat::{self, Splat};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a guest may take to power itself off.
const LIMIT: Duration = Duration::from_secs(60);

impl Guest {
    /// Ends the guest: looks for leaks, powers it off. Returns every complaint that nobody took.
    pub fn shut_down(&self) -> Result<Vec<Splat>> {
        let mut splats = Vec::new();
        if lock(&self.qemu).is_running() {
            splats.append(&mut self.find_leaks()?);
            let flags = self.sh("cat /proc/sys/kernel/tainted")?;
            // The command that ends the shell has no answer.
            let off = if self.board.switches_off() {
                lock(&self.agent).run("sync; poweroff -f", Instant::now() + LIMIT)
            } else {
                self.halt()
            };
            if !lock(&self.qemu).wait(LIMIT)? {
                return Err(self.explain(match off {
                    Ok(output) => anyhow::anyhow!("it does not power off: {}", output.text),
                    Err(error) => error.context("it does not power off"),
                }));
            }
            splats.append(&mut self.take_splats());
            if splats.is_empty() && !*lock(&self.tainted) {
                splats.extend(splat::taint(flags.trim().parse()?));
            }
        } else {
            splats.append(&mut self.take_splats());
        }
        Ok(splats)
    }

    /// Has it halt, and then switches it off from outside.
    fn halt(&self) -> Result<Output> {
        let output = self.run("sync; (usleep 100000; halt -f) >/dev/null 2>&1 &")?;
        let deadline = Instant::now() + LIMIT;
        while !self.log().contains("reboot: System halted") {
            ensure!(Instant::now() < deadline, "it does not halt");
            thread::sleep(Duration::from_millis(50));
        }
        // QEMU may be gone before it answers.
        let _ = self.qmp("quit", json!({}));
        Ok(output)
    }

    /// Waits until the guest is off, and returns whether it was in time.
    pub fn wait_off(&self, limit: Duration) -> Result<bool> {
        lock(&self.qemu).wait(limit)
    }

    /// Cuts its power.
    pub fn kill(&self) {
        lock(&self.qemu).kill();
    }
}
