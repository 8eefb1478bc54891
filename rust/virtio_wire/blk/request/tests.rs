// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::blk::{
    config::ConfigLayout,
    segment::{
        SegmentLayout,
        Unmap,
        UNMAP, //
    },
    FeatureSet,
    Offered, //
};
use std::{
    vec,
    vec::Vec, //
};

const ALL: &[Feature] = &[
    Feature::FLUSH,
    Feature::DISCARD,
    Feature::WRITE_ZEROES,
    Feature::SECURE_ERASE,
    Feature::LIFETIME,
];

/// A device of 1000 sectors, where segments have at most 100 sectors, and requests 4 segments.
fn rules_with(features: &[Feature], access: Access) -> RequestRules {
    let set = FeatureSet::of(features).with(Feature::VERSION_1);
    let accepted = Offered::new(set).check(set).unwrap();
    let layout = ConfigLayout {
        capacity: 1000.into(),
        max_discard_sectors: 100.into(),
        max_discard_seg: 4.into(),
        max_write_zeroes_sectors: 100.into(),
        max_write_zeroes_seg: 4.into(),
        max_secure_erase_sectors: 100.into(),
        max_secure_erase_seg: 4.into(),
        ..ConfigLayout::default()
    };
    let config = Config::parse(&layout.to_bytes(), accepted).unwrap();
    RequestRules::new(&config, access).unwrap()
}

fn rules() -> RequestRules {
    rules_with(ALL, Access::ReadWrite)
}

fn check(
    kind: RequestKind,
    sector: u64,
    readable: u64,
    writable: u64,
) -> Result<Request, RequestError> {
    let data = Lengths { readable, writable };
    rules().check(&RequestHeader::new(kind, sector), data)
}

#[test]
fn a_header_is_laid_out_as_in_c() {
    let header = RequestHeader::new(RequestKind::Write, 0x0102);

    assert_eq!(
        header.to_bytes(),
        [1, 0, 0, 0, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0]
    );
}

#[test]
fn codes_are_those_of_the_c_header() {
    assert_eq!(RequestKind::Read.code(), 0);
    assert_eq!(RequestKind::Flush.code(), 4);
    assert_eq!(RequestKind::GetId.code(), 8);
    assert_eq!(RequestKind::WriteZeroes.code(), 13);
    assert_eq!(RequestKind::ZoneResetAll.code(), 26);
    for kind in RequestKind::ALL {
        assert_eq!(RequestKind::from_code(kind.code()), Some(kind));
    }
}

#[test]
fn unknown_requests_are_not_supported() {
    for code in [2, 3, 5, 7, 27, 0x8000_0000, u32::MAX] {
        let header = RequestHeader {
            kind: code.into(),
            ..RequestHeader::default()
        };
        let error = rules().check(&header, Lengths::default()).unwrap_err();

        assert_eq!(error, RequestError::Unknown(code));
        assert_eq!(error.status(), Status::Unsupported);
    }
}

#[test]
fn sectors_are_read_and_written() {
    let Ok(Request::Read(range)) = check(RequestKind::Read, 2, 0, 1024) else {
        panic!("sectors cannot be read");
    };
    assert_eq!((range.sector(), range.sectors()), (2, 2));
    assert_eq!((range.offset(), range.length()), (1024, 1024));
    assert_eq!(
        check(RequestKind::Write, 2, 1024, 0),
        Ok(Request::Write(range))
    );
}

#[test]
fn sectors_are_below_the_capacity() {
    assert!(check(RequestKind::Read, 999, 0, 512).is_ok());
    assert!(check(RequestKind::Read, 1000, 0, 0).is_ok());
    for (sector, bytes) in [
        (999, 1024),
        (1000, 512),
        (1001, 0),
        (u64::MAX, 512),
        (u64::MAX, 0),
        (0, !511),
    ] {
        let error = check(RequestKind::Read, sector, 0, bytes).unwrap_err();

        assert_eq!(
            error,
            RequestError::Range {
                sector,
                sectors: bytes / 512
            }
        );
        assert_eq!(error.status(), Status::IoError);
        assert_eq!(check(RequestKind::Write, sector, bytes, 0), Err(error));
    }
}

#[test]
fn whole_sectors_are_read_and_written() {
    for length in [1, 511, 513] {
        let error = Err(RequestError::Length(length));

        assert_eq!(check(RequestKind::Read, 0, 0, length), error);
        assert_eq!(check(RequestKind::Write, 0, length, 0), error);
    }
}

#[test]
fn data_is_in_one_direction() {
    assert_eq!(
        check(RequestKind::Read, 0, 512, 0),
        Err(RequestError::Direction)
    );
    assert_eq!(
        check(RequestKind::Write, 0, 0, 512),
        Err(RequestError::Direction)
    );
    assert_eq!(
        check(RequestKind::Read, 0, 16, 512),
        Err(RequestError::Length(16))
    );
}

#[test]
fn a_flush_is_at_sector_0() {
    assert_eq!(check(RequestKind::Flush, 0, 0, 0), Ok(Request::Flush));
    assert_eq!(
        check(RequestKind::Flush, 1, 0, 0),
        Err(RequestError::Sector(1))
    );
}

#[test]
fn a_name_has_20_bytes() {
    assert_eq!(check(RequestKind::GetId, 0, 0, 20), Ok(Request::GetId));
    for length in [0, 19, 21] {
        assert!(check(RequestKind::GetId, 0, 0, length).is_err());
    }
}

#[test]
fn a_lifetime_has_6_bytes() {
    assert_eq!(
        check(RequestKind::GetLifetime, 0, 0, 6),
        Ok(Request::GetLifetime)
    );
    assert_eq!(
        check(RequestKind::GetLifetime, 0, 0, 5),
        Err(RequestError::Length(5))
    );
}

