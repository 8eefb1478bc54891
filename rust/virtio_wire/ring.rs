// SPDX-License-Identifier: GPL-2.0

//! Virtqueues.
//!
//! A *buffer* consists of *elements*, which the device can read, followed by elements that it can
//! write. Descriptors describe elements; in a [`split`] ring they are a table beside the two rings,
//! in a [`packed`] ring they are the ring. Here is what both ends do with numbers: where things
//! are, how indices go around, when to notify, and what the other end must not say.
//!
//! For drivers: the used index does not overtake what is outstanding, a used buffer is one that
//! there is, and the device has not written more than it can. For devices: [`split::Walk`] and
//! [`packed::Walk`] go through a buffer's descriptors, and always end.
//!
//! Virtio 1.3, 2.7 and 2.8. C header:
//! [`include/uapi/linux/virtio_ring.h`](srctree/include/uapi/linux/virtio_ring.h)

use core::{
    fmt,
    num::NonZeroU16, //
};

pub mod element;
pub mod packed;
pub mod split;

pub use element::{
    Access,
    Element, //
};

/// The most descriptors in a queue.
pub const MAX_SIZE: u16 = 0x8000;

/// The flag that a buffer goes on with another descriptor.
#[doc(alias = "VIRTQ_DESC_F_NEXT")]
pub const NEXT: u16 = 1;
/// The flag that the device can write, and not read.
#[doc(alias = "VIRTQ_DESC_F_WRITE")]
pub const WRITE: u16 = 2;
/// The flag that a descriptor refers to a table of descriptors.
#[doc(alias = "VIRTQ_DESC_F_INDIRECT")]
pub const INDIRECT: u16 = 4;

/// Whether a descriptor may refer to a table of descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indirect {
    /// `VIRTIO_F_INDIRECT_DESC` was not negotiated.
    No,
    /// A table may have so many descriptors.
    ///
    /// By the specification that is the size of the queue, but the driver of Linux makes longer
    /// tables in short queues.
    UpTo(NonZeroU16),
}

/// A table of descriptors outside of the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// The address, for the device.
    pub address: u64,
    /// The number of descriptors.
    pub entries: NonZeroU16,
}

impl Table {
    const ENTRY: u32 = 16;

    fn new(address: u64, length: u32, indirect: Indirect) -> Result<Self, RingError> {
        let Indirect::UpTo(most) = indirect else {
            return Err(RingError::IndirectNotNegotiated);
        };
        let error = RingError::IndirectLength(length);
        if length.checked_rem(Self::ENTRY) != Some(0) {
            return Err(error);
        }
        let entries = length.checked_div(Self::ENTRY).unwrap_or(0);
        let entries = u16::try_from(entries).map_err(|_| error)?;
        let entries = NonZeroU16::new(entries).ok_or(error)?;
        if entries > most {
            return Err(error);
        }
        if address.checked_add(length.into()).is_none() {
            return Err(RingError::Address { address, length });
        }
        Ok(Self { address, entries })
    }
}

/// What is wrong with a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// There is no queue of this size.
    Size(u16),
    /// An index goes further than there are buffers.
    Advance {
        /// How far it goes.
        by: u16,
        /// How many buffers there are.
        most: u16,
    },
    /// The device returns a buffer that cannot be.
    UsedId(u32),
    /// The device says that it has written more than it can.
    UsedLength {
        /// How many bytes it says.
        used: u32,
        /// How many bytes it can write.
        writable: u32,
    },
    /// There is no such descriptor.
    Descriptor(u16),
    /// A buffer has more descriptors than there are: it may be a loop.
    TooLong,
    /// A descriptor is part of a buffer, but not available.
    NotAvailable(u16),
    /// A table of descriptors was not negotiated.
    IndirectNotNegotiated,
    /// A table of descriptors is in another one.
    IndirectNested,
    /// A table of descriptors is not the end of a buffer, or not all of it.
    IndirectChained,
    /// The length of a table of descriptors is zero, not that of whole ones, or too large.
    IndirectLength(u32),
    /// An element that the device can read follows one that it can write.
    ReadAfterWrite,
    /// The elements have more than 2^32 bytes.
    TotalLength(u64),
    /// The addresses of an element wrap around.
    Address {
        /// The first address.
        address: u64,
        /// The number of bytes.
        length: u32,
    },
    /// When to notify is told in a way that was not negotiated, or is not defined.
    EventFlags(u16),
    /// When to notify is told by a descriptor that does not exist.
    EventOffset(u16),
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "a queue of size {size}"),
            Self::Advance { by, most } => write!(f, "an index goes on by {by} of {most} buffers"),
            Self::UsedId(id) => write!(f, "there is no buffer {id}"),
            Self::UsedLength { used, writable } => {
                write!(f, "{used} bytes are written, where {writable} can be")
            }
            Self::Descriptor(index) => write!(f, "there is no descriptor {index}"),
            Self::TooLong => f.write_str("a buffer has too many descriptors"),
            Self::NotAvailable(index) => write!(f, "descriptor {index} is not available"),
            Self::IndirectNotNegotiated => f.write_str("a table was not negotiated"),
            Self::IndirectNested => f.write_str("a table in a table"),
            Self::IndirectChained => f.write_str("a table with other descriptors"),
            Self::IndirectLength(length) => write!(f, "a table of {length} bytes"),
            Self::ReadAfterWrite => f.write_str("a readable element after a writable one"),
            Self::TotalLength(length) => write!(f, "a buffer of {length} bytes"),
            Self::Address { address, length } => {
                write!(f, "an element of {length} bytes at {address:#x}")
            }
            Self::EventFlags(flags) => write!(f, "notification is asked for by {flags:#x}"),
            Self::EventOffset(offset) => write!(f, "notification at descriptor {offset}"),
        }
    }
}

impl core::error::Error for RingError {}

/// Checks how many bytes a device says that it has written.
fn check_written(used: u32, writable: u32) -> Result<u32, RingError> {
    if used > writable {
        return Err(RingError::UsedLength { used, writable });
    }
    Ok(used)
}
