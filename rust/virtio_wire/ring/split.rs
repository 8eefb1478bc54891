// SPDX-License-Identifier: GPL-2.0

//! Split rings: a table of descriptors, a ring of available buffers, a ring of used ones.
//!
//! Virtio 1.3, 2.7.

use super::{
    check_written,
    RingError,
    MAX_SIZE, //
};
use crate::{
    int::{
        Le16,
        Le32,
        Le64, //
    },
    wire::wire_struct, //
};

mod walk;

pub use walk::{
    Position,
    Walk, //
};

wire_struct! {
    /// A descriptor.
    #[doc(alias = "vring_desc", alias = "virtq_desc")]
    pub struct Descriptor[16] {
        /// The address of the element, for the device.
        pub addr: Le64,
        /// The number of bytes.
        pub len: Le32,
        /// [`NEXT`](super::NEXT), [`WRITE`](super::WRITE) and [`INDIRECT`](super::INDIRECT).
        pub flags: Le16,
        /// The next descriptor of the buffer.
        pub next: Le16,
    }
}

wire_struct! {
    /// A used buffer.
    #[doc(alias = "vring_used_elem", alias = "virtq_used_elem")]
    pub struct UsedElement[8] {
        /// The first descriptor.
        pub id: Le32,
        /// How many bytes the device has written.
        pub len: Le32,
    }
}

/// The flag in the available ring that the device need not notify.
#[doc(alias = "VIRTQ_AVAIL_F_NO_INTERRUPT")]
pub const NO_INTERRUPT: u16 = 1;
/// The flag in the used ring that the driver need not notify.
#[doc(alias = "VIRTQ_USED_F_NO_NOTIFY")]
pub const NO_NOTIFY: u16 = 1;

/// How the table of descriptors has to be aligned.
pub const DESCRIPTORS_ALIGN: usize = 16;
/// How the available ring has to be aligned.
pub const AVAILABLE_ALIGN: usize = 2;
/// How the used ring has to be aligned.
pub const USED_ALIGN: usize = 4;

/// Where the flags are in both rings.
pub const FLAGS_OFFSET: usize = 0;
/// Where the index is in both rings.
pub const INDEX_OFFSET: usize = 2;
/// Where the entries begin in both rings.
pub const ENTRIES_OFFSET: usize = 4;

/// The number of descriptors: a power of two, at most 32768.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSize(u16);

impl QueueSize {
    /// Takes a number.
    ///
    /// # Errors
    ///
    /// There is no queue of this size.
    pub const fn new(size: u16) -> Result<Self, RingError> {
        if size.is_power_of_two() && size <= MAX_SIZE {
            Ok(Self(size))
        } else {
            Err(RingError::Size(size))
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }

    fn times(self, entry: usize) -> usize {
        usize::from(self.0).saturating_mul(entry)
    }

    /// Returns the length of the table of descriptors.
    pub fn descriptors_length(self) -> usize {
        self.times(Descriptor::SIZE)
    }

    /// Returns the length of the available ring, with `used_event`.
    pub fn available_length(self) -> usize {
        self.used_event_offset().saturating_add(Le16::SIZE)
    }

    /// Returns the length of the used ring, with `avail_event`.
    pub fn used_length(self) -> usize {
        self.available_event_offset().saturating_add(Le16::SIZE)
    }

    /// Returns where `used_event` is in the available ring: the driver tells there when it wants
    /// to be notified.
    #[doc(alias = "vring_used_event")]
    pub fn used_event_offset(self) -> usize {
        self.times(Le16::SIZE).saturating_add(ENTRIES_OFFSET)
    }

    /// Returns where `avail_event` is in the used ring: the device tells there when it wants to be
    /// notified.
    #[doc(alias = "vring_avail_event")]
    pub fn available_event_offset(self) -> usize {
        self.times(UsedElement::SIZE).saturating_add(ENTRIES_OFFSET)
    }

    /// Returns where a descriptor is in its table.
    ///
    /// # Errors
    ///
    /// There is no such descriptor.
    pub fn descriptor_offset(self, index: u16) -> Result<usize, RingError> {
        let index = self.check_descriptor(index)?;
        Ok(usize::from(index).saturating_mul(Descriptor::SIZE))
    }

    /// Returns where the entry for an index is in the available ring.
    pub fn available_offset(self, index: Index) -> usize {
        usize::from(index.slot(self))
            .saturating_mul(Le16::SIZE)
            .saturating_add(ENTRIES_OFFSET)
    }

    /// Returns where the entry for an index is in the used ring.
    pub fn used_offset(self, index: Index) -> usize {
        usize::from(index.slot(self))
            .saturating_mul(UsedElement::SIZE)
            .saturating_add(ENTRIES_OFFSET)
    }

    fn check_descriptor(self, index: u16) -> Result<u16, RingError> {
        if index < self.0 {
            Ok(index)
        } else {
            Err(RingError::Descriptor(index))
        }
    }
}

/// An index of a ring, which counts all buffers, and wraps around at 2^16.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Index(u16);

impl Index {
    /// Takes an index as it is in a ring.
    pub const fn new(index: u16) -> Self {
        Self(index)
    }

    /// Returns the index as it is in a ring.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the index after some more buffers.
    #[must_use]
    pub const fn plus(self, buffers: u16) -> Self {
        Self(self.0.wrapping_add(buffers))
    }

    /// Returns how many buffers came after `earlier`.
    pub const fn since(self, earlier: Self) -> u16 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Returns the number of the entry in a ring.
    pub const fn slot(self, size: QueueSize) -> u16 {
        self.0 & size.0.wrapping_sub(1)
    }

    /// Returns how many buffers came since `seen`, of which there can be `most`: for a driver all
    /// that are outstanding, for a device all of the ring.
    ///
    /// # Errors
    ///
    /// The other end says more.
    pub const fn advance(self, seen: Self, most: u16) -> Result<u16, RingError> {
        let by = self.since(seen);
        if by > most {
            return Err(RingError::Advance { by, most });
        }
        Ok(by)
    }
}

/// When the other end wants to be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// What it says by the flags of its ring.
    Flags(u16),
    /// What it says by an index, with `VIRTIO_F_EVENT_IDX`.
    Event(Index),
}

impl Suppression {
    /// Returns whether to notify after the index of the own ring has gone from `old` to `new`.
    ///
    /// Virtio 1.3, 2.7.7.2 and 2.7.10.1.
    pub const fn notifies(self, old: Index, new: Index) -> bool {
        match self {
            // Both flags are the same bit.
            Self::Flags(flags) => flags & NO_NOTIFY == 0,
            Self::Event(event) => need_event(event, new, old),
        }
    }
}

/// Returns whether the entry at `event` is among those from `old` up to, but without, `new`.
#[doc(alias = "vring_need_event")]
pub const fn need_event(event: Index, new: Index, old: Index) -> bool {
    event.since(old) < new.since(old)
}

impl UsedElement {
    /// Returns the first descriptor of the buffer.
    ///
    /// # Errors
    ///
    /// There is no such descriptor. Whether a buffer begins with it, only the driver knows.
    pub fn head(&self, size: QueueSize) -> Result<u16, RingError> {
        let id = self.id.get();
        u16::try_from(id)
            .ok()
            .and_then(|id| size.check_descriptor(id).ok())
            .ok_or(RingError::UsedId(id))
    }

    /// Returns how many bytes the device has written to a buffer.
    ///
    /// # Errors
    ///
    /// They are more than it can write.
    pub fn written(&self, writable: u32) -> Result<u32, RingError> {
        check_written(self.len.get(), writable)
    }
}

#[cfg(test)]
mod tests;
