// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::blk::{
    config::{
        Capacity,
        Config,
        ConfigLayout,
        Zones, //
    },
    request::{
        Access,
        Lengths,
        Request,
        RequestHeader,
        RequestRules, //
    },
    Accepted,
    Blk,
    Feature,
    Lifetime,
    LifetimeLayout,
    SegmentLayout,
    Status, //
};

const MOST: u64 = i64::MAX as u64 >> 9;

/// Configurations, of which many are valid.
fn layouts() -> BoxedStrategy<ConfigLayout> {
    let any_bytes = prop::collection::vec(any::<u8>(), ConfigLayout::SIZE)
        .prop_map(|bytes| ConfigLayout::parse(&bytes).unwrap());
    let valid = (
        prop_oneof![0..2000u64, Just(MOST), any::<u64>()],
        prop::sample::select(std::vec![512u32, 4096, 65536, 0, 4095]),
        (
            0..24u8,
            0..9u8,
            any::<u16>(),
            prop_oneof![0..5000u32, any::<u32>()],
        ),
        prop_oneof![1..300u32, Just(u32::MAX)],
        0..5u32,
        0..4u8,
    )
        .prop_map(
            |(capacity, blk_size, topology, sectors, segments, small)| ConfigLayout {
                capacity: capacity.into(),
                blk_size: blk_size.into(),
                physical_block_exp: topology.0,
                alignment_offset: topology.1,
                min_io_size: topology.2.into(),
                opt_io_size: topology.3.into(),
                writeback: small,
                num_queues: u16::from(small).into(),
                max_discard_sectors: sectors.into(),
                max_discard_seg: segments.into(),
                max_write_zeroes_sectors: sectors.into(),
                max_write_zeroes_seg: segments.into(),
                max_secure_erase_sectors: sectors.into(),
                max_secure_erase_seg: segments.into(),
                zone_sectors: sectors.into(),
                write_granularity: 512.into(),
                model: small,
                ..ConfigLayout::default()
            },
        );
    prop_oneof![any_bytes, valid.clone(), valid].boxed()
}

fn access() -> BoxedStrategy<Access> {
    prop_oneof![Just(Access::ReadWrite), Just(Access::ReadOnly)].boxed()
}

/// Whether a request can be served, and for which direction.
fn is_acceptable(
    accepted: Accepted,
    layout: &ConfigLayout,
    access: Access,
    header: &RequestHeader,
    data: Lengths,
) -> bool {
    let has = |feature| accepted.has(feature);
    let readable = u128::from(data.readable);
    let writable = u128::from(data.writable);
    let end = |bytes: u128| u128::from(header.sector.get()) + bytes / 512;
    let fits = |bytes: u128| bytes % 512 == 0 && end(bytes) <= u128::from(layout.capacity.get());
    let writes = access == Access::ReadWrite;
    let segments = |most: u32| {
        writes
            && writable == 0
            && readable % 16 == 0
            && (1..=u128::from(most)).contains(&(readable / 16))
    };
    match header.kind.get() {
        0 => readable == 0 && fits(writable),
        1 => writes && writable == 0 && fits(readable),
        4 => has(Feature::FLUSH) && header.sector.get() == 0,
        8 => readable == 0 && writable == 20,
        10 => has(Feature::LIFETIME) && readable == 0 && writable == 6,
        11 => has(Feature::DISCARD) && segments(layout.max_discard_seg.get()),
        13 => has(Feature::WRITE_ZEROES) && segments(layout.max_write_zeroes_seg.get()),
        14 => has(Feature::SECURE_ERASE) && segments(layout.max_secure_erase_seg.get()),
        _ => false,
    }
}

