// SPDX-License-Identifier: GPL-2.0

//! Frames on their way from a socket to the device.
//!
//! When a device does not take frames, those behind it pile up, and are dropped where there is no room any
//! more. So it is looked from the device backwards; what is nearest to it is the cause.

use super::{
    change::{Change, Way, queues, sum},
    hop::{Finding, Hop, many},
};
use crate::snapshot::{Host, Queue};

const OUT: Way = Way::Out;

/// Returns what stands in the way, the cause first.
pub fn check(change: &Change<'_>) -> Vec<Finding> {
    let mut all: Vec<Finding> = interface(change).into_iter().collect();
    if let (Some(host), Some(device)) = (change.host(), change.device()) {
        if device.connected == Some(false) {
            let reason = "QEMU is not connected to the backend".to_owned();
            all.push(Finding::certain(Hop::Kick, OUT, reason));
        }
        for (index, queue) in queues(device, OUT) {
            all.extend(stopped(host, index, queue, OUT));
            all.extend(queue_stands(change, index, queue));
        }
    }
    all.extend(driver_stands(change));
    all.extend(lost_before_the_ring(change));
    all
}

/// An interface that cannot be used.
fn interface(change: &Change<'_>) -> Option<Finding> {
    let guest = change.guest()?;
    let name = &guest.interface;
    let link = &guest.link;
    let reason = if link.up == Some(false) {
        format!("{name} is down in the guest")
    } else if link.carrier == Some(false)
        || (link.carrier.is_none() && link.lower_up == Some(false))
    {
        let mut reason = format!("{name} is up in the guest, and has no carrier");
        // A driver may have given its device up.
        let said = |field: &str| guest.debugfs.get(field).map(String::as_str);
        if let Some(violations) = said("violations").filter(|violations| *violations != "0") {
            reason += &format!("; the driver has seen {violations} violations by the device");
        }
        if let Some(phase) = said("phase").filter(|phase| *phase != "live") {
            reason += &format!("; the device is in phase {phase}");
        }
        reason
    } else {
        return None;
    };
    Some(Finding::certain(Hop::Interface, OUT, reason))
}

/// A queue that does not run. Of several, a driver need not use all; it does use the first.
pub fn stopped(host: &Host, index: usize, queue: &Queue, way: Way) -> Option<Finding> {
    let hop = match way {
        Way::Out => Hop::BackendPop,
        Way::In => Hop::RxBuffers,
    };
    let is_first = index < 2;
    let failed = queue.errors.is_some_and(|errors| errors > 0);
    let reason = if queue.running == Some(false) && (is_first || failed) {
        let said = host.explain.get(&index.to_string());
        let said = said.and_then(|words| words.first());
        let said = said.map_or("it has no ring", |words| words.trim_end_matches('.'));
        format!("queue {index} does not run: {said}")
    } else if queue.enabled == Some(false) && is_first {
        format!("queue {index} is not enabled: the driver does not use it")
    } else {
        return None;
    };
    Some(Finding::certain(hop, way, reason))
}

/// A queue that runs, and does not go on.
fn queue_stands(change: &Change<'_>, index: usize, queue: &Queue) -> Option<Finding> {
    let waits = queue.available.unwrap_or(0);
    if waits > 0 && queue.paused == Some(true) {
        let reason = format!(
            "the backend does not consume: queue {index} is at a pause, and {} not taken{}",
            are(waits, "buffer"),
            symptoms(change)
        );
        return Some(Finding::certain(Hop::BackendPop, OUT, reason));
    }
    let runs = queue.running == Some(true) && queue.enabled == Some(true);
    if waits > 0 && runs && change.still(index, |queue| queue.taken) {
        return stands_with_buffers(change, index, queue, waits);
    }
    // Those that it has kept before hold up what comes now only if the driver has no room for more.
    let out = match driver_stopped(change) {
        true => queue.out,
        false => change.of_queue(index, |queue| queue.out),
    };
    let out = out.unwrap_or(0);
    if out > 0 && change.still(index, |queue| queue.returned) {
        let count = (Some(out), change.tx("frames"));
        return Finding::lost(Hop::BackendPop, OUT, count, |_| {
            format!(
                "the backend has taken {} of queue {index}, and does not return {}{}",
                many(out, "buffer"),
                if out == 1 { "it" } else { "them" },
                symptoms(change)
            )
        });
    }
    // All came back, and the driver does not take it.
    let is_back = queue.available == Some(0) && queue.out == Some(0);
    if is_back && driver_stopped(change) {
        let (calls, irqs) = (
            change.of_queue(index, |queue| queue.calls),
            change.interrupts(OUT),
        );
        let reason = format!(
            "the backend has returned all buffers of queue {index}, and the driver, whose queue is \
             stopped, has not taken them back{}",
            notified(calls, irqs)
        );
        return Some(Finding::certain(Hop::Interrupt, OUT, reason));
    }
    None
}

/// A queue that is not paused, and has buffers that nobody takes.
fn stands_with_buffers(
    change: &Change<'_>,
    index: usize,
    queue: &Queue,
    waits: u64,
) -> Option<Finding> {
    let buffers = many(waits, "buffer");
    match queue.asked {
        Some(true) => {
            let said = match change.ethtool("tx_kicks") {
                Some(0) => "; the driver says that it has not notified",
                Some(_) => "; the driver says that it has",
                None => "",
            };
            let reason = format!(
                "{buffers} of queue {index} {} available, and the backend, which has asked to be \
                 notified, was not{said}",
                if waits == 1 { "is" } else { "are" }
            );
            Some(Finding::certain(Hop::Kick, OUT, reason))
        }
        Some(false) => {
            let reason = format!(
                "the backend does not consume: {buffers} of queue {index} not taken, though it has \
                 not asked to be notified, and looks by itself"
            );
            Some(Finding::certain(Hop::BackendPop, OUT, reason))
        }
        None => None,
    }
}

