// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::memory::tests::file;
use proptest::prelude::*;
use random::Random;
use std::cell::RefCell;

/// What is done to an overlay file.
#[derive(Clone, Debug)]
pub enum Step {
    /// Bytes are written.
    Write(u64, Vec<u8>),
    /// Zeroes are made.
    Zero(u64, u64),
    /// The length is set.
    Length(u64),
    /// What was done is made stable.
    Sync,
}

thread_local! {
    /// What was done, if somebody wants to know.
    static JOURNAL: RefCell<Option<Vec<Step>>> = const { RefCell::new(None) };
}

/// Notes what is about to be done.
pub fn note(step: impl FnOnce() -> Step) {
    JOURNAL.with_borrow_mut(|journal| {
        if let Some(journal) = journal {
            journal.push(step());
        }
    });
}

/// The base has four clusters, and a part of a fifth.
const BASE: u64 = 4 * CLUSTER + 0x2000;
const SECTOR: u64 = 512;

/// A base: each byte of a sector is the number of the sector, from 128 on.
fn base() -> File {
    let base = file(BASE);
    for sector in 0..BASE / SECTOR {
        let bytes = [base_byte(sector); 512];
        base.write_all_at(&bytes, sector * SECTOR).expect("a base");
    }
    base
}

fn base_byte(sector: u64) -> u8 {
    u8::try_from(128 + sector % 127).expect("a byte")
}

/// The same file, opened once more: a lock is one of who has opened it.
fn again(file: &File) -> File {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    File::options()
        .read(true)
        .write(true)
        .open(path)
        .expect("the same file")
}

fn open(base: &File, overlay: &File) -> Overlay {
    Overlay::of(again(base), again(overlay), true).expect("an overlay")
}

fn byte(overlay: &Overlay, sector: u64) -> u8 {
    let mut bytes = [0; 512];
    overlay.read(sector * SECTOR, &mut bytes).expect("a read");
    assert!(
        bytes.iter().all(|byte| *byte == bytes[0]),
        "sector {sector} is mixed"
    );
    bytes[0]
}

#[test]
fn a_request_reads_from_both() {
    let (base, mine) = (base(), file(0));
    let mut overlay = open(&base, &mine);
    assert_eq!((overlay.length(), overlay.count()), (BASE, 0));
    // The end of a cluster, and the beginning of the next one.
    overlay
        .write(2 * CLUSTER - 1024, &[7; 2048])
        .expect("a write");

    let mut bytes = vec![0; 3 * 65536];
    overlay.read(CLUSTER / 2, &mut bytes).expect("a read");
    for (at, byte) in bytes.iter().enumerate() {
        let offset = CLUSTER / 2 + u64::try_from(at).expect("an offset");
        let new = (2 * CLUSTER - 1024..2 * CLUSTER + 1024).contains(&offset);
        let wanted = if new { 7 } else { base_byte(offset / SECTOR) };
        assert_eq!(*byte, wanted, "at {offset:#x}");
    }
    assert_eq!((overlay.count(), overlay.copied()), (2, 2));
    assert_eq!(
        overlay
            .read(BASE, &mut [0; 512])
            .expect_err("the end")
            .kind(),
        io::ErrorKind::InvalidInput
    );
    assert!(overlay.write(BASE - 512, &[0; 1024]).is_err());
    assert!(overlay.zero(u64::MAX - 511, 512).is_err());
}

#[test]
fn the_base_is_never_written() {
    let (base, mine) = (base(), file(0));
    let read = |file: &File| {
        let mut bytes = vec![0; usize::try_from(BASE).expect("a length")];
        file.read_exact_at(&mut bytes, 0).expect("a read");
        bytes
    };
    let before = read(&base);
    let mut overlay = open(&base, &mine);
    overlay.write(0, &vec![1; 70000]).expect("a write");
    overlay.zero(CLUSTER, 2 * CLUSTER).expect("zeroes");
    overlay.resize(1024).expect("to shrink");
    overlay.resize(9 * CLUSTER).expect("to grow");
    overlay.sync().expect("a sync");

    assert_eq!(read(&base), before);
}

#[test]
fn zeroes_hide_the_base() {
    let (base, mine) = (base(), file(0));
    let mut overlay = open(&base, &mine);
    // A part of the first cluster, all of the second, and a part of the third.
    overlay.zero(CLUSTER - 512, CLUSTER + 1024).expect("zeroes");
    // All of the last one, which is a short one.
    overlay.zero(4 * CLUSTER, 0x2000).expect("zeroes");
    overlay.sync().expect("a sync");
    drop(overlay);

    let overlay = open(&base, &mine);
    for sector in 0..BASE / SECTOR {
        let zero = (127..257).contains(&sector) || sector >= 512;
        let wanted = if zero { 0 } else { base_byte(sector) };
        assert_eq!(byte(&overlay, sector), wanted, "sector {sector}");
    }
    assert_eq!((overlay.count(), overlay.copied()), (4, 0));
}

