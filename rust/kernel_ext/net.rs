// SPDX-License-Identifier: GPL-2.0

//! Abstractions for network devices: Ethernet, NAPI, and what is sent and received.
//!
//! A *device* has *transmit queues*, each with a lock that the core takes before it gives the driver
//! a frame, and *NAPI instances*, each of which is polled by one CPU at a time once it was
//! *scheduled*, mostly by an interrupt. A driver implements [`Operations`].
//!
//! A *frame* is what goes over the wire, from its MAC header on. In memory it is a socket buffer, an
//! [`SkBuff`]. Those that are received are made of memory of a [`PagePool`], without a copy; it comes
//! back to the pool when they are freed.
//!
//! # Who owns what
//!
//! - [`Operations::Data`] is shared by all calls.
//! - [`Operations::Tx`] belongs to a transmit queue: whoever has the lock of the queue has it. That is
//!   the core, when it calls [`Operations::start_xmit`], or a [`TxGuard`].
//! - [`Operations::Napi`] belongs to a NAPI instance: whoever polls it has it, or whoever has
//!   [disabled](NapiHandle::disable) it.
//!
//! So what is needed for each frame is reached without another lock, and without counting.
//!
//! # Who outlives whom
//!
//! The operations share the driver's data, whose lifetime is that of its binding. The device is owned
//! by what unregisters it before the data goes away. The driver has [handles](Device): what the device
//! is made of lives until the last one is gone, so that interrupts may use one at any time; once the
//! device was unregistered, they do nothing.
//!
//! # Context
//!
//! Control operations run in process context, with the RTNL lock, of which a [`Rtnl`] is the proof.
//! Frames are sent with bottom halves disabled, and instances are polled in softirq context.
//!
//! C headers: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h),
//! [`include/linux/etherdevice.h`](srctree/include/linux/etherdevice.h),
//! [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h),
//! [`include/net/page_pool/helpers.h`](srctree/include/net/page_pool/helpers.h)

mod build;
mod callbacks;
mod counter;
mod device;
mod ethtool;
mod features;
mod filter;
mod inner;
mod napi;
mod offload;
mod operations;
mod options;
mod page_pool;
mod poll;
mod queue;
mod queue_stats;
mod rtnl;
mod scatter;
mod skb;
mod stats;

pub use self::{
    build::{
        Chain,
        SHARED_INFO, //
    },
    counter::{
        Counter,
        Traffic, //
    },
    device::{
        Borrowed,
        Device, //
    },
    ethtool::{
        Channels,
        Coalesce,
        Duplex,
        Ethtool,
        Extack,
        Link,
        Rings,
        Statistics, //
    },
    features::Features,
    filter::RxFilter,
    inner::Standalone,
    napi::{
        NapiHandle,
        NapiKind, //
    },
    offload::{
        Checksum,
        Gso,
        GsoKind,
        HashKind,
        Offload,
        Tunnel, //
    },
    operations::{
        More,
        Operations, //
    },
    options::DeviceOptions,
    page_pool::{
        Frag,
        PagePool,
        PagePoolOptions,
        Piece, //
    },
    poll::{
        Netpoll,
        Poll, //
    },
    queue::{
        TxControl,
        TxGuard,
        TxQueue, //
    },
    queue_stats::{
        QueueStats,
        RxStats,
        TxStats, //
    },
    rtnl::{
        Rtnl,
        RtnlGuard, //
    },
    scatter::ScatterTable,
    skb::{
        Reason,
        SkBuff, //
    },
    stats::LinkStats, //
};

pub(crate) use self::{
    inner::Owner,
    page_pool::PoolUser,
    skb::CONTROL, //
};

/// The address of an Ethernet device.
pub type MacAddress = [u8; 6];
