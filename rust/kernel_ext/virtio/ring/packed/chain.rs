// SPDX-License-Identifier: GPL-2.0

//! Chains of descriptors in a packed ring, and tables of them outside of it.

use super::{
    super::{
        super::buffer::{
            Parts,
            Span, //
        },
        element::{
            self,
            Access,
            Element,
            Sink, //
        },
    },
    memory::Memory,
};
use core::mem::size_of;
use kernel::{
    alloc::Flags,
    prelude::*, //
};
use virtio_wire::ring::{
    packed::{
        Descriptor,
        Position,
        AVAILABLE,
        USED, //
    },
    INDIRECT,
    NEXT, //
};

/// A chain that is complete, but not available.
pub(super) struct Added {
    /// How many descriptors it has.
    pub(super) count: u16,
    /// The flags of the first one that make it available.
    pub(super) flags: u16,
    /// The position behind it.
    pub(super) next: Position,
}

/// Both flags of the state: between them, a round makes the difference.
const STATE: u16 = AVAILABLE | USED;

/// A chain to which elements are added, from a position on. Whatever the state of its other descriptors
/// is, the device does not come to them before it sees that the first one is available, whose flags are
/// as they were in the round before.
///
/// Numbers are wide, so that the compiler keeps each by itself instead of packing them all together.
pub(super) struct Chain<'a> {
    memory: &'a Memory,
    id: u16,
    /// How many descriptors there may be, and how many there are so far.
    room: usize,
    count: usize,
    /// The next descriptor, and the flag that makes it available.
    next: usize,
    available: u16,
    /// The flags of the first descriptor when it is available, and another one follows; 0 before.
    head: u16,
    /// The flags of the last descriptor so far, if none follows.
    last: u16,
}

impl<'a> Chain<'a> {
    /// Begins a chain, for which there is room for so many descriptors.
    #[inline(always)]
    pub(super) fn new(memory: &'a Memory, id: u16, room: u16, first: Position) -> Self {
        Self {
            memory,
            id,
            room: room.into(),
            count: 0,
            next: first.index().into(),
            available: first.available_flags(),
            head: 0,
            last: 0,
        }
    }

    /// Adds an element that the device sees at `address`, with flags that are not of the state.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there is no room.
    #[inline(always)]
    pub(super) fn add(&mut self, address: u64, length: u32, flags: u16) -> Result {
        if self.count >= self.room {
            return Err(ENOSPC);
        }
        self.last = flags | self.available;
        let followed = self.last | NEXT;
        self.memory.set_element(self.next, address, length, self.id);
        if self.head == 0 {
            self.head = followed;
        } else {
            self.memory.set_flags(self.next, followed);
        }
        self.next = self.next.wrapping_add(1);
        if self.next == usize::from(self.memory.size().get()) {
            self.next = 0;
            self.available ^= STATE;
        }
        self.count = self.count.wrapping_add(1);
        Ok(())
    }

    /// Ends the chain.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it has no element.
    #[inline(always)]
    pub(super) fn end(self) -> Result<Added> {
        let size = self.memory.size();
        let next = Position::new(narrow(self.next), self.available == AVAILABLE, size);
        let next = next.map_err(|_| EINVAL)?;
        let count = self.count();
        if count > 1 {
            let last = match self.next {
                0 => usize::from(size.get()),
                next => next,
            };
            self.memory.set_flags(last.wrapping_sub(1), self.last);
        }
        let flags = match count {
            0 => return Err(EINVAL),
            1 => self.last,
            _ => self.head,
        };
        Ok(Added { count, flags, next })
    }

    /// Returns how many descriptors there are so far.
    #[inline(always)]
    fn count(&self) -> u16 {
        narrow(self.count)
    }

    /// Gives up a chain that began at `first`: when the device comes there, for another chain, it must
    /// not find what is left of this one available.
    #[cold]
    pub(super) fn give_up(self, first: Position) {
        for number in 0..self.count() {
            if let Ok(position) = first.plus(number, self.memory.size()) {
                let flags = before(position.available_flags());
                self.memory.set_flags(position.index().into(), flags);
            }
        }
    }
}

/// Makes the number of a descriptor narrow again.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a ring has no more descriptors"
)]
fn narrow(number: usize) -> u16 {
    number as u16
}

/// Returns the flags of a descriptor that is as it was in the round before: used.
fn before(available: u16) -> u16 {
    if available == AVAILABLE {
        0
    } else {
        STATE
    }
}

impl Sink for Chain<'_> {
    #[inline(always)]
    unsafe fn push(&mut self, element: Element, access: Access) -> Result {
        // SAFETY: By the safety requirements.
        let (address, length) = unsafe { element.address(access) };
        self.add(address, length, access.flag())
    }
}

/// A table with the descriptors of a buffer, which the device sees where it is.
pub(super) struct Table(KVec<Descriptor>);

impl Table {
    /// Makes a table of the elements of a buffer.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The parts must be those of a buffer that was given up.
    pub(super) unsafe fn new(parts: &Parts, count: usize, flags: Flags) -> Result<Self> {
        let mut table = Self(KVec::with_capacity(count, flags)?);
        // SAFETY: By the safety requirements.
        unsafe { element::for_each(parts, &mut table) }?;
        Ok(table)
    }

