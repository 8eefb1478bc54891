// SPDX-License-Identifier: GPL-2.0

//! Queues.

use super::{
    account::Account,
    binding::Header,
    buffer::{
        Buffer,
        Parts, //
    },
    outcome::{
        AddError,
        Context,
        Progress,
        Used, //
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
    device,
    error::to_result,
    fmt::Arguments,
    prelude::*,
    sync::atomic::Relaxed, //
};

/// A queue with buffers `B`.
///
/// While a buffer is in the queue, the queue owns it: the device may access its memory, and nobody
/// else can. [`Virtqueue::pop`] gives it back when the device has used it. What is left is dropped
/// with the queue, but not before the device was reset.
///
/// The methods take `&mut self`: whoever shares a queue has a lock for it. None of them takes a
/// lock, and none but [`Virtqueue::add`] allocates (the core does, if the buffer has several parts
/// and the queue was not made by [`QueueSetup::direct_queue`](super::QueueSetup::direct_queue)).
/// Those that sleep say so.
///
/// # Invariants
///
/// - `slot` is that of the queue, and this is a user of it.
/// - `vq` is valid while it has a user; nobody but this uses it, save for notifications.
/// - Each token in it comes from [`Buffer::into_token`] of `B`.
#[doc(alias = "virtqueue")]
pub struct Virtqueue<'bound, B: Buffer> {
    vq: NonNull<bindings::virtqueue>,
    slot: NonNull<Slot>,
    state: &'bound State,
    account: Account,
    /// Whether the device was seen live. When it is reset, the queue is broken.
    live: bool,
    /// Whether it is known that the queue is broken.
    broken: bool,
    /// The buffer with which it broke: the device may not have used it yet.
    suspect: Option<B>,
    _buffers: PhantomData<B>,
}

// SAFETY: A queue may be used by any thread, one at a time, and its buffers can be sent.
unsafe impl<B: Buffer> Send for Virtqueue<'_, B> {}

// SAFETY: What takes `&self` only reads what `&mut self` changes.
unsafe impl<B: Buffer> Sync for Virtqueue<'_, B> {}

