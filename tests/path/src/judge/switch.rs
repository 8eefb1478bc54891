// SPDX-License-Identifier: GPL-2.0

//! Frames in the backend, from the device through the switch to what is at the other port, and back.

use super::{
    change::{Change, Side, Way, sum},
    hop::{Finding, Hop, many},
    vlan,
};

/// Returns what stands in the way of frames of the guest, in their order.
pub fn check_out(change: &Change<'_>) -> Vec<Finding> {
    let mut all = Vec::new();
    for (counter, why) in [
        ("bad_header", "with headers that cannot be"),
        ("too_long", "that are too long"),
        ("disabled", "that came while the queue was not enabled"),
        ("left_out", "that rules leave out"),
    ] {
        let count = (change.tx(counter), change.tx("frames"));
        all.extend(Finding::lost(Hop::BackendPop, Way::Out, count, |frames| {
            format!("the backend has got {frames} {why} (tx {counter})")
        }));
    }
    all.extend(enter(change, Side::Own, Way::Out));
    all.extend(vlans(change, Side::Own, Way::Out));
    all.extend(elsewhere(change));
    all.extend(leave(change, Side::Peer, Way::Out));
    all.extend(peer(change));
    // They do leave, so it is looked first whether something is wrong where they go.
    all.extend(unknown(change));
    all
}

/// Returns what stands in the way of frames for the guest, in their order.
pub fn check_in(change: &Change<'_>) -> Vec<Finding> {
    let hop = peer_hop(change);
    let name = change.name(Side::Peer).unwrap_or_default();
    let malformed = malformed(change).map(|(_, inward)| inward);
    let mut all = Vec::new();
    all.extend(Finding::lost(
        hop,
        Way::In,
        (malformed, change.peer_sent()),
        |frames| format!("{frames} from {name} lost: not to be understood (malformed)"),
    ));
    all.extend(enter(change, Side::Peer, Way::In));
    all.extend(vlans(change, Side::Peer, Way::In));
    all.extend(moved(change));
    all.extend(leave(change, Side::Own, Way::In));
    all
}

/// Returns what the place behind the other port is called.
pub fn peer_hop(change: &Change<'_>) -> Hop {
    let Some(host) = change.host() else {
        return Hop::Peer;
    };
    let counts = |name: &str| {
        let peer = host.peer.as_ref();
        peer.is_some_and(|peer| peer.counters.get(name).is_some())
    };
    if host.interface.is_some() || counts("to_host") || counts("from_host") {
        Hop::Tap
    } else {
        Hop::Peer
    }
}

/// Returns how many frames cannot be understood at the other port, on the way out and on the way in. It
/// counts them together; those that have left the switch, and have not arrived, are of the first kind.
fn malformed(change: &Change<'_>) -> Option<(u64, u64)> {
    let all = change.peer(|peer| peer.counters.get("malformed"))?;
    let left = change.at_port(Side::Peer, "out_frames").unwrap_or(all);
    let missing = left.saturating_sub(change.peer_got().unwrap_or(0));
    let out = all.min(missing);
    Some((out, all - out))
}

/// Returns how many frames have come in at a port and have a VLAN there.
pub fn admitted(change: &Change<'_>, side: Side) -> Option<u64> {
    let refused = ["malformed", "wrong_source", "wrong_vlan"];
    let refused = sum(refused.map(|counter| change.at_port(side, counter)));
    let all = change.at_port(side, "in_frames")?;
    Some(all.saturating_sub(refused.unwrap_or(0)))
}

/// Frames that are refused at a port.
fn enter(change: &Change<'_>, side: Side, way: Way) -> Vec<Finding> {
    let Some(name) = change.name(side) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    if change.port(side).and_then(|port| port.link) == Some(false) {
        let reason = format!("the link of port {name} of the switch is down");
        all.push(Finding::certain(Hop::PortIn, way, reason));
    }
    let passed = admitted(change, side);
    for (counter, why) in [
        ("malformed", "not to be understood, or from a group"),
        ("wrong_source", "another source than the port may have"),
        ("reserved", "for switches only"),
    ] {
        let count = (change.at_port(side, counter), passed);
        all.extend(Finding::lost(Hop::PortIn, way, count, |frames| {
            format!("{frames} refused at port {name}: {why} ({counter})")
        }));
    }
    all
}

