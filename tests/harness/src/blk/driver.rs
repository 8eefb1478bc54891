// SPDX-License-Identifier: GPL-2.0

//! The driver that is tested, and the kernel's own: a test takes either.

use crate::{
    cx::Cx,
    form::IN_ORDER,
    guest::{Builder, Guest},
};
use anyhow::Result;

/// A driver of disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Driver {
    /// The name of its module.
    pub module: &'static str,
    /// What the names of its disks begin with.
    prefix: &'static str,
    /// What its module is told.
    parameters: &'static str,
    /// Whether it comes with the kernel.
    in_tree: bool,
}

/// Ours.
pub const OURS: Driver = Driver {
    module: "virtio_blk_rs",
    prefix: "vdaa",
    parameters: "",
    in_tree: false,
};

/// Ours, with disks that are called as the in-tree driver's: for tests that were written for that.
pub const RENAMED: Driver = Driver {
    prefix: "vd",
    parameters: "first_disk=0",
    ..OURS
};

/// The kernel's own.
pub const IN_TREE: Driver = Driver {
    module: "virtio_blk",
    prefix: "vd",
    parameters: "",
    in_tree: true,
};

impl Driver {
    /// Tells whether it accepts a feature of rings that a device offers. Use in order is what only the
    /// kernel's own drivers accept.
    pub fn accepts(&self, feature: usize) -> bool {
        self.in_tree || feature != IN_ORDER
    }

    /// Returns the name of its first disk, or one of the 25 after that.
    pub fn disk(&self, index: usize) -> String {
        let letter = ('a'..='z').nth(index).unwrap_or('?');
        format!("{}{letter}", self.prefix)
    }

    /// Starts the description of a guest that has it.
    pub fn builder(&self, cx: &Cx, flavour: &str) -> Result<Builder> {
        let builder = cx.kernel(flavour)?;
        if self.in_tree {
            return Ok(builder.kernel_module(self.module));
        }
        builder.module(self.module)
    }

    /// Returns what its module is told.
    pub const fn parameters(&self) -> &'static str {
        self.parameters
    }

    /// Returns what it says of its disks in `queue/rotational`.
    pub const fn rotational(&self) -> u8 {
        if self.in_tree { 1 } else { 0 }
    }

    /// Loads it with parameters, and waits for so many disks.
    pub fn load(&self, guest: &Guest, parameters: &str, disks: usize) -> Result<()> {
        let last = self.disk(disks - 1);
        guest.sh(&format!(
            "modprobe {} {} {parameters}
             n=0
             until [ -e /dev/{last} ]; do
                 n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.1
             done",
            self.module, self.parameters
        ))?;
        Ok(())
    }
}
