// SPDX-License-Identifier: GPL-2.0

//! Memory for received frames.
//!
//! A *pool* has pages, which it hands out in *pieces*. When the last piece of a page has come back,
//! from a driver or from the network stack, the page is used again.

use crate::bindings;
use core::{
    arch::asm,
    marker::PhantomData,
    mem::ManuallyDrop,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    error::from_err_ptr,
    page::PAGE_SIZE,
    prelude::*, //
};

/// The largest piece, as a power of two of pages.
const MAX_ORDER: u32 = 5;

/// What pieces are aligned to, in start and size: no cache line belongs to two of them.
const ALIGNMENT: u32 = 64;

/// What a pool is to be.
#[derive(Clone, Copy, Debug)]
pub struct PagePoolOptions {
    pages: u32,
    order: u32,
    node: c_int,
}

impl PagePoolOptions {
    /// A pool that keeps up to `pages` pages that are not in use, beside some more.
    pub const fn new(pages: u32) -> Self {
        Self {
            pages,
            order: 0,
            node: bindings::NUMA_NO_NODE,
        }
    }

    /// Lets each page be 2^`order` pages, so that pieces can be as large.
    pub const fn order(mut self, order: u32) -> Self {
        self.order = order;
        self
    }

    /// Prefers the memory of a node.
    pub const fn node(mut self, node: i32) -> Self {
        self.node = node;
        self
    }
}

/// A user of a pool: while there is one, the memory of the pool stays mapped.
///
/// # Invariants
///
/// - `pool` is valid, and this is one of its users.
/// - `device` is null, or the device for which the memory is mapped; this has a reference to it.
pub(crate) struct PoolUser<'bound> {
    pool: NonNull<bindings::page_pool>,
    device: *mut bindings::device,
    _device: PhantomData<&'bound ()>,
}

// SAFETY: A pool may be used and destroyed by any thread.
unsafe impl Send for PoolUser<'_> {}

// SAFETY: What takes `&self` only reads, or counts atomically.
unsafe impl Sync for PoolUser<'_> {}

impl PoolUser<'_> {
    /// Tells whether a piece is one of this pool.
    #[inline]
    pub(crate) fn owns(&self, frag: &Frag) -> bool {
        frag.pool == self.pool
    }

    /// Tells whether this is a user of the same pool.
    #[inline]
    pub(crate) fn is(&self, other: &PoolUser<'_>) -> bool {
        self.pool == other.pool
    }

    /// Returns the device for which the memory is mapped, or null.
    #[inline]
    pub(crate) fn device(&self) -> *mut bindings::device {
        self.device
    }

    /// Lets this see what the device has written to the first bytes of a piece of this pool.
    pub(crate) fn sync(&self, piece: &Piece, length: u32) {
        if self.device.is_null() || !self.owns(&piece.frag) {
            return;
        }
        let (page, offset) = piece.place();
        let length = length.min(piece.length);
        // SAFETY: By the type invariant, the pool is valid, and has a user, so its pages are mapped.
        // The piece is one of them, and the range is within it.
        unsafe {
            bindings::page_pool_sync_for_cpu(self.pool.as_ptr(), page.as_ptr(), offset, length);
        }
    }
}

impl Clone for PoolUser<'_> {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant, the pool is valid.
        unsafe { bindings::page_pool_get(self.pool.as_ptr()) };
        if !self.device.is_null() {
            // SAFETY: By the type invariant, the device is valid.
            unsafe { bindings::get_device(self.device) };
        }
        // INVARIANT: Both were just counted.
        Self {
            pool: self.pool,
            device: self.device,
            _device: PhantomData,
        }
    }
}

impl Drop for PoolUser<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this is a user. If it is the last one, the memory is unmapped;
        // the pool itself lives until all of it has come back, and does not need the device for that.
        unsafe { bindings::page_pool_destroy(self.pool.as_ptr()) };
        if !self.device.is_null() {
            // SAFETY: By the type invariant, this has a reference.
            unsafe { bindings::put_device(self.device) };
        }
    }
}

/// A pool.
///
/// If it was made for a device, the device can write to all of its memory, at an address that is
/// known: [`Virtqueue::page_pool`](crate::virtio::Virtqueue::page_pool).
///
/// # Context
///
/// It is made and dropped in process context.
///
/// # Invariants
///
/// Only this, by `&mut self`, takes memory from the pool.
#[doc(alias = "page_pool")]
pub struct PagePool<'bound> {
    user: PoolUser<'bound>,
    size: u32,
}

