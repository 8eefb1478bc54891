// SPDX-License-Identifier: GPL-2.0

//! Commands of the driver's own, which go the way of all requests.

use super::{
    disk::Disk,
    operation::Direction,
    operations::Operations,
    request::Pdu,
    status::Status, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*, //
};

/// A request that the driver has made, and that is not queued.
///
/// # Invariants
///
/// `rq` is a valid request of a disk with operations `T`, that was allocated and not freed, is not
/// queued, and that only this has.
struct Idle<'a, T: Operations> {
    rq: NonNull<bindings::request>,
    _disk: PhantomData<&'a T>,
}

impl<T: Operations> Idle<'_, T> {
    /// Returns the driver's data of the request.
    fn data(&mut self) -> Pin<&mut T::RequestData> {
        // SAFETY: By the type invariant, the data is initialized, and nobody else accesses it.
        let data = unsafe { &mut *Pdu::<T>::data(self.rq.as_ptr()) };
        // SAFETY: It does not move until it is dropped.
        unsafe { Pin::new_unchecked(data) }
    }
}

impl<T: Operations> Drop for Idle<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this has the request.
        unsafe { bindings::blk_mq_free_request(self.rq.as_ptr()) };
    }
}

impl<T: Operations> Disk<T> {
    /// Queues a command of the driver's own, with data in `buffer`, if it is not empty, and waits
    /// until it has ended.
    ///
    /// `prepare` writes the command to the driver's data of the request, where
    /// [`Operations::queue_rq`] finds it; `finish` reads the answer there.
    ///
    /// If the device never ends it, nor [`Operations::timeout`] does, this waits forever.
    ///
    /// # Errors
    ///
    /// That of the command; `ENOMEM`; `ENODEV` if the disk is being deleted.
    #[doc(alias = "blk_execute_rq")]
    pub fn execute<R>(
        &self,
        direction: Direction,
        buffer: &mut [u8],
        prepare: impl FnOnce(Pin<&mut T::RequestData>),
        finish: impl FnOnce(Pin<&mut T::RequestData>) -> R,
    ) -> Result<R> {
        let entered = self.enter()?;
        let operation = match direction {
            Direction::FromDevice => bindings::req_op_REQ_OP_DRV_IN,
            Direction::ToDevice => bindings::req_op_REQ_OP_DRV_OUT,
        };

        // SAFETY: The queue is valid as long as `entered` is.
        let rq = unsafe { bindings::blk_mq_alloc_request(entered.queue(), operation, 0) };
        let rq = from_err_ptr(rq)?;
        // INVARIANT: It was just allocated. As long as it is, its disk lives.
        let mut request = Idle::<T> {
            rq: NonNull::new(rq).ok_or(ENOMEM)?,
            _disk: PhantomData,
        };

        if !buffer.is_empty() {
            // SAFETY: The request is not queued. The buffer is valid, and this has it, until the
            // request has ended below.
            to_result(unsafe {
                bindings::blk_rq_map_kern(
                    rq,
                    buffer.as_mut_ptr().cast(),
                    c_uint::try_from(buffer.len())?,
                    bindings::GFP_KERNEL,
                )
            })?;
        }
        prepare(request.data());

        // SAFETY: The request is one of the driver's own, and not queued. When this returns, it has
        // ended, and was not freed.
        let status = unsafe { bindings::blk_execute_rq(rq, false) };
        Status::from_raw(status).to_result()?;
        Ok(finish(request.data()))
    }
}
