// SPDX-License-Identifier: GPL-2.0

//! The elements of a buffer.

use super::RingError;

/// What a device can do with an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It can only read.
    Read,
    /// It can only write.
    Write,
}

/// A part of a buffer, whose addresses do not wrap around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element {
    /// The first address, for the device.
    pub address: u64,
    /// The number of bytes, which can be zero.
    pub length: u32,
    /// What the device can do with it.
    pub access: Access,
}

/// The most bytes in a buffer (virtio 1.3, 2.7.5.2).
const MOST: u64 = 1 << 32;

/// What was seen of a buffer so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Elements {
    writable: bool,
    total: u64,
}

impl Elements {
    /// Adds an element that a descriptor describes.
    pub(super) fn add(
        &mut self,
        address: u64,
        length: u32,
        flags: u16,
    ) -> Result<Element, RingError> {
        let access = if flags & super::WRITE != 0 {
            Access::Write
        } else {
            Access::Read
        };
        if self.writable && access == Access::Read {
            return Err(RingError::ReadAfterWrite);
        }
        let total = self.total.saturating_add(length.into());
        if total > MOST {
            return Err(RingError::TotalLength(total));
        }
        if address.checked_add(length.into()).is_none() {
            return Err(RingError::Address { address, length });
        }
        self.total = total;
        self.writable = access == Access::Write;
        Ok(Element {
            address,
            length,
            access,
        })
    }
}
