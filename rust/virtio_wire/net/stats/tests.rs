// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::net::{
    FeatureSet,
    Offered, //
};
use std::{
    vec,
    vec::Vec, //
};

fn accepted(features: &[Feature]) -> Accepted {
    let set = FeatureSet::of(features).union(FeatureSet::of(&[
        Feature::VERSION_1,
        Feature::CTRL_VQ,
        Feature::DEVICE_STATS,
    ]));
    Offered::new(set).check(set).unwrap()
}

/// The bytes of a request.
fn asking(queries: &[(u16, &[StatsKind])]) -> Vec<u8> {
    let query = |(index, kinds): &(u16, &[StatsKind])| {
        let types = kinds
            .iter()
            .copied()
            .fold(StatsTypes::default(), StatsTypes::with);
        let layout = StatsQueryLayout {
            vq_index: (*index).into(),
            types_bitmap: types.bits().into(),
            ..StatsQueryLayout::default()
        };
        layout.to_bytes()
    };
    queries.iter().flat_map(query).collect()
}

/// The bytes of an entry, whose counters are `first`, and so on.
fn entry(index: u16, kind: StatsKind, first: u64) -> Vec<u8> {
    let mut bytes = vec![0; kind.length()];
    assert_eq!(
        write_entry(&mut bytes, index, kind, first..),
        Ok(kind.length())
    );
    bytes
}

fn parse(request: &[u8], reply: &[u8]) -> Vec<Result<(u16, StatsKind, u64), StatsError>> {
    let request = StatsRequest::new(request).unwrap();
    StatsReply::new(request, reply)
        .map(|entry| entry.map(|e| (e.index, e.kind, e.counters().map(|(_, value)| value).sum())))
        .collect()
}

#[test]
fn codes_are_those_of_the_c_header() {
    for (kind, code, length) in [
        (StatsKind::Control, 32, 24),
        (StatsKind::RxBasic, 0, 56),
        (StatsKind::RxChecksum, 1, 40),
        (StatsKind::RxGso, 2, 40),
        (StatsKind::RxSpeed, 3, 24),
        (StatsKind::TxBasic, 16, 56),
        (StatsKind::TxChecksum, 17, 24),
        (StatsKind::TxGso, 18, 56),
        (StatsKind::TxSpeed, 19, 24),
    ] {
        assert_eq!(kind.code(), code);
        assert_eq!(kind.length(), length);
        assert_eq!(StatsKind::from_code(code), Some(kind));
    }
    assert_eq!(StatsKind::from_code(4), None);
}

#[test]
fn a_reply_has_what_was_asked_for() {
    let request = asking(&[
        (0, &[StatsKind::RxBasic, StatsKind::RxSpeed]),
        (2, &[StatsKind::Control]),
    ]);
    let reply = [
        entry(2, StatsKind::Control, 10),
        entry(0, StatsKind::RxBasic, 1),
    ]
    .concat();

    assert_eq!(
        parse(&request, &reply),
        [
            Ok((2, StatsKind::Control, 10 + 11)),
            Ok((0, StatsKind::RxBasic, 1 + 2 + 3 + 4 + 5 + 6)),
        ]
    );
}

#[test]
fn counters_have_names() {
    let request = asking(&[(1, &[StatsKind::TxChecksum])]);
    let reply = entry(1, StatsKind::TxChecksum, 7);
    let request = StatsRequest::new(&request).unwrap();
    let entry = StatsReply::new(request, &reply).next().unwrap().unwrap();

    assert!(entry.counters().eq([("csum_none", 7), ("needs_csum", 8)]));
}

#[test]
fn an_entry_may_be_longer_than_known() {
    let request = asking(&[(0, &[StatsKind::RxSpeed])]);
    let mut long = entry(0, StatsKind::RxSpeed, 1);
    long.extend([0xff; 8]);
    long[6] = 32;
    let reply = [long, entry(0, StatsKind::RxSpeed, 2)].concat();

    assert_eq!(
        parse(&request, &reply),
        [
            Ok((0, StatsKind::RxSpeed, 3)),
            Ok((0, StatsKind::RxSpeed, 5))
        ]
    );
}

// The driver of Linux loops forever.
#[test]
fn an_entry_without_a_length_ends_the_reply() {
    let request = asking(&[(0, &[StatsKind::RxSpeed])]);
    let mut reply = entry(0, StatsKind::RxSpeed, 1);
    for size in [0, 7, 8, 23] {
        reply[6] = size;

        assert_eq!(
            parse(&request, &reply),
            [Err(StatsError::Size {
                kind: StatsKind::RxSpeed,
                size: size.into()
            })]
        );
    }
}

