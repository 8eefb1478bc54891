// SPDX-License-Identifier: GPL-2.0

//! Transmit queues.

use super::operations::{
    More,
    Operations, //
};
use crate::bindings;
use core::{
    cell::UnsafeCell,
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
};

/// What there is of a transmit queue, on cache lines of its own.
///
/// # Invariants
///
/// `txq` is a queue of the device, and lives as long. `value` is used only by whoever has its lock.
#[repr(C, align(64))]
pub(super) struct TxSlot<T: Operations> {
    txq: *mut bindings::netdev_queue,
    index: u32,
    /// The lifetime is that of the binding.
    value: UnsafeCell<T::Tx<'static>>,
}

impl<T: Operations> TxSlot<T> {
    /// Makes one.
    ///
    /// # Safety
    ///
    /// `txq` must be the queue `index` of a device, and live as long as this is used, and this must
    /// be dropped before the end of the lifetime that `value` had.
    pub(super) unsafe fn new(
        txq: *mut bindings::netdev_queue,
        index: u32,
        value: T::Tx<'static>,
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            txq,
            index,
            value: UnsafeCell::new(value),
        }
    }

    /// Returns the queue of the core.
    pub(super) fn as_raw(&self) -> *mut bindings::netdev_queue {
        self.txq
    }

    /// Returns the queue.
    ///
    /// # Safety
    ///
    /// This CPU must have the lock of the queue for as long as the result is used.
    pub(super) unsafe fn queue(&self) -> TxQueue<'_> {
        // INVARIANT: By the safety requirements.
        TxQueue {
            control: self.control(),
            _not_send: PhantomData,
        }
    }

    /// Returns what can be done without the lock.
    pub(super) fn control(&self) -> TxControl<'_> {
        // INVARIANT: By the type invariant.
        TxControl {
            txq: self.txq,
            index: self.index,
            _queue: PhantomData,
        }
    }

    /// Returns what belongs to the queue.
    ///
    /// # Safety
    ///
    /// This CPU must have the lock of the queue for as long as the result is used, which there must
    /// be one of; `'bound` must be the lifetime of the binding.
    #[expect(clippy::mut_from_ref, reason = "the lock is that of the core")]
    pub(super) unsafe fn value<'bound>(&self) -> &mut T::Tx<'bound> {
        // SAFETY: By the safety requirements, nobody else uses it.
        unsafe { &mut *self.value.get().cast() }
    }

    /// Takes the lock of the queue.
    ///
    /// # Safety
    ///
    /// `'bound` must be the lifetime of the binding.
    pub(super) unsafe fn lock<'bound>(&self, context: Context) -> TxGuard<'_, 'bound, T> {
        match context {
            // SAFETY: By the type invariant, the queue is valid.
            Context::Process => unsafe { bindings::netif_tx_lock_bh(self.txq) },
            // SAFETY: As above.
            Context::Softirq => unsafe { bindings::netif_tx_lock(self.txq) },
        }
        // INVARIANT: It was just taken.
        TxGuard {
            slot: self,
            context,
            _tx: PhantomData,
        }
    }

    /// Takes the lock of the queue if nobody has it.
    ///
    /// # Safety
    ///
    /// `'bound` must be the lifetime of the binding.
    pub(super) unsafe fn try_lock<'bound>(
        &self,
        context: Context,
    ) -> Option<TxGuard<'_, 'bound, T>> {
        let locked = match context {
            // SAFETY: By the type invariant, the queue is valid.
            Context::Process => unsafe { bindings::netif_tx_trylock_bh(self.txq) },
            // SAFETY: As above.
            Context::Softirq => unsafe { bindings::netif_tx_trylock(self.txq) },
        };
        // INVARIANT: It was just taken. A guard that is made and dropped would give it back.
        locked.then(|| TxGuard {
            slot: self,
            context,
            _tx: PhantomData,
        })
    }
}

/// Where a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Context {
    /// Bottom halves are enabled, or that does not matter.
    Process,
    /// Bottom halves are disabled, perhaps with interrupts.
    Softirq,
}

/// What can be done to a transmit queue without its lock.
///
/// # Invariants
///
/// `txq` is valid for `'a`.
#[derive(Clone, Copy)]
#[doc(alias = "netdev_queue")]
pub struct TxControl<'a> {
    txq: *mut bindings::netdev_queue,
    index: u32,
    _queue: PhantomData<&'a ()>,
}

// SAFETY: The functions below may be called by any thread.
unsafe impl Send for TxControl<'_> {}

// SAFETY: As above, by several at once.
unsafe impl Sync for TxControl<'_> {}

