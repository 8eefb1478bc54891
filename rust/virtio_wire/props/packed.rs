// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::ring::{
    packed::{
        Descriptor,
        Event,
        EventIndex,
        EventLayout,
        Place,
        Position,
        QueueSize,
        State,
        Walk, //
    },
    Access,
    Indirect, //
};
use core::num::NonZeroU16;

fn queue_sizes() -> BoxedStrategy<QueueSize> {
    prop_oneof![1..10u16, 1..=0x8000u16, Just(0x8000)]
        .prop_map(|size| QueueSize::new(size).unwrap())
        .boxed()
}

/// The position after so many descriptors from the start.
fn position(count: u64, size: QueueSize) -> Position {
    let size_64 = u64::from(size.get());
    let wrap = (count / size_64) % 2 == 0;
    Position::new((count % size_64) as u16, wrap, size).unwrap()
}

fn descriptors() -> BoxedStrategy<Descriptor> {
    let flags = prop_oneof![
        Just(0x81u16),
        Just(0x83),
        (0..8u16).prop_map(|f| f | 0x80),
        any::<u16>()
    ];
    let length = prop_oneof![0..4u32, (0..6u32).prop_map(|n| n * 16), any::<u32>()];
    let address = prop_oneof![0..10u64, any::<u64>()];
    (address, length, flags, any::<u16>())
        .prop_map(|(addr, len, flags, id)| Descriptor {
            addr: addr.into(),
            len: len.into(),
            id: id.into(),
            flags: flags.into(),
        })
        .boxed()
}

proptest! {
    #![proptest_config(config(4 * CASES))]

    #[test]
    fn positions_are_counters(
        count in 0..1u64 << 40,
        share in 0.0..=1.0f64,
        size in queue_sizes(),
    ) {
        let by = (f64::from(size.get()) * share) as u16;

        prop_assert_eq!(
            position(count, size).plus(by, size),
            Ok(position(count + u64::from(by), size))
        );
    }

    #[test]
    fn what_one_end_writes_the_other_sees(count in 0..1u64 << 40, size in queue_sizes()) {
        let here = position(count, size);
        let next_round = position(count + u64::from(size.get()), size);

        prop_assert_eq!(here.state(here.available_flags()), State::Available);
        prop_assert_eq!(here.state(here.used_flags()), State::Used);
        prop_assert_eq!(next_round.state(here.used_flags()), State::Before);
        prop_assert_ne!(next_round.state(here.available_flags()), State::Available);
    }

    // Virtio 1.3, 2.8.10: an event triggers when this descriptor is made available or used.
    #[test]
    fn an_event_is_one_of_the_descriptors_written(
        count in 0..1u64 << 40,
        share in 0.0..=1.0f64,
        event in any::<u64>(),
        size in (1..40u16).prop_map(|size| QueueSize::new(size).unwrap()),
    ) {
        let by = (f64::from(size.get()) * share) as u16;
        let event = position(event % (2 * u64::from(size.get())), size);
        let written = (0..by).any(|n| position(count + u64::from(n), size) == event);

        prop_assert_eq!(Event::At(event).notifies(position(count, size), by, size), written);
    }

    #[test]
    fn events_come_back(desc in any::<u16>(), flags in any::<u16>(), size in queue_sizes()) {
        let layout = EventLayout { desc: desc.into(), flags: flags.into() };
        let event = Event::new(layout, size, EventIndex::Negotiated);
        let offset = desc & 0x7fff;
        let valid = match flags & 3 {
            0 | 1 => true,
            2 => offset < size.get(),
            _ => false,
        };

        prop_assert_eq!(event.is_ok(), valid);
        if let Ok(event) = event {
            prop_assert_eq!(
                Event::new(event.layout(), size, EventIndex::Negotiated),
                Ok(event)
            );
            prop_assert_eq!(event.layout().flags.get(), flags & 3);
        }
        let without = Event::new(layout, size, EventIndex::Absent);
        prop_assert_eq!(without.is_ok(), flags & 3 < 2);
    }

    #[test]
    fn a_walk_ends(
        ring in prop::collection::vec(descriptors(), 5),
        table in prop::collection::vec(descriptors(), 6),
        first in 0..5u16,
        most in 0..6u16,
    ) {
        let size = QueueSize::new(5).unwrap();
        let indirect = NonZeroU16::new(most).map_or(Indirect::No, Indirect::UpTo);
        let start = Position::new(first, true, size).unwrap();
        let mut walk = Walk::new(size, start, indirect);
        let (mut steps, mut total, mut written, mut in_table) = (0, 0, false, 0);

        while let Some(place) = walk.place() {
            steps += 1;
            prop_assert!(steps <= 5 + usize::from(most));
            let descriptor = match place {
                Place::Ring(position) => {
                    prop_assert_eq!(in_table, 0);
                    prop_assert_eq!(
                        start.plus(walk.descriptors(), size),
                        Ok(position)
                    );
                    ring[usize::from(position.index())]
                }
                Place::Table(found, index) => {
                    prop_assert_eq!(index, in_table);
                    prop_assert!(index < found.entries.get() && found.entries.get() <= most);
                    prop_assert_eq!(walk.descriptors(), 1);
                    in_table += 1;
                    table[usize::from(index)]
                }
            };
            let Ok(element) = walk.step(&descriptor) else {
                prop_assert_eq!(walk.place(), None);
                break;
            };
            if let Some(element) = element {
                total += u64::from(element.length);
                prop_assert!(total <= 1 << 32);
                prop_assert!(element.address.checked_add(element.length.into()).is_some());
                prop_assert!(!written || element.access == Access::Write);
                written = element.access == Access::Write;
            }
        }
        prop_assert!(walk.descriptors() <= size.get());
        prop_assert!(walk.step(&ring[0]).is_err());
    }

    #[test]
    fn used_buffers_are_in_the_ring(
        id in edgy16(),
        len in any::<u32>(),
        flags in any::<u16>(),
        writable in any::<u32>(),
        size in queue_sizes(),
    ) {
        let descriptor = Descriptor {
            addr: 0.into(),
            len: len.into(),
            id: id.into(),
            flags: flags.into(),
        };
        let written = if flags & 2 == 0 { Some(0) } else { Some(len).filter(|len| *len <= writable) };

        prop_assert_eq!(descriptor.used_id(size).ok(), Some(id).filter(|id| *id < size.get()));
        prop_assert_eq!(descriptor.written(writable).ok(), written);
    }
}
