// SPDX-License-Identifier: GPL-2.0

//! A disk with a cache that forgets.
//!
//! While the cache writes back, what is written is kept beside the storage until it is flushed. A
//! power cut loses it, all of it or a part: a driver that says that data is stable before it has
//! flushed it is found out.

use super::{overlay::Overlay, storage::Storage};
use std::{collections::BTreeMap, fs::File, io, ops::Range, sync::Arc};
use uring::Kind;

/// The number of bytes in a sector.
pub const SECTOR: usize = 512;

type Sector = Box<[u8; SECTOR]>;

/// A disk.
#[derive(Debug)]
pub struct Disk {
    storage: Storage,
    /// What is not stable, by the number of the sector; `None` is a sector of zeroes.
    cache: BTreeMap<u64, Option<Sector>>,
    write_back: bool,
}

/// The most sectors that are written together.
const MOST_TOGETHER: u64 = 2048;

/// Sectors that follow each other, all of which are zeroes, or none of which is known to be.
#[derive(Debug, Default)]
struct Run {
    first: u64,
    count: u64,
    /// What they have; nothing, if they are zeroes.
    bytes: Vec<u8>,
}

impl Run {
    /// Returns whether a sector goes with those that are there.
    fn takes(&self, number: u64, sector: Option<&[u8; SECTOR]>) -> bool {
        self.first + self.count == number
            && self.bytes.is_empty() == sector.is_none()
            && (sector.is_none() || self.count < MOST_TOGETHER)
    }

    fn push(&mut self, number: u64, sector: Option<&[u8; SECTOR]>) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
        self.bytes.extend(sector.into_iter().flatten());
    }

    /// Writes it, and begins again.
    fn write(&mut self, storage: &mut Storage) -> io::Result<()> {
        let offset = self.first * 512;
        if self.bytes.is_empty() {
            storage.zero(offset, self.count * 512)?;
        } else {
            storage.write(offset, &self.bytes)?;
        }
        self.count = 0;
        self.bytes.clear();
        Ok(())
    }
}

/// Goes through the sectors of a range of bytes, which is one of whole sectors.
fn sectors(offset: u64, length: u64) -> Range<u64> {
    offset / 512..offset.saturating_add(length) / 512
}

impl Disk {
    /// Makes a disk that writes through.
    pub fn new(storage: Storage) -> Self {
        Self {
            storage,
            cache: BTreeMap::new(),
            write_back: false,
        }
    }

    /// Sets whether the cache writes back. When it does not any more, it is flushed.
    pub fn set_write_back(&mut self, write_back: bool) -> io::Result<()> {
        self.write_back = write_back;
        if write_back { Ok(()) } else { self.flush() }
    }

    /// Returns whether the cache writes back.
    pub fn writes_back(&self) -> bool {
        self.write_back
    }

    /// Returns the overlay, if it has one.
    pub fn overlay(&self) -> Option<&Overlay> {
        match &self.storage {
            Storage::Overlay(overlay) => Some(overlay),
            _ => None,
        }
    }

    /// Returns whether its sectors are in files.
    pub fn has_file(&self) -> bool {
        matches!(self.storage, Storage::File(_) | Storage::Overlay(_))
    }

    /// Returns whether some bytes are not only in the storage.
    pub fn is_cached(&self, span: &Range<u64>) -> bool {
        let range = sectors(span.start, span.end - span.start);
        self.cache.range(range).next().is_some()
    }

    /// Returns the file, and the place in it, that has all of some bytes, or takes them; if there is
    /// one.
    pub fn place(&self, span: Range<u64>, kind: Kind) -> Option<(Arc<File>, u64)> {
        if self.is_cached(&span) {
            return None;
        }
        self.storage.place(span, kind)
    }

    /// Returns the file that only has to be made stable for a flush, if that is all.
    pub fn file_to_sync(&self) -> Option<Arc<File>> {
        self.storage.file_to_sync()
    }

    /// Returns how many sectors are not stable.
    pub fn unstable(&self) -> usize {
        self.cache.len()
    }