    /// Adds the table to a chain.
    pub(super) fn refer(&mut self, chain: &mut Chain<'_>) -> Result {
        let span = Span {
            start: self.0.as_mut_ptr().cast(),
            length: u32::try_from(self.0.len() * size_of::<Descriptor>())?,
        };
        // SAFETY: The table lives in this, which is kept until the device has used it.
        let (address, length) = unsafe { Element::Span(span).address(Access::Read) };
        chain.add(address, length, INDIRECT)
    }
}

impl Sink for Table {
    unsafe fn push(&mut self, element: Element, access: Access) -> Result {
        // SAFETY: By the safety requirements.
        let (address, length) = unsafe { element.address(access) };
        let descriptor = Descriptor {
            addr: address.into(),
            len: length.into(),
            id: 0.into(),
            flags: access.flag().into(),
        };
        self.0.push_within_capacity(descriptor).map_err(|_| EINVAL)
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_ring_packed_chain)]
mod tests {
    use super::*;
    use crate::bindings;
    use virtio_wire::ring::{
        packed::{
            QueueSize,
            State, //
        },
        WRITE, //
    };

    const SIZE: u16 = 4;

    /// The memory of a ring, which nobody else uses.
    struct Ring {
        descriptors: KVec<Descriptor>,
        events: KVec<u32>,
    }

    impl Ring {
        fn new() -> Result<Self> {
            Ok(Self {
                descriptors: KVec::from_elem(Descriptor::default(), SIZE.into(), GFP_KERNEL)?,
                events: KVec::from_elem(0, 2, GFP_KERNEL)?,
            })
        }

        fn memory(&mut self) -> Result<Memory> {
            let events = self.events.as_mut_ptr();
            let vring = bindings::vring {
                num: SIZE.into(),
                desc: self.descriptors.as_mut_ptr().cast(),
                avail: events.cast(),
                used: events.wrapping_add(1).cast(),
            };
            // SAFETY: It is a packed ring, which lives longer than the tests use it.
            unsafe { Memory::new(&vring) }
        }

        /// Returns the flags of all descriptors.
        fn flags(&self) -> [u16; SIZE as usize] {
            core::array::from_fn(|index| {
                self.descriptors
                    .get(index)
                    .map_or(0, |descriptor| descriptor.flags.get())
            })
        }
    }

    fn at(index: u16, wrap: bool) -> Result<Position> {
        let size = QueueSize::new(SIZE).map_err(|_| EINVAL)?;
        Position::new(index, wrap, size).map_err(|_| EINVAL)
    }

    #[test]
    fn the_first_is_not_available_and_the_others_go_around() -> Result {
        let mut ring = Ring::new()?;
        let memory = ring.memory()?;
        let mut chain = Chain::new(&memory, 2, SIZE, at(3, true)?);
        for flags in [0, 0, WRITE] {
            chain.add(0x1000, 8, flags)?;
        }
        let added = chain.end()?;

        assert_eq!(added.count, 3);
        assert_eq!(added.flags, AVAILABLE | NEXT);
        assert!(added.next == at(2, false)?);
        assert_eq!(ring.flags(), [USED | NEXT, USED | WRITE, 0, 0]);
        Ok(())
    }

    #[test]
    fn one_goes_nowhere() -> Result {
        let mut ring = Ring::new()?;
        let memory = ring.memory()?;
        let mut chain = Chain::new(&memory, 1, 1, at(0, false)?);
        chain.add(0x1000, 8, WRITE)?;
        let added = chain.end()?;

        assert_eq!(added.count, 1);
        assert_eq!(added.flags, USED | WRITE);
        assert!(added.next == at(1, false)?);
        assert!(Chain::new(&memory, 2, SIZE, added.next).end().is_err());
        assert_eq!(ring.flags(), [0, 0, 0, 0]);
        Ok(())
    }

    #[test]
    fn what_was_given_up_is_not_available() -> Result {
        for first in [at(2, true)?, at(2, false)?] {
            let mut ring = Ring::new()?;
            let memory = ring.memory()?;
            let mut chain = Chain::new(&memory, 0, SIZE, first);
            for _ in 0..SIZE {
                chain.add(0x1000, 8, 0)?;
            }
            assert!(chain.add(0x1000, 8, 0) == Err(ENOSPC));
            chain.give_up(first);

            for number in 0..SIZE {
                let position = first.plus(number, memory.size()).map_err(|_| EINVAL)?;
                let flags = *ring
                    .flags()
                    .get(usize::from(position.index()))
                    .ok_or(EINVAL)?;
                assert!(position.state(flags) == State::Before);
                assert!(!memory.is_used(position));
            }
        }
        Ok(())
    }

    #[test]
    fn only_both_flags_say_that_it_is_used() -> Result {
        let mut ring = Ring::new()?;
        let memory = ring.memory()?;
        for (flags, in_first, in_second) in [
            (0, false, true),
            (AVAILABLE, false, false),
            (USED, false, false),
            (AVAILABLE | USED | WRITE, true, false),
        ] {
            memory.set_flags(1, flags);
            assert_eq!(memory.is_used(at(1, true)?), in_first);
            assert_eq!(memory.is_used(at(1, false)?), in_second);
        }
        Ok(())
    }
}