/// Frames whose VLAN the ports do not have.
fn vlans(change: &Change<'_>, side: Side, way: Way) -> Vec<Finding> {
    let other = match side {
        Side::Own => Side::Peer,
        Side::Peer => Side::Own,
    };
    let Some(name) = change.name(side) else {
        return Vec::new();
    };
    let of = |side: Side| change.port(side).and_then(|port| port.vlans.as_deref());
    let own = of(side).unwrap_or("unknown");
    let entered = change.at_port(side, "in_frames");
    let passed = admitted(change, side);
    let mut all = Vec::new();
    all.extend(Finding::lost(
        Hop::Vlan,
        way,
        (change.at_port(side, "wrong_vlan"), passed),
        |frames| format!("{frames} with a VLAN that port {name} is not in ({own}): wrong_vlan"),
    ));
    if let (Some(one), Some(two), Some(there)) = (of(side), of(other), change.name(other)) {
        let moves = entered.is_some_and(|frames| frames > 0);
        if moves && vlan::apart(one, two) == Some(true) {
            let reason =
                format!("port {name} ({one}) and port {there} ({two}) have no VLAN in common");
            all.push(Finding::certain(Hop::Vlan, way, reason));
        }
        // What other ports send in other VLANs is not meant: this is about a port that gets nothing.
        if change.at_port(other, "out_frames") == Some(0) && moves {
            let count = (change.at_port(other, "other_vlan"), Some(0));
            all.extend(Finding::lost(Hop::Vlan, way, count, |frames| {
                format!("{frames} with a VLAN that port {there} is not in ({two}): other_vlan")
            }));
        }
    }
    let nowhere = change.at_port(side, "nowhere");
    let passed = passed.map(|passed| passed.saturating_sub(nowhere.unwrap_or(0)));
    all.extend(Finding::lost(Hop::Vlan, way, (nowhere, passed), |frames| {
        format!(
            "{frames} of port {name} ({own}) left nowhere: no other port is in that VLAN, or may be \
             reached"
        )
    }));
    all
}

/// Frames for an address that the switch has at another port.
fn elsewhere(change: &Change<'_>) -> Vec<Finding> {
    let (Some(own), Some(peer)) = (change.name(Side::Own), change.name(Side::Peer)) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    let passed = admitted(change, Side::Own);
    let filtered = change.at_port(Side::Own, "filtered");
    all.extend(Finding::lost(
        Hop::Learning,
        Way::Out,
        (
            filtered,
            passed.map(|passed| passed.saturating_sub(filtered.unwrap_or(0))),
        ),
        |frames| format!("{frames} for an address that the switch has at port {own} itself"),
    ));
    let table = change.host().and_then(|host| host.table.as_ref());
    let neighbours = change.guest().map(|guest| guest.neighbours.iter());
    let mut places = neighbours.into_iter().flatten().filter_map(|neighbour| {
        let mac = neighbour.mac.as_deref()?;
        let entry = table?.iter().find(|entry| entry.mac == mac)?;
        Some((neighbour.address.as_str(), mac, entry.port.as_str()))
    });
    let other = places.find(|(_, _, port)| *port != own && *port != peer);
    let (Some((address, mac, port)), Some(passed)) = (other, passed) else {
        return all;
    };
    let arrived = change.at_port(Side::Peer, "out_frames").unwrap_or(0);
    let lost = passed.saturating_sub(arrived);
    // Whoever is there may be meant, and answer.
    if change.at_port(Side::Own, "out_frames").unwrap_or(0) >= lost {
        return all;
    }
    all.extend(Finding::lost(
        Hop::Learning,
        Way::Out,
        (Some(lost), Some(arrived)),
        |frames| {
            format!(
                "{frames} did not go to port {peer}: {address} has {mac}, which the switch has learnt \
                 at port {port}"
            )
        },
    ));
    all
}

/// Frames for an address that nobody has: all get them, and nobody takes them.
fn unknown(change: &Change<'_>) -> Option<Finding> {
    let name = change.name(Side::Own)?;
    let unknown = change.at_port(Side::Own, "unknown")?;
    let passed = admitted(change, Side::Own)?.saturating_sub(unknown);
    let peer = change.host().and_then(|host| host.peer.as_ref());
    // Where nobody ever sends, nothing can be learnt, and all is taken.
    let is_null = peer.is_some_and(|peer| peer.counters.get("frames").is_some());
    let answers = change.at_port(Side::Peer, "in_frames").unwrap_or(0);
    if is_null || answers >= unknown {
        return None;
    }
    let table = change.host()?.table.as_ref();
    let mut macs = change.guest().into_iter().flat_map(|guest| {
        let all = guest.neighbours.iter();
        all.filter_map(|neighbour| Some((neighbour.address.as_str(), neighbour.mac.as_deref()?)))
    });
    let nobody = macs
        .find(|(_, mac)| table.is_some_and(|table| !table.iter().any(|entry| entry.mac == *mac)));
    let who = nobody.map_or_else(String::new, |(address, mac)| {
        format!("; the guest has {mac} for {address}, which the switch has never seen")
    });
    Finding::lost(
        Hop::Learning,
        Way::Out,
        (Some(unknown), Some(passed)),
        |frames| format!("{frames} of port {name} flooded, for an address that is at no port{who}"),
    )
}

