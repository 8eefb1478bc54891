// SPDX-License-Identifier: GPL-2.0

//! Memory of page pools, as buffers of queues.
//!
//! A *slot* is made once for each place in a ring. It is *filled* with pieces of a pool's memory, and
//! is a buffer then; when the device has written to them, they are *taken* out of it.

use super::{
    buffer::{
        Buffer,
        Parts,
        Reach,
        Span,
        LISTS, //
    },
    outcome::Used,
    Virtqueue, //
};
use crate::{
    bindings,
    net::{
        PagePool,
        PagePoolOptions,
        Piece,
        PoolUser, //
    },
};
use core::{
    mem,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// # Invariants
///
/// The pieces are of the pool of `user`; the first `count` are there. If there is more than one, or if
/// the pool is mapped, `entries` describe them, and end there.
struct Place<'bound, const N: usize> {
    user: PoolUser<'bound>,
    /// How many bytes the device may write.
    room: u32,
    count: u32,
    pieces: [Option<Piece>; N],
    entries: [Opaque<bindings::scatterlist>; N],
}

// SAFETY: The entries point to the memory of the pieces.
unsafe impl<const N: usize> Send for Place<'_, N> {}

/// A slot for up to `N` pieces.
///
/// # Context
///
/// The last one of a pool that is gone is dropped in process context.
pub struct RxSlot<'bound, const N: usize>(KBox<Place<'bound, N>>);

impl<'bound, const N: usize> RxSlot<'bound, N> {
    /// The number of pieces: checked when the type is used.
    const SIZE: u32 = {
        assert!(
            N > 0 && N <= 64,
            "there must be some pieces, and not too many"
        );
        #[expect(clippy::cast_possible_truncation, reason = "it is asserted to fit")]
        let size = N as u32;
        size
    };

    /// Makes a slot for pieces of a pool.
    pub fn new(pool: &PagePool<'bound>, flags: kernel::alloc::Flags) -> Result<Self> {
        let mut place = KBox::new(
            Place {
                user: pool.user().clone(),
                room: 0,
                count: 0,
                pieces: [const { None }; N],
                entries: [const { Opaque::uninit() }; N],
            },
            flags,
        )?;
        let entries = place.entries.as_mut_ptr().cast();
        // SAFETY: There are so many entries.
        unsafe { bindings::sg_init_table(entries, Self::SIZE) };
        Ok(Self(place))
    }

    /// Tells whether the slot is one for pieces of this pool.
    #[inline]
    pub fn is_of(&self, pool: &PagePool<'_>) -> bool {
        self.0.user.is(pool.user())
    }

    /// Fills the slot with one piece.
    ///
    /// # Errors
    ///
    /// Both, if the piece is of another pool.
    #[inline]
    pub fn fill(mut self, piece: Piece) -> Result<RxBuffer<'bound, N>, (Self, Piece)> {
        match self.push(piece) {
            Ok(()) => Ok(self.finish()),
            Err(piece) => Err((self, piece)),
        }
    }

    /// Fills the slot with pieces, up to `N`.
    ///
    /// # Errors
    ///
    /// The slot, if there is no piece, if there are too many, or one of another pool. The pieces are
    /// dropped.
    pub fn fill_all(
        mut self,
        pieces: impl IntoIterator<Item = Piece>,
    ) -> Result<RxBuffer<'bound, N>, Self> {
        for piece in pieces {
            if self.push(piece).is_err() {
                drop(self.0.clear());
                return Err(self);
            }
        }
        if self.0.count == 0 {
            return Err(self);
        }
        Ok(self.finish())
    }

    #[inline]
    fn push(&mut self, piece: Piece) -> Result<(), Piece> {
        let this = &mut *self.0;
        let Ok(index) = usize::try_from(this.count) else {
            return Err(piece);
        };
        let (Some(place), Some(room)) = (
            this.pieces.get_mut(index),
            this.room.checked_add(piece.length()),
        ) else {
            return Err(piece);
        };
        if !this.user.owns(piece.frag()) {
            return Err(piece);
        }
        let is_mapped = !this.user.device().is_null();
        if N > 1 || is_mapped {
            let entries = this.entries.as_mut_ptr().cast::<bindings::scatterlist>();
            // There is a place for each entry, so this is one.
            let entry = entries.wrapping_add(index);
            let (page, offset) = piece.place();
            // SAFETY: The entry is initialized. The page is one of the pool, which is mapped if it has a
            // device, and the range is within it.
            unsafe {
                bindings::sg_set_pool_page(entry, page.as_ptr(), offset, piece.length(), is_mapped);
            }
        }
        *place = Some(piece);
        this.room = room;
        this.count += 1;
        Ok(())
    }

    /// Ends the list.
    #[inline]
    fn finish(mut self) -> RxBuffer<'bound, N> {
        let this = &mut *self.0;
        if N > 1 && this.count > 0 {
            let entry = this.entries.as_mut_ptr().cast();
            // SAFETY: There are so many entries.
            unsafe { bindings::sg_set_end(entry, Self::SIZE, this.count) };
        }
        RxBuffer(self.0)
    }
}

