// SPDX-License-Identifier: GPL-2.0

//! Names and numbers of disks.

use crate::bindings;
use kernel::{
    error::to_result,
    fmt,
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// Numbers that are in use, out of 64 times `WORDS`. It can be a `static`.
///
/// # Examples
///
/// ```ignore
/// static IDS: IdAllocator<16> = IdAllocator::new();
///
/// let id = IDS.allocate()?;
/// let name = DiskName::letters("vd", id.number())?;
/// ```
#[doc(alias = "ida")]
pub struct IdAllocator<const WORDS: usize> {
    used: [Atomic<u64>; WORDS],
}

impl<const WORDS: usize> IdAllocator<WORDS> {
    /// Makes one of which no number is in use.
    pub const fn new() -> Self {
        Self {
            used: [const { Atomic::new(0) }; WORDS],
        }
    }

    /// Takes the lowest number that is free, or that nobody had when this looked.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there is none.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "ida_alloc")]
    pub fn allocate(&self) -> Result<Id<'_>> {
        for (first, word) in (0u32..).step_by(64).zip(&self.used) {
            let mut used = word.load(Relaxed);
            while used != u64::MAX {
                let bit = used.trailing_ones();
                match word.cmpxchg(used, used | 1 << bit, Relaxed) {
                    Ok(_) => {
                        return Ok(Id {
                            word,
                            bit,
                            number: first + bit,
                        })
                    }
                    Err(now) => used = now,
                }
            }
        }
        Err(ENOSPC)
    }
}

impl<const WORDS: usize> Default for IdAllocator<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

/// A number that nobody else has. It is free again when this is dropped.
#[must_use = "a number that is dropped is free again"]
pub struct Id<'a> {
    word: &'a Atomic<u64>,
    bit: u32,
    number: u32,
}

impl Id<'_> {
    /// Returns the number.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Id<'_> {
    fn drop(&mut self) {
        let mut used = self.word.load(Relaxed);
        while let Err(now) = self.word.cmpxchg(used, used & !(1 << self.bit), Relaxed) {
            used = now;
        }
    }
}

/// The name of a disk, as it is in `/dev`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DiskName {
    bytes: [u8; Self::ROOM],
    used: usize,
}

impl DiskName {
    /// The room that the core has, with a zero at the end.
    const ROOM: usize = 32;

    fn empty() -> Self {
        Self {
            bytes: [0; Self::ROOM],
            used: 0,
        }
    }

    /// Formats a name.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is empty, longer than 31 bytes, or has a byte that cannot be in a name.
    pub fn new(name: fmt::Arguments<'_>) -> Result<Self> {
        let mut this = Self::empty();
        fmt::Write::write_fmt(&mut this, name).map_err(|_| EINVAL)?;
        this.checked()
    }

    /// Returns `prefix` with the letters of a number, as disks are mostly called: `a` is 0, `z` is
    /// 25, `aa` is 26.
    pub fn letters(prefix: &str, number: u32) -> Result<Self> {
        // Six letters are more than any number has.
        let mut letters = [0; 8];
        let mut count = 0;
        let mut rest = number;
        for letter in letters.iter_mut().rev() {
            *letter = b'a' + u8::try_from(rest % 26)?;
            count += 1;
            match (rest / 26).checked_sub(1) {
                Some(next) => rest = next,
                None => break,
            }
        }

        let mut this = Self::empty();
        this.append(prefix.as_bytes()).ok_or(EINVAL)?;
        let letters = letters.get(letters.len() - count..).ok_or(EINVAL)?;
        this.append(letters).ok_or(EINVAL)?;
        this.checked()
    }

    fn append(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.used.checked_add(bytes.len())?;
        // The last byte stays zero.
        let room = self.bytes.get_mut(..Self::ROOM - 1)?;
        room.get_mut(self.used..end)?.copy_from_slice(bytes);
        self.used = end;
        Some(())
    }

