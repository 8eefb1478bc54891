// SPDX-License-Identifier: GPL-2.0

//! The features of network devices.
//!
//! Features of virtio 1.4 that change the header further, `VIRTIO_NET_F_OUT_NET_HEADER` and
//! `VIRTIO_NET_F_IPSEC`, are not defined here, and so cannot be negotiated.
//!
//! Virtio 1.3, 5.1.3.

use super::{
    Feature,
    FeatureSet, //
};
use crate::feature::{
    features,
    Class,
    Rule, //
};

/// The class of network devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Net {}

features! {
    impl[] Net, "VIRTIO_NET_F_" {
        /// The device completes checksums of frames that it gets.
        CSUM = 0,
        /// The driver takes frames with partial checksums.
        GUEST_CSUM = 1,
        /// What the driver takes can be changed by a command.
        CTRL_GUEST_OFFLOADS = 2,
        /// The device says its largest MTU.
        MTU = 3,
        /// The device says its MAC address.
        MAC = 5,
        /// Legacy: the device takes all frames to be segmented.
        GSO = 6,
        /// The driver takes coalesced TCP over IPv4.
        GUEST_TSO4 = 7,
        /// The driver takes coalesced TCP over IPv6.
        GUEST_TSO6 = 8,
        /// The driver takes coalesced TCP with explicit congestion notification.
        GUEST_ECN = 9,
        /// The driver takes UDP that is to be fragmented.
        GUEST_UFO = 10,
        /// The device segments TCP over IPv4.
        HOST_TSO4 = 11,
        /// The device segments TCP over IPv6.
        HOST_TSO6 = 12,
        /// The device segments TCP with explicit congestion notification.
        HOST_ECN = 13,
        /// The device fragments UDP.
        HOST_UFO = 14,
        /// A received frame can be in several buffers.
        MRG_RXBUF = 15,
        /// The device says the state of the link.
        STATUS = 16,
        /// There is a control queue.
        CTRL_VQ = 17,
        /// Commands set which frames are received.
        CTRL_RX = 18,
        /// Commands set which VLANs are received.
        CTRL_VLAN = 19,
        /// More commands set which frames are received.
        CTRL_RX_EXTRA = 20,
        /// The driver can announce itself on the network.
        GUEST_ANNOUNCE = 21,
        /// There are several pairs of queues.
        MQ = 22,
        /// A command sets the MAC address.
        CTRL_MAC_ADDR = 23,
        /// Commands get the counters of the device (virtio 1.4).
        DEVICE_STATS = 50,
        /// The hash can be that of the inner header.
        HASH_TUNNEL = 51,
        /// Commands set when a queue notifies.
        VQ_NOTF_COAL = 52,
        /// Commands set when queues notify.
        NOTF_COAL = 53,
        /// The driver takes coalesced UDP over IPv4.
        GUEST_USO4 = 54,
        /// The driver takes coalesced UDP over IPv6.
        GUEST_USO6 = 55,
        /// The device segments UDP.
        HOST_USO = 56,
        /// Received frames come with a hash.
        HASH_REPORT = 57,
        /// The driver says the exact length of the headers.
        GUEST_HDRLEN = 59,
        /// A hash that the driver configures chooses the receive queue.
        RSS = 60,
        /// The device counts what it has coalesced.
        RSC_EXT = 61,
        /// The device stands by for another one with the same MAC address.
        STANDBY = 62,
        /// The device says speed and duplex.
        SPEED_DUPLEX = 63,
        /// There are several configurations of receive-side scaling (virtio 1.4).
        RSS_CONTEXT = 64,
        /// The driver takes coalesced frames in a UDP tunnel (virtio 1.4).
        GUEST_UDP_TUNNEL_GSO = 65,
        /// The driver takes them with a partial checksum of the tunnel (virtio 1.4).
        GUEST_UDP_TUNNEL_GSO_CSUM = 66,
        /// The device segments frames in a UDP tunnel (virtio 1.4).
        HOST_UDP_TUNNEL_GSO = 67,
        /// The device completes the checksum of the tunnel, too (virtio 1.4).
        HOST_UDP_TUNNEL_GSO_CSUM = 68,
    }
}

