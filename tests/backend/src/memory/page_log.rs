// SPDX-License-Identifier: GPL-2.0

//! The log of pages that were written, by which QEMU migrates a guest.
//!
//! QEMU sends the memory of the guest while that runs, and has to send again what has changed since.
//! It shares a bitmap, with a bit for each page of the guest's memory, which is set after each write to
//! the page, and cleared by QEMU before it reads the page. It switches the log on and off while queues
//! run (`VHOST_F_LOG_ALL`).

use super::{MemoryError, Result, map};
use std::{
    collections::BTreeSet,
    fs::File,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};
use vm_memory::{MmapRegion, VolatileMemory};

/// The number of bytes in a page, whatever the pages of the guest, or of this machine, have.
pub const PAGE: u64 = 4096;

/// Where QEMU says that the bitmap is.
#[derive(Debug)]
pub struct Bitmap {
    /// The file that has it.
    pub file: File,
    /// Where it begins in the file.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
}

/// The log. It is shared by all that can be written to.
#[derive(Debug, Default)]
pub struct PageLog {
    on: AtomicBool,
    state: Mutex<State>,
    /// How many bits were set.
    logged: AtomicU64,
    /// How many pages have no bit.
    beyond: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    bitmap: Option<Arc<MmapRegion>>,
    /// The pages that are written until QEMU hands over a bitmap, if it may do so.
    kept: Option<BTreeSet<u64>>,
}

