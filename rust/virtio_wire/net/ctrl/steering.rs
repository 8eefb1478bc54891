// SPDX-License-Identifier: GPL-2.0

//! How the queue for a received frame is chosen, and how hashes are made.
//!
//! Virtio 1.3, 5.1.6.5.6.4 and 5.1.6.5.7.

use super::{
    code::end,
    CtrlError,
    HashTypes,
    QueuePairs, //
};
use crate::{
    int::{
        Le16,
        Le32, //
    },
    wire::{
        split,
        Truncated,
        Writer, //
    },
};

/// The most entries of an indirection table: the mask has 16 bits.
const MAX_TABLE: usize = 0x1_0000;

/// For each value of the masked hash the pair of queues for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RssTable<'a>(&'a [u8]);

impl<'a> RssTable<'a> {
    /// Takes a table of [`Le16`], in bytes: each is the number of a pair of queues.
    ///
    /// # Errors
    ///
    /// The number of entries is not a power of two, or too large.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CtrlError> {
        let table = Self(bytes);
        let length = table.length();
        let whole = bytes.len().checked_rem(Le16::SIZE) == Some(0);
        if whole && length.is_power_of_two() && length <= MAX_TABLE {
            Ok(table)
        } else {
            Err(CtrlError::TableLength(length))
        }
    }

    /// Returns the number of entries.
    pub const fn length(self) -> usize {
        self.0.len().div_ceil(Le16::SIZE)
    }

    /// Returns the pair of queues for a hash.
    pub fn pair(self, hash: u32) -> u16 {
        let mask = self.length().saturating_sub(1);
        let index = usize::try_from(hash).unwrap_or(usize::MAX) & mask;
        let entry = self.0.chunks_exact(Le16::SIZE).nth(index);
        // The index is below the length, so there is such an entry.
        entry
            .and_then(|bytes| bytes.first_chunk().copied())
            .map_or(0, u16::from_le_bytes)
    }

    /// Goes through the entries.
    pub fn iter(self) -> impl Iterator<Item = u16> + 'a {
        self.0
            .chunks_exact(Le16::SIZE)
            .filter_map(|bytes| bytes.first_chunk().copied())
            .map(u16::from_le_bytes)
    }
}

/// How the queue for a received frame is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "virtio_net_rss_config")]
pub struct RssConfig<'a> {
    /// Which hashes are made.
    pub types: HashTypes,
    /// The pair of queues for frames without a hash.
    pub unclassified: u16,
    /// The pairs of queues for frames with a hash.
    pub table: RssTable<'a>,
    /// How many queues are used to transmit.
    pub transmit: QueuePairs,
    /// The key of the hash.
    pub key: &'a [u8],
}

impl<'a> RssConfig<'a> {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        let mask = u16::try_from(self.table.length().saturating_sub(1)).unwrap_or(u16::MAX);
        writer.put(Le32::new(self.types.bits()));
        writer.put(Le16::new(mask));
        writer.put(Le16::new(self.unclassified));
        writer.bytes(self.table.0);
        writer.put(Le16::new(self.transmit.get()));
        encode_key(self.key, writer);
    }

    pub(super) fn decode(data: &'a [u8]) -> Result<Self, CtrlError> {
        let (types, rest) = split::<Le32, 4>(data)?;
        let (mask, rest) = split::<Le16, 2>(rest)?;
        let (unclassified, rest) = split::<Le16, 2>(rest)?;
        let needed = usize::from(mask.get())
            .saturating_add(1)
            .saturating_mul(Le16::SIZE);
        let (table, rest) =
            rest.split_at_checked(needed)
                .ok_or(CtrlError::Truncated(Truncated {
                    needed,
                    available: rest.len(),
                }))?;
        let (transmit, rest) = split::<Le16, 2>(rest)?;
        let (key, rest) = decode_key(rest)?;
        end(rest, data)?;
        Ok(Self {
            types: decode_types(types)?,
            unclassified: unclassified.get(),
            table: RssTable::new(table)?,
            transmit: QueuePairs::new(transmit.get())
                .map_err(|_| CtrlError::QueuePairs(transmit.get()))?,
            key,
        })
    }
}

/// How hashes are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[doc(alias = "virtio_net_hash_config")]
pub struct HashConfig<'a> {
    /// Which hashes are made.
    pub types: HashTypes,
    /// The key of the hash.
    pub key: &'a [u8],
}

impl<'a> HashConfig<'a> {
    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        writer.put(Le32::new(self.types.bits()));
        writer.put([0; 8]);
        encode_key(self.key, writer);
    }

    pub(super) fn decode(data: &'a [u8]) -> Result<Self, CtrlError> {
        let (types, rest) = split::<Le32, 4>(data)?;
        // These bytes have to be zero, but the driver of Linux sets some.
        let (_, rest) = split::<[u8; 8], 8>(rest)?;
        let (key, rest) = decode_key(rest)?;
        end(rest, data)?;
        Ok(Self {
            types: decode_types(types)?,
            key,
        })
    }
}

fn decode_types(types: Le32) -> Result<HashTypes, CtrlError> {
    let known = HashTypes::from_bits(types.get());
    if known.bits() == types.get() {
        Ok(known)
    } else {
        Err(CtrlError::HashTypes(types.get()))
    }
}

fn encode_key(key: &[u8], writer: &mut Writer<'_>) {
    // Rules do not let longer keys pass.
    writer.put(u8::try_from(key.len()).unwrap_or(u8::MAX));
    writer.bytes(key);
}

fn decode_key(data: &[u8]) -> Result<(&[u8], &[u8]), CtrlError> {
    let (length, rest) = split::<u8, 1>(data)?;
    rest.split_at_checked(length.into())
        .ok_or(CtrlError::Truncated(Truncated {
            needed: length.into(),
            available: rest.len(),
        }))
}
