// SPDX-License-Identifier: GPL-2.0

//! Where the sectors of a disk are.

use super::overlay::Overlay;
use rustix::fs::{FallocateFlags, fallocate};
use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
};
use uring::Kind;

/// Where the sectors of a disk are.
#[derive(Debug)]
pub enum Storage {
    /// In memory: they end with the backend.
    Ram(Vec<u8>),
    /// In a file.
    File(Arc<File>),
    /// In a file that is not written, and in another one where what is written goes.
    Overlay(Box<Overlay>),
    /// Nowhere: they are zeroes.
    Null,
}

impl Storage {
    /// Makes a disk in memory.
    pub fn ram(bytes: u64) -> io::Result<Self> {
        Ok(Self::Ram(vec![0; to_index(bytes)?]))
    }

    /// Opens a file, and returns its length, too.
    pub fn file(path: &Path, write: bool) -> io::Result<(Self, u64)> {
        let file = File::options().read(true).write(write).open(path)?;
        let length = length_of(&file)?;
        Ok((Self::File(Arc::new(file)), length))
    }

    /// Reads what is at some offset.
    pub fn read(&self, offset: u64, bytes: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Ram(memory) => {
                let there = part(memory.len(), offset, bytes.len())?;
                bytes.copy_from_slice(memory.get(there).ok_or(io::ErrorKind::InvalidInput)?);
                Ok(())
            }
            Self::File(file) => file.read_exact_at(bytes, offset),
            Self::Overlay(overlay) => overlay.read(offset, bytes),
            Self::Null => {
                bytes.fill(0);
                Ok(())
            }
        }
    }

    /// Writes at some offset.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Ram(memory) => {
                let there = part(memory.len(), offset, bytes.len())?;
                memory
                    .get_mut(there)
                    .ok_or(io::ErrorKind::InvalidInput)?
                    .copy_from_slice(bytes);
                Ok(())
            }
            Self::File(file) => file.write_all_at(bytes, offset),
            Self::Overlay(overlay) => overlay.write(offset, bytes),
            Self::Null => Ok(()),
        }
    }

    /// Makes zeroes of what is at some offset; they need not be allocated.
    pub fn zero(&mut self, offset: u64, length: u64) -> io::Result<()> {
        match self {
            Self::Ram(memory) => {
                let there = part(memory.len(), offset, to_index(length)?)?;
                memory
                    .get_mut(there)
                    .ok_or(io::ErrorKind::InvalidInput)?
                    .fill(0);
                Ok(())
            }
            Self::File(file) => make_zeroes(file, offset, length),
            Self::Overlay(overlay) => overlay.zero(offset, length),
            Self::Null => Ok(()),
        }
    }

    /// Returns the file, and the place in it, that has all of some bytes, or takes them; if there is
    /// one.
    pub fn place(&self, span: Range<u64>, kind: Kind) -> Option<(Arc<File>, u64)> {
        match self {
            Self::File(file) => Some((Arc::clone(file), span.start)),
            Self::Overlay(overlay) => overlay.place_of(span, kind),
            Self::Ram(_) | Self::Null => None,
        }
    }

    /// Returns the file that only has to be made stable, if that is all.
    pub fn file_to_sync(&self) -> Option<Arc<File>> {
        match self {
            Self::File(file) => Some(Arc::clone(file)),
            Self::Overlay(overlay) => overlay.file_to_sync(),
            Self::Ram(_) | Self::Null => None,
        }
    }

    /// Makes everything stable.
    pub fn sync(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Overlay(overlay) => overlay.sync(),
            Self::Ram(_) | Self::Null => Ok(()),
        }
    }

    /// Has what was written outlive the backend.
    pub fn settle(&mut self) -> io::Result<()> {
        match self {
            Self::Overlay(overlay) => overlay.settle(),
            // What is in a file does, and what is in memory never does.
            Self::File(_) | Self::Ram(_) | Self::Null => Ok(()),
        }
    }

    /// Sets the number of bytes. What is added is zeroes.
    pub fn resize(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::Ram(memory) => {
                memory.resize(to_index(bytes)?, 0);
                Ok(())
            }
            Self::File(file) => file.set_len(bytes),
            Self::Overlay(overlay) => overlay.resize(bytes),
            Self::Null => Ok(()),
        }
    }
}

/// Returns the length of a file, or of a block device, of which the file system does not know it.
pub fn length_of(mut file: &File) -> io::Result<u64> {
    file.seek(SeekFrom::End(0))
}

/// Converts what has to fit into memory.
pub fn to_index(value: u64) -> io::Result<usize> {
    usize::try_from(value).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn part(there: usize, offset: u64, length: usize) -> io::Result<Range<usize>> {
    let offset = to_index(offset)?;
    match offset.checked_add(length) {
        Some(end) if end <= there => Ok(offset..end),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Makes zeroes of a range of a file; they need not be allocated.
pub fn make_zeroes(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Ok(());
    }
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, punch, offset, length) {
        Err(rustix::io::Errno::OPNOTSUPP) => write_zeroes(file, offset, length),
        result => Ok(result?),
    }
}

fn write_zeroes(file: &File, offset: u64, length: u64) -> io::Result<()> {
    const ZEROES: [u8; 4096] = [0; 4096];
    let mut done = 0;
    while done < length {
        let left = usize::try_from(length - done).unwrap_or(usize::MAX);
        let bytes = ZEROES.get(..left).unwrap_or(&ZEROES);
        file.write_all_at(bytes, offset + done)?;
        done += u64::try_from(bytes.len()).unwrap_or(0);
    }
    Ok(())
}
