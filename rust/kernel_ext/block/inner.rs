// SPDX-License-Identifier: GPL-2.0

//! The life of a disk.
//!
//! ```text
//!   Owner::new     the tag set and the disk are made
//!   Disk::add      users come
//!        |
//!   drop(Owner)    no handle is in use, none can be used any more
//!        |         Operations::deleting
//!        |         requests end; the disk is deleted
//!        |         no call of an operation runs, none will
//!        |         the disk is put, the tag set freed
//!   (data ends)
//! ```

use super::{
    attribute::Attributes,
    disk::Disk,
    operations::Operations,
    options::DiskOptions,
    tag_set::TagSet, //
};
use crate::bindings;
use core::{
    mem,
    ops::Deref,
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device,
    error::from_err_ptr,
    new_condvar, new_mutex,
    prelude::*,
    static_lock_class,
    sync::{
        aref::ARef,
        atomic::{
            Atomic,
            Release, //
        },
        rcu,
        Arc,
        CondVar,
        Mutex, //
    },
};

/// How far a disk has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It was made.
    New,
    /// Somebody is adding it, or has failed to.
    Adding,
    /// It was added.
    Added,
}

/// What there is one of, for each disk.
struct State {
    phase: Phase,
    /// Whether nobody may use the disk any more.
    ended: bool,
    /// How many [`Use`] there are.
    users: u32,
    /// How many times the disk is quiesced.
    quiesced: u32,
}

/// What the handles of a disk share.
///
/// # Invariants
///
/// `disk` and `set` are valid until all these hold: the state has ended, there are no users, `live`
/// is zero, and an RCU grace period went by since.
#[pin_data]
pub(super) struct Inner<T: Operations> {
    pub(super) disk: *mut bindings::gendisk,
    set: *mut bindings::blk_mq_tag_set,
    pub(super) attributes: Attributes<T>,
    pub(super) parent: Option<ARef<device::Device>>,
    /// Whether the disk may be used in any context: see the type invariant.
    pub(super) live: Atomic<i32>,
    #[pin]
    state: Mutex<State>,
    /// Notified when there is a user less.
    idle: Pin<KBox<CondVar>>,
}

// SAFETY: The pointers are used as the type invariant allows, in any thread; the other fields can be
// sent.
unsafe impl<T: Operations> Send for Inner<T> {}

// SAFETY: As above; the block layer locks what it must.
unsafe impl<T: Operations> Sync for Inner<T> {}

impl<T: Operations> Inner<T> {
    fn queue(&self) -> *mut bindings::request_queue {
        // SAFETY: The caller has a user, or is the owner, so the disk is valid.
        unsafe { (*self.disk).queue }
    }

    /// Takes back what [`Use::count_quiesced`] counted, unless the end of the disk did.
    pub(super) fn unquiesce(&self) {
        let mut state = self.state.lock();
        if state.quiesced > 0 {
            state.quiesced -= 1;
            // SAFETY: The disk was not ended: that takes all counts first, with the lock. So the
            // queue is valid, and quiesced.
            unsafe { bindings::blk_mq_unquiesce_queue(self.queue()) };
        }
    }

    /// Ends the use of the disk. Afterwards no operation runs, and none will.
    fn end(&self, data: Pin<&T::Data<'_>>) {
        self.state.lock().ended = true;
        if T::HAS_DELETING {
            T::deleting(data);
        }

        // Nothing may keep requests from ending. A user may still be about to quiesce the queue, or
        // to wait for a request.
        let mut state = self.state.lock();
        loop {
            for _ in 0..mem::take(&mut state.quiesced) {
                // SAFETY: The queue is valid, and was quiesced as often.
                unsafe { bindings::blk_mq_unquiesce_queue(self.queue()) };
            }
            if state.users == 0 {
                break;
            }
            self.idle.wait(&mut state);
        }
        let added = state.phase == Phase::Added;
        drop(state);

        // SAFETY: The queue is valid. Whatever happens to the disk next waits for the work.
        unsafe { bindings::blk_mq_kick_requeue_list(self.queue()) };
        if added {
            // This waits until each request has ended.
            //
            // SAFETY: The disk is valid, and was added.
            unsafe { bindings::del_gendisk(self.disk) };
        }
        self.live.store(0, Release);
        // An operation may still run, although its requests have ended, and so may a handle.
        rcu::synchronize_rcu();
    }
}

/// Somebody who uses a disk, in process context. It is not ended meanwhile.
///
/// # Invariants
///
/// It is counted in the state, which had not ended then.
pub(super) struct Use<'a, T: Operations>(&'a Inner<T>);

impl<'a, T: Operations> Use<'a, T> {
    pub(super) fn new(inner: &'a Inner<T>) -> Result<Self> {
        let mut state = inner.state.lock();
        if state.ended {
            return Err(ENODEV);
        }
        // INVARIANT: It is counted here.
        state.users += 1;
        Ok(Self(inner))
    }

    /// Returns the disk, which is valid as long as this is.
    pub(super) fn disk(&self) -> *mut bindings::gendisk {
        self.0.disk
    }

    /// Returns its queue, which is valid as long as this is.
    pub(super) fn queue(&self) -> *mut bindings::request_queue {
        self.0.queue()
    }

    /// Returns its tag set, which is valid as long as this is.
    pub(super) fn tag_set(&self) -> *mut bindings::blk_mq_tag_set {
        self.0.set
    }

