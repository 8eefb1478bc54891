// SPDX-License-Identifier: GPL-2.0

//! Frames between ports, and what is left to do for them.
//!
//! A frame comes with an [`Offload`]: its checksum may be partial, and it may be many frames in one.
//! Whoever takes it says what it can do itself ([`Takes`]); the rest is done here, by [`fit`].

mod checksum;
mod segment;

#[cfg(test)]
mod tests;

pub use checksum::crc32;

use std::{borrow::Cow, num::NonZeroU16, sync::Arc};
use thiserror::Error;
use virtio_wire::net::{Checksum, Gso, GsoKind, Offload};

/// The length of an Ethernet header.
pub const ETHERNET: usize = 14;
/// The length of a VLAN tag.
pub const TAG: usize = 4;
/// The type of a tagged frame.
const TAGGED: u16 = 0x8100;
const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// What [`Frame::protocol`] can be.
pub const PROTOCOLS: [&str; 7] = ["arp", "tcp", "udp", "icmp", "icmp6", "ip", "other"];

/// A MAC address.
pub type Mac = [u8; 6];

/// Why a frame cannot be taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Misfit {
    /// The frame is longer than a port has it.
    #[error("a frame of {0} bytes is too long")]
    TooLong(usize),
    /// The frame is not what is said of it.
    #[error("the frame is not what its header says")]
    NotAsSaid,
    /// It would be cut into too many pieces.
    #[error("the frame would be cut into {0} pieces")]
    TooMany(usize),
}

/// A frame, from the destination to the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What is sent.
    pub bytes: Vec<u8>,
    /// What is left to do for it.
    pub offload: Offload,
}

/// Reads two bytes in the order of the network.
fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    let pair = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_be_bytes(pair.try_into().ok()?))
}

/// Where the headers of a frame are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layers {
    /// What is in the frame, behind its tags.
    pub kind: u16,
    /// Where the network header is.
    pub network: usize,
    /// The protocol of the transport, and where its header is.
    pub transport: Option<(u8, usize)>,
}

impl Frame {
    /// A frame for which nothing is left to do.
    pub fn plain(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            offload: Offload::NONE,
        }
    }

    /// A frame whose TCP checksum is not there, and which may be many in one, with so many bytes
    /// each.
    pub fn partial(bytes: Vec<u8>, size: Option<NonZeroU16>) -> Self {
        let mut frame = Self::plain(bytes);
        if let Some(offload) = checksum::offer(&mut frame, size) {
            frame.offload = offload;
        }
        frame
    }

    fn mac(&self, at: usize) -> Option<Mac> {
        self.bytes.get(at..at + 6)?.try_into().ok()
    }

    /// Returns where it goes, if it is long enough to be a frame.
    pub fn destination(&self) -> Option<Mac> {
        self.mac(0)
    }

    /// Returns where it comes from.
    pub fn source(&self) -> Option<Mac> {
        self.mac(6)
    }

    /// Returns the tag, if there is one.
    pub fn tag(&self) -> Option<u16> {
        let kind = be16(&self.bytes, 12)?;
        (kind == TAGGED && self.bytes.len() >= ETHERNET + TAG)
            .then(|| be16(&self.bytes, 14))
            .flatten()
    }

    /// Returns it with headers that begin `TAG` bytes later, or earlier.
    fn moved(bytes: Vec<u8>, offload: Offload, later: bool) -> Self {
        let mut offload = offload;
        let by = u16::try_from(TAG).unwrap_or(0);
        let shift = |at: u16| {
            if later {
                at.saturating_add(by)
            } else {
                at.saturating_sub(by)
            }
        };
        if let Checksum::Partial { start, .. } = &mut offload.checksum {
            *start = shift(*start);
        }
        if let Some(tunnel) = offload.gso.as_mut().and_then(|gso| gso.tunnel.as_mut()) {
            tunnel.outer_transport = shift(tunnel.outer_transport);
            tunnel.inner_network = shift(tunnel.inner_network);
        }
        Self { bytes, offload }
    }

    /// Returns it without its tag.
    pub fn without_tag(&self) -> Self {
        if self.tag().is_none() {
            return self.clone();
        }
        let (front, back) = self.bytes.split_at(12);
        let back = back.get(TAG..).unwrap_or_default();
        Self::moved([front, back].concat(), self.offload, false)
    }

    /// Returns it with a tag before whatever there is.
    pub fn with_tag(&self, tag: u16) -> Self {
        let at = self.bytes.len().min(12);
        let (front, back) = self.bytes.split_at(at);
        let tagged = TAGGED.to_be_bytes();
        let bytes = [front, &tagged, &tag.to_be_bytes(), back].concat();
        Self::moved(bytes, self.offload, true)
    }

    /// Finds the headers, as far as they are understood.
    pub fn layers(&self) -> Option<Layers> {
        let bytes = &self.bytes;
        let (mut kind, mut network) = (be16(bytes, 12)?, ETHERNET);
        for _ in 0..2 {
            if matches!(kind, TAGGED | 0x88a8) {
                kind = be16(bytes, network + 2)?;
                network += TAG;
            }
        }
        let transport = match kind {
            IPV4 => transport_v4(bytes, network),
            IPV6 => transport_v6(bytes, network),
            _ => None,
        };
        Some(Layers {
            kind,
            network,
            transport,
        })
    }

    /// Names the protocol, for rules.
    pub fn protocol(&self) -> &'static str {
        match self.layers() {
            Some(layers) => match (layers.kind, layers.transport) {
                (ARP, _) => "arp",
                (_, Some((TCP, _))) => "tcp",
                (_, Some((UDP, _))) => "udp",
                (IPV4, Some((ICMP, _))) => "icmp",
                (IPV6, Some((ICMP6, _))) => "icmp6",
                (IPV4 | IPV6, _) => "ip",
                _ => "other",
            },
            None => "other",
        }
    }

    /// Returns how long the headers are, up to the payload of TCP or UDP.
    pub fn header_length(&self) -> Option<usize> {
        match self.layers()?.transport? {
            (TCP, at) => Some(at + usize::from(*self.bytes.get(at + 12)? >> 4) * 4),
            (UDP, at) => Some(at + 8),
            _ => None,
        }
    }

    /// Returns a number that is the same for both directions of a connection.
    pub fn flow(&self) -> u32 {
        let Some(layers) = self.layers() else {
            return 0;
        };
        let (at, length) = match layers.kind {
            IPV4 => (layers.network + 12, 4),
            IPV6 => (layers.network + 8, 16),
            _ => return 0,
        };
        let side = |addresses: usize, ports: usize| {
            let address = self.bytes.get(addresses..addresses + length);
            let port = layers
                .transport
                .filter(|(protocol, _)| matches!(*protocol, TCP | UDP))
                .and_then(|(_, at)| self.bytes.get(at + ports..at + ports + 2));
            let both = [address.unwrap_or_default(), port.unwrap_or_default()].concat();
            crc32(0, &both)
        };
        side(at, 0) ^ side(at + length, 2)
    }

    /// Returns the length of the longest frame that it is cut into.
    fn longest(&self) -> usize {
        match self.offload.gso {
            None => self.bytes.len(),
            Some(gso) => {
                let header = self.header_length().unwrap_or(self.bytes.len());
                let piece = header + usize::from(gso.size.get());
                piece.min(self.bytes.len())
            }
        }
    }
}

