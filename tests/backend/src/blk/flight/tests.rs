// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    blk::{Medium, Options},
    class::Class,
    memory::tests::{GUEST, file, memory},
    ring::Buffer,
};
use proptest::prelude::*;
use std::{os::fd::AsRawFd, os::unix::fs::FileExt, path::PathBuf};
use virtio_wire::{
    blk::{RequestHeader, RequestKind, SegmentLayout, segment::Unmap},
    ring::{Access, Element},
};

const SECTORS: u64 = 256;

/// How far the memory of one request is from that of the next, and where its data is.
const SLOT: u64 = 0x2000;
const DATA: u64 = 0x100;
const SLOTS: u64 = 24;
const MOST: u64 = 12;

/// Says why, if nothing can be tested here.
fn is_there() -> bool {
    Uring::new(4)
        .inspect_err(|error| println!("skipped: {error}"))
        .is_ok()
}

fn path(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// What a driver requests.
#[derive(Clone, Copy, Debug)]
enum Act {
    Request(RequestKind, u64, u64),
    /// The cache mode.
    Cache(u8),
    Launch,
    Collect,
    PowerCut,
}

/// A driver that has several requests out, and its disk.
struct Driver {
    disk: Blk,
    memory: Memory,
    flying: BTreeMap<u64, Job>,
    next: u64,
}

impl Driver {
    fn new(options: &Options) -> Self {
        let mut disk = Blk::new(options).expect("a disk");
        disk.accept(disk.offers());
        Self {
            disk,
            memory: memory(SLOTS * SLOT),
            flying: BTreeMap::new(),
            next: 0,
        }
    }

    fn of_file(file: &File) -> Self {
        Self::new(&Options::new(Medium::File(path(file))))
    }

    /// Returns how many requests are under way.
    fn under_way(&self) -> usize {
        self.disk
            .flights
            .as_ref()
            .map_or(0, |it| it.under_way.len())
    }

    fn slot(number: u64) -> u64 {
        GUEST + number % SLOTS * SLOT
    }

    fn write_through(&mut self) {
        self.act(Act::Cache(0));
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Request(kind, sector, count) => self.request(kind, sector, count),
            Act::Cache(mode) => {
                let written = self.disk.write_config(32, &[mode]);
                written.expect("a cache mode");
            }
            Act::Launch => self.disk.launch(),
            Act::Collect => self.collect(),
            Act::PowerCut => {
                let answer = self.disk.command("power-cut", &json!({}));
                answer.expect("a command").expect("a power cut");
            }
        }
    }

    fn request(&mut self, kind: RequestKind, sector: u64, count: u64) {
        let number = self.next;
        self.next += 1;
        let at = Self::slot(number);
        let header = RequestHeader::new(kind, sector);
        self.memory.write(at, &header.to_bytes()).expect("a header");
        self.memory.write(at + 0x20, &[0x55]).expect("a status");
        let length = usize::try_from(count * 512).expect("a length");
        let byte = u8::try_from(number % 250 + 1).expect("a byte");
        let count = u32::try_from(count).expect("a number");
        let segment = SegmentLayout::new(sector, count, Unmap::Keep).to_bytes();
        let (data, access) = match kind {
            RequestKind::Read => (vec![0xee; length], Some(Access::Write)),
            RequestKind::Write => (vec![byte; length], Some(Access::Read)),
            RequestKind::Discard | RequestKind::WriteZeroes => {
                (segment.to_vec(), Some(Access::Read))
            }
            _ => (Vec::new(), None),
        };
        self.memory.write(at + DATA, &data).expect("data");
        let element = |address, length, access| Element {
            address,
            length,
            access,
        };
        let mut elements = vec![element(at, 16, Access::Read)];
        if let Some(access) = access {
            // In two parts.
            let length = u32::try_from(data.len()).expect("a length");
            elements.push(element(at + DATA, 7, access));
            elements.push(element(at + DATA + 7, length - 7, access));
        }
        elements.push(element(at + 0x20, 1, Access::Write));
        let buffer = Buffer::of(elements);
        let (_, job) = self.disk.read(&self.memory, 0, &buffer).expect("a request");
        let ticket = Ticket { number, queue: 0 };
        if self.disk.begin(&self.memory, &job, ticket) == Begun::Yes {
            self.flying.insert(number, job);
        } else {
            self.disk.serve(&self.memory, &job, &[]);
        }
    }

    fn collect(&mut self) {
        for Completed { ticket, result } in self.disk.completed() {
            let job = self.flying.remove(&ticket.number).expect("a request");
            self.disk.end(&self.memory, &job, result);
        }
    }

    fn end(&mut self) {
        self.disk.drain();
        self.collect();
        assert!(self.flying.is_empty());
    }

    fn status(&self, number: u64) -> u8 {
        let mut status = [0];
        let at = Self::slot(number) + 0x20;
        self.memory.read(at, &mut status).expect("a status");
        status[0]
    }

    fn bytes(&self, number: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        let at = Self::slot(number) + DATA;
        self.memory.read(at, &mut bytes).expect("data");
        bytes
    }
}

