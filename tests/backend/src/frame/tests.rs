// SPDX-License-Identifier: GPL-2.0

use super::{
    checksum::{complete, fold, sum},
    *,
};
use proptest::prelude::*;
use std::num::NonZeroU16;

/// Everything that a port can do.
const ALL: Takes = Takes {
    checksum: true,
    tcp_v4: true,
    tcp_v6: true,
    ecn: true,
    udp_v4: true,
    udp_v6: true,
};

fn ethernet(kind: u16) -> Vec<u8> {
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    bytes.extend(kind.to_be_bytes());
    bytes
}

/// A frame with an IP header, and what follows; its checksum is partial.
fn packet(kind: u16, protocol: u8, transport: &[u8], payload: usize) -> Vec<u8> {
    let mut bytes = ethernet(kind);
    let length = u16::try_from(transport.len() + payload).expect("a length");
    if kind == IPV4 {
        bytes.extend([0x45, 0]);
        bytes.extend((length + 20).to_be_bytes());
        bytes.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0]);
        bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    } else {
        bytes.extend([0x60, 0, 0, 0]);
        bytes.extend(length.to_be_bytes());
        bytes.extend([protocol, 64]);
        bytes.extend([0xfd; 32]);
    }
    bytes.extend(transport);
    bytes.extend((0..payload).map(|at| u8::try_from(at % 251).expect("a byte")));
    bytes
}

fn tcp(kind: u16, payload: usize, size: u16) -> Frame {
    let mut header = vec![0, 80, 0x30, 0x39, 0xff, 0xff, 0xff, 0, 0, 0, 0, 1, 0x80];
    // CWR, ACK, PSH, FIN; then options.
    header.extend([0x99, 1, 0, 0, 0, 0, 0]);
    header.extend([1; 12]);
    let gso_kind = if kind == IPV4 {
        GsoKind::TcpV4
    } else {
        GsoKind::TcpV6
    };
    frame(packet(kind, TCP, &header, payload), gso_kind, 16, size)
}

fn udp(kind: u16, payload: usize, size: u16) -> Frame {
    let header = [0, 7, 0x30, 0x39, 0, 0, 0, 0];
    frame(
        packet(kind, UDP, &header, payload),
        GsoKind::UdpSegments,
        6,
        size,
    )
}

fn frame(bytes: Vec<u8>, kind: GsoKind, offset: u16, size: u16) -> Frame {
    let mut frame = Frame::plain(bytes);
    let start = frame.layers().expect("layers").transport.expect("one").1;
    let start = u16::try_from(start).expect("a start");
    frame.offload = Offload {
        checksum: Checksum::Partial { start, offset },
        gso: NonZeroU16::new(size).map(|size| Gso {
            kind,
            size,
            ecn: false,
            tunnel: None,
        }),
    };
    frame
}

/// Checks the checksums of a frame that is complete, with arithmetic of its own.
fn verify(frame: &Frame) {
    assert_eq!(frame.offload, Offload::NONE);
    let layers = frame.layers().expect("layers");
    let (protocol, at) = layers.transport.expect("a transport");
    let addresses = if layers.kind == IPV4 {
        let header = &frame.bytes[layers.network..at];
        assert_eq!(fold(sum(header)), 0, "the IPv4 header");
        let total = usize::from(be16(header, 2).expect("a length"));
        assert_eq!(total, frame.bytes.len() - layers.network);
        header[12..20].to_vec()
    } else {
        let length = be16(&frame.bytes, layers.network + 4).expect("a length");
        assert_eq!(usize::from(length), frame.bytes.len() - at);
        frame.bytes[layers.network + 8..layers.network + 40].to_vec()
    };
    let length = u64::try_from(frame.bytes.len() - at).expect("a length");
    let whole = sum(&addresses) + u64::from(protocol) + length + sum(&frame.bytes[at..]);
    assert_eq!(fold(whole), 0, "the transport's checksum");
}