// The driver of Linux writes outside of an array.
#[test]
fn an_entry_of_another_queue_ends_the_reply() {
    let request = asking(&[(0, &[StatsKind::RxSpeed])]);
    let reply = entry(0xffff, StatsKind::RxSpeed, 1);

    assert_eq!(
        parse(&request, &reply),
        [Err(StatsError::NotAsked {
            index: 0xffff,
            kind: StatsKind::RxSpeed
        })]
    );
}

#[test]
fn an_entry_of_another_type_ends_the_reply() {
    let request = asking(&[(0, &[StatsKind::RxSpeed])]);
    let mut reply = entry(0, StatsKind::RxBasic, 1);

    assert_eq!(
        parse(&request, &reply),
        [Err(StatsError::NotAsked {
            index: 0,
            kind: StatsKind::RxBasic
        })]
    );
    reply[0] = 77;
    assert_eq!(parse(&request, &reply), [Err(StatsError::Kind(77))]);
}

#[test]
fn a_reply_that_is_cut_ends_there() {
    let request = asking(&[(0, &[StatsKind::RxSpeed])]);
    let reply = [
        entry(0, StatsKind::RxSpeed, 1),
        entry(0, StatsKind::RxSpeed, 1),
    ]
    .concat();

    for length in 25..48 {
        let entries = parse(&request, &reply[..length]);
        assert_eq!(entries.len(), 2);
        assert!(matches!(entries[1], Err(StatsError::Truncated(_))));
    }
}

#[test]
fn a_request_is_of_whole_structures() {
    assert_eq!(StatsRequest::new(&[]), Err(StatsError::RequestLength(0)));
    assert_eq!(
        StatsRequest::new(&[0; 17]),
        Err(StatsError::RequestLength(17))
    );
    assert!(StatsRequest::new(&[0; 32]).is_ok());
}

#[test]
fn a_request_says_how_long_its_reply_is() {
    let request = asking(&[
        (0, &[StatsKind::RxBasic, StatsKind::RxGso]),
        (1, &[StatsKind::TxSpeed]),
    ]);

    assert_eq!(
        StatsRequest::new(&request).unwrap().reply_length(),
        56 + 40 + 24
    );
}

#[test]
fn a_request_is_for_counters_that_a_queue_has() {
    let check = |index, kind, features: &[Feature]| {
        let bytes = asking(&[(index, &[kind])]);
        StatsRequest::new(&bytes)
            .unwrap()
            .check(QueuePairs::ONE, accepted(features))
    };
    let types = |kind| StatsTypes::default().with(kind);

    assert_eq!(check(0, StatsKind::RxBasic, &[]), Ok(()));
    assert_eq!(check(1, StatsKind::TxBasic, &[]), Ok(()));
    assert_eq!(check(2, StatsKind::Control, &[]), Ok(()));
    assert_eq!(
        check(3, StatsKind::Control, &[]),
        Err(StatsError::NoQueue(3))
    );
    assert_eq!(
        check(1, StatsKind::RxBasic, &[]),
        Err(StatsError::Types(types(StatsKind::RxBasic)))
    );
    assert_eq!(
        check(1, StatsKind::TxChecksum, &[]),
        Err(StatsError::Types(types(StatsKind::TxChecksum)))
    );
    assert_eq!(check(1, StatsKind::TxChecksum, &[Feature::CSUM]), Ok(()));
}

#[test]
fn unknown_types_are_refused() {
    let query = StatsQueryLayout {
        types_bitmap: (1u64 << 40).into(),
        ..StatsQueryLayout::default()
    };
    let bytes = query.to_bytes();

    assert_eq!(
        StatsRequest::new(&bytes)
            .unwrap()
            .check(QueuePairs::ONE, accepted(&[])),
        Err(StatsError::Types(StatsTypes::from_bits(1 << 40)))
    );
}

#[test]
fn counters_that_are_missing_are_zero() {
    let mut bytes = [0xff; 24];
    write_entry(&mut bytes, 1, StatsKind::TxSpeed, [5]).unwrap();

    assert_eq!(bytes[8..], [5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_device_writes_only_whole_entries() {
    assert_eq!(
        write_entry(&mut [0; 23], 1, StatsKind::TxSpeed, [5]),
        Err(StatsError::Truncated(Truncated {
            needed: 24,
            available: 23
        }))
    );
}
