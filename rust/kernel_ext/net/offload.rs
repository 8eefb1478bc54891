// SPDX-License-Identifier: GPL-2.0

//! What a device does for the network stack: checksums, and cutting long frames into short ones.

use super::skb::SkBuff;
use crate::bindings;
use core::ptr;
use kernel::{
    error::to_result,
    prelude::*, //
};

/// What is known of the checksum of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Checksum {
    /// Nothing. In a frame that is sent, there is nothing to be done.
    None,
    /// It is yet to be computed.
    #[doc(alias = "CHECKSUM_PARTIAL")]
    Partial {
        /// From where, in the frame, up to its end.
        start: u16,
        /// Where it goes, behind `start`.
        offset: u16,
    },
    /// It was found to be right.
    Unnecessary,
    /// The sum of the whole frame is known.
    Complete,
}

/// What kind of segments a long frame is to be cut into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GsoKind {
    /// TCP over IPv4.
    Tcp4,
    /// TCP over IPv6.
    Tcp6,
    /// UDP datagrams.
    #[doc(alias = "SKB_GSO_UDP_L4")]
    UdpL4,
    /// Fragments of one UDP datagram.
    Udp,
    /// Something else.
    Other,
}

/// The tunnel that the segments are in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tunnel {
    /// Where the transport header of the tunnel is.
    pub outer_transport: u16,
    /// Where the network header in the tunnel is.
    pub inner_network: u16,
    /// Whether the tunnel is over IPv6.
    pub ipv6: bool,
    /// Whether it has a checksum, too.
    pub checksum: bool,
}

/// How a long frame is to be cut into segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gso {
    /// Into which.
    pub kind: GsoKind,
    /// Whether there is a congestion mark, which only the first one gets.
    pub ecn: bool,
    /// How much data each has; the last one may have less.
    pub size: u16,
    /// How many there are, or zero if nobody has counted.
    pub segments: u16,
    /// How many bytes of headers each has.
    pub header_len: u16,
    /// The tunnel, if they are in one.
    pub tunnel: Option<Tunnel>,
}

/// What is left to be done with a frame that is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offload {
    /// With its checksum.
    pub checksum: Checksum,
    /// With its length.
    pub gso: Option<Gso>,
}

/// What a hash was made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashKind {
    /// The addresses.
    L3,
    /// Also the ports.
    L4,
}

const TCP4: u32 = bindings::RUST_CONST_SKB_GSO_TCPV4;
const TCP6: u32 = bindings::RUST_CONST_SKB_GSO_TCPV6;
const UDP_L4: u32 = bindings::RUST_CONST_SKB_GSO_UDP_L4;
const UDP: u32 = bindings::RUST_CONST_SKB_GSO_UDP;
const ECN: u32 = bindings::RUST_CONST_SKB_GSO_TCP_ECN;
const DODGY: u32 = bindings::RUST_CONST_SKB_GSO_DODGY;
const TUNNEL: u32 = bindings::RUST_CONST_SKB_GSO_UDP_TUNNEL;
const TUNNEL_CSUM: u32 = bindings::RUST_CONST_SKB_GSO_UDP_TUNNEL_CSUM;

impl SkBuff {
    /// Returns what is left to be done with a frame that the network stack sends.
    ///
    /// Cost: one call of a C helper.
    pub fn offload(&self) -> Offload {
        let mut raw = pin_init::zeroed();
        // SAFETY: By the type invariant, the socket buffer is valid.
        unsafe { bindings::skb_get_offload(self.as_ptr(), &mut raw) };
        Offload {
            checksum: checksum_of(&raw),
            gso: (raw.gso_size != 0).then(|| self.gso_of(&raw)),
        }
    }

    /// Tells whether a checksum is left to be completed: see [`SkBuff::offload`].
    ///
    /// Cost: a few instructions.
    #[inline]
    pub fn has_partial_checksum(&self) -> bool {
        let headers = &self.fields().__bindgen_anon_4.__bindgen_anon_1;
        // SAFETY: These fields are there in any case, and have any value.
        let headers = unsafe { headers.as_ref() };
        u32::from(headers.ip_summed()) == bindings::CHECKSUM_PARTIAL
    }

    /// Returns what is known of the checksum: see [`SkBuff::offload`].
    pub fn checksum(&self) -> Checksum {
        self.offload().checksum
    }

    /// Returns how a frame is to be cut into segments, if it is: see [`SkBuff::offload`].
    pub fn gso(&self) -> Option<Gso> {
        self.offload().gso
    }

