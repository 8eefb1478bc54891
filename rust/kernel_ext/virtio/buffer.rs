// SPDX-License-Identifier: GPL-2.0

//! What can be in a queue.

use crate::{
    bindings,
    net::ScatterTable, //
};
use core::{
    mem::size_of,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
};

/// A piece of memory in the kernel's linear map.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub(crate) start: *mut c_void,
    pub(crate) length: u32,
}

/// How many scatter lists a buffer can have.
pub(crate) const LISTS: usize = 4;

/// Where a buffer's memory is, for the queue.
#[derive(Clone, Copy, Debug)]
pub enum Parts {
    /// The device reads it.
    Readable(Span),
    /// The device writes it.
    Writable(Span),
    /// The device reads the first piece, and writes the second one.
    Both(Span, Span),
    /// The device reads so many entries of a table, which does not end there.
    ReadableTable(*mut bindings::scatterlist, u32),
    /// The device writes it; it is mapped, and the scatter list ends after so many entries.
    Mapped(*mut bindings::scatterlist, u32),
    /// Scatter lists that end, of which the device reads the first `readable`, and writes the
    /// next `writable`.
    Lists {
        /// The lists.
        lists: [*mut bindings::scatterlist; LISTS],
        /// How many the device reads.
        readable: u32,
        /// How many the device writes.
        writable: u32,
    },
    /// It is in so many places that a table is needed to say where: see [`Listed`].
    Scattered,
}

/// How a queue's device reaches memory.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// The queue.
    pub(crate) vq: NonNull<bindings::virtqueue>,
    /// The device that memory is mapped for, unless it is null.
    pub(crate) device: *mut bindings::device,
}

/// An object that a queue can own, and that has memory for the device.
///
/// # Safety
///
/// - The pointer that [`Buffer::into_token`] returns is not null, and unique among those that were
///   not given back by [`Buffer::from_token`].
/// - What [`Buffer::parts`] describes is valid memory until [`Buffer::from_token`] is called, and
///   nobody else accesses it until then, in a way that matters. A span lies in the kernel's linear
///   map; there are at most `LISTS` lists, and at least one.
pub unsafe trait Buffer: Send + Sized {
    /// Gives the object up, for a pointer that stands for it.
    fn into_token(self) -> NonNull<c_void>;

    /// Gets the object back.
    ///
    /// # Safety
    ///
    /// `token` must come from [`Buffer::into_token`], and must not be used afterwards.
    unsafe fn from_token(token: NonNull<c_void>) -> Self;

    /// Describes the memory of an object that was given up.
    ///
    /// # Safety
    ///
    /// `token` must come from [`Buffer::into_token`], and not have been given back.
    unsafe fn parts(token: NonNull<c_void>) -> Parts;

    /// Returns how many bytes the device may write.
    fn writable_len(&self) -> u32;

    /// Tells whether the memory is where a queue's device reaches it. It may be mapped for another
    /// one.
    #[inline]
    fn suits(&self, _reach: Reach) -> bool {
        true
    }
}

/// A [`Buffer`] whose memory may be in so many places that a table is needed to say where.
///
/// # Safety
///
/// As for [`Buffer::parts`], what [`Listed::list`] describes is valid memory until
/// [`Buffer::from_token`] is called; but the table is not.
pub unsafe trait Listed: Buffer {
    /// Describes the memory of an object that was given up, after [`Buffer::parts`] has said that a
    /// table is needed.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if the table is too small.
    ///
    /// # Safety
    ///
    /// `token` must come from [`Buffer::into_token`], and not have been given back. The result must
    /// not be used after the table is used again.
    unsafe fn list(token: NonNull<c_void>, table: &mut ScatterTable) -> Result<Parts>;
}

/// On its own cache lines, so that the device's writes hit nothing else.
#[repr(C, align(64))]
pub(super) struct Apart<I>(pub(super) I);

/// Returns the size of a type, as the queue takes it; evaluated by the compiler, which refuses one
/// that is too large for an allocation.
#[expect(clippy::cast_possible_truncation, reason = "it is asserted to fit")]
pub(super) const fn length_of<T>() -> u32 {
    assert!(size_of::<T>() <= 1 << 20, "too large for one allocation");
    size_of::<T>() as u32
}

