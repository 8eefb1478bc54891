// SPDX-License-Identifier: GPL-2.0

//! How fast the backend's rings are on this machine, without a guest, compared with those of the crate
//! `virtio-queue`: see `tests/backend/benches/ring.rs`.

use crate::{cx::Cx, paths, virtio::wire::cargo};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;

/// How many times as many buffers they pass as those of the crate, at least.
const LIMIT: f64 = 1.5;

/// How often it is measured: the best counts, as others only make it slower.
const ROUNDS: u32 = 3;

/// Returns how long a round of a benchmark takes, in nanoseconds.
fn time(name: &str) -> Result<f64> {
    let file = paths::project().join(format!("build/cargo/criterion/{name}/new/estimates.json"));
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let value: Value = serde_json::from_str(&text)?;
    value["median"]["point_estimate"]
        .as_f64()
        .context("there is no median")
}

pub fn are_fast(cx: &mut Cx) -> Result<()> {
    let names = ["frame", "request"];
    let mut best = names.map(|_| (f64::INFINITY, f64::INFINITY));
    for _ in 0..ROUNDS {
        cargo(&[
            "bench",
            "--package",
            "backend",
            "--bench",
            "ring",
            "--",
            "--warm-up-time",
            "1",
            "--measurement-time",
            "3",
        ])?;
        for (name, best) in names.iter().zip(&mut best) {
            best.0 = best.0.min(time(&format!("{name}/split"))?);
            best.1 = best.1.min(time(&format!("{name}/virtio-queue"))?);
        }
    }
    for (name, (ours, others)) in names.iter().zip(best) {
        cx.case(name, |cx| {
            let ratio = others / ours;
            cx.say(&format!("{name}: {ratio:.2} times as many as virtio-queue"));
            ensure!(ratio >= LIMIT, "only {ratio:.2} times as many");
            Ok(())
        });
    }
    Ok(())
}