    fn gso_of(&self, raw: &bindings::skb_offload) -> Gso {
        let is_tunnel = raw.gso_type & (TUNNEL | TUNNEL_CSUM) != 0;
        let rest = raw.gso_type & !(ECN | DODGY | TUNNEL | TUNNEL_CSUM);
        let kind = match rest {
            TCP4 => GsoKind::Tcp4,
            TCP6 => GsoKind::Tcp6,
            UDP_L4 => GsoKind::UdpL4,
            UDP => GsoKind::Udp,
            _ => GsoKind::Other,
        };
        let transport = if is_tunnel {
            raw.inner_transport
        } else {
            raw.transport
        };
        let transport = u16::try_from(transport).unwrap_or(0);
        Gso {
            kind,
            ecn: raw.gso_type & ECN != 0,
            size: raw.gso_size,
            segments: raw.gso_segs,
            header_len: transport.saturating_add(self.transport_header_len(kind, transport)),
            tunnel: is_tunnel.then(|| Tunnel {
                outer_transport: u16::try_from(raw.transport).unwrap_or(0),
                inner_network: u16::try_from(raw.inner_network).unwrap_or(0),
                ipv6: raw.ipv6,
                checksum: raw.gso_type & TUNNEL_CSUM != 0,
            }),
        }
    }

    /// Returns the length of the transport header.
    fn transport_header_len(&self, kind: GsoKind, transport: u16) -> u16 {
        const UDP_HEADER: u16 = 8;
        const TCP_OFFSET: u32 = 12;

        match kind {
            GsoKind::Tcp4 | GsoKind::Tcp6 => {
                let at = u32::from(transport) + TCP_OFFSET;
                if at >= self.head_len() {
                    return 0;
                }
                // CAST: This only widens.
                let at = self.data().wrapping_add(at as usize);
                // SAFETY: It was just checked that this is in the head. Others may write to it.
                let offset = unsafe { ptr::read_volatile(at) };
                u16::from(offset >> 4) * 4
            }
            GsoKind::UdpL4 => UDP_HEADER,
            GsoKind::Udp | GsoKind::Other => 0,
        }
    }

    /// Says that the checksum of a received frame is yet to be computed. The frame begins with the MAC
    /// header.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it cannot be there.
    #[doc(alias = "skb_partial_csum_set")]
    pub fn set_partial_checksum(&mut self, start: u16, offset: u16) -> Result {
        self.take_over(&bindings::skb_received {
            csum_start: start,
            csum_offset: offset,
            ..pin_init::zeroed()
        })
    }

    /// Says that a received frame is long, and that its checksum is yet to be computed: see
    /// [`SkBuff::set_partial_checksum`], which is part of this.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the headers are not of this kind, or not where they should be.
    pub fn set_gso(
        &mut self,
        kind: GsoKind,
        ecn: bool,
        size: u16,
        start: u16,
        offset: u16,
    ) -> Result {
        let gso_type = gso_type_of(kind, ecn)?;
        self.take_over(&bindings::skb_received {
            gso_size: size,
            csum_start: start,
            csum_offset: offset,
            gso_type: u8::try_from(gso_type)?,
            ..pin_init::zeroed()
        })
    }

    /// Says that a received frame is long, and in a tunnel: see [`SkBuff::set_gso`]. The number of
    /// segments, and the length of the headers, are not looked at.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the headers are not of this kind, or not where they should be, or if there is no
    /// tunnel.
    pub fn set_tunneled_gso(&mut self, gso: &Gso, start: u16, offset: u16) -> Result {
        let tunnel = gso.tunnel.ok_or(EINVAL)?;
        let outer = if tunnel.ipv6 {
            bindings::VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6
        } else {
            bindings::VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4
        };
        let flags = if tunnel.checksum {
            bindings::VIRTIO_NET_HDR_F_UDP_TUNNEL_CSUM
        } else {
            0
        };
        let gso_type = gso_type_of(gso.kind, gso.ecn)? | outer;
        self.take_over(&bindings::skb_received {
            gso_size: gso.size,
            csum_start: start,
            csum_offset: offset,
            outer_transport: tunnel.outer_transport,
            inner_network: tunnel.inner_network,
            flags: u8::try_from(flags)?,
            gso_type: u8::try_from(gso_type)?,
        })
    }

    fn take_over(&mut self, received: &bindings::skb_received) -> Result {
        // The transport header is not looked for: it is where the checksum is.
        let flags = u32::from(received.flags) | bindings::VIRTIO_NET_HDR_F_NEEDS_CSUM;
        let received = bindings::skb_received {
            flags: u8::try_from(flags)?,
            ..*received
        };
        // SAFETY: By the type invariant, the socket buffer is valid, and nobody else has it.
        to_result(unsafe { bindings::virtio_net_hdr_to_skb(self.as_ptr(), &received) })
    }

