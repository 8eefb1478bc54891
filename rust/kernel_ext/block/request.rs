// SPDX-License-Identifier: GPL-2.0

//! Requests, and what they have in memory.

use super::{
    operation::{
        Flags,
        Operation,
        OperationNumber, //
    },
    operations::{
        Operations,
        Rejected,
        Retry, //
    },
    queue::Queue,
    segment::{
        Ranges,
        Segments, //
    },
    status::Status, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    mem::{
        align_of,
        size_of,
        ManuallyDrop, //
    },
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::prelude::*;

/// What this layer keeps with each `struct request`, right behind it. The scatter list comes next.
#[repr(C)]
pub(super) struct Pdu<T: Operations> {
    header: Header,
    /// The driver's, pinned.
    data: T::RequestData,
}

/// What this layer keeps of each request.
#[derive(Clone, Copy)]
struct Header {
    /// How the request ended, while somebody else is to tell.
    status: Status,
    /// How many segments the scatter list has room for.
    capacity: u16,
    /// How many segments are in it.
    mapped: u16,
}

impl<T: Operations> Pdu<T> {
    const OFFSET: usize = size_of::<bindings::request>().next_multiple_of(align_of::<Self>());
    const LIST: usize =
        (Self::OFFSET + size_of::<Self>()).next_multiple_of(align_of::<bindings::scatterlist>());

    /// Returns how many bytes there are behind each `struct request`.
    pub(super) fn size(segments: u16) -> Result<u32> {
        let list = usize::from(segments) * size_of::<bindings::scatterlist>();
        Ok(u32::try_from(
            Self::LIST + list - size_of::<bindings::request>(),
        )?)
    }

    /// Returns what belongs to a request.
    fn of(rq: *mut bindings::request) -> *mut Self {
        rq.wrapping_byte_add(Self::OFFSET).cast()
    }

    /// Returns the first entry of a request's scatter list.
    fn list(rq: *mut bindings::request) -> *mut bindings::scatterlist {
        rq.wrapping_byte_add(Self::LIST).cast()
    }

    /// Returns what this layer keeps.
    fn header(rq: *mut bindings::request) -> *mut Header {
        // CAST: It is the first field.
        Self::of(rq).cast()
    }

    /// Returns the driver's data.
    pub(super) fn data(rq: *mut bindings::request) -> *mut T::RequestData {
        let pdu = Self::of(rq);
        // SAFETY: There are `size` bytes behind each request, so this is within its allocation.
        unsafe { &raw mut (*pdu).data }
    }

    /// Makes what belongs to a request.
    ///
    /// # Safety
    ///
    /// `rq` must be valid, not in use, and have `size(segments)` bytes behind it.
    pub(super) unsafe fn init(
        rq: *mut bindings::request,
        segments: u16,
        data: impl PinInit<T::RequestData, Error>,
    ) -> Result {
        let pdu = Self::of(rq);
        // The block layer aligns requests to cache lines.
        if !pdu.is_aligned() {
            return Err(EINVAL);
        }

        // SAFETY: By the safety requirements, the driver's data is valid for writes, and does not
        // move. If this fails, it is not looked at again.
        unsafe { pin_init::raw_try_init(Self::data(rq), data) }?;

        let header = Header {
            status: Status::IO_ERROR,
            capacity: segments,
            mapped: 0,
        };
        // SAFETY: By the safety requirements, this is valid for writes.
        unsafe { Self::header(rq).write(header) };
        if segments > 0 {
            // SAFETY: There is room for so many entries.
            unsafe { bindings::sg_init_table(Self::list(rq), c_uint::from(segments)) };
        }
        Ok(())
    }

    /// Drops what belongs to a request.
    ///
    /// # Safety
    ///
    /// `init` must have succeeded for `rq`, which must not be in use, nor be used any more.
    pub(super) unsafe fn exit(rq: *mut bindings::request) {
        // SAFETY: By the safety requirements, it is initialized, and nobody uses it.
        unsafe { ptr::drop_in_place(Self::data(rq)) };
    }
}

/// A request that was started, and that only its owner can end.
///
/// Ending it consumes it, so it is ended once. If it is dropped, it ends with
/// [`Status::IO_ERROR`]. While it lives, so does its disk: whoever keeps one keeps the disk from
/// being deleted.
///
/// # Invariants
///
/// - `rq` is a valid request of a disk with operations `T`, with what [`Operations::init_request`]
///   made.
/// - It was started and has not ended; nobody else ends it, or accesses that.
#[must_use = "a request that is dropped fails"]
#[doc(alias = "request")]
pub struct Request<T: Operations> {
    rq: NonNull<bindings::request>,
    _operations: PhantomData<T>,
}

// SAFETY: A request may be used and ended by any thread, and its data can be sent.
unsafe impl<T: Operations> Send for Request<T> {}

/// When requests that go back to the block layer are to come again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Again {
    /// As soon as possible.
    Now,
    /// When [`Disk::kick_requeued`](super::Disk::kick_requeued) is called.
    WhenKicked,
}

