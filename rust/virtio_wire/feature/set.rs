// SPDX-License-Identifier: GPL-2.0

//! Sets of features.

use super::{
    Class,
    Feature, //
};
use core::{
    fmt,
    marker::PhantomData, //
};

/// A set of features of a class of devices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FeatureSet<C: Class>(u128, PhantomData<fn() -> C>);

impl<C: Class> FeatureSet<C> {
    /// How many feature bits there can be.
    pub const BITS: u32 = u128::BITS;

    /// The bits that the legacy interface has.
    pub const LEGACY: Self = Self::from_bits(0xffff_ffff);

    /// Returns the set without features.
    pub const fn empty() -> Self {
        Self::from_bits(0)
    }

    /// Makes a set of features.
    pub const fn of(features: &[Feature<C>]) -> Self {
        let mut set = Self::empty();
        let mut rest = features;
        while let [feature, tail @ ..] = rest {
            set = set.with(*feature);
            rest = tail;
        }
        set
    }

    pub(super) const fn of_names(names: &[(u32, &str)]) -> Self {
        let mut set = Self::empty();
        let mut rest = names;
        while let [(bit, _), tail @ ..] = rest {
            set = set.with(Feature::at(*bit));
            rest = tail;
        }
        set
    }

    /// Takes a set as a number, bit 0 being feature 0.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits, PhantomData)
    }

    /// Returns the set as a number, bit 0 being feature 0.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// Takes the words that transports have, word 0 having features 0 to 31.
    pub fn from_words(words: [u32; 4]) -> Self {
        let bits = words.iter().rev().fold(0, |bits: u128, word| {
            bits.wrapping_shl(u32::BITS) | u128::from(*word)
        });
        Self::from_bits(bits)
    }

    /// Returns the words that transports have, word 0 having features 0 to 31.
    pub fn words(self) -> [u32; 4] {
        let bytes = self.0.to_le_bytes();
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            if let Some(bytes) = bytes.first_chunk() {
                *word = u32::from_le_bytes(*bytes);
            }
        }
        words
    }

    const fn mask(feature: Feature<C>) -> u128 {
        1u128.wrapping_shl(feature.bit())
    }

    /// Returns the set with a feature added.
    #[must_use]
    pub const fn with(self, feature: Feature<C>) -> Self {
        Self::from_bits(self.0 | Self::mask(feature))
    }

    /// Returns the set with a feature removed.
    #[must_use]
    pub const fn without(self, feature: Feature<C>) -> Self {
        Self::from_bits(self.0 & !Self::mask(feature))
    }

    /// Returns whether a feature is in the set.
    pub const fn contains(self, feature: Feature<C>) -> bool {
        self.0 & Self::mask(feature) != 0
    }

    /// Returns whether there is no feature in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns what is in one of the sets.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self::from_bits(self.0 | other.0)
    }

    /// Returns what is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self::from_bits(self.0 & other.0)
    }

    /// Returns what is in this set, but not in the other.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self::from_bits(self.0 & !other.0)
    }

    /// Returns the feature with the lowest bit.
    pub const fn first(self) -> Option<Feature<C>> {
        Feature::new(self.0.trailing_zeros())
    }

    /// Goes through the features from the lowest bit.
    pub const fn iter(self) -> Iter<C> {
        Iter(self)
    }

    pub(super) fn write_names(self, f: &mut fmt::Formatter<'_>, between: &str) -> fmt::Result {
        for (number, feature) in self.iter().enumerate() {
            if number != 0 {
                f.write_str(between)?;
            }
            fmt::Display::fmt(&feature, f)?;
        }
        Ok(())
    }
}

impl<C: Class> Default for FeatureSet<C> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<C: Class> fmt::Display for FeatureSet<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_names(f, " ")
    }
}

impl<C: Class> fmt::Debug for FeatureSet<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(*self).finish()
    }
}

impl<C: Class> IntoIterator for FeatureSet<C> {
    type Item = Feature<C>;
    type IntoIter = Iter<C>;

    fn into_iter(self) -> Iter<C> {
        self.iter()
    }
}

impl<C: Class> FromIterator<Feature<C>> for FeatureSet<C> {
    fn from_iter<I: IntoIterator<Item = Feature<C>>>(features: I) -> Self {
        features.into_iter().fold(Self::empty(), Self::with)
    }
}

/// Goes through the features of a set from the lowest bit.
#[derive(Clone, Debug)]
pub struct Iter<C: Class>(FeatureSet<C>);

impl<C: Class> Iterator for Iter<C> {
    type Item = Feature<C>;

    fn next(&mut self) -> Option<Feature<C>> {
        let feature = self.0.first()?;
        self.0 = self.0.without(feature);
        Some(feature)
    }
}
