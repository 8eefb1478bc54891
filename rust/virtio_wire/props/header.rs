// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::net::{
    header::HeaderKind,
    offload::Checksum,
    Accepted,
    Feature,
    Header,
    HeaderLength,
    Net,
    RxRules,
    TxRules, //
};
use core::num::NonZeroU16;

/// Headers, of which many are nearly valid.
fn headers() -> BoxedStrategy<Header> {
    let gso = prop_oneof![
        Just(0u8),
        (
            prop::sample::select(std::vec![0u8, 1, 3, 4, 5]),
            prop::sample::select(std::vec![0u8, 0, 0, 0x20, 0x40, 0x60, 0x80, 0xa0]),
        )
            .prop_map(|(kind, bits)| kind | bits),
        any::<u8>(),
    ];
    let flags = prop_oneof![Just(1u8), 0..16u8, any::<u8>()];
    let offset = prop_oneof![Just(16u16), Just(6), 0..64u16, any::<u16>()];
    let start = prop_oneof![Just(34u16), Just(54), 0..200u16, any::<u16>()];
    let tunnel = prop_oneof![
        (30..40u16, 40..50u16).boxed(),
        (any::<u16>(), any::<u16>()).boxed()
    ];
    let size = prop_oneof![1..2000u16, edgy16()];
    (
        (flags, gso, edgy16(), size, start, offset),
        (0..20u16, any::<u32>(), 0..12u16, tunnel),
    )
        .prop_map(|(a, (num_buffers, value, report, (outer, inner)))| {
            let (flags, gso_type, hdr_len, gso_size, start, offset) = a;
            Header {
                flags,
                gso_type,
                hdr_len: hdr_len.into(),
                gso_size: gso_size.into(),
                csum_start: start.into(),
                csum_offset: offset.into(),
                num_buffers: num_buffers.into(),
                hash_value: value.into(),
                hash_report: report.into(),
                padding: 0.into(),
                outer_th_offset: outer.into(),
                inner_nh_offset: inner.into(),
            }
        })
        .boxed()
}

fn lengths() -> BoxedStrategy<u32> {
    prop_oneof![0..100u32, 100..2000u32, any::<u32>()].boxed()
}

/// Which features allow what, in one direction.
struct Way {
    receive: bool,
    csum: Feature,
    tcp4: Feature,
    tcp6: Feature,
    ecn: Feature,
    ufo: Feature,
    uso: [Feature; 2],
    tunnel: Feature,
    tunnel_csum: Feature,
}

const RECEIVE: Way = Way {
    receive: true,
    csum: Feature::GUEST_CSUM,
    tcp4: Feature::GUEST_TSO4,
    tcp6: Feature::GUEST_TSO6,
    ecn: Feature::GUEST_ECN,
    ufo: Feature::GUEST_UFO,
    uso: [Feature::GUEST_USO4, Feature::GUEST_USO6],
    tunnel: Feature::GUEST_UDP_TUNNEL_GSO,
    tunnel_csum: Feature::GUEST_UDP_TUNNEL_GSO_CSUM,
};

const TRANSMIT: Way = Way {
    receive: false,
    csum: Feature::CSUM,
    tcp4: Feature::HOST_TSO4,
    tcp6: Feature::HOST_TSO6,
    ecn: Feature::HOST_ECN,
    ufo: Feature::HOST_UFO,
    uso: [Feature::HOST_USO, Feature::HOST_USO],
    tunnel: Feature::HOST_UDP_TUNNEL_GSO,
    tunnel_csum: Feature::HOST_UDP_TUNNEL_GSO_CSUM,
};

/// Whether a frame is acceptable: a list of what is forbidden.
fn is_acceptable(way: &Way, accepted: Accepted, header: &Header, length: u32) -> bool {
    let has = |feature| accepted.has(feature);
    let [needs_csum, data_valid, rsc_info, tunnel_csum] =
        [0, 1, 2, 3].map(|bit| header.flags >> bit & 1 == 1);
    let (v4, v6) = (header.gso_type & 0x20 != 0, header.gso_type & 0x40 != 0);
    let ecn = header.gso_type & 0x80 != 0;
    let kind = header.gso_type & 0x1f;
    let (tcp, gso) = (kind == 1 || kind == 4, kind != 0);
    let negotiated = match kind {
        0 => true,
        1 => has(way.tcp4),
        3 => has(way.ufo),
        4 => has(way.tcp6),
        5 => has(way.uso[0]) || has(way.uso[1]),
        _ => false,
    };
    let length = i64::from(length);
    let start = i64::from(header.csum_start.get());
    let offset = i64::from(header.csum_offset.get());
    let outer = i64::from(header.outer_th_offset.get());
    let inner = i64::from(header.inner_nh_offset.get());
    let network = if kind == 4 { 40 } else { 20 };
    let transport = if tcp { 20 } else { 8 };
    let counts = rsc_info && way.receive;
    let tunnel = v4 || v6;

    let forbidden = [
        length < 14,
        !negotiated,
        needs_csum && !has(way.csum),
        tunnel_csum && !has(way.tunnel_csum),
        tunnel_csum && !tunnel && (needs_csum || !way.receive),
        counts && !(has(Feature::RSC_EXT) && tcp && needs_csum && !tunnel),
        tunnel && !has(way.tunnel),
        v4 && v6,
        tunnel && (!needs_csum || data_valid || kind == 0 || kind == 3),
        ecn && !(tcp && has(way.ecn)),
        gso && !needs_csum,
        gso && (header.gso_size.get() == 0 || header.gso_size.get() == 0xffff),
        needs_csum && !counts && start + offset + 2 > length,
        needs_csum && !counts && start < 34,
        gso && !counts && start + transport > length,
        gso && !counts && start < 14 + network,
        gso && !counts && offset != if tcp { 16 } else { 6 },
        tunnel && (outer < 34 || inner < outer + 8 || start < inner + network),
    ];
    !forbidden.contains(&true)
}

