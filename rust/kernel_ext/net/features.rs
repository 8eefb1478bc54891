// SPDX-License-Identifier: GPL-2.0

//! What a device can do, beyond sending and receiving.

use crate::bindings;
use core::ops::{
    BitAnd,
    BitOr,
    BitXor, //
};

/// A set of features of a device.
///
/// # Examples
///
/// ```ignore
/// let features = Features::SG | Features::HW_CSUM;
/// assert!(features.contains(Features::SG));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[doc(alias = "netdev_features_t")]
pub struct Features(u64);

/// Declares features.
macro_rules! features {
    ($($(#[$meta:meta])* $name:ident = $bit:ident;)*) => {
        $(
            $(#[$meta])*
            pub const $name: Self = Self(1 << bindings::$bit);
        )*
    };
}

impl Features {
    features! {
        /// Sends packets that are in pieces.
        #[doc(alias = "NETIF_F_SG")]
        SG = NETIF_F_SG_BIT;

        /// Computes any checksum when it sends.
        #[doc(alias = "NETIF_F_HW_CSUM")]
        HW_CSUM = NETIF_F_HW_CSUM_BIT;

        /// Reads memory anywhere.
        #[doc(alias = "NETIF_F_HIGHDMA")]
        HIGHDMA = NETIF_F_HIGHDMA_BIT;

        /// Sends packets that have others behind them.
        #[doc(alias = "NETIF_F_FRAGLIST")]
        FRAGLIST = NETIF_F_FRAGLIST_BIT;

        /// Takes off VLAN tags of what it receives.
        #[doc(alias = "NETIF_F_HW_VLAN_CTAG_RX")]
        HW_VLAN_CTAG_RX = NETIF_F_HW_VLAN_CTAG_RX_BIT;

        /// Puts VLAN tags on what it sends.
        #[doc(alias = "NETIF_F_HW_VLAN_CTAG_TX")]
        HW_VLAN_CTAG_TX = NETIF_F_HW_VLAN_CTAG_TX_BIT;

        /// Receives only what is for VLANs that it was told of.
        #[doc(alias = "NETIF_F_HW_VLAN_CTAG_FILTER")]
        HW_VLAN_CTAG_FILTER = NETIF_F_HW_VLAN_CTAG_FILTER_BIT;

        /// Segments TCP over IPv4.
        #[doc(alias = "NETIF_F_TSO")]
        TSO = NETIF_F_TSO_BIT;

        /// Segments TCP with explicit congestion notification.
        #[doc(alias = "NETIF_F_TSO_ECN")]
        TSO_ECN = NETIF_F_TSO_ECN_BIT;

        /// Segments TCP over IPv6.
        #[doc(alias = "NETIF_F_TSO6")]
        TSO6 = NETIF_F_TSO6_BIT;

        /// Looks itself at what to segment: it may come from somebody who is not trusted.
        #[doc(alias = "NETIF_F_GSO_ROBUST")]
        GSO_ROBUST = NETIF_F_GSO_ROBUST_BIT;

        /// Segments what is in a UDP tunnel.
        #[doc(alias = "NETIF_F_GSO_UDP_TUNNEL")]
        GSO_UDP_TUNNEL = NETIF_F_GSO_UDP_TUNNEL_BIT;

        /// Segments what is in a UDP tunnel that has a checksum.
        #[doc(alias = "NETIF_F_GSO_UDP_TUNNEL_CSUM")]
        GSO_UDP_TUNNEL_CSUM = NETIF_F_GSO_UDP_TUNNEL_CSUM_BIT;

        /// Segments UDP into datagrams.
        #[doc(alias = "NETIF_F_GSO_UDP_L4")]
        GSO_UDP_L4 = NETIF_F_GSO_UDP_L4_BIT;

        /// Lets what it receives be put together in software.
        #[doc(alias = "NETIF_F_GRO")]
        GRO = NETIF_F_GRO_BIT;

        /// Puts together what it receives.
        #[doc(alias = "NETIF_F_GRO_HW")]
        GRO_HW = NETIF_F_GRO_HW_BIT;

        /// Puts together what it receives, no matter whether it can be taken apart again.
        #[doc(alias = "NETIF_F_LRO")]
        LRO = NETIF_F_LRO_BIT;

        /// Computes a hash of what it receives.
        #[doc(alias = "NETIF_F_RXHASH")]
        RXHASH = NETIF_F_RXHASH_BIT;

        /// Checks checksums of what it receives.
        #[doc(alias = "NETIF_F_RXCSUM")]
        RXCSUM = NETIF_F_RXCSUM_BIT;

        /// Sends what it was sent to itself.
        #[doc(alias = "NETIF_F_LOOPBACK")]
        LOOPBACK = NETIF_F_LOOPBACK_BIT;
    }

    /// No feature.
    pub const NONE: Self = Self(0);

    /// All that have to do with segmentation of what is sent.
    #[doc(alias = "NETIF_F_GSO_MASK")]
    pub const GSO_MASK: Self =
        Self((1 << (bindings::NETIF_F_GSO_LAST + 1)) - (1 << bindings::NETIF_F_GSO_SHIFT));

    /// Those that have to do with checksums of what is sent.
    #[doc(alias = "NETIF_F_CSUM_MASK")]
    pub const CSUM_MASK: Self = Self(
        Self::HW_CSUM.0 | 1 << bindings::NETIF_F_IP_CSUM_BIT | 1 << bindings::NETIF_F_IPV6_CSUM_BIT,
    );

    pub(super) const fn from_raw(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn as_raw(self) -> u64 {
        self.0
    }

    /// Tells whether all the features of `other` are in the set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Tells whether there is a feature of `other` in the set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Tells whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns those that are in either set.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns those that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl BitOr for Features {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

impl BitAnd for Features {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitXor for Features {
    type Output = Self;

    fn bitxor(self, other: Self) -> Self {
        Self(self.0 ^ other.0)
    }
}
