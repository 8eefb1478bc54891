// SPDX-License-Identifier: GPL-2.0

//! A device in the hands of a test, with a driver for each of its queues: there is no thread, and time
//! goes on when the test says so.

use crate::{
    blk::{self, Blk, Medium},
    class::Class,
    control::Controlled,
    frame::Frame,
    memory::{
        Memory, Place,
        tests::{GUEST, USER, file},
    },
    net::{self, Net},
    ring::{Form, tests::driver::Driver},
    service::Shared,
    switch::{Handle, PortOptions, Switch},
};
use rustix::event::{EventfdFlags, eventfd};
use serde_json::{Value, json};
use std::{
    cell::Cell,
    fs::File,
    io::Read,
    os::unix::net::UnixStream,
    sync::Arc,
    time::{Duration, Instant},
};
use virtio_wire::{
    blk::RequestKind,
    ring::{NEXT, WRITE},
};

thread_local! {
    /// How often a backend of this thread has died.
    static DEATHS: Cell<u32> = const { Cell::new(0) };
}

/// Notes a death, as a test cannot see its own.
pub fn die() {
    DEATHS.set(DEATHS.get() + 1);
}

/// All forms of a ring.
pub(super) const FORMS: [Form; 4] = [form(false, false), form(false, true), form(true, false), {
    form(true, true)
}];

const fn form(packed: bool, event_index: bool) -> Form {
    Form {
        packed,
        event_index,
        indirect: true,
    }
}

/// How many descriptors a queue has.
const SIZE: u16 = 64;
/// How much memory there is, how far apart rings are, and where data is: that of a queue, of a request.
const LENGTH: usize = 0x28000;
const RINGS: u64 = 0x5000;
const DATA: u64 = 0x10000;
const DATA_OF_QUEUE: u64 = 0x8000;
const DATA_OF_REQUEST: u64 = 0x600;
/// After how many requests data is where that of others was.
const MOST: u64 = 21;
/// What is where a device is to write.
pub(super) const BEFORE: u8 = 0xaa;
/// How long a receive buffer is, a frame, and the header before it.
pub(super) const ROOM: u32 = 200;
pub(super) const FRAME: usize = 60;
pub(super) const HEADER: usize = 12;

/// A request that was made.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Its number for the driver.
    pub(super) id: u16,
    /// What the device may write: places in the memory, and lengths.
    pub(super) writable: Vec<(usize, usize)>,
    /// Its table of descriptors: its place, and its length.
    pub(super) table: std::ops::Range<usize>,
}

/// What a driver sees, and who is at the other end.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Seen {
    /// All of the memory.
    pub(super) memory: Vec<u8>,
    /// All used buffers so far, of any queue: numbers, and lengths.
    pub(super) used: Vec<(u16, u32)>,
    /// How many interrupts there were.
    pub(super) calls: u64,
    /// All frames so far.
    pub(super) frames: Vec<Vec<u8>>,
    /// Whether the connection is there, and how often the backend has died.
    pub(super) connected: bool,
    pub(super) deaths: u32,
}

impl Seen {
    /// Returns what the device may have written.
    pub(super) fn written(&self, asked: &Asked) -> Vec<u8> {
        let parts = asked.writable.iter();
        parts
            .flat_map(|(at, length)| self.memory[*at..*at + *length].to_vec())
            .collect()
    }

    /// Returns the descriptors of a queue.
    pub(super) fn descriptors(&self, queue: u64) -> &[u8] {
        let at = usize::try_from(queue * RINGS).expect("a place");
        &self.memory[at..at + usize::from(SIZE) * 16]
    }
}

/// The device, its memory, and its drivers.
pub(super) struct Stage<C: Class> {
    pub(super) shared: Arc<Shared<C>>,
    memory: Memory,
    drivers: Vec<Driver>,
    calls: Vec<File>,
    peer: UnixStream,
    /// Another port of its switch, if it is at one.
    other: Option<Handle>,
    /// How many requests there were.
    asked: u64,
    /// Whether they have tables.
    pub(super) tables: bool,
    seen: Seen,
}

/// A device of a class, and requests for it.
pub(super) trait Play: Class + Sized {
    /// Makes a device, at a port of a switch if it is one for that.
    fn make() -> (Self, Option<Handle>);

    /// Returns the queue that has requests of some sort.
    fn queue_of(operation: &str) -> u64;

    /// A queue that is not that of the first sorts of requests.
    const OTHER: u64;

    /// Returns what the driver sends, and how much room there is for the answer, in parts.
    fn request(operation: &str) -> (Vec<u8>, Vec<u32>);
}

