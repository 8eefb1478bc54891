// SPDX-License-Identifier: GPL-2.0

//! What a block device says of itself by requests.
//!
//! Virtio 1.3, 5.2.6.

use crate::{
    int::Le16,
    wire::wire_struct, //
};
use core::fmt;

/// The name of a device, which is padded by zeroes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceId([u8; DeviceId::LENGTH]);

impl DeviceId {
    /// The length of the data of a request for the name.
    #[doc(alias = "VIRTIO_BLK_ID_BYTES")]
    pub const LENGTH: usize = 20;

    /// Takes the data.
    pub const fn from_bytes(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// Returns the data.
    pub const fn to_bytes(self) -> [u8; Self::LENGTH] {
        self.0
    }

    /// Takes a name, of which nothing beyond the longest is used.
    pub fn new(name: &[u8]) -> Self {
        let mut bytes = [0; Self::LENGTH];
        for (to, from) in bytes.iter_mut().zip(name) {
            *to = *from;
        }
        Self(bytes)
    }

    /// Returns the name, without the padding. It can be any bytes, though it should be ASCII.
    pub fn name(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name().escape_ascii(), f)
    }
}

wire_struct! {
    /// How worn a device is.
    #[doc(alias = "virtio_blk_lifetime")]
    pub struct LifetimeLayout[6] {
        /// How much of the reserve is used.
        pub pre_eol_info: Le16,
        /// How worn cells with one bit are.
        pub device_lifetime_est_typ_a: Le16,
        /// How worn cells with several bits are.
        pub device_lifetime_est_typ_b: Le16,
    }
}

/// How worn a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// How much of the reserve is used.
    pub reserve: Reserve,
    /// How worn cells with one bit are.
    pub single_level: Wear,
    /// How worn cells with several bits are.
    pub multi_level: Wear,
}

/// How much of a device's reserve is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// It is not known.
    Undefined,
    /// Less than 80 percent.
    Normal,
    /// 80 percent or more.
    Warning,
    /// 90 percent or more.
    Urgent,
}

/// How worn a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wear {
    /// It is not known.
    Undefined,
    /// Up to so many percent, of 10 to 100.
    UpTo(u8),
    /// More than 100 percent.
    Exceeded,
}

/// A value that is reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifetimeError(pub u16);

impl fmt::Display for LifetimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the device says a reserved value of its lifetime, {}",
            self.0
        )
    }
}

impl core::error::Error for LifetimeError {}

impl Lifetime {
    /// Takes the data of a request for it.
    ///
    /// # Errors
    ///
    /// A value is reserved.
    pub fn new(layout: &LifetimeLayout) -> Result<Self, LifetimeError> {
        Ok(Self {
            reserve: match layout.pre_eol_info.get() {
                0 => Reserve::Undefined,
                1 => Reserve::Normal,
                2 => Reserve::Warning,
                3 => Reserve::Urgent,
                value => return Err(LifetimeError(value)),
            },
            single_level: Wear::new(layout.device_lifetime_est_typ_a.get())?,
            multi_level: Wear::new(layout.device_lifetime_est_typ_b.get())?,
        })
    }

    /// Returns the data of a request for it.
    pub fn layout(&self) -> LifetimeLayout {
        let reserve: u16 = match self.reserve {
            Reserve::Undefined => 0,
            Reserve::Normal => 1,
            Reserve::Warning => 2,
            Reserve::Urgent => 3,
        };
        LifetimeLayout {
            pre_eol_info: reserve.into(),
            device_lifetime_est_typ_a: self.single_level.value().into(),
            device_lifetime_est_typ_b: self.multi_level.value().into(),
        }
    }
}

impl Wear {
    fn new(value: u16) -> Result<Self, LifetimeError> {
        Ok(match u8::try_from(value) {
            Ok(0) => Self::Undefined,
            Ok(tenths @ 1..=10) => Self::UpTo(tenths.saturating_mul(10)),
            Ok(11) => Self::Exceeded,
            _ => return Err(LifetimeError(value)),
        })
    }

    fn value(self) -> u16 {
        match self {
            Self::Undefined => 0,
            Self::UpTo(percent) => u16::from(percent).div_ceil(10).clamp(1, 10),
            Self::Exceeded => 11,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_at_its_padding() {
        assert_eq!(DeviceId::new(b"disk0").name(), b"disk0");
        assert_eq!(DeviceId::new(b"").name(), b"");
        let long = DeviceId::new(b"a name of more than 20 bytes");
        assert_eq!(long.name(), b"a name of more than ");
        assert_eq!(DeviceId::from_bytes(long.to_bytes()), long);
    }

    #[test]
    fn a_name_is_printed_as_ascii() {
        let name = DeviceId::new(b"a\n\xff\0b");
        assert_eq!(std::format!("{name}"), "a\\n\\xff");
    }

    fn layout(reserve: u16, single: u16, multi: u16) -> LifetimeLayout {
        LifetimeLayout {
            pre_eol_info: reserve.into(),
            device_lifetime_est_typ_a: single.into(),
            device_lifetime_est_typ_b: multi.into(),
        }
    }

    #[test]
    fn wear_is_in_tenths() {
        let lifetime = Lifetime::new(&layout(3, 2, 11)).unwrap();

        assert_eq!(lifetime.reserve, Reserve::Urgent);
        assert_eq!(lifetime.single_level, Wear::UpTo(20));
        assert_eq!(lifetime.multi_level, Wear::Exceeded);
    }

    #[test]
    fn what_is_valid_comes_back() {
        for reserve in 0..4 {
            for wear in 0..12 {
                let layout = layout(reserve, wear, 11 - wear);
                assert_eq!(Lifetime::new(&layout).unwrap().layout(), layout);
            }
        }
    }

    #[test]
    fn reserved_values_are_refused() {
        assert_eq!(Lifetime::new(&layout(4, 0, 0)), Err(LifetimeError(4)));
        assert_eq!(Lifetime::new(&layout(0, 12, 0)), Err(LifetimeError(12)));
        assert_eq!(
            Lifetime::new(&layout(0, 0, 0x100)),
            Err(LifetimeError(0x100))
        );
    }
}
