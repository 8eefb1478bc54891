// SPDX-License-Identifier: GPL-2.0

//! How received frames become socket buffers.

use super::{
    page_pool::Frag,
    skb::SkBuff, //
};
use crate::bindings;
use core::{
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// What the parts of a socket buffer are aligned to.
#[doc(alias = "SMP_CACHE_BYTES")]
const ALIGNMENT: u32 = 64;

/// How many bytes have to be left behind the data, for the network stack.
#[expect(clippy::cast_possible_truncation, reason = "it is small")]
pub const SHARED_INFO: u32 =
    (size_of::<bindings::skb_shared_info>() as u32).next_multiple_of(ALIGNMENT);

impl SkBuff {
    /// Makes a frame of a piece of memory, without copying: `len` bytes behind `headroom`.
    ///
    /// # Errors
    ///
    /// The piece, if it has less than [`SHARED_INFO`] bytes behind that, or if there is no memory.
    ///
    /// # Context
    ///
    /// Any but that of an interrupt. It is cheapest in softirq context.
    #[doc(alias = "napi_build_skb")]
    #[inline]
    pub fn build(frag: Frag, headroom: u32, len: u32) -> Result<Self, Frag> {
        let used = headroom
            .checked_add(len)
            .and_then(|used| used.checked_next_multiple_of(ALIGNMENT))
            .and_then(|used| used.checked_add(SHARED_INFO));
        if used.is_none_or(|used| used > frag.capacity()) {
            return Err(frag);
        }
        let start = frag.start().as_ptr().cast();
        // SAFETY: By the type invariant of `Frag`, the memory is valid, and nobody else's; it was just
        // checked that it has room. If this succeeds, the reference goes to the socket buffer.
        let skb = unsafe { bindings::build_skb(start, frag.capacity(), headroom, len) };
        let Some(skb) = NonNull::new(skb) else {
            return Err(frag);
        };
        let _ = ManuallyDrop::new(frag);
        // SAFETY: It was just made.
        Ok(unsafe { Self::from_raw(skb) })
    }

    /// Adds a part of a piece of memory to the data, without copying.
    ///
    /// # Errors
    ///
    /// The piece, if it has not so much, or if there is no place for it: see [`Chain`].
    #[doc(alias = "skb_add_rx_frag")]
    pub fn add_frag(&mut self, frag: Frag, offset: u32, len: u32) -> Result<(), Frag> {
        if len == 0 || frag.range(offset, len).is_none() || self.len().checked_add(len).is_none() {
            return Err(frag);
        }
        let (page, start) = frag.place();
        // SAFETY: By the type invariant, this is valid, and nobody else has it; by that of `Frag`, the
        // memory is valid, and it was just checked that the range is within it. If this succeeds, the
        // reference goes to the socket buffer.
        let added = unsafe {
            bindings::skb_add_piece(
                self.as_ptr(),
                page.as_ptr(),
                start + offset,
                len,
                frag.capacity(),
            )
        };
        if !added {
            return Err(frag);
        }
        let _ = ManuallyDrop::new(frag);
        Ok(())
    }

    /// Adds the data of another frame behind that of this one.
    ///
    /// # Errors
    ///
    /// The other frame, if this one's data is not its alone, or if the other one's is in a head that
    /// is not of pages, or in more socket buffers.
    pub fn add_tail(&mut self, tail: Self) -> Result<(), Self> {
        // SAFETY: By the type invariant, both are valid, and nobody else has them. If this succeeds,
        // the reference goes to this one.
        if unsafe { bindings::skb_add_tail(self.as_ptr(), tail.as_ptr()) } {
            let _ = tail.into_raw();
            Ok(())
        } else {
            Err(tail)
        }
    }

    /// Writes right before the data, and tells whether that could be done: there is room, the place
    /// is even, and nobody else has the headers.
    #[inline]
    pub(crate) fn write_before(&mut self, header: &[u8]) -> bool {
        let Ok(length) = u32::try_from(header.len()) else {
            return false;
        };
        // SAFETY: By the type invariant, this is valid, and nobody else has it; so is the header.
        unsafe { bindings::skb_write_before(self.as_ptr(), header.as_ptr().cast(), length) }
    }

    /// Copies a part of a piece of memory to the end of the head.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the piece has not so much, `ENOSPC` if there is no room.
    pub fn append_from(&mut self, frag: &Frag, offset: u32, len: u32) -> Result {
        let from = frag.range(offset, len).ok_or(EINVAL)?;
        // SAFETY: By the type invariant of `Frag`, this range is valid for reads.
        unsafe { self.append_raw(from, len) }
    }

    /// Copies `data` to the end of the head.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there is no room.
    #[doc(alias = "skb_put_data")]
    pub fn append(&mut self, data: &[u8]) -> Result {
        // SAFETY: The slice is valid for reads.
        unsafe { self.append_raw(data.as_ptr(), u32::try_from(data.len())?) }
    }

    /// Copies all the data of another frame to the end of the head.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there is no room, `EFAULT` if only a device can read the other frame.
    #[doc(alias = "skb_copy_bits")]
    pub fn append_frame(&mut self, other: &Self) -> Result {
        // SAFETY: By the type invariant, both are valid, and nobody else has this one.
        to_result(unsafe { bindings::skb_append_skb(self.as_ptr(), other.as_ptr()) })
    }

    /// # Safety
    ///
    /// `len` bytes must be valid for reads at `from`.
    unsafe fn append_raw(&mut self, from: *const u8, len: u32) -> Result {
        // SAFETY: By the type invariant, this is valid, and nobody else has it; by the safety
        // requirements, so are the bytes.
        if unsafe { bindings::skb_append(self.as_ptr(), from.cast(), len) } {
            Ok(())
        } else {
            Err(ENOSPC)
        }
    }
}

/// A frame that is put together from more pieces than a socket buffer has places for.
pub struct Chain {
    head: SkBuff,
    tail: Option<SkBuff>,
}

impl Chain {
    /// Begins with what there is.
    #[inline]
    pub fn new(head: SkBuff) -> Self {
        Self { head, tail: None }
    }

    /// Adds a part of a piece of memory, without copying.
    ///
    /// # Errors
    ///
    /// The piece, if it has not so much, or if there is no memory for another socket buffer.
    pub fn add_frag(&mut self, frag: Frag, offset: u32, len: u32) -> Result<(), Frag> {
        let last = self.tail.as_mut().unwrap_or(&mut self.head);
        let Err(frag) = last.add_frag(frag, offset, len) else {
            return Ok(());
        };
        if let Some(tail) = self.tail.take() {
            if self.head.add_tail(tail).is_err() {
                return Err(frag);
            }
        }
        let Some(mut tail) = SkBuff::new(0) else {
            return Err(frag);
        };
        tail.add_frag(frag, offset, len)?;
        self.tail = Some(tail);
        Ok(())
    }

    /// Returns the length so far.
    pub fn len(&self) -> u32 {
        let tail = self.tail.as_ref().map_or(0, SkBuff::len);
        self.head.len().saturating_add(tail)
    }

    /// Tells whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends.
    ///
    /// # Errors
    ///
    /// `EINVAL` if somebody else has the data of the first socket buffer.
    #[inline]
    pub fn finish(mut self) -> Result<SkBuff> {
        if let Some(tail) = self.tail {
            self.head.add_tail(tail).map_err(|_| EINVAL)?;
        }
        Ok(self.head)
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_net_build)]
mod tests {
    use super::*;
    use crate::net::{
        PagePool,
        PagePoolOptions, //
    };

    const PAGE: u32 = 4096;

    fn pool() -> Result<PagePool<'static>> {
        PagePool::new(PagePoolOptions::new(256))
    }

    /// Returns a piece with `value` in it, and what a frame is made of that is `len` bytes.
    fn built(pool: &mut PagePool<'_>, headroom: u32, value: u8, len: u32) -> Result<SkBuff> {
        let mut frag = pool.alloc(2048).ok_or(ENOMEM)?;
        let data = KVec::from_elem(value, usize::try_from(len)?, GFP_KERNEL)?;
        frag.write(headroom, &data)?;
        SkBuff::build(frag, headroom, len).map_err(|_| EINVAL)
    }

    fn page(pool: &mut PagePool<'_>, value: u8) -> Result<Frag> {
        let mut frag = pool.alloc(PAGE).ok_or(ENOMEM)?;
        frag.write(0, &[value; 128])?;
        Ok(frag)
    }

    #[test]
    fn a_frame_is_built_in_place() -> Result {
        let mut pool = pool()?;
        let skb = built(&mut pool, 66, 7, 100)?;
        let mut data = [0; 100];

        assert_eq!((skb.len(), skb.head_len(), skb.headroom()), (100, 100, 66));
        assert!(skb.is_linear() && !skb.is_header_cloned() && !skb.has_frag_list());
        skb.copy_bits(0, &mut data)?;
        assert_eq!(data, [7; 100]);
        assert!(skb.copy_bits(1, &mut data).is_err());
        assert!(skb.copy_bits(u32::MAX, &mut data).is_err());
        Ok(())
    }

    #[test]
    fn room_is_left_behind_a_frame() -> Result {
        let mut pool = pool()?;
        let most = 2048 - SHARED_INFO;

        for (headroom, len) in [(0, most + 1), (64, most - 63), (u32::MAX, 1), (1, u32::MAX)] {
            let frag = pool.alloc(2048).ok_or(ENOMEM)?;
            let Err(frag) = SkBuff::build(frag, headroom, len) else {
                return Err(EINVAL);
            };
            assert_eq!(frag.capacity(), 2048);
        }
        let frag = pool.alloc(2048).ok_or(ENOMEM)?;
        assert!(SkBuff::build(frag, 64, most - 64).is_ok());
        Ok(())
    }

    #[test]
    fn the_memory_of_frames_comes_back() -> Result {
        let mut pool = pool()?;
        drop(built(&mut pool, 64, 0, 100)?);
        drop(page(&mut pool, 0)?);
        let pages = pool.pages();

        for round in 0..300 {
            let mut skb = built(&mut pool, 64, 0, 100)?;
            let mut chain = Chain::new(built(&mut pool, 64, 0, 100)?);
            for _ in 0..20 {
                chain
                    .add_frag(page(&mut pool, 0)?, 0, PAGE)
                    .map_err(|_| EINVAL)?;
            }
            let chain = chain.finish()?;
            skb.add_frag(page(&mut pool, 0)?, 0, 10)
                .map_err(|_| EINVAL)?;
            match round % 2 {
                0 => skb.consume(),
                _ => drop(skb),
            }
            chain.drop_for(crate::net::Reason::NoMemory);
        }

        assert_eq!(pool.pages(), pages);
        Ok(())
    }

    #[test]
    fn pages_are_added() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 50)?;
        let mut data = [0; 70];

        skb.add_frag(page(&mut pool, 2)?, 10, 20)
            .map_err(|_| EINVAL)?;

        assert_eq!((skb.len(), skb.head_len(), skb.frag_count()), (70, 50, 1));
        assert!(!skb.is_linear());
        skb.copy_bits(0, &mut data)?;
        assert_eq!(data[..50], [1; 50]);
        assert_eq!(data[50..], [2; 20]);

        skb.linearize()?;
        assert_eq!((skb.head_len(), skb.frag_count()), (70, 0));
        Ok(())
    }

    #[test]
    fn a_part_that_is_not_there_is_not_added() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 50)?;

        for (offset, len) in [(0, 0), (0, PAGE + 1), (PAGE, 1), (u32::MAX, 2)] {
            assert!(skb.add_frag(page(&mut pool, 0)?, offset, len).is_err());
        }

        assert_eq!((skb.len(), skb.frag_count()), (50, 0));
        Ok(())
    }

    #[test]
    fn a_socket_buffer_has_few_places() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 50)?;

        for _ in 0..bindings::MAX_SKB_FRAGS {
            skb.add_frag(page(&mut pool, 0)?, 0, 1)
                .map_err(|_| EINVAL)?;
        }

        assert!(skb.add_frag(page(&mut pool, 0)?, 0, 1).is_err());
        assert_eq!(u32::from(skb.frag_count()), bindings::MAX_SKB_FRAGS);
        assert_eq!(skb.len(), 50 + bindings::MAX_SKB_FRAGS);
        Ok(())
    }

    #[test]
    fn what_follows_in_the_same_page_needs_no_place() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 100)?;
        let whole = pool.alloc(PAGE).ok_or(ENOMEM)?;
        let first = pool.alloc(1024).ok_or(ENOMEM)?;
        let second = pool.alloc(1024).ok_or(ENOMEM)?;
        assert_eq!(first.place().0, second.place().0);
        let pages = pool.pages();

        skb.add_frag(first, 0, 1024).map_err(|_| EINVAL)?;
        skb.add_frag(second, 0, 1000).map_err(|_| EINVAL)?;

        assert_eq!((skb.frag_count(), skb.len()), (1, 100 + 2024));
        drop(skb);
        drop(whole);
        for _ in 0..300 {
            drop(pool.alloc(PAGE).ok_or(ENOMEM)?);
        }
        assert_eq!(pool.pages(), pages);
        Ok(())
    }

    #[test]
    fn a_chain_goes_on_in_other_socket_buffers() -> Result {
        let mut pool = pool()?;
        let mut chain = Chain::new(built(&mut pool, 64, 0, 10)?);

        for value in 1..=40 {
            chain
                .add_frag(page(&mut pool, value)?, 0, 100)
                .map_err(|_| EINVAL)?;
        }
        assert_eq!(chain.len(), 10 + 4000);
        assert!(chain.add_frag(page(&mut pool, 0)?, PAGE, 1).is_err());
        let mut skb = chain.finish()?;

        assert!(skb.has_frag_list());
        assert_eq!((skb.len(), skb.head_len()), (4010, 10));
        for value in 1..=40 {
            let mut data = [0; 100];
            skb.copy_bits(10 + (u32::from(value) - 1) * 100, &mut data)?;
            assert_eq!(data, [value; 100]);
        }
        // Nothing can come between.
        assert!(skb.add_frag(page(&mut pool, 0)?, 0, 1).is_err());
        skb.linearize()?;
        assert_eq!((skb.head_len(), skb.has_frag_list()), (4010, false));
        Ok(())
    }

    #[test]
    fn a_tail_is_of_pages() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 50)?;
        let mut copied = SkBuff::new(64).ok_or(ENOMEM)?;
        copied.append(&[3; 64])?;

        let mut copied = match skb.add_tail(copied) {
            Ok(()) => return Err(EINVAL),
            Err(copied) => copied,
        };
        skb.add_tail(built(&mut pool, 64, 2, 30)?)
            .map_err(|_| EINVAL)?;
        assert!(copied.add_tail(skb).is_err());

        assert_eq!(copied.len(), 64);
        Ok(())
    }

    #[test]
    fn a_shared_frame_is_left_alone() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 50)?;
        // SAFETY: The socket buffer is valid; this makes another one with the same data.
        let clone = unsafe { bindings::skb_clone(skb.as_ptr(), bindings::GFP_KERNEL) };
        // SAFETY: It was just made.
        let clone = unsafe { SkBuff::from_raw(NonNull::new(clone).ok_or(ENOMEM)?) };

        assert!(skb.is_header_cloned());
        assert!(!skb.write_before(&[0; 12]));
        assert!(skb.add_frag(page(&mut pool, 0)?, 0, 1).is_err());
        assert!(skb.add_tail(built(&mut pool, 64, 2, 30)?).is_err());
        assert!(skb.append(&[0]).is_err());

        drop(clone);
        assert!(skb.write_before(&[0; 12]));
        skb.add_frag(page(&mut pool, 0)?, 0, 1)
            .map_err(|_| EINVAL)?;
        Ok(())
    }

    #[test]
    fn data_is_copied_to_a_new_frame() -> Result {
        let mut pool = pool()?;
        let mut skb = SkBuff::new(128).ok_or(ENOMEM)?;
        let frag = page(&mut pool, 5)?;
        let mut data = [0; 40];

        assert!(skb.is_empty());
        skb.append_from(&frag, 100, 28)?;
        skb.append(&[6; 12])?;

        skb.copy_bits(0, &mut data)?;
        assert_eq!(data[..28], [5; 28]);
        assert_eq!(data[28..], [6; 12]);
        assert_eq!(skb.append_from(&frag, PAGE, 1), Err(EINVAL));
        assert_eq!(skb.append_from(&frag, 0, PAGE), Err(ENOSPC));
        assert_eq!(skb.len(), 40);
        assert!(SkBuff::new(u32::MAX).is_none());
        Ok(())
    }

    #[test]
    fn a_frame_is_copied_wherever_it_is() -> Result {
        let mut pool = pool()?;
        let mut skb = built(&mut pool, 64, 1, 50)?;
        skb.add_frag(page(&mut pool, 2)?, 10, 20)
            .map_err(|_| EINVAL)?;
        let long = built(&mut pool, 64, 3, 1500)?;
        let mut copy = SkBuff::new(72).ok_or(ENOMEM)?;
        let mut data = [0; 72];

        copy.append(&[4; 2])?;
        copy.append_frame(&skb)?;
        assert_eq!(copy.append_frame(&long), Err(ENOSPC));

        assert_eq!((copy.len(), copy.is_linear()), (72, true));
        copy.copy_bits(0, &mut data)?;
        assert_eq!(data[..2], [4; 2]);
        assert_eq!(data[2..52], [1; 50]);
        assert_eq!(data[52..], [2; 20]);
        Ok(())
    }
}
