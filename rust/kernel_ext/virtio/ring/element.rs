// SPDX-License-Identifier: GPL-2.0

//! The elements of a buffer, and where the device finds them.

use super::super::buffer::{
    Parts,
    Span, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;
use virtio_wire::ring::WRITE;

/// What the device may do with an element.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl Access {
    /// Returns the flag of a descriptor.
    #[inline(always)]
    pub(super) fn flag(self) -> u16 {
        match self {
            Self::Read => 0,
            Self::Write => WRITE,
        }
    }

    #[inline(always)]
    fn direction(self) -> bindings::dma_data_direction {
        match self {
            Self::Read => bindings::dma_data_direction::DMA_TO_DEVICE,
            Self::Write => bindings::dma_data_direction::DMA_FROM_DEVICE,
        }
    }
}

/// Where an element is.
#[derive(Clone, Copy)]
pub(super) enum Element {
    /// In the linear map.
    Span(Span),
    /// In an entry of a scatter list, which is valid while the buffer is in the ring.
    Entry(NonNull<bindings::scatterlist>),
    /// It was mapped before.
    Mapped { address: u64, length: u32 },
}

impl Element {
    /// Returns where the device sees the element, and how long it is, if it sees memory where that
    /// is.
    ///
    /// # Safety
    ///
    /// It must be one of a buffer that was given up.
    #[inline(always)]
    pub(super) unsafe fn address(self, access: Access) -> (u64, u32) {
        let direction = access.direction();
        match self {
            Self::Mapped { address, length } => (address, length),
            Self::Span(span) => {
                // SAFETY: By the safety requirements, the span is valid, and in the linear map.
                let address =
                    unsafe { bindings::virtio_span_address(span.start, span.length, direction) };
                (address, span.length)
            }
            Self::Entry(entry) => {
                // SAFETY: By the safety requirements, the entry is valid.
                let address = unsafe { bindings::virtio_entry_address(entry.as_ptr(), direction) };
                // SAFETY: As above.
                (address, unsafe { (*entry.as_ptr()).length })
            }
        }
    }
}

/// Takes the elements of a buffer.
pub(super) trait Sink {
    /// Takes one.
    ///
    /// # Safety
    ///
    /// It must be one of a buffer that was given up.
    unsafe fn push(&mut self, element: Element, access: Access) -> Result;
}

/// Hands the elements of a buffer to a sink, until that fails.
///
/// # Safety
///
/// The parts must be those of a buffer that was given up.
#[inline(always)]
pub(super) unsafe fn for_each(parts: &Parts, sink: &mut impl Sink) -> Result {
    // SAFETY: By the safety requirements. So it is below.
    let mut push = |element, access| unsafe { sink.push(element, access) };
    match *parts {
        Parts::Readable(span) => push(Element::Span(span), Access::Read),
        Parts::Writable(span) => push(Element::Span(span), Access::Write),
        Parts::Both(readable, writable) => {
            push(Element::Span(readable), Access::Read)?;
            push(Element::Span(writable), Access::Write)
        }
        Parts::ReadableTable(table, count) => {
            // SAFETY: By the safety requirements, the table has so many entries.
            unsafe {
                first(table, count, |entry| {
                    push(Element::Entry(entry), Access::Read)
                })
            }
        }
        Parts::Mapped(table, count) => {
            let push = |entry: NonNull<bindings::scatterlist>| {
                // SAFETY: By the safety requirements, the entry is valid.
                let entry = unsafe { entry.as_ref() };
                let mapped = Element::Mapped {
                    address: entry.dma_address,
                    length: entry.length,
                };
                push(mapped, Access::Write)
            };
            // SAFETY: By the safety requirements, the table has so many entries.
            unsafe { first(table, count, push) }
        }
        Parts::Scattered => Err(EMSGSIZE),
        Parts::Lists {
            ref lists,
            readable,
            writable,
        } => {
            let (readable, writable) = (readable as usize, writable as usize);
            let (first, others) = lists.split_at_checked(readable).ok_or(EINVAL)?;
            let second = others.get(..writable).ok_or(EINVAL)?;
            for (lists, access) in [(first, Access::Read), (second, Access::Write)] {
                for &list in lists {
                    let mut next = NonNull::new(list);
                    while let Some(entry) = next {
                        push(Element::Entry(entry), access)?;
                        // SAFETY: By the safety requirements, the list is valid, and it ends.
                        next = unsafe { after(entry) };
                    }
                }
            }
            Ok(())
        }
    }
}

