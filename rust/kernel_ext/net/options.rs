// SPDX-License-Identifier: GPL-2.0

//! What a network device is to be like.

use super::{
    ethtool::{
        self,
        Ethtool, //
    },
    features::Features,
    napi::NapiKind,
    operations::Operations,
    queue_stats::{
        self,
        QueueStats, //
    },
    MacAddress, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    device,
    prelude::*,
    str::CString,
    sync::aref::ARef,
    time::Msecs, //
};

/// How many packets may wait for a queue, unless somebody says so.
const DEFAULT_TX_QUEUE_LEN: u32 = 1000;

/// What a network device is to be like.
///
/// # Examples
///
/// ```ignore
/// let options = DeviceOptions::new(c"eth%d", 4, 4)?
///     .address(mac)
///     .features(Features::SG | Features::HW_CSUM)
///     .mtu(68, 9000, 1500)
///     .napi(NapiKind::Rx { queue: 0 })?;
/// ```
pub struct DeviceOptions<T: Operations> {
    pub(super) name: CString,
    pub(super) tx_queues: u32,
    pub(super) rx_queues: u32,
    pub(super) napi: KVec<NapiKind>,
    pub(super) weight: c_int,
    pub(super) parent: Option<ARef<device::Device>>,
    address: Option<MacAddress>,
    features: Features,
    hw_features: Features,
    vlan_features: Features,
    hw_enc_features: Features,
    mtu: [u32; 3],
    tx_queue_len: u32,
    tso_max_size: u32,
    tso_max_segs: u32,
    watchdog: c_int,
    ethtool: *const bindings::ethtool_ops,
    queue_stats: *const bindings::netdev_stat_ops,
    priv_flags: u32,
    headroom: u16,
    tailroom: u16,
    port: u16,
    _operations: PhantomData<T>,
}

impl<T: Operations> DeviceOptions<T> {
    /// The most queues that make sense: more than any machine has CPUs.
    const MAX_QUEUES: u32 = 1 << 15;

    /// Starts with what each device has: a name, in which `%d` becomes a number, and queues, of which
    /// some may be [left out](super::Device::set_real_queues).
    pub fn new(name: &CStr, tx_queues: u32, rx_queues: u32) -> Result<Self> {
        Ok(Self {
            name: CString::try_from(name)?,
            tx_queues,
            rx_queues,
            napi: KVec::new(),
            weight: Self::WEIGHT,
            parent: None,
            address: None,
            features: Features::NONE,
            hw_features: Features::NONE,
            vlan_features: Features::NONE,
            hw_enc_features: Features::NONE,
            mtu: [
                bindings::ETH_MIN_MTU,
                bindings::ETH_DATA_LEN,
                bindings::ETH_DATA_LEN,
            ],
            tx_queue_len: DEFAULT_TX_QUEUE_LEN,
            tso_max_size: bindings::TSO_LEGACY_MAX_SIZE,
            tso_max_segs: bindings::GSO_MAX_SEGS,
            watchdog: 0,
            ethtool: ptr::null(),
            queue_stats: ptr::null(),
            priv_flags: 0,
            headroom: 0,
            tailroom: 0,
            port: 0,
            _operations: PhantomData,
        })
    }

    /// How many packets an instance receives at once.
    const WEIGHT: c_int = bindings::NAPI_POLL_WEIGHT as c_int;

    /// Adds a NAPI instance: the first one has number 0, and so on.
    pub fn napi(mut self, kind: NapiKind) -> Result<Self> {
        self.napi.push(kind, GFP_KERNEL)?;
        Ok(self)
    }

    /// Sets how many packets an instance may receive at once: 64 at most, and by default.
    pub fn weight(self, weight: u8) -> Self {
        Self {
            weight: c_int::from(weight).clamp(1, Self::WEIGHT),
            ..self
        }
    }

    /// Sets the address. Without this, it is a random one, and so it is if this one is not valid.
    #[doc(alias = "eth_hw_addr_set")]
    pub fn address(self, address: MacAddress) -> Self {
        let group = address.first().is_none_or(|byte| byte & 1 != 0);
        Self {
            address: (!group && address != [0; 6]).then_some(address),
            ..self
        }
    }

    /// Sets the features that are used from the beginning.
    pub fn features(self, features: Features) -> Self {
        Self { features, ..self }
    }

    /// Sets the features that the user may switch.
    pub fn hw_features(self, hw_features: Features) -> Self {
        Self {
            hw_features,
            ..self
        }
    }

    /// Sets the features that VLAN devices on top of this one inherit.
    pub fn vlan_features(self, vlan_features: Features) -> Self {
        Self {
            vlan_features,
            ..self
        }
    }

    /// Sets the features that can be used for what is in a tunnel.
    pub fn hw_enc_features(self, hw_enc_features: Features) -> Self {
        Self {
            hw_enc_features,
            ..self
        }
    }

    /// Sets how many bytes packets may have, without their Ethernet header: which limits the user
    /// has, and how many it is at first.
    pub fn mtu(self, min: u32, max: u32, mtu: u32) -> Self {
        Self {
            mtu: [min, max, mtu],
            ..self
        }
    }

    /// Sets how many packets may wait for a queue.
    pub fn tx_queue_len(self, tx_queue_len: u32) -> Self {
        Self {
            tx_queue_len,
            ..self
        }
    }