impl<T: Operations> Request<T> {
    /// Takes a request over.
    ///
    /// # Safety
    ///
    /// The type invariants must hold for `rq`: it comes from [`Request::into_raw`], or was handed
    /// over by the block layer and was started.
    pub(crate) unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            rq,
            _operations: PhantomData,
        }
    }

    /// Gives a request up, for its pointer. It must come back by [`Request::from_raw`], sooner or
    /// later: until then it has not ended.
    pub(crate) fn into_raw(self) -> NonNull<bindings::request> {
        ManuallyDrop::new(self).rq
    }

    /// Starts a request that the block layer hands over.
    ///
    /// # Safety
    ///
    /// `rq` must be a request of a disk with operations `T` that is to be queued now; the caller
    /// has it.
    pub(super) unsafe fn start(rq: NonNull<bindings::request>) -> Self {
        // SAFETY: By the safety requirements, it is valid, and not started.
        unsafe { bindings::blk_mq_start_request(rq.as_ptr()) };
        // SAFETY: By the safety requirements, the caller has the request. It was just started.
        unsafe { Self::from_raw(rq) }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::request {
        self.rq.as_ptr()
    }

    /// Returns what the request asks for.
    pub fn operation(&self) -> Operation {
        // SAFETY: By the type invariant, `rq` is valid.
        Operation::from_raw(unsafe { (*self.as_raw()).cmd_flags })
    }

    /// Returns the number of what it asks for.
    pub fn operation_number(&self) -> OperationNumber {
        // SAFETY: By the type invariant, `rq` is valid.
        OperationNumber::from_raw(unsafe { (*self.as_raw()).cmd_flags })
    }

    /// Returns how it is to be done.
    pub fn flags(&self) -> Flags {
        // SAFETY: By the type invariant, `rq` is valid.
        Flags::from_raw(unsafe { (*self.as_raw()).cmd_flags })
    }

    /// Returns the first sector, of 512 bytes each. It means nothing for commands of the driver's
    /// own.
    #[doc(alias = "blk_rq_pos")]
    pub fn sector(&self) -> u64 {
        // SAFETY: By the type invariant, `rq` is valid.
        unsafe { (*self.as_raw()).__sector }
    }

    /// Returns how many bytes the request is about.
    #[doc(alias = "blk_rq_bytes")]
    pub fn bytes(&self) -> u32 {
        // SAFETY: By the type invariant, `rq` is valid.
        unsafe { (*self.as_raw()).__data_len }
    }

    /// Returns how many segments the data has, or a discard has ranges, at most.
    #[doc(alias = "blk_rq_nr_phys_segments")]
    pub fn segment_count(&self) -> u16 {
        // SAFETY: By the type invariant, `rq` is valid.
        unsafe { (*self.as_raw()).nr_phys_segments }
    }

    /// Returns a number that no other request of its hardware queue has.
    pub fn tag(&self) -> u32 {
        // SAFETY: By the type invariant, `rq` is valid.
        let tag = unsafe { (*self.as_raw()).tag };
        // A started request has one.
        u32::try_from(tag).unwrap_or(u32::MAX)
    }

    /// Returns a number that no other request of its disk has.
    #[doc(alias = "blk_mq_unique_tag")]
    pub fn unique_tag(&self) -> u32 {
        // SAFETY: By the type invariant, `rq` is valid.
        unsafe { bindings::blk_mq_unique_tag(self.as_raw()) }
    }

    /// Returns the priority of who asks, in the encoding of `ioprio_set`.
    #[doc(alias = "req_get_ioprio")]
    pub fn priority(&self) -> u16 {
        // SAFETY: By the type invariant, `rq` is valid.
        let bio = unsafe { (*self.as_raw()).bio };
        // SAFETY: It is null, or a `bio` of the request, which is valid until that ends.
        unsafe { bio.as_ref() }.map_or(0, |bio| bio.bi_ioprio)
    }

    /// Returns the hardware queue.
    pub fn queue(&self) -> Queue<'_, T> {
        // SAFETY: By the type invariant, `rq` is valid.
        let hctx = unsafe { (*self.as_raw()).mq_hctx };
        // SAFETY: A request that has not ended has a queue, which lives for longer.
        unsafe { Queue::from_raw(hctx) }
    }

    /// Returns the driver's data of the request. It is that of its tag: what the last request with
    /// that tag left in it is still there.
    pub fn data(&mut self) -> Pin<&mut T::RequestData> {
        // SAFETY: By the type invariant, the data is initialized, and nobody else accesses it.
        let data = unsafe { &mut *Pdu::<T>::data(self.as_raw()) };
        // SAFETY: It does not move until it is dropped.
        unsafe { Pin::new_unchecked(data) }
    }

    /// Tells whether there is data to be transferred.
    #[doc(alias = "blk_rq_has_data")]
    pub fn has_data(&self) -> bool {
        self.bytes() != 0 && self.operation().direction().is_some()
    }

    /// Tells whether there is data that the device is to write to memory.
    pub fn reads(&self) -> bool {
        // SAFETY: By the type invariant, `rq` is valid.
        let flags = unsafe { (*self.as_raw()).cmd_flags };
        self.bytes() != 0 && Operation::reads(flags)
    }

    /// Returns the data, in parts that each lie within a page, for those that copy it.
    #[doc(alias = "rq_for_each_segment")]
    pub fn segments(&self) -> Segments<'_> {
        let direction = self.operation().direction();
        let bio = if self.has_data() {
            // SAFETY: By the type invariant, `rq` is valid.
            unsafe { (*self.as_raw()).bio }
        } else {
            ptr::null_mut()
        };
        // SAFETY: `bio` is null, or the first of the request, which is valid until that ends; the
        // request is borrowed.
        unsafe { Segments::new(bio, direction) }
    }

    /// Returns the ranges of sectors that the request is about. Only a discard has several: up to
    /// the limit of its disk.
    pub fn ranges(&self) -> Ranges<'_> {
        // SAFETY: By the type invariant, `rq` is valid.
        let q = unsafe { (*self.as_raw()).q };
        // SAFETY: A request that has not ended has a queue, which lives for longer.
        let several = unsafe { (*q).limits.max_discard_segments } > 1;

        if several && self.operation() == Operation::Discard {
            // SAFETY: By the type invariant, `rq` is valid.
            let bio = unsafe { (*self.as_raw()).bio };
            // SAFETY: `bio` is null, or the first of the request, which is valid until that ends;
            // the request is borrowed.
            unsafe { Ranges::of_bios(bio) }
        } else {
            Ranges::single(self.sector(), self.bytes())
        }
    }

    /// Lists the memory of the data in the request's scatter list, and returns how many entries it
    /// has: none, if there is no data.
    ///
    /// Cost: one call of a C function.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no room, which cannot be if the disk has no larger limit than its tag
    /// set has segments.
    #[doc(alias = "blk_rq_map_sg")]
    pub fn map(&mut self) -> Result<u16> {
        let rq = self.as_raw();
        let mut mapped = 0;
        if self.has_data() {
            if self.segment_count() > self.header().capacity {
                return Err(EINVAL);
            }
            let mut last = ptr::null_mut();
            let list = Pdu::<T>::list(rq);
            // SAFETY: By the type invariant, `rq` is valid. There is room for the segments that it
            // has, in a list that was initialized.
            let count = unsafe { bindings::__blk_rq_map_sg(rq, list, &mut last) };
            mapped = u16::try_from(count)?;
        }
        self.header_mut().mapped = mapped;
        Ok(mapped)
    }

    fn header(&self) -> &Header {
        // SAFETY: By the type invariant, this is initialized, and nobody else accesses it.
        unsafe { &*Pdu::<T>::header(self.as_raw()) }
    }

    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: By the type invariant, this is initialized, and nobody else accesses it.
        unsafe { &mut *Pdu::<T>::header(self.as_raw()) }
    }

    /// Returns the scatter list that [`Request::map`] made.
    pub(crate) fn list(&mut self) -> List<'_> {
        List {
            first: Pdu::<T>::list(self.as_raw()),
            mapped: self.header().mapped,
            _request: PhantomData,
        }
    }

    /// Ends the request. Whoever waits for it goes on.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "blk_mq_end_request")]
    pub fn end(self, status: Status) {
        let rq = self.into_raw();
        // SAFETY: By the type invariant, the request was started, and only this ends it.
        unsafe { bindings::blk_mq_end_request(rq.as_ptr(), status.as_raw()) };
    }

    /// Has the request end on the CPU that it comes from, if that is far away, or else here and
    /// now. The driver hears of it, if it has [`Operations::complete`].
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "blk_mq_complete_request")]
    pub fn complete(self, status: Status) {
        if let Err(request) = self.complete_remote(status) {
            request.finish(status);
        }
    }

    /// Has the request end on the CPU that it comes from, or in softirq context, or gives it back:
    /// then it is to end here and now.
    #[doc(alias = "blk_mq_complete_request_remote")]
    pub(super) fn complete_remote(mut self, status: Status) -> Result<(), Self> {
        self.set_status(status);
        let rq = self.into_raw();
        // SAFETY: By the type invariant, the request was started, and only this ends it. If this
        // returns true, `complete_callback` gets it.
        if unsafe { bindings::blk_mq_complete_request_remote(rq.as_ptr()) } {
            Ok(())
        } else {
            // SAFETY: Nobody else has it after all.
            Err(unsafe { Self::from_raw(rq) })
        }
    }

    /// Ends the request, where it is to end.
    pub(super) fn finish(self, status: Status) {
        if T::HAS_COMPLETE {
            T::complete(self, status);
        } else {
            self.end(status);
        }
    }

    /// Returns what [`Request::set_status`] was called with.
    pub(super) fn status(&self) -> Status {
        self.header().status
    }

    /// Remembers how the request is to end.
    pub(super) fn set_status(&mut self, status: Status) {
        self.header_mut().status = status;
    }

    /// Makes what [`Operations::queue_rq`] returns if it cannot queue this now.
    pub fn reject(self, retry: Retry) -> Rejected<T> {
        Rejected {
            request: self,
            retry,
        }
    }

    /// Gives the request back to the block layer, as if it had not been queued.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "blk_mq_requeue_request")]
    pub fn requeue(self, again: Again) {
        let rq = self.into_raw();
        // SAFETY: By the type invariant, the request was started and has not ended, and nobody else
        // has it.
        unsafe { bindings::blk_mq_requeue_request(rq.as_ptr(), again == Again::Now) };
    }
}

