// SPDX-License-Identifier: GPL-2.0

//! What a driver does with requests, and how the block layer calls it.

use super::{
    batch::{
        CompletionBatch,
        RequestList, //
    },
    queue::Queue,
    request::{
        Again,
        InFlight,
        Pdu,
        Request, //
    },
    status::Status,
    tag_set::{
        QueueMap,
        TagSet, //
    },
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        VTABLE_DEFAULT_ERROR, //
    },
    prelude::*, //
};

/// Whether a request is the last one of several, for now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Last {
    /// Nothing follows: this is the time to tell the device.
    Yes,
    /// More follow, or else [`Operations::commit_rqs`] is called.
    No,
}

/// A request that could not be queued now.
pub struct Rejected<T: Operations> {
    /// The request that was to be queued.
    pub request: Request<T>,
    /// When to try again.
    pub retry: Retry,
}

/// When a request that could not be queued is to be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// Soon: there was too little memory, or something else that the kernel shares.
    #[doc(alias = "BLK_STS_RESOURCE")]
    Soon,
    /// When another request of the disk ends: the device is full. There must be such a request, and
    /// it must not end in a [`CompletionBatch`], which has nobody look for what is to be tried again.
    /// That somebody starts the queue is not enough: it may come before the request is put back.
    #[doc(alias = "BLK_STS_DEV_RESOURCE")]
    WhenSomeEnd,
}

/// What to do about a request that takes too long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "blk_eh_timer_return")]
pub enum Expired {
    /// Wait once more.
    #[doc(alias = "BLK_EH_RESET_TIMER")]
    Wait,
    /// Nothing: it has ended, or the driver sees to it that it will.
    #[doc(alias = "BLK_EH_DONE")]
    Handled,
}

