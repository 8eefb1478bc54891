// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    blk,
    net,
    net::Feature as N, //
};
use std::{
    format,
    vec::Vec, //
};

type NetSet = net::FeatureSet;

fn negotiate(offered: &[N], supported: &[N]) -> NetSet {
    net::Offered::new(NetSet::of(offered))
        .negotiate(NetSet::of(supported))
        .unwrap()
        .set()
}

fn check(features: &[N]) -> Result<(), FeatureError<net::Net>> {
    let set = NetSet::of(features);
    net::Offered::new(set).check(set).map(|_| ())
}

#[test]
fn a_set_has_what_was_put_in() {
    let set = NetSet::of(&[N::CSUM, N::HOST_UDP_TUNNEL_GSO_CSUM]);

    assert_eq!(set.bits(), 1 | 1 << 68);
    assert!(set.contains(N::CSUM));
    assert!(!set.contains(N::GUEST_CSUM));
    assert_eq!(set.without(N::CSUM).bits(), 1 << 68);
    assert_eq!(set.iter().collect::<Vec<_>>().len(), 2);
    assert_eq!(set.iter().collect::<NetSet>(), set);
    assert_eq!(set.first(), Some(N::CSUM));
    assert_eq!(NetSet::empty().first(), None);
}

#[test]
fn words_are_those_of_the_transports() {
    let set = NetSet::of(&[N::GUEST_CSUM, N::VERSION_1, N::HOST_UDP_TUNNEL_GSO]);

    assert_eq!(set.words(), [2, 1, 1 << 3, 0]);
    assert_eq!(NetSet::from_words(set.words()), set);
}

#[test]
fn there_are_no_more_than_128_features() {
    assert!(N::new(127).is_some());
    assert!(N::new(128).is_none());
}

#[test]
fn features_have_the_numbers_of_the_c_header() {
    for (feature, bit) in [
        (N::CTRL_VQ, 17),
        (N::DEVICE_STATS, 50),
        (N::RSS, 60),
        (N::GUEST_UDP_TUNNEL_GSO, 65),
        (N::INDIRECT_DESC, 28),
        (N::ADMIN_VQ, 41),
    ] {
        assert_eq!(feature.bit(), bit);
    }
    assert_eq!(blk::Feature::CONFIG_WCE.bit(), 11);
    assert_eq!(blk::Feature::ZONED.bit(), 17);
    assert_eq!(blk::Feature::VERSION_1.bit(), 32);
}

#[test]
fn names_are_those_of_the_c_header() {
    assert_eq!(format!("{}", N::MRG_RXBUF), "VIRTIO_NET_F_MRG_RXBUF");
    assert_eq!(format!("{}", N::RING_PACKED), "VIRTIO_F_RING_PACKED");
    assert_eq!(format!("{}", blk::Feature::RO), "VIRTIO_BLK_F_RO");
    assert_eq!(format!("{}", N::new(49).unwrap()), "feature 49");
}

#[test]
fn no_bit_has_two_names() {
    fn assert_unique<C: Class>() {
        let number = C::NAMES.len() + transport::NAMES.len();
        assert_eq!(C::DEFINED.iter().count(), number);
    }
    assert_unique::<net::Net>();
    assert_unique::<blk::Blk>();
    assert_unique::<Entropy>();
}

#[test]
fn rules_are_about_features_that_are_defined() {
    fn assert_defined<C: Class>() {
        for rule in C::RULES {
            let (Needs::All(set) | Needs::Any(set)) = rule.needs;
            let all = set.with(rule.feature);
            assert!(all.difference(C::DEFINED).is_empty(), "{rule}");
            assert!(!set.contains(rule.feature), "{rule}");
        }
    }
    assert_defined::<net::Net>();
    assert_defined::<blk::Blk>();
}

#[test]
fn only_what_both_ends_have_is_accepted() {
    let accepted = negotiate(
        &[N::VERSION_1, N::CSUM, N::MAC],
        &[N::VERSION_1, N::MAC, N::MTU],
    );

    assert_eq!(accepted, NetSet::of(&[N::VERSION_1, N::MAC]));
}

#[test]
fn what_is_not_defined_is_not_accepted() {
    let everything = NetSet::from_bits(u128::MAX);
    let accepted = net::Offered::new(everything).negotiate(everything).unwrap();

    assert_eq!(accepted.set(), net::Net::DEFINED);
}

#[test]
fn what_lacks_another_feature_is_not_accepted() {
    // ECN needs TSO4, which needs CSUM, which is not offered.
    let accepted = negotiate(
        &[N::VERSION_1, N::HOST_ECN, N::HOST_TSO4],
        &[N::VERSION_1, N::HOST_ECN, N::HOST_TSO4, N::CSUM],
    );

    assert_eq!(accepted, NetSet::of(&[N::VERSION_1]));
}

#[test]
fn one_of_several_is_enough_where_the_rule_says_so() {
    let features = [N::VERSION_1, N::CSUM, N::HOST_TSO6, N::HOST_ECN];

    assert_eq!(negotiate(&features, &features), NetSet::of(&features));
}

