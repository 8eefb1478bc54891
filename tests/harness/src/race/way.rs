// SPDX-License-Identifier: GPL-2.0

//! In what ways a guest has a device, which both drivers use in turn.

use super::{Kind, disk::Disk, nic::Nic};

/// What there is.
pub(super) const KINDS: [Kind; 8] = [
    Kind::of::<Disk<Plain>>(),
    Kind::of::<Nic<Plain>>(),
    Kind::of::<Disk<Packed>>(),
    Kind::of::<Nic<Packed>>(),
    Kind::of::<Disk<Served>>(),
    Kind::of::<Nic<Served>>(),
    Kind::of::<Disk<Many>>(),
    Kind::of::<Nic<Many>>(),
];

/// A way.
pub trait Way: 'static {
    /// What the guest is called.
    const NAME: &str;

    /// How many CPUs the guest has: each has a queue, or a pair of them.
    const CPUS: u16 = 2;

    /// The rings are packed.
    const IS_PACKED: bool = false;

    /// The device is our backend's, not QEMU's.
    const IS_SERVED: bool = false;
}

/// As most guests have it.
pub struct Plain;

impl Way for Plain {
    const NAME: &str = "plain";
}

/// With packed rings.
pub struct Packed;

impl Way for Packed {
    const NAME: &str = "packed";
    const IS_PACKED: bool = true;
}

/// By vhost-user.
pub struct Served;

impl Way for Served {
    const NAME: &str = "served";
    const IS_SERVED: bool = true;
}

/// With more CPUs, and queues.
pub struct Many;

impl Way for Many {
    const NAME: &str = "queues";
    const CPUS: u16 = 4;
}

/// Returns the properties of a device that are the same for disks and network devices.
pub fn properties<W: Way>() -> &'static str {
    if W::IS_PACKED {
        "addr=0x10,packed=on"
    } else {
        "addr=0x10"
    }
}
