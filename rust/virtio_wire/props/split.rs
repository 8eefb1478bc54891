// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::ring::{
    split::{
        need_event,
        Descriptor,
        Index,
        Position,
        QueueSize,
        UsedElement,
        Walk, //
    },
    Access,
    Indirect, //
};
use core::num::NonZeroU16;

/// Descriptors, of which many make short buffers.
fn descriptors() -> BoxedStrategy<Descriptor> {
    let flags = prop_oneof![Just(1u16), Just(3), 0..8u16, any::<u16>()];
    let length = prop_oneof![0..4u32, (0..6u32).prop_map(|n| n * 16), any::<u32>()];
    let address = prop_oneof![0..10u64, any::<u64>()];
    let next = prop_oneof![0..8u16, any::<u16>()];
    (address, length, flags, next)
        .prop_map(|(addr, len, flags, next)| Descriptor {
            addr: addr.into(),
            len: len.into(),
            flags: flags.into(),
            next: next.into(),
        })
        .boxed()
}

fn queue_sizes() -> BoxedStrategy<QueueSize> {
    (0..16u32)
        .prop_map(|exponent| QueueSize::new(1 << exponent).unwrap())
        .boxed()
}

proptest! {
    #![proptest_config(config(4 * CASES))]

    #[test]
    fn indices_are_counters(count in any::<u64>(), more in any::<u16>(), size in queue_sizes()) {
        let index = Index::new(count as u16);
        let later = index.plus(more);

        prop_assert_eq!(later.get(), (u128::from(count) + u128::from(more)) as u16);
        prop_assert_eq!(later.since(index), more);
        prop_assert_eq!(u64::from(index.slot(size)), count % u64::from(size.get()));
    }

    #[test]
    fn an_index_goes_on_by_at_most_what_is_there(
        count in any::<u64>(),
        by in edgy16(),
        most in edgy16(),
    ) {
        let seen = Index::new(count as u16);
        let new = seen.plus(by);

        prop_assert_eq!(new.advance(seen, most).ok(), Some(by).filter(|by| *by <= most));
    }

    // Virtio 1.3, 2.7.7.2: notify if an entry was written whose index is the event.
    #[test]
    fn an_event_is_one_of_the_entries_written(
        old in any::<u16>(),
        by in prop_oneof![0..300u16, Just(32768)],
        near in -300..300i32,
    ) {
        let new = old.wrapping_add(by);
        let event = (i32::from(old) + near) as u16;
        let written = (0..by).any(|number| old.wrapping_add(number) == event);

        prop_assert_eq!(
            need_event(Index::new(event), Index::new(new), Index::new(old)),
            written
        );
    }

    #[test]
    fn used_buffers_are_in_the_ring(
        id in prop_oneof![edgy16().prop_map(u32::from), any::<u32>()],
        len in any::<u32>(),
        writable in any::<u32>(),
        size in queue_sizes(),
    ) {
        let element = UsedElement { id: id.into(), len: len.into() };

        prop_assert_eq!(
            element.head(size).ok().map(u32::from),
            Some(id).filter(|id| *id < u32::from(size.get()))
        );
        prop_assert_eq!(
            element.written(writable).ok(),
            Some(len).filter(|len| *len <= writable)
        );
    }

    #[test]
    fn a_walk_ends(
        ring in prop::collection::vec(descriptors(), 8),
        table in prop::collection::vec(descriptors(), 6),
        head in 0..8u16,
        most in 0..6u16,
    ) {
        let indirect = NonZeroU16::new(most).map_or(Indirect::No, Indirect::UpTo);
        let mut walk = Walk::new(QueueSize::new(8).unwrap(), head, indirect).unwrap();
        let (mut steps, mut total, mut written, mut in_table) = (0, 0, false, false);

        while let Some(position) = walk.position() {
            steps += 1;
            prop_assert!(steps <= 8 + usize::from(most));
            let descriptor = match position {
                Position::Ring(index) => {
                    // It never comes back from a table.
                    prop_assert!(!in_table);
                    ring[usize::from(index)]
                }
                Position::Table(table_found, index) => {
                    prop_assert!(index < table_found.entries.get());
                    prop_assert!(table_found.entries.get() <= most);
                    in_table = true;
                    table[usize::from(index)]
                }
            };
            let Ok(element) = walk.step(&descriptor) else {
                prop_assert_eq!(walk.position(), None);
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
        prop_assert!(walk.step(&ring[0]).is_err());
    }

    /// A buffer that a driver may make is walked as it was made.
    #[test]
    fn a_valid_buffer_is_walked(
        order in Just((0..8u16).collect::<std::vec::Vec<_>>()).prop_shuffle(),
        number in 1..=8usize,
        readable in 0..=8usize,
    ) {
        let mut ring = [Descriptor::default(); 8];
        for (position, index) in order[..number].iter().enumerate() {
            let next = order[..number].get(position + 1);
            let write = if position >= readable { 2 } else { 0 };
            ring[usize::from(*index)] = Descriptor {
                addr: (position as u64 * 0x1000).into(),
                len: 0x1000.into(),
                flags: (u16::from(next.is_some()) | write).into(),
                next: next.copied().unwrap_or(0xffff).into(),
            };
        }
        let mut walk = Walk::new(QueueSize::new(8).unwrap(), order[0], Indirect::No).unwrap();
        for position in 0..number {
            let Some(Position::Ring(index)) = walk.position() else {
                panic!("the buffer ends after {position} descriptors");
            };
            let element = walk.step(&ring[usize::from(index)]).unwrap().unwrap();
            prop_assert_eq!(element.address, position as u64 * 0x1000);
            prop_assert_eq!(element.access == Access::Write, position >= readable);
        }
        prop_assert_eq!(walk.position(), None);
    }
}
