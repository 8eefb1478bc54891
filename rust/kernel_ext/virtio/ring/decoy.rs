// SPDX-License-Identifier: GPL-2.0

//! Keeps the core from swallowing interrupts of a ring that it does not drive.
//!
//! `vring_interrupt()` calls a callback only if the device has used a buffer that the core has not
//! taken. Of a ring that somebody else drives it takes none, so it always looks at the first place,
//! and an interrupt is swallowed that comes when nothing is there: in a split ring, when the device's
//! index is 0, at first, when it is right, and each time it has gone around, when somebody waits for
//! it; in a packed ring, for half of the time.
//!
//! So the core gets something else to look at than the device's ring: one that always has something
//! in it. What decides then is the callback, which may be called without a reason anyway.
//!
//! For the rest, the core uses the pointer when it tells the transport where the ring is, and when
//! it clears, replaces, or frees the ring. The first is over when the queue can be taken; during the
//! others, [`virtqueue_reset`] and [`virtqueue_resize`], there must be no decoy. When a queue is deleted,
//! there is none any more, or it is taken away, if the queue was forgotten instead of dropped.
//!
//! [`virtqueue_reset`]: srctree/include/linux/virtio.h
//! [`virtqueue_resize`]: srctree/include/linux/virtio.h

use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::prelude::*;
use virtio_wire::{
    int::{
        Le16,
        Le32,
        Le64, //
    },
    ring::packed::{
        Descriptor,
        Position, //
    },
};

/// The part of a used ring that the core looks at: C `struct vring_used`, without entries.
#[repr(C, align(4))]
struct Head {
    flags: u16,
    index: u16,
}

/// A split ring that has something in it. Nobody writes it.
static USED: Head = Head {
    flags: 0,
    index: 1u16.to_le(),
};

/// The same, of a packed ring: the core has not gone around yet.
static DESCRIPTOR: Descriptor = Descriptor {
    addr: Le64::new(0),
    len: Le32::new(0),
    id: Le16::new(0),
    flags: Le16::new(Position::START.used_flags()),
};

/// Returns what descriptors are replaced by.
pub(super) fn descriptors() -> *const c_void {
    ptr::from_ref(&DESCRIPTOR).cast()
}

/// A ring of the core that was replaced by one that always has something in it.
///
/// # Invariants
///
/// `place` is where the core has a pointer to a part of a ring from which it has taken nothing; it is
/// valid as long as this lives. `ring` is that pointer.
pub(super) struct Decoy {
    place: NonNull<*mut c_void>,
    ring: *mut c_void,
}

impl Decoy {
    /// Replaces the used ring of a queue.
    ///
    /// # Safety
    ///
    /// `vring` must be that of a queue of the core, with a split ring that has no decoy yet, and
    /// from which the core has taken nothing. It must be valid as long as the result lives. The core
    /// must not be asked to take anything from it meanwhile, nor to reset or resize it.
    pub(super) unsafe fn of_used(vring: NonNull<bindings::vring>) -> Self {
        // SAFETY: By the safety requirements, this is valid.
        let place = unsafe { &raw mut (*vring.as_ptr()).used };
        // SAFETY: By the safety requirements. The core looks at the index, which is there; it does not
        // write it.
        unsafe { Self::place(place.cast(), ptr::from_ref(&USED).cast()) }
    }

    /// Replaces the descriptors of a queue.
    ///
    /// # Safety
    ///
    /// As for [`Decoy::of_used`], but the ring must be packed, and begin as a split one does.
    pub(super) unsafe fn of_descriptors(vring: NonNull<bindings::vring>) -> Self {
        // SAFETY: By the safety requirements, this is valid.
        let place = unsafe { &raw mut (*vring.as_ptr()).desc };
        // SAFETY: By the safety requirements. The core looks at the flags of the first descriptor,
        // which are there; it does not write them.
        unsafe { Self::place(place.cast(), descriptors()) }
    }

    /// Replaces a pointer of the core.
    ///
    /// # Safety
    ///
    /// As above.
    unsafe fn place(place: *mut *mut c_void, news: *const c_void) -> Self {
        // SAFETY: By the safety requirements, a field of a structure is not at null.
        let place = unsafe { NonNull::new_unchecked(place) };
        // SAFETY: By the safety requirements, this is valid.
        let ring = unsafe { place.read() };
        // INVARIANT: By the safety requirements.
        let this = Self { place, ring };
        this.set(news.cast_mut());
        this
    }

    fn set(&self, ring: *mut c_void) {
        // SAFETY: By the type invariant, this is valid. An interrupt may come meanwhile:
        // `vring_interrupt` reads either pointer, and both are valid.
        unsafe { self.place.write_volatile(ring) };
    }
}

impl Drop for Decoy {
    fn drop(&mut self) {
        self.set(self.ring);
    }
}