    /// Sets how large a packet may be that is segmented by the device, and in how many segments.
    #[doc(alias = "netif_set_tso_max_size")]
    pub fn tso_max(self, size: u32, segments: u16) -> Self {
        Self {
            tso_max_size: size,
            tso_max_segs: segments.into(),
            ..self
        }
    }

    /// Sets the device that the network device is at.
    #[doc(alias = "SET_NETDEV_DEV")]
    pub fn parent(self, parent: &device::Device) -> Self {
        Self {
            parent: Some(parent.into()),
            ..self
        }
    }

    /// Sets which port of its parent it is.
    #[doc(alias = "dev_port")]
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// Sets how many milliseconds a queue may be stopped before
    /// [`Operations::tx_timeout`] is called.
    #[doc(alias = "watchdog_timeo")]
    pub fn watchdog(self, timeout: Msecs) -> Self {
        Self {
            watchdog: c_int::try_from(kernel::time::msecs_to_jiffies(timeout))
                .unwrap_or(c_int::MAX),
            ..self
        }
    }

    /// Has `ethtool` show and change more.
    #[doc(alias = "ethtool_ops")]
    pub fn ethtool(self) -> Self
    where
        T: Ethtool,
    {
        Self {
            ethtool: ethtool::Callbacks::<T>::TABLE,
            ..self
        }
    }

    /// Has statistics of queues.
    #[doc(alias = "netdev_stat_ops")]
    pub fn queue_stats(self) -> Self
    where
        T: QueueStats,
    {
        Self {
            queue_stats: queue_stats::Callbacks::<T>::TABLE,
            ..self
        }
    }

    /// Lets the address be changed while the device is up.
    #[doc(alias = "IFF_LIVE_ADDR_CHANGE")]
    pub fn live_address_change(self) -> Self {
        self.flag(bindings::netdev_priv_flags_IFF_LIVE_ADDR_CHANGE)
    }

    /// Says that the device filters by other addresses than its own, as
    /// [`Operations::set_rx_mode`] tells it.
    #[doc(alias = "IFF_UNICAST_FLT")]
    pub fn unicast_filter(self) -> Self {
        self.flag(bindings::netdev_priv_flags_IFF_UNICAST_FLT)
    }

    /// Says that packets to send may have all their bytes in pieces.
    #[doc(alias = "IFF_TX_SKB_NO_LINEAR")]
    pub fn no_linear(self) -> Self {
        self.flag(bindings::netdev_priv_flags_IFF_TX_SKB_NO_LINEAR)
    }

    fn flag(self, flag: u32) -> Self {
        Self {
            priv_flags: self.priv_flags | flag,
            ..self
        }
    }

    /// Asks for room before and behind each packet to send. It is there mostly, but need not be.
    #[doc(alias = "needed_headroom")]
    pub fn room(self, headroom: u16, tailroom: u16) -> Self {
        Self {
            headroom,
            tailroom,
            ..self
        }
    }

    /// Looks whether there can be such a device.
    pub(super) fn check(&self) -> Result {
        let queues = 1..=Self::MAX_QUEUES;
        if !queues.contains(&self.tx_queues) || !queues.contains(&self.rx_queues) {
            return Err(EINVAL);
        }
        for (index, kind) in self.napi.iter().enumerate() {
            let count = match kind {
                NapiKind::Rx { .. } => self.rx_queues,
                NapiKind::Tx { .. } => self.tx_queues,
            };
            // The core has one place for an instance of a receive queue.
            if kind.queue() >= count || self.napi.iter().take(index).any(|other| other == kind) {
                return Err(EINVAL);
            }
        }
        let [min, max, mtu] = self.mtu;
        if !(min..=max).contains(&mtu) || self.name.to_bytes().len() >= bindings::IFNAMSIZ as usize
        {
            return Err(EINVAL);
        }
        Ok(())
    }

    /// Tells where the name is from.
    pub(super) fn name_assign_type(&self) -> u8 {
        let numbered = self.name.to_bytes().contains(&b'%');
        let ty = if numbered {
            bindings::NET_NAME_ENUM
        } else {
            bindings::NET_NAME_PREDICTABLE
        };
        u8::try_from(ty).unwrap_or(0)
    }

    /// Returns what the core is told.
    pub(super) fn setup(&self, ops: &'static bindings::net_device_ops) -> bindings::netdev_setup {
        let [min_mtu, max_mtu, mtu] = self.mtu;
        bindings::netdev_setup {
            ops,
            ethtool: self.ethtool,
            stats: self.queue_stats,
            // The core may write to it, as the bus does.
            parent: match &self.parent {
                Some(parent) => ptr::from_ref(&**parent).cast_mut().cast(),
                None => ptr::null_mut(),
            },
            features: self.features.as_raw(),
            hw_features: self.hw_features.as_raw(),
            vlan_features: self.vlan_features.as_raw(),
            hw_enc_features: self.hw_enc_features.as_raw(),
            min_mtu,
            max_mtu,
            mtu,
            tx_queue_len: self.tx_queue_len,
            tso_max_size: self.tso_max_size,
            tso_max_segs: self.tso_max_segs,
            watchdog: self.watchdog,
            priv_flags: self.priv_flags,
            headroom: self.headroom,
            tailroom: self.tailroom,
            port: self.port,
            random_address: self.address.is_none(),
            address: self.address.unwrap_or_default(),
        }
    }
}
