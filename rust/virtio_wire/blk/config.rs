// SPDX-License-Identifier: GPL-2.0

//! The configuration space of block devices.
//!
//! [`ConfigLayout`] is what is there, [`Config`] what it means: it has only what exists with the
//! accepted features, and each value is checked where it is asked for, as a driver can do without
//! most of them.
//!
//! Virtio 1.3, 5.2.4.

use super::{
    Accepted,
    Feature,
    SECTOR_SIZE, //
};
use crate::{
    int::{
        Le16,
        Le32,
        Le64, //
    },
    wire::{
        copy,
        wire_struct,
        Truncated, //
    },
};
use core::{
    fmt,
    mem::offset_of,
    num::{
        NonZeroU16,
        NonZeroU32, //
    },
};

mod value;

pub use value::{
    BlockSize,
    CacheMode,
    Capacity,
    Geometry,
    SegmentLimits,
    Topology,
    ZoneLimits,
    Zones, //
};

wire_struct! {
    /// The configuration space.
    #[doc(alias = "virtio_blk_config")]
    pub struct ConfigLayout[96] {
        /// The number of sectors.
        pub capacity: Le64,
        /// The most bytes in a segment.
        pub size_max: Le32,
        /// The most segments in a request.
        pub seg_max: Le32,
        /// Geometry: the number of cylinders.
        pub cylinders: Le16,
        /// Geometry: the number of heads.
        pub heads: u8,
        /// Geometry: the number of sectors.
        pub sectors: u8,
        /// The number of bytes in a logical block.
        pub blk_size: Le32,
        /// The logarithm of the number of logical blocks in a physical one.
        pub physical_block_exp: u8,
        /// The first logical block that is aligned.
        pub alignment_offset: u8,
        /// The least that should be read or written, in logical blocks.
        pub min_io_size: Le16,
        /// The most that should be read or written, in logical blocks.
        pub opt_io_size: Le32,
        /// Whether the cache writes back.
        pub writeback: u8,
        /// Reserved.
        pub unused0: u8,
        /// The number of queues.
        pub num_queues: Le16,
        /// The most sectors in a segment to discard.
        pub max_discard_sectors: Le32,
        /// The most segments to discard at once.
        pub max_discard_seg: Le32,
        /// How sectors to discard should be aligned.
        pub discard_sector_alignment: Le32,
        /// The most sectors in a segment to zero.
        pub max_write_zeroes_sectors: Le32,
        /// The most segments to zero at once.
        pub max_write_zeroes_seg: Le32,
        /// Whether sectors to zero can be discarded.
        pub write_zeroes_may_unmap: u8,
        /// Reserved.
        pub unused1: [u8; 3],
        /// The most sectors in a segment to erase.
        pub max_secure_erase_sectors: Le32,
        /// The most segments to erase at once.
        pub max_secure_erase_seg: Le32,
        /// How sectors to erase should be aligned.
        pub secure_erase_sector_alignment: Le32,
        /// Zones: the number of sectors in each.
        pub zone_sectors: Le32,
        /// Zones: the most that can be open.
        pub max_open_zones: Le32,
        /// Zones: the most that can be active.
        pub max_active_zones: Le32,
        /// Zones: the most sectors to append at once.
        pub max_append_sectors: Le32,
        /// Zones: how writes have to be aligned, in bytes.
        pub write_granularity: Le32,
        /// Zones: the model.
        pub model: u8,
        /// Reserved.
        pub unused2: [u8; 3],
    }
}

/// Why a value in the configuration space cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The configuration space is too short for the features.
    Truncated(Truncated),
    /// The number of bytes cannot be counted.
    Capacity(u64),
    /// Segments cannot have any bytes.
    SizeMax,
    /// Requests cannot have any segments.
    SegMax,
    /// The size of a block is not a power of two between 512 and 65536.
    BlockSize(u32),
    /// A physical block has too many bytes.
    PhysicalBlock(u8),
    /// The first aligned block is not in the first physical block.
    Alignment(u8),
    /// What should be read or written has too many bytes.
    IoSize(u32),
    /// The cache neither writes through nor back.
    CacheMode(u8),
    /// There are no queues.
    Queues,
    /// Nothing can be discarded, zeroed or erased at once.
    Segments,
    /// There is no such model of zones.
    ZoneModel(u8),
    /// Zones have no sectors, or writes to them cannot be aligned.
    Zones,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(truncated) => write!(f, "the configuration space: {truncated}"),
            Self::Capacity(sectors) => write!(f, "a capacity of {sectors} sectors"),
            Self::SizeMax => f.write_str("segments have at most 0 bytes"),
            Self::SegMax => f.write_str("requests have at most 0 segments"),
            Self::BlockSize(size) => write!(f, "blocks of {size} bytes"),
            Self::PhysicalBlock(exponent) => write!(f, "physical blocks of 2^{exponent} blocks"),
            Self::Alignment(offset) => write!(f, "the first aligned block is {offset}"),
            Self::IoSize(blocks) => write!(f, "requests should have {blocks} blocks"),
            Self::CacheMode(mode) => write!(f, "a cache mode of {mode}"),
            Self::Queues => f.write_str("there are 0 queues"),
            Self::Segments => f.write_str("segments to discard, zero or erase cannot be"),
            Self::ZoneModel(model) => write!(f, "zones of model {model}"),
            Self::Zones => f.write_str("zones that cannot be"),
        }
    }
}

