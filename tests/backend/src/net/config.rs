// SPDX-License-Identifier: GPL-2.0

//! What a network device says of itself.

use crate::{frame::Mac, switch::PortOptions};
use std::mem::offset_of;
use virtio_wire::net::{ConfigLayout, Feature, FeatureSet, config::status};

/// A network device to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its port.
    pub port: PortOptions,
    /// The number of pairs of queues.
    pub queues: u16,
    /// Whether it has the control queue, and the configuration space.
    pub control: bool,
    /// The MTU that it says, if that is said.
    pub mtu: Option<u16>,
    /// Features that are not offered.
    pub without: FeatureSet,
}

/// The address of a device whose options have none: one that nobody has assigned.
const NOBODY: Mac = [0x02, 0x72, 0x76, 0, 0, 1];

/// The speed, in Mbit/s.
const SPEED: u32 = 10_000;

impl Options {
    /// A device with every feature.
    pub fn new(name: &str) -> Self {
        Self {
            port: PortOptions::new(name),
            queues: 8,
            control: false,
            mtu: None,
            without: FeatureSet::empty(),
        }
    }

    /// Returns the configuration space, and the features on offer.
    pub(super) fn describe(&self) -> (ConfigLayout, FeatureSet) {
        let mut offered = FeatureSet::of(&[
            Feature::VERSION_1,
            Feature::INDIRECT_DESC,
            Feature::EVENT_IDX,
            Feature::RING_PACKED,
            Feature::IN_ORDER,
            Feature::CSUM,
            Feature::GUEST_CSUM,
            Feature::GUEST_TSO4,
            Feature::GUEST_TSO6,
            Feature::GUEST_ECN,
            Feature::GUEST_USO4,
            Feature::GUEST_USO6,
            Feature::HOST_TSO4,
            Feature::HOST_TSO6,
            Feature::HOST_ECN,
            Feature::HOST_USO,
            Feature::MRG_RXBUF,
            Feature::MAC,
            Feature::MQ,
            Feature::STATUS,
        ]);
        if self.mtu.is_some() || !self.control {
            // QEMU has the number, if this does not.
            offered = offered.with(Feature::MTU);
        }
        if self.control {
            offered = offered.union(FeatureSet::of(&[
                Feature::CTRL_VQ,
                Feature::CTRL_RX,
                Feature::CTRL_RX_EXTRA,
                Feature::CTRL_VLAN,
                Feature::CTRL_MAC_ADDR,
                Feature::CTRL_GUEST_OFFLOADS,
                Feature::GUEST_ANNOUNCE,
                Feature::GUEST_HDRLEN,
                Feature::SPEED_DUPLEX,
            ]));
        }
        let layout = ConfigLayout {
            mac: self.port.mac.unwrap_or(NOBODY),
            status: status::LINK_UP.into(),
            max_virtqueue_pairs: self.queues.into(),
            mtu: self.mtu.unwrap_or(0).into(),
            speed: SPEED.into(),
            duplex: 1,
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
                $(stringify!($field) => Some((offset_of!(ConfigLayout, $field), $length)),)*
                _ => None,
            }
        };
    }
    fields! {
        mac: 6,
        status: 2,
        max_virtqueue_pairs: 2,
        mtu: 2,
        speed: 4,
        duplex: 1,
        rss_max_key_size: 1,
        rss_max_indirection_table_length: 2,
        supported_hash_types: 4,
        supported_tunnel_types: 4,
    }
}
