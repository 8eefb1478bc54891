// SPDX-License-Identifier: GPL-2.0

//! The rings of a queue, as a device drives them.
//!
//! The layouts and the checks are those of `virtio_wire`; here they meet memory. A ring returns
//! [`Buffer`]s, and takes them back with the number of bytes that were written. Beside what a device
//! does, it can do what a device must not: see [`Ring::forge`] and [`Ring::jump`].
//!
//! A driver may say anything. The walk of `virtio_wire` always ends, memory is looked up, and no
//! more buffers can be out than the queue has descriptors.

pub mod inflight;
mod look;
mod packed;
mod seal;
mod split;

#[cfg(test)]
pub(crate) mod tests;

pub use look::Look;
pub use seal::{Changes, Seal};

use crate::memory::{Area, Memory, MemoryError};
use random::Random;
use std::num::NonZeroU16;
use thiserror::Error;
use virtio_wire::ring::{Access, Element, Indirect, RingError, Table};

/// Why a ring cannot be used any more.
#[derive(Debug, Error)]
pub enum Error {
    /// The driver says what it must not say.
    #[error("{0}")]
    Ring(RingError),
    /// The ring, or a table of descriptors, is not in memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// What an earlier backend has left of the queue cannot be.
    #[error("the record of what is in flight is damaged: {0}")]
    Inflight(&'static str),
    /// What is asked for cannot be done with a record of what is in flight.
    #[error("with a record of what is in flight, buffers are returned one by one")]
    Recorded,
}

impl From<RingError> for Error {
    fn from(error: RingError) -> Self {
        Self::Ring(error)
    }
}

/// What a ring call returns.
pub type Result<T> = std::result::Result<T, Error>;

/// A buffer that the driver has made available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What the driver calls it: in a split ring the first descriptor.
    pub id: u16,
    /// How many descriptors of a packed ring it takes.
    pub count: u16,
    /// Its elements: those to read, then those to write.
    pub elements: Vec<Element>,
    /// Its own table of descriptors, if it has one.
    pub table: Option<Table>,
    /// Where it is in the record of what is in flight.
    slot: u16,
}

impl Buffer {
    /// Makes a buffer that no driver has made.
    #[cfg(test)]
    pub fn of(elements: Vec<Element>) -> Self {
        Self {
            id: 0,
            count: 1,
            elements,
            table: None,
            slot: 0,
        }
    }

    /// Returns the elements with some access.
    fn with(&self, access: Access) -> impl Iterator<Item = &Element> {
        self.elements
            .iter()
            .filter(move |element| element.access == access)
    }

    /// Returns the elements that the device can read.
    pub fn readable(&self) -> impl Iterator<Item = &Element> {
        self.with(Access::Read)
    }

    /// Returns the elements that the device can write.
    pub fn writable(&self) -> impl Iterator<Item = &Element> {
        self.with(Access::Write)
    }

    /// Returns how many bytes the device can read.
    pub fn readable_length(&self) -> u64 {
        length(self.readable())
    }

    /// Returns how many bytes the device can write.
    pub fn writable_length(&self) -> u64 {
        length(self.writable())
    }
}

/// What the driver is told of a buffer that is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its number.
    pub id: u32,
    /// How many bytes were written to it.
    pub written: u32,
    /// How many descriptors of a packed ring it takes.
    pub count: u16,
}

/// Adds up what elements have, which may be more than a driver can be told.
fn length<'a>(elements: impl Iterator<Item = &'a Element>) -> u64 {
    elements.map(|element| u64::from(element.length)).sum()
}

/// The form of the rings, and what else was negotiated about them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// `VIRTIO_F_RING_PACKED`.
    pub packed: bool,
    /// `VIRTIO_F_EVENT_IDX`.
    pub event_index: bool,
    /// `VIRTIO_F_INDIRECT_DESC`.
    pub indirect: bool,
}

/// What a front-end tells of a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The number of descriptors.
    pub size: u16,
    /// The address of the descriptors, for QEMU.
    pub descriptors: u64,
    /// The address of the available ring, or of the driver's structure for events.
    pub available: u64,
    /// The address of the used ring, or of the device's structure for events.
    pub used: u64,
    /// Where to go on, see [`Ring::base`].
    pub base: u32,
    /// Where what is at `used` is in the log of writes, if these are to be logged.
    pub used_log: Option<u64>,
}

impl Setup {
    /// Returns which tables of descriptors there can be.
    fn indirect(&self, form: Form) -> Indirect {
        // The driver of Linux makes tables that are longer than short queues.
        let most = NonZeroU16::new(self.size.max(1024));
        most.filter(|_| form.indirect)
            .map_or(Indirect::No, Indirect::UpTo)
    }
}

/// The rings of a queue.
#[derive(Debug)]
pub enum Ring {
    /// Split rings.
    Split(split::Ring),
    /// A packed ring.
    Packed(packed::Ring),
}

macro_rules! delegate {
    ($self:ident, $ring:ident => $call:expr) => {
        match $self {
            Self::Split($ring) => $call,
            Self::Packed($ring) => $call,
        }
    };
}

