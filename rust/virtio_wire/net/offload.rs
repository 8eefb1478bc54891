// SPDX-License-Identifier: GPL-2.0

//! What is left to do for a frame: to complete its checksum, and to cut it.
//!
//! One check serves both directions. It makes sure that every offset is inside of the frame, and
//! that headers follow each other: whoever acts on an [`Offload`] needs no check of its own, but
//! for what the frame itself says of its protocols.
//!
//! Of the two bits that say that there is a tunnel, virtio 1.4 says that they tell the protocol
//! inside of it; Linux takes them for the protocol of the tunnel itself. So nothing is concluded
//! from which of them is set.
//!
//! Virtio 1.3, 5.1.6.2 and 5.1.6.4; virtio 1.4, 5.1.9.2 and 5.1.9.4.

use super::{
    header::{
        flag,
        gso,
        Header,
        HeaderError, //
    },
    Accepted,
    Feature,
    ETHERNET_HEADER, //
};
use core::num::NonZeroU16;

/// The least length of an IPv4 header.
const IPV4_HEADER: u32 = 20;
/// The length of an IPv6 header without extensions.
const IPV6_HEADER: u32 = 40;
/// The least length of a TCP header.
const TCP_HEADER: u32 = 20;
/// The length of a UDP header.
const UDP_HEADER: u32 = 8;
/// The length of a checksum.
const CHECKSUM: u32 = 2;
/// Where TCP and UDP have their checksums.
const TCP_CHECKSUM: u16 = 16;
const UDP_CHECKSUM: u16 = 6;

/// What a header says of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// What is known of the checksum.
    pub checksum: Checksum,
    /// How the frame is to be cut, or was put together.
    pub gso: Option<Gso>,
}

/// What is known of the checksum of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// Nothing: it is there, but nobody has verified it.
    Unverified,
    /// The device has verified it. Only for received frames.
    Verified(Levels),
    /// It is to be completed. Both positions, and the two bytes of the checksum, are in the frame.
    Partial {
        /// Where the transport header starts, from which the checksum is to be made.
        start: u16,
        /// Where to put the checksum, counted from `start`.
        offset: u16,
    },
    /// It is to be completed, but it is not told where it is. Only for received frames, with
    /// `VIRTIO_NET_F_RSC_EXT`.
    Coalesced {
        /// How many segments are in the frame.
        segments: u16,
        /// How many duplicate acknowledgements were left out.
        duplicate_acks: u16,
    },
}

/// How many checksums the device has verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Levels {
    /// The outermost.
    Outer,
    /// That of a UDP tunnel, and the one in it.
    OuterAndInner,
}

/// How a frame is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// By which protocol.
    pub kind: GsoKind,
    /// How many bytes follow the headers in each piece.
    pub size: NonZeroU16,
    /// Whether the TCP segment has explicit congestion notification.
    pub ecn: bool,
    /// The tunnel that the frame is in.
    pub tunnel: Option<Tunnel>,
}

/// The protocol by which a frame is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP segments over IPv4.
    TcpV4,
    /// TCP segments over IPv6.
    TcpV6,
    /// Fragments of one UDP datagram.
    UdpFragments,
    /// UDP datagrams.
    UdpSegments,
}

impl GsoKind {
    const fn code(self) -> u8 {
        match self {
            Self::TcpV4 => gso::TCPV4,
            Self::TcpV6 => gso::TCPV6,
            Self::UdpFragments => gso::UDP,
            Self::UdpSegments => gso::UDP_L4,
        }
    }

    /// Returns whether it is TCP.
    pub const fn is_tcp(self) -> bool {
        matches!(self, Self::TcpV4 | Self::TcpV6)
    }

    /// Returns the least length of the transport header.
    pub const fn transport_header(self) -> u32 {
        if self.is_tcp() {
            TCP_HEADER
        } else {
            UDP_HEADER
        }
    }

    const fn checksum_offset(self) -> u16 {
        if self.is_tcp() {
            TCP_CHECKSUM
        } else {
            UDP_CHECKSUM
        }
    }

    /// Returns the least length of the network header.
    const fn network_header(self) -> u32 {
        match self {
            Self::TcpV6 => IPV6_HEADER,
            _ => IPV4_HEADER,
        }
    }
}

