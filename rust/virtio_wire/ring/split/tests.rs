// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::ring::{
    Access,
    Element,
    Indirect,
    Table,
    INDIRECT,
    NEXT,
    WRITE, //
};
use core::num::NonZeroU16;
use std::{
    vec,
    vec::Vec, //
};

fn size(size: u16) -> QueueSize {
    QueueSize::new(size).unwrap()
}

#[test]
fn sizes_are_powers_of_two() {
    for exponent in 0..16 {
        assert!(QueueSize::new(1 << exponent).is_ok());
    }
    for wrong in [0, 3, 255, 32767, 32769, u16::MAX] {
        assert_eq!(QueueSize::new(wrong), Err(RingError::Size(wrong)));
    }
}

#[test]
fn parts_are_laid_out_as_in_the_specification() {
    for (number, descriptors, available, used) in [
        (1, 16, 8, 14),
        (256, 4096, 518, 2054),
        (32768, 524_288, 65542, 262_150),
    ] {
        let size = size(number);

        assert_eq!(size.descriptors_length(), descriptors);
        assert_eq!(size.available_length(), available);
        assert_eq!(size.used_length(), used);
        assert_eq!(size.used_event_offset(), available - 2);
        assert_eq!(size.available_event_offset(), used - 2);
    }
}

#[test]
fn entries_are_where_the_index_says() {
    let size = size(4);

    assert_eq!(size.descriptor_offset(3), Ok(48));
    assert_eq!(size.descriptor_offset(4), Err(RingError::Descriptor(4)));
    assert_eq!(size.available_offset(Index::new(5)), 6);
    assert_eq!(size.used_offset(Index::new(5)), 12);
    assert_eq!(size.used_offset(Index::new(0xffff)), 28);
}

#[test]
fn indices_wrap_around() {
    let last = Index::new(0xffff);

    assert_eq!(last.plus(2), Index::new(1));
    assert_eq!(Index::new(1).since(last), 2);
    assert_eq!(last.slot(size(32768)), 32767);
}

#[test]
fn an_index_does_not_overtake() {
    let seen = Index::new(0xfffe);

    assert_eq!(Index::new(2).advance(seen, 4), Ok(4));
    assert_eq!(
        Index::new(3).advance(seen, 4),
        Err(RingError::Advance { by: 5, most: 4 })
    );
    // One that goes back goes very far.
    assert_eq!(
        Index::new(0xfffd).advance(seen, 4),
        Err(RingError::Advance {
            by: 0xffff,
            most: 4
        })
    );
}

#[test]
fn used_buffers_exist() {
    let element = |id: u32| UsedElement {
        id: id.into(),
        len: 0.into(),
    };

    assert_eq!(element(255).head(size(256)), Ok(255));
    for id in [256, 0x1_0000, u32::MAX] {
        assert_eq!(element(id).head(size(256)), Err(RingError::UsedId(id)));
    }
}

#[test]
fn a_device_writes_no_more_than_it_can() {
    let element = |len: u32| UsedElement {
        id: 0.into(),
        len: len.into(),
    };

    assert_eq!(element(1526).written(1526), Ok(1526));
    assert_eq!(
        element(1527).written(1526),
        Err(RingError::UsedLength {
            used: 1527,
            writable: 1526
        })
    );
}

#[test]
fn an_event_is_between_old_and_new() {
    let notifies = |event, old, new| {
        Suppression::Event(Index::new(event)).notifies(Index::new(old), Index::new(new))
    };

    assert!(notifies(5, 5, 6));
    assert!(!notifies(5, 6, 7));
    assert!(!notifies(5, 4, 5));
    assert!(notifies(0xffff, 0xfffe, 2));
    assert!(!notifies(5, 5, 5));
}

#[test]
fn flags_suppress_notifications() {
    let notifies = |flags| Suppression::Flags(flags).notifies(Index::new(0), Index::new(1));

    assert!(notifies(0));
    assert!(!notifies(NO_INTERRUPT));
    assert!(!notifies(NO_NOTIFY));
    assert!(notifies(2));
}

fn descriptor(addr: u64, len: u32, flags: u16, next: u16) -> Descriptor {
    Descriptor {
        addr: addr.into(),
        len: len.into(),
        flags: flags.into(),
        next: next.into(),
    }
}

/// Walks through descriptors of a ring and of a table.
fn walk(
    ring: &[Descriptor],
    table: &[Descriptor],
    indirect: Indirect,
) -> Result<Vec<Element>, RingError> {
    let mut walk = Walk::new(size(ring.len().try_into().unwrap()), 0, indirect)?;
    let mut elements = vec![];
    while let Some(position) = walk.position() {
        let descriptor = match position {
            Position::Ring(index) => ring[usize::from(index)],
            Position::Table(_, index) => table[usize::from(index)],
        };
        elements.extend(walk.step(&descriptor)?);
    }
    Ok(elements)
}

const UP_TO_4: Indirect = Indirect::UpTo(match NonZeroU16::new(4) {
    Some(four) => four,
    None => NonZeroU16::MAX,
});

#[test]
fn a_buffer_has_readable_and_then_writable_elements() {
    let ring = [
        descriptor(0x1000, 16, NEXT, 2),
        descriptor(0x3000, 1, WRITE, 0xffff),
        descriptor(0x2000, 512, NEXT | WRITE, 1),
        Descriptor::default(),
    ];
    let element = |address, length, access| Element {
        address,
        length,
        access,
    };

    assert_eq!(
        walk(&ring, &[], Indirect::No),
        Ok(vec![
            element(0x1000, 16, Access::Read),
            element(0x2000, 512, Access::Write),
            element(0x3000, 1, Access::Write),
        ])
    );
}

