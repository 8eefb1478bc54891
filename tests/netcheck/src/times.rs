// SPDX-License-Identifier: GPL-2.0

//! How long answers take.

use crate::{
    tcp::{self, Server},
    udp,
};
use anyhow::Result;
use std::{collections::BTreeMap, time::Instant};

/// Something that is answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A datagram of one byte.
    Datagram,
    /// A connection, which is opened, answered, and closed.
    Connection,
}

/// Has so many answered, one after the other, and prints how many took how many nanoseconds.
pub fn run(to: &Server, what: What, count: u32) -> Result<()> {
    let client = udp::Client::new(to, None)?;
    let mut times = BTreeMap::<u128, u32>::new();
    for _ in 0..count {
        let start = Instant::now();
        match what {
            What::Datagram => client.exchange(1).map(|_| ())?,
            What::Connection => tcp::ask(to)?,
        }
        *times.entry(start.elapsed().as_nanos()).or_default() += 1;
    }
    for (time, count) in times {
        println!("{time} {count}");
    }
    Ok(())
}