impl<const N: usize> Place<'_, N> {
    /// Takes the pieces out.
    #[inline]
    fn clear(&mut self) -> Pieces<N> {
        self.count = 0;
        self.room = 0;
        Pieces {
            pieces: mem::replace(&mut self.pieces, [const { None }; N]),
            next: 0,
        }
    }
}

/// A slot with pieces that a device may write to.
pub struct RxBuffer<'bound, const N: usize>(KBox<Place<'bound, N>>);

impl<'bound, const N: usize> RxBuffer<'bound, N> {
    /// Takes the pieces out, although no device has written to them.
    #[inline]
    pub fn cancel(mut self) -> (RxSlot<'bound, N>, Pieces<N>) {
        let pieces = self.0.clear();
        (RxSlot(self.0), pieces)
    }
}

impl<'bound, const N: usize> Used<RxBuffer<'bound, N>> {
    /// Takes the pieces out, and how many bytes the device has written to them.
    ///
    /// The device was told to write to one after the other. If it lies, any part of them may be what
    /// it was before.
    ///
    /// Cost: one call of a C helper for each piece that was written, if the memory is mapped.
    #[inline]
    pub fn take(self) -> (RxSlot<'bound, N>, Pieces<N>, u32) {
        let place = self.buffer.0;
        if !place.user.device().is_null() {
            let mut left = self.written;
            for piece in place.pieces.iter().flatten() {
                let length = left.min(piece.length());
                if length == 0 {
                    break;
                }
                place.user.sync(piece, length);
                left -= length;
            }
        }
        let (slot, pieces) = RxBuffer(place).cancel();
        (slot, pieces, self.written)
    }
}

/// Pieces that are taken out of a slot, in their order.
pub struct Pieces<const N: usize> {
    pieces: [Option<Piece>; N],
    next: usize,
}

impl<const N: usize> Iterator for Pieces<N> {
    type Item = Piece;

    #[inline]
    fn next(&mut self) -> Option<Piece> {
        let piece = self.pieces.get_mut(self.next)?.take()?;
        self.next += 1;
        Some(piece)
    }
}

// SAFETY:
// - `into_token` returns the pointer of a box.
// - The pieces are memory that belongs to the box, and is mapped, if it is, as long as that has a user
//   of the pool. Nobody else has it.
unsafe impl<const N: usize> Buffer for RxBuffer<'_, N> {
    #[inline]
    fn into_token(self) -> NonNull<c_void> {
        NonNull::from(KBox::leak(self.0)).cast()
    }

    #[inline]
    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked.
        Self(unsafe { KBox::from_raw(token.as_ptr().cast()) })
    }

    #[inline]
    unsafe fn parts(token: NonNull<c_void>) -> Parts {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked, and was
        // not given back.
        let place = unsafe { token.cast::<Place<'_, N>>().as_mut() };
        let entries = place.entries.as_mut_ptr().cast();
        if !place.user.device().is_null() {
            return Parts::Mapped(entries, place.count);
        }
        match place.pieces.as_slice() {
            [Some(piece)] => Parts::Writable(Span {
                start: piece.start().as_ptr().cast(),
                length: place.room,
            }),
            _ => {
                let mut lists = [ptr::null_mut(); LISTS];
                let [first, ..] = &mut lists;
                *first = entries;
                Parts::Lists {
                    lists,
                    readable: 0,
                    writable: 1,
                }
            }
        }
    }

    #[inline]
    fn writable_len(&self) -> u32 {
        self.0.room
    }

    #[inline]
    fn suits(&self, reach: Reach) -> bool {
        self.0.user.device() == reach.device
    }
}

impl<'bound, const N: usize> Virtqueue<'bound, RxBuffer<'bound, N>> {
    /// Makes a pool for the buffers of this queue: its memory is mapped for the device, if that needs
    /// to be.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "virtqueue_dma_dev")]
    pub fn page_pool(&self, options: PagePoolOptions) -> Result<PagePool<'bound>> {
        // SAFETY: The device that uses the queue for `'bound` is as valid, and uses the DMA API.
        unsafe { PagePool::for_device(options, self.reach().device) }
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_receive)]
mod tests {
    use super::*;

