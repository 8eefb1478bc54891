// SPDX-License-Identifier: GPL-2.0

//! Work that a driver does later, in process context, with its data and its device.
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use super::{
    binding::Binding,
    state::Phase,
    Device,
    Driver, //
};
use crate::bindings;
use core::{
    marker::{
        PhantomData,
        PhantomPinned, //
    },
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    device,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
    time::Jiffies,
    types::Opaque, //
};

/// The function of some work, with the device and the driver's data.
type WorkFn<T> =
    for<'a> fn(vdev: &'a Device<device::Bound>, this: Pin<&'a <T as Driver>::Data<'a>>);

/// How long until one tries again to reset a device that somebody else is dealing with.
const RETRY: Jiffies = 10;

/// What is done.
enum Task<T: Driver> {
    Call(WorkFn<T>),
    Reset {
        /// Whether the driver was told that the device is lost.
        lost: Atomic<i32>,
    },
}

/// What is done, by whom, and when.
///
/// # Invariants
///
/// - `binding` is valid for as long as this lives.
/// - `work` is initialized, and its function is `Item::<T>::run`.
#[pin_data]
#[repr(C)]
pub(super) struct Item<T: Driver> {
    /// It comes first: `run` gets its address.
    #[pin]
    work: Opaque<bindings::delayed_work>,
    binding: NonNull<Binding<T>>,
    task: Task<T>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: Work may be queued, run and disabled by any thread.
unsafe impl<T: Driver> Send for Item<T> {}

impl<T: Driver> Item<T> {
    /// Makes a piece of work, which the binding owns.
    fn add(vdev: &Device<device::Core<'_>>, task: Task<T>) -> Result<NonNull<Self>> {
        let binding = Binding::<T>::of(vdev)?;
        // INVARIANT: The binding owns the item.
        let item = KBox::pin_init(
            try_pin_init!(Self {
                work <- Opaque::ffi_init(|slot: *mut bindings::delayed_work| {
                    // SAFETY: `slot` is valid for writes; it is pinned from here on.
                    unsafe { bindings::init_delayed_work(slot, Some(Self::run)) };
                }),
                binding: NonNull::from(binding),
                task,
                _pin: PhantomPinned,
            }),
            GFP_KERNEL,
        )?;
        binding.add_item(item)
    }

    /// Lets the work not be done any more, and waits until it is not being done.
    pub(super) fn disable(&self) {
        // SAFETY: By the type invariant, `work` is initialized.
        unsafe { bindings::disable_delayed_work_sync(self.work.get()) };
    }

    /// Called by the core to do the work.
    ///
    /// # Safety
    ///
    /// `work` must be in an item of driver `T`.
    unsafe extern "C" fn run(work: *mut bindings::work_struct) {
        // SAFETY: By the safety requirements, and as it comes first, this is an item. It is disabled
        // before it is dropped, which waits for this function.
        let item = unsafe { &*work.cast::<Self>() };
        // SAFETY: By the type invariant, the binding is valid.
        let binding = unsafe { item.binding.as_ref() };
        // SAFETY: `end` disables the work, and waits for this function.
        let Some(data) = (unsafe { binding.data() }) else {
            return;
        };
        // SAFETY: The device is bound until `end` has returned, which waits for this function.
        let vdev = unsafe { &*binding.state().vdev().cast::<Device<device::Bound>>() };

        match &item.task {
            Task::Call(function) => function(vdev, data),
            Task::Reset { lost } => item.reset(binding, vdev, data, lost),
        }
    }

