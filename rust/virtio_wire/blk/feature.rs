// SPDX-License-Identifier: GPL-2.0

//! The features of block devices.
//!
//! Virtio 1.3, 5.2.3.

use super::Feature;
use crate::feature::{
    features,
    Class,
    Rule, //
};

/// The class of block devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blk {}

features! {
    impl[] Blk, "VIRTIO_BLK_F_" {
        /// Legacy: there are barriers.
        BARRIER = 0,
        /// The device says the largest segment.
        SIZE_MAX = 1,
        /// The device says the most segments.
        SEG_MAX = 2,
        /// The device says a geometry.
        GEOMETRY = 4,
        /// The device is read-only.
        RO = 5,
        /// The device says the size of its blocks.
        BLK_SIZE = 6,
        /// Legacy: there are SCSI commands.
        SCSI = 7,
        /// The cache can be flushed.
        FLUSH = 9,
        /// The device says how requests should be aligned.
        TOPOLOGY = 10,
        /// The cache can be switched between writing through and writing back.
        CONFIG_WCE = 11,
        /// There are several queues.
        MQ = 12,
        /// Sectors can be discarded.
        DISCARD = 13,
        /// Sectors can be overwritten by zeroes without sending them.
        WRITE_ZEROES = 14,
        /// The device says how worn it is.
        LIFETIME = 15,
        /// Sectors can be erased securely.
        SECURE_ERASE = 16,
        /// The device may have zones.
        ZONED = 17,
    }
}

impl Class for Blk {
    const NAMES: &'static [(u32, &'static str)] = NAMES;

    const RULES: &'static [Rule<Self>] = &[
        // Virtio 1.3, 5.2.5.2: a driver may do without it.
        Rule::offer(Feature::CONFIG_WCE, &[Feature::FLUSH]),
        // Virtio 1.3, 5.2.5.2: legacy devices have no zones.
        Rule::all(Feature::ZONED, &[Feature::VERSION_1]),
    ];
}
