// SPDX-License-Identifier: GPL-2.0

//! What a poll function can do.

use super::{
    device::Borrowed,
    napi::NapiSlot,
    operations::Operations,
    queue::{
        Context,
        TxGuard, //
    },
    skb::{
        Reason,
        SkBuff, //
    },
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

/// What becomes of an instance.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    /// It is polled again.
    Again,
    /// It is not polled until it is scheduled: by an interrupt.
    Interrupt,
    /// The core sees to it that it is polled.
    Core,
}

/// A NAPI instance that is being polled.
///
/// # Invariants
///
/// This CPU owns the instance, until `finish`; the budget is not zero.
pub struct Poll<'a, 'bound, T: Operations> {
    slot: &'a NapiSlot<T>,
    budget: u32,
    next: Next,
    /// It is invariant, and stays on its CPU.
    _not_send: PhantomData<*mut &'bound ()>,
}

impl<'a, 'bound, T: Operations> Poll<'a, 'bound, T> {
    pub(super) fn new(slot: &'a NapiSlot<T>, budget: u32) -> Self {
        Self {
            slot,
            budget,
            next: Next::Again,
            _not_send: PhantomData,
        }
    }

    /// Gives the instance back to the core, as its rules want it.
    pub(super) fn finish(self, work: u32) -> c_int {
        let work = match self.next {
            Next::Again => self.budget,
            Next::Interrupt | Next::Core => work.min(self.budget.saturating_sub(1)),
        };
        // It came from there.
        let work = c_int::try_from(work).unwrap_or(0);
        if self.next != Next::Again {
            let napi = self.slot.as_raw();
            // SAFETY: By the type invariant, this CPU owns the instance. The work is less than the
            // budget, as it must be.
            let idle = unsafe { bindings::napi_complete_done(napi, work) };
            if idle && self.next == Next::Core {
                // The user has changed something meanwhile: the device does not interrupt.
                //
                // SAFETY: The instance was added. It may be somebody else's by now, but is not freed
                // before this softirq is over.
                unsafe { bindings::napi_schedule(napi) };
            }
        }
        work
    }

    /// Returns how many packets may be received before this returns.
    #[inline]
    pub fn budget(&self) -> u32 {
        self.budget
    }

    /// Returns the number of the instance.
    pub fn index(&self) -> u32 {
        self.slot.index
    }

    /// Returns the device.
    pub fn device(&self) -> Borrowed<'a, 'bound, T> {
        // SAFETY: The device lives as long as its slots; it is that of the binding.
        unsafe { Borrowed::new(self.slot.private()) }
    }

    /// Gives a frame that was received to the core, with its MAC header.
    ///
    /// Cost: one call of a C function, which finds the protocol, too.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is too short to be one: it is dropped.
    #[doc(alias = "napi_gro_receive")]
    #[doc(alias = "eth_type_trans")]
    #[inline]
    pub fn receive(&mut self, skb: SkBuff) -> Result {
        let queue = self.slot.kind.queue();
        // SAFETY: By the type invariant, this CPU owns the instance. The frame is valid; it is given
        // up if it was taken.
        if unsafe { bindings::napi_receive(self.slot.as_raw(), skb.as_ptr(), queue) } {
            let _ = skb.into_raw();
            return Ok(());
        }
        skb.drop_for(Reason::TooShort);
        Err(EINVAL)
    }

    /// Allocates a packet with room for so many bytes, fast.
    #[doc(alias = "napi_alloc_skb")]
    pub fn alloc_skb(&mut self, len: u32) -> Result<SkBuff> {
        // SAFETY: By the type invariant, this CPU owns the instance; the budget is not zero.
        let skb = unsafe { bindings::napi_alloc_skb(self.slot.as_raw().cast(), len) };
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        // SAFETY: It was just made.
        Ok(unsafe { SkBuff::from_raw(skb) })
    }

    /// Says that nothing is left to do, after so many packets were received, of which the poll
    /// function returns the number. Returns whether the device should interrupt from now on; if it
    /// did so before this function returns, the instance is polled again. If it should not, the core
    /// polls the instance when it likes.
    ///
    /// If something is found to do after all, there is [`Poll::again`].
    ///
    /// Cost: one call of a C function, and another one at the end.
    #[doc(alias = "napi_complete_done")]
    #[must_use]
    pub fn complete(&mut self, work: u32) -> bool {
        let work = work.min(self.budget.saturating_sub(1));
        // SAFETY: By the type invariant, this CPU owns the instance.
        let interrupt = unsafe { bindings::napi_may_complete(self.slot.as_raw(), work) };
        self.next = if interrupt {
            Next::Interrupt
        } else {
            Next::Core
        };
        interrupt
    }

    /// Says that something is left to do after all.
    pub fn again(&mut self) {
        self.next = Next::Again;
    }

    /// Takes the lock of a transmit queue, if there is such a queue.
    #[doc(alias = "__netif_tx_lock")]
    pub fn lock_tx(&self, index: u32) -> Option<TxGuard<'a, 'bound, T>> {
        let slot = self.slot.private().tx(index)?;
        // SAFETY: `'bound` is the lifetime of the binding.
        Some(unsafe { slot.lock(Context::Softirq) })
    }

    /// Takes the lock of a transmit queue, if there is such a queue, and nobody has the lock.
    #[doc(alias = "__netif_tx_trylock")]
    pub fn try_lock_tx(&self, index: u32) -> Option<TxGuard<'a, 'bound, T>> {
        let slot = self.slot.private().tx(index)?;
        // SAFETY: `'bound` is the lifetime of the binding.
        unsafe { slot.try_lock(Context::Softirq) }
    }
}

/// A NAPI instance for which a network console asks: see [`Operations::netpoll`].
pub struct Netpoll<'a, 'bound, T: Operations> {
    slot: &'a NapiSlot<T>,
    /// It is invariant, and stays on its CPU.
    _not_send: PhantomData<*mut &'bound ()>,
}

impl<'a, 'bound, T: Operations> Netpoll<'a, 'bound, T> {
    pub(super) fn new(slot: &'a NapiSlot<T>) -> Self {
        Self {
            slot,
            _not_send: PhantomData,
        }
    }

    /// Returns the number of the instance.
    pub fn index(&self) -> u32 {
        self.slot.index
    }

    /// Takes the lock of a transmit queue, if there is such a queue, and nobody has the lock.
    #[doc(alias = "__netif_tx_trylock")]
    pub fn try_lock_tx(&self, index: u32) -> Option<TxGuard<'a, 'bound, T>> {
        let slot = self.slot.private().tx(index)?;
        // SAFETY: `'bound` is the lifetime of the binding.
        unsafe { slot.try_lock(Context::Softirq) }
    }
}
