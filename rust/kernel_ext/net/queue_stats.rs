// SPDX-License-Identifier: GPL-2.0

//! Statistics of queues, which have the same meaning for each driver.
//!
//! C header: [`include/net/netdev_queues.h`](srctree/include/net/netdev_queues.h)

use super::{
    callbacks::with,
    operations::Operations, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::prelude::*;

/// Declares statistics. Those that are not known are left out.
macro_rules! queue_stats {
    ($(#[$meta:meta])* $ty:ident, $raw:ident: $($(#[$field:meta])* $name:ident,)*) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        pub struct $ty {
            $($(#[$field])* pub $name: Option<u64>,)*
        }

        impl $ty {
            fn write(&self, stats: &mut bindings::$raw) {
                $(
                    if let Some(value) = self.$name {
                        stats.$name = value;
                    }
                )*
            }
        }
    };
}

queue_stats! {
    /// What a receive queue has counted, as far as it is known.
    #[doc(alias = "netdev_queue_stats_rx")]
    RxStats, netdev_queue_stats_rx:
    /// Frames that were received.
    packets,
    /// Their bytes.
    bytes,
    /// Buffers or frames that could not be allocated.
    alloc_fail,
    /// Frames that the device has dropped.
    hw_drops,
    /// Of these, those that there was no buffer for.
    hw_drop_overruns,
    /// Of these, those that came too fast.
    hw_drop_ratelimits,
    /// Frames with a checksum of everything.
    csum_complete,
    /// Frames with a checksum that was found to be right.
    csum_unnecessary,
    /// Frames without a checksum.
    csum_none,
    /// Frames with a wrong checksum.
    csum_bad,
    /// Frames that the device has put together.
    hw_gro_packets,
    /// Their bytes.
    hw_gro_bytes,
    /// What these were on the wire.
    hw_gro_wire_packets,
    /// Their bytes.
    hw_gro_wire_bytes,
}

queue_stats! {
    /// What a transmit queue has counted, as far as it is known.
    #[doc(alias = "netdev_queue_stats_tx")]
    TxStats, netdev_queue_stats_tx:
    /// Frames that were sent.
    packets,
    /// Their bytes.
    bytes,
    /// Frames that the device has dropped.
    hw_drops,
    /// Of these, those that it found wrong.
    hw_drop_errors,
    /// Of these, those that came too fast.
    hw_drop_ratelimits,
    /// Frames that needed no checksum.
    csum_none,
    /// Frames that needed one.
    needs_csum,
    /// Frames that the device has segmented.
    hw_gso_packets,
    /// Their bytes.
    hw_gso_bytes,
    /// What these were on the wire.
    hw_gso_wire_packets,
    /// Their bytes.
    hw_gso_wire_bytes,
    /// How often the queue was stopped.
    stop,
    /// How often it was woken.
    wake,
}

/// Statistics of the queues that are used. Calls have the RTNL lock, and may sleep.
#[doc(alias = "netdev_stat_ops")]
pub trait QueueStats: Operations {
    /// Tells what a receive queue has counted: always the same things.
    fn rx(data: Pin<&Self::Data<'_>>, queue: u32) -> RxStats;

    /// Tells what a transmit queue has counted: always the same things.
    fn tx(data: Pin<&Self::Data<'_>>, queue: u32) -> TxStats;

    /// Tells what was counted by queues that are not used now. What is left out is not added up for
    /// the device.
    #[doc(alias = "get_base_stats")]
    fn base(data: Pin<&Self::Data<'_>>) -> (RxStats, TxStats);
}

/// The callbacks of the core, for a driver.
///
/// Their safety requirements are the same: only the core may call them, for a device with operations
/// `T` that has not ended, with the RTNL lock.
pub(super) struct Callbacks<T: QueueStats>(PhantomData<T>);

impl<T: QueueStats> Callbacks<T> {
    /// The table of callbacks.
    pub(super) const TABLE: &'static bindings::netdev_stat_ops = &bindings::netdev_stat_ops {
        get_queue_stats_rx: Some(Self::rx),
        get_queue_stats_tx: Some(Self::tx),
        get_base_stats: Some(Self::base),
    };

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn rx(
        dev: *mut bindings::net_device,
        queue: c_int,
        stats: *mut bindings::netdev_queue_stats_rx,
    ) {
        let Ok(queue) = u32::try_from(queue) else {
            return;
        };
        // SAFETY: By the safety requirements.
        let found = unsafe { with::<T, _>(dev, |data, _| T::rx(data, queue)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        found.write(unsafe { &mut *stats });
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn tx(
        dev: *mut bindings::net_device,
        queue: c_int,
        stats: *mut bindings::netdev_queue_stats_tx,
    ) {
        let Ok(queue) = u32::try_from(queue) else {
            return;
        };
        // SAFETY: By the safety requirements.
        let found = unsafe { with::<T, _>(dev, |data, _| T::tx(data, queue)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        found.write(unsafe { &mut *stats });
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn base(
        dev: *mut bindings::net_device,
        rx: *mut bindings::netdev_queue_stats_rx,
        tx: *mut bindings::netdev_queue_stats_tx,
    ) {
        // SAFETY: By the safety requirements.
        let (found_rx, found_tx) = unsafe { with::<T, _>(dev, |data, _| T::base(data)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        found_rx.write(unsafe { &mut *rx });
        // SAFETY: As above.
        found_tx.write(unsafe { &mut *tx });
    }
}
