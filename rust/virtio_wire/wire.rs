// SPDX-License-Identifier: GPL-2.0

//! Structures as they are on the wire.
//!
//! Each layout is defined once, by the macro `wire_struct`, which gives it `SIZE`, `from_bytes`,
//! `to_bytes`, `parse` and `split`. The offset of a field is `core::mem::offset_of!(Layout, field)`.

use core::fmt;

/// A type that is exactly `N` bytes on the wire, of which any value is valid.
pub trait Wire<const N: usize>: Copy {
    /// How many bytes are accessed at once, where accesses have a width.
    ///
    /// Virtio 1.3, 4.1.3.1.
    const WIDTH: usize = 1;

    /// Takes the bytes as they are on the wire.
    fn from_wire(bytes: [u8; N]) -> Self;

    /// Returns the bytes as they are on the wire.
    fn to_wire(self) -> [u8; N];
}

impl Wire<1> for u8 {
    fn from_wire([byte]: [u8; 1]) -> Self {
        byte
    }

    fn to_wire(self) -> [u8; 1] {
        [self]
    }
}

impl<const N: usize> Wire<N> for [u8; N] {
    fn from_wire(bytes: [u8; N]) -> Self {
        bytes
    }

    fn to_wire(self) -> [u8; N] {
        self
    }
}

/// A field of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Where it begins.
    pub offset: usize,
    /// How many bytes it has.
    pub size: usize,
    /// How many bytes are accessed at once, where accesses have a width.
    pub width: usize,
}

/// A structure whose fields are accessed one by one, such as a configuration space.
pub trait Layout {
    /// The number of bytes.
    const SIZE: usize;

    /// The fields in their order.
    const FIELDS: &'static [Field];
}

/// There are fewer bytes than a structure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated {
    /// How many bytes are needed.
    pub needed: usize,
    /// How many bytes there are.
    pub available: usize,
}

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, available } = self;
        write!(f, "there are {available} bytes, {needed} are needed")
    }
}

impl core::error::Error for Truncated {}

/// Takes a structure of `N` bytes from the front of `bytes`, and returns the rest, too.
pub(crate) fn split<T: Wire<N>, const N: usize>(bytes: &[u8]) -> Result<(T, &[u8]), Truncated> {
    match bytes.split_first_chunk::<N>() {
        Some((chunk, rest)) => Ok((T::from_wire(*chunk), rest)),
        None => Err(Truncated {
            needed: N,
            available: bytes.len(),
        }),
    }
}

/// Returns the `N` bytes at `AT`, which have to be inside.
pub(crate) fn get<const AT: usize, const N: usize, const SIZE: usize>(
    bytes: &[u8; SIZE],
) -> [u8; N] {
    const { assert!(AT <= SIZE && N <= SIZE - AT) };

    // By the assertion it cannot be `None`.
    match bytes.get(AT..).and_then(<[u8]>::first_chunk) {
        Some(chunk) => *chunk,
        None => [0; N],
    }
}

/// Sets the `N` bytes at `AT`, which have to be inside.
pub(crate) fn put<const AT: usize, const N: usize, const SIZE: usize>(
    bytes: &mut [u8; SIZE],
    value: [u8; N],
) {
    const { assert!(AT <= SIZE && N <= SIZE - AT) };

    // By the assertion it cannot be `None`.
    if let Some(chunk) = bytes.get_mut(AT..).and_then(<[u8]>::first_chunk_mut) {
        *chunk = value;
    }
}

/// Copies the first `length` bytes.
///
/// # Errors
///
/// There are not so many on both sides.
pub(crate) fn copy(to: &mut [u8], from: &[u8], length: usize) -> Result<(), Truncated> {
    let available = to.len().min(from.len());
    if available < length {
        return Err(Truncated {
            needed: length,
            available,
        });
    }
    for (to, from) in to.iter_mut().zip(from).take(length) {
        *to = *from;
    }
    Ok(())
}