    /// Claims the only chance to add the disk.
    pub(super) fn claim_add(&self) -> Result {
        let mut state = self.0.state.lock();
        if state.phase != Phase::New {
            return Err(EBUSY);
        }
        state.phase = Phase::Adding;
        Ok(())
    }

    /// Tells that the disk was added.
    pub(super) fn set_added(&self) {
        self.0.state.lock().phase = Phase::Added;
    }

    /// Tells whether the disk was added.
    pub(super) fn was_added(&self) -> bool {
        self.0.state.lock().phase == Phase::Added
    }

    /// Counts that the queue was quiesced.
    pub(super) fn count_quiesced(&self) {
        self.0.state.lock().quiesced += 1;
    }
}

impl<T: Operations> Drop for Use<'_, T> {
    fn drop(&mut self) {
        self.0.state.lock().users -= 1;
        self.0.idle.notify_all();
    }
}

/// A reference to a disk of the core.
///
/// # Invariants
///
/// The disk is valid; this has a reference, and will not be used when that is the last one of a disk
/// that was added and not deleted.
struct DiskRef(NonNull<bindings::gendisk>);

impl Drop for DiskRef {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this has a reference.
        unsafe { bindings::put_disk(self.0.as_ptr()) };
    }
}

/// Owns a disk: dropping this ends it. It must be dropped before the driver's data is.
///
/// # Invariants
///
/// `data` points to the driver's data, which is pinned, and valid for as long as this.
pub(crate) struct Owner<T: Operations> {
    inner: Arc<Inner<T>>,
    data: *const c_void,
    /// It goes first: a disk that was not added needs the tag set to the end.
    _disk: DiskRef,
    _set: Pin<KBox<TagSet<T>>>,
}

// SAFETY: A disk may be ended by any thread; the data is only borrowed, and can be shared.
unsafe impl<T: Operations> Send for Owner<T> {}

// SAFETY: Nothing is changed through a shared reference.
unsafe impl<T: Operations> Sync for Owner<T> {}

impl<T: Operations> Owner<T> {
    /// Makes a disk. Operations get `data`.
    ///
    /// # Safety
    ///
    /// `data` must stay valid and pinned until the result has been dropped, or forever, if it never
    /// is.
    pub(crate) unsafe fn new(options: DiskOptions<T>, data: Pin<&T::Data<'_>>) -> Result<Self> {
        let data: *const T::Data<'_> = data.get_ref();
        let mut limits = options.limits.check(options.tag_set.max_segments())?;

        // SAFETY: By the safety requirements: the tag set is dropped with the result, or before.
        let set = unsafe { TagSet::<T>::new(options.tag_set, data) }?;
        // SAFETY: By the safety requirements: the core forgets them when the disk is ended.
        let attributes = unsafe { Attributes::new(options.attributes, data) }?;

        // SAFETY: The tag set is valid, and lives until the disk is put; the limits were checked.
        let disk = from_err_ptr(unsafe {
            bindings::__blk_mq_alloc_disk(
                set.as_raw(),
                &mut limits,
                ptr::null_mut(),
                static_lock_class!().as_ptr(),
            )
        })?;
        // INVARIANT: It was just made.
        let disk = DiskRef(NonNull::new(disk).ok_or(ENOMEM)?);
        // SAFETY: The disk is valid, and nobody else knows it.
        unsafe { options.identity.apply(disk.0.as_ptr()) };

        let (disk_ptr, set_ptr) = (disk.0.as_ptr(), set.as_raw());
        let inner = Arc::pin_init(
            try_pin_init!(Inner {
                // INVARIANT: Both are valid; they are dropped after `end`.
                disk: disk_ptr,
                set: set_ptr,
                attributes,
                parent: options.parent,
                live: Atomic::new(1),
                state <- new_mutex!(State {
                    phase: Phase::New,
                    ended: false,
                    users: 0,
                    quiesced: 0,
                }),
                idle: KBox::pin_init(new_condvar!(), GFP_KERNEL)?,
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: By the safety requirements.
        Ok(Self {
            inner,
            data: data.cast(),
            _disk: disk,
            _set: set,
        })
    }

    /// Returns a handle.
    pub(crate) fn handle(&self) -> Disk<T> {
        Disk(self.inner.clone())
    }
}

impl<T: Operations> Drop for Owner<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the data is valid.
        let data = unsafe { &*self.data.cast::<T::Data<'_>>() };
        // SAFETY: By the type invariant, it is pinned.
        self.inner.end(unsafe { Pin::new_unchecked(data) });
    }
}

/// A disk with its driver's data, for drivers that no bus binds.
///
/// # Examples
///
/// See `samples/ramdisk.rs`.
pub struct Standalone<T: Operations> {
    disk: Disk<T>,
    /// It goes before the data.
    _owner: Owner<T>,
    data: Pin<KBox<T::Data<'static>>>,
}

impl<T: Operations> Standalone<T> {
    /// Makes a disk, which is yet to be [added](Disk::add).
    pub fn new(options: DiskOptions<T>, data: Pin<KBox<T::Data<'static>>>) -> Result<Self> {
        // SAFETY: The data does not move, and is dropped after the owner: both are fields of this.
        let owner = unsafe { Owner::new(options, data.as_ref()) }?;
        Ok(Self {
            disk: owner.handle(),
            _owner: owner,
            data,
        })
    }

    /// Returns the driver's data.
    pub fn data(&self) -> Pin<&T::Data<'static>> {
        self.data.as_ref()
    }
}

impl<T: Operations> Deref for Standalone<T> {
    type Target = Disk<T>;

    fn deref(&self) -> &Disk<T> {
        &self.disk
    }
}
