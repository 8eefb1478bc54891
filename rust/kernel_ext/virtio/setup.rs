// SPDX-License-Identifier: GPL-2.0

//! How a driver gets its queues.

use super::{
    binding::Binding,
    buffer::Buffer,
    ring::Chains,
    state::{
        Phase,
        Slot,
        State, //
    },
    Device,
    Driver,
    Virtqueue, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    device,
    error::to_result,
    prelude::*,
    str::CString, //
};

/// The function that is called when the device has used buffers of a queue, with the driver's data
/// and a number of the driver's choice.
type CallbackFn<T> = for<'a, 'bound> fn(this: Pin<&'a <T as Driver>::Data<'bound>>, context: usize);

/// What is called when the device has used buffers of a queue.
///
/// It is called in interrupt context, only while the device is live, possibly on several CPUs at
/// once, and perhaps without a reason: a device may interrupt as it likes.
pub struct QueueCallback<T: Driver> {
    function: CallbackFn<T>,
    context: usize,
}

impl<T: Driver> QueueCallback<T> {
    /// Calls `function` with `context`, such as the number of a queue pair.
    pub fn new(function: CallbackFn<T>, context: usize) -> Self {
        Self { function, context }
    }

    pub(super) fn call(&self, data: Pin<&T::Data<'_>>) {
        (self.function)(data, self.context);
    }
}

/// How a queue is called, for example in `/proc/interrupts`.
pub enum QueueName {
    /// As no other of the driver.
    Only(&'static CStr),
    /// As only one of the device is, such as `input.0`.
    OneOf(CString),
}

impl QueueName {
    /// Returns a name with a number.
    pub fn numbered(name: &str, number: usize) -> Result<Self> {
        CString::try_from_fmt(fmt!("{name}.{number}")).map(Self::OneOf)
    }

    fn as_char_ptr(&self) -> *const c_char {
        kernel::str::as_char_ptr_in_const_context(match self {
            Self::Only(name) => name,
            Self::OneOf(name) => name,
        })
    }
}

impl From<&'static CStr> for QueueName {
    fn from(name: &'static CStr) -> Self {
        Self::Only(name)
    }
}

/// What a driver has asked for, by the indices of the queues.
pub(super) struct Asked<T: Driver> {
    callbacks: KVec<Option<QueueCallback<T>>>,
    /// The core keeps pointers to these as long as the queues exist.
    names: KVec<QueueName>,
}

impl<T: Driver> Asked<T> {
    /// Begins with nothing.
    pub(super) fn new() -> Self {
        Self {
            callbacks: KVec::new(),
            names: KVec::new(),
        }
    }

    /// Returns what is called when the device has used buffers of a queue.
    pub(super) fn callback(&self, index: usize) -> Option<&QueueCallback<T>> {
        self.callbacks.get(index)?.as_ref()
    }
}

/// The queues of a device that are yet to be made.
///
/// # Examples
///
/// ```ignore
/// let mut setup = QueueSetup::<Self>::new(vdev)?;
/// let input = setup.queue(c"input", Some(QueueCallback::new(Self::used, 0)))?;
/// let mut queues = setup.make()?;
/// let input: Virtqueue<'_, Exchange<(), [u8; 64]>> = queues.take(input)?;
/// ```
pub struct QueueSetup<'bound, T: Driver> {
    binding: &'bound Binding<T>,
    infos: KVec<bindings::virtqueue_info>,
    chains: KVec<Chains>,
    asked: Asked<T>,
    spread: Option<(u32, u32)>,
}

/// A queue that is yet to be made, with buffers `B`.
#[must_use]
pub struct PendingQueue<B>(usize, PhantomData<B>);

impl<'bound, T: Driver> QueueSetup<'bound, T> {
    /// Starts. `T` must be the driver that probes or restores the device, which can do this once.
    pub fn new(vdev: &'bound Device<device::Core<'_>>) -> Result<Self> {
        let binding = Binding::<T>::of(vdev)?;
        if binding.state().phase() != Phase::Preparing {
            return Err(EBUSY);
        }
        Ok(Self {
            binding,
            infos: KVec::new(),
            chains: KVec::new(),
            asked: Asked::new(),
            spread: None,
        })
    }

    /// Asks for the next queue of the device. Without a callback, it never interrupts.
    pub fn queue<B: Buffer>(
        &mut self,
        name: impl Into<QueueName>,
        callback: Option<QueueCallback<T>>,
    ) -> Result<PendingQueue<B>> {
        self.ask(name.into(), callback, Chains::InTables)
    }

    /// As [`QueueSetup::queue`]. The parts of buffers go into the ring itself: nothing is allocated
    /// when a buffer with several parts is added, but it takes as many places as it has parts.
    pub fn direct_queue<B: Buffer>(
        &mut self,
        name: impl Into<QueueName>,
        callback: Option<QueueCallback<T>>,
    ) -> Result<PendingQueue<B>> {
        self.ask(name.into(), callback, Chains::InRing)
    }

