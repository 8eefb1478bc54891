// SPDX-License-Identifier: GPL-2.0

//! What the driver knows of the descriptors of a split ring, for itself.
//!
//! A *chain* is the descriptors of a buffer, in the order in which they were taken from the free
//! ones; it is known by its first descriptor, its *head*. All of that is here, and nothing is ever
//! read from the descriptors, which the device can write.

use core::ptr::NonNull;
use kernel::{
    alloc::flags::GFP_KERNEL,
    prelude::*, //
};

/// What is known of a descriptor.
#[derive(Clone, Copy)]
struct Place {
    /// What stands for the buffer, if this is the head of one that the device has.
    token: Option<NonNull<c_void>>,
    /// The next descriptor of the chain, or the next free one.
    next: u16,
    /// The last descriptor of the chain; in a head.
    last: u16,
    /// How many descriptors the chain has; in a head.
    count: u16,
    /// The time when the chain was given to the device; in a head.
    given: u16,
}

/// Why the device cannot have used a buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotUsed {
    /// There is no such descriptor.
    OutOfRange,
    /// It is not the head of a buffer that the device has.
    NotAHead,
}

/// The descriptors of a ring.
pub(super) struct Places {
    places: KVVec<Place>,
    /// The first free one, if there is any.
    first_free: u16,
    free: u16,
    /// The time, which goes on when the device is told of chains.
    now: u16,
}

/// The time of chains that were given when the time was as it is now, but of which the device was told
/// long ago. It never is that time.
const LONG_AGO: u16 = 0;

/// A chain that is being made of free descriptors. The numbers are those of descriptors; they are
/// wide, so that the compiler keeps each by itself instead of packing them all together.
#[derive(Clone, Copy)]
pub(super) struct Growing {
    head: usize,
    last: usize,
    next: usize,
    count: usize,
    /// How many there may be.
    room: usize,
}

/// Makes the number of a descriptor narrow again.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a ring has no more descriptors"
)]
fn narrow(number: usize) -> u16 {
    number as u16
}

impl Growing {
    /// Returns the first descriptor.
    #[inline(always)]
    pub(super) fn head(&self) -> u16 {
        narrow(self.head)
    }

    /// Returns the last descriptor so far.
    #[inline(always)]
    pub(super) fn last(&self) -> u16 {
        narrow(self.last)
    }

    /// Returns how many there are so far.
    #[inline(always)]
    pub(super) fn count(&self) -> u16 {
        narrow(self.count)
    }

    /// Returns the descriptor that may come next.
    #[inline(always)]
    fn next(&self) -> u16 {
        narrow(self.next)
    }
}

impl Places {
    /// Makes room for a ring with `size` descriptors, all of them free.
    pub(super) fn new(size: u16) -> Result<Self> {
        let place = Place {
            token: None,
            next: 0,
            last: 0,
            count: 0,
            given: LONG_AGO,
        };
        let mut places = KVVec::from_elem(place, usize::from(size), GFP_KERNEL)?;
        for (place, number) in places.iter_mut().zip(1..=size) {
            place.next = number;
        }
        Ok(Self {
            places,
            first_free: 0,
            free: size,
            now: LONG_AGO + 1,
        })
    }

    /// Returns how many descriptors there are.
    pub(super) fn size(&self) -> usize {
        self.places.len()
    }

    /// Returns how many descriptors are free.
    #[inline(always)]
    pub(super) fn free(&self) -> u16 {
        self.free
    }

    /// Begins a chain, which leaves so many descriptors free.
    #[inline(always)]
    pub(super) fn grow(&self, floor: u16) -> Growing {
        let first = usize::from(self.first_free);
        Growing {
            head: first,
            last: first,
            next: first,
            count: 0,
            room: usize::from(self.free.saturating_sub(floor)),
        }
    }

    /// Adds a descriptor to a chain, and returns it with the one that may come next.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if none is free that it may have.
    #[inline(always)]
    pub(super) fn extend(&self, chain: &mut Growing) -> Result<(u16, u16)> {
        if chain.count >= chain.room {
            return Err(ENOSPC);
        }
        let number = chain.next();
        let next = self.next(number);
        chain.last = chain.next;
        chain.next = usize::from(next);
        chain.count = chain.count.wrapping_add(1);
        Ok((number, next))
    }

