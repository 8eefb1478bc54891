// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::net::{
    config::ConfigLayout,
    Offered, //
};

/// All features, four pairs of queues, keys of 40 bytes and tables of 128 entries.
const CONFIG: ConfigLayout = ConfigLayout {
    mac: [2, 0, 0, 0, 0, 1],
    status: crate::int::Le16::new(0),
    max_virtqueue_pairs: crate::int::Le16::new(4),
    mtu: crate::int::Le16::new(1500),
    speed: crate::int::Le32::new(0),
    duplex: 0,
    rss_max_key_size: 40,
    rss_max_indirection_table_length: crate::int::Le16::new(128),
    supported_hash_types: crate::int::Le32::new(0x3f),
    supported_tunnel_types: crate::int::Le32::new(0),
};

fn rules_with(set: FeatureSet) -> CtrlRules {
    let accepted = Offered::new(set).check(set).unwrap();
    let config = Config::parse(&CONFIG.to_bytes(), accepted).unwrap();
    CtrlRules::new(accepted, &config).unwrap()
}

fn rules() -> CtrlRules {
    let all = FeatureSet::from_bits(u128::MAX);
    rules_with(Offered::new(all).negotiate(all).unwrap().set())
}

/// Rules with nothing negotiated that commands need.
fn bare() -> CtrlRules {
    rules_with(FeatureSet::of(&[Feature::VERSION_1, Feature::CTRL_VQ]))
}

/// Encodes a command, decodes what came out, and compares the bytes.
fn assert_bytes(command: Command<'_>, bytes: &[u8]) {
    let mut buffer = [0xee; 512];
    let length = rules().encode(&command, &mut buffer).unwrap();

    assert_eq!(&buffer[..length], bytes);
    assert_eq!(rules().decode(bytes), Ok(command));
    assert!(matches!(
        bare().encode(&command, &mut buffer),
        Err(CtrlError::NotNegotiated(_))
    ));
    assert!(matches!(
        bare().decode(bytes),
        Err(CtrlError::NotNegotiated(_))
    ));
    // No part of a command is a command.
    for length in 0..bytes.len() {
        assert!(rules().decode(&bytes[..length]).is_err(), "{command:?}");
    }
    // There is no room for it in less.
    assert!(matches!(
        rules().encode(&command, &mut buffer[..length - 1]),
        Err(CtrlError::Truncated(_))
    ));
}

#[test]
fn acknowledgements_are_0_or_1() {
    assert_eq!(Ack::new(0), Ok(Ack::Ok));
    assert_eq!(Ack::new(1), Ok(Ack::Error));
    assert_eq!(Ack::new(2), Err(CtrlError::Ack(2)));
    assert_eq!(Ack::new(Ack::UNWRITTEN), Err(CtrlError::Ack(0xff)));
    assert_eq!(Ack::new(Ack::Error.byte()), Ok(Ack::Error));
}

#[test]
fn modes_to_receive() {
    for (code, mode) in [
        (0, RxMode::Promiscuous),
        (1, RxMode::AllMulticast),
        (2, RxMode::AllUnicast),
        (3, RxMode::NoMulticast),
        (4, RxMode::NoUnicast),
        (5, RxMode::NoBroadcast),
    ] {
        assert_bytes(Command::RxMode(mode, Switch::On), &[0, code, 1]);
        assert_bytes(Command::RxMode(mode, Switch::Off), &[0, code, 0]);
    }
    assert_eq!(rules().decode(&[0, 0, 2]), Err(CtrlError::Switch(2)));
    assert_eq!(
        rules().decode(&[0, 6, 0]),
        Err(CtrlError::Unknown {
            class: 0,
            command: 6
        })
    );
}

#[test]
fn extra_modes_to_receive_are_extra() {
    let rules = rules_with(FeatureSet::of(&[
        Feature::VERSION_1,
        Feature::CTRL_VQ,
        Feature::CTRL_RX,
    ]));

    assert!(rules.decode(&[0, 1, 1]).is_ok());
    assert_eq!(
        rules.decode(&[0, 2, 1]),
        Err(CtrlError::NotNegotiated(Feature::CTRL_RX_EXTRA))
    );
}