/// Hands the first entries of a table to a function, until that fails.
///
/// # Safety
///
/// There must be as many.
#[inline(always)]
unsafe fn first(
    table: *mut bindings::scatterlist,
    count: u32,
    mut function: impl FnMut(NonNull<bindings::scatterlist>) -> Result,
) -> Result {
    let mut next = NonNull::new(table);
    for left in (0..count).rev() {
        let entry = next.ok_or(EINVAL)?;
        function(entry)?;
        if left > 0 {
            // SAFETY: By the safety requirements, there is another one.
            next = NonNull::new(unsafe { bindings::sg_next(entry.as_ptr()) });
        }
    }
    Ok(())
}

/// The mark of the last entry.
const END: c_ulong = bindings::SG_END as c_ulong;

/// Returns the next entry of a scatter list.
///
/// # Safety
///
/// The list must be valid, and end.
#[inline(always)]
unsafe fn after(entry: NonNull<bindings::scatterlist>) -> Option<NonNull<bindings::scatterlist>> {
    // SAFETY: By the safety requirements, the entry is valid.
    let link = unsafe { (*entry.as_ptr()).page_link };
    if link & END != 0 {
        return None;
    }
    // SAFETY: As above; it is not the last one.
    NonNull::new(unsafe { bindings::sg_next(entry.as_ptr()) })
}

/// What has to be unmapped when the device has used an element.
#[derive(Clone, Copy)]
pub(super) struct Mapping {
    address: u64,
    length: u32,
    access: Access,
}

/// Where the device sees an element.
pub(super) struct Seen {
    pub(super) address: u64,
    pub(super) length: u32,
    /// What has to be unmapped.
    pub(super) mapping: Option<Mapping>,
}

/// Makes elements visible to the device.
///
/// # Invariants
///
/// `vq` is a queue of the core, which is valid as long as the user of this keeps it.
pub(super) struct Mapper {
    vq: NonNull<bindings::virtqueue>,
    /// Whether the device sees memory where the kernel's DMA functions say; otherwise it sees it where
    /// it is.
    translates: bool,
}

impl Mapper {
    /// Makes one for a queue.
    ///
    /// # Safety
    ///
    /// `vq` must be valid as long as the result is used.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>) -> Self {
        // SAFETY: By the safety requirements.
        let translates = unsafe { bindings::virtqueue_uses_map(vq.as_ptr()) };
        // INVARIANT: By the safety requirements.
        Self { vq, translates }
    }

    /// Tells whether there are mappings.
    pub(super) fn translates(&self) -> bool {
        self.translates
    }

    /// Makes an element visible by a mapping.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if it cannot be mapped.
    ///
    /// # Safety
    ///
    /// The element must be one of a buffer that was given up.
    pub(super) unsafe fn map(&self, element: Element, access: Access) -> Result<Seen> {
        if !self.translates {
            // SAFETY: By the safety requirements.
            let (address, length) = unsafe { element.address(access) };
            return Ok(Seen {
                address,
                length,
                mapping: None,
            });
        }
        let vq = self.vq.as_ptr();
        let direction = access.direction();
        let (address, length) = match element {
            Element::Mapped { address, length } => {
                return Ok(Seen {
                    address,
                    length,
                    mapping: None,
                });
            }
            Element::Span(span) => {
                let length = usize::try_from(span.length)?;
                // SAFETY: By the type invariant, `vq` is valid; by the safety requirements, the span
                // is, and it is in the linear map.
                let address = unsafe {
                    bindings::virtqueue_map_single_attrs(vq, span.start, length, direction, 0)
                };
                (address, span.length)
            }
            Element::Entry(entry) => {
                // SAFETY: By the type invariant, `vq` is valid; by the safety requirements, the
                // entry is.
                let address =
                    unsafe { bindings::virtqueue_map_entry(vq, entry.as_ptr(), direction) };
                // SAFETY: As above.
                (address, unsafe { (*entry.as_ptr()).length })
            }
        };
        // SAFETY: By the type invariant, `vq` is valid.
        if unsafe { bindings::virtqueue_map_mapping_error(vq, address) } != 0 {
            return Err(ENOMEM);
        }
        Ok(Seen {
            address,
            length,
            mapping: Some(Mapping {
                address,
                length,
                access,
            }),
        })
    }

    /// Ends a mapping.
    ///
    /// # Safety
    ///
    /// It must be one that this has made, and not have been ended. The device must not use it.
    pub(super) unsafe fn unmap(&self, mapping: Mapping) {
        let Mapping {
            address,
            length,
            access,
        } = mapping;
        // CAST: A `u32` fits.
        let length = length as usize;
        // SAFETY: By the type invariant, `vq` is valid; by the safety requirements, the rest is what
        // was mapped.
        unsafe {
            bindings::virtqueue_unmap_page_attrs(
                self.vq.as_ptr(),
                address,
                length,
                access.direction(),
                0,
            );
        }
    }
}
