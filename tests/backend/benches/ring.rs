// SPDX-License-Identifier: GPL-2.0

//! What it takes to take buffers from a ring and to return them, on one core of this machine: for the
//! rings of the backend, and for those of the crate `virtio-queue`, on the same memory.

use backend::{
    memory::{Area, Memory, Place},
    ring::{Form, Ring, Setup},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::fs::{MemfdFlags, memfd_create};
use std::{fs::File, hint::black_box};
use virtio_queue::{Queue, QueueT};
use virtio_wire::{
    int::Le16,
    ring::{
        NEXT, WRITE,
        packed::{self, Position, QueueSize},
        split,
    },
};
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

/// Where the guest has its memory, and how much; and where QEMU has it.
const GUEST: u64 = 0x10_0000;
const USER: u64 = 0x7000_0000;
const LENGTH: u64 = 0x10_0000;

/// Where the parts of a ring are, from there on.
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;
const DATA: u64 = 0x4000;

const SIZE: u16 = 256;

/// How many buffers are taken and returned at a time.
const BATCH: u16 = 64;

/// What buffers are like: a frame, and a request to a disk.
const BUFFERS: &[(&str, &[u16])] = &[("frame", &[WRITE]), ("request", &[0, WRITE, WRITE])];

/// The memory of a guest, for both.
struct Guest {
    memory: Memory,
    same: GuestMemoryMmap,
}

impl Guest {
    fn new() -> Self {
        let file = memfd_create("guest", MemfdFlags::CLOEXEC).expect("a file in memory");
        let file = File::from(file);
        file.set_len(LENGTH).expect("its length");
        let length = usize::try_from(LENGTH).expect("a length");
        let part = FileOffset::new(file.try_clone().expect("a file"), 0);
        let same =
            GuestMemoryMmap::from_ranges_with_files([(GuestAddress(GUEST), length, Some(part))])
                .expect("a mapping");
        let mut memory = Memory::default();
        let place = Place {
            guest: GUEST,
            user: USER,
            length: LENGTH,
            offset: 0,
        };
        memory.add(place, file).expect("a region");
        Self { memory, same }
    }

    fn area(&self, at: u64, length: usize) -> Area {
        self.memory.area(USER + at, length).expect("an area")
    }
}

/// Where a descriptor is that is the `part` of the buffer `index`, and what it refers to.
fn data(index: u16, part: usize) -> (u64, u32) {
    let part = u64::try_from(part).expect("a part");
    (
        GUEST + DATA + u64::from(index) * 0x800 + part * 0x200,
        0x200,
    )
}

fn setup(base: u32) -> Setup {
    Setup {
        size: SIZE,
        descriptors: USER,
        available: USER + AVAILABLE,
        used: USER + USED,
        base,
        used_log: None,
    }
}

/// A driver of split rings, whose buffers are the same each time: all it does is to move the index.
struct SplitDriver {
    available: Area,
    index: u16,
}

impl SplitDriver {
    fn new(guest: &Guest, parts: &[u16]) -> Self {
        let descriptors = guest.area(0, usize::from(SIZE) * 16);
        let available = guest.area(AVAILABLE, 6 + usize::from(SIZE) * 2);
        let count = u16::try_from(parts.len()).expect("a count");
        for index in 0..BATCH {
            for (part, flags) in parts.iter().enumerate() {
                let number = index * count + u16::try_from(part).expect("a part");
                let next = if part + 1 < parts.len() { NEXT } else { 0 };
                let (addr, len) = data(index, part);
                let descriptor = split::Descriptor {
                    addr: addr.into(),
                    len: len.into(),
                    flags: (flags | next).into(),
                    next: (number + 1).into(),
                };
                descriptors
                    .write(usize::from(number) * 16, &descriptor.to_bytes())
                    .expect("a descriptor");
            }
        }
        for slot in 0..SIZE {
            let head = slot % BATCH * count;
            available
                .write(4 + usize::from(slot) * 2, &head.to_le_bytes())
                .expect("an entry");
        }
        available.store(2, 0).expect("an index");
        guest
            .area(USED, 6 + usize::from(SIZE) * 8)
            .store(2, 0)
            .expect("an index");
        Self {
            available,
            index: 0,
        }
    }

    fn add(&mut self) {
        self.index = self.index.wrapping_add(BATCH);
        self.available.store(2, self.index).expect("an index");
    }
}

/// A driver of packed rings, whose buffers are written anew each time.
struct PackedDriver {
    descriptors: Area,
    parts: &'static [u16],
    next: Position,
}

impl PackedDriver {
    fn new(guest: &Guest, parts: &'static [u16]) -> Self {
        Self {
            descriptors: guest.area(0, usize::from(SIZE) * 16),
            parts,
            next: Position::START,
        }
    }

    fn add(&mut self) {
        let size = QueueSize::new(SIZE).expect("a size");
        for index in 0..BATCH {
            for (part, flags) in self.parts.iter().enumerate() {
                let next = if part + 1 < self.parts.len() { NEXT } else { 0 };
                let (addr, len) = data(index, part);
                let descriptor = packed::Descriptor {
                    addr: addr.into(),
                    len: len.into(),
                    id: Le16::new(index),
                    flags: Le16::new(flags | next | self.next.available_flags()),
                };
                let at = usize::from(self.next.index()) * 16;
                self.descriptors
                    .write(at, &descriptor.to_bytes())
                    .expect("a descriptor");
                self.next = self.next.plus(1, size).expect("a position");
            }
        }
    }
}

/// Takes all buffers, looks at their elements, and returns them.
fn serve(ring: &mut Ring, memory: &Memory) -> u16 {
    let mut count = 0;
    while let Some(buffer) = ring.pop(memory).expect("a pop") {
        for element in &buffer.elements {
            black_box(element);
        }
        ring.push(&buffer, 0).expect("a push");
        count += 1;
    }
    black_box(ring.wants_call().expect("to know"));
    count
}

fn serve_by_crate(queue: &mut Queue, memory: &GuestMemoryMmap) -> u16 {
    let mut count = 0;
    while let Some(chain) = queue.pop_descriptor_chain(memory) {
        let head = chain.head_index();
        for descriptor in chain {
            black_box((descriptor.addr(), descriptor.len(), descriptor.flags()));
        }
        queue.add_used(memory, head, 0).expect("a place");
        count += 1;
    }
    black_box(queue.needs_notification(memory).expect("to know"));
    count
}

fn rings(criterion: &mut Criterion) {
    for (name, parts) in BUFFERS {
        let mut group = criterion.benchmark_group(*name);
        group.throughput(Throughput::Elements(BATCH.into()));
        let form = Form {
            packed: false,
            event_index: true,
            indirect: true,
        };

        group.bench_function(BenchmarkId::from_parameter("split"), |bencher| {
            let guest = Guest::new();
            let mut driver = SplitDriver::new(&guest, parts);
            let mut ring = Ring::new(&guest.memory, &setup(0), form, None).expect("a ring");
            bencher.iter(|| {
                driver.add();
                assert_eq!(serve(&mut ring, &guest.memory), BATCH);
            });
        });
        group.bench_function(BenchmarkId::from_parameter("virtio-queue"), |bencher| {
            let guest = Guest::new();
            let mut driver = SplitDriver::new(&guest, parts);
            let mut queue = Queue::new(SIZE).expect("a queue");
            queue
                .try_set_desc_table_address(GuestAddress(GUEST))
                .expect("a table");
            queue
                .try_set_avail_ring_address(GuestAddress(GUEST + AVAILABLE))
                .expect("a ring");
            queue
                .try_set_used_ring_address(GuestAddress(GUEST + USED))
                .expect("a ring");
            queue.set_event_idx(true);
            queue.set_ready(true);
            bencher.iter(|| {
                driver.add();
                assert_eq!(serve_by_crate(&mut queue, &guest.same), BATCH);
            });
        });
        group.bench_function(BenchmarkId::from_parameter("packed"), |bencher| {
            let guest = Guest::new();
            let mut driver = PackedDriver::new(&guest, parts);
            let form = Form {
                packed: true,
                ..form
            };
            let setup = setup(0x8000_8000);
            let mut ring = Ring::new(&guest.memory, &setup, form, None).expect("a ring");
            bencher.iter(|| {
                driver.add();
                assert_eq!(serve(&mut ring, &guest.memory), BATCH);
            });
        });
        group.finish();
    }
}

criterion_group!(benches, rings);
criterion_main!(benches);
