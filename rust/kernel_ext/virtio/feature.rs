// SPDX-License-Identifier: GPL-2.0

//! Negotiation of features, with the rules of [`virtio_wire::feature`].

use super::{
    Device,
    Driver, //
};
use crate::{
    bindings,
    fmt::Plain, //
};
use kernel::{
    device,
    prelude::*, //
};
use virtio_wire::feature::{
    Accepted,
    Class,
    Feature,
    FeatureSet,
    Offered, //
};

/// How many feature bits there can be.
const BITS: usize = bindings::VIRTIO_FEATURES_BITS as usize;

/// The numbers of features, as the core takes them.
pub(super) struct Table {
    numbers: [c_uint; BITS],
    count: c_uint,
}

impl Table {
    /// Lists the features of a set.
    pub(super) const fn new<C: Class>(set: FeatureSet<C>) -> Self {
        let mut table = Self {
            numbers: [0; BITS],
            count: 0,
        };
        let mut rest = set;
        while let Some(feature) = rest.first() {
            // There are no more features than bits. An iterator cannot be used in a constant.
            #[expect(clippy::indexing_slicing, reason = "this is evaluated by the compiler")]
            {
                table.numbers[table.count as usize] = feature.bit();
            }
            table.count += 1;
            rest = rest.without(feature);
        }
        table
    }

    /// Returns the array.
    pub(super) const fn as_ptr(&self) -> *const c_uint {
        self.numbers.as_ptr()
    }

    /// Returns how many elements of the array are used.
    pub(super) const fn len(&self) -> c_uint {
        self.count
    }
}

fn to_set<C: Class>([low, high]: [u64; 2]) -> FeatureSet<C> {
    FeatureSet::from_bits(u128::from(high) << 64 | u128::from(low))
}

fn to_words<C: Class>(set: FeatureSet<C>) -> [u64; 2] {
    let [a, b, c, d] = set.words();
    let word = |low, high| u64::from(high) << 32 | u64::from(low);
    [word(a, b), word(c, d)]
}

impl Device<device::Bound> {
    /// Reads from the device which features it offers.
    #[doc(alias = "virtio_get_features")]
    pub fn offered_features<C: Class>(&self) -> Offered<C> {
        let mut features = [0; 2];

        // SAFETY:
        // - By the type invariant, `self.as_raw()` is valid, and it is bound to a driver.
        // - `features` has room for all the features that the core knows.
        unsafe { bindings::virtio_get_features(self.as_raw(), features.as_mut_ptr()) };
        Offered::new(to_set(features))
    }

    /// Returns the features that driver `T` has accepted. They break no rule.
    #[doc(alias = "virtio_has_feature")]
    pub fn features<T: Driver>(&self) -> Result<Accepted<T::Class>> {
        // What was accepted once is accepted again.
        Offered::new(self.core_features())
            .negotiate(FeatureSet::from_bits(u128::MAX))
            .map_err(|_| EINVAL)
    }

    /// Returns what the core has negotiated.
    fn core_features<C: Class>(&self) -> FeatureSet<C> {
        // SAFETY: By the type invariant, the device is valid; while it is bound, its features do not
        // change but in `validate`, which has it alone.
        let features = unsafe { &raw const (*self.as_raw()).__bindgen_anon_1 };
        // CAST: One form of the union is an array, and it has no other size.
        //
        // SAFETY: As above.
        to_set(unsafe { features.cast::<[u64; 2]>().read() })
    }

    /// Takes away the features that break a rule, those that nobody should accept, and those that driver
    /// `T` does not want.
    pub(super) fn validate_features<T: Driver>(&self) -> Result {
        let offered = self.offered_features::<T::Class>();
        if let Some(error) = offered.broken_rule() {
            dev_warn!(self, "the device offers what cannot be: {}\n", Plain(error));
        }

        let negotiated = self.core_features::<T::Class>();
        // With this, the core (7.3) takes the next buffers for used up to that which the device names: all
        // that ever follow, if it names one that is not there.
        let accepted = Offered::new(negotiated.without(Feature::IN_ORDER))
            .negotiate(FeatureSet::from_bits(u128::MAX))
            .map_err(|_| EINVAL)?;
        let wanted = T::validate(self, accepted)?;
        // Again: what is left may need what is gone.
        let wanted = Offered::new(accepted.set().intersection(wanted));
        let set = wanted
            .negotiate(FeatureSet::from_bits(u128::MAX))
            .map_err(|_| EINVAL)?
            .set();

        // SAFETY: By the type invariant, the device is valid. The core calls this during the probe,
        // and nobody else uses its features then.
        let features = unsafe { &raw mut (*self.as_raw()).__bindgen_anon_1 };
        // CAST: One form of the union is an array, and it has no other size.
        //
        // SAFETY: As above.
        unsafe { features.cast::<[u64; 2]>().write(to_words(set)) };
        Ok(())
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_feature)]
mod tests {
    use super::*;
    use virtio_wire::net::Feature;

    #[test]
    fn a_table_lists_the_features_of_a_set() {
        let table = Table::new(FeatureSet::of(&[Feature::CSUM, Feature::HOST_USO]));

        assert_eq!(table.len(), 2);
        assert_eq!(table.numbers.get(..3), Some(&[0, 56, 0][..]));
    }

    #[test]
    fn words_are_those_of_the_core() {
        let set = FeatureSet::of(&[
            Feature::MTU,
            Feature::VERSION_1,
            Feature::HOST_UDP_TUNNEL_GSO,
        ]);

        assert_eq!(to_words(set), [1 << 32 | 1 << 3, 1 << 3]);
        assert!(to_set(to_words(set)) == set);
    }
}
