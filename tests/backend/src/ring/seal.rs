// SPDX-License-Identifier: GPL-2.0

//! What the driver has written to a ring since the queue was stopped.

use super::Result;
use crate::memory::Area;
use virtio_wire::ring::{
    INDIRECT, NEXT, WRITE,
    packed::{self, AVAILABLE, Position, State, USED},
    split::{self, FLAGS_OFFSET, INDEX_OFFSET, Index, NO_NOTIFY},
};

/// The number of bytes in a descriptor of either form, and where its flags are in a packed ring.
const DESCRIPTOR: usize = 16;
const FLAGS: usize = 14;

/// A part of a ring that only the driver writes after the queue was stopped.
#[derive(Debug)]
struct Part {
    /// It stays mapped, whatever QEMU does to its table of memory.
    area: Area,
    bytes: Vec<u8>,
}

impl Part {
    fn new(area: &Area) -> Result<Self> {
        Ok(Self {
            area: area.clone(),
            bytes: area.bytes()?,
        })
    }

    /// Returns how it was, and takes note of how it is.
    fn renew(&mut self) -> Result<Vec<u8>> {
        let now = self.area.bytes()?;
        Ok(std::mem::replace(&mut self.bytes, now))
    }
}

/// The form of the ring, with what has to be known to understand it.
#[derive(Debug)]
enum Form {
    Split(split::QueueSize),
    /// The position is that of the buffer that would have been taken next.
    Packed(packed::QueueSize, Position),
}

/// The driver's parts of a ring as they were when somebody last looked.
#[derive(Debug)]
pub struct Seal {
    form: Form,
    descriptors: Part,
    /// The available ring, or the driver's structure for events.
    driver: Part,
}

/// What is different.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many buffers were made available, by all appearances.
    pub added: u16,
    /// Each of them, in words; none if nothing is.
    pub words: Vec<String>,
}

/// Reads an integer; what is not there is zero.
fn word(bytes: &[u8], at: usize) -> u16 {
    let there = bytes.get(at..).and_then(<[u8]>::first_chunk);
    u16::from_le_bytes(*there.unwrap_or(&[0; 2]))
}

/// Counts entries of some length that are different.
fn different(before: &[u8], now: &[u8], length: usize) -> usize {
    let pairs = before.chunks(length).zip(now.chunks(length));
    pairs.filter(|(before, now)| before != now).count()
}

/// Counts something, for people.
fn changed(count: usize, one: &str, many: &str) -> Option<String> {
    match count {
        0 => None,
        1 => Some(format!("1 {one} has changed")),
        _ => Some(format!("{count} {many} have changed")),
    }
}

/// Counts the buffers that are available from a position on.
fn available(bytes: &[u8], size: packed::QueueSize, first: Position) -> Result<u16> {
    const KNOWN: u16 = NEXT | WRITE | INDIRECT | AVAILABLE | USED;
    let (mut count, mut place) = (0, first);
    for _ in 0..size.get() {
        let flags = word(bytes, place.offset() + FLAGS);
        // Memory that is used for something else rarely has no other bits.
        if flags & !KNOWN != 0 || place.state(flags) != State::Available {
            break;
        }
        count += u16::from(flags & NEXT == 0);
        place = place.plus(1, size)?;
    }
    Ok(count)
}

impl Seal {
    pub(super) fn split(
        size: split::QueueSize,
        descriptors: &Area,
        available: &Area,
    ) -> Result<Self> {
        Ok(Self {
            form: Form::Split(size),
            descriptors: Part::new(descriptors)?,
            driver: Part::new(available)?,
        })
    }

    pub(super) fn packed(
        size: packed::QueueSize,
        next: Position,
        ring: &Area,
        event: &Area,
    ) -> Result<Self> {
        Ok(Self {
            form: Form::Packed(size, next),
            descriptors: Part::new(ring)?,
            driver: Part::new(event)?,
        })
    }

    /// Tells what is different from the last time, or from when the queue was stopped.
    pub fn changes(&mut self) -> Result<Changes> {
        let descriptors = self.descriptors.renew()?;
        let driver = self.driver.renew()?;
        let mut changes = match self.form {
            Form::Split(size) => self.split_changes(size, &driver),
            Form::Packed(size, next) => self.packed_changes(size, next, &descriptors, &driver)?,
        };
        let count = different(&descriptors, &self.descriptors.bytes, DESCRIPTOR);
        changes
            .words
            .extend(changed(count, "descriptor", "descriptors"));
        Ok(changes)
    }