    fn checked(self) -> Result<Self> {
        let fine = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/' && *byte != b'!';
        if self.as_bytes().is_empty() || !self.as_bytes().iter().all(fine) {
            return Err(EINVAL);
        }
        Ok(self)
    }

    /// Returns the name, without a zero at the end.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// Returns the name, with zeroes at the end.
    pub(super) fn with_zeroes(&self) -> &[u8; Self::ROOM] {
        &self.bytes
    }
}

impl fmt::Write for DiskName {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text.as_bytes()).ok_or(fmt::Error)
    }
}

/// A major number, for disks whose minor numbers the driver chooses. Most need none: without it, the
/// core chooses both.
///
/// # Invariants
///
/// `number` is registered for `name`.
#[doc(alias = "register_blkdev")]
pub struct Major {
    number: u32,
    name: &'static CStr,
}

impl Major {
    /// Registers a number that is free, as `name` in `/proc/devices`.
    ///
    /// # Errors
    ///
    /// `EBUSY` if none is.
    ///
    /// # Context
    ///
    /// Process context; this may sleep.
    pub fn register(name: &'static CStr) -> Result<Self> {
        let name_ptr = kernel::str::as_char_ptr_in_const_context(name);
        // SAFETY: The name is valid.
        let number = unsafe { bindings::__register_blkdev(0, name_ptr, None) };
        // INVARIANT: It was just registered, unless this is an error.
        match u32::try_from(number) {
            Ok(number) => Ok(Self { number, name }),
            Err(_) => Err(to_result(number).err().unwrap_or(EBUSY)),
        }
    }

    /// Returns the number.
    pub fn number(&self) -> u32 {
        self.number
    }
}

impl Drop for Major {
    fn drop(&mut self) {
        let name = kernel::str::as_char_ptr_in_const_context(self.name);
        // SAFETY: By the type invariant, it is registered.
        unsafe { bindings::unregister_blkdev(self.number, name) };
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_name)]
mod tests {
    use super::*;

    fn letters(number: u32) -> Result<DiskName> {
        DiskName::letters("vd", number)
    }

    #[test]
    fn disks_are_counted_with_letters() -> Result {
        assert_eq!(letters(0)?.as_bytes(), b"vda");
        assert_eq!(letters(25)?.as_bytes(), b"vdz");
        assert_eq!(letters(26)?.as_bytes(), b"vdaa");
        assert_eq!(letters(701)?.as_bytes(), b"vdzz");
        assert_eq!(letters(702)?.as_bytes(), b"vdaaa");
        assert_eq!(letters(u32::MAX)?.as_bytes(), b"vdmwlqkwv");
        Ok(())
    }

    #[test]
    fn names_fit_and_are_plain() {
        assert!(DiskName::new(fmt!("ram{}", 7)).is_ok_and(|name| name.as_bytes() == b"ram7"));
        assert!(DiskName::new(fmt!("")).is_err());
        assert!(DiskName::new(fmt!("a/b")).is_err());
        assert!(DiskName::new(fmt!("a b")).is_err());
        assert!(DiskName::new(fmt!("{:031}", 0)).is_ok());
        assert!(DiskName::new(fmt!("{:032}", 0)).is_err());
    }

    #[test]
    fn numbers_come_back() -> Result {
        let ids = IdAllocator::<2>::new();
        let first = ids.allocate()?;
        let second = ids.allocate()?;
        assert_eq!((first.number(), second.number()), (0, 1));

        drop(first);
        assert_eq!(ids.allocate()?.number(), 0);
        Ok(())
    }

    #[test]
    fn numbers_run_out() -> Result {
        let ids = IdAllocator::<2>::new();
        let mut taken = KVec::new();
        for number in 0..128 {
            let id = ids.allocate()?;
            assert_eq!(id.number(), number);
            taken.push(id, GFP_KERNEL)?;
        }

        assert!(ids.allocate().is_err_and(|error| error == ENOSPC));
        taken.clear();
        assert_eq!(ids.allocate()?.number(), 0);
        Ok(())
    }
}
