// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::ring::{
    Element,
    Indirect,
    INDIRECT,
    NEXT, //
};
use core::num::NonZeroU16;
use std::{
    vec,
    vec::Vec, //
};

fn size(size: u16) -> QueueSize {
    QueueSize::new(size).unwrap()
}

fn at(index: u16, wrap: bool) -> Position {
    Position { index, wrap }
}

#[test]
fn any_size_up_to_32768_will_do() {
    for right in [1, 3, 256, 32767, 32768] {
        assert!(QueueSize::new(right).is_ok());
    }
    for wrong in [0, 32769, u16::MAX] {
        assert_eq!(QueueSize::new(wrong), Err(RingError::Size(wrong)));
    }
    assert_eq!(size(3).length(), 48);
}

#[test]
fn the_counter_changes_at_the_end_of_the_ring() {
    let size = size(3);

    assert_eq!(Position::START.plus(2, size), Ok(at(2, true)));
    assert_eq!(Position::START.plus(3, size), Ok(at(0, false)));
    assert_eq!(at(2, false).plus(1, size), Ok(at(0, true)));
    assert_eq!(at(2, false).plus(3, size), Ok(at(2, true)));
    assert_eq!(
        Position::START.plus(4, size),
        Err(RingError::Advance { by: 4, most: 3 })
    );
}

#[test]
fn positions_are_in_the_ring() {
    assert_eq!(Position::new(2, false, size(3)), Ok(at(2, false)));
    assert_eq!(
        Position::new(3, false, size(3)),
        Err(RingError::Descriptor(3))
    );
    assert_eq!(at(2, false).offset(), 32);
}

#[test]
fn a_descriptor_is_available_and_then_used() {
    for (position, before, available, used) in [
        (at(0, true), 0, AVAILABLE, AVAILABLE | USED),
        (at(0, false), AVAILABLE | USED, USED, 0),
    ] {
        assert_eq!(position.available_flags(), available);
        assert_eq!(position.used_flags(), used);
        assert_eq!(position.state(before), State::Before);
        assert_eq!(position.state(available | NEXT), State::Available);
        assert_eq!(position.state(used | NEXT), State::Used);
    }
    assert_eq!(at(0, true).state(USED), State::Before);
}

#[test]
fn events_are_told_as_in_the_specification() {
    for (event, desc, flags) in [
        (Event::Always, 0, 0),
        (Event::Never, 0, 1),
        (Event::At(at(5, true)), 0x8005, 2),
        (Event::At(at(5, false)), 5, 2),
    ] {
        let layout = event.layout();

        assert_eq!((layout.desc.get(), layout.flags.get()), (desc, flags));
        assert_eq!(
            Event::new(layout, size(8), EventIndex::Negotiated),
            Ok(event)
        );
    }
}

#[test]
fn events_have_to_be_negotiated_and_defined() {
    let event = |desc: u16, flags: u16, index| {
        let layout = EventLayout {
            desc: desc.into(),
            flags: flags.into(),
        };
        Event::new(layout, size(8), index)
    };

    assert_eq!(
        event(0, 2, EventIndex::Absent),
        Err(RingError::EventFlags(2))
    );
    assert_eq!(
        event(0, 3, EventIndex::Negotiated),
        Err(RingError::EventFlags(3))
    );
    assert_eq!(
        event(0x8008, 2, EventIndex::Negotiated),
        Err(RingError::EventOffset(8))
    );
    assert_eq!(event(0, 0xfffd, EventIndex::Absent), Ok(Event::Never));
}

#[test]
fn an_event_is_among_the_descriptors() {
    let size = size(4);
    let notifies = |event, first, number| Event::At(event).notifies(first, number, size);

    assert!(notifies(at(1, true), at(0, true), 2));
    assert!(!notifies(at(2, true), at(0, true), 2));
    // In the round before.
    assert!(!notifies(at(1, false), at(0, true), 2));
    // Around the end.
    assert!(notifies(at(0, false), at(3, true), 2));
    assert!(!notifies(at(0, true), at(3, true), 2));
    assert!(!notifies(at(0, true), at(0, true), 0));
    assert!(Event::Always.notifies(at(0, true), 1, size));
    assert!(!Event::Never.notifies(at(0, true), 1, size));
}

#[test]
fn an_event_need_not_be_taken_to_notify() {
    let size = size(4);
    let notifies = |desc, flags, index| {
        let layout = EventLayout {
            desc: Le16::new(desc),
            flags: Le16::new(flags),
        };
        layout.notifies(at(3, true), 2, size, index)
    };

    assert_eq!(notifies(0, 0, EventIndex::Negotiated), Ok(true));
    assert_eq!(notifies(0, 1, EventIndex::Negotiated), Ok(false));
    assert_eq!(notifies(0x0000, 2, EventIndex::Negotiated), Ok(true));
    assert_eq!(notifies(0x8000, 2, EventIndex::Negotiated), Ok(false));
    assert_eq!(
        notifies(0, 2, EventIndex::Absent),
        Err(RingError::EventFlags(2))
    );
    assert_eq!(
        notifies(4, 2, EventIndex::Negotiated),
        Err(RingError::EventOffset(4))
    );
}

#[test]
fn used_buffers_exist() {
    let with = |id: u16| Descriptor {
        id: id.into(),
        ..Descriptor::default()
    };

    assert_eq!(with(7).used_id(size(8)), Ok(7));
    assert_eq!(with(8).used_id(size(8)), Err(RingError::UsedId(8)));
}

