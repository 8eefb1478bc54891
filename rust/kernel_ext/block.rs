// SPDX-License-Identifier: GPL-2.0

//! Abstractions for disks: the multi-queue block layer, for hardware.
//!
//! A *disk* has *hardware queues*, each of which may have some *requests* at once, told apart by
//! their *tags*; the *tag set* has them all. A driver implements [`Operations`]: it gets requests,
//! has the device do them, and *ends* them.
//!
//! # Who owns a request
//!
//! A [`Request`] is an object: the block layer gives it to [`Operations::queue_rq`], and whoever has
//! it can end it, once. A queue of a device can own it meanwhile. Nothing else can end it: a request
//! that takes too long is only [borrowed](InFlight) by [`Operations::timeout`], which may run at the
//! same time as the interrupt that ends it. So there is nothing to count or to compare for a
//! request, and nothing is allocated: what a driver needs with each request is
//! [made](Operations::init_request) with the tag set, and so is the scatter list.
//!
//! # Who outlives whom
//!
//! The operations share the driver's data, whose lifetime is that of its binding. The disk is owned
//! by what ends it before the data goes away; the driver has [handles](Disk), which tell it if that
//! has happened. Ending a disk waits for each request and each call.
//!
//! # Context
//!
//! Requests are queued in process context, by operations that must not sleep. They end in any
//! context; a driver that ends several in an interrupt uses a [`CompletionBatch`], so that neither
//! is done while it holds a lock.
//!
//! C headers: [`include/linux/blk-mq.h`](srctree/include/linux/blk-mq.h),
//! [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h)

mod attribute;
mod batch;
mod chain;
mod disk;
mod inner;
mod limits;
mod name;
mod operation;
mod operations;
mod options;
mod passthrough;
mod queue;
mod request;
mod segment;
mod status;
mod tag_set;
#[cfg(kernel_ext_kunit)]
mod tests;

pub use self::{
    attribute::{
        Attribute,
        Text, //
    },
    batch::{
        CompletionBatch,
        RequestList, //
    },
    chain::{
        Chain,
        Entry, //
    },
    disk::{
        Disk,
        Frozen,
        Quiesced, //
    },
    inner::Standalone,
    limits::{
        Discard,
        Limits,
        WriteCache,
        SECTOR_SIZE, //
    },
    name::{
        DiskName,
        Id,
        IdAllocator,
        Major, //
    },
    operation::{
        Direction,
        Flags,
        Operation,
        OperationCounts,
        OperationNumber,
        ZoneOperation, //
    },
    operations::{
        Expired,
        Last,
        Operations,
        Rejected,
        Retry, //
    },
    options::{
        DiskOptions,
        Geometry, //
    },
    queue::{
        Queue,
        QueueKind, //
    },
    request::{
        Again,
        InFlight,
        Request, //
    },
    segment::{
        Range,
        Ranges,
        Segment,
        Segments, //
    },
    status::Status,
    tag_set::{
        QueueCounts,
        QueueMap,
        TagSetOptions, //
    },
};

pub(crate) use self::inner::Owner;

/// The most sectors that a disk can have: what its size in bytes can count.
#[doc(alias = "BLK_DEV_MAX_SECTORS")]
pub const MAX_CAPACITY: u64 = (i64::MAX >> 9).unsigned_abs();