impl<C: Play> Stage<C> {
    /// Makes a device that runs.
    pub(super) fn new(form: Form) -> Self {
        let (class, other) = C::make();
        let (queues, offers) = (class.queues(), class.offers());
        let shared = Arc::new(Shared::new("device", class).expect("a device"));
        let (here, peer) = UnixStream::pair().expect("a connection");
        peer.set_nonblocking(true).expect("not to wait");
        let long = u64::try_from(LENGTH).expect("a length");
        let there = file(long);
        let place = Place {
            guest: GUEST,
            user: USER,
            length: long,
            offset: 0,
        };
        let mut memory = Memory::default();
        let clone = there.try_clone().expect("a clone");
        memory.add(place, clone).expect("a region");
        let data = vec![BEFORE; LENGTH];
        let rings = usize::try_from(DATA).expect("a length");
        memory
            .write(GUEST + DATA, &data[rings..])
            .expect("a pattern");

        let mut device = shared.lock();
        device.memory.add(place, there).expect("a region");
        device.connection = Some(here);
        let bit = |is: bool, bit: u32| u64::from(is) << bit;
        // Not IN_ORDER: a request that is held would hold the others.
        device.accepted = offers & !(1 << 34 | 1 << 35 | 1 << 29)
            | bit(form.packed, 34)
            | bit(form.event_index, 29);
        let accepted = device.accepted;
        device.class.accept(accepted);
        let (mut drivers, mut calls) = (Vec::new(), Vec::new());
        for queue in 0..usize::from(queues) {
            let offset = u64::try_from(queue).expect("a queue") * RINGS;
            let driver = Driver::at(&memory, SIZE, form, offset);
            let call = eventfd(0, EventfdFlags::NONBLOCK).expect("an event");
            let call = File::from(call);
            device.queues[queue].setup = driver.setup;
            device.queues[queue].call = Some(call.try_clone().expect("a clone"));
            device.queues[queue].enabled = true;
            device.class.enable(queue, true);
            device.start(queue);
            drivers.push(driver);
            calls.push(call);
        }
        drop(device);
        DEATHS.set(0);
        Self {
            shared,
            memory,
            drivers,
            calls,
            peer,
            other,
            asked: 0,
            tables: false,
            seen: Seen {
                memory: Vec::new(),
                used: Vec::new(),
                calls: 0,
                frames: Vec::new(),
                connected: true,
                deaths: 0,
            },
        }
    }

    /// Executes a command.
    pub(super) fn command(&self, command: &str, arguments: Value) -> anyhow::Result<Value> {
        self.shared.execute(command, &arguments)
    }

    /// Makes a request in its queue.
    pub(super) fn ask(&mut self, operation: &str) -> Asked {
        let queue = C::queue_of(operation);
        let asked = self.prepare(operation, queue);
        self.kick(queue);
        if operation == "rx" {
            self.send();
        }
        asked
    }

    /// Has a frame come for the driver.
    pub(super) fn send(&mut self) {
        if let Some(other) = &self.other {
            other.send(Frame::plain(frame(9)));
            self.shared.lock().woken();
        }
    }

    /// Notifies of a queue.
    pub(super) fn kick(&mut self, queue: u64) {
        let queue = usize::try_from(queue).expect("a queue");
        self.shared.lock().kicked(queue);
    }

    /// Makes a request available in a queue.
    pub(super) fn prepare(&mut self, operation: &str, queue: u64) -> Asked {
        self.add(C::request(operation), queue)
    }

    /// Makes a buffer available in a queue, which has what is sent, and some room.
    pub(super) fn add(&mut self, (sent, rooms): (Vec<u8>, Vec<u32>), queue: u64) -> Asked {
        let data = DATA + queue * DATA_OF_QUEUE + self.asked % MOST * DATA_OF_REQUEST;
        self.asked += 1;
        let mut elements = Vec::new();
        if !sent.is_empty() {
            self.memory.write(GUEST + data, &sent).expect("a request");
            // A header has a descriptor of its own.
            let first = sent.len().min(16);
            for part in [0..first, first..sent.len()] {
                let at = u64::try_from(part.start).expect("a place");
                let length = u32::try_from(part.len()).expect("a length");
                elements.push((GUEST + data + at, length, 0));
            }
            elements.retain(|(_, length, _)| *length > 0);
        }
        let mut writable = Vec::new();
        let mut at = data + 0x300;
        for room in rooms {
            elements.push((GUEST + at, room, WRITE));
            let long = usize::try_from(room).expect("a length");
            writable.push((usize::try_from(at).expect("a place"), long));
            at += u64::from(room);
        }
        let driver = &mut self.drivers[usize::try_from(queue).expect("a queue")];
        let mut table = 0..0;
        let id = if self.tables {
            let at = usize::try_from(driver.next_table() - GUEST).expect("a place");
            table = at..at + elements.len() * 16;
            driver.table(&self.memory, &elements)
        } else {
            let last = elements.len() - 1;
            for (_, _, flags) in &mut elements[..last] {
                *flags |= NEXT;
            }
            driver.chain(&self.memory, &elements)
        };
        Asked {
            id,
            writable,
            table,
        }
    }

