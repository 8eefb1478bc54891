// SPDX-License-Identifier: GPL-2.0

//! Forms of a device: what QEMU is told of it, and the features that follow from that.

use crate::guest::Guest;
use anyhow::{Result, ensure};

/// The bits of features that any device may have, as the specification has them.
pub const INDIRECT: usize = 28;
pub const EVENT_IDX: usize = 29;
pub const VERSION_1: usize = 32;
pub const ACCESS_PLATFORM: usize = 33;
pub const PACKED: usize = 34;
pub const IN_ORDER: usize = 35;

/// A device that differs from the default in something, and the bits of the features that its driver
/// must have negotiated, and must not.
pub struct Form {
    pub name: &'static str,
    pub options: &'static str,
    pub with: &'static [usize],
    pub without: &'static [usize],
}

/// The features that a driver has negotiated.
pub struct Negotiated(String);

impl Negotiated {
    /// Reads them from a device, whose directory in sysfs this is.
    pub fn read(guest: &Guest, device: &str) -> Result<Self> {
        guest.sh(&format!("cat {device}/features")).map(Self)
    }

    /// Tells whether a feature is among them.
    pub fn has(&self, bit: usize) -> bool {
        self.0.as_bytes().get(bit) == Some(&b'1')
    }

    /// Fails if they are not those of a form.
    pub fn check(&self, form: &Form) -> Result<()> {
        for bit in form.with {
            ensure!(self.has(*bit), "without feature {bit}: {}", self.0);
        }
        for bit in form.without {
            ensure!(!self.has(*bit), "with feature {bit}: {}", self.0);
        }
        Ok(())
    }
}