    /// Returns the descriptor behind another one.
    #[inline(always)]
    pub(super) fn next(&self, number: u16) -> u16 {
        self.places
            .get(usize::from(number))
            .map_or(0, |place| place.next)
    }

    /// Gives a chain to the device, which is yet to be told of it.
    #[inline(always)]
    pub(super) fn give(&mut self, chain: Growing, token: NonNull<c_void>) {
        if let Some(head) = self.places.get_mut(chain.head) {
            head.token = Some(token);
            head.last = chain.last();
            head.count = chain.count();
            head.given = self.now;
        }
        self.first_free = chain.next();
        self.free = self.free.wrapping_sub(chain.count());
    }

    /// Returns the first free number, if there is one.
    #[inline(always)]
    pub(super) fn first_free(&self) -> Option<u16> {
        (self.free > 0).then_some(self.first_free)
    }

    /// Gives a chain of `count` descriptors that are not from here to the device, which is yet to be
    /// told of it, under the first free number. There must be as many.
    #[inline(always)]
    pub(super) fn give_first(&mut self, count: u16, token: NonNull<c_void>) {
        let number = self.first_free;
        if let Some(head) = self.places.get_mut(usize::from(number)) {
            head.token = Some(token);
            head.last = number;
            head.count = count;
            head.given = self.now;
            self.first_free = head.next;
        }
        self.free = self.free.wrapping_sub(count);
    }

    /// Tells whether the device has the buffer that it says it has used.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(super) fn check(&self, id: u32) -> Result<u16, NotUsed> {
        let head = u16::try_from(id).map_err(|_| NotUsed::OutOfRange)?;
        let place = self
            .places
            .get(usize::from(head))
            .ok_or(NotUsed::OutOfRange)?;
        place.token.map(|_| head).ok_or(NotUsed::NotAHead)
    }

    /// Returns how many descriptors a chain has, or had last.
    #[inline(always)]
    pub(super) fn count(&self, head: u16) -> u16 {
        self.places
            .get(usize::from(head))
            .map_or(0, |place| place.count)
    }

    /// Notes that the device is told of all chains that were given to it.
    #[inline(always)]
    pub(super) fn tell(&mut self) {
        self.now = self.now.wrapping_add(1);
        if self.now == LONG_AGO {
            self.begin_again();
        }
    }

    /// Begins a new time, before it is as it was when a chain was given that the device still has.
    #[cold]
    #[inline(never)]
    fn begin_again(&mut self) {
        for place in self.places.iter_mut() {
            place.given = LONG_AGO;
        }
        self.now = LONG_AGO + 1;
    }

    /// Tells whether this is the head of a chain of which the device is yet to be told. It may also be
    /// that of none.
    #[cold]
    #[inline(never)]
    pub(super) fn is_untold(&self, id: u32) -> bool {
        let head = usize::try_from(id);
        let place = head.map_or(None, |head| self.places.get(head));
        place.is_some_and(|place| place.given == self.now)
    }

    /// Takes a chain from the device, that says it has used it: its descriptors are free. Returns
    /// what stands for the buffer, and how many descriptors there were.
    ///
    /// # Errors
    ///
    /// The device does not have it.
    #[inline(always)]
    pub(super) fn take(&mut self, id: u32) -> Result<(NonNull<c_void>, u16), NotUsed> {
        let head = u16::try_from(id).map_err(|_| NotUsed::OutOfRange)?;
        let place = self
            .places
            .get_mut(usize::from(head))
            .ok_or(NotUsed::OutOfRange)?;
        let token = place.token.take().ok_or(NotUsed::NotAHead)?;
        let (last, count) = (place.last, place.count);
        if let Some(last) = self.places.get_mut(usize::from(last)) {
            last.next = self.first_free;
        }
        self.first_free = head;
        self.free = self.free.wrapping_add(count);
        Ok((token, count))
    }

    /// Returns the first head of a buffer that the device has.
    pub(super) fn first_head(&self) -> Option<u16> {
        let head = self.places.iter().position(|place| place.token.is_some())?;
        u16::try_from(head).ok()
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_ring_places)]
mod tests {
    use super::*;

    fn token(number: usize) -> NonNull<c_void> {
        // CAST: Nobody looks at what is there.
        NonNull::new(core::ptr::without_provenance_mut(number)).unwrap_or(NonNull::dangling())
    }

