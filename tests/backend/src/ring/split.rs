// SPDX-License-Identifier: GPL-2.0

//! Split rings.

use super::{Buffer, Error, Form, Look, Result, Seal, Setup, Told, inflight};
use crate::memory::{Area, Memory};
use std::{
    collections::VecDeque,
    sync::atomic::{Ordering, fence},
};
use virtio_wire::ring::{
    Indirect,
    split::{
        Descriptor, FLAGS_OFFSET, INDEX_OFFSET, Index, NO_NOTIFY, Position, QueueSize, Suppression,
        UsedElement, Walk,
    },
};

/// The two rings, and the table of descriptors.
#[derive(Debug)]
pub struct Ring {
    size: QueueSize,
    descriptors: Area,
    available: Area,
    used: Area,
    event_index: bool,
    indirect: Indirect,
    /// The next buffer to take.
    next: Index,
    /// What comes behind the buffers that were available when that was last looked at.
    seen: Index,
    /// The next one to return.
    done: Index,
    /// What `done` was when the driver was asked for the last time.
    told: Index,
    out: u16,
    again: VecDeque<u16>,
    record: Option<inflight::Split>,
}

impl Ring {
    pub(super) fn new(
        memory: &Memory,
        setup: &Setup,
        form: Form,
        record: Option<&Area>,
    ) -> Result<Self> {
        let size = QueueSize::new(setup.size)?;
        let mut used = memory.area(setup.used, size.used_length())?;
        used.log_at(setup.used_log);
        // What was used is what the driver saw; the base says only what was available.
        let done = Index::new(used.load(INDEX_OFFSET)?);
        let mut ring = Self {
            size,
            descriptors: memory.area(setup.descriptors, size.descriptors_length())?,
            available: memory.area(setup.available, size.available_length())?,
            used,
            event_index: form.event_index,
            indirect: setup.indirect(form),
            // The base of a packed ring has more bits.
            next: Index::new(u16::try_from(setup.base & 0xffff).unwrap_or(0)),
            seen: done,
            done,
            told: done,
            out: 0,
            again: VecDeque::new(),
            record: None,
        };
        if let Some(area) = record {
            let (record, again) = inflight::Split::open(area, size, done)?;
            if let Some(again) = again {
                ring.next = done.plus(u16::try_from(again.len()).unwrap_or(u16::MAX));
                ring.again = again.into();
            }
            ring.record = Some(record);
        }
        ring.seen = ring.next;
        Ok(ring)
    }

    pub(super) fn pop(&mut self, memory: &Memory) -> Result<Option<Buffer>> {
        if let Some(head) = self.again.pop_front() {
            let buffer = self.walk(memory, head)?;
            self.out = self.out.saturating_add(1);
            return Ok(Some(buffer));
        }
        if self.next == self.seen {
            let index = Index::new(self.available.load(INDEX_OFFSET)?);
            let most = self.size.get().saturating_sub(self.out);
            if index.advance(self.next, most)? == 0 {
                return Ok(None);
            }
            self.seen = index;
        }
        let head = self.head(self.next)?;
        let buffer = self.walk(memory, head)?;
        if let Some(record) = &mut self.record {
            record.take(head)?;
        }
        self.next = self.next.plus(1);
        self.out = self.out.saturating_add(1);
        Ok(Some(buffer))
    }

    /// Returns the number of the buffer that is, or was, at some place.
    fn head(&self, place: Index) -> Result<u16> {
        let entry = self
            .available
            .read::<2>(self.size.available_offset(place))?;
        Ok(u16::from_le_bytes(entry))
    }

    pub(super) fn waiting(&self, _memory: &Memory) -> Result<Vec<u16>> {
        let index = Index::new(self.available.load(INDEX_OFFSET)?);
        let count = index.advance(self.next, self.size.get())?;
        let again = self.again.iter().map(|head| Ok(*head));
        let heads = (0..count).map(|ahead| self.head(self.next.plus(ahead)));
        again.chain(heads).collect()
    }

    fn walk(&self, memory: &Memory, head: u16) -> Result<Buffer> {
        let mut walk = Walk::new(self.size, head, self.indirect)?;
        let (mut elements, mut own) = (Vec::new(), None);
        while let Some(position) = walk.position() {
            let mut bytes = [0; Descriptor::SIZE];
            match position {
                Position::Ring(index) => {
                    bytes = self.descriptors.read(self.size.descriptor_offset(index)?)?;
                }
                Position::Table(table, index) => {
                    let offset = u64::from(index) * 16;
                    memory.read(table.address.saturating_add(offset), &mut bytes)?;
                    own = Some(table);
                }
            }
            elements.extend(walk.step(&Descriptor::from_bytes(&bytes))?);
        }
        Ok(Buffer {
            id: head,
            count: 1,
            elements,
            table: own,
            slot: head,
        })
    }

    pub(super) fn push(&mut self, buffer: &Buffer, written: u32) -> Result<()> {
        if let Some(record) = &self.record {
            record.before(buffer.slot)?;
        }
        self.forge(buffer.id.into(), written, 1)?;
        if let Some(record) = &self.record {
            record.after(buffer.slot, self.done)?;
        }
        self.out = self.out.saturating_sub(1);
        Ok(())
    }

