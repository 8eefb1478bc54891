// SPDX-License-Identifier: GPL-2.0

//! Packed rings.

use super::{Buffer, Error, Form, Look, Result, Seal, Setup, Told, inflight};
use crate::memory::{Area, Memory};
use std::{
    collections::VecDeque,
    sync::atomic::{Ordering, fence},
};
use virtio_wire::ring::{
    Indirect, NEXT, RingError, WRITE,
    packed::{
        AVAILABLE, Descriptor, Event, EventIndex, EventLayout, Place, Position, QueueSize, State,
        USED, Walk,
    },
};

/// Where the flags are in a descriptor.
const FLAGS: usize = 14;
/// Where the length is in a descriptor; the number of the buffer follows.
const LENGTH: usize = 8;
/// Where the flags are in a structure for events.
const EVENT_FLAGS: usize = 2;

/// The ring, and both structures for events.
#[derive(Debug)]
pub struct Ring {
    size: QueueSize,
    ring: Area,
    driver_event: Area,
    device_event: Area,
    event_index: EventIndex,
    indirect: Indirect,
    /// The next buffer to take.
    next: Position,
    /// Where the next one is returned.
    done: Position,
    /// Where `done` was when the driver was asked for the last time, and how many descriptors were
    /// used since then.
    told: (Position, u32),
    /// How many buffers are out, and how many descriptors they have.
    out: u16,
    descriptors_out: u16,
    again: VecDeque<inflight::Kept>,
    record: Option<inflight::Packed>,
}

/// Takes an index and the counter out of a half of a base.
fn position(half: u32, size: QueueSize) -> Result<Position> {
    let index = u16::try_from(half & 0x7fff).unwrap_or(0);
    Ok(Position::new(index, half & 0x8000 != 0, size)?)
}

/// Puts an index and the counter together.
fn half(position: Position) -> u32 {
    u32::from(position.index()) | u32::from(position.wrap()) << 15
}

impl Ring {
    pub(super) fn new(
        memory: &Memory,
        setup: &Setup,
        form: Form,
        record: Option<&Area>,
    ) -> Result<Self> {
        let size = QueueSize::new(setup.size)?;
        let next = position(setup.base & 0xffff, size)?;
        let done = position(setup.base >> 16, size)?;
        let mut device_event = memory.area(setup.used, EventLayout::SIZE)?;
        device_event.log_at(setup.used_log);
        let mut ring = Self {
            size,
            ring: memory.area(setup.descriptors, size.length())?,
            driver_event: memory.area(setup.available, EventLayout::SIZE)?,
            device_event,
            event_index: if form.event_index {
                EventIndex::Negotiated
            } else {
                EventIndex::Absent
            },
            indirect: setup.indirect(form),
            next,
            done,
            told: (done, 0),
            out: 0,
            descriptors_out: 0,
            again: VecDeque::new(),
            record: None,
        };
        if let Some(area) = record {
            let opened = inflight::Packed::open(area, &ring.ring, size, (next, done))?;
            ring.done = opened.done;
            ring.told = (opened.done, 0);
            ring.next = opened.next;
            ring.again = opened.kept.into();
            ring.record = Some(opened.record);
        }
        Ok(ring)
    }

    pub(super) fn pop(&mut self, memory: &Memory) -> Result<Option<Buffer>> {
        if let Some(kept) = self.again.pop_front() {
            let (mut buffer, _) = self.walk(memory, Position::START, |index, place| {
                let kept = kept.descriptors.get(usize::from(index));
                let mut descriptor = *kept.ok_or(RingError::TooLong)?;
                // It was available in a round that is over.
                let state = descriptor.flags.get() & !(AVAILABLE | USED);
                descriptor.flags = (state | place.available_flags()).into();
                Ok(descriptor)
            })?;
            buffer.slot = kept.slot;
            self.take(&buffer)?;
            return Ok(Some(buffer));
        }
        let flags = self.ring.load(self.next.offset() + FLAGS)?;
        if self.next.state(flags) != State::Available {
            return Ok(None);
        }
        let (mut buffer, descriptors) = self.walk_ring(memory, self.next)?;
        self.take(&buffer)?;
        if let Some(record) = &mut self.record {
            buffer.slot = record.take(&descriptors)?;
        }
        self.next = self.next.plus(buffer.count, self.size)?;
        Ok(Some(buffer))
    }

    /// Walks through the descriptors of a buffer that is in the ring.
    fn walk_ring(&self, memory: &Memory, first: Position) -> Result<(Buffer, Vec<Descriptor>)> {
        self.walk(memory, first, |_, place| {
            Ok(Descriptor::from_bytes(&self.ring.read(place.offset())?))
        })
    }

