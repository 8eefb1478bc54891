// SPDX-License-Identifier: GPL-2.0

//! The life of a network device.
//!
//! ```text
//!   Owner::new         the device is made, with its queues and instances
//!   Device::register   users come
//!        |
//!   drop(Owner)        handles do nothing any more
//!        |             the device is unregistered: Operations::stop, if it was up
//!        |             no call of an operation runs, none will
//!        |             NAPI instances are disabled for good
//!   (data ends)
//!   (last handle)      the device is freed
//! ```

use super::{
    callbacks::Callbacks,
    device::Device,
    napi::{
        NapiKind,
        NapiSlot, //
    },
    operations::Operations,
    options::DeviceOptions,
    queue::TxSlot, //
};
use crate::bindings;
use core::{
    mem::ManuallyDrop,
    ops::Deref,
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device,
    error::to_result,
    new_mutex,
    prelude::*,
    sync::{
        aref::ARef,
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        rcu,
        Arc,
        Mutex, //
    },
};

/// How far a device has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It was made.
    New,
    /// Registering it has failed.
    Failed,
    /// It was registered.
    Registered,
    /// It was unregistered, or will never be registered.
    Ended,
}

/// What a device of the core has for us, at a constant distance.
///
/// # Invariants
///
/// - `data` points to the driver's data, which is valid and pinned until the device has ended.
/// - `tx` points to `tx_count` slots, which live as long as `inner`, which lives as long as the
///   device.
#[repr(C)]
pub(super) struct Private<T: Operations> {
    data: *const c_void,
    tx: *const TxSlot<T>,
    tx_count: usize,
    pub(super) inner: *const Inner<T>,
    /// How many statistics the core has made room for: see `ethtool`.
    pub(super) statistics: Atomic<u32>,
}

impl<T: Operations> Private<T> {
    /// Returns what a device has.
    pub(super) fn of(dev: *mut bindings::net_device) -> *mut Self {
        dev.wrapping_byte_add(bindings::RUST_CONST_NETDEV_PRIV)
            .cast()
    }

    /// Returns what there is of a queue.
    pub(super) fn tx(&self, index: u32) -> Option<&TxSlot<T>> {
        // CAST: This only widens.
        let index = index as usize;
        if index >= self.tx_count {
            return None;
        }
        // SAFETY: By the type invariant, there are so many.
        Some(unsafe { &*self.tx.wrapping_add(index) })
    }

    /// Borrows the driver's data.
    ///
    /// # Safety
    ///
    /// The device must not end while the result is in use.
    pub(super) unsafe fn data<'a, 'bound>(&self) -> Pin<&'a T::Data<'bound>> {
        // SAFETY: By the type invariant, and the safety requirements.
        let data = unsafe { &*self.data.cast::<T::Data<'bound>>() };
        // SAFETY: By the type invariant, it is pinned.
        unsafe { Pin::new_unchecked(data) }
    }
}

/// A device of the core.
///
/// # Invariants
///
/// It is valid, and is not registered when this is dropped.
pub(super) struct NetDev(NonNull<bindings::net_device>);

impl Drop for NetDev {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::free_netdev(self.0.as_ptr()) };
    }
}

/// What the handles of a device share.
///
/// # Invariants
///
/// - The slots were made for this device.
/// - Once `live` is zero, and an RCU grace period went by, nobody fires events of the device.
#[pin_data(PinnedDrop)]
pub(super) struct Inner<T: Operations> {
    pub(super) napi: KVec<Pin<KBox<NapiSlot<T>>>>,
    tx: KVec<TxSlot<T>>,
    /// It goes after the slots: frames that they have may know it.
    dev: NetDev,
    live: Atomic<i32>,
    #[pin]
    phase: Mutex<Phase>,
    /// The core has a reference only while the device is registered.
    _parent: Option<ARef<device::Device>>,
}

// SAFETY: A device may be used by any thread; what belongs to queues and instances may be sent.
unsafe impl<T: Operations> Send for Inner<T> {}

