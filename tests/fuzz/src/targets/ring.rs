// SPDX-License-Identifier: GPL-2.0

//! What drivers and devices put into rings.

use crate::input::Input;
use std::num::NonZeroU16;
use virtio_wire::ring::{Access, Element, Indirect, packed, split};

/// A memory of descriptors: the address of a table is the number of its first one.
struct Memory<'a>(&'a [u8]);

impl Memory<'_> {
    fn descriptor(&self, table: u64, index: u16) -> [u8; 16] {
        let number = usize::try_from(table)
            .ok()
            .and_then(|table| table.checked_add(usize::from(index)))
            .and_then(|number| number.checked_mul(16))
            .unwrap_or(usize::MAX);
        let bytes = self.0.get(number..).unwrap_or_default();
        Input::new(bytes).array()
    }
}

/// What has to hold of the elements of a buffer.
#[derive(Default)]
struct Elements {
    total: u64,
    writable: bool,
}

impl Elements {
    fn add(&mut self, element: Element) {
        self.total += u64::from(element.length);
        assert!(self.total <= 1 << 32);
        assert!(element.address.checked_add(element.length.into()).is_some());
        assert!(!self.writable || element.access == Access::Write);
        self.writable = element.access == Access::Write;
    }
}

fn indirect(input: &mut Input<'_>) -> (Indirect, u32) {
    let most = u16::from(input.u8() % 64);
    (
        NonZeroU16::new(most).map_or(Indirect::No, Indirect::UpTo),
        most.into(),
    )
}

/// Walks through a buffer in a split ring: the logarithm of the size of the queue, how long tables
/// can be, the first descriptor, and a memory of descriptors that begins with those of the queue.
pub fn split_walk(data: &[u8]) {
    let mut input = Input::new(data);
    let size = split::QueueSize::new(1 << (input.u8() % 16)).expect("it is a power of two");
    let (indirect, most) = indirect(&mut input);
    let head = input.u16();
    let memory = Memory(input.rest());
    let Ok(mut walk) = split::Walk::new(size, head, indirect) else {
        assert!(head >= size.get());
        return;
    };

    let mut elements = Elements::default();
    let mut steps = 0;
    while let Some(position) = walk.position() {
        steps += 1;
        assert!(steps <= u32::from(size.get()) + most, "it does not end");
        let bytes = match position {
            split::Position::Ring(index) => {
                assert!(index < size.get());
                memory.descriptor(0, index)
            }
            split::Position::Table(table, index) => {
                assert!(index < table.entries.get() && u32::from(table.entries.get()) <= most);
                memory.descriptor(table.address, index)
            }
        };
        match walk.step(&split::Descriptor::from_bytes(&bytes)) {
            Ok(Some(element)) => elements.add(element),
            Ok(None) => assert!(walk.position().is_some()),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert!(walk.position().is_none());
            }
        }
    }
}

/// Walks through a buffer in a packed ring: the size of the queue, how long tables can be, the
/// first descriptor with the counter, and a memory of descriptors that begins with the ring.
pub fn packed_walk(data: &[u8]) {
    let mut input = Input::new(data);
    let Ok(size) = packed::QueueSize::new(input.u16()) else {
        return;
    };
    let (indirect, most) = indirect(&mut input);
    let first = input.u16();
    let Ok(start) = packed::Position::new(first & 0x7fff, first >> 15 == 1, size) else {
        assert!(first & 0x7fff >= size.get());
        return;
    };
    let memory = Memory(input.rest());

    let mut walk = packed::Walk::new(size, start, indirect);
    let mut elements = Elements::default();
    let mut steps = 0;
    while let Some(place) = walk.place() {
        steps += 1;
        assert!(steps <= u32::from(size.get()) + most, "it does not end");
        let bytes = match place {
            packed::Place::Ring(position) => {
                assert_eq!(start.plus(walk.descriptors(), size), Ok(position));
                memory.descriptor(0, position.index())
            }
            packed::Place::Table(table, index) => {
                assert!(index < table.entries.get() && u32::from(table.entries.get()) <= most);
                memory.descriptor(table.address, index)
            }
        };
        match walk.step(&packed::Descriptor::from_bytes(&bytes)) {
            Ok(Some(element)) => elements.add(element),
            Ok(None) => assert!(walk.place().is_some()),
            Err(error) => {
                assert!(!error.to_string().is_empty());
                assert!(walk.place().is_none());
            }
        }
    }
    assert!(walk.descriptors() <= size.get());
}

/// Decides whether to notify: the size of the queue, how events can be told, the event, the first
/// descriptor with the counter, and how many were written.
pub fn packed_event(data: &[u8]) {
    let mut input = Input::new(data);
    let Ok(size) = packed::QueueSize::new(input.u16()) else {
        return;
    };
    let index = match input.u8() % 2 {
        0 => packed::EventIndex::Negotiated,
        _ => packed::EventIndex::Absent,
    };
    let layout = packed::EventLayout::from_bytes(&input.array());
    let first = input.u16();
    let number = input.u16() % 512;
    let Ok(event) = packed::Event::new(layout, size, index) else {
        return;
    };
    assert_eq!(packed::Event::new(event.layout(), size, index), Ok(event));
    let Ok(start) = packed::Position::new(first & 0x7fff, first >> 15 == 1, size) else {
        return;
    };
    if number > size.get() {
        return;
    }

    let written = |wanted| (0..number).any(|by| start.plus(by, size) == Ok(wanted));
    let expected = match event {
        packed::Event::Always => true,
        packed::Event::Never => false,
        packed::Event::At(position) => written(position),
    };
    assert_eq!(event.notifies(start, number, size), expected);
    assert_eq!(layout.notifies(start, number, size, index), Ok(expected));
}
