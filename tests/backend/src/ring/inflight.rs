// SPDX-License-Identifier: GPL-2.0

//! The record of the buffers that are in flight.
//!
//! It is in memory that QEMU keeps while no backend is there (`INFLIGHT_SHMFD`), so that the next
//! one takes up what the one before has not returned. A backend may be killed at any moment: what
//! the next one finds is what was written, in that order. The layout is that of the specification of
//! vhost-user; the one liberty is a third value for a buffer that is being returned.

use super::{Error, Result};
use crate::memory::Area;
use virtio_wire::ring::{
    RingError,
    packed::{self, Descriptor, Position, State},
    split,
};

/// What a buffer is in a record.
const FREE: u8 = 0;
const TAKEN: u8 = 1;
/// Of packed rings only: a split ring has `LAST_HEAD`.
const RETURNING: u8 = 2;

/// What both layouts begin with.
const VERSION: usize = 8;
const SIZE: usize = 10;

/// Returns how many bytes a queue has in the record, whatever the form of its ring is.
pub fn length(size: u16) -> usize {
    // The header and each entry of a packed ring have 32 bytes, those of a split ring 16; queues
    // begin at a multiple of 64.
    (32 + 32 * usize::from(size)).next_multiple_of(64)
}

/// Takes a record that is there, or begins one. Returns whether it was there.
fn open(area: &Area, size: u16) -> Result<bool> {
    if area.load(VERSION)? == 0 {
        area.store(SIZE, size)?;
        return Ok(false);
    }
    if area.load(SIZE)? != size {
        return Err(Error::Inflight("it has another size"));
    }
    Ok(true)
}

/// Sorts what is in flight by the order in which it was taken, and returns the next number.
fn sort<T>(mut found: Vec<(u64, T)>) -> (Vec<T>, u64) {
    found.sort_by_key(|(counter, _)| *counter);
    let next = found.last().map_or(0, |(counter, _)| counter + 1);
    (found.into_iter().map(|(_, what)| what).collect(), next)
}

/// The record of a split ring.
#[derive(Debug)]
pub struct Split {
    area: Area,
    size: u16,
    counter: u64,
}

impl Split {
    const LAST_HEAD: usize = 12;
    const USED: usize = 14;
    const HEADER: usize = 16;
    const ENTRY: usize = 16;
    const COUNTER: usize = 8;

    /// Takes the record, and returns the buffers that are in flight, if there was one.
    pub(super) fn open(
        area: &Area,
        size: split::QueueSize,
        used: split::Index,
    ) -> Result<(Self, Option<Vec<u16>>)> {
        let mut this = Self {
            area: area.clone(),
            size: size.get(),
            counter: 0,
        };
        if !open(area, size.get())? {
            area.store(Self::USED, used.get())?;
            area.store(VERSION, 1)?;
            return Ok((this, None));
        }
        if area.load(Self::USED)? != used.get() {
            // The one before was killed after it had returned this one, and before it had noted it.
            let head = area.load(Self::LAST_HEAD)?;
            area.write(this.at(head)?, &[FREE])?;
            area.store(Self::USED, used.get())?;
        }
        let mut found = Vec::new();
        for head in 0..size.get() {
            let at = this.at(head)?;
            if area.read::<1>(at)? == [TAKEN] {
                let counter = u64::from_le_bytes(area.read(at + Self::COUNTER)?);
                found.push((counter, head));
            }
        }
        let (heads, counter) = sort(found);
        this.counter = counter;
        Ok((this, Some(heads)))
    }

    fn at(&self, head: u16) -> Result<usize> {
        if head >= self.size {
            return Err(Error::Inflight("there is no such descriptor"));
        }
        Ok(Self::HEADER + usize::from(head) * Self::ENTRY)
    }

    /// Notes that a buffer is taken.
    pub(super) fn take(&mut self, head: u16) -> Result<()> {
        let at = self.at(head)?;
        let counter = self.counter.to_le_bytes();
        self.counter = self.counter.wrapping_add(1);
        self.area.write(at + Self::COUNTER, &counter)?;
        Ok(self.area.write(at, &[TAKEN])?)
    }

    /// Notes that it is about to be returned.
    pub(super) fn before(&self, head: u16) -> Result<()> {
        Ok(self.area.store(Self::LAST_HEAD, head)?)
    }

