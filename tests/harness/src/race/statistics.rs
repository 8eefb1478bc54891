// SPDX-License-Identifier: GPL-2.0

//! What can be said of two series of measurements.

use anyhow::{Result, ensure};
use random::Random;

/// How many series are drawn for an interval.
const DRAWS: usize = 2000;

/// A series of measurements, sorted.
#[derive(Clone, Debug)]
pub struct Series(Vec<f64>);

impl Series {
    /// Takes measurements.
    ///
    /// # Errors
    ///
    /// There is none, or one is not a number above 0.
    pub fn new(mut values: Vec<f64>) -> Result<Self> {
        ensure!(!values.is_empty(), "nothing was measured");
        ensure!(
            values.iter().all(|value| value.is_finite() && *value > 0.0),
            "this cannot be compared: {values:?}"
        );
        values.sort_by(f64::total_cmp);
        Ok(Self(values))
    }

    /// Returns them, the least first.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Returns the one in the middle.
    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        let at = |index: usize| self.0.get(index).copied().unwrap_or(f64::NAN);
        if self.0.len().is_multiple_of(2) {
            (at(middle.wrapping_sub(1)) + at(middle)) / 2.0
        } else {
            at(middle)
        }
    }

    /// Returns the largest one.
    fn best(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    /// Draws as many, with replacement.
    fn draw(&self, random: &mut Random) -> Self {
        let mut drawn: Vec<_> = self
            .0
            .iter()
            .filter_map(|_| random.pick(&self.0).copied())
            .collect();
        drawn.sort_by(f64::total_cmp);
        Self(drawn)
    }
}

/// Returns the geometric mean of ratios: that of a half and of 2 is 1. There is none of nothing.
pub fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut logarithms, mut count) = (0.0, 0.0);
    for ratio in ratios {
        logarithms += ratio.ln();
        count += 1.0;
    }
    (count > 0.0).then(|| (logarithms / count).exp())
}

/// What follows from a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Faster,
    Slower,
    /// They cannot be told apart.
    Alike,
}

impl Verdict {
    /// Says it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Alike => "not told apart",
        }
    }
}

/// How two series compare: ours to theirs, where more is better.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// What the in-tree driver has reached.
    pub theirs: Series,
    /// What ours has.
    pub ours: Series,
    /// The ratio of the best.
    pub best: f64,
    /// The ratio of the medians.
    pub median: f64,
    /// Where that is in 95 of 100 cases.
    pub interval: (f64, f64),
}

impl Comparison {
    /// Compares.
    pub fn new(theirs: Vec<f64>, ours: Vec<f64>) -> Result<Self> {
        let (theirs, ours) = (Series::new(theirs)?, Series::new(ours)?);
        let mut random = Random::new(1);
        let drawn = (0..DRAWS)
            .map(|_| ours.draw(&mut random).median() / theirs.draw(&mut random).median())
            .collect();
        let drawn = Series::new(drawn)?;
        let at = |index: usize| drawn.0.get(index).copied().unwrap_or(f64::NAN);
        Ok(Self {
            best: ours.best() / theirs.best(),
            median: ours.median() / theirs.median(),
            interval: (at(DRAWS / 40), at(DRAWS - DRAWS / 40)),
            theirs,
            ours,
        })
    }

    /// What follows, if anything does.
    pub fn verdict(&self) -> Verdict {
        let (low, high) = self.interval;
        if low > 1.0 {
            Verdict::Faster
        } else if high < 1.0 {
            Verdict::Slower
        } else {
            Verdict::Alike
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() -> Result<()> {
        assert_eq!(Series::new(vec![3.0, 1.0, 2.0])?.median(), 2.0);
        assert_eq!(Series::new(vec![4.0, 1.0, 2.0, 3.0])?.median(), 2.5);
        Ok(())
    }

    #[test]
    fn what_differs_is_told_apart() -> Result<()> {
        let theirs: Vec<_> = (0..10).map(|i| 100.0 + f64::from(i)).collect();
        let faster = theirs.iter().map(|value| value * 1.5).collect();
        let comparison = Comparison::new(theirs.clone(), faster)?;
        assert_eq!(comparison.verdict(), Verdict::Faster);
        assert!((comparison.median - 1.5).abs() < 1e-9);
        assert!((comparison.best - 1.5).abs() < 1e-9);

        let slower = theirs.iter().map(|value| value * 0.5).collect();
        assert_eq!(Comparison::new(theirs, slower)?.verdict(), Verdict::Slower);
        Ok(())
    }

    #[test]
    fn what_is_the_same_is_not() -> Result<()> {
        let one = vec![90.0, 100.0, 110.0, 120.0, 95.0, 105.0];
        let other = vec![91.0, 99.0, 111.0, 119.0, 96.0, 104.0];
        assert_eq!(Comparison::new(one, other)?.verdict(), Verdict::Alike);
        Ok(())
    }

    #[test]
    fn as_much_slower_as_faster_is_the_same() {
        let mean = geometric_mean([0.5, 2.0, 4.0]).unwrap_or_default();
        assert!((mean - 4.0_f64.cbrt()).abs() < 1e-9, "{mean}");
        assert_eq!(geometric_mean([]), None);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Series::new(vec![]).is_err());
        assert!(Series::new(vec![0.0]).is_err());
        assert!(Series::new(vec![f64::NAN]).is_err());
    }
}
