// SPDX-License-Identifier: GPL-2.0

//! Frames on their way from the device to a socket.
//!
//! A driver that is not interrupted adds no buffers either, so what it does not take is looked at before
//! what it lacks.

use super::{
    change::{Change, Way, queues, sum},
    hop::{Finding, Hop, many},
    transmit::{notified, stopped},
};
use crate::snapshot::Queue;

const IN: Way = Way::In;

/// Returns what stands in the way, the cause first.
pub fn check(change: &Change<'_>) -> Vec<Finding> {
    let mut all: Vec<Finding> = interrupt(change).into_iter().collect();
    if let (Some(host), Some(device)) = (change.host(), change.device()) {
        for (index, queue) in queues(device, IN) {
            all.extend(stopped(host, index, queue, IN));
            all.extend(queue_stands(change, index, queue));
            all.extend(kept(change, index));
        }
    }
    for (counter, why) in [
        ("lost_full", "there were no buffers for too long"),
        ("no_queue", "no queue receives"),
        ("lost_reset", "the driver has reset the device"),
        ("too_long", "they are too long"),
        ("malformed", "they cannot be understood"),
        ("filtered", "the driver does not want them"),
        (
            "left_out",
            "rules, or buffers that are too short, leave them out",
        ),
    ] {
        let count = (change.rx(counter), change.rx("frames"));
        all.extend(Finding::lost(Hop::RxBuffers, IN, count, |frames| {
            format!("{frames} for the driver lost: {why} (rx {counter})")
        }));
    }
    all.extend(driver(change));
    all.extend(stack(change));
    all
}

/// Frames that the device has handed over, and the driver has not taken.
fn interrupt(change: &Change<'_>) -> Option<Finding> {
    let handed = change.rx("frames")?;
    let taken = change.statistic("rx_packets")?;
    // What it has not returned is not the driver's to take. A frame may be in several buffers.
    let returned = change.of_queues(IN, |queue| queue.returned)?;
    let lost = handed.min(returned).saturating_sub(taken);
    if lost < taken.max(1) {
        return None;
    }
    let calls = change.of_queues(IN, |queue| queue.calls);
    let quiet = change.of_queues(IN, |queue| queue.quiet);
    let irqs = change.interrupts(IN);
    let owes = change
        .device()
        .is_some_and(|device| queues(device, IN).any(|(_, queue)| queue.owes_call == Some(true)));
    let frames = many(lost, "frame");
    let begins = format!("{frames} in the used ring not taken by the driver");
    let (hop, why) = match (calls, irqs) {
        _ if owes => (
            Hop::Interrupt,
            "; QEMU has told the backend no way to interrupt".to_owned(),
        ),
        (Some(0), _) if quiet.is_some_and(|quiet| quiet > 0) => (
            Hop::Interrupt,
            "; interrupts are masked: the driver does not want to be notified".to_owned(),
        ),
        (Some(calls), Some(irqs)) if calls > 0 && irqs > 0 => (
            Hop::Napi,
            format!("; the guest was interrupted {irqs} times"),
        ),
        _ => (Hop::Interrupt, notified(calls, irqs)),
    };
    Some(Finding::certain(hop, IN, begins + &why))
}

/// A queue for which frames wait.
fn queue_stands(change: &Change<'_>, index: usize, queue: &Queue) -> Option<Finding> {
    let class = change.device()?.class.as_ref()?;
    let waits = class.waiting.get(index / 2).copied().unwrap_or(0);
    let lost = change.rx("lost_full").unwrap_or(0);
    if waits == 0 && lost == 0 {
        return None;
    }
    let mut frames = format!("{} for the driver", many(waits, "frame"));
    frames += if waits == 1 { " waits" } else { " wait" };
    if lost > 0 {
        frames += &format!(", and {lost} are lost");
    }
    if queue.paused == Some(true) {
        let reason = format!("queue {index} is at a pause, and {frames}");
        return Some(Finding::certain(Hop::RxBuffers, IN, reason));
    }
    // A frame may wait for a moment.
    if queue.running != Some(true) || !change.still(index, |queue| queue.taken) {
        return None;
    }
    let out = queue.out.unwrap_or(0);
    let (hop, reason) = match (queue.available, queue.asked) {
        (Some(0), _) if out > 0 => (
            Hop::UsedRing,
            format!(
                "the backend has {} of queue {index} and returns none: {frames}",
                many(out, "buffer")
            ),
        ),
        (Some(0), _) => (
            Hop::RxBuffers,
            format!("the driver has added no buffers to queue {index}: {frames}"),
        ),
        (Some(there), Some(true)) => (
            Hop::Kick,
            format!(
                "{} of queue {index} to be filled, and the backend, which has asked to be notified, \
                 was not: {frames}",
                many(there, "buffer")
            ),
        ),
        (Some(there), Some(false)) => (
            Hop::RxBuffers,
            format!(
                "{} of queue {index} to be filled, and the backend does not fill: {frames}",
                many(there, "buffer")
            ),
        ),
        _ => return None,
    };
    Some(Finding::certain(hop, IN, reason))
}

/// Buffers that have frames, and are not returned.
fn kept(change: &Change<'_>, index: usize) -> Option<Finding> {
    // Those that it has kept before do not hold up what comes now.
    let out = change.of_queue(index, |queue| queue.out);
    let out = out.filter(|_| change.still(index, |queue| queue.returned));
    let count = (out, change.received());
    Finding::lost(Hop::UsedRing, IN, count, |_| {
        let buffers = many(out.unwrap_or(0), "buffer");
        format!("the backend has filled {buffers} of queue {index}, and does not return them")
    })
}

