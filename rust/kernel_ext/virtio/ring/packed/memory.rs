// SPDX-License-Identifier: GPL-2.0

//! The memory that a packed ring shares with its device.

use super::super::Told;
use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::prelude::*;
use virtio_wire::ring::packed::{
    Descriptor,
    Event,
    EventIndex,
    EventLayout,
    Position,
    QueueSize,
    AVAILABLE,
    USED, //
};

/// The memory of a packed ring. The device can write to all of it, at any time.
///
/// What is read is read once, as a whole; and whatever it is, no access is out of bounds.
///
/// # Invariants
///
/// The pointers are those of a packed ring with `size` descriptors; it is valid as long as the user of
/// this keeps it.
pub(super) struct Memory {
    size: QueueSize,
    descriptors: NonNull<Descriptor>,
    /// When the driver wants to be notified, and when the device does.
    driver: NonNull<u32>,
    device: NonNull<u32>,
}

impl Memory {
    /// Takes the memory of a ring.
    ///
    /// # Errors
    ///
    /// `EINVAL` if a ring cannot have this size.
    ///
    /// # Safety
    ///
    /// `vring` must be a packed ring, which begins as a split one does, and stay valid as long as the
    /// result is used.
    pub(super) unsafe fn new(vring: &bindings::vring) -> Result<Self> {
        let size = u16::try_from(vring.num)?;
        // INVARIANT: By the safety requirements.
        Ok(Self {
            size: QueueSize::new(size).map_err(|_| EINVAL)?,
            descriptors: NonNull::new(vring.desc.cast()).ok_or(EINVAL)?,
            driver: NonNull::new(vring.avail.cast()).ok_or(EINVAL)?,
            device: NonNull::new(vring.used.cast()).ok_or(EINVAL)?,
        })
    }

    /// Returns how many descriptors there are.
    #[inline(always)]
    pub(super) fn size(&self) -> QueueSize {
        self.size
    }

    /// Returns the place of a descriptor.
    #[inline(always)]
    fn descriptor(&self, index: usize) -> *mut Descriptor {
        let index = if index < usize::from(self.size.get()) {
            index
        } else {
            0
        };
        // SAFETY: By the type invariant, there are more than `index`.
        unsafe { self.descriptors.as_ptr().add(index) }
    }

    /// Writes a descriptor that the device has not come to, but for its flags.
    #[inline(always)]
    pub(super) fn set_element(&self, index: usize, address: u64, length: u32, id: u16) {
        let descriptor = self.descriptor(index);
        // SAFETY: The pointer is valid for writes, and aligned. So it is below.
        unsafe { (*descriptor).addr = address.into() };
        // SAFETY: See above.
        unsafe { (*descriptor).len = length.into() };
        // SAFETY: See above.
        unsafe { (*descriptor).id = id.into() };
    }

    /// Returns the place of the flags of a descriptor, as the device has them.
    #[inline(always)]
    fn flags(&self, index: usize) -> *mut u16 {
        // SAFETY: The pointer is valid.
        let flags = unsafe { &raw mut (*self.descriptor(index)).flags };
        // CAST: `Le16` is a transparent wrapper.
        flags.cast()
    }

    /// Replaces the flags of a descriptor, which may make it available.
    #[inline(always)]
    pub(super) fn set_flags(&self, index: usize, flags: u16) {
        // SAFETY: The pointer is valid, and aligned. The device may read it meanwhile.
        unsafe { ptr::write_volatile(self.flags(index), flags.to_le()) };
    }

    /// Tells whether the device has used a buffer at a position to which it comes next.
    #[inline(always)]
    pub(super) fn is_used(&self, at: Position) -> bool {
        // SAFETY: As above. The device may write it meanwhile.
        let flags = unsafe { ptr::read_volatile(self.flags(at.index().into())) };
        u16::from_le(flags) & (AVAILABLE | USED) == at.used_flags()
    }

    /// Returns what a descriptor tells of a used buffer.
    #[inline(always)]
    pub(super) fn used(&self, index: u16) -> Told {
        let descriptor = self.descriptor(index.into());
        // SAFETY: The pointer is valid.
        let id = unsafe { &raw const (*descriptor).id };
        // SAFETY: As above.
        let written = unsafe { &raw const (*descriptor).len };
        // CAST: `Le16` is a transparent wrapper.
        //
        // SAFETY: It is valid, and aligned. The device may write it meanwhile.
        let id = unsafe { ptr::read_volatile(id.cast::<u16>()) };
        // CAST: `Le32` is one, too.
        //
        // SAFETY: As above.
        let written = unsafe { ptr::read_volatile(written.cast::<u32>()) };
        Told {
            id: u16::from_le(id).into(),
            written: u32::from_le(written),
        }
    }

    /// Tells the device when it should interrupt.
    #[inline(always)]
    pub(super) fn set_event(&self, event: Event) {
        let layout = event.layout();
        let word = u32::from(layout.desc.get()) | u32::from(layout.flags.get()) << 16;
        // SAFETY: By the type invariant, the pointer is valid, and aligned. The device may read it
        // meanwhile, but not a half of it.
        unsafe { ptr::write_volatile(self.driver.as_ptr(), word.to_le()) };
    }

    /// Tells whether the device wants to be notified of so many descriptors from `first`.
    #[inline(always)]
    pub(super) fn notifies(&self, first: Position, count: u16, index: EventIndex) -> bool {
        // SAFETY: As above. The device may write it meanwhile.
        let word = u32::from_le(unsafe { ptr::read_volatile(self.device.as_ptr()) });
        let layout = EventLayout {
            desc: low(word).into(),
            flags: low(word >> 16).into(),
        };
        // If it says what cannot be, it is notified.
        layout
            .notifies(first, count, self.size, index)
            .unwrap_or(true)
    }
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the rest is not meant")]
fn low(word: u32) -> u16 {
    word as u16
}