impl Ring {
    /// Finds the rings in memory. With a record of what is in flight, it goes on where that ended,
    /// and returns those buffers first.
    pub fn new(memory: &Memory, setup: &Setup, form: Form, record: Option<&Area>) -> Result<Self> {
        Ok(if form.packed {
            Self::Packed(packed::Ring::new(memory, setup, form, record)?)
        } else {
            Self::Split(split::Ring::new(memory, setup, form, record)?)
        })
    }

    /// Takes the next buffer, if there is one.
    pub fn pop(&mut self, memory: &Memory) -> Result<Option<Buffer>> {
        delegate!(self, ring => ring.pop(memory))
    }

    /// Returns a buffer, to which so many bytes were written.
    pub fn push(&mut self, buffer: &Buffer, written: u32) -> Result<()> {
        delegate!(self, ring => ring.push(buffer, written))
    }

    /// Returns buffers that belong together: the driver sees all of them, or none. `distort` changes
    /// what it is told of them.
    pub fn push_together(
        &mut self,
        buffers: &[(&Buffer, u32)],
        distort: impl FnOnce(&mut Vec<Told>),
    ) -> Result<()> {
        let told = buffers.iter().map(|(buffer, written)| Told {
            id: buffer.id.into(),
            written: *written,
            count: buffer.count,
        });
        let mut told = told.collect();
        distort(&mut told);
        delegate!(self, ring => ring.push_together(buffers, &told))
    }

    /// Returns the last one of so many buffers, which have so many descriptors: those before have come
    /// before it, and are returned with it.
    pub fn push_batch(
        &mut self,
        last: u16,
        written: u32,
        (buffers, descriptors): (u16, u16),
    ) -> Result<()> {
        delegate!(self, ring => ring.push_batch(last, written, (buffers, descriptors)))
    }

    /// Puts back the buffer that was taken last.
    pub fn unpop(&mut self, buffer: &Buffer) -> Result<()> {
        delegate!(self, ring => ring.unpop(buffer))
    }

    /// Tells the driver that a buffer is used, which may not be out, or not be at all.
    pub fn forge(&mut self, id: u32, written: u32, count: u16) -> Result<()> {
        delegate!(self, ring => ring.forge(id, written, count))
    }

    /// Tells the driver that so many more buffers are used, without saying which.
    pub fn jump(&mut self, by: u16) -> Result<()> {
        delegate!(self, ring => ring.jump(by))
    }

    /// Makes bytes of the descriptors others, as a number determines.
    pub fn scribble(&mut self, bytes: u16, seed: u64) -> Result<()> {
        let descriptors = delegate!(self, ring => ring.descriptors());
        let mut random = Random::new(seed);
        for at in random.places(descriptors.length(), bytes.into()) {
            let [byte] = descriptors.read(at)?;
            descriptors.write(at, &[byte ^ (random.byte() | 1)])?;
        }
        Ok(())
    }

    /// Returns whether the driver wants to be notified of what was returned since the last time.
    pub fn wants_call(&mut self) -> Result<bool> {
        delegate!(self, ring => ring.wants_call())
    }

    /// Asks to be notified, and returns whether there is a buffer already.
    pub fn ask_for_kicks(&mut self) -> Result<bool> {
        delegate!(self, ring => ring.ask_for_kicks())
    }

    /// Tells the driver that it need not notify.
    pub fn refuse_kicks(&mut self) -> Result<()> {
        delegate!(self, ring => ring.refuse_kicks())
    }

    /// Returns the numbers of the buffers that are available, and were not taken.
    pub fn waiting(&self, memory: &Memory) -> Result<Vec<u16>> {
        delegate!(self, ring => ring.waiting(memory))
    }

    /// Looks at it.
    pub fn look(&self) -> Result<Look> {
        delegate!(self, ring => ring.look())
    }

    /// Takes note of what the driver has written to it.
    pub fn seal(&self) -> Result<Seal> {
        delegate!(self, ring => ring.seal())
    }

    /// Returns where another backend can go on: for a split ring the index, for a packed one both
    /// positions.
    pub fn base(&self) -> u32 {
        delegate!(self, ring => ring.base())
    }

    /// Returns how many buffers are out: taken, and not returned.
    pub fn out(&self) -> u16 {
        delegate!(self, ring => ring.out())
    }

    /// Returns how many buffers of another backend are going to be taken.
    pub fn to_resume(&self) -> usize {
        delegate!(self, ring => ring.to_resume())
    }

    /// Sets where the part that only the device writes is in the log of writes, or that it is not.
    pub fn log_used(&mut self, address: Option<u64>) {
        delegate!(self, ring => ring.log_used(address));
    }

    /// Finds the rings in memory that has changed.
    pub fn remap(&mut self, memory: &Memory, setup: &Setup, form: Form) -> Result<()> {
        let setup = Setup {
            base: self.base(),
            ..*setup
        };
        let new = Self::new(memory, &setup, form, None)?;
        match (self, new) {
            (Self::Split(old), Self::Split(new)) => old.replace_areas(new),
            (Self::Packed(old), Self::Packed(new)) => old.replace_areas(new),
            // What was negotiated does not change while a queue runs.
            _ => {}
        }
        Ok(())
    }
}
