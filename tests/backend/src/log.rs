// SPDX-License-Identifier: GPL-2.0

//! What is said on standard error, as much as is asked for.

use anyhow::{Result, bail};
use std::{
    fmt,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    time::Instant,
};

/// How much somebody has to be interested in something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing is said.
    Off,
    /// What is not as it should be.
    Warn,
    /// What happens to devices and queues, too.
    Info,
    /// Each act of a rule, too.
    Debug,
}

/// The levels, by their names.
const LEVELS: &[(&str, Level)] = &[
    ("off", Level::Off),
    ("warn", Level::Warn),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

static MOST: AtomicU8 = AtomicU8::new(Level::Warn as u8);
static BEGUN: OnceLock<Instant> = OnceLock::new();

impl Level {
    /// Finds a level by its name.
    pub fn named(name: &str) -> Result<Self> {
        match LEVELS.iter().find(|(known, _)| *known == name) {
            Some((_, level)) => Ok(*level),
            None => bail!("there is no level {name}; there are off, warn, info and debug"),
        }
    }
}

/// Sets what is said; times are counted from the first call.
pub fn set(most: Level) {
    BEGUN.get_or_init(Instant::now);
    MOST.store(most as u8, Ordering::Relaxed);
}

/// Says something, if it is asked for.
pub fn say(level: Level, what: fmt::Arguments<'_>) {
    if level as u8 <= MOST.load(Ordering::Relaxed) {
        let since = BEGUN.get_or_init(Instant::now).elapsed();
        eprintln!("{:10.6} {what}", since.as_secs_f64());
    }
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

pub(crate) use {detail, note, warning};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_names_and_an_order() {
        let levels: Vec<_> = LEVELS.iter().map(|(_, level)| *level).collect();
        assert!(levels.is_sorted());
        assert_eq!(Level::named("info").expect("a level"), Level::Info);
        assert!(Level::named("loud").is_err());
    }
}
