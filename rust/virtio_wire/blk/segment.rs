// SPDX-License-Identifier: GPL-2.0

//! Ranges of sectors, and requests that have several.
//!
//! Virtio 1.3, 5.2.6.

use super::{
    config::Capacity,
    request::RequestError,
    SECTOR_SIZE, //
};
use crate::{
    int::{
        Le32,
        Le64, //
    },
    wire::wire_struct, //
};

/// A range of sectors that a device has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    sector: u64,
    sectors: u64,
}

impl Range {
    /// Takes a range.
    ///
    /// # Errors
    ///
    /// It is not all below the capacity.
    pub const fn new(sector: u64, sectors: u64, capacity: Capacity) -> Result<Self, RequestError> {
        match sector.checked_add(sectors) {
            Some(end) if end <= capacity.sectors() => Ok(Self { sector, sectors }),
            _ => Err(RequestError::Range { sector, sectors }),
        }
    }

    /// Takes a range of some bytes.
    ///
    /// # Errors
    ///
    /// It is not all below the capacity, or not of whole sectors.
    pub fn of_bytes(sector: u64, bytes: u64, capacity: Capacity) -> Result<Self, RequestError> {
        let size = u64::from(SECTOR_SIZE);
        match (bytes.checked_div(size), bytes.checked_rem(size)) {
            (Some(sectors), Some(0)) => Self::new(sector, sectors, capacity),
            _ => Err(RequestError::Length(bytes)),
        }
    }

    /// Returns the first sector.
    pub const fn sector(self) -> u64 {
        self.sector
    }

    /// Returns the number of sectors.
    pub const fn sectors(self) -> u64 {
        self.sectors
    }

    /// Returns the offset of the first sector in bytes. A [`Capacity`] does not let it overflow.
    pub fn offset(self) -> u64 {
        self.sector.saturating_mul(SECTOR_SIZE.into())
    }

    /// Returns the length in bytes. A [`Capacity`] does not let it overflow.
    pub fn length(self) -> u64 {
        self.sectors.saturating_mul(SECTOR_SIZE.into())
    }
}

wire_struct! {
    /// A range of sectors to be discarded, zeroed or erased.
    #[doc(alias = "virtio_blk_discard_write_zeroes")]
    pub struct SegmentLayout[16] {
        /// The first sector.
        pub sector: Le64,
        /// The number of sectors.
        pub num_sectors: Le32,
        /// See [`UNMAP`].
        pub flags: Le32,
    }
}

/// The flag that sectors to be zeroed may be discarded.
#[doc(alias = "VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP")]
pub const UNMAP: u32 = 1;

/// Whether sectors to be zeroed may be discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmap {
    /// They have to stay allocated.
    Keep,
    /// They may be discarded.
    May,
}

/// A range of sectors to be discarded, zeroed or erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The sectors.
    pub range: Range,
    /// Whether they may be discarded when they are zeroed.
    pub unmap: Unmap,
}

/// What segments may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentRules {
    pub(super) capacity: Capacity,
    pub(super) max_sectors: u32,
    pub(super) max_segments: u32,
    /// Whether the flag may be set.
    pub(super) unmap: bool,
}

/// The segments of a request, all of which were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments<'a> {
    bytes: &'a [u8],
    rules: SegmentRules,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8], rules: SegmentRules) -> Result<Self, RequestError> {
        rules.check_length(bytes.len())?;
        let this = Self { bytes, rules };
        // What the device does not know comes before what is wrong.
        for layout in this.layouts() {
            rules.check_flags(&layout)?;
        }
        for layout in this.layouts() {
            rules.check(&layout)?;
        }
        Ok(this)
    }

    fn layouts(self) -> impl Iterator<Item = SegmentLayout> + 'a {
        self.bytes
            .chunks_exact(SegmentLayout::SIZE)
            .filter_map(|bytes| SegmentLayout::parse(bytes).ok())
    }

    /// Goes through the segments.
    pub fn iter(self) -> impl Iterator<Item = Segment> + 'a {
        let rules = self.rules;
        self.layouts()
            .filter_map(move |layout| rules.check(&layout).ok())
    }
}

impl SegmentRules {
    /// Checks the length of all segments.
    pub(super) fn check_length(&self, length: usize) -> Result<(), RequestError> {
        let number = length.checked_div(SegmentLayout::SIZE).unwrap_or(0);
        if number == 0 || length.checked_rem(SegmentLayout::SIZE) != Some(0) {
            return Err(RequestError::SegmentsLength(length));
        }
        match u32::try_from(number) {
            Ok(number) if number <= self.max_segments => Ok(()),
            _ => Err(RequestError::TooManySegments(number)),
        }
    }

    fn check_flags(&self, layout: &SegmentLayout) -> Result<(), RequestError> {
        let flags = layout.flags.get();
        let known = if self.unmap { UNMAP } else { 0 };
        if flags & !known != 0 {
            return Err(RequestError::Flags(flags));
        }
        Ok(())
    }

    fn check(&self, layout: &SegmentLayout) -> Result<Segment, RequestError> {
        let sectors = layout.num_sectors.get();
        if sectors > self.max_sectors {
            return Err(RequestError::SegmentTooLong(sectors));
        }
        let range = Range::new(layout.sector.get(), sectors.into(), self.capacity)?;
        let unmap = if layout.flags.get() & UNMAP != 0 {
            Unmap::May
        } else {
            Unmap::Keep
        };
        Ok(Segment { range, unmap })
    }
}

impl SegmentLayout {
    /// Makes the layout of a segment.
    pub fn new(sector: u64, sectors: u32, unmap: Unmap) -> Self {
        let flags = match unmap {
            Unmap::Keep => 0,
            Unmap::May => UNMAP,
        };
        Self {
            sector: sector.into(),
            num_sectors: sectors.into(),
            flags: flags.into(),
        }
    }
}
