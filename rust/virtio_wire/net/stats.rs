// SPDX-License-Identifier: GPL-2.0

//! The counters of a device.
//!
//! A driver asks which types of counters there are, then for some types of some queues. The reply
//! is a sequence of entries, each of which says how long it is: [`StatsReply`] goes through them,
//! believes none, and always ends.
//!
//! Virtio 1.4, 5.1.9.5.11.

use super::{
    config::{
        Queue,
        QueuePairs, //
    },
    Accepted,
    Feature, //
};
use crate::{
    int::{
        Le16,
        Le64, //
    },
    wire::{
        wire_struct,
        Truncated,
        Writer, //
    },
};
use core::fmt;

wire_struct! {
    /// What is asked of a queue.
    #[doc(alias = "virtio_net_ctrl_queue_stats")]
    pub struct StatsQueryLayout[16] {
        /// The queue.
        pub vq_index: Le16,
        /// Reserved.
        pub reserved: [u8; 6],
        /// The types, see [`StatsTypes`].
        pub types_bitmap: Le64,
    }
}

wire_struct! {
    /// What comes before the counters of a queue.
    #[doc(alias = "virtio_net_stats_reply_hdr")]
    pub struct StatsHeader[8] {
        /// The type, see [`StatsKind::code`].
        pub kind: u8,
        /// Reserved.
        pub reserved: u8,
        /// The queue.
        pub vq_index: Le16,
        /// Reserved.
        pub reserved1: Le16,
        /// The length of the entry, with this header.
        pub size: Le16,
    }
}

/// A type of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsKind {
    /// Of the control queue.
    Control,
    /// Of all frames received.
    RxBasic,
    /// Of checksums of frames received.
    RxChecksum,
    /// Of coalesced frames received.
    RxGso,
    /// Of limits to what is received.
    RxSpeed,
    /// Of all frames transmitted.
    TxBasic,
    /// Of checksums of frames transmitted.
    TxChecksum,
    /// Of frames transmitted that are to be cut.
    TxGso,
    /// Of limits to what is transmitted.
    TxSpeed,
}

impl StatsKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Control,
        Self::RxBasic,
        Self::RxChecksum,
        Self::RxGso,
        Self::RxSpeed,
        Self::TxBasic,
        Self::TxChecksum,
        Self::TxGso,
        Self::TxSpeed,
    ];

    /// Returns the code in a reply, which is also the bit in a set.
    pub const fn code(self) -> u8 {
        match self {
            Self::Control => 32,
            Self::RxBasic => 0,
            Self::RxChecksum => 1,
            Self::RxGso => 2,
            Self::RxSpeed => 3,
            Self::TxBasic => 16,
            Self::TxChecksum => 17,
            Self::TxGso => 18,
            Self::TxSpeed => 19,
        }
    }

    /// Finds the type that a code in a reply stands for.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Returns the names of the counters, in their order.
    pub const fn counters(self) -> &'static [&'static str] {
        match self {
            Self::Control => &["command_num", "ok_num"],
            Self::RxBasic => &[
                "notifications",
                "packets",
                "bytes",
                "interrupts",
                "drops",
                "drop_overruns",
            ],
            Self::RxChecksum => &["csum_valid", "needs_csum", "csum_none", "csum_bad"],
            Self::RxGso => &[
                "gso_packets",
                "gso_bytes",
                "gso_packets_coalesced",
                "gso_bytes_coalesced",
            ],
            Self::TxBasic => &[
                "notifications",
                "packets",
                "bytes",
                "interrupts",
                "drops",
                "drop_malformed",
            ],
            Self::TxChecksum => &["csum_none", "needs_csum"],
            Self::TxGso => &[
                "gso_packets",
                "gso_bytes",
                "gso_segments",
                "gso_segments_bytes",
                "gso_packets_noseg",
                "gso_bytes_noseg",
            ],
            Self::RxSpeed | Self::TxSpeed => &["ratelimit_packets", "ratelimit_bytes"],
        }
    }

    /// Returns the length of an entry in a reply.
    pub const fn length(self) -> usize {
        let counters = self.counters().len().saturating_mul(Le64::SIZE);
        StatsHeader::SIZE.saturating_add(counters)
    }

    /// Returns whether a queue has such counters.
    pub const fn is_of(self, queue: Queue) -> bool {
        match self {
            Self::Control => matches!(queue, Queue::Control),
            Self::RxBasic | Self::RxChecksum | Self::RxGso | Self::RxSpeed => {
                matches!(queue, Queue::Receive(_))
            }
            Self::TxBasic | Self::TxChecksum | Self::TxGso | Self::TxSpeed => {
                matches!(queue, Queue::Transmit(_))
            }
        }
    }

    /// Returns whether there are such counters with certain features.
    pub fn exists_with(self, accepted: Accepted) -> bool {
        let any = |features: &[Feature]| features.iter().any(|feature| accepted.has(*feature));
        match self {
            Self::RxChecksum => any(&[Feature::GUEST_CSUM]),
            Self::TxChecksum => any(&[Feature::CSUM]),
            Self::RxGso => any(&[Feature::GUEST_TSO4, Feature::GUEST_TSO6]),
            Self::TxGso => any(&[Feature::HOST_TSO4, Feature::HOST_TSO6, Feature::HOST_USO]),
            _ => true,
        }
    }
}

