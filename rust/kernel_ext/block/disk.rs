// SPDX-License-Identifier: GPL-2.0

//! Disks: what others do to them, through the driver.

use super::{
    inner::{
        Inner,
        Use, //
    },
    limits::WriteCache,
    operations::Operations,
    request::InFlight, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    error::to_result,
    prelude::*,
    sync::{
        atomic::Acquire,
        rcu,
        Arc, //
    },
    time::Jiffies,
};

/// A disk, for its driver, which may have several of these: they are handles.
///
/// The disk itself is owned by what ends it before the driver's data goes away; see
/// [`Standalone`](super::Standalone). From then on the handles do nothing but return errors.
///
/// Unless they say otherwise, the methods are for process context, and may sleep.
#[doc(alias = "gendisk")]
pub struct Disk<T: Operations>(pub(super) Arc<Inner<T>>);

impl<T: Operations> Clone for Disk<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Operations> Disk<T> {
    /// Keeps the disk from being ended.
    pub(super) fn enter(&self) -> Result<Use<'_, T>> {
        Use::new(&self.0)
    }

    /// Makes the disk known to the rest of the kernel, which reads its partition table before this
    /// returns.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a disk of this name; `EBUSY` if this was called before, even if it
    /// failed: then a new disk is needed.
    #[doc(alias = "device_add_disk")]
    pub fn add(&self) -> Result {
        let entered = self.enter()?;
        entered.claim_add()?;

        let parent = match &self.0.parent {
            Some(parent) => ptr::from_ref(&**parent).cast_mut().cast(),
            None => ptr::null_mut(),
        };
        let groups = self.0.attributes.as_ptr().cast();
        // SAFETY:
        // - The disk is valid as long as `entered` is, and was not added.
        // - The parent is null, or valid.
        // - The attributes live until the disk is deleted: `self.0` outlives that.
        let result = unsafe { bindings::device_add_disk(parent, entered.disk(), groups) };
        let result = to_result(result);
        if result.is_ok() {
            entered.set_added();
        }
        result
    }

    /// Returns the capacity, in sectors.
    #[doc(alias = "get_capacity")]
    pub fn capacity(&self) -> Result<u64> {
        let entered = self.enter()?;
        // SAFETY: The disk is valid as long as `entered` is.
        Ok(unsafe { bindings::get_capacity(entered.disk()) })
    }

    /// Changes the capacity, in sectors, and tells users about it. Returns whether it did: not if
    /// the disk was not added, or had that capacity.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is too large.
    #[doc(alias = "set_capacity_and_notify")]
    pub fn set_capacity(&self, sectors: u64) -> Result<bool> {
        if sectors > super::MAX_CAPACITY {
            return Err(EINVAL);
        }
        let entered = self.enter()?;
        // SAFETY: The disk is valid as long as `entered` is.
        Ok(unsafe { bindings::set_capacity_and_notify(entered.disk(), sectors) })
    }

    /// Keeps users from writing.
    #[doc(alias = "set_disk_ro")]
    pub fn set_read_only(&self) -> Result {
        let entered = self.enter()?;
        // SAFETY: The disk is valid as long as `entered` is.
        unsafe { bindings::set_disk_ro(entered.disk(), true) };
        Ok(())
    }

    /// Lets users write.
    #[doc(alias = "set_disk_ro")]
    pub fn set_writable(&self) -> Result {
        let entered = self.enter()?;
        // SAFETY: The disk is valid as long as `entered` is.
        unsafe { bindings::set_disk_ro(entered.disk(), false) };
        Ok(())
    }

    /// Changes what becomes of writes. A disk cannot become one that writes without its cache.
    pub fn set_write_cache(&self, cache: WriteCache) -> Result {
        let entered = self.enter()?;
        // SAFETY: The queue is valid as long as `entered` is.
        to_result(unsafe {
            bindings::blk_set_write_cache(entered.queue(), cache != WriteCache::None)
        })
    }

    /// Says that the device is gone: what is not queued yet fails, and filesystems are told. What is
    /// queued is up to the driver.
    #[doc(alias = "blk_mark_disk_dead")]
    pub fn mark_dead(&self) -> Result {
        let entered = self.enter()?;
        if !entered.was_added() {
            return Err(ENODEV);
        }
        // SAFETY: The disk is valid as long as `entered` is, and was added.
        unsafe { bindings::blk_mark_disk_dead(entered.disk()) };
        Ok(())
    }

    /// Starts the queues that were [stopped](super::Queue::stop).
    ///
    /// # Context
    ///
    /// Any. Cost: one test of a bit for each queue.
    #[doc(alias = "blk_mq_start_stopped_hw_queues")]
    pub fn start_stopped(&self) {
        let _guard = rcu::read_lock();
        if self.0.live.load(Acquire) != 0 {
            // SAFETY: The disk is live, and waits for the guard before it is put.
            let q = unsafe { (*self.0.disk).queue };
            // SAFETY: A disk has a queue, which lives as long.
            unsafe { bindings::blk_mq_start_stopped_hw_queues(q, true) };
        }
    }

    /// Starts a queue, by its number, if it was [stopped](super::Queue::stop).
    ///
    /// # Context
    ///
    /// Any. Cost: one test of a bit.
    #[doc(alias = "blk_mq_start_stopped_hw_queue")]
    pub fn start_stopped_queue(&self, index: u32) {
        let _guard = rcu::read_lock();
        if self.0.live.load(Acquire) == 0 {
            return;
        }
        // SAFETY: The disk is live, and waits for the guard before it is put.
        let q = unsafe { (*self.0.disk).queue };
        // SAFETY: A disk has a queue, which lives as long. The number of queues does not change.
        if index >= unsafe { (*q).nr_hw_queues } {
            return;
        }
        // SAFETY: As above; neither does their array.
        let queues = unsafe { (*q).queue_hw_ctx };
        // CAST: This only widens.
        //
        // SAFETY: The array has as many elements as there are queues.
        let hctx = unsafe { *queues.wrapping_add(index as usize) };
        // SAFETY: Hardware queues live as long as their request queue.
        unsafe { bindings::blk_mq_start_stopped_hw_queue(hctx, true) };
    }

    /// Has the requests queued that wait for it: see [`Again::WhenKicked`](super::Again).
    #[doc(alias = "blk_mq_kick_requeue_list")]
    pub fn kick_requeued(&self) -> Result {
        let entered = self.enter()?;
        // SAFETY: The queue is valid as long as `entered` is; deleting the disk waits for the work.
        unsafe { bindings::blk_mq_kick_requeue_list(entered.queue()) };
        Ok(())
    }

    /// Waits until no request is left, and lets none in until the guard is dropped.
    ///
    /// If the device does not work, this waits forever: then there is [`Disk::quiesce`].
    #[doc(alias = "blk_mq_freeze_queue")]
    pub fn freeze(&self) -> Result<Frozen<'_, T>> {
        let entered = self.enter()?;
        // SAFETY: The queue is valid as long as `entered` is.
        let memflags = unsafe { bindings::blk_mq_freeze_queue(entered.queue()) };
        // INVARIANT: It was just frozen.
        Ok(Frozen {
            entered,
            memflags,
            _not_send: PhantomData,
        })
    }

    /// As [`Disk::freeze`], but gives up after some time: nothing has changed then.
    ///
    /// # Errors
    ///
    /// `ETIMEDOUT` if requests are left.
    #[doc(alias = "blk_mq_freeze_queue_wait_timeout")]
    pub fn freeze_within(&self, limit: Jiffies) -> Result<Frozen<'_, T>> {
        let entered = self.enter()?;
        let mut memflags = 0;
        // SAFETY: The queue is valid as long as `entered` is.
        let is_frozen =
            unsafe { bindings::blk_mq_freeze_queue_within(entered.queue(), limit, &mut memflags) };
        if !is_frozen {
            return Err(ETIMEDOUT);
        }
        // INVARIANT: It was just frozen.
        Ok(Frozen {
            entered,
            memflags,
            _not_send: PhantomData,
        })
    }

    /// Waits until no call of [`Operations::queue_rq`] and its like runs, and lets none run until
    /// the guard is dropped, or the disk is ended. Requests that the device has are not waited for.
    #[doc(alias = "blk_mq_quiesce_queue")]
    pub fn quiesce(&self) -> Result<Quiesced<T>> {
        let entered = self.enter()?;
        // SAFETY: The queue is valid as long as `entered` is.
        unsafe { bindings::blk_mq_quiesce_queue(entered.queue()) };
        entered.count_quiesced();
        Ok(Quiesced(self.clone()))
    }

    /// Calls a function for each request that the driver has, or has just ended.
    ///
    /// The function must not wait for a request.
    #[doc(alias = "blk_mq_tagset_busy_iter")]
    pub fn for_each_in_flight<F: FnMut(InFlight<'_, T>)>(&self, mut function: F) -> Result {
        let entered = self.enter()?;
        let function: *mut F = &mut function;

        // SAFETY: The tag set is valid as long as `entered` is. The callback gets what it expects.
        unsafe {
            bindings::blk_mq_tagset_busy_iter(
                entered.tag_set(),
                Some(visit::<T, F>),
                function.cast(),
            )
        };
        Ok(())
    }
}