#[test]
fn addresses_to_receive() {
    let table = MacTable::new(&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2], &[0xff; 6]).unwrap();

    assert_eq!(table.unicast().count(), 2);
    assert_eq!(table.multicast().count(), 1);
    assert_bytes(
        Command::MacTable(table),
        &[
            1, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 1, 0, 0, 0, 0xff, 0xff, 0xff,
            0xff, 0xff, 0xff,
        ],
    );
    assert_bytes(
        Command::MacTable(MacTable::new(&[], &[]).unwrap()),
        &[1, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
}

#[test]
fn addresses_are_in_their_table() {
    let station = [2, 0, 0, 0, 0, 1];

    assert_eq!(
        MacTable::new(&[0xff; 6], &[]),
        Err(CtrlError::Mac(MacError::Multicast))
    );
    assert_eq!(
        MacTable::new(&[], &station),
        Err(CtrlError::Mac(MacError::Unicast))
    );
    assert!(matches!(
        MacTable::new(&station[..5], &[]),
        Err(CtrlError::Truncated(_))
    ));
}

#[test]
fn a_table_of_addresses_is_as_long_as_it_says() {
    // 2^32 - 1 addresses.
    let bytes = [1, 0, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1];

    assert!(matches!(
        rules().decode(&bytes),
        Err(CtrlError::Truncated(_))
    ));
    assert_eq!(
        rules().decode(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
        Err(CtrlError::TooLong(9))
    );
}

#[test]
fn the_address_of_the_station() {
    let address = MacAddress::new([2, 0, 0, 0, 0, 1]).unwrap();

    assert_bytes(Command::SetMac(address), &[1, 1, 2, 0, 0, 0, 0, 1]);
    assert_eq!(
        rules().decode(&[1, 1, 0, 0, 0, 0, 0, 0]),
        Err(CtrlError::Mac(MacError::Zero))
    );
}

#[test]
fn a_driver_sets_its_address_only_if_it_can_filter() {
    let rules = rules_with(FeatureSet::of(&[
        Feature::VERSION_1,
        Feature::CTRL_VQ,
        Feature::CTRL_MAC_ADDR,
    ]));
    let command = Command::SetMac(MacAddress::new([2, 0, 0, 0, 0, 1]).unwrap());

    assert_eq!(
        rules.encode(&command, &mut [0; 16]),
        Err(CtrlError::NotNegotiated(Feature::CTRL_RX))
    );
    // The driver of Linux does it anyway, which a device may as well accept.
    assert_eq!(rules.decode(&[1, 1, 2, 0, 0, 0, 0, 1]), Ok(command));
}

#[test]
fn vlans_have_12_bits() {
    let id = VlanId::new(0xfff).unwrap();

    assert_bytes(Command::AddVlan(id), &[2, 0, 0xff, 0x0f]);
    assert_bytes(Command::RemoveVlan(id), &[2, 1, 0xff, 0x0f]);
    assert_eq!(
        rules().decode(&[2, 0, 0, 0x10]),
        Err(CtrlError::Vlan(0x1000))
    );
}

#[test]
fn commands_without_data_have_none() {
    assert_bytes(Command::AnnounceAck, &[3, 0]);
    assert_bytes(Command::StatsQuery, &[8, 0]);
    assert_eq!(rules().decode(&[3, 0, 0]), Err(CtrlError::TooLong(1)));
    assert_eq!(Command::StatsQuery.result_length(), 8);
    assert_eq!(Command::AnnounceAck.result_length(), 0);
}

#[test]
fn pairs_of_queues_are_those_of_the_device() {
    let four = Command::QueuePairs(QueuePairs::new(4).unwrap());

    assert_bytes(four, &[4, 0, 4, 0]);
    assert_eq!(rules().decode(&[4, 0, 5, 0]), Err(CtrlError::QueuePairs(5)));
    assert_eq!(rules().decode(&[4, 0, 0, 0]), Err(CtrlError::QueuePairs(0)));
}

/// A valid configuration of receive-side scaling.
const RSS: &[u8] = &[
    4, 1, // class and command
    0x3f, 0, 0, 0, // types
    3, 0, // mask
    1, 0, // unclassified
    0, 0, 1, 0, 2, 0, 3, 0, // table
    4, 0, // queues to transmit
    2, 0xaa, 0xbb, // key
];

#[test]
fn receive_side_scaling() {
    let rss = RssConfig {
        types: HashTypes::from_bits(0x3f),
        unclassified: 1,
        table: RssTable::new(&[0, 0, 1, 0, 2, 0, 3, 0]).unwrap(),
        transmit: QueuePairs::new(4).unwrap(),
        key: &[0xaa, 0xbb],
    };

    assert_bytes(Command::Rss(rss), RSS);
    assert_eq!(rss.table.pair(0), 0);
    assert_eq!(rss.table.pair(0xffff_fff6), 2);
}

#[test]
fn receive_side_scaling_is_limited_by_the_device() {
    let with = |at: usize, value: u8| {
        let mut bytes = [0; RSS.len()];
        bytes.copy_from_slice(RSS);
        bytes[at] = value;
        rules().decode(&bytes).map(|_| ())
    };

    // Another hash.
    assert_eq!(with(2, 0x40), Err(CtrlError::HashTypes(0x40)));
    // An undefined hash.
    assert_eq!(with(4, 1), Err(CtrlError::HashTypes(0x1_003f)));
    // Queues that do not exist.
    assert_eq!(with(8, 4), Err(CtrlError::Queue(4)));
    assert_eq!(with(10, 4), Err(CtrlError::Queue(4)));
    // The bit that is reserved.
    assert_eq!(with(11, 0x80), Err(CtrlError::Queue(0x8000)));
    assert_eq!(with(18, 5), Err(CtrlError::QueuePairs(5)));
}

#[test]
fn tables_have_a_power_of_two_of_entries() {
    for bytes in [&[][..], &[0; 6], &[0; 3], &[0; 5]] {
        assert!(matches!(
            RssTable::new(bytes),
            Err(CtrlError::TableLength(_))
        ));
    }
    // A mask of 2 is one for 3 entries.
    assert_eq!(
        rules().decode(&[4, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 2, 0, 1, 0, 0]),
        Err(CtrlError::TableLength(3))
    );
}

#[test]
fn tables_are_not_longer_than_the_device_can() {
    let long = [0; 512];
    let config = |table| {
        Command::Rss(RssConfig {
            types: HashTypes::default(),
            unclassified: 0,
            table,
            transmit: QueuePairs::ONE,
            key: &[],
        })
    };
    let mut buffer = [0; 600];

    assert!(rules()
        .encode(&config(RssTable::new(&long[..256]).unwrap()), &mut buffer)
        .is_ok());
    assert_eq!(
        rules().encode(&config(RssTable::new(&long).unwrap()), &mut buffer),
        Err(CtrlError::TableLength(256))
    );
}

#[test]
fn how_hashes_are_made() {
    let types = HashTypes::from_bits(7);
    let key = &[1, 2, 3][..];

    assert_bytes(
        Command::Hash(HashConfig { types, key }),
        &[4, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3],
    );
    // The driver of Linux has the number of queues in what is reserved.
    assert_eq!(
        rules().decode(&[4, 2, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 3, 1, 2, 3]),
        Ok(Command::Hash(HashConfig { types, key }))
    );
}

#[test]
fn keys_are_not_longer_than_the_device_can() {
    let hash = |key| {
        Command::Hash(HashConfig {
            types: HashTypes::default(),
            key,
        })
    };

    assert!(rules().encode(&hash(&[0; 40]), &mut [0; 600]).is_ok());
    assert_eq!(
        rules().encode(&hash(&[0; 41]), &mut [0; 600]),
        Err(CtrlError::KeyLength(41))
    );
    assert_eq!(
        rules().encode(&hash(&[0; 256]), &mut [0; 600]),
        Err(CtrlError::KeyLength(256))
    );
}

#[test]
fn what_the_driver_takes() {
    let features = FeatureSet::of(&[
        Feature::GUEST_CSUM,
        Feature::GUEST_UDP_TUNNEL_GSO,
        Feature::GUEST_USO6,
        // This cannot be switched.
        Feature::MTU,
    ]);
    let offloads = Offloads::of(features);

    assert_eq!(offloads.features(), features.without(Feature::MTU));
    assert_bytes(
        Command::Offloads(offloads),
        &[5, 0, 2, 0, 0, 0, 0, 0x40, 0x80, 0],
    );
    assert_eq!(
        rules().decode(&[5, 0, 1, 0, 0, 0, 0, 0, 0, 0]),
        Err(CtrlError::Offloads(1))
    );
}

#[test]
fn what_the_driver_takes_was_negotiated() {
    let rules = rules_with(FeatureSet::of(&[
        Feature::VERSION_1,
        Feature::CTRL_VQ,
        Feature::CTRL_GUEST_OFFLOADS,
        Feature::GUEST_CSUM,
    ]));

    assert!(rules.decode(&[5, 0, 2, 0, 0, 0, 0, 0, 0, 0]).is_ok());
    assert_eq!(
        rules.decode(&[5, 0, 0x82, 0, 0, 0, 0, 0, 0, 0]),
        Err(CtrlError::Offloads(0x82))
    );
}

#[test]
fn when_queues_notify() {
    let coalesce = Coalesce {
        packets: 0x0102,
        microseconds: 3,
    };

    assert_bytes(
        Command::CoalesceTx(coalesce),
        &[6, 0, 2, 1, 0, 0, 3, 0, 0, 0],
    );
    assert_bytes(
        Command::CoalesceRx(coalesce),
        &[6, 1, 2, 1, 0, 0, 3, 0, 0, 0],
    );
    assert_bytes(
        Command::CoalesceQueue(7, coalesce),
        &[6, 2, 7, 0, 0, 0, 2, 1, 0, 0, 3, 0, 0, 0],
    );
}

#[test]
fn the_control_queue_always_notifies() {
    for index in [8, 9, 0xffff] {
        assert_eq!(
            rules().encode(
                &Command::CoalesceQueue(index, Coalesce::default()),
                &mut [0; 32]
            ),
            Err(CtrlError::Queue(index))
        );
    }
}

#[test]
fn counters_of_queues() {
    let query = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let command = Command::StatsGet(StatsRequest::new(&query).unwrap());

    assert_eq!(command.result_length(), 56);
    assert_bytes(
        command,
        &[8, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
    );
    let queue_9 = [8, 1, 9, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        rules().decode(&queue_9),
        Err(CtrlError::Stats(StatsError::NoQueue(9)))
    );
}

#[test]
fn unknown_commands_are_refused() {
    for [class, command] in [[7, 0], [9, 0], [4, 3], [6, 3], [0xff, 0xff]] {
        assert_eq!(
            rules().decode(&[class, command, 0, 0]),
            Err(CtrlError::Unknown { class, command })
        );
    }
}
