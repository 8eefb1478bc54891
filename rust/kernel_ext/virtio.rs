// SPDX-License-Identifier: GPL-2.0

//! Abstractions for the virtio bus.
//!
//! A *virtio driver* is bound to the *virtio devices* whose type is in its table. Any transport
//! (PCI, MMIO, vDPA) brings such devices; a driver cannot tell them apart.
//!
//! A driver and its device talk over *queues*. The driver *adds* buffers to a queue and *kicks* the
//! device, which reads or writes them, marks them *used*, and interrupts. While a buffer is in a
//! queue, the queue owns it: see [`Virtqueue`].
//!
//! # The life of a binding
//!
//! ```text
//!   Driver::validate       features are settled
//!   Driver::probe          queues are made
//!        |                 (DRIVER_OK)
//!   Driver::start          the device is live: queues work, callbacks are called
//!        |
//!      live <-----------------------------------------+
//!        |  \                                          |
//!        |   +--> Driver::suspend   still live         |
//!        |        (reset; no callback is running)      |
//!        |        Driver::release   queues are dropped |
//!        |        Driver::restore   and made again     |
//!        |        (DRIVER_OK)                          |
//!        |        Driver::resume ----------------------+
//!        |
//!   (resources end)        what was registered by start: nobody calls the driver any more
//!   Driver::unbind         the device is still live
//!        |                 (work ends; reset; no callback is running, none will be called)
//!   drop of Driver::Data   outstanding buffers come back
//!        |
//!   (queues end)
//! ```
//!
//! If `probe` or `start` fails, the steps that are left are taken from there. The order is that of
//! types: [`Driver::Data`] may have queues in it, whose lifetime is that of the binding; so they
//! are gone before the memory of the queues is freed, and that is after the device was reset. While
//! it is suspended, the handles of queues are counted instead: if the driver keeps one, the queues
//! stay, and so does the device, reset.
//!
//! C header: [`include/linux/virtio.h`](srctree/include/linux/virtio.h)

mod add;
mod binding;
mod buffer;
mod claim;
mod config;
mod counters;
mod cpus;
mod device;
mod disk;
mod driver;
mod fault;
mod feature;
mod frame;
mod mapped;
mod message;
mod netdev;
mod notification;
mod outcome;
mod queue;
mod receive;
mod recovery;
mod recycle;
mod ring;
mod setup;
mod show;
mod silence;
mod state;
mod transfer;
mod work;

pub use self::{
    buffer::{
        Buffer,
        Exchange,
        Listed, //
    },
    claim::{
        bytes_of,
        Claim,
        ClaimParam, //
    },
    counters::{
        Counters,
        Lines,
        Snapshot, //
    },
    device::{
        Device,
        DeviceId,
        DeviceType,
        IdTable, //
    },
    disk::make_disk,
    driver::{
        Adapter,
        Driver, //
    },
    frame::{
        HeaderPlace,
        TxFrame, //
    },
    mapped::Mapped,
    message::Message,
    netdev::make_netdev,
    notification::Notification,
    outcome::{
        AddError,
        Context,
        Progress,
        Used, //
    },
    queue::Virtqueue,
    receive::{
        Pieces,
        RxBuffer,
        RxSlot, //
    },
    recovery::Recovery,
    setup::{
        PendingQueue,
        QueueCallback,
        QueueName,
        QueueSetup,
        Queues, //
    },
    transfer::{
        Envelope,
        Transfer, //
    },
    work::{
        Resetter,
        Work, //
    },
};

pub(crate) use self::binding::Resource;