/// A set of types of counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatsTypes(u64);

impl StatsTypes {
    /// Takes a number, which may have undefined bits.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the number.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Returns the set with a type added.
    #[must_use]
    pub fn with(self, kind: StatsKind) -> Self {
        Self(self.0 | 1u64.wrapping_shl(kind.code().into()))
    }

    /// Returns whether a type is in the set.
    pub fn contains(self, kind: StatsKind) -> bool {
        self.0 & Self::default().with(kind).0 != 0
    }

    /// Returns what is in both sets.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the types of counters that a queue has with certain features.
    pub fn of(queue: Queue, accepted: Accepted) -> Self {
        StatsKind::ALL
            .into_iter()
            .filter(|kind| kind.is_of(queue) && kind.exists_with(accepted))
            .fold(Self::default(), Self::with)
    }

    /// Goes through the types that are defined.
    pub fn iter(self) -> impl Iterator<Item = StatsKind> {
        StatsKind::ALL
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }
}

/// What is asked: one or more [`StatsQueryLayout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsRequest<'a>(&'a [u8]);

impl<'a> StatsRequest<'a> {
    /// Takes the bytes.
    ///
    /// # Errors
    ///
    /// They are not those of whole structures.
    pub fn new(bytes: &'a [u8]) -> Result<Self, StatsError> {
        if bytes.is_empty() || bytes.len().checked_rem(StatsQueryLayout::SIZE) != Some(0) {
            return Err(StatsError::RequestLength(bytes.len()));
        }
        Ok(Self(bytes))
    }

    /// Returns the bytes.
    pub const fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Goes through the queues, and what is asked of each.
    pub fn iter(self) -> impl Iterator<Item = (u16, StatsTypes)> + 'a {
        self.0
            .chunks_exact(StatsQueryLayout::SIZE)
            .filter_map(|bytes| StatsQueryLayout::parse(bytes).ok())
            .map(|query| {
                (
                    query.vq_index.get(),
                    StatsTypes::from_bits(query.types_bitmap.get()),
                )
            })
    }

    /// Checks that each queue exists, and has the counters that are asked for.
    ///
    /// # Errors
    ///
    /// The device has to refuse the command.
    pub fn check(self, pairs: QueuePairs, accepted: Accepted) -> Result<(), StatsError> {
        for (index, types) in self.iter() {
            let queue = pairs
                .queue(index.into())
                .ok_or(StatsError::NoQueue(index))?;
            let known = StatsTypes::of(queue, accepted);
            if types.bits() & !known.bits() != 0 {
                return Err(StatsError::Types(types));
            }
        }
        Ok(())
    }

    /// Returns the length of the whole reply.
    pub fn reply_length(self) -> usize {
        self.iter()
            .flat_map(|(_, types)| types.iter())
            .fold(0, |sum: usize, kind| sum.saturating_add(kind.length()))
    }

    fn asks(self, index: u16, kind: StatsKind) -> bool {
        self.iter()
            .any(|(queue, types)| queue == index && types.contains(kind))
    }
}

/// What is wrong with counters, or with asking for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsError {
    /// A request is empty, or not of whole structures.
    RequestLength(usize),
    /// There is no such queue.
    NoQueue(u16),
    /// The queue has not all of these counters.
    Types(StatsTypes),
    /// There are too few bytes for an entry.
    Truncated(Truncated),
    /// An entry is of a type that is not defined.
    Kind(u8),
    /// An entry is of a queue and a type that were not asked for.
    NotAsked {
        /// The queue.
        index: u16,
        /// The type.
        kind: StatsKind,
    },
    /// An entry says that it is shorter than its type.
    Size {
        /// The type.
        kind: StatsKind,
        /// The length that it says.
        size: u16,
    },
}

