// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! *Receive* and *transmit* are as the guest sees them. The checks of a frame's header are the same
//! in both directions, but for the features: [`RxRules`] and [`TxRules`] both come down to an
//! [`Offload`], what is left to do for a frame by whoever gets it.
//!
//! Virtio 1.3, 5.1. C header:
//! [`include/uapi/linux/virtio_net.h`](srctree/include/uapi/linux/virtio_net.h)

pub mod config;
pub mod ctrl;
pub mod feature;
pub mod hash;
pub mod header;
pub mod mac;
pub mod offload;
pub mod receive;
pub mod stats;
pub mod transmit;

pub use self::{
    config::{
        Config,
        ConfigError,
        ConfigLayout, //
    },
    ctrl::{
        Ack,
        Command,
        CtrlError, //
    },
    feature::Net,
    hash::{
        HashReport,
        HashType,
        HashTypes, //
    },
    header::{
        Header,
        HeaderError,
        HeaderKind, //
    },
    mac::{
        MacAddress,
        MacError,
        MulticastAddress, //
    },
    offload::{
        Checksum,
        Gso,
        GsoKind,
        Offload,
        Tunnel, //
    },
    receive::{
        Receive,
        RxRules, //
    },
    transmit::{
        HeaderLength,
        Slip,
        Transmit,
        TxRules, //
    }, //
};

/// A feature of network devices.
pub type Feature = crate::feature::Feature<Net>;
/// A set of features of network devices.
pub type FeatureSet = crate::feature::FeatureSet<Net>;
/// The features that a network device offers.
pub type Offered = crate::feature::Offered<Net>;
/// The features of a network device that a driver has accepted.
pub type Accepted = crate::feature::Accepted<Net>;

/// The length of an Ethernet header without a tag.
pub const ETHERNET_HEADER: u32 = 14;
