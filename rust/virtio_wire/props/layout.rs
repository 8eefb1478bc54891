// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    blk, int, net, ring,
    wire::{
        Truncated,
        Wire, //
    },
};

/// Whatever the bytes are, they come back, and a prefix that is too short is refused.
fn comes_back<T: Wire<N> + PartialEq, const N: usize>(
    bytes: &[u8; 128],
    parse: impl Fn(&[u8]) -> Result<T, Truncated>,
) {
    let (chunk, _) = bytes.split_first_chunk::<N>().unwrap();
    let value = T::from_wire(*chunk);

    assert_eq!(value.to_wire(), *chunk);
    assert!(parse(bytes) == Ok(value));
    assert!(
        parse(&chunk[..N - 1])
            == Err(Truncated {
                needed: N,
                available: N - 1
            })
    );
}

proptest! {
    #![proptest_config(config(CASES))]

    #[test]
    fn all_layouts_give_their_bytes_back(bytes in prop::array::uniform32(any::<u32>())) {
        let mut whole = [0; 128];
        for (to, from) in whole.chunks_exact_mut(4).zip(bytes) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        macro_rules! check {
            ($($layout:path),* $(,)?) => {
                $(comes_back::<$layout, { <$layout>::SIZE }>(&whole, <$layout>::parse);)*
            };
        }
        check!(
            net::Header,
            net::ConfigLayout,
            net::ctrl::CoalesceLayout,
            net::ctrl::CoalesceQueueLayout,
            net::stats::StatsQueryLayout,
            net::stats::StatsHeader,
            blk::ConfigLayout,
            blk::RequestHeader,
            blk::SegmentLayout,
            blk::LifetimeLayout,
            ring::split::Descriptor,
            ring::split::UsedElement,
            ring::packed::Descriptor,
            ring::packed::EventLayout,
        );
    }

    #[test]
    fn integers_are_little_endian(value in any::<u64>()) {
        let bytes = int::Le64::new(value).to_bytes();
        let sum = bytes.iter().rev().fold(0u128, |sum, byte| sum * 256 + u128::from(*byte));

        prop_assert_eq!(sum, u128::from(value));
        prop_assert_eq!(int::Le64::from_bytes(bytes).get(), value);
        prop_assert_eq!(&int::Le32::new(value as u32).to_bytes()[..], &bytes[..4]);
        prop_assert_eq!(&int::Le16::new(value as u16).to_bytes()[..], &bytes[..2]);
    }
}