    pub(super) fn waiting(&self, memory: &Memory) -> Result<Vec<u16>> {
        // Those of another backend are not in the ring, but in its record.
        let mut ids = Vec::new();
        let mut place = self.next;
        while ids.len() < usize::from(self.size.get()) {
            let flags = self.ring.load(place.offset() + FLAGS)?;
            if place.state(flags) != State::Available {
                break;
            }
            let (buffer, _) = self.walk_ring(memory, place)?;
            ids.push(buffer.id);
            place = place.plus(buffer.count, self.size)?;
        }
        Ok(ids)
    }

    /// Counts a buffer, which cannot have descriptors that others have.
    fn take(&mut self, buffer: &Buffer) -> Result<()> {
        let most = self.size.get().saturating_sub(self.descriptors_out);
        if buffer.count > most {
            let by = buffer.count;
            return Err(RingError::Advance { by, most }.into());
        }
        self.out = self.out.saturating_add(1);
        self.descriptors_out = self.descriptors_out.saturating_add(buffer.count);
        Ok(())
    }

    /// Walks through the descriptors of a buffer, those of the ring being read by `read`. Returns
    /// these, too.
    fn walk(
        &self,
        memory: &Memory,
        first: Position,
        read: impl Fn(u16, Position) -> Result<Descriptor>,
    ) -> Result<(Buffer, Vec<Descriptor>)> {
        let mut walk = Walk::new(self.size, first, self.indirect);
        let (mut elements, mut descriptors) = (Vec::new(), Vec::new());
        let mut own = None;
        while let Some(place) = walk.place() {
            let descriptor = match place {
                Place::Ring(position) => {
                    let descriptor = read(walk.descriptors(), position)?;
                    descriptors.push(descriptor);
                    descriptor
                }
                Place::Table(table, index) => {
                    let mut bytes = [0; Descriptor::SIZE];
                    let offset = u64::from(index) * 16;
                    memory.read(table.address.saturating_add(offset), &mut bytes)?;
                    own = Some(table);
                    Descriptor::from_bytes(&bytes)
                }
            };
            elements.extend(walk.step(&descriptor)?);
        }
        let buffer = Buffer {
            id: walk.id(),
            count: walk.descriptors(),
            elements,
            table: own,
            slot: 0,
        };
        Ok((buffer, descriptors))
    }

    pub(super) fn push(&mut self, buffer: &Buffer, written: u32) -> Result<()> {
        if let Some(record) = &self.record {
            let after = self.done.plus(buffer.count, self.size)?;
            record.before(buffer.slot, after)?;
        }
        self.forge(buffer.id.into(), written, buffer.count)?;
        if let Some(record) = &mut self.record {
            record.after(buffer.slot)?;
        }
        self.out = self.out.saturating_sub(1);
        self.descriptors_out = self.descriptors_out.saturating_sub(buffer.count);
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
        let mut places = Vec::new();
        let mut place = self.done;
        for told in told {
            places.push((place, told.id, told.written));
            place = place.plus(told.count, self.size)?;
            self.told.1 = self.told.1.saturating_add(told.count.into());
        }
        for (buffer, _) in buffers {
            self.out = self.out.saturating_sub(1);
            self.descriptors_out = self.descriptors_out.saturating_sub(buffer.count);
        }
        // The driver sees nothing before it sees the first one.
        for (place, id, written) in places.into_iter().rev() {
            self.write_used(place, id, written)?;
        }
        self.done = place;
        Ok(())
    }

    pub(super) fn push_batch(
        &mut self,
        last: u16,
        written: u32,
        (buffers, descriptors): (u16, u16),
    ) -> Result<()> {
        if self.record.is_some() {
            return Err(Error::Recorded);
        }
        self.forge(last.into(), written, descriptors)?;
        self.out = self.out.saturating_sub(buffers);
        self.descriptors_out = self.descriptors_out.saturating_sub(descriptors);
        Ok(())
    }

    pub(super) fn unpop(&mut self, buffer: &Buffer) -> Result<()> {
        if self.record.is_some() {
            return Err(Error::Recorded);
        }
        // As far forward as around the ring: to where it was, in the other round.
        let forward = self.size.get().checked_sub(buffer.count);
        let back = self
            .next
            .plus(forward.ok_or(RingError::TooLong)?, self.size)?;
        self.next = Position::new(back.index(), !back.wrap(), self.size)?;
        self.out = self.out.saturating_sub(1);
        self.descriptors_out = self.descriptors_out.saturating_sub(buffer.count);
        Ok(())
    }

