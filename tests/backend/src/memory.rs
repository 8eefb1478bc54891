// SPDX-License-Identifier: GPL-2.0

//! The memory of a guest.
//!
//! QEMU hands over files, and tells which part of which file is at which address. Whatever a guest
//! says is looked up here: an address that is not in the table is an error, never an access.

mod page_log;

pub use page_log::{Bitmap, PageLog};

use page_log::Mark;
use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use thiserror::Error;
use uring::Piece;
use vm_memory::{Bytes, FileOffset, MmapRegion, VolatileMemory, VolatileMemoryError};

/// How many regions there can be: QEMU asks with `GET_MAX_MEM_SLOTS`.
pub const MOST_REGIONS: usize = 509;

/// Why memory cannot be used.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// Not all of it is in the table.
    #[error("{length} bytes at {address:#x} are not in the memory of the guest")]
    Unmapped {
        /// The first address.
        address: u64,
        /// The number of bytes.
        length: u64,
    },
    /// A part of a ring is accessed beyond its end, or not aligned.
    #[error("a part of the memory of the guest cannot be accessed")]
    Access(#[from] VolatileMemoryError),
    /// A region cannot be mapped.
    #[error("a region cannot be mapped")]
    Map(#[from] vm_memory::mmap::MmapRegionError),
    /// A part of a region is not in its mapping.
    #[error(transparent)]
    Piece(#[from] uring::Error),
    /// A region is where another one is, or wraps around.
    #[error("a region at {0:#x} is invalid")]
    Region(u64),
    /// A file does not have all of a region.
    #[error("{length} bytes at {offset:#x} are beyond the end of a file")]
    TooShort {
        /// Where they begin.
        offset: u64,
        /// The number of bytes.
        length: u64,
    },
    /// There are too many regions.
    #[error("there are more than {MOST_REGIONS} regions")]
    TooMany,
    /// The log of writes does not have all of the memory.
    #[error("a log of {bytes} bytes is too short for {pages} pages")]
    LogTooShort {
        /// How long it is.
        bytes: u64,
        /// How many pages there are, with what is no memory between.
        pages: u64,
    },
}

type Result<T> = std::result::Result<T, MemoryError>;

/// A part of the memory of a guest.
#[derive(Clone, Debug)]
struct Region {
    guest: u64,
    user: u64,
    length: u64,
    map: Arc<MmapRegion>,
}

/// Where QEMU says that a region is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The address for the guest.
    pub guest: u64,
    /// The address for QEMU, which tells by such addresses where rings are.
    pub user: u64,
    /// The number of bytes.
    pub length: u64,
    /// Where it begins in the file.
    pub offset: u64,
}

/// The memory of a guest.
#[derive(Debug, Default)]
pub struct Memory {
    regions: Vec<Region>,
    /// How many bytes were written by [`write`](Self::write).
    written: AtomicU64,
    log: Arc<PageLog>,
}

fn overlap(one: u64, other: u64, one_length: u64, other_length: u64) -> bool {
    one < other.saturating_add(other_length) && other < one.saturating_add(one_length)
}

/// Converts what has to fit, as it is within a mapping.
fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Maps a part of a file, all of which has to be there: what lies beyond its end cannot be accessed.
fn map(file: File, offset: u64, length: u64) -> Result<Arc<MmapRegion>> {
    let there = file.metadata().map_or(0, |metadata| metadata.len());
    if offset.checked_add(length).is_none_or(|end| end > there) {
        return Err(MemoryError::TooShort { offset, length });
    }
    let file = FileOffset::new(file, offset);
    Ok(Arc::new(MmapRegion::from_file(file, index(length))?))
}

impl Memory {
    /// Forgets all regions.
    pub fn clear(&mut self) {
        self.regions.clear();
    }

    /// Adds a region.
    pub fn add(&mut self, place: Place, file: File) -> Result<()> {
        let Place {
            guest,
            user,
            length,
            offset,
        } = place;
        if self.regions.len() >= MOST_REGIONS {
            return Err(MemoryError::TooMany);
        }
        let wraps = [guest, user, offset]
            .iter()
            .any(|start| start.checked_add(length).is_none());
        let taken = self.regions.iter().any(|region| {
            overlap(region.guest, guest, region.length, length)
                || overlap(region.user, user, region.length, length)
        });
        if wraps || taken || length == 0 {
            return Err(MemoryError::Region(guest));
        }
        let map = map(file, offset, length)?;
        self.regions.push(Region {
            guest,
            user,
            length,
            map,
        });
        Ok(())
    }

    /// Removes a region.
    pub fn remove(&mut self, place: Place) -> Result<()> {
        let at = self.regions.iter().position(|region| {
            (region.guest, region.user, region.length) == (place.guest, place.user, place.length)
        });
        let at = at.ok_or(MemoryError::Region(place.guest))?;
        self.regions.remove(at);
        Ok(())
    }

    /// Finds an address, by what `start` says where regions are. Returns the region, and the offset.
    fn find(&self, address: u64, start: impl Fn(&Region) -> u64) -> Option<(&Region, u64)> {
        self.regions.iter().find_map(|region| {
            let offset = address.checked_sub(start(region))?;
            (offset < region.length).then_some((region, offset))
        })
    }

    /// Finds a part of a ring, which has to be in one region, by its address for QEMU.
    pub fn area(&self, user: u64, length: usize) -> Result<Area> {
        let long = u64::try_from(length).unwrap_or(u64::MAX);
        let found = self.find(user, |region| region.user);
        match found {
            Some((region, offset)) if long <= region.length - offset => Ok(Area {
                map: Arc::clone(&region.map),
                offset: index(offset),
                length,
                mark: Some(Mark {
                    log: Arc::clone(&self.log),
                    address: Some(region.guest + offset),
                }),
            }),
            _ => Err(MemoryError::Unmapped {
                address: user,
                length: long,
            }),
        }
    }

    /// Calls `access` for each piece of a range that is in one region, with the mapping, the offset
    /// in it, the number of bytes before, and the number of bytes.
    fn pieces(
        &self,
        address: u64,
        length: usize,
        mut access: impl FnMut(&Arc<MmapRegion>, usize, usize, usize) -> Result<()>,
    ) -> Result<()> {
        let mut done = 0;
        while done < length {
            let here = address.checked_add(u64::try_from(done).unwrap_or(u64::MAX));
            let found = here.and_then(|here| self.find(here, |region| region.guest));
            let Some((region, offset)) = found else {
                return Err(MemoryError::Unmapped {
                    address,
                    length: u64::try_from(length).unwrap_or(u64::MAX),
                });
            };
            let count = index(region.length - offset).min(length - done);
            access(&region.map, index(offset), done, count)?;
            done += count;
        }
        Ok(())
    }

    /// Checks that a range is there.
    pub fn check(&self, address: u64, length: usize) -> Result<()> {
        self.pieces(address, length, |_, _, _, _| Ok(()))
    }

    /// Reads from an address of the guest.
    pub fn read(&self, address: u64, bytes: &mut [u8]) -> Result<()> {
        let length = bytes.len();
        self.pieces(address, length, |map, offset, done, count| {
            let slice = map.get_slice(offset, count)?;
            slice.copy_to(bytes.get_mut(done..).unwrap_or_default());
            Ok(())
        })
    }

    /// Writes to an address of the guest.
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        self.check(address, bytes.len())?;
        self.pieces(address, bytes.len(), |map, offset, done, count| {
            let slice = map.get_slice(offset, count)?;
            slice.copy_from(bytes.get(done..done + count).unwrap_or_default());
            Ok(())
        })?;
        self.log.note(address, bytes.len());
        let count = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.written.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Finds the mappings that a range is in, for the kernel to read or write it.
    pub fn find_pieces(&self, address: u64, length: usize, into: &mut Vec<Piece>) -> Result<()> {
        self.pieces(address, length, |map, offset, _, count| {
            into.push(Piece::new(Arc::clone(map), offset, count)?);
            Ok(())
        })
    }

    /// Counts bytes that the kernel has written to such pieces.
    pub fn count_written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Returns how many bytes were written, rings not counted.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Returns the log of what is written.
    pub fn log(&self) -> &PageLog {
        &self.log
    }

    /// Takes the bitmap of the log, which has to have a bit for each page.
    pub fn set_log(&self, bitmap: Bitmap) -> Result<()> {
        let ends = self.regions.iter().map(|it| it.guest + it.length);
        self.log.set_bitmap(bitmap, ends.max().unwrap_or(0))
    }
}

/// A part of memory that is shared, such as a ring. It stays mapped while this exists.
#[derive(Clone, Debug)]
pub struct Area {
    map: Arc<MmapRegion>,
    offset: usize,
    length: usize,
    /// Where it is noted that it is written, if it is memory of a guest.
    mark: Option<Mark>,
}

impl Area {
    /// Maps all of a file.
    pub fn of_file(file: File, offset: u64, length: usize) -> Result<Self> {
        let long = u64::try_from(length).unwrap_or(u64::MAX);
        Ok(Self {
            map: map(file, offset, long)?,
            offset: 0,
            length,
            mark: None,
        })
    }

    /// Sets at which address it is in the log of writes, or that it is in none.
    pub fn log_at(&mut self, address: Option<u64>) {
        if let Some(mark) = &mut self.mark {
            mark.address = address;
        }
    }

    /// Takes a part of it.
    pub fn part(&self, at: usize, length: usize) -> Result<Self> {
        match at.checked_add(length) {
            Some(end) if end <= self.length => Ok(Self {
                map: Arc::clone(&self.map),
                offset: self.offset + at,
                length,
                mark: self.mark.as_ref().map(|mark| mark.after(at)),
            }),
            _ => Err(MemoryError::Unmapped {
                address: u64::try_from(at).unwrap_or(u64::MAX),
                length: u64::try_from(length).unwrap_or(u64::MAX),
            }),
        }
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> usize {
        self.length
    }

    fn slice(&self) -> Result<vm_memory::VolatileSlice<'_>> {
        Ok(self.map.get_slice(self.offset, self.length)?)
    }

    /// Reads an integer that the other end may write at the same time; what is read after this was
    /// written before it.
    pub fn load(&self, at: usize) -> Result<u16> {
        let value: u16 = self.slice()?.load(at, Ordering::Acquire)?;
        Ok(u16::from_le(value))
    }

    /// Writes an integer that the other end may read at the same time; it sees what was written
    /// before.
    pub fn store(&self, at: usize, value: u16) -> Result<()> {
        #[cfg(test)]
        tests::spend(at)?;
        self.slice()?.store(value.to_le(), at, Ordering::Release)?;
        self.note(at, size_of_val(&value));
        Ok(())
    }

    fn note(&self, at: usize, length: usize) {
        if let Some(mark) = &self.mark {
            mark.note(at, length);
        }
    }

    /// Reads some bytes.
    pub fn read<const N: usize>(&self, at: usize) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.slice()?.read_slice(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Reads all of it.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; self.length];
        self.slice()?.read_slice(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Writes some bytes.
    pub fn write(&self, at: usize, bytes: &[u8]) -> Result<()> {
        #[cfg(test)]
        tests::spend(at)?;
        self.slice()?.write_slice(bytes, at)?;
        self.note(at, bytes.len());
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::{cell::Cell, os::unix::fs::FileExt};

    thread_local! {
        /// How many more writes to areas there are before the backend is killed.
        pub static LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// Counts a write; an error stands for being killed before it.
    pub fn spend(at: usize) -> Result<()> {
        let left = LEFT.get();
        LEFT.set(left.saturating_sub(1));
        if left == 0 {
            let address = u64::try_from(at).unwrap_or(u64::MAX);
            return Err(MemoryError::Region(address));
        }
        Ok(())
    }

    /// Returns a file without a name.
    pub fn file(length: u64) -> File {
        let file = rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC)
            .expect("a file in memory");
        let file = File::from(file);
        file.set_len(length).expect("its length");
        file
    }

    /// Returns the pages that are marked in a log.
    pub fn marked(log: &File) -> Vec<u64> {
        let length = log.metadata().expect("a length").len();
        let mut bytes = vec![0_u8; usize::try_from(length).expect("a length")];
        log.read_exact_at(&mut bytes, 0).expect("the bitmap");
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1));
        (0..)
            .zip(bits)
            .filter(|(_, bit)| *bit == 1)
            .map(|(page, _)| page)
            .collect()
    }

    /// Returns memory with one region, which the guest has at 0x10000, and QEMU at 0x7000_0000.
    pub fn memory(length: u64) -> Memory {
        let mut memory = Memory::default();
        memory
            .add(
                Place {
                    guest: GUEST,
                    user: USER,
                    length,
                    offset: 0,
                },
                file(length),
            )
            .expect("a region");
        memory
    }

    /// Where the guest has its memory.
    pub const GUEST: u64 = 0x10000;
    /// Where QEMU has it.
    pub const USER: u64 = 0x7000_0000;

    fn place(guest: u64, length: u64) -> Place {
        Place {
            guest,
            user: guest + USER,
            length,
            offset: 0,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let memory = memory(0x2000);
        memory.write(GUEST + 0xffe, b"abcd").expect("a write");
        let mut bytes = [0; 4];
        memory.read(GUEST + 0xffe, &mut bytes).expect("a read");

        assert_eq!(&bytes, b"abcd");
        assert_eq!(memory.written(), 4);
        let area = memory.area(USER + 0xffe, 4).expect("an area");
        assert_eq!(&area.read::<4>(0).expect("a read"), b"abcd");
    }

    #[test]
    fn ranges_go_over_regions_that_touch() {
        let mut memory = Memory::default();
        for guest in [0x1000, 0x3000, 0x2000] {
            memory
                .add(place(guest, 0x1000), file(0x1000))
                .expect("a region");
        }
        let bytes: Vec<u8> = (0..0x2800_u32)
            .map(|i| u8::try_from(i % 251).unwrap_or(0))
            .collect();
        memory.write(0x1400, &bytes).expect("a write");
        let mut read = vec![0; bytes.len()];
        memory.read(0x1400, &mut read).expect("a read");

        assert_eq!(read, bytes);
        assert!(
            memory.area(0x1800 + USER, 0x1000).is_err(),
            "not in one region"
        );
    }

    #[test]
    fn what_is_not_there_is_not_touched() {
        let memory = memory(0x1000);
        let mut bytes = [0; 2];

        for (address, length) in [
            (GUEST - 1, 2),
            (GUEST + 0xfff, 2),
            (GUEST + 0x1000, 1),
            (u64::MAX, 2),
            (0, 1),
        ] {
            let read = memory.read(address, &mut bytes[..length]);
            assert!(read.is_err(), "{length} bytes at {address:#x}");
            assert!(memory.write(address, &bytes[..length]).is_err());
        }
        assert_eq!(memory.written(), 0);
        assert!(memory.read(0, &mut []).is_ok(), "nothing is anywhere");
        assert!(memory.area(USER + 0xfff, 2).is_err());
        let area = memory.area(USER + 0xff0, 16).expect("an area");
        assert!(area.read::<2>(15).is_err());
        assert!(area.load(1).is_err(), "not aligned");
        assert!(area.part(8, 9).is_err());
        assert!(area.part(usize::MAX, 2).is_err());
    }

    #[test]
    fn regions_are_checked() {
        let mut memory = memory(0x1000);

        for bad in [
            place(GUEST, 0x1000),
            place(GUEST - 0x800, 0x1000),
            place(0x20000, 0),
            place(u64::MAX - USER - 0xfff, 0x2000),
        ] {
            assert!(memory.add(bad, file(0x1000)).is_err(), "{bad:x?}");
        }
        assert!(
            memory.add(place(0x20000, 0x2000), file(0x1000)).is_err(),
            "beyond the file"
        );
        assert!(memory.remove(place(0x20000, 0x1000)).is_err());
        let there = Place {
            user: USER,
            ..place(GUEST, 0x1000)
        };
        memory.remove(there).expect("to be removed");
        assert!(memory.check(GUEST, 1).is_err());
    }
}