// SAFETY: As above, by several at once; whoever uses what belongs to a queue or an instance has its
// lock, or owns it.
unsafe impl<T: Operations> Sync for Inner<T> {}

impl<T: Operations> Inner<T> {
    /// Returns the device of the core, which is valid as long as this is.
    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.dev.0.as_ptr()
    }

    /// Returns what the device has at a constant distance.
    pub(super) fn private(&self) -> &Private<T> {
        // SAFETY: `Owner::new` has set it; the device is valid.
        unsafe { &*Private::of(self.as_raw()) }
    }

    /// Keeps the device from being unregistered, unless it was.
    pub(super) fn enter(&self) -> Option<rcu::Guard> {
        let guard = rcu::read_lock();
        (self.live.load(Acquire) != 0).then_some(guard)
    }

    /// Makes the device known to the rest of the kernel.
    pub(super) fn register(&self) -> Result {
        let mut phase = self.phase.lock();
        match *phase {
            Phase::New => {}
            Phase::Ended => return Err(ENODEV),
            Phase::Failed | Phase::Registered => return Err(EBUSY),
        }
        // SAFETY: The device is valid, set up, and was not registered.
        let result = to_result(unsafe { bindings::register_netdev(self.as_raw()) });
        *phase = match result {
            Ok(()) => Phase::Registered,
            Err(_) => Phase::Failed,
        };
        result
    }

    /// Ends the use of the device. Afterwards no operation runs, and none will.
    fn end(&self) {
        self.live.store(0, Release);
        rcu::synchronize_rcu();

        let phase = core::mem::replace(&mut *self.phase.lock(), Phase::Ended);
        if phase == Phase::Registered {
            // SAFETY: The device is valid, and registered; nobody else unregisters it.
            unsafe { bindings::unregister_netdev(self.as_raw()) };
        }
        for napi in &self.napi {
            napi.end();
        }
    }
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for Inner<T> {
    fn drop(self: Pin<&mut Self>) {
        // The owner has ended them.
        for slot in &self.napi {
            // SAFETY: The instance was added, is disabled for good, and is deleted once.
            unsafe { bindings::napi_del(slot.as_raw()) };
        }
        // SAFETY: This may be called in process context, where the last handle is dropped.
        unsafe { bindings::synchronize_net() };
    }
}

/// Owns a device: dropping this unregisters it. It must be dropped before the driver's data is.
pub(crate) struct Owner<T: Operations>(Arc<Inner<T>>);

