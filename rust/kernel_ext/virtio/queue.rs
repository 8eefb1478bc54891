// SPDX-License-Identifier: GPL-2.0

//! Queues.

use super::{
    binding::{
        Binding,
        State, //
    },
    buffer::Buffer,
    Device,
    Driver, //
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
    prelude::*, //
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
    vdev: *mut bindings::virtio_device,
    infos: KVec<bindings::virtqueue_info>,
    callbacks: KVec<Option<QueueCallback<T>>>,
}

/// A queue that is yet to be made, with buffers `B`.
#[must_use]
pub struct PendingQueue<B>(usize, PhantomData<B>);

impl<'bound, T: Driver> QueueSetup<'bound, T> {
    /// Starts. `T` must be the driver that probes the device, which can do this once.
    pub fn new(vdev: &'bound Device<device::Core<'_>>) -> Result<Self> {
        let binding = Binding::<T>::of(vdev)?;
        if binding.state().is_live() {
            return Err(EBUSY);
        }
        Ok(Self {
            binding,
            vdev: vdev.as_raw(),
            infos: KVec::new(),
            callbacks: KVec::new(),
        })
    }

    /// Asks for the next queue of the device. Without a callback, it never interrupts.
    pub fn queue<B: Buffer>(
        &mut self,
        name: &'static CStr,
        callback: Option<QueueCallback<T>>,
    ) -> Result<PendingQueue<B>> {
        let index = self.infos.len();
        let info = bindings::virtqueue_info {
            name: kernel::str::as_char_ptr_in_const_context(name),
            callback: callback
                .is_some()
                .then_some(Binding::<T>::queue_callback as unsafe extern "C" fn(_)),
            ctx: false,
        };
        self.callbacks.push(callback, GFP_KERNEL)?;
        self.infos.push(info, GFP_KERNEL)?;
        Ok(PendingQueue(index, PhantomData))
    }

    /// Makes the queues.
    #[doc(alias = "virtio_find_vqs")]
    pub fn make(mut self) -> Result<Queues<'bound>> {
        let count = u32::try_from(self.infos.len())?;
        let mut queues = KVec::new();
        for _ in 0..count {
            queues.push(ptr::null_mut(), GFP_KERNEL)?;
        }
        self.binding.claim_queues()?;

        // SAFETY: `new` has checked that the device is not live, so this is called during `probe`,
        // and `claim_queues`, that no queues were made.
        unsafe { self.binding.set_callbacks(self.callbacks) };

        // SAFETY:
        // - `vdev` is valid, bound, and has no queues.
        // - Both arrays have `count` elements; the core does not keep them.
        to_result(unsafe {
            bindings::virtio_find_vqs(
                self.vdev,
                count,
                queues.as_mut_ptr(),
                self.infos.as_mut_ptr(),
            )
        })
        .inspect_err(|_| self.binding.release_queues())?;
        Ok(Queues {
            state: self.binding.state(),
            queues,
        })
    }
}

/// The queues of a device, to be taken.
///
/// # Invariants
///
/// Each of `queues` is null, or a valid queue of the device that nobody else uses. It is valid for
/// `'bound`.
pub struct Queues<'bound> {
    state: &'bound State,
    queues: KVec<*mut bindings::virtqueue>,
}

impl<'bound> Queues<'bound> {
    /// Takes a queue, which can be done once.
    pub fn take<B: Buffer>(&mut self, pending: PendingQueue<B>) -> Result<Virtqueue<'bound, B>> {
        let queue = self.queues.get_mut(pending.0).ok_or(EINVAL)?;
        let vq = NonNull::new(core::mem::replace(queue, ptr::null_mut())).ok_or(ENOENT)?;

        // INVARIANT: By the type invariant, the queue is valid for `'bound`; it was replaced by
        // null, so nobody else has it. There was no buffer in it yet.
        Ok(Virtqueue {
            vq,
            state: self.state,
            _buffers: PhantomData,
        })
    }
}

/// A queue with buffers `B`.
///
/// While a buffer is in the queue, the queue owns it: the device may access its memory, and nobody
/// else can. [`Virtqueue::pop`] gives it back when the device has used it. What is left is dropped
/// with the queue, but not before the device was reset.
///
/// The methods take `&mut self`: whoever shares a queue has a lock for it. None of them sleeps but
/// `drop`, none takes a lock, and none but [`Virtqueue::add`] allocates (the core does, if the
/// buffer has two parts).
///
/// # Invariants
///
/// - `vq` is valid for `'bound`, and only this uses it.
/// - Each token in it comes from [`Buffer::into_token`] of `B`.
#[doc(alias = "virtqueue")]
pub struct Virtqueue<'bound, B: Buffer> {
    vq: NonNull<bindings::virtqueue>,
    state: &'bound State,
    _buffers: PhantomData<B>,
}

// SAFETY: A queue may be used by any thread, one at a time, and its buffers can be sent.
unsafe impl<B: Buffer> Send for Virtqueue<'_, B> {}

/// Where a buffer is added, which says how memory may be allocated for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// In process context, without a spin lock.
    Process,
    /// Anywhere else.
    Atomic,
}

impl Context {
    fn gfp(self) -> bindings::gfp_t {
        match self {
            Self::Process => bindings::GFP_KERNEL,
            Self::Atomic => bindings::GFP_ATOMIC,
        }
    }
}

/// Why a buffer could not be added. The buffer comes back.
pub struct AddError<B> {
    /// The buffer.
    pub buffer: B,
    /// `ENOSPC` if the queue is full, `EIO` if it is broken, `ENOMEM`.
    pub error: Error,
}

impl<B> From<AddError<B>> for Error {
    fn from(error: AddError<B>) -> Self {
        error.error
    }
}

