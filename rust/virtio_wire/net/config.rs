// SPDX-License-Identifier: GPL-2.0

//! The configuration space of network devices.
//!
//! [`ConfigLayout`] is what is there, [`Config`] what it means: it has only what exists with the
//! accepted features, and each value is checked where it is asked for, as a driver can do without
//! some of them.
//!
//! Virtio 1.3, 5.1.4.

use super::{
    hash::HashTypes,
    mac::{
        MacAddress,
        MacError, //
    },
    Accepted,
    Feature, //
};
use crate::{
    int::{
        Le16,
        Le32, //
    },
    wire::{
        copy,
        wire_struct,
        Truncated, //
    },
};
use core::{
    fmt,
    mem::offset_of, //
};

wire_struct! {
    /// The configuration space.
    #[doc(alias = "virtio_net_config")]
    pub struct ConfigLayout[28] {
        /// The MAC address.
        pub mac: [u8; 6],
        /// The state of the link, and whether an announcement is wanted.
        pub status: Le16,
        /// The most pairs of queues.
        pub max_virtqueue_pairs: Le16,
        /// The largest MTU.
        pub mtu: Le16,
        /// The speed in Mbit/s.
        pub speed: Le32,
        /// Whether both ends can send at the same time.
        pub duplex: u8,
        /// The longest key of a hash.
        pub rss_max_key_size: u8,
        /// The most entries of an indirection table.
        pub rss_max_indirection_table_length: Le16,
        /// Which hashes there are.
        pub supported_hash_types: Le32,
        /// For which tunnels the hash can be that of the inner header.
        pub supported_tunnel_types: Le32,
    }
}

/// Bits of [`ConfigLayout::status`].
pub mod status {
    /// The link is up.
    pub const LINK_UP: u16 = 1;
    /// The driver shall announce itself on the network.
    pub const ANNOUNCE: u16 = 2;
}

/// The least MTU of IPv4.
pub const MIN_MTU: u16 = 68;
/// The least of what a device may say of the longest key of a hash.
pub const MIN_KEY_SIZE: u8 = 40;
/// The least of what a device may say of the longest indirection table.
pub const MIN_TABLE_LENGTH: u16 = 128;

/// Why a value in the configuration space cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// The configuration space is too short for the features.
    Truncated(Truncated),
    /// The MAC address is not that of a station.
    Mac(MacError),
    /// The number of pairs of queues is not between 1 and 0x8000.
    QueuePairs(u16),
    /// The MTU is too small.
    Mtu(u16),
    /// The longest key of a hash is too short.
    KeySize(u8),
    /// The longest indirection table is too short.
    TableLength(u16),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(truncated) => write!(f, "the configuration space: {truncated}"),
            Self::Mac(error) => fmt::Display::fmt(error, f),
            Self::QueuePairs(pairs) => write!(f, "there cannot be {pairs} pairs of queues"),
            Self::Mtu(mtu) => write!(f, "an MTU of {mtu}"),
            Self::KeySize(size) => write!(f, "hash keys have at most {size} bytes"),
            Self::TableLength(length) => {
                write!(f, "indirection tables have at most {length} entries")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// A number of pairs of queues, between 1 and 0x8000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePairs(u16);

impl QueuePairs {
    /// One pair, which is always there.
    pub const ONE: Self = Self(1);
    /// The most there can be.
    pub const MAX: Self = Self(0x8000);

    /// Takes a number.
    ///
    /// # Errors
    ///
    /// There cannot be so many pairs.
    pub fn new(pairs: u16) -> Result<Self, ConfigError> {
        if (Self::ONE.0..=Self::MAX.0).contains(&pairs) {
            Ok(Self(pairs))
        } else {
            Err(ConfigError::QueuePairs(pairs))
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Returns what the queue with an index is for, if there is a control queue after these pairs.
    ///
    /// Virtio 1.3, 5.1.2.
    pub fn queue(self, index: u32) -> Option<Queue> {
        let pair = u16::try_from(index.wrapping_shr(1)).ok()?;
        match index & 1 {
            0 if pair < self.0 => Some(Queue::Receive(pair)),
            0 if pair == self.0 => Some(Queue::Control),
            1 if pair < self.0 => Some(Queue::Transmit(pair)),
            _ => None,
        }
    }
}

/// What a queue is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// To receive, in the pair with this number.
    Receive(u16),
    /// To transmit, in the pair with this number.
    Transmit(u16),
    /// To control.
    Control,
}

/// The state of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Frames can be sent and received.
    Up,
    /// There is no link.
    Down,
}

/// The speed of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speed {
    /// In Mbit/s, at most 0x7fffffff.
    Known(u32),
    /// It is not known.
    Unknown,
}

/// Whether both ends can send at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplex {
    /// They cannot.
    Half,
    /// They can.
    Full,
    /// It is not known.
    Unknown,
}

/// What a device can do to hash frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    /// The longest key.
    pub key_size: u8,
    /// The types of hashes.
    pub types: HashTypes,
}

/// The configuration space of a device with certain features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    layout: ConfigLayout,
    accepted: Accepted,
}