    pub(super) fn push_together(
        &mut self,
        buffers: &[(&Buffer, u32)],
        told: &[Told],
    ) -> Result<()> {
        if self.record.is_some() {
            return Err(Error::Recorded);
        }
        let mut place = self.done;
        for told in told {
            self.write_used(place, told.id, told.written)?;
            place = place.plus(1);
        }
        let count = u16::try_from(buffers.len()).unwrap_or(u16::MAX);
        self.out = self.out.saturating_sub(count);
        // The index says of all of them that they are there.
        self.jump(u16::try_from(told.len()).unwrap_or(u16::MAX))
    }

    pub(super) fn push_batch(
        &mut self,
        last: u16,
        written: u32,
        (buffers, _): (u16, u16),
    ) -> Result<()> {
        if self.record.is_some() {
            return Err(Error::Recorded);
        }
        // What stands where the others would be is not looked at.
        self.write_used(self.done, last.into(), written)?;
        self.out = self.out.saturating_sub(buffers);
        self.jump(buffers)
    }

    pub(super) fn unpop(&mut self, _buffer: &Buffer) -> Result<()> {
        if self.record.is_some() {
            return Err(Error::Recorded);
        }
        self.next = self.next.plus(u16::MAX);
        self.out = self.out.saturating_sub(1);
        Ok(())
    }

    fn write_used(&self, place: Index, id: u32, written: u32) -> Result<()> {
        let element = UsedElement {
            id: id.into(),
            len: written.into(),
        };
        let offset = self.size.used_offset(place);
        Ok(self.used.write(offset, &element.to_bytes())?)
    }

    pub(super) fn forge(&mut self, id: u32, written: u32, _count: u16) -> Result<()> {
        self.write_used(self.done, id, written)?;
        self.jump(1)
    }

    pub(super) fn jump(&mut self, by: u16) -> Result<()> {
        self.done = self.done.plus(by);
        Ok(self.used.store(INDEX_OFFSET, self.done.get())?)
    }

    pub(super) fn look(&self) -> Result<Look> {
        let available = Index::new(self.available.load(INDEX_OFFSET)?);
        let asked = if self.event_index {
            self.used.load(self.size.available_event_offset())? == self.next.get()
        } else {
            self.used.load(FLAGS_OFFSET)? != NO_NOTIFY
        };
        let wanted = if self.event_index {
            let event = Index::new(self.available.load(self.size.used_event_offset())?);
            // What is behind was notified of.
            let ahead = event.advance(self.done, self.size.get()).ok();
            ahead.map(|ahead| ahead + 1)
        } else {
            (self.available.load(FLAGS_OFFSET)? != NO_NOTIFY).then_some(1)
        };
        Ok(Look {
            waiting: available.advance(self.next, self.size.get())?,
            asked,
            wanted,
        })
    }

    pub(super) fn seal(&self) -> Result<Seal> {
        Seal::split(self.size, &self.descriptors, &self.available)
    }

    pub(super) fn descriptors(&self) -> &Area {
        &self.descriptors
    }

    pub(super) fn wants_call(&mut self) -> Result<bool> {
        // What was written has to be visible before it is read what the driver wants.
        fence(Ordering::SeqCst);
        let suppression = if self.event_index {
            let offset = self.size.used_event_offset();
            Suppression::Event(Index::new(self.available.load(offset)?))
        } else {
            Suppression::Flags(self.available.load(FLAGS_OFFSET)?)
        };
        let told = std::mem::replace(&mut self.told, self.done);
        Ok(told != self.done && suppression.notifies(told, self.done))
    }

    pub(super) fn ask_for_kicks(&mut self) -> Result<bool> {
        if self.event_index {
            let offset = self.size.available_event_offset();
            self.used.store(offset, self.next.get())?;
        } else {
            self.used.store(FLAGS_OFFSET, 0)?;
        }
        // A driver that has not seen this has added its buffer before what is read now.
        fence(Ordering::SeqCst);
        let index = Index::new(self.available.load(INDEX_OFFSET)?);
        Ok(index != self.next || !self.again.is_empty())
    }

    pub(super) fn refuse_kicks(&mut self) -> Result<()> {
        if !self.event_index {
            self.used.store(FLAGS_OFFSET, NO_NOTIFY)?;
        }
        Ok(())
    }

    pub(super) fn base(&self) -> u32 {
        self.next.get().into()
    }

    pub(super) fn out(&self) -> u16 {
        self.out
    }

    pub(super) fn to_resume(&self) -> usize {
        self.again.len()
    }

    pub(super) fn log_used(&mut self, address: Option<u64>) {
        self.used.log_at(address);
    }

    /// Takes the places of another one of the same queue.
    pub(super) fn replace_areas(&mut self, other: Self) {
        self.descriptors = other.descriptors;
        self.available = other.available;
        self.used = other.used;
    }
}
