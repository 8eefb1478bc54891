// SPDX-License-Identifier: GPL-2.0

//! How the core calls a driver.

use super::{
    device::Borrowed,
    features::Features,
    filter::RxFilter,
    inner::Private,
    operations::{
        More,
        Operations, //
    },
    rtnl::Rtnl,
    skb::SkBuff,
    stats::LinkStats,
    MacAddress, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    pin::Pin,
    ptr::NonNull, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    prelude::*, //
};

/// Calls a function with what an operation gets.
///
/// # Safety
///
/// See [`Callbacks`].
#[inline(always)]
pub(super) unsafe fn with<T: Operations, R>(
    dev: *mut bindings::net_device,
    function: impl for<'bound> FnOnce(Pin<&T::Data<'bound>>, &Borrowed<'_, 'bound, T>) -> R,
) -> R {
    // SAFETY: By the safety requirements, the device is valid, and has this.
    let private = unsafe { &*Private::<T>::of(dev) };
    // SAFETY: By the safety requirements, the device has not ended: that waits for the caller.
    let data = unsafe { private.data() };
    // SAFETY: By the safety requirements, the device lives for longer than the call. The function
    // works for any lifetime.
    function(data, &unsafe { Borrowed::new(private) })
}

/// The callbacks of the core, for a driver.
///
/// Their safety requirements are the same: only the core may call them, for a device with operations
/// `T` that has not ended, as the documentation of `struct net_device_ops` says.
pub(super) struct Callbacks<T: Operations>(PhantomData<T>);

