// SPDX-License-Identifier: GPL-2.0

//! Results that tests use.

use super::{About, CostRow, Document, Features, Outcome, Part, Spent};
use crate::race::{latency::Point, statistics::Comparison};
use anyhow::Result;

/// Where they are from; with a name that has to be escaped.
pub fn about() -> About {
    About {
        kernel: "7.3".to_owned(),
        qemu: "10 <Debian>".to_owned(),
        cpu: "a CPU".to_owned(),
        cpus: 2,
        accelerator: "TCG".to_owned(),
        commit: "0011223344ff5566".to_owned(),
        changes: None,
        date: "2026-01-02 03:04 UTC".to_owned(),
    }
}

fn outcome(name: &str, factor: f64, is_control: bool) -> Result<Outcome> {
    let theirs = vec![100.0, 101.0, 102.0, 103.0];
    let ours = theirs.iter().map(|value| value * factor).collect();
    Ok(Outcome {
        name: name.to_owned(),
        other: "in-tree".to_owned(),
        unit: "IO/s".to_owned(),
        is_control,
        rounds: 4,
        features: Some(Features {
            theirs: "0x1".to_owned(),
            ours: "0x1".to_owned(),
        }),
        comparison: Comparison::new(theirs, ours)?,
        latencies: name.starts_with("nic").then(|| {
            let point = |(part, microseconds)| Point { part, microseconds };
            let theirs = [(0.5, 100.0), (0.99, 200.0), (0.999, 900.0)];
            let ours = [(0.5, 80.0), (0.99, 210.0), (0.999, 450.0)];
            (theirs.map(point).to_vec(), ours.map(point).to_vec())
        }),
    })
}

/// What was reached.
pub fn outcomes() -> Result<Vec<Outcome>> {
    Ok(vec![
        outcome("disk one", 1.0, false)?,
        outcome("disk two, control", 9.0, true)?,
        outcome("disk <three> | \"four\" & five", 1.5, false)?,
        outcome("nic tcp in", 2.0, false)?,
    ])
}

/// What was spent.
pub fn costs() -> Vec<CostRow> {
    let spent = |whole, driver| Spent {
        whole,
        driver,
        core: None,
        traffic: Some((0.25, 0.5)),
    };
    let without = |whole, driver| Spent {
        core: Some(driver / 2.0),
        traffic: None,
        ..spent(whole, driver)
    };
    let row = |work: &str, name: &str, theirs, ours| CostRow {
        work: work.to_owned(),
        name: name.to_owned(),
        other: "in-tree".to_owned(),
        theirs,
        ours,
    };
    vec![
        row("frames", "small", spent(1000.0, 400.0), spent(500.0, 300.0)),
        row(
            "frames",
            "large",
            spent(1000.0, 400.0),
            spent(2000.0, 300.0),
        ),
        row(
            "buffers",
            "single",
            without(100.0, 80.0),
            without(50.0, 40.0),
        ),
    ]
}

/// All of it.
pub fn document() -> Result<Document> {
    Ok(Document {
        about: about(),
        outcomes: outcomes()?,
        costs: costs(),
    })
}

/// The same, as a file of a report.
pub fn part() -> Result<Part> {
    Ok(Part {
        file: "sample.json".to_owned(),
        document: document()?,
    })
}