/// What a driver does with requests.
///
/// The driver's data lives for longer than any call, and any request: see
/// [`Disk`](super::Disk). Calls may run on several CPUs at once, and for the same queue, except that
/// one CPU at a time maps queues and makes requests.
///
/// # Examples
///
/// See `samples/ramdisk.rs`.
#[vtable]
#[doc(alias = "blk_mq_ops")]
pub trait Operations: Sized + 'static {
    /// The driver's data, which calls share.
    type Data<'bound>: Send + Sync + 'bound;

    /// What the driver keeps with each request. It is made once, and outlives many requests.
    type RequestData: Send + 'static;

    /// Makes what the driver keeps with a request, of a queue by its number.
    ///
    /// # Context
    ///
    /// Process context; memory is allocated with `GFP_NOIO`.
    fn init_request<'a>(
        data: Pin<&'a Self::Data<'a>>,
        queue: u32,
    ) -> impl PinInit<Self::RequestData, Error>;

    /// Queues a request: whoever has it ends it.
    ///
    /// # Errors
    ///
    /// The request, if it cannot be queued now. One that cannot be done at all is ended.
    ///
    /// # Context
    ///
    /// Process context, mostly, with preemption disabled or not; this must not sleep.
    fn queue_rq(
        data: Pin<&Self::Data<'_>>,
        queue: Queue<'_, Self>,
        request: Request<Self>,
        last: Last,
    ) -> Result<(), Rejected<Self>>;

    /// Queues some requests, of any of the disk's queues. What is left in the list is queued by
    /// [`Operations::queue_rq`].
    ///
    /// # Context
    ///
    /// As [`Operations::queue_rq`].
    fn queue_rqs(data: Pin<&Self::Data<'_>>, requests: &mut RequestList<'_, Self>) {
        let _ = (data, requests);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells the device of the requests that were queued, although the last one was not
    /// [`Last::Yes`].
    ///
    /// # Context
    ///
    /// As [`Operations::queue_rq`].
    fn commit_rqs(data: Pin<&Self::Data<'_>>, queue: Queue<'_, Self>) {
        let _ = (data, queue);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Ends a request on which [`Request::complete`] or [`CompletionBatch::complete`] was called,
    /// where it is to end. Without this, it just ends.
    ///
    /// # Context
    ///
    /// Any.
    fn complete(request: Request<Self>, status: Status) {
        let _ = (request, status);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Looks for requests of a queue of kind [`Poll`](super::QueueKind::Poll) that are done, and
    /// gives them to `batch`.
    ///
    /// # Context
    ///
    /// Process context, perhaps on several CPUs at once; this must not sleep.
    fn poll(data: Pin<&Self::Data<'_>>, queue: Queue<'_, Self>, batch: &mut CompletionBatch<Self>) {
        let _ = (data, queue, batch);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when a request takes longer than [`TagSetOptions::timeout`](super::TagSetOptions);
    /// it may end meanwhile. Without this, it may take as long as it likes.
    ///
    /// # Context
    ///
    /// Process context. One that waits for the disk's requests here would wait forever.
    fn timeout(data: Pin<&Self::Data<'_>>, request: InFlight<'_, Self>) -> Expired {
        let _ = (data, request);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Says which CPU uses which queue. Without this, CPUs are spread evenly.
    ///
    /// # Context
    ///
    /// Process context, while the tag set is made.
    fn map_queues(data: Pin<&Self::Data<'_>>, map: QueueMap<'_>) {
        let _ = (data, map);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when the disk is about to be deleted. That waits for each request which was queued,
    /// so if the device does not work any more, those that it has must be ended here, and those
    /// that follow, by [`Operations::queue_rq`].
    ///
    /// # Context
    ///
    /// Process context.
    fn deleting(data: Pin<&Self::Data<'_>>) {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}

/// The callbacks of the block layer, for a driver.
pub(super) struct Callbacks<T: Operations>(PhantomData<T>);

impl<T: Operations> Callbacks<T> {
    /// The table of callbacks.
    pub(super) const TABLE: &'static bindings::blk_mq_ops = &bindings::blk_mq_ops {
        queue_rq: Some(Self::queue_rq),
        commit_rqs: if T::HAS_COMMIT_RQS {
            Some(Self::commit_rqs)
        } else {
            None
        },
        queue_rqs: if T::HAS_QUEUE_RQS {
            Some(Self::queue_rqs)
        } else {
            None
        },
        get_budget: None,
        put_budget: None,
        set_rq_budget_token: None,
        get_rq_budget_token: None,
        timeout: if T::HAS_TIMEOUT {
            Some(Self::timeout)
        } else {
            None
        },
        poll: if T::HAS_POLL { Some(Self::poll) } else { None },
        complete: Some(Self::complete),
        init_hctx: Some(Self::init_hctx),
        exit_hctx: None,
        init_request: Some(Self::init_request),
        exit_request: Some(Self::exit_request),
        cleanup_rq: None,
        busy: None,
        map_queues: if T::HAS_MAP_QUEUES {
            Some(Self::map_queues)
        } else {
            Some(Self::map_evenly)
        },
        #[cfg(CONFIG_BLK_DEBUG_FS)]
        show_rq: None,
    };

    /// Borrows the driver's data of a request.
    ///
    /// # Safety
    ///
    /// `rq` must be a request that was queued, of a disk with operations `T`, for as long as the
    /// result is used.
    unsafe fn data_of<'a>(rq: *mut bindings::request) -> Pin<&'a T::Data<'a>> {
        // SAFETY: By the safety requirements, `rq` is valid.
        let hctx = unsafe { (*rq).mq_hctx };
        // SAFETY: A request that was queued has a queue; the data outlives each request.
        unsafe { Queue::<T>::from_raw(hctx) }.data()
    }

    /// Queues a request.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a disk with operations `T`.
    unsafe extern "C" fn queue_rq(
        hctx: *mut bindings::blk_mq_hw_ctx,
        bd: *const bindings::blk_mq_queue_data,
    ) -> bindings::blk_status_t {
        // SAFETY: By the safety requirements, `hctx` is valid. The driver's data outlives the queue.
        let queue = unsafe { Queue::<T>::from_raw(hctx) };
        // SAFETY: By the safety requirements, `bd` is valid.
        let bd = unsafe { &*bd };
        let Some(rq) = NonNull::new(bd.rq) else {
            return Status::IO_ERROR.as_raw();
        };
        // SAFETY: By the safety requirements, this request is to be queued now.
        let request = unsafe { Request::<T>::start(rq) };
        let last = if bd.last { Last::Yes } else { Last::No };

        let Err(rejected) = T::queue_rq(queue.data(), queue, request, last) else {
            return Status::OK.as_raw();
        };
        if rejected.request.as_raw() != rq.as_ptr() {
            // A driver that mixes them up has this one still.
            rejected.request.requeue(Again::Now);
            return Status::OK.as_raw();
        }
        // The block layer has the request again.
        let _ = rejected.request.into_raw();
        match rejected.retry {
            Retry::Soon => bindings::RUST_CONST_BLK_STS_RESOURCE,
            Retry::WhenSomeEnd => bindings::RUST_CONST_BLK_STS_DEV_RESOURCE,
        }
    }

    /// Queues some requests.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a disk with operations `T`.
    unsafe extern "C" fn queue_rqs(list: *mut bindings::rq_list) {
        // SAFETY: By the safety requirements, `list` is valid.
        let first = unsafe { (*list).head };
        if first.is_null() {
            return;
        }
        // SAFETY: By the safety requirements, the request is to be queued. The list may become empty,
        // but the disk does not go away as long as this runs.
        let data = unsafe { Self::data_of(first) };
        // SAFETY: By the safety requirements, requests of the list are to be queued now.
        let mut requests = unsafe { RequestList::from_raw(list) };
        T::queue_rqs(data, &mut requests);
    }

    /// Tells the device of requests.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a disk with operations `T`.
    unsafe extern "C" fn commit_rqs(hctx: *mut bindings::blk_mq_hw_ctx) {
        // SAFETY: By the safety requirements, `hctx` is valid. The driver's data outlives the queue.
        let queue = unsafe { Queue::<T>::from_raw(hctx) };
        T::commit_rqs(queue.data(), queue);
    }

    /// Ends a request.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a request that was given to
    /// `blk_mq_complete_request_remote`.
    unsafe extern "C" fn complete(rq: *mut bindings::request) {
        let Some(rq) = NonNull::new(rq) else {
            return;
        };
        // SAFETY: `Request::complete_remote` has given it up for this.
        let request = unsafe { Request::<T>::from_raw(rq) };
        let status = request.status();
        request.finish(status);
    }

    /// Looks for requests that are done.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a disk with operations `T`.
    unsafe extern "C" fn poll(
        hctx: *mut bindings::blk_mq_hw_ctx,
        iob: *mut bindings::io_comp_batch,
    ) -> c_int {
        // SAFETY: By the safety requirements, `hctx` is valid. The driver's data outlives the queue.
        let queue = unsafe { Queue::<T>::from_raw(hctx) };
        // SAFETY: By the safety requirements, `iob` is null, or valid for as long as this runs.
        let mut batch = unsafe { CompletionBatch::with_outer(iob) };
        T::poll(queue.data(), queue, &mut batch);
        batch.count()
    }

    /// Asks what to do about a request.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a request of a disk with operations `T`.
    unsafe extern "C" fn timeout(rq: *mut bindings::request) -> bindings::blk_eh_timer_return {
        // SAFETY: By the safety requirements, the request was queued. Its disk does not go away as
        // long as this runs.
        let data = unsafe { Self::data_of(rq) };
        // SAFETY: The block layer has a reference to the request, so it keeps its tag.
        let request = unsafe { InFlight::from_raw(rq) };
        match T::timeout(data, request) {
            Expired::Wait => bindings::blk_eh_timer_return_BLK_EH_RESET_TIMER,
            Expired::Handled => bindings::blk_eh_timer_return_BLK_EH_DONE,
        }
    }

    /// Lets a hardware queue point to the driver's data.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a queue that nobody uses yet.
    unsafe extern "C" fn init_hctx(
        hctx: *mut bindings::blk_mq_hw_ctx,
        data: *mut c_void,
        _index: c_uint,
    ) -> c_int {
        // SAFETY: By the safety requirements, `hctx` is valid, and nobody else uses it.
        unsafe { (*hctx).driver_data = data };
        0
    }

    /// Makes what belongs to a request.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a set that is the field of a [`TagSet`].
    unsafe extern "C" fn init_request(
        set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        index: c_uint,
        _node: c_int,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let (data, segments) = unsafe { TagSet::<T>::of(set) };
        from_result(|| {
            // SAFETY: By the safety requirements, `rq` is valid, not in use, and has as many bytes
            // behind it as the tag set asked for.
            unsafe { Pdu::<T>::init(rq, segments, T::init_request(data, index)) }?;
            Ok(0)
        })
    }

    /// Drops what belongs to a request.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a request that `init_request` succeeded for.
    unsafe extern "C" fn exit_request(
        _set: *mut bindings::blk_mq_tag_set,
        rq: *mut bindings::request,
        _index: c_uint,
    ) {
        // SAFETY: By the safety requirements; it is not in use any more.
        unsafe { Pdu::<T>::exit(rq) };
    }

    /// Spreads CPUs evenly.
    ///
    /// # Safety
    ///
    /// As [`Self::map_queues`].
    unsafe extern "C" fn map_evenly(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: By the safety requirements.
        let mut map = unsafe { QueueMap::from_raw::<T>(set) };
        map.evenly();
    }

    /// Asks which CPU uses which queue.
    ///
    /// # Safety
    ///
    /// Only the block layer may call this, for a set that is the field of a [`TagSet`].
    unsafe extern "C" fn map_queues(set: *mut bindings::blk_mq_tag_set) {
        // SAFETY: By the safety requirements.
        let (data, _) = unsafe { TagSet::<T>::of(set) };
        // SAFETY: By the safety requirements.
        let mut map = unsafe { QueueMap::from_raw::<T>(set) };
        // A map that is left as it is sends each CPU to a queue that exists.
        map.evenly();
        T::map_queues(data, map);
    }
}
