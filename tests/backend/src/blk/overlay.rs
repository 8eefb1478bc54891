// SPDX-License-Identifier: GPL-2.0

//! An overlay: what is written to a disk is in a file of its own, and the base image stays as it is.
//!
//! The overlay file begins with a header ([`header`]); a map follows, with a bit for each cluster that
//! is in the overlay, and then the clusters, each where the disk has it. The file is sparse: what is
//! not there takes no room. A cluster that is in the map hides what the base has there, be it zeroes.
//!
//! A cluster is complete in the file before its bit is set in memory. Bits are written when the disk
//! is flushed: the clusters are made stable, then the map is written, and made stable. So the map
//! never tells of a cluster that is not there, whenever the backend is killed or the machine stops.

mod header;
#[cfg(test)]
mod tests;

use super::storage::{length_of, make_zeroes, to_index};
use header::Header;
pub use header::OverlayError;
use rustix::fs::{FlockOperation, flock};
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::Arc,
    thread::sleep,
    time::Duration,
};
use uring::Kind;

/// The number of bytes in a cluster.
pub const CLUSTER: u64 = 1 << header::CLUSTER_SHIFT;

/// Where the map begins.
const MAP: u64 = CLUSTER;

/// How many clusters there can be: the map has room for a disk of 32 TiB.
const MOST_CLUSTERS: u64 = 1 << 29;

/// Where the clusters begin.
const DATA: u64 = MAP + MOST_CLUSTERS / 8;

/// How much of the map is written at once. More than a sector may be written in part.
const BLOCK: usize = 512;

/// How often, and after how long, an overlay that is in use is asked for again: the backend that had it
/// may just be ending.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

type Result<T> = std::result::Result<T, OverlayError>;

/// A base image, and what is different from it.
#[derive(Debug)]
pub struct Overlay {
    base: Arc<File>,
    file: Arc<File>,
    header: Header,
    /// A bit for each cluster that is in the file.
    map: Vec<u8>,
    /// The blocks of the map that have bits which were not written.
    dirty: BTreeSet<usize>,
    /// How many clusters were filled up from the base, as a part of them was written.
    copied: u64,
}

/// Where something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Base,
    Overlay,
}

/// Returns how many clusters have so many bytes.
fn clusters(bytes: u64) -> u64 {
    bytes.div_ceil(CLUSTER)
}

/// Returns how many bytes of the map are in use for so many bytes.
fn map_length(bytes: u64) -> Result<usize> {
    let count = clusters(bytes);
    if count > MOST_CLUSTERS {
        return Err(OverlayError::TooLarge(bytes));
    }
    Ok(to_index(count.div_ceil(8))?)
}