    fn write_used(&self, place: Position, id: u32, written: u32) -> Result<()> {
        let at = place.offset();
        // The identifier has 16 bits here.
        let id = u16::try_from(id & 0xffff).unwrap_or(0);
        self.ring.write(at + LENGTH, &written.to_le_bytes())?;
        self.ring.write(at + LENGTH + 4, &id.to_le_bytes())?;
        let write = if written > 0 { WRITE } else { 0 };
        Ok(self.ring.store(at + FLAGS, place.used_flags() | write)?)
    }

    pub(super) fn forge(&mut self, id: u32, written: u32, count: u16) -> Result<()> {
        self.write_used(self.done, id, written)?;
        self.done = self.done.plus(count, self.size)?;
        self.told.1 = self.told.1.saturating_add(count.into());
        Ok(())
    }

    pub(super) fn jump(&mut self, by: u16) -> Result<()> {
        for _ in 0..by.min(self.size.get()) {
            let at = self.done.offset();
            self.ring.store(at + FLAGS, self.done.used_flags())?;
            self.done = self.done.plus(1, self.size)?;
            self.told.1 = self.told.1.saturating_add(1);
        }
        Ok(())
    }

    pub(super) fn look(&self) -> Result<Look> {
        let mut waiting = 0;
        let mut place = self.next;
        for _ in 0..self.size.get() {
            let flags = self.ring.load(place.offset() + FLAGS)?;
            if place.state(flags) != State::Available {
                break;
            }
            // A buffer ends with the descriptor that none follows.
            if flags & NEXT == 0 {
                waiting += 1;
            }
            place = place.plus(1, self.size)?;
        }
        let wanted = match self.driver_wants()? {
            Event::Never => None,
            Event::Always => Some(1),
            Event::At(event) => {
                let mut ahead = 0;
                let mut place = self.done;
                while place != event && ahead < self.size.get() {
                    place = place.plus(1, self.size)?;
                    ahead += 1;
                }
                (place == event).then_some(ahead + 1)
            }
        };
        Ok(Look {
            waiting,
            asked: self.device_event.load(EVENT_FLAGS)? != Event::Never.layout().flags.get(),
            wanted,
        })
    }

    /// Returns when the driver wants to be notified. What cannot be understood is a reason to.
    fn driver_wants(&self) -> Result<Event> {
        let layout = EventLayout {
            desc: self.driver_event.load(0)?.into(),
            flags: self.driver_event.load(EVENT_FLAGS)?.into(),
        };
        Ok(Event::new(layout, self.size, self.event_index).unwrap_or(Event::Always))
    }

    pub(super) fn seal(&self) -> Result<Seal> {
        Seal::packed(self.size, self.next, &self.ring, &self.driver_event)
    }

    pub(super) fn descriptors(&self) -> &Area {
        &self.ring
    }

    pub(super) fn wants_call(&mut self) -> Result<bool> {
        // What was written has to be visible before it is read what the driver wants.
        fence(Ordering::SeqCst);
        let event = self.driver_wants()?;
        let (first, count) = std::mem::replace(&mut self.told, (self.done, 0));
        if count == 0 {
            return Ok(false);
        }
        let size = self.size;
        // What has gone all around is a reason to notify.
        Ok(match u16::try_from(count) {
            Ok(count) if count <= size.get() => event.notifies(first, count, size),
            _ => event != Event::Never,
        })
    }

    pub(super) fn ask_for_kicks(&mut self) -> Result<bool> {
        let event = match self.event_index {
            EventIndex::Negotiated => Event::At(self.next),
            EventIndex::Absent => Event::Always,
        };
        self.tell(event)?;
        // A driver that has not seen this has added its buffer before what is read now.
        fence(Ordering::SeqCst);
        let flags = self.ring.load(self.next.offset() + FLAGS)?;
        Ok(self.next.state(flags) == State::Available || !self.again.is_empty())
    }

    pub(super) fn refuse_kicks(&mut self) -> Result<()> {
        self.tell(Event::Never)
    }

    /// Tells the driver when to notify.
    fn tell(&self, event: Event) -> Result<()> {
        let layout = event.layout();
        self.device_event.write(0, &layout.desc.to_bytes())?;
        Ok(self.device_event.store(EVENT_FLAGS, layout.flags.get())?)
    }

    pub(super) fn base(&self) -> u32 {
        half(self.next) | half(self.done) << 16
    }

    pub(super) fn out(&self) -> u16 {
        self.out
    }

    pub(super) fn to_resume(&self) -> usize {
        self.again.len()
    }

    pub(super) fn log_used(&mut self, address: Option<u64>) {
        self.device_event.log_at(address);
    }

    /// Takes the places of another one of the same queue.
    pub(super) fn replace_areas(&mut self, other: Self) {
        self.ring = other.ring;
        self.driver_event = other.driver_event;
        self.device_event = other.device_event;
    }
}
