// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::blk::{
    FeatureSet,
    Offered, //
};

fn accepted(features: &[Feature]) -> Accepted {
    let set = FeatureSet::of(features).with(Feature::VERSION_1);
    Offered::new(set).check(set).unwrap()
}

fn config(layout: ConfigLayout, features: &[Feature]) -> Config {
    Config::parse(&layout.to_bytes(), accepted(features)).unwrap()
}

fn number(value: u32) -> NonZeroU32 {
    NonZeroU32::new(value).unwrap()
}

#[test]
fn fields_are_where_the_c_header_has_them() {
    for (offset, expected) in [
        (offset_of!(ConfigLayout, size_max), 8),
        (offset_of!(ConfigLayout, cylinders), 16),
        (offset_of!(ConfigLayout, blk_size), 20),
        (offset_of!(ConfigLayout, opt_io_size), 28),
        (offset_of!(ConfigLayout, writeback), 32),
        (offset_of!(ConfigLayout, num_queues), 34),
        (offset_of!(ConfigLayout, max_discard_sectors), 36),
        (offset_of!(ConfigLayout, write_zeroes_may_unmap), 56),
        (offset_of!(ConfigLayout, max_secure_erase_sectors), 60),
        (offset_of!(ConfigLayout, zone_sectors), 72),
        (offset_of!(ConfigLayout, model), 92),
    ] {
        assert_eq!(offset, expected);
    }
}

#[test]
fn no_more_is_needed_than_exists() {
    for (features, length) in [
        (&[][..], 8),
        (&[Feature::SIZE_MAX], 12),
        (&[Feature::SEG_MAX], 16),
        (&[Feature::GEOMETRY], 20),
        (&[Feature::BLK_SIZE, Feature::SEG_MAX], 24),
        (&[Feature::TOPOLOGY], 32),
        (&[Feature::CONFIG_WCE], 33),
        (&[Feature::MQ], 36),
        (&[Feature::DISCARD], 48),
        (&[Feature::WRITE_ZEROES], 60),
        (&[Feature::SECURE_ERASE], 72),
        (&[Feature::ZONED], 96),
    ] {
        let accepted = accepted(features);
        let bytes = [0; 96];

        assert_eq!(Config::length(accepted), length);
        assert!(Config::parse(&bytes[..length], accepted).is_ok());
        assert_eq!(
            Config::parse(&bytes[..length - 1], accepted),
            Err(ConfigError::Truncated(Truncated {
                needed: length,
                available: length - 1
            }))
        );
    }
}

#[test]
fn without_features_only_the_capacity_is_said() {
    let config = Config::parse(&[0; 8], accepted(&[])).unwrap();

    assert_eq!(config.capacity().map(Capacity::sectors), Ok(0));
    assert_eq!(config.size_max(), Ok(None));
    assert_eq!(config.seg_max(), Ok(None));
    assert_eq!(config.geometry(), None);
    assert_eq!(config.block_size(), Ok(BlockSize::DEFAULT));
    assert_eq!(config.topology(), Ok(None));
    assert_eq!(config.cache_mode(), Ok(CacheMode::WriteThrough));
    assert_eq!(config.queues(), Ok(NonZeroU16::MIN));
    assert_eq!(config.discard(), Ok(None));
    assert_eq!(config.write_zeroes(), Ok(None));
    assert!(!config.write_zeroes_may_unmap());
    assert_eq!(config.secure_erase(), Ok(None));
    assert_eq!(config.zones(), Ok(Zones::None));
}

#[test]
fn a_capacity_can_be_counted_in_bytes() {
    let with = |sectors: u64| {
        let layout = ConfigLayout {
            capacity: sectors.into(),
            ..ConfigLayout::default()
        };
        config(layout, &[]).capacity()
    };
    let most = Capacity::MAX.sectors();

    assert_eq!(with(3).map(Capacity::bytes), Ok(1536));
    assert_eq!(with(most).map(Capacity::bytes), Ok(i64::MAX as u64 & !511));
    assert_eq!(with(most + 1), Err(ConfigError::Capacity(most + 1)));
    assert_eq!(with(u64::MAX), Err(ConfigError::Capacity(u64::MAX)));
}

#[test]
fn segments_and_their_bytes_are_limited() {
    let with = |size: u32, segments: u32| {
        let layout = ConfigLayout {
            size_max: size.into(),
            seg_max: segments.into(),
            ..ConfigLayout::default()
        };
        let config = config(layout, &[Feature::SIZE_MAX, Feature::SEG_MAX]);
        (config.size_max(), config.seg_max())
    };

    assert_eq!(
        with(4096, 126),
        (Ok(Some(number(4096))), Ok(Some(number(126))))
    );
    assert_eq!(
        with(0, 0),
        (Err(ConfigError::SizeMax), Err(ConfigError::SegMax))
    );
}

#[test]
fn a_geometry_is_taken_as_it_is() {
    let layout = ConfigLayout {
        cylinders: 1000.into(),
        heads: 16,
        sectors: 63,
        ..ConfigLayout::default()
    };

    assert_eq!(
        config(layout, &[Feature::GEOMETRY]).geometry(),
        Some(Geometry {
            cylinders: 1000,
            heads: 16,
            sectors: 63
        })
    );
}

#[test]
fn blocks_are_a_power_of_two() {
    let with = |size: u32| {
        let layout = ConfigLayout {
            blk_size: size.into(),
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::BLK_SIZE]).block_size()
    };

    for size in [512, 1024, 4096, 65536] {
        assert_eq!(with(size).map(BlockSize::get), Ok(size));
    }
    for size in [0, 1, 256, 513, 4095, 131_072, u32::MAX] {
        assert_eq!(with(size), Err(ConfigError::BlockSize(size)));
    }
}

