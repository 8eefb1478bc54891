// SPDX-License-Identifier: GPL-2.0

//! Block devices.
//!
//! A request is a [`RequestHeader`], data in either direction, and a byte for the [`Status`]. A
//! *sector* has 512 bytes, whatever the size of the device's blocks is.
//!
//! Virtio 1.3, 5.2. C header:
//! [`include/uapi/linux/virtio_blk.h`](srctree/include/uapi/linux/virtio_blk.h)

pub mod config;
pub mod feature;
pub mod info;
pub mod request;
pub mod segment;
pub mod status;

pub use self::{
    config::{
        CacheMode,
        Capacity,
        Config,
        ConfigError,
        ConfigLayout, //
    },
    feature::Blk,
    info::{
        DeviceId,
        Lifetime,
        LifetimeLayout, //
    },
    request::{
        Request,
        RequestError,
        RequestHeader,
        RequestKind,
        RequestRules, //
    },
    segment::{
        Range,
        Segment,
        SegmentLayout,
        Segments, //
    },
    status::{
        Status,
        StatusError, //
    }, //
};

/// A feature of block devices.
pub type Feature = crate::feature::Feature<Blk>;
/// A set of features of block devices.
pub type FeatureSet = crate::feature::FeatureSet<Blk>;
/// The features that a block device offers.
pub type Offered = crate::feature::Offered<Blk>;
/// The features of a block device that a driver has accepted.
pub type Accepted = crate::feature::Accepted<Blk>;

/// The number of bytes in a sector.
pub const SECTOR_SIZE: u32 = 512;
