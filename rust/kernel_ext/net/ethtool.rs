// SPDX-License-Identifier: GPL-2.0

//! What `ethtool` shows and changes.
//!
//! C header: [`include/linux/ethtool.h`](srctree/include/linux/ethtool.h)

mod callbacks;

use super::{
    device::Device,
    operations::Operations,
    rtnl::Rtnl, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    error::VTABLE_DEFAULT_ERROR,
    fmt,
    prelude::*,
    str::Formatter, //
};

pub(super) use self::callbacks::Callbacks;

/// How many places the rings have.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[doc(alias = "ethtool_ringparam")]
pub struct Rings {
    /// Of each receive queue.
    pub rx: u32,
    /// Of each transmit queue.
    pub tx: u32,
}

/// How many queues are used.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[doc(alias = "ethtool_channels")]
pub struct Channels {
    /// Queues to receive alone.
    pub rx: u32,
    /// Queues to transmit alone.
    pub tx: u32,
    /// Pairs of queues.
    pub combined: u32,
}

/// Whether both ends of a link can send at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Duplex {
    /// They cannot.
    Half,
    /// They can.
    Full,
    /// Nobody knows.
    Unknown,
}

/// What is known of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "ethtool_link_ksettings")]
pub struct Link {
    /// The speed in Mbit/s, if it is known.
    pub speed: Option<u32>,
    /// Whether both ends can send at once.
    pub duplex: Duplex,
}

/// When the device interrupts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[doc(alias = "ethtool_coalesce")]
pub struct Coalesce {
    /// How many microseconds after a frame was received.
    pub rx_usecs: u32,
    /// After how many frames that were received.
    pub rx_frames: u32,
    /// How many microseconds after a frame was sent.
    pub tx_usecs: u32,
    /// After how many frames that were sent.
    pub tx_frames: u32,
    /// Whether the driver chooses by itself for what is received.
    pub adaptive_rx: bool,
}

/// A message for the user who has asked for something.
///
/// # Invariants
///
/// The pointer is null, or valid for `'a`.
#[doc(alias = "netlink_ext_ack")]
pub struct Extack<'a>(*mut bindings::netlink_ext_ack, PhantomData<&'a mut ()>);

impl Extack<'_> {
    /// Says why it cannot be done.
    #[doc(alias = "NL_SET_ERR_MSG")]
    pub fn set(&mut self, message: &'static CStr) {
        if !self.0.is_null() {
            let message = kernel::str::as_char_ptr_in_const_context(message);
            // SAFETY: By the type invariant, it is valid; the message lives as long as the module,
            // which runs this.
            unsafe { (*self.0)._msg = message };
        }
    }
}

/// What is made of statistics.
enum Target<'a> {
    /// Nothing: they are counted.
    Count,
    /// Their names.
    Names(&'a mut [[u8; NAME_LEN]]),
    /// Their values.
    Values(&'a mut [u64]),
}

/// How long the name of a statistic may be, with a zero at the end.
const NAME_LEN: usize = bindings::ETH_GSTRING_LEN as usize;

/// Statistics of a device: names and values, in an order that does not change.
pub struct Statistics<'a> {
    target: Target<'a>,
    count: usize,
}

impl Statistics<'_> {
    /// Adds one.
    ///
    /// Its name is put together only if somebody asks for names, and cut to 31 bytes.
    pub fn add(&mut self, name: fmt::Arguments<'_>, value: u64) {
        match &mut self.target {
            Target::Count => {}
            Target::Names(names) => {
                if let Some([text @ .., _zero]) = names.get_mut(self.count) {
                    // What does not fit is cut.
                    let mut formatter = Formatter::new(text);
                    let _ = fmt::Write::write_fmt(&mut formatter, name);
                }
            }
            Target::Values(values) => {
                if let Some(place) = values.get_mut(self.count) {
                    *place = value;
                }
            }
        }
        self.count += 1;
    }
}

/// What `ethtool` shows and changes. Calls have the RTNL lock, and may sleep.
///
/// # Examples
///
/// See `samples/netpair.rs`.
#[vtable]
#[doc(alias = "ethtool_ops")]
pub trait Ethtool: Operations {
    /// The name of the driver.
    const DRIVER: &'static CStr;

    /// Tells statistics, the same ones each time.
    #[doc(alias = "get_ethtool_stats")]
    fn statistics(data: Pin<&Self::Data<'_>>, statistics: &mut Statistics<'_>) {
        let _ = (data, statistics);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells how many places the rings have, and how many they can have.
    #[doc(alias = "get_ringparam")]
    fn rings(data: Pin<&Self::Data<'_>>) -> (Rings, Rings) {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes how many places the rings have. It is no more than they can have.
    #[doc(alias = "set_ringparam")]
    fn set_rings<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        rings: Rings,
        extack: &mut Extack<'_>,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, rings, extack, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells how many queues are used, and how many there are.
    #[doc(alias = "get_channels")]
    fn channels(data: Pin<&Self::Data<'_>>) -> (Channels, Channels) {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes how many queues are used. It is no more than there are.
    fn set_channels<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        channels: Channels,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, channels, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells what is known of the link.
    #[doc(alias = "get_link_ksettings")]
    fn link(data: Pin<&Self::Data<'_>>) -> Link {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Lets the user say what is known of the link. Nothing but speed and duplex can be set.
    #[doc(alias = "ethtool_virtdev_set_link_ksettings")]
    fn set_link(data: Pin<&Self::Data<'_>>, link: Link, rtnl: &Rtnl) -> Result {
        let _ = (data, link, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells when the device interrupts.
    #[doc(alias = "get_coalesce")]
    fn coalesce(data: Pin<&Self::Data<'_>>) -> Result<Coalesce> {
        let _ = data;
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes when the device interrupts.
    fn set_coalesce<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        coalesce: Coalesce,
        extack: &mut Extack<'_>,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, coalesce, extack, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Tells when the device interrupts for a pair of queues.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such pair.
    #[doc(alias = "get_per_queue_coalesce")]
    fn queue_coalesce(data: Pin<&Self::Data<'_>>, queue: u32) -> Result<Coalesce> {
        let _ = (data, queue);
        build_error!(VTABLE_DEFAULT_ERROR)
    }

    /// Changes when the device interrupts for a pair of queues.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no such pair.
    #[doc(alias = "set_per_queue_coalesce")]
    fn set_queue_coalesce<'bound>(
        data: Pin<&Self::Data<'bound>>,
        device: &Device<'bound, Self>,
        queue: u32,
        coalesce: Coalesce,
        rtnl: &Rtnl,
    ) -> Result {
        let _ = (data, device, queue, coalesce, rtnl);
        build_error!(VTABLE_DEFAULT_ERROR)
    }
}
