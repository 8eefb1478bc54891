// SPDX-License-Identifier: GPL-2.0

//! Rings: how a queue talks to its device.
//!
//! There are three ways. A [`Split`] or [`Packed`] ring of a device that is not a legacy one is driven
//! here, if nothing was negotiated that it does not know: that takes fewer instructions than the core
//! does, and nothing that the device can write is followed. [`Core`] leaves all others to the functions
//! of the kernel's virtio core. Which of them it is cannot be told from outside.

use super::{
    buffer::Parts,
    outcome::Context, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;

mod account;
mod barrier;
mod by_core;
mod chain;
mod decoy;
mod element;
mod handle;
mod memory;
mod packed;
mod places;
mod split;
mod table;
mod tables;

use self::{
    by_core::Core,
    packed::Packed,
    split::Split, //
};

/// A way to drive a ring.
pub(super) trait Drives {
    /// Adds a buffer.
    ///
    /// # Safety
    ///
    /// The parts must be those of the buffer that `token` stands for, which was given up until this
    /// returns an error, or it comes back.
    unsafe fn add(&mut self, parts: &Parts, token: NonNull<c_void>, context: Context) -> Result;

    /// Takes a buffer that the device has used. Returns what stands for it, and how many bytes the
    /// device says it has written.
    fn take(&mut self) -> Result<Option<(NonNull<c_void>, u32)>, Fault>;
}

/// Whether the device should interrupt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Interrupts {
    Off,
    /// For the next buffer.
    On,
    /// As above, and the device knows for sure.
    Settled,
    /// For one further ahead, whatever is popped before the device has come there.
    Ahead,
}

impl Interrupts {
    /// Tells whether the device should interrupt for the next buffer.
    #[inline(always)]
    fn is_for_next(self) -> bool {
        matches!(self, Self::On | Self::Settled)
    }
}

/// Where the descriptors of a buffer with several elements are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chains {
    /// In the ring.
    InRing,
    /// In tables outside, if the device can follow them, and memory is available.
    InTables,
    /// In the ring, until three quarters of it are full; then as above.
    Mixed,
}

/// A used buffer, as the device tells of it.
struct Told {
    /// The number of the buffer, or of its first descriptor, supposedly.
    id: u32,
    /// How many bytes the device has written, supposedly.
    written: u32,
}

/// What is wrong with a queue.
pub(super) enum Fault {
    /// It was broken before.
    Broken,
    /// The device has used more buffers than it has. This may be one that it has not used.
    TooMany(Option<NonNull<c_void>>),
    /// It has used a buffer that does not exist.
    OutOfRange(u32),
    /// It has used a buffer that it does not have.
    NotAHead(u32),
}

/// A ring. Which it is stands for itself: it is asked for often.
#[repr(u8)]
pub(super) enum Ring {
    /// One that is driven here.
    Split(Split),
    /// As above.
    Packed(Packed),
    /// One that the core drives.
    Core(Core),
}

/// What a ring has to keep while the core resets it.
pub(super) enum Kept {
    Core,
    Split(split::Room),
    Packed(packed::Room),
}

/// Features with which a ring is driven here, and without.
const NEEDED: u64 = 1 << bindings::VIRTIO_F_VERSION_1;
const UNKNOWN: u64 = 1 << bindings::VIRTIO_F_IN_ORDER
    | 1 << bindings::VIRTIO_F_ORDER_PLATFORM
    | 1 << bindings::VIRTIO_F_NOTIFICATION_DATA;

/// Calls the same method of any ring.
macro_rules! of_any {
    ($ring:expr, $each:ident => $call:expr) => {
        match $ring {
            Ring::Core($each) => $call,
            Ring::Split($each) => $call,
            Ring::Packed($each) => $call,
        }
    };
}

impl Ring {
    /// Takes over the ring of a queue.
    ///
    /// # Safety
    ///
    /// `vq` must be valid as long as the result is used, with no buffer in it, and nobody else may
    /// use it, save for notifications.
    pub(super) unsafe fn new(vq: NonNull<bindings::virtqueue>, chains: Chains) -> Result<Self> {
        // SAFETY: By the safety requirements, the queue is valid, and so is its device.
        let vdev = unsafe { (*vq.as_ptr()).vdev };
        // SAFETY: As above.
        let features = unsafe { &raw const (*vdev).__bindgen_anon_1 };
        // CAST: One form of the union is the first 64 features.
        //
        // SAFETY: As above; what was negotiated does not change.
        let features = unsafe { features.cast::<u64>().read() };
        let has = |bit: u32| features & 1 << bit != 0;
        if features & NEEDED != NEEDED || features & UNKNOWN != 0 {
            // SAFETY: By the safety requirements.
            return Ok(Self::Core(unsafe { Core::new(vq) }));
        }
        let chains = if has(bindings::VIRTIO_RING_F_INDIRECT_DESC) {
            chains
        } else {
            Chains::InRing
        };
        let has_event = has(bindings::VIRTIO_RING_F_EVENT_IDX);
        if has(bindings::VIRTIO_F_RING_PACKED) {
            // SAFETY: By the safety requirements; the features are right.
            return Ok(match unsafe { Packed::new(vq, chains, has_event) }? {
                Some(ring) => Self::Packed(ring),
                // SAFETY: By the safety requirements.
                None => Self::Core(unsafe { Core::new(vq) }),
            });
        }
        // SAFETY: By the safety requirements; the features are right.
        Ok(Self::Split(unsafe { Split::new(vq, chains, has_event) }?))
    }

