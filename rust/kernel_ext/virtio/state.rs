// SPDX-License-Identifier: GPL-2.0

//! What a binding knows of its device, whatever its driver is.

use super::Device;
use crate::bindings;
use core::ptr::{
    self,
    NonNull, //
};
use kernel::{
    device, new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Mutex, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

/// How many messages about what a device does wrong are printed for each binding.
const MESSAGES: i64 = 16;

/// How often, and how long each time, one waits for a notification that is being sent.
const WAITS: u32 = 100;
const WAIT: Delta = Delta::from_millis(10);

/// What the device may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub(super) enum Phase {
    /// Nothing: features are negotiated, and queues can be made.
    Preparing,
    /// It uses its queues.
    Live,
    /// Nothing: it was reset.
    Reset,
}

impl Phase {
    /// Returns its name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Live => "live",
            Self::Reset => "reset",
        }
    }
}

/// Who uses a queue of the core.
pub(super) struct Slot {
    /// The handle of the queue is a user, and each notification that is yet to be sent.
    users: Atomic<i32>,
    /// Takes buffers back while the queue is reset on its own.
    pub(super) recycler: Atomic<*mut c_void>,
}

impl Slot {
    /// Adds a user; there must be one already.
    #[inline]
    pub(super) fn add_user(&self) {
        self.users.fetch_add(1, Relaxed);
    }

    /// Removes a user, which does not touch the queue any more.
    #[inline]
    pub(super) fn remove_user(&self) {
        self.users.fetch_sub(1, Release);
    }
}

/// The part of a binding that does not depend on the driver.
///
/// # Invariants
///
/// `vdev` is valid for as long as this lives.
#[pin_data]
pub(super) struct State {
    vdev: NonNull<bindings::virtio_device>,
    /// A [`Phase`], as a number.
    phase: Atomic<i32>,
    /// How often the device was caught.
    violations: Atomic<i64>,
    /// Held while the device is being reset.
    #[pin]
    resetting: Mutex<()>,
    /// By the indices of the queues; replaced only while none of them has users.
    #[pin]
    slots: Mutex<KVec<Slot>>,
}

// SAFETY: The device may be reset from any thread; the other fields can be sent.
unsafe impl Send for State {}

// SAFETY: All methods may be called from any thread; the fields but `vdev`, which never changes, are
// atomic, or protected by a lock.
unsafe impl Sync for State {}

impl State {
    /// Begins with a device that does nothing.
    ///
    /// # Safety
    ///
    /// `vdev` must be valid for as long as the result lives.
    pub(super) unsafe fn new(vdev: NonNull<bindings::virtio_device>) -> impl PinInit<Self> {
        // INVARIANT: By the safety requirements, the device is valid.
        pin_init!(Self {
            vdev,
            phase: Atomic::new(0),
            violations: Atomic::new(0),
            resetting <- new_mutex!(()),
            slots <- new_mutex!(KVec::new()),
        })
    }

    /// Returns the device of the core.
    pub(super) fn vdev(&self) -> *mut bindings::virtio_device {
        self.vdev.as_ptr()
    }

    /// Returns the device.
    pub(super) fn device(&self) -> &device::Device {
        // SAFETY: By the type invariant, `vdev` is valid.
        let dev = unsafe { &raw mut (*self.vdev.as_ptr()).dev };

        // SAFETY: `dev` is the device of a valid `struct virtio_device`, and lives as long.
        unsafe { device::Device::from_raw(dev) }
    }

    /// Returns the device of the transport.
    pub(super) fn transport(&self) -> Option<&device::Device> {
        // CAST: `Device` is a transparent wrapper.
        let device = self.vdev.cast::<Device>();
        // SAFETY: By the type invariant, `vdev` is valid for as long as this lives.
        unsafe { device.as_ref() }.parent()
    }

