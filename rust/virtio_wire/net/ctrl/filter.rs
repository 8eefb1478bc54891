// SPDX-License-Identifier: GPL-2.0

//! Which frames to receive.
//!
//! Virtio 1.3, 5.1.6.5.1 to 5.1.6.5.3.

use super::{
    code::end,
    CtrlError,
    MacAddress, //
};
use crate::{
    int::Le32,
    net::mac::{
        self,
        MacError,
        MulticastAddress, //
    },
    wire::{
        split,
        Truncated,
        Writer, //
    },
};

/// A way to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxMode {
    /// All frames.
    Promiscuous,
    /// All frames to groups.
    AllMulticast,
    /// All frames to stations.
    AllUnicast,
    /// No frames to groups.
    NoMulticast,
    /// No frames to stations.
    NoUnicast,
    /// No frames to everybody.
    NoBroadcast,
}

impl RxMode {
    const ALL: [Self; 6] = [
        Self::Promiscuous,
        Self::AllMulticast,
        Self::AllUnicast,
        Self::NoMulticast,
        Self::NoUnicast,
        Self::NoBroadcast,
    ];

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Promiscuous => 0,
            Self::AllMulticast => 1,
            Self::AllUnicast => 2,
            Self::NoMulticast => 3,
            Self::NoUnicast => 4,
            Self::NoBroadcast => 5,
        }
    }

    pub(super) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.code() == code)
    }

    /// Returns whether it needs `VIRTIO_NET_F_CTRL_RX_EXTRA`.
    pub const fn is_extra(self) -> bool {
        !matches!(self, Self::Promiscuous | Self::AllMulticast)
    }
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Off.
    Off,
    /// On.
    On,
}

impl Switch {
    pub(super) const fn new(byte: u8) -> Result<Self, CtrlError> {
        match byte {
            0 => Ok(Self::Off),
            1 => Ok(Self::On),
            _ => Err(CtrlError::Switch(byte)),
        }
    }

    pub(super) const fn byte(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
        }
    }
}

impl From<bool> for Switch {
    fn from(on: bool) -> Self {
        if on {
            Self::On
        } else {
            Self::Off
        }
    }
}

/// The number of a VLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct VlanId(u16);

impl VlanId {
    /// Takes a number. 0 stands for frames with only a priority; the largest is reserved, but
    /// nothing says that it must not be filtered.
    ///
    /// # Errors
    ///
    /// It is more than 12 bits.
    pub const fn new(id: u16) -> Result<Self, CtrlError> {
        if id > 0xfff {
            return Err(CtrlError::Vlan(id));
        }
        Ok(Self(id))
    }

    /// Returns the number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Addresses to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacTable<'a> {
    unicast: &'a [u8],
    multicast: &'a [u8],
}

impl<'a> MacTable<'a> {
    /// Takes the addresses of stations, and those of groups, one after the other.
    ///
    /// # Errors
    ///
    /// An address is not whole, or is in the wrong table.
    pub fn new(unicast: &'a [u8], multicast: &'a [u8]) -> Result<Self, CtrlError> {
        for table in [unicast, multicast] {
            let rest = addresses(table).remainder();
            if !rest.is_empty() {
                return Err(CtrlError::Truncated(Truncated {
                    needed: mac::LENGTH,
                    available: rest.len(),
                }));
            }
        }
        // The address of no station does no harm.
        if array(unicast).any(mac::is_group) {
            return Err(CtrlError::Mac(MacError::Multicast));
        }
        if !array(multicast).all(mac::is_group) {
            return Err(CtrlError::Mac(MacError::Unicast));
        }
        Ok(Self { unicast, multicast })
    }

    /// Goes through the addresses of stations.
    pub fn unicast(self) -> impl Iterator<Item = MacAddress> + 'a {
        array(self.unicast).filter_map(|address| MacAddress::new(address).ok())
    }

    /// Goes through the addresses of groups.
    pub fn multicast(self) -> impl Iterator<Item = MulticastAddress> + 'a {
        array(self.multicast).filter_map(|address| MulticastAddress::new(address).ok())
    }

    pub(super) fn encode(&self, writer: &mut Writer<'_>) {
        for table in [self.unicast, self.multicast] {
            let entries = u32::try_from(array(table).count()).unwrap_or(u32::MAX);
            writer.put(Le32::new(entries));
            writer.bytes(table);
        }
    }

    pub(super) fn decode(data: &'a [u8]) -> Result<Self, CtrlError> {
        let (unicast, rest) = table(data)?;
        let (multicast, rest) = table(rest)?;
        end(rest, data)?;
        Self::new(unicast, multicast)
    }
}

fn table(data: &[u8]) -> Result<(&[u8], &[u8]), CtrlError> {
    let (entries, rest) = split::<Le32, 4>(data)?;
    let length = usize::try_from(entries.get())
        .unwrap_or(usize::MAX)
        .saturating_mul(mac::LENGTH);
    rest.split_at_checked(length)
        .ok_or(CtrlError::Truncated(Truncated {
            needed: length,
            available: rest.len(),
        }))
}

fn addresses(table: &[u8]) -> core::slice::ChunksExact<'_, u8> {
    table.chunks_exact(mac::LENGTH)
}

fn array(table: &[u8]) -> impl Iterator<Item = [u8; mac::LENGTH]> + '_ {
    addresses(table).filter_map(|address| address.first_chunk().copied())
}