    /// Makes some requests available in a queue that is not notified of.
    pub(super) fn crowd(&mut self, queue: u64) {
        let all = C::OPERATIONS.iter();
        let fitting = all.copied().find(|it| C::queue_of(it) == queue);
        for _ in 0..3 {
            self.prepare(fitting.unwrap_or(C::OPERATIONS[0]), queue);
        }
    }

    /// Returns the queue that follows another one.
    pub(super) fn queue_after(&self, queue: u64) -> u64 {
        (queue + 1) % u64::try_from(self.drivers.len()).expect("a number")
    }

    /// Has a second go by.
    pub(super) fn wait(&mut self) {
        let later = Instant::now() + Duration::from_secs(1);
        self.shared.lock().tick(later);
    }

    /// Has what is held served.
    pub(super) fn release(&mut self) {
        self.command("release", json!({})).expect("an answer");
    }

    /// Looks at all that there is.
    pub(super) fn see(&mut self) -> Seen {
        let seen = &mut self.seen;
        for driver in &mut self.drivers {
            let used = std::iter::from_fn(|| driver.used(&self.memory));
            // One that goes on for ever is wrong, but no reason to wait.
            seen.used.extend(used.take(SIZE.into()));
        }
        for call in &mut self.calls {
            let mut count = [0; 8];
            if call.read(&mut count).is_ok() {
                seen.calls += u64::from_ne_bytes(count);
            }
        }
        if let Some(other) = &self.other {
            let frames = other.outlet().take();
            seen.frames
                .extend(frames.iter().map(|frame| frame.bytes.clone()));
        }
        let ended = matches!(self.peer.read(&mut [0]), Ok(0));
        seen.connected &= !ended;
        seen.deaths = DEATHS.get();
        seen.memory.resize(LENGTH, 0);
        self.memory
            .read(GUEST, &mut seen.memory)
            .expect("all of the memory");
        seen.clone()
    }
}

/// Returns a frame for everybody, of a station that has this number.
pub(super) fn frame(station: u8) -> Vec<u8> {
    let mut bytes = [&[0xff; 6][..], &[2, 0, 0, 0, 0, station], &[0x88, 0xb5]].concat();
    bytes.resize(FRAME, 0x5a);
    bytes
}

impl Play for Blk {
    fn make() -> (Self, Option<Handle>) {
        let mut options = blk::Options::new(Medium::Ram(64 * 512));
        options.queues = 2;
        (Self::new(&options).expect("a disk"), None)
    }

    const OTHER: u64 = 1;

    fn queue_of(_operation: &str) -> u64 {
        0
    }

    fn request(operation: &str) -> (Vec<u8>, Vec<u32>) {
        // The first eight sectors.
        let segment = [&[0; 8][..], &[8, 0, 0, 0], &[0; 4]].concat();
        let (kind, data, room) = match operation {
            "read" => (RequestKind::Read.code(), vec![], vec![512]),
            "write" => (RequestKind::Write.code(), vec![0x77; 512], vec![]),
            "flush" => (RequestKind::Flush.code(), vec![], vec![]),
            "get-id" => (RequestKind::GetId.code(), vec![], vec![20]),
            "get-lifetime" => (RequestKind::GetLifetime.code(), vec![], vec![6]),
            "discard" => (RequestKind::Discard.code(), segment, vec![]),
            "write-zeroes" => (RequestKind::WriteZeroes.code(), segment, vec![]),
            "secure-erase" => (RequestKind::SecureErase.code(), segment, vec![]),
            _ => (77, vec![], vec![]),
        };
        let header = [&kind.to_le_bytes()[..], &[0; 12]].concat();
        ([header, data].concat(), [room, vec![1]].concat())
    }
}

impl Play for Net {
    fn make() -> (Self, Option<Handle>) {
        let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
        let mut options = net::Options::new("net");
        options.queues = 1;
        options.control = true;
        let port = switch.add(options.port.clone()).expect("a port");
        let other = switch.add(PortOptions::new("other")).expect("a port");
        other.outlet().set_open(true);
        (Self::new(&options, port), Some(other))
    }

    const OTHER: u64 = 2;

    fn queue_of(operation: &str) -> u64 {
        match operation {
            "rx" => 0,
            "tx" => 1,
            _ => 2,
        }
    }

    fn request(operation: &str) -> (Vec<u8>, Vec<u32>) {
        match operation {
            "rx" => (vec![], vec![ROOM]),
            "tx" => ([vec![0; HEADER], frame(7)].concat(), vec![]),
            // To receive everything.
            _ => (vec![0, 0, 1], vec![1]),
        }
    }
}