/// Calls a function with a request.
///
/// # Safety
///
/// `rq` must be a request of a disk with operations `T` that keeps its tag while this runs, and
/// `function` a valid `F` that nobody else uses.
unsafe extern "C" fn visit<T: Operations, F: FnMut(InFlight<'_, T>)>(
    rq: *mut bindings::request,
    function: *mut c_void,
) -> bool {
    // SAFETY: By the safety requirements.
    let function = unsafe { &mut *function.cast::<F>() };
    // SAFETY: By the safety requirements.
    function(unsafe { InFlight::from_raw(rq) });
    true
}

/// A disk that is frozen: it has no request. Only the task that froze it can thaw it, and it should
/// not be long.
///
/// # Invariants
///
/// The queue of `entered` was frozen by this task, with `memflags`.
#[must_use = "a disk is thawed when this is dropped"]
pub struct Frozen<'a, T: Operations> {
    entered: Use<'a, T>,
    memflags: c_uint,
    _not_send: PhantomData<*mut ()>,
}

impl<T: Operations> Drop for Frozen<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the queue was frozen by this task.
        unsafe { bindings::blk_mq_unfreeze_queue(self.entered.queue(), self.memflags) };
    }
}

/// A disk whose requests wait. It may be kept, as long as a device is suspended or reset; if the
/// disk is ended, they go on.
#[must_use = "requests go on when this is dropped"]
pub struct Quiesced<T: Operations>(Disk<T>);

impl<T: Operations> Drop for Quiesced<T> {
    fn drop(&mut self) {
        self.0 .0.unquiesce();
    }
}
