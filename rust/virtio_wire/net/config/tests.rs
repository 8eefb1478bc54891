// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::net::{
    FeatureSet,
    Offered, //
};

fn accepted(features: &[Feature]) -> Accepted {
    let set =
        FeatureSet::of(features).union(FeatureSet::of(&[Feature::VERSION_1, Feature::CTRL_VQ]));
    Offered::new(set).check(set).unwrap()
}

fn config(layout: ConfigLayout, features: &[Feature]) -> Config {
    Config::parse(&layout.to_bytes(), accepted(features)).unwrap()
}

const STATION: [u8; 6] = [2, 0, 0, 0, 0, 1];

#[test]
fn fields_are_where_the_c_header_has_them() {
    assert_eq!(offset_of!(ConfigLayout, status), 6);
    assert_eq!(offset_of!(ConfigLayout, max_virtqueue_pairs), 8);
    assert_eq!(offset_of!(ConfigLayout, mtu), 10);
    assert_eq!(offset_of!(ConfigLayout, speed), 12);
    assert_eq!(offset_of!(ConfigLayout, duplex), 16);
    assert_eq!(offset_of!(ConfigLayout, rss_max_key_size), 17);
    assert_eq!(
        offset_of!(ConfigLayout, rss_max_indirection_table_length),
        18
    );
    assert_eq!(offset_of!(ConfigLayout, supported_hash_types), 20);
    assert_eq!(offset_of!(ConfigLayout, supported_tunnel_types), 24);
}

#[test]
fn no_more_is_needed_than_exists() {
    for (features, length) in [
        (&[][..], 0),
        (&[Feature::MAC], 6),
        (&[Feature::STATUS], 8),
        (&[Feature::MQ], 10),
        (&[Feature::MTU, Feature::MAC], 12),
        (&[Feature::SPEED_DUPLEX], 17),
        (&[Feature::RSS], 24),
        (&[Feature::RSS, Feature::HASH_TUNNEL], 28),
    ] {
        let accepted = accepted(features);
        let bytes = [0; 28];

        assert_eq!(Config::length(accepted), length);
        assert!(Config::parse(&bytes[..length], accepted).is_ok());
        if length > 0 {
            assert_eq!(
                Config::parse(&bytes[..length - 1], accepted),
                Err(ConfigError::Truncated(Truncated {
                    needed: length,
                    available: length - 1
                }))
            );
        }
    }
}

#[test]
fn more_than_exists_is_ignored() {
    let accepted = accepted(&[Feature::MAC]);
    let long = Config::parse(&[2; 100], accepted).unwrap();
    let short = Config::parse(&[2; 6], accepted).unwrap();

    assert_eq!(long, short);
}

#[test]
fn without_features_nothing_is_said() {
    let bytes = [0xff; ConfigLayout::SIZE];
    let config = Config::parse(&bytes, accepted(&[])).unwrap();

    assert_eq!(config.mac(), Ok(None));
    assert_eq!(config.link(), Link::Up);
    assert!(!config.announce());
    assert_eq!(config.queue_pairs(), Ok(QueuePairs::ONE));
    assert_eq!(config.mtu(), Ok(None));
    assert_eq!(config.speed(), Speed::Unknown);
    assert_eq!(config.duplex(), Duplex::Unknown);
    assert_eq!(config.hash(), Ok(None));
    assert_eq!(config.table_length(), Ok(None));
}

#[test]
fn the_mac_address_is_that_of_a_station() {
    let with = |mac| {
        let layout = ConfigLayout {
            mac,
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::MAC]).mac()
    };

    assert_eq!(with(STATION), Ok(Some(MacAddress::new(STATION).unwrap())));
    assert_eq!(with([0; 6]), Err(ConfigError::Mac(MacError::Zero)));
    assert_eq!(with([0xff; 6]), Err(ConfigError::Mac(MacError::Multicast)));
}

#[test]
fn the_link_is_up_or_down() {
    let with = |status: u16| {
        let layout = ConfigLayout {
            status: status.into(),
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::STATUS]).link()
    };

    assert_eq!(with(status::LINK_UP), Link::Up);
    assert_eq!(with(status::ANNOUNCE), Link::Down);
    assert_eq!(with(0xfffc), Link::Down);
}

