// SPDX-License-Identifier: GPL-2.0

//! Synchronisation that the `kernel` crate lacks.
//!
//! C header: [`include/linux/completion.h`](srctree/include/linux/completion.h)

use crate::bindings;
use kernel::{
    prelude::*,
    time::Jiffies,
    types::Opaque, //
};

/// A completion that one waits for with a time limit, and that is used again.
///
/// The completion of the `kernel` crate can only be waited for without a limit: a task that waits
/// for a device must not.
#[pin_data]
#[doc(alias = "completion")]
pub struct Completion {
    #[pin]
    inner: Opaque<bindings::completion>,
}

// SAFETY: A completion may be used from any thread.
unsafe impl Send for Completion {}

// SAFETY: The functions of completions may be called from several threads at once.
unsafe impl Sync for Completion {}

impl Completion {
    /// Makes a completion on which nothing has happened.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- Opaque::ffi_init(|slot: *mut bindings::completion| {
                // SAFETY: `slot` is valid for writes; it is pinned from here on.
                unsafe { bindings::init_completion(slot) };
            }),
        })
    }

    /// Wakes one who waits, or who will wait.
    ///
    /// # Context
    ///
    /// Any.
    pub fn complete(&self) {
        // SAFETY: `inner` was initialized, and is pinned.
        unsafe { bindings::complete(self.inner.get()) };
    }

    /// Forgets how often [`Completion::complete`] was called. Nobody should wait meanwhile.
    #[doc(alias = "reinit_completion")]
    pub fn reset(&self) {
        // SAFETY: `inner` was initialized, and is pinned.
        unsafe { bindings::reinit_completion(self.inner.get()) };
    }

    /// Waits until [`Completion::complete`] is called.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` after `limit`; `ERESTARTSYS` if the task is being killed.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "wait_for_completion_killable_timeout")]
    pub fn wait(&self, limit: Jiffies) -> Result {
        // SAFETY: `inner` was initialized, and is pinned.
        let left =
            unsafe { bindings::wait_for_completion_killable_timeout(self.inner.get(), limit) };
        match left {
            0 => Err(ETIMEDOUT),
            1.. => Ok(()),
            _ => Err(ERESTARTSYS),
        }
    }
}
