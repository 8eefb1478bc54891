// SPDX-License-Identifier: GPL-2.0

//! What is said on standard error, as much as is asked for.
//!
//! This is all that the program needs of a crate such as `tracing`, which would bring several others.

use anyhow::{Result, bail};
use std::{
    fmt,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

/// How much somebody has to be interested in something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is said.
    Off,
    /// What ends the use of something: a connection, a queue, a port.
    Error,
    /// What is not as it should be.
    Warn,
    /// What happens to devices and queues, too.
    Info,
    /// Each act of a rule, too.
    Debug,
    /// Each message of QEMU, and each buffer, too.
    Trace,
}

/// The levels, by their names.
const LEVELS: &[(&str, Level)] = &[
    ("off", Level::Off),
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
    ("trace", Level::Trace),
];

/// How many errors and warnings are said in a second, unless more than those are asked for: what a
/// driver does wrong, it may do very often.
const MOST_IN_A_SECOND: u32 = 100;

/// Counts the lines of a second.
#[derive(Debug)]
struct Limit {
    second: u64,
    said: u32,
    left_out: u64,
}

impl Limit {
    const fn new() -> Self {
        Self {
            second: 0,
            said: 0,
            left_out: 0,
        }
    }

    /// Returns whether another line is said, and how many were left out before it.
    fn allow(&mut self, since: Duration) -> Option<u64> {
        if self.second != since.as_secs() {
            self.second = since.as_secs();
            self.said = 0;
        }
        if self.said == MOST_IN_A_SECOND {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

static LIMIT: Mutex<Limit> = Mutex::new(Limit::new());
static MOST: AtomicU8 = AtomicU8::new(Level::Warn as u8);
static BEGUN: OnceLock<Instant> = OnceLock::new();

impl Level {
    /// Finds a level by its name.
    pub fn named(name: &str) -> Result<Self> {
        match LEVELS.iter().find(|(known, _)| *known == name) {
            Some((_, level)) => Ok(*level),
            None => {
                bail!("there is no level {name}; there are off, error, warn, info, debug and trace")
            }
        }
    }

    /// Returns its name.
    fn name(self) -> &'static str {
        let known = LEVELS.iter().find(|(_, level)| *level == self);
        known.map_or("", |(name, _)| name)
    }
}

/// Sets what is said; times are counted from the first call.
pub fn set(most: Level) {
    BEGUN.get_or_init(Instant::now);
    MOST.store(most as u8, Ordering::Relaxed);
}

/// Returns whether what is of a level is said.
pub fn wants(level: Level) -> bool {
    level as u8 <= MOST.load(Ordering::Relaxed)
}

/// Says something, if it is asked for.
pub fn say(level: Level, what: fmt::Arguments<'_>) {
    if wants(level) {
        let since = BEGUN.get_or_init(Instant::now).elapsed();
        if !wants(Level::Info) {
            let mut limit = LIMIT.lock().unwrap_or_else(PoisonError::into_inner);
            match limit.allow(since) {
                None => return,
                Some(0) => {}
                Some(count) => {
                    let what = format_args!("{count} more lines were left out");
                    eprintln!("{}", line(Level::Warn, since, what));
                }
            }
        }
        eprintln!("{}", line(level, since, what));
    }
}

fn line(level: Level, since: Duration, what: fmt::Arguments<'_>) -> String {
    format!("{:10.6} {:5} {what}", since.as_secs_f64(), level.name())
}

/// Says what ends the use of something.
macro_rules! error {
    ($($what:tt)*) => {
        $crate::log::say($crate::log::Level::Error, format_args!($($what)*))
    };
}

/// Says what is not as it should be.
macro_rules! warning {
    ($($what:tt)*) => {
        $crate::log::say($crate::log::Level::Warn, format_args!($($what)*))
    };
}

/// Says what happens to a device or a queue.
macro_rules! note {
    ($($what:tt)*) => {
        $crate::log::say($crate::log::Level::Info, format_args!($($what)*))
    };
}

/// Says what happens to a request.
macro_rules! detail {
    ($($what:tt)*) => {
        $crate::log::say($crate::log::Level::Debug, format_args!($($what)*))
    };
}

/// Says each step. It costs a look at the level where nobody wants to know.
macro_rules! trace {
    ($($what:tt)*) => {
        if $crate::log::wants($crate::log::Level::Trace) {
            $crate::log::say($crate::log::Level::Trace, format_args!($($what)*))
        }
    };
}

pub(crate) use {detail, error, note, trace, warning};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_an_order() {
        let levels: Vec<_> = LEVELS.iter().map(|(_, level)| *level).collect();
        assert!(levels.is_sorted());
        assert_eq!(Level::named("info").expect("a level"), Level::Info);
        let error = Level::named("loud").expect_err("no level").to_string();
        for (name, level) in LEVELS {
            assert_eq!(level.name(), *name);
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut limit = Limit::new();
        let first = Duration::from_millis(1500);
        for _ in 0..MOST_IN_A_SECOND {
            assert_eq!(limit.allow(first), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(limit.allow(first), None);
        }
        let next = Duration::from_millis(2000);
        assert_eq!(limit.allow(next), Some(7));
        assert_eq!(limit.allow(next), Some(0));
    }

    #[test]
    fn a_line_has_a_time_and_a_level() {
        let since = Duration::from_micros(1_500_000);
        let said = line(Level::Warn, since, format_args!("disk: {}", "late"));
        assert_eq!(said, "  1.500000 warn  disk: late");
    }
}
