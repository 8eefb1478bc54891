// SPDX-License-Identifier: GPL-2.0

//! Tables of descriptors, outside of the ring.

use super::{
    super::buffer::{
        Parts,
        Span, //
    },
    element::{
        self,
        Access,
        Element,
        Mapper,
        Mapping,
        Seen,
        Sink, //
    },
};
use core::mem::size_of;
use kernel::{
    alloc::Flags,
    prelude::*, //
};
use virtio_wire::ring::{
    split::Descriptor,
    INDIRECT,
    NEXT, //
};

/// A table with the descriptors of a buffer.
pub(super) struct Table {
    descriptors: KVec<Descriptor>,
    /// What has to be unmapped: the elements, and the table itself.
    mappings: KVec<Mapping>,
}

impl Table {
    /// Makes a table of the elements of a buffer. Returns it with the descriptor that refers to it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    ///
    /// # Safety
    ///
    /// The parts must be those of a buffer that was given up, until [`Table::end`] is called.
    pub(super) unsafe fn new(
        parts: &Parts,
        count: usize,
        mapper: &Mapper,
        flags: Flags,
    ) -> Result<(Self, Descriptor)> {
        let mapped = if mapper.translates() { count + 1 } else { 0 };
        let mut table = Self {
            descriptors: KVec::with_capacity(count, flags)?,
            mappings: KVec::with_capacity(mapped, flags)?,
        };
        // SAFETY: By the safety requirements.
        match unsafe { table.fill(parts, mapper) } {
            Ok(descriptor) => Ok((table, descriptor)),
            Err(error) => {
                // SAFETY: The device was not told of it.
                unsafe { table.end(mapper) };
                Err(error)
            }
        }
    }

    /// Fills the table.
    ///
    /// # Safety
    ///
    /// As for [`Table::new`].
    unsafe fn fill(&mut self, parts: &Parts, mapper: &Mapper) -> Result<Descriptor> {
        let mut filling = Filling {
            table: &mut *self,
            mapper,
        };
        // SAFETY: By the safety requirements.
        unsafe { element::for_each(parts, &mut filling) }?;
        let last = self.descriptors.last_mut().ok_or(EINVAL)?;
        last.flags = (last.flags.get() & !NEXT).into();

        let length = self.descriptors.len() * size_of::<Descriptor>();
        let span = Span {
            start: self.descriptors.as_mut_ptr().cast(),
            length: u32::try_from(length)?,
        };
        // SAFETY: The table lives in this.
        let seen = unsafe { self.see(Element::Span(span), Access::Read, mapper) }?;
        Ok(Descriptor {
            addr: seen.address.into(),
            len: seen.length.into(),
            flags: INDIRECT.into(),
            next: 0.into(),
        })
    }

    /// Makes an element visible.
    ///
    /// # Safety
    ///
    /// As for [`Sink::push`].
    unsafe fn see(&mut self, element: Element, access: Access, mapper: &Mapper) -> Result<Seen> {
        // SAFETY: By the safety requirements.
        let seen = unsafe { mapper.map(element, access) }?;
        if let Some(mapping) = seen.mapping {
            if self.mappings.push_within_capacity(mapping).is_err() {
                // SAFETY: It was just mapped.
                unsafe { mapper.unmap(mapping) };
                return Err(EINVAL);
            }
        }
        Ok(seen)
    }

    /// Ends the mappings, and frees the table.
    ///
    /// # Safety
    ///
    /// The device must not use it any more, and `mapper` be that with which it was made.
    pub(super) unsafe fn end(self, mapper: &Mapper) {
        for mapping in self.mappings {
            // SAFETY: It was mapped by `see`, and is unmapped once; the device does not use it.
            unsafe { mapper.unmap(mapping) };
        }
    }
}

/// A table to which elements are added.
struct Filling<'a> {
    table: &'a mut Table,
    mapper: &'a Mapper,
}

impl Sink for Filling<'_> {
    unsafe fn push(&mut self, element: Element, access: Access) -> Result {
        // SAFETY: By the safety requirements.
        let seen = unsafe { self.table.see(element, access, self.mapper) }?;
        let descriptors = &mut self.table.descriptors;
        let next = u16::try_from(descriptors.len() + 1)?;
        let descriptor = Descriptor {
            addr: seen.address.into(),
            len: seen.length.into(),
            flags: (access.flag() | NEXT).into(),
            next: next.into(),
        };
        descriptors
            .push_within_capacity(descriptor)
            .map_err(|_| EINVAL)
    }
}

/// How many elements there are.
pub(super) struct Count(pub(super) usize);

impl Sink for Count {
    #[inline(always)]
    unsafe fn push(&mut self, _: Element, _: Access) -> Result {
        self.0 += 1;
        Ok(())
    }
}
