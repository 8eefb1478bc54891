// SPDX-License-Identifier: GPL-2.0

//! What a disk can do.

use crate::bindings;
use kernel::{
    page::PAGE_SIZE,
    prelude::*, //
};

/// Sectors of the block layer have 512 bytes.
pub const SECTOR_SIZE: u32 = 1 << bindings::SECTOR_SHIFT;

/// The least that a segment must be able to hold.
const MIN_SEGMENT_SIZE: u32 = 4096;

/// What a disk can do, and how it is best used.
///
/// The defaults are a disk of 512 byte blocks, without write cache, discard, or zeroing, that is not
/// rotational, and that takes requests and segments of any size, in any place.
///
/// # Examples
///
/// ```ignore
/// let limits = Limits::new()
///     .logical_block_size(4096)
///     .max_segments(64)
///     .write_cache(WriteCache::Volatile)
///     .discard(Discard::new(2048, 1));
/// ```
#[derive(Clone, Copy)]
#[doc(alias = "queue_limits")]
pub struct Limits {
    raw: bindings::queue_limits,
}

/// Whether what was written may be lost with the power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WriteCache {
    /// It may not.
    None,
    /// It may, until it was flushed.
    #[doc(alias = "BLK_FEAT_WRITE_CACHE")]
    Volatile,
    /// The same; but the disk can write without it.
    #[doc(alias = "BLK_FEAT_FUA")]
    VolatileWithFua,
}

/// How sectors are discarded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Discard {
    /// How many sectors each range may have.
    pub max_sectors: u32,
    /// How many ranges a request may have.
    pub max_segments: u16,
    /// How many bytes are discarded at once, in effect; at least a physical block.
    pub granularity: u32,
    /// Where such units begin, in bytes from the beginning of the disk.
    pub alignment: u32,
}

impl Discard {
    /// Discards blocks, anywhere.
    pub const fn new(max_sectors: u32, max_segments: u16) -> Self {
        Self {
            max_sectors,
            max_segments,
            granularity: 0,
            alignment: 0,
        }
    }
}

impl Limits {
    /// Starts with the defaults.
    pub fn new() -> Self {
        Self {
            raw: bindings::queue_limits {
                max_hw_sectors: u32::MAX,
                max_segment_size: u32::MAX,
                max_segments: u16::MAX,
                ..pin_init::zeroed()
            },
        }
    }

    /// Changes a field.
    fn with(mut self, change: impl FnOnce(&mut bindings::queue_limits)) -> Self {
        change(&mut self.raw);
        self
    }

    fn feature(self, feature: bindings::blk_features_t) -> Self {
        self.with(|raw| raw.features |= feature)
    }

    /// Sets the unit that can be addressed, in bytes.
    pub fn logical_block_size(self, bytes: u32) -> Self {
        self.with(|raw| raw.logical_block_size = bytes)
    }

    /// Sets the unit that can be written without reading, in bytes.
    pub fn physical_block_size(self, bytes: u32) -> Self {
        self.with(|raw| raw.physical_block_size = bytes)
    }

    /// Sets where the first such unit begins, in bytes.
    pub fn alignment_offset(self, bytes: u32) -> Self {
        self.with(|raw| raw.alignment_offset = bytes)
    }

    /// Sets the least size of a request that is efficient, in bytes.
    pub fn io_min(self, bytes: u32) -> Self {
        self.with(|raw| raw.io_min = bytes)
    }

    /// Sets the size of a request that is best, in bytes.
    pub fn io_opt(self, bytes: u32) -> Self {
        self.with(|raw| raw.io_opt = bytes)
    }

    /// Limits the number of segments of a request. It is at most that of the tag set.
    pub fn max_segments(self, segments: u16) -> Self {
        self.with(|raw| raw.max_segments = segments)
    }

    /// Limits the size of a segment, in bytes.
    pub fn max_segment_size(self, bytes: u32) -> Self {
        self.with(|raw| raw.max_segment_size = bytes)
    }

    /// Limits the size of a request, in sectors.
    pub fn max_hw_sectors(self, sectors: u32) -> Self {
        self.with(|raw| raw.max_hw_sectors = sectors)
    }

    /// Keeps requests from crossing multiples of so many sectors.
    pub fn chunk_sectors(self, sectors: u32) -> Self {
        self.with(|raw| raw.chunk_sectors = sectors)
    }

    /// Sets how memory must be aligned, in bytes: 512, by default, and at least 2. The block layer
    /// copies what is not. Below 512, segments need not be multiples of sectors either.
    pub fn dma_alignment(self, bytes: u32) -> Self {
        // The field has a mask, of which zero means the default. What is no power of two is found by
        // `check`.
        let mask = match bytes {
            1 => 1,
            _ => bytes.wrapping_sub(1),
        };
        self.with(|raw| raw.dma_alignment = mask)
    }

    /// Sets what becomes of writes.
    pub fn write_cache(self, cache: WriteCache) -> Self {
        const VOLATILE: bindings::blk_features_t = bindings::RUST_CONST_BLK_FEAT_WRITE_CACHE;
        const FUA: bindings::blk_features_t = bindings::RUST_CONST_BLK_FEAT_FUA;

        self.with(|raw| {
            raw.features &= !(VOLATILE | FUA);
            raw.features |= match cache {
                WriteCache::None => 0,
                WriteCache::Volatile => VOLATILE,
                WriteCache::VolatileWithFua => VOLATILE | FUA,
            };
        })
    }

    /// Says that the disk turns.
    #[doc(alias = "BLK_FEAT_ROTATIONAL")]
    pub fn rotational(self) -> Self {
        self.feature(bindings::BLK_FEAT_ROTATIONAL)
    }

