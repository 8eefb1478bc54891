// SPDX-License-Identifier: GPL-2.0

//! What waits to be sent, as `tc -s qdisc` would tell.

use super::netlink::{Ask, Message, Netlink, attributes, find, number, text, word};
use crate::snapshot::Qdisc;
use anyhow::Result;

/// `RTM_GETQDISC`.
const GET: u16 = 38;

/// The length of `struct tcmsg`, and where its fields are that are needed.
const HEADER: usize = 20;
const INDEX: usize = 4;
const PARENT: usize = 12;

/// The parent of what is not in another one.
const ROOT: u32 = u32::MAX;

/// Attributes: `TCA_KIND`, `TCA_STATS2`, and of the latter `TCA_STATS_BASIC`, `TCA_STATS_QUEUE`, and
/// `TCA_STATS_PKT64`.
const KIND: u16 = 1;
const STATS: u16 = 7;
const BASIC: u16 = 1;
const QUEUE: u16 = 3;
const PACKETS: u16 = 8;

/// Asks what waits at an interface.
pub fn read(index: u32) -> Result<Option<Qdisc>> {
    // The kernel tells of all interfaces.
    let answer = Netlink::route()?.ask(GET, Ask::All, &[0; HEADER])?;
    Ok(answer.iter().find_map(|message| root(message, index)))
}

/// Reads a message, if it is about the root of an interface. That has the sums of all its parts.
fn root(message: &Message, index: u32) -> Option<Qdisc> {
    let body = &message.body;
    let field = |offset: usize| word(body.get(offset..)?);
    if field(INDEX)? != index || field(PARENT)? != ROOT {
        return None;
    }
    let of = body.get(HEADER..)?;
    let mut qdisc = Qdisc {
        kind: find(of, KIND).map(text)?,
        ..Qdisc::default()
    };
    // This one does not see the packets.
    if qdisc.kind == "noqueue" {
        return Some(qdisc);
    }
    for (kind, value) in attributes(find(of, STATS).unwrap_or_default()) {
        let field = |place: usize| word(value.get(4 * place..)?).map(u64::from);
        match kind {
            BASIC => {
                qdisc.bytes = value.get(..8).and_then(number);
                // What has 64 bits is better.
                qdisc.packets = qdisc.packets.or(field(2));
            }
            PACKETS => qdisc.packets = number(value),
            QUEUE => {
                qdisc.backlog = field(0);
                qdisc.backlog_bytes = field(1);
                qdisc.drops = field(2);
                qdisc.requeues = field(3);
                qdisc.overlimits = field(4);
            }
            _ => {}
        }
    }
    Some(qdisc)
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::attribute, *};

    fn message(index: u32, parent: u32, kind: &[u8], stats: &[u8]) -> Message {
        let mut body = vec![0; HEADER];
        body[INDEX..INDEX + 4].copy_from_slice(&index.to_ne_bytes());
        body[PARENT..PARENT + 4].copy_from_slice(&parent.to_ne_bytes());
        body.extend(attribute(KIND, kind).expect("a kind"));
        body.extend(attribute(STATS, stats).expect("statistics"));
        Message { kind: 36, body }
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn the_root_of_an_interface_is_read() {
        let basic = [&6000_u64.to_ne_bytes()[..], &words(&[60, 0])].concat();
        let stats = [
            attribute(BASIC, &basic).expect("bytes and packets"),
            attribute(QUEUE, &words(&[3, 300, 2, 1, 9])).expect("a queue"),
        ]
        .concat();
        let qdisc = root(&message(2, ROOT, b"mq\0", &stats), 2);

        let wanted = Qdisc {
            kind: "mq".to_owned(),
            packets: Some(60),
            bytes: Some(6000),
            backlog: Some(3),
            backlog_bytes: Some(300),
            drops: Some(2),
            requeues: Some(1),
            overlimits: Some(9),
        };
        assert_eq!(qdisc, Some(wanted));
        // That of another interface, and a part of this one.
        assert_eq!(root(&message(3, ROOT, b"mq\0", &stats), 2), None);
        assert_eq!(root(&message(2, 0x10001, b"fq\0", &stats), 2), None);
    }

    #[test]
    fn packets_may_have_64_bits() {
        let many = 1_u64 << 40;
        let stats = [
            attribute(PACKETS, &many.to_ne_bytes()).expect("packets"),
            attribute(BASIC, &words(&[1, 0, 0, 0])).expect("bytes and packets"),
        ]
        .concat();

        let qdisc = root(&message(2, ROOT, b"fq\0", &stats), 2).expect("a qdisc");
        assert_eq!((qdisc.packets, qdisc.bytes), (Some(many), Some(1)));
        assert_eq!(qdisc.backlog, None);
    }

    #[test]
    fn where_nothing_waits_nothing_is_counted() {
        let stats = attribute(BASIC, &words(&[0; 4])).expect("bytes and packets");
        let qdisc = root(&message(2, ROOT, b"noqueue\0", &stats), 2).expect("a qdisc");

        assert_eq!((qdisc.kind.as_str(), qdisc.packets), ("noqueue", None));
        let cut = Message {
            kind: 36,
            body: vec![0; 7],
        };
        assert_eq!(root(&cut, 0), None);
    }

    #[test]
    fn the_kernel_is_asked() {
        // The loopback interface has none, or this one.
        let qdisc = read(1).expect("an answer");
        assert_eq!(
            qdisc.map_or("noqueue".to_owned(), |qdisc| qdisc.kind),
            "noqueue"
        );
    }
}
