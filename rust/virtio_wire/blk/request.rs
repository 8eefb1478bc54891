// SPDX-License-Identifier: GPL-2.0

//! Requests.
//!
//! A driver makes a [`RequestHeader`]. A device hands it to [`RequestRules::check`], together with
//! the lengths of what it can read and write, and gets a [`Request`] or what to answer. Zones are
//! not served.
//!
//! Virtio 1.3, 5.2.6.

use super::{
    config::{
        Capacity,
        Config,
        ConfigError,
        SegmentLimits, //
    },
    info::{
        DeviceId,
        LifetimeLayout, //
    },
    segment::{
        Range,
        SegmentRules,
        Segments, //
    },
    status::Status,
    Accepted,
    Feature, //
};
use crate::{
    int::{
        Le32,
        Le64, //
    },
    wire::wire_struct, //
};
use core::fmt;

wire_struct! {
    /// What a request begins with.
    #[doc(alias = "virtio_blk_outhdr")]
    pub struct RequestHeader[16] {
        /// See [`RequestKind::code`].
        pub kind: Le32,
        /// Reserved; the priority for legacy devices.
        pub ioprio: Le32,
        /// The first sector.
        pub sector: Le64,
    }
}

impl RequestHeader {
    /// Makes the header of a request.
    pub fn new(kind: RequestKind, sector: u64) -> Self {
        Self {
            kind: kind.code().into(),
            ioprio: Le32::new(0),
            sector: sector.into(),
        }
    }
}

/// What is requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// To read sectors.
    Read,
    /// To write sectors.
    Write,
    /// To make stable what was written.
    Flush,
    /// To say the name of the device.
    GetId,
    /// To say how worn the device is.
    GetLifetime,
    /// To forget sectors.
    Discard,
    /// To overwrite sectors by zeroes.
    WriteZeroes,
    /// To forget sectors for good.
    SecureErase,
    /// To append to a zone.
    ZoneAppend,
    /// To describe zones.
    ZoneReport,
    /// To open a zone.
    ZoneOpen,
    /// To close a zone.
    ZoneClose,
    /// To make a zone full.
    ZoneFinish,
    /// To make a zone empty.
    ZoneReset,
    /// To make all zones empty.
    ZoneResetAll,
}

impl RequestKind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Read,
        Self::Write,
        Self::Flush,
        Self::GetId,
        Self::GetLifetime,
        Self::Discard,
        Self::WriteZeroes,
        Self::SecureErase,
        Self::ZoneAppend,
        Self::ZoneReport,
        Self::ZoneOpen,
        Self::ZoneClose,
        Self::ZoneFinish,
        Self::ZoneReset,
        Self::ZoneResetAll,
    ];

    /// Returns the code in a header.
    #[doc(alias = "VIRTIO_BLK_T")]
    pub const fn code(self) -> u32 {
        match self {
            Self::Read => 0,
            Self::Write => 1,
            Self::Flush => 4,
            Self::GetId => 8,
            Self::GetLifetime => 10,
            Self::Discard => 11,
            Self::WriteZeroes => 13,
            Self::SecureErase => 14,
            Self::ZoneAppend => 15,
            Self::ZoneReport => 16,
            Self::ZoneOpen => 18,
            Self::ZoneClose => 20,
            Self::ZoneFinish => 22,
            Self::ZoneReset => 24,
            Self::ZoneResetAll => 26,
        }
    }

    /// Finds what a code in a header stands for.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

/// What is done to the segments of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// They are discarded.
    Discard,
    /// They are zeroed.
    WriteZeroes,
    /// They are erased.
    SecureErase,
}

/// A request that a device can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Sectors are to be read.
    Read(Range),
    /// Sectors are to be written.
    Write(Range),
    /// What was written is to be made stable.
    Flush,
    /// The name is to be written, a [`DeviceId`].
    GetId,
    /// How worn the device is is to be written, a [`LifetimeLayout`].
    GetLifetime,
    /// Something is to be done to segments.
    Segments {
        /// What is to be done.
        kind: SegmentKind,
        /// How many bytes of segments are to be read, for [`RequestRules::segments`]: no more than
        /// the device said.
        length: usize,
    },
}

