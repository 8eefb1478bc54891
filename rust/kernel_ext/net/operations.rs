// SPDX-License-Identifier: GPL-2.0

//! What a driver does with a network device.

use super::{
    device::Device,
    features::Features,
    filter::RxFilter,
    poll::{
        Netpoll,
        Poll, //
    },
    queue::TxQueue,
    rtnl::Rtnl,
    skb::SkBuff,
    stats::LinkStats,
    MacAddress, //
};
use core::pin::Pin;
use kernel::{
    error::VTABLE_DEFAULT_ERROR,
    prelude::*,
    str::CString, //
};

/// Whether more packets follow at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "netdev_xmit_more")]
pub enum More {
    /// Yes: the device need not be told yet.
    Yes,
    /// No: this is the time to tell the device.
    No,
}

/// What a driver does with a network device.
///
/// The driver's data lives for longer than any call: see [`Device`]. Calls that get a [`Rtnl`] do not
/// run at the same time as each other, and may sleep.
///
/// # Examples
///
/// See `samples/netpair.rs`.
#[vtable]
#[doc(alias = "net_device_ops")]
pub trait Operations: Sized + 'static {
    /// The driver's data, which calls share.
    type Data<'bound>: Send + Sync + 'bound;

    /// What belongs to a transmit queue: whoever has the lock of the queue has it.
    type Tx<'bound>: Send + 'bound;

    /// What belongs to a NAPI instance: whoever polls it has it, or has disabled it.
    type Napi<'bound>: Send + 'bound;

    /// Begins: the device is brought up. This is the place to enable NAPI instances.
    ///
    /// # Errors
    ///
    /// The device stays down; [`Operations::stop`] is not called.
    #[doc(alias = "ndo_open")]
    fn open<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        rtnl: &Rtnl,
    ) -> Result;

    /// Ends: the device is brought down. Nobody sends any more. This is the place to disable NAPI
    /// instances.
    #[doc(alias = "ndo_stop")]
    fn stop<'bound>(data: Pin<&Self::Data<'bound>>, device: &Device<'bound, Self>, rtnl: &Rtnl);

    /// Sends a packet, or drops it. It may be called right after [`Operations::open`] has returned,
    /// until just before [`Operations::stop`] is called, and if the device is detached, until that
    /// is done.
    ///
    /// # Errors
    ///
    /// The packet, which the core tries to send again: a queue should be [stopped](super::TxControl)
    /// before it is full.
    ///
    /// # Context
    ///
    /// With bottom halves disabled, and the lock of the queue; a network console calls this with
    /// interrupts disabled.
    #[doc(alias = "ndo_start_xmit")]
    fn start_xmit<'bound>(
        data: Pin<&Self::Data<'bound>>,
        queue: TxQueue<'_>,
        tx: &mut Self::Tx<'bound>,
        skb: SkBuff,
        more: More,
    ) -> Result<(), SkBuff>;

    /// Does the work of a NAPI instance that was scheduled, and returns how many packets that were
    /// received were worked off: at most [`Poll::budget`]. If nothing is left to do, it says so by
    /// [`Poll::complete`]; otherwise it is called again.
    ///
    /// # Context
    ///
    /// Softirq context, or a thread with bottom halves disabled.
    fn poll<'bound>(
        data: Pin<&Self::Data<'bound>>,
        napi: &mut Self::Napi<'bound>,
        poll: &mut Poll<'_, 'bound, Self>,
    ) -> u32;

    /// Frees what the device has sent, for a network console that needs room while nothing else
    /// runs: perhaps in the middle of [`Operations::poll`]. Without this, it waits for that.
    ///
    /// # Context
    ///
    /// Any, with interrupts disabled.
    #[doc(alias = "netpoll_poll_dev")]
    fn netpoll<'bound>(data: Pin<&Self::Data<'bound>>, poll: &Netpoll<'_, 'bound, Self>) {
        let _ = (data, poll);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells what was counted. Counters may only go up.
    ///
    /// # Context
    ///
    /// Any; this must not sleep.
    #[doc(alias = "ndo_get_stats64")]
    fn stats(data: Pin<&Self::Data<'_>>, stats: &mut LinkStats) {
        let _ = (data, stats);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes what is received. It is called only while the device is up, and each time that it is
    /// brought up.
    ///
    /// # Errors
    ///
    /// It is called again, a few times.
    #[doc(alias = "ndo_set_rx_mode_async")]
    fn set_rx_mode<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        filter: &RxFilter<'_>,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, filter, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes the address, which is a valid one. Without this, only the core needs to know it.
    #[doc(alias = "ndo_set_mac_address")]
    fn set_mac<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        address: MacAddress,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, address, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Begins to receive what is for a VLAN, of an Ethernet protocol such as `0x8100`.
    #[doc(alias = "ndo_vlan_rx_add_vid")]
    fn vlan_add<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        protocol: u16,
        id: u16,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, protocol, id, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Ends [`Operations::vlan_add`].
    #[doc(alias = "ndo_vlan_rx_kill_vid")]
    fn vlan_remove<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        protocol: u16,
        id: u16,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, protocol, id, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes how many bytes a packet may have, without its Ethernet header. It is within the limits
    /// that the device was made with.
    #[doc(alias = "ndo_change_mtu")]
    fn change_mtu<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        mtu: u32,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, mtu, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Returns those of some features that can be used together.
    #[doc(alias = "ndo_fix_features")]
    fn fix_features(data: Pin<&Self::Data<'_>>, features: Features, rtnl: &Rtnl) -> Features {
        let _ = (data, features, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes the features that are used.
    #[doc(alias = "ndo_set_features")]
    fn set_features<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        wanted: Features,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, wanted, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Returns those of some features that can be used for a packet.
    ///
    /// # Context
    ///
    /// As [`Operations::start_xmit`], but without the lock.
    #[doc(alias = "ndo_features_check")]
    fn features_check(data: Pin<&Self::Data<'_>>, skb: &SkBuff, features: Features) -> Features {
        let _ = (data, skb, features);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Called when a queue was stopped for too long.
    ///
    /// # Context
    ///
    /// Softirq context, while all queues are locked: this must not lock one.
    #[doc(alias = "ndo_tx_timeout")]
    fn tx_timeout<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        queue: u32,
    ) {
        let _ = (data, device, queue);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells the name of the port, for those who name devices.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` if it has none.
    #[doc(alias = "ndo_get_phys_port_name")]
    fn phys_port_name(data: Pin<&Self::Data<'_>>) -> Result<CString> {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
