// SPDX-License-Identifier: GPL-2.0

//! The header before each frame.
//!
//! Its length depends on the features, but each form is a prefix of the longest one: [`Header`] is
//! that one, and [`HeaderKind`] says how much of it is on the wire.
//!
//! Virtio 1.3, 5.1.6, and virtio 1.4, 5.1.9.

use super::{
    Accepted,
    Feature, //
};
use crate::{
    int::{
        Le16,
        Le32, //
    },
    wire::{
        copy,
        wire_struct,
        Truncated, //
    },
};
use core::fmt;

wire_struct! {
    /// The header before each frame, in its longest form.
    #[doc(alias = "virtio_net_hdr_v1_hash_tunnel")]
    pub struct Header[24] {
        /// See [`flag`].
        pub flags: u8,
        /// See [`gso`].
        pub gso_type: u8,
        /// The length of all headers of the frame, or nearly.
        pub hdr_len: Le16,
        /// How many bytes follow the headers in each frame that the frame is cut into.
        pub gso_size: Le16,
        /// Where to start the checksum.
        pub csum_start: Le16,
        /// Where to put the checksum, after `csum_start`.
        pub csum_offset: Le16,
        /// In how many buffers a received frame is.
        pub num_buffers: Le16,
        /// The hash of a received frame.
        pub hash_value: Le32,
        /// What the hash is over.
        pub hash_report: Le16,
        /// Reserved.
        pub padding: Le16,
        /// Where the transport header of the tunnel is.
        pub outer_th_offset: Le16,
        /// Where the network header in the tunnel is.
        pub inner_nh_offset: Le16,
    }
}

/// Bits of [`Header::flags`].
pub mod flag {
    /// The checksum is to be completed.
    pub const NEEDS_CSUM: u8 = 1;
    /// The device has verified the checksum.
    pub const DATA_VALID: u8 = 2;
    /// Where the checksum is told are counts of what was coalesced.
    pub const RSC_INFO: u8 = 4;
    /// The checksum of the tunnel is to be completed, too; or was verified, too.
    pub const UDP_TUNNEL_CSUM: u8 = 8;
}

/// Values and bits of [`Header::gso_type`].
pub mod gso {
    /// The frame is not to be cut.
    pub const NONE: u8 = 0;
    /// TCP over IPv4.
    pub const TCPV4: u8 = 1;
    /// UDP, to be fragmented.
    pub const UDP: u8 = 3;
    /// TCP over IPv6.
    pub const TCPV6: u8 = 4;
    /// UDP, to be segmented.
    pub const UDP_L4: u8 = 5;
    /// The frame is in a UDP tunnel, of IPv4.
    pub const UDP_TUNNEL_IPV4: u8 = 0x20;
    /// The frame is in a UDP tunnel, of IPv6.
    pub const UDP_TUNNEL_IPV6: u8 = 0x40;
    /// The TCP segment has explicit congestion notification.
    pub const ECN: u8 = 0x80;
}

/// How much of a [`Header`] there is: so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum HeaderKind {
    /// Up to `csum_offset`, for the legacy interface.
    Legacy = 10,
    /// Up to `num_buffers`.
    V1 = 12,
    /// Up to `padding`.
    Hash = 20,
    /// All of it.
    Tunnel = 24,
}

impl HeaderKind {
    /// Returns what headers look like with these features, in both directions.
    ///
    /// Virtio 1.3, 5.1.6.3.1.
    pub fn new(accepted: Accepted) -> Self {
        if accepted.has(Feature::GUEST_UDP_TUNNEL_GSO) || accepted.has(Feature::HOST_UDP_TUNNEL_GSO)
        {
            Self::Tunnel
        } else if accepted.has(Feature::HASH_REPORT) {
            Self::Hash
        } else if accepted.has(Feature::VERSION_1) || accepted.has(Feature::MRG_RXBUF) {
            Self::V1
        } else {
            Self::Legacy
        }
    }

    /// Returns the length in bytes.
    #[expect(clippy::as_conversions, reason = "that is what its number is")]
    pub const fn length(self) -> usize {
        self as usize
    }
}

impl Header {
    /// Reads a header from the front of `bytes`; what there is not of it is zero.
    ///
    /// # Errors
    ///
    /// There are too few bytes.
    pub fn read(kind: HeaderKind, bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut whole = [0; Self::SIZE];
        copy(&mut whole, bytes, kind.length())?;
        Ok(Self::from_bytes(&whole))
    }

