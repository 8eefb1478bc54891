// SPDX-License-Identifier: GPL-2.0

//! What QEMU asks for, message by message.
//!
//! Crate `vhost` reads the messages and sends the answers. What it has no call for is looked at
//! before it gets the message: see [`backend_channel`].

mod cut;

pub use cut::Cut;

use crate::{
    class::Class,
    device::{Device, Record},
    log::error,
    memory::{Area, Bitmap, MOST_REGIONS, MemoryError, Place},
    ring::inflight,
};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recv, recvmsg,
};
use std::{
    fs::File,
    io::{self, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::unix::net::UnixStream,
};
use vhost::vhost_user::{
    Backend, Error, GpuBackend, Result, VhostUserBackendReqHandlerMut, VhostUserProtocolFeatures,
    message::{
        FrontendReq, VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags,
        VhostUserInflight, VhostUserLog, VhostUserMemoryRegion, VhostUserShMemConfig,
        VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags,
        VhostUserVringState,
    },
};

/// `VHOST_USER_F_PROTOCOL_FEATURES`.
const PROTOCOL_FEATURES: u64 = 1 << 30;

/// `VHOST_F_LOG_ALL`: what is written to the memory of the guest is logged.
const LOG_ALL: u64 = 1 << 26;

/// `VHOST_USER_SET_BACKEND_REQ_FD`.
const SET_BACKEND_REQ_FD: u32 = 21;

/// Returns the channel of the other direction, if the next message brings it.
///
/// The crate keeps it, but cannot say through it that the configuration space has changed. A look
/// at a message gives file descriptors of its own.
pub fn backend_channel(connection: &UnixStream) -> Option<UnixStream> {
    let mut header = [0; 12];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(32))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        connection,
        &mut [IoSliceMut::new(&mut header)],
        &mut control,
        RecvFlags::PEEK | RecvFlags::CMSG_CLOEXEC,
    )
    .ok()?;
    let [a, b, c, d, ..] = header;
    let code = u32::from_ne_bytes([a, b, c, d]);
    if received.bytes < header.len()
        || received.flags.contains(ReturnFlags::CTRUNC)
        || code != SET_BACKEND_REQ_FD
    {
        return None;
    }
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next().map(UnixStream::from),
        _ => None,
    })
}

/// Names the next message, for somebody who reads the log.
pub fn next_message(connection: &UnixStream) -> String {
    let mut header = [0; 12];
    match recv(connection, &mut header[..], RecvFlags::PEEK) {
        Ok((_, length)) if length == header.len() => {
            let [code] = words(&header);
            FrontendReq::try_from(code)
                .map_or_else(|_| format!("message {code}"), |known| format!("{known:?}"))
        }
        _ => "nothing more".to_owned(),
    }
}

/// `VHOST_USER_SET_VRING_ENABLE`.
const SET_VRING_ENABLE: u32 = 18;

/// The flags of a message: its version, and that it is, or wants, a reply.
const VERSION: u32 = 1;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// A queue that is to be enabled, or not.
#[derive(Clone, Copy, Debug)]
pub struct Enable {
    /// The queue.
    pub index: u32,
    /// Whether it is to be enabled.
    pub enable: bool,
    wants_reply: bool,
}

/// Takes the next message, if it enables a queue.
///
/// For networks, QEMU sends it before the features, and the crate takes that for a mistake.
pub fn early_enable(mut connection: &UnixStream) -> Option<Enable> {
    let mut header = [0; 12];
    let received = recv(connection, &mut header[..], RecvFlags::PEEK).ok()?;
    let [code, flags, length] = words(&header);
    if received.1 < header.len() || code != SET_VRING_ENABLE || length != 8 {
        return None;
    }
    let mut message = [0; 20];
    connection.read_exact(&mut message).ok()?;
    let [_, _, _, index, value] = words(&message);
    Some(Enable {
        index,
        enable: value != 0,
        wants_reply: flags & NEED_REPLY != 0,
    })
}

