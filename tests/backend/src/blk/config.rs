// SPDX-License-Identifier: GPL-2.0

//! What a disk says of itself.

use super::{flight::Io, overlay::Overlay, storage::Storage};
use crate::log::warning;
use anyhow::{Context, Result, ensure};
use std::{
    fmt,
    path::{Path, PathBuf},
};
use virtio_wire::blk::{ConfigLayout, Feature, FeatureSet};

/// Where the sectors of a disk are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Medium {
    /// In a file.
    File(PathBuf),
    /// In a file that is not written, as far as they are not in another one.
    Overlay {
        /// The file that is not written.
        base: PathBuf,
        /// Where what is written goes.
        overlay: PathBuf,
    },
    /// In so many bytes of memory.
    Ram(u64),
    /// Nowhere, in so many bytes.
    Null(u64),
}

impl fmt::Display for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Overlay { base, overlay } => {
                write!(f, "{} over {}", overlay.display(), base.display())
            }
            Self::Ram(bytes) => write!(f, "ram={bytes}"),
            Self::Null(bytes) => write!(f, "null={bytes}"),
        }
    }
}

/// A disk to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where its sectors are.
    pub medium: Medium,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether its cache writes back at first.
    pub write_back: bool,
    /// Its name.
    pub serial: String,
    /// The number of queues.
    pub queues: u16,
    /// The number of bytes in a block.
    pub block_size: u32,
    /// The logarithm of the number of blocks in a physical one.
    pub physical_exponent: u8,
    /// The least and the best that should be read or written, in blocks.
    pub io_size: (u16, u32),
    /// The most segments in a request.
    pub segments: u32,
    /// The most bytes in a segment, if that is limited.
    pub segment_bytes: Option<u32>,
    /// How files are read and written.
    pub io: Io,
    /// Features that are not offered.
    pub without: FeatureSet,
}

impl Options {
    /// A disk with every feature.
    pub fn new(medium: Medium) -> Self {
        Self {
            medium,
            read_only: false,
            write_back: true,
            serial: "rust-virtio".to_owned(),
            queues: 8,
            block_size: 512,
            physical_exponent: 3,
            io_size: (8, 256),
            segments: 126,
            segment_bytes: None,
            io: Io::Uring,
            without: FeatureSet::empty(),
        }
    }

    /// Opens what it is stored in, and returns the number of bytes that can be used.
    pub(super) fn open(&self) -> Result<(Storage, u64)> {
        let (storage, bytes) = match &self.medium {
            Medium::File(path) => self.open_file(path)?,
            Medium::Overlay { base, overlay } => {
                let opened = Overlay::open(base, overlay, !self.read_only);
                let opened = opened.with_context(|| format!("opening {}", self.medium))?;
                let length = opened.length();
                (Storage::Overlay(Box::new(opened)), length)
            }
            Medium::Ram(bytes) => (Storage::ram(*bytes)?, *bytes),
            Medium::Null(bytes) => (Storage::Null, *bytes),
        };
        Ok((storage, self.usable(bytes)?))
    }

    fn open_file(&self, path: &Path) -> Result<(Storage, u64)> {
        let name = path.display();
        // Else a disk could be made of a directory, to be read only.
        ensure!(!path.is_dir(), "{name} is a directory");
        ensure!(
            path.try_exists().unwrap_or(true),
            "there is no {name}; `truncate -s 1G {name}` makes one"
        );
        Storage::file(path, !self.read_only).with_context(|| {
            let how = if self.read_only { "read" } else { "written" };
            format!("opening {name} to be {how}")
        })
    }

