// SPDX-License-Identifier: GPL-2.0

//! What an overlay file begins with: for which base it is, and how long the disk is.
//!
//! All numbers are in little-endian bytes:
//!
//! ====== ===== ==========================================================
//! offset bytes
//! ====== ===== ==========================================================
//!  0     8     `RVoverla`
//!  8     4     the version, 1
//! 12     4     the logarithm of the number of bytes in a cluster
//! 16     8     the length of the base
//! 24     8     a fingerprint of the base
//! 32     8     the length of the disk
//! 40     8     how much of the base can be seen: the least length that the disk had
//! 48     8     a checksum of what is before
//! ====== ===== ==========================================================

use std::{fs::File, io, os::unix::fs::FileExt};
use thiserror::Error;

/// The logarithm of the number of bytes in a cluster.
pub const CLUSTER_SHIFT: u32 = 16;

/// How much of the file the header has.
const LENGTH: usize = 512;

/// The number of bytes that the checksum is about.
const CHECKED: usize = 48;

const MAGIC: [u8; 8] = *b"RVoverla";
const VERSION: u32 = 1;

/// How many parts of a base the fingerprint is made of, and how long they are.
const SAMPLES: u64 = 256;
const SAMPLE: usize = 4096;

/// Why an overlay cannot be used.
#[derive(Debug, Error)]
pub enum OverlayError {
    /// It is something else.
    #[error("this file is no overlay, and not empty")]
    Unknown,
    /// It was made by another backend.
    #[error("the overlay is of version {0}, which this backend does not know")]
    Version(u32),
    /// It does not have what was written.
    #[error("the header of the overlay is damaged")]
    Damaged,
    /// The base has another length.
    #[error("the overlay belongs to a base of {wanted} bytes, and this one has {there}")]
    Length {
        /// What it was made for.
        wanted: u64,
        /// What there is.
        there: u64,
    },
    /// The base has something else in it.
    #[error("the overlay belongs to another base, or the base was changed since it was made")]
    Contents,
    /// There are not enough bits in the map.
    #[error("a disk of {0} bytes is too large for an overlay")]
    TooLarge(u64),
    /// The same file is meant to be both.
    #[error("the overlay is its own base")]
    Itself,
    /// Another disk has it.
    #[error("the overlay is in use")]
    Busy,
    /// The base cannot be read.
    #[error("the base cannot be read")]
    Base(#[source] io::Error),
    /// The overlay cannot be read or written.
    #[error("the overlay cannot be read or written")]
    Io(#[from] io::Error),
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the base.
    base_length: u64,
    /// What [`fingerprint`] says of it.
    contents: u64,
    /// How many bytes the disk has.
    pub length: u64,
    /// How many bytes of the base can be seen.
    pub visible: u64,
}

/// Mixes bytes into a number: FNV-1a.
fn mix(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}

/// What FNV-1a begins with.
const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Returns a number that most likely is another one for another base: of all of it if that is at most
/// a mebibyte, else of parts of it.
pub fn fingerprint(base: &File, length: u64) -> io::Result<u64> {
    let sample = u64::try_from(SAMPLE).unwrap_or(u64::MAX);
    let step = (length / SAMPLES).next_multiple_of(sample).max(sample);
    let mut hash = START;
    let mut bytes = [0; SAMPLE];
    let mut at = 0;
    while at < length {
        let count = usize::try_from(length - at).unwrap_or(SAMPLE).min(SAMPLE);
        let part = bytes.get_mut(..count).unwrap_or_default();
        base.read_exact_at(part, at)?;
        hash = mix(hash, part);
        at = at.saturating_add(step);
    }
    Ok(hash)
}

impl Header {
    /// The header of an overlay that has nothing yet.
    pub fn new(base_length: u64, contents: u64) -> Self {
        Self {
            base_length,
            contents,
            length: base_length,
            visible: base_length,
        }
    }

    /// Returns it as it is in the file.
    pub fn to_bytes(self) -> [u8; LENGTH] {
        let head = MAGIC.into_iter().chain(VERSION.to_le_bytes());
        let head = head.chain(CLUSTER_SHIFT.to_le_bytes());
        let numbers = [self.base_length, self.contents, self.length, self.visible];
        let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
        let mut bytes = [0; LENGTH];
        for (place, byte) in bytes.iter_mut().zip(head.chain(numbers)) {
            *place = byte;
        }
        let (checked, rest) = bytes.split_at_mut(CHECKED);
        let check = mix(START, checked).to_le_bytes();
        for (place, byte) in rest.iter_mut().zip(check) {
            *place = byte;
        }
        bytes
    }

    /// Reads it from a file.
    pub fn read(file: &File) -> Result<Self, OverlayError> {
        let mut bytes = [0; LENGTH];
        match file.read_exact_at(&mut bytes, 0) {
            Ok(()) if bytes.starts_with(&MAGIC) => {}
            Ok(()) => return Err(OverlayError::Unknown),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(OverlayError::Unknown);
            }
            Err(error) => return Err(error.into()),
        }
        let mut words = bytes.chunks_exact(8).map(|word| {
            let word = word.try_into().unwrap_or_default();
            u64::from_le_bytes(word)
        });
        let mut word = || words.next().unwrap_or(0);
        let (_, form) = (word(), word());
        let (base_length, contents, length, visible) = (word(), word(), word(), word());
        let check = word();
        let (checked, _) = bytes.split_at(CHECKED);
        if check != mix(START, checked) {
            return Err(OverlayError::Damaged);
        }
        if form != u64::from(CLUSTER_SHIFT) << 32 | u64::from(VERSION) {
            let version = u32::try_from(form & u64::from(u32::MAX)).unwrap_or(0);
            return Err(OverlayError::Version(version));
        }
        Ok(Self {
            base_length,
            contents,
            length,
            visible,
        })
    }

    /// Checks that it belongs to this base.
    pub fn check(&self, base_length: u64, contents: u64) -> Result<(), OverlayError> {
        if self.base_length != base_length {
            return Err(OverlayError::Length {
                wanted: self.base_length,
                there: base_length,
            });
        }
        if self.contents != contents {
            return Err(OverlayError::Contents);
        }
        if self.visible > base_length {
            return Err(OverlayError::Damaged);
        }
        Ok(())
    }
}