proptest! {
    #![proptest_config(config(8 * CASES))]

    #[test]
    fn any_configuration_is_read_without_harm(
        accepted in accepted::<Blk>(),
        layout in layouts(),
        length in 0..=ConfigLayout::SIZE,
    ) {
        let bytes = layout.to_bytes();
        let needed = Config::length(accepted);
        prop_assert_eq!(Config::parse(&bytes[..length], accepted).is_ok(), length >= needed);

        let config = Config::parse(&bytes, accepted).unwrap();
        prop_assert_eq!(Config::parse(&bytes[..needed], accepted), Ok(config));
        let capacity = layout.capacity.get();
        prop_assert_eq!(
            config.capacity().ok().map(Capacity::sectors),
            Some(capacity).filter(|sectors| *sectors <= MOST)
        );
        if let Ok(capacity) = config.capacity() {
            prop_assert_eq!(u128::from(capacity.bytes()), u128::from(capacity.sectors()) * 512);
        }
        if let Ok(size) = config.block_size() {
            prop_assert!(size.get().is_power_of_two() && (512..=65536).contains(&size.get()));
        }
        if let Ok(Some(topology)) = config.topology() {
            let block = u128::from(config.block_size().unwrap().get());
            let physical = block << layout.physical_block_exp;
            prop_assert_eq!(u128::from(topology.physical_block), physical);
            prop_assert!(topology.alignment_offset < topology.physical_block);
            prop_assert_eq!(
                topology.opt_io.map_or(0, |io| u128::from(io.get())),
                block * u128::from(layout.opt_io_size.get())
            );
        }
        if let Ok(Zones::HostManaged(limits) | Zones::HostAware(limits)) = config.zones() {
            prop_assert_eq!(limits.granularity.get() % 512, 0);
        }
        prop_assert!(config.cache_mode().is_ok() || layout.writeback > 1);
        let _ = (config.size_max(), config.seg_max(), config.geometry(), config.queues());
        let _ = (config.discard(), config.write_zeroes(), config.secure_erase());
    }

    #[test]
    fn requests_are_acceptable(
        accepted in accepted::<Blk>(),
        layout in layouts(),
        access in access(),
        kind in prop_oneof![0..30u32, any::<u32>()],
        sector in prop_oneof![Just(0), 0..2000u64, any::<u64>()],
        lengths in prop::array::uniform2(prop_oneof![
            Just(0),
            Just(20),
            Just(6),
            (0..8u64).prop_map(|n| n * 16),
            (0..4000u64).prop_map(|n| n * 512),
            any::<u64>(),
        ]),
    ) {
        let config = Config::parse(&layout.to_bytes(), accepted).unwrap();
        let Ok(rules) = RequestRules::new(&config, access) else {
            return Ok(());
        };
        let header = RequestHeader {
            kind: kind.into(),
            ioprio: 7.into(),
            sector: sector.into(),
        };
        let data = Lengths { readable: lengths[0], writable: lengths[1] };
        let checked = rules.check(&header, data);

        prop_assert_eq!(
            checked.is_ok(),
            is_acceptable(accepted, &layout, access, &header, data),
            "{:?}", checked
        );
        match checked {
            Ok(Request::Read(range) | Request::Write(range)) => {
                let end = u128::from(range.offset()) + u128::from(range.length());
                prop_assert!(end <= u128::from(layout.capacity.get()) * 512);
                prop_assert_eq!(range.length(), data.readable.max(data.writable));
            }
            Ok(_) => {}
            Err(error) => prop_assert!(error.status() != Status::Ok),
        }
    }

    #[test]
    fn segments_are_acceptable(
        layout in layouts(),
        segments in prop::collection::vec(
            (
                prop_oneof![0..2000u64, any::<u64>()],
                prop_oneof![0..400u32, any::<u32>()],
                prop_oneof![Just(0), 0..3u32, any::<u32>()],
            ),
            0..6,
        ),
        cut in 0..16usize,
        kind in 0..3u8,
    ) {
        use crate::blk::request::SegmentKind;
        let set = crate::blk::FeatureSet::from_bits(u128::MAX);
        let accepted = crate::blk::Offered::new(set).negotiate(set).unwrap();
        let config = Config::parse(&layout.to_bytes(), accepted).unwrap();
        let Ok(rules) = RequestRules::new(&config, Access::ReadWrite) else {
            return Ok(());
        };
        let mut bytes: std::vec::Vec<u8> = segments
            .iter()
            .flat_map(|(sector, sectors, flags)| {
                SegmentLayout {
                    sector: (*sector).into(),
                    num_sectors: (*sectors).into(),
                    flags: (*flags).into(),
                }
                .to_bytes()
            })
            .collect();
        if cut < 4 {
            bytes.truncate(bytes.len().saturating_sub(cut));
        }
        let (kind, most, longest, flags) = match kind {
            0 => (SegmentKind::Discard, layout.max_discard_seg, layout.max_discard_sectors, 0),
            1 => (
                SegmentKind::WriteZeroes,
                layout.max_write_zeroes_seg,
                layout.max_write_zeroes_sectors,
                1,
            ),
            _ => (
                SegmentKind::SecureErase,
                layout.max_secure_erase_seg,
                layout.max_secure_erase_sectors,
                0,
            ),
        };
        let acceptable = bytes.len() == segments.len() * 16
            && (1..=u64::from(most.get())).contains(&(segments.len() as u64))
            && segments.iter().all(|(sector, sectors, flag)| {
                *sectors <= longest.get()
                    && *flag <= flags
                    && u128::from(*sector) + u128::from(*sectors)
                        <= u128::from(layout.capacity.get())
            });
        let checked = rules.segments(kind, &bytes);

        prop_assert_eq!(checked.is_ok(), acceptable, "{:?}", checked);
        if let Ok(checked) = checked {
            prop_assert_eq!(checked.iter().count(), segments.len());
        }
    }

    #[test]
    fn a_lifetime_comes_back(bytes in prop::array::uniform6(prop_oneof![0..13u8, any::<u8>()])) {
        let layout = LifetimeLayout::from_bytes(&bytes);
        if let Ok(lifetime) = Lifetime::new(&layout) {
            prop_assert_eq!(lifetime.layout(), layout);
        }
    }

    #[test]
    fn a_short_read_is_not_done(byte in any::<u8>(), used in any::<u32>(), expected in any::<u32>()) {
        let done = Status::of_read(byte, used, expected) == Ok(Status::Ok);

        prop_assert_eq!(done, byte == 0 && used >= expected);
    }
}