#[test]
fn many_requests_are_under_way() {
    if !is_there() {
        return;
    }
    let image = file(SECTORS * 512);
    for sector in 0..20 {
        let byte = u8::try_from(sector).expect("a byte");
        image
            .write_all_at(&[byte; 512], sector * 512)
            .expect("data");
    }
    let mut driver = Driver::of_file(&image);
    for sector in 0..20 {
        driver.request(RequestKind::Read, sector, 1);
    }
    assert_eq!(driver.under_way(), 20);
    assert_eq!(driver.status(0), 0x55);
    driver.end();
    for number in 0..20 {
        let byte = u8::try_from(number).expect("a byte");
        assert_eq!(driver.status(number), 0);
        assert_eq!(
            driver.bytes(number, 513),
            [vec![byte; 512], vec![0]].concat()
        );
    }
    let counters = driver.disk.counters();
    assert_eq!(counters["uring"]["requests"], 20);
    assert_eq!(counters["uring"]["most_in_flight"], 20);
    assert_eq!(counters["requests"]["read"], 20);
    assert_eq!(counters["bytes_read"], 20 * 512);
    assert_eq!(counters["bytes_copied"], 0);
    assert!(driver.memory.written() >= 20 * 513);
}

#[test]
fn a_flush_waits_for_the_writes_before_it() {
    if !is_there() {
        return;
    }
    let image = file(SECTORS * 512);
    let mut driver = Driver::of_file(&image);
    driver.write_through();
    for sector in 0..4 {
        driver.request(RequestKind::Write, sector, 1);
    }
    driver.request(RequestKind::Flush, 0, 0);
    driver.request(RequestKind::Write, 9, 1);
    let flights = driver.disk.flights.as_mut().expect("some");
    assert_eq!((flights.under_way.len(), flights.flushes.len()), (5, 1));
    flights.drain();
    let order: Vec<_> = flights.done.iter().map(|it| it.ticket.number).collect();
    let place = |number| order.iter().position(|it| *it == number);
    assert!((0..4).all(|write| place(write) < place(4)), "{order:?}");
    driver.end();
    assert_eq!([0, 3, 4, 5].map(|number| driver.status(number)), [0; 4]);
}

#[test]
fn requests_that_meet_keep_their_order() {
    if !is_there() {
        return;
    }
    let image = file(SECTORS * 512);
    let mut driver = Driver::of_file(&image);
    driver.write_through();
    // Request 0 writes ones, request 2 threes.
    driver.request(RequestKind::Write, 0, 8);
    driver.request(RequestKind::Read, 4, 8);
    driver.request(RequestKind::Write, 6, 4);
    driver.request(RequestKind::Discard, 7, 1);
    driver.request(RequestKind::Read, 0, 12);
    driver.end();
    let firsts = |bytes: Vec<u8>| -> Vec<u8> { bytes.into_iter().step_by(512).collect() };
    assert_eq!(firsts(driver.bytes(1, 8 * 512)), [1, 1, 1, 1, 0, 0, 0, 0]);
    assert_eq!(
        firsts(driver.bytes(4, 12 * 512)),
        [1, 1, 1, 1, 1, 1, 3, 0, 3, 3, 0, 0]
    );
}

