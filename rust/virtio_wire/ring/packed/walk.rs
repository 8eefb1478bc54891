// SPDX-License-Identifier: GPL-2.0

//! A device's way through the descriptors of a buffer.

use super::{
    Descriptor,
    Position,
    QueueSize,
    State, //
};
use crate::ring::{
    element::{
        Element,
        Elements, //
    },
    Indirect,
    RingError,
    Table,
    INDIRECT,
    NEXT, //
};

/// Where the next descriptor of a buffer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the ring.
    Ring(Position),
    /// In a table, with this index, which exists.
    Table(Table, u16),
}

/// A way through the descriptors of a buffer.
///
/// A device reads the descriptor at [`place`](Self::place), and hands it to [`step`](Self::step),
/// until there is no place. There are no more steps than the ring and the longest table have
/// descriptors. Then it knows the [`id`](Self::id), and how far to go on in the ring.
///
/// Virtio 1.3, 2.8.5 to 2.8.7.
#[derive(Clone, Debug)]
pub struct Walk {
    size: QueueSize,
    indirect: Indirect,
    place: Option<Place>,
    id: u16,
    /// How many descriptors of the ring were read.
    descriptors: u16,
    elements: Elements,
}

impl Walk {
    /// Begins with a descriptor, which is available.
    pub fn new(size: QueueSize, first: Position, indirect: Indirect) -> Self {
        Self {
            size,
            indirect,
            place: Some(Place::Ring(first)),
            id: 0,
            descriptors: 0,
            elements: Elements::default(),
        }
    }

    /// Returns where the next descriptor is, if there is one.
    pub const fn place(&self) -> Option<Place> {
        self.place
    }

    /// Returns the number of the buffer, which the last descriptor in the ring has.
    pub const fn id(&self) -> u16 {
        self.id
    }

    /// Returns how many descriptors of the ring belong to the buffer.
    pub const fn descriptors(&self) -> u16 {
        self.descriptors
    }

    /// Takes the descriptor that was read, and returns the element that it describes: none if it
    /// refers to a table.
    ///
    /// # Errors
    ///
    /// The buffer is not valid. There is no next descriptor then.
    pub fn step(&mut self, descriptor: &Descriptor) -> Result<Option<Element>, RingError> {
        match self.place.take() {
            None => Err(RingError::TooLong),
            Some(Place::Ring(position)) => self.ring_step(descriptor, position),
            Some(Place::Table(table, index)) => {
                let next = index.saturating_add(1);
                let element = self.element(descriptor)?;
                // All of a table is the buffer, and other flags mean nothing there.
                if next < table.entries.get() {
                    self.place = Some(Place::Table(table, next));
                }
                Ok(Some(element))
            }
        }
    }

    fn element(&mut self, descriptor: &Descriptor) -> Result<Element, RingError> {
        let (address, length) = (descriptor.addr.get(), descriptor.len.get());
        self.elements.add(address, length, descriptor.flags.get())
    }

    fn ring_step(
        &mut self,
        descriptor: &Descriptor,
        position: Position,
    ) -> Result<Option<Element>, RingError> {
        let flags = descriptor.flags.get();
        if position.state(flags) != State::Available {
            return Err(RingError::NotAvailable(position.index()));
        }
        let first = self.descriptors == 0;
        // It is at most the size of the ring.
        self.descriptors = self.descriptors.saturating_add(1);
        self.id = descriptor.id.get();
        let next = flags & NEXT != 0;
        if flags & INDIRECT != 0 {
            if next || !first {
                return Err(RingError::IndirectChained);
            }
            let table = Table::new(descriptor.addr.get(), descriptor.len.get(), self.indirect)?;
            self.place = Some(Place::Table(table, 0));
            return Ok(None);
        }
        let element = self.element(descriptor)?;
        if next {
            if self.descriptors >= self.size.get() {
                return Err(RingError::TooLong);
            }
            self.place = Some(Place::Ring(position.plus(1, self.size)?));
        }
        Ok(Some(element))
    }
}