impl Config {
    /// Returns how many bytes exist with certain features: no more may be read.
    pub fn length(accepted: Accepted) -> usize {
        let has = |feature| accepted.has(feature);
        if has(Feature::HASH_TUNNEL) {
            ConfigLayout::SIZE
        } else if has(Feature::RSS) || has(Feature::HASH_REPORT) {
            offset_of!(ConfigLayout, supported_tunnel_types)
        } else if has(Feature::SPEED_DUPLEX) {
            offset_of!(ConfigLayout, rss_max_key_size)
        } else if has(Feature::MTU) {
            offset_of!(ConfigLayout, speed)
        } else if has(Feature::MQ) {
            offset_of!(ConfigLayout, mtu)
        } else if has(Feature::STATUS) {
            offset_of!(ConfigLayout, max_virtqueue_pairs)
        } else if has(Feature::MAC) {
            offset_of!(ConfigLayout, status)
        } else {
            0
        }
    }

    /// Takes what was read of the configuration space, which may be more than exists with these
    /// features.
    ///
    /// # Errors
    ///
    /// There is less than exists with these features.
    pub fn parse(bytes: &[u8], accepted: Accepted) -> Result<Self, ConfigError> {
        let needed = Self::length(accepted);
        let mut whole = [0; ConfigLayout::SIZE];
        copy(&mut whole, bytes, needed).map_err(ConfigError::Truncated)?;
        Ok(Self {
            layout: ConfigLayout::from_bytes(&whole),
            accepted,
        })
    }

    /// Returns the features that the driver has accepted.
    pub const fn accepted(&self) -> Accepted {
        self.accepted
    }

    /// Returns the MAC address, if the device has one.
    ///
    /// # Errors
    ///
    /// It is not the address of a station.
    pub fn mac(&self) -> Result<Option<MacAddress>, ConfigError> {
        if !self.accepted.has(Feature::MAC) {
            return Ok(None);
        }
        MacAddress::new(self.layout.mac)
            .map(Some)
            .map_err(ConfigError::Mac)
    }

    /// Returns the state of the link, which is up if the device does not say.
    pub fn link(&self) -> Link {
        let up = self.layout.status.get() & status::LINK_UP != 0;
        if up || !self.accepted.has(Feature::STATUS) {
            Link::Up
        } else {
            Link::Down
        }
    }

    /// Returns whether the driver shall announce itself on the network, and then acknowledge that
    /// by a command. It never shall if it cannot send the command.
    pub fn announce(&self) -> bool {
        self.accepted.has(Feature::STATUS)
            && self.accepted.has(Feature::GUEST_ANNOUNCE)
            && self.layout.status.get() & status::ANNOUNCE != 0
    }

    /// Returns how many pairs of queues there are.
    ///
    /// # Errors
    ///
    /// There cannot be so many.
    pub fn queue_pairs(&self) -> Result<QueuePairs, ConfigError> {
        if self.accepted.has(Feature::MQ) || self.accepted.has(Feature::RSS) {
            QueuePairs::new(self.layout.max_virtqueue_pairs.get())
        } else {
            Ok(QueuePairs::ONE)
        }
    }

    /// Returns the largest MTU, if the device says it.
    ///
    /// # Errors
    ///
    /// It is too small.
    pub fn mtu(&self) -> Result<Option<u16>, ConfigError> {
        if !self.accepted.has(Feature::MTU) {
            return Ok(None);
        }
        match self.layout.mtu.get() {
            mtu if mtu < MIN_MTU => Err(ConfigError::Mtu(mtu)),
            mtu => Ok(Some(mtu)),
        }
    }

    /// Returns the speed of the link.
    pub fn speed(&self) -> Speed {
        match self.layout.speed.get() {
            speed if self.accepted.has(Feature::SPEED_DUPLEX) && speed <= 0x7fff_ffff => {
                Speed::Known(speed)
            }
            _ => Speed::Unknown,
        }
    }

    /// Returns whether both ends can send at the same time.
    pub fn duplex(&self) -> Duplex {
        match self.layout.duplex {
            0 if self.accepted.has(Feature::SPEED_DUPLEX) => Duplex::Half,
            1 if self.accepted.has(Feature::SPEED_DUPLEX) => Duplex::Full,
            _ => Duplex::Unknown,
        }
    }

    /// Returns what the device can do to hash frames, if it can.
    ///
    /// # Errors
    ///
    /// Its keys are shorter than those of all devices.
    pub fn hash(&self) -> Result<Option<HashLimits>, ConfigError> {
        if !(self.accepted.has(Feature::RSS) || self.accepted.has(Feature::HASH_REPORT)) {
            return Ok(None);
        }
        match self.layout.rss_max_key_size {
            size if size < MIN_KEY_SIZE => Err(ConfigError::KeySize(size)),
            key_size => Ok(Some(HashLimits {
                key_size,
                types: HashTypes::from_bits(self.layout.supported_hash_types.get()),
            })),
        }
    }

    /// Returns the most entries of an indirection table, if there is one. It need not be a power
    /// of two, but tables have to be.
    ///
    /// # Errors
    ///
    /// There are fewer than all devices have.
    pub fn table_length(&self) -> Result<Option<u16>, ConfigError> {
        if !self.accepted.has(Feature::RSS) {
            return Ok(None);
        }
        match self.layout.rss_max_indirection_table_length.get() {
            length if length < MIN_TABLE_LENGTH => Err(ConfigError::TableLength(length)),
            length => Ok(Some(length)),
        }
    }
}

#[cfg(test)]
mod tests;
