// SPDX-License-Identifier: GPL-2.0

//! How long operations took.

use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, time::Duration};

/// Which parts of the operations are at or below the times that are told.
const PARTS: [f64; 21] = [
    0.001, 0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97,
    0.98, 0.99, 0.995, 0.999,
];

/// A part of the operations, and the time in which these were done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub part: f64,
    pub microseconds: f64,
}

/// How many operations took how long.
#[derive(Default)]
pub struct Latencies(BTreeMap<Duration, u64>);

impl Latencies {
    /// Reads lines of nanoseconds and counts.
    pub fn parse(text: &str) -> Result<Self> {
        let mut latencies = Self::default();
        for line in text.lines() {
            let words: Vec<_> = line.split_whitespace().map(str::parse).collect();
            let &[Ok(time), Ok(count)] = words.as_slice() else {
                bail!("this is no time: {line}");
            };
            latencies.count(Duration::from_nanos(time), count);
        }
        Ok(latencies)
    }

    /// Counts some that took so long.
    pub fn count(&mut self, time: Duration, count: u64) {
        *self.0.entry(time).or_default() += count;
    }

    /// Adds others.
    pub fn add(&mut self, others: &Self) {
        for (&time, &count) in &others.0 {
            self.count(time, count);
        }
    }

    /// Returns how many there are, and how long all of them took, one after the other.
    pub fn all(&self) -> Result<(u32, Duration)> {
        let (mut all, mut whole) = (0_u32, Duration::ZERO);
        for (&time, &count) in &self.0 {
            let count = u32::try_from(count)?;
            all += count;
            whole += time * count;
        }
        Ok((all, whole))
    }

    /// Returns how many were done in a second, one after the other.
    pub fn per_second(&self) -> Result<f64> {
        let (all, whole) = self.all()?;
        let rate = f64::from(all) / whole.as_secs_f64();
        rate.is_finite()
            .then_some(rate)
            .context("nothing was measured")
    }

    /// Returns in what time which part was done; nothing, if nothing was measured.
    pub fn points(&self) -> Option<Vec<Point>> {
        let all = self.all().ok()?.0;
        let points = PARTS.into_iter().map(|part| {
            let wanted = part * f64::from(all);
            let mut seen = 0;
            let (time, _) = self.0.iter().find(|(_, count)| {
                seen += **count;
                u32::try_from(seen).is_ok_and(|seen| f64::from(seen) >= wanted)
            })?;
            let microseconds = time.as_secs_f64() * 1e6;
            Some(Point { part, microseconds })
        });
        points.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(points: &[Point], part: f64) -> Option<f64> {
        let found = points.iter().find(|point| point.part == part)?;
        Some(found.microseconds)
    }

    #[test]
    fn parts_are_at_their_times() -> Result<()> {
        let mut latencies = Latencies::parse("1000 50\n2000 25\n")?;
        latencies.add(&Latencies::parse("2000 20\n9000 5\n")?);
        let points = latencies.points().context("there are some")?;
        assert_eq!(at(&points, 0.001), Some(1.0));
        assert_eq!(at(&points, 0.5), Some(1.0));
        assert_eq!(at(&points, 0.6), Some(2.0));
        assert_eq!(at(&points, 0.95), Some(2.0));
        assert_eq!(at(&points, 0.97), Some(9.0));
        // 50 + 90 + 45 microseconds.
        let rate = latencies.per_second()?;
        assert!((rate - 100.0 / 185e-6).abs() < 1.0, "{rate}");
        Ok(())
    }

    #[test]
    fn nothing_has_no_times() -> Result<()> {
        let nothing = Latencies::parse("")?;
        assert_eq!(nothing.points(), None);
        assert!(nothing.per_second().is_err());
        assert!(Latencies::parse("many 3").is_err());
        Ok(())
    }
}
