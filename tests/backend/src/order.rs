// SPDX-License-Identifier: GPL-2.0

//! The order in which buffers are returned.

use std::collections::BTreeMap;

/// The order in which buffers are returned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As requests are done.
    #[default]
    Done,
    /// As they came.
    Came,
    /// So many together, the last one first.
    Reverse(usize),
    /// So many together, in an order that this number determines.
    Random(usize, u64),
}

/// Keeps what cannot be returned yet.
#[derive(Debug)]
pub struct Gate<T> {
    order: Order,
    /// The number of the next one, where they are returned as they came.
    next: u64,
    kept: BTreeMap<u64, T>,
}

impl<T> Gate<T> {
    /// Begins with the first request having number 0.
    pub fn new(order: Order) -> Self {
        Self {
            order,
            next: 0,
            kept: BTreeMap::new(),
        }
    }

    /// Takes a request that is done, and returns those that can be returned.
    pub fn put(&mut self, number: u64, done: T) -> Vec<T> {
        self.kept.insert(number, done);
        match self.order {
            Order::Done => self.flush(),
            Order::Came => {
                let mut out = Vec::new();
                while let Some(done) = self.kept.remove(&self.next) {
                    self.next += 1;
                    out.push(done);
                }
                out
            }
            Order::Reverse(many) | Order::Random(many, _) => {
                if self.kept.len() < many {
                    Vec::new()
                } else {
                    self.flush()
                }
            }
        }
    }

    /// Returns what is kept though there is not more of it. What has to be returned as it came
    /// stays.
    pub fn flush(&mut self) -> Vec<T> {
        if self.order == Order::Came {
            return Vec::new();
        }
        let mut out: Vec<_> = std::mem::take(&mut self.kept).into_values().collect();
        match &mut self.order {
            Order::Reverse(_) => out.reverse(),
            Order::Random(_, seed) => {
                for left in (1..out.len()).rev() {
                    // Marsaglia's xorshift.
                    *seed ^= *seed << 13;
                    *seed ^= *seed >> 7;
                    *seed ^= *seed << 17;
                    let many = u64::try_from(left).unwrap_or(0) + 1;
                    let other = usize::try_from(*seed % many).unwrap_or(0);
                    out.swap(left, other);
                }
            }
            Order::Done | Order::Came => {}
        }
        out
    }

    /// Returns how much is kept.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Returns whether something waits for more, which may not come.
    pub fn waits(&self) -> bool {
        self.order != Order::Came && !self.kept.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(order: Order, numbers: &[u64]) -> Vec<u64> {
        let mut gate = Gate::new(order);
        let mut out: Vec<_> = numbers.iter().flat_map(|n| gate.put(*n, *n)).collect();
        out.append(&mut gate.flush());
        assert!(!gate.waits());
        out
    }

    #[test]
    fn each_order_is_kept() {
        assert_eq!(run(Order::Done, &[2, 0, 1]), [2, 0, 1]);
        assert_eq!(run(Order::Came, &[2, 0, 1]), [0, 1, 2]);
        assert_eq!(run(Order::Came, &[2, 0]), [0]);
        assert_eq!(run(Order::Reverse(2), &[0, 1, 2, 3, 4]), [1, 0, 3, 2, 4]);
    }

    #[test]
    fn a_random_order_loses_nothing() {
        let numbers: Vec<_> = (0..20).collect();
        let mut out = run(Order::Random(8, 42), &numbers);

        assert_ne!(out, numbers);
        assert_eq!(out, run(Order::Random(8, 42), &numbers));
        out.sort_unstable();
        assert_eq!(out, numbers);
    }
}