/// How much data a request has: without the header, and without the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths {
    /// How many bytes the device can read.
    pub readable: u64,
    /// How many bytes the device can write.
    pub writable: u64,
}

/// Why a device cannot serve a request: [`RequestError::status`] is what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestError {
    /// There are no such requests.
    Unknown(u32),
    /// Such requests were not negotiated.
    NotNegotiated(RequestKind),
    /// Zones are not served.
    Zone(RequestKind),
    /// The device is read-only.
    ReadOnly,
    /// Not all sectors are below the capacity.
    Range {
        /// The first sector.
        sector: u64,
        /// The number of sectors.
        sectors: u64,
    },
    /// The data has a length that it cannot have.
    Length(u64),
    /// There is data in the direction in which there is none.
    Direction,
    /// The sector has to be zero.
    Sector(u64),
    /// The length of segments is not that of whole ones.
    SegmentsLength(usize),
    /// There are too many segments.
    TooManySegments(usize),
    /// A segment has too many sectors.
    SegmentTooLong(u32),
    /// A segment has flags that it must not have.
    Flags(u32),
}

impl RequestError {
    /// Returns what a device answers.
    pub const fn status(self) -> Status {
        match self {
            Self::Unknown(_) | Self::NotNegotiated(_) | Self::Zone(_) | Self::Flags(_) => {
                Status::Unsupported
            }
            _ => Status::IoError,
        }
    }
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(kind) => write!(f, "there are no requests of type {kind}"),
            Self::NotNegotiated(kind) => write!(f, "requests {kind:?} were not negotiated"),
            Self::Zone(kind) => write!(f, "requests {kind:?} are not served"),
            Self::ReadOnly => f.write_str("the device is read-only"),
            Self::Range { sector, sectors } => {
                write!(f, "{sectors} sectors at {sector} are beyond the capacity")
            }
            Self::Length(length) => write!(f, "data of {length} bytes"),
            Self::Direction => f.write_str("data in the wrong direction"),
            Self::Sector(sector) => write!(f, "sector {sector} where there is none"),
            Self::SegmentsLength(length) => write!(f, "segments of {length} bytes"),
            Self::TooManySegments(number) => write!(f, "{number} segments are too many"),
            Self::SegmentTooLong(sectors) => write!(f, "a segment of {sectors} sectors"),
            Self::Flags(flags) => write!(f, "a segment with the flags {flags:#x}"),
        }
    }
}

impl core::error::Error for RequestError {}

/// What a driver may do with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It may read and write.
    ReadWrite,
    /// It may only read: the device offers `VIRTIO_BLK_F_RO`.
    ReadOnly,
}

/// What requests may say, with the features and the configuration of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRules {
    accepted: Accepted,
    access: Access,
    capacity: Capacity,
    discard: Option<SegmentLimits>,
    write_zeroes: Option<SegmentLimits>,
    secure_erase: Option<SegmentLimits>,
}

impl RequestRules {
    /// Makes the rules that go with a configuration.
    ///
    /// # Errors
    ///
    /// A value in the configuration that requests depend on cannot be.
    pub fn new(config: &Config, access: Access) -> Result<Self, ConfigError> {
        Ok(Self {
            accepted: config.accepted(),
            access,
            capacity: config.capacity()?,
            discard: config.discard()?,
            write_zeroes: config.write_zeroes()?,
            secure_erase: config.secure_erase()?,
        })
    }

