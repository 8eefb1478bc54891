// SPDX-License-Identifier: GPL-2.0

//! Which buffers have a table of descriptors outside of the ring.

use super::Chains;
use kernel::prelude::*;

/// The tables of a ring's buffers.
pub(super) struct Tables<T> {
    /// By heads; empty if there are none.
    tables: KVVec<Option<T>>,
    chains: Chains,
    /// How many places buffers leave free that have none.
    floor: u16,
    /// How many buffers have one.
    used: u16,
    /// How many were made.
    made: u64,
}

impl<T> Tables<T> {
    /// Makes room for those of a ring with `size` places.
    pub(super) fn new(size: u16, chains: Chains) -> Result<Self> {
        let (count, floor) = match chains {
            Chains::InRing => (0, 0),
            Chains::InTables => (size, u16::MAX),
            Chains::Mixed => (size, size / 4),
        };
        let mut tables = KVVec::with_capacity(usize::from(count), GFP_KERNEL)?;
        for _ in 0..count {
            tables.push(None, GFP_KERNEL)?;
        }
        Ok(Self {
            tables,
            chains,
            floor,
            used: 0,
            made: 0,
        })
    }

    /// Returns where the descriptors of a buffer go.
    #[inline(always)]
    pub(super) fn chains(&self) -> Chains {
        self.chains
    }

    /// Returns how many were made.
    pub(super) fn made(&self) -> u64 {
        self.made
    }

    /// Tells whether no buffer has one.
    #[inline(always)]
    pub(super) fn is_unused(&self) -> bool {
        self.used == 0
    }

    /// Returns how many places buffers leave free that have none, unless there is no memory.
    #[inline(always)]
    pub(super) fn floor(&self) -> u16 {
        self.floor
    }

    /// Tells whether a buffer should have a table, which takes one place instead of `count`.
    pub(super) fn suits(&self, count: usize, free: u16) -> bool {
        count > 1
            && free > 0
            && self.chains != Chains::InRing
            && count > usize::from(free.saturating_sub(self.floor))
    }

    /// Keeps that of a buffer.
    pub(super) fn keep(&mut self, head: u16, table: T) {
        if let Some(place) = self.tables.get_mut(usize::from(head)) {
            self.used += u16::from(place.replace(table).is_none());
            self.made = self.made.wrapping_add(1);
        }
    }

    /// Takes that of a buffer, if it has one.
    pub(super) fn take(&mut self, head: u16) -> Option<T> {
        let table = self.tables.get_mut(usize::from(head))?.take()?;
        self.used -= 1;
        Some(table)
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_ring_tables)]
mod tests {
    use super::*;

    #[test]
    fn each_way_has_its_tables() -> Result {
        let in_ring = Tables::<()>::new(8, Chains::InRing)?;
        let in_tables = Tables::<()>::new(8, Chains::InTables)?;
        let mixed = Tables::<()>::new(8, Chains::Mixed)?;

        for (count, free, by_each) in [
            (1, 8, [false, false, false]),
            (2, 8, [false, true, false]),
            (6, 8, [false, true, false]),
            (7, 8, [false, true, true]),
            (3, 5, [false, true, false]),
            (3, 4, [false, true, true]),
            (3, 1, [false, true, true]),
            // There is no place for a table, either.
            (3, 0, [false, false, false]),
            (0x1_0000, 8, [false, true, true]),
        ] {
            let tables = [&in_ring, &in_tables, &mixed];
            assert_eq!(tables.map(|tables| tables.suits(count, free)), by_each);
        }
        Ok(())
    }

    #[test]
    fn there_is_room_for_half_as_many_as_places() -> Result {
        const PARTS: u16 = 3;
        for size in [4, 16, 64, 256, 1024] {
            let tables = Tables::<()>::new(size, Chains::Mixed)?;
            let (mut free, mut direct, mut others) = (size, 0, 0);
            while free > 0 {
                if tables.suits(PARTS.into(), free) {
                    free -= 1;
                    others += 1;
                } else {
                    free -= PARTS;
                    direct += 1;
                }
            }
            assert!(direct + others >= size / 2);
            assert!(direct >= size / 4);
        }
        Ok(())
    }

    #[test]
    fn tables_are_kept_and_taken() -> Result {
        let mut tables = Tables::new(4, Chains::Mixed)?;
        assert!(tables.is_unused());
        tables.keep(3, 'a');
        tables.keep(0, 'b');
        tables.keep(4, 'c');

        assert_eq!(tables.made(), 2);
        assert_eq!(tables.take(3), Some('a'));
        assert_eq!(tables.take(3), None);
        assert!(!tables.is_unused());
        assert_eq!(tables.take(0), Some('b'));
        assert_eq!(tables.take(4), None);
        assert!(tables.is_unused());
        Ok(())
    }
}
