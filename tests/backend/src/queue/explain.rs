// SPDX-License-Identifier: GPL-2.0

//! Why a queue does not go on, in words.

use super::Queue;
use crate::{
    class::Use,
    ring::{Look, Ring},
};

/// Counts something, for people.
fn many(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what} is"),
        _ => format!("{count} {what}s are"),
    }
}

impl<J> Queue<J> {
    /// Tells where buffers are, and who is to do something next, in a queue that is used for this.
    pub fn explain(&self, used_for: Use) -> Vec<String> {
        let Some(ring) = &self.ring else {
            let mut words = vec![if self.counters.errors > 0 {
                "It has ended after an error, which the log of the backend tells.".to_owned()
            } else if self.counters.starts > 0 {
                "It was stopped: the driver has reset the device, or QEMU is stopped.".to_owned()
            } else {
                "QEMU has not started it: the driver has not set it up.".to_owned()
            }];
            if let Some(seen) = self.seen_after_reset() {
                words.push(format!("Since then, {seen}."));
            }
            return words;
        };
        let mut words = Vec::new();
        if !self.enabled {
            words.push("QEMU has not enabled it: the driver does not use it yet.".to_owned());
        }
        if self.paused {
            words.push("It is at a pause; `resume` has it go on.".to_owned());
        }
        match ring.look() {
            Ok(look) => self.explain_ring(&look, used_for, &mut words),
            Err(error) => words.push(format!("The ring cannot be understood: {error}.")),
        }
        self.explain_buffers(ring, &mut words);
        words
    }

    fn explain_ring(&self, look: &Look, used_for: Use, words: &mut Vec<String>) {
        if used_for == Use::Filled {
            words.push(match look.waiting {
                0 => "There is no buffer to fill: the driver has to add some.".to_owned(),
                count => format!("{} there to be filled.", many(count.into(), "buffer")),
            });
        } else if look.waiting > 0 {
            words.push(format!(
                "{} available, and not taken.",
                many(look.waiting.into(), "buffer")
            ));
            if self.runs() {
                words.push(if look.asked {
                    "The device has asked to be notified, and was not.".to_owned()
                } else {
                    "The device has not asked to be notified, and looks by itself.".to_owned()
                });
            }
        } else if look.asked {
            words.push("All that the driver has made available was taken.".to_owned());
        }
        words.push(match look.wanted {
            Some(1) => "The driver wants to be notified of the next one.".to_owned(),
            Some(more) => format!("The driver wants to be notified after {more} more."),
            None => "The driver does not want to be notified.".to_owned(),
        });
        if self.owes_call {
            words.push("It should have been, but QEMU has told no way to do so.".to_owned());
        }
    }

    fn explain_buffers(&self, ring: &Ring, words: &mut Vec<String>) {
        let out = usize::from(ring.out());
        let held = self.waiting.iter().filter(|it| it.ready.is_none()).count();
        let late = self.waiting.len() - held;
        let turn = self.gate.kept() + self.joined.len();
        if held > 0 {
            words.push(format!(
                "{} held; `release` serves them.",
                many(held, "buffer")
            ));
        }
        if late > 0 {
            words.push(format!("{} served later.", many(late, "buffer")));
        }
        let flying = self.flying.len();
        if flying > 0 {
            words.push(format!("{} being served.", many(flying, "buffer")));
        }
        if turn > 0 {
            words.push(format!(
                "{} done, and not at its turn.",
                many(turn, "buffer")
            ));
        }
        let lost = out.saturating_sub(held + late + turn + flying);
        if lost > 0 {
            words.push(format!(
                "{} not going to be returned.",
                many(lost, "buffer")
            ));
        }
        if out == 0 {
            words.push("The driver has got back all that was taken.".to_owned());
        }
    }
}