impl Feature {
    /// What lets a received frame be larger than the MTU.
    pub const GUEST_GSO: FeatureSet = FeatureSet::of(&[
        Self::GUEST_TSO4,
        Self::GUEST_TSO6,
        Self::GUEST_UFO,
        Self::GUEST_USO4,
        Self::GUEST_USO6,
    ]);
}

/// What needs the control queue. The specification has it as a requirement for most of these; it is
/// only advice for `CTRL_RX_EXTRA` and `HASH_REPORT`, and missing for `CTRL_GUEST_OFFLOADS` and
/// `DEVICE_STATS`, which consist of commands.
const fn control(feature: Feature) -> Rule<Net> {
    Rule::all(feature, &[Feature::CTRL_VQ])
}

impl Class for Net {
    const NAMES: &'static [(u32, &'static str)] = NAMES;

    // Virtio 1.3, 5.1.3.1.
    const RULES: &'static [Rule<Self>] = &[
        Rule::all(Feature::GUEST_TSO4, &[Feature::GUEST_CSUM]),
        Rule::all(Feature::GUEST_TSO6, &[Feature::GUEST_CSUM]),
        Rule::any(
            Feature::GUEST_ECN,
            &[Feature::GUEST_TSO4, Feature::GUEST_TSO6],
        ),
        Rule::all(Feature::GUEST_UFO, &[Feature::GUEST_CSUM]),
        Rule::all(Feature::GUEST_USO4, &[Feature::GUEST_CSUM]),
        Rule::all(Feature::GUEST_USO6, &[Feature::GUEST_CSUM]),
        Rule::all(
            Feature::GUEST_UDP_TUNNEL_GSO,
            &[
                Feature::GUEST_TSO4,
                Feature::GUEST_TSO6,
                Feature::GUEST_USO4,
                Feature::GUEST_USO6,
            ],
        ),
        Rule::all(
            Feature::GUEST_UDP_TUNNEL_GSO_CSUM,
            &[Feature::GUEST_UDP_TUNNEL_GSO],
        ),
        Rule::all(Feature::HOST_TSO4, &[Feature::CSUM]),
        Rule::all(Feature::HOST_TSO6, &[Feature::CSUM]),
        Rule::any(Feature::HOST_ECN, &[Feature::HOST_TSO4, Feature::HOST_TSO6]),
        Rule::all(Feature::HOST_UFO, &[Feature::CSUM]),
        Rule::all(Feature::HOST_USO, &[Feature::CSUM]),
        Rule::all(
            Feature::HOST_UDP_TUNNEL_GSO,
            &[Feature::HOST_TSO4, Feature::HOST_TSO6, Feature::HOST_USO],
        ),
        Rule::all(
            Feature::HOST_UDP_TUNNEL_GSO_CSUM,
            &[Feature::HOST_UDP_TUNNEL_GSO],
        ),
        control(Feature::CTRL_GUEST_OFFLOADS),
        control(Feature::CTRL_RX),
        control(Feature::CTRL_RX_EXTRA),
        control(Feature::CTRL_VLAN),
        control(Feature::GUEST_ANNOUNCE),
        control(Feature::MQ),
        control(Feature::CTRL_MAC_ADDR),
        control(Feature::DEVICE_STATS),
        control(Feature::VQ_NOTF_COAL),
        control(Feature::NOTF_COAL),
        control(Feature::HASH_REPORT),
        control(Feature::RSS),
        control(Feature::HASH_TUNNEL),
        Rule::any(Feature::HASH_TUNNEL, &[Feature::RSS, Feature::HASH_REPORT]),
        control(Feature::RSS_CONTEXT),
        Rule::all(Feature::RSS_CONTEXT, &[Feature::RSS]),
        Rule::any(Feature::RSC_EXT, &[Feature::HOST_TSO4, Feature::HOST_TSO6]),
    ];
}