#[test]
fn an_announcement_is_wanted_only_if_it_can_be_acknowledged() {
    let layout = ConfigLayout {
        status: status::ANNOUNCE.into(),
        ..ConfigLayout::default()
    };

    assert!(config(layout, &[Feature::STATUS, Feature::GUEST_ANNOUNCE]).announce());
    // The driver of Linux runs into a BUG_ON here.
    assert!(!config(layout, &[Feature::STATUS]).announce());
}

#[test]
fn pairs_of_queues_are_limited() {
    let with = |pairs: u16| {
        let layout = ConfigLayout {
            max_virtqueue_pairs: pairs.into(),
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::MQ]).queue_pairs()
    };

    assert_eq!(with(1).map(QueuePairs::get), Ok(1));
    assert_eq!(with(0x8000), Ok(QueuePairs::MAX));
    assert_eq!(with(0), Err(ConfigError::QueuePairs(0)));
    assert_eq!(with(0x8001), Err(ConfigError::QueuePairs(0x8001)));
}

#[test]
fn the_control_queue_comes_last() {
    let two = QueuePairs::new(2).unwrap();

    assert_eq!(two.queue(0), Some(Queue::Receive(0)));
    assert_eq!(two.queue(1), Some(Queue::Transmit(0)));
    assert_eq!(two.queue(3), Some(Queue::Transmit(1)));
    assert_eq!(two.queue(4), Some(Queue::Control));
    assert_eq!(two.queue(5), None);
    assert_eq!(two.queue(6), None);
    assert_eq!(QueuePairs::MAX.queue(0x1_0000), Some(Queue::Control));
    assert_eq!(QueuePairs::MAX.queue(u32::MAX), None);
}

#[test]
fn the_mtu_is_at_least_that_of_ipv4() {
    let with = |mtu: u16| {
        let layout = ConfigLayout {
            mtu: mtu.into(),
            ..ConfigLayout::default()
        };
        config(layout, &[Feature::MTU]).mtu()
    };

    assert_eq!(with(68), Ok(Some(68)));
    assert_eq!(with(65535), Ok(Some(65535)));
    assert_eq!(with(67), Err(ConfigError::Mtu(67)));
}

#[test]
fn what_is_not_defined_of_speed_and_duplex_is_not_known() {
    let with = |speed: u32, duplex| {
        let layout = ConfigLayout {
            speed: speed.into(),
            duplex,
            ..ConfigLayout::default()
        };
        let config = config(layout, &[Feature::SPEED_DUPLEX]);
        (config.speed(), config.duplex())
    };

    assert_eq!(with(10_000, 1), (Speed::Known(10_000), Duplex::Full));
    assert_eq!(with(0, 0), (Speed::Known(0), Duplex::Half));
    assert_eq!(
        with(0x7fff_ffff, 2),
        (Speed::Known(0x7fff_ffff), Duplex::Unknown)
    );
    assert_eq!(with(0x8000_0000, 0xff), (Speed::Unknown, Duplex::Unknown));
}

#[test]
fn hashes_are_limited_as_all_devices_can() {
    let with = |key_size, table: u16| {
        let layout = ConfigLayout {
            rss_max_key_size: key_size,
            rss_max_indirection_table_length: table.into(),
            supported_hash_types: u32::MAX.into(),
            ..ConfigLayout::default()
        };
        let config = config(layout, &[Feature::RSS]);
        (config.hash(), config.table_length())
    };

    assert_eq!(
        with(40, 128),
        (
            Ok(Some(HashLimits {
                key_size: 40,
                types: HashTypes::ALL
            })),
            Ok(Some(128))
        )
    );
    assert_eq!(
        with(39, 127),
        (
            Err(ConfigError::KeySize(39)),
            Err(ConfigError::TableLength(127))
        )
    );
}

#[test]
fn a_table_needs_more_than_hashes() {
    let layout = ConfigLayout {
        rss_max_key_size: 40,
        ..ConfigLayout::default()
    };
    let config = config(layout, &[Feature::HASH_REPORT]);

    assert!(config.hash().unwrap().is_some());
    assert_eq!(config.table_length(), Ok(None));
}
