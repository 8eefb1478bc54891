// SPDX-License-Identifier: GPL-2.0

//! Queues.

use super::{
    buffer::{
        Buffer,
        Parts,
        Reach, //
    },
    counters::{
        count,
        Counters, //
    },
    outcome::{
        AddError,
        Context,
        Progress,
        Used, //
    },
    ring::{
        Chains,
        Drives,
        Fault,
        Ring, //
    },
    state::{
        Phase,
        Slot,
        State, //
    },
    Notification, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    cpumask::Cpumask,
    error::to_result,
    prelude::*, //
};

/// A queue with buffers `B`.
///
/// While a buffer is in the queue, the queue owns it: the device may access its memory, and nobody
/// else can. [`Virtqueue::pop`] gives it back when the device has used it. What is left is dropped
/// with the queue, but not before the device was reset.
///
/// The methods take `&mut self`: whoever shares a queue has a lock for it. None of them takes a
/// lock, and none but [`Virtqueue::add`] allocates (the core does, if the buffer has several parts
/// and the queue was not made by [`QueueSetup::direct_queue`](super::QueueSetup::direct_queue), or
/// has room in a ring of its own, and was made by
/// [`QueueSetup::mixed_queue`](super::QueueSetup::mixed_queue)).
/// Those that sleep say so.
///
/// # Invariants
///
/// - `slot` is that of the queue, and this is a user of it.
/// - `vq` is valid while it has a user; nobody but this uses it, save for notifications.
/// - Each token in it comes from [`Buffer::into_token`] of `B`.
#[doc(alias = "virtqueue")]
pub struct Virtqueue<'bound, B: Buffer> {
    pub(super) vq: NonNull<bindings::virtqueue>,
    pub(super) slot: NonNull<Slot>,
    pub(super) state: &'bound State,
    pub(super) ring: Ring,
    /// What memory is mapped for before it is added, or null.
    device: *mut bindings::device,
    pub(super) counters: Counters,
    /// How many buffers are in the ring.
    pub(super) outstanding: u16,
    /// Whether the device was seen live. When it is reset, the queue is broken.
    live: bool,
    /// Whether it is known that the queue is broken.
    pub(super) broken: bool,
    /// The buffer with which it broke: the device may not have used it yet.
    pub(super) suspect: Option<B>,
    _buffers: PhantomData<B>,
}

// SAFETY: A queue may be used by any thread, one at a time, and its buffers can be sent.
unsafe impl<B: Buffer> Send for Virtqueue<'_, B> {}

// SAFETY: What takes `&self` only reads what `&mut self` changes.
unsafe impl<B: Buffer> Sync for Virtqueue<'_, B> {}

impl<'bound, B: Buffer> Virtqueue<'bound, B> {
    /// Takes a queue over.
    ///
    /// # Safety
    ///
    /// - `vq` must be valid while `slot` has a user.
    /// - The caller must be a user of `slot`, and give that up.
    /// - Nobody else may use `vq`, and there must be no buffer in it.
    pub(super) unsafe fn new(
        vq: NonNull<bindings::virtqueue>,
        slot: NonNull<Slot>,
        state: &'bound State,
        chains: Chains,
    ) -> Result<Self> {
        // SAFETY: By the safety requirements, `vq` is valid, there is nothing in it, and nobody else
        // uses it.
        let ring = unsafe { Ring::new(vq, chains) }?;
        // INVARIANT: By the safety requirements.
        Ok(Self {
            vq,
            slot,
            state,
            ring,
            // SAFETY: By the safety requirements, `vq` is valid.
            device: unsafe { bindings::virtqueue_dma_dev(vq.as_ptr()) },
            counters: Counters::default(),
            outstanding: 0,
            live: false,
            broken: false,
            suspect: None,
            _buffers: PhantomData,
        })
    }

    /// Adds a buffer. The device is told of it by a kick.
    ///
    /// Cost: one call of a C helper for each part, and one more; if the core drives the ring, one
    /// altogether. A table is allocated if the buffer has several parts, the device can do that,
    /// and memory is available.
    #[doc(alias = "virtqueue_add_sgs")]
    #[inline]
    pub fn add(&mut self, buffer: B, context: Context) -> Result<(), AddError<B>> {
        let reach = self.reach();
        let added = match &mut self.ring {
            Ring::Split(ring) => Self::add_to(ring, buffer, reach, context),
            Ring::Packed(ring) => Self::add_to(ring, buffer, reach, context),
            Ring::Core(ring) => Self::add_to(ring, buffer, reach, context),
        };
        if added.is_ok() {
            self.note_added();
        }
        added
    }

