// SPDX-License-Identifier: GPL-2.0

//! Frames to send, as buffers of queues.

use super::{
    buffer::{
        Buffer,
        Listed,
        Parts,
        Span, //
    },
    outcome::Used, //
};
use crate::net::{
    ScatterTable,
    SkBuff,
    CONTROL, //
};
use core::{
    mem::{
        size_of,
        ManuallyDrop, //
    },
    ptr::NonNull, //
};
use kernel::prelude::*;

/// Where the header of a frame may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HeaderPlace {
    /// Right before the data, if there is room: the device takes both in one piece.
    Inline,
    /// In a place of its own.
    Apart,
}

/// How many of a socket buffer's own bytes are left alone: a queueing discipline has counted the frame
/// there, and looks again if it is not sent.
const COUNTED: usize = 20;

/// The longest header.
const LONGEST: usize = 24;

/// What is kept in a socket buffer.
#[repr(C)]
#[derive(Clone, Copy)]
struct Control {
    counted: [u8; COUNTED],
    /// The header, unless it is right before the data.
    header: [u8; LONGEST],
    /// How long it is.
    length: u8,
    /// Not zero if it is right before the data.
    is_inline: u8,
    rest: [u8; 2],
}

const _: () = assert!(
    size_of::<Control>() == CONTROL,
    "these are all of the bytes"
);

/// A frame to send, with the header that the device wants before it.
///
/// Nothing is allocated for it: the header is right before the data, or in bytes of the socket buffer
/// that are the driver's.
///
/// # Invariants
///
/// The socket buffer's own bytes are a `Control`. If it says so, its header is right before the data.
pub struct TxFrame(SkBuff);

impl TxFrame {
    /// Puts a header before a frame.
    ///
    /// Cost: one call of a C helper, if the place is [`HeaderPlace::Inline`].
    ///
    /// # Errors
    ///
    /// The frame, if the header is empty or longer than 24 bytes.
    #[inline]
    pub fn new(mut skb: SkBuff, header: &[u8], place: HeaderPlace) -> Result<Self, SkBuff> {
        let length = match u8::try_from(header.len()) {
            Ok(length) if (1..=LONGEST).contains(&header.len()) => length,
            _ => return Err(skb),
        };
        let is_inline = place == HeaderPlace::Inline && skb.write_before(header);
        let control = control_of(&mut skb);
        control.length = length;
        control.is_inline = u8::from(is_inline);
        if !is_inline {
            if let Some(place) = control.header.get_mut(..header.len()) {
                place.copy_from_slice(header);
            }
        }
        // INVARIANT: It was just written.
        Ok(Self(skb))
    }

    /// Returns the length of the frame, without the header.
    #[inline]
    pub fn len(&self) -> u32 {
        self.0.len()
    }

    /// Tells whether there is nothing but the header.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes note of the time, right before the frame is added to a queue: see
    /// [`SkBuff::timestamp_tx`].
    ///
    /// If that is done before there is a header, somebody else may have the data then, and the header
    /// has to be apart.
    pub fn timestamp_tx(&mut self) {
        self.0.timestamp_tx();
    }

    /// Gives the frame back.
    #[inline]
    pub fn into_skb(self) -> SkBuff {
        self.0
    }

    /// Returns where the header is, and how long it is.
    #[inline]
    fn header(&mut self) -> (NonNull<u8>, u32) {
        let data = self.0.data();
        let control = control_of(&mut self.0);
        let length = control.length;
        let start = if control.is_inline != 0 {
            // By the type invariant, there is room for it.
            NonNull::new(data.wrapping_sub(usize::from(length)))
        } else {
            None
        };
        let start = start.unwrap_or(NonNull::from(&mut control.header).cast());
        (start, u32::from(length))
    }
}

#[inline]
fn control_of(skb: &mut SkBuff) -> &mut Control {
    let control: *mut Control = skb.control().as_mut_ptr().cast();
    // SAFETY: It has this size, any alignment will do, and so will any bytes.
    unsafe { &mut *control }
}

