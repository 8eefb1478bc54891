// SPDX-License-Identifier: GPL-2.0

//! What connects a device with its driver's data, from before `probe` until after the data is gone.

use super::{
    ring,
    setup::Asked,
    show::{
        self,
        ShowFile, //
    },
    state::{
        Phase,
        State, //
    },
    work::Item,
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
    debugfs::Dir,
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

/// What any binding starts with, whatever the driver is.
#[pin_data]
#[repr(C)]
pub(super) struct Header {
    /// The type of the driver.
    driver: TypeId,
    #[pin]
    pub(super) state: State,
}

/// The connection of a device with driver `T`.
///
/// # Invariants
///
/// - The `priv` field of the device points to this.
/// - `data` is null, or points to the driver's data, which is valid and pinned.
/// - `asked` is written only while the device is being prepared, by the thread that does so.
#[pin_data]
#[repr(C)]
pub(super) struct Binding<T: Driver> {
    /// It comes first, whatever the driver is.
    #[pin]
    header: Header,
    has_queues: Atomic<i32>,
    data: Atomic<*mut c_void>,
    asked: UnsafeCell<Asked<T>>,
    #[pin]
    resources: Mutex<KVec<KBox<dyn Resource>>>,
    #[pin]
    items: Mutex<KVec<Pin<KBox<Item<T>>>>>,
    #[pin]
    shown: Mutex<Option<ShowFile<T>>>,
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
        &self.header.state
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
        self.state().drop_slots();
        self.has_queues.store(0, Relaxed);
    }

    /// Tells whether there are queues.
    pub(super) fn has_queues(&self) -> bool {
        self.has_queues.load(Relaxed) != 0
    }

    /// Sets what the driver has asked for.
    ///
    /// # Safety
    ///
    /// This must be called while the device is being prepared, by the thread that does so, before
    /// the queues are made.
    pub(super) unsafe fn set_asked(&self, asked: Asked<T>) {
        // SAFETY: By the safety requirements, the device is not live. So nobody else reads or writes
        // the field: see `queue_callback`.
        unsafe { *self.asked.get() = asked };
    }

    /// Makes the device live; from now on, callbacks get `data`.
    pub(super) fn go_live(&self, data: Pin<&T::Data<'_>>) -> Result {
        let vdev = self.state().vdev();

        let status = self.state().status();
        // The core warns of a device that is live before it is told to.
        if u32::from(status) & bindings::VIRTIO_CONFIG_S_DRIVER_OK != 0 {
            self.state().count_violation();
            dev_err!(
                self.state().device(),
                "the device is live before it was told to be\n"
            );
            return Err(EIO);
        }

        // INVARIANT: The data is pinned, and valid until `end` has been called.
        self.data
            .store(ptr::from_ref(data.get_ref()).cast_mut().cast(), Release);
        self.state().set_phase(Phase::Live);

        // SAFETY: `vdev` is valid, and its queues are set up.
        unsafe { bindings::virtio_device_ready(vdev) };
        Ok(())
    }

    /// Returns the driver's data, once the device was live.
    ///
    /// # Safety
    ///
    /// `end` must not return while the result is in use.
    pub(super) unsafe fn data<'a>(&self) -> Option<Pin<&'a T::Data<'a>>> {
        let data = self.data.load(Acquire).cast::<T::Data<'a>>();
        if data.is_null() {
            return None;
        }
        // SAFETY: By the type invariant, `data` points to the driver's data, which is valid: by the
        // safety requirements, `end` has not returned, and only after that it is dropped.
        let data = unsafe { &*data };
        // SAFETY: By the type invariant, it is pinned.
        Some(unsafe { Pin::new_unchecked(data) })
    }

    /// Adds a resource, to be taken back when the binding ends.
    pub(super) fn add_resource(&self, resource: KBox<dyn Resource>) -> Result {
        self.resources.lock().push(resource, GFP_KERNEL)?;
        Ok(())
    }

    /// Adds a piece of work, which lives as long as the binding.
    pub(super) fn add_item(&self, item: Pin<KBox<Item<T>>>) -> Result<NonNull<Item<T>>> {
        let address = NonNull::from(&*item);
        self.items.lock().push(item, GFP_KERNEL)?;
        Ok(address)
    }

    /// Adds the file that shows the state of the device. It can do without, if there is no memory.
    pub(super) fn add_file(&self, directory: &Dir) {
        // SAFETY: `end` drops it.
        let file = unsafe { show::file(directory, self.state().device().name(), self) };
        *self.shown.lock() = file.ok();
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
        // Work that runs may add work, or ask for a reset; nobody adds items any more.
        let items = core::mem::take(&mut *self.items.lock());
        for item in &items {
            item.disable();
        }
        *self.items.lock() = items;
        // This waits for who reads it, and may be called twice.
        let file = self.shown.lock().take();
        drop(file);
        // A callback that has read the pointer before has returned when the device was reset.
        //
        // INVARIANT: Null is allowed.
        self.data.store(ptr::null_mut(), Release);
        self.state().quiesce();
    }

    /// Deletes the queues in C.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the driver keeps one.
    pub(super) fn delete_queues(&self) -> Result {
        if self.has_queues() {
            self.state().wait_for_users()?;
            // SAFETY: By the type invariant of `State`, the device is valid. The queues exist, and
            // nobody has a handle of one: each is a user.
            unsafe { ring::delete_queues(self.state().vdev()) };
            self.release_queues();
        }
        Ok(())
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
        if !binding.state().is_live() {
            return;
        }
        // SAFETY: `end` resets the device, and waits for this callback.
        let Some(data) = (unsafe { binding.data() }) else {
            return;
        };

        // SAFETY: The device is live, so by the type invariant nobody writes the field, until it was
        // reset, which waits for this callback; and what was written happened before.
        let asked = unsafe { &*binding.asked.get() };
        let index = usize::try_from(vq.index).ok();
        if let Some(callback) = index.and_then(|index| asked.callback(index)) {
            callback.call(data);
        }
    }

    /// Called by the core when the configuration has changed.
    ///
    /// # Safety
    ///
    /// `vdev` must be a valid device that is bound to `T`.
    ///
    /// # Context
    ///
    /// Interrupt context.
    pub(super) unsafe extern "C" fn config_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: By the safety requirements, the device is valid.
        let binding = unsafe { (*vdev).priv_ }.cast::<Self>();
        if binding.is_null() {
            return;
        }
        // SAFETY: By the safety requirements, the device is bound to `T`, so this is its binding.
        // The core calls this between a successful `probe` and `remove` only, with a lock.
        let binding = unsafe { &*binding };
        if !binding.state().is_live() {
            return;
        }
        // SAFETY: The core waits for this callback before it calls `remove`, which calls `end`.
        if let Some(data) = unsafe { binding.data() } {
            T::config_changed(data);
        }
    }
}

