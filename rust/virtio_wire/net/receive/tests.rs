// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::net::{
    offload::{
        Gso,
        GsoKind,
        Tunnel,
        TunnelChecksum,
        TunnelFamily, //
    },
    FeatureSet,
    Offered, //
};

const ALL: &[Feature] = &[
    Feature::MRG_RXBUF,
    Feature::GUEST_CSUM,
    Feature::GUEST_TSO4,
    Feature::GUEST_TSO6,
    Feature::GUEST_ECN,
    Feature::GUEST_UFO,
    Feature::GUEST_USO4,
    Feature::GUEST_USO6,
    Feature::GUEST_UDP_TUNNEL_GSO,
    Feature::GUEST_UDP_TUNNEL_GSO_CSUM,
    Feature::CTRL_VQ,
    Feature::HASH_REPORT,
];

fn rules(features: &[Feature]) -> RxRules {
    let set = FeatureSet::of(features).with(Feature::VERSION_1);
    RxRules::new(Offered::new(set).check(set).unwrap())
}

/// TCP over IPv4, of which the checksum is to be completed.
fn partial() -> Header {
    Header {
        flags: flag::NEEDS_CSUM,
        csum_start: 34.into(),
        csum_offset: 16.into(),
        ..Header::default()
    }
}

fn tso() -> Header {
    Header {
        gso_type: gso::TCPV4,
        gso_size: 1448.into(),
        hdr_len: 54.into(),
        ..partial()
    }
}

/// TCP over IPv4 in Geneve over IPv4, as in the example of the specification.
fn tunnel() -> Header {
    Header {
        flags: flag::NEEDS_CSUM,
        gso_type: gso::TCPV4 | gso::UDP_TUNNEL_IPV4,
        gso_size: 1400.into(),
        csum_start: 84.into(),
        csum_offset: 16.into(),
        outer_th_offset: 34.into(),
        inner_nh_offset: 64.into(),
        ..Header::default()
    }
}

fn checksum(features: &[Feature], header: Header) -> Result<Checksum, HeaderError> {
    let receive = rules(features).check(&header, 2000)?;
    Ok(receive.offload.checksum)
}

fn kind(features: &[Feature], header: Header) -> Result<Option<GsoKind>, HeaderError> {
    let receive = rules(features).check(&header, 2000)?;
    Ok(receive.offload.gso.map(|gso| gso.kind))
}

#[test]
fn a_frame_without_offloads_is_accepted() {
    let receive = rules(&[]).check(&Header::default(), 60).unwrap();

    assert_eq!(receive.offload, Offload::NONE);
    assert_eq!(receive.hash, None);
}

#[test]
fn a_frame_has_an_ethernet_header() {
    assert!(rules(&[]).check(&Header::default(), 14).is_ok());
    assert_eq!(
        rules(&[]).check(&Header::default(), 13),
        Err(HeaderError::FrameTooShort(13))
    );
}

#[test]
fn unknown_flags_are_ignored() {
    let header = Header {
        flags: 0xf0,
        ..Header::default()
    };

    assert_eq!(checksum(ALL, header), Ok(Checksum::Unverified));
}

#[test]
fn buffers_are_counted_if_frames_can_be_in_several() {
    let with = |features, number: u16| {
        let header = Header {
            num_buffers: number.into(),
            ..Header::default()
        };
        rules(features).buffers(&header, 4).map(NonZeroU16::get)
    };

    assert_eq!(with(ALL, 1), Ok(1));
    assert_eq!(with(ALL, 4), Ok(4));
    assert_eq!(with(ALL, 0), Err(HeaderError::NoBuffers));
    assert_eq!(with(ALL, 5), Err(HeaderError::TooManyBuffers(5)));
    assert_eq!(with(&[], 0), Ok(1));
    assert_eq!(with(&[], 5), Ok(1));
}

#[test]
fn a_verified_checksum_is_believed_if_it_was_negotiated() {
    let header = Header {
        flags: flag::DATA_VALID,
        ..Header::default()
    };

    assert_eq!(checksum(ALL, header), Ok(Checksum::Verified(Levels::Outer)));
    assert_eq!(checksum(&[], header), Ok(Checksum::Unverified));
}

