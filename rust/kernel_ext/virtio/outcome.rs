// SPDX-License-Identifier: GPL-2.0

//! What goes with a buffer into a queue, and what comes back.

use crate::bindings;
use kernel::{
    alloc::Flags,
    prelude::*, //
};

/// Where a buffer is added, which says how memory may be allocated for that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Context {
    /// In process context, without a spin lock.
    Process,
    /// Anywhere else.
    Atomic,
}

impl Context {
    pub(super) fn gfp(self) -> bindings::gfp_t {
        match self {
            Self::Process => bindings::GFP_KERNEL,
            Self::Atomic => bindings::GFP_ATOMIC,
        }
    }

    pub(super) fn flags(self) -> Flags {
        match self {
            Self::Process => GFP_KERNEL,
            Self::Atomic => GFP_ATOMIC,
        }
    }
}

/// Why a buffer could not be added. The buffer comes back.
pub struct AddError<B> {
    /// The buffer.
    pub buffer: B,
    /// `ENOSPC` if the queue is full, `EIO` if it is broken, `ENOMEM`.
    pub error: Error,
}

impl<B> From<AddError<B>> for Error {
    fn from(error: AddError<B>) -> Self {
        error.error
    }
}

/// A buffer that the device has used.
pub struct Used<B> {
    /// The buffer.
    pub buffer: B,
    /// How many bytes the device says it has written. It had room for that many.
    pub written: u32,
}

/// How far the device was when it was asked to interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Progress(pub(super) u32);
