// SPDX-License-Identifier: GPL-2.0

//! Virtio block driver.
//!
//! Each queue of the device is one of the disk. A request goes into the ring of its queue with what
//! its tag has for it, so nothing is allocated, and comes back when the device has used it, or when
//! the device was reset: then it is queued again. What was acknowledged is on the device, and
//! nothing is acknowledged twice, as only the owner of a request can end it.
//!
//! A device that fails is reset: if a request takes too long, or a ring is broken. After several
//! times without anything done in between it is given up: requests fail, and nothing hangs.

#![forbid(unsafe_code)]

use core::{
    fmt,
    pin::Pin, //
};
use kernel::{
    cpu,
    device::{
        Bound,
        Core, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex,
        SetOnce, //
    },
    time::msecs_to_jiffies,
};
use kernel_ext::{
    block::{
        Again,
        CompletionBatch,
        Disk,
        DiskName,
        DiskOptions,
        Id,
        IdAllocator,
        QueueCounts,
        Quiesced,
        Request,
        TagSetOptions, //
    },
    fmt::Plain,
    virtio::{
        self,
        Claim,
        Device,
        Lines,
        QueueCallback,
        QueueName,
        QueueSetup,
        Recovery,
        Virtqueue,
        Work, //
    },
};
use virtio_wire::{
    blk::{
        Accepted,
        Blk,
        DeviceId,
        Feature, //
    },
    feature::FeatureSet,
};

mod attributes;
mod counters;
mod io;
mod operations;
mod queue;
mod shape;

use operations::Io;
use queue::{
    Done,
    IoQueue,
    Queues,
    Ring, //
};
use shape::Shape;

kernel_ext::module_virtio_driver! {
    type: VirtioBlk,
    name: "virtio_blk_rs",
    authors: ["The rust-virtio developers"],
    description: "Virtio block driver",
    license: "GPL",
    params: {
        num_request_queues: u32 {
            default: 0,
            description: "Number of queues to use, at most; 0 for one for each CPU",
        },
        poll_queues: u32 {
            default: 0,
            description: "Number of queues for requests that somebody polls for",
        },
        queue_depth: u32 {
            default: 0,
            description: "Number of requests that a queue may have, at most; 0 for what it has room for",
        },
        direct: u32 {
            default: 2,
            description: "Put segments into the ring (1), into tables that are allocated (0), or into tables if there are many requests (2)",
        },
        first_disk: u32 {
            default: 702,
            description: "Number of the first disk: 0 is vda, 702 is vdaaa",
        },
    },
}

kernel_ext::virtio_device_table!(ID_TABLE, [virtio::DeviceId::new(virtio::DeviceType::BLOCK)]);

kernel_ext::virtio_claim!(CLAIM, ["serial"], "serial:NAME");

/// How long a request may take, in milliseconds, unless the user says otherwise, in sysfs.
const TIMEOUT: u32 = 30_000;

/// How long a device that works may take to do what it has, before it is reset, in milliseconds.
const DRAIN: u32 = 10_000;

/// How often the device is reset without anything being done in between, before it is given up.
const PATIENCE: u32 = 3;

/// Where segments are, by parameter `direct`; otherwise, it depends on how many requests there are.
const TABLES: u32 = 0;
const RING: u32 = 1;

/// What part of a ring a request may take, if its segments go there.
const SHARES: u32 = 4;

/// How many places a small request takes: a header, a segment, and a status.
const SMALL: u32 = 3;

static IDS: IdAllocator<16> = IdAllocator::new();

struct VirtioBlk;

/// What the driver keeps of a device.
#[pin_data]
pub(crate) struct Data<'bound> {
    vdev: &'bound Device<Bound>,
    features: Accepted,
    /// What the device said of itself when it was probed.
    shape: Shape,
    counts: QueueCounts,
    queues: Queues<'bound>,
    disk: SetOnce<Disk<Io>>,
    id: SetOnce<Id<'static>>,
    resize: Work<'bound>,
    /// If it gives the device up, requests fail.
    recovery: Recovery<'bound>,
    /// Whether the disk was made. Before, nobody can reset the device.
    started: Atomic<bool>,
    /// Whether the disk is being deleted.
    deleting: Atomic<bool>,
    /// Kept while the device is suspended.
    #[pin]
    quiesced: Mutex<Option<Quiesced<Io>>>,
}

