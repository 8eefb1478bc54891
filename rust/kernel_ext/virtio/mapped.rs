// SPDX-License-Identifier: GPL-2.0

//! Buffers that are mapped once, and then go back and forth.
//!
//! Where a device reaches memory through an IOMMU, or only some of it, each buffer is mapped when it
//! is added, and unmapped when it comes back. That costs more than all the rest; a buffer that is
//! used again and again does not have to pay for it.

use super::{
    buffer::{
        length_of,
        Apart,
        Buffer,
        Parts,
        Reach, //
    },
    state::Slot,
    Virtqueue, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    transmute::FromBytes,
    types::Opaque, //
};

const DIRECTION: bindings::dma_data_direction = bindings::dma_data_direction::DMA_FROM_DEVICE;

/// # Invariants
///
/// - `memory` is mapped at `address`, for the device of `vq` to write, and `entry` says so.
/// - This is a user of `slot`, which is that of `vq`; so that is valid.
struct Inner<I> {
    memory: KBox<Apart<I>>,
    entry: Opaque<bindings::scatterlist>,
    address: bindings::dma_addr_t,
    vq: NonNull<bindings::virtqueue>,
    slot: NonNull<Slot>,
}

impl<I> Drop for Inner<I> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the memory is mapped, and `vq` is valid. The device does not
        // have it, or was reset.
        unsafe {
            bindings::virtqueue_unmap_single_attrs(
                self.vq.as_ptr(),
                self.address,
                size_of::<I>(),
                DIRECTION,
                0,
            );
        }
        // SAFETY: By the type invariant, this is a user.
        unsafe { self.slot.as_ref() }.remove_user();
    }
}

/// A boxed buffer of what the device writes, `I`, that is mapped for as long as it lives: see
/// [`Virtqueue::map`].
///
/// While a device is suspended, all of them have to be dropped, like queues.
pub struct Mapped<'bound, I>(KBox<Inner<I>>, PhantomData<&'bound ()>);

// SAFETY: A mapping may be used and ended by any thread.
unsafe impl<I: Send> Send for Mapped<'_, I> {}

impl<I: FromBytes> Mapped<'_, I> {
    /// The size: checked when the type is used.
    const SIZE: u32 = {
        assert!(size_of::<I>() > 0, "there must be something to write");
        length_of::<I>()
    };

    /// Returns what the device writes. Any part of it may be what it was before.
    pub fn writable(&mut self) -> &mut I {
        let inner = &mut *self.0;
        // SAFETY: By the type invariant of `Inner`, the memory is mapped, and `vq` is valid.
        unsafe {
            bindings::virtqueue_map_sync_single_range_for_cpu(
                inner.vq.as_ptr(),
                inner.address,
                0,
                size_of::<I>(),
                DIRECTION,
            );
        }
        &mut inner.memory.0
    }
}

impl<'bound, I: FromBytes + Send> Virtqueue<'bound, Mapped<'bound, I>> {
    /// Makes a buffer, and maps it for the device.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if it cannot be mapped.
    #[doc(alias = "virtqueue_map_single_attrs")]
    pub fn map(&mut self, memory: I, flags: kernel::alloc::Flags) -> Result<Mapped<'bound, I>> {
        let memory = KBox::new(Apart(memory), flags)?;
        let start = core::ptr::from_ref(&memory.0).cast_mut().cast();
        let (vq, slot) = self.raw();

        // SAFETY: By the type invariant of `Virtqueue`, `vq` is valid. The memory was allocated by
        // `kmalloc`, and nobody else uses it.
        let address = unsafe {
            bindings::virtqueue_map_single_attrs(vq.as_ptr(), start, size_of::<I>(), DIRECTION, 0)
        };
        // SAFETY: As above.
        if unsafe { bindings::virtqueue_map_mapping_error(vq.as_ptr(), address) } != 0 {
            return Err(ENOMEM);
        }
        // SAFETY: The queue is a user, too.
        unsafe { slot.as_ref() }.add_user();

        // INVARIANT: The memory was just mapped, and this is a user now.
        let inner = Inner {
            memory,
            entry: Opaque::uninit(),
            address,
            vq,
            slot,
        };
        // SAFETY: The entry is valid for writes.
        unsafe { bindings::sg_set_mapped(inner.entry.get(), address, Mapped::<'_, I>::SIZE) };
        Ok(Mapped(KBox::new(inner, flags)?, PhantomData))
    }
}

// SAFETY:
// - `into_token` returns the pointer of a box.
// - The memory is in a box of its own, which lives as long, and is mapped. Only the owner accesses
//   it, and nobody has it.
unsafe impl<I: FromBytes + Send> Buffer for Mapped<'_, I> {
    fn into_token(self) -> NonNull<c_void> {
        NonNull::from(KBox::leak(self.0)).cast()
    }

    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked.
        let inner = unsafe { KBox::from_raw(token.as_ptr().cast()) };
        Self(inner, PhantomData)
    }

    unsafe fn parts(token: NonNull<c_void>) -> Parts {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked, and was
        // not given back.
        let inner = unsafe { token.cast::<Inner<I>>().as_ref() };
        // SAFETY: By the type invariant of `Inner`, the memory is mapped, and `vq` is valid.
        unsafe {
            bindings::virtqueue_map_sync_single_range_for_device(
                inner.vq.as_ptr(),
                inner.address,
                0,
                size_of::<I>(),
                DIRECTION,
            );
        }
        Parts::Mapped(inner.entry.get(), 1)
    }

    fn writable_len(&self) -> u32 {
        Self::SIZE
    }
    fn suits(&self, reach: Reach) -> bool {
        self.0.vq == reach.vq
    }
}
