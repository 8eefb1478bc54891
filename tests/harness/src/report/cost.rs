// SPDX-License-Identifier: GPL-2.0

//! What a piece of work costs on both sides, in instructions.

use super::field;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What a side spends.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    /// All instructions.
    pub whole: f64,
    /// Those of the driver, of the virtio core, and what these have others do.
    pub driver: f64,
    /// Those of the virtio core alone, where that is told.
    pub core: Option<f64>,
    /// How often the device is notified, and interrupts, where that is told.
    pub traffic: Option<(f64, f64)>,
}

impl Spent {
    fn json(&self) -> Value {
        let (kicks, interrupts) = self.traffic.unzip();
        let all = [
            ("whole", Some(self.whole)),
            ("driver", Some(self.driver)),
            ("core", self.core),
            ("kicks", kicks),
            ("irqs", interrupts),
        ];
        // What is not told is not there.
        all.into_iter()
            .filter_map(|(key, number)| Some((key.to_owned(), json!(number?))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    fn from_json(value: &Value) -> Result<Self> {
        let optional = |key: &str| {
            let found = value.get(key).is_some();
            found.then(|| field::number(value, key)).transpose()
        };
        let spent = Self {
            whole: field::number(value, "whole")?,
            driver: field::number(value, "driver")?,
            core: optional("core")?,
            traffic: optional("kicks")?.zip(optional("irqs")?),
        };
        ensure!(
            spent.whole > 0.0 && spent.driver > 0.0,
            "this cannot be compared: {spent:?}"
        );
        Ok(spent)
    }
}

/// What a piece of work costs on both sides.
#[derive(Clone, Debug, PartialEq)]
pub struct CostRow {
    /// What is done in each row of a table.
    pub work: String,
    /// How it is done in this one.
    pub name: String,
    /// What is compared with ours.
    pub other: String,
    pub theirs: Spent,
    pub ours: Spent,
}

impl CostRow {
    /// Returns the ratio of all instructions.
    pub fn whole(&self) -> f64 {
        self.ours.whole / self.theirs.whole
    }

    /// Returns that of the driver's.
    pub fn driver(&self) -> f64 {
        self.ours.driver / self.theirs.driver
    }

    /// Writes it.
    pub fn json(&self) -> Value {
        json!({
            "work": self.work,
            "name": self.name,
            "other": self.other,
            "theirs": self.theirs.json(),
            "ours": self.ours.json(),
            "ratios": {"whole": self.whole(), "driver": self.driver()},
        })
    }

    /// Reads it.
    pub fn from_json(value: &Value) -> Result<Self> {
        let name = field::text(value, "name")?;
        let spent = |side| {
            Spent::from_json(field::value(value, side)?)
                .with_context(|| format!("{side} of {name:?}"))
        };
        Ok(Self {
            work: field::text(value, "work")?,
            other: field::text(value, "other")?,
            theirs: spent("theirs")?,
            ours: spent("ours")?,
            name,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_cannot_be_compared() {
        let value = json!({
            "work": "frames", "name": "none", "other": "C",
            "theirs": {"whole": 0.0, "driver": 0.0}, "ours": {"whole": 1.0, "driver": 1.0},
        });
        let said = format!("{:#}", CostRow::from_json(&value).expect_err("nothing"));
        assert!(said.contains("theirs of \"none\""), "{said}");
    }
}