impl<T: Operations> Owner<T> {
    /// Makes a device. Operations get `data`; `tx` and `napi` make what belongs to the queues and
    /// instances.
    ///
    /// # Safety
    ///
    /// - `data` must stay valid and pinned until the result has been dropped, or forever, if it never
    ///   is.
    /// - `'bound` must be the lifetime of the binding: the result, and each handle, must be dropped
    ///   before it ends, or never.
    pub(crate) unsafe fn new<'bound>(
        options: DeviceOptions<T>,
        data: Pin<&T::Data<'bound>>,
        mut tx: impl FnMut(u32) -> Result<T::Tx<'bound>>,
        mut napi: impl FnMut(NapiKind) -> Result<T::Napi<'bound>>,
    ) -> Result<Self> {
        let data: *const c_void = ptr::from_ref(data.get_ref()).cast();
        options.check()?;

        // SAFETY: The name and the function are valid, and there are queues.
        let dev = unsafe {
            bindings::alloc_netdev_mqs(
                c_int::try_from(size_of::<Private<T>>())?,
                options.name.as_char_ptr(),
                options.name_assign_type(),
                Some(bindings::ether_setup),
                options.tx_queues,
                options.rx_queues,
            )
        };
        let dev = NonNull::new(dev).ok_or(ENOMEM)?;
        // INVARIANT: It was just made.
        let netdev = NetDev(dev);
        let dev = dev.as_ptr();

        // SAFETY: The device is valid, and nobody else knows it.
        unsafe { bindings::netdev_setup_device(dev, &options.setup(Callbacks::<T>::TABLE)) };

        let mut slots = KVec::with_capacity(usize::try_from(options.tx_queues)?, GFP_KERNEL)?;
        for index in 0..options.tx_queues {
            // SAFETY: The device has so many queues.
            let txq = unsafe { bindings::netdev_get_tx_queue(dev, index) };
            let value = ManuallyDrop::new(tx(index)?);
            // SAFETY: The types differ in the lifetime only. The value is dropped in time, by the
            // safety requirements, and used as what it is.
            let value = unsafe { ptr::from_ref(&value).cast::<T::Tx<'static>>().read() };
            // SAFETY: The queue lives as long as the device, and so long as the slot is used. For
            // the value, see above.
            slots.push(unsafe { TxSlot::new(txq, index, value) }, GFP_KERNEL)?;
        }

        let mut instances = KVec::with_capacity(options.napi.len(), GFP_KERNEL)?;
        for (index, kind) in (0..).zip(&options.napi) {
            let value = ManuallyDrop::new(napi(*kind)?);
            // SAFETY: As above.
            let value = unsafe { ptr::from_ref(&value).cast::<T::Napi<'static>>().read() };
            // SAFETY: The device is freed after the slot. The data is valid until `Inner::end` has
            // ended the instance. For the value, see above.
            let slot = unsafe { NapiSlot::new(dev, data, index, *kind, options.weight, value) };
            instances.push(KBox::pin_init(slot, GFP_KERNEL)?, GFP_KERNEL)?;
        }

        let inner = Arc::pin_init(
            pin_init!(Inner {
                napi: instances,
                tx: slots,
                dev: netdev,
                live: Atomic::new(1),
                phase <- new_mutex!(Phase::New),
                _parent: options.parent,
            }),
            GFP_KERNEL,
        )?;
        // SAFETY: The device has room for it, which nobody uses yet, and is aligned to a cache line.
        //
        // INVARIANT: By the safety requirements; the slots live as long as `inner`, and that as long
        // as the device is used.
        unsafe {
            Private::<T>::of(dev).write(Private {
                data,
                tx: inner.tx.as_ptr(),
                tx_count: inner.tx.len(),
                inner: Arc::as_ptr(&inner),
                statistics: Atomic::new(0),
            });
        }
        for slot in &inner.napi {
            // SAFETY: This is done once; `Inner` deletes them.
            unsafe { slot.as_ref().add() };
        }
        Ok(Self(inner))
    }

    /// Returns a handle.
    ///
    /// # Safety
    ///
    /// `'bound` must be the lifetime of the binding: see [`Owner::new`].
    pub(crate) unsafe fn handle<'bound>(&self) -> Device<'bound, T> {
        // SAFETY: By the safety requirements.
        unsafe { Device::new(self.0.clone()) }
    }
}

impl<T: Operations> Drop for Owner<T> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A network device with its driver's data, for drivers that no bus binds.
///
/// # Examples
///
/// See `samples/netpair.rs`.
pub struct Standalone<T: Operations> {
    device: Device<'static, T>,
    /// It goes before the data.
    _owner: Owner<T>,
    data: Pin<KBox<T::Data<'static>>>,
}

impl<T: Operations> Standalone<T> {
    /// Makes a device, which is yet to be [registered](Device::register). `tx` and `napi` make what
    /// belongs to its queues and instances.
    pub fn new(
        options: DeviceOptions<T>,
        data: Pin<KBox<T::Data<'static>>>,
        tx: impl FnMut(u32) -> Result<T::Tx<'static>>,
        napi: impl FnMut(NapiKind) -> Result<T::Napi<'static>>,
    ) -> Result<Self> {
        // SAFETY: The data does not move, and is dropped after the owner: both are fields of this.
        // The lifetime never ends.
        let owner = unsafe { Owner::new(options, data.as_ref(), tx, napi) }?;
        Ok(Self {
            // SAFETY: The lifetime never ends.
            device: unsafe { owner.handle() },
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
    type Target = Device<'static, T>;

    fn deref(&self) -> &Device<'static, T> {
        &self.device
    }
}
