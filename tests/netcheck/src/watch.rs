// SPDX-License-Identifier: GPL-2.0

//! Frames of a type of our own, as the kernel gets them from its network devices.

use anyhow::{Context, Result, bail, ensure};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};

/// The type for local experiments (IEEE 802, 9.2.4).
pub const ETHERTYPE: u16 = 0x88b5;

/// All types, for a socket (`ETH_P_ALL`).
const ALL: u32 = 3;

/// Prints the text of each frame: behind the header is its length, 2 bytes, and the text. What follows
/// is made of the byte `~`; if not, that is said. Ends after the text `end`.
pub fn run() -> Result<()> {
    let protocol = Protocol::from_raw((ALL << 8).try_into().context("a protocol")?);
    let socket = socket_with(
        AddressFamily::PACKET,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        Some(protocol),
    )
    .context("making a packet socket")?;
    println!("ready");
    let mut buffer = vec![0; 70_000];
    loop {
        let (size, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let frame = &buffer[..size];
        if frame.get(12..14) != Some(&ETHERTYPE.to_be_bytes()) {
            continue;
        }
        match parse(&frame[14..]) {
            Ok("end") => return Ok(()),
            Ok(text) => println!("{text} {size}"),
            Err(error) => println!("a frame of {size} bytes: {error:#}"),
        }
    }
}

fn parse(body: &[u8]) -> Result<&str> {
    let [high, low, rest @ ..] = body else {
        bail!("it has no length");
    };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    ensure!(length <= rest.len(), "CORRUPT: its length is {length}");
    let (text, filling) = rest.split_at(length);
    // Short frames are padded with zeroes on their way.
    ensure!(
        filling.iter().all(|&byte| byte == b'~') || filling.iter().all(|&byte| byte == 0),
        "CORRUPT: its filling is wrong"
    );
    std::str::from_utf8(text).context("CORRUPT: its text is wrong")
}
