// SPDX-License-Identifier: GPL-2.0

//! What is left to do for a frame, as the kernel says it, and as the device does.

use core::num::NonZeroU16;
use kernel::prelude::*;
use kernel_ext::net::{
    self,
    SkBuff, //
};
use virtio_wire::net::{
    Checksum,
    Gso,
    GsoKind,
    HeaderLength,
    Offload,
    Receive,
    Transmit, //
};

/// Returns what the device has to do for a frame, if it has to do anything.
pub(crate) fn transmit(skb: &SkBuff) -> Option<Transmit> {
    let offload = skb.offload();
    let net::Checksum::Partial { start, offset } = offload.checksum else {
        return None;
    };
    let cut = offload.gso.and_then(|gso| {
        let kind = match gso.kind {
            net::GsoKind::Tcp4 => GsoKind::TcpV4,
            net::GsoKind::Tcp6 => GsoKind::TcpV6,
            net::GsoKind::UdpL4 => GsoKind::UdpSegments,
            _ => return None,
        };
        let cut = Gso {
            kind,
            size: NonZeroU16::new(gso.size)?,
            ecn: gso.ecn,
            tunnel: None,
        };
        Some((cut, HeaderLength::Exact(gso.header_len)))
    });
    let whole = HeaderLength::Hint(u16::try_from(skb.head_len()).unwrap_or(u16::MAX));
    Some(Transmit {
        offload: Offload {
            checksum: Checksum::Partial { start, offset },
            gso: cut.map(|(gso, _)| gso),
        },
        header_length: cut.map_or(whole, |(_, length)| length),
    })
}

/// Tells the kernel what is left to do for a frame that was received.
pub(crate) fn receive(skb: &mut SkBuff, receive: &Receive) -> Result {
    let (start, offset) = match receive.offload.checksum {
        // What is to be cut has a partial checksum.
        Checksum::Unverified => return Ok(()),
        Checksum::Verified(_) => {
            skb.set_checksum_verified();
            return Ok(());
        }
        Checksum::Partial { start, offset } => (start, offset),
        // It was not negotiated.
        Checksum::Coalesced { .. } => return Err(EINVAL),
    };
    let Some(gso) = receive.offload.gso else {
        return skb.set_partial_checksum(start, offset);
    };
    let kind = match gso.kind {
        GsoKind::TcpV4 => net::GsoKind::Tcp4,
        GsoKind::TcpV6 => net::GsoKind::Tcp6,
        GsoKind::UdpSegments => net::GsoKind::UdpL4,
        GsoKind::UdpFragments => net::GsoKind::Udp,
    };
    skb.set_gso(kind, gso.ecn, gso.size.get(), start, offset)
}