/// Frames that the driver drops.
fn driver(change: &Change<'_>) -> Vec<Finding> {
    let passed = change.received();
    let mut kinds = Vec::new();
    for (counter, other, what) in [
        ("rx_bad_header", "rx_frame_errors", "with a bad header"),
        ("rx_bad_length", "rx_length_errors", "with a bad length"),
        ("rx_bad_buffers", "", "in a wrong number of buffers"),
    ] {
        // The names of this driver say more; they need a program that the guest may not have.
        let named = [
            (counter, change.ethtool(counter)),
            (other, change.statistic(other)),
        ];
        let mut known = named
            .into_iter()
            .filter_map(|(name, count)| Some((name, count?)));
        if let Some((name, count)) = known.find(|(_, count)| *count > 0) {
            kinds.push(format!("{count} {what} ({name})"));
        }
    }
    let kinds = kinds.join(", ");
    let mut all = Vec::new();
    all.extend(Finding::lost(
        Hop::Napi,
        IN,
        (change.bad(), passed),
        |frames| {
            if kinds.is_empty() {
                format!("the driver has dropped {frames} (rx_errors)")
            } else {
                format!("the driver has dropped {frames}: {kinds}")
            }
        },
    ));
    for (lost, why) in [
        (
            change.ethtool("rx_no_memory"),
            "by the driver, which has no memory (rx_no_memory)",
        ),
        (
            change.statistic("rx_dropped"),
            "by the driver, or as nobody knows their protocol (rx_dropped)",
        ),
        (
            change.softnet("dropped"),
            "as too many wait for a CPU (softnet)",
        ),
    ] {
        all.extend(Finding::lost(Hop::Napi, IN, (lost, passed), |frames| {
            format!("{frames} dropped {why}")
        }));
    }
    all
}

/// What protocols count of what they drop: before they deliver it to those above them, where it goes on,
/// and what that means.
const BEFORE: &[(&str, &str, &str)] = &[
    ("Ip", "InHdrErrors", "with a wrong header"),
    ("IpExt", "InCsumErrors", "with a wrong checksum"),
    (
        "Ip",
        "InAddrErrors",
        "for an address that the guest has not",
    ),
    ("IpExt", "InNoRoutes", "without a route"),
    ("TcpExt", "IPReversePathFilter", "from where no route goes"),
    ("Ip", "InDiscards", "discarded"),
    ("Ip", "InUnknownProtos", "of a protocol that nobody wants"),
    ("Ip6", "InHdrErrors", "with a wrong header"),
    (
        "Ip6",
        "InAddrErrors",
        "for an address that the guest has not",
    ),
    ("Ip6", "InNoRoutes", "without a route"),
    ("Ip6", "InDiscards", "discarded"),
];

/// The same for what was delivered, and dropped by those.
const BEHIND: &[(Hop, &str, &str, &str)] = &[
    (Hop::Stack, "Tcp", "InCsumErrors", "with a wrong checksum"),
    (Hop::Stack, "Udp", "InCsumErrors", "with a wrong checksum"),
    (Hop::Stack, "Udp6", "InCsumErrors", "with a wrong checksum"),
    (Hop::Stack, "Icmp", "InCsumErrors", "with a wrong checksum"),
    (Hop::Stack, "Icmp6", "InCsumErrors", "with a wrong checksum"),
    (Hop::Socket, "Udp", "NoPorts", "for a port without a socket"),
    (
        Hop::Socket,
        "Udp6",
        "NoPorts",
        "for a port without a socket",
    ),
    (
        Hop::Socket,
        "Udp",
        "RcvbufErrors",
        "for a socket whose buffer is full",
    ),
    (
        Hop::Socket,
        "Udp6",
        "RcvbufErrors",
        "for a socket whose buffer is full",
    ),
    (
        Hop::Socket,
        "TcpExt",
        "ListenDrops",
        "for a listener with too many connections",
    ),
];

/// Packets that the protocols of the guest drop.
fn stack(change: &Change<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    let delivered = sum(["Ip", "Ip6"].map(|protocol| change.protocol(protocol, "InDelivers")));
    // A switch that floods sends others' frames, too: this is about a guest that gets nothing else.
    if delivered == Some(0) {
        let count = (change.statistic("rx_otherhost_dropped"), delivered);
        all.extend(Finding::lost(Hop::Stack, IN, count, |frames| {
            format!("{frames} for another MAC address (rx_otherhost_dropped)")
        }));
    }
    // What protocols drop before they deliver it is not among what is delivered.
    let before = BEFORE
        .iter()
        .map(|(protocol, counter, why)| (Hop::Stack, protocol, counter, why, false));
    let behind = BEHIND
        .iter()
        .map(|(hop, protocol, counter, why)| (*hop, protocol, counter, why, true));
    for (hop, protocol, counter, why, is_delivered) in before.chain(behind) {
        let lost = change.protocol(protocol, counter);
        let among = lost.filter(|_| is_delivered).unwrap_or(0);
        let passed = delivered.map(|all| all.saturating_sub(among));
        all.extend(Finding::lost(hop, IN, (lost, passed), |_| {
            let packets = many(lost.unwrap_or(0), "packet");
            format!("{packets} {why} ({protocol} {counter})")
        }));
    }
    all
}
