// SPDX-License-Identifier: GPL-2.0

//! Packed rings: descriptors that are first made available, and then used, in one ring.
//!
//! Each end has a counter of one bit that changes when it goes around. A [`Position`] is an index
//! together with it.
//!
//! Virtio 1.3, 2.8.

use super::{
    check_written,
    RingError,
    MAX_SIZE,
    WRITE, //
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
    Place,
    Walk, //
};

wire_struct! {
    /// A descriptor.
    #[doc(alias = "vring_packed_desc", alias = "pvirtq_desc")]
    pub struct Descriptor[16] {
        /// The address of the element, for the device.
        pub addr: Le64,
        /// The number of bytes.
        pub len: Le32,
        /// The buffer.
        pub id: Le16,
        /// [`NEXT`](super::NEXT), [`WRITE`](super::WRITE) and [`INDIRECT`](super::INDIRECT), and
        /// the state.
        pub flags: Le16,
    }
}

wire_struct! {
    /// When an end wants to be notified.
    #[doc(alias = "vring_packed_desc_event", alias = "pvirtq_event_suppress")]
    pub struct EventLayout[4] {
        /// At which descriptor, and at which value of the counter.
        pub desc: Le16,
        /// Whether always, never, or at that descriptor.
        pub flags: Le16,
    }
}

/// The flag that is like the driver's counter in available descriptors.
#[doc(alias = "VIRTQ_DESC_F_AVAIL")]
pub const AVAILABLE: u16 = 1 << 7;
/// The flag that is like the device's counter in used descriptors.
#[doc(alias = "VIRTQ_DESC_F_USED")]
pub const USED: u16 = 1 << 15;

/// How the ring has to be aligned.
pub const RING_ALIGN: usize = 16;
/// How both structures for notification have to be aligned.
pub const EVENT_ALIGN: usize = 4;

/// The counter, in an [`EventLayout`].
const EVENT_WRAP: u16 = 1 << 15;

/// The number of descriptors: any, at most 32768.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueSize(u16);

impl QueueSize {
    /// Takes a number.
    ///
    /// # Errors
    ///
    /// There is no queue of this size.
    pub const fn new(size: u16) -> Result<Self, RingError> {
        if size == 0 || size > MAX_SIZE {
            return Err(RingError::Size(size));
        }
        Ok(Self(size))
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns the length of the ring.
    pub fn length(self) -> usize {
        usize::from(self.0).saturating_mul(Descriptor::SIZE)
    }
}

/// An index of a ring, with the counter that changes when it goes around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    index: u16,
    wrap: bool,
}

impl Position {
    /// Where both ends begin.
    pub const START: Self = Self {
        index: 0,
        wrap: true,
    };

    /// Takes an index and the counter.
    ///
    /// # Errors
    ///
    /// There is no such descriptor.
    pub const fn new(index: u16, wrap: bool, size: QueueSize) -> Result<Self, RingError> {
        if index >= size.0 {
            return Err(RingError::Descriptor(index));
        }
        Ok(Self { index, wrap })
    }

    /// Returns the index.
    pub const fn index(self) -> u16 {
        self.index
    }

    /// Returns the counter.
    pub const fn wrap(self) -> bool {
        self.wrap
    }

    /// Returns where the descriptor is in the ring.
    pub fn offset(self) -> usize {
        usize::from(self.index).saturating_mul(Descriptor::SIZE)
    }

    /// Returns the position after some more descriptors, of which there can be no more than the
    /// ring has.
    ///
    /// # Errors
    ///
    /// There are more.
    #[inline]
    pub fn plus(self, descriptors: u16, size: QueueSize) -> Result<Self, RingError> {
        if descriptors > size.0 {
            return Err(RingError::Advance {
                by: descriptors,
                most: size.0,
            });
        }
        // Both are at most 2^15, and the index is less.
        let sum = self.index.wrapping_add(descriptors);
        if sum < size.0 {
            return Ok(Self { index: sum, ..self });
        }
        Ok(Self {
            index: sum.wrapping_sub(size.0),
            wrap: !self.wrap,
        })
    }

    /// Returns the flags of a descriptor here that is available.
    pub const fn available_flags(self) -> u16 {
        if self.wrap {
            AVAILABLE
        } else {
            USED
        }
    }

    /// Returns the flags of a descriptor here that is used.
    pub const fn used_flags(self) -> u16 {
        if self.wrap {
            AVAILABLE | USED
        } else {
            0
        }
    }