/// Defines a structure of the wire: its fields in their order, and the conversions.
macro_rules! wire_struct {
    (
        $(#[$attribute:meta])*
        pub struct $name:ident[$size:literal] {
            $($(#[$field_attribute:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$attribute])*
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name {
            $($(#[$field_attribute])* pub $field: $type,)*
        }

        // All fields are bytes: there is no padding, and the offsets are those on the wire.
        const _: () = assert!(size_of::<$name>() == $size && align_of::<$name>() == 1);

        impl $name {
            /// The number of bytes.
            pub const SIZE: usize = $size;

            /// Takes the bytes as they are on the wire.
            pub fn from_bytes(bytes: &[u8; $size]) -> Self {
                use $crate::wire::{get, Wire};
                Self {
                    $($field: Wire::from_wire(
                        get::<{ core::mem::offset_of!($name, $field) }, { size_of::<$type>() }, $size>(
                            bytes,
                        ),
                    ),)*
                }
            }

            /// Returns the bytes as they are on the wire.
            pub fn to_bytes(self) -> [u8; $size] {
                use $crate::wire::{put, Wire};
                let mut bytes = [0; $size];
                $(put::<{ core::mem::offset_of!($name, $field) }, { size_of::<$type>() }, $size>(
                    &mut bytes,
                    self.$field.to_wire(),
                );)*
                bytes
            }

            /// Reads the structure from the front of `bytes`.
            ///
            /// # Errors
            ///
            /// There are fewer than [`Self::SIZE`] bytes.
            pub fn parse(bytes: &[u8]) -> Result<Self, $crate::wire::Truncated> {
                Self::split(bytes).map(|(this, _)| this)
            }

            /// Reads the structure from the front of `bytes`, and returns what follows it.
            ///
            /// # Errors
            ///
            /// There are fewer than [`Self::SIZE`] bytes.
            pub fn split(bytes: &[u8]) -> Result<(Self, &[u8]), $crate::wire::Truncated> {
                $crate::wire::split::<Self, $size>(bytes)
            }
        }

        impl $crate::wire::Layout for $name {
            const SIZE: usize = $size;

            const FIELDS: &'static [$crate::wire::Field] = &[$(
                $crate::wire::Field {
                    offset: core::mem::offset_of!($name, $field),
                    size: size_of::<$type>(),
                    width: <$type as $crate::wire::Wire<{ size_of::<$type>() }>>::WIDTH,
                },
            )*];
        }

        impl $crate::wire::Wire<$size> for $name {
            fn from_wire(bytes: [u8; $size]) -> Self {
                Self::from_bytes(&bytes)
            }

            fn to_wire(self) -> [u8; $size] {
                self.to_bytes()
            }
        }
    };
}

pub(crate) use wire_struct;

/// Writes bytes one after the other into a buffer that may be too small.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    rest: &'a mut [u8],
    capacity: usize,
    needed: usize,
}

impl<'a> Writer<'a> {
    /// Starts at the front of `buffer`.
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self {
            capacity: buffer.len(),
            rest: buffer,
            needed: 0,
        }
    }

    /// Adds a value; once there was no room, nothing is written any more.
    pub(crate) fn put<T: Wire<N>, const N: usize>(&mut self, value: T) {
        self.bytes(&value.to_wire());
    }

    /// Adds bytes; once there was no room, nothing is written any more.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.needed = self.needed.saturating_add(bytes.len());
        let rest = core::mem::take(&mut self.rest);
        if let Some((slot, rest)) = rest.split_at_mut_checked(bytes.len()) {
            for (to, from) in slot.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.rest = rest;
        }
    }

    /// Returns how many bytes were written.
    ///
    /// # Errors
    ///
    /// There was no room for all of them.
    pub(crate) fn finish(self) -> Result<usize, Truncated> {
        if self.needed <= self.capacity {
            Ok(self.needed)
        } else {
            Err(Truncated {
                needed: self.needed,
                available: self.capacity,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::int::{Le16, Le32};

    wire_struct! {
        /// For the tests.
        pub struct Inner[3] {
            /// One byte.
            pub first: u8,
            /// Two bytes.
            pub second: Le16,
        }
    }

    wire_struct! {
        /// For the tests.
        pub struct Outer[9] {
            /// Nested.
            pub inner: Inner,
            /// An array.
            pub array: [u8; 2],
            /// At an odd offset.
            pub last: Le32,
        }
    }

    const BYTES: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 8, 9];

    #[test]
    fn fields_are_in_their_order() {
        let outer = Outer::from_bytes(&BYTES);

        assert_eq!(outer.inner.first, 1);
        assert_eq!(outer.inner.second.get(), 0x0302);
        assert_eq!(outer.array, [4, 5]);
        assert_eq!(outer.last.get(), 0x0908_0706);
        assert_eq!(outer.to_bytes(), BYTES);
        assert_eq!(core::mem::offset_of!(Outer, last), 5);
    }

    #[test]
    fn fields_have_a_width() {
        let field = |offset, size, width| Field {
            offset,
            size,
            width,
        };

        assert_eq!(<Inner as Layout>::FIELDS, [field(0, 1, 1), field(1, 2, 2)]);
        assert_eq!(
            <Outer as Layout>::FIELDS,
            [field(0, 3, 1), field(3, 2, 1), field(5, 4, 4)]
        );
        assert_eq!(<Outer as Layout>::SIZE, Outer::SIZE);
    }

    #[test]
    fn parse_takes_a_prefix() {
        let (inner, rest) = Inner::split(&BYTES).unwrap();

        assert_eq!(inner.to_bytes(), [1, 2, 3]);
        assert_eq!(rest, [4, 5, 6, 7, 8, 9]);
        assert_eq!(Inner::SIZE + rest.len(), Outer::SIZE);
        assert_eq!(Inner::parse(&BYTES), Ok(inner));
    }

    #[test]
    fn parse_refuses_too_few_bytes() {
        let error = Truncated {
            needed: 9,
            available: 8,
        };

        assert_eq!(Outer::parse(&BYTES[..8]), Err(error));
        assert_eq!(std::format!("{error}"), "there are 8 bytes, 9 are needed");
    }

    #[test]
    fn a_writer_says_what_is_missing() {
        let mut buffer = [0; 4];
        let mut writer = Writer::new(&mut buffer);
        writer.put(Le16::new(0x0201));
        writer.bytes(&[3]);
        assert_eq!(writer.finish(), Ok(3));
        assert_eq!(buffer, [1, 2, 3, 0]);

        let mut writer = Writer::new(&mut buffer);
        writer.put(Le16::new(0));
        writer.put(Le32::new(0));
        writer.put(Le16::new(0));
        assert_eq!(
            writer.finish(),
            Err(Truncated {
                needed: 8,
                available: 4,
            })
        );
    }
}
