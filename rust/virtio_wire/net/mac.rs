// SPDX-License-Identifier: GPL-2.0

//! Ethernet addresses.

use core::fmt;

/// The length of an Ethernet address.
pub const LENGTH: usize = 6;

/// Why an Ethernet address is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacError {
    /// All of it is zero.
    Zero,
    /// It is of a group, and not of one station.
    Multicast,
    /// It is of one station, and not of a group.
    Unicast,
}

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zero => "the MAC address is zero",
            Self::Multicast => "the MAC address is that of a group",
            Self::Unicast => "the MAC address is not that of a group",
        })
    }
}

impl core::error::Error for MacError {}

/// The address of a station: it is not zero, and not of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress([u8; LENGTH]);

impl MacAddress {
    /// Takes an address.
    ///
    /// # Errors
    ///
    /// It cannot be that of a station.
    pub fn new(bytes: [u8; LENGTH]) -> Result<Self, MacError> {
        if is_group(bytes) {
            Err(MacError::Multicast)
        } else if bytes == [0; LENGTH] {
            Err(MacError::Zero)
        } else {
            Ok(Self(bytes))
        }
    }

    /// Returns the bytes, in the order of the wire.
    pub const fn bytes(self) -> [u8; LENGTH] {
        self.0
    }

    /// Returns whether the address was not assigned by a manufacturer.
    pub const fn is_local(self) -> bool {
        let [first, ..] = self.0;
        first & 2 != 0
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

/// The address of a group, which can be that of all stations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MulticastAddress([u8; LENGTH]);

impl MulticastAddress {
    /// Takes an address.
    ///
    /// # Errors
    ///
    /// It is not that of a group.
    pub fn new(bytes: [u8; LENGTH]) -> Result<Self, MacError> {
        if is_group(bytes) {
            Ok(Self(bytes))
        } else {
            Err(MacError::Unicast)
        }
    }

    /// Returns the bytes, in the order of the wire.
    pub const fn bytes(self) -> [u8; LENGTH] {
        self.0
    }
}

impl fmt::Display for MulticastAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

/// Returns whether an address is that of a group.
pub const fn is_group(bytes: [u8; LENGTH]) -> bool {
    let [first, ..] = bytes;
    first & 1 != 0
}

fn write([a, b, c, d, e, g]: [u8; LENGTH], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_has_an_address_of_its_own() {
        let address = MacAddress::new([0x52, 0x54, 0, 0x12, 0x34, 0x56]).unwrap();

        assert!(address.is_local());
        assert_eq!(std::format!("{address}"), "52:54:00:12:34:56");
        assert!(!MacAddress::new([0, 0, 0, 0, 0, 1]).unwrap().is_local());
    }

    #[test]
    fn groups_and_zero_are_no_stations() {
        assert_eq!(MacAddress::new([0; 6]), Err(MacError::Zero));
        assert_eq!(MacAddress::new([0xff; 6]), Err(MacError::Multicast));
        assert_eq!(
            MacAddress::new([1, 0, 0x5e, 0, 0, 1]),
            Err(MacError::Multicast)
        );
    }

    #[test]
    fn stations_are_no_groups() {
        assert!(MulticastAddress::new([0x33, 0x33, 0, 0, 0, 1]).is_ok());
        assert!(MulticastAddress::new([0xff; 6]).is_ok());
        assert_eq!(
            MulticastAddress::new([2, 0, 0, 0, 0, 1]),
            Err(MacError::Unicast)
        );
    }
}
