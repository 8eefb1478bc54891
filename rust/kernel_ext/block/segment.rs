// SPDX-License-Identifier: GPL-2.0

//! What a request is about: memory, and ranges of sectors.

use super::operation::Direction;
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::prelude::*;

/// The data of a request, in parts that each lie within a page.
///
/// # Invariants
///
/// `iter` is a position in a list of `bio` that is valid for `'a`, or its `bio` is null.
pub struct Segments<'a> {
    iter: bindings::req_iterator,
    direction: Option<Direction>,
    _request: PhantomData<&'a ()>,
}

impl Segments<'_> {
    /// Starts at a `bio`.
    ///
    /// # Safety
    ///
    /// `bio` must be null, or the first of a list that is valid, and has data, for a lifetime that
    /// the caller chooses. The data must go in `direction`.
    pub(super) unsafe fn new(bio: *mut bindings::bio, direction: Option<Direction>) -> Self {
        let iter = match ptr::NonNull::new(bio) {
            // SAFETY: By the safety requirements, it is valid.
            Some(bio) => unsafe { (*bio.as_ptr()).bi_iter },
            None => pin_init::zeroed(),
        };
        // INVARIANT: By the safety requirements.
        Self {
            iter: bindings::req_iterator { iter, bio },
            direction,
            _request: PhantomData,
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        let mut part = pin_init::zeroed();
        // SAFETY: By the type invariant, the position is valid.
        if !unsafe { bindings::rq_next_segment(&mut self.iter, &mut part) } {
            return None;
        }
        // INVARIANT: The part is memory of the request, within a page.
        Some(Segment {
            part,
            direction: self.direction,
            _request: PhantomData,
        })
    }
}

/// A part of a request's data.
///
/// # Invariants
///
/// `part` is memory of a request, within a page, that is valid for `'a`; it may be written if
/// `direction` is [`Direction::FromDevice`].
pub struct Segment<'a> {
    part: bindings::bio_vec,
    direction: Option<Direction>,
    _request: PhantomData<&'a ()>,
}

impl Segment<'_> {
    /// Returns the number of bytes that are left.
    pub fn len(&self) -> usize {
        // CAST: This only widens; it is at most the size of a page.
        self.part.bv_len as usize
    }

    /// Tells whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.part.bv_len == 0
    }

    /// Takes the next bytes.
    fn take(&mut self, count: usize) -> Result<bindings::bio_vec> {
        let count = u32::try_from(count)?;
        let left = self.part.bv_len.checked_sub(count).ok_or(EINVAL)?;
        let part = bindings::bio_vec {
            bv_len: count,
            ..self.part
        };
        // INVARIANT: This is the rest of the part.
        self.part.bv_len = left;
        self.part.bv_offset += count;
        Ok(part)
    }

    /// Copies the next bytes of the data to `target`. Others may write to it meanwhile.
    ///
    /// # Errors
    ///
    /// `EINVAL` if so much is not left.
    #[doc(alias = "memcpy_from_bvec")]
    pub fn read(&mut self, target: &mut [u8]) -> Result {
        let mut part = self.take(target.len())?;
        // SAFETY: By the type invariant, the part is valid, and within a page; `target` is as long.
        unsafe { bindings::memcpy_from_bvec(target.as_mut_ptr().cast(), &mut part) };
        Ok(())
    }

    /// Copies `source` to the next bytes of the data.
    ///
    /// # Errors
    ///
    /// `EINVAL` if so much is not left, or if it is not the device that writes.
    #[doc(alias = "memcpy_to_bvec")]
    pub fn write(&mut self, source: &[u8]) -> Result {
        if self.direction != Some(Direction::FromDevice) {
            return Err(EINVAL);
        }
        let mut part = self.take(source.len())?;
        // SAFETY: By the type invariant, the part is valid, within a page, and may be written;
        // `source` is as long.
        unsafe { bindings::memcpy_to_bvec(&mut part, source.as_ptr().cast()) };
        Ok(())
    }
}

/// Some sectors, of 512 bytes each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The first one.
    pub sector: u64,
    /// How many.
    pub count: u32,
}

/// The ranges of sectors that a request is about.
///
/// # Invariants
///
/// `bio` is null, or in a list of `bio` that is valid for `'a`.
pub struct Ranges<'a> {
    single: Option<Range>,
    bio: *mut bindings::bio,
    _request: PhantomData<&'a ()>,
}

impl Ranges<'_> {
    /// Returns one range.
    pub(super) fn single(sector: u64, bytes: u32) -> Self {
        // INVARIANT: Null is allowed.
        Self {
            single: Some(Range {
                sector,
                count: bytes >> bindings::SECTOR_SHIFT,
            }),
            bio: ptr::null_mut(),
            _request: PhantomData,
        }
    }

    /// Returns the range of each `bio` in a list.
    ///
    /// # Safety
    ///
    /// `bio` must be null, or the first of a list that is valid for a lifetime that the caller
    /// chooses.
    pub(super) unsafe fn of_bios(bio: *mut bindings::bio) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            single: None,
            bio,
            _request: PhantomData,
        }
    }
}

impl Iterator for Ranges<'_> {
    type Item = Range;

    fn next(&mut self) -> Option<Range> {
        if let Some(single) = self.single.take() {
            return Some(single);
        }
        // SAFETY: By the type invariant, this is null or valid.
        let bio = unsafe { self.bio.as_ref() }?;
        // INVARIANT: The next one is in the list, too.
        self.bio = bio.bi_next;
        Some(Range {
            sector: bio.bi_iter.bi_sector,
            count: bio.bi_iter.bi_size >> bindings::SECTOR_SHIFT,
        })
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_segment)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_bios_has_one_range() {
        let mut ranges = Ranges::single(8, 1024);

        assert_eq!(
            ranges.next(),
            Some(Range {
                sector: 8,
                count: 2
            })
        );
        assert_eq!(ranges.next(), None);
    }

    #[test]
    fn each_bio_of_a_discard_is_a_range() {
        let mut second: bindings::bio = pin_init::zeroed();
        second.bi_iter.bi_sector = 100;
        second.bi_iter.bi_size = 512;
        let mut first: bindings::bio = pin_init::zeroed();
        first.bi_next = &mut second;
        first.bi_iter.bi_sector = 1;
        first.bi_iter.bi_size = 4096;

        // SAFETY: Both live until the end of the function.
        let mut ranges = unsafe { Ranges::of_bios(&mut first) };

        assert_eq!(
            ranges.next(),
            Some(Range {
                sector: 1,
                count: 8
            })
        );
        assert_eq!(
            ranges.next(),
            Some(Range {
                sector: 100,
                count: 1
            })
        );
        assert_eq!(ranges.next(), None);
    }

    #[test]
    fn what_has_no_data_has_no_segments() {
        // SAFETY: Null is allowed.
        assert!(unsafe { Segments::new(ptr::null_mut(), None) }
            .next()
            .is_none());
    }
}
