// SPDX-License-Identifier: GPL-2.0

//! Feature bits, and their negotiation.
//!
//! A device *offers* features, and the driver *accepts* some of them. A [`Feature`] belongs to a
//! [`Class`] of devices; those of the transport and of the rings exist in each class. The rules
//! which feature needs which other are data, in [`Class::RULES`], and are used by both ends:
//!
//! - A driver calls [`Offered::negotiate`]. It never fails because of what a device offers: what
//!   breaks a rule is not accepted.
//! - A device calls [`Offered::check`] with what a driver accepts, and learns what is wrong.
//!
//! Nothing else makes [`Accepted`] features, and whatever depends on features asks for them.
//!
//! Virtio 1.3, 2.2 and 6.

use core::{
    fmt,
    marker::PhantomData, //
};

mod set;
mod transport;

pub use set::{
    FeatureSet,
    Iter, //
};
pub use transport::Entropy;

/// A type of devices, with its feature bits.
pub trait Class: Copy + fmt::Debug + Eq + 'static {
    /// The feature bits of the class with their names in C, without those of the transport.
    const NAMES: &'static [(u32, &'static str)];

    /// Which features need others.
    const RULES: &'static [Rule<Self>];

    /// All features that may be negotiated with a device of this class.
    const DEFINED: FeatureSet<Self> =
        FeatureSet::of_names(Self::NAMES).union(FeatureSet::of_names(transport::NAMES));
}

/// A feature bit of a class of devices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Feature<C: Class>(u32, PhantomData<fn() -> C>);

impl<C: Class> Feature<C> {
    /// Names a bit, if there can be such a bit.
    pub const fn new(bit: u32) -> Option<Self> {
        if bit < FeatureSet::<C>::BITS {
            Some(Self(bit, PhantomData))
        } else {
            None
        }
    }

    /// Names a bit in a constant, where one that cannot be is an error of the compiler.
    pub(crate) const fn at(bit: u32) -> Self {
        assert!(bit < FeatureSet::<C>::BITS);
        Self(bit, PhantomData)
    }

    /// Returns the number of the bit.
    pub const fn bit(self) -> u32 {
        self.0
    }

    /// Returns the name in C, if this crate knows the feature.
    pub fn name(self) -> Option<&'static str> {
        let mut names = C::NAMES.iter().chain(transport::NAMES);
        names.find(|(bit, _)| *bit == self.0).map(|(_, name)| *name)
    }
}

impl<C: Class> fmt::Display for Feature<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "feature {}", self.0),
        }
    }
}

impl<C: Class> fmt::Debug for Feature<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Defines the features of a class: constants, and the table of their names.
macro_rules! features {
    (
        impl[$($generics:tt)*] $class:ty, $prefix:literal {
            $($(#[$attribute:meta])* $name:ident = $bit:literal,)*
        }
    ) => {
        impl<$($generics)*> $crate::feature::Feature<$class> {
            $(
                $(#[$attribute])*
                #[doc = concat!("\n\nIn C: `", $prefix, stringify!($name), "`")]
                pub const $name: Self = Self::at($bit);
            )*
        }

        pub(super) const NAMES: &[(u32, &str)] =
            &[$(($bit, concat!($prefix, stringify!($name)))),*];
    };
}

pub(crate) use features;

/// What a feature needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs<C: Class> {
    /// All of these.
    All(FeatureSet<C>),
    /// At least one of these.
    Any(FeatureSet<C>),
}

impl<C: Class> Needs<C> {
    /// Returns whether `set` has what is needed.
    pub const fn met_by(self, set: FeatureSet<C>) -> bool {
        match self {
            Self::All(needed) => needed.difference(set).is_empty(),
            Self::Any(needed) => !needed.intersection(set).is_empty(),
        }
    }
}

/// Whom a rule binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Neither may a device offer, nor may a driver accept.
    Both,
    /// A device must not offer, but a driver may accept.
    Offer,
}

/// A rule that a feature needs others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<C: Class> {
    /// The feature that needs others.
    pub feature: Feature<C>,
    /// What it needs.
    pub needs: Needs<C>,
    /// Whom the rule binds.
    pub scope: Scope,
}

impl<C: Class> Rule<C> {
    /// `feature` needs all of `others`.
    pub(crate) const fn all(feature: Feature<C>, others: &[Feature<C>]) -> Self {
        Self {
            feature,
            needs: Needs::All(FeatureSet::of(others)),
            scope: Scope::Both,
        }
    }

    /// `feature` needs at least one of `others`.
    pub(crate) const fn any(feature: Feature<C>, others: &[Feature<C>]) -> Self {
        Self {
            feature,
            needs: Needs::Any(FeatureSet::of(others)),
            scope: Scope::Both,
        }
    }

    /// A device that offers `feature` has to offer `others`.
    pub(crate) const fn offer(feature: Feature<C>, others: &[Feature<C>]) -> Self {
        Self {
            feature,
            needs: Needs::All(FeatureSet::of(others)),
            scope: Scope::Offer,
        }
    }

    /// Returns whether `set` has the feature, but not what it needs.
    pub const fn broken_by(&self, set: FeatureSet<C>) -> bool {
        set.contains(self.feature) && !self.needs.met_by(set)
    }
}

impl<C: Class> fmt::Display for Rule<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (set, between) = match self.needs {
            Needs::All(set) => (set, " and "),
            Needs::Any(set) => (set, " or "),
        };
        write!(f, "{} needs ", self.feature)?;
        set.write_names(f, between)
    }
}

