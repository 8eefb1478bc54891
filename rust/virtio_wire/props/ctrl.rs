// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    int::Le16,
    net::{
        config::{
            Config,
            ConfigLayout,
            QueuePairs, //
        },
        ctrl::{
            Coalesce,
            Command,
            CtrlRules,
            HashConfig,
            MacTable,
            Offloads,
            RssConfig,
            RssTable,
            RxMode,
            Switch,
            VlanId, //
        },
        stats::{
            StatsKind,
            StatsQueryLayout,
            StatsReply,
            StatsRequest,
            StatsTypes, //
        },
        Accepted,
        FeatureSet,
        HashTypes,
        MacAddress,
        Net, //
    },
};
use std::vec::Vec;

fn layouts() -> BoxedStrategy<ConfigLayout> {
    prop_oneof![
        prop::array::uniform28(any::<u8>()).prop_map(|bytes| ConfigLayout::from_bytes(&bytes)),
        (1..9u16, 40..=255u8, 128..300u16, any::<u32>()).prop_map(|(pairs, key, table, types)| {
            ConfigLayout {
                mac: [2, 0, 0, 0, 0, 1],
                max_virtqueue_pairs: pairs.into(),
                rss_max_key_size: key,
                rss_max_indirection_table_length: table.into(),
                supported_hash_types: types.into(),
                ..ConfigLayout::default()
            }
        }),
    ]
    .boxed()
}

fn rules() -> BoxedStrategy<(Accepted, Config, CtrlRules)> {
    (accepted::<Net>(), layouts())
        .prop_filter_map("no rules", |(accepted, layout)| {
            let config = Config::parse(&layout.to_bytes(), accepted).unwrap();
            let rules = CtrlRules::new(accepted, &config).ok()?;
            Some((accepted, config, rules))
        })
        .boxed()
}

