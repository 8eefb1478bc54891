// SPDX-License-Identifier: GPL-2.0

//! What a driver tells the kernel of each queue: family `netdev` of generic netlink.
//!
//! See `Documentation/netlink/specs/netdev.yaml` of the kernel.

use super::netlink::{Ask, Message, Netlink, attribute, attributes, find, number};
use crate::snapshot::{Counters, QueueStats};
use anyhow::Result;

/// `NETDEV_CMD_QSTATS_GET`.
const GET: u8 = 12;

const INDEX: u16 = 1;
const TYPE: u16 = 2;
const QUEUE: u16 = 3;
const SCOPE: u16 = 4;

/// Each queue is told of, not only their sum.
const EACH: u32 = 1;

/// A queue to the device, in [`TYPE`].
const TRANSMIT: u64 = 1;

/// The counters that the drivers of virtio have.
const NAMES: &[(u16, &str)] = &[
    (8, "packets"),
    (9, "bytes"),
    (10, "packets"),
    (11, "bytes"),
    (12, "alloc_fail"),
    (13, "hw_drops"),
    (14, "hw_drop_overruns"),
    (18, "csum_bad"),
    (24, "hw_drops"),
    (25, "hw_drop_errors"),
    (33, "stop"),
    (34, "wake"),
];

/// Asks for all queues of an interface. A driver that tells nothing is refused.
pub fn read(index: u32) -> Result<QueueStats> {
    let asked = [
        attribute(INDEX, &index.to_ne_bytes())?,
        attribute(SCOPE, &EACH.to_ne_bytes())?,
    ]
    .concat();
    let answer = Netlink::generic()?.ask_family("netdev", GET, Ask::All, &asked)?;
    Ok(sort(&answer, index))
}

/// Puts what is said of each queue to its place.
fn sort(answer: &[Message], index: u32) -> QueueStats {
    let mut stats = QueueStats::default();
    for Message { body, .. } in answer {
        let field = |kind: u16| find(body, kind).and_then(number);
        let (Some(queue), Some(kind)) = (field(QUEUE), field(TYPE)) else {
            continue;
        };
        let of = match kind {
            TRANSMIT => &mut stats.tx,
            _ => &mut stats.rx,
        };
        // They come in their order.
        let is_next = usize::try_from(queue).is_ok_and(|queue| queue == of.len());
        if field(INDEX) == Some(index.into()) && is_next {
            of.push(counters(body));
        }
    }
    stats
}

fn counters(body: &[u8]) -> Counters {
    let all = attributes(body).into_iter();
    all.filter_map(|(kind, value)| {
        let (_, name) = NAMES.iter().find(|(wanted, _)| *wanted == kind)?;
        Some(((*name).to_owned(), number(value)?))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u32, kind: u32, queue: u32, counters: &[(u16, u64)]) -> Message {
        let mut body = Vec::new();
        for (name, value) in [(INDEX, index), (TYPE, kind), (QUEUE, queue)] {
            body.extend(attribute(name, &value.to_ne_bytes()).expect("a number"));
        }
        for (name, value) in counters {
            body.extend(attribute(*name, &value.to_ne_bytes()).expect("a counter"));
        }
        Message { kind: 33, body }
    }

    #[test]
    fn queues_are_put_to_their_places() {
        let answer = [
            message(2, 0, 0, &[(8, 5), (12, 1), (99, 1)]),
            message(2, 0, 1, &[(8, 6)]),
            message(2, 1, 0, &[(10, 7), (33, 2), (34, 1)]),
            message(3, 1, 1, &[(10, 9)]),
        ];

        let stats = sort(&answer, 2);

        assert_eq!(stats.rx.len(), 2);
        assert_eq!(stats.rx[0].get("packets"), Some(5));
        assert_eq!(stats.rx[0].get("alloc_fail"), Some(1));
        assert_eq!(stats.rx[0].0.len(), 2, "what has no name is left out");
        assert_eq!(stats.rx[1].get("packets"), Some(6));
        assert_eq!(stats.tx.len(), 1, "the other one is of another interface");
        assert_eq!(stats.tx[0].get("stop"), Some(2));
    }

    #[test]
    fn what_is_said_of_no_queue_is_left_out() {
        let sum = attribute(8, &5_u64.to_ne_bytes()).expect("a counter");
        let sum = Message {
            kind: 33,
            body: sum,
        };

        assert_eq!(sort(&[sum], 2), QueueStats::default());
    }
}