#[test]
fn what_was_flushed_is_there_again() {
    let (base, mine) = (base(), file(0));
    let mut overlay = open(&base, &mine);
    overlay.write(512, &[1; 512]).expect("a write");
    overlay.sync().expect("a sync");
    overlay.write(CLUSTER, &[2; 512]).expect("a write");
    drop(overlay);

    let mut overlay = open(&base, &mine);
    assert_eq!([0, 1].map(|s| byte(&overlay, s)), [128, 1]);
    assert_eq!(byte(&overlay, 128), base_byte(128), "it was not flushed");
    overlay.write(CLUSTER, &[2; 512]).expect("a write");
    overlay.settle().expect("to settle");
    drop(overlay);
    assert_eq!(byte(&open(&base, &mine), 128), 2);
}

#[test]
fn the_length_is_that_of_the_overlay() {
    let (base, mine) = (base(), file(0));
    let mut overlay = open(&base, &mine);
    overlay.write(0, &[1; 512]).expect("a write");
    overlay.write(CLUSTER, &[2; 512]).expect("a write");
    overlay.sync().expect("a sync");
    overlay.resize(1024).expect("to shrink");
    overlay.resize(20 * CLUSTER).expect("to grow");
    // What the base has there is not to come back.
    assert_eq!([0, 1, 2, 128].map(|s| byte(&overlay, s)), [1, 129, 0, 0]);
    overlay.write(19 * CLUSTER, &[3; 512]).expect("a write");
    overlay.sync().expect("a sync");
    drop(overlay);

    let mut overlay = open(&base, &mine);
    assert_eq!(overlay.length(), 20 * CLUSTER);
    assert_eq!([0, 1, 2, 128].map(|s| byte(&overlay, s)), [1, 129, 0, 0]);
    assert_eq!(byte(&overlay, 19 * 128), 3);
    let most = MOST_CLUSTERS * CLUSTER;
    assert!(overlay.resize(most + 1).is_err());
    assert_eq!(overlay.length(), 20 * CLUSTER);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let (base, mine) = (base(), file(0));
    drop(open(&base, &mine));
    let why = |base: &File, mine: &File| {
        let result = Overlay::of(again(base), again(mine), true);
        result.expect_err("it is refused").to_string()
    };

    assert_eq!(
        why(&file(1024), &mine),
        "the overlay belongs to a base of 270336 bytes, and this one has 1024"
    );
    assert_eq!(
        why(&file(BASE), &mine),
        "the overlay belongs to another base, or the base was changed since it was made"
    );
    assert_eq!(why(&base, &base), "the overlay is its own base");
    for other in [file(7), file(0x10000)] {
        assert_eq!(why(&base, &other), "this file is no overlay, and not empty");
    }
    let held = open(&base, &mine);
    assert_eq!(why(&base, &mine), "the overlay is in use");
    drop(held);
    mine.write_all_at(&[1], 40).expect("a change");
    assert_eq!(why(&base, &mine), "the header of the overlay is damaged");
}

#[test]
fn who_only_reads_changes_nothing() {
    let (base, mine) = (base(), file(0));
    assert!(Overlay::of(again(&base), again(&mine), false).is_err());
    let mut overlay = open(&base, &mine);
    overlay.write(0, &[1; 512]).expect("a write");
    overlay.sync().expect("a sync");
    drop(overlay);
    let length = mine.metadata().expect("metadata").len();

    let overlay = Overlay::of(again(&base), again(&mine), false).expect("an overlay");
    assert_eq!([0, 1].map(|s| byte(&overlay, s)), [1, 129]);
    assert_eq!(mine.metadata().expect("metadata").len(), length);
}

#[test]
fn it_is_sparse() {
    let (base, mine) = (base(), file(0));
    let mut overlay = open(&base, &mine);
    overlay.resize(1 << 40).expect("to grow");
    overlay.write(1 << 39, &[1; 512]).expect("a write");
    overlay.sync().expect("a sync");
    let blocks = mine.metadata().expect("metadata").blocks();
    assert!(blocks * 512 < 1 << 20, "it takes {blocks} blocks");
}

/// Does a step; of one that is not stable yet, what `happens` says of each sector.
fn redo(file: &File, step: &Step, mut happens: impl FnMut() -> bool) {
    match step {
        Step::Write(offset, bytes) => {
            let offsets = (*offset..).step_by(512);
            for (offset, part) in offsets.zip(bytes.chunks(512)) {
                if happens() {
                    file.write_all_at(part, offset).expect("a write");
                }
            }
        }
        Step::Zero(offset, length) => {
            for at in (0..*length).step_by(512) {
                if happens() {
                    make_zeroes(file, offset + at, 512).expect("zeroes");
                }
            }
        }
        Step::Length(length) => {
            if happens() {
                file.set_len(*length).expect("a length");
            }
        }
        Step::Sync => {}
    }
}

/// A write, zeroes, a flush or a resize, with numbers for it.
type Operation = (u8, u64, u64);