    /// Checks a request, all of it but the contents of segments.
    ///
    /// # Errors
    ///
    /// The device has to answer with the status of the error.
    pub fn check(&self, header: &RequestHeader, data: Lengths) -> Result<Request, RequestError> {
        let code = header.kind.get();
        let kind = RequestKind::from_code(code).ok_or(RequestError::Unknown(code))?;
        let sector = header.sector.get();
        match kind {
            RequestKind::Read => {
                only(data.writable, data.readable)?;
                Range::of_bytes(sector, data.writable, self.capacity).map(Request::Read)
            }
            RequestKind::Write => {
                self.writes()?;
                only(data.readable, data.writable)?;
                Range::of_bytes(sector, data.readable, self.capacity).map(Request::Write)
            }
            RequestKind::Flush => {
                self.has(Feature::FLUSH, kind)?;
                // Data is advised against, but not forbidden.
                if sector != 0 {
                    return Err(RequestError::Sector(sector));
                }
                Ok(Request::Flush)
            }
            RequestKind::GetId => {
                exactly(DeviceId::LENGTH, data)?;
                Ok(Request::GetId)
            }
            RequestKind::GetLifetime => {
                self.has(Feature::LIFETIME, kind)?;
                exactly(LifetimeLayout::SIZE, data)?;
                Ok(Request::GetLifetime)
            }
            RequestKind::Discard => self.segment_request(SegmentKind::Discard, data),
            RequestKind::WriteZeroes => self.segment_request(SegmentKind::WriteZeroes, data),
            RequestKind::SecureErase => self.segment_request(SegmentKind::SecureErase, data),
            _ => Err(RequestError::Zone(kind)),
        }
    }

    /// Checks the segments of a request that [`check`](Self::check) let pass.
    ///
    /// # Errors
    ///
    /// The device has to answer with the status of the error, and do nothing to any segment.
    pub fn segments<'a>(
        &self,
        kind: SegmentKind,
        bytes: &'a [u8],
    ) -> Result<Segments<'a>, RequestError> {
        Segments::new(bytes, self.segment_rules(kind)?)
    }

    fn segment_request(&self, kind: SegmentKind, data: Lengths) -> Result<Request, RequestError> {
        let rules = self.segment_rules(kind)?;
        only(data.readable, data.writable)?;
        let length =
            usize::try_from(data.readable).map_err(|_| RequestError::Length(data.readable))?;
        rules.check_length(length)?;
        Ok(Request::Segments { kind, length })
    }

    fn segment_rules(&self, kind: SegmentKind) -> Result<SegmentRules, RequestError> {
        let (limits, request) = match kind {
            SegmentKind::Discard => (self.discard, RequestKind::Discard),
            SegmentKind::WriteZeroes => (self.write_zeroes, RequestKind::WriteZeroes),
            SegmentKind::SecureErase => (self.secure_erase, RequestKind::SecureErase),
        };
        let limits = limits.ok_or(RequestError::NotNegotiated(request))?;
        self.writes()?;
        Ok(SegmentRules {
            capacity: self.capacity,
            max_sectors: limits.sectors.get(),
            max_segments: limits.segments.get(),
            unmap: kind == SegmentKind::WriteZeroes,
        })
    }

    fn has(&self, feature: Feature, kind: RequestKind) -> Result<(), RequestError> {
        if self.accepted.has(feature) {
            Ok(())
        } else {
            Err(RequestError::NotNegotiated(kind))
        }
    }

    fn writes(&self) -> Result<(), RequestError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(RequestError::ReadOnly),
        }
    }
}

/// Checks that there is data in one direction at most.
fn only(wanted: u64, other: u64) -> Result<(), RequestError> {
    if other == 0 {
        Ok(())
    } else if wanted == 0 {
        Err(RequestError::Direction)
    } else {
        Err(RequestError::Length(other))
    }
}

/// Checks that the device can write `length` bytes.
fn exactly(length: usize, data: Lengths) -> Result<(), RequestError> {
    only(data.writable, data.readable)?;
    if u64::try_from(length) == Ok(data.writable) {
        Ok(())
    } else {
        Err(RequestError::Length(data.writable))
    }
}

#[cfg(test)]
mod tests;