/// A UDP tunnel that a frame is in. The headers in and of it follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Which of the two kinds is told.
    pub family: TunnelFamily,
    /// Where the UDP header of the tunnel is.
    pub outer_transport: u16,
    /// Where the network header in the tunnel is.
    pub inner_network: u16,
    /// What is known of the checksum of the tunnel.
    pub checksum: TunnelChecksum,
}

/// What is told of a tunnel: see the module about what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelFamily {
    /// `VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV4`
    V4,
    /// `VIRTIO_NET_HDR_GSO_UDP_TUNNEL_IPV6`
    V6,
}

/// What is known of the checksum of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelChecksum {
    /// It is there, or there is none.
    Complete,
    /// It is to be completed.
    Partial,
}

/// Which way frames go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Receive,
    Transmit,
}

/// What a header may say in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    direction: Direction,
    checksum: bool,
    /// Whether what was not negotiated is believed of a checksum.
    believes: bool,
    tcp_v4: bool,
    tcp_v6: bool,
    ecn: bool,
    udp_fragments: bool,
    udp_segments: bool,
    tunnel: bool,
    tunnel_checksum: bool,
    coalesced: bool,
}

impl Allowed {
    pub(super) fn receive(accepted: Accepted) -> Self {
        Self {
            direction: Direction::Receive,
            checksum: accepted.has(Feature::GUEST_CSUM),
            believes: false,
            tcp_v4: accepted.has(Feature::GUEST_TSO4),
            tcp_v6: accepted.has(Feature::GUEST_TSO6),
            ecn: accepted.has(Feature::GUEST_ECN),
            udp_fragments: accepted.has(Feature::GUEST_UFO),
            udp_segments: accepted.has(Feature::GUEST_USO4) || accepted.has(Feature::GUEST_USO6),
            tunnel: accepted.has(Feature::GUEST_UDP_TUNNEL_GSO),
            tunnel_checksum: accepted.has(Feature::GUEST_UDP_TUNNEL_GSO_CSUM),
            coalesced: accepted.has(Feature::RSC_EXT),
        }
    }

    pub(super) fn transmit(accepted: Accepted) -> Self {
        Self {
            direction: Direction::Transmit,
            checksum: accepted.has(Feature::CSUM),
            believes: false,
            tcp_v4: accepted.has(Feature::HOST_TSO4),
            tcp_v6: accepted.has(Feature::HOST_TSO6),
            ecn: accepted.has(Feature::HOST_ECN),
            udp_fragments: accepted.has(Feature::HOST_UFO),
            udp_segments: accepted.has(Feature::HOST_USO),
            tunnel: accepted.has(Feature::HOST_UDP_TUNNEL_GSO),
            tunnel_checksum: accepted.has(Feature::HOST_UDP_TUNNEL_GSO_CSUM),
            coalesced: false,
        }
    }

    /// Believes the device that it has verified a checksum, although it was not to say so.
    pub(super) const fn believe_verified(mut self) -> Self {
        self.believes = true;
        self
    }

    /// Returns whether the device may say that it has verified a checksum.
    pub(super) fn verified(&self) -> bool {
        self.direction == Direction::Receive && (self.checksum || self.believes)
    }

    /// Checks what a header says of a frame.
    pub(super) fn check(&self, header: &Header, length: u32) -> Result<Offload, HeaderError> {
        if length < ETHERNET_HEADER {
            return Err(HeaderError::FrameTooShort(length));
        }
        if header.flags & flag::UDP_TUNNEL_CSUM != 0 && !self.tunnel_checksum {
            return Err(HeaderError::TunnelChecksumNotNegotiated);
        }
        let gso = self.gso(header)?;
        if gso.is_none_or(|gso| gso.tunnel.is_none()) {
            self.no_tunnel(header)?;
        }
        let checksum = self.checksum(header, gso.is_some_and(|gso| gso.kind.is_tcp()))?;
        match gso {
            None => check_whole(checksum, length)?,
            Some(gso) => check_cut(checksum, gso, length)?,
        }
        Ok(Offload { checksum, gso })
    }