#[repr(C)]
struct Memory<O, I> {
    readable: O,
    writable: Apart<I>,
}

/// A boxed buffer of what the device reads, `O`, and what it writes, `I`; one of them may be `()`.
///
/// # Examples
///
/// ```ignore
/// let request = Exchange::new(header, [0u8; 512], GFP_KERNEL)?;
/// ```
pub struct Exchange<O, I>(KBox<Memory<O, I>>);

impl<O: AsBytes, I: FromBytes> Exchange<O, I> {
    /// The sizes: checked when the type is used.
    const READABLE: u32 = length_of::<O>();
    /// As above.
    const WRITABLE: u32 = {
        assert!(
            size_of::<O>() + size_of::<I>() > 0,
            "there must be something to exchange"
        );
        length_of::<I>()
    };

    /// Makes a buffer.
    pub fn new(readable: O, writable: I, flags: kernel::alloc::Flags) -> Result<Self> {
        Ok(Self(KBox::new(
            Memory {
                readable,
                writable: Apart(writable),
            },
            flags,
        )?))
    }

    /// Returns what the device reads.
    pub fn readable(&mut self) -> &mut O {
        &mut self.0.readable
    }

    /// Returns what the device writes. Any part of it may be what it was before.
    pub fn writable(&mut self) -> &mut I {
        &mut self.0.writable.0
    }
}

// SAFETY:
// - `into_token` returns the pointer of a box.
// - The parts lie in the box, which is allocated by `kmalloc`. Only the owner of the box accesses
//   them, and nobody has it.
unsafe impl<O: AsBytes + Send, I: FromBytes + Send> Buffer for Exchange<O, I> {
    fn into_token(self) -> NonNull<c_void> {
        NonNull::from(KBox::leak(self.0)).cast()
    }

    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked.
        Self(unsafe { KBox::from_raw(token.as_ptr().cast()) })
    }

    unsafe fn parts(token: NonNull<c_void>) -> Parts {
        let memory = token.as_ptr().cast::<Memory<O, I>>();

        // SAFETY: By the safety requirements, `memory` is valid.
        let readable = unsafe { &raw mut (*memory).readable };
        // SAFETY: As above.
        let writable = unsafe { &raw mut (*memory).writable };
        let readable = Span {
            start: readable.cast(),
            length: Self::READABLE,
        };
        let writable = Span {
            start: writable.cast(),
            length: Self::WRITABLE,
        };
        match (Self::READABLE, Self::WRITABLE) {
            (_, 0) => Parts::Readable(readable),
            (0, _) => Parts::Writable(writable),
            _ => Parts::Both(readable, writable),
        }
    }

    fn writable_len(&self) -> u32 {
        Self::WRITABLE
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_buffer)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_apart_in_the_object() -> Result {
        let token = Exchange::new([1u8; 3], [2u8; 5], GFP_KERNEL)?.into_token();

        // SAFETY: The token was just made.
        let parts = unsafe { <Exchange<[u8; 3], [u8; 5]>>::parts(token) };
        let Parts::Both(readable, writable) = parts else {
            return Err(EINVAL);
        };
        assert_eq!(readable.length, 3);
        assert_eq!(writable.length, 5);
        assert_eq!(readable.start, token.as_ptr());
        assert_eq!(writable.start.addr() - readable.start.addr(), 64);

        // SAFETY: The token was made above, and is not used below.
        let mut buffer = unsafe { <Exchange<[u8; 3], [u8; 5]>>::from_token(token) };
        assert_eq!(*buffer.readable(), [1; 3]);
        assert_eq!(*buffer.writable(), [2; 5]);
        assert_eq!(buffer.writable_len(), 5);
        Ok(())
    }

    #[test]
    fn a_part_may_be_missing() -> Result {
        let token = Exchange::new((), [0u8; 5], GFP_KERNEL)?.into_token();

        // SAFETY: The token was just made.
        let parts = unsafe { <Exchange<(), [u8; 5]>>::parts(token) };
        let Parts::Writable(writable) = parts else {
            return Err(EINVAL);
        };
        assert_eq!(writable.length, 5);

        // SAFETY: The token was made above, and is not used below.
        drop(unsafe { <Exchange<(), [u8; 5]>>::from_token(token) });
        Ok(())
    }
}
