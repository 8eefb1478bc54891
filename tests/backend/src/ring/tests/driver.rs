// SPDX-License-Identifier: GPL-2.0

//! A driver that plays by the rules, with its rings in memory.

use super::{Form, Result, Ring, Setup};
use crate::memory::{
    Area, Memory,
    tests::{GUEST, USER},
};
use virtio_wire::{
    int::Le16,
    ring::{
        INDIRECT, NEXT, WRITE,
        packed::{self, Event, Position, QueueSize},
        split,
    },
};

const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const TABLES: u64 = 0x4000;

/// A driver. Its buffers have no data that anybody looks at.
pub struct Driver {
    pub setup: Setup,
    /// Where its memory begins.
    base: u64,
    form: Form,
    /// Split: the next index; the next descriptor, which goes around.
    available: u16,
    seen: u16,
    next: u16,
    /// How many tables there were.
    tables: u64,
    /// Packed.
    add: Position,
    take: Position,
    /// Packed: how many descriptors each buffer has, by its number.
    counts: Vec<u16>,
}

impl Driver {
    pub fn new(memory: &Memory, size: u16, form: Form) -> Self {
        Self::at(memory, size, form, 0)
    }

    /// One whose rings and tables are so far behind the beginning of the memory.
    pub fn at(memory: &Memory, size: u16, form: Form, offset: u64) -> Self {
        let base = GUEST + offset;
        memory.write(base, &[0; 0x4000]).expect("zeroes");
        let user = USER + offset;
        Self {
            base,
            setup: Setup {
                size,
                descriptors: user,
                available: user + AVAILABLE,
                used: user + USED,
                base: if form.packed { 0x8000_8000 } else { 0 },
                used_log: None,
            },
            form,
            available: 0,
            seen: 0,
            next: 0,
            tables: 0,
            add: Position::START,
            take: Position::START,
            counts: vec![0; usize::from(size)],
        }
    }

    pub fn ring(&self, memory: &Memory, record: Option<&Area>) -> Result<Ring> {
        Ring::new(memory, &self.setup, self.form, record)
    }

    fn size(&self) -> QueueSize {
        QueueSize::new(self.setup.size).expect("a size")
    }

    /// Adds a buffer with some elements to read, and some to write; returns its number.
    pub fn add(&mut self, memory: &Memory, readable: u16, writable: u16) -> u16 {
        let total = readable + writable;
        let flags: Vec<_> = (0..total)
            .map(|i| {
                let write = if i >= readable { WRITE } else { 0 };
                let next = if i + 1 < total { NEXT } else { 0 };
                (self.base + 0x8000 + u64::from(i) * 16, 16, write | next)
            })
            .collect();
        self.chain(memory, &flags)
    }

    /// Adds a buffer by a table.
    pub fn add_indirect(&mut self, memory: &Memory, readable: u16, writable: u16) -> u16 {
        let total = readable + writable;
        let elements: Vec<_> = (0..total)
            .map(|i| {
                let write = if i >= readable { WRITE } else { 0 };
                (self.base + 0x8000, 4, write)
            })
            .collect();
        self.table(memory, &elements)
    }

    /// Returns where the next table is going to be.
    pub fn next_table(&self) -> u64 {
        self.base + TABLES + self.tables % 32 * 0x80
    }

    /// Adds a buffer by a table whose elements have these addresses, lengths and flags.
    pub fn table(&mut self, memory: &Memory, elements: &[(u64, u32, u16)]) -> u16 {
        let table = self.next_table();
        self.tables += 1;
        let mut next = 0;
        for (address, length, write) in elements {
            let at = table + u64::from(next) * 16;
            next += 1;
            let more = usize::from(next) < elements.len();
            let bytes = if self.form.packed {
                let descriptor = packed::Descriptor {
                    addr: (*address).into(),
                    len: (*length).into(),
                    id: 0.into(),
                    flags: (*write).into(),
                };
                descriptor.to_bytes()
            } else {
                let descriptor = split::Descriptor {
                    addr: (*address).into(),
                    len: (*length).into(),
                    flags: (write | if more { NEXT } else { 0 }).into(),
                    next: next.into(),
                };
                descriptor.to_bytes()
            };
            memory.write(at, &bytes).expect("a table");
        }
        self.chain(memory, &[(table, u32::from(next) * 16, INDIRECT)])
    }

    /// Adds a buffer whose descriptors have these addresses, lengths and flags; returns its number.
    pub fn chain(&mut self, memory: &Memory, descriptors: &[(u64, u32, u16)]) -> u16 {
        if self.form.packed {
            self.packed_chain(memory, descriptors)
        } else {
            self.split_chain(memory, descriptors)
        }
    }