impl<'bound> Data<'bound> {
    fn is_legacy(&self) -> bool {
        self.features.is_legacy()
    }

    fn queue(&self, index: u32) -> Option<&IoQueue<'bound>> {
        let index = usize::try_from(index).ok()?;
        self.queues.get(index).map(|queue| queue.as_ref().get_ref())
    }

    /// Ends what the device has done, and lets others follow.
    #[inline(always)]
    fn finish(
        &self,
        queue: &IoQueue<'bound>,
        index: u32,
        done: Done,
        batch: &mut CompletionBatch<Io>,
    ) {
        let (restart, broken) = (done.restart, done.broken);
        if done.count > 0 {
            self.recovery.works();
        }
        done.end(queue, self.is_legacy(), batch, |error| {
            self.vdev
                .complain(|| dev_err!(self.vdev, "a request failed: {}\n", Plain(error)));
        });
        if restart {
            if let Some(disk) = self.disk.as_ref() {
                disk.start_stopped_queue(index);
            }
        }
        if broken {
            self.recovery.begin();
        }
    }

    /// Queues a request again.
    fn requeue(&self, request: Request<Io>, again: Again) {
        if let Some(queue) = self.queue(request.queue().index()) {
            queue.requeues.fetch_add(1, Relaxed);
        }
        request.requeue(again);
    }

    /// Gives the device up, and ends what it has. It is reset for that.
    fn abandon(&self) {
        self.recovery.give_up();
        for queue in &self.queues {
            drop(queue.take_ring());
        }
    }

    fn is_broken(&self) -> bool {
        self.recovery.is_dead() || self.queues.iter().any(|queue| queue.is_broken())
    }

    /// Takes the capacity over from the device.
    fn resize(vdev: &Device<Bound>, this: Pin<&Data<'_>>) {
        if this.recovery.heeds_device() {
            return;
        }
        let capacity = Shape::read(vdev, this.features).and_then(|shape| shape.capacity(vdev));
        let (Ok(capacity), Some(disk)) = (capacity, this.disk.as_ref()) else {
            return;
        };
        match disk.set_capacity(capacity) {
            Ok(true) => dev_info!(vdev, "the disk has {} sectors now\n", capacity),
            Ok(false) => {}
            Err(_) => dev_err!(vdev, "the disk cannot have {} sectors\n", capacity),
        }
    }

    /// Makes the queues of the device, in their order.
    fn rings(vdev: &'bound Device<Core<'_>>, counts: QueueCounts) -> Result<KVec<Ring<'bound>>> {
        let mut setup = QueueSetup::<VirtioBlk>::new(vdev)?;
        let mut pending = KVec::new();
        for index in 0..counts.total()? {
            let polled = index >= counts.default;
            let number = usize::try_from(index)?;
            let callback = if polled {
                None
            } else {
                Some(QueueCallback::<VirtioBlk>::new(VirtioBlk::used, number))
            };
            let name = if polled { "req_poll" } else { "req" };
            let name = QueueName::numbered(name, number)?;
            let queue = match module_parameters::direct.value() {
                TABLES => setup.queue(name, callback)?,
                RING => setup.direct_queue(name, callback)?,
                _ => setup.mixed_queue(name, callback)?,
            };
            pending.push(queue, GFP_KERNEL)?;
        }
        if counts.default > 1 {
            setup.spread(0, 0);
        }

        let mut queues = setup.make()?;
        let mut rings = KVec::new();
        for queue in pending {
            let ring: Virtqueue<'_, _> = queues.take(queue)?;
            rings.push(ring, GFP_KERNEL)?;
        }
        Ok(rings)
    }

    /// Returns how many segments a request may have, and how many requests a queue.
    fn capacity_of_queues(&self) -> Result<(u16, u32)> {
        let size = self.queues.iter().map(|queue| queue.size()).min();
        let size = size.filter(|size| *size > SMALL).ok_or(EINVAL)?;
        let offered = self.shape.segments(self.vdev)?;
        let direct = if self.features.has(Feature::INDIRECT_DESC) {
            module_parameters::direct.value()
        } else {
            RING
        };
        // The header and the status take places, too.
        let few = (size / SHARES).max(SMALL) - 2;
        let (segments, depth) = match direct {
            TABLES => (size - 2, size),
            RING => (few, size / SMALL),
            _ => (few, size / 2),
        };
        let wanted = match module_parameters::queue_depth.value() {
            0 => u32::MAX,
            wanted => wanted,
        };
        let segments = u16::try_from(segments).unwrap_or(u16::MAX);
        Ok((offered.min(segments), depth.min(wanted)))
    }

    /// Makes the disk, and lets the kernel know it.
    fn make_disk(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Self>) -> Result {
        let shape = &this.get_ref().shape;
        let (segments, depth) = this.capacity_of_queues()?;
        let tags = TagSetOptions::new(this.counts, depth)
            .segments(segments)
            .timeout(TIMEOUT)
            .near(vdev.as_ref());

        let id = IDS.allocate()?;
        let number = module_parameters::first_disk
            .value()
            .checked_add(id.number());
        let name = DiskName::letters("vd", number.ok_or(EINVAL)?)?;
        let limits = shape.limits(vdev)?.max_segments(segments);
        let mut options = DiskOptions::new(name, tags, limits).capacity(shape.capacity(vdev)?)?;
        if shape.is_read_only() {
            options = options.read_only();
        }
        if let Some(geometry) = shape.geometry() {
            options = options.geometry(geometry);
        }
        let options = attributes::add(options, shape)?;

        let disk = virtio::make_disk::<VirtioBlk, Io>(vdev, options)?;
        this.id.populate(id);
        this.disk.populate(disk.clone());
        if CLAIM.depends_on_name(vdev) && !attributes::serial(&this)?.is_some_and(is_claimed) {
            return Err(ENODEV);
        }
        disk.add()?;
        dev_info!(
            vdev,
            "{} queues of {} requests with {} segments each\n",
            this.queues.len(),
            depth,
            segments
        );
        Ok(())
    }
}