#[test]
fn a_verified_checksum_can_be_believed_in_any_case() {
    let rules = rules(&[]).believe_verified();
    let header = Header {
        flags: flag::DATA_VALID,
        ..Header::default()
    };

    for check in [RxRules::check, RxRules::check_any] {
        let receive = check(&rules, &header, 60).map(|receive| receive.offload.checksum);
        assert_eq!(receive, Ok(Checksum::Verified(Levels::Outer)));
    }
    assert_eq!(
        rules.check(&partial(), 60),
        Err(HeaderError::ChecksumNotNegotiated)
    );
}

#[test]
fn both_checksums_of_a_tunnel_can_be_verified() {
    let header = Header {
        flags: flag::DATA_VALID | flag::UDP_TUNNEL_CSUM,
        ..Header::default()
    };

    assert_eq!(
        checksum(ALL, header),
        Ok(Checksum::Verified(Levels::OuterAndInner))
    );
    assert_eq!(
        checksum(&[Feature::GUEST_CSUM], header),
        Err(HeaderError::TunnelChecksumNotNegotiated)
    );
}

#[test]
fn a_partial_checksum_has_to_be_negotiated() {
    assert_eq!(
        checksum(ALL, partial()),
        Ok(Checksum::Partial {
            start: 34,
            offset: 16
        })
    );
    assert_eq!(
        checksum(&[], partial()),
        Err(HeaderError::ChecksumNotNegotiated)
    );
}

#[test]
fn a_partial_checksum_counts_more_than_a_verified_one() {
    let header = Header {
        flags: flag::NEEDS_CSUM | flag::DATA_VALID,
        ..partial()
    };

    assert!(matches!(
        checksum(ALL, header),
        Ok(Checksum::Partial { .. })
    ));
}

#[test]
fn a_partial_checksum_is_inside_of_the_frame() {
    let with = |start: u16, offset: u16, length| {
        let header = Header {
            csum_start: start.into(),
            csum_offset: offset.into(),
            ..partial()
        };
        rules(ALL).check(&header, length).map(|_| ())
    };

    assert_eq!(with(34, 16, 52), Ok(()));
    assert_eq!(
        with(34, 16, 51),
        Err(HeaderError::ChecksumOutside {
            start: 34,
            offset: 16
        })
    );
    assert_eq!(
        with(0xffff, 0xffff, 2000),
        Err(HeaderError::ChecksumOutside {
            start: 0xffff,
            offset: 0xffff
        })
    );
    assert_eq!(with(33, 16, 60), Err(HeaderError::ChecksumStart(33)));
    assert_eq!(with(0, 0, 60), Err(HeaderError::ChecksumStart(0)));
}

#[test]
fn without_a_partial_checksum_its_position_means_nothing() {
    let header = Header {
        flags: 0,
        csum_start: 0xffff.into(),
        csum_offset: 0xffff.into(),
        ..Header::default()
    };

    assert_eq!(checksum(ALL, header), Ok(Checksum::Unverified));
}

#[test]
fn each_segmentation_has_to_be_negotiated() {
    let csum = Feature::GUEST_CSUM;
    for (gso_type, feature, meaning, offset) in [
        (gso::TCPV4, Feature::GUEST_TSO4, GsoKind::TcpV4, 16),
        (gso::TCPV6, Feature::GUEST_TSO6, GsoKind::TcpV6, 16),
        (gso::UDP, Feature::GUEST_UFO, GsoKind::UdpFragments, 6),
        (gso::UDP_L4, Feature::GUEST_USO4, GsoKind::UdpSegments, 6),
        (gso::UDP_L4, Feature::GUEST_USO6, GsoKind::UdpSegments, 6),
    ] {
        let header = Header {
            gso_type,
            gso_size: 1000.into(),
            csum_start: 54.into(),
            csum_offset: offset.into(),
            ..partial()
        };

        assert_eq!(kind(&[csum, feature], header), Ok(Some(meaning)));
        assert_eq!(
            kind(&[csum], header),
            Err(HeaderError::GsoNotNegotiated(gso_type))
        );
    }
}

#[test]
fn unknown_segmentation_is_refused() {
    for gso_type in [2, 6, 0x1f] {
        let header = Header { gso_type, ..tso() };

        assert_eq!(kind(ALL, header), Err(HeaderError::GsoUnknown(gso_type)));
    }
}

#[test]
fn segments_have_a_size() {
    for size in [0, 0xffff] {
        let header = Header {
            gso_size: size.into(),
            ..tso()
        };

        assert_eq!(kind(ALL, header), Err(HeaderError::GsoSize(size)));
    }
}

