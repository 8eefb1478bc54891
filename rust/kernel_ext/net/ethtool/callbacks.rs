// SPDX-License-Identifier: GPL-2.0

//! How the core calls a driver for `ethtool`.

use super::{
    Channels,
    Coalesce,
    Duplex,
    Ethtool,
    Extack,
    Link,
    Rings,
    Statistics,
    Target,
    NAME_LEN, //
};
use crate::{
    bindings,
    net::{
        callbacks,
        inner::Private,
        rtnl::Rtnl, //
    }, //
};
use core::{
    marker::PhantomData,
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    sync::atomic::Relaxed, //
};

/// The callbacks of the core, for a driver.
///
/// Their safety requirements are the same: only the core may call them, for a device with operations
/// `T` that has not ended, with the RTNL lock, as the documentation of `struct ethtool_ops` says.
pub(in crate::net) struct Callbacks<T: Ethtool>(PhantomData<T>);

/// Takes a callback if the driver has the operation.
macro_rules! optional {
    ($has:expr, $callback:expr) => {
        if $has {
            Some($callback)
        } else {
            None
        }
    };
}

impl<T: Ethtool> Callbacks<T> {
    /// What can be changed by [`Ethtool::set_coalesce`].
    const COALESCE: u32 = bindings::RUST_CONST_ETHTOOL_COALESCE;

    /// The table of callbacks.
    pub(in crate::net) const TABLE: &'static bindings::ethtool_ops = &bindings::ethtool_ops {
        supported_coalesce_params: if T::HAS_COALESCE { Self::COALESCE } else { 0 },
        get_drvinfo: Some(Self::drvinfo),
        get_link: Some(bindings::ethtool_op_get_link),
        get_ts_info: Some(bindings::ethtool_op_get_ts_info),
        get_sset_count: optional!(T::HAS_STATISTICS, Self::count),
        get_strings: optional!(T::HAS_STATISTICS, Self::names),
        get_ethtool_stats: optional!(T::HAS_STATISTICS, Self::values),
        get_ringparam: optional!(T::HAS_RINGS, Self::rings),
        set_ringparam: optional!(T::HAS_SET_RINGS, Self::set_rings),
        get_channels: optional!(T::HAS_CHANNELS, Self::channels),
        set_channels: optional!(T::HAS_SET_CHANNELS, Self::set_channels),
        get_link_ksettings: optional!(T::HAS_LINK, Self::link),
        set_link_ksettings: optional!(T::HAS_SET_LINK, Self::set_link),
        get_coalesce: optional!(T::HAS_COALESCE, Self::coalesce),
        set_coalesce: optional!(T::HAS_SET_COALESCE, Self::set_coalesce),
        get_per_queue_coalesce: optional!(T::HAS_QUEUE_COALESCE, Self::queue_coalesce),
        set_per_queue_coalesce: optional!(T::HAS_SET_QUEUE_COALESCE, Self::set_queue_coalesce),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn drvinfo(
        _dev: *mut bindings::net_device,
        info: *mut bindings::ethtool_drvinfo,
    ) {
        // SAFETY: By the safety requirements, it is valid, zeroed, and nobody else's.
        let info = unsafe { &mut *info };
        // The last byte stays zero.
        let [text @ .., _zero] = &mut info.driver;
        for (place, byte) in text.iter_mut().zip(T::DRIVER.to_bytes()) {
            *place = *byte;
        }
    }

    /// Calls [`Ethtool::statistics`], and returns how many there are.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe fn visit(dev: *mut bindings::net_device, target: Target<'_>) -> usize {
        let mut statistics = Statistics { target, count: 0 };
        // SAFETY: By the safety requirements.
        unsafe { callbacks::with::<T, _>(dev, |data, _| T::statistics(data, &mut statistics)) };
        statistics.count
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn count(dev: *mut bindings::net_device, set: c_int) -> c_int {
        if u32::try_from(set) != Ok(bindings::ethtool_stringset_ETH_SS_STATS) {
            return EOPNOTSUPP.to_errno();
        }
        // SAFETY: By the safety requirements.
        let count = unsafe { Self::visit(dev, Target::Count) };
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        // SAFETY: By the safety requirements, the device is valid, and has this.
        let private = unsafe { &*Private::<T>::of(dev) };
        // The core makes room for as many, and keeps the lock until it has asked for them.
        private.statistics.store(count.into(), Relaxed);
        count.into()
    }

