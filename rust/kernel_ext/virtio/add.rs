// SPDX-License-Identifier: GPL-2.0

//! Other ways to add buffers to queues, and to take them.

use super::{
    buffer::{
        Buffer,
        Listed,
        Parts, //
    },
    outcome::{
        AddError,
        Context,
        Used, //
    },
    Virtqueue, //
};
use crate::net::ScatterTable;
use core::ptr::NonNull;
use kernel::prelude::*;

impl<B: Buffer> Virtqueue<'_, B> {
    /// Adds buffers until there are no more, or one cannot be added. Returns how many were added.
    ///
    /// # Errors
    ///
    /// The buffer that could not be added; those before it are in the queue. What is left in
    /// `buffers` was not touched.
    pub fn add_all(
        &mut self,
        buffers: impl IntoIterator<Item = B>,
        context: Context,
    ) -> Result<usize, AddError<B>> {
        let mut count = 0;
        for buffer in buffers {
            self.add(buffer, context)?;
            count += 1;
        }
        Ok(count)
    }

    /// Hands buffers that the device has used to `function`, at most `limit`, and returns how many
    /// there were. If there are fewer than `limit`, none is left.
    ///
    /// # Errors
    ///
    /// As [`Virtqueue::pop`]; `function` was called for those before.
    ///
    /// Cost: one call of a C function for each.
    pub fn pop_all(&mut self, limit: usize, mut function: impl FnMut(Used<B>)) -> Result<usize> {
        for count in 0..limit {
            match self.pop()? {
                Some(used) => function(used),
                None => return Ok(count),
            }
        }
        Ok(limit)
    }
}

impl<B: Listed> Virtqueue<'_, B> {
    /// Adds a buffer that may be in many places, as [`Virtqueue::add`] does.
    ///
    /// # Errors
    ///
    /// Also `EMSGSIZE` if it is in too many.
    ///
    /// Cost: one call of a C helper if it is in one place, else two.
    #[inline(always)]
    pub fn add_listed(
        &mut self,
        buffer: B,
        table: &mut ScatterTable,
        context: Context,
    ) -> Result<(), AddError<B>> {
        if !buffer.suits(self.reach()) {
            return Err(AddError {
                buffer,
                error: EINVAL,
            });
        }
        let token = buffer.into_token();
        // SAFETY: The token was just made.
        match unsafe { B::parts(token) } {
            // The compiler makes short code of this.
            Parts::Readable(span) => {
                let parts = Parts::Readable(span);
                // SAFETY: The token was just made, and suits.
                unsafe { self.insert(token, &parts, context) }
            }
            // SAFETY: As above.
            parts => unsafe { self.insert_listed(token, parts, table, context) },
        }
    }

    /// Adds a buffer that was given up.
    ///
    /// # Safety
    ///
    /// As for [`Virtqueue::insert`].
    #[inline(never)]
    unsafe fn insert_listed(
        &mut self,
        token: NonNull<c_void>,
        mut parts: Parts,
        table: &mut ScatterTable,
        context: Context,
    ) -> Result<(), AddError<B>> {
        if let Parts::Scattered = parts {
            // SAFETY: By the safety requirements; the table is not used again below.
            parts = match unsafe { B::list(token, table) } {
                Ok(parts) => parts,
                Err(error) => {
                    // SAFETY: The token is not used any more.
                    let buffer = unsafe { B::from_token(token) };
                    return Err(AddError { buffer, error });
                }
            };
        }
        // SAFETY: By the safety requirements.
        unsafe { self.insert(token, &parts, context) }
    }
}
