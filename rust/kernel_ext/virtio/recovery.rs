// SPDX-License-Identifier: GPL-2.0

//! Devices that fail, and are reset, or given up.

use super::{
    Device,
    Driver,
    Lines,
    Resetter, //
};
use core::fmt;
use kernel::{
    device,
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Relaxed, //
    },
};

/// What a driver does about a device that fails: it has it reset. After several times without
/// anything done in between, the device is given up.
///
/// # Examples
///
/// ```ignore
/// // The device has said something that cannot be:
/// this.recovery.begin();
/// // In `Driver::resume`:
/// this.recovery.end();
/// // A request came back:
/// this.recovery.works();
/// ```
pub struct Recovery<'bound> {
    vdev: &'bound Device<device::Bound>,
    resetter: Resetter<'bound>,
    patience: u32,
    /// How often the device was to be reset since it has done something.
    failures: Atomic<u32>,
    /// Whether it is going to be reset: whatever else fails until then is part of that.
    resetting: Atomic<bool>,
    /// How often it was reset, and works again.
    count: Atomic<u64>,
    dead: Atomic<bool>,
}

impl<'bound> Recovery<'bound> {
    /// Prepares for failures of the device that driver `T` probes. It is given up if it has to be
    /// reset more than `patience` times without doing anything.
    pub fn new<T: Driver>(vdev: &'bound Device<device::Core<'_>>, patience: u32) -> Result<Self> {
        Ok(Self {
            vdev,
            resetter: Resetter::new::<T>(vdev)?,
            patience,
            failures: Atomic::new(0),
            resetting: Atomic::new(false),
            count: Atomic::new(0),
            dead: Atomic::new(false),
        })
    }

    /// The device has failed: has it reset soon. If it is given up, it is reset as well, which ends
    /// what it has, and [`Driver::restore`] should fail.
    ///
    /// # Context
    ///
    /// Any.
    pub fn begin(&self) {
        if self.is_dead() || self.resetting.xchg(true, Full) {
            return;
        }
        if self.failures.fetch_add(1, Relaxed) >= self.patience {
            dev_err!(self.vdev, "the device does nothing any more\n");
            self.give_up();
        }
        self.resetter.request();
    }

    /// Has the device reset if it says that it cannot go on without, which it does by a change of its
    /// configuration: for the work of [`Driver::config_changed`]. Tells whether it does.
    ///
    /// # Context
    ///
    /// Process.
    pub fn heeds_device(&self) -> bool {
        let needs_reset = self.vdev.needs_reset();
        if needs_reset {
            self.begin();
        }
        needs_reset
    }

    /// The device is live again, after it was reset for whatever reason: for [`Driver::resume`].
    pub fn end(&self) {
        if self.resetting.xchg(false, Relaxed) {
            self.count.fetch_add(1, Relaxed);
        }
    }

    /// The device has done something.
    #[inline]
    pub fn works(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// Gives the device up.
    pub fn give_up(&self) {
        self.dead.store(true, Relaxed);
    }

    /// Tells whether the device was given up.
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.dead.load(Relaxed)
    }

    /// Tells whether the device is going to be reset.
    pub fn is_resetting(&self) -> bool {
        self.resetting.load(Relaxed)
    }

    /// Returns how often the device has failed, was reset, and works again.
    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    /// Shows this, for [`Driver::show`].
    pub fn show(&self, lines: &mut Lines<'_, '_>) -> fmt::Result {
        lines.line("recoveries", self.count())?;
        lines.line("failures", self.failures.load(Relaxed))?;
        lines.yes_no("resetting", self.is_resetting())?;
        lines.yes_no("dead", self.is_dead())
    }
}
