// SPDX-License-Identifier: GPL-2.0

//! Two drivers that have a device of a guest in turn.

use crate::{bench::Side, guest::Guest, report::Features};
use anyhow::{Result, ensure};

/// What the kernel's own driver is called in the table.
pub const IN_TREE: &str = "in-tree";

/// Where the device is, on the PCI bus of its guest.
const ADDRESS: &str = "0000:00:10.0";

/// The drivers, by the names of their modules.
pub struct Drivers {
    pub theirs: &'static str,
    pub ours: &'static str,
}

impl Drivers {
    /// Loads both, with parameters, and returns the features that they negotiate; fails if these are not
    /// the same.
    pub fn load(&self, guest: &Guest, parameters: &str) -> Result<Features> {
        guest.sh(&format!(
            "echo 0 >/sys/bus/virtio/drivers_autoprobe
             modprobe {} {parameters} && modprobe {} {parameters}",
            self.theirs, self.ours
        ))?;
        let features = |side| {
            self.bind(guest, side)?;
            guest.sh(&format!(
                "cat /sys/bus/pci/devices/{ADDRESS}/virtio*/features"
            ))
        };
        let (theirs, ours) = (features(Side::Theirs)?, features(Side::Ours)?);
        let differing: Vec<_> = (0..)
            .zip(theirs.bytes().zip(ours.bytes()))
            .filter(|(_, (theirs, ours))| theirs != ours)
            .map(|(bit, _): (u32, _)| bit)
            .collect();
        ensure!(
            differing.is_empty(),
            "the drivers differ in features {differing:?}"
        );
        Ok(Features::of_bits(&theirs, &ours))
    }

    /// Gives the device to one of them.
    pub fn bind(&self, guest: &Guest, side: Side) -> Result<()> {
        let wanted = match side {
            Side::Theirs => self.theirs,
            Side::Ours => self.ours,
        };
        guest.sh(&format!(
            "device=$(basename $(ls -d /sys/bus/pci/devices/{ADDRESS}/virtio*))
             driver=/sys/bus/virtio/devices/$device/driver
             if [ -e $driver ]; then
                 [ $(basename $(readlink $driver)) != {wanted} ] || exit 0
                 echo $device >$driver/unbind
             fi
             echo $device >/sys/bus/virtio/drivers/{wanted}/bind"
        ))?;
        Ok(())
    }
}
