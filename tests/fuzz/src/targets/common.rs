// SPDX-License-Identifier: GPL-2.0

//! What all devices have.

use crate::input::Input;
use virtio_wire::{
    blk::Blk,
    feature::{Class, Entropy, Offered},
    net::Net,
    status::{Interface, Request, Status},
};

/// Negotiates: the features that are offered, and those that are supported.
pub fn features(data: &[u8]) {
    class::<Net>(data);
    class::<Blk>(data);
    class::<Entropy>(data);
}

fn class<C: Class>(data: &[u8]) {
    let mut input = Input::new(data);
    let offered = Offered::<C>::new(input.features());
    let supported = input.features::<C>();

    let broken = offered.broken_rule();
    let valid = offered.set().difference(C::DEFINED).is_empty();
    if valid && broken.is_none() {
        assert!(offered.check(offered.set()).is_ok());
    }
    if let Ok(accepted) = offered.negotiate(supported) {
        let set = accepted.set();
        assert!(set.difference(offered.set()).is_empty());
        assert!(set.difference(supported).is_empty());
        assert_eq!(offered.check(set), Ok(accepted));
        assert_eq!(Offered::new(set).broken_rule(), None);
    }
    // The names can be printed, whatever is in the set.
    assert!(!format!("{:?} {}", offered, supported).is_empty());
}

/// Drives a device: which interface, then what the driver writes, one byte after the other. Every
/// fourth time the device has got into trouble before.
pub fn status(data: &[u8]) {
    let mut input = Input::new(data);
    let interface = match input.u8() % 2 {
        0 => Interface::Modern,
        _ => Interface::Legacy,
    };
    let mut now = Status::RESET;
    for (number, byte) in input.rest().iter().enumerate() {
        if number % 4 == 3 && byte & 1 == 1 {
            now = now.with(Status::NEEDS_RESET);
        }
        let new = Status::from_bits(*byte);
        let before = now;
        match before.write(new, interface) {
            Ok(Request::Reset) => {
                assert_eq!(new, Status::RESET);
                now = Status::RESET;
            }
            Ok(Request::Nothing) => assert!(before.contains(new)),
            Ok(Request::Set(bits)) => {
                assert!(!before.contains(bits) && new.contains(bits));
                now = before.with(bits);
                if before.contains(Status::SUSPEND) && bits.contains(Status::DRIVER_OK) {
                    now = now.without(Status::SUSPEND);
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        check(now, interface);
        if before == now {
            let trouble = now.contains(Status::NEEDS_RESET);
            assert_eq!(now.read_back(now).is_err(), trouble);
        }
    }
}

/// What has to hold of a status that came about by what is allowed.
fn check(now: Status, interface: Interface) {
    let implies = |bit, before| !now.contains(bit) || now.contains(before);

    assert!(implies(Status::DRIVER, Status::ACKNOWLEDGE));
    assert!(implies(Status::FEATURES_OK, Status::DRIVER));
    assert!(implies(Status::DRIVER_OK, Status::DRIVER));
    if interface == Interface::Modern {
        assert!(implies(Status::DRIVER_OK, Status::FEATURES_OK));
    }
}