fn transport_v4(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let first = *bytes.get(at)?;
    let length = usize::from(first & 0xf) * 4;
    // What is behind the first fragment has no header of its own.
    let fragment = be16(bytes, at + 6)? & 0x1fff;
    let protocol = *bytes.get(at + 9)?;
    (first >> 4 == 4 && length >= 20 && fragment == 0).then_some((protocol, at + length))
}

fn transport_v6(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    if *bytes.get(at)? >> 4 != 6 {
        return None;
    }
    let (mut next, mut at) = (*bytes.get(at + 6)?, at + 40);
    // Hop-by-hop options, routing, options of the destination: more than these make no sense.
    for _ in 0..8 {
        if !matches!(next, 0 | 43 | 60) {
            return Some((next, at));
        }
        let length = usize::from(*bytes.get(at + 1)?) * 8 + 8;
        next = *bytes.get(at)?;
        at += length;
    }
    None
}

/// What a port can do itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// It completes, or needs no, checksums.
    pub checksum: bool,
    /// It takes large TCP over IPv4.
    pub tcp_v4: bool,
    /// It takes large TCP over IPv6.
    pub tcp_v6: bool,
    /// It takes large TCP with explicit congestion notification.
    pub ecn: bool,
    /// It takes large UDP over IPv4.
    pub udp_v4: bool,
    /// It takes large UDP over IPv6.
    pub udp_v6: bool,
}

impl Takes {
    fn gso(self, gso: Gso, kind: u16) -> bool {
        let there = match gso.kind {
            GsoKind::TcpV4 => self.tcp_v4,
            GsoKind::TcpV6 => self.tcp_v6,
            GsoKind::UdpSegments if kind == IPV4 => self.udp_v4,
            GsoKind::UdpSegments => self.udp_v6,
            GsoKind::UdpFragments => false,
        };
        there && gso.tunnel.is_none() && (self.ecn || !gso.ecn)
    }
}

/// Makes of a frame what a port takes, which has an MTU.
pub fn fit(frame: &Arc<Frame>, takes: Takes, mtu: usize) -> Result<Vec<Arc<Frame>>, Misfit> {
    let tag = if frame.tag().is_some() { TAG } else { 0 };
    let longest = frame.longest();
    if longest > mtu + ETHERNET + tag {
        return Err(Misfit::TooLong(longest));
    }
    match frame.offload.gso {
        Some(gso) => {
            let layers = segment::check(frame, gso)?;
            if takes.checksum && takes.gso(gso, layers.kind) {
                return Ok(vec![Arc::clone(frame)]);
            }
            Ok(segment::cut(frame, gso, layers)?
                .into_iter()
                .map(|bytes| Arc::new(Frame::plain(bytes)))
                .collect())
        }
        None => {
            let done = match frame.offload.checksum {
                _ if takes.checksum => Cow::Borrowed(frame),
                Checksum::Unverified => Cow::Borrowed(frame),
                Checksum::Verified(_) | Checksum::Coalesced { .. } => {
                    Cow::Owned(Arc::new(Frame::plain(frame.bytes.clone())))
                }
                Checksum::Partial { start, offset } => {
                    let mut bytes = frame.bytes.clone();
                    checksum::complete(&mut bytes, start.into(), offset.into())
                        .ok_or(Misfit::NotAsSaid)?;
                    Cow::Owned(Arc::new(Frame::plain(bytes)))
                }
            };
            Ok(vec![done.into_owned()])
        }
    }
}