#[test]
fn large_frames_are_cut() {
    for (kind, overhead) in [(IPV4, 20 + 32), (IPV6, 40 + 32)] {
        let whole = Arc::new(tcp(kind, 3000, 1400));
        let pieces = fit(&whole, Takes::default(), 1500).expect("pieces");
        let payloads: Vec<_> = pieces
            .iter()
            .map(|piece| piece.bytes.len() - ETHERNET - overhead)
            .collect();
        assert_eq!(payloads, [1400, 1400, 200]);
        let mut payload = Vec::<u8>::new();
        for piece in &pieces {
            verify(piece);
            payload.extend(&piece.bytes[ETHERNET + overhead..]);
        }
        assert_eq!(payload, whole.bytes[ETHERNET + overhead..]);
        let at = pieces[0]
            .layers()
            .expect("layers")
            .transport
            .expect("tcp")
            .1;
        let flags: Vec<_> = pieces.iter().map(|piece| piece.bytes[at + 13]).collect();
        assert_eq!(flags, [0x90, 0x10, 0x19], "CWR first, FIN and PSH last");
        let sequence = |index: usize| {
            let bytes = &pieces[index].bytes[at + 4..at + 8];
            u32::from_be_bytes(bytes.try_into().expect("four bytes"))
        };
        assert_eq!(sequence(1).wrapping_sub(sequence(0)), 1400);
        assert_eq!(sequence(2), 0xffff_ff00_u32.wrapping_add(2800));
        // Who takes it gets it as it is.
        assert_eq!(fit(&whole, ALL, 1500).expect("one"), [Arc::clone(&whole)]);
    }
}

#[test]
fn large_datagrams_are_cut() {
    for kind in [IPV4, IPV6] {
        let whole = Arc::new(udp(kind, 2500, 1000));
        let pieces = fit(&whole, Takes::default(), 1500).expect("pieces");
        assert_eq!(pieces.len(), 3);
        for piece in &pieces {
            verify(piece);
        }
        let one_family = Takes {
            udp_v4: kind == IPV4,
            udp_v6: kind == IPV6,
            checksum: true,
            ..Takes::default()
        };
        assert_eq!(fit(&whole, one_family, 1500).expect("one").len(), 1);
    }
}

#[test]
fn checksums_are_completed() {
    for mut whole in [tcp(IPV6, 99, 0), udp(IPV6, 33, 0)] {
        let layers = whole.layers().expect("layers");
        let (protocol, at) = layers.transport.expect("a transport");
        // The sum of the pseudo header is there already.
        let length = u64::try_from(whole.bytes.len() - at).expect("a length");
        let pseudo = sum(&[0xfd; 32]) + u64::from(protocol) + length;
        let offset = if protocol == TCP { 16 } else { 6 };
        if protocol == UDP {
            let length = u16::try_from(length).expect("a length");
            whole.bytes[at + 4..at + 6].copy_from_slice(&length.to_be_bytes());
        }
        whole.bytes[at + offset..at + offset + 2].copy_from_slice(&(!fold(pseudo)).to_be_bytes());
        let done = fit(&Arc::new(whole), Takes::default(), 1500).expect("one");
        verify(&done[0]);
    }
    assert_eq!(complete(&mut [0; 10], 9, 0), None);
    assert_eq!(complete(&mut [0; 10], 11, 0), None);
}

#[test]
fn protocols_have_names() {
    for (kind, protocol, name) in [
        (IPV4, TCP, "tcp"),
        (IPV6, UDP, "udp"),
        (IPV4, ICMP, "icmp"),
        (IPV6, ICMP6, "icmp6"),
        (IPV4, ICMP6, "ip"),
        (IPV6, 89, "ip"),
        (ARP, 0, "arp"),
        (0x88cc, 0, "other"),
    ] {
        let frame = Frame::plain(packet(kind, protocol, &[0; 20], 10));
        assert_eq!(frame.protocol(), name, "{kind:#x} {protocol}");
        assert!(PROTOCOLS.contains(&name));
    }
}

