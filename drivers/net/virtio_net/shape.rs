// SPDX-License-Identifier: GPL-2.0

//! What the device says of itself, and what follows from it.

use kernel::{
    device::Bound,
    prelude::*, //
};
use kernel_ext::{
    fmt::Plain,
    net::Features,
    virtio::Device, //
};
use virtio_wire::net::{
    config::{
        Link,
        QueuePairs,
        MIN_MTU, //
    },
    Accepted,
    Config,
    ConfigError,
    ConfigLayout,
    Feature,
    FeatureSet,
    MacAddress,
    ETHERNET_HEADER, //
};

/// The length of a VLAN tag.
const VLAN_TAG: u32 = 4;

/// The longest frame that the guest may be given at once, without the header of virtio.
const LONGEST_FRAME: u32 = 65535 + ETHERNET_HEADER + VLAN_TAG;

/// The MTU unless the device or the user says otherwise.
const USUAL_MTU: u32 = 1500;

/// The most pairs of queues that are used. A device with more is used with one.
const MAX_PAIRS: u16 = 256;

/// How frames are received.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReceiveMode {
    /// In as many buffers as it takes.
    Mergeable,
    /// In one buffer of several pages, as they may be longer than one.
    Big,
    /// In one buffer.
    Small,
}

/// What the device says of itself, checked.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    config: Config,
}

impl Shape {
    /// Reads the configuration.
    pub(crate) fn read(vdev: &Device<Bound>, features: Accepted) -> Result<Self> {
        let mut bytes = [0; ConfigLayout::SIZE];
        vdev.read_config::<ConfigLayout>(Config::length(features), &mut bytes)?;
        let config = Config::parse(&bytes, features).map_err(|error| wrong(vdev, error))?;
        Ok(Self { config })
    }

    /// Returns the configuration.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    fn has(&self, feature: Feature) -> bool {
        self.config.accepted().has(feature)
    }

    /// Returns the features without those that the device is of no use with.
    pub(crate) fn usable(&self, vdev: &Device<Bound>) -> FeatureSet {
        let mut set = self.config.accepted().set();
        if let Err(error) = self.config.mac() {
            wrong(vdev, error);
            set = set.without(Feature::MAC);
        }
        if let Err(error) = self.config.mtu() {
            wrong(vdev, error);
            set = set.without(Feature::MTU);
        }
        match self.config.queue_pairs() {
            Ok(pairs) if pairs.get() <= MAX_PAIRS => {}
            Ok(pairs) => {
                dev_warn!(vdev, "of {} pairs of queues one is used\n", pairs.get());
                set = set.without(Feature::MQ);
            }
            Err(error) => {
                wrong(vdev, error);
                set = set.without(Feature::MQ);
            }
        }
        set
    }

    /// Returns the address, if the device has one.
    pub(crate) fn mac(&self, vdev: &Device<Bound>) -> Result<Option<MacAddress>> {
        self.config.mac().map_err(|error| wrong(vdev, error))
    }

    /// Returns how many pairs of queues the device has.
    pub(crate) fn pairs(&self, vdev: &Device<Bound>) -> Result<QueuePairs> {
        let pairs = self.config.queue_pairs();
        pairs.map_err(|error| wrong(vdev, error))
    }

    /// Tells whether the link is up.
    pub(crate) fn is_up(&self) -> bool {
        self.config.link() == Link::Up
    }

    /// Returns the MTU to begin with, and the largest one: frames that do not fit into a buffer cannot
    /// be received.
    pub(crate) fn mtu(&self, vdev: &Device<Bound>) -> Result<(u32, u32)> {
        let told = self.config.mtu().map_err(|error| wrong(vdev, error))?;
        let usual = told.map_or(USUAL_MTU, u32::from);
        let most = match self.receive_mode(usual) {
            _ if told.is_some() => usual,
            ReceiveMode::Small => usual,
            ReceiveMode::Mergeable | ReceiveMode::Big => u16::MAX.into(),
        };
        Ok((usual, most))
    }

    /// Returns the smallest MTU.
    pub(crate) fn min_mtu(&self) -> u32 {
        MIN_MTU.into()
    }

    /// Tells whether the guest may be given frames that are to be cut.
    pub(crate) fn receives_gso(&self) -> bool {
        let gso = Feature::GUEST_GSO;
        !self.config.accepted().set().intersection(gso).is_empty()
    }

    /// Returns how frames are received, with an MTU that is at most this.
    pub(crate) fn receive_mode(&self, mtu: u32) -> ReceiveMode {
        if self.has(Feature::MRG_RXBUF) {
            ReceiveMode::Mergeable
        } else if self.receives_gso() || mtu > USUAL_MTU {
            ReceiveMode::Big
        } else {
            ReceiveMode::Small
        }
    }

    /// Returns how long a received frame may be, without the header of virtio.
    pub(crate) fn longest_frame(&self, mtu: u32) -> u32 {
        if self.receives_gso() {
            LONGEST_FRAME
        } else {
            // A frame need not be as short as the MTU: it may be one of before it was changed.
            mtu.max(USUAL_MTU) + ETHERNET_HEADER + VLAN_TAG
        }
    }

    /// Returns what users may switch on and off, and what is on to begin with.
    pub(crate) fn offloads(&self, wanted: Wanted) -> (Features, Features) {
        let mut may = Features::NONE;
        if self.has(Feature::CSUM) {
            may = may | Features::HW_CSUM | Features::SG;
            for (feature, offload) in [
                (Feature::HOST_TSO4, Features::TSO),
                (Feature::HOST_TSO6, Features::TSO6),
                (Feature::HOST_ECN, Features::TSO_ECN),
                (Feature::HOST_USO, Features::GSO_UDP_L4),
            ] {
                if self.has(feature) {
                    may = may | offload;
                }
            }
        }
        let mut on = may;
        if !wanted.gso {
            on = on
                .without(Features::TSO | Features::TSO6 | Features::TSO_ECN)
                .without(Features::GSO_UDP_L4);
        }
        if !wanted.checksum {
            on = Features::NONE;
        }
        on = on | Features::HIGHDMA;
        if self.has(Feature::GUEST_CSUM) {
            on = on | Features::RXCSUM;
        }
        if self.has(Feature::GUEST_TSO4) || self.has(Feature::GUEST_TSO6) {
            on = on | Features::GRO_HW;
            if self.has(Feature::CTRL_GUEST_OFFLOADS) {
                may = may | Features::GRO_HW;
            }
        }
        if self.has(Feature::CTRL_VLAN) {
            on = on | Features::HW_VLAN_CTAG_FILTER;
        }
        (may, on)
    }
}

/// What the user wants from the beginning.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// The device completes checksums.
    pub(crate) checksum: bool,
    /// The device cuts frames.
    pub(crate) gso: bool,
}

/// Complains of something that cannot be.
pub(crate) fn wrong(vdev: &Device<Bound>, error: ConfigError) -> Error {
    vdev.complain(|| dev_err!(vdev, "the device says what cannot be: {}\n", Plain(error)));
    EINVAL
}
