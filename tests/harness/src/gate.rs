// SPDX-License-Identifier: GPL-2.0

//! The gate: what a request or a frame costs, compared with the kernel's own driver, is not more than
//! what was recorded. It counts instructions, so it does not depend on how fast the host is.
//!
//! The records are what `make cost-blk` and `make cost-net` have written.

use crate::{
    blk,
    cx::{Cx, Test},
    kernel::STOCK,
    net, paths,
    report::{CostRow, Document},
};
use anyhow::{Context, Result, ensure};
use std::fs;

/// The tests of this file.
pub const TESTS: &[Test] = &[Test::new("bench::gate::holds", holds)
    .kernels(&[STOCK])
    .alone()
    .limit(300)];

/// Where the records are, from the project's root.
const DISKS: &str = "Documentation/results/cost-blk.json";
const NETWORKS: &str = "Documentation/results/cost-net.json";

/// How much higher than recorded the ratio of all instructions may be, and that of the driver's. In
/// another boot, they differ by less: what the rest of the kernel does has more of chance in it.
const NOISE: (f64, f64) = (0.04, 0.02);

/// Compares some rows of either table with those of the record.
fn holds(cx: &mut Cx) -> Result<()> {
    for (record, rows) in [
        (DISKS, blk::cost::some(cx)?),
        (NETWORKS, net::cost::some(cx)?),
    ] {
        let text = fs::read_to_string(paths::project().join(record));
        let recorded = Document::parse(&text.with_context(|| format!("reading {record}"))?)?;
        for row in rows {
            cx.case(&row.name, |_| is_as(&recorded.costs, &row));
        }
    }
    Ok(())
}

/// Fails if a row is worse than it was.
fn is_as(recorded: &[CostRow], row: &CostRow) -> Result<()> {
    let before = recorded.iter().find(|before| before.name == row.name);
    let before = before.context("this is not recorded")?;
    for (what, now, before, noise) in [
        ("all", row.whole(), before.whole(), NOISE.0),
        ("the driver's", row.driver(), before.driver(), NOISE.1),
    ] {
        println!("        {}: {now:.3} of {what} instructions", row.name);
        ensure!(
            now <= before + noise,
            "{now:.3} times {what} instructions, instead of {before:.3}"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Spent;

    fn row(whole: f64, driver: f64) -> CostRow {
        let spent = |whole, driver| Spent {
            whole,
            driver,
            core: None,
            traffic: None,
        };
        CostRow {
            work: "frames".to_owned(),
            name: "send".to_owned(),
            other: "in-tree".to_owned(),
            theirs: spent(1000.0, 500.0),
            ours: spent(whole, driver),
        }
    }

    #[test]
    fn what_is_worse_does_not_pass() {
        let recorded = [row(900.0, 400.0)];
        assert!(is_as(&recorded, &row(939.0, 409.0)).is_ok());
        assert!(is_as(&recorded, &row(500.0, 100.0)).is_ok());
        for worse in [row(941.0, 400.0), row(900.0, 411.0)] {
            assert!(is_as(&recorded, &worse).is_err());
        }
        assert!(is_as(&[], &row(900.0, 400.0)).is_err());
    }
}