    /// Says that the checksum of a received frame was found to be right.
    #[doc(alias = "CHECKSUM_UNNECESSARY")]
    pub fn set_checksum_verified(&mut self) {
        // SAFETY: By the type invariant, the socket buffer is valid, and nobody else has it.
        unsafe { bindings::skb_set_checksum_verified(self.as_ptr()) };
    }

    /// Says what hash the device has found for a received frame.
    #[doc(alias = "skb_set_hash")]
    pub fn set_hash(&mut self, value: u32, kind: HashKind) {
        let is_l4 = kind == HashKind::L4;
        // SAFETY: By the type invariant, the socket buffer is valid, and nobody else has it.
        unsafe { bindings::skb_set_hash(self.as_ptr(), value, is_l4) };
    }
}

/// Returns the number by which the kernel knows a kind.
fn gso_type_of(kind: GsoKind, ecn: bool) -> Result<u32> {
    let kind = match kind {
        GsoKind::Tcp4 => bindings::VIRTIO_NET_HDR_GSO_TCPV4,
        GsoKind::Tcp6 => bindings::VIRTIO_NET_HDR_GSO_TCPV6,
        GsoKind::UdpL4 => bindings::VIRTIO_NET_HDR_GSO_UDP_L4,
        GsoKind::Udp => bindings::VIRTIO_NET_HDR_GSO_UDP,
        GsoKind::Other => return Err(EINVAL),
    };
    let ecn = if ecn {
        bindings::VIRTIO_NET_HDR_GSO_ECN
    } else {
        0
    };
    Ok(kind | ecn)
}

fn checksum_of(raw: &bindings::skb_offload) -> Checksum {
    match u32::from(raw.ip_summed) {
        bindings::CHECKSUM_PARTIAL => match u16::try_from(raw.csum_start) {
            Ok(start) => Checksum::Partial {
                start,
                offset: raw.csum_offset,
            },
            Err(_) => Checksum::None,
        },
        bindings::CHECKSUM_UNNECESSARY => Checksum::Unnecessary,
        bindings::CHECKSUM_COMPLETE => Checksum::Complete,
        _ => Checksum::None,
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_net_offload)]
mod tests {
    use super::*;

    const ETHERNET: u16 = 14;
    const IPV4: u16 = 20;
    const TCP: u16 = 20;
    const TRANSPORT: u16 = ETHERNET + IPV4;
    /// Where the checksum is in a header.
    const TCP_CHECKSUM: u16 = 16;
    const UDP_CHECKSUM: u16 = 6;

    /// Returns a frame with a TCP header without options, if it is read as one.
    fn frame(len: usize) -> Result<SkBuff> {
        let mut data = KVec::from_elem(0u8, len, GFP_KERNEL)?;
        if let Some(offset) = data.get_mut(usize::from(TRANSPORT) + 12) {
            *offset = 5 << 4;
        }
        let mut skb = SkBuff::new(u32::try_from(len)?).ok_or(ENOMEM)?;
        skb.append(&data)?;
        Ok(skb)
    }

    #[test]
    fn nothing_is_known_of_a_new_frame() -> Result {
        let mut skb = frame(100)?;
        let nothing = Offload {
            checksum: Checksum::None,
            gso: None,
        };
        assert_eq!(skb.offload(), nothing);

        skb.set_checksum_verified();

        assert_eq!(skb.checksum(), Checksum::Unnecessary);
        Ok(())
    }

    #[test]
    fn a_checksum_is_left_to_others() -> Result {
        let mut skb = frame(100)?;

        skb.set_partial_checksum(TRANSPORT, UDP_CHECKSUM)?;

        assert_eq!(
            skb.checksum(),
            Checksum::Partial {
                start: TRANSPORT,
                offset: UDP_CHECKSUM
            }
        );
        assert_eq!(skb.gso(), None);
        Ok(())
    }

