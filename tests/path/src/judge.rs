// SPDX-License-Identifier: GPL-2.0

//! Says from two snapshots at which hop frames stop.
//!
//! What is there now, such as an interface that is down, is certain. Of what was lost, one frame more or
//! less is no fault: it is one if at least as many were lost at a hop as went on. The first fault on the
//! way out is told, or else the first one on the way in; where there is none, but frames have come to one
//! hop and not to a later one, those two are told. Nothing is taken for zero that was not seen.

mod backwards;
mod change;
mod hop;
mod receive;
mod rows;
mod switch;
mod transmit;
mod verdict;
mod vlan;

#[cfg(test)]
mod tests;

pub use verdict::Verdict;

use crate::snapshot::Snapshot;
use change::{Change, Way};
use hop::{Finding, Hop, many};
use rows::Row;
use verdict::{At, Flow};

/// What was judged.
#[derive(Clone, Debug)]
pub struct Judged {
    /// What is said.
    pub verdict: Verdict,
    rows: Vec<Row>,
}

impl Judged {
    /// Draws a table of the hops, with the count at each.
    pub fn table(&self) -> String {
        rows::table(&self.rows)
    }
}

/// Judges what was to pass between two snapshots.
pub fn judge(before: &Snapshot, after: &Snapshot) -> Judged {
    let change = Change { before, after };
    let rows = rows::rows(&change);
    let verdict = match backwards::check(&change) {
        Some(why) => Verdict::Unknown(why),
        None => find(&change, &rows),
    };
    Judged { verdict, rows }
}

fn find(change: &Change<'_>, rows: &[Row]) -> Verdict {
    let mut findings = transmit::check(change);
    findings.extend(switch::check_out(change));
    let out = findings.len();
    findings.extend(switch::check_in(change));
    findings.extend(receive::check(change));
    if let Some(cause) = findings.iter().find(|finding| finding.stops()) {
        return cause.into();
    }
    let gap = |way| gap(change, rows, way);
    if let Some(verdict) = gap(Way::Out).or_else(|| gap(Way::In)) {
        return verdict;
    }
    passes(change, &findings, out)
}

/// Finds frames at a hop of which none has come to a later one.
fn gap(change: &Change<'_>, rows: &[Row], way: Way) -> Option<Verdict> {
    let of = rows.iter().filter(|row| row.way == way && row.are_frames);
    let known: Vec<_> = of.filter_map(|row| Some((row.hop, row.count?))).collect();
    let step = known.windows(2).find_map(|pair| match pair {
        [(first, some @ 1..), (second, 0)] => Some((*first, *some, *second)),
        _ => None,
    });
    let (first, some, second) = step?;
    // What others send need not be for a guest that has sent nothing.
    if way == Way::In && second == Hop::PortOut && change.sent() == Some(0) {
        return None;
    }
    let between: Vec<_> = rows
        .iter()
        .filter(|row| row.way == way && row.are_frames)
        .skip_while(|row| row.hop != first)
        .skip(1)
        .take_while(|row| row.hop != second)
        .map(|row| row.hop.name())
        .collect();
    let mut reason = format!(
        "{} came to the first, and none to the second",
        many(some, "frame")
    );
    if between.is_empty() {
        reason += "; no counter tells why";
    } else {
        reason += &format!("; not seen: {}", between.join(", "));
    }
    Some(Verdict::Stops {
        at: At::Between(first, second, way),
        reason,
    })
}

/// Says what has passed, or that nothing has.
fn passes(change: &Change<'_>, findings: &[Finding], out: usize) -> Verdict {
    let flows = [flow(change, Way::Out), flow(change, Way::In)];
    let [sent, received] = flows.map(|flow| flow.frames);
    if let (None, None) = (sent, received) {
        return Verdict::Unknown("neither side has counted frames in both snapshots".to_owned());
    }
    if sent == Some(0) && received == Some(0) {
        let why = switch::unanswered(change).map_or("no counter tells why".to_owned(), |address| {
            format!("the guest waits for {address} to answer")
        });
        return Verdict::Stops {
            at: At::Hop(Hop::Socket, Way::Out),
            reason: format!("no frame was sent, and none came; {why}"),
        };
    }
    let unseen = unseen(change);
    if received == Some(0)
        && let Some(address) = switch::unanswered(change)
    {
        let mut reason = format!("nobody answers for {address}");
        if !unseen.is_empty() {
            reason += &format!("; not seen: {}", unseen.join(", "));
        }
        return Verdict::Stops {
            at: At::Hop(switch::peer_hop(change), Way::Out),
            reason,
        };
    }
    let mut remarks: Vec<_> = findings
        .iter()
        .enumerate()
        .map(|(place, finding)| {
            let way = if place < out { Way::Out } else { Way::In };
            format!("on the way {way}, at {}: {}", finding.hop, finding.reason)
        })
        .collect();
    if received == Some(0) && change.peer_sent() == Some(0) {
        let name = change.name(change::Side::Peer).unwrap_or("the other port");
        remarks.push(format!("{name} has sent none"));
    }
    let [out, inward] = flows;
    Verdict::Passes {
        out,
        inward,
        remarks,
        unseen,
    }
}

fn flow(change: &Change<'_>, way: Way) -> Flow {
    let (frames, counted, kicks) = match way {
        Way::Out => (
            change.tx("frames"),
            change.statistic("tx_packets"),
            "tx_kicks",
        ),
        Way::In => (change.rx("frames"), change.received(), "rx_kicks"),
    };
    Flow {
        frames: frames.or(counted),
        kicks: change
            .of_queues(way, |queue| queue.kicks)
            .or_else(|| change.ethtool(kicks)),
        interrupts: change
            .interrupts(way)
            .or_else(|| change.of_queues(way, |queue| queue.calls)),
    }
}

/// Returns what could not be seen, so that a fault may hide there.
fn unseen(change: &Change<'_>) -> Vec<&'static str> {
    let mut all = Vec::new();
    let mut look = |name: &'static str, seen: bool| {
        if !seen {
            all.push(name);
        }
    };
    if change.guest().is_none() || change.before.guest.is_none() {
        look("guest", false);
    } else {
        let qdisc = change.guest().and_then(|guest| guest.qdisc.as_ref());
        // One that lets all pass counts nothing.
        let passes = qdisc.is_some_and(|qdisc| qdisc.kind == "noqueue");
        look(
            "qdisc",
            passes || change.qdisc(|qdisc| qdisc.packets).is_some(),
        );
        look("driver", change.statistic("rx_packets").is_some());
        look("interrupts", change.interrupts(Way::In).is_some());
        look("IP stack", change.protocol("Ip", "InReceives").is_some());
    }
    if change.host().is_none() || change.before.host.is_none() {
        look("backend", false);
        return all;
    }
    look("device", change.tx("frames").is_some());
    let rings = change.device().is_some_and(|device| {
        change::queues(device, Way::Out).any(|(_, queue)| queue.available.is_some())
    });
    look("rings", rings);
    look(
        "switch",
        change.at_port(change::Side::Own, "in_frames").is_some(),
    );
    let name = match switch::peer_hop(change) {
        Hop::Tap => "tap",
        _ => "other port",
    };
    look(name, change.peer_got().is_some());
    all
}