#[test]
fn nothing_that_needs_commands_is_accepted_without_the_control_queue() {
    // Weaknesses of the driver of Linux: it accepts the last three.
    for feature in [
        N::CTRL_RX,
        N::CTRL_VLAN,
        N::GUEST_ANNOUNCE,
        N::MQ,
        N::CTRL_MAC_ADDR,
        N::RSS,
        N::HASH_REPORT,
        N::NOTF_COAL,
        N::VQ_NOTF_COAL,
        N::CTRL_RX_EXTRA,
        N::CTRL_GUEST_OFFLOADS,
        N::DEVICE_STATS,
    ] {
        let features = [N::VERSION_1, feature];

        assert_eq!(
            negotiate(&features, &features),
            NetSet::of(&[N::VERSION_1]),
            "{feature}"
        );
        let FeatureError::Broken(rule) = check(&features).unwrap_err() else {
            panic!("no rule about {feature} is broken");
        };
        assert_eq!(rule.feature, feature);
        assert_eq!(check(&[N::VERSION_1, N::CTRL_VQ, feature]), Ok(()));
    }
}

#[test]
fn a_device_says_which_rule_is_broken() {
    assert_eq!(
        format!("{}", check(&[N::VERSION_1, N::GUEST_TSO4]).unwrap_err()),
        "VIRTIO_NET_F_GUEST_TSO4 needs VIRTIO_NET_F_GUEST_CSUM"
    );
    assert_eq!(
        format!("{}", check(&[N::VERSION_1, N::GUEST_ECN]).unwrap_err()),
        "VIRTIO_NET_F_GUEST_ECN needs VIRTIO_NET_F_GUEST_TSO4 or VIRTIO_NET_F_GUEST_TSO6"
    );
    assert_eq!(
        format!(
            "{}",
            check(&[N::VERSION_1, N::CSUM, N::HOST_UDP_TUNNEL_GSO]).unwrap_err()
        ),
        "VIRTIO_NET_F_HOST_UDP_TUNNEL_GSO needs VIRTIO_NET_F_HOST_TSO4 and \
         VIRTIO_NET_F_HOST_TSO6 and VIRTIO_NET_F_HOST_USO"
    );
}

#[test]
fn a_device_refuses_what_it_did_not_offer() {
    let offered = net::Offered::new(NetSet::of(&[N::VERSION_1]));

    assert_eq!(
        offered.check(NetSet::of(&[N::VERSION_1, N::MTU])),
        Err(FeatureError::NotOffered(N::MTU))
    );
}

#[test]
fn a_device_refuses_what_is_not_defined() {
    let feature = N::new(44).unwrap();

    assert_eq!(
        check(&[N::VERSION_1, feature]),
        Err(FeatureError::Undefined(feature))
    );
}

#[test]
fn the_legacy_interface_has_32_features() {
    let features = [N::MAC, N::EVENT_IDX, N::RING_RESET, N::SPEED_DUPLEX];
    let accepted = net::Offered::new(NetSet::of(&features))
        .negotiate(NetSet::of(&features))
        .unwrap();

    assert!(accepted.is_legacy());
    assert_eq!(accepted.set(), NetSet::of(&[N::MAC, N::EVENT_IDX]));
    assert_eq!(
        check(&features),
        Err(FeatureError::NotLegacy(N::RING_RESET))
    );
}

#[test]
fn version_1_has_to_be_accepted() {
    let offered = net::Offered::new(NetSet::of(&[N::VERSION_1, N::MAC]));

    assert_eq!(
        offered.negotiate(NetSet::of(&[N::MAC])),
        Err(FeatureError::Version1Refused)
    );
}

#[test]
fn a_driver_says_what_it_cannot_do_without() {
    let set = NetSet::of(&[N::VERSION_1, N::MAC]);
    let accepted = net::Offered::new(set).negotiate(set).unwrap();

    assert_eq!(accepted.require(N::MAC), Ok(()));
    assert_eq!(
        accepted.require(N::ACCESS_PLATFORM),
        Err(FeatureError::Missing(N::ACCESS_PLATFORM))
    );
}

#[test]
fn a_rule_for_devices_does_not_bind_drivers() {
    use blk::Feature as B;
    let offer = blk::FeatureSet::of(&[B::VERSION_1, B::FLUSH, B::CONFIG_WCE]);
    let without = offer.without(B::FLUSH);

    // A driver may accept one without the other ...
    assert!(blk::Offered::new(offer).check(without).is_ok());
    // ... but a device must not offer it so, and then the driver does not accept it.
    let broken = blk::Offered::new(without);
    assert_eq!(
        format!("{}", broken.broken_rule().unwrap()),
        "VIRTIO_BLK_F_CONFIG_WCE needs VIRTIO_BLK_F_FLUSH"
    );
    assert_eq!(
        broken.negotiate(offer).unwrap().set(),
        blk::FeatureSet::of(&[B::VERSION_1])
    );
}

#[test]
fn legacy_devices_have_no_zones() {
    use blk::Feature as B;
    let set = blk::FeatureSet::of(&[B::ZONED, B::FLUSH]);

    assert_eq!(
        blk::Offered::new(set).negotiate(set).unwrap().set(),
        blk::FeatureSet::of(&[B::FLUSH])
    );
}