    #[test]
    fn a_checksum_is_in_the_frame() -> Result {
        for (start, offset) in [(99, 0), (34, 65), (u16::MAX, 0), (34, u16::MAX), (13, 6)] {
            let mut skb = frame(100)?;

            assert!(skb.set_partial_checksum(start, offset).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_long_frame_says_how_it_is_cut() -> Result {
        let mut skb = frame(4000)?;

        skb.set_gso(GsoKind::Tcp4, true, 1448, TRANSPORT, TCP_CHECKSUM)?;

        let gso = skb.gso().ok_or(EINVAL)?;
        assert_eq!((gso.kind, gso.ecn, gso.size), (GsoKind::Tcp4, true, 1448));
        assert_eq!((gso.header_len, gso.segments), (TRANSPORT + TCP, 0));
        assert_eq!(gso.tunnel, None);
        assert_eq!(
            skb.checksum(),
            Checksum::Partial {
                start: TRANSPORT,
                offset: TCP_CHECKSUM
            }
        );
        Ok(())
    }

    #[test]
    fn datagrams_are_cut() -> Result {
        let mut skb = frame(4000)?;

        skb.set_gso(GsoKind::UdpL4, false, 1400, TRANSPORT, UDP_CHECKSUM)?;

        let gso = skb.gso().ok_or(EINVAL)?;
        assert_eq!((gso.kind, gso.ecn), (GsoKind::UdpL4, false));
        assert_eq!(gso.header_len, TRANSPORT + 8);
        Ok(())
    }

    #[test]
    fn a_tunnel_is_told_of() -> Result {
        const UDP: u16 = 8;
        // A UDP header, and one of the tunnel, then all of an Ethernet frame.
        let inner_network = TRANSPORT + UDP + 8 + ETHERNET;
        let start = inner_network + IPV4;
        let mut skb = frame(4000)?;
        let said = Gso {
            kind: GsoKind::Tcp4,
            ecn: false,
            size: 1400,
            segments: 0,
            header_len: start,
            tunnel: Some(Tunnel {
                outer_transport: TRANSPORT,
                inner_network,
                ipv6: false,
                checksum: true,
            }),
        };

        skb.set_tunneled_gso(&said, start, TCP_CHECKSUM)?;

        // There is no TCP header here.
        assert_eq!(skb.gso(), Some(said));
        for wrong in [
            Tunnel {
                outer_transport: 0,
                inner_network,
                ipv6: false,
                checksum: false,
            },
            Tunnel {
                outer_transport: TRANSPORT,
                inner_network: start,
                ipv6: false,
                checksum: false,
            },
            Tunnel {
                outer_transport: TRANSPORT,
                inner_network,
                ipv6: true,
                checksum: false,
            },
        ] {
            let tunnel = Some(wrong);
            let said = Gso { tunnel, ..said };
            assert!(frame(4000)?
                .set_tunneled_gso(&said, start, TCP_CHECKSUM)
                .is_err());
        }
        let said = Gso {
            tunnel: None,
            ..said
        };
        assert!(skb.set_tunneled_gso(&said, start, TCP_CHECKSUM).is_err());
        Ok(())
    }

    #[test]
    fn a_short_frame_is_not_cut() -> Result {
        let mut skb = frame(100)?;

        skb.set_gso(GsoKind::Tcp4, false, 1448, TRANSPORT, TCP_CHECKSUM)?;

        assert_eq!(skb.gso(), None);
        Ok(())
    }

    #[test]
    fn what_cannot_be_cut_is_refused() -> Result {
        let cases = [
            (GsoKind::Other, 1448, TRANSPORT, TCP_CHECKSUM),
            (GsoKind::Tcp4, 0, TRANSPORT, TCP_CHECKSUM),
            (GsoKind::Tcp4, u16::MAX, TRANSPORT, TCP_CHECKSUM),
            (GsoKind::Tcp4, 1448, TRANSPORT, UDP_CHECKSUM),
            (GsoKind::Tcp4, 1448, 13, TCP_CHECKSUM),
            (GsoKind::Tcp6, 1448, TRANSPORT, TCP_CHECKSUM),
            (GsoKind::UdpL4, 1400, TRANSPORT, TCP_CHECKSUM),
            (GsoKind::UdpL4, 1, TRANSPORT, UDP_CHECKSUM),
            (GsoKind::Tcp4, 1448, 3990, TCP_CHECKSUM),
        ];
        for (kind, size, start, offset) in cases {
            let mut skb = frame(4000)?;

            assert!(skb.set_gso(kind, false, size, start, offset).is_err());
        }
        Ok(())
    }

    #[test]
    fn a_header_that_is_not_there_is_not_read() -> Result {
        let skb = frame(usize::from(TRANSPORT) + 12)?;

        assert_eq!(skb.transport_header_len(GsoKind::Tcp4, TRANSPORT), 0);
        assert_eq!(skb.transport_header_len(GsoKind::Tcp4, u16::MAX), 0);
        Ok(())
    }
}