#[test]
fn a_buffer_begins_in_the_ring() {
    assert_eq!(
        Walk::new(size(4), 4, Indirect::No).map(|_| ()),
        Err(RingError::Descriptor(4))
    );
}

#[test]
fn a_buffer_stays_in_the_ring() {
    let ring = [descriptor(0, 1, NEXT, 2), descriptor(0, 1, 0, 0)];

    assert_eq!(
        walk(&ring, &[], Indirect::No),
        Err(RingError::Descriptor(2))
    );
}

#[test]
fn a_loop_ends() {
    for next in [0, 1] {
        let ring = [descriptor(0, 1, NEXT, 1), descriptor(0, 1, NEXT, next)];

        assert_eq!(walk(&ring, &[], Indirect::No), Err(RingError::TooLong));
    }
    let ring = [descriptor(0, 32, INDIRECT, 0)];
    let table = [descriptor(0, 1, NEXT, 1), descriptor(0, 1, NEXT, 1)];
    assert_eq!(walk(&ring, &table, UP_TO_4), Err(RingError::TooLong));
}

#[test]
fn a_buffer_can_use_the_whole_ring() {
    let ring = [
        descriptor(0, 1, NEXT, 1),
        descriptor(0, 1, NEXT, 2),
        descriptor(0, 1, NEXT, 3),
        descriptor(0, 1, 0, 0),
    ];

    assert_eq!(walk(&ring, &[], Indirect::No).unwrap().len(), 4);
}

#[test]
fn nothing_readable_follows_what_is_writable() {
    let ring = [descriptor(0, 1, NEXT | WRITE, 1), descriptor(0, 1, 0, 0)];

    assert_eq!(
        walk(&ring, &[], Indirect::No),
        Err(RingError::ReadAfterWrite)
    );
}

#[test]
fn a_buffer_has_at_most_2_to_the_32_bytes() {
    let with = |last| {
        let ring = [descriptor(0, u32::MAX, NEXT, 1), descriptor(0, last, 0, 0)];
        walk(&ring, &[], Indirect::No).map(|elements| elements.len())
    };

    assert_eq!(with(1), Ok(2));
    assert_eq!(with(2), Err(RingError::TotalLength((1 << 32) + 1)));
}

#[test]
fn addresses_do_not_wrap_around() {
    let address = u64::MAX - 1;
    let with = |length| walk(&[descriptor(address, length, 0, 0)], &[], Indirect::No);

    assert!(with(1).is_ok());
    assert_eq!(with(2), Err(RingError::Address { address, length: 2 }));
}

#[test]
fn a_table_goes_on_where_its_descriptors_say() {
    let ring = [
        descriptor(0, 1, NEXT, 1),
        // The device ignores that it could write the table.
        descriptor(0x5000, 48, INDIRECT | WRITE, 0xffff),
    ];
    let table = [
        descriptor(1, 1, NEXT, 2),
        descriptor(3, 1, WRITE, 0),
        descriptor(2, 1, NEXT, 1),
    ];
    let addresses: Vec<_> = walk(&ring, &table, UP_TO_4)
        .unwrap()
        .iter()
        .map(|element| element.address)
        .collect();

    assert_eq!(addresses, [0, 1, 2, 3]);
}

#[test]
fn the_device_learns_where_a_table_is() {
    let mut walk = Walk::new(size(1), 0, UP_TO_4).unwrap();
    let element = walk.step(&descriptor(0x5000, 48, INDIRECT, 0)).unwrap();

    assert_eq!(element, None);
    assert_eq!(
        walk.position(),
        Some(Position::Table(
            Table {
                address: 0x5000,
                entries: NonZeroU16::new(3).unwrap()
            },
            0
        ))
    );
}

#[test]
fn a_table_has_to_be_negotiated() {
    let ring = [descriptor(0, 16, INDIRECT, 0)];

    assert_eq!(
        walk(&ring, &[], Indirect::No),
        Err(RingError::IndirectNotNegotiated)
    );
}

#[test]
fn a_table_is_whole_and_not_too_long() {
    for length in [0, 1, 15, 17, 80, 0x10_0000, u32::MAX] {
        let ring = [descriptor(0, length, INDIRECT, 0)];

        assert_eq!(
            walk(&ring, &[], UP_TO_4),
            Err(RingError::IndirectLength(length))
        );
    }
}

#[test]
fn a_table_ends_a_buffer() {
    let ring = [descriptor(0, 16, INDIRECT | NEXT, 1), Descriptor::default()];

    assert_eq!(walk(&ring, &[], UP_TO_4), Err(RingError::IndirectChained));
}

#[test]
fn a_table_is_not_in_a_table() {
    let ring = [descriptor(0, 16, INDIRECT, 0)];

    assert_eq!(walk(&ring, &ring, UP_TO_4), Err(RingError::IndirectNested));
}

#[test]
fn a_buffer_stays_in_its_table() {
    let ring = [descriptor(0, 32, INDIRECT, 0)];
    let table = [descriptor(0, 1, NEXT, 2)];

    assert_eq!(walk(&ring, &table, UP_TO_4), Err(RingError::Descriptor(2)));
}

#[test]
fn after_the_end_there_is_no_step() {
    let mut walk = Walk::new(size(1), 0, Indirect::No).unwrap();
    let last = descriptor(0, 1, 0, 0);

    assert!(walk.step(&last).is_ok());
    assert_eq!(walk.step(&last), Err(RingError::TooLong));
}