/// Reads all that there is; beyond the end of a file are zeroes.
fn read_or_zero(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.read_at(bytes, offset) {
            Ok(0) => {
                bytes.fill(0);
                return Ok(());
            }
            Ok(count) => {
                bytes = bytes.get_mut(count..).unwrap_or_default();
                offset += u64::try_from(count).unwrap_or(0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Keeps others from the file, for as long as it is open.
fn lock(file: &File, write: bool) -> Result<()> {
    let operation = if write {
        FlockOperation::NonBlockingLockExclusive
    } else {
        FlockOperation::NonBlockingLockShared
    };
    for _ in 0..LOCK_TRIES {
        match flock(file, operation) {
            Ok(()) => return Ok(()),
            Err(rustix::io::Errno::WOULDBLOCK) => sleep(LOCK_PAUSE),
            Err(error) => return Err(OverlayError::Io(error.into())),
        }
    }
    Err(OverlayError::Busy)
}

impl Overlay {
    /// Opens a base, which is not going to be written, and its overlay, which is made if there is none.
    pub fn open(base: &Path, overlay: &Path, write: bool) -> Result<Self> {
        let base = File::open(base).map_err(OverlayError::Base)?;
        let file = File::options()
            .read(true)
            .write(write)
            .create(write)
            .truncate(false)
            .open(overlay)?;
        Self::of(base, file, write)
    }

    /// Takes files that are open.
    fn of(base: File, file: File, write: bool) -> Result<Self> {
        let identity = |file: &File| file.metadata().map(|it| (it.dev(), it.ino()));
        if identity(&base)? == identity(&file)? {
            return Err(OverlayError::Itself);
        }
        lock(&file, write)?;
        let there = length_of(&base).map_err(OverlayError::Base)?;
        let contents = header::fingerprint(&base, there).map_err(OverlayError::Base)?;
        let header = if file.metadata()?.len() == 0 && write {
            map_length(there)?;
            let header = Header::new(there, contents);
            write_all(&file, &header.to_bytes(), 0)?;
            sync(&file)?;
            header
        } else {
            let header = Header::read(&file)?;
            header.check(there, contents)?;
            header
        };
        let mut map = vec![0; map_length(header.length)?];
        read_or_zero(&file, &mut map, MAP)?;
        if write && file.metadata()?.len() != DATA + header.length {
            // It is new, or the one before has not come to the end of a resize.
            set_length(&file, DATA + header.length)?;
        }
        Ok(Self {
            base: Arc::new(base),
            file: Arc::new(file),
            header,
            map,
            dirty: BTreeSet::new(),
            copied: 0,
        })
    }

    /// Returns the number of bytes that the disk has.
    pub fn length(&self) -> u64 {
        self.header.length
    }

    /// Returns how many clusters are in the overlay.
    pub fn count(&self) -> u64 {
        self.map
            .iter()
            .map(|byte| u64::from(byte.count_ones()))
            .sum()
    }

    /// Returns how many clusters were filled up from the base.
    pub fn copied(&self) -> u64 {
        self.copied
    }

    fn place(&self, cluster: u64) -> Place {
        let byte = usize::try_from(cluster / 8).unwrap_or(usize::MAX);
        let byte = self.map.get(byte).copied().unwrap_or(0);
        if byte >> (cluster % 8) & 1 == 1 {
            Place::Overlay
        } else {
            Place::Base
        }
    }

    /// Notes that clusters are in the overlay.
    fn set(&mut self, clusters: Range<u64>) -> io::Result<()> {
        for cluster in clusters {
            let at = to_index(cluster / 8)?;
            let bit = 1_u8 << (cluster % 8);
            if let Some(byte) = self.map.get_mut(at)
                && *byte & bit == 0
            {
                *byte |= bit;
                self.dirty.insert(at / BLOCK);
            }
        }
        Ok(())
    }

    /// Checks that the disk has a range, and returns its end.
    fn end(&self, offset: u64, length: u64) -> io::Result<u64> {
        match offset.checked_add(length) {
            Some(end) if end <= self.header.length => Ok(end),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// Returns where an offset is, and up to where, before `end`, what follows is there, too.
    fn run(&self, offset: u64, end: u64) -> (Place, u64) {
        let place = self.place(offset / CLUSTER);
        let mut until = (offset / CLUSTER + 1) * CLUSTER;
        while until < end && self.place(until / CLUSTER) == place {
            until += CLUSTER;
        }
        (place, until.min(end))
    }

    /// Returns the file, and the place in it, that has all of some bytes, or takes them; if there is
    /// one, and nothing else is to be done.
    pub fn place_of(&self, span: Range<u64>, kind: Kind) -> Option<(Arc<File>, u64)> {
        let (place, until) = self.run(span.start, span.end);
        if until < span.end || span.end > self.header.length {
            return None;
        }
        match place {
            Place::Overlay => Some((Arc::clone(&self.file), DATA + span.start)),
            Place::Base if kind == Kind::Read && span.end <= self.header.visible => {
                Some((Arc::clone(&self.base), span.start))
            }
            Place::Base => None,
        }
    }

    /// Returns the file, if the map tells of all that is in it.
    pub fn file_to_sync(&self) -> Option<Arc<File>> {
        self.dirty.is_empty().then(|| Arc::clone(&self.file))
    }

    /// Reads what the base has, as far as it can be seen; beyond that are zeroes.
    fn read_base(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        let seen = self.header.visible.saturating_sub(offset);
        let seen = usize::try_from(seen).unwrap_or(usize::MAX).min(bytes.len());
        let (seen, rest) = bytes.split_at_mut(seen);
        rest.fill(0);
        self.base.read_exact_at(seen, offset)
    }

    /// Reads what is at some offset.
    pub fn read(&self, offset: u64, mut bytes: &mut [u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let end = self.end(offset, length)?;
        let mut at = offset;
        while at < end {
            let (place, until) = self.run(at, end);
            let (here, rest) = bytes.split_at_mut(to_index(until - at)?);
            match place {
                Place::Base => self.read_base(at, here)?,
                Place::Overlay => read_or_zero(&self.file, here, DATA + at)?,
            }
            bytes = rest;
            at = until;
        }
        Ok(())
    }

    /// Writes at some offset.
    pub fn write(&mut self, offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let end = self.end(offset, length)?;
        let mut at = offset;
        while at < end {
            let (place, mut until) = self.run(at, end);
            if place == Place::Base {
                until = until.min((at / CLUSTER + 1) * CLUSTER);
            }
            let (here, rest) = bytes.split_at(to_index(until - at)?);
            match place {
                Place::Base => self.write_new(at, here)?,
                Place::Overlay => write_all(&self.file, here, DATA + at)?,
            }
            bytes = rest;
            at = until;
        }
        Ok(())
    }

    /// Writes to a cluster that is not in the overlay, so that all of it is.
    fn write_new(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let cluster = offset / CLUSTER;
        let first = cluster * CLUSTER;
        let last = (first + CLUSTER).min(self.header.length);
        let whole = to_index(last - first)?;
        if bytes.len() == whole {
            write_all(&self.file, bytes, DATA + first)?;
        } else {
            let mut all = vec![0; whole];
            self.read_base(first, &mut all)?;
            let at = to_index(offset - first)?;
            all.get_mut(at..at + bytes.len())
                .ok_or(io::ErrorKind::InvalidInput)?
                .copy_from_slice(bytes);
            write_all(&self.file, &all, DATA + first)?;
            self.copied += 1;
        }
        self.set(cluster..cluster + 1)
    }

    /// Makes zeroes of what is at some offset, whatever the base has there.
    pub fn zero(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let end = self.end(offset, length)?;
        let mut at = offset;
        while at < end {
            let next = (at / CLUSTER + 1) * CLUSTER;
            let whole_end = if end == self.header.length {
                end
            } else {
                end / CLUSTER * CLUSTER
            };
            if at.is_multiple_of(CLUSTER) && at < whole_end {
                zero(&self.file, DATA + at, whole_end - at)?;
                self.set(at / CLUSTER..clusters(whole_end))?;
                at = whole_end;
                continue;
            }
            let until = next.min(end);
            match self.place(at / CLUSTER) {
                Place::Overlay => zero(&self.file, DATA + at, until - at)?,
                // There are zeroes.
                Place::Base if at >= self.header.visible => {}
                Place::Base => self.write_new(at, &vec![0; to_index(until - at)?])?,
            }
            at = until;
        }
        Ok(())
    }

    /// Makes stable what was written: first the clusters, then the map that tells of them.
    pub fn sync(&mut self) -> io::Result<()> {
        sync(&self.file)?;
        if self.dirty.is_empty() {
            return Ok(());
        }
        for block in &self.dirty {
            let at = block * BLOCK;
            let end = self.map.len().min(at + BLOCK);
            let bytes = self.map.get(at..end).unwrap_or_default();
            let offset = MAP + u64::try_from(at).unwrap_or(0);
            write_all(&self.file, bytes, offset)?;
        }
        sync(&self.file)?;
        self.dirty.clear();
        Ok(())
    }

    /// Writes the map, if it does not tell of all clusters: from now on they outlive the backend.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.dirty.is_empty() {
            Ok(())
        } else {
            self.sync()
        }
    }

    /// Sets the number of bytes. What is added is zeroes, though the base may have more there.
    pub fn resize(&mut self, bytes: u64) -> io::Result<()> {
        let length = map_length(bytes).map_err(io::Error::other)?;
        let mut header = self.header;
        header.length = bytes;
        header.visible = header.visible.min(bytes);
        // Who opens it makes the file as long as this says.
        write_all(&self.file, &header.to_bytes(), 0)?;
        sync(&self.file)?;
        self.header = header;
        set_length(&self.file, DATA + bytes)?;
        self.map.resize(length, 0);
        self.dirty.retain(|block| block * BLOCK < length);
        Ok(())
    }
}

/// Writes all bytes.
fn write_all(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    #[cfg(test)]
    tests::note(|| tests::Step::Write(offset, bytes.to_vec()));
    file.write_all_at(bytes, offset)
}

/// Makes zeroes of a range.
fn zero(file: &File, offset: u64, length: u64) -> io::Result<()> {
    #[cfg(test)]
    tests::note(|| tests::Step::Zero(offset, length));
    make_zeroes(file, offset, length)
}

/// Makes everything stable.
fn sync(file: &File) -> io::Result<()> {
    #[cfg(test)]
    tests::note(|| tests::Step::Sync);
    file.sync_data()
}

/// Sets the length of the file, and makes that stable.
fn set_length(file: &File, length: u64) -> io::Result<()> {
    #[cfg(test)]
    tests::note(|| tests::Step::Length(length));
    file.set_len(length)?;
    sync(file)
}
