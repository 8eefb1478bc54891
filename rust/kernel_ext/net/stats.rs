// SPDX-License-Identifier: GPL-2.0

//! Counters.

use super::counter::Traffic;
use crate::bindings;

/// Declares what `struct rtnl_link_stats64` counts.
macro_rules! link_stats {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// What a device has counted since it was made.
        #[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
        #[doc(alias = "rtnl_link_stats64")]
        pub struct LinkStats {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl LinkStats {
            /// Gives them to the core, which has counted some itself.
            pub(super) fn add_to(&self, storage: &mut bindings::rtnl_link_stats64) {
                $(storage.$name = storage.$name.wrapping_add(self.$name);)*
            }
        }
    };
}

link_stats! {
    /// Packets that were received.
    rx_packets,
    /// Packets that were sent.
    tx_packets,
    /// Bytes that were received.
    rx_bytes,
    /// Bytes that were sent.
    tx_bytes,
    /// Packets that were received with errors.
    rx_errors,
    /// Packets that could not be sent.
    tx_errors,
    /// Packets that were received, but not kept.
    rx_dropped,
    /// Packets that were not sent.
    tx_dropped,
    /// Multicast packets that were received.
    multicast,
    /// Collisions.
    collisions,
    /// Packets that were received with a wrong length.
    rx_length_errors,
    /// Packets that were received when there was no room.
    rx_over_errors,
    /// Packets that were received with a wrong checksum.
    rx_crc_errors,
    /// Packets that were received misaligned.
    rx_frame_errors,
    /// Packets that the device had no room for.
    rx_fifo_errors,
    /// Packets that the device had no buffer for.
    rx_missed_errors,
    /// Packets that were not sent since somebody has said so.
    tx_aborted_errors,
    /// Packets that were not sent since there was no carrier.
    tx_carrier_errors,
    /// Packets that the device was too slow for.
    tx_fifo_errors,
    /// Heartbeat errors.
    tx_heartbeat_errors,
    /// Late collisions.
    tx_window_errors,
}

impl LinkStats {
    /// Adds what was received.
    pub fn add_rx(&mut self, traffic: &Traffic) {
        self.rx_packets += traffic.packets.get();
        self.rx_bytes += traffic.bytes.get();
        self.rx_dropped += traffic.dropped.get();
    }

    /// Adds what was sent.
    pub fn add_tx(&mut self, traffic: &Traffic) {
        self.tx_packets += traffic.packets.get();
        self.tx_bytes += traffic.bytes.get();
        self.tx_dropped += traffic.dropped.get();
    }
}