    /// Returns the state of a descriptor here.
    pub const fn state(self, flags: u16) -> State {
        let flags = flags & (AVAILABLE | USED);
        if flags == self.available_flags() {
            State::Available
        } else if flags == self.used_flags() {
            State::Used
        } else {
            State::Before
        }
    }

    /// Returns how many descriptors are from `earlier` to here; a great number if this comes before.
    #[inline(always)]
    fn since(self, earlier: Self, size: QueueSize) -> u32 {
        let lap = if self.wrap == earlier.wrap {
            0
        } else {
            u32::from(size.0)
        };
        let index = u32::from(self.index).saturating_add(lap);
        index.checked_sub(earlier.index.into()).unwrap_or(u32::MAX)
    }
}

/// The state of a descriptor, as an end sees it that has come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The driver has made it available.
    Available,
    /// The device has used it.
    Used,
    /// It is as it was in the round before.
    Before,
}

/// How an end can tell when it wants to be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventIndex {
    /// Only always or never.
    Absent,
    /// At a descriptor, too: `VIRTIO_F_EVENT_IDX` was negotiated.
    Negotiated,
}

/// When an end wants to be notified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Always.
    Always,
    /// Never.
    Never,
    /// When a descriptor is made available, or used.
    At(Position),
}

impl Event {
    /// Takes what the other end says. Reserved bits are ignored.
    ///
    /// # Errors
    ///
    /// It says something that was not negotiated, or cannot be. To notify is always right then.
    pub fn new(
        layout: EventLayout,
        size: QueueSize,
        event_index: EventIndex,
    ) -> Result<Self, RingError> {
        let flags = layout.flags.get() & 3;
        match (flags, event_index) {
            (0, _) => Ok(Self::Always),
            (1, _) => Ok(Self::Never),
            (2, EventIndex::Negotiated) => Ok(Self::At(layout.position(size)?)),
            _ => Err(RingError::EventFlags(flags)),
        }
    }

    /// Returns the structure that says this.
    pub fn layout(self) -> EventLayout {
        let (desc, flags) = match self {
            Self::Always => (0, 0),
            Self::Never => (0, 1),
            Self::At(position) if position.wrap => (position.index | EVENT_WRAP, 2),
            Self::At(position) => (position.index, 2),
        };
        EventLayout {
            desc: Le16::new(desc),
            flags: Le16::new(flags),
        }
    }

    /// Returns whether to notify after so many descriptors from `first` were made available, or
    /// used.
    #[inline]
    pub fn notifies(self, first: Position, descriptors: u16, size: QueueSize) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::At(position) => position.since(first, size) < u32::from(descriptors),
        }
    }
}

impl EventLayout {
    /// Returns whether to notify the end that says this, as [`Event::notifies`] does.
    ///
    /// # Errors
    ///
    /// As [`Event::new`].
    #[inline(always)]
    pub fn notifies(
        self,
        first: Position,
        descriptors: u16,
        size: QueueSize,
        event_index: EventIndex,
    ) -> Result<bool, RingError> {
        // As if an event were made of it; but that is what a driver asks each time.
        let flags = self.flags.get() & 3;
        match (flags, event_index) {
            (0, _) => Ok(true),
            (1, _) => Ok(false),
            (2, EventIndex::Negotiated) => {
                let position = self.position(size)?;
                Ok(position.since(first, size) < u32::from(descriptors))
            }
            _ => Err(RingError::EventFlags(flags)),
        }
    }

    /// Returns the descriptor at which to notify.
    #[inline(always)]
    fn position(self, size: QueueSize) -> Result<Position, RingError> {
        let desc = self.desc.get();
        let offset = desc & !EVENT_WRAP;
        if offset >= size.0 {
            return Err(RingError::EventOffset(offset));
        }
        Ok(Position {
            index: offset,
            wrap: desc & EVENT_WRAP != 0,
        })
    }
}

impl Descriptor {
    /// Returns the buffer that a used descriptor is of, if buffers have numbers below the size of
    /// the ring.
    ///
    /// # Errors
    ///
    /// There is no such buffer. Whether it is outstanding, only the driver knows.
    pub fn used_id(&self, size: QueueSize) -> Result<u16, RingError> {
        let id = self.id.get();
        if id < size.0 {
            Ok(id)
        } else {
            Err(RingError::UsedId(id.into()))
        }
    }

    /// Returns how many bytes the device has written to the buffer that a used descriptor is of.
    ///
    /// # Errors
    ///
    /// They are more than it can write.
    pub fn written(&self, writable: u32) -> Result<u32, RingError> {
        if self.flags.get() & WRITE == 0 {
            return Ok(0);
        }
        check_written(self.len.get(), writable)
    }
}

#[cfg(test)]
mod tests;