    #[inline(always)]
    fn note_added(&mut self) {
        self.outstanding = self.outstanding.wrapping_add(1);
        count(&mut self.counters.added);
    }

    /// Each ring has a function of its own, so that none pays for the others.
    #[inline(never)]
    fn add_to(
        ring: &mut impl Drives,
        buffer: B,
        reach: Reach,
        context: Context,
    ) -> Result<(), AddError<B>> {
        Self::add_by(buffer, reach, |token, parts| {
            // SAFETY: By the safety requirements of `Buffer`, the parts are valid memory, which only
            // the device accesses until the token is given back. That is done by `pop` when the device
            // has used it, or by `drop` when the device was reset.
            unsafe { ring.add(parts, token, context) }
        })
    }

    /// Gives a buffer up for a function, which gets its token and its parts.
    #[inline(always)]
    fn add_by(
        buffer: B,
        reach: Reach,
        insert: impl FnOnce(NonNull<c_void>, &Parts) -> Result,
    ) -> Result<(), AddError<B>> {
        if !buffer.suits(reach) {
            return Err(AddError {
                buffer,
                error: EINVAL,
            });
        }
        let token = buffer.into_token();
        // SAFETY: The token was just made.
        let parts = unsafe { B::parts(token) };
        match insert(token, &parts) {
            Ok(()) => Ok(()),
            Err(error) => Err(AddError {
                // SAFETY: The token was not added, so it is not used any more.
                buffer: unsafe { B::from_token(token) },
                error,
            }),
        }
    }

    /// Adds a buffer that was given up.
    ///
    /// # Safety
    ///
    /// `token` must come from [`Buffer::into_token`] of a `B` that suits this queue, and not have been
    /// given back, and `parts` be that buffer's.
    #[inline(always)]
    pub(super) unsafe fn insert(
        &mut self,
        token: NonNull<c_void>,
        parts: &Parts,
        context: Context,
    ) -> Result<(), AddError<B>> {
        // By the safety requirements of `Buffer`, the parts are what a ring wants, as in `add_to`.
        let inserted = match &mut self.ring {
            // SAFETY: See above.
            Ring::Split(ring) => unsafe { ring.add(parts, token, context) },
            // SAFETY: See above.
            Ring::Packed(ring) => unsafe { Self::insert_to(ring, token, parts, context) },
            // SAFETY: See above.
            Ring::Core(ring) => unsafe { Self::insert_to(ring, token, parts, context) },
        };
        if let Err(error) = inserted {
            // SAFETY: The token was not added, so it is not used any more.
            let buffer = unsafe { B::from_token(token) };
            return Err(AddError { buffer, error });
        }
        self.note_added();
        Ok(())
    }

    /// Adds a buffer to a ring. Only split ones, which most devices have, are written in place.
    ///
    /// # Safety
    ///
    /// As for [`Drives::add`].
    #[inline(never)]
    unsafe fn insert_to(
        ring: &mut impl Drives,
        token: NonNull<c_void>,
        parts: &Parts,
        context: Context,
    ) -> Result {
        // SAFETY: By the safety requirements.
        unsafe { ring.add(parts, token, context) }
    }

    /// Makes the added buffers known to the device. If it wants to be notified, that is left to the
    /// caller, who may first drop the lock of the queue.
    ///
    /// Cost: one call of a C function; a full memory barrier.
    #[doc(alias = "virtqueue_kick_prepare")]
    #[inline(always)]
    pub fn kick_prepare(&mut self) -> Option<Notification<'bound>> {
        if !self.publish() {
            return None;
        }
        // SAFETY: By the type invariant, this is a user, too.
        unsafe { self.slot.as_ref() }.add_user();

