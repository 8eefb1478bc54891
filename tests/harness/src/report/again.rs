// SPDX-License-Identifier: GPL-2.0

//! What was measured twice: whether the second time says the same.

use super::{Outcome, Part};

/// A scenario that is in two files.
pub struct Pair<'a> {
    pub first: &'a Outcome,
    pub second: &'a Outcome,
}

impl Pair<'_> {
    /// Returns whether a ratio can be what both say.
    pub fn agrees(&self) -> bool {
        let (low, high) = self.first.comparison.interval;
        let (other_low, other_high) = self.second.comparison.interval;
        low <= other_high && other_low <= high
    }
}

/// Returns the scenarios that are in the first file that has some, and in the next one.
pub fn pairs(parts: &[Part]) -> Vec<Pair<'_>> {
    let mut files = parts
        .iter()
        .map(|part| &part.document.outcomes)
        .filter(|outcomes| !outcomes.is_empty());
    let (Some(one), Some(other)) = (files.next(), files.next()) else {
        return Vec::new();
    };
    let find = |first: &Outcome| other.iter().find(|second| second.name == first.name);
    one.iter()
        .filter_map(|first| find(first).map(|second| Pair { first, second }))
        .collect()
}

/// Says of how many both say the same.
pub fn summary(pairs: &[Pair<'_>]) -> String {
    let agreeing = pairs.iter().filter(|pair| pair.agrees()).count();
    format!(
        "Of {} scenarios that were run twice, the intervals of {agreeing} overlap.",
        pairs.len()
    )
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use anyhow::Result;

    #[test]
    fn the_same_agrees_and_another_does_not() -> Result<()> {
        let (one, mut other) = (samples::part()?, samples::part()?);
        other.document.outcomes.remove(0);
        // It was half as fast before.
        let last = other.document.outcomes.len() - 1;
        other.document.outcomes[last].comparison.interval = (0.4, 0.6);
        let parts = [one, other];
        let pairs = pairs(&parts);
        assert_eq!(
            summary(&pairs),
            "Of 3 scenarios that were run twice, the intervals of 2 overlap."
        );
        assert!(super::pairs(&parts[..1]).is_empty());
        Ok(())
    }
}