    /// Says that data must not change while it is written.
    #[doc(alias = "BLK_FEAT_STABLE_WRITES")]
    pub fn stable_writes(self) -> Self {
        self.feature(bindings::RUST_CONST_BLK_FEAT_STABLE_WRITES)
    }

    /// Says that the disk can discard sectors.
    pub fn discard(self, discard: Discard) -> Self {
        self.with(|raw| {
            raw.max_hw_discard_sectors = discard.max_sectors;
            raw.max_discard_segments = discard.max_segments;
            raw.discard_granularity = discard.granularity;
            raw.discard_alignment = discard.alignment;
        })
    }

    /// Says that the disk can erase so many sectors at once.
    pub fn secure_erase(self, max_sectors: u32) -> Self {
        self.with(|raw| raw.max_secure_erase_sectors = max_sectors)
    }

    /// Says that the disk can zero so many sectors at once.
    pub fn write_zeroes(self, max_sectors: u32) -> Self {
        self.with(|raw| raw.max_write_zeroes_sectors = max_sectors)
    }

    /// Says that sectors which were zeroed take no space, unless the request says otherwise.
    pub fn unmaps_zeroes(self) -> Self {
        self.with(|raw| raw.max_hw_wzeroes_unmap_sectors = raw.max_write_zeroes_sectors)
    }

    /// Checks what the block layer would complain of, and fits the number of segments to that of the
    /// tag set.
    ///
    /// # Errors
    ///
    /// `EINVAL`.
    pub(super) fn check(mut self, segments: u16) -> Result<bindings::queue_limits> {
        let raw = &mut self.raw;
        if segments > 0 {
            raw.max_segments = raw.max_segments.min(segments);
        }

        let logical = raw.logical_block_size.max(SECTOR_SIZE);
        let max_block = bindings::RUST_CONST_BLK_MAX_BLOCK_SIZE;
        let block_sizes = (raw.logical_block_size == 0
            || is_block_size(raw.logical_block_size, max_block))
            && (raw.physical_block_size <= logical || raw.physical_block_size.is_power_of_two());

        let page_sectors = u32::try_from(PAGE_SIZE)? / SECTOR_SIZE;
        let sizes = raw.max_segments > 0
            && raw.max_segment_size >= MIN_SEGMENT_SIZE
            && raw.max_hw_sectors >= page_sectors.max(logical / SECTOR_SIZE);

        let alignment = raw.dma_alignment.wrapping_add(1);
        let aligned = raw.dma_alignment == 0
            || (alignment.is_power_of_two() && alignment <= u32::try_from(PAGE_SIZE)?);

        let zeroes = raw.max_hw_wzeroes_unmap_sectors == 0
            || raw.max_hw_wzeroes_unmap_sectors == raw.max_write_zeroes_sectors;
        let discard = raw.max_hw_discard_sectors == 0 || raw.max_discard_segments > 0;

        if block_sizes && sizes && aligned && zeroes && discard {
            Ok(self.raw)
        } else {
            Err(EINVAL)
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

const fn is_block_size(bytes: u32, max: u32) -> bool {
    bytes >= SECTOR_SIZE && bytes <= max && bytes.is_power_of_two()
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_limits)]
mod tests {
    use super::*;

    /// Tells whether limits are fine, here and for the block layer, which must agree.
    fn fine(limits: Limits) -> bool {
        let Ok(mut raw) = limits.check(0) else {
            return false;
        };
        // SAFETY: The limits are valid for reads and writes.
        assert_eq!(unsafe { bindings::blk_validate_limits(&mut raw) }, 0);
        true
    }

    #[test]
    fn defaults_are_fine() {
        assert!(fine(Limits::new()));
    }

    #[test]
    fn block_sizes_are_powers_of_two_in_a_range() {
        assert!(fine(Limits::new().logical_block_size(4096)));
        assert!(!fine(Limits::new().logical_block_size(256)));
        assert!(!fine(Limits::new().logical_block_size(513)));
        assert!(!fine(Limits::new().logical_block_size(1 << 20)));
        assert!(fine(Limits::new().physical_block_size(1 << 20)));
        assert!(!fine(Limits::new().physical_block_size(4097)));
    }

    #[test]
    fn segments_hold_a_page() {
        assert!(fine(Limits::new().max_segment_size(MIN_SEGMENT_SIZE)));
        assert!(!fine(Limits::new().max_segment_size(MIN_SEGMENT_SIZE - 1)));
        assert!(!fine(Limits::new().max_segments(0)));
    }

    #[test]
    fn requests_hold_a_page_and_a_block() {
        assert!(fine(Limits::new().max_hw_sectors(8)));
        assert!(!fine(Limits::new().max_hw_sectors(7)));
    }

    #[test]
    fn alignment_is_a_power_of_two() {
        assert!(fine(Limits::new().dma_alignment(1)));
        assert!(fine(Limits::new().dma_alignment(4)));
        assert!(!fine(Limits::new().dma_alignment(0)));
        assert!(!fine(Limits::new().dma_alignment(3)));
        assert!(!fine(Limits::new().dma_alignment(1 << 20)));
    }

    #[test]
    fn a_discard_has_ranges() {
        assert!(fine(Limits::new().discard(Discard::new(8, 1))));
        assert!(!fine(Limits::new().discard(Discard::new(8, 0))));
    }

    #[test]
    fn the_tag_set_limits_segments() {
        let fitted = Limits::new().max_segments(100).check(64);

        assert!(fitted.is_ok_and(|raw| raw.max_segments == 64));
    }

    #[test]
    fn a_cache_can_be_taken_back() {
        let limits = Limits::new()
            .write_cache(WriteCache::VolatileWithFua)
            .write_cache(WriteCache::None);

        assert!(limits.check(0).is_ok_and(|raw| raw.features == 0));
    }
}