#[test]
fn tags_come_and_go() {
    let plain = tcp(IPV4, 10, 5);
    let tagged = plain.with_tag(0x2007);
    assert_eq!(tagged.tag(), Some(0x2007));
    assert_eq!(tagged.bytes.len(), plain.bytes.len() + 4);
    assert_eq!(tagged.protocol(), "tcp");
    assert_eq!(tagged.without_tag(), plain);
    assert_eq!(plain.without_tag(), plain);
    for piece in fit(&Arc::new(tagged), Takes::default(), 1500).expect("pieces") {
        assert_eq!(piece.tag(), Some(0x2007));
        verify(&piece);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = Arc::new(Frame::plain(vec![0; 1515]));
    assert_eq!(fit(&long, ALL, 1500), Err(Misfit::TooLong(1515)));
    let large = Arc::new(tcp(IPV4, 9000, 1460));
    assert!(matches!(fit(&large, ALL, 1500), Err(Misfit::TooLong(_))));
    let tiny = Arc::new(tcp(IPV4, 9000, 1));
    assert_eq!(fit(&tiny, ALL, 1500), Err(Misfit::TooMany(9000)));
    let mut other = tcp(IPV4, 9000, 100);
    if let Some(gso) = &mut other.offload.gso {
        gso.kind = GsoKind::TcpV6;
    }
    assert_eq!(fit(&Arc::new(other), ALL, 1500), Err(Misfit::NotAsSaid));
}

#[test]
fn both_directions_are_one_flow() {
    let one = udp(IPV4, 10, 0);
    let mut other = one.clone();
    other.bytes[26..34].rotate_left(4);
    other.bytes[34..38].rotate_left(2);
    assert_eq!(one.flow(), other.flow());
    other.bytes[34] ^= 1;
    assert_ne!(one.flow(), other.flow());
    assert_eq!(Frame::plain(ethernet(ARP)).flow(), 0);
    assert_eq!(crc32(0, b"123456789"), 0xcbf4_3926);
    assert_eq!(crc32(crc32(0, b"12345"), b"6789"), 0xcbf4_3926);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever a frame has, and is said to be, there are pieces, or there is none.
    #[test]
    fn any_frame_is_cut_or_refused(
        start in prop_oneof![Just(34_u16), Just(54), any::<u16>()],
        offset in prop_oneof![Just(16_u16), Just(6), any::<u16>()],
        size in 1..3000_u16,
        kind in 0..4_usize,
        base in 0..4_usize,
        noise in prop::collection::vec((0..80_usize, any::<u8>()), 0..8),
        length in prop_oneof![0..100_usize, Just(3000)],
    ) {
        let mut frame = match base {
            0 => tcp(IPV4, 3000, size),
            1 => tcp(IPV6, 3000, size),
            2 => udp(IPV4, 3000, size),
            _ => udp(IPV6, 3000, size).with_tag(5),
        };
        frame.bytes.truncate(length);
        for (at, byte) in noise {
            if let Some(place) = frame.bytes.get_mut(at) {
                *place = byte;
            }
        }
        frame.offload.checksum = Checksum::Partial { start, offset };
        if let Some(gso) = &mut frame.offload.gso {
            gso.kind = [
                GsoKind::TcpV4,
                GsoKind::TcpV6,
                GsoKind::UdpSegments,
                GsoKind::UdpFragments,
            ][kind];
        }
        frame.flow();
        frame.protocol();
        frame.without_tag();
        let total = frame.bytes.len();
        if let Ok(pieces) = fit(&Arc::new(frame), Takes::default(), 1500) {
            let sum: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
            prop_assert!(sum >= total);
            prop_assert!(pieces.iter().all(|piece| piece.bytes.len() <= 1518));
        }
    }
}