/// Whether the length of headers can be exact.
fn can_be_exact(header: &Header, length: u32) -> bool {
    let kind = header.gso_type & 0x1f;
    let start = i64::from(header.csum_start.get());
    let hdr_len = i64::from(header.hdr_len.get());
    match kind {
        1 | 4 => (20..=60).contains(&(hdr_len - start)) && hdr_len <= i64::from(length),
        _ => hdr_len - start == 8,
    }
}

proptest! {
    #![proptest_config(config(16 * CASES))]

    #[test]
    fn received_frames_are_acceptable(
        accepted in accepted::<Net>(),
        header in headers(),
        length in lengths(),
    ) {
        let rules = RxRules::new(accepted);
        let checked = rules.check(&header, length);
        prop_assert_eq!(
            checked.is_ok(),
            is_acceptable(&RECEIVE, accepted, &header, length),
            "{:?}", checked
        );
        let Ok(receive) = checked else {
            return Ok(());
        };

        // Whoever acts on it stays inside of the frame.
        if let Checksum::Partial { start, offset } = receive.offload.checksum {
            prop_assert!(u64::from(start) + u64::from(offset) + 2 <= u64::from(length));
        }
        prop_assert!(u32::from(receive.header_hint) <= length);
        prop_assert!(accepted.has(Feature::HASH_REPORT) || receive.hash.is_none());

        // What a device makes of it means the same.
        let one = NonZeroU16::MIN;
        let built = rules.build(&receive, length, one).unwrap();
        prop_assert_eq!(rules.check(&built, length), Ok(receive));
        prop_assert_eq!(rules.buffers(&built, 1), Ok(one));
    }

    #[test]
    fn transmitted_frames_are_acceptable(
        accepted in accepted::<Net>(),
        header in headers(),
        length in lengths(),
    ) {
        let rules = TxRules::new(accepted);
        let checked = rules.check(&header, length);
        let exact = accepted.has(Feature::GUEST_HDRLEN) && header.gso_type != 0;
        prop_assert_eq!(
            checked.is_ok(),
            is_acceptable(&TRANSMIT, accepted, &header, length)
                && (!exact || can_be_exact(&header, length)),
            "{:?}", checked
        );
        let Ok(transmit) = checked else {
            return Ok(());
        };
        prop_assert_eq!(matches!(transmit.header_length, HeaderLength::Exact(_)), exact);
        prop_assert!(u32::from(transmit.header_length.get()) <= length);

        // What a driver makes of it means the same, and is without slips.
        let built = rules.build(&transmit, length).unwrap();
        prop_assert_eq!(rules.check(&built, length), Ok(transmit));
        prop_assert_eq!(rules.slip(&built), None);
    }

    #[test]
    fn buffers_are_between_one_and_all(
        accepted in accepted::<Net>(),
        header in headers(),
        most in edgy16(),
    ) {
        let rules = RxRules::new(accepted);
        let said = header.num_buffers.get();
        let expected = if !accepted.has(Feature::MRG_RXBUF) {
            Some(1)
        } else {
            Some(said).filter(|said| (1..=most).contains(said))
        };

        prop_assert_eq!(rules.buffers(&header, most).ok().map(NonZeroU16::get), expected);
    }

    #[test]
    fn headers_are_prefixes(header in headers(), bytes in bytes(30)) {
        for kind in [HeaderKind::Legacy, HeaderKind::V1, HeaderKind::Hash, HeaderKind::Tunnel] {
            let mut buffer = [0xee; 30];
            prop_assert_eq!(header.write(kind, &mut buffer), Ok(kind.length()));
            prop_assert_eq!(&buffer[..kind.length()], &header.to_bytes()[..kind.length()]);
            prop_assert_eq!(buffer[kind.length()..].iter().all(|byte| *byte == 0xee), true);

            let read = Header::read(kind, &bytes);
            prop_assert_eq!(read.is_ok(), bytes.len() >= kind.length());
            if let Ok(read) = read {
                prop_assert_eq!(&read.to_bytes()[..kind.length()], &bytes[..kind.length()]);
                prop_assert!(read.to_bytes()[kind.length()..].iter().all(|byte| *byte == 0));
            }
        }
    }
}