    fn split_chain(&mut self, memory: &Memory, descriptors: &[(u64, u32, u16)]) -> u16 {
        let size = self.setup.size;
        let head = self.next;
        for (address, length, flags) in descriptors {
            let index = self.next;
            self.next = (self.next + 1) % size;
            let descriptor = split::Descriptor {
                addr: (*address).into(),
                len: (*length).into(),
                flags: (*flags).into(),
                next: self.next.into(),
            };
            let at = self.base + u64::from(index) * 16;
            memory.write(at, &descriptor.to_bytes()).expect("a write");
        }
        let at = self.base + AVAILABLE + 4 + u64::from(self.available % size) * 2;
        memory.write(at, &head.to_le_bytes()).expect("a write");
        self.available = self.available.wrapping_add(1);
        let index = self.available.to_le_bytes();
        memory
            .write(self.base + AVAILABLE + 2, &index)
            .expect("a write");
        head
    }

    fn packed_chain(&mut self, memory: &Memory, descriptors: &[(u64, u32, u16)]) -> u16 {
        let free = self.counts.iter().position(|count| *count == 0);
        let id = u16::try_from(free.unwrap_or(0)).expect("a number");
        let count = u16::try_from(descriptors.len()).expect("a count");
        self.counts[usize::from(id)] = count;
        for (address, length, flags) in descriptors {
            let descriptor = packed::Descriptor {
                addr: (*address).into(),
                len: (*length).into(),
                id: id.into(),
                flags: (*flags | self.add.available_flags()).into(),
            };
            let at = self.base + u64::from(self.add.index()) * 16;
            memory.write(at, &descriptor.to_bytes()).expect("a write");
            self.add = self.add.plus(1, self.size()).expect("a position");
        }
        id
    }

    /// Takes a used buffer: its number, and how much was written.
    pub fn used(&mut self, memory: &Memory) -> Option<(u16, u32)> {
        if self.form.packed {
            let mut bytes = [0; 16];
            let at = self.base + u64::from(self.take.index()) * 16;
            memory.read(at, &mut bytes).expect("a read");
            let descriptor = packed::Descriptor::from_bytes(&bytes);
            if self.take.state(descriptor.flags.get()) != packed::State::Used {
                return None;
            }
            let id = descriptor.id.get();
            let count = self.counts.get_mut(usize::from(id));
            let count = count.map_or(1, |count| std::mem::replace(count, 0).max(1));
            self.take = self.take.plus(count, self.size()).expect("a position");
            return Some((id, descriptor.len.get()));
        }
        let mut index = [0; 2];
        memory
            .read(self.base + USED + 2, &mut index)
            .expect("a read");
        if u16::from_le_bytes(index) == self.seen {
            return None;
        }
        let at = self.base + USED + 4 + u64::from(self.seen % self.setup.size) * 8;
        let mut bytes = [0; 8];
        memory.read(at, &mut bytes).expect("a read");
        let element = split::UsedElement::from_bytes(&bytes);
        self.seen = self.seen.wrapping_add(1);
        let id = u16::try_from(element.id.get() & 0xffff).expect("a number");
        Some((id, element.len.get()))
    }

    /// Takes the buffers of a batch that come before its last one: these, which were added one after the
    /// other. It has taken the last one already.
    pub fn skip(&mut self, ids: &[u16]) {
        for id in ids {
            self.seen = self.seen.wrapping_add(1);
            if self.form.packed {
                let count = std::mem::take(&mut self.counts[usize::from(*id)]);
                self.take = self.take.plus(count, self.size()).expect("a position");
            }
        }
    }

    /// Tells whether it wants to be notified of the next used buffer.
    pub fn want_calls(&self, memory: &Memory, want: bool) {
        let event = self.base + AVAILABLE;
        match (self.form.packed, self.form.event_index) {
            (true, event_index) => {
                let layout = match (want, event_index) {
                    (false, _) => Event::Never,
                    (true, false) => Event::Always,
                    (true, true) => Event::At(self.take),
                };
                let bytes = layout.layout().to_bytes();
                memory.write(event, &bytes).expect("a write");
            }
            (false, false) => {
                let flags = u16::from(!want).to_le_bytes();
                memory.write(event, &flags).expect("a write");
            }
            (false, true) => {
                let at = event + 4 + u64::from(self.setup.size) * 2;
                let index = if want {
                    self.seen
                } else {
                    self.seen.wrapping_sub(1)
                };
                memory.write(at, &index.to_le_bytes()).expect("a write");
            }
        }
    }

    /// Tells whether it has to notify of the next buffer.
    pub fn may_kick(&self, memory: &Memory) -> bool {
        let mut bytes = [0; 4];
        memory.read(self.base + USED, &mut bytes).expect("a read");
        let [a, b, c, d] = bytes;
        match (self.form.packed, self.form.event_index) {
            (true, _) => u16::from_le_bytes([c, d]) != 1,
            (false, false) => u16::from_le_bytes([a, b]) == 0,
            (false, true) => {
                let at = self.base + USED + 4 + u64::from(self.setup.size) * 8;
                let mut event = [0; 2];
                memory.read(at, &mut event).expect("a read");
                Le16::from_bytes(event).get() == self.available
            }
        }
    }
}
