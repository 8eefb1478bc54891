// SPDX-License-Identifier: GPL-2.0

//! The device status, and how it may change.
//!
//! The driver sets bits in their order, never clears one, and writes 0 to reset the device. The
//! device sets [`Status::NEEDS_RESET`], and refuses features by not leaving
//! [`Status::FEATURES_OK`] set. A device checks what is written with [`Status::write`], a driver
//! what it reads back with [`Status::read_back`].
//!
//! Virtio 1.3, 2.1 and 3.1.1.

use core::fmt;

/// The device status.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Status(u8);

/// Which initialization a driver follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// That of virtio 1.0 and later.
    Modern,
    /// The one before, without [`Status::FEATURES_OK`] (virtio 1.3, 3.1.2).
    Legacy,
}

/// What a driver asks for by writing the status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To be reset.
    Reset,
    /// Nothing: what it writes is what is there.
    Nothing,
    /// That these bits are set.
    Set(Status),
}

/// What is wrong with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusError {
    /// There are bits that are not defined.
    Undefined(u8),
    /// The driver clears bits, other than by a reset.
    Cleared(Status),
    /// The driver sets a bit that only the device sets.
    DeviceOnly,
    /// The driver sets a bit before one that comes earlier.
    OutOfOrder(Status),
    /// The driver goes on after it has given up.
    AfterFailed,
    /// The device does not accept the features.
    FeaturesRefused,
    /// The device needs a reset.
    NeedsReset,
    /// The device was reset, or has lost bits that the driver has set.
    Lost(Status),
}

impl Status {
    /// The device was reset.
    pub const RESET: Self = Self(0);
    /// The guest has noticed the device.
    pub const ACKNOWLEDGE: Self = Self(1);
    /// The guest has a driver for the device.
    pub const DRIVER: Self = Self(2);
    /// The driver is ready.
    pub const DRIVER_OK: Self = Self(4);
    /// The features are negotiated.
    pub const FEATURES_OK: Self = Self(8);
    /// The driver suspends the device (virtio 1.4, 3.4).
    pub const SUSPEND: Self = Self(16);
    /// The device cannot go on without a reset.
    pub const NEEDS_RESET: Self = Self(64);
    /// The driver has given up on the device.
    pub const FAILED: Self = Self(128);

    const DEFINED: Self = Self(0b1101_1111);

    /// Takes the byte that was read or written.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// Returns the byte.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns whether all of `other` is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the status with `other` set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the status with `other` cleared.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns whether the device may use its queues.
    pub const fn is_live(self) -> bool {
        self.contains(Self::DRIVER_OK) && !self.contains(Self::NEEDS_RESET)
    }

    /// Checks what a driver writes while the status is `self`.
    ///
    /// # Errors
    ///
    /// What the driver must not do.
    pub fn write(self, new: Self, interface: Interface) -> Result<Request, StatusError> {
        if new.is_empty() {
            return Ok(Request::Reset);
        }
        let undefined = new.without(Self::DEFINED);
        if !undefined.is_empty() {
            return Err(StatusError::Undefined(undefined.0));
        }
        // The device sets this bit when it wants, so the driver may not have seen it.
        let cleared = self.without(new).without(Self::NEEDS_RESET);
        // To resume, it sets one bit and clears the other.
        let resumed = new.contains(Self::DRIVER_OK) && self.contains(Self::SUSPEND);
        if !(cleared.is_empty() || resumed && cleared == Self::SUSPEND) {
            return Err(StatusError::Cleared(cleared));
        }
        let set = new.without(self);
        if set.contains(Self::NEEDS_RESET) {
            return Err(StatusError::DeviceOnly);
        }
        if set.is_empty() {
            return Ok(Request::Nothing);
        }
        // Giving up is possible at any time.
        if set == Self::FAILED {
            return Ok(Request::Set(set));
        }
        if self.contains(Self::FAILED) {
            return Err(StatusError::AfterFailed);
        }
        let features = match interface {
            Interface::Modern => Self::FEATURES_OK,
            Interface::Legacy => Self::DRIVER,
        };
        for (bit, before) in [
            (Self::DRIVER, Self::ACKNOWLEDGE),
            (Self::FEATURES_OK, Self::DRIVER),
            (Self::DRIVER_OK, features),
            (Self::SUSPEND, Self::DRIVER_OK),
        ] {
            // Suspended, a device has cleared this bit.
            let there = new.contains(before) || self.contains(Self::SUSPEND);
            if set.contains(bit) && !there {
                return Err(StatusError::OutOfOrder(bit));
            }
        }
        Ok(Request::Set(set))
    }