#[test]
fn requests_have_to_be_negotiated() {
    for (kind, readable, writable) in [
        (RequestKind::Flush, 0, 0),
        (RequestKind::GetLifetime, 0, 6),
        (RequestKind::Discard, 16, 0),
        (RequestKind::WriteZeroes, 16, 0),
        (RequestKind::SecureErase, 16, 0),
    ] {
        let header = RequestHeader::new(kind, 0);
        let data = Lengths { readable, writable };
        let error = rules_with(&[], Access::ReadWrite)
            .check(&header, data)
            .unwrap_err();

        assert_eq!(error, RequestError::NotNegotiated(kind));
        assert_eq!(error.status(), Status::Unsupported);
        assert!(rules().check(&header, data).is_ok());
    }
}

#[test]
fn zones_are_not_served() {
    for kind in [RequestKind::ZoneReport, RequestKind::ZoneAppend] {
        let error = check(kind, 0, 0, 0).unwrap_err();

        assert_eq!(error, RequestError::Zone(kind));
        assert_eq!(error.status(), Status::Unsupported);
    }
}

#[test]
fn a_read_only_device_is_not_written() {
    let rules = rules_with(ALL, Access::ReadOnly);
    let data = Lengths {
        readable: 512,
        writable: 0,
    };
    for kind in [
        RequestKind::Write,
        RequestKind::Discard,
        RequestKind::WriteZeroes,
        RequestKind::SecureErase,
    ] {
        let error = rules.check(&RequestHeader::new(kind, 0), data).unwrap_err();

        assert_eq!(error, RequestError::ReadOnly);
        assert_eq!(error.status(), Status::IoError);
    }
    assert_eq!(
        rules.segments(SegmentKind::Discard, &[0; 16]),
        Err(RequestError::ReadOnly)
    );
    let read = Lengths {
        readable: 0,
        writable: 512,
    };
    assert!(rules
        .check(&RequestHeader::new(RequestKind::Read, 0), read)
        .is_ok());
}

fn bytes(segments: &[SegmentLayout]) -> Vec<u8> {
    segments
        .iter()
        .flat_map(|segment| segment.to_bytes())
        .collect()
}

#[test]
fn segments_are_whole_and_not_too_many() {
    assert_eq!(
        check(RequestKind::Discard, 0, 64, 0),
        Ok(Request::Segments {
            kind: SegmentKind::Discard,
            length: 64
        })
    );
    for length in [0, 1, 15, 17] {
        let error = RequestError::SegmentsLength(length);

        assert_eq!(check(RequestKind::Discard, 0, length as u64, 0), Err(error));
        assert_eq!(
            rules().segments(SegmentKind::Discard, &vec![0; length]),
            Err(error)
        );
    }
    assert_eq!(
        check(RequestKind::Discard, 0, 80, 0),
        Err(RequestError::TooManySegments(5))
    );
    assert_eq!(
        rules().segments(SegmentKind::Discard, &[0; 80]),
        Err(RequestError::TooManySegments(5))
    );
    assert!(check(RequestKind::Discard, 0, !15, 0).is_err());
}

#[test]
fn segments_are_ranges() {
    let bytes = bytes(&[
        SegmentLayout::new(0, 100, Unmap::Keep),
        SegmentLayout::new(990, 10, Unmap::May),
    ]);
    let segments = rules().segments(SegmentKind::WriteZeroes, &bytes).unwrap();
    let found: Vec<_> = segments
        .iter()
        .map(|s| (s.range.sector(), s.range.sectors(), s.unmap))
        .collect();

    assert_eq!(found, [(0, 100, Unmap::Keep), (990, 10, Unmap::May)]);
}

fn segment(kind: SegmentKind, layout: SegmentLayout) -> Result<(), RequestError> {
    // After a valid one.
    let bytes = bytes(&[SegmentLayout::new(0, 1, Unmap::Keep), layout]);
    rules().segments(kind, &bytes).map(|_| ())
}

#[test]
fn all_segments_are_below_the_capacity() {
    for (sector, sectors) in [(991, 10), (1001, 0), (u64::MAX, 1)] {
        assert_eq!(
            segment(
                SegmentKind::Discard,
                SegmentLayout::new(sector, sectors, Unmap::Keep)
            ),
            Err(RequestError::Range {
                sector,
                sectors: sectors.into()
            })
        );
    }
}

#[test]
fn segments_are_not_too_long() {
    assert_eq!(
        segment(
            SegmentKind::Discard,
            SegmentLayout::new(0, 101, Unmap::Keep)
        ),
        Err(RequestError::SegmentTooLong(101))
    );
}

#[test]
fn only_zeroes_can_unmap() {
    let layout = SegmentLayout::new(0, 1, Unmap::May);

    assert_eq!(segment(SegmentKind::WriteZeroes, layout), Ok(()));
    for kind in [SegmentKind::Discard, SegmentKind::SecureErase] {
        let error = segment(kind, layout).unwrap_err();

        assert_eq!(error, RequestError::Flags(UNMAP));
        assert_eq!(error.status(), Status::Unsupported);
    }
}

#[test]
fn unknown_flags_are_not_supported_whatever_else_is_wrong() {
    let flags = SegmentLayout {
        flags: 2.into(),
        ..SegmentLayout::new(0, 1, Unmap::Keep)
    };
    let bytes = bytes(&[SegmentLayout::new(5000, 1, Unmap::Keep), flags]);

    for kind in [
        SegmentKind::Discard,
        SegmentKind::WriteZeroes,
        SegmentKind::SecureErase,
    ] {
        let error = rules().segments(kind, &bytes).unwrap_err();

        assert_eq!(error, RequestError::Flags(2));
        assert_eq!(error.status(), Status::Unsupported);
    }
}
