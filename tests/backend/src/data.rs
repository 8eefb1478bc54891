// SPDX-License-Identifier: GPL-2.0

//! The data of a buffer: elements, of which bytes are taken from the front.

use crate::memory::{Memory, MemoryError};
use uring::Piece;
use virtio_wire::ring::Element;

/// Pieces of memory, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Addresses and lengths.
    pieces: Vec<(u64, u32)>,
    length: u64,
}

impl<'a> FromIterator<&'a Element> for Data {
    fn from_iter<T: IntoIterator<Item = &'a Element>>(elements: T) -> Self {
        let pieces: Vec<_> = elements
            .into_iter()
            .map(|element| (element.address, element.length))
            .collect();
        let length = pieces.iter().map(|(_, length)| u64::from(*length)).sum();
        Self { pieces, length }
    }
}

impl Data {
    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Divides it after some bytes.
    pub fn split(self, at: u64) -> (Self, Self) {
        let (mut front, mut back) = (Self::default(), Self::default());
        for (address, length) in self.pieces {
            let room = u32::try_from(at.saturating_sub(front.length)).unwrap_or(u32::MAX);
            let here = length.min(room);
            front.push(address, here);
            back.push(address.saturating_add(here.into()), length - here);
        }
        (front, back)
    }

    fn push(&mut self, address: u64, length: u32) {
        if length > 0 {
            self.pieces.push((address, length));
            self.length += u64::from(length);
        }
    }

    /// Finds the mappings that it is in.
    pub fn find_pieces(&self, memory: &Memory) -> Result<Vec<Piece>, MemoryError> {
        let mut found = Vec::with_capacity(self.pieces.len());
        for (address, length) in &self.pieces {
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            memory.find_pieces(*address, length, &mut found)?;
        }
        Ok(found)
    }

    /// Notes that the kernel may have written to any of it.
    pub fn log(&self, memory: &Memory) {
        for (address, length) in &self.pieces {
            memory
                .log()
                .note(*address, usize::try_from(*length).unwrap_or(usize::MAX));
        }
    }

    /// Returns a way through it.
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor {
            pieces: &self.pieces,
            offset: 0,
        }
    }
}

/// A way through the pieces.
#[derive(Debug)]
pub struct Cursor<'a> {
    pieces: &'a [(u64, u32)],
    offset: u32,
}

impl Cursor<'_> {
    /// Calls `access` with an address and a range of the next `length` bytes, piece by piece.
    fn take(
        &mut self,
        length: usize,
        mut access: impl FnMut(u64, usize, usize) -> Result<(), MemoryError>,
    ) -> Result<(), MemoryError> {
        let mut done = 0;
        while done < length {
            let Some(((address, there), rest)) = self.pieces.split_first() else {
                return Err(MemoryError::Unmapped {
                    address: 0,
                    length: u64::try_from(length - done).unwrap_or(u64::MAX),
                });
            };
            let left = usize::try_from(there - self.offset).unwrap_or(0);
            let count = left.min(length - done);
            access(address.saturating_add(self.offset.into()), done, count)?;
            done += count;
            if count == left {
                self.pieces = rest;
                self.offset = 0;
            } else {
                self.offset += u32::try_from(count).unwrap_or(0);
            }
        }
        Ok(())
    }

    /// Reads the next bytes.
    pub fn read(&mut self, memory: &Memory, bytes: &mut [u8]) -> Result<(), MemoryError> {
        self.take(bytes.len(), |address, at, count| {
            memory.read(address, bytes.get_mut(at..at + count).unwrap_or_default())
        })
    }

    /// Writes the next bytes.
    pub fn write(&mut self, memory: &Memory, bytes: &[u8]) -> Result<(), MemoryError> {
        self.take(bytes.len(), |address, at, count| {
            memory.write(address, bytes.get(at..at + count).unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::tests::{GUEST, memory};
    use virtio_wire::ring::Access;

    fn data(pieces: &[(u64, u32)]) -> Data {
        let elements: Vec<_> = pieces
            .iter()
            .map(|(address, length)| Element {
                address: *address,
                length: *length,
                access: Access::Write,
            })
            .collect();
        elements.iter().collect()
    }

    #[test]
    fn it_is_divided_anywhere() {
        let whole = [(0x10, 4), (0x20, 0), (0x30, 3)];
        for at in 0..=7 {
            let (front, back) = data(&whole).split(at);
            assert_eq!((front.length(), back.length()), (at, 7 - at));
        }
        let (front, back) = data(&whole).split(5);
        assert_eq!(front, data(&[(0x10, 4), (0x30, 1)]));
        assert_eq!(back, data(&[(0x31, 2)]));
        assert_eq!(data(&whole).split(99).1.length(), 0);
    }

    #[test]
    fn bytes_go_over_pieces() {
        let memory = memory(0x1000);
        let data = data(&[(GUEST + 8, 3), (GUEST, 2), (GUEST + 100, 4)]);
        let mut cursor = data.cursor();
        cursor.write(&memory, b"abcd").expect("a write");
        cursor.write(&memory, b"efghi").expect("a write");
        assert!(cursor.write(&memory, b"j").is_err());

        let mut bytes = [0; 9];
        data.cursor().read(&memory, &mut bytes).expect("a read");
        assert_eq!(&bytes, b"abcdefghi");
        let mut two = [0; 2];
        memory.read(GUEST, &mut two).expect("a read");
        assert_eq!(&two, b"de");
    }
}