    /// Returns what the type of segmentation means.
    fn gso(&self, header: &Header) -> Result<Option<Gso>, HeaderError> {
        let tunnel = self.tunnel(header)?;
        let bits = gso::ECN | gso::UDP_TUNNEL_IPV4 | gso::UDP_TUNNEL_IPV6;
        let code = header.gso_type & !bits;
        let ecn = header.gso_type & gso::ECN != 0;
        let (kind, negotiated) = match code {
            gso::NONE if ecn => return Err(HeaderError::EcnWithoutTcp),
            gso::NONE if tunnel.is_some() => return Err(HeaderError::TunnelContent(code)),
            gso::NONE => return Ok(None),
            gso::TCPV4 => (GsoKind::TcpV4, self.tcp_v4),
            gso::TCPV6 => (GsoKind::TcpV6, self.tcp_v6),
            gso::UDP => (GsoKind::UdpFragments, self.udp_fragments),
            gso::UDP_L4 => (GsoKind::UdpSegments, self.udp_segments),
            _ => return Err(HeaderError::GsoUnknown(code)),
        };
        if !negotiated {
            return Err(HeaderError::GsoNotNegotiated(code));
        }
        if ecn && !kind.is_tcp() {
            return Err(HeaderError::EcnWithoutTcp);
        }
        if ecn && !self.ecn {
            return Err(HeaderError::EcnNotNegotiated);
        }
        if tunnel.is_some() && kind == GsoKind::UdpFragments {
            return Err(HeaderError::TunnelContent(code));
        }
        // No frame has pieces of the largest number, which means something else in Linux.
        let size = header.gso_size.get();
        match NonZeroU16::new(size) {
            Some(size) if size != NonZeroU16::MAX => Ok(Some(Gso {
                kind,
                size,
                ecn,
                tunnel,
            })),
            _ => Err(HeaderError::GsoSize(size)),
        }
    }

    fn tunnel(&self, header: &Header) -> Result<Option<Tunnel>, HeaderError> {
        let v4 = header.gso_type & gso::UDP_TUNNEL_IPV4 != 0;
        let v6 = header.gso_type & gso::UDP_TUNNEL_IPV6 != 0;
        let family = match (v4, v6) {
            (false, false) => return Ok(None),
            _ if !self.tunnel => return Err(HeaderError::TunnelNotNegotiated),
            (true, true) => return Err(HeaderError::TunnelBoth),
            (true, false) => TunnelFamily::V4,
            (false, true) => TunnelFamily::V6,
        };
        if header.flags & flag::DATA_VALID != 0 {
            return Err(HeaderError::TunnelVerified);
        }
        Ok(Some(Tunnel {
            family,
            outer_transport: header.outer_th_offset.get(),
            inner_network: header.inner_nh_offset.get(),
            checksum: if header.flags & flag::UDP_TUNNEL_CSUM != 0 {
                TunnelChecksum::Partial
            } else {
                TunnelChecksum::Complete
            },
        }))
    }

    /// Returns what the flags and the position of the checksum mean.
    fn checksum(&self, header: &Header, tcp: bool) -> Result<Checksum, HeaderError> {
        let (start, offset) = (header.csum_start.get(), header.csum_offset.get());
        let needed = header.flags & flag::NEEDS_CSUM != 0;
        if needed && !self.checksum {
            return Err(HeaderError::ChecksumNotNegotiated);
        }
        // A device ignores this.
        if header.flags & flag::RSC_INFO != 0 && self.direction == Direction::Receive {
            if !self.coalesced {
                return Err(HeaderError::CoalescedNotNegotiated);
            }
            if !(tcp && needed) {
                return Err(HeaderError::CoalescedWithoutTcp);
            }
            return Ok(Checksum::Coalesced {
                segments: start,
                duplicate_acks: offset,
            });
        }
        if needed {
            return Ok(Checksum::Partial { start, offset });
        }
        // Some devices say so without being asked to, which does no harm.
        if header.flags & flag::DATA_VALID != 0 && self.verified() {
            return Ok(Checksum::Verified(
                if header.flags & flag::UDP_TUNNEL_CSUM != 0 {
                    Levels::OuterAndInner
                } else {
                    Levels::Outer
                },
            ));
        }
        Ok(Checksum::Unverified)
    }

    /// Checks that nothing is said of a tunnel. That its checksum is verified can be said without
    /// saying that there is one.
    fn no_tunnel(&self, header: &Header) -> Result<(), HeaderError> {
        let needed = header.flags & flag::NEEDS_CSUM != 0;
        let tunnel = header.flags & flag::UDP_TUNNEL_CSUM != 0;
        if tunnel && (needed || self.direction == Direction::Transmit) {
            return Err(HeaderError::TunnelChecksumWithoutTunnel);
        }
        Ok(())
    }
}

