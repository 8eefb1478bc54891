// SPDX-License-Identifier: GPL-2.0

//! What block devices and their drivers say.

use crate::input::Input;
use virtio_wire::blk::{
    Config, ConfigLayout, Lifetime, LifetimeLayout, Request, RequestHeader, RequestRules, Status,
    request::{Access, Lengths},
};

/// Reads the configuration space: the features, and what is there.
pub fn blk_config(data: &[u8]) {
    let mut input = Input::new(data);
    let accepted = input.accepted();
    let needed = Config::length(accepted);
    let Ok(config) = Config::parse(input.rest(), accepted) else {
        assert!(input.rest().len() < needed);
        return;
    };

    if let Ok(capacity) = config.capacity() {
        assert!(capacity.bytes() <= i64::MAX.unsigned_abs());
    }
    if let Ok(size) = config.block_size() {
        assert!(size.get().is_power_of_two() && (512..=65536).contains(&size.get()));
        if let Ok(Some(topology)) = config.topology() {
            assert!(topology.physical_block.is_power_of_two());
            assert!(topology.physical_block >= size.get());
            assert!(topology.alignment_offset < topology.physical_block);
            assert_eq!(topology.min_io.map_or(0, |io| io.get() % size.get()), 0);
        }
    } else {
        assert!(!matches!(config.topology(), Ok(Some(_))));
    }
    let _ = (config.size_max(), config.seg_max(), config.geometry());
    let _ = (config.cache_mode(), config.queues(), config.zones());
    let _ = (
        config.discard(),
        config.write_zeroes(),
        config.secure_erase(),
    );
}

/// Serves a request: the features, whether the device is read-only, the configuration space, the
/// header, how many bytes can be read and written, and then segments; they are also taken for a
/// lifetime, and the first byte for a status.
pub fn blk_request(data: &[u8]) {
    let mut input = Input::new(data);
    let accepted = input.accepted();
    let access = match input.u8() % 2 {
        0 => Access::ReadWrite,
        _ => Access::ReadOnly,
    };
    let layout = input.array::<{ ConfigLayout::SIZE }>();
    let config = Config::parse(&layout, accepted).expect("all of it is there");
    let Ok(rules) = RequestRules::new(&config, access) else {
        return;
    };
    let header = RequestHeader::from_bytes(&input.array());
    let data = Lengths {
        readable: input.u64(),
        writable: input.u64(),
    };
    let end = config.capacity().map_or(0, |capacity| capacity.bytes());

    match rules.check(&header, data) {
        Ok(Request::Read(range) | Request::Write(range)) => {
            assert!(range.offset() + range.length() <= end);
            assert_eq!(range.length(), data.readable + data.writable);
        }
        Ok(Request::Segments { kind, length }) => {
            assert_eq!(access, Access::ReadWrite);
            assert_eq!(u64::try_from(length), Ok(data.readable));
            let segments = &input.rest()[..length.min(input.rest().len())];
            match rules.segments(kind, segments) {
                Ok(checked) => {
                    assert_eq!(checked.iter().count() * 16, segments.len());
                    for segment in checked.iter() {
                        assert!(segment.range.offset() + segment.range.length() <= end);
                    }
                }
                Err(error) => assert_ne!(error.status(), Status::Ok),
            }
        }
        Ok(Request::Flush | Request::GetId) => {}
        Ok(Request::GetLifetime) => {
            if let Ok(layout) = LifetimeLayout::parse(input.rest())
                && let Ok(lifetime) = Lifetime::new(&layout)
            {
                assert_eq!(lifetime.layout(), layout);
            }
        }
        Err(error) => {
            assert_ne!(error.status(), Status::Ok);
            assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(status) = Status::new(input.u8()) {
        assert_ne!(status.byte(), Status::UNWRITTEN);
    }
}
