// SPDX-License-Identifier: GPL-2.0

//! Checksums.

use super::{Frame, IPV4, TCP};
use std::num::NonZeroU16;
use virtio_wire::net::{Checksum, Gso, GsoKind, Offload};

/// Adds 16-bit words, the last one being filled up with a zero.
pub fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u16::from_be_bytes([*high, *low]),
        [high] => u16::from_be_bytes([*high, 0]),
        _ => 0,
    });
    words.map(u64::from).sum()
}

/// Makes the Internet checksum of a sum.
pub fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// Writes two bytes in the order of the network.
pub fn put(bytes: &mut [u8], at: usize, value: u16) -> Option<()> {
    let place = bytes.get_mut(at..at.checked_add(2)?)?;
    place.copy_from_slice(&value.to_be_bytes());
    Some(())
}

/// Completes a partial checksum: that of the pseudo header is where the whole one is to be.
pub fn complete(bytes: &mut [u8], start: usize, offset: usize) -> Option<()> {
    let checksum = fold(sum(bytes.get(start..)?));
    // Zero would say that there is none.
    let checksum = if checksum == 0 { 0xffff } else { checksum };
    put(bytes, start.checked_add(offset)?, checksum)
}

/// Makes the TCP checksum of a frame a partial one, which is that of the pseudo header. Returns what
/// is left to do then; nothing if the frame is complete.
pub fn offer(frame: &mut Frame, size: Option<NonZeroU16>) -> Option<Offload> {
    let layers = frame.layers()?;
    let (TCP, at) = layers.transport? else {
        return None;
    };
    if size.is_none() && frame.bytes.get(at + 16..at + 18)? != [0, 0] {
        return None;
    }
    let (addresses, kind) = if layers.kind == IPV4 {
        (layers.network + 12..layers.network + 20, GsoKind::TcpV4)
    } else {
        (layers.network + 8..layers.network + 40, GsoKind::TcpV6)
    };
    let length = u64::try_from(frame.bytes.len() - at).ok()?;
    let pseudo = sum(frame.bytes.get(addresses)?) + u64::from(TCP) + length;
    put(&mut frame.bytes, at + 16, !fold(pseudo))?;
    Some(Offload {
        checksum: Checksum::Partial {
            start: u16::try_from(at).ok()?,
            offset: 16,
        },
        gso: size.map(|size| Gso {
            kind,
            size,
            ecn: false,
            tunnel: None,
        }),
    })
}

/// Goes on with a CRC of 32 bits, as Ethernet and zlib have it.
pub fn crc32(before: u32, bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut at = 0;
        let mut byte: u32 = 0;
        while at < table.len() {
            let mut value = byte;
            let mut bit = 0;
            while bit < 8 {
                let low = value & 1;
                value >>= 1;
                if low != 0 {
                    value ^= 0xedb8_8320;
                }
                bit += 1;
            }
            table[at] = value;
            at += 1;
            byte += 1;
        }
        table
    };
    let mut value = !before;
    for byte in bytes {
        let [low, ..] = value.to_le_bytes();
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or(0);
        value = (value >> 8) ^ entry;
    }
    !value
}