/// What sectors may have, if the backend or the machine stops here: what they had when the disk was
/// flushed, and what they have been given since then.
struct Model {
    length: u64,
    now: Vec<u8>,
    allowed: Vec<Vec<u8>>,
    /// The lengths that the disk may have.
    lengths: Vec<u64>,
}

impl Model {
    fn put(&mut self, sectors: Range<usize>, byte: u8) {
        for sector in sectors {
            self.now[sector] = byte;
            self.allowed[sector].push(byte);
        }
    }

    fn flush(&mut self) {
        for (allowed, now) in self.allowed.iter_mut().zip(&self.now) {
            *allowed = vec![*now];
        }
    }
}

const MOST_SECTORS: u64 = 6 * 128;

/// Does something to the overlay and to the model. Afterwards each sector has what it should have.
fn act(overlay: &mut Overlay, model: &mut Model, number: u8, operation: Operation) {
    let (kind, first, count) = operation;
    let sectors = model.length / SECTOR;
    let first = first % sectors;
    let count = count.min(sectors - first);
    let bytes = vec![number; usize::try_from(count * SECTOR).expect("a length")];
    let index = |sector| usize::try_from(sector).expect("an index");
    let range = index(first)..index(first + count);
    match kind {
        0 => {
            model.put(range, number);
            overlay.write(first * SECTOR, &bytes).expect("a write");
        }
        1 => {
            model.put(range, 0);
            overlay
                .zero(first * SECTOR, count * SECTOR)
                .expect("zeroes");
        }
        2 => {
            overlay.sync().expect("a sync");
            model.flush();
        }
        _ => {
            let new = first.max(1) * (count % 3 + 1);
            let new = new.min(MOST_SECTORS);
            // What is cut off is gone, and may be so before.
            model.put(index(new)..index(MOST_SECTORS), 0);
            model.lengths = vec![model.length, new * SECTOR];
            overlay.resize(new * SECTOR).expect("a resize");
            model.length = new * SECTOR;
        }
    }
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let kind = prop_oneof![4 => Just(0_u8), 2 => Just(1), 2 => Just(2), 1 => Just(3)];
    prop::collection::vec((kind, 0..MOST_SECTORS, 1..300_u64), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Wherever the backend is killed, or the machine loses what is not stable, in any part: what
    /// was flushed is there, and nothing is there that was never written.
    #[test]
    fn no_end_loses_what_was_flushed(operations in operations(), seed: u64) {
        let (base, mine) = (base(), file(0));
        JOURNAL.set(Some(Vec::new()));
        let mut overlay = open(&base, &mine);
        let now: Vec<u8> = (0..MOST_SECTORS)
            .map(|sector| if sector < BASE / SECTOR { base_byte(sector) } else { 0 })
            .collect();
        let mut model = Model {
            length: BASE,
            allowed: now.iter().map(|byte| vec![*byte]).collect(),
            now,
            lengths: vec![BASE],
        };
        let mut random = Random::new(seed);
        // It has begun: an overlay that is not there yet can be made again.
        let mut done = JOURNAL.with_borrow(|journal| journal.as_ref().map_or(0, Vec::len));
        for (number, operation) in (1..).zip(operations) {
            let before: Vec<Vec<u8>> = model.allowed.clone();
            act(&mut overlay, &mut model, number, operation);
            for sector in 0..model.length / SECTOR {
                let at = usize::try_from(sector).expect("an index");
                prop_assert_eq!(byte(&overlay, sector), model.now[at]);
            }
            let journal = JOURNAL.with_borrow(|journal| journal.clone().unwrap_or_default());
            for cut in done..=journal.len() {
                // In the middle of a flush, what was allowed before is.
                let allowed = if cut == journal.len() { &model.allowed } else { &before };
                for power in [false, true] {
                    let copy = file(0);
                    let stable = journal[..cut].iter().rposition(|step| matches!(step, Step::Sync));
                    for (at, step) in journal[..cut].iter().enumerate() {
                        let kept = !power || stable.is_some_and(|stable| at < stable);
                        redo(&copy, step, || kept || random.byte() < 128);
                    }
                    let found = open_quietly(&base, &copy);
                    prop_assert!(model.lengths.contains(&found.length()));
                    for sector in 0..found.length() / SECTOR {
                        let at = usize::try_from(sector).expect("an index");
                        let there = byte(&found, sector);
                        prop_assert!(
                            allowed[at].contains(&there) || model.allowed[at].contains(&there),
                            "sector {} is {} after {} of {} steps: {:?}",
                            sector, there, cut, journal.len(), allowed[at]
                        );
                    }
                }
            }
            done = journal.len();
            model.lengths = vec![model.length];
        }
        JOURNAL.set(None);
    }
}

/// Opens an overlay, of which the journal does not tell.
fn open_quietly(base: &File, overlay: &File) -> Overlay {
    let journal = JOURNAL.take();
    let opened = open(base, overlay);
    JOURNAL.set(journal);
    opened
}
