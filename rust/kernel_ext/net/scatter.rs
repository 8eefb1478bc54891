// SPDX-License-Identifier: GPL-2.0

//! Lists of a frame's memory, for a device.

use super::skb::SkBuff;
use crate::bindings;
use core::ptr::NonNull;
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// How many entries there are: for what comes before the frame, for its head, and for its pages.
const ENTRIES: usize = 19;

/// A table for the memory of one frame at a time; it is made once.
///
/// # Invariants
///
/// The entries are initialized; the last one, and no other, is marked as the end.
pub struct ScatterTable(KBox<[Opaque<bindings::scatterlist>; ENTRIES]>);

// SAFETY: The table may be used by any thread, one at a time.
unsafe impl Send for ScatterTable {}

// SAFETY: There is nothing that takes `&self`.
unsafe impl Sync for ScatterTable {}

impl ScatterTable {
    /// Makes a table.
    pub fn new(flags: kernel::alloc::Flags) -> Result<Self> {
        let table = KBox::new([const { Opaque::uninit() }; ENTRIES], flags)?;
        let mut table = Self(table);
        // SAFETY: There are so many entries.
        //
        // INVARIANT: This marks the end.
        unsafe { bindings::sg_init_table(table.first(), Self::SIZE) };
        Ok(table)
    }

    /// How many entries there are: a frame takes at most so many places in a ring.
    #[expect(clippy::cast_possible_truncation, reason = "it is small")]
    pub const SIZE: u32 = ENTRIES as u32;

    /// Returns the first entry.
    pub(crate) fn first(&mut self) -> *mut bindings::scatterlist {
        self.0.as_mut_ptr().cast()
    }

    /// Lists `front`, of `length` bytes, and the memory of a frame, which may lie right behind it.
    /// Returns how many entries that takes.
    ///
    /// # Errors
    ///
    /// `EMSGSIZE` if there are too few.
    ///
    /// # Safety
    ///
    /// - `front` must be in the linear map.
    /// - The entries must not be used when the frame is given up.
    pub(crate) unsafe fn list(
        &mut self,
        front: NonNull<u8>,
        length: u32,
        skb: &SkBuff,
    ) -> Result<u32> {
        // SAFETY: By the type invariants, the table and the frame are valid; the frame does not change.
        let count = unsafe {
            bindings::skb_list(
                skb.as_ptr(),
                front.as_ptr().cast(),
                length,
                self.first(),
                Self::SIZE,
            )
        };
        to_result(count)?;
        Ok(u32::try_from(count)?)
    }
}
