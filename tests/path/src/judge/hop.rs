// SPDX-License-Identifier: GPL-2.0

//! Where frames are counted, or can be lost.

use super::change::Way;
use std::fmt;

/// A place that frames pass. Some are on both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// The socket, and the protocols behind it.
    Socket,
    /// The interface, which has to be up.
    Interface,
    /// What waits to be sent.
    Qdisc,
    /// The queue of the driver, which stops when its ring is full.
    DriverQueue,
    /// Buffers that the driver has made available.
    Ring,
    /// The notification of the device.
    Kick,
    /// The device takes buffers.
    BackendPop,
    /// The switch takes a frame.
    PortIn,
    /// The frame has a VLAN.
    Vlan,
    /// The switch knows where its address is.
    Learning,
    /// It leaves the switch.
    PortOut,
    /// A tap, and the host behind it.
    Tap,
    /// Something else at the other port.
    Peer,
    /// Buffers that the driver has added for received frames.
    RxBuffers,
    /// The device returns buffers.
    UsedRing,
    /// The notification of the driver.
    Interrupt,
    /// The driver takes frames from the ring.
    Napi,
    /// The protocols of the guest.
    Stack,
}

impl Hop {
    /// Returns what it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Interface => "interface",
            Self::Qdisc => "qdisc",
            Self::DriverQueue => "driver queue",
            Self::Ring => "ring",
            Self::Kick => "kick",
            Self::BackendPop => "backend pop",
            Self::PortIn => "switch port in",
            Self::Vlan => "VLAN",
            Self::Learning => "learning",
            Self::PortOut => "switch port out",
            Self::Tap => "tap",
            Self::Peer => "peer",
            Self::RxBuffers => "RX buffers",
            Self::UsedRing => "used ring",
            Self::Interrupt => "interrupt",
            Self::Napi => "NAPI",
            Self::Stack => "IP stack",
        }
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What was found at a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The hop.
    pub hop: Hop,
    /// Which way the frames went.
    pub way: Way,
    /// Why they do not go on.
    pub reason: String,
    /// How many were lost, and how many went on; nothing if none can.
    pub count: Option<Count>,
}

/// How many frames were lost at a hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// They did not go on.
    pub lost: u64,
    /// They did, if that is known.
    pub passed: Option<u64>,
}

impl Finding {
    /// Nothing goes on, as is seen from what is there now.
    pub fn certain(hop: Hop, way: Way, reason: String) -> Self {
        Self {
            hop,
            way,
            reason,
            count: None,
        }
    }

    /// Frames were lost, if there were any.
    pub fn lost(
        hop: Hop,
        way: Way,
        count: (Option<u64>, Option<u64>),
        reason: impl FnOnce(&str) -> String,
    ) -> Option<Self> {
        let (lost, passed) = count;
        let lost = lost.filter(|lost| *lost > 0)?;
        Some(Self {
            hop,
            way,
            reason: reason(&many(lost, "frame")),
            count: Some(Count { lost, passed }),
        })
    }

    /// Returns whether it is here that frames stop. A few may be lost anywhere, and others, such as those
    /// that find out who has an address, may get through where none does that matters.
    pub fn stops(&self) -> bool {
        self.count
            .is_none_or(|count| count.passed.is_none_or(|passed| count.lost >= passed))
    }
}

/// Counts something, for people.
pub fn many(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(lost: u64, passed: Option<u64>) -> Option<bool> {
        let finding = Finding::lost(Hop::Qdisc, Way::Out, (Some(lost), passed), str::to_owned);
        finding.map(|finding| finding.stops())
    }

    #[test]
    fn frames_stop_where_most_are_lost() {
        assert_eq!(stops(0, Some(0)), None);
        assert_eq!(stops(1, Some(100)), Some(false));
        assert_eq!(stops(20, Some(2)), Some(true));
        assert_eq!(stops(20, Some(0)), Some(true));
        assert_eq!(stops(20, None), Some(true), "nobody has seen one go on");
        assert!(Finding::certain(Hop::Tap, Way::Out, String::new()).stops());
    }

    #[test]
    fn one_frame_is_no_frames() {
        assert_eq!(many(1, "frame"), "1 frame");
        assert_eq!(many(0, "frame"), "0 frames");
    }
}
