// SPDX-License-Identifier: GPL-2.0

//! What connects a device with its driver's data, from before `probe` until after the data is gone.

use super::{
    queue::QueueCallback,
    Device,
    Driver, //
};
use crate::bindings;
use core::{
    any::TypeId,
    cell::UnsafeCell,
    ops::Deref,
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device, new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Mutex, //
    },
};

/// Something that a driver registered for its device, in the rest of the kernel. Dropping it takes
/// it back; that is done before `Driver::unbind`.
pub(crate) trait Resource: Send {}

/// The part that does not depend on the driver: what a queue needs to know of its device.
///
/// # Invariants
///
/// `vdev` is valid for as long as this lives.
pub(super) struct State {
    vdev: NonNull<bindings::virtio_device>,
    /// Whether the device was made live.
    live: Atomic<i32>,
    /// Whether the device was reset, and no callback runs.
    quiesced: Atomic<i32>,
}

// SAFETY: The device may be reset from any thread; the other fields are atomic.
unsafe impl Send for State {}

// SAFETY: All methods may be called from any thread: see `quiesce` for the only one that does
// anything.
unsafe impl Sync for State {}

impl State {
    /// Returns the device.
    pub(super) fn device(&self) -> &device::Device {
        // SAFETY: By the type invariant, `vdev` is valid.
        let dev = unsafe { &raw mut (*self.vdev.as_ptr()).dev };

        // SAFETY: `dev` is the device of a valid `struct virtio_device`, and lives as long.
        unsafe { device::Device::from_raw(dev) }
    }

    /// Tells whether the device is live.
    pub(super) fn is_live(&self) -> bool {
        self.live.load(Relaxed) != 0 && self.quiesced.load(Relaxed) == 0
    }

    /// Breaks the queues and resets the device, once. Afterwards it touches no buffer, and no
    /// callback of a queue runs.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    pub(super) fn quiesce(&self) {
        if self.quiesced.xchg(1, Full) != 0 {
            return;
        }

        // SAFETY: By the type invariant, `vdev` is valid. Queues refuse buffers and kicks from here.
        unsafe { bindings::virtio_break_device(self.vdev.as_ptr()) };
        // SAFETY: By the type invariant, `vdev` is valid.
        unsafe { bindings::virtio_reset_device(self.vdev.as_ptr()) };
        // SAFETY: By the type invariant, `vdev` is valid.
        unsafe { bindings::virtio_synchronize_cbs(self.vdev.as_ptr()) };
    }
}

/// The connection of a device with driver `T`.
///
/// # Invariants
///
/// - The `priv` field of the device points to this.
/// - `data` is null, or points to the driver's data, which is valid and pinned.
/// - `callbacks` is written only while `data` has never been set, by the thread that probes.
#[pin_data]
#[repr(C)]
pub(super) struct Binding<T: Driver> {
    /// The type of the driver. It comes first, whatever the driver is.
    driver: TypeId,
    state: State,
    has_queues: Atomic<i32>,
    data: Atomic<*mut c_void>,
    callbacks: UnsafeCell<KVec<Option<QueueCallback<T>>>>,
    #[pin]
    resources: Mutex<KVec<KBox<dyn Resource>>>,
}

impl<T: Driver> Binding<T> {
    /// Returns the binding of a device, if it is one with driver `T`.
    pub(super) fn of<'bound>(vdev: &'bound Device<device::Core<'_>>) -> Result<&'bound Self> {
        // SAFETY: By the type invariant of `Device`, `vdev` is valid.
        let binding = unsafe { (*vdev.as_raw()).priv_ };

        // SAFETY: By the type invariant of `Device`, this points to a binding with some driver,
        // which starts with the type of that.
        if unsafe { *binding.cast::<TypeId>() } != TypeId::of::<T>() {
            return Err(EINVAL);
        }
        let binding = binding.cast::<Self>();
        // SAFETY: It is a binding with `T`, and lives as long as the context.
        Ok(unsafe { &*binding })
    }

    /// Returns the part that queues share.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Claims the only chance to make queues.
    pub(super) fn claim_queues(&self) -> Result {
        if self.has_queues.xchg(1, Full) != 0 {
            return Err(EBUSY);
        }
        Ok(())
    }

    /// Tells that there are no queues after all.
    pub(super) fn release_queues(&self) {
        self.has_queues.store(0, Relaxed);
    }

    /// Sets the callbacks, by the indices of their queues.
    ///
    /// # Safety
    ///
    /// This must be called during `probe`, by the thread that runs it, before the queues are made.
    pub(super) unsafe fn set_callbacks(&self, callbacks: KVec<Option<QueueCallback<T>>>) {
        // SAFETY: By the safety requirements, `data` was never set. So nobody else reads or writes
        // the field: see `queue_callback`.
        unsafe { *self.callbacks.get() = callbacks };
    }

