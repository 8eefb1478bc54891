// SPDX-License-Identifier: GPL-2.0

//! What a driver takes, and when queues notify.
//!
//! Virtio 1.3, 5.1.6.5.8 and 5.1.6.5.9.

use super::{
    Accepted,
    CtrlError,
    Feature,
    FeatureSet, //
};
use crate::{
    int::{
        Le16,
        Le32, //
    },
    wire::wire_struct, //
};

/// What a driver takes, of what was negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offloads(FeatureSet);

impl Offloads {
    /// The features that can be switched off. Each is a bit of the command, which for most is that
    /// of the feature.
    const BITS: &'static [(Feature, u32)] = &[
        (Feature::GUEST_CSUM, 1),
        (Feature::GUEST_TSO4, 7),
        (Feature::GUEST_TSO6, 8),
        (Feature::GUEST_ECN, 9),
        (Feature::GUEST_UFO, 10),
        (Feature::GUEST_UDP_TUNNEL_GSO, 46),
        (Feature::GUEST_UDP_TUNNEL_GSO_CSUM, 47),
        (Feature::GUEST_USO4, 54),
        (Feature::GUEST_USO6, 55),
    ];

    /// Takes what of these features can be switched off.
    pub fn of(features: FeatureSet) -> Self {
        let switched = Self::BITS.iter().map(|(feature, _)| *feature);
        Self(
            switched
                .filter(|feature| features.contains(*feature))
                .collect(),
        )
    }

    /// Takes the number in a command.
    ///
    /// # Errors
    ///
    /// There are bits that are not defined.
    pub(super) fn new(bits: u64) -> Result<Self, CtrlError> {
        let this = Self(
            Self::BITS
                .iter()
                .filter(|(_, bit)| bits & mask(*bit) != 0)
                .map(|(feature, _)| *feature)
                .collect(),
        );
        if this.bits() == bits {
            Ok(this)
        } else {
            Err(CtrlError::Offloads(bits))
        }
    }

    /// Returns the number in a command.
    pub fn bits(self) -> u64 {
        Self::BITS
            .iter()
            .filter(|(feature, _)| self.0.contains(*feature))
            .fold(0, |bits, (_, bit)| bits | mask(*bit))
    }

    /// Returns the features.
    pub const fn features(self) -> FeatureSet {
        self.0
    }

    pub(super) fn check(self, accepted: Accepted) -> Result<(), CtrlError> {
        if self.0.difference(accepted.set()).is_empty() {
            Ok(())
        } else {
            Err(CtrlError::Offloads(self.bits()))
        }
    }
}

const fn mask(bit: u32) -> u64 {
    1u64.wrapping_shl(bit)
}

wire_struct! {
    /// When a queue notifies.
    #[doc(alias = "virtio_net_ctrl_coal")]
    pub struct CoalesceLayout[8] {
        /// After how many frames.
        pub max_packets: Le32,
        /// After how many microseconds.
        pub max_usecs: Le32,
    }
}

wire_struct! {
    /// When a certain queue notifies.
    #[doc(alias = "virtio_net_ctrl_coal_vq")]
    pub struct CoalesceQueueLayout[12] {
        /// The queue.
        pub vq_index: Le16,
        /// Reserved.
        pub reserved: Le16,
        /// When it notifies.
        pub coalesce: CoalesceLayout,
    }
}

/// When a queue notifies: when the first of both is reached; at once if one of both is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Coalesce {
    /// After how many frames.
    pub packets: u32,
    /// After how many microseconds.
    pub microseconds: u32,
}

impl From<CoalesceLayout> for Coalesce {
    fn from(layout: CoalesceLayout) -> Self {
        Self {
            packets: layout.max_packets.get(),
            microseconds: layout.max_usecs.get(),
        }
    }
}

impl From<Coalesce> for CoalesceLayout {
    fn from(coalesce: Coalesce) -> Self {
        Self {
            max_packets: coalesce.packets.into(),
            max_usecs: coalesce.microseconds.into(),
        }
    }
}