#[test]
fn segments_have_a_partial_checksum() {
    for flags in [0, flag::DATA_VALID] {
        let header = Header { flags, ..tso() };

        assert_eq!(kind(ALL, header), Err(HeaderError::GsoWithoutChecksum));
    }
}

#[test]
fn the_checksum_of_segments_is_where_the_protocol_has_it() {
    let header = Header {
        csum_offset: 6.into(),
        ..tso()
    };

    assert_eq!(kind(ALL, header), Err(HeaderError::ChecksumOffset(6)));
}

#[test]
fn segments_have_whole_headers() {
    let check = |header, length| rules(ALL).check(&header, length).map(|_| ());
    let v6 = Header {
        gso_type: gso::TCPV6,
        csum_start: 53.into(),
        ..tso()
    };

    assert_eq!(check(tso(), 54), Ok(()));
    assert_eq!(
        check(tso(), 53),
        Err(HeaderError::ChecksumOutside {
            start: 34,
            offset: 16
        })
    );
    assert_eq!(check(v6, 2000), Err(HeaderError::ChecksumStart(53)));
}

#[test]
fn congestion_notification_is_for_tcp() {
    let with = |features, gso_type| kind(features, Header { gso_type, ..tso() });
    let tso4 = &[Feature::GUEST_CSUM, Feature::GUEST_TSO4];

    assert_eq!(with(ALL, gso::TCPV4 | gso::ECN), Ok(Some(GsoKind::TcpV4)));
    assert_eq!(
        with(tso4, gso::TCPV4 | gso::ECN),
        Err(HeaderError::EcnNotNegotiated)
    );
    for gso_type in [gso::NONE, gso::UDP, gso::UDP_L4] {
        assert_eq!(
            with(ALL, gso_type | gso::ECN),
            Err(HeaderError::EcnWithoutTcp)
        );
    }
}

#[test]
fn a_tunnel_is_accepted_if_it_was_negotiated() {
    let receive = rules(ALL).check(&tunnel(), 2000).unwrap();

    assert_eq!(
        receive.offload.gso,
        Some(Gso {
            kind: GsoKind::TcpV4,
            size: NonZeroU16::new(1400).unwrap(),
            ecn: false,
            tunnel: Some(Tunnel {
                family: TunnelFamily::V4,
                outer_transport: 34,
                inner_network: 64,
                checksum: TunnelChecksum::Complete,
            }),
        })
    );
    assert_eq!(
        kind(&[Feature::GUEST_CSUM, Feature::GUEST_TSO4], tunnel()),
        Err(HeaderError::TunnelNotNegotiated)
    );
}

#[test]
fn a_tunnel_that_contradicts_itself_is_refused() {
    let both = gso::UDP_TUNNEL_IPV4 | gso::UDP_TUNNEL_IPV6;
    let with_type = |gso_type| {
        kind(
            ALL,
            Header {
                gso_type,
                ..tunnel()
            },
        )
    };
    let with_flags = |flags| kind(ALL, Header { flags, ..tunnel() });

    assert_eq!(with_type(gso::TCPV4 | both), Err(HeaderError::TunnelBoth));
    assert_eq!(
        with_type(gso::UDP_TUNNEL_IPV6),
        Err(HeaderError::TunnelContent(gso::NONE))
    );
    assert_eq!(
        with_type(gso::UDP | gso::UDP_TUNNEL_IPV6),
        Err(HeaderError::TunnelContent(gso::UDP))
    );
    assert_eq!(with_flags(0), Err(HeaderError::GsoWithoutChecksum));
    assert_eq!(
        with_flags(flag::NEEDS_CSUM | flag::DATA_VALID),
        Err(HeaderError::TunnelVerified)
    );
}

#[test]
fn the_headers_of_a_tunnel_follow_each_other() {
    let with = |outer: u16, inner: u16, start: u16| {
        let header = Header {
            outer_th_offset: outer.into(),
            inner_nh_offset: inner.into(),
            csum_start: start.into(),
            ..tunnel()
        };
        kind(ALL, header).map(|_| ())
    };

    assert_eq!(with(34, 42, 62), Ok(()));
    assert_eq!(with(33, 42, 62), Err(HeaderError::TunnelOffsets));
    assert_eq!(with(34, 41, 62), Err(HeaderError::TunnelOffsets));
    assert_eq!(with(34, 42, 61), Err(HeaderError::TunnelOffsets));
    assert_eq!(with(0xffff, 0xffff, 84), Err(HeaderError::TunnelOffsets));
}

