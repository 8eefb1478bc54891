// SPDX-License-Identifier: GPL-2.0

//! Chains of descriptors in the ring.

use super::{
    element::{
        Access,
        Element,
        Mapper,
        Mapping,
        Sink, //
    },
    memory::Memory,
    places::{
        Growing,
        Places, //
    },
};
use kernel::prelude::*;
use virtio_wire::ring::{
    split::Descriptor,
    NEXT, //
};

/// A chain to which elements are added. The device is yet to be told of it.
pub(super) struct Chain<'a> {
    memory: &'a Memory,
    places: &'a Places,
    growing: Growing,
    /// Those of the last descriptor, which goes on until the chain ends.
    flags: u16,
}

impl<'a> Chain<'a> {
    /// Begins a chain, which leaves so many descriptors free.
    #[inline(always)]
    pub(super) fn new(memory: &'a Memory, places: &'a Places, floor: u16) -> Self {
        Self {
            memory,
            places,
            growing: places.grow(floor),
            flags: 0,
        }
    }

    /// Adds an element that the device sees at `address`.
    #[inline(always)]
    fn add(&mut self, number: u16, next: u16, (address, length): (u64, u32), access: Access) {
        self.flags = access.flag();
        let descriptor = Descriptor {
            addr: address.into(),
            len: length.into(),
            flags: (self.flags | NEXT).into(),
            next: next.into(),
        };
        self.memory.set_descriptor(number, descriptor);
    }

    /// Leaves it at what there is, if anything. Nothing is written.
    pub(super) fn give_up(self) -> Growing {
        self.growing
    }

    /// Ends the chain, which has an element.
    #[inline(always)]
    pub(super) fn end(self) -> Growing {
        self.memory.set_flags(self.growing.last(), self.flags);
        self.growing
    }
}

/// A chain of elements that the device sees where they are.
pub(super) struct Plain<'a>(pub(super) Chain<'a>);

impl Sink for Plain<'_> {
    #[inline(always)]
    unsafe fn push(&mut self, element: Element, access: Access) -> Result {
        let chain = &mut self.0;
        let (number, next) = chain.places.extend(&mut chain.growing)?;
        // SAFETY: By the safety requirements.
        let place = unsafe { element.address(access) };
        chain.add(number, next, place, access);
        Ok(())
    }
}

/// A chain of elements that may have to be mapped.
pub(super) struct Mapped<'a> {
    pub(super) chain: Chain<'a>,
    pub(super) mapper: &'a Mapper,
    /// What has to be unmapped, by descriptors; empty if there are no mappings.
    pub(super) mappings: &'a mut [Option<Mapping>],
}

impl Sink for Mapped<'_> {
    unsafe fn push(&mut self, element: Element, access: Access) -> Result {
        let chain = &mut self.chain;
        let (number, next) = chain.places.extend(&mut chain.growing)?;
        // SAFETY: By the safety requirements.
        let seen = unsafe { self.mapper.map(element, access) }?;
        if let Some(mapping) = self.mappings.get_mut(usize::from(number)) {
            *mapping = seen.mapping;
        }
        chain.add(number, next, (seen.address, seen.length), access);
        Ok(())
    }
}