/// Returns how many queues to use, of those that the device has.
fn counts(offered: u32) -> QueueCounts {
    let wanted = match module_parameters::num_request_queues.value() {
        0 => cpu::nr_cpu_ids(),
        wanted => wanted.min(cpu::nr_cpu_ids()),
    };
    let poll = module_parameters::poll_queues.value();
    // One is for what nobody polls for.
    let total = offered.min(wanted.saturating_add(poll)).max(1);
    let poll = poll.min(total - 1);
    QueueCounts::new(total - poll).poll(poll)
}

fn is_claimed(serial: DeviceId) -> bool {
    CLAIM.names("serial", serial.name())
}

impl VirtioBlk {
    fn used(this: Pin<&Data<'_>>, index: usize) {
        let Some(queue) = this.queues.get(index) else {
            return;
        };
        let done = queue.take_done();
        let mut batch = CompletionBatch::new();
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        this.finish(queue, index, done, &mut batch);
        // What is in the batch ends with it.
    }
}

#[vtable]
impl virtio::Driver for VirtioBlk {
    type Class = Blk;
    type Data<'bound> = Data<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;
    const FEATURES: FeatureSet<Blk> = FeatureSet::of(&[
        Feature::SIZE_MAX,
        Feature::SEG_MAX,
        Feature::GEOMETRY,
        Feature::RO,
        Feature::BLK_SIZE,
        Feature::FLUSH,
        Feature::TOPOLOGY,
        Feature::CONFIG_WCE,
        Feature::MQ,
        Feature::DISCARD,
        Feature::WRITE_ZEROES,
        Feature::LIFETIME,
        Feature::SECURE_ERASE,
    ]);