    fn pool() -> Result<PagePool<'static>> {
        PagePool::new(PagePoolOptions::new(256))
    }

    fn piece(pool: &mut PagePool<'_>, value: u8, length: u32) -> Result<Piece> {
        let mut frag = pool.alloc(2048).ok_or(ENOMEM)?;
        frag.write(64, &[value; 8])?;
        Piece::new(frag, 64, length).map_err(|_| EINVAL)
    }

    fn first_byte(piece: &Piece) -> Result<u8> {
        let mut byte = [0];
        piece.read(0, &mut byte)?;
        Ok(byte[0])
    }

    #[test]
    fn one_piece_is_one_span() -> Result {
        let mut pool = pool()?;
        let slot = RxSlot::<'_, 1>::new(&pool, GFP_KERNEL)?;
        let piece = piece(&mut pool, 1, 1000)?;
        let start = piece.start().as_ptr();

        let buffer = slot.fill(piece).map_err(|_| EINVAL)?;

        // What is behind the piece is not the device's.
        assert_eq!(buffer.writable_len(), 1000);
        let token = buffer.into_token();
        // SAFETY: The token was just made.
        let parts = unsafe { RxBuffer::<'_, 1>::parts(token) };
        // SAFETY: The token is not used below.
        drop(unsafe { RxBuffer::<'_, 1>::from_token(token) });
        let Parts::Writable(span) = parts else {
            return Err(EINVAL);
        };
        assert_eq!((span.start.cast(), span.length), (start, 1000));
        Ok(())
    }

    #[test]
    fn several_pieces_are_a_list_that_ends() -> Result {
        let mut pool = pool()?;
        let mut slot = RxSlot::<'_, 4>::new(&pool, GFP_KERNEL)?;

        for count in [3, 4, 1, 2] {
            let mut pieces = KVec::new();
            for value in 0..count {
                pieces.push(piece(&mut pool, value, 100 + u32::from(value))?, GFP_KERNEL)?;
            }
            let buffer = slot.fill_all(pieces).map_err(|_| EINVAL)?;
            let room = buffer.writable_len();
            let token = buffer.into_token();
            // SAFETY: The token was just made.
            let parts = unsafe { RxBuffer::<'_, 4>::parts(token) };
            let Parts::Lists {
                lists: [first, ..],
                readable: 0,
                writable: 1,
            } = parts
            else {
                return Err(EINVAL);
            };
            let mut sum = 0;
            let mut entries = 0;
            let mut entry = first;
            while !entry.is_null() {
                entries += 1;
                // SAFETY: This is an entry of a list.
                sum += unsafe { (*entry).length };
                // SAFETY: As above.
                entry = unsafe { bindings::sg_next(entry) };
            }
            assert_eq!((entries, sum), (count, room));

            // SAFETY: The token is not used below.
            let buffer = unsafe { RxBuffer::<'_, 4>::from_token(token) };
            let mut values = 0;
            let (empty, pieces) = buffer.cancel();
            for piece in pieces {
                assert_eq!(first_byte(&piece)?, values);
                values += 1;
            }
            assert_eq!(values, count);
            slot = empty;
        }
        Ok(())
    }

    #[test]
    fn what_is_used_is_taken_out() -> Result {
        let mut pool = pool()?;
        let mut slot = RxSlot::<'_, 1>::new(&pool, GFP_KERNEL)?;
        drop(piece(&mut pool, 0, 1)?);
        let pages = pool.pages();

        for value in 0..200 {
            let buffer = slot
                .fill(piece(&mut pool, value, 100)?)
                .map_err(|_| EINVAL)?;
            let (empty, mut pieces, written) = Used {
                buffer,
                written: 60,
            }
            .take();
            assert_eq!(written, 60);
            let piece = pieces.next().ok_or(EINVAL)?;
            assert_eq!(first_byte(&piece)?, value);
            assert!(pieces.next().is_none());
            slot = empty;
        }

        assert_eq!(pool.pages(), pages);
        Ok(())
    }

    #[test]
    fn a_slot_takes_pieces_of_its_pool() -> Result {
        let mut pool = pool()?;
        let mut other = self::pool()?;
        let slot = RxSlot::<'_, 2>::new(&pool, GFP_KERNEL)?;

        assert!(slot.is_of(&pool) && !slot.is_of(&other));
        let Err((slot, _)) = slot.fill(piece(&mut other, 1, 10)?) else {
            return Err(EINVAL);
        };
        let Err(slot) = slot.fill_all([piece(&mut pool, 1, 10)?, piece(&mut other, 1, 10)?]) else {
            return Err(EINVAL);
        };
        let Err(slot) = slot.fill_all([]) else {
            return Err(EINVAL);
        };
        let three = [
            piece(&mut pool, 1, 10)?,
            piece(&mut pool, 1, 10)?,
            piece(&mut pool, 1, 10)?,
        ];
        let Err(slot) = slot.fill_all(three) else {
            return Err(EINVAL);
        };
        let buffer = slot.fill(piece(&mut pool, 1, 10)?).map_err(|_| EINVAL)?;
        assert_eq!(buffer.writable_len(), 10);
        Ok(())
    }

    #[test]
    fn a_slot_outlives_its_pool() -> Result {
        let mut pool = pool()?;
        let slot = RxSlot::<'_, 1>::new(&pool, GFP_KERNEL)?;
        let piece = piece(&mut pool, 3, 10)?;

        drop(pool);

        let buffer = slot.fill(piece).map_err(|_| EINVAL)?;
        let (slot, pieces) = buffer.cancel();
        for piece in pieces {
            assert_eq!(first_byte(&piece)?, 3);
        }
        drop(slot);
        Ok(())
    }
}
