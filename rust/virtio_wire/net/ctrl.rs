// SPDX-License-Identifier: GPL-2.0

//! Commands on the control queue.
//!
//! A command is a [`Command`], which both ends have: a driver encodes it with
//! [`CtrlRules::encode`], a device decodes it with [`CtrlRules::decode`]. What was not negotiated,
//! or is beyond what the device said of itself, passes neither.
//!
//! What a driver makes readable is the class, the command and the data; what it makes writable is
//! one byte, the [`Ack`], and then the result, of [`Command::result_length`] bytes.
//!
//! `VIRTIO_NET_CTRL_NOTF_COAL_VQ_GET` is not here. The specification does not say on which side of
//! the acknowledgement its result is, and no driver of Linux sends it.
//!
//! Virtio 1.3, 5.1.6.5.

use super::{
    config::{
        Config,
        ConfigError,
        QueuePairs, //
    },
    hash::HashTypes,
    mac::{
        MacAddress,
        MacError, //
    },
    stats::{
        StatsError,
        StatsRequest, //
    },
    Accepted,
    Feature,
    FeatureSet, //
};
use crate::wire::{
    Truncated,
    Writer, //
};
use core::fmt;

mod code;
mod filter;
mod offloads;
mod steering;

pub use self::{
    filter::{
        MacTable,
        RxMode,
        Switch,
        VlanId, //
    },
    offloads::{
        Coalesce,
        CoalesceLayout,
        CoalesceQueueLayout,
        Offloads, //
    },
    steering::{
        HashConfig,
        RssConfig,
        RssTable, //
    },
};

/// What a device writes first when it has a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// The command is done.
    Ok,
    /// The command is refused.
    Error,
}

impl Ack {
    /// What a driver puts there before, which is no acknowledgement.
    pub const UNWRITTEN: u8 = 0xff;

    /// Takes the byte.
    ///
    /// # Errors
    ///
    /// It is not one that a device may write.
    pub const fn new(byte: u8) -> Result<Self, CtrlError> {
        match byte {
            0 => Ok(Self::Ok),
            1 => Ok(Self::Error),
            _ => Err(CtrlError::Ack(byte)),
        }
    }

    /// Returns the byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Error => 1,
        }
    }
}