impl Used<TxFrame> {
    /// Returns the frame.
    pub fn into_skb(self) -> SkBuff {
        self.buffer.into_skb()
    }
}

// SAFETY:
// - `into_token` returns the pointer of a socket buffer that only its owner has.
// - The header and the data are valid until the socket buffer is freed, and are in the linear map.
//   Others may read the data; nobody writes it.
unsafe impl Buffer for TxFrame {
    #[inline]
    fn into_token(self) -> NonNull<c_void> {
        self.0.into_raw().cast()
    }

    #[inline]
    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the safety requirements, this is the pointer of a socket buffer that was given up.
        Self(unsafe { SkBuff::from_raw(token.cast()) })
    }

    #[inline]
    unsafe fn parts(token: NonNull<c_void>) -> Parts {
        // SAFETY: By the safety requirements, this is the pointer of a frame that was given up; it stays
        // given up.
        let mut frame = ManuallyDrop::new(unsafe { Self::from_token(token) });
        let is_inline = control_of(&mut frame.0).is_inline != 0;
        let (start, length) = frame.header();
        if !is_inline || !frame.0.is_linear() {
            return Parts::Scattered;
        }
        match length.checked_add(frame.len()) {
            Some(length) => Parts::Readable(Span {
                start: start.as_ptr().cast(),
                length,
            }),
            None => Parts::Scattered,
        }
    }

    fn writable_len(&self) -> u32 {
        0
    }
}

// SAFETY: As above. The table is made by `ScatterTable::list`.
unsafe impl Listed for TxFrame {
    unsafe fn list(token: NonNull<c_void>, table: &mut ScatterTable) -> Result<Parts> {
        // SAFETY: By the safety requirements, this is the pointer of a frame that was given up; it stays
        // given up.
        let mut frame = ManuallyDrop::new(unsafe { Self::from_token(token) });
        let (start, length) = frame.header();
        // SAFETY: The header is in the head of the socket buffer, or in itself; both are in the linear
        // map. By the safety requirements, the table is not used when the frame is given back.
        let count = unsafe { table.list(start, length, &frame.0) }?;
        Ok(Parts::ReadableTable(table.first(), count))
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_frame)]
mod tests {
    use super::*;
    use crate::{
        bindings,
        net::{
            Chain,
            PagePool,
            PagePoolOptions, //
        },
    };

    const HEADER: [u8; 12] = [9; 12];
    /// More than any frame here is in.
    const ENTRIES: usize = 32;

