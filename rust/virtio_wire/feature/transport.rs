// SPDX-License-Identifier: GPL-2.0

//! The features of transports and rings, which exist in each class.
//!
//! Virtio 1.3, 6. C header:
//! [`include/uapi/linux/virtio_config.h`](srctree/include/uapi/linux/virtio_config.h)

use super::{
    features,
    Class,
    Rule, //
};

features! {
    impl[C: Class] C, "VIRTIO_F_" {
        /// Legacy: the device says when it runs out of buffers, even if that is suppressed.
        NOTIFY_ON_EMPTY = 24,
        /// Legacy: the device takes any layout of descriptors.
        ANY_LAYOUT = 27,
        /// A descriptor may refer to a table of descriptors.
        INDIRECT_DESC = 28,
        /// Either end says at which index it wants to be notified.
        EVENT_IDX = 29,
        /// The device complies with virtio 1.0 or later.
        VERSION_1 = 32,
        /// The device accesses memory as the platform says, for example through an IOMMU.
        ACCESS_PLATFORM = 33,
        /// The rings are packed.
        RING_PACKED = 34,
        /// Buffers are used in the order in which they were made available.
        IN_ORDER = 35,
        /// Memory accesses are ordered as for a device of the platform.
        ORDER_PLATFORM = 36,
        /// The device supports single root I/O virtualization.
        SR_IOV = 37,
        /// Notifications of the driver say how far it is.
        NOTIFICATION_DATA = 38,
        /// Notifications of the driver carry what the device supplied.
        NOTIF_CONFIG_DATA = 39,
        /// A queue can be reset on its own.
        RING_RESET = 40,
        /// There are administration virtqueues.
        ADMIN_VQ = 41,
        /// The driver can suspend the device (virtio 1.4, 3.4).
        SUSPEND = 43,
    }
}

/// The class of entropy devices, which have no features of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entropy {}

impl Class for Entropy {
    const NAMES: &'static [(u32, &'static str)] = &[];
    const RULES: &'static [Rule<Self>] = &[];
}
