// SPDX-License-Identifier: GPL-2.0

//! The headers of received frames.
//!
//! A driver reads a header, learns from [`RxRules::buffers`] how many buffers belong to the frame,
//! gathers them, and then knows the length that [`RxRules::check`] needs.

use super::{
    hash::{
        HashReport,
        HashType, //
    },
    header::{
        flag,
        gso,
        Header,
        HeaderError,
        HeaderKind, //
    },
    offload::{
        Allowed,
        Checksum,
        Levels,
        Offload, //
    },
    Accepted,
    Feature,
    ETHERNET_HEADER, //
};
use core::num::NonZeroU16;

/// What the header of a received frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receive {
    /// What is left to do for the frame.
    pub offload: Offload,
    /// The hash of the frame.
    pub hash: Option<HashReport>,
    /// How long the headers of the frame may be: a hint, not longer than the frame.
    pub header_hint: u16,
}

/// What the header of a received frame may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxRules {
    kind: HeaderKind,
    mergeable: bool,
    hash: bool,
    allowed: Allowed,
}

impl RxRules {
    /// Makes the rules that go with features.
    ///
    /// They do not depend on commands that switch features off for a while, as a frame can come
    /// that the device made before.
    pub fn new(accepted: Accepted) -> Self {
        Self {
            kind: HeaderKind::new(accepted),
            mergeable: accepted.has(Feature::MRG_RXBUF),
            hash: accepted.has(Feature::HASH_REPORT),
            allowed: Allowed::receive(accepted),
        }
    }

    /// Believes a device that says that it has verified a checksum, although that was not negotiated.
    ///
    /// It must not say so; but passt does, which offers no checksums, and then leaves that of TCP out. A
    /// driver that would negotiate them loses nothing by it: a device that lies could have offered them.
    #[must_use]
    pub const fn believe_verified(mut self) -> Self {
        self.allowed = self.allowed.believe_verified();
        self
    }

    /// Returns which part of a header there is.
    pub const fn kind(&self) -> HeaderKind {
        self.kind
    }

    /// Returns in how many buffers a frame is, of which there can be `most`.
    ///
    /// It is one buffer without `VIRTIO_NET_F_MRG_RXBUF`, whatever the header says: a device has to
    /// say so, but vhost before Linux 6.14 says nothing.
    ///
    /// Virtio 1.3, 5.1.6.3.2.
    ///
    /// # Errors
    ///
    /// There is no buffer, or there are more than `most`.
    pub fn buffers(&self, header: &Header, most: u16) -> Result<NonZeroU16, HeaderError> {
        if !self.mergeable {
            return Ok(NonZeroU16::MIN);
        }
        match NonZeroU16::new(header.num_buffers.get()) {
            None => Err(HeaderError::NoBuffers),
            Some(number) if number.get() > most => Err(HeaderError::TooManyBuffers(number.get())),
            Some(number) => Ok(number),
        }
    }

    /// Checks the header of a frame of `length` bytes, in all its buffers, without the header.
    ///
    /// What the device says of a checksum that it has verified is ignored if that was not
    /// negotiated (see [`RxRules::believe_verified`]), and so are flags that are not defined.
    ///
    /// Virtio 1.3, 5.1.6.4.
    ///
    /// # Errors
    ///
    /// The frame is to be dropped.
    #[inline(always)]
    pub fn check(&self, header: &Header, length: u32) -> Result<Receive, HeaderError> {
        // This is what most headers say, and it does not take long to see that it can be.
        if header.flags & !flag::DATA_VALID == 0
            && header.gso_type == gso::NONE
            && !self.hash
            && length >= ETHERNET_HEADER
        {
            let verified = header.flags != 0 && self.allowed.verified();
            let most = u16::try_from(length).unwrap_or(u16::MAX);
            return Ok(Receive {
                offload: Offload {
                    checksum: if verified {
                        Checksum::Verified(Levels::Outer)
                    } else {
                        Checksum::Unverified
                    },
                    gso: None,
                },
                hash: None,
                header_hint: header.hdr_len.get().min(most),
            });
        }
        self.check_any(header, length)
    }

    /// As above.
    fn check_any(&self, header: &Header, length: u32) -> Result<Receive, HeaderError> {
        let offload = self.allowed.check(header, length)?;
        let hash = HashType::from_code(header.hash_report.get())
            .filter(|_| self.hash)
            .map(|kind| HashReport {
                value: header.hash_value.get(),
                kind,
            });
        let most = u16::try_from(length).unwrap_or(u16::MAX);
        Ok(Receive {
            offload,
            hash,
            header_hint: header.hdr_len.get().min(most),
        })
    }

    /// Makes the header of a frame, for a device.
    ///
    /// # Errors
    ///
    /// The driver would have to drop the frame, or something was not negotiated.
    pub fn build(
        &self,
        receive: &Receive,
        length: u32,
        buffers: NonZeroU16,
    ) -> Result<Header, HeaderError> {
        let mut header = receive.offload.header();
        header.hdr_len = receive.header_hint.into();
        header.num_buffers = buffers.get().into();
        if let Some(hash) = receive.hash {
            header.hash_value = hash.value.into();
            header.hash_report = hash.kind.code().into();
        }
        let verified = matches!(receive.offload.checksum, Checksum::Verified(_));
        if verified && !self.allowed.verified() {
            return Err(HeaderError::ChecksumNotNegotiated);
        }
        if !self.mergeable && buffers != NonZeroU16::MIN {
            return Err(HeaderError::TooManyBuffers(buffers.get()));
        }
        self.check(&header, length)?;
        Ok(header)
    }
}

#[cfg(test)]
mod tests;