fn topology(exponent: u8, offset: u8, min: u16, opt: u32) -> Result<Topology, ConfigError> {
    let layout = ConfigLayout {
        blk_size: 4096.into(),
        physical_block_exp: exponent,
        alignment_offset: offset,
        min_io_size: min.into(),
        opt_io_size: opt.into(),
        ..ConfigLayout::default()
    };
    let config = config(layout, &[Feature::BLK_SIZE, Feature::TOPOLOGY]);
    config.topology().map(Option::unwrap)
}

#[test]
fn a_topology_is_in_bytes() {
    assert_eq!(
        topology(3, 1, 2, 256),
        Ok(Topology {
            physical_block: 32768,
            alignment_offset: 4096,
            min_io: Some(number(8192)),
            opt_io: Some(number(1 << 20)),
        })
    );
    assert_eq!(
        topology(0, 0, 0, 0),
        Ok(Topology {
            physical_block: 4096,
            alignment_offset: 0,
            min_io: None,
            opt_io: None,
        })
    );
}

#[test]
fn a_topology_can_be_counted() {
    // 4096 << 19 is 2^31.
    assert!(topology(19, 0, 0, 0).is_ok());
    for exponent in [20, 31, 32, 255] {
        assert_eq!(
            topology(exponent, 0, 0, 0),
            Err(ConfigError::PhysicalBlock(exponent))
        );
    }
    assert_eq!(topology(3, 8, 0, 0), Err(ConfigError::Alignment(8)));
    assert_eq!(
        topology(0, 0, 0, 1 << 20),
        Err(ConfigError::IoSize(1 << 20))
    );
    assert!(topology(0, 0, 0xffff, (1 << 20) - 1).is_ok());
}

#[test]
fn the_cache_mode_follows_from_features() {
    let with = |features: &[Feature], writeback| {
        let layout = ConfigLayout {
            writeback,
            ..ConfigLayout::default()
        };
        config(layout, features).cache_mode()
    };
    let both = &[Feature::FLUSH, Feature::CONFIG_WCE];

    assert_eq!(with(&[], 1), Ok(CacheMode::WriteThrough));
    assert_eq!(with(&[Feature::FLUSH], 0), Ok(CacheMode::WriteBack));
    assert_eq!(with(both, 0), Ok(CacheMode::WriteThrough));
    assert_eq!(with(both, 1), Ok(CacheMode::WriteBack));
    assert_eq!(with(&[Feature::CONFIG_WCE], 0), Ok(CacheMode::WriteThrough));
    // The driver of Linux runs into a BUG_ON here.
    assert_eq!(with(both, 2), Err(ConfigError::CacheMode(2)));
    assert_eq!(CacheMode::WriteBack.byte(), 1);
}

#[test]
fn there_is_a_queue() {
    let with = |queues: u16| {
        let layout = ConfigLayout {
            num_queues: queues.into(),
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::MQ]).queues()
    };

    assert_eq!(with(3).map(NonZeroU16::get), Ok(3));
    assert_eq!(with(0), Err(ConfigError::Queues));
}

#[test]
fn segments_to_discard_zero_and_erase_are_limited() {
    let layout = ConfigLayout {
        max_discard_sectors: 1.into(),
        max_discard_seg: 2.into(),
        discard_sector_alignment: 3.into(),
        max_write_zeroes_sectors: 4.into(),
        max_write_zeroes_seg: 5.into(),
        write_zeroes_may_unmap: 6,
        max_secure_erase_sectors: 7.into(),
        max_secure_erase_seg: 8.into(),
        ..ConfigLayout::default()
    };
    let features = &[
        Feature::DISCARD,
        Feature::WRITE_ZEROES,
        Feature::SECURE_ERASE,
    ];
    let limits = |sectors, segments, alignment| {
        Ok(Some(SegmentLimits {
            sectors: number(sectors),
            segments: number(segments),
            alignment: NonZeroU32::new(alignment),
        }))
    };
    let said = config(layout, features);
    let zero = config(ConfigLayout::default(), features);

    assert_eq!(said.discard(), limits(1, 2, 3));
    assert_eq!(said.write_zeroes(), limits(4, 5, 0));
    assert!(said.write_zeroes_may_unmap());
    assert_eq!(said.secure_erase(), limits(7, 8, 0));
    assert_eq!(zero.discard(), Err(ConfigError::Segments));
    assert_eq!(zero.write_zeroes(), Err(ConfigError::Segments));
    assert!(!zero.write_zeroes_may_unmap());
    assert_eq!(zero.secure_erase(), Err(ConfigError::Segments));
}

#[test]
fn zones_are_of_a_model() {
    let with = |model, sectors: u32, granularity: u32| {
        let layout = ConfigLayout {
            zone_sectors: sectors.into(),
            max_open_zones: 5.into(),
            write_granularity: granularity.into(),
            model,
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::ZONED]).zones()
    };
    let limits = ZoneLimits {
        sectors: number(1 << 19),
        open: Some(number(5)),
        active: None,
        append: None,
        granularity: number(4096),
    };

    assert_eq!(with(0, 0, 0), Ok(Zones::None));
    assert_eq!(with(1, 1 << 19, 4096), Ok(Zones::HostManaged(limits)));
    assert_eq!(with(2, 1 << 19, 4096), Ok(Zones::HostAware(limits)));
    assert_eq!(with(3, 1 << 19, 4096), Err(ConfigError::ZoneModel(3)));
    assert_eq!(with(1, 0, 4096), Err(ConfigError::Zones));
    assert_eq!(with(1, 1 << 19, 0), Err(ConfigError::Zones));
    assert_eq!(with(1, 1 << 19, 4000), Err(ConfigError::Zones));
}