impl core::error::Error for ConfigError {}

/// The configuration space of a device with certain features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    layout: ConfigLayout,
    accepted: Accepted,
}

impl Config {
    /// Returns how many bytes exist with certain features: no more may be read.
    pub fn length(accepted: Accepted) -> usize {
        let ends = [
            (Feature::ZONED, ConfigLayout::SIZE),
            (
                Feature::SECURE_ERASE,
                offset_of!(ConfigLayout, zone_sectors),
            ),
            (
                Feature::WRITE_ZEROES,
                offset_of!(ConfigLayout, max_secure_erase_sectors),
            ),
            (
                Feature::DISCARD,
                offset_of!(ConfigLayout, max_write_zeroes_sectors),
            ),
            (Feature::MQ, offset_of!(ConfigLayout, max_discard_sectors)),
            (Feature::CONFIG_WCE, offset_of!(ConfigLayout, unused0)),
            (Feature::TOPOLOGY, offset_of!(ConfigLayout, writeback)),
            (
                Feature::BLK_SIZE,
                offset_of!(ConfigLayout, physical_block_exp),
            ),
            (Feature::GEOMETRY, offset_of!(ConfigLayout, blk_size)),
            (Feature::SEG_MAX, offset_of!(ConfigLayout, cylinders)),
            (Feature::SIZE_MAX, offset_of!(ConfigLayout, seg_max)),
        ];
        let last = ends.iter().find(|(feature, _)| accepted.has(*feature));
        last.map_or(offset_of!(ConfigLayout, size_max), |(_, end)| *end)
    }

    /// Takes what was read of the configuration space, which may be more than exists with these
    /// features.
    ///
    /// # Errors
    ///
    /// There is less than exists with these features.
    pub fn parse(bytes: &[u8], accepted: Accepted) -> Result<Self, ConfigError> {
        let needed = Self::length(accepted);
        let mut whole = [0; ConfigLayout::SIZE];
        copy(&mut whole, bytes, needed).map_err(ConfigError::Truncated)?;
        Ok(Self {
            layout: ConfigLayout::from_bytes(&whole),
            accepted,
        })
    }

    /// Returns the features.
    pub const fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// Returns the capacity.
    ///
    /// # Errors
    ///
    /// The number of bytes cannot be counted.
    pub fn capacity(&self) -> Result<Capacity, ConfigError> {
        Capacity::new(self.layout.capacity.get())
    }

    /// Returns the most bytes in a segment, if there is a limit. It can be so low that a driver
    /// cannot keep it.
    ///
    /// # Errors
    ///
    /// It is zero.
    pub fn size_max(&self) -> Result<Option<NonZeroU32>, ConfigError> {
        self.limit(
            Feature::SIZE_MAX,
            self.layout.size_max,
            ConfigError::SizeMax,
        )
    }

    /// Returns the most segments in a request, if there is a limit.
    ///
    /// # Errors
    ///
    /// It is zero.
    pub fn seg_max(&self) -> Result<Option<NonZeroU32>, ConfigError> {
        self.limit(Feature::SEG_MAX, self.layout.seg_max, ConfigError::SegMax)
    }

    fn limit(
        &self,
        feature: Feature,
        value: Le32,
        error: ConfigError,
    ) -> Result<Option<NonZeroU32>, ConfigError> {
        if self.accepted.has(feature) {
            NonZeroU32::new(value.get()).map(Some).ok_or(error)
        } else {
            Ok(None)
        }
    }

    /// Returns the geometry, if the device has one.
    pub fn geometry(&self) -> Option<Geometry> {
        self.accepted.has(Feature::GEOMETRY).then(|| Geometry {
            cylinders: self.layout.cylinders.get(),
            heads: self.layout.heads,
            sectors: self.layout.sectors,
        })
    }

    /// Returns the size of a logical block.
    ///
    /// # Errors
    ///
    /// It cannot be.
    pub fn block_size(&self) -> Result<BlockSize, ConfigError> {
        if self.accepted.has(Feature::BLK_SIZE) {
            BlockSize::new(self.layout.blk_size.get())
        } else {
            Ok(BlockSize::DEFAULT)
        }
    }

