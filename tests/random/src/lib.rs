// SPDX-License-Identifier: GPL-2.0

//! Numbers that look random, the same for the same seed: splitmix64.

use std::collections::BTreeSet;

/// How far the generator's state goes in a step.
pub const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Changes half of the bits if any bit is another.
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A generator.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// Returns a number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.number() % end).unwrap_or(0)
    }

    /// Returns a byte.
    pub fn byte(&mut self) -> u8 {
        let [byte, ..] = self.number().to_le_bytes();
        byte
    }

    /// Returns so many places below `end`, or all of them if there are not more.
    pub fn places(&mut self, end: usize, count: usize) -> BTreeSet<usize> {
        let mut places = BTreeSet::new();
        while places.len() < count.min(end) {
            let mut at = self.below(end);
            // The next one that is free: there is one.
            while !places.insert(at) {
                at = (at + 1) % end;
            }
        }
        places
    }

    /// Returns bytes.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend(self.number().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Returns one of several.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        // What the authors of the generator give for this seed.
        let mut random = Random::new(1_234_567);
        assert_eq!(random.number(), 6_457_827_717_110_365_317);
        assert_eq!(random.number(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn a_number_is_below_its_end() {
        let mut random = Random::new(1);
        assert!((0..1000).all(|_| random.below(7) < 7));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
        assert_eq!(random.bytes(13).len(), 13);
    }

    #[test]
    fn no_place_comes_twice() {
        let mut random = Random::new(1);
        let places = random.places(9, 8);
        assert_eq!(places.len(), 8);
        assert!(places.iter().all(|at| *at < 9));
        assert_eq!(random.places(3, 8).len(), 3);
        assert!(random.places(0, 8).is_empty());
    }
}