    fn pool() -> Result<PagePool<'static>> {
        PagePool::new(PagePoolOptions::new(256))
    }

    fn frame(pool: &mut PagePool<'_>, headroom: u32) -> Result<SkBuff> {
        let mut frag = pool.alloc(2048).ok_or(ENOMEM)?;
        frag.write(headroom, &[1; 100])?;
        SkBuff::build(frag, headroom, 100).map_err(|_| EINVAL)
    }

    /// What a device sees of a frame.
    struct Seen {
        parts: usize,
        data: KVec<u8>,
    }

    /// Gives a frame up, looks where it is, and takes it back.
    fn look(frame: TxFrame) -> Result<(TxFrame, Result<Seen>)> {
        let mut table = ScatterTable::new(GFP_KERNEL)?;
        let token = frame.into_token();
        // SAFETY: The token was just made.
        let seen = unsafe { see(token, &mut table) };
        // SAFETY: The token is not used below.
        Ok((unsafe { TxFrame::from_token(token) }, seen))
    }

    /// # Safety
    ///
    /// As for [`Listed::list`].
    unsafe fn see(token: NonNull<c_void>, table: &mut ScatterTable) -> Result<Seen> {
        let mut seen = Seen {
            parts: 0,
            data: KVec::new(),
        };
        // SAFETY: By the safety requirements.
        let mut parts = unsafe { TxFrame::parts(token) };
        if let Parts::Scattered = parts {
            // SAFETY: As above.
            parts = unsafe { TxFrame::list(token, table) }?;
        }
        match parts {
            Parts::Readable(span) => {
                seen.parts = 1;
                let length = usize::try_from(span.length)?;
                // SAFETY: The span is valid memory.
                let data = unsafe { core::slice::from_raw_parts(span.start.cast(), length) };
                seen.data.extend_from_slice(data, GFP_KERNEL)?;
            }
            Parts::ReadableTable(table, count) => {
                seen.parts = usize::try_from(count)?;
                seen.data.resize(8192, 0, GFP_KERNEL)?;
                // SAFETY: The table has so many entries, of valid memory, and the target is larger.
                let length = unsafe {
                    bindings::sg_copy_to_buffer(table, count, seen.data.as_mut_ptr().cast(), 8192)
                };
                seen.data.truncate(length);
            }
            _ => return Err(EINVAL),
        }
        assert!(seen.parts < ENTRIES);
        Ok(seen)
    }

    fn assert_seen(frame: TxFrame, parts: usize, rest: &[u8]) -> Result {
        let (frame, seen) = look(frame)?;
        let seen = seen?;
        assert_eq!(seen.parts, parts);
        assert_eq!(seen.data.get(..12), Some(HEADER.as_slice()));
        assert_eq!(seen.data.get(12..112), Some([1; 100].as_slice()));
        assert_eq!(seen.data.get(112..), Some(rest));
        assert_eq!(frame.writable_len(), 0);

        let skb = frame.into_skb();
        let mut data = [0; 100];
        skb.copy_bits(0, &mut data)?;
        assert_eq!(data, [1; 100]);
        Ok(())
    }

    fn with_header(skb: SkBuff, place: HeaderPlace) -> Result<TxFrame> {
        TxFrame::new(skb, &HEADER, place).map_err(|_| EINVAL)
    }

    #[test]
    fn a_header_is_right_before_the_data() -> Result {
        let mut pool = pool()?;
        let skb = frame(&mut pool, 64)?;

        assert_seen(with_header(skb, HeaderPlace::Inline)?, 1, &[])
    }

    #[test]
    fn a_header_is_apart_if_the_device_wants_that() -> Result {
        let mut pool = pool()?;
        let skb = frame(&mut pool, 64)?;

        assert_seen(with_header(skb, HeaderPlace::Apart)?, 2, &[])
    }

    #[test]
    fn a_header_is_apart_if_there_is_no_room() -> Result {
        let mut pool = pool()?;

        for headroom in [0, 10, 65] {
            let skb = frame(&mut pool, headroom)?;
            assert_seen(with_header(skb, HeaderPlace::Inline)?, 2, &[])?;
        }
        Ok(())
    }

    #[test]
    fn a_header_is_apart_if_others_have_the_data() -> Result {
        let mut pool = pool()?;
        let skb = frame(&mut pool, 64)?;
        // SAFETY: The socket buffer is valid; this makes another one with the same data.
        let clone = unsafe { bindings::skb_clone(skb.as_ptr(), bindings::GFP_KERNEL) };
        // SAFETY: It was just made.
        let clone = unsafe { SkBuff::from_raw(NonNull::new(clone).ok_or(ENOMEM)?) };

        assert_seen(with_header(skb, HeaderPlace::Inline)?, 2, &[])?;
        assert_seen(with_header(clone, HeaderPlace::Inline)?, 1, &[])
    }

    #[test]
    fn pages_are_listed() -> Result {
        let mut pool = pool()?;
        for (place, parts) in [(HeaderPlace::Inline, 4), (HeaderPlace::Apart, 5)] {
            let mut skb = frame(&mut pool, 64)?;
            for value in 2..5 {
                let mut page = pool.alloc(4096).ok_or(ENOMEM)?;
                page.write(10, &[value; 3])?;
                skb.add_frag(page, 10, 3).map_err(|_| EINVAL)?;
            }
            let rest = [2, 2, 2, 3, 3, 3, 4, 4, 4];
            assert_seen(with_header(skb, place)?, parts, &rest)?;
        }
        Ok(())
    }

    #[test]
    fn other_socket_buffers_are_listed() -> Result {
        let mut pool = pool()?;
        let mut skb = frame(&mut pool, 64)?;
        let mut page = pool.alloc(4096).ok_or(ENOMEM)?;
        page.write(0, &[2; 5])?;
        skb.add_frag(page, 0, 5).map_err(|_| EINVAL)?;
        let mut tail = frame(&mut pool, 64)?;
        let mut page = pool.alloc(4096).ok_or(ENOMEM)?;
        page.write(0, &[3; 5])?;
        tail.add_frag(page, 0, 5).map_err(|_| EINVAL)?;
        skb.add_tail(tail).map_err(|_| EINVAL)?;

        let mut rest = [1; 110];
        rest[..5].copy_from_slice(&[2; 5]);
        rest[105..].copy_from_slice(&[3; 5]);
        assert_seen(with_header(skb, HeaderPlace::Inline)?, 4, &rest)
    }

    #[test]
    fn too_many_pages_are_refused() -> Result {
        let mut pool = pool()?;
        // With the first one, and the header, 19 entries; and one more.
        for (count, parts) in [(17, Some(19)), (18, None)] {
            let mut chain = Chain::new(frame(&mut pool, 64)?);
            for _ in 0..count {
                let mut page = pool.alloc(4096).ok_or(ENOMEM)?;
                page.write(0, &[2])?;
                chain.add_frag(page, 0, 1).map_err(|_| EINVAL)?;
            }
            let frame = with_header(chain.finish()?, HeaderPlace::Apart)?;

            let (frame, seen) = look(frame)?;

            assert_eq!(seen.as_ref().ok().map(|seen| seen.parts), parts);
            assert_eq!(seen.err(), parts.is_none().then_some(EMSGSIZE));
            let mut skb = frame.into_skb();
            assert_eq!(skb.len(), 100 + count);
            skb.linearize()?;
            let (_, seen) = look(with_header(skb, HeaderPlace::Apart)?)?;
            assert_eq!(seen?.parts, 2);
        }
        Ok(())
    }

    #[test]
    fn a_table_is_used_again() -> Result {
        let mut pool = pool()?;
        let mut table = ScatterTable::new(GFP_KERNEL)?;
        for count in [17, 0, 3, 17] {
            let mut skb = frame(&mut pool, 64)?;
            for _ in 0..count {
                let page = pool.alloc(4096).ok_or(ENOMEM)?;
                skb.add_frag(page, 0, 10).map_err(|_| EINVAL)?;
            }
            let token = with_header(skb, HeaderPlace::Apart)?.into_token();

            // SAFETY: The token was just made.
            let seen = unsafe { see(token, &mut table) };

            // SAFETY: The token is not used below.
            drop(unsafe { TxFrame::from_token(token) });
            assert_eq!(seen?.parts, 2 + count);
        }
        Ok(())
    }

    #[test]
    fn a_header_has_a_length() -> Result {
        let mut pool = pool()?;
        let skb = frame(&mut pool, 64)?;

        let Err(skb) = TxFrame::new(skb, &[], HeaderPlace::Inline) else {
            return Err(EINVAL);
        };
        let Err(skb) = TxFrame::new(skb, &[0; 25], HeaderPlace::Inline) else {
            return Err(EINVAL);
        };

        assert!(TxFrame::new(skb, &[0; 24], HeaderPlace::Apart).is_ok());
        Ok(())
    }

    #[test]
    fn what_a_queueing_discipline_has_counted_stays() -> Result {
        let mut pool = pool()?;
        let mut skb = frame(&mut pool, 64)?;
        skb.control()[..COUNTED].fill(7);

        let mut skb = TxFrame::new(skb, &[0; 24], HeaderPlace::Apart)
            .map_err(|_| EINVAL)?
            .into_skb();

        assert_eq!(skb.control()[..COUNTED], [7; COUNTED]);
        Ok(())
    }
}
