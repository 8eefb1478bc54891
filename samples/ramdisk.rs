// SPDX-License-Identifier: GPL-2.0

//! RAM disk: a disk without a device, which takes memory as it is written to.
//!
//! Requests are done while they are queued, except those that somebody polls for.

#![forbid(unsafe_code)]

use core::{ops::Range, pin::Pin, str};
use kernel::sync::{SetOnce, SpinLock};
use kernel::{alloc::flags::__GFP_NOWARN, new_spinlock, page::PAGE_SIZE, prelude::*};
use kernel_ext::block::{
    Attribute, CompletionBatch, Direction, Discard, Disk, DiskName, DiskOptions, Last, Limits,
    Operation, Operations, Queue, QueueCounts, QueueKind, Rejected, Request, Retry, Standalone,
    Status, TagSetOptions, Text, WriteCache, SECTOR_SIZE,
};

module! {
    type: RamDisk,
    name: "rust_ramdisk",
    authors: ["The rust-virtio developers"],
    description: "RAM disk",
    license: "GPL",
    params: {
        queues: u32 { default: 4, description: "Number of queues, beside the one to poll", },
    },
}

const MIB: usize = 1 << 20;
const SIZE_MIB: usize = 64;
const SECTORS_PER_MIB: u64 = MIB as u64 / SECTOR_SIZE as u64;
const DEPTH: u32 = 128;
const SERIAL: &[u8; 9] = b"R4M-0001\n";
static ZEROES: [u8; PAGE_SIZE] = [0; PAGE_SIZE];

/// Memory for a page of the disk, or none, if it has nothing but zeroes.
type Page = Option<KVec<u8>>;

#[pin_data]
struct Memory {
    /// Each has the pages of one MiB.
    shards: KVec<Pin<KBox<SpinLock<KVec<Page>>>>>,
    /// Requests that are done, and wait to be found. There is room for all that there can be.
    #[pin]
    done: SpinLock<KVec<(Request<Storage>, Status)>>,
    disk: SetOnce<Disk<Storage>>,
}

impl Memory {
    fn new() -> Result<Pin<KBox<Self>>> {
        let mut shards = KVec::new();
        for _ in 0..SIZE_MIB {
            let mut pages = KVec::new();
            for _ in 0..MIB / PAGE_SIZE {
                pages.push(None, GFP_KERNEL)?;
            }
            let shard = KBox::pin_init(new_spinlock!(pages), GFP_KERNEL)?;
            shards.push(shard, GFP_KERNEL)?;
        }
        let done = KVec::with_capacity(DEPTH as usize, GFP_KERNEL)?;
        let init = pin_init!(Self { shards, done <- new_spinlock!(done), disk: SetOnce::new() });
        KBox::pin_init(init, GFP_KERNEL)
    }

    /// Calls `f` with the page at `offset`, and with what of the `left` bytes from there is in it.
    fn page<R>(
        &self,
        offset: usize,
        left: usize,
        f: impl FnOnce(&mut Page, Range<usize>) -> Result<R>,
    ) -> Result<R> {
        let mut shard = self.shards.get(offset / MIB).ok_or(EIO)?.lock();
        let page = shard.get_mut(offset % MIB / PAGE_SIZE).ok_or(EIO)?;
        let start = offset % PAGE_SIZE;
        f(page, start..PAGE_SIZE.min(start + left))
    }

    fn transfer(&self, request: &Request<Storage>) -> Result {
        let mut offset = usize::try_from(request.sector() * u64::from(SECTOR_SIZE))?;
        let write = request.operation() == Operation::Write;
        for mut segment in request.segments() {
            while !segment.is_empty() {
                offset += self.page(offset, segment.len(), |page, range| {
                    let count = range.len();
                    if write && page.is_none() {
                        *page = Some(KVec::from_elem(0, PAGE_SIZE, GFP_NOWAIT | __GFP_NOWARN)?);
                    }
                    match page {
                        Some(page) if write => segment.read(page.get_mut(range).ok_or(EIO)?)?,
                        Some(page) => segment.write(page.get(range).ok_or(EIO)?)?,
                        None => segment.write(ZEROES.get(range).ok_or(EIO)?)?,
                    }
                    Ok(count)
                })?;
            }
        }
        Ok(())
    }