    /// Returns how many statistics the core has made room for.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe fn room(dev: *mut bindings::net_device) -> usize {
        // SAFETY: By the safety requirements, the device is valid, and has this.
        let private = unsafe { &*Private::<T>::of(dev) };
        usize::try_from(private.statistics.load(Relaxed)).unwrap_or(0)
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn names(dev: *mut bindings::net_device, set: u32, names: *mut u8) {
        // SAFETY: By the safety requirements.
        let room = unsafe { Self::room(dev) };
        if set != bindings::ethtool_stringset_ETH_SS_STATS || room == 0 {
            return;
        }
        // SAFETY: The core has made room for as many, and zeroed it.
        let names = unsafe { slice::from_raw_parts_mut(names.cast::<[u8; NAME_LEN]>(), room) };
        // SAFETY: By the safety requirements.
        unsafe { Self::visit(dev, Target::Names(names)) };
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn values(
        dev: *mut bindings::net_device,
        _stats: *mut bindings::ethtool_stats,
        values: *mut u64,
    ) {
        // SAFETY: By the safety requirements.
        let room = unsafe { Self::room(dev) };
        if room == 0 {
            return;
        }
        // SAFETY: The core has made room for as many, and zeroed it.
        let values = unsafe { slice::from_raw_parts_mut(values, room) };
        // SAFETY: By the safety requirements.
        unsafe { Self::visit(dev, Target::Values(values)) };
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn rings(
        dev: *mut bindings::net_device,
        param: *mut bindings::ethtool_ringparam,
        _kernel: *mut bindings::kernel_ethtool_ringparam,
        _extack: *mut bindings::netlink_ext_ack,
    ) {
        // SAFETY: By the safety requirements.
        let (rings, max) = unsafe { callbacks::with::<T, _>(dev, |data, _| T::rings(data)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let param = unsafe { &mut *param };
        (param.rx_pending, param.tx_pending) = (rings.rx, rings.tx);
        (param.rx_max_pending, param.tx_max_pending) = (max.rx, max.tx);
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_rings(
        dev: *mut bindings::net_device,
        param: *mut bindings::ethtool_ringparam,
        _kernel: *mut bindings::kernel_ethtool_ringparam,
        extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let param = unsafe { &*param };
        let (rx, tx) = (param.rx_pending, param.tx_pending);
        let mut extack = Extack(extack, PhantomData);
        // SAFETY: By the safety requirements.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            let rings = Rings { rx, tx };
            // SAFETY: By the safety requirements.
            unsafe {
                callbacks::with::<T, _>(dev, |data, device| {
                    T::set_rings(data, device, rings, &mut extack, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn channels(
        dev: *mut bindings::net_device,
        param: *mut bindings::ethtool_channels,
    ) {
        // SAFETY: By the safety requirements.
        let (channels, max) = unsafe { callbacks::with::<T, _>(dev, |data, _| T::channels(data)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let param = unsafe { &mut *param };
        (param.max_rx, param.max_tx, param.max_combined) = (max.rx, max.tx, max.combined);
        param.rx_count = channels.rx;
        param.tx_count = channels.tx;
        param.combined_count = channels.combined;
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_channels(
        dev: *mut bindings::net_device,
        param: *mut bindings::ethtool_channels,
    ) -> c_int {
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let param = unsafe { &*param };
        let channels = Channels {
            rx: param.rx_count,
            tx: param.tx_count,
            combined: param.combined_count,
        };
        // SAFETY: By the safety requirements.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                callbacks::with::<T, _>(dev, |data, device| {
                    T::set_channels(data, device, channels, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn link(
        dev: *mut bindings::net_device,
        settings: *mut bindings::ethtool_link_ksettings,
    ) -> c_int {
        // SAFETY: By the safety requirements.
        let link = unsafe { callbacks::with::<T, _>(dev, |data, _| T::link(data)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let base = unsafe { &mut (*settings).base };
        base.speed = link.speed.unwrap_or(UNKNOWN_SPEED);
        base.duplex = match link.duplex {
            Duplex::Half => HALF,
            Duplex::Full => FULL,
            Duplex::Unknown => u8::MAX,
        };
        base.port = OTHER_PORT;
        0
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_link(
        dev: *mut bindings::net_device,
        settings: *const bindings::ethtool_link_ksettings,
    ) -> c_int {
        let (mut speed, mut duplex) = (UNKNOWN_SPEED, u8::MAX);
        // SAFETY: By the safety requirements.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements, the first two are valid; so are the others.
            to_result(unsafe {
                bindings::ethtool_virtdev_set_link_ksettings(dev, settings, &mut speed, &mut duplex)
            })?;
            let link = Link {
                speed: Some(speed).filter(|speed| *speed != UNKNOWN_SPEED),
                duplex: match duplex {
                    HALF => Duplex::Half,
                    FULL => Duplex::Full,
                    _ => Duplex::Unknown,
                },
            };
            // SAFETY: By the safety requirements.
            unsafe { callbacks::with::<T, _>(dev, |data, _| T::set_link(data, link, &rtnl)) }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn coalesce(
        dev: *mut bindings::net_device,
        param: *mut bindings::ethtool_coalesce,
        _kernel: *mut bindings::kernel_ethtool_coalesce,
        _extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let coalesce = unsafe { callbacks::with::<T, _>(dev, |data, _| T::coalesce(data)) }?;
            // SAFETY: By the safety requirements, it is valid, and nobody else's.
            coalesce.write(unsafe { &mut *param });
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_coalesce(
        dev: *mut bindings::net_device,
        param: *mut bindings::ethtool_coalesce,
        _kernel: *mut bindings::kernel_ethtool_coalesce,
        extack: *mut bindings::netlink_ext_ack,
    ) -> c_int {
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let coalesce = Coalesce::read(unsafe { &*param });
        let mut extack = Extack(extack, PhantomData);
        // SAFETY: By the safety requirements.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                callbacks::with::<T, _>(dev, |data, device| {
                    T::set_coalesce(data, device, coalesce, &mut extack, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn queue_coalesce(
        dev: *mut bindings::net_device,
        queue: u32,
        param: *mut bindings::ethtool_coalesce,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let found =
                unsafe { callbacks::with::<T, _>(dev, |data, _| T::queue_coalesce(data, queue)) };
            // SAFETY: By the safety requirements, it is valid, and nobody else's.
            found?.write(unsafe { &mut *param });
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_queue_coalesce(
        dev: *mut bindings::net_device,
        queue: u32,
        param: *mut bindings::ethtool_coalesce,
    ) -> c_int {
        // SAFETY: By the safety requirements, it is valid, and nobody else's.
        let coalesce = Coalesce::read(unsafe { &*param });
        // SAFETY: By the safety requirements.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                callbacks::with::<T, _>(dev, |data, device| {
                    T::set_queue_coalesce(data, device, queue, coalesce, &rtnl)
                })
            }?;
            Ok(0)
        })
    }
}

impl Coalesce {
    fn read(param: &bindings::ethtool_coalesce) -> Self {
        Self {
            rx_usecs: param.rx_coalesce_usecs,
            rx_frames: param.rx_max_coalesced_frames,
            tx_usecs: param.tx_coalesce_usecs,
            tx_frames: param.tx_max_coalesced_frames,
            adaptive_rx: param.use_adaptive_rx_coalesce != 0,
        }
    }

    fn write(self, param: &mut bindings::ethtool_coalesce) {
        param.rx_coalesce_usecs = self.rx_usecs;
        param.rx_max_coalesced_frames = self.rx_frames;
        param.tx_coalesce_usecs = self.tx_usecs;
        param.tx_max_coalesced_frames = self.tx_frames;
        param.use_adaptive_rx_coalesce = self.adaptive_rx.into();
    }
}

/// What the core calls a speed that is not known.
const UNKNOWN_SPEED: u32 = u32::MAX;

/// What the core calls the two kinds of links.
const HALF: u8 = 0;
const FULL: u8 = 1;

/// What the core calls a port that is none of those it knows.
const OTHER_PORT: u8 = u8::MAX;
