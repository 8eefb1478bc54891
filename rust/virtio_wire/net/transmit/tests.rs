// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::net::{
    header::gso,
    offload::{
        GsoKind,
        Levels, //
    },
    FeatureSet,
    Offered, //
};
use core::num::NonZeroU16;

const ALL: &[Feature] = &[
    Feature::CSUM,
    Feature::HOST_TSO4,
    Feature::HOST_TSO6,
    Feature::HOST_USO,
    Feature::HOST_ECN,
    Feature::HOST_UDP_TUNNEL_GSO,
];

fn rules(features: &[Feature]) -> TxRules {
    let set = FeatureSet::of(features).with(Feature::VERSION_1);
    TxRules::new(Offered::new(set).check(set).unwrap())
}

fn exact() -> TxRules {
    rules(&[
        Feature::CSUM,
        Feature::HOST_TSO4,
        Feature::HOST_USO,
        Feature::GUEST_HDRLEN,
    ])
}

fn tso() -> Transmit {
    Transmit {
        offload: Offload {
            checksum: Checksum::Partial {
                start: 34,
                offset: 16,
            },
            gso: Some(Gso {
                kind: GsoKind::TcpV4,
                size: NonZeroU16::new(1448).unwrap(),
                ecn: false,
                tunnel: None,
            }),
        },
        header_length: HeaderLength::Hint(54),
    }
}

#[test]
fn a_device_gets_what_a_driver_says() {
    let header = rules(ALL).build(&tso(), 4000).unwrap();

    assert_eq!(header.flags, flag::NEEDS_CSUM);
    assert_eq!(header.gso_type, gso::TCPV4);
    assert_eq!(header.gso_size.get(), 1448);
    assert_eq!(header.num_buffers.get(), 0);
    assert_eq!(rules(ALL).check(&header, 4000), Ok(tso()));
}

#[test]
fn a_driver_says_nothing_that_was_not_negotiated() {
    let partial = Transmit {
        offload: Offload {
            gso: None,
            ..tso().offload
        },
        ..tso()
    };

    assert_eq!(
        rules(&[Feature::CSUM]).build(&tso(), 4000),
        Err(HeaderError::GsoNotNegotiated(gso::TCPV4))
    );
    assert_eq!(
        rules(&[]).build(&partial, 4000),
        Err(HeaderError::ChecksumNotNegotiated)
    );
}

#[test]
fn a_driver_has_not_verified_or_coalesced_anything() {
    for checksum in [
        Checksum::Verified(Levels::Outer),
        Checksum::Coalesced {
            segments: 2,
            duplicate_acks: 0,
        },
    ] {
        let transmit = Transmit {
            offload: Offload {
                checksum,
                gso: None,
            },
            header_length: HeaderLength::Hint(0),
        };

        assert_eq!(
            rules(ALL).build(&transmit, 60),
            Err(HeaderError::NotForTransmit)
        );
    }
}

#[test]
fn a_device_ignores_flags_of_the_other_direction() {
    let header = Header {
        flags: flag::DATA_VALID | flag::RSC_INFO,
        ..Header::default()
    };

    let transmit = rules(ALL).check(&header, 60).unwrap();
    assert_eq!(transmit.offload, Offload::NONE);
}

#[test]
fn a_tunnel_checksum_without_a_tunnel_is_refused() {
    let rules = rules(&[
        Feature::CSUM,
        Feature::HOST_TSO4,
        Feature::HOST_TSO6,
        Feature::HOST_USO,
        Feature::HOST_UDP_TUNNEL_GSO,
        Feature::HOST_UDP_TUNNEL_GSO_CSUM,
    ]);
    let header = Header {
        flags: flag::UDP_TUNNEL_CSUM,
        ..Header::default()
    };

    assert_eq!(
        rules.check(&header, 60),
        Err(HeaderError::TunnelChecksumWithoutTunnel)
    );
}

#[test]
fn the_length_of_headers_is_exact_if_that_was_negotiated() {
    let check = |hdr_len: u16, transmit: Transmit| {
        let mut header = transmit.offload.header();
        header.hdr_len = hdr_len.into();
        exact().check(&header, 4000).map(|t| t.header_length)
    };
    let mut uso = tso();
    uso.offload.checksum = Checksum::Partial {
        start: 34,
        offset: 6,
    };
    uso.offload.gso.as_mut().unwrap().kind = GsoKind::UdpSegments;

    assert_eq!(check(54, tso()), Ok(HeaderLength::Exact(54)));
    assert_eq!(check(94, tso()), Ok(HeaderLength::Exact(94)));
    assert_eq!(check(53, tso()), Err(HeaderError::HeaderLength(53)));
    assert_eq!(check(95, tso()), Err(HeaderError::HeaderLength(95)));
    assert_eq!(check(42, uso), Ok(HeaderLength::Exact(42)));
    assert_eq!(check(43, uso), Err(HeaderError::HeaderLength(43)));
}

#[test]
fn headers_are_not_longer_than_the_frame() {
    let mut header = tso().offload.header();
    header.hdr_len = 60.into();

    assert_eq!(
        exact().check(&header, 59),
        Err(HeaderError::HeaderLength(60))
    );
    // Where it is a hint, it is cut.
    assert_eq!(
        rules(ALL).check(&header, 59).unwrap().header_length,
        HeaderLength::Hint(59)
    );
}

#[test]
fn slips_of_a_driver_are_noticed() {
    let with = |flags, buffers: u16| Header {
        flags,
        num_buffers: buffers.into(),
        ..Header::default()
    };

    assert_eq!(rules(ALL).slip(&with(flag::NEEDS_CSUM, 0)), None);
    assert_eq!(
        rules(ALL).slip(&with(flag::DATA_VALID, 0)),
        Some(Slip::Flags(flag::DATA_VALID))
    );
    assert_eq!(rules(&[]).slip(&with(0x80, 0)), Some(Slip::Flags(0x80)));
    assert_eq!(rules(ALL).slip(&with(0, 7)), Some(Slip::NumBuffers(7)));
}