    /// Tells the device of the buffers that were added. Returns whether it wants to be notified.
    #[inline(always)]
    pub(super) fn kick_prepare(&mut self) -> bool {
        of_any!(self, ring => ring.kick_prepare())
    }

    /// Asks the device not to interrupt.
    #[inline(always)]
    pub(super) fn disable_callback(&mut self) {
        of_any!(self, ring => ring.disable_callback());
    }

    /// Asks the device to interrupt for the next buffer. Returns whether it has used one already.
    #[inline(always)]
    pub(super) fn enable_callback(&mut self) -> bool {
        of_any!(self, ring => ring.enable_callback())
    }

    /// Asks the device to interrupt when it has used most of what it has. Returns whether it has used
    /// that already.
    #[inline(always)]
    pub(super) fn enable_callback_delayed(&mut self) -> bool {
        of_any!(self, ring => ring.enable_callback_delayed())
    }

    /// Asks the device to interrupt when it has used the first of the buffers of which it is told next.
    #[inline(always)]
    pub(super) fn defer_callback(&mut self) {
        of_any!(self, ring => ring.defer_callback());
    }

    /// Tells whether the device can be told that.
    pub(super) fn can_defer_callback(&self) -> bool {
        of_any!(self, ring => ring.can_defer_callback())
    }

    /// Asks the device to interrupt for the next buffer. Returns how far it was.
    #[inline(always)]
    pub(super) fn enable_callback_prepare(&mut self) -> u32 {
        of_any!(self, ring => ring.enable_callback_prepare())
    }

    /// Tells whether the device has used a buffer since then.
    #[inline(always)]
    pub(super) fn has_used_since(&self, progress: u32) -> bool {
        of_any!(self, ring => ring.has_used_since(progress))
    }

    /// Returns how many buffers there is room for; elements, if they are in the ring.
    #[inline(always)]
    pub(super) fn free(&self) -> u32 {
        of_any!(self, ring => ring.free())
    }

    /// Returns how many tables were made, if that is known.
    pub(super) fn tables(&self) -> Option<u64> {
        match self {
            Self::Core(_) => None,
            Self::Split(ring) => Some(ring.tables()),
            Self::Packed(ring) => Some(ring.tables()),
        }
    }

    /// Takes a buffer that the device has not used.
    ///
    /// # Safety
    ///
    /// The device was reset, or the queue was.
    pub(super) unsafe fn detach(&mut self) -> Option<NonNull<c_void>> {
        // SAFETY: By the safety requirements.
        of_any!(self, ring => unsafe { ring.detach() })
    }

    /// Lets the core have the queue, to reset it, or to resize it to `size`. Nothing must be done with
    /// the ring until [`Ring::take_over`] is called, or [`Ring::keep`].
    pub(super) fn release(&mut self, size: u32) -> Result<Kept> {
        match self {
            Self::Core(_) => Ok(Kept::Core),
            Self::Split(ring) => Ok(Kept::Split(ring.release(u16::try_from(size)?)?)),
            Self::Packed(ring) => Ok(Kept::Packed(ring.release(u16::try_from(size)?)?)),
        }
    }

    /// Takes the queue over again, which was reset: the buffers in it that the core did not know of
    /// have been detached.
    ///
    /// # Safety
    ///
    /// As for [`Ring::new`].
    pub(super) unsafe fn take_over(&mut self, kept: Kept) -> Result {
        match (self, kept) {
            // SAFETY: By the safety requirements.
            (Self::Split(ring), Kept::Split(room)) => unsafe { ring.take_over(room) },
            // SAFETY: As above.
            (Self::Packed(ring), Kept::Packed(room)) => unsafe { ring.take_over(room) },
            (Self::Core(ring), _) => {
                ring.restart();
                Ok(())
            }
            (Self::Split(_) | Self::Packed(_), _) => Err(EINVAL),
        }
    }

    /// Takes the queue over again, which was not reset after all.
    ///
    /// # Safety
    ///
    /// As for [`Ring::new`], but buffers are in it.
    pub(super) unsafe fn keep(&mut self) -> Result {
        match self {
            // SAFETY: By the safety requirements.
            Self::Split(ring) => unsafe { ring.keep() },
            // SAFETY: As above.
            Self::Packed(ring) => unsafe { ring.keep() },
            Self::Core(_) => Ok(()),
        }
    }
}

/// Deletes the queues of a device.
///
/// # Safety
///
/// `vdev` must be valid, and have queues; the device must have been reset, and no queue be used any
/// more. But one may have been forgotten, so that it was not dropped.
pub(super) unsafe fn delete_queues(vdev: *mut bindings::virtio_device) {
    // SAFETY: By the safety requirements.
    unsafe { bindings::virtio_del_vqs(vdev, decoy::descriptors()) };
}