    fn clear(&self, request: &Request<Storage>) -> Result {
        for range in request.ranges() {
            // Blocks are pages, so there are whole pages.
            let end = range.sector + u64::from(range.count);
            for sector in (range.sector..end).step_by(PAGE_SIZE / SECTOR_SIZE as usize) {
                let offset = usize::try_from(sector * u64::from(SECTOR_SIZE))?;
                drop(self.page(offset, PAGE_SIZE, |page, _| Ok(page.take()))?);
            }
        }
        Ok(())
    }
}

struct Storage;

#[vtable]
impl Operations for Storage {
    type Data<'bound> = Memory;
    type RequestData = ();
    fn init_request<'a>(_: Pin<&'a Memory>, _: u32) -> impl PinInit<(), Error> {
        Ok::<_, Error>(())
    }

    fn queue_rq(
        memory: Pin<&Memory>,
        queue: Queue<'_, Self>,
        request: Request<Self>,
        _: Last,
    ) -> Result<(), Rejected<Self>> {
        let result = match request.operation() {
            Operation::Read | Operation::Write => memory.transfer(&request),
            Operation::Discard | Operation::WriteZeroes => memory.clear(&request),
            Operation::Flush => Ok(()),
            Operation::DriverIn => request.segments().try_for_each(|mut i| i.write(SERIAL)),
            _ => Err(EOPNOTSUPP),
        };
        if result == Err(ENOMEM) {
            return Err(request.reject(Retry::Soon));
        }
        if queue.kind() == QueueKind::Poll {
            let done = (request, result.into());
            let _ = memory.done.lock().push_within_capacity(done);
        } else {
            request.complete(result.into());
        }
        Ok(())
    }

    fn poll(memory: Pin<&Memory>, _: Queue<'_, Self>, batch: &mut CompletionBatch<Self>) {
        let mut done = memory.done.lock();
        done.drain_all()
            .for_each(|(i, status)| batch.add(i, status));
    }
}

fn show_serial(memory: Pin<&Memory>, text: &mut Text<'_>) -> Result {
    let mut serial = [0; SERIAL.len()];
    let disk = memory.disk.as_ref().ok_or(ENODEV)?;
    disk.execute(Direction::FromDevice, &mut serial, |_| (), |_| ())?;
    text.append(&serial)
}

fn show_size(memory: Pin<&Memory>, text: &mut Text<'_>) -> Result {
    let disk = memory.disk.as_ref().ok_or(ENODEV)?;
    text.format(fmt!("{}\n", disk.capacity()? / SECTORS_PER_MIB))
}

fn store_size(memory: Pin<&Memory>, text: &[u8]) -> Result {
    let text = str::from_utf8(text).map_err(|_| EINVAL)?;
    let mib = text
        .parse::<u64>()
        .map_err(|_| EINVAL)?
        .min(SIZE_MIB as u64);
    let disk = memory.disk.as_ref().ok_or(ENODEV)?;
    disk.set_capacity(mib * SECTORS_PER_MIB).map(drop)
}

struct RamDisk {
    _disk: Standalone<Storage>,
}

impl kernel::Module for RamDisk {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let limits = Limits::new()
            .logical_block_size(u32::try_from(PAGE_SIZE)?)
            .write_cache(WriteCache::VolatileWithFua)
            .discard(Discard::new(1 << 20, 8))
            .write_zeroes(1 << 20);
        let queues = QueueCounts::new(module_parameters::queues.value()).poll(1);
        let name = DiskName::new(fmt!("rustram0"))?;
        let options = DiskOptions::new(name, TagSetOptions::new(queues, DEPTH), limits)
            .capacity(SIZE_MIB as u64 * SECTORS_PER_MIB)?
            .attribute(Attribute::<Storage>::read_only(c"serial", show_serial))?
            .attribute(Attribute::read_write(c"size_mib", show_size, store_size))?;
        let disk = Standalone::new(options, Memory::new()?)?;
        disk.data().disk.populate(Disk::clone(&disk));
        disk.add()?;
        Ok(Self { _disk: disk })
    }
}
