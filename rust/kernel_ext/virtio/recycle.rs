// SPDX-License-Identifier: GPL-2.0

//! Queues that are reset alone, while their device stays live.

use super::{
    binding::Header,
    buffer::Buffer,
    ring::Kept,
    silence::Silence,
    Virtqueue, //
};
use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::atomic::Relaxed, //
};

/// What the core calls with a buffer of a queue that is being reset.
type RecycleFn = unsafe extern "C" fn(*mut bindings::virtqueue, *mut c_void);

/// What the core calls after that.
type DoneFn = unsafe extern "C" fn(*mut bindings::virtqueue);

/// What a thread that resets a queue leaves for these.
struct Recycling<F> {
    recycle: F,
    /// Whether the device has given the queue up.
    is_reset: bool,
}

impl<B: Buffer> Virtqueue<'_, B> {
    /// Changes the number of places in the ring. Buffers that are in the queue are handed to
    /// `recycle`. The queue must not be used by callbacks meanwhile: whoever shares it has it.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the device cannot do that, `EBUSY` if it is not live, `E2BIG` if it is too large,
    /// `EINVAL` if it is zero; after any other, the device has to be reset.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "virtqueue_resize")]
    pub fn resize(&mut self, size: u32, recycle: impl FnMut(B)) -> Result {
        if size == self.size() {
            return Ok(());
        }
        if size > self.max_size() {
            return Err(E2BIG);
        }
        self.recycle_with(size, recycle, |vq, each, all| {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. The callbacks
            // are called before this returns.
            unsafe { bindings::virtqueue_resize(vq, size, Some(each), Some(all)) }
        })
    }

    /// Resets the queue alone. Buffers that are in it are handed to `recycle`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the device cannot do that, `EBUSY` if it is not live; after any other, the device
    /// has to be reset.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "virtqueue_reset")]
    pub fn reset(&mut self, recycle: impl FnMut(B)) -> Result {
        self.recycle_with(self.size(), recycle, |vq, each, all| {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. The callbacks
            // are called before this returns.
            unsafe { bindings::virtqueue_reset(vq, Some(each), Some(all)) }
        })
    }

    fn recycle_with<F: FnMut(B)>(
        &mut self,
        size: u32,
        recycle: F,
        reset: impl FnOnce(*mut bindings::virtqueue, RecycleFn, DoneFn) -> c_int,
    ) -> Result {
        if !self.state.is_live() {
            return Err(EBUSY);
        }
        let mut recycling = Recycling {
            recycle,
            is_reset: false,
        };
        // SAFETY: The device has its vectors as long as its queues, one of which is `vq`.
        let _silence = unsafe { Silence::begin(self.state.transport()) };
        let kept = self.ring.release(size)?;
        // SAFETY: By the type invariant, this is a user.
        let slot = unsafe { self.slot.as_ref() };
        slot.recycler
            .store(ptr::from_mut(&mut recycling).cast(), Relaxed);
        let error = reset(
            self.vq.as_ptr(),
            Self::recycle_callback::<F>,
            Self::reset_callback::<F>,
        );
        slot.recycler.store(ptr::null_mut(), Relaxed);

        let regained = self.regain(kept, recycling);
        to_result(error)?;
        regained
    }

    /// Takes the ring over again, after the core was asked to reset the queue.
    fn regain<F: FnMut(B)>(&mut self, kept: Kept, mut recycling: Recycling<F>) -> Result {
        if !recycling.is_reset {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
            return unsafe { self.ring.keep() };
        }
        // What is left is what the core does not know of: the device has forgotten it.
        while let Some(buffer) = self.detach() {
            (recycling.recycle)(buffer);
        }
        self.outstanding = 0;
        // SAFETY: As above; nothing is in it.
        let regained = unsafe { self.ring.take_over(kept) };
        if regained.is_err() {
            self.break_down();
        }
        regained
    }

    /// Called by the core when a queue that is being reset was, and is empty.
    ///
    /// # Safety
    ///
    /// As for `recycle_callback`, but the token.
    unsafe extern "C" fn reset_callback<F: FnMut(B)>(vq: *mut bindings::virtqueue) {
        // SAFETY: By the safety requirements.
        if let Some(mut recycling) = unsafe { Self::recycling::<F>(vq) } {
            // SAFETY: This points to a structure on the stack of this thread, which nobody else uses.
            unsafe { recycling.as_mut() }.is_reset = true;
        }
    }

    /// Called by the core with a buffer that was in a queue that is being reset.
    ///
    /// # Safety
    ///
    /// `vq` must be a queue with buffers `B` whose `recycle_with` is running with a function of type
    /// `F`, and `token` one of its tokens, which is given up.
    unsafe extern "C" fn recycle_callback<F: FnMut(B)>(
        vq: *mut bindings::virtqueue,
        token: *mut c_void,
    ) {
        let Some(token) = NonNull::new(token) else {
            return;
        };
        // SAFETY: By the safety requirements, the token is one of this queue.
        let buffer = unsafe { B::from_token(token) };

        // SAFETY: By the safety requirements.
        if let Some(mut recycling) = unsafe { Self::recycling::<F>(vq) } {
            // SAFETY: This points to a structure on the stack of this thread, which nobody else uses.
            (unsafe { recycling.as_mut() }.recycle)(buffer);
        }
    }

    /// Finds what `recycle_with` has left for the callbacks.
    ///
    /// # Safety
    ///
    /// `vq` must be a queue with buffers `B` whose `recycle_with` is running with a function of type
    /// `F`.
    unsafe fn recycling<F: FnMut(B)>(
        vq: *mut bindings::virtqueue,
    ) -> Option<NonNull<Recycling<F>>> {
        // SAFETY: By the safety requirements, the queue is valid.
        let vq = unsafe { &*vq };
        // SAFETY: The device is valid as long as its queue is, and has a binding.
        let header = unsafe { (*vq.vdev).priv_ }.cast::<Header>();
        // SAFETY: Any binding begins with a header.
        let state = unsafe { &(*header).state };
        let slot = state.slot(usize::try_from(vq.index).ok()?).ok()?;
        // SAFETY: The slot has a user: the one who runs `recycle_with`.
        NonNull::new(unsafe { slot.as_ref() }.recycler.load(Relaxed).cast())
    }
}