#[test]
fn a_device_writes_no_more_than_it_can() {
    let with = |len: u32, flags: u16| {
        let descriptor = Descriptor {
            len: len.into(),
            flags: flags.into(),
            ..Descriptor::default()
        };
        descriptor.written(64)
    };

    assert_eq!(with(64, WRITE), Ok(64));
    assert_eq!(
        with(65, WRITE),
        Err(RingError::UsedLength {
            used: 65,
            writable: 64
        })
    );
    // The length means nothing then.
    assert_eq!(with(65, 0), Ok(0));
}

/// A descriptor that is available where the counter is 1.
fn descriptor(addr: u64, len: u32, flags: u16, id: u16) -> Descriptor {
    Descriptor {
        addr: addr.into(),
        len: len.into(),
        id: id.into(),
        flags: (flags | AVAILABLE).into(),
    }
}

/// Walks through descriptors of a ring and of a table, and returns the walk, too.
fn walk(
    ring: &[Descriptor],
    table: &[Descriptor],
    indirect: Indirect,
) -> Result<(Vec<Element>, Walk), RingError> {
    let size = size(ring.len().try_into().unwrap());
    let mut walk = Walk::new(size, Position::START, indirect);
    let mut elements = vec![];
    while let Some(place) = walk.place() {
        let descriptor = match place {
            Place::Ring(position) => ring[usize::from(position.index())],
            Place::Table(_, index) => table[usize::from(index)],
        };
        elements.extend(walk.step(&descriptor)?);
    }
    Ok((elements, walk))
}

const UP_TO_4: Indirect = Indirect::UpTo(match NonZeroU16::new(4) {
    Some(four) => four,
    None => NonZeroU16::MAX,
});

#[test]
fn the_last_descriptor_names_the_buffer() {
    let ring = [
        descriptor(1, 1, NEXT, 9),
        descriptor(2, 1, NEXT | WRITE, 8),
        descriptor(3, 1, WRITE, 7),
        descriptor(4, 1, 0, 6),
    ];
    let (elements, walk) = walk(&ring, &[], Indirect::No).unwrap();

    assert_eq!(elements.len(), 3);
    assert_eq!(walk.id(), 7);
    assert_eq!(walk.descriptors(), 3);
}

#[test]
fn a_buffer_can_go_around_the_end() {
    let size = size(2);
    let mut walk = Walk::new(size, at(1, true), Indirect::No);
    let second = Descriptor {
        flags: USED.into(),
        ..descriptor(2, 1, 0, 0)
    };

    walk.step(&descriptor(1, 1, NEXT, 0)).unwrap();
    assert_eq!(walk.place(), Some(Place::Ring(at(0, false))));
    walk.step(&second).unwrap();
    assert_eq!(walk.place(), None);
}

#[test]
fn all_descriptors_are_available() {
    let used = Descriptor {
        flags: (AVAILABLE | USED).into(),
        ..Descriptor::default()
    };
    let ring = [descriptor(1, 1, NEXT, 0), used];

    assert_eq!(
        walk(&ring, &[], Indirect::No).map(|_| ()),
        Err(RingError::NotAvailable(1))
    );
}

#[test]
fn a_buffer_has_no_more_descriptors_than_the_ring() {
    let ring = [descriptor(1, 1, NEXT, 0), descriptor(1, 1, NEXT, 0)];

    assert_eq!(
        walk(&ring, &[], Indirect::No).map(|_| ()),
        Err(RingError::TooLong)
    );
}

#[test]
fn nothing_readable_follows_what_is_writable() {
    let ring = [descriptor(1, 1, NEXT | WRITE, 0), descriptor(1, 1, 0, 0)];

    assert_eq!(
        walk(&ring, &[], Indirect::No).map(|_| ()),
        Err(RingError::ReadAfterWrite)
    );
}

#[test]
fn all_of_a_table_is_the_buffer() {
    let ring = [descriptor(0, 32, INDIRECT | WRITE, 5)];
    // Flags other than that the device can write mean nothing, nor does the number.
    let entry = |flags: u16| Descriptor {
        flags: flags.into(),
        ..descriptor(1, 1, 0, 77)
    };
    let table = [entry(NEXT | INDIRECT), entry(WRITE | USED)];
    let (elements, walk) = walk(&ring, &table, UP_TO_4).unwrap();

    assert_eq!(elements.len(), 2);
    assert_eq!(walk.id(), 5);
    assert_eq!(walk.descriptors(), 1);
}

#[test]
fn a_table_is_the_only_descriptor() {
    for ring in [
        [
            descriptor(0, 16, INDIRECT | NEXT, 0),
            descriptor(0, 1, 0, 0),
        ],
        [descriptor(0, 1, NEXT, 0), descriptor(0, 16, INDIRECT, 0)],
    ] {
        assert_eq!(
            walk(&ring, &[], UP_TO_4).map(|_| ()),
            Err(RingError::IndirectChained)
        );
    }
}

#[test]
fn a_table_has_to_be_negotiated_and_whole() {
    let with =
        |length, indirect| walk(&[descriptor(0, length, INDIRECT, 0)], &[], indirect).map(|_| ());

    assert_eq!(
        with(16, Indirect::No),
        Err(RingError::IndirectNotNegotiated)
    );
    for length in [0, 17, 80] {
        assert_eq!(
            with(length, UP_TO_4),
            Err(RingError::IndirectLength(length))
        );
    }
}

#[test]
fn after_the_end_there_is_no_step() {
    let mut walk = Walk::new(size(2), Position::START, Indirect::No);
    let last = descriptor(1, 1, 0, 0);

    assert!(walk.step(&last).is_ok());
    assert_eq!(walk.step(&last), Err(RingError::TooLong));
}