    /// Returns how many of so many bytes are in whole blocks.
    fn usable(&self, bytes: u64) -> Result<u64> {
        let block = u64::from(self.block_size);
        ensure!(
            block >= 512 && block.is_power_of_two(),
            "block-size is {block}, and has to be 512, or 1024, or 2048, ..."
        );
        let beyond = bytes % block;
        ensure!(
            bytes >= block,
            "{} has {bytes} bytes, which is less than a block of {block}: make it larger",
            self.medium
        );
        if beyond > 0 {
            warning!(
                "{}: the last {beyond} of {bytes} bytes cannot be used, as blocks have {block}",
                self.medium
            );
        }
        Ok(bytes - beyond)
    }

    /// Returns the configuration space, and the features on offer.
    pub(super) fn describe(&self, sectors: u64) -> (ConfigLayout, FeatureSet) {
        const MOST_SECTORS: u32 = 0x1_0000;
        let mut offered = FeatureSet::of(&[
            Feature::VERSION_1,
            Feature::INDIRECT_DESC,
            Feature::EVENT_IDX,
            Feature::RING_PACKED,
            Feature::IN_ORDER,
            Feature::SEG_MAX,
            Feature::GEOMETRY,
            Feature::BLK_SIZE,
            Feature::FLUSH,
            Feature::TOPOLOGY,
            Feature::CONFIG_WCE,
            Feature::MQ,
            Feature::DISCARD,
            Feature::WRITE_ZEROES,
            Feature::LIFETIME,
            Feature::SECURE_ERASE,
        ]);
        if self.segment_bytes.is_some() {
            offered = offered.with(Feature::SIZE_MAX);
        }
        if self.read_only {
            offered = offered.with(Feature::RO);
        }
        let cylinders = (sectors / (16 * 63)).min(0xffff);
        let layout = ConfigLayout {
            capacity: sectors.into(),
            size_max: self.segment_bytes.unwrap_or(0).into(),
            seg_max: self.segments.into(),
            cylinders: u16::try_from(cylinders).unwrap_or(u16::MAX).into(),
            heads: 16,
            sectors: 63,
            blk_size: self.block_size.into(),
            physical_block_exp: self.physical_exponent,
            min_io_size: self.io_size.0.into(),
            opt_io_size: self.io_size.1.into(),
            writeback: self.write_back.into(),
            num_queues: self.queues.into(),
            max_discard_sectors: MOST_SECTORS.into(),
            max_discard_seg: 16.into(),
            discard_sector_alignment: (self.block_size / 512).into(),
            max_write_zeroes_sectors: MOST_SECTORS.into(),
            max_write_zeroes_seg: 16.into(),
            write_zeroes_may_unmap: 1,
            max_secure_erase_sectors: MOST_SECTORS.into(),
            max_secure_erase_seg: 16.into(),
            secure_erase_sector_alignment: (self.block_size / 512).into(),
            ..ConfigLayout::default()
        };
        (layout, offered.difference(self.without))
    }
}

/// Returns where a field is in the configuration space, and how many bytes it has.
pub fn field(name: &str) -> Option<(usize, usize)> {
    macro_rules! fields {
        ($($field:ident: $length:literal,)*) => {
            match name {
                $(stringify!($field) => Some((std::mem::offset_of!(ConfigLayout, $field), $length)),)*
                _ => None,
            }
        };
    }
    fields! {
        capacity: 8,
        size_max: 4,
        seg_max: 4,
        cylinders: 2,
        heads: 1,
        sectors: 1,
        blk_size: 4,
        physical_block_exp: 1,
        alignment_offset: 1,
        min_io_size: 2,
        opt_io_size: 4,
        writeback: 1,
        num_queues: 2,
        max_discard_sectors: 4,
        max_discard_seg: 4,
        discard_sector_alignment: 4,
        max_write_zeroes_sectors: 4,
        max_write_zeroes_seg: 4,
        write_zeroes_may_unmap: 1,
        max_secure_erase_sectors: 4,
        max_secure_erase_seg: 4,
        secure_erase_sector_alignment: 4,
        zone_sectors: 4,
        max_open_zones: 4,
        max_active_zones: 4,
        max_append_sectors: 4,
        write_granularity: 4,
        model: 1,
    }
}
