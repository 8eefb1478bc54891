// SPDX-License-Identifier: GPL-2.0

//! The memory that a split ring shares with its device.

use super::Told;
use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::prelude::*;
use virtio_wire::ring::split::{
    Descriptor,
    Index,
    QueueSize,
    UsedElement, //
};

/// The memory of a split ring. The device can write to all of it, at any time.
///
/// What is read is read once, as a whole; and whatever it is, no access is out of bounds: numbers of
/// places are taken modulo the size of the ring.
///
/// # Invariants
///
/// The pointers are those of a split ring with `size` places, whose integers are little-endian; it is
/// valid as long as the user of this keeps it.
pub(super) struct Memory {
    size: QueueSize,
    descriptors: NonNull<Descriptor>,
    /// Flags, index, `size` entries, and `used_event`.
    available: NonNull<u16>,
    /// Flags, index, `size` entries, which are pairs of [`u32`], and `avail_event`.
    used: NonNull<u16>,
}

/// How many 16-bit integers are in front of the entries, and in each entry of the used ring.
const HEAD: usize = 2;
const USED_WORDS: usize = UsedElement::SIZE / size_of::<u16>();

impl Memory {
    /// Takes the memory of a ring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a ring cannot have this size.
    ///
    /// # Safety
    ///
    /// `vring` must be a split ring, whose integers are little-endian, and stay valid as long as the
    /// result is used.
    pub(super) unsafe fn new(vring: &bindings::vring) -> Result<Self> {
        let size = u16::try_from(vring.num)?;
        // INVARIANT: By the safety requirements.
        Ok(Self {
            size: QueueSize::new(size).map_err(|_| EINVAL)?,
            descriptors: NonNull::new(vring.desc.cast()).ok_or(EINVAL)?,
            available: NonNull::new(vring.avail.cast()).ok_or(EINVAL)?,
            used: NonNull::new(vring.used.cast()).ok_or(EINVAL)?,
        })
    }

    /// Returns how many places the ring has.
    #[inline(always)]
    pub(super) fn size(&self) -> u16 {
        self.size.get()
    }

    /// Returns the place of a descriptor.
    #[inline(always)]
    fn descriptor(&self, number: u16) -> *mut Descriptor {
        let offset = usize::from(Index::new(number).slot(self.size));
        // SAFETY: By the type invariant, there are more than `offset`.
        unsafe { self.descriptors.as_ptr().add(offset) }
    }

    /// Writes a descriptor, which the device is yet to be told of.
    #[inline(always)]
    pub(super) fn set_descriptor(&self, number: u16, descriptor: Descriptor) {
        // SAFETY: By the type invariant, the pointer is valid for writes.
        unsafe { self.descriptor(number).write(descriptor) };
    }

    /// Replaces the flags of a descriptor, which the device is yet to be told of.
    #[inline(always)]
    pub(super) fn set_flags(&self, number: u16, flags: u16) {
        // SAFETY: By the type invariant, the pointer is valid.
        let place = unsafe { &raw mut (*self.descriptor(number)).flags };
        // SAFETY: As above, for writes.
        unsafe { place.write(flags.into()) };
    }

    /// Returns the place of a field of the available ring, which has `offset` integers before it.
    #[inline(always)]
    fn available(&self, offset: usize) -> *mut u16 {
        // SAFETY: By the type invariant, there are `size + 3`, and callers ask for no more.
        unsafe { self.available.as_ptr().add(offset) }
    }

    /// As above, for the used ring, where there are `USED_WORDS * size + 3`.
    #[inline(always)]
    fn used(&self, offset: usize) -> *mut u16 {
        // SAFETY: As above.
        unsafe { self.used.as_ptr().add(offset) }
    }

    #[inline(always)]
    fn store(place: *mut u16, value: u16) {
        // SAFETY: By the type invariant, the pointers of fields are valid, and aligned. The device
        // may read it meanwhile.
        unsafe { ptr::write_volatile(place, value.to_le()) };
    }

    #[inline(always)]
    fn load(place: *const u16) -> u16 {
        // SAFETY: As above. The device may write it meanwhile.
        u16::from_le(unsafe { ptr::read_volatile(place) })
    }

    /// Puts a buffer into the available ring, which the device is yet to be told of.
    #[inline(always)]
    pub(super) fn set_available(&self, at: Index, head: u16) {
        Self::store(self.available(HEAD + usize::from(at.slot(self.size))), head);
    }

    /// Tells the device how far the available ring goes.
    #[inline(always)]
    pub(super) fn set_available_index(&self, index: Index) {
        Self::store(self.available(1), index.get());
    }

    /// Tells the device with flags whether it should interrupt.
    pub(super) fn set_available_flags(&self, flags: u16) {
        Self::store(self.available(0), flags);
    }

    /// Tells the device with an index when it should interrupt.
    #[doc(alias = "vring_used_event")]
    #[inline(always)]
    pub(super) fn set_used_event(&self, event: Index) {
        Self::store(self.available(HEAD + usize::from(self.size())), event.get());
    }

    /// Returns how far the used ring goes.
    #[inline(always)]
    pub(super) fn used_index(&self) -> Index {
        Index::new(Self::load(self.used(1)))
    }

    /// Returns the flags of the device, which say whether it should be notified.
    #[inline(always)]
    pub(super) fn used_flags(&self) -> u16 {
        Self::load(self.used(0))
    }

    /// Returns the index of the device, which says when it should be notified.
    #[doc(alias = "vring_avail_event")]
    #[inline(always)]
    pub(super) fn available_event(&self) -> Index {
        Index::new(Self::load(
            self.used(HEAD + USED_WORDS * usize::from(self.size())),
        ))
    }

    /// Returns an entry of the used ring.
    #[inline(always)]
    pub(super) fn used_entry(&self, at: Index) -> Told {
        let place = self
            .used(HEAD + USED_WORDS * usize::from(at.slot(self.size)))
            .cast::<u32>();
        // SAFETY: By the type invariant, this is the first half of an entry, which is aligned. The
        // device may write it meanwhile.
        let id = unsafe { ptr::read_volatile(place) };
        // SAFETY: As above, for the second half.
        let place = unsafe { place.add(1) };
        // SAFETY: As above.
        let written = unsafe { ptr::read_volatile(place) };
        Told {
            id: u32::from_le(id),
            written: u32::from_le(written),
        }
    }
}