impl<'bound> PagePool<'bound> {
    /// Makes a pool whose memory no device knows.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    #[doc(alias = "page_pool_create")]
    pub fn new(options: PagePoolOptions) -> Result<Self> {
        // SAFETY: There is no device.
        unsafe { Self::for_device(options, ptr::null_mut()) }
    }

    /// Makes a pool whose memory is mapped for a device to write, unless `device` is null.
    ///
    /// # Safety
    ///
    /// `device` must be null, or valid for `'bound`, and able to use the DMA API.
    pub(crate) unsafe fn for_device(
        options: PagePoolOptions,
        device: *mut bindings::device,
    ) -> Result<Self> {
        if options.order > MAX_ORDER {
            return Err(EINVAL);
        }
        let size = u32::try_from(PAGE_SIZE << options.order)?;
        // SAFETY: By the safety requirements, the device is null or valid.
        let pool = from_err_ptr(unsafe {
            bindings::page_pool_create(options.order, options.pages, options.node, device)
        })?;
        let pool = NonNull::new(pool).ok_or(ENOMEM)?;
        if !device.is_null() {
            // SAFETY: By the safety requirements, the device is valid.
            unsafe { bindings::get_device(device) };
        }
        // INVARIANT: The pool was just made, with one user; the device was just counted.
        let user = PoolUser {
            pool,
            device,
            _device: PhantomData,
        };
        Ok(Self { user, size })
    }

    /// Takes a piece of `size` bytes, or somewhat more. If there is no more room behind it, it has
    /// what is left of the page.
    ///
    /// Cost: one call of a C helper.
    ///
    /// # Context
    ///
    /// Any but that of an interrupt.
    #[doc(alias = "page_pool_alloc")]
    #[inline]
    pub fn alloc(&mut self, size: u32) -> Option<Frag> {
        if size == 0 || size > self.size {
            return None;
        }
        let pool = self.user.pool;
        let mut size = size.next_multiple_of(ALIGNMENT);
        let mut page = ptr::null_mut();
        let mut offset = 0;
        // SAFETY: By the type invariants, the pool is valid, and nobody else takes memory meanwhile.
        // It has pages of at least this size.
        let start = unsafe {
            bindings::page_pool_alloc(
                pool.as_ptr(),
                bindings::GFP_ATOMIC | bindings::__GFP_NOWARN,
                &mut page,
                &mut offset,
                &mut size,
            )
        };
        // INVARIANT: The pool has just given this up.
        Some(Frag {
            start: NonNull::new(start.cast())?,
            page: NonNull::new(page)?,
            pool,
            offset,
            capacity: size,
        })
    }

    /// Takes a piece back. This is cheaper than dropping it.
    ///
    /// # Context
    ///
    /// Any but that of an interrupt.
    #[doc(alias = "page_pool_recycle_direct")]
    pub fn recycle(&mut self, frag: Frag) {
        if !self.user.owns(&frag) {
            return;
        }
        let frag = ManuallyDrop::new(frag);
        // SAFETY: By the type invariants, the piece is one of this pool, from which nobody else takes
        // memory meanwhile. It is not used any more.
        unsafe { bindings::page_pool_put(frag.pool.as_ptr(), frag.page.as_ptr(), true) };
    }

    /// Returns how large a piece can be.
    pub fn max_size(&self) -> u32 {
        self.size
    }

    /// Returns how many pages the pool has, wherever they are.
    pub fn pages(&self) -> u32 {
        // SAFETY: By the type invariant, the pool is valid.
        unsafe { bindings::page_pool_held(self.user.pool.as_ptr()) }
    }

    /// Returns what keeps the pool.
    pub(crate) fn user(&self) -> &PoolUser<'bound> {
        &self.user
    }
}

/// A piece of a pool's memory. It comes back to the pool when it is dropped.
///
/// A device may write to it at any time, whether it should or not: it is only copied.
///
/// # Invariants
///
/// `page` is one of `pool`, and `start`, `offset` behind its own start, is that of `capacity` bytes in
/// it that belong to this, with a reference. They are in the linear map.
#[doc(alias = "page_pool_alloc_frag")]
pub struct Frag {
    start: NonNull<u8>,
    page: NonNull<bindings::page>,
    pool: NonNull<bindings::page_pool>,
    offset: u32,
    capacity: u32,
}

// SAFETY: A piece may be used and given back by any thread.
unsafe impl Send for Frag {}

// SAFETY: What takes `&self` only reads.
unsafe impl Sync for Frag {}