impl fmt::Display for StatsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestLength(length) => write!(f, "a request for counters of {length} bytes"),
            Self::NoQueue(index) => write!(f, "counters of queue {index}, which does not exist"),
            Self::Types(types) => write!(f, "the queue has not all counters {:#x}", types.bits()),
            Self::Truncated(truncated) => write!(f, "no whole counters: {truncated}"),
            Self::Kind(kind) => write!(f, "there are no counters of type {kind}"),
            Self::NotAsked { index, kind } => {
                write!(
                    f,
                    "counters of queue {index}, type {kind:?}, were not asked for"
                )
            }
            Self::Size { kind, size } => {
                write!(f, "counters of type {kind:?} do not have {size} bytes")
            }
        }
    }
}

impl core::error::Error for StatsError {}

/// The counters of a queue, of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsEntry<'a> {
    /// The type.
    pub kind: StatsKind,
    /// The queue, which was asked for.
    pub index: u16,
    counters: &'a [u8],
}

impl<'a> StatsEntry<'a> {
    /// Goes through the counters, each with its name.
    pub fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        let values = self.counters.chunks_exact(Le64::SIZE).map(|bytes| {
            let bytes = bytes.first_chunk().copied().unwrap_or_default();
            u64::from_le_bytes(bytes)
        });
        self.kind.counters().iter().copied().zip(values)
    }
}

/// What a device replied: goes through the entries, and ends at the first error.
#[derive(Clone, Debug)]
pub struct StatsReply<'a> {
    request: StatsRequest<'a>,
    rest: &'a [u8],
}

impl<'a> StatsReply<'a> {
    /// Takes what a device wrote, without the acknowledgement, in reply to a request.
    pub fn new(request: StatsRequest<'a>, bytes: &'a [u8]) -> Self {
        Self {
            request,
            rest: bytes,
        }
    }

    fn entry(&self, bytes: &'a [u8]) -> Result<(StatsEntry<'a>, &'a [u8]), StatsError> {
        let (header, after) = StatsHeader::split(bytes).map_err(StatsError::Truncated)?;
        let kind = StatsKind::from_code(header.kind).ok_or(StatsError::Kind(header.kind))?;
        let index = header.vq_index.get();
        if !self.request.asks(index, kind) {
            return Err(StatsError::NotAsked { index, kind });
        }
        // A later version may have more counters.
        let size = header.size.get();
        if usize::from(size) < kind.length() {
            return Err(StatsError::Size { kind, size });
        }
        let truncated = StatsError::Truncated(Truncated {
            needed: size.into(),
            available: bytes.len(),
        });
        let (_, rest) = bytes.split_at_checked(size.into()).ok_or(truncated)?;
        let length = kind.length().saturating_sub(StatsHeader::SIZE);
        let counters = after.get(..length).ok_or(truncated)?;
        let entry = StatsEntry {
            kind,
            index,
            counters,
        };
        Ok((entry, rest))
    }
}

impl<'a> Iterator for StatsReply<'a> {
    type Item = Result<StatsEntry<'a>, StatsError>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = core::mem::take(&mut self.rest);
        if bytes.is_empty() {
            return None;
        }
        Some(self.entry(bytes).map(|(entry, rest)| {
            self.rest = rest;
            entry
        }))
    }
}

/// Writes the entry of a queue for a reply, and returns its length: for a device.
///
/// # Errors
///
/// There is no room. What is there may have been written to.
pub fn write_entry(
    buffer: &mut [u8],
    index: u16,
    kind: StatsKind,
    counters: impl IntoIterator<Item = u64>,
) -> Result<usize, StatsError> {
    let mut writer = Writer::new(buffer);
    writer.put(StatsHeader {
        kind: kind.code(),
        vq_index: index.into(),
        size: u16::try_from(kind.length()).unwrap_or(u16::MAX).into(),
        ..StatsHeader::default()
    });
    let missing = core::iter::repeat(0);
    let number = kind.counters().len();
    for counter in counters.into_iter().chain(missing).take(number) {
        writer.put(Le64::new(counter));
    }
    writer.finish().map_err(StatsError::Truncated)
}

#[cfg(test)]
mod tests;