        // SAFETY: The queue is valid while the slot has a user; one was just added.
        Some(unsafe { Notification::new(self.vq, self.slot) })
    }

    /// Makes the added buffers known to the device, and notifies it if it wants to be, which this
    /// tells.
    ///
    /// Cost: one call of a C function, and another one with an exit to the hypervisor, if the device
    /// wants that.
    #[doc(alias = "virtqueue_kick")]
    pub fn kick(&mut self) -> bool {
        let wanted = self.publish();
        if wanted {
            // A queue that cannot be notified is broken, which `pop` tells.
            //
            // SAFETY: By the type invariant, the queue is valid.
            unsafe { bindings::virtqueue_notify(self.vq.as_ptr()) };
        }
        wanted
    }

    /// Makes the added buffers known, and tells whether the device wants to be notified.
    #[inline(always)]
    fn publish(&mut self) -> bool {
        if !self.live {
            self.live = self.state.is_live();
            if !self.live {
                return false;
            }
        }
        let wanted = self.ring.kick_prepare();
        count(&mut self.counters.kicks);
        if wanted {
            count(&mut self.counters.notifications);
        }
        wanted
    }

    /// Returns a buffer that the device has used, if there is one.
    ///
    /// # Errors
    ///
    /// `EIO` if the queue is broken: the device has said something that cannot be. Nothing will
    /// come out of the queue any more.
    ///
    /// Cost: none of a C function, while it is known that there are more; otherwise one. If the core
    /// drives the ring, one, or two if there is no buffer.
    #[doc(alias = "virtqueue_get_buf")]
    #[inline(always)]
    pub fn pop(&mut self) -> Result<Option<Used<B>>> {
        // Some rings look only when they have nothing left that they have seen.
        if self.broken {
            return Err(EIO);
        }
        match &mut self.ring {
            Ring::Split(ring) => {
                let taken = ring.take();
                self.settle(taken)
            }
            Ring::Packed(ring) => {
                let taken = ring.take();
                self.settle(taken)
            }
            Ring::Core(ring) => {
                let taken = ring.take();
                self.settle(taken)
            }
        }
    }

    /// Makes something of what a ring has given. In place: the result of a call goes through memory.
    #[inline(always)]
    fn settle(
        &mut self,
        taken: Result<Option<(NonNull<c_void>, u32)>, Fault>,
    ) -> Result<Option<Used<B>>> {
        match taken {
            Ok(Some((token, written))) => self.check(token, written),
            Ok(None) => Ok(None),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    /// Makes the buffer of a token that has come back.
    #[inline(always)]
    fn check(&mut self, token: NonNull<c_void>, written: u32) -> Result<Option<Used<B>>> {
        self.outstanding = self.outstanding.wrapping_sub(1);
        // SAFETY: The ring returns tokens that were added, each once. By the type invariant, they
        // come from `into_token` of `B`.
        let buffer = unsafe { B::from_token(token) };
        let room = buffer.writable_len();
        if written > room {
            return Err(self.written_too_much(buffer, written, room));
        }
        count(&mut self.counters.used);
        Ok(Some(Used { buffer, written }))
    }

    /// Asks the device not to interrupt. It may do so nevertheless.
    #[doc(alias = "virtqueue_disable_cb")]
    pub fn disable_callback(&mut self) {
        self.ring.disable_callback();
    }

    /// Asks the device to interrupt when it has used the next buffer. Returns whether it has used
    /// one already: then it may not interrupt for that, and the caller should go on popping.
    #[doc(alias = "virtqueue_enable_cb")]
    #[must_use]
    pub fn enable_callback(&mut self) -> bool {
        self.ring.enable_callback()
    }

    /// Asks the device to interrupt when it has used most of the buffers that it has, whatever is popped
    /// until then. Returns whether it has used many already, as [`Virtqueue::enable_callback`] does.
    #[doc(alias = "virtqueue_enable_cb_delayed")]
    #[must_use]
    pub fn enable_callback_delayed(&mut self) -> bool {
        self.ring.enable_callback_delayed()
    }

    /// Asks the device to interrupt when it has used the first of the buffers of which it is told next,
    /// and not before, whatever is popped until then: who calls this is about to tell it of some, or asks
    /// for an interrupt in another way. As it cannot have used a buffer that it does not know, nobody has
    /// to look.
    ///
    /// Nothing changes if the device cannot be told that: [`Virtqueue::can_defer_callback`].
    #[inline(always)]
    pub fn defer_callback(&mut self) {
        self.ring.defer_callback();
    }

    /// Tells whether [`Virtqueue::defer_callback`] does something.
    pub fn can_defer_callback(&self) -> bool {
        self.ring.can_defer_callback()
    }

    /// Asks the device to interrupt when it has used the next buffer. [`Virtqueue::has_used_since`]
    /// then tells whether it has used one already.
    #[doc(alias = "virtqueue_enable_cb_prepare")]
    pub fn enable_callback_prepare(&mut self) -> Progress {
        Progress(self.ring.enable_callback_prepare())
    }

    /// Tells whether the device has used a buffer since then.
    ///
    /// Cost: one call of a C function; a full memory barrier.
    #[doc(alias = "virtqueue_poll")]
    pub fn has_used_since(&self, progress: Progress) -> bool {
        self.ring.has_used_since(progress.0)
    }

    /// Returns how many buffers the device has.
    #[inline]
    pub fn outstanding(&self) -> u16 {
        self.outstanding
    }

    /// Returns how many buffers the queue has room for; parts of buffers, if they are direct.
    pub fn free(&self) -> u32 {
        self.ring.free()
    }

    /// Returns how many places the ring has.
    #[doc(alias = "virtqueue_get_vring_size")]
    pub fn size(&self) -> u32 {
        // SAFETY: By the type invariant, `vq` is valid.
        unsafe { bindings::virtqueue_get_vring_size(self.vq.as_ptr()) }
    }

    /// Returns how many places the ring can have.
    pub fn max_size(&self) -> u32 {
        // SAFETY: By the type invariant, `vq` is valid; this never changes.
        unsafe { (*self.vq.as_ptr()).num_max }
    }

    /// Asks for the interrupts of the queue to go to these CPUs.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "virtqueue_set_affinity")]
    pub fn set_affinity(&mut self, cpus: &Cpumask) -> Result {
        // CAST: `Cpumask` is a transparent wrapper of `struct cpumask`.
        let cpus = ptr::from_ref(cpus).cast();
        // SAFETY: By the type invariant, `vq` is valid; the mask is not kept.
        to_result(unsafe { bindings::virtqueue_set_affinity(self.vq.as_ptr(), cpus) })
    }

    /// Hands the buffers that are in the queue to `function`, after the device was reset.
    ///
    /// # Errors
    ///
    /// `EBUSY` if it was not.
    #[doc(alias = "virtqueue_detach_unused_buf")]
    pub fn drain(&mut self, mut function: impl FnMut(B)) -> Result {
        if self.state.phase() != Phase::Reset {
            return Err(EBUSY);
        }
        // The one who resets the device may not have come to that.
        self.state.quiesce_again();
        while let Some(buffer) = self.suspect.take().or_else(|| self.detach()) {
            function(buffer);
        }
        Ok(())
    }

    /// Takes a buffer out; the device was reset, or the queue was.
    pub(super) fn detach(&mut self) -> Option<B> {
        // SAFETY: The device was reset, or the queue was.
        let token = unsafe { self.ring.detach() }?;
        self.outstanding = self.outstanding.wrapping_sub(1);
        // SAFETY: The ring returns tokens that were added and not returned, each once. By the type
        // invariant, they come from `into_token` of `B`.
        Some(unsafe { B::from_token(token) })
    }

    /// Returns the queue of the core, which is valid while its slot has a user.
    pub(super) fn raw(&mut self) -> (NonNull<bindings::virtqueue>, NonNull<Slot>) {
        (self.vq, self.slot)
    }

    /// Returns how the device reaches memory.
    pub(super) fn reach(&self) -> Reach {
        Reach {
            vq: self.vq,
            device: self.device,
        }
    }
}

impl<B: Buffer> Drop for Virtqueue<'_, B> {
    /// Drops what is in the queue. If the device was not reset, it is, first: nothing else keeps it
    /// from the buffers.
    fn drop(&mut self) {
        if self.state.is_live() {
            dev_warn!(
                self.state.device(),
                "a queue is dropped: the device is reset\n"
            );
        }
        self.state.quiesce_again();
        while self.detach().is_some() {}

        // SAFETY: By the type invariant, this is a user.
        unsafe { self.slot.as_ref() }.remove_user();
    }
}