    fn split_changes(&self, size: split::QueueSize, before: &[u8]) -> Changes {
        let now = &self.driver.bytes;
        let mut changes = Changes::default();
        let words = &mut changes.words;
        let index = |bytes: &[u8]| Index::new(word(bytes, INDEX_OFFSET));
        let (old, new) = (index(before), index(now));
        let entry = |bytes: &[u8], at: Index| word(bytes, size.available_offset(at));
        let on = new.get().wrapping_sub(old.get());
        let back = old.get().wrapping_sub(new.get());
        let heads = (0..on).all(|at| entry(now, old.plus(at)) < size.get());
        if on == 0 {
            // It is as it was.
        } else if on <= size.get() && heads && word(now, FLAGS_OFFSET) <= NO_NOTIFY {
            changes.added = on;
            words.push(format!(
                "the available index went on by {on}, as if buffers were added"
            ));
        } else if back <= size.get() {
            words.push(format!(
                "the available index went back by {back}, as if buffers were taken back"
            ));
        } else {
            let (old, new) = (old.get(), new.get());
            words.push(format!("the available index is {new}, and was {old}"));
        }
        let entries = (0..size.get()).map(Index::new);
        let entries = entries.filter(|at| entry(before, *at) != entry(now, *at));
        words.extend(changed(
            entries.count(),
            "available entry",
            "available entries",
        ));
        let event = size.used_event_offset();
        let differs = |at| word(before, at) != word(now, at);
        if differs(FLAGS_OFFSET) || differs(event) {
            words.push("it says otherwise when it wants to be notified".to_owned());
        }
        changes
    }

    fn packed_changes(
        &self,
        size: packed::QueueSize,
        next: Position,
        before: &[u8],
        event: &[u8],
    ) -> Result<Changes> {
        let mut changes = Changes::default();
        let old = available(before, size, next)?;
        changes.added = available(&self.descriptors.bytes, size, next)?.saturating_sub(old);
        if changes.added > 0 {
            let added = changes.added;
            changes
                .words
                .push(format!("{added} more buffers are available"));
        }
        if event != self.driver.bytes {
            let words = "it says otherwise when it wants to be notified";
            changes.words.push(words.to_owned());
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        memory::{Memory, tests::*},
        ring::{self, Ring, tests::driver::Driver},
    };

    const SIZE: u16 = 8;

    fn sealed(packed: bool) -> (Memory, Driver, Ring, Seal) {
        let memory = memory(0x10000);
        let form = ring::Form {
            packed,
            event_index: true,
            indirect: true,
        };
        let mut driver = Driver::new(&memory, SIZE, form);
        let mut ring = driver.ring(&memory, None).expect("a ring");
        // One was taken, and one is available, when the queue is stopped.
        driver.add(&memory, 1, 1);
        ring.pop(&memory).expect("a pop").expect("a buffer");
        driver.add(&memory, 1, 1);
        let seal = ring.seal().expect("a seal");
        (memory, driver, ring, seal)
    }

    #[test]
    fn buffers_that_are_added_are_seen() {
        for (packed, words) in [
            (
                false,
                [
                    "the available index went on by 2, as if buffers were added",
                    "2 available entries have changed",
                    "3 descriptors have changed",
                ]
                .as_slice(),
            ),
            (
                true,
                &["2 more buffers are available", "3 descriptors have changed"],
            ),
        ] {
            let (memory, mut driver, _, mut seal) = sealed(packed);
            assert_eq!(seal.changes().expect("a look"), Changes::default());
            driver.add(&memory, 1, 0);
            driver.add(&memory, 1, 1);
            let changes = seal.changes().expect("a look");
            assert_eq!(changes.added, 2);
            assert_eq!(changes.words, words);
            // They are not told of again.
            assert_eq!(seal.changes().expect("a look"), Changes::default());
        }
    }

    #[test]
    fn events_are_seen() {
        for packed in [false, true] {
            let (memory, driver, _, mut seal) = sealed(packed);
            let event = if packed {
                0
            } else {
                4 + 2 * u64::from(driver.setup.size)
            };
            let at = driver.setup.available - USER + GUEST + event;
            memory.write(at, &[0x55]).expect("a write");
            let changes = seal.changes().expect("a look");
            let words = ["it says otherwise when it wants to be notified"];
            assert_eq!(
                (changes.added, changes.words.as_slice()),
                (0, &words.map(str::to_owned)[..])
            );
        }
    }

    #[test]
    fn buffers_that_are_taken_back_are_none_that_are_added() {
        let (memory, driver, _, mut seal) = sealed(false);
        // As Linux does it when it gives up a queue.
        let at = driver.setup.available - USER + GUEST + 2;
        memory.write(at, &0_u16.to_le_bytes()).expect("a write");
        let changes = seal.changes().expect("a look");
        assert_eq!(changes.added, 0);
        assert_eq!(
            changes.words,
            ["the available index went back by 2, as if buffers were taken back"]
        );
    }

    #[test]
    fn memory_that_is_used_for_something_else_is_no_buffer() {
        for packed in [false, true] {
            for filling in [0, 0x55, 0xaa, 0xff] {
                let (memory, _, _, mut seal) = sealed(packed);
                memory.write(GUEST, &[filling; 0x4000]).expect("a write");
                let changes = seal.changes().expect("a look");
                assert_eq!(changes.added, 0, "{filling:#x}: {changes:?}");
                assert!(!changes.words.is_empty());
            }
        }
    }

    #[test]
    fn it_outlives_the_table_of_memory() {
        let (mut memory, mut driver, ring, mut seal) = sealed(true);
        let other = ring.seal().expect("another");
        drop((ring, other));
        driver.add(&memory, 1, 1);
        memory.clear();
        assert_eq!(seal.changes().expect("a look").added, 1);
    }
}