/// What the core calls with a buffer of a queue that is being reset.
type RecycleFn = unsafe extern "C" fn(*mut bindings::virtqueue, *mut c_void);

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
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            vq,
            slot,
            state,
            // SAFETY: By the safety requirements, `vq` is valid. `recycle_with` makes a new account.
            account: unsafe { Account::new(vq) },
            live: false,
            broken: false,
            suspect: None,
            _buffers: PhantomData,
        }
    }

    /// Adds a buffer. The device is told of it by a kick.
    ///
    /// Cost: one call of a C helper; it allocates a table if the buffer has several parts, the
    /// device can do that, and memory is available.
    #[doc(alias = "virtqueue_add_sgs")]
    pub fn add(&mut self, buffer: B, context: Context) -> Result<(), AddError<B>> {
        let token = buffer.into_token();
        // SAFETY: The token was just made.
        let parts = unsafe { B::parts(token) };
        let vq = self.vq.as_ptr();
        let gfp = context.gfp();

        // By the type invariant, `vq` is valid, and nobody else uses it. By the safety requirements
        // of `Buffer`, the parts are valid memory, which only the device accesses until the token
        // is given back. That is done below, by `pop` when the device has used it, or by `drop`
        // when the device was reset.
        let error = match parts {
            // SAFETY: See above.
            Parts::Readable(part) => unsafe {
                bindings::virtqueue_add_out(vq, part.start, part.length, token.as_ptr(), gfp)
            },
            // SAFETY: See above.
            Parts::Writable(part) => unsafe {
                bindings::virtqueue_add_in(vq, part.start, part.length, token.as_ptr(), gfp)
            },
            // SAFETY: See above.
            Parts::Both(out, input) => unsafe {
                bindings::virtqueue_add_out_in(
                    vq,
                    out.start,
                    out.length,
                    input.start,
                    input.length,
                    token.as_ptr(),
                    gfp,
                )
            },
            // SAFETY: See above.
            Parts::Mapped(list) => unsafe {
                let none = ptr::null_mut();
                bindings::virtqueue_add_inbuf_premapped(vq, list, 1, token.as_ptr(), none, gfp)
            },
            Parts::Lists {
                mut lists,
                readable,
                writable,
            } => {
                let lists = lists.as_mut_ptr();
                // SAFETY: See above. There are as many lists.
                unsafe {
                    bindings::virtqueue_add_sgs(vq, lists, readable, writable, token.as_ptr(), gfp)
                }
            }
        };
        if error == 0 {
            self.account.add();
            return Ok(());
        }
        Err(AddError {
            // SAFETY: The token was not added, so it is not used any more.
            buffer: unsafe { B::from_token(token) },
            error: to_result(error).err().unwrap_or(EIO),
        })
    }

    /// Adds buffers until there are no more, or one cannot be added. Returns how many were added.
    ///
    /// # Errors
    ///
    /// The buffer that could not be added; those before it are in the queue. What is left in
    /// `buffers` was not touched.
    pub fn add_all(
        &mut self,
        buffers: impl IntoIterator<Item = B>,
        context: Context,
    ) -> Result<usize, AddError<B>> {
        let mut count = 0;
        for buffer in buffers {
            self.add(buffer, context)?;
            count += 1;
        }
        Ok(count)
    }

    /// Makes the added buffers known to the device. If it wants to be notified, that is left to the
    /// caller, who may first drop the lock of the queue.
    ///
    /// Cost: one call of a C function; a full memory barrier.
    #[doc(alias = "virtqueue_kick_prepare")]
    pub fn kick_prepare(&mut self) -> Option<Notification<'bound>> {
        if !self.publish() {
            return None;
        }
        // SAFETY: By the type invariant, this is a user, too.
        unsafe { self.slot.as_ref() }.add_user();

        // SAFETY: The queue is valid while the slot has a user; one was just added.
        Some(unsafe { Notification::new(self.vq, self.slot) })
    }

    /// Makes the added buffers known to the device, and notifies it if it wants to be.
    ///
    /// Cost: one call of a C function, and another one with an exit to the hypervisor, if the device
    /// wants that.
    #[doc(alias = "virtqueue_kick")]
    pub fn kick(&mut self) {
        if self.publish() {
            // A queue that cannot be notified is broken, which `pop` tells.
            //
            // SAFETY: By the type invariant, the queue is valid.
            unsafe { bindings::virtqueue_notify(self.vq.as_ptr()) };
        }
    }

    /// Makes the added buffers known, and tells whether the device wants to be notified.
    fn publish(&mut self) -> bool {
        if !self.live {
            self.live = self.state.is_live();
            if !self.live {
                return false;
            }
        }
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::virtqueue_kick_prepare(self.vq.as_ptr()) }
    }

    /// Returns a buffer that the device has used, if there is one.
    ///
    /// # Errors
    ///
    /// `EIO` if the queue is broken: the device has said something that cannot be. Nothing will
    /// come out of the queue any more.
    ///
    /// Cost: one call of a C function, also if there is no buffer and the ring is split; two if it is
    /// packed.
    #[doc(alias = "virtqueue_get_buf")]
    pub fn pop(&mut self) -> Result<Option<Used<B>>> {
        if self.account.is_empty() {
            return self.nothing();
        }
        let mut written = 0;
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        let token = unsafe { bindings::virtqueue_get_buf(self.vq.as_ptr(), &mut written) };
        let Some(token) = NonNull::new(token) else {
            return self.nothing();
        };

        // SAFETY: The core returns tokens that were added, each once. By the type invariant, they
        // come from `into_token` of `B`.
        let buffer = unsafe { B::from_token(token) };
        let room = buffer.writable_len();
        if self.account.pop() {
            return Err(self.used_too_many(buffer));
        }
        if written > room {
            return Err(self.written_too_much(buffer, written, room));
        }
        Ok(Some(Used { buffer, written }))
    }

    /// Hands buffers that the device has used to `function`, at most `limit`, and returns how many
    /// there were. If there are fewer than `limit`, none is left.
    ///
    /// # Errors
    ///
    /// As [`Virtqueue::pop`]; `function` was called for those before.
    ///
    /// Cost: one call of a C function for each.
    pub fn pop_all(&mut self, limit: usize, mut function: impl FnMut(Used<B>)) -> Result<usize> {
        for count in 0..limit {
            match self.pop()? {
                Some(used) => function(used),
                None => return Ok(count),
            }
        }
        Ok(limit)
    }

    /// Asks the device not to interrupt. It may do so nevertheless.
    #[doc(alias = "virtqueue_disable_cb")]
    pub fn disable_callback(&mut self) {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::virtqueue_disable_cb(self.vq.as_ptr()) };
    }

    /// Asks the device to interrupt when it has used the next buffer. Returns whether it has used
    /// one already: then it may not interrupt for that, and the caller should go on popping.
    #[doc(alias = "virtqueue_enable_cb")]
    #[must_use]
    pub fn enable_callback(&mut self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { !bindings::virtqueue_enable_cb(self.vq.as_ptr()) }
    }

    /// Asks the device to interrupt when it has used most of the buffers that it has. Returns
    /// whether it has used many already, as [`Virtqueue::enable_callback`] does.
    #[doc(alias = "virtqueue_enable_cb_delayed")]
    #[must_use]
    pub fn enable_callback_delayed(&mut self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { !bindings::virtqueue_enable_cb_delayed(self.vq.as_ptr()) }
    }

    /// Asks the device to interrupt when it has used the next buffer. [`Virtqueue::has_used_since`]
    /// then tells whether it has used one already.
    #[doc(alias = "virtqueue_enable_cb_prepare")]
    pub fn enable_callback_prepare(&mut self) -> Progress {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        Progress(unsafe { bindings::virtqueue_enable_cb_prepare(self.vq.as_ptr()) })
    }

    /// Tells whether the device has used a buffer since then.
    ///
    /// Cost: one call of a C function; a full memory barrier.
    #[doc(alias = "virtqueue_poll")]
    pub fn has_used_since(&self, progress: Progress) -> bool {
        // SAFETY: By the type invariant, `vq` is valid; this only reads.
        unsafe { bindings::virtqueue_poll(self.vq.as_ptr(), progress.0) }
    }

    /// Returns how many buffers the device has.
    pub fn outstanding(&self) -> u16 {
        self.account.outstanding()
    }

    /// Returns how many buffers the queue has room for; parts of buffers, if they are direct.
    pub fn free(&self) -> u32 {
        // SAFETY: By the type invariant, `vq` is valid, and nobody changes it while `self` is
        // borrowed.
        unsafe { (*self.vq.as_ptr()).num_free }
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
    #[doc(alias = "virtqueue_set_affinity")]
    pub fn set_affinity(&mut self, cpus: &Cpumask) -> Result {
        // CAST: `Cpumask` is a transparent wrapper of `struct cpumask`.
        let cpus = ptr::from_ref(cpus).cast();
        // SAFETY: By the type invariant, `vq` is valid; the mask is not kept.
        to_result(unsafe { bindings::virtqueue_set_affinity(self.vq.as_ptr(), cpus) })
    }

    /// Tells whether the queue is broken: it takes and gives nothing any more.
    #[doc(alias = "virtqueue_is_broken")]
    pub fn is_broken(&self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid.
        unsafe { bindings::virtqueue_is_broken(self.vq.as_ptr()) }
    }

    /// Breaks the queue, after the device has put something into a buffer that it must not.
    /// Nothing comes out of it any more until the device was reset.
    #[doc(alias = "__virtqueue_break")]
    pub fn break_down(&mut self) {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::__virtqueue_break(self.vq.as_ptr()) };
        self.check_broken();
    }

    /// Changes the number of places in the ring. Buffers that are in the queue are handed to
    /// `recycle`. The queue must not be used by callbacks meanwhile: whoever shares it has it.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the device cannot do that, `EBUSY` if it is not live, `E2BIG` if it is too large,
    /// `EINVAL` if it is zero; after any other, the device has to be reset.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "virtqueue_resize")]
    pub fn resize(&mut self, size: u32, recycle: impl FnMut(B)) -> Result {
        self.recycle_with(recycle, |vq, callback| {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. The callback
            // is called for each buffer, before this returns.
            unsafe { bindings::virtqueue_resize(vq, size, Some(callback), None) }
        })
    }

    /// Resets the queue alone. Buffers that are in it are handed to `recycle`.
    ///
    /// # Errors
    ///
    /// `ENOENT` if the device cannot do that, `EBUSY` if it is not live; after any other, the device
    /// has to be reset.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "virtqueue_reset")]
    pub fn reset(&mut self, recycle: impl FnMut(B)) -> Result {
        self.recycle_with(recycle, |vq, callback| {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. The callback
            // is called for each buffer, before this returns.
            unsafe { bindings::virtqueue_reset(vq, Some(callback), None) }
        })
    }

    fn recycle_with<F: FnMut(B)>(
        &mut self,
        mut recycle: F,
        reset: impl FnOnce(*mut bindings::virtqueue, RecycleFn) -> c_int,
    ) -> Result {
        if !self.state.is_live() {
            return Err(EBUSY);
        }
        // SAFETY: By the type invariant, this is a user.
        let slot = unsafe { self.slot.as_ref() };
        slot.recycler
            .store(ptr::from_mut(&mut recycle).cast(), Relaxed);
        let error = reset(self.vq.as_ptr(), Self::recycle_callback::<F>);
        slot.recycler.store(ptr::null_mut(), Relaxed);
        // SAFETY: By the type invariant, `vq` is valid; it has another ring now.
        self.account = unsafe { Account::new(self.vq) };
        to_result(error)
    }

    /// Called by the core with a buffer that was in a queue that is being reset.
    ///
    /// # Safety
    ///
    /// `vq` must be a queue with buffers `B` whose `recycle_with` is running with a function of type
    /// `F`, and `token` one of its tokens, which is given up.
    unsafe extern "C" fn recycle_callback<F: FnMut(B)>(
        vq: *mut bindings::virtqueue,
        token: *mut c_void,
    ) {
        let Some(token) = NonNull::new(token) else {
            return;
        };
        // SAFETY: By the safety requirements, the token is one of this queue.
        let buffer = unsafe { B::from_token(token) };

        // SAFETY: By the safety requirements, the queue is valid.
        let vq = unsafe { &*vq };
        // SAFETY: The device is valid as long as its queue is, and has a binding.
        let header = unsafe { (*vq.vdev).priv_ }.cast::<Header>();
        // SAFETY: Any binding begins with a header.
        let state = unsafe { &(*header).state };
        let Ok(slot) = usize::try_from(vq.index)
            .map_err(Error::from)
            .and_then(|index| state.slot(index))
        else {
            return;
        };
        // SAFETY: The slot has a user: the one who runs `recycle_with`.
        let recycle = unsafe { slot.as_ref() }.recycler.load(Relaxed).cast::<F>();
        // SAFETY: By the safety requirements, this points to the function, on the stack of this
        // thread, which nobody else uses.
        unsafe { (*recycle)(buffer) };
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

    /// Takes a buffer out; the device was reset.
    fn detach(&mut self) -> Option<B> {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. The device was
        // reset.
        let token = unsafe { bindings::virtqueue_detach_unused_buf(self.vq.as_ptr()) };
        let token = NonNull::new(token)?;
        // SAFETY: The core returns tokens that were added and not returned, each once. By the type
        // invariant, they come from `into_token` of `B`.
        Some(unsafe { B::from_token(token) })
    }

    /// Tells nothing to pop from a broken queue.
    fn nothing(&mut self) -> Result<Option<Used<B>>> {
        if self.check_broken() {
            Err(EIO)
        } else {
            Ok(None)
        }
    }

    /// Tells whether the queue is broken, and counts that.
    fn check_broken(&mut self) -> bool {
        if !self.is_broken() {
            return false;
        }
        if !self.broken {
            self.broken = true;
            if self.state.is_live() {
                self.state.count_violation();
            }
        }
        true
    }

    /// Breaks the queue. The message is put together out of the way of [`Virtqueue::pop`].
    #[cold]
    #[inline(never)]
    fn used_too_many(&mut self, buffer: B) -> Error {
        self.suspect = Some(buffer);
        self.break_for(fmt!("the device has used more buffers than it has\n"))
    }

    /// As above.
    #[cold]
    #[inline(never)]
    fn written_too_much(&mut self, buffer: B, written: u32, room: u32) -> Error {
        self.suspect = Some(buffer);
        self.break_for(fmt!(
            "the device has written {written} bytes to a buffer of {room}\n"
        ))
    }

    fn break_for(&mut self, reason: Arguments<'_>) -> Error {
        if self.state.count_violation() {
            dev_err!(self.device(), "{}", reason);
        }
        self.broken = true;
        self.break_down();
        EIO
    }

    /// Returns the queue of the core, which is valid while its slot has a user.
    pub(super) fn raw(&mut self) -> (NonNull<bindings::virtqueue>, NonNull<Slot>) {
        (self.vq, self.slot)
    }

    fn device(&self) -> &device::Device {
        self.state.device()
    }
}

impl<B: Buffer> Drop for Virtqueue<'_, B> {
    /// Drops what is in the queue. If the device was not reset, it is, first: nothing else keeps it
    /// from the buffers.
    fn drop(&mut self) {
        if self.state.is_live() {
            dev_warn!(self.device(), "a queue is dropped: the device is reset\n");
        }
        self.state.quiesce_again();
        while self.detach().is_some() {}

        // SAFETY: By the type invariant, this is a user.
        unsafe { self.slot.as_ref() }.remove_user();
    }
}