impl TxControl<'_> {
    /// Returns the number of the queue.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Keeps the core from giving packets to this queue. To look again whether there is room after
    /// that, use [`TxControl::stop_unless`].
    #[doc(alias = "netif_tx_stop_queue")]
    pub fn stop(&self) {
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::netif_tx_stop_queue(self.txq) };
    }

    /// Stops the queue, looks again whether there is room, as somebody may have made some who has not
    /// seen yet that the queue was stopped, and starts it again if so. Returns whether it is stopped.
    #[doc(alias = "netif_txq_try_stop")]
    pub fn stop_unless(&self, has_room: impl FnOnce() -> bool) -> bool {
        self.stop();
        // `stop` is a full barrier.
        if !has_room() {
            return true;
        }
        self.start();
        false
    }

    /// Lets the core give packets to this queue again.
    #[doc(alias = "netif_tx_start_queue")]
    pub fn start(&self) {
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::netif_tx_start_queue(self.txq) };
    }

    /// Lets the core give packets to this queue again, and asks for those that wait.
    ///
    /// Cost: one call of a C function, and a bit.
    #[doc(alias = "netif_tx_wake_queue")]
    pub fn wake(&self) {
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::netif_tx_wake_queue(self.txq) };
    }

    /// Tells whether the queue was stopped by the driver.
    #[doc(alias = "netif_tx_queue_stopped")]
    #[inline]
    pub fn is_stopped(&self) -> bool {
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::netif_tx_queue_stopped(self.txq) }
    }
}

/// A transmit queue whose lock this CPU has.
///
/// # Invariants
///
/// This CPU has the lock for `'a`.
#[derive(Clone, Copy)]
#[doc(alias = "netdev_queue")]
pub struct TxQueue<'a> {
    control: TxControl<'a>,
    _not_send: PhantomData<*mut ()>,
}

impl TxQueue<'_> {
    /// Counts bytes that the device was given, and returns whether to tell the device of them now.
    /// The core stops the queue if the device has more than it needs.
    ///
    /// Cost: one call of a C function.
    #[doc(alias = "__netdev_tx_sent_queue")]
    #[must_use]
    #[inline]
    pub fn sent(&self, bytes: u32, more: More) -> bool {
        // SAFETY: By the type invariants, the queue is valid, and this CPU has its lock.
        unsafe { bindings::netdev_tx_sent_queue(self.control.txq, bytes, more == More::Yes) }
    }

    /// Counts packets, and their bytes, that the device has sent. More bytes than were
    /// [counted](TxQueue::sent) are not counted.
    ///
    /// Cost: one call of a C function; a full memory barrier.
    #[doc(alias = "netdev_tx_completed_queue")]
    #[inline]
    pub fn completed(&self, packets: u32, bytes: u32) {
        // SAFETY: By the type invariants, the queue is valid, and this CPU has its lock: nobody else
        // counts.
        unsafe { bindings::netdev_tx_completed_queue(self.control.txq, packets, bytes) };
    }

    /// Forgets what was counted: the device has nothing any more.
    #[doc(alias = "netdev_tx_reset_queue")]
    pub fn reset(&self) {
        // SAFETY: By the type invariants, the queue is valid, and this CPU has its lock: nobody else
        // counts.
        unsafe { bindings::netdev_tx_reset_queue(self.control.txq) };
    }
}

impl<'a> Deref for TxQueue<'a> {
    type Target = TxControl<'a>;

    fn deref(&self) -> &TxControl<'a> {
        &self.control
    }
}

/// The lock of a transmit queue: nobody sends by this queue while it lives.
///
/// # Invariants
///
/// This CPU has the lock of the queue, which was taken in `context`.
#[must_use = "the queue is unlocked when this is dropped"]
pub struct TxGuard<'a, 'bound, T: Operations> {
    slot: &'a TxSlot<T>,
    context: Context,
    /// It is invariant, and stays on its CPU.
    _tx: PhantomData<*mut T::Tx<'bound>>,
}

impl<T: Operations> TxGuard<'_, '_, T> {
    /// Returns the queue.
    pub fn queue(&self) -> TxQueue<'_> {
        // SAFETY: By the type invariant, this CPU has the lock.
        unsafe { self.slot.queue() }
    }

    /// Returns the queue, and what belongs to it.
    pub fn parts(&mut self) -> (TxQueue<'_>, &mut <Self as Deref>::Target) {
        // SAFETY: By the type invariant, this CPU has the lock.
        let queue = unsafe { self.slot.queue() };
        // SAFETY: As above; `self` is borrowed mutably.
        (queue, unsafe { self.slot.value() })
    }
}

impl<'bound, T: Operations> Deref for TxGuard<'_, 'bound, T> {
    type Target = T::Tx<'bound>;

    fn deref(&self) -> &T::Tx<'bound> {
        // SAFETY: By the type invariant, this CPU has the lock. It is not changed through this.
        unsafe { self.slot.value() }
    }
}

impl<'bound, T: Operations> DerefMut for TxGuard<'_, 'bound, T> {
    fn deref_mut(&mut self) -> &mut T::Tx<'bound> {
        // SAFETY: By the type invariant, this CPU has the lock; `self` is borrowed mutably.
        unsafe { self.slot.value() }
    }
}

impl<T: Operations> Drop for TxGuard<'_, '_, T> {
    fn drop(&mut self) {
        let txq = self.slot.txq;
        match self.context {
            // SAFETY: By the type invariant, the lock was taken in this way.
            Context::Process => unsafe { bindings::netif_tx_unlock_bh(txq) },
            // SAFETY: As above.
            Context::Softirq => unsafe { bindings::netif_tx_unlock(txq) },
        }
    }
}