/// Checks a frame that is not to be cut.
fn check_whole(checksum: Checksum, length: u32) -> Result<(), HeaderError> {
    if let Checksum::Partial { start, offset } = checksum {
        check_start(start, ETHERNET_HEADER.saturating_add(IPV4_HEADER))?;
        let needed = CHECKSUM.saturating_add(offset.into());
        check_inside(start, offset, needed, length)?;
    }
    Ok(())
}

/// Checks a frame that is to be cut.
fn check_cut(checksum: Checksum, gso: Gso, length: u32) -> Result<(), HeaderError> {
    let (start, offset) = match checksum {
        Checksum::Partial { start, offset } => (start, offset),
        // It is not told where anything is.
        Checksum::Coalesced { .. } if gso.tunnel.is_none() => return Ok(()),
        Checksum::Coalesced { .. } => return Err(HeaderError::TunnelOffsets),
        _ => return Err(HeaderError::GsoWithoutChecksum),
    };
    if offset != gso.kind.checksum_offset() {
        return Err(HeaderError::ChecksumOffset(offset));
    }
    check_inside(start, offset, gso.kind.transport_header(), length)?;

    let network = gso.kind.network_header();
    if let Some(tunnel) = gso.tunnel {
        let outer_transport = u32::from(tunnel.outer_transport);
        let inner_network = u32::from(tunnel.inner_network);
        let ordered = outer_transport >= ETHERNET_HEADER.saturating_add(IPV4_HEADER)
            && inner_network >= outer_transport.saturating_add(UDP_HEADER)
            && u32::from(start) >= inner_network.saturating_add(network);
        if !ordered {
            return Err(HeaderError::TunnelOffsets);
        }
    }
    check_start(start, ETHERNET_HEADER.saturating_add(network))
}

fn check_start(start: u16, least: u32) -> Result<(), HeaderError> {
    if u32::from(start) < least {
        return Err(HeaderError::ChecksumStart(start));
    }
    Ok(())
}

/// Checks that `needed` bytes from `start` are in the frame.
fn check_inside(start: u16, offset: u16, needed: u32, length: u32) -> Result<(), HeaderError> {
    if u32::from(start).saturating_add(needed) > length {
        return Err(HeaderError::ChecksumOutside { start, offset });
    }
    Ok(())
}

impl Offload {
    /// There is nothing to do.
    pub const NONE: Self = Self {
        checksum: Checksum::Unverified,
        gso: None,
    };

    /// Returns a header that says this.
    pub(super) fn header(&self) -> Header {
        let mut header = Header::default();
        match self.checksum {
            Checksum::Unverified => {}
            Checksum::Verified(Levels::Outer) => header.flags = flag::DATA_VALID,
            Checksum::Verified(Levels::OuterAndInner) => {
                header.flags = flag::DATA_VALID | flag::UDP_TUNNEL_CSUM;
            }
            Checksum::Partial { start, offset } => {
                header.flags = flag::NEEDS_CSUM;
                header.csum_start = start.into();
                header.csum_offset = offset.into();
            }
            Checksum::Coalesced {
                segments,
                duplicate_acks,
            } => {
                header.flags = flag::NEEDS_CSUM | flag::RSC_INFO;
                header.csum_start = segments.into();
                header.csum_offset = duplicate_acks.into();
            }
        }
        let Some(gso) = self.gso else {
            return header;
        };
        header.gso_type = gso.kind.code();
        header.gso_size = gso.size.get().into();
        if gso.ecn {
            header.gso_type |= gso::ECN;
        }
        if let Some(tunnel) = gso.tunnel {
            header.gso_type |= match tunnel.family {
                TunnelFamily::V4 => gso::UDP_TUNNEL_IPV4,
                TunnelFamily::V6 => gso::UDP_TUNNEL_IPV6,
            };
            if tunnel.checksum == TunnelChecksum::Partial {
                header.flags |= flag::UDP_TUNNEL_CSUM;
            }
            header.outer_th_offset = tunnel.outer_transport.into();
            header.inner_nh_offset = tunnel.inner_network.into();
        }
        header
    }
}
