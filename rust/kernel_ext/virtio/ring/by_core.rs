// SPDX-License-Identifier: GPL-2.0

//! Rings that the core drives: those of legacy devices, packed ones whose device does not see memory
//! where it is, and others with something that [`Split`](super::split::Split) and
//! [`Packed`](super::packed::Packed) do not know.
//!
//! The core takes whatever is below the device's index for a used buffer. If the index is too far,
//! it finds old entries there, and returns a buffer again that was just added, with what the device
//! had written to it the time before. So there is an account beside it.

use super::{
    super::{
        buffer::Parts,
        outcome::Context, //
    },
    account::Account,
    Drives,
    Fault, //
};
use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// A ring that the core drives.
///
/// # Invariants
///
/// `vq` is valid as long as the user of this keeps it; nobody but this uses it, save for
/// notifications.
pub(in crate::virtio) struct Core {
    vq: NonNull<bindings::virtqueue>,
    account: Account,
}

impl Core {
    /// Takes a queue over.
    ///
    /// # Safety
    ///
    /// `vq` must be valid as long as the result is used, with no buffer in it, and nobody else may
    /// use it.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            vq,
            // SAFETY: By the safety requirements. `restart` makes a new account.
            account: unsafe { Account::new(vq) },
        }
    }

    /// Begins again, after the queue was reset or resized.
    pub(super) fn restart(&mut self) {
        // SAFETY: By the type invariant, `vq` is valid; it has another ring now.
        self.account = unsafe { Account::new(self.vq) };
    }

    /// Tells the device of the buffers that were added. Returns whether it wants to be notified.
    #[inline(always)]
    pub(super) fn kick_prepare(&mut self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::virtqueue_kick_prepare(self.vq.as_ptr()) }
    }

    /// Asks the device not to interrupt.
    #[inline(always)]
    pub(super) fn disable_callback(&mut self) {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::virtqueue_disable_cb(self.vq.as_ptr()) };
    }

    /// Asks the device to interrupt for the next buffer. Returns whether it has used one already.
    #[inline(always)]
    pub(super) fn enable_callback(&mut self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { !bindings::virtqueue_enable_cb(self.vq.as_ptr()) }
    }

    /// Asks the device to interrupt when it has used most of what it has. Returns whether it has used
    /// that already.
    #[inline(always)]
    pub(super) fn enable_callback_delayed(&mut self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { !bindings::virtqueue_enable_cb_delayed(self.vq.as_ptr()) }
    }

    /// The core has no function for that.
    #[inline(always)]
    pub(super) fn defer_callback(&mut self) {}

    /// See above.
    pub(super) fn can_defer_callback(&self) -> bool {
        false
    }

    /// Asks the device to interrupt for the next buffer. Returns how far it was.
    #[inline(always)]
    pub(super) fn enable_callback_prepare(&mut self) -> u32 {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::virtqueue_enable_cb_prepare(self.vq.as_ptr()) }
    }

    /// Tells whether the device has used a buffer since then.
    #[inline(always)]
    pub(super) fn has_used_since(&self, progress: u32) -> bool {
        // SAFETY: By the type invariant, `vq` is valid; this only reads.
        unsafe { bindings::virtqueue_poll(self.vq.as_ptr(), progress) }
    }

    /// Returns how many buffers there is room for.
    pub(super) fn free(&self) -> u32 {
        // SAFETY: By the type invariant, `vq` is valid, and nobody changes it while `self` is
        // borrowed.
        unsafe { (*self.vq.as_ptr()).num_free }
    }

    /// Takes a buffer that the device has not used.
    ///
    /// # Safety
    ///
    /// The device was reset.
    pub(super) unsafe fn detach(&mut self) -> Option<NonNull<c_void>> {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. By the safety
        // requirements, the device was reset.
        NonNull::new(unsafe { bindings::virtqueue_detach_unused_buf(self.vq.as_ptr()) })
    }
}

impl Drives for Core {
    #[inline(always)]
    unsafe fn add(&mut self, parts: &Parts, token: NonNull<c_void>, context: Context) -> Result {
        let vq = self.vq.as_ptr();
        let token = token.as_ptr();
        let gfp = context.gfp();

        // By the type invariant, `vq` is valid, and nobody else uses it. By the safety requirements,
        // the parts are valid memory, which only the device accesses until the token comes back.
        let error = match *parts {
            // SAFETY: See above.
            Parts::Readable(part) => unsafe {
                bindings::virtqueue_add_out(vq, part.start, part.length, token, gfp)
            },
            // SAFETY: See above.
            Parts::Writable(part) => unsafe {
                bindings::virtqueue_add_in(vq, part.start, part.length, token, gfp)
            },
            // SAFETY: See above.
            Parts::Both(out, input) => unsafe {
                bindings::virtqueue_add_out_in(
                    vq,
                    out.start,
                    out.length,
                    input.start,
                    input.length,
                    token,
                    gfp,
                )
            },
            // SAFETY: See above.
            Parts::ReadableTable(list, count) => unsafe {
                bindings::virtqueue_add_out_list(vq, list, count, token, gfp)
            },
            // SAFETY: See above.
            Parts::Mapped(list, count) => unsafe {
                let none = ptr::null_mut();
                bindings::virtqueue_add_inbuf_premapped(vq, list, count, token, none, gfp)
            },
            Parts::Lists {
                mut lists,
                readable,
                writable,
            } => {
                let lists = lists.as_mut_ptr();
                // SAFETY: See above. There are as many lists.
                unsafe { bindings::virtqueue_add_sgs(vq, lists, readable, writable, token, gfp) }
            }
            Parts::Scattered => return Err(EMSGSIZE),
        };
        if error != 0 {
            return to_result(error);
        }
        self.account.add();
        Ok(())
    }

    /// Not in place, where it would only be in the way of the others.
    #[inline(never)]
    fn take(&mut self) -> Result<Option<(NonNull<c_void>, u32)>, Fault> {
        let mut token = ptr::null_mut();
        let mut written = 0;
        if !self.account.is_empty() {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
            token = unsafe { bindings::virtqueue_get_buf(self.vq.as_ptr(), &mut written) };
        }
        let Some(token) = NonNull::new(token) else {
            // SAFETY: By the type invariant, `vq` is valid.
            return if unsafe { bindings::virtqueue_is_broken(self.vq.as_ptr()) } {
                Err(Fault::Broken)
            } else {
                Ok(None)
            };
        };
        // If the device says that it has used more than it has, this may be one that it has not used.
        if self.account.pop() {
            return Err(Fault::TooMany(Some(token)));
        }
        Ok(Some((token, written)))
    }
}
