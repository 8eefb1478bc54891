// SPDX-License-Identifier: GPL-2.0

//! What the configuration space of a block device says.

use super::{
    super::SECTOR_SIZE,
    ConfigError, //
};
use core::num::NonZeroU32;

/// The number of sectors of a device, whose bytes fit into an `i64`, as offsets are in Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capacity(u64);

impl Capacity {
    /// The largest capacity.
    pub const MAX: Self = Self(i64::MAX.unsigned_abs().wrapping_shr(9));

    /// Takes a number of sectors.
    ///
    /// # Errors
    ///
    /// The number of bytes cannot be counted.
    pub const fn new(sectors: u64) -> Result<Self, ConfigError> {
        if sectors > Self::MAX.0 {
            return Err(ConfigError::Capacity(sectors));
        }
        Ok(Self(sectors))
    }

    /// Returns the number of sectors.
    pub const fn sectors(self) -> u64 {
        self.0
    }

    /// Returns the number of bytes.
    pub fn bytes(self) -> u64 {
        self.0.saturating_mul(SECTOR_SIZE.into())
    }
}

/// The number of bytes in a logical block: a power of two between 512 and 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BlockSize(u32);

impl BlockSize {
    /// The size of a device that does not say it.
    pub const DEFAULT: Self = Self(SECTOR_SIZE);
    /// The largest size.
    pub const MAX: Self = Self(0x1_0000);

    /// Takes a size.
    ///
    /// # Errors
    ///
    /// It cannot be.
    pub const fn new(size: u32) -> Result<Self, ConfigError> {
        if size.is_power_of_two() && size >= SECTOR_SIZE && size <= Self::MAX.0 {
            Ok(Self(size))
        } else {
            Err(ConfigError::BlockSize(size))
        }
    }

    /// Returns the size.
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// A geometry, which means nothing for virtual disks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The number of cylinders.
    pub cylinders: u16,
    /// The number of heads.
    pub heads: u8,
    /// The number of sectors.
    pub sectors: u8,
}

/// How requests should be aligned, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The size of a physical block, a power of two, at most 2^31.
    pub physical_block: u32,
    /// Where the first physical block is aligned.
    pub alignment_offset: u32,
    /// The least that should be read or written, if it is said.
    pub min_io: Option<NonZeroU32>,
    /// The most that should be read or written, if it is said.
    pub opt_io: Option<NonZeroU32>,
}

/// When what was written is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// Once the request is done.
    WriteThrough,
    /// Once a later flush is done.
    WriteBack,
}

impl CacheMode {
    /// Returns the byte in the configuration space.
    pub const fn byte(self) -> u8 {
        match self {
            Self::WriteThrough => 0,
            Self::WriteBack => 1,
        }
    }
}

/// What can be discarded, zeroed or erased at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentLimits {
    /// The most sectors in a segment.
    pub sectors: NonZeroU32,
    /// The most segments in a request.
    pub segments: NonZeroU32,
    /// How sectors should be aligned, if it is said.
    pub alignment: Option<NonZeroU32>,
}

/// What zones a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zones {
    /// None that a driver has to know of.
    None,
    /// Zones that have to be written in order.
    HostManaged(ZoneLimits),
    /// Zones that should be written in order.
    HostAware(ZoneLimits),
}

/// What can be done with zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneLimits {
    /// The number of sectors in each but the last.
    pub sectors: NonZeroU32,
    /// The most that can be open, if that is limited.
    pub open: Option<NonZeroU32>,
    /// The most that can be active, if that is limited.
    pub active: Option<NonZeroU32>,
    /// The most sectors to append at once, if that is possible.
    pub append: Option<NonZeroU32>,
    /// How writes have to be aligned, in bytes: whole sectors.
    pub granularity: NonZeroU32,
}