impl PageLog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether writes are logged.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Logs writes from now on.
    pub fn start(&self) {
        let was_on = self.on.swap(true, Ordering::AcqRel);
        let mut state = self.state();
        // While a device runs, QEMU hands over the bitmap first. When it starts one, it does so last:
        // what is there until then, if anything, may be the bitmap of another time.
        if was_on || state.bitmap.is_none() {
            state.kept.get_or_insert_default();
        }
    }

    /// Logs nothing any more, and forgets the bitmap, if writes were logged.
    pub fn stop(&self) {
        if self.on.swap(false, Ordering::AcqRel) {
            *self.state() = State::default();
        }
    }

    /// Forgets everything but what was counted.
    pub fn forget(&self) {
        self.on.store(false, Ordering::Release);
        *self.state() = State::default();
    }

    /// Takes a bitmap, which has to have a bit for each page before `end`.
    pub(super) fn set_bitmap(&self, bitmap: Bitmap, end: u64) -> Result<()> {
        let pages = end.div_ceil(PAGE);
        if bitmap.length < pages.div_ceil(8) {
            return Err(MemoryError::LogTooShort {
                bytes: bitmap.length,
                pages,
            });
        }
        let map = map(bitmap.file, bitmap.offset, bitmap.length)?;
        let mut state = self.state();
        state.bitmap = Some(map);
        for page in state.kept.take().into_iter().flatten() {
            self.set(&state, page);
        }
        Ok(())
    }

    /// Notes that bytes were written at an address of the guest.
    #[inline]
    pub fn note(&self, address: u64, length: usize) {
        if self.is_on() {
            self.note_on(address, length);
        }
    }

    #[cold]
    fn note_on(&self, address: u64, length: usize) {
        let Some(before_last) = u64::try_from(length).ok().and_then(|n| n.checked_sub(1)) else {
            return;
        };
        let mut state = self.state();
        for page in address / PAGE..=address.saturating_add(before_last) / PAGE {
            self.set(&state, page);
            if let Some(kept) = &mut state.kept {
                kept.insert(page);
            }
        }
    }

    fn set(&self, state: &State, page: u64) {
        let Some(bitmap) = &state.bitmap else {
            return;
        };
        let byte = usize::try_from(page / 8).unwrap_or(usize::MAX);
        match bitmap.get_atomic_ref::<AtomicU8>(byte) {
            Ok(byte) => {
                let bit = 1 << (page % 8);
                // Whoever sees the bit has to see what was written before.
                let before = byte.fetch_or(bit, Ordering::SeqCst);
                let is_new = u64::from(before & bit == 0);
                self.logged.fetch_add(is_new, Ordering::Relaxed);
            }
            Err(_) => {
                self.beyond.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Returns how many pages were logged: those that QEMU did not know to have changed.
    pub fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    /// Returns how often a page was written that has no bit.
    pub fn beyond(&self) -> u64 {
        self.beyond.load(Ordering::Relaxed)
    }
}

/// Where it is noted that a part of memory is written.
#[derive(Clone, Debug)]
pub struct Mark {
    pub(super) log: Arc<PageLog>,
    /// The address of the part, in the log; if it has none, then it is not logged.
    pub(super) address: Option<u64>,
}

impl Mark {
    /// Returns the mark of a part, which begins after some bytes.
    pub(super) fn after(&self, bytes: usize) -> Self {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Self {
            log: Arc::clone(&self.log),
            address: self.address.map(|address| address.saturating_add(bytes)),
        }
    }

    /// Notes that bytes of the part were written.
    #[inline]
    pub(super) fn note(&self, at: usize, length: usize) {
        if self.log.is_on() {
            self.note_on(at, length);
        }
    }

    #[cold]
    fn note_on(&self, at: usize, length: usize) {
        let at = u64::try_from(at).unwrap_or(u64::MAX);
        if let Some(address) = self.address {
            self.log.note(address.saturating_add(at), length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{GUEST, USER, file, marked, memory},
        *,
    };

    /// The memory has pages 16 to 23.
    const LENGTH: u64 = 0x8000;

    fn bitmap(file: &File, length: u64) -> Bitmap {
        Bitmap {
            file: file.try_clone().expect("a clone"),
            offset: 0,
            length,
        }
    }

    #[test]
    fn pages_are_marked_while_it_is_on() {
        let memory = memory(LENGTH);
        let log = file(8);
        memory.set_log(bitmap(&log, 8)).expect("a log");
        memory.write(GUEST, &[1]).expect("a write");
        assert_eq!(marked(&log), [0; 0], "it is off");

        memory.log().start();
        memory.write(GUEST + 0x1fff, &[1, 2]).expect("a write");
        memory.write(GUEST + 0x4000, &[]).expect("nothing");
        memory.write(GUEST + 0x5fff, &[1]).expect("a write");
        assert_eq!(marked(&log), [17, 18, 21]);
        assert_eq!(memory.log().logged(), 3);
        memory.write(GUEST + 0x1000, &[1]).expect("a write");
        assert_eq!(memory.log().logged(), 3, "that was known");

        memory.log().stop();
        memory.write(GUEST + 0x6000, &[1]).expect("a write");
        assert_eq!(marked(&log), [17, 18, 21]);
        assert_eq!(memory.log().beyond(), 0);
    }

    #[test]
    fn areas_are_marked_where_they_are_or_are_said_to_be() {
        let memory = memory(LENGTH);
        let log = file(8);
        memory.set_log(bitmap(&log, 8)).expect("a log");
        memory.log().start();
        let area = memory.area(USER + 0xff0, 0x100).expect("an area");
        area.store(0x10, 7).expect("a store");
        assert_eq!(marked(&log), [17]);
        let part = area.part(0x20, 0x20).expect("a part");
        part.write(0, &[1]).expect("a write");
        assert_eq!(marked(&log), [17]);
        area.write(0, &[1]).expect("a write");
        assert_eq!(marked(&log), [16, 17]);

        let mut area = area;
        area.log_at(Some(0x1_7ffe));
        area.write(0, &[1, 2, 3]).expect("a write");
        assert_eq!(marked(&log), [16, 17, 23, 24]);
        area.log_at(None);
        area.write(0x80, &[1]).expect("a write");
        assert_eq!(marked(&log), [16, 17, 23, 24]);
    }

    #[test]
    fn a_log_has_a_bit_for_each_page() {
        let memory = memory(LENGTH);
        let log = file(8);
        assert!(memory.set_log(bitmap(&log, 2)).is_err(), "too short");
        assert!(memory.set_log(bitmap(&log, 9)).is_err(), "no such file");
        let odd = Bitmap {
            offset: 1,
            ..bitmap(&log, 4)
        };
        assert!(memory.set_log(odd).is_err(), "not at a page");
        memory.set_log(bitmap(&log, 3)).expect("long enough");
        memory.log().start();
        let mut area = memory.area(USER, 8).expect("an area");
        area.log_at(Some(24 * PAGE));
        area.write(0, &[1]).expect("a write");
        area.log_at(Some(u64::MAX));
        area.write(4, &[1; 4]).expect("a write");
        assert_eq!(marked(&log), [0; 0]);
        assert_eq!(memory.log().beyond(), 2);
    }

    #[test]
    fn what_is_written_before_there_is_a_bitmap_is_not_lost() {
        let memory = memory(LENGTH);
        memory.log().start();
        memory.write(GUEST + 0x2000, &[1]).expect("a write");
        let first = file(8);
        memory.set_log(bitmap(&first, 8)).expect("a log");
        assert_eq!(marked(&first), [18]);
        memory.write(GUEST + 0x3000, &[1]).expect("a write");
        assert_eq!(marked(&first), [18, 19]);

        // QEMU starts the device again: the bitmap may be an old one, or not.
        memory.log().start();
        memory.write(GUEST + 0x4000, &[1]).expect("a write");
        assert_eq!(marked(&first), [18, 19, 20]);
        let second = file(8);
        memory.set_log(bitmap(&second, 8)).expect("a log");
        assert_eq!(marked(&second), [20]);

        memory.log().forget();
        memory.write(GUEST, &[1]).expect("a write");
        assert_eq!(marked(&second), [20]);
    }

    #[test]
    fn bits_are_set_beside_those_that_others_change() {
        let memory = memory(LENGTH);
        let log = file(8);
        memory.set_log(bitmap(&log, 8)).expect("a log");
        memory.log().start();
        std::thread::scope(|scope| {
            for page in 0..8 {
                let memory = &memory;
                scope.spawn(move || memory.write(GUEST + page * PAGE, &[1]).expect("a write"));
            }
        });
        assert_eq!(marked(&log), [16, 17, 18, 19, 20, 21, 22, 23]);
    }
}