    /// Returns what the device may do.
    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Acquire) {
            0 => Phase::Preparing,
            1 => Phase::Live,
            _ => Phase::Reset,
        }
    }

    /// Sets what the device may do; what was written before is seen by who sees this.
    pub(super) fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as i32, Release);
    }

    /// Tells whether the device uses its queues.
    #[inline]
    pub(super) fn is_live(&self) -> bool {
        self.phase.load(Acquire) == Phase::Live as i32
    }

    /// Breaks the queues and resets the device, unless that was done. When this returns, it touches
    /// no buffer, and no callback of a queue runs.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    pub(super) fn quiesce(&self) {
        let _guard = self.resetting.lock();
        if self.phase() != Phase::Reset {
            self.set_phase(Phase::Reset);
            self.reset();
        }
    }

    /// Notes that the core has reset the device.
    pub(super) fn was_reset(&self) {
        let _guard = self.resetting.lock();
        if self.phase() != Phase::Reset {
            self.set_phase(Phase::Reset);
            // SAFETY: By the type invariant, `vdev` is valid.
            unsafe { bindings::virtio_break_device(self.vdev.as_ptr()) };
            // SAFETY: By the type invariant, `vdev` is valid.
            unsafe { bindings::virtio_synchronize_cbs(self.vdev.as_ptr()) };
        }
    }

    /// As [`State::quiesce`], before buffers are taken from the device. If it says that it is live
    /// although it was reset, it is reset again: when a probe fails, the core adds to the status what
    /// the device says that it is.
    pub(super) fn quiesce_again(&self) {
        self.quiesce_unless(|status| u32::from(status) & bindings::VIRTIO_CONFIG_S_DRIVER_OK == 0);
    }

    /// As [`State::quiesce`], before the device is given back: nothing is left of its status, such as
    /// that it could not be restored.
    pub(super) fn quiesce_finally(&self) {
        self.quiesce_unless(|status| status == 0);
    }

    fn quiesce_unless(&self, is_fine: impl Fn(u8) -> bool) {
        self.quiesce();
        let _guard = self.resetting.lock();
        let status = self.status();
        // A device that is gone says anything, and would not end a reset.
        if status != u8::MAX && !is_fine(status) {
            self.reset();
        }
    }

    fn reset(&self) {
        // SAFETY: By the type invariant, `vdev` is valid. Queues refuse buffers and kicks from here.
        unsafe { bindings::virtio_break_device(self.vdev.as_ptr()) };
        // SAFETY: By the type invariant, `vdev` is valid.
        unsafe { bindings::virtio_reset_device(self.vdev.as_ptr()) };
        // SAFETY: By the type invariant, `vdev` is valid.
        unsafe { bindings::virtio_synchronize_cbs(self.vdev.as_ptr()) };
    }

    /// Tells whether the device says that it cannot go on without a reset.
    pub(super) fn needs_reset(&self) -> bool {
        let status = self.status();
        // A device that is gone says anything.
        status != u8::MAX && u32::from(status) & bindings::VIRTIO_CONFIG_S_NEEDS_RESET != 0
    }

    /// Reads the status from the device.
    pub(super) fn status(&self) -> u8 {
        // SAFETY: By the type invariant, `vdev` is valid.
        let config = unsafe { (*self.vdev.as_ptr()).config };
        // SAFETY: A device has operations, which outlive it.
        let config = unsafe { &*config };
        config.get_status.map_or(0, |get_status| {
            // SAFETY: This is an operation of the device's transport.
            unsafe { get_status(self.vdev.as_ptr()) }
        })
    }

    /// Makes slots for `count` queues, each with one user.
    pub(super) fn make_slots(&self, count: u32) -> Result {
        let mut slots = KVec::new();
        for _ in 0..count {
            let slot = Slot {
                users: Atomic::new(1),
                recycler: Atomic::new(ptr::null_mut()),
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        *self.slots.lock() = slots;
        Ok(())
    }

    /// Forgets the slots, none of which has users.
    pub(super) fn drop_slots(&self) {
        *self.slots.lock() = KVec::new();
    }

    /// Returns the slot of a queue. It stays where it is while it has users.
    pub(super) fn slot(&self, index: usize) -> Result<NonNull<Slot>> {
        let slots = self.slots.lock();
        Ok(NonNull::from(slots.get(index).ok_or(ENOENT)?))
    }

    /// Returns how many slots there are.
    pub(super) fn slot_count(&self) -> u32 {
        u32::try_from(self.slots.lock().len()).unwrap_or(u32::MAX)
    }

    /// Waits until no queue has users.
    ///
    /// # Errors
    ///
    /// `EBUSY` if that does not come true for a second: the driver keeps a queue.
    pub(super) fn wait_for_users(&self) -> Result {
        for _ in 0..WAITS {
            let slots = self.slots.lock();
            let used = slots.iter().any(|slot| slot.users.load(Acquire) != 0);
            drop(slots);
            if !used {
                return Ok(());
            }
            fsleep(WAIT);
        }
        Err(EBUSY)
    }

    /// Counts something that the device must not do, and tells whether to print a message.
    pub(super) fn count_violation(&self) -> bool {
        self.violations.fetch_add(1, Relaxed) < MESSAGES
    }

    /// Returns how often the device was caught.
    pub(super) fn violations(&self) -> i64 {
        self.violations.load(Relaxed)
    }
}