/// A command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Switches a way to receive on or off.
    RxMode(RxMode, Switch),
    /// Sets the addresses to receive.
    MacTable(MacTable<'a>),
    /// Sets the address of the station.
    SetMac(MacAddress),
    /// Adds a VLAN to receive.
    AddVlan(VlanId),
    /// Removes a VLAN to receive.
    RemoveVlan(VlanId),
    /// Says that the announcement was noticed.
    AnnounceAck,
    /// Sets how many pairs of queues are used, and that the device chooses among them.
    QueuePairs(QueuePairs),
    /// Sets how the queue for a received frame is chosen.
    Rss(RssConfig<'a>),
    /// Sets how hashes are made.
    Hash(HashConfig<'a>),
    /// Sets what the driver takes.
    Offloads(Offloads),
    /// Sets when transmit queues notify.
    CoalesceTx(Coalesce),
    /// Sets when receive queues notify.
    CoalesceRx(Coalesce),
    /// Sets when the queue with an index notifies.
    CoalesceQueue(u16, Coalesce),
    /// Asks which counters there are; the result is a `Le64`, see
    /// [`StatsTypes`](super::stats::StatsTypes).
    StatsQuery,
    /// Asks for counters; the result is a [`StatsReply`](super::stats::StatsReply).
    StatsGet(StatsRequest<'a>),
}

impl Command<'_> {
    /// Returns the features without which there is no such command.
    pub fn needs(&self) -> FeatureSet {
        FeatureSet::of(match self {
            Self::RxMode(mode, _) if mode.is_extra() => &[Feature::CTRL_RX_EXTRA],
            Self::RxMode(..) | Self::MacTable(_) => &[Feature::CTRL_RX],
            Self::SetMac(_) => &[Feature::CTRL_MAC_ADDR],
            Self::AddVlan(_) | Self::RemoveVlan(_) => &[Feature::CTRL_VLAN],
            Self::AnnounceAck => &[Feature::GUEST_ANNOUNCE],
            Self::QueuePairs(_) => &[Feature::MQ],
            Self::Rss(_) => &[Feature::RSS],
            Self::Hash(_) => &[Feature::HASH_REPORT],
            Self::Offloads(_) => &[Feature::CTRL_GUEST_OFFLOADS],
            Self::CoalesceTx(_) | Self::CoalesceRx(_) => &[Feature::NOTF_COAL],
            Self::CoalesceQueue(..) => &[Feature::VQ_NOTF_COAL],
            Self::StatsQuery | Self::StatsGet(_) => &[Feature::DEVICE_STATS],
        })
    }

    /// Returns how many bytes the result has, which the device writes after the [`Ack`].
    pub fn result_length(&self) -> usize {
        match self {
            Self::StatsQuery => crate::int::Le64::SIZE,
            Self::StatsGet(request) => request.reply_length(),
            _ => 0,
        }
    }
}

/// Why a command is not acceptable: a device answers with [`Ack::Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtrlError {
    /// There are too few bytes.
    Truncated(Truncated),
    /// There are more bytes than the command has.
    TooLong(usize),
    /// There is no such command.
    Unknown {
        /// The class of the command.
        class: u8,
        /// The command in its class.
        command: u8,
    },
    /// The command needs a feature that was not negotiated.
    NotNegotiated(Feature),
    /// A switch is neither on nor off.
    Switch(u8),
    /// A MAC address is not of the kind that it has to be.
    Mac(MacError),
    /// There is no such VLAN.
    Vlan(u16),
    /// There are not as many pairs of queues.
    QueuePairs(u16),
    /// There is no such queue, or it cannot do this.
    Queue(u16),
    /// The length of an indirection table is not a power of two, or the table is too long.
    TableLength(usize),
    /// The key of a hash is too long.
    KeyLength(usize),
    /// The device does not have all of these hashes.
    HashTypes(u32),
    /// What the driver takes was not negotiated.
    Offloads(u64),
    /// What is asked of the counters cannot be.
    Stats(StatsError),
    /// The device has acknowledged the command by a byte that it must not write.
    Ack(u8),
}

impl fmt::Display for CtrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(truncated) => write!(f, "no whole command: {truncated}"),
            Self::TooLong(length) => write!(f, "a command of {length} bytes is too long"),
            Self::Unknown { class, command } => {
                write!(f, "there is no command {command} of class {class}")
            }
            Self::NotNegotiated(feature) => write!(f, "{feature} was not negotiated"),
            Self::Switch(value) => write!(f, "{value} is neither on nor off"),
            Self::Mac(error) => fmt::Display::fmt(error, f),
            Self::Vlan(id) => write!(f, "there is no VLAN {id}"),
            Self::QueuePairs(pairs) => write!(f, "there are not {pairs} pairs of queues"),
            Self::Queue(index) => write!(f, "queue {index} is not one for this"),
            Self::TableLength(length) => write!(f, "an indirection table with {length} entries"),
            Self::KeyLength(length) => write!(f, "a hash key of {length} bytes"),
            Self::HashTypes(types) => {
                write!(f, "the device has not all of the hashes {types:#x}")
            }
            Self::Offloads(bits) => write!(f, "not all offloads {bits:#x} were negotiated"),
            Self::Stats(error) => fmt::Display::fmt(error, f),
            Self::Ack(byte) => write!(f, "a command is acknowledged by {byte:#x}"),
        }
    }
}

impl core::error::Error for CtrlError {}

impl From<Truncated> for CtrlError {
    fn from(truncated: Truncated) -> Self {
        Self::Truncated(truncated)
    }
}

impl From<MacError> for CtrlError {
    fn from(error: MacError) -> Self {
        Self::Mac(error)
    }
}