#[test]
fn memory_stays_until_a_request_is_done() {
    if !is_there() {
        return;
    }
    let image = file(SECTORS * 512);
    let mut driver = Driver::of_file(&image);
    driver.write_through();
    driver.request(RequestKind::Write, 3, 2);
    driver.memory.clear();
    driver.disk.drain();
    let mut bytes = [0; 1025];
    image.read_exact_at(&mut bytes, 3 * 512).expect("a read");
    assert_eq!(bytes[..], [vec![1; 1024], vec![0]].concat());
}

#[test]
fn an_error_is_the_answer() {
    if !is_there() {
        return;
    }
    let image = file(SECTORS * 512);
    let mut driver = Driver::of_file(&image);
    // Somebody else makes it shorter.
    image.set_len(512).expect("a length");
    driver.request(RequestKind::Read, 0, 2);
    assert_eq!(driver.under_way(), 1);
    driver.end();
    assert_eq!(driver.status(0), 1);
    assert_eq!(driver.bytes(0, 1024), [0; 1024]);
    assert_eq!(driver.disk.counters()["io_errors"], 1);
}

#[test]
fn who_wants_none_has_none() {
    let image = file(SECTORS * 512);
    let mut options = Options::new(Medium::File(path(&image)));
    options.io = Io::Sync;
    let mut driver = Driver::new(&options);
    driver.request(RequestKind::Read, 0, 1);
    assert_eq!(driver.status(0), 0);
    assert_eq!(driver.disk.counters()["uring"], Value::Null);
    assert!(driver.disk.events().is_none());
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    use RequestKind::{Discard, Flush, Read, Write, WriteZeroes};
    let kinds = [Read, Read, Write, Write, Flush, Discard, WriteZeroes];
    // Few sectors, so that requests meet.
    let request = (prop::sample::select(kinds.to_vec()), 0..40_u64, 1..MOST)
        .prop_map(|(kind, sector, count)| Act::Request(kind, sector, count));
    let act = prop_oneof![
        8 => request,
        1 => (0..2_u8).prop_map(Act::Cache),
        1 => Just(Act::Launch),
        2 => Just(Act::Collect),
        1 => Just(Act::PowerCut),
    ];
    prop::collection::vec(act, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever a driver has under way at once, it sees what it would if it waited for each request.
    #[test]
    fn it_does_as_without(acts in acts(), over: bool) {
        if !is_there() {
            return Ok(());
        }
        let (image, changes) = (file(SECTORS * 512), file(0));
        let medium = if over {
            Medium::Overlay { base: path(&image), overlay: path(&changes) }
        } else {
            Medium::File(path(&image))
        };
        let mut driver = Driver::new(&Options::new(medium));
        let mut other = Driver::new(&Options::new(Medium::Ram(SECTORS * 512)));
        for act in &acts {
            driver.act(*act);
            other.act(*act);
        }
        driver.end();
        let all = |driver: &Driver| {
            let mut bytes = vec![0; usize::try_from(SLOTS * SLOT).expect("a length")];
            driver.memory.read(GUEST, &mut bytes).expect("a read");
            bytes
        };
        prop_assert!(all(&driver) == all(&other), "the memory of the guest differs");
        for sector in 0..60 {
            let peek = json!({ "sector": sector });
            let told = |disk: &mut Blk| disk.command("peek", &peek).expect("known").expect("a sector").value;
            prop_assert_eq!(told(&mut driver.disk), told(&mut other.disk), "sector {}", sector);
        }
        let (mut counted, mut wanted) = (driver.disk.counters(), other.disk.counters());
        for counters in [&mut counted, &mut wanted] {
            // How it was done is another question.
            counters["uring"].take();
            counters["bytes_copied"].take();
            counters["overlay"].take();
        }
        prop_assert_eq!(counted, wanted);
    }
}
