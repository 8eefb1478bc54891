// SPDX-License-Identifier: GPL-2.0

//! Whatever a device does, lies included, each byte that it changes is in a page that is marked, and no
//! page is marked that it may not write.

use super::Device;
use crate::{
    blk::{Blk, Medium, Options},
    class::Class,
    memory::{
        Bitmap, Memory, Place,
        tests::{GUEST, USER, file, marked},
    },
    ring::{Form, tests::driver::Driver},
    rule::{ACTIONS, Scope},
    wake::Waker,
};
use proptest::prelude::*;
use rustix::{
    event::epoll,
    fs::{MemfdFlags, memfd_create},
};
use serde_json::json;
use std::{
    collections::BTreeSet,
    fs::File,
    os::{fd::AsRawFd, unix::fs::FileExt},
    sync::Arc,
    time::{Duration, Instant},
};
use virtio_wire::{
    blk::{RequestHeader, RequestKind},
    ring::{NEXT, WRITE},
};

/// How much memory there is; what is before `DATA` are rings.
const LENGTH: usize = 0x40000;
const DATA: u64 = 0x10000;

/// The pages of the descriptors, and of the used ring.
const DESCRIPTORS: u64 = GUEST >> 12;
const USED: u64 = (GUEST + 0x2000) >> 12;

/// A request: what it is, where it has its data and its status, and how many elements the data has.
#[derive(Clone, Debug)]
struct Request {
    kind: RequestKind,
    data: u64,
    length: u32,
    elements: u32,
    status: u64,
    /// Which of the acts is done to it, if any.
    act: Option<usize>,
}

/// What can be done to requests of a disk, and leaves a device that can be looked at.
fn acts() -> Vec<&'static str> {
    let acts = ACTIONS.iter().filter(|act| act.scope != Scope::Net);
    let names = acts.map(|act| act.name);
    names
        .filter(|name| !["die", "disconnect"].contains(name))
        .collect()
}

fn requests() -> impl Strategy<Value = Vec<Request>> {
    let kind = prop_oneof![
        4 => Just(RequestKind::Read),
        2 => Just(RequestKind::Write),
        1 => Just(RequestKind::GetId),
        1 => Just(RequestKind::Flush),
        1 => Just(RequestKind::SecureErase),
    ];
    let space = DATA..u64::try_from(LENGTH).expect("a length") - 0x4000;
    let act = prop::option::of(0..acts().len());
    let one = (kind, space.clone(), 1..24_u32, 1..4_u32, space, act);
    let one = one.prop_map(|(kind, data, sectors, elements, status, act)| Request {
        kind,
        data,
        length: if kind == RequestKind::GetId {
            20
        } else {
            sectors * 512
        },
        elements,
        status,
        act,
    });
    prop::collection::vec(one, 1..12)
}

/// A device with its driver, which has the memory as the guest has it.
struct Bench {
    device: Device<Blk>,
    driver: Driver,
    memory: Memory,
    log: File,
    /// Which pages the device may write.
    allowed: BTreeSet<u64>,
    /// Whether requests may have tables.
    indirect: bool,
}

/// What the sectors of the disk have, and what the memory has where data is.
static SECTORS: [u8; 64 * 512] = [0x5a; 64 * 512];
static BUFFERS: [u8; 0x30000] = [0xa5; 0x30000];

/// Returns a disk in memory, or one in a file that is written through, by io_uring if there is one.
fn disk(in_file: bool) -> Blk {
    let disk = memfd_create("disk", MemfdFlags::CLOEXEC).expect("a file");
    let disk = File::from(disk);
    disk.write_all_at(&SECTORS, 0).expect("sectors");
    let medium = if in_file {
        // It is opened: the file need not stay open here.
        Medium::File(format!("/proc/self/fd/{}", disk.as_raw_fd()).into())
    } else {
        Medium::Ram(64 * 512)
    };
    let mut options = Options::new(medium);
    options.write_back = !in_file;
    Blk::new(&options).expect("a disk")
}

impl Bench {
    fn new(form: Form, in_file: bool) -> Self {
        let blk = disk(in_file);
        let flags = epoll::CreateFlags::CLOEXEC;
        let epoll = Arc::new(epoll::create(flags).expect("events"));
        let mut device = Device::new("disk", blk, epoll, Waker::new().expect("a waker"));
        let length = u64::try_from(LENGTH).expect("a length");
        let shared = file(length);
        let place = Place {
            guest: GUEST,
            user: USER,
            length,
            offset: 0,
        };
        let mut memory = Memory::default();
        let clone = shared.try_clone().expect("a clone");
        memory.add(place, clone).expect("a region");
        device.memory.add(place, shared).expect("a region");
        memory.write(GUEST + DATA, &BUFFERS).expect("a pattern");

        let bit = |is: bool, bit: u32| u64::from(is) << bit;
        // VERSION_1 and FLUSH.
        device.accepted = 1 << 32
            | 1 << 9
            | bit(form.packed, 34)
            | bit(form.event_index, 29)
            | bit(form.indirect, 28);
        device.class.accept(device.accepted);
        let driver = Driver::new(&memory, 8, form);
        let log = file(64);
        let bitmap = Bitmap {
            file: log.try_clone().expect("a clone"),
            offset: 0,
            length: 64,
        };
        device.memory.set_log(bitmap).expect("a log");
        device.memory.log().start();
        device.queues[0].setup = driver.setup;
        device.queues[0].setup.used_log = Some(GUEST + 0x2000);
        device.queues[0].enabled = true;
        device.start(0);
        // In a packed ring, used buffers are where available ones were.
        let ring = form.packed.then_some(DESCRIPTORS);
        Self {
            device,
            driver,
            memory,
            log,
            allowed: ring.into_iter().chain([USED]).collect(),
            indirect: form.indirect,
        }
    }