/// Frames for the guest that go to somebody else, who has its address.
fn moved(change: &Change<'_>) -> Option<Finding> {
    let (own, peer) = (change.name(Side::Own)?, change.name(Side::Peer)?);
    let mac = change.guest()?.address.as_deref()?;
    let table = change.host()?.table.as_ref()?;
    let mut entries = table.iter().filter(|entry| entry.mac == mac).peekable();
    entries.peek()?;
    // It may be learnt in several VLANs.
    if entries.clone().any(|entry| entry.port == own) {
        return None;
    }
    let port = &entries.next()?.port;
    let arrived = change.at_port(Side::Own, "out_frames")?;
    let lost = admitted(change, Side::Peer)?.saturating_sub(arrived);
    Finding::lost(
        Hop::Learning,
        Way::In,
        (Some(lost), Some(arrived)),
        |frames| {
            format!(
                "{frames} of port {peer} did not go to port {own}: the switch has learnt {mac}, which \
                 is the guest's, at port {port}"
            )
        },
    )
}

/// Frames that cannot leave at a port.
fn leave(change: &Change<'_>, side: Side, way: Way) -> Vec<Finding> {
    let Some(name) = change.name(side) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    if change.port(side).and_then(|port| port.link) == Some(false) {
        let reason = format!("the link of port {name} of the switch is down");
        all.push(Finding::certain(Hop::PortOut, way, reason));
    }
    let left = change.at_port(side, "out_frames");
    let outlet = |counter: &str| change.of_port(side, |port| port.outlet.get(counter));
    let shaped = change.of_port(side, |port| port.shaper.get("lost"));
    for (lost, why) in [
        (shaped, "the port is set to lose some (shaper)"),
        (outlet("lost_closed"), "nobody takes them (lost_closed)"),
        (outlet("lost_full"), "too many others wait (lost_full)"),
    ] {
        let passed = left.map(|left| left.saturating_sub(lost.unwrap_or(0)));
        all.extend(Finding::lost(Hop::PortOut, way, (lost, passed), |frames| {
            format!("{frames} lost leaving port {name}: {why}")
        }));
    }
    all
}

/// Frames that what is at the other port does not take, or does not answer.
fn peer(change: &Change<'_>) -> Vec<Finding> {
    let (Some(host), Some(name)) = (change.host(), change.name(Side::Peer)) else {
        return Vec::new();
    };
    let hop = peer_hop(change);
    let mut all = Vec::new();
    if let Some(interface) = &host.interface
        && interface.up == Some(false)
    {
        let reason = format!("interface {} of the host is down", interface.name);
        all.push(Finding::certain(hop, Way::Out, reason));
    }
    let passed = change.peer_got();
    let counted = |counter: &str| change.peer(|peer| peer.counters.get(counter));
    for (counter, lost, why) in [
        ("down", counted("down"), "its interface is down"),
        ("refused", counted("refused"), "the host does not like them"),
        (
            "malformed",
            malformed(change).map(|(out, _)| out),
            "not to be understood",
        ),
        ("too_long", counted("too_long"), "too long"),
    ] {
        all.extend(Finding::lost(hop, Way::Out, (lost, passed), |frames| {
            format!("{frames} lost at {name}: {why} ({counter})")
        }));
    }
    for (counter, why) in [
        ("lost_full", "it has no buffers"),
        ("no_queue", "no queue of it receives"),
        ("lost_reset", "its driver has reset it"),
        ("filtered", "its driver does not want them"),
    ] {
        let lost = change.peer(|peer| peer.class.as_ref()?.rx.get(counter));
        all.extend(Finding::lost(hop, Way::Out, (lost, passed), |frames| {
            format!("{frames} lost at the device {name}: {why} ({counter})")
        }));
    }
    let silent = change.peer_sent() == Some(0) && passed.is_some_and(|passed| passed > 0);
    if let (true, Some(address)) = (silent, unanswered(change)) {
        let got = many(passed.unwrap_or(0), "frame");
        let reason =
            format!("{name} has got {got} and sent none: nobody there answers for {address}");
        all.push(Finding::certain(hop, Way::Out, reason));
    }
    all
}

/// Returns an address that the guest has asked for, and nobody has answered.
pub fn unanswered<'a>(change: &Change<'a>) -> Option<&'a str> {
    let mut all = change.guest()?.neighbours.iter();
    let one = all.find(|it| ["failed", "incomplete"].contains(&it.state.as_str()));
    one.map(|neighbour| neighbour.address.as_str())
}
