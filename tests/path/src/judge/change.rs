// SPDX-License-Identifier: GPL-2.0

//! What has changed between two snapshots.

use crate::snapshot::{Class, Counters, Device, Guest, Host, Peer, Port, Qdisc, Queue, Snapshot};
use std::fmt;

/// Multiqueue (virtio 1.3, 5.1.3): without it, a driver uses one pair of queues.
const MQ: u64 = 1 << 22;

/// Which way frames go, as the guest sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The guest sends.
    Out,
    /// The guest receives.
    In,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Out => "out",
            Self::In => "in",
        })
    }
}

/// A port of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// That of the device.
    Own,
    /// Where its frames leave.
    Peer,
}

/// Two snapshots.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The first.
    pub before: &'a Snapshot,
    /// The second.
    pub after: &'a Snapshot,
}

/// Returns the queues of a direction that a driver may use, with their numbers.
pub fn queues(device: &Device, way: Way) -> impl Iterator<Item = (usize, &Queue)> {
    // A device that has the control queue itself has it behind the pairs that are used.
    let has_control = !device.queues.len().is_multiple_of(2);
    let several = !has_control || device.features.is_none_or(|features| features & MQ != 0);
    let pairs = device.queues.len() / 2;
    let pairs = if several { pairs } else { pairs.min(1) };
    let first = usize::from(way == Way::Out);
    let all = device.queues.iter().enumerate();
    all.skip(first).step_by(2).take(pairs)
}

/// Adds numbers, as far as they are known.
pub fn sum(numbers: impl IntoIterator<Item = Option<u64>>) -> Option<u64> {
    numbers.into_iter().flatten().reduce(u64::saturating_add)
}

/// Returns how many frames a peer has got, by the name that this has for what is there.
pub fn got(peer: &Peer) -> Option<u64> {
    let names = ["to_host", "received", "recorded", "frames"];
    match &peer.class {
        Some(class) => class.rx.get("frames"),
        None => names.iter().find_map(|name| peer.counters.get(name)),
    }
}

/// Returns how many frames a peer has sent.
pub fn sent(peer: &Peer) -> Option<u64> {
    let names = ["from_host", "sent"];
    match &peer.class {
        Some(class) => class.tx.get("frames"),
        None => names.iter().find_map(|name| peer.counters.get(name)),
    }
}

