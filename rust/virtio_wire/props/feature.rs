// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    blk::Blk,
    net::Net, //
};

/// Whether no rule of virtio 1.3, 5.1.3.1, and of virtio 1.4 is broken, by the numbers of bits.
fn net_is_valid(bits: u128) -> bool {
    let has = |bit: u32| bits >> bit & 1 == 1;
    let needs = |bit: u32, met: bool| !has(bit) || met;
    let control = [2, 18, 19, 20, 21, 22, 23, 50, 51, 52, 53, 57, 60, 64];

    [7, 8, 10, 54, 55].iter().all(|bit| needs(*bit, has(1)))
        && needs(9, has(7) || has(8))
        && needs(65, has(7) && has(8) && has(54) && has(55))
        && needs(66, has(65))
        && [11, 12, 14, 56].iter().all(|bit| needs(*bit, has(0)))
        && needs(13, has(11) || has(12))
        && needs(67, has(11) && has(12) && has(56))
        && needs(68, has(67))
        && needs(61, has(11) || has(12))
        && control.iter().all(|bit| needs(*bit, has(17)))
        && needs(51, has(60) || has(57))
        && needs(64, has(60))
        && (has(32) || bits >> 32 == 0)
}

fn blk_is_valid(bits: u128) -> bool {
    let has = |bit: u32| bits >> bit & 1 == 1;
    (has(32) || bits >> 32 == 0) && (!has(17) || has(32))
}

/// Checks a negotiation, given whether a set of features is valid to be accepted.
fn negotiates<C: Class>(
    offered: FeatureSet<C>,
    supported: FeatureSet<C>,
    is_valid: impl Fn(u128) -> bool,
) {
    let offer = Offered::new(offered);
    let Ok(accepted) = offer.negotiate(supported) else {
        assert_eq!(offered.bits() >> 32 & 1, 1);
        assert_eq!(supported.bits() >> 32 & 1, 0);
        return;
    };
    let bits = accepted.set().bits();
    let both = offered.bits() & supported.bits() & C::DEFINED.bits();

    assert_eq!(bits & !both, 0);
    assert!(is_valid(bits));
    // The device takes what a driver has negotiated.
    assert_eq!(offer.check(accepted.set()), Ok(accepted));
    // The same again changes nothing.
    assert_eq!(offer.negotiate(accepted.set()), Ok(accepted));
    // Nothing is left out without need: no feature can be added.
    for bit in 0..128 {
        let more = bits | 1 << bit;
        if both & !bits & 1 << bit != 0 {
            let refused = C::RULES
                .iter()
                .any(|rule| rule.broken_by(FeatureSet::from_bits(more)));
            let legacy = bit >= 32 && accepted.is_legacy();
            assert!(refused || legacy, "feature {bit} could be accepted");
        }
    }
}

proptest! {
    #![proptest_config(config(4 * CASES))]

    #[test]
    fn a_network_driver_breaks_no_rule(offered in sets(), supported in sets()) {
        negotiates::<Net>(offered, supported, net_is_valid);
    }

    #[test]
    fn a_block_driver_breaks_no_rule(offered in sets(), supported in sets()) {
        negotiates::<Blk>(offered, supported, blk_is_valid);
    }

    #[test]
    fn a_network_device_accepts_what_is_valid(set in sets::<Net>()) {
        let defined = set.difference(Net::DEFINED).is_empty();

        prop_assert_eq!(
            Offered::new(set).check(set).is_ok(),
            defined && net_is_valid(set.bits())
        );
    }

    #[test]
    fn a_block_device_accepts_what_is_valid(set in sets::<Blk>()) {
        let defined = set.difference(Blk::DEFINED).is_empty();

        prop_assert_eq!(
            Offered::new(set).check(set).is_ok(),
            defined && blk_is_valid(set.bits())
        );
    }

    #[test]
    fn sets_are_bits(a in any::<u128>(), b in any::<u128>(), bit in 0..128u32) {
        let (x, y) = (FeatureSet::<Net>::from_bits(a), FeatureSet::from_bits(b));
        let feature = crate::net::Feature::new(bit).unwrap();

        prop_assert_eq!(x.union(y).bits(), a | b);
        prop_assert_eq!(x.intersection(y).bits(), a & b);
        prop_assert_eq!(x.difference(y).bits(), a & !b);
        prop_assert_eq!(x.contains(feature), a >> bit & 1 == 1);
        prop_assert_eq!(x.with(feature).bits(), a | 1 << bit);
        prop_assert_eq!(x.without(feature).bits(), a & !(1 << bit));
        prop_assert_eq!(x.iter().count() as u32, a.count_ones());
        prop_assert_eq!(FeatureSet::<Net>::from_words(x.words()), x);
        prop_assert_eq!(u128::from(x.words()[2]), a >> 64 & 0xffff_ffff);
    }
}
