// SPDX-License-Identifier: GPL-2.0

//! Handles of network devices.

use super::{
    features::Features,
    filter::RxFilter,
    inner::{
        Inner,
        Private, //
    },
    napi::NapiHandle,
    operations::Operations,
    queue::{
        Context,
        TxControl,
        TxGuard, //
    },
    rtnl::Rtnl,
    MacAddress, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Deref,
    ptr, //
};
use kernel::{
    cpumask::Cpumask,
    error::to_result,
    prelude::*,
    str::CString,
    sync::Arc, //
};

/// A network device, for its driver, which may have several of these: they are handles.
///
/// The device itself is owned by what unregisters it before the driver's data goes away; see
/// [`Standalone`](super::Standalone). From then on the handles do nothing.
///
/// Unless they say otherwise, the methods are for any context. The last handle must be dropped in
/// process context.
///
/// # Invariants
///
/// `'bound` is the lifetime of the binding.
#[doc(alias = "net_device")]
pub struct Device<'bound, T: Operations> {
    inner: Arc<Inner<T>>,
    /// It is invariant.
    _bound: PhantomData<fn(&'bound ()) -> &'bound ()>,
}

impl<T: Operations> Clone for Device<'_, T> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            _bound: PhantomData,
        }
    }
}

impl<'bound, T: Operations> Device<'bound, T> {
    /// Makes a handle.
    ///
    /// # Safety
    ///
    /// `'bound` must be the lifetime of the binding.
    pub(super) unsafe fn new(inner: Arc<Inner<T>>) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            inner,
            _bound: PhantomData,
        }
    }

    fn as_raw(&self) -> *mut bindings::net_device {
        self.inner.as_raw()
    }

    fn state(&self) -> bindings::netdev_state {
        let mut state = pin_init::zeroed();
        // SAFETY: The device is valid as long as its handle.
        unsafe { bindings::netdev_state_of(self.as_raw(), &mut state) };
        state
    }

    /// Makes the device known to the rest of the kernel: it may be used before this returns.
    ///
    /// # Errors
    ///
    /// `EEXIST` if there is a device of this name; `EBUSY` if this was called before, even if it
    /// failed; `ENODEV` if the device has ended.
    ///
    /// # Context
    ///
    /// Process context, without the RTNL lock.
    #[doc(alias = "register_netdev")]
    pub fn register(&self) -> Result {
        self.inner.register()
    }

    /// Returns the name, which the user may change.
    pub fn name(&self) -> Result<CString> {
        let name = self.state().name;
        let name = CStr::from_bytes_until_nul(&name).map_err(|_| EINVAL)?;
        Ok(CString::try_from(name)?)
    }

    /// Returns the number of the interface, once it was registered.
    pub fn ifindex(&self) -> i32 {
        self.state().ifindex
    }

    /// Returns how many bytes a packet may have, without its Ethernet header.
    pub fn mtu(&self) -> u32 {
        self.state().mtu
    }

    /// Returns the address.
    #[doc(alias = "dev_addr")]
    pub fn mac(&self) -> MacAddress {
        self.state().address
    }

    /// Returns the features that are used.
    pub fn features(&self) -> Features {
        Features::from_raw(self.state().features)
    }

    /// Returns how many transmit queues are used.
    #[doc(alias = "real_num_tx_queues")]
    pub fn real_tx_queues(&self) -> u32 {
        self.state().real_num_tx_queues
    }

    /// Returns how many receive queues are used.
    #[doc(alias = "real_num_rx_queues")]
    pub fn real_rx_queues(&self) -> u32 {
        self.state().real_num_rx_queues
    }

    /// Tells whether the device is up, or is being brought up.
    #[doc(alias = "netif_running")]
    pub fn is_running(&self) -> bool {
        self.state().running
    }

    /// Tells whether the device is attached.
    #[doc(alias = "netif_device_present")]
    pub fn is_present(&self) -> bool {
        self.state().present
    }

    /// Tells whether there is a carrier.
    #[doc(alias = "netif_carrier_ok")]
    pub fn carrier_ok(&self) -> bool {
        self.state().carrier
    }

    /// Says that there is a carrier.
    #[doc(alias = "netif_carrier_on")]
    pub fn carrier_on(&self) {
        if let Some(_guard) = self.inner.enter() {
            // SAFETY: The device is valid; it is unregistered only after the guard was dropped.
            unsafe { bindings::netif_carrier_on(self.as_raw()) };
        }
    }

    /// Says that there is no carrier.
    #[doc(alias = "netif_carrier_off")]
    pub fn carrier_off(&self) {
        if let Some(_guard) = self.inner.enter() {
            // SAFETY: The device is valid; it is unregistered only after the guard was dropped.
            unsafe { bindings::netif_carrier_off(self.as_raw()) };
        }
    }

    /// Lets nobody use the device, as it is suspended or has failed. When this returns,
    /// [`Operations::start_xmit`] is not running.
    ///
    /// # Context
    ///
    /// Process context, without the lock of a queue.
    #[doc(alias = "netif_device_detach")]
    pub fn detach(&self) {
        if let Some(_guard) = self.inner.enter() {
            // SAFETY: The device is valid; it is unregistered only after the guard was dropped.
            unsafe { bindings::netdev_detach(self.as_raw()) };
        }
    }

    /// Undoes [`Device::detach`], and starts all queues, if the device is up.
    #[doc(alias = "netif_device_attach")]
    pub fn attach(&self) {
        if let Some(_guard) = self.inner.enter() {
            // SAFETY: The device is valid; it is unregistered only after the guard was dropped.
            unsafe { bindings::netif_device_attach(self.as_raw()) };
        }
    }

    /// Returns whether the device is registered, and stays so as long as the lock is held.
    fn is_registered(&self, _: &Rtnl) -> bool {
        u32::from(self.state().reg_state) == bindings::netdev_reg_state_NETREG_REGISTERED
    }

    /// Tells others on the network where the device is now.
    ///
    /// # Context
    ///
    /// Process context.
    #[doc(alias = "__netdev_notify_peers")]
    pub fn notify_peers(&self, rtnl: &Rtnl) {
        if self.is_registered(rtnl) {
            // SAFETY: The device is registered; the lock is held.
            unsafe { bindings::__netdev_notify_peers(self.as_raw()) };
        }
    }

    /// Sets how many queues are used.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are none, or not as many.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "netif_set_real_num_queues")]
    pub fn set_real_queues(&self, tx: u32, rx: u32, rtnl: &Rtnl) -> Result {
        self.check_not_ended(rtnl)?;
        // SAFETY: The device is valid; the lock is held.
        to_result(unsafe { bindings::netif_set_real_num_queues(self.as_raw(), tx, rx) })
    }

    /// Has these CPUs send by a queue.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such queue.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "netif_set_xps_queue")]
    pub fn set_xps(&self, queue: u32, cpus: &Cpumask, rtnl: &Rtnl) -> Result {
        self.check_not_ended(rtnl)?;
        self.tx_queue(queue).ok_or(EINVAL)?;
        let index = u16::try_from(queue)?;
        // CAST: `Cpumask` is a transparent wrapper of `struct cpumask`.
        let cpus = ptr::from_ref(cpus).cast();
        // SAFETY: The device and the mask are valid, and there is such a queue.
        to_result(unsafe { bindings::netif_set_xps_queue(self.as_raw(), cpus, index) })
    }

    /// Looks whether the device was not unregistered, and is not as long as the lock is held.
    fn check_not_ended(&self, rtnl: &Rtnl) -> Result {
        let state = u32::from(self.state().reg_state);
        if state != bindings::netdev_reg_state_NETREG_UNINITIALIZED && !self.is_registered(rtnl) {
            return Err(ENODEV);
        }
        Ok(())
    }

    /// Asks [`Operations::fix_features`] again, and uses what it says.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "netdev_update_features")]
    pub fn update_features(&self, rtnl: &Rtnl) {
        if self.is_registered(rtnl) {
            // SAFETY: The device is registered; the lock is held.
            unsafe { bindings::netdev_update_features(self.as_raw()) };
        }
    }

    /// Calls a function with what the device is to receive.
    ///
    /// # Context
    ///
    /// Process context, or bottom halves. The function must not sleep.
    #[doc(alias = "netif_addr_lock_bh")]
    pub fn rx_filter<R>(&self, function: impl FnOnce(&RxFilter<'_>) -> R) -> R {
        let (mut unicast, mut multicast) = (ptr::null(), ptr::null());
        // SAFETY: The device is valid as long as its handle.
        let flags =
            unsafe { bindings::netdev_addr_lock(self.as_raw(), &mut unicast, &mut multicast) };
        // SAFETY: The lists are those of the device, and the lock is held until the function has
        // returned.
        let result = function(&unsafe { RxFilter::from_raw(flags, unicast, multicast) });
        // SAFETY: The lock was taken above.
        unsafe { bindings::netdev_addr_unlock(self.as_raw()) };
        result
    }

    /// Returns what can be done to a transmit queue without its lock, if there is such a queue.
    #[doc(alias = "netdev_get_tx_queue")]
    pub fn tx_queue(&self, index: u32) -> Option<TxControl<'_>> {
        self.inner.private().tx(index).map(|slot| slot.control())
    }

    /// Takes the lock of a transmit queue, if there is such a queue.
    ///
    /// # Context
    ///
    /// Process context, or bottom halves, with interrupts enabled; a poll function has
    /// [another one](super::Poll::lock_tx).
    #[doc(alias = "__netif_tx_lock_bh")]
    pub fn lock_tx(&self, index: u32) -> Option<TxGuard<'_, 'bound, T>> {
        let slot = self.inner.private().tx(index)?;
        // SAFETY: By the type invariant.
        Some(unsafe { slot.lock(Context::Process) })
    }

    /// Takes the lock of a transmit queue, if there is such a queue, and nobody has the lock.
    ///
    /// # Context
    ///
    /// As [`Device::lock_tx`].
    #[doc(alias = "__netif_tx_trylock")]
    pub fn try_lock_tx(&self, index: u32) -> Option<TxGuard<'_, 'bound, T>> {
        let slot = self.inner.private().tx(index)?;
        // SAFETY: By the type invariant.
        unsafe { slot.try_lock(Context::Process) }
    }

    /// Returns a NAPI instance, by its number, which is its place in
    /// [`DeviceOptions::napi`](super::DeviceOptions::napi).
    pub fn napi(&self, index: u32) -> Option<NapiHandle<'_, 'bound, T>> {
        // CAST: This only widens.
        let slot = self.inner.napi.get(index as usize)?;
        // SAFETY: By the type invariant; instances are added before there are handles.
        Some(unsafe { NapiHandle::new(slot) })
    }
}

/// A handle that a call has for as long as it takes.
pub struct Borrowed<'a, 'bound, T: Operations>(
    ManuallyDrop<Device<'bound, T>>,
    PhantomData<&'a Device<'bound, T>>,
);

impl<T: Operations> Borrowed<'_, '_, T> {
    /// Borrows a handle.
    ///
    /// # Safety
    ///
    /// The device must live for longer than the result, and `'bound` be the lifetime of its binding.
    pub(super) unsafe fn new(private: &Private<T>) -> Self {
        // SAFETY: By the type invariant of `Private`, it came from an `Arc`, which lives as long as
        // the device. As this is never dropped, it counts for nothing.
        let inner = unsafe { Arc::from_raw(private.inner) };
        // SAFETY: By the safety requirements.
        let device = unsafe { Device::new(inner) };
        Self(ManuallyDrop::new(device), PhantomData)
    }
}

impl<'bound, T: Operations> Deref for Borrowed<'_, 'bound, T> {
    type Target = Device<'bound, T>;

    fn deref(&self) -> &Device<'bound, T> {
        &self.0
    }
}