impl<T: Operations> Callbacks<T> {
    /// The table of callbacks.
    pub(super) const TABLE: &'static bindings::net_device_ops = &bindings::net_device_ops {
        ndo_open: Some(Self::open),
        ndo_stop: Some(Self::stop),
        ndo_start_xmit: Some(Self::start_xmit),
        ndo_validate_addr: Some(bindings::eth_validate_addr),
        ndo_set_mac_address: Some(Self::set_mac),
        ndo_get_stats64: if T::HAS_STATS {
            Some(Self::stats)
        } else {
            None
        },
        ndo_set_rx_mode_async: if T::HAS_SET_RX_MODE {
            Some(Self::set_rx_mode)
        } else {
            None
        },
        ndo_vlan_rx_add_vid: if T::HAS_VLAN_ADD {
            Some(Self::vlan_add)
        } else {
            None
        },
        ndo_vlan_rx_kill_vid: if T::HAS_VLAN_REMOVE {
            Some(Self::vlan_remove)
        } else {
            None
        },
        ndo_change_mtu: if T::HAS_CHANGE_MTU {
            Some(Self::change_mtu)
        } else {
            None
        },
        ndo_fix_features: if T::HAS_FIX_FEATURES {
            Some(Self::fix_features)
        } else {
            None
        },
        ndo_set_features: if T::HAS_SET_FEATURES {
            Some(Self::set_features)
        } else {
            None
        },
        ndo_features_check: if T::HAS_FEATURES_CHECK {
            Some(Self::features_check)
        } else {
            None
        },
        ndo_tx_timeout: if T::HAS_TX_TIMEOUT {
            Some(Self::tx_timeout)
        } else {
            None
        },
        ndo_get_phys_port_name: if T::HAS_PHYS_PORT_NAME {
            Some(Self::phys_port_name)
        } else {
            None
        },
        ..pin_init::zeroed()
    };

    /// Brings the device up.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn open(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe { with::<T, _>(dev, |data, device| T::open(data, device, &rtnl)) }?;
            Ok(0)
        })
    }

    /// Brings the device down.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn stop(dev: *mut bindings::net_device) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        // SAFETY: By the safety requirements.
        unsafe { with::<T, _>(dev, |data, device| T::stop(data, device, &rtnl)) };
        0
    }

    /// Sends a packet.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn start_xmit(
        skb: *mut bindings::sk_buff,
        dev: *mut bindings::net_device,
    ) -> bindings::netdev_tx_t {
        let Some(raw) = NonNull::new(skb) else {
            return bindings::netdev_tx_NETDEV_TX_OK;
        };
        // SAFETY: By the safety requirements, the packet is given up.
        let skb = unsafe { SkBuff::from_raw(raw) };
        // SAFETY: By the safety requirements, the device is valid, and has this.
        let private = unsafe { &*Private::<T>::of(dev) };

        let Some(slot) = private.tx(skb.queue_mapping().into()) else {
            // A packet cannot be for a queue that there is not.
            return bindings::netdev_tx_NETDEV_TX_OK;
        };
        // SAFETY: The queue is valid.
        let more = match unsafe { bindings::netdev_xmit_begin(slot.as_raw()) } {
            0 => More::No,
            1 => More::Yes,
            // The core has another queue locked: somebody has changed the packet's mind after that.
            // It is dropped.
            _ => return bindings::netdev_tx_NETDEV_TX_OK,
        };
        // SAFETY: This CPU has the lock of the queue, until this returns.
        let queue = unsafe { slot.queue() };
        // SAFETY: As above; there is no other reference.
        let tx = unsafe { slot.value() };
        // SAFETY: By the safety requirements, the device has not ended.
        let data = unsafe { private.data() };

        match T::start_xmit(data, queue, tx, skb, more) {
            Ok(()) => bindings::netdev_tx_NETDEV_TX_OK,
            Err(back) if back.as_ptr() == raw.as_ptr() => {
                // The core has the packet again.
                let _ = back.into_raw();
                bindings::netdev_tx_NETDEV_TX_BUSY
            }
            // A driver that mixes them up has this one still: the other one is dropped.
            Err(_) => bindings::netdev_tx_NETDEV_TX_OK,
        }
    }

    /// Tells what was counted.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn stats(
        dev: *mut bindings::net_device,
        storage: *mut bindings::rtnl_link_stats64,
    ) {
        let mut stats = LinkStats::default();
        // SAFETY: By the safety requirements.
        unsafe { with::<T, _>(dev, |data, _| T::stats(data, &mut stats)) };
        // SAFETY: By the safety requirements, it is valid, and nobody else uses it.
        stats.add_to(unsafe { &mut *storage });
    }

    /// Changes what is received.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_rx_mode(
        dev: *mut bindings::net_device,
        unicast: *mut bindings::netdev_hw_addr_list,
        multicast: *mut bindings::netdev_hw_addr_list,
    ) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        // SAFETY: By the safety requirements, the device is valid.
        let flags = unsafe { bindings::netdev_flags(dev) };
        // SAFETY: By the safety requirements, the lists are valid, and nobody else's.
        let filter = unsafe { RxFilter::from_raw(flags, unicast, multicast) };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                with::<T, _>(dev, |data, device| {
                    T::set_rx_mode(data, device, &filter, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// Changes the address.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_mac(dev: *mut bindings::net_device, address: *mut c_void) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements, the device and the address are valid.
            to_result(unsafe { bindings::eth_prepare_mac_addr_change(dev, address) })?;
            if T::HAS_SET_MAC {
                let bytes = address.wrapping_byte_add(bindings::RUST_CONST_SOCKADDR_DATA);
                // SAFETY: By the safety requirements, it is a `struct sockaddr`, which has an
                // Ethernet address there; an array of bytes may be anywhere.
                let mac = unsafe { *bytes.cast::<MacAddress>() };
                // SAFETY: By the safety requirements.
                unsafe { with::<T, _>(dev, |data, device| T::set_mac(data, device, mac, &rtnl)) }?;
            }
            // SAFETY: As above.
            unsafe { bindings::eth_commit_mac_addr_change(dev, address) };
            Ok(0)
        })
    }

    /// Begins to receive what is for a VLAN.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn vlan_add(dev: *mut bindings::net_device, protocol: u16, id: u16) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                with::<T, _>(dev, |data, device| {
                    T::vlan_add(data, device, u16::from_be(protocol), id, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// Ends to receive what is for a VLAN.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn vlan_remove(
        dev: *mut bindings::net_device,
        protocol: u16,
        id: u16,
    ) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                with::<T, _>(dev, |data, device| {
                    T::vlan_remove(data, device, u16::from_be(protocol), id, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// Changes how many bytes a packet may have.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn change_mtu(dev: *mut bindings::net_device, mtu: c_int) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        from_result(|| {
            let mtu = u32::try_from(mtu)?;
            // SAFETY: By the safety requirements.
            unsafe { with::<T, _>(dev, |data, device| T::change_mtu(data, device, mtu, &rtnl)) }?;
            // SAFETY: By the safety requirements, the device is valid; the core has the lock.
            unsafe { bindings::netdev_set_mtu(dev, mtu) };
            Ok(0)
        })
    }

    /// Asks which features can be used together.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn fix_features(
        dev: *mut bindings::net_device,
        features: bindings::netdev_features_t,
    ) -> bindings::netdev_features_t {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        let features = Features::from_raw(features);
        // SAFETY: By the safety requirements.
        unsafe { with::<T, _>(dev, |data, _| T::fix_features(data, features, &rtnl)) }.as_raw()
    }

    /// Changes the features.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn set_features(
        dev: *mut bindings::net_device,
        wanted: bindings::netdev_features_t,
    ) -> c_int {
        // SAFETY: The core has the lock.
        let rtnl = unsafe { Rtnl::assume() };
        let wanted = Features::from_raw(wanted);
        from_result(|| {
            // SAFETY: By the safety requirements.
            unsafe {
                with::<T, _>(dev, |data, device| {
                    T::set_features(data, device, wanted, &rtnl)
                })
            }?;
            Ok(0)
        })
    }

    /// Asks which features can be used for a packet.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn features_check(
        skb: *mut bindings::sk_buff,
        dev: *mut bindings::net_device,
        features: bindings::netdev_features_t,
    ) -> bindings::netdev_features_t {
        let Some(raw) = NonNull::new(skb) else {
            return features;
        };
        // SAFETY: The core lends the packet; it is never dropped here.
        let skb = ManuallyDrop::new(unsafe { SkBuff::from_raw(raw) });
        let wanted = Features::from_raw(features);
        // SAFETY: By the safety requirements.
        let checked = unsafe { with::<T, _>(dev, |data, _| T::features_check(data, &skb, wanted)) };
        // SAFETY: As above.
        unsafe { bindings::vlan_features_check(raw.as_ptr(), checked.as_raw() & features) }
    }

    /// Tells that a queue was stopped for too long.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn tx_timeout(dev: *mut bindings::net_device, queue: c_uint) {
        // SAFETY: By the safety requirements.
        unsafe { with::<T, _>(dev, |data, device| T::tx_timeout(data, device, queue)) };
    }

    /// Asks for the name of the port.
    ///
    /// # Safety
    ///
    /// See [`Callbacks`].
    unsafe extern "C" fn phys_port_name(
        dev: *mut bindings::net_device,
        name: *mut c_char,
        len: usize,
    ) -> c_int {
        from_result(|| {
            // SAFETY: By the safety requirements.
            let found = unsafe { with::<T, _>(dev, |data, _| T::phys_port_name(data)) }?;
            let found = found.to_bytes_with_nul();
            if found.len() > len {
                return Err(EINVAL);
            }
            // SAFETY: By the safety requirements, there is room for `len` bytes.
            unsafe {
                name.cast::<u8>()
                    .copy_from_nonoverlapping(found.as_ptr(), found.len())
            };
            Ok(0)
        })
    }
}
