// SPDX-License-Identifier: GPL-2.0

//! How often there were numbers of which size.

use serde_json::{Value, json};

/// Counts numbers: how many are 0, 1, 2 or 3, 4 to 7, and so on.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Each has what is below twice of what the one before has.
    counts: Vec<u64>,
    sum: u64,
}

impl Histogram {
    /// Counts a number.
    pub fn add(&mut self, number: u64) {
        let bits = u64::BITS - number.leading_zeros();
        let place = usize::try_from(bits).unwrap_or(0);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(place) {
            *count += 1;
        }
        self.sum = self.sum.saturating_add(number);
    }

    /// Tells how many numbers there were, their sum, and for each size that there was, the largest
    /// number of it and how many were of it.
    pub fn describe(&self) -> Value {
        let count: u64 = self.counts.iter().sum();
        let sizes = self.counts.iter().zip(0_u32..);
        let buckets: Vec<_> = sizes
            .filter(|(count, _)| **count > 0)
            .map(|(count, bits)| (1_u64.checked_shl(bits).unwrap_or(0).wrapping_sub(1), *count))
            .collect();
        json!({ "count": count, "sum": self.sum, "buckets": buckets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_counted_by_size() {
        let mut histogram = Histogram::default();
        assert_eq!(
            histogram.describe(),
            json!({"count": 0, "sum": 0, "buckets": []})
        );
        for number in [0, 1, 2, 3, 3, 64, u64::MAX] {
            histogram.add(number);
        }
        assert_eq!(
            histogram.describe(),
            json!({
                "count": 7,
                "sum": u64::MAX,
                "buckets": [[0, 1], [1, 1], [3, 3], [127, 1], [u64::MAX, 1]],
            })
        );
    }
}
