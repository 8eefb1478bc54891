// SPDX-License-Identifier: GPL-2.0

//! Requests that follow each other, without memory of their own.

use super::{
    batch::{
        pop,
        push, //
    },
    operations::Operations,
    request::Request, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

/// Something that is a request.
///
/// # Safety
///
/// The pointer is that of a request which was started, has not ended, and that only the owner of
/// this has.
pub unsafe trait Entry: Sized {
    /// Gives it up, for its pointer.
    #[doc(hidden)]
    fn into_raw(self) -> NonNull<bindings::request>;

    /// Gets it back.
    ///
    /// # Safety
    ///
    /// `rq` must come from [`Entry::into_raw`] of this type, and must not be used afterwards.
    #[doc(hidden)]
    unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self;
}

// SAFETY: Both functions are those of requests.
unsafe impl<T: Operations> Entry for Request<T> {
    fn into_raw(self) -> NonNull<bindings::request> {
        Request::into_raw(self)
    }

    unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        // SAFETY: By the safety requirements, it comes from `into_raw`.
        unsafe { Request::from_raw(rq) }
    }
}

/// Requests that a driver puts aside, to take them in the same order: for example while it holds
/// a lock. Those that are left when it is dropped are dropped, too.
///
/// # Invariants
///
/// `list` has requests from [`Entry::into_raw`] of `E`.
pub struct Chain<E: Entry> {
    list: bindings::rq_list,
    _entries: PhantomData<E>,
}

impl<E: Entry> Chain<E> {
    /// Starts with none.
    pub fn new() -> Self {
        // INVARIANT: There is none.
        Self {
            list: pin_init::zeroed(),
            _entries: PhantomData,
        }
    }

    /// Adds a request at the end.
    pub fn push(&mut self, entry: E) {
        // INVARIANT: It comes from `into_raw`.
        //
        // SAFETY: By the type invariant, the list is one of valid requests, which only this uses. A
        // request that somebody owns is in no list.
        unsafe { push(&mut self.list, entry.into_raw()) };
    }

    /// Takes the first request.
    pub fn pop(&mut self) -> Option<E> {
        // SAFETY: By the type invariant, the list is one of valid requests, which only this uses.
        let rq = unsafe { pop(&mut self.list) }?;
        // SAFETY: By the type invariant, it comes from `into_raw`; it is not in the list any more.
        Some(unsafe { E::from_raw(rq) })
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.head.is_null()
    }
}

impl<E: Entry> Default for Chain<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Entry> Iterator for Chain<E> {
    type Item = E;

    fn next(&mut self) -> Option<E> {
        self.pop()
    }
}

impl<E: Entry> Drop for Chain<E> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