    fn claim() -> Option<&'static Claim> {
        Some(&CLAIM)
    }

    fn probe<'bound>(vdev: &'bound Device<Core<'_>>) -> impl PinInit<Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let features = vdev.features::<Self>()?;
            let shape = Shape::read(vdev, features)?;
            let counts = counts(shape.queues(vdev)?);
            let mut queues = KVec::new();
            for ring in Data::rings(vdev, counts)? {
                queues.push(KBox::pin_init(IoQueue::new(ring), GFP_KERNEL)?, GFP_KERNEL)?;
            }
            let resize = Work::new::<Self>(vdev, Data::resize)?;
            let recovery = Recovery::new::<Self>(vdev, PATIENCE)?;
            Ok(try_pin_init!(Data {
                vdev,
                features,
                shape,
                counts,
                queues,
                disk: SetOnce::new(),
                id: SetOnce::new(),
                resize,
                recovery,
                started: Atomic::new(false),
                deleting: Atomic::new(false),
                quiesced <- new_mutex!(None),
            }))
        })
    }

    fn start<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        Data::make_disk(vdev, this)?;
        this.started.store(true, Relaxed);
        // What the kernel has looked for on the disk may have been too much for the device.
        if this.recovery.is_dead() {
            return Err(EIO);
        }
        Ok(())
    }

    fn config_changed(this: Pin<&Data<'_>>) {
        this.resize.queue();
    }

    fn suspend<'bound>(_: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        let Some(disk) = this.disk.as_ref() else {
            return Ok(());
        };
        // What the device is not given time for is done when it is back. But as long as there are
        // requests that a processor has made, that cannot be put to sleep.
        let works = !this.recovery.is_resetting() && !this.recovery.is_dead();
        let drained = works.then(|| disk.freeze_within(msecs_to_jiffies(DRAIN)));
        *this.quiesced.lock() = Some(disk.quiesce()?);
        drop(drained);
        Ok(())
    }

    fn release<'bound>(this: Pin<&'bound Data<'bound>>) {
        let dead = this.recovery.is_dead();
        for queue in &this.queues {
            let Some(mut ring) = queue.take_ring() else {
                continue;
            };
            // The device was reset: it can do nothing with them any more.
            let drained = ring.drain(|transfer| {
                let request = transfer.into_request();
                if dead {
                    drop(request);
                } else {
                    this.requeue(request, Again::WhenKicked);
                }
            });
            if drained.is_err() {
                dev_err!(this.vdev, "the device was not reset\n");
            }
        }
    }

    fn restore<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        if this.recovery.is_dead() {
            return Err(ENODEV);
        }
        let rings = Data::rings(vdev, this.counts)?;
        for (queue, ring) in this.queues.iter().zip(rings) {
            queue.set_ring(ring);
        }
        Ok(())
    }

    fn resume<'bound>(_: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        this.recovery.end();
        *this.quiesced.lock() = None;
        if let Some(disk) = this.disk.as_ref() {
            disk.kick_requeued()?;
            disk.start_stopped();
        }
        // It may be another size by now.
        this.resize.queue();
        Ok(())
    }

    fn show(this: Pin<&Data<'_>>, lines: &mut Lines<'_, '_>) -> fmt::Result {
        counters::show(&this, lines)
    }

    fn lost(_: &Device<Bound>, this: Pin<&Data<'_>>) {
        this.recovery.give_up();
        *this.quiesced.lock() = None;
        if let Some(disk) = this.disk.as_ref() {
            // Nobody is left to be told if the disk is being deleted.
            let _ = disk.kick_requeued();
            let _ = disk.mark_dead();
        }
    }

    fn shutdown<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&Data<'bound>>) {
        vdev.quiesce();
        this.abandon();
    }
}
