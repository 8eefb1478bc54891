// SPDX-License-Identifier: GPL-2.0

//! What the device says of itself, as the block layer wants it.

use kernel::{
    device::Bound,
    prelude::*, //
};
use kernel_ext::{
    block::{
        Discard,
        Geometry,
        Limits,
        WriteCache,
        SECTOR_SIZE, //
    },
    fmt::Plain,
    virtio::Device, //
};
use virtio_wire::blk::{
    config::{
        CacheMode,
        SegmentLimits, //
    },
    Accepted,
    Config,
    ConfigError,
    ConfigLayout,
    Feature, //
};

/// The most ranges that a discard may have: more make it no faster.
const MAX_RANGES: u16 = 256;

/// What the device says of itself, checked.
pub(crate) struct Shape {
    config: Config,
}

impl Shape {
    /// Reads the configuration.
    pub(crate) fn read(vdev: &Device<Bound>, features: Accepted) -> Result<Self> {
        let mut bytes = [0; ConfigLayout::SIZE];
        vdev.read_config::<ConfigLayout>(Config::length(features), &mut bytes)?;
        let config = Config::parse(&bytes, features).map_err(|error| wrong(vdev, error))?;
        Ok(Self { config })
    }

    /// Returns the capacity, in sectors.
    pub(crate) fn capacity(&self, vdev: &Device<Bound>) -> Result<u64> {
        let capacity = self.config.capacity();
        capacity
            .map(|capacity| capacity.sectors())
            .map_err(|error| wrong(vdev, error))
    }

    /// Returns how many queues the device has.
    pub(crate) fn queues(&self, vdev: &Device<Bound>) -> Result<u32> {
        let queues = self.config.queues().map_err(|error| wrong(vdev, error))?;
        Ok(queues.get().into())
    }

    /// Returns how many segments a request may have.
    pub(crate) fn segments(&self, vdev: &Device<Bound>) -> Result<u16> {
        let most = self.config.seg_max().map_err(|error| wrong(vdev, error))?;
        Ok(most.map_or(1, |most| u16::try_from(most.get()).unwrap_or(u16::MAX)))
    }

    /// Tells whether it cannot be written.
    pub(crate) fn is_read_only(&self) -> bool {
        self.has(Feature::RO)
    }

    /// Tells whether users may change the mode of the cache.
    pub(crate) fn has_cache_mode(&self) -> bool {
        self.has(Feature::CONFIG_WCE)
    }

    /// Tells whether the device says how worn it is.
    pub(crate) fn has_lifetime(&self) -> bool {
        self.has(Feature::LIFETIME)
    }

    fn has(&self, feature: Feature) -> bool {
        self.config.accepted().has(feature)
    }

    /// Returns how the cache works.
    pub(crate) fn cache(&self, vdev: &Device<Bound>) -> Result<CacheMode> {
        self.config.cache_mode().map_err(|error| wrong(vdev, error))
    }

    /// Tells whether zeroed sectors may take no space.
    pub(crate) fn may_unmap(&self) -> bool {
        self.config.write_zeroes_may_unmap()
    }

    /// Returns the geometry, for those who still ask.
    pub(crate) fn geometry(&self) -> Option<Geometry> {
        let geometry = self.config.geometry()?;
        Some(Geometry {
            heads: geometry.heads,
            sectors: geometry.sectors,
            cylinders: geometry.cylinders,
        })
    }

    /// Returns the limits of the disk, but for the number of segments.
    pub(crate) fn limits(&self, vdev: &Device<Bound>) -> Result<Limits> {
        let limits = self.try_limits(vdev.max_dma_size());
        limits.map_err(|error| wrong(vdev, error))
    }

    fn try_limits(&self, max_dma_size: usize) -> Result<Limits, ConfigError> {
        let config = &self.config;
        let block = config.block_size()?.get();
        let most = config.size_max()?.map_or(u32::MAX, |most| most.get());
        let most = most.min(u32::try_from(max_dma_size).unwrap_or(u32::MAX));

        // A device has no reason to want memory at multiples of more.
        let mut limits = Limits::new()
            .logical_block_size(block)
            .max_segment_size(most)
            .dma_alignment(4)
            .write_cache(write_cache(config.cache_mode()?));
        if let Some(topology) = config.topology()? {
            limits = limits
                .physical_block_size(topology.physical_block)
                .alignment_offset(topology.alignment_offset);
            if let Some(least) = topology.min_io {
                limits = limits.io_min(least.get());
            }
            if let Some(best) = topology.opt_io {
                limits = limits.io_opt(best.get());
            }
        }
        if let Some(discard) = config.discard()? {
            limits = limits.discard(ranges(discard, block));
        }
        if let Some(zeroes) = config.write_zeroes()? {
            limits = limits.write_zeroes(sectors(zeroes));
            if config.write_zeroes_may_unmap() {
                limits = limits.unmaps_zeroes();
            }
        }
        if let Some(erase) = config.secure_erase()? {
            limits = limits.secure_erase(sectors(erase));
        }
        Ok(limits)
    }
}

/// Returns what that means for what was written.
pub(crate) fn write_cache(mode: CacheMode) -> WriteCache {
    match mode {
        CacheMode::WriteBack => WriteCache::Volatile,
        CacheMode::WriteThrough => WriteCache::None,
    }
}

/// Returns how many sectors a range may have, so that its bytes can be counted, too.
fn sectors(limits: SegmentLimits) -> u32 {
    limits.sectors.get().min(u32::MAX / SECTOR_SIZE)
}

fn ranges(limits: SegmentLimits, block: u32) -> Discard {
    let most = u16::try_from(limits.segments.get()).unwrap_or(u16::MAX);
    let alignment = limits
        .alignment
        .and_then(|sectors| sectors.get().checked_mul(SECTOR_SIZE));
    Discard {
        granularity: alignment.unwrap_or(block),
        ..Discard::new(sectors(limits), most.min(MAX_RANGES))
    }
}

fn wrong(vdev: &Device<Bound>, error: ConfigError) -> Error {
    vdev.complain(|| dev_err!(vdev, "the configuration is wrong: {}\n", Plain(error)));
    EINVAL
}