    /// Makes the device live; from now on, callbacks get `data`.
    pub(super) fn go_live(&self, data: Pin<&T::Data<'_>>) -> Result {
        let vdev = self.state.vdev.as_ptr();

        // INVARIANT: The data is pinned, and valid until `end` has been called.
        self.data
            .store(ptr::from_ref(data.get_ref()).cast_mut().cast(), Release);
        self.state.live.store(1, Relaxed);

        // SAFETY: By the type invariant of `State`, `vdev` is valid.
        let config = unsafe { (*vdev).config };
        // SAFETY: A device has operations, which outlive it.
        let config = unsafe { &*config };
        let get_status = config.get_status.ok_or(ENODEV)?;
        // SAFETY: This is an operation of the device's transport.
        let status = unsafe { get_status(vdev) };
        // The core warns of a device that is live before it is told to.
        if u32::from(status) & bindings::VIRTIO_CONFIG_S_DRIVER_OK != 0 {
            return Err(EIO);
        }

        // SAFETY: `vdev` is valid, and its queues are set up.
        unsafe { bindings::virtio_device_ready(vdev) };
        Ok(())
    }

    /// Adds a resource, to be taken back when the binding ends.
    pub(super) fn add_resource(&self, resource: KBox<dyn Resource>) -> Result {
        self.resources.lock().push(resource, GFP_KERNEL)?;
        Ok(())
    }

    /// Takes the resources back, the last one first.
    pub(super) fn end_resources(&self) {
        // They may wait for somebody who uses the device: the lock is not held meanwhile.
        loop {
            let Some(resource) = self.resources.lock().pop() else {
                break;
            };
            drop(resource);
        }
    }

    /// Ends what the driver may do with the device, which is reset.
    pub(super) fn end(&self) {
        self.end_resources();
        // INVARIANT: Null is allowed.
        self.data.store(ptr::null_mut(), Release);
        // A callback that has read the pointer before has returned when this does.
        self.state.quiesce();
    }

    /// Called by the core when the device has used buffers of `vq`.
    ///
    /// # Safety
    ///
    /// `vq` must be a valid queue of a device that is bound to `T`.
    ///
    /// # Context
    ///
    /// Interrupt context.
    pub(super) unsafe extern "C" fn queue_callback(vq: *mut bindings::virtqueue) {
        // SAFETY: By the safety requirements, `vq` is valid.
        let vq = unsafe { &*vq };
        // SAFETY: By the safety requirements, the device is valid.
        let binding = unsafe { (*vq.vdev).priv_ }.cast::<Self>();
        // SAFETY: By the safety requirements, the device is bound to `T`, so this is its binding,
        // which lives until after the queues are deleted, hence their callbacks have returned.
        let binding = unsafe { &*binding };

        // A device must not interrupt before it is live, nor after it was reset; if it does, there
        // is nobody to tell.
        let data = binding.data.load(Acquire);
        if data.is_null() {
            return;
        }

        // SAFETY: `data` was set, so by the type invariant nobody writes the field any more, and
        // what was written happened before.
        let callbacks = unsafe { &*binding.callbacks.get() };
        let Some(Some(callback)) = usize::try_from(vq.index)
            .ok()
            .and_then(|i| callbacks.get(i))
        else {
            return;
        };

        // SAFETY: By the type invariant, `data` points to the driver's data, which is valid: `end`
        // waits for this callback before it is dropped.
        let data = unsafe { &*data.cast::<T::Data<'_>>() };
        // SAFETY: By the type invariant, it is pinned.
        let data = unsafe { Pin::new_unchecked(data) };
        callback.call(data);
    }
}

/// Owns the binding of a device, and the queues in C.
///
/// It is dropped after the driver's data: no queue is in use any more.
pub(super) struct BindingOwner<T: Driver>(Pin<KBox<Binding<T>>>);

impl<T: Driver> BindingOwner<T> {
    /// Makes a binding, and lets `vdev` point to it.
    pub(super) fn new(vdev: &Device<device::Core<'_>>) -> Result<Self> {
        let binding = KBox::pin_init(
            try_pin_init!(Binding {
                driver: TypeId::of::<T>(),
                // INVARIANT: The device is valid for as long as it has a driver.
                state: State {
                    vdev: NonNull::new(vdev.as_raw()).ok_or(EINVAL)?,
                    live: Atomic::new(0),
                    quiesced: Atomic::new(0),
                },
                has_queues: Atomic::new(0),
                // INVARIANT: Null is allowed.
                data: Atomic::new(ptr::null_mut()),
                callbacks: UnsafeCell::new(KVec::new()),
                resources <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )?;

        let address: *const Binding<T> = &*binding;
        // SAFETY: `vdev` is valid; its `priv` field is its driver's, which is that of this crate.
        unsafe { (*vdev.as_raw()).priv_ = address.cast_mut().cast() };
        Ok(Self(binding))
    }
}

impl<T: Driver> Deref for BindingOwner<T> {
    type Target = Binding<T>;

    fn deref(&self) -> &Binding<T> {
        &self.0
    }
}

impl<T: Driver> Drop for BindingOwner<T> {
    fn drop(&mut self) {
        let vdev = self.state.vdev.as_ptr();

        self.state.quiesce();
        if self.has_queues.load(Relaxed) != 0 {
            // SAFETY: By the type invariant of `State`, `vdev` is valid; it was reset. The queues
            // exist, and nobody has a `Virtqueue`: those cannot outlive the driver's data.
            unsafe { bindings::virtio_del_vqs(vdev) };
        }
        // SAFETY: By the type invariant of `State`, `vdev` is valid. There are no callbacks any
        // more, so nobody follows the pointer.
        unsafe { (*vdev).priv_ = ptr::null_mut() };
    }
}