    /// Reads a header from the front of as many bytes as the longest one has; what there is not of it
    /// is zero.
    pub fn from_longest(kind: HeaderKind, bytes: &[u8; Self::SIZE]) -> Self {
        let mut header = Self::from_bytes(bytes);
        if kind != HeaderKind::Tunnel {
            header.outer_th_offset = Le16::default();
            header.inner_nh_offset = Le16::default();
            if kind != HeaderKind::Hash {
                header.hash_value = Le32::default();
                header.hash_report = Le16::default();
                header.padding = Le16::default();
                if kind != HeaderKind::V1 {
                    header.num_buffers = Le16::default();
                }
            }
        }
        header
    }

    /// Writes the header to the front of `bytes`, and returns its length.
    ///
    /// # Errors
    ///
    /// There is no room.
    pub fn write(&self, kind: HeaderKind, bytes: &mut [u8]) -> Result<usize, HeaderError> {
        copy(bytes, &self.to_bytes(), kind.length())?;
        Ok(kind.length())
    }
}

/// Why a header is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderError {
    /// There are too few bytes for the header.
    Truncated(Truncated),
    /// The frame has no whole Ethernet header.
    FrameTooShort(u32),
    /// A received frame is in no buffer.
    NoBuffers,
    /// A received frame is in more buffers than there can be.
    TooManyBuffers(u16),
    /// The checksum is partial, which was not negotiated.
    ChecksumNotNegotiated,
    /// The checksum starts before there can be a transport header.
    ChecksumStart(u16),
    /// The checksum starts or lies outside of the frame.
    ChecksumOutside {
        /// Where it starts.
        start: u16,
        /// Where it lies, after its start.
        offset: u16,
    },
    /// The checksum of a segment does not lie where its protocol has it.
    ChecksumOffset(u16),
    /// There is no such type of segmentation.
    GsoUnknown(u8),
    /// The type of segmentation was not negotiated.
    GsoNotNegotiated(u8),
    /// A frame is to be segmented, but its checksum is not partial.
    GsoWithoutChecksum,
    /// A frame is to be segmented into pieces of a size that cannot be.
    GsoSize(u16),
    /// Explicit congestion notification was not negotiated.
    EcnNotNegotiated,
    /// Explicit congestion notification is told of what is not TCP.
    EcnWithoutTcp,
    /// A tunnel was not negotiated.
    TunnelNotNegotiated,
    /// A tunnel is both of IPv4 and of IPv6.
    TunnelBoth,
    /// In a tunnel is nothing to be segmented, or UDP to be fragmented.
    TunnelContent(u8),
    /// In a tunnel is a frame whose checksum is said to be verified.
    TunnelVerified,
    /// The headers in and of a tunnel do not lie one after the other.
    TunnelOffsets,
    /// The checksum of a tunnel was not negotiated.
    TunnelChecksumNotNegotiated,
    /// The checksum of a tunnel is partial, but there is no tunnel.
    TunnelChecksumWithoutTunnel,
    /// Counts of what was coalesced were not negotiated.
    CoalescedNotNegotiated,
    /// Counts of what was coalesced are told of what is not.
    CoalescedWithoutTcp,
    /// The exact length of the headers was negotiated, but it cannot be this one.
    HeaderLength(u16),
    /// What is to be transmitted cannot be said in a header of this direction.
    NotForTransmit,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(truncated) => write!(f, "no whole header: {truncated}"),
            Self::FrameTooShort(length) => write!(f, "a frame of {length} bytes"),
            Self::NoBuffers => f.write_str("a frame in no buffer"),
            Self::TooManyBuffers(number) => write!(f, "a frame in {number} buffers"),
            Self::ChecksumNotNegotiated => f.write_str("a partial checksum was not negotiated"),
            Self::ChecksumStart(start) => write!(f, "the checksum starts in headers, at {start}"),
            Self::ChecksumOutside { start, offset } => {
                write!(
                    f,
                    "the checksum at {start}+{offset} is outside of the frame"
                )
            }
            Self::ChecksumOffset(offset) => {
                write!(f, "no checksum of the protocol is at offset {offset}")
            }
            Self::GsoUnknown(kind) => write!(f, "no segmentation is of type {kind:#x}"),
            Self::GsoNotNegotiated(kind) => {
                write!(f, "segmentation of type {kind:#x} was not negotiated")
            }
            Self::GsoWithoutChecksum => f.write_str("segmentation without a partial checksum"),
            Self::GsoSize(size) => write!(f, "segmentation into pieces of {size} bytes"),
            Self::EcnNotNegotiated => f.write_str("ECN was not negotiated"),
            Self::EcnWithoutTcp => f.write_str("ECN without TCP segmentation"),
            Self::TunnelNotNegotiated => f.write_str("a tunnel was not negotiated"),
            Self::TunnelBoth => f.write_str("a tunnel both of IPv4 and of IPv6"),
            Self::TunnelContent(kind) => write!(f, "segmentation {kind:#x} in a tunnel"),
            Self::TunnelVerified => f.write_str("a verified checksum in a tunnel"),
            Self::TunnelOffsets => f.write_str("the headers of a tunnel are in disorder"),
            Self::TunnelChecksumNotNegotiated => {
                f.write_str("the checksum of a tunnel was not negotiated")
            }
            Self::TunnelChecksumWithoutTunnel => {
                f.write_str("the checksum of a tunnel without a tunnel")
            }
            Self::CoalescedNotNegotiated => f.write_str("counts of segments were not negotiated"),
            Self::CoalescedWithoutTcp => f.write_str("counts of segments without segmentation"),
            Self::HeaderLength(length) => write!(f, "the headers cannot have {length} bytes"),
            Self::NotForTransmit => f.write_str("a header cannot say this on transmit"),
        }
    }
}