impl Enable {
    /// Tells QEMU whether it was done.
    pub fn reply(&self, mut connection: &UnixStream, done: bool) -> io::Result<()> {
        if !self.wants_reply {
            return Ok(());
        }
        let result = u32::from(!done);
        let words = [SET_VRING_ENABLE, VERSION | REPLY, 8, result, 0];
        let message: Vec<u8> = words.into_iter().flat_map(u32::to_ne_bytes).collect();
        connection.write_all(&message)
    }
}

/// Takes integers of four bytes out of a message.
fn words<const N: usize>(bytes: &[u8]) -> [u32; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().unwrap_or_default());
    }
    words
}

/// An error that does not end the connection.
fn refuse<T>(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Result<T> {
    Err(Error::ReqHandlerError(io::Error::other(why)))
}

fn at_of(index: u32) -> usize {
    usize::try_from(index).unwrap_or(usize::MAX)
}

fn place(region: &VhostUserMemoryRegion) -> Place {
    Place {
        guest: region.guest_phys_addr,
        user: region.user_addr,
        length: region.memory_size,
        offset: region.mmap_offset,
    }
}

fn memory_error(error: MemoryError) -> Error {
    Error::ReqHandlerError(io::Error::other(error))
}

impl<C: Class> Device<C> {
    fn queue(&mut self, index: u32) -> Result<&mut crate::queue::Queue<C::Job>> {
        let index = at_of(index);
        match self.queues.get_mut(index) {
            Some(queue) => Ok(queue),
            None => refuse(format!("there is no queue {index}")),
        }
    }
}

impl<C: Class> VhostUserBackendReqHandlerMut for Device<C> {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.counters.resets += 1;
        self.reset();
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        self.counters.resets += 1;
        self.reset();
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.class.offers() | PROTOCOL_FEATURES | LOG_ALL)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        let log = self.memory.log();
        if features & LOG_ALL == 0 {
            log.stop();
        } else {
            log.start();
        }
        let before = std::mem::replace(&mut self.accepted, features);
        if before ^ features == LOG_ALL {
            // QEMU switches the log on and off while queues run: nothing else begins anew.
            return Ok(());
        }
        self.class.accept(features & !(PROTOCOL_FEATURES | LOG_ALL));
        if features & PROTOCOL_FEATURES == 0 {
            for (index, queue) in self.queues.iter_mut().enumerate() {
                queue.enabled = true;
                self.class.enable(index, true);
            }
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<u64>>> {
        // What the kernel writes to memory, it writes to that which there is.
        self.drain();
        self.memory.clear();
        for (region, file) in regions.iter().zip(files) {
            self.memory.add(place(region), file).map_err(memory_error)?;
        }
        self.remap();
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let Ok(size) = u16::try_from(num) else {
            return refuse(format!("a queue of size {num}"));
        };
        self.queue(index)?.setup.size = size;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        log: u64,
    ) -> Result<()> {
        let logs = flags.contains(VhostUserVringAddrFlags::VHOST_VRING_F_LOG);
        let queue = self.queue(index)?;
        queue.setup.descriptors = descriptor;
        queue.setup.available = available;
        queue.setup.used = used;
        queue.setup.used_log = logs.then_some(log);
        // A queue may run: then this is all that can change.
        if let Some(ring) = &mut queue.ring {
            ring.log_used(queue.setup.used_log);
        }
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.queue(index)?.setup.base = base;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.queue(index)?;
        let base = self.stop(at_of(index));
        Ok(VhostUserVringState::new(index, base))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.queue(index.into())?;
        let index = usize::from(index);
        self.set_kick(index, fd);
        // The queue starts, though QEMU may not have enabled it.
        self.start(index);
        self.run(index);
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.queue(index.into())?.set_call(fd);
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.queue(index.into())?.error = fd;
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        let features = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::INFLIGHT_SHMFD
            | VhostUserProtocolFeatures::LOG_SHMFD
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS;
        Ok(if C::RECORDED {
            features
        } else {
            features - VhostUserProtocolFeatures::INFLIGHT_SHMFD
        })
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.protocol = features;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.class.announced().into())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.queue(index)?.enabled = enable;
        self.class.enable(at_of(index), enable);
        self.run(at_of(index));
        Ok(())
    }

    fn get_config(
        &mut self,
        offset: u32,
        size: u32,
        _flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        let (offset, size) = (at_of(offset), at_of(size));
        let mut config = self.class.config();
        // What the class does not have is zero.
        config.resize(config.len().max(offset.saturating_add(size)), 0);
        Ok(config.get(offset..offset + size).unwrap_or_default().into())
    }

    fn set_config(&mut self, offset: u32, buf: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        self.class
            .write_config(at_of(offset), buf)
            .or_else(|error| refuse(format!("{error:#}")))
    }

    fn set_backend_req_fd(&mut self, _backend: Backend) {}

    fn set_gpu_socket(&mut self, _gpu_backend: GpuBackend) -> Result<()> {
        refuse("this is no display")
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        refuse("there are no shared objects")
    }

    fn get_inflight_fd(
        &mut self,
        inflight: &VhostUserInflight,
    ) -> Result<(VhostUserInflight, File)> {
        let (queues, size) = (inflight.num_queues, inflight.queue_size);
        let length = inflight::length(size) * usize::from(queues);
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        let file = rustix::fs::memfd_create("in-flight", flags).map_err(io::Error::from);
        let file = file.map(File::from).and_then(|file| {
            file.set_len(length)?;
            Ok(file)
        });
        let file = file.map_err(Error::ReqHandlerError)?;
        let answer = VhostUserInflight::new(length, 0, queues, size);
        self.set_record(&answer, file.try_clone().map_err(Error::ReqHandlerError)?)?;
        Ok((answer, file))
    }

    fn set_inflight_fd(&mut self, inflight: &VhostUserInflight, file: File) -> Result<()> {
        self.set_record(inflight, file)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(u64::try_from(MOST_REGIONS).unwrap_or(u64::MAX))
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        fd: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<u64>> {
        self.memory.add(place(region), fd).map_err(memory_error)?;
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.drain();
        self.memory.remove(place(region)).map_err(memory_error)?;
        self.remap();
        Ok(())
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _fd: File,
    ) -> Result<Option<File>> {
        refuse("there is no state to transfer")
    }

    fn check_device_state(&mut self) -> Result<()> {
        refuse("there is no state to transfer")
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        refuse("there is no shared memory")
    }

    fn set_log_base(&mut self, log: &VhostUserLog, file: File) -> Result<()> {
        let bitmap = Bitmap {
            file,
            offset: log.mmap_offset,
            length: log.mmap_size,
        };
        self.memory.set_log(bitmap).map_err(|error| {
            // The answer cannot be a refusal, and QEMU waits for it, or for the end.
            error!("{}: writes cannot be logged: {error}", self.name);
            Error::BackendInternalError
        })
    }
}

impl<C: Class> Device<C> {
    /// Returns whether the crate takes a message that enables a queue.
    pub fn has_protocol(&self) -> bool {
        self.accepted & PROTOCOL_FEATURES != 0
    }

    fn set_record(&mut self, inflight: &VhostUserInflight, file: File) -> Result<()> {
        if !C::RECORDED {
            return refuse("what is in flight is not recorded");
        }
        let (queues, size) = (inflight.num_queues, inflight.queue_size);
        let length = inflight::length(size) * usize::from(queues);
        if u64::try_from(length).unwrap_or(u64::MAX) > inflight.mmap_size {
            return refuse("the record of what is in flight is too short");
        }
        let area = Area::of_file(file, inflight.mmap_offset, length).map_err(memory_error)?;
        self.record = Some(Record { area, queues, size });
        Ok(())
    }
}
