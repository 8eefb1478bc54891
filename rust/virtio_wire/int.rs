// SPDX-License-Identifier: GPL-2.0

//! Little-endian integers.
//!
//! They are bytes, so that a structure of them has neither padding nor alignment, and can lie
//! anywhere in a buffer.

use crate::wire::Wire;
use core::fmt;

macro_rules! little_endian {
    ($($(#[$attribute:meta])* $name:ident($native:ty, $size:literal);)*) => {$(
        $(#[$attribute])*
        #[repr(transparent)]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
        pub struct $name([u8; $size]);

        impl $name {
            /// The number of bytes.
            pub const SIZE: usize = $size;

            /// Converts from the order of the processor.
            pub const fn new(value: $native) -> Self {
                Self(value.to_le_bytes())
            }

            /// Converts to the order of the processor.
            pub const fn get(self) -> $native {
                <$native>::from_le_bytes(self.0)
            }

            /// Takes the bytes as they are on the wire.
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// Returns the bytes as they are on the wire.
            pub const fn to_bytes(self) -> [u8; $size] {
                self.0
            }
        }

        impl From<$native> for $name {
            fn from(value: $native) -> Self {
                Self::new(value)
            }
        }

        impl From<$name> for $native {
            fn from(value: $name) -> Self {
                value.get()
            }
        }

        impl Wire<$size> for $name {
            // One of 64 bits is accessed in halves.
            const WIDTH: usize = if $size < 4 { $size } else { 4 };

            fn from_wire(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            fn to_wire(self) -> [u8; $size] {
                self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.get(), f)
            }
        }
    )*};
}

little_endian! {
    /// A 16-bit integer, `le16` in the specification.
    Le16(u16, 2);
    /// A 32-bit integer, `le32` in the specification.
    Le32(u32, 4);
    /// A 64-bit integer, `le64` in the specification.
    Le64(u64, 8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_little_endian() {
        assert_eq!(Le16::new(0x0102).to_bytes(), [2, 1]);
        assert_eq!(Le32::new(0x0102_0304).to_bytes(), [4, 3, 2, 1]);
        assert_eq!(
            Le64::new(0x0102_0304_0506_0708).to_bytes(),
            [8, 7, 6, 5, 4, 3, 2, 1]
        );
        assert_eq!(Le16::from_bytes([0x34, 0x12]).get(), 0x1234);
    }

    #[test]
    fn conversions_give_the_value_back() {
        assert_eq!(u16::from(Le16::from(0xfffe)), 0xfffe);
        assert_eq!(u32::from(Le32::from(0xffff_fffe)), 0xffff_fffe);
        assert_eq!(u64::from(Le64::from(u64::MAX - 1)), u64::MAX - 1);
    }

    #[test]
    fn nothing_is_aligned() {
        assert_eq!(align_of::<Le16>(), 1);
        assert_eq!(align_of::<Le32>(), 1);
        assert_eq!(align_of::<Le64>(), 1);
        assert_eq!(size_of::<Le64>(), Le64::SIZE);
    }

    #[test]
    fn debug_prints_the_number() {
        assert_eq!(
            std::format!("{:?} {:#x?}", Le16::new(10), Le32::new(10)),
            "10 0xa"
        );
    }
}