impl core::error::Error for HeaderError {}

impl From<Truncated> for HeaderError {
    fn from(truncated: Truncated) -> Self {
        Self::Truncated(truncated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{
        FeatureSet,
        Offered, //
    };

    fn kind(features: &[Feature]) -> HeaderKind {
        let set = FeatureSet::of(features);
        HeaderKind::new(Offered::new(set).check(set).unwrap())
    }

    #[test]
    fn a_header_ends_where_its_kind_does() {
        let bytes: [u8; Header::SIZE] = core::array::from_fn(|i| u8::try_from(i + 1).unwrap());

        for kind in [
            HeaderKind::Legacy,
            HeaderKind::V1,
            HeaderKind::Hash,
            HeaderKind::Tunnel,
        ] {
            assert_eq!(
                Ok(Header::from_longest(kind, &bytes)),
                Header::read(kind, &bytes)
            );
        }
    }

    #[test]
    fn the_length_depends_on_the_features() {
        assert_eq!(kind(&[]).length(), 10);
        assert_eq!(kind(&[Feature::MRG_RXBUF]).length(), 12);
        assert_eq!(kind(&[Feature::VERSION_1]).length(), 12);
        assert_eq!(
            kind(&[Feature::VERSION_1, Feature::CTRL_VQ, Feature::HASH_REPORT]).length(),
            20
        );
        assert_eq!(
            kind(&[
                Feature::VERSION_1,
                Feature::CSUM,
                Feature::HOST_TSO4,
                Feature::HOST_TSO6,
                Feature::HOST_USO,
                Feature::HOST_UDP_TUNNEL_GSO,
            ])
            .length(),
            24
        );
    }

    #[test]
    fn fields_are_where_the_c_header_has_them() {
        use core::mem::offset_of;

        assert_eq!(offset_of!(Header, hdr_len), 2);
        assert_eq!(offset_of!(Header, num_buffers), 10);
        assert_eq!(offset_of!(Header, hash_value), 12);
        assert_eq!(offset_of!(Header, hash_report), 16);
        assert_eq!(offset_of!(Header, outer_th_offset), 20);
        assert_eq!(offset_of!(Header, inner_nh_offset), 22);
    }

    #[test]
    fn what_is_not_on_the_wire_is_zero() {
        let bytes = [0xff; Header::SIZE];

        let header = Header::read(HeaderKind::V1, &bytes).unwrap();
        assert_eq!(header.num_buffers.get(), 0xffff);
        assert_eq!(header.hash_value.get(), 0);

        let header = Header::read(HeaderKind::Legacy, &bytes).unwrap();
        assert_eq!(header.csum_offset.get(), 0xffff);
        assert_eq!(header.num_buffers.get(), 0);
    }

    #[test]
    fn a_header_needs_its_length() {
        for kind in [
            HeaderKind::Legacy,
            HeaderKind::V1,
            HeaderKind::Hash,
            HeaderKind::Tunnel,
        ] {
            let mut bytes = [0; Header::SIZE];
            let short = &mut bytes[..kind.length() - 1];
            let error = HeaderError::Truncated(Truncated {
                needed: kind.length(),
                available: kind.length() - 1,
            });

            assert_eq!(Header::read(kind, short), Err(error));
            assert_eq!(Header::default().write(kind, short), Err(error));
            assert_eq!(Header::default().write(kind, &mut bytes), Ok(kind.length()));
        }
    }
}