    /// Notes that it was.
    pub(super) fn after(&self, head: u16, used: split::Index) -> Result<()> {
        self.area.write(self.at(head)?, &[FREE])?;
        Ok(self.area.store(Self::USED, used.get())?)
    }
}

/// A buffer of a packed ring that is in flight. Its descriptors may have been overwritten by those
/// of used buffers, so that there are copies.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Where it is in the record.
    pub(super) slot: u16,
    /// Its descriptors in the ring.
    pub(super) descriptors: Vec<Descriptor>,
}

/// What is known after [`Packed::open`].
pub struct Opened {
    pub(super) record: Packed,
    pub(super) kept: Vec<Kept>,
    /// Where the next buffer is taken.
    pub(super) next: Position,
    /// Where the next one is returned.
    pub(super) done: Position,
}

/// The record of a packed ring.
#[derive(Debug)]
pub struct Packed {
    area: Area,
    size: packed::QueueSize,
    counter: u64,
}

impl Packed {
    const FREE_HEAD: usize = 12;
    const OLD_FREE_HEAD: usize = 14;
    const USED: usize = 16;
    const OLD_USED: usize = 18;
    const WRAP: usize = 20;
    const OLD_WRAP: usize = 21;
    const HEADER: usize = 32;
    const ENTRY: usize = 32;
    const NEXT: usize = 2;
    const LAST: usize = 4;
    const NUMBER: usize = 6;
    const COUNTER: usize = 8;
    const ID: usize = 16;
    const FLAGS: usize = 18;
    const LENGTH: usize = 20;
    const ADDRESS: usize = 24;

    /// Takes the record, and finds out what is in flight in `ring`. If there was no record, the
    /// ring goes on where it is told to: where the next buffer is taken, and where one is returned.
    pub(super) fn open(
        area: &Area,
        ring: &Area,
        size: packed::QueueSize,
        (next, done): (Position, Position),
    ) -> Result<Opened> {
        let mut this = Self {
            area: area.clone(),
            size,
            counter: 0,
        };
        if !open(area, size.get())? {
            this.store(Self::USED, Self::WRAP, done)?;
            this.store(Self::OLD_USED, Self::OLD_WRAP, done)?;
            this.link_free(&vec![false; usize::from(size.get())])?;
            area.store(VERSION, 1)?;
            return Ok(Opened {
                record: this,
                kept: Vec::new(),
                next,
                done,
            });
        }

        // A position that was not noted completely is that of a buffer that is still taken.
        let mut done = this.load(Self::OLD_USED, Self::OLD_WRAP)?;
        for slot in 0..size.get() {
            let at = this.at(slot)?;
            if area.read::<1>(at)? != [RETURNING] {
                continue;
            }
            // The one before was killed while it returned this one. Its place is not available any
            // more if that was done: the driver may even have used it again.
            let after = this.load(Self::USED, Self::WRAP)?;
            let number = area.load(at + Self::NUMBER)?;
            let back = size.get().checked_sub(number);
            let back = after.plus(back.ok_or(RingError::TooLong)?, size)?;
            let place = Position::new(back.index(), !back.wrap(), size)?;
            let flags = ring.load(place.offset() + 14)?;
            let returned = place.state(flags) != State::Available;
            area.write(at, &[if returned { FREE } else { TAKEN }])?;
            done = if returned { after } else { place };
        }
        this.store(Self::USED, Self::WRAP, done)?;
        this.store(Self::OLD_USED, Self::OLD_WRAP, done)?;

        let mut found = Vec::new();
        let mut taken = vec![false; usize::from(size.get())];
        let mut next = done;
        let mut total: u16 = 0;
        for slot in 0..size.get() {
            let at = this.at(slot)?;
            if area.read::<1>(at)? != [TAKEN] {
                continue;
            }
            let counter = u64::from_le_bytes(area.read(at + Self::COUNTER)?);
            let descriptors = this.kept(slot, &mut taken)?;
            let count = u16::try_from(descriptors.len()).unwrap_or(u16::MAX);
            total = total.saturating_add(count);
            if total > size.get() {
                return Err(Error::Inflight("it has too many descriptors"));
            }
            next = next.plus(count, size)?;
            found.push((counter, Kept { slot, descriptors }));
        }
        this.link_free(&taken)?;
        let (kept, counter) = sort(found);
        this.counter = counter;
        Ok(Opened {
            record: this,
            kept,
            next,
            done,
        })
    }