/// A buffer that the device has used.
pub struct Used<B> {
    /// The buffer.
    pub buffer: B,
    /// How many bytes the device says it has written. It had room for that many.
    pub written: u32,
}

impl<B: Buffer> Virtqueue<'_, B> {
    /// Adds a buffer. The device is told of it by a kick.
    ///
    /// Cost: one call of a C helper; it allocates a table if the buffer has two parts, the device
    /// can do that, and memory is available.
    #[doc(alias = "virtqueue_add_sgs")]
    pub fn add(&mut self, buffer: B, context: Context) -> Result<(), AddError<B>> {
        let token = buffer.into_token();
        // SAFETY: The token was just made.
        let parts = unsafe { B::parts(token) };

        // SAFETY:
        // - By the type invariant, `vq` is valid, and nobody else uses it.
        // - By the safety requirements of `Buffer`, the parts are valid memory in the linear map,
        //   which only the device accesses until the token is given back. That is done below, by
        //   `pop` when the device has used it, or by `drop` when the device was reset.
        let result = to_result(unsafe {
            bindings::virtqueue_add_parts(
                self.vq.as_ptr(),
                parts.readable,
                parts.readable_len,
                parts.writable,
                parts.writable_len,
                token.as_ptr(),
                context.gfp(),
            )
        });
        result.map_err(|error| AddError {
            // SAFETY: The token was not added, so it is not used any more.
            buffer: unsafe { B::from_token(token) },
            error,
        })
    }

    /// Makes the added buffers known to the device. If it wants to be notified, that is left to the
    /// caller, who may first drop the lock of the queue.
    ///
    /// Cost: one call of a C function; a full memory barrier.
    #[doc(alias = "virtqueue_kick_prepare")]
    pub fn kick_prepare(&mut self) -> Option<Notification<'_>> {
        if !self.state.is_live() {
            return None;
        }
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        let wanted = unsafe { bindings::virtqueue_kick_prepare(self.vq.as_ptr()) };

        // INVARIANT: The queue is valid for longer than this is borrowed.
        wanted.then_some(Notification(self.vq, PhantomData))
    }

    /// Makes the added buffers known to the device, and notifies it if it wants to be.
    #[doc(alias = "virtqueue_kick")]
    pub fn kick(&mut self) {
        if let Some(notification) = self.kick_prepare() {
            notification.send();
        }
    }

    /// Returns a buffer that the device has used, if there is one.
    ///
    /// # Errors
    ///
    /// `EIO` if the queue is broken: the device has said something that cannot be. Nothing will
    /// come out of the queue any more.
    ///
    /// Cost: one call of a C function.
    #[doc(alias = "virtqueue_get_buf")]
    pub fn pop(&mut self) -> Result<Option<Used<B>>> {
        let mut written = 0;
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        let token = unsafe { bindings::virtqueue_get_buf(self.vq.as_ptr(), &mut written) };
        let Some(token) = NonNull::new(token) else {
            return if self.is_broken() { Err(EIO) } else { Ok(None) };
        };

        // SAFETY: The core returns tokens that were added, each once. By the type invariant, they
        // come from `into_token` of `B`.
        let buffer = unsafe { B::from_token(token) };
        if written > buffer.writable_len() {
            dev_err!(
                self.state.device(),
                "the device has written {} bytes to a buffer of {}\n",
                written,
                buffer.writable_len()
            );
            self.break_down();
            return Err(EIO);
        }
        Ok(Some(Used { buffer, written }))
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

    /// Returns how many buffers the queue has room for.
    pub fn free(&self) -> u32 {
        // SAFETY: By the type invariant, `vq` is valid, and nobody changes it while `self` is
        // borrowed.
        unsafe { (*self.vq.as_ptr()).num_free }
    }

    /// Tells whether the queue is broken: it takes and gives nothing any more.
    #[doc(alias = "virtqueue_is_broken")]
    pub fn is_broken(&self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid.
        unsafe { bindings::virtqueue_is_broken(self.vq.as_ptr()) }
    }

    /// Breaks the queue.
    fn break_down(&mut self) {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::__virtqueue_break(self.vq.as_ptr()) };
    }
}

impl<B: Buffer> Drop for Virtqueue<'_, B> {
    /// Drops what is in the queue. If the device is live, it is reset first: nothing else keeps it
    /// from the buffers.
    fn drop(&mut self) {
        if self.state.is_live() {
            dev_warn!(
                self.state.device(),
                "a queue is dropped: the device is reset\n"
            );
        }
        self.state.quiesce();

        loop {
            // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it. The device was
            // reset.
            let token = unsafe { bindings::virtqueue_detach_unused_buf(self.vq.as_ptr()) };
            let Some(token) = NonNull::new(token) else {
                break;
            };
            // SAFETY: The core returns tokens that were added and not returned, each once. By the
            // type invariant, they come from `into_token` of `B`.
            drop(unsafe { B::from_token(token) });
        }
    }
}

/// A device that wants to be notified of the buffers of a queue.
///
/// # Invariants
///
/// The queue is valid for `'a`.
#[must_use]
pub struct Notification<'a>(NonNull<bindings::virtqueue>, PhantomData<&'a ()>);

impl Notification<'_> {
    /// Notifies the device. This needs no lock.
    ///
    /// Cost: one call of a C function; with most transports, an exit to the hypervisor.
    #[doc(alias = "virtqueue_notify")]
    pub fn send(self) {
        // A queue that cannot be notified is broken, which whoever uses it will be told.
        //
        // SAFETY: By the type invariant, the queue is valid.
        unsafe { bindings::virtqueue_notify(self.0.as_ptr()) };
    }
}