    /// As [`QueueSetup::queue`]. The parts of buffers go into the ring itself, until three quarters of
    /// it are full, and only then into tables. So there is room for half as many buffers as there are
    /// places, if they have three parts each, and nothing is allocated for the first half of those.
    pub fn mixed_queue<B: Buffer>(
        &mut self,
        name: impl Into<QueueName>,
        callback: Option<QueueCallback<T>>,
    ) -> Result<PendingQueue<B>> {
        self.ask(name.into(), callback, Chains::Mixed)
    }

    fn ask<B: Buffer>(
        &mut self,
        name: QueueName,
        callback: Option<QueueCallback<T>>,
        chains: Chains,
    ) -> Result<PendingQueue<B>> {
        let index = self.infos.len();
        let info = bindings::virtqueue_info {
            name: name.as_char_ptr(),
            callback: callback
                .is_some()
                .then_some(Binding::<T>::queue_callback as unsafe extern "C" fn(_)),
            // The core has no table for a queue with contexts.
            ctx: chains == Chains::InRing,
        };
        self.chains.push(chains, GFP_KERNEL)?;
        self.asked.callbacks.push(callback, GFP_KERNEL)?;
        self.asked.names.push(name, GFP_KERNEL)?;
        self.infos.push(info, GFP_KERNEL)?;
        Ok(PendingQueue(index, PhantomData))
    }

    /// Asks for interrupts to be spread over the CPUs, but those of the `first` and the `last`
    /// queues with a callback. They stay where they are put.
    #[doc(alias = "irq_affinity")]
    pub fn spread(&mut self, first: u32, last: u32) {
        self.spread = Some((first, last));
    }

    /// Makes the queues.
    #[doc(alias = "virtio_find_vqs")]
    pub fn make(mut self) -> Result<Queues<'bound>> {
        let count = u32::try_from(self.infos.len())?;
        let mut queues = KVec::new();
        for _ in 0..count {
            queues.push(ptr::null_mut(), GFP_KERNEL)?;
        }
        let mut made = Queues {
            state: self.binding.state(),
            queues: KVec::with_capacity(queues.len(), GFP_KERNEL)?,
        };
        self.binding.claim_queues()?;
        self.find(count, &mut queues)
            .inspect_err(|_| self.binding.release_queues())?;

        for (index, (queue, chains)) in queues.iter().zip(self.chains).enumerate() {
            let slot = made.state.slot(index)?;
            let queue = NonNull::new(*queue).map(|queue| (queue, slot, chains));
            // INVARIANT: The queue was just made, and its slot has a user. There is room.
            made.queues.push(queue, GFP_KERNEL)?;
        }
        Ok(made)
    }

    fn find(&mut self, count: u32, queues: &mut [*mut bindings::virtqueue]) -> Result {
        self.binding.state().make_slots(count)?;

        // SAFETY: `new` has checked that the device is being prepared, which only this thread does,
        // and `claim_queues`, that no queues were made.
        unsafe {
            self.binding
                .set_asked(core::mem::replace(&mut self.asked, Asked::new()));
        }

        let vdev = self.binding.state().vdev();
        let infos = self.infos.as_mut_ptr();
        let queues = queues.as_mut_ptr();
        to_result(match self.spread {
            // SAFETY:
            // - `vdev` is valid, bound, and has no queues.
            // - Both arrays have `count` elements; the core does not keep them. It keeps the names: the
            //   binding has them, which does not change them before the queues are deleted.
            None => unsafe { bindings::virtio_find_vqs(vdev, count, queues, infos) },
            // SAFETY: As above.
            Some((first, last)) => unsafe {
                bindings::virtio_find_vqs_spread(vdev, count, queues, infos, first, last)
            },
        })
    }
}

/// A queue of the core, its slot, and how it takes buffers.
type Made = (NonNull<bindings::virtqueue>, NonNull<Slot>, Chains);

/// The queues of a device, to be taken.
///
/// # Invariants
///
/// Each of `queues` is nothing, or a valid queue of the device that nobody else uses, and its slot,
/// of which this is a user.
pub struct Queues<'bound> {
    state: &'bound State,
    queues: KVec<Option<Made>>,
}

impl<'bound> Queues<'bound> {
    /// Takes a queue, which can be done once.
    pub fn take<B: Buffer>(&mut self, pending: PendingQueue<B>) -> Result<Virtqueue<'bound, B>> {
        let queue = self.queues.get_mut(pending.0).ok_or(EINVAL)?;
        let (vq, slot, chains) = queue.ok_or(ENOENT)?;

        // SAFETY: By the type invariant, the queue is valid; it is taken out, so nobody else has it.
        // There was no buffer in it yet. If it cannot be taken, it stays.
        let taken = unsafe { Virtqueue::new(vq, slot, self.state, chains) }?;
        *queue = None;
        Ok(taken)
    }
}

impl Drop for Queues<'_> {
    fn drop(&mut self) {
        for (_, slot, _) in self.queues.iter().flatten() {
            // SAFETY: By the type invariant, this is a user of the slot.
            unsafe { slot.as_ref() }.remove_user();
        }
    }
}
