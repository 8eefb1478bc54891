// SPDX-License-Identifier: GPL-2.0

//! Guests that move to another QEMU while they run.

use super::{Builder, Guest, Machine, lock, qmp::Qmp};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::{
    fs, thread,
    time::{Duration, Instant},
};

/// How long a migration may take, of a guest that is busy on a host that is.
const LIMIT: Duration = Duration::from_secs(90);

/// How long the QEMU that a guest has left may take to end.
const END: Duration = Duration::from_secs(20);

/// How long the guest may stand still, in milliseconds, and how much is sent in a second. At first both
/// are small, so that what has changed is sent again and again while the guest is busy; and then larger
/// than by default, as the host may have other work to do.
const LIVE: (u64, u64) = (1, 64 << 20);
const LAST: (u64, u64) = (5000, 1 << 32);

/// The same for a migration that must not end by itself: it takes minutes to send all of the memory once.
const SLOW: (u64, u64) = (1, 1 << 20);

/// How often all of the memory that has changed was sent before the guest may stand still.
const ROUNDS: u64 = 3;

impl Guest {
    /// Moves it, while it runs, to a QEMU of its own, with other backends: `to` has to describe the same
    /// machine. It is here until its memory was sent, what has changed was sent again, and `meanwhile`
    /// has returned, or until it does too little for that: so that must not wait for the guest. Returns
    /// what QEMU tells of the migration.
    pub fn migrate(&self, to: &Builder, meanwhile: impl FnOnce() -> Result<()>) -> Result<Value> {
        let path = lock(&self.sockets).path().join("incoming");
        let _ = fs::remove_file(&path);
        let uri = format!("unix:{}", path.display());
        let there = Builder {
            incoming: Some(uri.clone()),
            ..to.clone()
        };
        let messages = self.artefacts.join(format!("{}.incoming.log", self.name));
        let mut there = there.launch(&self.log, &messages)?;
        there.qemu.wait_for(&path)?;

        let told = self
            .begin(&uri, LIVE)
            .and_then(|()| {
                self.follow(|told| {
                    let rounds = told["ram"]["dirty-sync-count"].as_u64();
                    rounds > Some(ROUNDS) || told["status"] == "completed"
                })
            })
            .and_then(|_| meanwhile())
            .and_then(|()| self.limit(LAST))
            .and_then(|()| self.follow(|told| told["status"] == "completed"));
        let told = told.map_err(|error| {
            // A guest that stands still, here or there, would be waited for in vain.
            self.kill();
            let text = fs::read_to_string(&messages).unwrap_or_default();
            error.context(format!("the other QEMU says {:?}", text.trim()))
        })?;
        runs(&mut there.qmp)?;
        self.settle(there)?;
        Ok(told)
    }

    /// Begins a migration, and gives it up after `meanwhile`: the guest goes on where it was.
    pub fn begin_to_migrate(&self, meanwhile: impl FnOnce() -> Result<()>) -> Result<()> {
        self.begin("exec:cat >/dev/null", SLOW)?;
        let done = meanwhile();
        self.qmp("migrate_cancel", json!({}))?;
        done?;
        self.follow(|told| told["status"] == "cancelled")?;
        Ok(())
    }

    fn begin(&self, uri: &str, limits: (u64, u64)) -> Result<()> {
        self.limit(limits)?;
        self.qmp("migrate", json!({ "uri": uri }))?;
        Ok(())
    }

    fn limit(&self, (downtime, bandwidth): (u64, u64)) -> Result<()> {
        self.qmp(
            "migrate-set-parameters",
            json!({ "downtime-limit": downtime, "max-bandwidth": bandwidth }),
        )?;
        Ok(())
    }

    /// Waits until a migration is as it should be, and returns what QEMU tells of it.
    fn follow(&self, enough: impl Fn(&Value) -> bool) -> Result<Value> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let told = self.qmp("query-migrate", json!({}))?;
            if enough(&told) {
                return Ok(told);
            }
            ensure!(
                told["status"] != "failed" && Instant::now() < deadline,
                "it does not go on: {told:#}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Goes on with another QEMU, and ends the one that it has left.
    fn settle(&self, there: Machine) -> Result<()> {
        let Machine {
            qemu,
            qmp,
            agent,
            sockets,
        } = there;
        // It may hang up before it answers.
        let _ = lock(&self.qmp).execute("quit", json!({}));
        let ended = lock(&self.qemu).wait(END)?;
        *lock(&self.qmp) = qmp;
        *lock(&self.agent) = agent;
        *lock(&self.qemu) = qemu;
        *lock(&self.sockets) = sockets;
        ensure!(ended, "the QEMU that {} has left does not end", self.name);
        Ok(())
    }
}

/// Waits until the guest runs.
fn runs(qmp: &mut Qmp) -> Result<()> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let told = qmp.execute("query-status", json!({}))?;
        if told["running"] == true {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the guest does not run: {told}");
        thread::sleep(Duration::from_millis(20));
    }
}