    /// Resets the device, and lets the driver set it up again.
    fn reset(
        &self,
        binding: &Binding<T>,
        vdev: &Device<device::Bound>,
        data: Pin<&T::Data<'_>>,
        lost: &Atomic<i32>,
    ) {
        let raw = binding.state().vdev();

        // Whoever takes the driver or the power from the device, or resets it, has these locks; and
        // may wait for this function.
        //
        // SAFETY: The device is valid.
        if !unsafe { bindings::virtio_trylock(raw) } {
            Work::<'_>(NonNull::from(self).cast(), PhantomData).queue_after(RETRY);
            return;
        }
        dev_warn!(vdev, "the device is reset\n");

        // SAFETY: The device is valid, bound, and locked.
        let mut result = unsafe { bindings::virtio_device_reset_prepare(raw) };
        if result == 0 {
            // SAFETY: As above; it was prepared.
            result = unsafe { bindings::virtio_device_reset_done(raw) };
        }
        // SAFETY: It was locked above.
        unsafe { bindings::virtio_unlock(raw) };

        if binding.state().phase() == Phase::Live {
            lost.store(0, Relaxed);
        } else if lost.xchg(1, Full) == 0 {
            dev_err!(
                vdev,
                "the device cannot be used any more: error {}\n",
                result
            );
            T::lost(vdev, data);
        }
    }
}

/// Work that can be done later, until the device is taken from its driver.
///
/// # Invariants
///
/// This points to an item that lives for `'bound`.
#[derive(Clone, Copy)]
#[doc(alias = "delayed_work")]
pub struct Work<'bound>(NonNull<bindings::delayed_work>, PhantomData<&'bound ()>);

// SAFETY: Work may be queued by any thread.
unsafe impl Send for Work<'_> {}

// SAFETY: Work may be queued by several threads at once.
unsafe impl Sync for Work<'_> {}

impl<'bound> Work<'bound> {
    /// Makes work of driver `T`, which probes the device. Nothing is done before the device is live
    /// for the first time.
    ///
    /// The function must not wait for other work of the same driver.
    pub fn new<T: Driver>(
        vdev: &'bound Device<device::Core<'_>>,
        function: WorkFn<T>,
    ) -> Result<Self> {
        let item = Item::<T>::add(vdev, Task::Call(function))?;
        // INVARIANT: The binding has the item until after the driver's data is gone.
        Ok(Self(item.cast(), PhantomData))
    }

    /// Has it for longer than the compiler knows.
    ///
    /// # Safety
    ///
    /// The result must not be used after the binding has ended.
    pub(super) unsafe fn for_as_long_as_it_lives(self) -> Work<'static> {
        // INVARIANT: By the safety requirements.
        Work(self.0, PhantomData)
    }

    /// Has it done soon, once, however often this is called before it begins.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "queue_delayed_work")]
    pub fn queue(&self) {
        self.queue_after(0);
    }

    /// Has it done later, unless it is going to be done anyway.
    ///
    /// # Context
    ///
    /// Any.
    pub fn queue_after(&self, delay: Jiffies) {
        // SAFETY: This is a variable of the core that is set once, at boot.
        let workqueue = unsafe { bindings::system_freezable_wq };
        // SAFETY: By the type invariant, the work is initialized. It is disabled before it goes.
        unsafe {
            bindings::queue_delayed_work_on(
                bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
                workqueue,
                self.0.as_ptr(),
                delay,
            )
        };
    }

    /// Lets it not be done, unless somebody queues it again, and waits until it is not being done.
    ///
    /// # Context
    ///
    /// Process context; this sleeps. Not in the work itself.
    #[doc(alias = "cancel_delayed_work_sync")]
    pub fn cancel(&self) {
        // SAFETY: By the type invariant, the work is initialized.
        unsafe { bindings::cancel_delayed_work_sync(self.0.as_ptr()) };
    }
}

/// Resets a device that has failed: see [`Driver::suspend`].
#[derive(Clone, Copy)]
pub struct Resetter<'bound>(Work<'bound>);

impl<'bound> Resetter<'bound> {
    /// Makes the resetter of driver `T`, which probes the device.
    pub fn new<T: Driver>(vdev: &'bound Device<device::Core<'_>>) -> Result<Self> {
        let lost = Atomic::new(0);
        let item = Item::<T>::add(vdev, Task::Reset { lost })?;
        // INVARIANT: The binding has the item until after the driver's data is gone.
        Ok(Self(Work(item.cast(), PhantomData)))
    }

    /// Has the device reset soon: the driver is called to stop, and then to start again, as if the
    /// guest were suspended; or to be told that the device is lost.
    ///
    /// # Context
    ///
    /// Any.
    pub fn request(&self) {
        self.0.queue();
    }

    /// Has the device reset later, unless it is going to be reset anyway.
    ///
    /// # Context
    ///
    /// Any.
    pub fn request_after(&self, delay: Jiffies) {
        self.0.queue_after(delay);
    }
}
