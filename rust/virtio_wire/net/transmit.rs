// SPDX-License-Identifier: GPL-2.0

//! The headers of transmitted frames.
//!
//! A driver makes one with [`TxRules::build`], a device checks it with [`TxRules::check`].

use super::{
    header::{
        flag,
        Header,
        HeaderError,
        HeaderKind, //
    },
    offload::{
        Allowed,
        Checksum,
        Gso,
        Offload, //
    },
    Accepted,
    Feature, //
};
use core::fmt;

/// The most bytes that a TCP header has.
const LONGEST_TCP_HEADER: u32 = 60;

/// What the header of a transmitted frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// What is left to do for the frame.
    pub offload: Offload,
    /// How long its headers are.
    pub header_length: HeaderLength,
}

/// How long the headers of a frame are, up to the payload of the innermost protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderLength {
    /// Perhaps so long; not longer than the frame.
    Hint(u16),
    /// Exactly so long, if the driver is right: this was negotiated, and the frame is to be cut.
    /// It is between what the protocols allow.
    Exact(u16),
}

impl HeaderLength {
    /// Returns the length.
    pub const fn get(self) -> u16 {
        match self {
            Self::Hint(length) | Self::Exact(length) => length,
        }
    }
}

/// What a driver must not say, but a device ignores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slip {
    /// The number of buffers is not zero.
    NumBuffers(u16),
    /// There are flags that a driver must not set.
    Flags(u8),
}

impl fmt::Display for Slip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NumBuffers(number) => write!(f, "the driver sets num_buffers to {number}"),
            Self::Flags(flags) => write!(f, "the driver sets the flags {flags:#x}"),
        }
    }
}

impl core::error::Error for Slip {}

/// What the header of a transmitted frame may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxRules {
    kind: HeaderKind,
    exact: bool,
    checksum: bool,
    allowed: Allowed,
}

impl TxRules {
    /// Makes the rules that go with features.
    pub fn new(accepted: Accepted) -> Self {
        Self {
            kind: HeaderKind::new(accepted),
            exact: accepted.has(Feature::GUEST_HDRLEN),
            checksum: accepted.has(Feature::CSUM),
            allowed: Allowed::transmit(accepted),
        }
    }

    /// Returns which part of a header there is.
    pub const fn kind(&self) -> HeaderKind {
        self.kind
    }

    /// Makes the header of a frame of `length` bytes, for a driver.
    ///
    /// Virtio 1.3, 5.1.6.2.1.
    ///
    /// # Errors
    ///
    /// The device would not have to accept the frame.
    pub fn build(&self, transmit: &Transmit, length: u32) -> Result<Header, HeaderError> {
        if matches!(
            transmit.offload.checksum,
            Checksum::Verified(_) | Checksum::Coalesced { .. }
        ) {
            return Err(HeaderError::NotForTransmit);
        }
        let mut header = transmit.offload.header();
        header.hdr_len = transmit.header_length.get().into();
        self.check(&header, length)?;
        Ok(header)
    }

    /// Checks the header of a frame of `length` bytes, without the header, for a device.
    ///
    /// Virtio 1.3, 5.1.6.2.2.
    ///
    /// # Errors
    ///
    /// The frame is to be dropped.
    pub fn check(&self, header: &Header, length: u32) -> Result<Transmit, HeaderError> {
        let offload = self.allowed.check(header, length)?;
        let hdr_len = header.hdr_len.get();
        let header_length = match (offload.gso, offload.checksum) {
            (Some(gso), Checksum::Partial { start, .. }) if self.exact => {
                check_exact(hdr_len, gso, start, length)?;
                HeaderLength::Exact(hdr_len)
            }
            _ => HeaderLength::Hint(hdr_len.min(u16::try_from(length).unwrap_or(u16::MAX))),
        };
        Ok(Transmit {
            offload,
            header_length,
        })
    }

    /// Returns what a driver must not say, but a device ignores: for tests of drivers.
    ///
    /// Virtio 1.3, 5.1.6.2.1.
    pub fn slip(&self, header: &Header) -> Option<Slip> {
        let mut forbidden = flag::DATA_VALID | flag::RSC_INFO;
        if !self.checksum {
            forbidden = u8::MAX;
        }
        if header.flags & forbidden != 0 {
            return Some(Slip::Flags(header.flags & forbidden));
        }
        match header.num_buffers.get() {
            0 => None,
            number => Some(Slip::NumBuffers(number)),
        }
    }
}

/// Checks the length of all headers of a frame whose transport header is at `start`.
fn check_exact(hdr_len: u16, gso: Gso, start: u16, length: u32) -> Result<(), HeaderError> {
    let start = u32::from(start);
    let least = start.saturating_add(gso.kind.transport_header());
    let most = if gso.kind.is_tcp() {
        start.saturating_add(LONGEST_TCP_HEADER).min(length)
    } else {
        least
    };
    if (least..=most).contains(&u32::from(hdr_len)) {
        Ok(())
    } else {
        Err(HeaderError::HeaderLength(hdr_len))
    }
}

#[cfg(test)]
mod tests;
