// SPDX-License-Identifier: GPL-2.0

//! What the driver does to a queue after it has reset the device.

use super::{Counters, Queue};
use crate::ring::{Changes, Seal};
use std::{fs::File, time::Instant};

/// A queue that was stopped, and what its driver may still do to it.
#[derive(Debug)]
pub struct Watch {
    /// What the driver has notified by.
    pub kick: Option<File>,
    /// What the ring was like, if it could be read.
    pub seal: Option<Seal>,
    /// When the ring is looked at, if it was not yet.
    pub look: Option<Instant>,
    /// Whether the next event only says that the driver has notified before.
    pub stale: bool,
    /// What was seen.
    pub seen: Seen,
}

/// What was seen since a queue was stopped.
#[derive(Debug, Default)]
pub struct Seen {
    kicks: u64,
    added: u64,
    words: Vec<String>,
    /// What should not have been was said in the log.
    told: bool,
}

impl Seen {
    fn is_wrong(&self) -> bool {
        self.kicks > 0 || self.added > 0
    }

    /// Says it in words.
    pub fn words(&self) -> String {
        let mut words = self.words.clone();
        if self.kicks > 0 {
            let times = if self.kicks == 1 {
                "once".to_owned()
            } else {
                format!("{} times", self.kicks)
            };
            words.insert(0, format!("the driver has notified {times}"));
        }
        words.join(", ")
    }
}

/// How much somebody should be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// There is nothing new.
    Nothing,
    /// Something has changed, for which there may be a reason.
    Change,
    /// The driver uses the queue, which it must not. That is told once.
    Offence,
}

impl Watch {
    /// Takes note of a notification.
    pub fn kicked(&mut self, counters: &mut Counters) -> Telling {
        if std::mem::take(&mut self.stale) {
            return Telling::Nothing;
        }
        self.seen.kicks += 1;
        counters.kicks_after_reset += 1;
        self.look(counters);
        self.tell()
    }

    /// Looks at the ring, as it is time for that.
    pub fn look_in_time(&mut self, counters: &mut Counters) -> Telling {
        self.look = None;
        let changed = self.look(counters);
        match self.tell() {
            Telling::Nothing if changed => Telling::Change,
            telling => telling,
        }
    }

    /// Looks at the ring. Returns whether anything has changed since the last time.
    fn look(&mut self, counters: &mut Counters) -> bool {
        let changes = self.seal.as_mut().map(Seal::changes);
        // What was there when the queue was stopped is mapped, and so it can be read.
        let Some(Ok(Changes { added, words })) = changes else {
            return false;
        };
        if words.is_empty() {
            return false;
        }
        counters.ring_changes_after_reset += 1;
        counters.buffers_after_reset += u64::from(added);
        self.seen.added += u64::from(added);
        self.seen.words.extend(words);
        true
    }

    fn tell(&mut self) -> Telling {
        if self.seen.is_wrong() && !std::mem::replace(&mut self.seen.told, true) {
            Telling::Offence
        } else {
            Telling::Nothing
        }
    }
}

impl<J> Queue<J> {
    /// Says in words what was seen since the queue was stopped, if it was anything.
    pub fn seen_after_reset(&self) -> Option<String> {
        let words = self.watch.as_ref()?.seen.words();
        (!words.is_empty()).then_some(words)
    }
}