impl<'a> Change<'a> {
    /// Returns the guest as it was last seen.
    pub fn guest(&self) -> Option<&'a Guest> {
        self.after.guest.as_ref()
    }

    /// Returns the host as it was last seen.
    pub fn host(&self) -> Option<&'a Host> {
        self.after.host.as_ref()
    }

    /// Returns the device of the backend as it was last seen.
    pub fn device(&self) -> Option<&'a Device> {
        self.host()?.counters.as_ref()
    }

    /// Returns by how much something has grown that both snapshots have. What has become less has not.
    pub fn grew(&self, get: impl Fn(&'a Snapshot) -> Option<u64>) -> Option<u64> {
        get(self.after)?.checked_sub(get(self.before)?)
    }

    /// The same for one of several counters.
    fn counter(
        &self,
        name: &str,
        get: impl Fn(&'a Snapshot) -> Option<&'a Counters>,
    ) -> Option<u64> {
        self.grew(|snapshot| get(snapshot)?.get(name))
    }

    /// What the kernel of the guest counts of the interface.
    pub fn statistic(&self, name: &str) -> Option<u64> {
        self.counter(name, |snapshot| Some(&snapshot.guest.as_ref()?.statistics))
    }

    /// What the driver counts.
    pub fn ethtool(&self, name: &str) -> Option<u64> {
        self.counter(name, |snapshot| Some(&snapshot.guest.as_ref()?.ethtool))
    }

    /// What a protocol of the guest counts.
    pub fn protocol(&self, protocol: &str, name: &str) -> Option<u64> {
        self.counter(name, |snapshot| {
            snapshot.guest.as_ref()?.protocols.get(protocol)
        })
    }

    /// What CPUs of the guest count.
    pub fn softnet(&self, name: &str) -> Option<u64> {
        self.counter(name, |snapshot| Some(&snapshot.guest.as_ref()?.softnet))
    }

    /// What the queueing discipline counts.
    pub fn qdisc(&self, get: impl Fn(&Qdisc) -> Option<u64>) -> Option<u64> {
        self.grew(|snapshot| get(snapshot.guest.as_ref()?.qdisc.as_ref()?))
    }

    /// How often queues of a direction have interrupted the guest; nothing if its kernel does not tell
    /// them apart.
    pub fn interrupts(&self, way: Way) -> Option<u64> {
        let part = match way {
            Way::Out => "-output.",
            Way::In => "-input.",
        };
        self.grew(|snapshot| {
            let all = &snapshot.guest.as_ref()?.interrupts.0;
            let of = all.iter().filter(|(name, _)| name.contains(part));
            sum(of.map(|(_, count)| Some(*count)))
        })
    }

    /// What is counted of all queues of a direction.
    pub fn of_queues(&self, way: Way, get: impl Fn(&Queue) -> Option<u64>) -> Option<u64> {
        self.grew(|snapshot| {
            let device = snapshot.host.as_ref()?.counters.as_ref()?;
            sum(queues(device, way).map(|(_, queue)| get(queue)))
        })
    }

    /// What is counted of one queue.
    pub fn of_queue(&self, index: usize, get: impl Fn(&Queue) -> Option<u64>) -> Option<u64> {
        self.grew(|snapshot| {
            let device = snapshot.host.as_ref()?.counters.as_ref()?;
            get(device.queues.get(index)?)
        })
    }

    /// Returns whether a queue stands still, by one of its counters: in the moment before the last
    /// snapshot, or if that is not known, since the first one.
    pub fn still(&self, index: usize, get: impl Fn(&Queue) -> Option<u64>) -> bool {
        let earlier = self.host().and_then(|host| host.earlier.as_ref());
        let Some(earlier) = earlier else {
            return self.of_queue(index, get) == Some(0);
        };
        let of = |device: &Device| get(device.queues.get(index)?);
        let now = self.device().and_then(of);
        now.is_some() && now == of(earlier)
    }

    fn class(&self, name: &str, get: impl Fn(&Class) -> &Counters) -> Option<u64> {
        self.grew(|snapshot| {
            let device = snapshot.host.as_ref()?.counters.as_ref()?;
            get(device.class.as_ref()?).get(name)
        })
    }

    /// What the device counts of the frames that it takes.
    pub fn tx(&self, name: &str) -> Option<u64> {
        self.class(name, |class| &class.tx)
    }

    /// What the device counts of the frames that it hands over.
    pub fn rx(&self, name: &str) -> Option<u64> {
        self.class(name, |class| &class.rx)
    }

    /// Returns the name of a port.
    pub fn name(&self, side: Side) -> Option<&'a str> {
        let host = self.host()?;
        match side {
            Side::Own => Some(&host.device),
            Side::Peer => host.port.as_deref(),
        }
    }

    /// Returns a port as it was last seen.
    pub fn port(&self, side: Side) -> Option<&'a Port> {
        self.host()?.switch.as_ref()?.ports.get(self.name(side)?)
    }

    /// What is counted of a port.
    pub fn of_port(&self, side: Side, get: impl Fn(&Port) -> Option<u64>) -> Option<u64> {
        let name = self.name(side)?;
        self.grew(|snapshot| {
            let switch = snapshot.host.as_ref()?.switch.as_ref()?;
            get(switch.ports.get(name)?)
        })
    }

    /// The same for one of the counters of the switch.
    pub fn at_port(&self, side: Side, name: &str) -> Option<u64> {
        self.of_port(side, |port| port.counters.get(name))
    }

    /// What is counted behind the other port.
    pub fn peer(&self, get: impl Fn(&Peer) -> Option<u64>) -> Option<u64> {
        self.grew(|snapshot| get(snapshot.host.as_ref()?.peer.as_ref()?))
    }

    /// Frames that the peer has got.
    pub fn peer_got(&self) -> Option<u64> {
        self.peer(got)
    }

    /// Frames that the peer has sent.
    pub fn peer_sent(&self) -> Option<u64> {
        self.peer(sent)
    }

    /// Frames that have left the guest, from where this is seen best.
    pub fn sent(&self) -> Option<u64> {
        self.of_queues(Way::Out, |queue| queue.taken)
            .or_else(|| self.statistic("tx_packets"))
    }

    /// Frames that the driver has given to the stack.
    pub fn received(&self) -> Option<u64> {
        let packets = self.statistic("rx_packets")?;
        Some(packets.saturating_sub(self.bad().unwrap_or(0)))
    }

    /// Frames that the driver could not take as they were. Not all drivers count their sum.
    pub fn bad(&self) -> Option<u64> {
        let kinds = ["rx_frame_errors", "rx_length_errors"].map(|name| self.statistic(name));
        self.statistic("rx_errors").max(sum(kinds))
    }
}
