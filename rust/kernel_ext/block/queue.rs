// SPDX-License-Identifier: GPL-2.0

//! Hardware queues.

use super::operations::Operations;
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin, //
};

/// What a hardware queue is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "hctx_type")]
pub enum QueueKind {
    /// What no other kind is for.
    Default,
    /// Reads.
    Read,
    /// Requests that somebody polls for: see [`Operations::poll`].
    Poll,
}

/// A hardware queue of a disk.
///
/// # Invariants
///
/// `hctx` is a valid hardware queue of a disk with operations `T`, whose data is valid, for `'a`.
#[doc(alias = "blk_mq_hw_ctx")]
pub struct Queue<'a, T: Operations> {
    hctx: *mut bindings::blk_mq_hw_ctx,
    _queue: PhantomData<&'a T>,
}

impl<'a, T: Operations> Queue<'a, T> {
    /// Borrows a hardware queue.
    ///
    /// # Safety
    ///
    /// The type invariants must hold, for a lifetime that the caller chooses.
    pub(super) unsafe fn from_raw(hctx: *mut bindings::blk_mq_hw_ctx) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            hctx,
            _queue: PhantomData,
        }
    }

    /// Returns the driver's data.
    pub(super) fn data(&self) -> Pin<&'a T::Data<'a>> {
        // SAFETY: By the type invariant, `hctx` is valid.
        let data = unsafe { (*self.hctx).driver_data };
        // SAFETY: `init_hctx_callback` has set it to the data, which is valid by the type invariant.
        let data = unsafe { &*data.cast::<T::Data<'a>>() };
        // SAFETY: The data is pinned, since before there was a queue.
        unsafe { Pin::new_unchecked(data) }
    }

    /// Returns the number of the queue: below the sum of [`QueueCounts`](super::QueueCounts).
    pub fn index(&self) -> u32 {
        // SAFETY: By the type invariant, `hctx` is valid; the number does not change.
        unsafe { (*self.hctx).queue_num }
    }

    /// Returns what the queue is for.
    pub fn kind(&self) -> QueueKind {
        // SAFETY: By the type invariant, `hctx` is valid; the type does not change.
        match u32::from(unsafe { (*self.hctx).type_ }) {
            bindings::hctx_type_HCTX_TYPE_READ => QueueKind::Read,
            bindings::hctx_type_HCTX_TYPE_POLL => QueueKind::Poll,
            _ => QueueKind::Default,
        }
    }

    /// Keeps the block layer from queueing requests here, soon; it may still queue a few.
    /// [`Disk::start_stopped`](super::Disk::start_stopped) undoes this.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "blk_mq_stop_hw_queue")]
    pub fn stop(&self) {
        // SAFETY: By the type invariant, `hctx` is valid.
        unsafe { bindings::blk_mq_stop_hw_queue(self.hctx) };
    }
}
