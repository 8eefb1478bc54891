// SPDX-License-Identifier: GPL-2.0

//! Cutting a frame into those that it stands for.

use super::{
    Frame, IPV4, IPV6, Layers, Misfit, TCP, UDP, be16,
    checksum::{fold, put, sum},
};
use virtio_wire::net::{Checksum, Gso, GsoKind};

/// The most pieces: more than 64 KiB at the least MTU of IPv4 have.
const MOST: usize = 2048;

const FIN: u8 = 1;
const PSH: u8 = 8;
const CWR: u8 = 0x80;

/// Checks that a frame is what is said of how it is to be cut, and finds its headers.
pub fn check(frame: &Frame, gso: Gso) -> Result<Layers, Misfit> {
    let layers = frame.layers().ok_or(Misfit::NotAsSaid)?;
    let (kind, protocol) = match gso.kind {
        GsoKind::TcpV4 => (Some(IPV4), TCP),
        GsoKind::TcpV6 => (Some(IPV6), TCP),
        GsoKind::UdpSegments => (None, UDP),
        // It is not offered to anybody.
        GsoKind::UdpFragments => return Err(Misfit::NotAsSaid),
    };
    let there = layers.transport.ok_or(Misfit::NotAsSaid)?;
    let start = match frame.offload.checksum {
        Checksum::Partial { start, .. } => Some(usize::from(start)),
        // A device that has coalesced it does not say.
        _ => None,
    };
    let header = frame.header_length().ok_or(Misfit::NotAsSaid)?;
    let least = there.1 + if protocol == TCP { 20 } else { 8 };
    let fits = gso.tunnel.is_none()
        && there.0 == protocol
        && kind.is_none_or(|kind| kind == layers.kind)
        && start.is_none_or(|start| start == there.1)
        && header >= least
        && header <= frame.bytes.len();
    if !fits {
        return Err(Misfit::NotAsSaid);
    }
    let pieces = (frame.bytes.len() - header).div_ceil(usize::from(gso.size.get()));
    if pieces > MOST {
        return Err(Misfit::TooMany(pieces));
    }
    Ok(layers)
}

/// Cuts a frame that was checked. The pieces are complete.
pub fn cut(frame: &Frame, gso: Gso, layers: Layers) -> Result<Vec<Vec<u8>>, Misfit> {
    let header = frame.header_length().ok_or(Misfit::NotAsSaid)?;
    let at = layers.transport.ok_or(Misfit::NotAsSaid)?.1;
    if header > frame.bytes.len() {
        return Err(Misfit::NotAsSaid);
    }
    let (headers, payload) = frame.bytes.split_at(header);
    let size = usize::from(gso.size.get());
    let count = payload.len().div_ceil(size).max(1);
    let mut pieces = Vec::with_capacity(count);
    for index in 0..count {
        let from = index * size;
        let part = payload.get(from..payload.len().min(from + size));
        let mut piece = [headers, part.unwrap_or_default()].concat();
        let place = Place {
            layers,
            at,
            index,
            offset: from,
            last: index + 1 == count,
        };
        place.finish(&mut piece).ok_or(Misfit::NotAsSaid)?;
        pieces.push(piece);
    }
    Ok(pieces)
}

/// Where a piece was in the frame.
struct Place {
    layers: Layers,
    /// Where the transport header is.
    at: usize,
    /// Its number.
    index: usize,
    /// Where its payload was.
    offset: usize,
    last: bool,
}

impl Place {
    /// Makes the headers of a piece those of a frame of its own.
    fn finish(&self, piece: &mut [u8]) -> Option<()> {
        let Layers { kind, network, .. } = self.layers;
        let length = u16::try_from(piece.len() - self.at).ok()?;
        let tcp = self.layers.transport?.0 == TCP;
        let addresses = if kind == IPV4 {
            let total = u16::try_from(piece.len() - network).ok()?;
            put(piece, network + 2, total)?;
            let id = be16(piece, network + 4)?;
            let id = id.wrapping_add(u16::try_from(self.index).ok()?);
            put(piece, network + 4, id)?;
            put(piece, network + 10, 0)?;
            let checksum = fold(sum(piece.get(network..self.at)?));
            put(piece, network + 10, checksum)?;
            network + 12..network + 20
        } else {
            let payload = u16::try_from(piece.len() - network - 40).ok()?;
            put(piece, network + 4, payload)?;
            network + 8..network + 40
        };
        let checksum_at = if tcp {
            self.tcp(piece)?;
            self.at + 16
        } else {
            put(piece, self.at + 4, length)?;
            self.at + 6
        };
        put(piece, checksum_at, 0)?;
        let protocol = if tcp { TCP } else { UDP };
        let pseudo = sum(piece.get(addresses)?) + u64::from(protocol) + u64::from(length);
        let checksum = fold(pseudo + sum(piece.get(self.at..)?));
        let checksum = if checksum == 0 { 0xffff } else { checksum };
        put(piece, checksum_at, checksum)
    }

    fn tcp(&self, piece: &mut [u8]) -> Option<()> {
        let sequence = piece.get_mut(self.at + 4..self.at + 8)?;
        let number = u32::from_be_bytes(sequence.try_into().ok()?);
        let number = number.wrapping_add(u32::try_from(self.offset).ok()?);
        sequence.copy_from_slice(&number.to_be_bytes());
        let flags = piece.get_mut(self.at + 13)?;
        if !self.last {
            *flags &= !(FIN | PSH);
        }
        if self.index > 0 {
            *flags &= !CWR;
        }
        Some(())
    }
}
