// SPDX-License-Identifier: GPL-2.0

//! Notifications that are sent without the lock of a queue.

use super::state::Slot;
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// A device that wants to be notified of the buffers of a queue.
///
/// # Invariants
///
/// This is a user of `slot`, which is that of `vq`; so that is valid.
#[must_use]
pub struct Notification<'bound> {
    vq: NonNull<bindings::virtqueue>,
    slot: NonNull<Slot>,
    _bound: PhantomData<&'bound ()>,
}

// SAFETY: A queue may be notified by any thread.
unsafe impl Send for Notification<'_> {}

impl Notification<'_> {
    /// Makes a notification.
    ///
    /// # Safety
    ///
    /// `vq` must be valid while `slot` has a user, and the caller give up being one.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>, slot: NonNull<Slot>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            vq,
            slot,
            _bound: PhantomData,
        }
    }

    /// Notifies the device. This needs no lock.
    ///
    /// Cost: one call of a C function; with most transports, an exit to the hypervisor.
    #[doc(alias = "virtqueue_notify")]
    pub fn send(self) {
        // A queue that cannot be notified is broken, which whoever uses it will be told.
        //
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::virtqueue_notify(self.vq.as_ptr()) };
    }
}

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this is a user.
        unsafe { self.slot.as_ref() }.remove_user();
    }
}
