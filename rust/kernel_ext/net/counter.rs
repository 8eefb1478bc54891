// SPDX-License-Identifier: GPL-2.0

//! Counters.

use kernel::sync::atomic::{
    Atomic,
    Relaxed, //
};

/// A number that one thread at a time adds to, and that any reads.
///
/// If two threads add at once, one of the additions may be lost, and nothing worse happens. On
/// 64-bit machines neither adding nor reading costs more than with a plain number.
pub struct Counter(Atomic<i64>);

impl Counter {
    /// Begins with zero.
    pub const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Adds to the number.
    #[inline]
    pub fn add(&self, count: u64) {
        self.0
            .store(self.0.load(Relaxed).wrapping_add_unsigned(count), Relaxed);
    }

    /// Adds one.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// Returns the number.
    #[inline]
    pub fn get(&self) -> u64 {
        // CAST: This undoes the cast by which it was added.
        self.0.load(Relaxed) as u64
    }
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

/// What a device at least counts of a direction in which it sends or receives, for [`LinkStats`].
///
/// [`LinkStats`]: super::LinkStats
#[derive(Default)]
pub struct Traffic {
    /// Frames that were sent, or received.
    pub packets: Counter,
    /// Their bytes.
    pub bytes: Counter,
    /// Frames that were lost.
    pub dropped: Counter,
}

impl Traffic {
    /// Counts a frame of so many bytes.
    #[inline]
    pub fn count(&self, bytes: u32) {
        self.packets.increment();
        self.bytes.add(bytes.into());
    }
}
