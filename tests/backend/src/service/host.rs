// SPDX-License-Identifier: GPL-2.0

//! The other end of a device in tests: a front-end that is not QEMU, with the memory of a guest.

use super::*;
use crate::{
    class::Class,
    control::Controlled,
    memory::{
        Memory, Place,
        tests::{GUEST, USER, file},
    },
};
use serde_json::{Value, json};
use std::{fs::File, os::fd::AsRawFd, thread};
use vhost::{
    VhostBackend, VhostUserDirtyLogRegion, VhostUserMemoryRegionInfo, VringConfigData,
    vhost_user::{Frontend, VhostUserFrontend},
};
use vmm_sys_util::eventfd::EventFd;

/// How many places a ring has, and where its parts are.
pub(super) const SIZE: u16 = 8;
pub(super) const AVAILABLE: u64 = 0x1000;
pub(super) const USED: u64 = 0x2000;

/// `VHOST_F_LOG_ALL`.
pub(super) const LOG_ALL: u64 = 1 << 26;

/// How long a log is that has all of the memory.
pub(super) const ENOUGH: u64 = 8;

/// A device that runs, and its other end.
pub(super) struct Host<C: Class> {
    pub(super) shared: Arc<Shared<C>>,
    thread: Option<thread::JoinHandle<Result<()>>>,
    path: PathBuf,
    pub(super) front: Frontend,
    /// The memory as the guest sees it.
    pub(super) memory: Memory,
    length: u64,
    file: File,
}

impl<C: Class> Host<C> {
    /// Runs a device, and connects to it.
    pub(super) fn new(name: &str, class: C, length: u64) -> Self {
        let path = std::env::temp_dir().join(format!("rv-{}-{name}", std::process::id()));
        let shared = Arc::new(Shared::new(name, class).expect("a device"));
        let device = Arc::clone(&shared);
        let place = Meeting::Listen(path.clone()).prepare().expect("a socket");
        let thread = thread::spawn(move || device.run(place));
        let mut memory = Memory::default();
        let file = file(length);
        let place = Place {
            guest: GUEST,
            user: USER,
            length,
            offset: 0,
        };
        let clone = file.try_clone().expect("a clone");
        memory.add(place, clone).expect("a region");
        Self {
            shared,
            thread: Some(thread),
            front: connect(&path),
            path,
            memory,
            length,
            file,
        }
    }

    /// Connects once more.
    pub(super) fn reconnect(&mut self) {
        self.front = connect(&self.path);
    }

    /// The memory, as the device is told of it.
    pub(super) fn region(&self) -> VhostUserMemoryRegionInfo {
        VhostUserMemoryRegionInfo {
            guest_phys_addr: GUEST,
            memory_size: self.length,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        }
    }

    /// Starts a queue whose ring is at `offset`, and begins with `base`; it is not enabled.
    pub(super) fn start(
        &mut self,
        queue: usize,
        offset: u64,
        base: u16,
        kick: &EventFd,
        call: &EventFd,
    ) {
        let front = &mut self.front;
        front.set_vring_num(queue, SIZE).expect("a size");
        front.set_vring_base(queue, base).expect("a base");
        self.place(queue, offset, None);
        let front = &mut self.front;
        front.set_vring_kick(queue, kick).expect("a kick");
        front.set_vring_call(queue, call).expect("a call");
    }

    /// Tells where the ring of a queue is, and where its used ring is in the log, if it is.
    pub(super) fn place(&mut self, queue: usize, offset: u64, log: Option<u64>) {
        let result = self.try_place(queue, offset, log);
        result.expect("addresses");
    }

    /// The same, if the connection is there.
    pub(super) fn try_place(
        &mut self,
        queue: usize,
        offset: u64,
        log: Option<u64>,
    ) -> vhost::Result<()> {
        let at = USER + offset;
        let config = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: u32::from(log.is_some()),
            desc_table_addr: at,
            used_ring_addr: at + USED,
            avail_ring_addr: at + AVAILABLE,
            log_addr: log,
        };
        self.front.set_vring_addr(queue, &config)
    }

    /// Hands over a log of so many bytes.
    pub(super) fn give_log(&self, length: u64) -> vhost::Result<File> {
        let log = file(length);
        let region = VhostUserDirtyLogRegion {
            mmap_size: length,
            mmap_offset: 0,
            mmap_handle: log.as_raw_fd(),
        };
        self.front.set_log_base(0, Some(region))?;
        Ok(log)
    }

    /// Lets a queue work, or not.
    pub(super) fn enable(&mut self, queue: usize, enabled: bool) {
        let result = self.front.set_vring_enable(queue, enabled);
        result.expect("to be enabled");
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) {
        self.memory.write(GUEST + address, bytes).expect("a write");
    }

    pub(super) fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.memory
            .read(GUEST + address, &mut bytes)
            .expect("a read");
        bytes
    }

    pub(super) fn command(&self, command: &str, arguments: Value) -> Value {
        self.shared.execute(command, &arguments).expect("an answer")
    }

    pub(super) fn counters(&self) -> Value {
        self.command("counters", json!({}))
    }
}

impl<C: Class> Drop for Host<C> {
    fn drop(&mut self) {
        self.shared.stop();
        let ended = self.thread.take().map(thread::JoinHandle::join);
        if !thread::panicking() {
            ended.expect("a thread").expect("no panic").expect("an end");
            assert!(!self.path.exists(), "the socket is removed");
        }
    }
}

/// An event that is looked at without waiting, as QEMU has it.
pub(super) fn event() -> EventFd {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("a flag");
    EventFd::new(flags).expect("an event")
}

fn connect(path: &std::path::Path) -> Frontend {
    for _ in 0..2000 {
        if let Ok(front) = Frontend::connect(path, 8) {
            return front;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nobody listens at {}", path.display());
}