impl Frag {
    /// Returns how many bytes it has.
    #[inline]
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Copies what is in it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it has not so much.
    #[inline]
    pub fn read(&self, offset: u32, target: &mut [u8]) -> Result {
        let length = u32::try_from(target.len())?;
        let start = self.range(offset, length).ok_or(EINVAL)?;
        // SAFETY: By the type invariant, the range is valid for reads; `target` is as long, and
        // something else. A device may write meanwhile, which is none of the compiler's business:
        // what is copied is any bytes.
        unsafe { ptr::copy_nonoverlapping(start, target.as_mut_ptr(), target.len()) };
        let copy = target.as_mut_ptr();
        // The compiler may not look at the memory again, instead of at the copy.
        //
        // SAFETY: This does nothing.
        unsafe { asm!("/* {0} */", in(reg) copy, options(nostack, preserves_flags)) };
        Ok(())
    }

    /// Writes to it, as a device does.
    #[cfg(kernel_ext_kunit)]
    pub(crate) fn write(&mut self, offset: u32, source: &[u8]) -> Result {
        let length = u32::try_from(source.len())?;
        let start = self.range(offset, length).ok_or(EINVAL)?;
        // SAFETY: By the type invariant, the range is valid for writes, and nobody else's; `source`
        // is as long, and something else.
        unsafe { ptr::copy_nonoverlapping(source.as_ptr(), start.cast_mut(), source.len()) };
        Ok(())
    }

    /// Returns where a range begins, if it is one.
    #[inline]
    pub(super) fn range(&self, offset: u32, length: u32) -> Option<*const u8> {
        let end = offset.checked_add(length)?;
        if end > self.capacity {
            return None;
        }
        // CAST: This only widens.
        Some(self.start.as_ptr().wrapping_add(offset as usize))
    }

    /// Returns the start.
    #[inline]
    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Returns the page, and where in it this begins.
    #[inline]
    pub(super) fn place(&self) -> (NonNull<bindings::page>, u32) {
        (self.page, self.offset)
    }
}

impl Drop for Frag {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the page is one of the pool, which lives until all of its
        // pages have come back; the reference is given up.
        unsafe { bindings::page_pool_put(self.pool.as_ptr(), self.page.as_ptr(), false) };
    }
}

/// The part of a [`Frag`] that a device is to write.
///
/// # Invariants
///
/// `length` bytes behind `offset` are within `frag`, and there is at least one.
pub struct Piece {
    frag: Frag,
    offset: u32,
    length: u32,
}

impl Piece {
    /// Takes `length` bytes behind `offset`.
    ///
    /// # Errors
    ///
    /// The piece, if it has not so much, or if there is nothing to write.
    #[inline]
    pub fn new(frag: Frag, offset: u32, length: u32) -> Result<Self, Frag> {
        if length == 0 || frag.range(offset, length).is_none() {
            return Err(frag);
        }
        // INVARIANT: It was just checked.
        Ok(Self {
            frag,
            offset,
            length,
        })
    }

    /// Returns where the device begins to write.
    #[inline]
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Returns how much it may write.
    #[inline]
    pub fn length(&self) -> u32 {
        self.length
    }

    /// Returns the whole.
    #[inline]
    pub fn frag(&self) -> &Frag {
        &self.frag
    }

    /// Returns the whole.
    #[inline]
    pub fn into_frag(self) -> Frag {
        self.frag
    }

    /// Copies what the device has written.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it may not write so much.
    #[inline]
    pub fn read(&self, offset: u32, target: &mut [u8]) -> Result {
        let length = u32::try_from(target.len())?;
        if offset.checked_add(length).ok_or(EINVAL)? > self.length {
            return Err(EINVAL);
        }
        self.frag.read(self.offset + offset, target)
    }

    /// Returns the page, and where in it the device begins to write.
    #[inline]
    pub(crate) fn place(&self) -> (NonNull<bindings::page>, u32) {
        let (page, offset) = self.frag.place();
        (page, offset + self.offset)
    }

    /// Returns where the device begins to write, in the linear map.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        // CAST: This only widens.
        //
        // SAFETY: By the type invariant, this is within the memory.
        unsafe { self.frag.start.add(self.offset as usize) }
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_net_page_pool)]
mod tests {
    use super::*;

    const PAGE: u32 = 4096;