    /// Checks what a driver reads after it has written `self`.
    ///
    /// Bits that are not defined are ignored.
    ///
    /// # Errors
    ///
    /// The device does not go along.
    pub fn read_back(self, read: Self) -> Result<(), StatusError> {
        if read.contains(Self::NEEDS_RESET) {
            return Err(StatusError::NeedsReset);
        }
        let mut lost = self.without(read);
        if self.contains(Self::SUSPEND) {
            // It does this when it is suspended.
            lost = lost.without(Self::DRIVER_OK);
        }
        if lost.is_empty() {
            Ok(())
        } else if lost == Self::FEATURES_OK {
            Err(StatusError::FeaturesRefused)
        } else {
            Err(StatusError::Lost(lost))
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("RESET");
        }
        let mut between = "";
        for (bit, name) in [
            (Self::ACKNOWLEDGE, "ACKNOWLEDGE"),
            (Self::DRIVER, "DRIVER"),
            (Self::FEATURES_OK, "FEATURES_OK"),
            (Self::DRIVER_OK, "DRIVER_OK"),
            (Self::SUSPEND, "SUSPEND"),
            (Self::NEEDS_RESET, "NEEDS_RESET"),
            (Self::FAILED, "FAILED"),
            (Self(32), "0x20"),
        ] {
            if self.contains(bit) {
                write!(f, "{between}{name}")?;
                between = "|";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for StatusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undefined(bits) => write!(f, "the status has undefined bits, {bits:#x}"),
            Self::Cleared(bits) => write!(f, "the driver clears {bits}"),
            Self::DeviceOnly => f.write_str("the driver sets NEEDS_RESET"),
            Self::OutOfOrder(bit) => write!(f, "the driver sets {bit} too early"),
            Self::AfterFailed => f.write_str("the driver goes on after FAILED"),
            Self::FeaturesRefused => f.write_str("the device does not accept the features"),
            Self::NeedsReset => f.write_str("the device needs a reset"),
            Self::Lost(bits) => write!(f, "the device has lost {bits}"),
        }
    }
}

impl core::error::Error for StatusError {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    const A: Status = Status::ACKNOWLEDGE;
    const AD: Status = Status(3);
    const ADF: Status = Status(11);
    const ADFO: Status = Status(15);

    fn modern(old: Status, new: Status) -> Result<Request, StatusError> {
        old.write(new, Interface::Modern)
    }

    #[test]
    fn the_sequence_of_the_specification_is_accepted() {
        assert_eq!(modern(Status::RESET, A), Ok(Request::Set(A)));
        assert_eq!(modern(A, AD), Ok(Request::Set(Status::DRIVER)));
        assert_eq!(modern(AD, ADF), Ok(Request::Set(Status::FEATURES_OK)));
        assert_eq!(modern(ADF, ADFO), Ok(Request::Set(Status::DRIVER_OK)));
        assert_eq!(modern(ADFO, ADFO), Ok(Request::Nothing));
        assert_eq!(modern(ADFO, Status::RESET), Ok(Request::Reset));
    }