/// Bytes of which many are those of a command.
fn commands() -> BoxedStrategy<Vec<u8>> {
    let numbers = [
        [0, 0],
        [0, 4],
        [1, 0],
        [1, 1],
        [2, 0],
        [3, 0],
        [4, 0],
        [4, 1],
        [4, 2],
        [5, 0],
        [6, 0],
        [6, 2],
        [8, 0],
        [8, 1],
    ];
    let data = prop_oneof![
        bytes(64),
        // With small numbers, lengths may fit.
        prop::collection::vec(prop_oneof![Just(0u8), 0..5u8], 0..64),
    ];
    prop_oneof![
        bytes(8),
        (prop::sample::select(numbers.to_vec()), data).prop_map(|(number, data)| [
            &number[..],
            &data
        ]
        .concat()),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(config(4 * CASES))]

    #[test]
    fn what_is_decoded_is_encoded_again((accepted, config, rules) in rules(), bytes in commands()) {
        let Ok(command) = rules.decode(&bytes) else {
            return Ok(());
        };
        prop_assert!(command.needs().difference(accepted.set()).is_empty());
        let pairs = config.queue_pairs().unwrap();
        match command {
            Command::QueuePairs(used) => prop_assert!(used <= pairs),
            Command::Rss(rss) => {
                prop_assert!(rss.table.length().is_power_of_two());
                prop_assert!(rss.table.iter().all(|pair| pair < pairs.get()));
                prop_assert!(rss.unclassified < pairs.get());
                let limits = config.hash().unwrap().unwrap();
                prop_assert!(rss.key.len() <= usize::from(limits.key_size));
                prop_assert!(limits.types.contains(rss.types));
            }
            Command::Offloads(offloads) => {
                prop_assert!(offloads.features().difference(accepted.set()).is_empty());
            }
            _ => {}
        }

        let mut buffer = [0; 128];
        let Ok(length) = rules.encode(&command, &mut buffer) else {
            // Only this is stricter for drivers.
            prop_assert!(matches!(command, Command::SetMac(_)));
            return Ok(());
        };
        match command {
            // Here bytes are reserved.
            Command::Hash(_) | Command::CoalesceQueue(..) => {
                prop_assert_eq!(rules.decode(&buffer[..length]), Ok(command));
            }
            _ => prop_assert_eq!(&buffer[..length], &bytes[..]),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again(
        (accepted, config, rules) in rules(),
        choice in 0..15u8,
        numbers in prop::array::uniform4(any::<u32>()),
        exponent in 0..8u32,
        key in bytes(40),
    ) {
        let pairs = config.queue_pairs().unwrap().get();
        let pair = |number: u32| (number % u32::from(pairs)) as u16;
        let types = HashTypes::from_bits(numbers[0])
            .intersection(config.hash().unwrap().map_or(HashTypes::default(), |hash| hash.types));
        let transmit = QueuePairs::new(pair(numbers[1]) + 1).unwrap();
        let table: Vec<u8> = (0..1 << exponent)
            .flat_map(|number: u32| Le16::new(pair(number ^ numbers[2])).to_bytes())
            .collect();
        let [a, b, c, d] = numbers[3].to_le_bytes();
        let unicast: Vec<u8> = (0..a % 8).flat_map(|n| [2, b, c, d, 0, n]).collect();
        let multicast: Vec<u8> = (0..b % 8).flat_map(|n| [3, a, c, d, 0, n]).collect();
        let coalesce = Coalesce { packets: numbers[0], microseconds: numbers[1] };
        let queue = pair(numbers[2]) * 2 + (numbers[0] % 2) as u16;
        let query = StatsQueryLayout {
            vq_index: queue.into(),
            types_bitmap: StatsTypes::of(
                config.queue_pairs().unwrap().queue(queue.into()).unwrap(),
                accepted,
            )
            .bits()
            .into(),
            ..StatsQueryLayout::default()
        }
        .to_bytes();
        let vlan = VlanId::new((numbers[0] % 0x1000) as u16).unwrap();

        let command = match choice {
            0 => Command::RxMode(RxMode::AllMulticast, Switch::from(a % 2 == 0)),
            1 => Command::RxMode(RxMode::NoBroadcast, Switch::from(a % 2 == 0)),
            2 => Command::MacTable(MacTable::new(&unicast, &multicast).unwrap()),
            3 => Command::SetMac(MacAddress::new([2, a, b, c, d, 0]).unwrap()),
            4 => Command::AddVlan(vlan),
            5 => Command::RemoveVlan(vlan),
            6 => Command::AnnounceAck,
            7 => Command::QueuePairs(transmit),
            8 => Command::Rss(RssConfig {
                types,
                unclassified: pair(numbers[3]),
                table: RssTable::new(&table).unwrap(),
                transmit,
                key: &key,
            }),
            9 => Command::Hash(HashConfig { types, key: &key }),
            10 => Command::Offloads(Offloads::of(accepted.set())),
            11 => Command::CoalesceTx(coalesce),
            12 => Command::CoalesceQueue(queue, coalesce),
            13 => Command::StatsQuery,
            _ => Command::StatsGet(StatsRequest::new(&query).unwrap()),
        };
        let mut buffer = [0; 512];
        let encoded = rules.encode(&command, &mut buffer);

        // All of it is valid, but for what was not negotiated.
        let mut needs = command.needs();
        if choice == 3 {
            needs = needs.with(crate::net::Feature::CTRL_RX);
        }
        let negotiated = needs.difference(accepted.set()).is_empty();
        prop_assert_eq!(encoded.is_ok(), negotiated, "{:?}", encoded);
        if let Ok(length) = encoded {
            prop_assert_eq!(rules.decode(&buffer[..length]), Ok(command));
        }
    }

    #[test]
    fn replies_with_counters_end(
        queries in prop::collection::vec((0..4u16, any::<u64>()), 1..4),
        entries in prop::collection::vec(
            (
                prop::sample::select(StatsKind::ALL.to_vec()),
                0..4u16,
                prop_oneof![Just(None), (0..80u16).prop_map(Some), any::<u16>().prop_map(Some)],
            ),
            0..8,
        ),
        cut in any::<prop::sample::Index>(),
    ) {
        let request: Vec<u8> = queries
            .iter()
            .flat_map(|(index, types)| {
                StatsQueryLayout {
                    vq_index: (*index).into(),
                    types_bitmap: (*types).into(),
                    ..StatsQueryLayout::default()
                }
                .to_bytes()
            })
            .collect();
        let mut reply = Vec::new();
        for (kind, index, size) in entries {
            let mut entry = std::vec![0; kind.length()];
            crate::net::stats::write_entry(&mut entry, index, kind, 1..).unwrap();
            if let Some(size) = size {
                entry[6..8].copy_from_slice(&size.to_le_bytes());
            }
            reply.extend(entry);
        }
        reply.truncate(cut.index(reply.len() + 1));

        let request = StatsRequest::new(&request).unwrap();
        let found: Vec<_> = StatsReply::new(request, &reply).collect();
        let mut length = 0;
        for (number, entry) in found.iter().enumerate() {
            match entry {
                Err(_) => prop_assert_eq!(number, found.len() - 1),
                Ok(entry) => {
                    length += entry.kind.length();
                    prop_assert!(request
                        .iter()
                        .any(|(index, types)| index == entry.index && types.contains(entry.kind)));
                    prop_assert_eq!(entry.counters().count(), entry.kind.counters().len());
                }
            }
        }
        prop_assert!(length <= reply.len());
    }

    #[test]
    fn replies_are_any_bytes(request in prop::array::uniform16(any::<u8>()), reply in bytes(300)) {
        let request = StatsRequest::new(&request).unwrap();

        prop_assert!(StatsReply::new(request, &reply).count() <= reply.len() / 24 + 1);
    }

    #[test]
    fn any_configuration_is_read_without_harm(
        accepted in accepted::<Net>(),
        bytes in bytes(40),
    ) {
        let needed = Config::length(accepted);
        let parsed = Config::parse(&bytes, accepted);
        prop_assert_eq!(parsed.is_ok(), bytes.len() >= needed);
        let Ok(config) = parsed else {
            return Ok(());
        };
        // What is beyond its end means nothing.
        prop_assert_eq!(Config::parse(&bytes[..needed], accepted), Ok(config));
        if let Ok(Some(mac)) = config.mac() {
            prop_assert_eq!(mac.bytes()[0] & 1, 0);
            prop_assert!(mac.bytes() != [0; 6]);
        }
        if let Ok(pairs) = config.queue_pairs() {
            prop_assert!((1..=0x8000).contains(&pairs.get()));
        }
        if let Ok(Some(mtu)) = config.mtu() {
            prop_assert!(mtu >= 68);
        }
        if let Ok(Some(length)) = config.table_length() {
            prop_assert!(length >= 128);
        }
        let _ = (config.link(), config.speed(), config.duplex(), config.hash());
        prop_assert!(!config.announce() || accepted.set().contains(crate::net::Feature::CTRL_VQ));
    }

    #[test]
    fn offloads_are_features(bits in any::<u128>()) {
        let offloads = Offloads::of(FeatureSet::from_bits(bits));
        let switched = [1, 7, 8, 9, 10, 54, 55]
            .iter()
            .fold(0, |sum: u64, bit| sum | (bits as u64) & 1 << bit);
        let tunnel = ((bits >> 65) as u64 & 3) << 46;

        prop_assert_eq!(offloads.bits(), switched | tunnel);
    }
}
