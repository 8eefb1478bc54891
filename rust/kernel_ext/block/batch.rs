// SPDX-License-Identifier: GPL-2.0

//! Several requests at once.

use super::{
    operations::Operations,
    request::Request,
    status::Status, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::prelude::*;

/// Returns where a request points to the next one of its list.
///
/// # Safety
///
/// `rq` must be valid.
unsafe fn link(rq: NonNull<bindings::request>) -> *mut *mut bindings::request {
    // SAFETY: By the safety requirements.
    let link = unsafe { &raw mut (*rq.as_ptr()).__bindgen_anon_1 };
    // CAST: The pointer is one of the fields of the union.
    link.cast()
}

/// Takes the first request of a list.
///
/// # Safety
///
/// `list` must be a list of valid requests, which nobody else uses.
pub(super) unsafe fn pop(list: &mut bindings::rq_list) -> Option<NonNull<bindings::request>> {
    let rq = NonNull::new(list.head)?;
    // SAFETY: By the safety requirements, `rq` is valid.
    let link = unsafe { link(rq) };

    // SAFETY: By the safety requirements, `rq` is in the list, so this is the next one, or null.
    list.head = unsafe { *link };
    if list.head.is_null() {
        list.tail = ptr::null_mut();
    }
    // SAFETY: By the safety requirements, nobody else uses the list.
    unsafe { *link = ptr::null_mut() };
    Some(rq)
}

/// Puts a request behind the last one of a list.
///
/// # Safety
///
/// `list` must be a list of valid requests, which nobody else uses, and `rq` a valid request that is
/// in no list, and whose link nobody uses.
pub(super) unsafe fn push(list: &mut bindings::rq_list, rq: NonNull<bindings::request>) {
    // SAFETY: By the safety requirements, `rq` is valid.
    let end = unsafe { link(rq) };
    // SAFETY: By the safety requirements, nobody else uses it.
    unsafe { *end = ptr::null_mut() };

    match NonNull::new(list.tail) {
        Some(last) => {
            // SAFETY: By the safety requirements, the last request is valid.
            let link = unsafe { link(last) };
            // SAFETY: By the safety requirements, nobody else uses the list.
            unsafe { *link = rq.as_ptr() };
        }
        None => list.head = rq.as_ptr(),
    }
    list.tail = rq.as_ptr();
}

/// Requests that are to be queued: see [`Operations::queue_rqs`].
///
/// # Invariants
///
/// `list` is a list of requests that are to be queued now, of a disk with operations `T`. It is
/// valid for `'a`, and nobody else uses it.
#[doc(alias = "rq_list")]
pub struct RequestList<'a, T: Operations> {
    list: *mut bindings::rq_list,
    _requests: PhantomData<(&'a mut bindings::rq_list, T)>,
}

impl<T: Operations> RequestList<'_, T> {
    /// Borrows a list.
    ///
    /// # Safety
    ///
    /// The type invariants must hold, for a lifetime that the caller chooses.
    pub(super) unsafe fn from_raw(list: *mut bindings::rq_list) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            list,
            _requests: PhantomData,
        }
    }

    /// Returns the number of the queue that the next request is for, if there is one. Those for the
    /// same queue mostly follow each other.
    pub fn next_queue(&self) -> Option<u32> {
        // SAFETY: By the type invariant, `list` is valid.
        let rq = NonNull::new(unsafe { (*self.list).head })?;
        // SAFETY: By the type invariant, `rq` is valid.
        let hctx = unsafe { (*rq.as_ptr()).mq_hctx };
        // SAFETY: A request that is to be queued has a queue.
        Some(unsafe { (*hctx).queue_num })
    }

    /// Takes the next request; whoever has it ends it. If it cannot be queued after all, it may be
    /// [requeued](Request::requeue).
    #[doc(alias = "rq_list_pop")]
    pub fn pop(&mut self) -> Option<Request<T>> {
        // SAFETY: By the type invariant, `list` is valid, and nobody else uses it.
        let list = unsafe { &mut *self.list };
        // SAFETY: As above; its requests are valid.
        let rq = unsafe { pop(list) }?;
        // SAFETY: By the type invariant, it is to be queued now; it is not in the list any more.
        Some(unsafe { Request::start(rq) })
    }
}