/// What commands may say, with the features and the configuration of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CtrlRules {
    accepted: Accepted,
    pairs: QueuePairs,
    key_size: u8,
    table_length: u16,
    types: HashTypes,
}

impl CtrlRules {
    /// Makes the rules that go with a configuration.
    ///
    /// # Errors
    ///
    /// A value in the configuration that commands depend on cannot be.
    pub fn new(accepted: Accepted, config: &Config) -> Result<Self, ConfigError> {
        let hash = config.hash()?;
        Ok(Self {
            accepted,
            pairs: config.queue_pairs()?,
            key_size: hash.map_or(0, |hash| hash.key_size),
            table_length: config.table_length()?.unwrap_or(0),
            types: hash.map_or(HashTypes::default(), |hash| hash.types),
        })
    }

    /// Writes a command as a driver sends it, and returns its length.
    ///
    /// # Errors
    ///
    /// The command is not acceptable, or there is no room for it.
    pub fn encode(&self, command: &Command<'_>, buffer: &mut [u8]) -> Result<usize, CtrlError> {
        self.check(command)?;
        // Other than the C header, the specification has all commands about addresses with this.
        if matches!(command, Command::SetMac(_)) && !self.accepted.has(Feature::CTRL_RX) {
            return Err(CtrlError::NotNegotiated(Feature::CTRL_RX));
        }
        let mut writer = Writer::new(buffer);
        code::encode(command, &mut writer);
        Ok(writer.finish()?)
    }

    /// Reads a command that a driver has sent.
    ///
    /// # Errors
    ///
    /// The command is not acceptable.
    pub fn decode<'a>(&self, bytes: &'a [u8]) -> Result<Command<'a>, CtrlError> {
        let command = code::decode(bytes)?;
        self.check(&command)?;
        Ok(command)
    }

    fn check(&self, command: &Command<'_>) -> Result<(), CtrlError> {
        let missing = command.needs().difference(self.accepted.set()).first();
        if let Some(feature) = missing {
            return Err(CtrlError::NotNegotiated(feature));
        }
        match command {
            Command::QueuePairs(pairs) => self.check_pairs(pairs.get()),
            Command::Rss(rss) => {
                self.check_hash(rss.types, rss.key)?;
                self.check_pairs(rss.transmit.get())?;
                self.check_table(rss)
            }
            Command::Hash(hash) => self.check_hash(hash.types, hash.key),
            Command::Offloads(offloads) => offloads.check(self.accepted),
            Command::CoalesceQueue(index, _) => self.check_queue(*index),
            Command::StatsGet(request) => request
                .check(self.pairs, self.accepted)
                .map_err(CtrlError::Stats),
            _ => Ok(()),
        }
    }

    fn check_pairs(&self, pairs: u16) -> Result<(), CtrlError> {
        if pairs > self.pairs.get() {
            return Err(CtrlError::QueuePairs(pairs));
        }
        Ok(())
    }

    fn check_hash(&self, types: HashTypes, key: &[u8]) -> Result<(), CtrlError> {
        if !self.types.contains(types) {
            return Err(CtrlError::HashTypes(types.bits()));
        }
        if key.len() > usize::from(self.key_size) {
            return Err(CtrlError::KeyLength(key.len()));
        }
        Ok(())
    }

    fn check_table(&self, rss: &RssConfig<'_>) -> Result<(), CtrlError> {
        let length = rss.table.length();
        if length > usize::from(self.table_length) {
            return Err(CtrlError::TableLength(length));
        }
        let pairs = self.pairs.get();
        let mut used = rss.table.iter().chain([rss.unclassified]);
        match used.find(|pair| *pair >= pairs) {
            Some(pair) => Err(CtrlError::Queue(pair)),
            None => Ok(()),
        }
    }

    /// Checks that a queue receives or transmits.
    fn check_queue(&self, index: u16) -> Result<(), CtrlError> {
        match self.pairs.queue(index.into()) {
            None | Some(super::config::Queue::Control) => Err(CtrlError::Queue(index)),
            Some(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
