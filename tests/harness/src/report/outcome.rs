// SPDX-License-Identifier: GPL-2.0

//! What both sides have reached in a scenario, against the clock.

use super::field;
use crate::race::{latency::Point, statistics::Comparison};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::fmt;

/// What controls are called together.
pub const CONTROL: &str = "control";

/// The features that both drivers have negotiated, as hexadecimal numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    pub theirs: String,
    pub ours: String,
}

impl Features {
    /// Takes what sysfs says: a character for each bit, the first one first.
    pub fn of_bits(theirs: &str, ours: &str) -> Self {
        Self {
            theirs: hexadecimal(theirs),
            ours: hexadecimal(ours),
        }
    }
}

fn hexadecimal(bits: &str) -> String {
    let bits = bits.trim().bytes().rev();
    let number = bits.fold(0_u128, |number, bit| number << 1 | u128::from(bit == b'1'));
    format!("{number:#x}")
}

/// What was reached, by us and by another side.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub name: String,
    /// What is compared with ours.
    pub other: String,
    /// What is measured; more is better.
    pub unit: String,
    /// The other side was both: the ratio should be 1.
    pub is_control: bool,
    /// How often there were four legs.
    pub rounds: u32,
    /// The features of both, if they are two drivers.
    pub features: Option<Features>,
    pub comparison: Comparison,
    /// In what time which part of the operations was done, by the other and by ours, where that was
    /// measured.
    pub latencies: Option<(Vec<Point>, Vec<Point>)>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let comparison = &self.comparison;
        let (low, high) = comparison.interval;
        write!(
            f,
            "{:<36}  {:>9.1}  {:>9.1}  {:<8}  {:5.2}  {:5.2}  {low:4.2}..{high:4.2}  {}",
            self.name,
            comparison.theirs.median(),
            comparison.ours.median(),
            self.unit,
            comparison.best,
            comparison.median,
            comparison.verdict().text()
        )
    }
}

impl Outcome {
    /// Returns of which kind it is.
    pub fn group(&self) -> &str {
        if self.is_control {
            CONTROL
        } else {
            self.name.split(' ').next().unwrap_or_default()
        }
    }

    /// Writes it. What follows from the legs is there for others who read it.
    pub fn json(&self) -> Value {
        let comparison = &self.comparison;
        let (low, high) = comparison.interval;
        let features = self
            .features
            .as_ref()
            .map(|features| json!({"theirs": features.theirs, "ours": features.ours}));
        let latencies = self.latencies.as_ref().map(|(theirs, ours)| {
            let points = |points: &[Point]| -> Vec<_> {
                let point = |point: &Point| json!([point.part, point.microseconds]);
                points.iter().map(point).collect()
            };
            json!({"theirs": points(theirs), "ours": points(ours)})
        });
        json!({
            "scenario": self.name,
            "unit": self.unit,
            "control": self.is_control,
            "other": self.other,
            "rounds": self.rounds,
            "features": features,
            "theirs": comparison.theirs.values(),
            "ours": comparison.ours.values(),
            "best": comparison.best,
            "median": comparison.median,
            "interval": [low, high],
            "verdict": comparison.verdict().text(),
            "latencies": latencies,
        })
    }

    /// Reads it.
    pub fn from_json(value: &Value) -> Result<Self> {
        let name = field::text(value, "scenario")?;
        Self::read(&name, value).with_context(|| format!("scenario {name:?}"))
    }

    fn read(name: &str, value: &Value) -> Result<Self> {
        let features = match value.get("features") {
            None | Some(Value::Null) => None,
            Some(features) => Some(Features {
                theirs: field::text(features, "theirs")?,
                ours: field::text(features, "ours")?,
            }),
        };
        let (theirs, ours) = (
            field::numbers(value, "theirs")?,
            field::numbers(value, "ours")?,
        );
        Ok(Self {
            name: name.to_owned(),
            other: field::text(value, "other")?,
            unit: field::text(value, "unit")?,
            is_control: field::truth(value, "control")?,
            rounds: field::count(value, "rounds")?,
            features,
            comparison: Comparison::new(theirs, ours)?,
            latencies: match value.get("latencies") {
                None | Some(Value::Null) => None,
                Some(both) => Some((points(both, "theirs")?, points(both, "ours")?)),
            },
        })
    }
}

/// Reads in what time which part was done: pairs of a part and microseconds.
fn points(both: &Value, side: &str) -> Result<Vec<Point>> {
    let point = |value: &Value| {
        let pair = (value[0].as_f64(), value[1].as_f64());
        let (Some(part), Some(microseconds)) = pair else {
            bail!("{value} in {side:?} is no point");
        };
        Ok(Point { part, microseconds })
    };
    field::list(both, side)?.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_numbers() {
        let features = Features::of_bits("0110\n", &"1".repeat(128));
        assert_eq!(features.theirs, "0x6");
        assert_eq!(features.ours, format!("{:#x}", u128::MAX));
    }
}