    /// Returns how requests should be aligned, if the device says it.
    ///
    /// # Errors
    ///
    /// Something cannot be, or cannot be counted in bytes.
    pub fn topology(&self) -> Result<Option<Topology>, ConfigError> {
        if !self.accepted.has(Feature::TOPOLOGY) {
            return Ok(None);
        }
        let block = self.block_size()?.get();
        let exponent = self.layout.physical_block_exp;
        let blocks = 1u32
            .checked_shl(exponent.into())
            .ok_or(ConfigError::PhysicalBlock(exponent))?;
        let offset = self.layout.alignment_offset;
        if u32::from(offset) >= blocks {
            return Err(ConfigError::Alignment(offset));
        }
        let bytes = |blocks: u32, error| block.checked_mul(blocks).ok_or(error);
        let io = |blocks| bytes(blocks, ConfigError::IoSize(blocks)).map(NonZeroU32::new);
        Ok(Some(Topology {
            physical_block: bytes(blocks, ConfigError::PhysicalBlock(exponent))?,
            alignment_offset: bytes(offset.into(), ConfigError::Alignment(offset))?,
            min_io: io(self.layout.min_io_size.get().into())?,
            opt_io: io(self.layout.opt_io_size.get())?,
        }))
    }

    /// Returns when what was written is stable.
    ///
    /// Virtio 1.3, 5.2.5.1.
    ///
    /// # Errors
    ///
    /// The device says something that is not defined.
    pub fn cache_mode(&self) -> Result<CacheMode, ConfigError> {
        if !self.accepted.has(Feature::CONFIG_WCE) {
            return Ok(if self.accepted.has(Feature::FLUSH) {
                CacheMode::WriteBack
            } else {
                CacheMode::WriteThrough
            });
        }
        match self.layout.writeback {
            0 => Ok(CacheMode::WriteThrough),
            1 => Ok(CacheMode::WriteBack),
            mode => Err(ConfigError::CacheMode(mode)),
        }
    }

    /// Returns the number of queues.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn queues(&self) -> Result<NonZeroU16, ConfigError> {
        if self.accepted.has(Feature::MQ) {
            NonZeroU16::new(self.layout.num_queues.get()).ok_or(ConfigError::Queues)
        } else {
            Ok(NonZeroU16::MIN)
        }
    }

    /// Returns what can be discarded, if anything.
    ///
    /// # Errors
    ///
    /// A limit is zero.
    pub fn discard(&self) -> Result<Option<SegmentLimits>, ConfigError> {
        self.segments(
            Feature::DISCARD,
            self.layout.max_discard_sectors,
            self.layout.max_discard_seg,
            self.layout.discard_sector_alignment,
        )
    }

    /// Returns what can be zeroed, if anything.
    ///
    /// # Errors
    ///
    /// A limit is zero.
    pub fn write_zeroes(&self) -> Result<Option<SegmentLimits>, ConfigError> {
        self.segments(
            Feature::WRITE_ZEROES,
            self.layout.max_write_zeroes_sectors,
            self.layout.max_write_zeroes_seg,
            Le32::new(0),
        )
    }

    /// Returns whether sectors that are zeroed can be discarded, if the request allows it.
    pub fn write_zeroes_may_unmap(&self) -> bool {
        self.accepted.has(Feature::WRITE_ZEROES) && self.layout.write_zeroes_may_unmap != 0
    }

    /// Returns what can be erased, if anything.
    ///
    /// # Errors
    ///
    /// A limit is zero.
    pub fn secure_erase(&self) -> Result<Option<SegmentLimits>, ConfigError> {
        self.segments(
            Feature::SECURE_ERASE,
            self.layout.max_secure_erase_sectors,
            self.layout.max_secure_erase_seg,
            self.layout.secure_erase_sector_alignment,
        )
    }

    fn segments(
        &self,
        feature: Feature,
        sectors: Le32,
        segments: Le32,
        alignment: Le32,
    ) -> Result<Option<SegmentLimits>, ConfigError> {
        if !self.accepted.has(feature) {
            return Ok(None);
        }
        let limits = NonZeroU32::new(sectors.get()).zip(NonZeroU32::new(segments.get()));
        let (sectors, segments) = limits.ok_or(ConfigError::Segments)?;
        Ok(Some(SegmentLimits {
            sectors,
            segments,
            alignment: NonZeroU32::new(alignment.get()),
        }))
    }

    /// Returns what zones the device has.
    ///
    /// # Errors
    ///
    /// Something of them cannot be.
    pub fn zones(&self) -> Result<Zones, ConfigError> {
        if !self.accepted.has(Feature::ZONED) {
            return Ok(Zones::None);
        }
        match self.layout.model {
            0 => Ok(Zones::None),
            1 => Ok(Zones::HostManaged(self.zone_limits()?)),
            2 => Ok(Zones::HostAware(self.zone_limits()?)),
            model => Err(ConfigError::ZoneModel(model)),
        }
    }

    fn zone_limits(&self) -> Result<ZoneLimits, ConfigError> {
        let number = |value: Le32| NonZeroU32::new(value.get());
        let granularity = self.layout.write_granularity;
        if granularity.get().checked_rem(SECTOR_SIZE) != Some(0) {
            return Err(ConfigError::Zones);
        }
        Ok(ZoneLimits {
            sectors: number(self.layout.zone_sectors).ok_or(ConfigError::Zones)?,
            open: number(self.layout.max_open_zones),
            active: number(self.layout.max_active_zones),
            append: number(self.layout.max_append_sectors),
            granularity: number(granularity).ok_or(ConfigError::Zones)?,
        })
    }
}

#[cfg(test)]
mod tests;