    /// Reads whole sectors.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.storage.read(offset, bytes)?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let range = sectors(offset, length);
        for (number, cached) in self.cache.range(range.clone()) {
            let at = usize::try_from(number - range.start).unwrap_or(0) * SECTOR;
            if let Some(there) = bytes.get_mut(at..at + SECTOR) {
                match cached {
                    Some(cached) => there.copy_from_slice(cached.as_slice()),
                    None => there.fill(0),
                }
            }
        }
        Ok(())
    }

    /// Writes whole sectors.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.write_back {
            self.storage.write(offset, bytes)?;
            return self.storage.settle();
        }
        for (number, sector) in (offset / 512..).zip(bytes.chunks_exact(SECTOR)) {
            let sector: [u8; SECTOR] = sector.try_into().map_err(io::Error::other)?;
            self.cache.insert(number, Some(Box::new(sector)));
        }
        Ok(())
    }

    /// Makes zeroes of whole sectors.
    pub fn zero(&mut self, offset: u64, length: u64) -> io::Result<()> {
        if !self.write_back {
            self.storage.zero(offset, length)?;
            return self.storage.settle();
        }
        for number in sectors(offset, length) {
            self.cache.insert(number, None);
        }
        Ok(())
    }

    /// Makes zeroes of whole sectors, for good: nothing of them is left anywhere.
    pub fn erase(&mut self, offset: u64, length: u64) -> io::Result<()> {
        for number in sectors(offset, length) {
            self.cache.remove(&number);
        }
        self.storage.zero(offset, length)?;
        self.storage.settle()
    }

    /// Makes stable what was written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.write_out()?;
        self.storage.sync()
    }

    /// Moves what is cached to the storage, sectors that follow each other together.
    pub fn write_out(&mut self) -> io::Result<()> {
        let mut run = Run::default();
        for (number, cached) in &self.cache {
            if !run.takes(*number, cached.as_deref()) {
                run.write(&mut self.storage)?;
            }
            run.push(*number, cached.as_deref());
        }
        run.write(&mut self.storage)?;
        self.cache.clear();
        Ok(())
    }

    /// Loses what is not stable, and returns how many sectors that were. Of each 8 sectors, `keep`
    /// happen to be stable: a cache may write back at any time.
    pub fn cut_power(&mut self, keep: u64) -> io::Result<usize> {
        let before = self.cache.len();
        // A sector's number does not tell when it was written, so this is no order of time.
        self.cache
            .retain(|number, _| (number.wrapping_mul(0x9e37_79b9) >> 7) % 8 < keep);
        let lost = before - self.cache.len();
        self.flush()?;
        Ok(lost)
    }

    /// Sets the number of bytes.
    pub fn resize(&mut self, bytes: u64) -> io::Result<()> {
        self.cache.split_off(&(bytes / 512));
        self.storage.resize(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Disk {
        let storage = Storage::ram(8 * 512).expect("memory");
        let mut disk = Disk::new(storage);
        disk.set_write_back(true).expect("a cache");
        disk
    }

    fn first_byte(disk: &Disk, sector: u64) -> u8 {
        let mut bytes = [0; 512];
        disk.read(sector * 512, &mut bytes).expect("a read");
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
        bytes[0]
    }

    #[test]
    fn what_is_not_flushed_is_lost() {
        let mut disk = disk();
        disk.write(512, &[1; 1024]).expect("a write");
        disk.flush().expect("a flush");
        disk.write(1024, &[2; 1024]).expect("a write");
        disk.zero(512, 512).expect("zeroes");
        assert_eq!([1, 2, 3].map(|s| first_byte(&disk, s)), [0, 2, 2]);
        assert_eq!(disk.unstable(), 3);

        assert_eq!(disk.cut_power(0).expect("a power cut"), 3);
        assert_eq!([1, 2, 3].map(|s| first_byte(&disk, s)), [1, 1, 0]);
    }

    #[test]
    fn a_part_may_happen_to_be_stable() {
        let mut disk = disk();
        disk.write(0, &[7; 4096]).expect("a write");
        let lost = disk.cut_power(4).expect("a power cut");
        let there = (0..8).filter(|s| first_byte(&disk, *s) == 7).count();

        assert_eq!(there + lost, 8);
        assert_eq!(disk.unstable(), 0);
    }

    #[test]
    fn writing_through_loses_nothing() {
        let mut disk = disk();
        disk.write(0, &[1; 512]).expect("a write");
        disk.set_write_back(false).expect("to write through");
        disk.write(512, &[2; 512]).expect("a write");

        assert_eq!(disk.cut_power(0).expect("a power cut"), 0);
        assert_eq!([0, 1].map(|s| first_byte(&disk, s)), [1, 2]);
    }

    #[test]
    fn erasing_leaves_nothing_to_come_back() {
        let mut disk = disk();
        disk.write(0, &[1; 512]).expect("a write");
        disk.flush().expect("a flush");
        disk.write(0, &[2; 512]).expect("a write");
        disk.erase(0, 512).expect("to erase");

        assert_eq!(first_byte(&disk, 0), 0);
        disk.cut_power(0).expect("a power cut");
        assert_eq!(first_byte(&disk, 0), 0);
    }

    #[test]
    fn sectors_are_written_together_and_to_their_places() {
        const SECTORS: u64 = 3 * MOST_TOGETHER;
        let mut disk = Disk::new(Storage::ram(SECTORS * 512).expect("memory"));
        disk.set_write_back(true).expect("a cache");
        let byte = |sector: u64| u8::try_from(sector % 251).expect("a byte");
        for sector in (0..SECTORS).filter(|sector| sector % 100 != 7) {
            let bytes = [byte(sector); 512];
            disk.write(sector * 512, &bytes).expect("a write");
        }
        disk.zero(300 * 512, 50 * 512).expect("zeroes");
        disk.flush().expect("a flush");

        assert_eq!(disk.unstable(), 0);
        for sector in 0..SECTORS {
            let zero = sector % 100 == 7 || (300..350).contains(&sector);
            let wanted = if zero { 0 } else { byte(sector) };
            assert_eq!(first_byte(&disk, sector), wanted, "sector {sector}");
        }
    }

    #[test]
    fn what_is_added_is_zeroes() {
        let mut disk = disk();
        disk.write(0, &[1; 4096]).expect("a write");
        disk.resize(512).expect("to shrink");
        disk.resize(1024).expect("to grow");

        assert_eq!([0, 1].map(|s| first_byte(&disk, s)), [1, 0]);
        assert!(disk.read(1024, &mut [0; 512]).is_err());
    }

    #[test]
    fn a_file_is_written_and_zeroed() {
        let file = crate::memory::tests::file(4096);
        let mut disk = Disk::new(Storage::File(Arc::new(file)));
        disk.write(512, &[3; 1024]).expect("a write");
        disk.zero(1024, 512).expect("zeroes");

        assert_eq!([0, 1, 2].map(|s| first_byte(&disk, s)), [0, 3, 0]);
        assert!(disk.read(4096, &mut [0; 512]).is_err());
    }
}
