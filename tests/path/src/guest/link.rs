// SPDX-License-Identifier: GPL-2.0

//! Whether an interface can be used, as netlink tells, and the counters that only that has.

use super::netlink::{Ask, Netlink, find, number, word};
use anyhow::{Context, Result};

/// `RTM_GETLINK`.
const GET: u16 = 18;

/// The length of `struct ifinfomsg`, and where its fields are that are needed.
const HEADER: usize = 16;
const INDEX: usize = 4;
const FLAGS: usize = 8;

const RUNNING: u32 = 1 << 6;
const LOWER_UP: u32 = 1 << 16;

/// `IFLA_STATS64`, and the place of `rx_otherhost_dropped` in it.
const STATS: u16 = 23;
const OTHER_HOST: usize = 24;

/// What is said of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// It is up, and can send.
    pub running: bool,
    /// Its device is up.
    pub lower_up: bool,
    /// Frames were dropped that are for other stations.
    pub other_host: Option<u64>,
}

/// Asks about an interface.
pub fn read(index: u32) -> Result<Told> {
    let mut request = [0; HEADER];
    request[INDEX..INDEX + 4].copy_from_slice(&index.to_ne_bytes());
    let answer = Netlink::route()?.ask(GET, Ask::One, &request)?;
    let told = answer.first().and_then(|message| told(&message.body));
    told.context("the kernel tells nothing of it")
}

fn told(body: &[u8]) -> Option<Told> {
    let flags = word(body.get(FLAGS..)?)?;
    let stats = find(body.get(HEADER..)?, STATS);
    let other_host = stats.and_then(|stats| stats.get(8 * OTHER_HOST..8 * (OTHER_HOST + 1)));
    Some(Told {
        running: flags & RUNNING != 0,
        lower_up: flags & LOWER_UP != 0,
        other_host: other_host.and_then(number),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::netlink::attribute, *};

    fn body(flags: u32, counters: usize) -> Vec<u8> {
        let mut body = vec![0; HEADER];
        body[FLAGS..FLAGS + 4].copy_from_slice(&flags.to_ne_bytes());
        let stats: Vec<u8> = (0..u64::try_from(counters).expect("a count"))
            .flat_map(u64::to_ne_bytes)
            .collect();
        body.extend(attribute(STATS, &stats).expect("statistics"));
        body
    }

    #[test]
    fn flags_and_counters_are_read() {
        let wanted = Told {
            running: true,
            lower_up: true,
            other_host: Some(24),
        };
        assert_eq!(told(&body(0x11043, 25)), Some(wanted));
        // It is up, and its device has no link; and the kernel is old.
        let wanted = Told {
            running: false,
            lower_up: false,
            other_host: None,
        };
        assert_eq!(told(&body(0x1003, 24)), Some(wanted));
        assert_eq!(told(&[0; 9]), None);
    }

    #[test]
    fn the_kernel_is_asked() {
        // The loopback interface has no link that could go down.
        let told = read(1).expect("an answer");
        assert_eq!(told.other_host, Some(0));
    }
}
