// SPDX-License-Identifier: GPL-2.0

//! Complaints of the kernel are found, each by its name: a module provokes them.

use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
    splat::Kind,
};
use anyhow::{Result, ensure};
use std::time::Duration;

/// The complaints that a guest survives, on a kernel that checks.
pub fn debug(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(DEBUG)?.module("splat")?;
    let guest = cx.boot(&builder)?;
    // Lockdep comes first: it stops after its first report, and after one of KASAN.
    for (fault, kinds) in [
        ("lockdep", &[Kind::Lockdep][..]),
        ("warn", &[Kind::Warn]),
        ("kasan", &[Kind::Kasan]),
        ("ubsan", &[Kind::Ubsan]),
        ("refcount", &[Kind::Refcount, Kind::Warn]),
        ("list", &[Kind::List, Kind::Warn]),
        ("dma", &[Kind::DmaApi, Kind::Warn]),
        ("leak", &[Kind::Kmemleak]),
        ("atomic_sleep", &[Kind::AtomicSleep]),
    ] {
        cx.case(fault, |_| provoke(&guest, fault, kinds));
    }
    cx.case("hung_task", |_| {
        guest.sh("echo 3 >/proc/sys/kernel/hung_task_timeout_secs")?;
        provoke(&guest, "hung_task", &[Kind::HungTask])
    });
    cx.case("rcu_stall", |_| {
        guest.sh(
            "echo 3 >/sys/module/rcupdate/parameters/rcu_cpu_stall_timeout
                  echo 30 >/proc/sys/kernel/watchdog_thresh",
        )?;
        provoke(&guest, "rcu_stall", &[Kind::RcuStall])
    });
    Ok(())
}

fn provoke(guest: &Guest, fault: &str, kinds: &[Kind]) -> Result<()> {
    guest.sh(&format!("modprobe splat what={fault} && rmmod splat"))?;
    let mut splats = guest.take_splats();
    if kinds == [Kind::Kmemleak] {
        splats.extend(guest.find_leaks()?);
    }
    let mut found: Vec<_> = splats.iter().map(|splat| splat.kind).collect();
    found.sort();
    found.dedup();
    let mut expected = kinds.to_vec();
    expected.sort();
    ensure!(
        found == expected,
        "{found:?} is found instead of {expected:?}: {splats:#?}"
    );
    Ok(())
}

/// Complaints of a kernel without checks, and those that end it.
pub fn stock(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(STOCK)?.module("splat")?;

    let guest = cx.boot(&builder.clone().name("warn"))?;
    cx.case("warn", |_| provoke(&guest, "warn", &[Kind::Warn]));
    cx.end(&guest)?;
    for (fault, kind) in [("bug", Kind::Bug), ("oops", Kind::Oops)] {
        let guest = cx.boot(&builder.clone().name(fault))?;
        cx.case(fault, |_| {
            // The kernel kills the process that runs into it.
            guest.run(&format!("modprobe splat what={fault}"))?;
            let kinds: Vec<_> = guest.take_splats().iter().map(|splat| splat.kind).collect();
            ensure!(
                kinds.contains(&kind),
                "{kinds:?} is found instead of {kind:?}"
            );
            Ok(())
        });
    }
    let guest = cx.boot(&builder.name("panic"))?;
    cx.case("panic", |_| {
        let end = guest.run("modprobe splat what=panic");
        ensure!(end.is_err(), "the guest lives on: {end:?}");
        ensure!(
            guest.wait_off(Duration::from_secs(20))?,
            "the guest is not off"
        );
        let kinds: Vec<_> = guest.take_splats().iter().map(|splat| splat.kind).collect();
        ensure!(kinds == [Kind::Panic], "{kinds:?} is found");
        Ok(())
    });
    Ok(())
}
