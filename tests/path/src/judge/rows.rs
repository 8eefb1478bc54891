// SPDX-License-Identifier: GPL-2.0

//! How many frames have come to each hop.

use super::{
    change::{Change, Side, Way, queues, sum},
    hop::Hop,
    switch::{admitted, peer_hop},
};

/// What is known of a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The hop.
    pub hop: Hop,
    /// Which way.
    pub way: Way,
    /// What has come so far, if that is known.
    pub count: Option<u64>,
    /// Whether these are frames, of which none can be there if none were at the hop before.
    pub are_frames: bool,
    /// What else is known.
    pub note: String,
}

impl Row {
    fn frames(way: Way, hop: Hop, count: Option<u64>, note: String) -> Self {
        Self {
            hop,
            way,
            count,
            are_frames: true,
            note,
        }
    }

    fn others(way: Way, hop: Hop, count: Option<u64>, note: String) -> Self {
        Self {
            are_frames: false,
            ..Self::frames(way, hop, count, note)
        }
    }
}

/// Writes the notes that are known.
fn notes(all: &[(&str, Option<u64>)]) -> String {
    let known = all
        .iter()
        .filter_map(|(what, count)| Some(format!("{what} {}", (*count)?)));
    known.collect::<Vec<_>>().join(", ")
}

/// Counts the hops of both ways, in their order.
pub fn rows(change: &Change<'_>) -> Vec<Row> {
    let mut rows = out(change);
    rows.extend(inward(change));
    rows
}

/// Returns what a queue has been given: what was taken of it, and what waits there.
fn made_available(change: &Change<'_>) -> Option<u64> {
    change.grew(|snapshot| {
        let device = snapshot.host.as_ref()?.counters.as_ref()?;
        sum(queues(device, Way::Out)
            .map(|(_, queue)| Some(queue.taken? + queue.available.unwrap_or(0))))
    })
}

fn out(change: &Change<'_>) -> Vec<Row> {
    let guest = change.guest();
    let qdisc = guest.and_then(|guest| guest.qdisc.as_ref());
    let inflight = guest.and_then(|guest| sum(guest.tx_queues.iter().map(|queue| queue.inflight)));
    let row = |hop, count, note| Row::frames(Way::Out, hop, count, note);
    let other = |hop, count, note| Row::others(Way::Out, hop, count, note);
    let requests = ["Ip", "Ip6"].map(|protocol| change.protocol(protocol, "OutRequests"));
    let own = |name| change.at_port(Side::Own, name);
    let queue = |get: fn(&crate::snapshot::Queue) -> Option<u64>| change.of_queues(Way::Out, get);
    vec![
        other(
            Hop::Socket,
            sum(requests),
            "IP packets of all interfaces".to_owned(),
        ),
        row(
            Hop::Qdisc,
            change.qdisc(|qdisc| qdisc.packets),
            notes(&[
                ("waiting", qdisc.and_then(|qdisc| qdisc.backlog)),
                ("drops", change.qdisc(|qdisc| qdisc.drops)),
                ("requeues", change.qdisc(|qdisc| qdisc.requeues)),
            ]),
        ),
        other(
            Hop::DriverQueue,
            change.statistic("tx_packets"),
            notes(&[
                ("came back; bytes in flight", inflight),
                ("dropped", change.statistic("tx_dropped")),
            ]),
        ),
        row(
            Hop::Ring,
            made_available(change),
            notes(&[("returned", queue(|queue| queue.returned))]),
        ),
        other(
            Hop::Kick,
            queue(|queue| queue.kicks),
            notes(&[("by the driver's count", change.ethtool("tx_kicks"))]),
        ),
        row(
            Hop::BackendPop,
            change.tx("frames"),
            notes(&[("buffers taken", queue(|queue| queue.taken))]),
        ),
        row(Hop::PortIn, own("in_frames"), String::new()),
        row(
            Hop::Vlan,
            admitted(change, Side::Own),
            notes(&[
                ("wrong VLAN", own("wrong_vlan")),
                ("nowhere", own("nowhere")),
            ]),
        ),
        other(
            Hop::Learning,
            own("flooded"),
            notes(&[
                ("flooded; of these for unknown addresses", own("unknown")),
                ("for the same port", own("filtered")),
            ]),
        ),
        row(
            Hop::PortOut,
            change.at_port(Side::Peer, "out_frames"),
            named(change, Side::Peer),
        ),
        row(
            peer_hop(change),
            change.peer_got(),
            named(change, Side::Peer),
        ),
    ]
}

fn inward(change: &Change<'_>) -> Vec<Row> {
    let row = |hop, count, note| Row::frames(Way::In, hop, count, note);
    let other = |hop, count, note| Row::others(Way::In, hop, count, note);
    let peer = |name| change.at_port(Side::Peer, name);
    let queue = |get: fn(&crate::snapshot::Queue) -> Option<u64>| change.of_queues(Way::In, get);
    let waiting = change.device().and_then(|device| device.class.as_ref());
    let waiting = waiting.map(|class| class.waiting.iter().sum());
    let delivers = ["Ip", "Ip6"].map(|protocol| change.protocol(protocol, "InDelivers"));
    vec![
        other(
            peer_hop(change),
            change.peer_sent(),
            named(change, Side::Peer),
        ),
        row(Hop::PortIn, peer("in_frames"), named(change, Side::Peer)),
        row(
            Hop::Vlan,
            admitted(change, Side::Peer),
            notes(&[
                ("wrong VLAN", peer("wrong_vlan")),
                ("nowhere", peer("nowhere")),
            ]),
        ),
        row(
            Hop::PortOut,
            change.at_port(Side::Own, "out_frames"),
            named(change, Side::Own),
        ),
        row(
            Hop::RxBuffers,
            change.rx("frames"),
            notes(&[
                ("waiting", waiting),
                ("lost for want of buffers", change.rx("lost_full")),
                ("kicks", queue(|queue| queue.kicks)),
            ]),
        ),
        row(
            Hop::UsedRing,
            queue(|queue| queue.returned),
            "buffers".to_owned(),
        ),
        other(
            Hop::Interrupt,
            change.interrupts(Way::In),
            notes(&[
                ("by the backend's count", queue(|queue| queue.calls)),
                ("not wanted", queue(|queue| queue.quiet)),
            ]),
        ),
        row(
            Hop::Napi,
            change.received(),
            notes(&[
                ("bad", change.bad()),
                ("dropped", change.statistic("rx_dropped")),
            ]),
        ),
        other(
            Hop::Stack,
            sum(delivers),
            "IP packets of all interfaces".to_owned(),
        ),
    ]
}

fn named(change: &Change<'_>, side: Side) -> String {
    change.name(side).unwrap_or_default().to_owned()
}

/// Draws a table.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("{:<4} {:<16} {:>9}\n", "way", "hop", "count");
    for row in rows {
        let count = row.count.map_or("-".to_owned(), |count| count.to_string());
        let line = format!("{:<4} {:<16} {count:>9}  {}", row.way, row.hop, row.note);
        text += line.trim_end();
        text += "\n";
    }
    text
}
