// SPDX-License-Identifier: GPL-2.0

//! Snapshots that cannot be compared, as something was made anew in between.

use super::change::{Change, got, sent};
use crate::snapshot::{Counters, Device, Queue, Snapshot};

/// Returns why two snapshots cannot be compared.
pub fn check(change: &Change<'_>) -> Option<String> {
    guest(change).or_else(|| host(change))
}

/// Finds a counter that has become less.
fn less(before: &Counters, after: &Counters) -> Option<(String, u64, u64)> {
    before.0.iter().find_map(|(name, was)| {
        let is = after.get(name)?;
        (is < *was).then(|| (name.clone(), *was, is))
    })
}

fn guest(change: &Change<'_>) -> Option<String> {
    let (before, after) = (change.before.guest.as_ref()?, change.after.guest.as_ref()?);
    let (one, other) = (&before.interface, &after.interface);
    if one != other {
        return Some(format!(
            "the guest has told of {one} before, and of {other} after"
        ));
    }
    let why = "the driver was loaded again, or bound to the device anew, in between";
    if let (Some(was), Some(is)) = (before.index, after.index)
        && was != is
    {
        return Some(format!(
            "{one} was made anew, with number {is} instead of {was}: {why}"
        ));
    }
    let found = less(&before.statistics, &after.statistics)
        .or_else(|| less(&before.ethtool, &after.ethtool));
    let (name, was, is) = found?;
    Some(format!(
        "{name} of {one} went back from {was} to {is}: {why}"
    ))
}

fn host(change: &Change<'_>) -> Option<String> {
    let (before, after) = (change.before.host.as_ref()?, change.after.host.as_ref()?);
    let (one, other) = (&before.device, &after.device);
    if one != other {
        return Some(format!(
            "the backend has told of {one} before, and of {other} after"
        ));
    }
    if before.port.is_some() && after.port.is_some() && before.port != after.port {
        return Some("the backend has told of two different ports".to_owned());
    }
    let (name, was, is) = device(change)
        .map(|(name, was, is)| (format!("{name} of {one}"), was, is))
        .or_else(|| switch(change))
        .or_else(|| peer(change))?;
    Some(format!(
        "{name} went back from {was} to {is}: the backend was started again in between"
    ))
}

/// What a queue counts that cannot become less.
fn of_queue(queue: &Queue) -> [(&'static str, Option<u64>); 5] {
    [
        ("kicks", queue.kicks),
        ("calls", queue.calls),
        ("taken", queue.taken),
        ("returned", queue.returned),
        ("starts", queue.starts),
    ]
}

fn device(change: &Change<'_>) -> Option<(String, u64, u64)> {
    let of =
        |snapshot: &'_ Snapshot| -> Option<Device> { snapshot.host.as_ref()?.counters.clone() };
    let (before, after) = (of(change.before)?, of(change.after)?);
    for (index, (was, is)) in before.queues.iter().zip(&after.queues).enumerate() {
        for ((name, was), (_, is)) in of_queue(was).into_iter().zip(of_queue(is)) {
            if let (Some(was), Some(is)) = (was, is)
                && is < was
            {
                return Some((format!("{name} of queue {index}"), was, is));
            }
        }
    }
    let (was, is) = (before.class?, after.class?);
    let named = |part: &str, (name, was, is)| (format!("{part} {name}"), was, is);
    less(&was.rx, &is.rx)
        .map(|found| named("rx", found))
        .or_else(|| less(&was.tx, &is.tx).map(|found| named("tx", found)))
}

fn switch(change: &Change<'_>) -> Option<(String, u64, u64)> {
    let of = |snapshot: &'_ Snapshot| snapshot.host.as_ref()?.switch.clone();
    let (before, after) = (of(change.before)?, of(change.after)?);
    before.ports.iter().find_map(|(port, was)| {
        let (name, was, is) = less(&was.counters, &after.ports.get(port)?.counters)?;
        Some((format!("{name} of port {port}"), was, is))
    })
}

fn peer(change: &Change<'_>) -> Option<(String, u64, u64)> {
    let of = |snapshot: &'_ Snapshot| snapshot.host.as_ref()?.peer.clone();
    let (before, after) = (of(change.before)?, of(change.after)?);
    let pairs = [
        ("what the port has got", got(&before), got(&after)),
        ("what the port has sent", sent(&before), sent(&after)),
    ];
    pairs.into_iter().find_map(|(name, was, is)| {
        let (was, is) = (was?, is?);
        (is < was).then(|| (name.to_owned(), was, is))
    })
}