    fn at(&self, slot: u16) -> Result<usize> {
        if slot >= self.size.get() {
            return Err(Error::Inflight("there is no such entry"));
        }
        Ok(Self::HEADER + usize::from(slot) * Self::ENTRY)
    }

    fn load(&self, index: usize, wrap: usize) -> Result<Position> {
        let [wrap] = self.area.read::<1>(wrap)?;
        Ok(Position::new(self.area.load(index)?, wrap != 0, self.size)?)
    }

    fn store(&self, index: usize, wrap: usize, position: Position) -> Result<()> {
        self.area.write(wrap, &[u8::from(position.wrap())])?;
        Ok(self.area.store(index, position.index())?)
    }

    /// Reads the descriptors of a buffer, and marks their entries.
    fn kept(&self, head: u16, taken: &mut [bool]) -> Result<Vec<Descriptor>> {
        let number = self.area.load(self.at(head)? + Self::NUMBER)?;
        let mut descriptors = Vec::new();
        let mut slot = head;
        for _ in 0..number {
            let at = self.at(slot)?;
            match taken.get_mut(usize::from(slot)) {
                Some(taken) if !*taken => *taken = true,
                _ => return Err(Error::Inflight("buffers share an entry")),
            }
            descriptors.push(Descriptor {
                addr: u64::from_le_bytes(self.area.read(at + Self::ADDRESS)?).into(),
                len: u32::from_le_bytes(self.area.read(at + Self::LENGTH)?).into(),
                id: self.area.load(at + Self::ID)?.into(),
                flags: self.area.load(at + Self::FLAGS)?.into(),
            });
            slot = self.area.load(at + Self::NEXT)?;
        }
        Ok(descriptors)
    }

    /// Links the entries that are free.
    fn link_free(&self, taken: &[bool]) -> Result<()> {
        let mut next = self.size.get();
        for slot in (0..self.size.get()).rev() {
            if taken.get(usize::from(slot)) == Some(&false) {
                self.area.store(self.at(slot)? + Self::NEXT, next)?;
                next = slot;
            }
        }
        self.area.store(Self::FREE_HEAD, next)?;
        Ok(self.area.store(Self::OLD_FREE_HEAD, next)?)
    }

    /// Notes that a buffer is taken, and returns where.
    pub(super) fn take(&mut self, descriptors: &[Descriptor]) -> Result<u16> {
        let head = self.area.load(Self::FREE_HEAD)?;
        let (mut last, mut free) = (head, head);
        for descriptor in descriptors {
            let at = self.at(free)?;
            self.area.store(at + Self::ID, descriptor.id.get())?;
            self.area.store(at + Self::FLAGS, descriptor.flags.get())?;
            self.area
                .write(at + Self::LENGTH, &descriptor.len.to_bytes())?;
            self.area
                .write(at + Self::ADDRESS, &descriptor.addr.to_bytes())?;
            last = free;
            free = self.area.load(at + Self::NEXT)?;
        }
        let at = self.at(head)?;
        let number = u16::try_from(descriptors.len()).unwrap_or(u16::MAX);
        self.area.store(at + Self::LAST, last)?;
        self.area.store(at + Self::NUMBER, number)?;
        let counter = self.counter.to_le_bytes();
        self.counter = self.counter.wrapping_add(1);
        self.area.write(at + Self::COUNTER, &counter)?;
        self.area.write(at, &[TAKEN])?;
        self.area.store(Self::FREE_HEAD, free)?;
        self.area.store(Self::OLD_FREE_HEAD, free)?;
        Ok(head)
    }

    /// Notes that it is about to be returned, and where the next one will be.
    pub(super) fn before(&self, slot: u16, after: Position) -> Result<()> {
        self.store(Self::USED, Self::WRAP, after)?;
        Ok(self.area.write(self.at(slot)?, &[RETURNING])?)
    }

    /// Notes that it was.
    pub(super) fn after(&mut self, slot: u16) -> Result<()> {
        let done = self.load(Self::USED, Self::WRAP)?;
        let at = self.at(slot)?;
        let last = self.at(self.area.load(at + Self::LAST)?)?;
        let free = self.area.load(Self::FREE_HEAD)?;
        self.area.store(last + Self::NEXT, free)?;
        self.area.store(Self::FREE_HEAD, slot)?;
        self.area.store(Self::OLD_FREE_HEAD, slot)?;
        self.store(Self::OLD_USED, Self::OLD_WRAP, done)?;
        Ok(self.area.write(at, &[FREE])?)
    }
}
