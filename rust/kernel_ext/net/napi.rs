// SPDX-License-Identifier: GPL-2.0

//! NAPI instances.
//!
//! ```text
//!             enable                    schedule
//!   disabled --------->  idle  --------------------->  scheduled
//!      ^                  ^  |                           |    |
//!      |     disable      |  |  Poll::complete           |    | Operations::poll
//!      +------------------|--+                           |    |
//!      |                  +------------------------------+    |
//!      +---- (waits until it is idle) <-----------------------+
//! ```
//!
//! While it is disabled, what belongs to it belongs to whoever has disabled it. While it is scheduled,
//! one CPU has it.

use super::{
    inner::Private,
    operations::Operations,
    poll::{
        Netpoll,
        Poll, //
    }, //
};
use crate::bindings;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex,
    types::Opaque, //
};

/// What a NAPI instance is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NapiKind {
    /// What a receive queue receives, and whatever else.
    Rx {
        /// The number of the queue.
        queue: u32,
    },
    /// What a transmit queue has sent.
    Tx {
        /// The number of the queue.
        queue: u32,
    },
}

impl NapiKind {
    pub(super) fn queue(self) -> u32 {
        match self {
            Self::Rx { queue } | Self::Tx { queue } => queue,
        }
    }
}

/// Whether an instance is enabled.
struct State {
    enabled: bool,
    /// Whether it must not be enabled any more.
    ended: bool,
}

/// What there is of a NAPI instance.
///
/// # Invariants
///
/// - `data` points to the driver's data, which is valid and pinned until the instance has ended.
/// - `dev` is valid for as long as this is used.
/// - Once `add` was called, `napi` is an instance of `dev`, which is disabled if and only if the state
///   says so.
/// - `value` is used by whoever polls the instance, which `poll` tells, or has the lock of the state,
///   which says that it is disabled.
#[pin_data]
#[repr(C)]
pub(super) struct NapiSlot<T: Operations> {
    /// It comes first: `poll` gets its address.
    #[pin]
    napi: Opaque<bindings::napi_struct>,
    pub(super) dev: *mut bindings::net_device,
    data: *const c_void,
    pub(super) index: u32,
    pub(super) kind: NapiKind,
    weight: c_int,
    /// The lifetime is that of the binding.
    value: UnsafeCell<T::Napi<'static>>,
    #[pin]
    state: Mutex<State>,
}

impl<T: Operations> NapiSlot<T> {
    /// Makes one.
    ///
    /// # Safety
    ///
    /// - `dev` must be valid for as long as this is used.
    /// - `data` must point to the driver's data, which must be valid and pinned until `end` was
    ///   called.
    /// - This must be dropped before the end of the lifetime that `value` had.
    pub(super) unsafe fn new(
        dev: *mut bindings::net_device,
        data: *const c_void,
        index: u32,
        kind: NapiKind,
        weight: c_int,
        value: T::Napi<'static>,
    ) -> impl PinInit<Self> {
        // INVARIANT: By the safety requirements.
        pin_init!(Self {
            napi: Opaque::new(pin_init::zeroed()),
            dev,
            data,
            index,
            kind,
            weight,
            value: UnsafeCell::new(value),
            state <- new_mutex!(State {
                enabled: false,
                ended: false,
            }),
        })
    }

    /// Makes the instance known to its device.
    ///
    /// # Safety
    ///
    /// This must be called once, before the device is registered, and the instance must be deleted
    /// before this is dropped.
    pub(super) unsafe fn add(self: Pin<&Self>) {
        let setup = bindings::napi_setup {
            queue: self.kind.queue(),
            weight: self.weight,
            tx: matches!(self.kind, NapiKind::Tx { .. }),
        };
        // INVARIANT: It is disabled when it is added.
        //
        // SAFETY: `dev` is valid, by the type invariant; the instance is pinned, zeroed, and outlives
        // the device. The queue exists: see `DeviceOptions`. Nobody else knows the device.
        unsafe { bindings::napi_add(self.dev, self.napi.get(), Some(Self::poll), &setup) };
    }

    pub(super) fn as_raw(&self) -> *mut bindings::napi_struct {
        self.napi.get()
    }

    /// Disables the instance for good.
    pub(super) fn end(&self) {
        let mut state = self.state.lock();
        if core::mem::replace(&mut state.enabled, false) {
            // SAFETY: By the type invariant, it is enabled.
            unsafe { bindings::napi_disable(self.napi.get()) };
        }
        state.ended = true;
    }

