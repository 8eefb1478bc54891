// SPDX-License-Identifier: GPL-2.0

//! How a request ended.
//!
//! Virtio 1.3, 5.2.6.

use core::fmt;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It is done.
    Ok,
    /// It has failed.
    IoError,
    /// The device does not do such things.
    Unsupported,
    /// It has failed for a reason that only devices with zones have.
    Zone(ZoneStatus),
}

/// How a request to a device with zones has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneStatus {
    /// It cannot be done with that zone.
    InvalidCommand,
    /// It does not write where the zone is to be written next.
    UnalignedWritePointer,
    /// Too many zones would be open.
    OpenResource,
    /// Too many zones would be active.
    ActiveResource,
}

/// Why a status is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// The device has not written it.
    Unwritten,
    /// It is a byte that is not defined.
    Undefined(u8),
    /// The device says that the request is done, but has not written all of the data.
    Short {
        /// How many bytes the device can write, with the status.
        expected: u32,
        /// How many bytes it says that it has written.
        used: u32,
    },
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritten => f.write_str("the device has written no status"),
            Self::Undefined(byte) => write!(f, "the device has written a status {byte:#x}"),
            Self::Short { expected, used } => {
                write!(f, "the device has written {used} of {expected} bytes")
            }
        }
    }
}

impl core::error::Error for StatusError {}

impl Status {
    /// What a driver puts there before, which is no status: the driver of Linux does not, and
    /// takes what was there for one if the device writes nothing.
    pub const UNWRITTEN: u8 = 0xff;

    /// Takes the byte.
    ///
    /// # Errors
    ///
    /// It is not one that a device may write.
    pub const fn new(byte: u8) -> Result<Self, StatusError> {
        Ok(match byte {
            0 => Self::Ok,
            1 => Self::IoError,
            2 => Self::Unsupported,
            3 => Self::Zone(ZoneStatus::InvalidCommand),
            4 => Self::Zone(ZoneStatus::UnalignedWritePointer),
            5 => Self::Zone(ZoneStatus::OpenResource),
            6 => Self::Zone(ZoneStatus::ActiveResource),
            Self::UNWRITTEN => return Err(StatusError::Unwritten),
            _ => return Err(StatusError::Undefined(byte)),
        })
    }

    /// Takes the byte of a request that reads, together with the used length.
    ///
    /// A device may have written more than it says, but a driver must not use it (virtio 1.3,
    /// 2.7.8.3), so a request that is done but short is an error. Through the legacy interface the
    /// used length means nothing (virtio 1.3, 2.7.8.1): then use [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// The byte is no status, or `used` is less than `expected`, which is the length of the data
    /// and of the status.
    pub const fn of_read(byte: u8, used: u32, expected: u32) -> Result<Self, StatusError> {
        match Self::new(byte) {
            Ok(Self::Ok) if used < expected => Err(StatusError::Short { expected, used }),
            result => result,
        }
    }

    /// Returns the byte.
    pub const fn byte(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::IoError => 1,
            Self::Unsupported => 2,
            Self::Zone(ZoneStatus::InvalidCommand) => 3,
            Self::Zone(ZoneStatus::UnalignedWritePointer) => 4,
            Self::Zone(ZoneStatus::OpenResource) => 5,
            Self::Zone(ZoneStatus::ActiveResource) => 6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_statuses_belong_together() {
        for byte in 0..=6 {
            assert_eq!(Status::new(byte).map(Status::byte), Ok(byte));
        }
        assert_eq!(Status::new(0), Ok(Status::Ok));
        assert_eq!(Status::new(1), Ok(Status::IoError));
        assert_eq!(Status::new(2), Ok(Status::Unsupported));
    }

    #[test]
    fn other_bytes_are_no_status() {
        for byte in 7..=0xfe {
            assert_eq!(Status::new(byte), Err(StatusError::Undefined(byte)));
        }
        assert_eq!(Status::new(0xff), Err(StatusError::Unwritten));
    }

    #[test]
    fn what_was_read_has_to_be_there() {
        assert_eq!(Status::of_read(0, 513, 513), Ok(Status::Ok));
        assert_eq!(Status::of_read(1, 1, 513), Ok(Status::IoError));
        assert_eq!(
            Status::of_read(0, 512, 513),
            Err(StatusError::Short {
                expected: 513,
                used: 512
            })
        );
    }
}