    /// Adds a buffer of some descriptors, and returns them.
    fn add(places: &mut Places, count: usize, token: NonNull<c_void>) -> Result<KVec<u16>> {
        let mut chain = places.grow(0);
        let mut numbers = KVec::new();
        for _ in 0..count {
            numbers.push(places.extend(&mut chain)?.0, GFP_KERNEL)?;
        }
        places.give(chain, token);
        Ok(numbers)
    }

    #[test]
    fn chains_share_no_descriptor() -> Result {
        let mut places = Places::new(8)?;

        assert_eq!(&*add(&mut places, 3, token(1))?, &[0, 1, 2]);
        assert_eq!(&*add(&mut places, 1, token(2))?, &[3]);
        assert_eq!(&*add(&mut places, 4, token(3))?, &[4, 5, 6, 7]);
        assert_eq!(places.free(), 0);
        Ok(())
    }

    #[test]
    fn what_does_not_fit_changes_nothing() -> Result {
        let mut places = Places::new(4)?;
        add(&mut places, 2, token(1))?;

        assert!(add(&mut places, 3, token(2)) == Err(ENOSPC));
        assert_eq!(places.free(), 2);
        assert_eq!(&*add(&mut places, 2, token(2))?, &[2, 3]);
        Ok(())
    }

    #[test]
    fn a_chain_leaves_what_it_should() -> Result {
        let places = Places::new(4)?;
        for (floor, room) in [(0, 4), (1, 3), (3, 1), (4, 0), (u16::MAX, 0)] {
            let mut chain = places.grow(floor);
            let mut count = 0;
            while places.extend(&mut chain).is_ok() {
                count += 1;
            }
            assert_eq!(count, room);
        }
        Ok(())
    }

    #[test]
    fn descriptors_come_back_in_any_order() -> Result {
        let mut places = Places::new(8)?;
        add(&mut places, 3, token(1))?;
        add(&mut places, 2, token(2))?;
        add(&mut places, 3, token(3))?;

        assert_eq!(places.take(3), Ok((token(2), 2)));
        assert_eq!(places.take(0), Ok((token(1), 3)));
        assert_eq!(places.free(), 5);
        assert_eq!(&*add(&mut places, 5, token(4))?, &[0, 1, 2, 3, 4]);
        assert_eq!(places.take(5), Ok((token(3), 3)));
        assert_eq!(places.take(0), Ok((token(4), 5)));
        assert_eq!(places.free(), 8);
        Ok(())
    }

    #[test]
    fn only_heads_can_be_used_and_once() -> Result {
        let mut places = Places::new(4)?;
        add(&mut places, 2, token(1))?;

        assert_eq!(places.check(0), Ok(0));
        assert_eq!(places.check(1), Err(NotUsed::NotAHead));
        assert_eq!(places.check(2), Err(NotUsed::NotAHead));
        assert_eq!(places.check(4), Err(NotUsed::OutOfRange));
        assert_eq!(places.check(0x1_0000), Err(NotUsed::OutOfRange));
        assert_eq!(places.take(0), Ok((token(1), 2)));
        assert_eq!(places.check(0), Err(NotUsed::NotAHead));
        assert_eq!(places.take(0), Err(NotUsed::NotAHead));
        Ok(())
    }

    #[test]
    fn the_device_knows_what_it_was_told() -> Result {
        let mut places = Places::new(4)?;
        add(&mut places, 1, token(1))?;
        assert!(places.is_untold(0));
        places.tell();
        add(&mut places, 1, token(2))?;

        assert!(!places.is_untold(0));
        assert!(places.is_untold(1));

        // Both stay there for a long time.
        let mut untold = 0;
        for _ in 0..0x2_0000u32 {
            places.tell();
            untold += u32::from(places.is_untold(0)) + u32::from(places.is_untold(1));
        }
        assert_eq!(untold, 0);
        add(&mut places, 1, token(3))?;
        assert!(places.is_untold(2));
        assert!(!places.is_untold(4));
        assert!(!places.is_untold(0x1_0001));
        Ok(())
    }

    #[test]
    fn heads_are_found_in_turn() -> Result {
        let mut places = Places::new(8)?;
        add(&mut places, 3, token(1))?;
        add(&mut places, 2, token(2))?;

        assert_eq!(places.first_head(), Some(0));
        assert_eq!(places.take(0), Ok((token(1), 3)));
        assert_eq!(places.first_head(), Some(3));
        assert_eq!(places.take(3), Ok((token(2), 2)));
        assert_eq!(places.first_head(), None);
        Ok(())
    }
}
