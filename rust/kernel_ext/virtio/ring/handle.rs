// SPDX-License-Identifier: GPL-2.0

//! A queue of the core, as a ring sees it.

use crate::bindings;
use core::ptr::NonNull;

/// A queue of the core.
///
/// # Invariants
///
/// It is valid as long as the user of this keeps it.
#[derive(Clone, Copy)]
pub(super) struct Handle(NonNull<bindings::virtqueue>);

impl Handle {
    /// Makes one for a queue.
    ///
    /// # Safety
    ///
    /// `vq` must be valid as long as the result is used.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(vq)
    }

    /// Returns the queue.
    #[inline(always)]
    pub(super) fn as_ptr(self) -> *mut bindings::virtqueue {
        self.0.as_ptr()
    }

    /// Tells whether the core holds the queue for broken.
    #[inline(always)]
    pub(super) fn is_broken(self) -> bool {
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::virtqueue_is_broken(self.as_ptr()) }
    }

    /// Tells whether anybody is called when the device has used a buffer.
    pub(super) fn is_heard(self) -> bool {
        // SAFETY: By the type invariant, the queue is valid, and its callback never changes.
        unsafe { (*self.as_ptr()).callback }.is_some()
    }
}