    #[test]
    fn bits_are_set_in_their_order() {
        for (old, new, bit) in [
            (Status::RESET, Status::DRIVER, Status::DRIVER),
            (A, A.with(Status::FEATURES_OK), Status::FEATURES_OK),
            (AD, AD.with(Status::DRIVER_OK), Status::DRIVER_OK),
            (ADF, ADF.with(Status::SUSPEND), Status::SUSPEND),
        ] {
            assert_eq!(modern(old, new), Err(StatusError::OutOfOrder(bit)));
        }
    }

    #[test]
    fn a_legacy_driver_has_no_features_ok() {
        let new = AD.with(Status::DRIVER_OK);

        assert_eq!(
            AD.write(new, Interface::Legacy),
            Ok(Request::Set(Status::DRIVER_OK))
        );
    }

    #[test]
    fn a_driver_clears_nothing() {
        assert_eq!(
            modern(ADFO, ADF),
            Err(StatusError::Cleared(Status::DRIVER_OK))
        );
    }

    #[test]
    fn a_driver_need_not_have_seen_needs_reset() {
        let needs_reset = ADF.with(Status::NEEDS_RESET);

        assert_eq!(
            modern(needs_reset, ADFO),
            Ok(Request::Set(Status::DRIVER_OK))
        );
        assert_eq!(modern(needs_reset, needs_reset), Ok(Request::Nothing));
        assert_eq!(modern(ADF, needs_reset), Err(StatusError::DeviceOnly));
    }

    #[test]
    fn after_failed_there_is_only_a_reset() {
        let failed = AD.with(Status::FAILED);

        assert_eq!(modern(AD, failed), Ok(Request::Set(Status::FAILED)));
        assert_eq!(
            modern(failed, failed.with(Status::FEATURES_OK)),
            Err(StatusError::AfterFailed)
        );
        assert_eq!(modern(failed, Status::RESET), Ok(Request::Reset));
    }

    #[test]
    fn undefined_bits_are_refused() {
        assert_eq!(modern(A, Status(0x23)), Err(StatusError::Undefined(0x20)));
    }

    #[test]
    fn a_device_is_suspended_and_resumed() {
        let asked = ADFO.with(Status::SUSPEND);
        let suspended = ADF.with(Status::SUSPEND);

        assert_eq!(modern(ADFO, asked), Ok(Request::Set(Status::SUSPEND)));
        assert_eq!(asked.read_back(suspended), Ok(()));
        assert_eq!(
            modern(suspended, asked),
            Ok(Request::Set(Status::DRIVER_OK))
        );
        assert_eq!(modern(suspended, ADFO), Ok(Request::Set(Status::DRIVER_OK)));
        assert_eq!(
            modern(suspended, ADF),
            Err(StatusError::Cleared(Status::SUSPEND))
        );
    }

    #[test]
    fn a_driver_sees_that_the_device_does_not_go_along() {
        assert_eq!(ADF.read_back(ADF), Ok(()));
        assert_eq!(ADF.read_back(Status(11 | 32)), Ok(()));
        assert_eq!(ADF.read_back(AD), Err(StatusError::FeaturesRefused));
        assert_eq!(ADF.read_back(A), Err(StatusError::Lost(Status(10))));
        assert_eq!(ADF.read_back(Status::RESET), Err(StatusError::Lost(ADF)));
        assert_eq!(
            ADF.read_back(ADF.with(Status::NEEDS_RESET)),
            Err(StatusError::NeedsReset)
        );
    }

    #[test]
    fn queues_are_used_only_while_the_device_is_live() {
        assert!(ADFO.is_live());
        assert!(!ADF.is_live());
        assert!(!ADFO.with(Status::NEEDS_RESET).is_live());
    }

    #[test]
    fn errors_name_the_bits() {
        assert_eq!(
            format!("{ADFO}"),
            "ACKNOWLEDGE|DRIVER|FEATURES_OK|DRIVER_OK"
        );
        assert_eq!(format!("{}", Status::RESET), "RESET");
        assert_eq!(
            format!("{}", StatusError::Cleared(Status::DRIVER_OK)),
            "the driver clears DRIVER_OK"
        );
    }
}
