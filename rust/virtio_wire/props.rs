// SPDX-License-Identifier: GPL-2.0

//! Properties that hold for whatever the other end says.
//!
//! Where it matters what is accepted, a check is compared with a second one that is written from
//! the specification in another way: slowly, with numbers that cannot overflow.

use crate::feature::{
    Accepted,
    Class,
    FeatureSet,
    Offered, //
};
use proptest::{
    prelude::*,
    strategy::BoxedStrategy, //
};

mod blk;
mod ctrl;
mod feature;
mod header;
mod layout;
mod packed;
mod split;

/// How many cases each property is tried with, unless it says otherwise.
const CASES: u32 = 512;

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Sets of features, of which many have most of those that are defined.
fn sets<C: Class>() -> BoxedStrategy<FeatureSet<C>> {
    let all = C::DEFINED.bits();
    prop_oneof![
        any::<u128>(),
        any::<u128>().prop_map(move |bits| bits & all),
        (any::<u128>(), any::<u128>()).prop_map(move |(a, b)| all & (a | b)),
        (any::<u128>(), any::<u128>(), any::<u128>()).prop_map(move |(a, b, c)| all & (a | b | c)),
        Just(all),
    ]
    .prop_map(FeatureSet::from_bits)
    .boxed()
}

/// Features that a driver may have accepted.
fn accepted<C: Class>() -> BoxedStrategy<Accepted<C>> {
    let everything = FeatureSet::from_bits(u128::MAX);
    sets()
        .prop_map(move |set| Offered::new(set).negotiate(everything).unwrap())
        .boxed()
}

/// Bytes that may come from the other end.
fn bytes(most: usize) -> BoxedStrategy<std::vec::Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..=most).boxed()
}

/// Numbers, of which many are small, or close to where they wrap around.
fn edgy16() -> BoxedStrategy<u16> {
    prop_oneof![
        any::<u16>(),
        0..64u16,
        64..2048u16,
        0x7ff0..0x8010u16,
        0xfff0..=0xffffu16,
    ]
    .boxed()
}