    fn pool() -> Result<PagePool<'static>> {
        PagePool::new(PagePoolOptions::new(256))
    }

    #[test]
    fn pieces_of_a_page_lie_apart() -> Result {
        let mut pool = pool()?;
        let mut first = pool.alloc(100).ok_or(ENOMEM)?;
        let mut second = pool.alloc(100).ok_or(ENOMEM)?;
        let mut target = [0; 128];

        assert_eq!(first.capacity(), 128);
        let distance = second.start().addr().get() - first.start().addr().get();
        assert_eq!(distance, 128);
        first.write(0, &[1; 128])?;
        second.write(0, &[2; 128])?;
        first.read(0, &mut target)?;
        assert_eq!(target, [1; 128]);
        second.read(0, &mut target)?;
        assert_eq!(target, [2; 128]);
        Ok(())
    }

    #[test]
    fn the_last_piece_of_a_page_has_the_rest() -> Result {
        let mut pool = pool()?;
        let first = pool.alloc(1600).ok_or(ENOMEM)?;
        let second = pool.alloc(1600).ok_or(ENOMEM)?;

        assert_eq!(first.capacity(), 1600);
        assert_eq!(second.capacity(), PAGE - 1600);
        Ok(())
    }

    #[test]
    fn what_cannot_be_is_refused() -> Result {
        let mut pool = pool()?;

        assert!(pool.alloc(0).is_none());
        assert!(pool.alloc(PAGE + 1).is_none());
        assert!(pool.alloc(u32::MAX).is_none());
        assert_eq!(pool.max_size(), PAGE);
        assert!(PagePool::new(PagePoolOptions::new(1).order(MAX_ORDER + 1)).is_err());
        let whole = pool.alloc(PAGE).ok_or(ENOMEM)?;
        assert_eq!(whole.capacity(), PAGE);
        assert!(whole.read(PAGE, &mut [0]).is_err());
        assert!(whole.read(PAGE - 1, &mut [0; 2]).is_err());
        assert!(whole.read(u32::MAX, &mut [0; 2]).is_err());
        assert!(whole.read(PAGE - 1, &mut [0]).is_ok());
        Ok(())
    }

    #[test]
    fn a_larger_page_has_larger_pieces() -> Result {
        let mut pool = PagePool::new(PagePoolOptions::new(16).order(2))?;
        let mut piece = pool.alloc(4 * PAGE).ok_or(ENOMEM)?;

        assert_eq!(piece.capacity(), 4 * PAGE);
        piece.write(4 * PAGE - 1, &[1])?;
        Ok(())
    }

    #[test]
    fn pieces_come_back() -> Result {
        let mut pool = pool()?;
        drop(pool.alloc(PAGE));
        let pages = pool.pages();

        for _ in 0..1000 {
            let piece = pool.alloc(1500).ok_or(ENOMEM)?;
            let other = pool.alloc(1500).ok_or(ENOMEM)?;
            drop((piece, other));
        }

        assert!(pages > 0);
        assert_eq!(pool.pages(), pages);
        Ok(())
    }

    #[test]
    fn a_recycled_piece_is_the_next() -> Result {
        let mut pool = pool()?;
        let piece = pool.alloc(PAGE).ok_or(ENOMEM)?;
        let start = piece.start();
        pool.recycle(piece);
        assert_eq!(pool.alloc(PAGE).ok_or(ENOMEM)?.start(), start);
        Ok(())
    }

    #[test]
    fn a_piece_goes_back_to_its_own_pool() -> Result {
        let mut pool = pool()?;
        let mut other = self::pool()?;
        let piece = pool.alloc(PAGE).ok_or(ENOMEM)?;
        let start = piece.start();
        let pages = pool.pages();

        other.recycle(piece);

        assert!(other.alloc(PAGE).ok_or(ENOMEM)?.start() != start);
        assert_eq!(pool.pages(), pages);
        Ok(())
    }

    #[test]
    fn a_piece_outlives_its_pool() -> Result {
        let mut pool = pool()?;
        let mut piece = pool.alloc(PAGE).ok_or(ENOMEM)?;
        drop(pool);
        piece.write(0, &[1])?;
        Ok(())
    }

    #[test]
    fn a_device_writes_to_a_part() -> Result {
        let mut pool = pool()?;
        let mut frag = pool.alloc(256).ok_or(ENOMEM)?;
        let start = frag.start().addr().get();
        frag.write(0, &[1; 64])?;
        frag.write(64, &[2; 100])?;

        for (offset, length) in [(0, 0), (256, 1), (0, 257), (u32::MAX, 1), (1, u32::MAX)] {
            frag = match Piece::new(frag, offset, length) {
                Ok(_) => return Err(EINVAL),
                Err(frag) => frag,
            };
        }
        let piece = Piece::new(frag, 64, 100).map_err(|_| EINVAL)?;

        assert_eq!(piece.start().addr().get(), start + 64);
        assert_eq!((piece.offset(), piece.length()), (64, 100));
        let mut target = [0; 100];
        piece.read(0, &mut target)?;
        assert_eq!(target, [2; 100]);
        assert!(piece.read(1, &mut target).is_err());
        assert!(piece.read(u32::MAX, &mut target).is_err());
        Ok(())
    }
}