impl<T: Operations> Drop for Request<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the request was started, and only this ends it.
        unsafe { bindings::blk_mq_end_request(self.as_raw(), Status::IO_ERROR.as_raw()) };
    }
}

/// The scatter list of a request: its last entry has an end mark.
pub(crate) struct List<'a> {
    first: *mut bindings::scatterlist,
    mapped: u16,
    _request: PhantomData<&'a mut bindings::scatterlist>,
}

impl List<'_> {
    /// Returns how many entries there are.
    pub(crate) fn len(&self) -> u16 {
        self.mapped
    }

    /// Returns the first entry, if there is any.
    pub(crate) fn data(&mut self) -> *mut bindings::scatterlist {
        self.first
    }
}

/// A request that may be about to end, and be used again, at any time: what can be told of it
/// nevertheless.
///
/// # Invariants
///
/// `rq` is a request of a disk with operations `T`, and keeps its tag for `'a`.
#[doc(alias = "request")]
pub struct InFlight<'a, T: Operations> {
    rq: *mut bindings::request,
    _request: PhantomData<&'a T>,
}

impl<T: Operations> InFlight<'_, T> {
    /// Borrows a request.
    ///
    /// # Safety
    ///
    /// The type invariants must hold, for a lifetime that the caller chooses.
    pub(super) unsafe fn from_raw(rq: *mut bindings::request) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            rq,
            _request: PhantomData,
        }
    }

    /// Returns the request's tag, unless it has just been requeued.
    pub fn tag(&self) -> Option<u32> {
        // SAFETY: By the type invariant, `rq` is valid.
        let tag = unsafe { &raw const (*self.rq).tag };
        // SAFETY: As above. It may change at any time, as a whole.
        u32::try_from(unsafe { tag.read_volatile() }).ok()
    }

    /// Returns what the request asks for.
    pub fn operation(&self) -> Operation {
        // SAFETY: By the type invariant, `rq` is valid.
        let flags = unsafe { &raw const (*self.rq).cmd_flags };
        // SAFETY: As above. The operation does not change, what is with it may do so.
        Operation::from_raw(unsafe { flags.read_volatile() })
    }

    /// Returns the hardware queue.
    pub fn queue(&self) -> Queue<'_, T> {
        // SAFETY: By the type invariant, `rq` is valid.
        let hctx = unsafe { (*self.rq).mq_hctx };
        // SAFETY: A request that keeps its tag has a queue, which lives for longer.
        unsafe { Queue::from_raw(hctx) }
    }
}