/// Says how often the driver was notified, as far as that is known.
pub fn notified(calls: Option<u64>, irqs: Option<u64>) -> String {
    match (calls, irqs) {
        (Some(0), _) => "; the backend has not interrupted".to_owned(),
        (Some(calls), Some(0)) => {
            format!(
                "; the backend has interrupted {calls} times, and the guest has seen none of it"
            )
        }
        (Some(calls), Some(irqs)) => format!(
            "; the backend has interrupted {calls} times, and the guest was interrupted {irqs} times"
        ),
        (Some(calls), None) => format!("; the backend has interrupted {calls} times"),
        (None, _) => String::new(),
    }
}

/// Says what of a fault is seen in the guest.
fn symptoms(change: &Change<'_>) -> String {
    let mut text = String::new();
    if driver_stopped(change) {
        text += "; the queue of the driver is stopped";
    }
    let waits = backlog(change);
    if waits > 0 {
        text += &format!("; {} in the qdisc", wait(waits, "packet"));
    }
    text
}

fn are(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what} is"),
        _ => format!("{count} {what}s are"),
    }
}

fn wait(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what} waits"),
        _ => format!("{count} {what}s wait"),
    }
}

fn backlog(change: &Change<'_>) -> u64 {
    let qdisc = change.guest().and_then(|guest| guest.qdisc.as_ref());
    qdisc.and_then(|qdisc| qdisc.backlog).unwrap_or(0)
}

fn inflight(change: &Change<'_>) -> u64 {
    let queues = change.guest().map(|guest| guest.tx_queues.iter());
    sum(queues.into_iter().flatten().map(|queue| queue.inflight)).unwrap_or(0)
}

/// Returns whether the driver has stopped a queue, and something waits behind it.
fn driver_stopped(change: &Change<'_>) -> bool {
    let Some(guest) = change.guest() else {
        return false;
    };
    let each = guest.queue_stats.tx.iter();
    let mut each = each.filter_map(|queue| Some((queue.get("stop")?, queue.get("wake")?)));
    let sums = guest
        .ethtool
        .get("tx_stops")
        .zip(guest.ethtool.get("tx_wakes"));
    let stopped = each.any(|(stops, wakes)| stops > wakes)
        || sums.is_some_and(|(stops, wakes)| stops > wakes);
    let nothing_back = change.statistic("tx_packets") == Some(0);
    stopped && (backlog(change) > 0 || (inflight(change) > 0 && nothing_back))
}

/// A driver whose queue stands, as far as the guest can tell.
fn driver_stands(change: &Change<'_>) -> Option<Finding> {
    let timeouts = change.grew(|snapshot| {
        let queues = &snapshot.guest.as_ref()?.tx_queues;
        sum(queues.iter().map(|queue| queue.timeouts))
    });
    let timeouts = timeouts.filter(|timeouts| *timeouts > 0);
    let nothing_back = change.statistic("tx_packets") == Some(0);
    // A backend that is seen says more; what waits there for a moment is no fault.
    let sees = change
        .device()
        .is_some_and(|device| queues(device, OUT).any(|(_, queue)| queue.available.is_some()));
    if !driver_stopped(change) || !(nothing_back || timeouts.is_some()) || sees {
        return None;
    }
    let mut reason = format!(
        "the driver has stopped its queue, as its ring is full, and gets nothing back: {} in flight",
        many(inflight(change), "byte")
    );
    let waits = backlog(change);
    if waits > 0 {
        reason += &format!(", and {} in the qdisc", wait(waits, "packet"));
    }
    if let Some(timeouts) = timeouts {
        reason += &format!(", for so long that the kernel has complained {timeouts} times");
    }
    reason += "; the ring cannot be seen from the backend";
    Some(Finding::certain(Hop::DriverQueue, OUT, reason))
}

/// What was dropped before the device could see it.
fn lost_before_the_ring(change: &Change<'_>) -> Vec<Finding> {
    let sent = change.sent();
    let mut all = Vec::new();
    all.extend(Finding::lost(
        Hop::DriverQueue,
        OUT,
        (change.statistic("tx_dropped"), sent),
        |frames| format!("{frames} dropped by the driver (tx_dropped)"),
    ));
    let passed = change.qdisc(|qdisc| qdisc.packets);
    let kind = change.guest().and_then(|guest| guest.qdisc.as_ref());
    let kind = kind.map_or("?", |qdisc| qdisc.kind.as_str());
    all.extend(Finding::lost(
        Hop::Qdisc,
        OUT,
        (change.qdisc(|qdisc| qdisc.drops), passed),
        |frames| format!("{frames} dropped by the qdisc {kind}"),
    ));
    let waits = backlog(change);
    if waits > 0 && passed == Some(0) {
        let reason = format!(
            "{} in the qdisc {kind}, and none has left it",
            wait(waits, "packet")
        );
        all.push(Finding::certain(Hop::Qdisc, OUT, reason));
    }
    for (protocols, counter, why) in [
        (["Ip", "Ip6"], "OutNoRoutes", "without a route"),
        (
            ["Ip", "Ip6"],
            "OutDiscards",
            "discarded before they could be sent",
        ),
        (
            ["Udp", "Udp6"],
            "SndbufErrors",
            "without room in the buffer of their socket",
        ),
    ] {
        let lost = sum(protocols.map(|protocol| change.protocol(protocol, counter)));
        all.extend(Finding::lost(Hop::Socket, OUT, (lost, sent), |_| {
            let packets = many(lost.unwrap_or(0), "packet");
            format!("{packets} of the guest {why} ({counter})")
        }));
    }
    all
}
