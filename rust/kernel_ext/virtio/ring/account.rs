// SPDX-License-Identifier: GPL-2.0

//! How many buffers the device has, and how many it says it has used.
//!
//! The core takes whatever is below the device's index for a used buffer. If the index is too far,
//! it finds old entries there, and returns a buffer again that was just added, with what the device
//! had written to it the time before.

use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};

/// The account of a queue.
///
/// # Invariants
///
/// `used` is null, or points to the device's index of a queue, which is valid as long as its user
/// does not resize it.
pub(super) struct Account {
    used: *const u16,
    /// How many buffers came back since the ring was made.
    popped: u16,
    /// How many buffers the device has.
    outstanding: u16,
}

impl Account {
    /// Begins with a ring in which nothing has happened yet.
    ///
    /// # Safety
    ///
    /// `vq` must be valid; the result must not be used after it was resized.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>) -> Self {
        // INVARIANT: By the safety requirements, the queue is valid.
        //
        // SAFETY: As above.
        let used = unsafe { bindings::virtqueue_used_index(vq.as_ptr()) };
        Self {
            used,
            popped: 0,
            outstanding: 0,
        }
    }

    /// Notes that a buffer was added.
    #[inline(always)]
    pub(super) fn add(&mut self) {
        self.outstanding = self.outstanding.wrapping_add(1);
    }

    /// Notes that a buffer came back, and returns whether the device says that it has used more than
    /// it has.
    #[inline(always)]
    pub(super) fn pop(&mut self) -> bool {
        self.outstanding = self.outstanding.wrapping_sub(1);
        if self.used.is_null() {
            return false;
        }
        self.popped = self.popped.wrapping_add(1);
        // SAFETY: By the type invariant, the ring is valid. The device may write it at any time.
        let index = unsafe { ptr::read_volatile(self.used) };
        u16::from_le(index).wrapping_sub(self.popped) > self.outstanding
    }

    /// Tells whether the device has used nothing that is yet to come back, as far as the ring says
    /// it.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        if self.used.is_null() {
            return false;
        }
        // SAFETY: By the type invariant, the ring is valid. The device may write it at any time.
        let index = unsafe { ptr::read_volatile(self.used) };
        u16::from_le(index) == self.popped
    }
}
