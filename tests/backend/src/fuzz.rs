// SPDX-License-Identifier: GPL-2.0

//! What a hostile driver, or a hostile QEMU, says, as the fuzz targets have it.

use crate::{
    blk::{Blk, Medium},
    class::{Class, Use},
    device::Device,
    frame::Frame,
    log::{self, Level},
    memory::Place,
    net::{self, Net},
    session::early_enable,
    switch::{PortOptions, Switch},
    wake::Waker,
};
use anyhow::{Context, Result};
use rustix::{
    event::epoll,
    fs::{MemfdFlags, ftruncate, memfd_create},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};
use std::{
    fs::File,
    io::IoSlice,
    mem::MaybeUninit,
    num::NonZeroU16,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use vhost::vhost_user::{BackendReqHandler, Error, VhostUserBackendReqHandlerMut};

/// Where the guest has its memory, and QEMU; and how much.
const GUEST: u64 = 0x1_0000;
const USER: u64 = 0x7000_0000_0000;
const LENGTH: u64 = 0x1_0000;

/// The places of a ring.
const SIZE: u16 = 8;
/// Where its second and its third part are.
const AVAILABLE: u64 = 0x1000;
const USED: u64 = 0x2000;

/// `VIRTIO_F_VERSION_1`, and what the low bits of the first byte of an input choose from.
const VERSION_1: u64 = 1 << 32;
const PACKED: u64 = 1 << 34;
const FORMS: [u64; 4] = [PACKED, 1 << 28, 1 << 29, 1 << 35];
/// The next two bits: whatever else the device offers, but nothing that merges buffers.
const OTHERS: u8 = 1 << 4;
const NOT_MERGED: u8 = 1 << 5;
const MRG_RXBUF: u64 = 1 << 15;

/// A driver of a disk: a byte for the features, and then parts of the guest's memory, each with its
/// address (two bytes), its length (one), and its bytes. Returns how many buffers come back.
pub fn blk_queue(data: &[u8]) -> u64 {
    log::set(Level::Off);
    let result = Blk::new(&crate::blk::Options::new(Medium::Ram(64 * 512)))
        .and_then(|disk| serve(disk, Use::Requests, data, || {}));
    result.expect("a device")
}

/// A driver of a network device, which transmits; the same.
pub fn net_queue(data: &[u8]) -> u64 {
    net(Use::Stream, data)
}

/// One that receives: a small frame, one that is many in one, and another small one.
pub fn receive_queue(data: &[u8]) -> u64 {
    net(Use::Filled, data)
}

/// One that sends commands.
pub fn control_queue(data: &[u8]) -> u64 {
    net(Use::Requests, data)
}

fn net(queue: Use, data: &[u8]) -> u64 {
    log::set(Level::Off);
    exchange(queue, data).expect("a device")
}

fn exchange(queue: Use, data: &[u8]) -> Result<u64> {
    let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
    let options = net::Options {
        queues: 4,
        control: queue == Use::Requests,
        ..net::Options::new("net")
    };
    let port = switch.add(options.port.clone())?;
    let other = switch.add(PortOptions::new("other"))?;
    serve(Net::new(&options, port), queue, data, || {
        for length in [20, 3000, 46] {
            other.send(frame(length));
        }
    })
}

/// A frame for everybody, with so many bytes of TCP.
fn frame(length: usize) -> Frame {
    let mut bytes = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 7, 8, 0]].concat();
    bytes.extend([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([
        0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0,
    ]);
    bytes.resize(bytes.len() + length, 0x5a);
    Frame::partial(bytes, NonZeroU16::new(1000))
}

fn file() -> Result<File> {
    let file = memfd_create(c"fuzz", MemfdFlags::CLOEXEC)?;
    ftruncate(&file, LENGTH)?;
    Ok(file.into())
}

fn device<C: Class>(class: C) -> Result<Device<C>> {
    let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
    Ok(Device::new("fuzz", class, epoll, Waker::new()?))
}

/// Has a device serve what is in a queue of a guest's memory, and what comes to it from elsewhere.
fn serve<C: Class>(class: C, queue: Use, data: &[u8], comes: impl FnOnce()) -> Result<u64> {
    let mut device = device(class)?;
    let place = Place {
        guest: GUEST,
        user: USER,
        length: LENGTH,
        offset: 0,
    };
    device.memory.add(place, file()?)?;
    let (form, mut parts) = data.split_first().unwrap_or((&0, &[]));
    let all_forms = FORMS.iter().fold(0, |all, feature| all | feature);
    let mut others = device.class.offers() & !all_forms;
    if form & NOT_MERGED != 0 {
        others &= !MRG_RXBUF;
    }
    let others = if form & OTHERS != 0 { others } else { 0 };
    let chosen = FORMS.into_iter().enumerate();
    let features = chosen.filter(|(bit, _)| form >> bit & 1 == 1);
    device.accepted = features.fold(VERSION_1 | others, |all, (_, feature)| all | feature);
    device.class.accept(device.accepted);
    let mut queues = 0..device.queues.len();
    let queue = queues.find(|index| device.class.queue_use(*index) == queue);
    let queue = queue.context("a queue")?;
    while let [low, high, length, rest @ ..] = parts {
        let address = u64::from(u16::from_le_bytes([*low, *high]));
        let (bytes, rest) = rest.split_at(rest.len().min(usize::from(*length)));
        // What goes beyond the end is not there.
        let _ = device.memory.write(GUEST + address, bytes);
        parts = rest;
    }

    let setup = &mut device.queues.get_mut(queue).context("a queue")?.setup;
    setup.size = SIZE;
    setup.descriptors = USER;
    setup.available = USER + AVAILABLE;
    setup.used = USER + USED;
    // A packed ring begins with both wrap counters at one.
    setup.base = if form & 1 == 1 { 0x8000_8000 } else { 0 };
    if let Some(queue) = device.queues.get_mut(queue) {
        queue.enabled = true;
    }
    device.class.enable(queue, true);
    device.start(queue);
    comes();
    device.woken();
    device.run(queue);
    device.stop(queue);
    let queue = device.queues.get(queue).context("a queue")?;
    Ok(queue.counters.returned)
}

/// QEMU: messages, each with the number of files that come with it (a byte), its length (two), and its
/// bytes. Returns how many are taken.
pub fn messages(data: &[u8]) -> u64 {
    log::set(Level::Off);
    hear(data).expect("a device")
}

fn hear(mut data: &[u8]) -> Result<u64> {
    let disk = Blk::new(&crate::blk::Options::new(Medium::Ram(64 * 512)))?;
    let device = Arc::new(Mutex::new(device(disk)?));
    let (here, there) = UnixStream::pair()?;
    here.set_nonblocking(true)?;
    let file = file()?;
    while let [files, low, high, rest @ ..] = data {
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (message, rest) = rest.split_at(rest.len().min(length));
        send(&here, message, &file, usize::from(files % 9));
        data = rest;
    }
    // A message that is not complete is not waited for.
    here.shutdown(std::net::Shutdown::Write)?;

    let mut taken = 0;
    let peek = there.try_clone()?;
    let mut handler = BackendReqHandler::from_stream(there, Arc::clone(&device));
    loop {
        {
            let mut device = device.lock().unwrap_or_else(PoisonError::into_inner);
            if !device.has_protocol()
                && let Some(enable) = early_enable(&peek)
            {
                let done = device.set_vring_enable(enable.index, enable.enable).is_ok();
                // Who does not listen is gone.
                let _ = enable.reply(&peek, done);
                taken += u64::from(done);
                continue;
            }
        }
        match handler.handle_request() {
            Ok(()) => taken += 1,
            Err(Error::ReqHandlerError(_)) => {}
            Err(_) => break,
        }
    }
    Ok(taken)
}

/// Sends a message, with as many copies of a file.
fn send(to: &UnixStream, message: &[u8], file: &File, files: usize) {
    let all = [file.as_fd(); 8];
    let files: &[BorrowedFd<'_>] = all.get(..files).unwrap_or_default();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(files));
    }
    // More than fits in the socket is not sent.
    let _ = sendmsg(
        to,
        &[IoSlice::new(message)],
        &mut control,
        SendFlags::NOSIGNAL,
    );
}
