// SPDX-License-Identifier: GPL-2.0

//! What the kernel of a guest complains of.

use super::{Guest, lock};
use crate::splat::{self, Splat};
use anyhow::{Result, ensure};
use std::fs;

/// Of no driver: if memory is short, the kernel goes on if the files of an interrupt in /proc cannot be
/// made, and warns that they are not there when it removes them.
pub const NO_IRQ_FILES: &str = "WARNING: at remove_proc_entry+";

/// Of no driver: if the kernel cannot make all tags of a disk, it does not wait for those that it has
/// made to be gone.
pub const NO_TAGS: &str = "WARNING: at cleanup_srcu_struct+";

impl Guest {
    /// Takes the complaints since the last time. A test that provokes them calls this; any that is
    /// left at the end fails the test.
    pub fn take_splats(&self) -> Vec<Splat> {
        let log = fs::read(&self.log).unwrap_or_default();
        let mut seen = lock(&self.seen);
        // The last line may be incomplete.
        let end = log
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        let new = String::from_utf8_lossy(&log[(*seen).min(end)..end]).into_owned();
        *seen = end;
        let splats = splat::find(&new);
        if !splats.is_empty() {
            *lock(&self.tainted) = true;
        }
        splats
    }

    /// Looks for memory that nobody refers to, where the kernel can.
    pub fn find_leaks(&self) -> Result<Vec<Splat>> {
        if !self.kernel.is_debug() {
            return Ok(Vec::new());
        }
        // The allocator's own caches have stale pointers to what it gave away: they are emptied.
        // Frames that a CPU is to free for another one wait until it receives something: those that
        // were put together are in lists that begin in a page, where nobody looks for references.
        // What was allocated in the last 5 seconds is never reported, nor what has changed since
        // the scan before.
        let report = self.sh("ip link set lo up
             for i in /sys/devices/system/cpu/cpu[0-9]*; do
                 taskset -c ${i##*cpu} ping -c 1 -W 1 127.0.0.1
             done >/dev/null 2>&1
             for i in /sys/kernel/slab/*/shrink; do echo 1 >$i; done
             cd /sys/kernel/debug; echo scan >kmemleak; sleep 6; echo scan >kmemleak
             cat kmemleak; echo clear >kmemleak")?;
        let path = self.artefacts.join(format!("{}.kmemleak", self.name));
        fs::write(&path, &report)?;
        let mut objects = report
            .lines()
            .filter(|line| line.starts_with("unreferenced object"));
        let first = objects.next();
        let more = objects.count();
        Ok(first
            .map(|first| Splat {
                kind: splat::Kind::Kmemleak,
                line: format!("{first} and {more} more, see {}", path.display()),
            })
            .into_iter()
            .collect())
    }

    /// Takes the complaints since the last time, whose lines may only begin with these: they are not
    /// of what is tested, which the caller explains.
    pub fn excuse(&self, known: &[&str]) -> Result<()> {
        let others: Vec<_> = self
            .take_splats()
            .into_iter()
            .filter(|splat| !known.iter().any(|begin| splat.line.starts_with(begin)))
            .collect();
        ensure!(
            others.is_empty(),
            "the kernel of {} complains: {others:#?}",
            self.name
        );
        Ok(())
    }

    /// Ends the guest, which must not have complained.
    pub fn end(&self) -> Result<()> {
        let splats = self.shut_down()?;
        ensure!(
            splats.is_empty(),
            "the kernel of {} complains: {splats:#?}",
            self.name
        );
        Ok(())
    }
}
