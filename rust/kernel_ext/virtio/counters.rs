// SPDX-License-Identifier: GPL-2.0

//! What happens on a queue, for those who look at a device that is stuck.

use super::{
    Buffer,
    Virtqueue, //
};
use core::fmt;

/// What has happened on a queue. Nothing of it is what the device says, but for what it has used.
///
/// The counters are plain: whoever has the queue counts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Counters {
    /// How many buffers were added.
    pub added: u64,
    /// How many of them the device has used.
    pub used: u64,
    /// How often buffers were made known to the device.
    pub kicks: u64,
    /// How often it wanted to be notified of that.
    pub notifications: u64,
    /// How often the callback of the queue was called, as far as that has
    /// [counted](super::Virtqueue::count_interrupt) it.
    pub interrupts: u64,
}

/// The state of a queue at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// How many places the ring has.
    pub size: u32,
    /// How many of them are free.
    pub free: u32,
    /// How many buffers the device has.
    pub outstanding: u16,
    /// How many buffers were given a table outside of the ring since that was made; nothing if the
    /// core drives it.
    pub tables: Option<u64>,
    /// Whether nothing will come out of it any more.
    pub broken: bool,
}

/// Counts one more. It would take centuries to overflow, for which nobody looks.
#[inline(always)]
pub(super) fn count(counter: &mut u64) {
    *counter = counter.wrapping_add(1);
}

impl<B: Buffer> Virtqueue<'_, B> {
    /// Counts an interrupt: to be called by the callback, when it has the queue.
    pub fn count_interrupt(&mut self) {
        count(&mut self.counters.interrupts);
    }

    /// Returns what has happened on the queue.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Goes on counting from what has happened on the queue before the device was reset.
    pub fn count_from(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Returns the state of the queue.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            size: self.size(),
            free: self.free(),
            outstanding: self.outstanding(),
            tables: self.ring.tables(),
            broken: self.is_broken(),
        }
    }
}

/// Text that is indented, a name and a value on each line.
///
/// # Examples
///
/// ```ignore
/// let mut lines = Lines::new(f);
/// lines.line("phase", "live")?;
/// lines.section("queue 0")?;
/// lines.line("size", 128)?;
/// ```
pub struct Lines<'a, 'b> {
    out: &'a mut fmt::Formatter<'b>,
    indentation: &'static str,
}

impl<'a, 'b> Lines<'a, 'b> {
    /// Begins.
    pub fn new(out: &'a mut fmt::Formatter<'b>) -> Self {
        Self {
            out,
            indentation: "",
        }
    }

    /// Begins a section; the lines that follow belong to it.
    pub fn section(&mut self, name: impl fmt::Display) -> fmt::Result {
        self.indentation = "  ";
        writeln!(self.out, "{name}:")
    }

    /// Writes a value.
    pub fn line(&mut self, name: &str, value: impl fmt::Display) -> fmt::Result {
        writeln!(self.out, "{}{name}: {value}", self.indentation)
    }

    /// Writes yes or no.
    pub fn yes_no(&mut self, name: &str, value: bool) -> fmt::Result {
        self.line(name, if value { "yes" } else { "no" })
    }

    /// Writes what has happened on a queue.
    pub fn counters(&mut self, counters: &Counters) -> fmt::Result {
        self.line("added", counters.added)?;
        self.line("used", counters.used)?;
        self.line("kicks", counters.kicks)?;
        self.line("notifications", counters.notifications)?;
        self.line("interrupts", counters.interrupts)
    }

    /// Writes the state of a queue; there is none while the device is reset.
    pub fn snapshot(&mut self, snapshot: Option<&Snapshot>) -> fmt::Result {
        let Some(snapshot) = snapshot else {
            return self.line("ring", "none");
        };
        self.line("size", snapshot.size)?;
        self.line("free", snapshot.free)?;
        self.line("outstanding", snapshot.outstanding)?;
        if let Some(tables) = snapshot.tables {
            self.line("tables", tables)?;
        }
        self.yes_no("broken", snapshot.broken)
    }
}