/// Owns the binding of a device, and the queues in C.
///
/// It is dropped after the driver's data: no queue is in use any more.
pub(super) struct BindingOwner<T: Driver>(Pin<KBox<Binding<T>>>);

impl<T: Driver> BindingOwner<T> {
    /// Makes a binding, and lets `vdev` point to it.
    pub(super) fn new(vdev: &Device<device::Core<'_>>) -> Result<Self> {
        let raw = NonNull::new(vdev.as_raw()).ok_or(EINVAL)?;
        let binding = KBox::pin_init(
            try_pin_init!(Binding {
                header <- pin_init!(Header {
                    driver: TypeId::of::<T>(),
                    // SAFETY: The device is valid for as long as it has a driver.
                    state <- unsafe { State::new(raw) },
                }),
                has_queues: Atomic::new(0),
                // INVARIANT: Null is allowed.
                data: Atomic::new(ptr::null_mut()),
                asked: UnsafeCell::new(Asked::new()),
                resources <- new_mutex!(KVec::new()),
                items <- new_mutex!(KVec::new()),
                shown <- new_mutex!(None),
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
        let vdev = self.state().vdev();

        // If `probe` has failed, nobody has done this yet.
        self.end();
        if self.has_queues() {
            // SAFETY: By the type invariant of `State`, `vdev` is valid; it was reset. The queues
            // exist, and nobody uses a handle of one: those cannot outlive the driver's data.
            unsafe { ring::delete_queues(vdev) };
        }
        // SAFETY: By the type invariant of `State`, `vdev` is valid. There are no callbacks any
        // more, so nobody follows the pointer.
        unsafe { (*vdev).priv_ = ptr::null_mut() };
    }
}
