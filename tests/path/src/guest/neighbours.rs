// SPDX-License-Identifier: GPL-2.0

//! Which addresses of other stations are known, as `ip neighbour` would tell.

use super::netlink::{Ask, Message, Netlink, find, word};
use crate::snapshot::Neighbour;
use anyhow::Result;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `RTM_GETNEIGH`.
const GET: u16 = 30;

/// The length of `struct ndmsg`, and where its fields are that are needed.
const HEADER: usize = 12;
const INDEX: usize = 4;
const STATE: usize = 8;

/// Attributes: `NDA_DST` and `NDA_LLADDR`.
const ADDRESS: u16 = 1;
const MAC: u16 = 2;

/// The states, by their bits (`NUD_*`).
const STATES: [(u16, &str); 8] = [
    (0x01, "incomplete"),
    (0x02, "reachable"),
    (0x04, "stale"),
    (0x08, "delay"),
    (0x10, "probe"),
    (0x20, "failed"),
    (0x40, "noarp"),
    (0x80, "permanent"),
];

/// Asks who is known at an interface.
pub fn read(index: u32) -> Result<Vec<Neighbour>> {
    let answer = Netlink::route()?.ask(GET, Ask::All, &[0; HEADER])?;
    let all = answer.iter();
    Ok(all
        .filter_map(|message| neighbour(message, index))
        .collect())
}

fn neighbour(message: &Message, index: u32) -> Option<Neighbour> {
    let body = &message.body;
    if word(body.get(INDEX..)?)? != index {
        return None;
    }
    let bits = u16::from_ne_bytes([*body.get(STATE)?, *body.get(STATE + 1)?]);
    let (_, state) = STATES.iter().find(|(bit, _)| bits & bit != 0)?;
    // Groups, and what is there for the kernel only.
    if *state == "noarp" {
        return None;
    }
    let of = body.get(HEADER..)?;
    let address: IpAddr = match *find(of, ADDRESS)? {
        [a, b, c, d] => Ipv4Addr::new(a, b, c, d).into(),
        ref long => Ipv6Addr::from(<[u8; 16]>::try_from(long).ok()?).into(),
    };
    Some(Neighbour {
        address: address.to_string(),
        mac: find(of, MAC).filter(|mac| mac.len() == 6).map(mac_text),
        state: (*state).to_owned(),
    })
}

/// Writes a MAC address as the kernel and the backend do.
fn mac_text(mac: &[u8]) -> String {
    let bytes: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::attribute, *};

    fn message(index: u32, state: u16, attributes: &[(u16, &[u8])]) -> Message {
        let mut body = vec![0; HEADER];
        body[INDEX..INDEX + 4].copy_from_slice(&index.to_ne_bytes());
        body[STATE..STATE + 2].copy_from_slice(&state.to_ne_bytes());
        for (kind, value) in attributes {
            body.extend(attribute(*kind, value).expect("an attribute"));
        }
        Message { kind: 28, body }
    }

    #[test]
    fn who_is_known_is_read() {
        let mac = [0x52, 0x54, 0, 0, 0, 0xa];
        let known = message(2, 0x02, &[(ADDRESS, &[10, 0, 0, 1]), (MAC, &mac)]);
        let wanted = Neighbour {
            address: "10.0.0.1".to_owned(),
            mac: Some("52:54:00:00:00:0a".to_owned()),
            state: "reachable".to_owned(),
        };
        assert_eq!(neighbour(&known, 2), Some(wanted));
        assert_eq!(neighbour(&known, 3), None);

        let mut long = [0; 16];
        long[..2].copy_from_slice(&[0xfe, 0x80]);
        long[15] = 1;
        let failed = neighbour(&message(2, 0x20, &[(ADDRESS, &long)]), 2);
        let failed = failed.expect("a neighbour");
        assert_eq!(failed.address, "fe80::1");
        assert_eq!((failed.mac, failed.state.as_str()), (None, "failed"));
    }

    #[test]
    fn what_is_no_neighbour_is_left_out() {
        let group = message(2, 0x40, &[(ADDRESS, &[224, 0, 0, 22])]);
        assert_eq!(neighbour(&group, 2), None);
        assert_eq!(
            neighbour(&message(2, 0x02, &[(ADDRESS, &[1, 2, 3])]), 2),
            None
        );
        assert_eq!(neighbour(&message(2, 0x02, &[]), 2), None);
        let cut = Message {
            kind: 28,
            body: vec![2; 5],
        };
        assert_eq!(neighbour(&cut, 2), None);
    }
}
