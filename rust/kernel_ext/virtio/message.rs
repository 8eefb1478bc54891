// SPDX-License-Identifier: GPL-2.0

//! Buffers of any length.

use super::buffer::{
    Buffer,
    Parts,
    Span, //
};
use core::ptr::NonNull;
use kernel::prelude::*;

/// The most bytes that either half has.
const LONGEST: usize = 1 << 20;

struct Halves {
    readable: KVec<u8>,
    writable: KVec<u8>,
}

/// A boxed buffer of bytes that the device reads, and bytes that it writes: for commands, whose
/// lengths are not known before they are made.
pub struct Message(KBox<Halves>);

impl Message {
    /// Makes a buffer. One half may be empty.
    ///
    /// # Errors
    ///
    /// `EINVAL` if both are, or one has more than 1 MiB.
    pub fn new(
        readable: KVec<u8>,
        writable: KVec<u8>,
        flags: kernel::alloc::Flags,
    ) -> Result<Self> {
        let longest = readable.len().max(writable.len());
        if longest == 0 || longest > LONGEST {
            return Err(EINVAL);
        }
        Ok(Self(KBox::new(Halves { readable, writable }, flags)?))
    }

    /// Returns what the device reads.
    pub fn readable(&self) -> &[u8] {
        &self.0.readable
    }

    /// Returns what the device writes. Any part of it may be what it was before.
    pub fn writable(&self) -> &[u8] {
        &self.0.writable
    }
}

/// Returns where some bytes are, of which there are not too many.
fn span(bytes: &mut KVec<u8>) -> Span {
    Span {
        start: bytes.as_mut_ptr().cast(),
        length: u32::try_from(bytes.len()).unwrap_or(0),
    }
}

// SAFETY:
// - `into_token` returns the pointer of a box.
// - The parts are allocated by `kmalloc`, and live as long as the box. Only the owner of the box
//   accesses them, and nobody has it.
unsafe impl Buffer for Message {
    fn into_token(self) -> NonNull<c_void> {
        NonNull::from(KBox::leak(self.0)).cast()
    }

    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked.
        Self(unsafe { KBox::from_raw(token.as_ptr().cast()) })
    }

    unsafe fn parts(token: NonNull<c_void>) -> Parts {
        // SAFETY: By the safety requirements, this is the pointer of a box that was leaked, and
        // nobody else has it.
        let halves = unsafe { token.cast::<Halves>().as_mut() };
        let readable = span(&mut halves.readable);
        let writable = span(&mut halves.writable);
        match (readable.length, writable.length) {
            (_, 0) => Parts::Readable(readable),
            (0, _) => Parts::Writable(writable),
            _ => Parts::Both(readable, writable),
        }
    }

    fn writable_len(&self) -> u32 {
        u32::try_from(self.0.writable.len()).unwrap_or(0)
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_message)]
mod tests {
    use super::*;

    #[test]
    fn a_half_may_be_empty() -> Result {
        let token = Message::new(kernel::kvec![1, 2, 3]?, KVec::new(), GFP_KERNEL)?.into_token();

        // SAFETY: The token was just made.
        let parts = unsafe { Message::parts(token) };
        assert!(matches!(parts, Parts::Readable(Span { length: 3, .. })));

        // SAFETY: The token was made above, and is not used below.
        let message = unsafe { Message::from_token(token) };
        assert_eq!(message.readable(), [1, 2, 3]);
        assert_eq!(message.writable_len(), 0);
        Ok(())
    }

    #[test]
    fn lengths_are_limited() -> Result {
        assert!(Message::new(KVec::new(), KVec::new(), GFP_KERNEL).is_err());
        let long = KVec::from_elem(0, LONGEST + 1, GFP_KERNEL)?;
        assert!(Message::new(long, KVec::new(), GFP_KERNEL).is_err());
        Ok(())
    }
}
