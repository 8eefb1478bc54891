// SPDX-License-Identifier: GPL-2.0

//! A device's way through the descriptors of a buffer.

use super::{
    Descriptor,
    QueueSize, //
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
pub enum Position {
    /// In the table of the queue, with this index, which exists.
    Ring(u16),
    /// In another table, with this index, which exists.
    Table(Table, u16),
}

/// A way through the descriptors of a buffer.
///
/// A device reads the descriptor at [`position`](Self::position), and hands it to
/// [`step`](Self::step), until there is no position. There are no more steps than the queue and
/// the longest table have descriptors.
///
/// Virtio 1.3, 2.7.5.
#[derive(Clone, Debug)]
pub struct Walk {
    size: QueueSize,
    indirect: Indirect,
    position: Option<Position>,
    /// How many more descriptors there can be in the current table.
    left: u16,
    elements: Elements,
}

impl Walk {
    /// Begins with a descriptor.
    ///
    /// # Errors
    ///
    /// There is no such descriptor.
    pub fn new(size: QueueSize, head: u16, indirect: Indirect) -> Result<Self, RingError> {
        Ok(Self {
            size,
            indirect,
            position: Some(Position::Ring(size.check_descriptor(head)?)),
            left: size.get(),
            elements: Elements::default(),
        })
    }

    /// Returns where the next descriptor is, if there is one.
    pub const fn position(&self) -> Option<Position> {
        self.position
    }

    /// Takes the descriptor that was read, and returns the element that it describes: none if it
    /// refers to a table.
    ///
    /// # Errors
    ///
    /// The buffer is not valid. There is no next descriptor then.
    pub fn step(&mut self, descriptor: &Descriptor) -> Result<Option<Element>, RingError> {
        let Some(position) = self.position.take() else {
            return Err(RingError::TooLong);
        };
        self.left = self.left.checked_sub(1).ok_or(RingError::TooLong)?;

        let flags = descriptor.flags.get();
        if flags & INDIRECT != 0 {
            if matches!(position, Position::Table(..)) {
                return Err(RingError::IndirectNested);
            }
            if flags & NEXT != 0 {
                return Err(RingError::IndirectChained);
            }
            let table = Table::new(descriptor.addr.get(), descriptor.len.get(), self.indirect)?;
            self.left = table.entries.get();
            self.position = Some(Position::Table(table, 0));
            return Ok(None);
        }
        let element = self
            .elements
            .add(descriptor.addr.get(), descriptor.len.get(), flags)?;
        if flags & NEXT != 0 {
            let next = descriptor.next.get();
            self.position = Some(match position {
                Position::Ring(_) => Position::Ring(self.size.check_descriptor(next)?),
                Position::Table(table, _) if next < table.entries.get() => {
                    Position::Table(table, next)
                }
                Position::Table(..) => return Err(RingError::Descriptor(next)),
            });
            if self.left == 0 {
                self.position = None;
                return Err(RingError::TooLong);
            }
        }
        Ok(Some(element))
    }
}