#[test]
fn the_checksum_of_a_tunnel_needs_a_tunnel() {
    let flags = flag::NEEDS_CSUM | flag::UDP_TUNNEL_CSUM;
    let inside = rules(ALL)
        .check(&Header { flags, ..tunnel() }, 2000)
        .unwrap();

    assert_eq!(
        inside.offload.gso.unwrap().tunnel.unwrap().checksum,
        TunnelChecksum::Partial
    );
    for header in [partial(), tso()] {
        assert_eq!(
            kind(ALL, Header { flags, ..header }),
            Err(HeaderError::TunnelChecksumWithoutTunnel)
        );
    }
}

#[test]
fn counts_of_segments_have_to_be_negotiated() {
    let header = Header {
        flags: flag::NEEDS_CSUM | flag::RSC_INFO,
        csum_start: 3.into(),
        csum_offset: 1.into(),
        ..tso()
    };
    let rsc = &[
        Feature::GUEST_CSUM,
        Feature::GUEST_TSO4,
        Feature::CSUM,
        Feature::HOST_TSO4,
        Feature::RSC_EXT,
    ][..];

    assert_eq!(
        checksum(rsc, header),
        Ok(Checksum::Coalesced {
            segments: 3,
            duplicate_acks: 1
        })
    );
    assert_eq!(
        checksum(ALL, header),
        Err(HeaderError::CoalescedNotNegotiated)
    );
    let both = &[rsc, ALL].concat()[..];
    assert_eq!(
        checksum(
            both,
            Header {
                flags: header.flags | flag::UDP_TUNNEL_CSUM,
                ..header
            }
        ),
        Err(HeaderError::TunnelChecksumWithoutTunnel)
    );
    assert_eq!(
        checksum(
            rsc,
            Header {
                gso_type: gso::NONE,
                ..header
            }
        ),
        Err(HeaderError::CoalescedWithoutTcp)
    );
}

#[test]
fn a_hash_is_there_if_it_was_negotiated() {
    let with = |features, report: u16| {
        let header = Header {
            hash_value: 0x1234_5678.into(),
            hash_report: report.into(),
            ..Header::default()
        };
        rules(features).check(&header, 60).unwrap().hash
    };

    assert_eq!(
        with(ALL, 2),
        Some(HashReport {
            value: 0x1234_5678,
            kind: HashType::Tcpv4
        })
    );
    assert_eq!(with(ALL, 0), None);
    assert_eq!(with(ALL, 10), None);
    assert_eq!(with(&[], 2), None);
}

#[test]
fn the_length_of_headers_is_a_hint() {
    let header = Header {
        hdr_len: 0xffff.into(),
        ..Header::default()
    };

    let hint = |length| rules(ALL).check(&header, length).unwrap().header_hint;
    assert_eq!(hint(60), 60);
    assert_eq!(hint(70_000), 0xffff);
}

#[test]
fn a_device_says_nothing_that_was_not_negotiated() {
    let one = NonZeroU16::MIN;
    let two = NonZeroU16::new(2).unwrap();
    let verified = Receive {
        offload: Offload {
            checksum: Checksum::Verified(Levels::Outer),
            gso: None,
        },
        hash: None,
        header_hint: 0,
    };
    let plain = Receive {
        offload: Offload::NONE,
        ..verified
    };

    assert_eq!(
        rules(ALL).build(&verified, 60, two).unwrap().num_buffers,
        2.into()
    );
    assert_eq!(
        rules(&[]).build(&verified, 60, one),
        Err(HeaderError::ChecksumNotNegotiated)
    );
    assert_eq!(
        rules(&[]).build(&plain, 60, two),
        Err(HeaderError::TooManyBuffers(2))
    );
}

#[test]
fn what_most_headers_say_needs_no_long_look() {
    for features in [&[][..], &[Feature::GUEST_CSUM], ALL] {
        let rules = rules(features);
        for flags in [0, flag::DATA_VALID] {
            for length in [ETHERNET_HEADER - 1, ETHERNET_HEADER, 60, 1500, 70_000] {
                let header = Header {
                    flags,
                    hdr_len: 54.into(),
                    num_buffers: 1.into(),
                    ..Header::default()
                };

                assert_eq!(
                    rules.check(&header, length),
                    rules.check_any(&header, length)
                );
            }
        }
    }
}