/// What is wrong with a set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeatureError<C: Class> {
    /// The driver accepts what the device does not offer.
    NotOffered(Feature<C>),
    /// The driver accepts what is not defined for the class.
    Undefined(Feature<C>),
    /// A feature is there without one that it needs.
    Broken(Rule<C>),
    /// A feature above bit 31 is there without `VIRTIO_F_VERSION_1`: the legacy interface has only
    /// 32 bits.
    NotLegacy(Feature<C>),
    /// `VIRTIO_F_VERSION_1` is offered, and has to be accepted then.
    Version1Refused,
    /// A feature that the driver cannot do without is not accepted.
    Missing(Feature<C>),
}

impl<C: Class> fmt::Display for FeatureError<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered(feature) => write!(f, "{feature} is accepted, but not offered"),
            Self::Undefined(feature) => write!(f, "{feature} is not defined for this device"),
            Self::Broken(rule) => fmt::Display::fmt(rule, f),
            Self::NotLegacy(feature) => write!(f, "{feature} needs VIRTIO_F_VERSION_1"),
            Self::Version1Refused => f.write_str("VIRTIO_F_VERSION_1 is offered, but not accepted"),
            Self::Missing(feature) => write!(f, "{feature} is missing"),
        }
    }
}

impl<C: Class> core::error::Error for FeatureError<C> {}

/// The features that a device offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered<C: Class>(FeatureSet<C>);

impl<C: Class> Offered<C> {
    /// Takes what was read from a device, or what a device is going to offer.
    pub const fn new(set: FeatureSet<C>) -> Self {
        Self(set)
    }

    /// Returns the set.
    pub const fn set(self) -> FeatureSet<C> {
        self.0
    }

    /// Accepts what is offered, supported by the driver, and valid.
    ///
    /// A feature that needs another is left out if the other is, so a device that breaks the rules
    /// cannot make a driver break them. What this crate does not know is never accepted.
    ///
    /// Virtio 1.3, 2.2.1.
    ///
    /// # Errors
    ///
    /// The device offers `VIRTIO_F_VERSION_1`, and the driver does not support it.
    pub fn negotiate(self, supported: FeatureSet<C>) -> Result<Accepted<C>, FeatureError<C>> {
        let version_1 = Feature::VERSION_1;
        if self.0.contains(version_1) && !supported.contains(version_1) {
            return Err(FeatureError::Version1Refused);
        }

        let mut set = self.0.intersection(supported).intersection(C::DEFINED);
        if !set.contains(version_1) {
            set = set.intersection(FeatureSet::LEGACY);
        }
        // Each round but the last takes away a feature.
        for _ in 0..FeatureSet::<C>::BITS {
            let before = set;
            for rule in C::RULES {
                if rule.broken_by(set) {
                    set = set.without(rule.feature);
                }
            }
            if set == before {
                break;
            }
        }
        Ok(Accepted(set))
    }

    /// Returns the first rule that the offer breaks.
    ///
    /// [`negotiate`](Self::negotiate) deals with such an offer; this is to tell what is wrong.
    ///
    /// Virtio 1.3, 2.2.2.
    pub fn broken_rule(self) -> Option<FeatureError<C>> {
        broken_rule(self.0, C::RULES.iter())
    }

    /// Checks what a driver accepts of this offer.
    ///
    /// # Errors
    ///
    /// The first rule that is broken: the device must not leave `FEATURES_OK` set.
    pub fn check(self, accepted: FeatureSet<C>) -> Result<Accepted<C>, FeatureError<C>> {
        if let Some(feature) = accepted.difference(self.0).first() {
            return Err(FeatureError::NotOffered(feature));
        }
        if let Some(feature) = accepted.difference(C::DEFINED).first() {
            return Err(FeatureError::Undefined(feature));
        }
        let rules = C::RULES.iter().filter(|rule| rule.scope == Scope::Both);
        match broken_rule(accepted, rules) {
            Some(error) => Err(error),
            None => Ok(Accepted(accepted)),
        }
    }
}

fn broken_rule<'a, C: Class>(
    set: FeatureSet<C>,
    mut rules: impl Iterator<Item = &'a Rule<C>>,
) -> Option<FeatureError<C>> {
    let modern = set.difference(FeatureSet::LEGACY).first();
    match modern {
        Some(feature) if !set.contains(Feature::VERSION_1) => {
            Some(FeatureError::NotLegacy(feature))
        }
        _ => rules
            .find(|rule| rule.broken_by(set))
            .map(|rule| FeatureError::Broken(*rule)),
    }
}

/// The features that a driver has accepted, which break no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted<C: Class>(FeatureSet<C>);

impl<C: Class> Accepted<C> {
    /// Returns the set.
    pub const fn set(self) -> FeatureSet<C> {
        self.0
    }

    /// Returns whether `feature` is accepted.
    pub const fn has(self, feature: Feature<C>) -> bool {
        self.0.contains(feature)
    }

    /// Returns whether the device is used through the legacy interface (virtio 1.3, 2.2.3).
    pub const fn is_legacy(self) -> bool {
        !self.has(Feature::VERSION_1)
    }

    /// Checks that `feature` is accepted.
    ///
    /// # Errors
    ///
    /// It is not.
    pub const fn require(self, feature: Feature<C>) -> Result<(), FeatureError<C>> {
        if self.has(feature) {
            Ok(())
        } else {
            Err(FeatureError::Missing(feature))
        }
    }
}

#[cfg(test)]
mod tests;
