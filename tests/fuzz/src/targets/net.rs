// SPDX-License-Identifier: GPL-2.0

//! What network devices and their drivers say.

use crate::input::Input;
use std::num::NonZeroU16;
use virtio_wire::net::{
    Checksum, Command, Config, ConfigLayout, Feature, Header, Offload, RxRules, TxRules,
    ctrl::CtrlRules,
    stats::{StatsQueryLayout, StatsReply, StatsRequest},
};

/// Nothing of an offload is outside of the frame, or in disorder.
fn check_offload(offload: &Offload, length: u32) {
    let Some(gso) = offload.gso else {
        if let Checksum::Partial { start, offset } = offload.checksum {
            assert!(u64::from(start) + u64::from(offset) + 2 <= u64::from(length));
        }
        return;
    };
    match offload.checksum {
        Checksum::Partial { start, .. } => {
            let end = u32::from(start) + gso.kind.transport_header();
            assert!(end <= length);
            if let Some(tunnel) = gso.tunnel {
                assert!(tunnel.outer_transport >= 34);
                assert!(tunnel.outer_transport < tunnel.inner_network);
                assert!(tunnel.inner_network < start);
            }
        }
        Checksum::Coalesced { .. } => assert!(gso.tunnel.is_none()),
        other => panic!("to be cut, but {other:?}"),
    }
    assert!(!gso.ecn || gso.kind.is_tcp());
}

/// Receives a frame: the features, the length of the frame, how many buffers there are, and the
/// header.
pub fn net_receive(data: &[u8]) {
    let mut input = Input::new(data);
    let accepted = input.accepted();
    let rules = RxRules::new(accepted);
    let length = input.u32();
    let most = input.u16();
    let Ok(header) = Header::read(rules.kind(), input.rest()) else {
        assert!(input.rest().len() < rules.kind().length());
        return;
    };

    if let Ok(number) = rules.buffers(&header, most) {
        assert!(number.get() <= most.max(1));
    }
    match rules.check(&header, length) {
        Ok(receive) => {
            check_offload(&receive.offload, length);
            assert!(u32::from(receive.header_hint) <= length);
            let one = NonZeroU16::MIN;
            let built = rules
                .build(&receive, length, one)
                .expect("a device may say what a driver accepts");
            assert_eq!(rules.check(&built, length), Ok(receive));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Transmits a frame: the features, the length of the frame, and the header.
pub fn net_transmit(data: &[u8]) {
    let mut input = Input::new(data);
    let accepted = input.accepted();
    let rules = TxRules::new(accepted);
    let length = input.u32();
    let Ok(header) = Header::read(rules.kind(), input.rest()) else {
        assert!(input.rest().len() < rules.kind().length());
        return;
    };

    let slip = rules.slip(&header);
    match rules.check(&header, length) {
        Ok(transmit) => {
            check_offload(&transmit.offload, length);
            let built = rules
                .build(&transmit, length)
                .expect("a driver may say what a device accepts");
            assert_eq!(rules.check(&built, length), Ok(transmit));
            assert_eq!(rules.slip(&built), None);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    assert!(slip.is_none_or(|slip| !slip.to_string().is_empty()));
}

/// Reads the configuration space: the features, and what is there.
pub fn net_config(data: &[u8]) {
    let mut input = Input::new(data);
    let accepted = input.accepted();
    let needed = Config::length(accepted);
    let Ok(config) = Config::parse(input.rest(), accepted) else {
        assert!(input.rest().len() < needed);
        return;
    };

    assert!(!matches!(config.mac(), Ok(Some(mac)) if mac.bytes()[0] & 1 == 1));
    assert!(!matches!(config.mtu(), Ok(Some(mtu)) if mtu < 68));
    assert!(!matches!(config.queue_pairs(), Ok(pairs) if pairs.get() > 0x8000));
    assert!(!config.announce() || accepted.has(Feature::CTRL_VQ));
    if let Ok(pairs) = config.queue_pairs() {
        let last = u32::from(pairs.get()) * 2;
        assert!(pairs.queue(last).is_some() && pairs.queue(last + 1).is_none());
    }
    let _ = (config.link(), config.speed(), config.duplex());
    let _ = (config.hash(), config.table_length());
}

/// Sends a command: the features, the configuration space, and the command.
pub fn net_command(data: &[u8]) {
    let mut input = Input::new(data);
    let accepted = input.accepted();
    let layout = input.array::<{ ConfigLayout::SIZE }>();
    let config = Config::parse(&layout, accepted).expect("all of it is there");
    let Ok(rules) = CtrlRules::new(accepted, &config) else {
        return;
    };
    let command = match rules.decode(input.rest()) {
        Ok(command) => command,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };

    assert!(command.needs().difference(accepted.set()).is_empty());
    let mut buffer = [0; 2048];
    match rules.encode(&command, &mut buffer) {
        Ok(length) => {
            assert_eq!(length, input.rest().len());
            assert_eq!(rules.decode(&buffer[..length]), Ok(command));
        }
        // Only this is stricter for drivers.
        Err(error) => assert!(matches!(command, Command::SetMac(_)), "{error}"),
    }
    if let Command::Rss(rss) = command {
        for hash in [0, 1, u32::MAX] {
            assert!(rss.table.pair(hash) < config.queue_pairs().map_or(0, |pairs| pairs.get()));
        }
    }
    if let Command::MacTable(table) = command {
        assert!(table.multicast().all(|address| address.bytes()[0] & 1 == 1));
        assert!(table.unicast().all(|address| address.bytes()[0] & 1 == 0));
    }
}

/// Reads counters: how many queries there are less 1, the queries, and the reply.
pub fn net_stats(data: &[u8]) {
    let mut input = Input::new(data);
    let number = usize::from(input.u8() % 4) + 1;
    let mut queries = [0; 4 * StatsQueryLayout::SIZE];
    for query in queries.chunks_mut(StatsQueryLayout::SIZE).take(number) {
        query.copy_from_slice(&input.array::<{ StatsQueryLayout::SIZE }>());
    }
    let request = StatsRequest::new(&queries[..number * StatsQueryLayout::SIZE])
        .expect("there are whole queries");

    let mut consumed = 0;
    let mut failed = false;
    for entry in StatsReply::new(request, input.rest()) {
        assert!(!failed, "something follows an error");
        match entry {
            Ok(entry) => {
                consumed += entry.kind.length();
                assert!(
                    request
                        .iter()
                        .any(|(index, types)| index == entry.index && types.contains(entry.kind))
                );
                assert_eq!(entry.counters().count(), entry.kind.counters().len());
            }
            Err(error) => {
                failed = true;
                assert!(!error.to_string().is_empty());
            }
        }
    }
    assert!(consumed <= input.rest().len());
}