    /// Called by the core to poll an instance.
    ///
    /// # Safety
    ///
    /// `napi` must be the instance of a `NapiSlot<T>` that was added, and not deleted. Unless the
    /// budget is zero, this CPU must own it.
    unsafe extern "C" fn poll(napi: *mut bindings::napi_struct, budget: c_int) -> c_int {
        // SAFETY: By the safety requirements, and as it comes first, this is a slot.
        let slot = unsafe { &*napi.cast::<Self>() };
        // SAFETY: By the type invariant, the data is valid: it is not disabled, which `end` sees to.
        let data = unsafe { &*slot.data.cast::<T::Data<'_>>() };
        // SAFETY: By the type invariant, it is pinned.
        let data = unsafe { Pin::new_unchecked(data) };

        let Some(budget) = u32::try_from(budget).ok().filter(|budget| *budget != 0) else {
            // This is a network console, which asks whoever polls meanwhile only if that has seen
            // that there is one: the instance may be owned by somebody else.
            if T::HAS_NETPOLL {
                T::netpoll(data, &Netpoll::new(slot));
            }
            return 0;
        };
        // SAFETY: This CPU owns the instance, by the safety requirements, until `finish`.
        let value = unsafe { &mut *slot.value.get().cast::<T::Napi<'_>>() };
        let mut poll = Poll::new(slot, budget);
        let work = T::poll(data, value, &mut poll);
        poll.finish(work)
    }
}

/// A NAPI instance of a device.
///
/// # Invariants
///
/// `slot` was added, and its device lives as long as `'a`.
pub struct NapiHandle<'a, 'bound, T: Operations> {
    slot: &'a NapiSlot<T>,
    /// It is invariant.
    _bound: PhantomData<fn(&'bound ()) -> &'bound ()>,
}

impl<T: Operations> Clone for NapiHandle<'_, '_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Operations> Copy for NapiHandle<'_, '_, T> {}

impl<'a, 'bound, T: Operations> NapiHandle<'a, 'bound, T> {
    /// Makes a handle.
    ///
    /// # Safety
    ///
    /// `'bound` must be the lifetime of the binding; the instance must have been added.
    pub(super) unsafe fn new(slot: &'a NapiSlot<T>) -> Self {
        // INVARIANT: By the safety requirements; the slot keeps the device.
        Self {
            slot,
            _bound: PhantomData,
        }
    }

    /// Returns what the instance is for.
    pub fn kind(&self) -> NapiKind {
        self.slot.kind
    }

    /// Has the instance polled soon, unless it is disabled. Returns whether that is due to this call.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "napi_schedule")]
    pub fn schedule(&self) -> bool {
        // SAFETY: By the type invariant, the instance was added, and its device lives.
        unsafe { bindings::napi_schedule(self.slot.as_raw()) }
    }

    /// As [`NapiHandle::schedule`], for handlers of hard interrupts; elsewhere it may be late.
    ///
    /// # Context
    ///
    /// With interrupts disabled.
    #[doc(alias = "napi_schedule_irqoff")]
    pub fn schedule_irq(&self) {
        // SAFETY: By the type invariant, the instance was added, and its device lives. The function
        // looks itself at whether interrupts are disabled.
        unsafe { bindings::napi_schedule_irqoff(self.slot.as_raw()) };
    }

    /// Enables the instance, unless it is, or the device was unregistered. What was to be polled
    /// meanwhile was not noticed: whoever enables it should schedule it.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "napi_enable")]
    pub fn enable(&self) {
        let mut state = self.slot.state.lock();
        if !state.enabled && !state.ended {
            // SAFETY: By the type invariant, it was added; it is disabled.
            unsafe { bindings::napi_enable(self.slot.as_raw()) };
            state.enabled = true;
        }
    }

    /// Disables the instance, unless it is, and waits until it is not being polled.
    ///
    /// # Context
    ///
    /// Process context; this sleeps. Nothing that [`Operations::poll`] waits for must be waiting.
    #[doc(alias = "napi_disable")]
    pub fn disable(&self) {
        let mut state = self.slot.state.lock();
        if core::mem::replace(&mut state.enabled, false) {
            // SAFETY: By the type invariant, it is enabled.
            unsafe { bindings::napi_disable(self.slot.as_raw()) };
        }
    }

    /// Calls a function with what belongs to the instance, which stays disabled meanwhile.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it is enabled.
    ///
    /// # Context
    ///
    /// Process context; this sleeps. The function must not enable or disable the instance.
    pub fn with_disabled<R>(&self, function: impl FnOnce(&mut T::Napi<'bound>) -> R) -> Result<R> {
        let state = self.slot.state.lock();
        if state.enabled {
            return Err(EBUSY);
        }
        // SAFETY: By the type invariant of the slot: the lock is held, and it is disabled.
        Ok(function(unsafe { &mut *self.slot.value.get().cast() }))
    }
}

impl<T: Operations> NapiSlot<T> {
    /// Returns what the device has.
    pub(super) fn private(&self) -> &Private<T> {
        // SAFETY: By the type invariant, the device is valid, and is one with operations `T`.
        unsafe { &*Private::of(self.dev) }
    }
}

// SAFETY: A slot may be used by any thread; what belongs to the instance may be sent.
unsafe impl<T: Operations> Send for NapiSlot<T> {}

// SAFETY: Who may use `value` is told above; the core locks the rest.
unsafe impl<T: Operations> Sync for NapiSlot<T> {}