    fn see(&self) -> Vec<u8> {
        let mut bytes = vec![0; LENGTH];
        self.memory.read(GUEST, &mut bytes).expect("a read");
        bytes
    }

    /// Makes a request available, in its place of the ring.
    fn add(&mut self, at: u64, request: &Request) {
        let header = GUEST + 0x8000 + at * 16;
        let bytes = RequestHeader::new(request.kind, 0).to_bytes();
        self.memory.write(header, &bytes).expect("a header");
        let mut elements = vec![(header, 16, 0)];
        let reads = matches!(request.kind, RequestKind::Read | RequestKind::GetId);
        if request.kind != RequestKind::Flush {
            let part = request.length / request.elements;
            for element in 0..request.elements {
                let last = element + 1 == request.elements;
                let before = part * element;
                let length = if last { request.length - before } else { part };
                // There is a gap between them.
                let address = GUEST + request.data + u64::from(before + element * 100);
                elements.push((address, length, if reads { WRITE } else { 0 }));
            }
        }
        elements.push((GUEST + request.status, 1, WRITE));
        let last = elements.len() - 1;
        for (_, _, flags) in elements.get_mut(..last).into_iter().flatten() {
            *flags |= NEXT;
        }
        for (address, length, flags) in &elements {
            if flags & WRITE != 0 {
                let end = address + u64::from(*length);
                self.allowed.extend(address >> 12..=(end - 1) >> 12);
            }
        }
        let act = request.act.and_then(|act| acts().get(act).copied());
        if self.indirect && act.is_some_and(|act| act.ends_with("table")) {
            self.allowed.insert(self.driver.next_table() >> 12);
            self.driver.table(&self.memory, &elements);
        } else {
            self.driver.chain(&self.memory, &elements);
        }
    }

    /// Has the device do something, and fails if what it changes is not marked.
    fn watch(&mut self, what: impl FnOnce(&mut Self)) -> Result<(), TestCaseError> {
        self.log.write_all_at(&[0; 64], 0).expect("zeroes");
        let before = self.see();
        what(self);
        let after = self.see();
        let marked: BTreeSet<u64> = marked(&self.log).into_iter().collect();
        let pages = before.chunks(4096).zip(after.chunks(4096));
        for (page, (old, new)) in (GUEST >> 12..).zip(pages) {
            prop_assert!(
                old == new || marked.contains(&page),
                "page {page} is not marked"
            );
        }
        let wild: Vec<_> = marked.difference(&self.allowed).collect();
        prop_assert!(wild.is_empty(), "pages {wild:?} are marked");
        prop_assert_eq!(self.device.memory.log().beyond(), 0);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_changes_is_marked(
        form in any::<[bool; 3]>(),
        [in_file, ends_by_reset] in any::<[bool; 2]>(),
        requests in requests(),
        order in prop_oneof![Just("done"), Just("reverse"), Just("random")],
    ) {
        let [packed, event_index, indirect] = form;
        let mut bench = Bench::new(Form { packed, event_index, indirect }, in_file);
        let order = json!({ "command": "order", "order": order, "many": 2 });
        bench.device.execute("order", &order).expect("an order");
        let acts = acts();
        for (at, request) in (0..).zip(&requests) {
            let act = request.act.and_then(|act| acts.get(act));
            if let Some(act) = act {
                let rule = json!({ "do": act, "count": 1 });
                bench.device.rules.add(&rule, Blk::OPERATIONS).expect("a rule");
                if *act == "scribble" {
                    bench.allowed.insert(DESCRIPTORS);
                }
            }
            bench.add(at, request);
            bench.watch(|bench| {
                bench.device.run(0);
                bench.device.drain();
            })?;
            for _ in 0..8 {
                bench.driver.used(&bench.memory);
            }
        }
        let later = Instant::now() + Duration::from_secs(1);
        bench.watch(|bench| {
            bench.device.tick(later);
            // What was delayed may be under way.
            bench.device.drain();
        })?;
        // This one may be under way when the queue ends.
        bench.add(0, &Request { act: None, ..requests[0].clone() });
        bench.watch(|bench| {
            bench.device.run(0);
            if ends_by_reset {
                bench.device.reset();
            } else {
                bench.device.stop(0);
            }
        })?;
    }
}

#[test]
fn what_was_written_is_stable_when_no_queue_runs() {
    let mut bench = Bench::new(Form::default(), false);
    let write = Request {
        kind: RequestKind::Write,
        data: DATA,
        length: 1024,
        elements: 1,
        status: DATA + 0x1000,
        act: None,
    };
    bench.add(0, &write);
    bench.device.run(0);
    assert_eq!(bench.device.class.counters()["unstable_sectors"], 2);
    bench.device.stop(1);
    assert_eq!(bench.device.class.counters()["unstable_sectors"], 2);
    bench.device.stop(0);
    assert_eq!(bench.device.class.counters()["unstable_sectors"], 0);
}