/// Requests that are done, to be ended together.
///
/// A driver collects them while it holds the lock of a queue, and drops this when it does not: they
/// end then. Requests that succeeded cost least.
///
/// # Examples
///
/// ```ignore
/// let mut batch = CompletionBatch::new();
/// let mut queue = data.queue.lock();
/// while let Some(used) = queue.pop()? {
///     batch.complete(used.buffer, Status::OK);
/// }
/// drop(queue);
/// drop(batch);
/// ```
///
/// # Invariants
///
/// - `own.req_list` and `others` are lists of requests that were started and have not ended, that
///   nobody else has, and that have operations `T`.
/// - `outer` is null, or a batch of the caller that is valid for as long as this.
#[doc(alias = "io_comp_batch", alias = "blk_mq_end_request_batch")]
pub struct CompletionBatch<T: Operations> {
    /// What the block layer ends together.
    own: bindings::io_comp_batch,
    /// Who polls ends these, instead.
    outer: *mut bindings::io_comp_batch,
    /// What it does not: they know how.
    others: bindings::rq_list,
    /// How many requests it got.
    count: c_int,
    _requests: PhantomData<Request<T>>,
}

impl<T: Operations> CompletionBatch<T> {
    /// Makes an empty batch.
    pub fn new() -> Self {
        // SAFETY: Null is allowed.
        unsafe { Self::with_outer(ptr::null_mut()) }
    }

    /// Makes an empty batch; what the block layer can end together goes to `outer`, unless it is
    /// null.
    ///
    /// # Safety
    ///
    /// `outer` must be null, or valid for as long as the result is used.
    pub(super) unsafe fn with_outer(outer: *mut bindings::io_comp_batch) -> Self {
        // INVARIANT: There is no request. The rest is by the safety requirements.
        Self {
            own: pin_init::zeroed(),
            outer,
            others: pin_init::zeroed(),
            count: 0,
            _requests: PhantomData,
        }
    }

    /// Returns how many requests it got.
    pub(super) fn count(&self) -> c_int {
        self.count
    }

    /// Adds a request that is done, to be ended here.
    ///
    /// # Context
    ///
    /// Any. Cost: one call of a C helper.
    #[doc(alias = "blk_mq_add_to_batch")]
    pub fn add(&mut self, mut request: Request<T>, status: Status) {
        // No more fit in memory.
        self.count = self.count.wrapping_add(1);
        request.set_status(status);
        let rq = request.into_raw();

        if status.is_ok() && !T::HAS_COMPLETE {
            let batch = if self.outer.is_null() {
                &raw mut self.own
            } else {
                self.outer
            };
            // SAFETY: The request was started, and nobody else has it. The batch is valid. If this
            // returns true, the request is in it: in that of who polls, to be ended by
            // `blk_mq_end_request_batch`.
            if unsafe { bindings::blk_mq_add_to_batch(rq.as_ptr(), batch) } {
                return;
            }
        }
        // INVARIANT: The request has not ended, and this has it.
        //
        // SAFETY: By the type invariant, the list is one of valid requests. This one was in none.
        unsafe { push(&mut self.others, rq) };
    }

    /// Has a request end on the CPU that it comes from, if that is far away, or else adds it.
    ///
    /// # Context
    ///
    /// Any.
    pub fn complete(&mut self, request: Request<T>, status: Status) {
        if let Err(request) = request.complete_remote(status) {
            self.add(request, status);
        }
    }
}

impl<T: Operations> Default for CompletionBatch<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Operations> Drop for CompletionBatch<T> {
    fn drop(&mut self) {
        if !self.own.req_list.head.is_null() {
            // SAFETY: By the type invariant, nobody else has these requests. The list is empty
            // afterwards.
            unsafe { bindings::blk_mq_end_request_batch(&mut self.own) };
        }
        // SAFETY: By the type invariant, the list is valid, and nobody else uses it.
        while let Some(rq) = unsafe { pop(&mut self.others) } {
            // SAFETY: By the type invariant, it has not ended, and only this has it.
            let request = unsafe { Request::<T>::from_raw(rq) };
            let status = request.status();
            request.finish(status);
        }
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_batch)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_requests_in_their_order() {
        let mut first: bindings::request = pin_init::zeroed();
        let mut second: bindings::request = pin_init::zeroed();
        let mut list: bindings::rq_list = pin_init::zeroed();

        for rq in [&mut first, &mut second] {
            // SAFETY: The requests live until the end of the function, and are in no list.
            unsafe { push(&mut list, NonNull::from(rq)) };
        }

        // SAFETY: As above.
        assert_eq!(unsafe { pop(&mut list) }, Some(NonNull::from(&mut first)));
        // SAFETY: As above.
        assert_eq!(unsafe { pop(&mut list) }, Some(NonNull::from(&mut second)));
        // SAFETY: As above.
        assert_eq!(unsafe { pop(&mut list) }, None);
        assert!(list.tail.is_null());
    }
}
