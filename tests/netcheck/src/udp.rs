// SPDX-License-Identifier: GPL-2.0

//! Datagrams, which the server answers with their complement. They may get lost; one that comes must
//! be right.

use crate::tcp::{Corrupt, Server};
use anyhow::{Context, Result, bail, ensure};
use netcheck::pattern::{answer, datagram};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use std::{
    io::ErrorKind,
    net::UdpSocket,
    time::{Duration, Instant},
};

/// The largest datagram, and a byte more to notice one that is too long.
const BUFFER: usize = 65536;

/// How long an answer may take before the datagram is sent again: that may be on a busy host.
const WAIT: Duration = Duration::from_millis(1000);

/// How often.
const ATTEMPTS: u32 = 12;

/// The error of a datagram that is too long for any path (`EMSGSIZE`).
const TOO_LONG: i32 = 90;

/// What the server says if a datagram was not right.
const WRONG: &[u8] = b"netcheck: this datagram was not right";

/// Answers until the process ends.
pub fn serve(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("::", port)).context("binding for UDP")?;
    let mut buffer = vec![0; BUFFER];
    loop {
        // An error may be that of an earlier answer that nobody took.
        let Ok((size, client)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if buffer[..size] == datagram(size) {
            let _ = socket.send_to(&answer(size), client);
        } else {
            println!("udp: CORRUPT: a datagram of {size} bytes from {client}");
            let _ = socket.send_to(WRONG, client);
        }
    }
}

/// One end of datagrams, which the server answers.
pub struct Client {
    socket: UdpSocket,
    segment: Option<u16>,
}

impl Client {
    /// Makes one. With a segment, what is longer is given to the kernel at once to be cut into datagrams of
    /// that size, each of which has an answer.
    pub fn new(to: &Server, segment: Option<u16>) -> Result<Self> {
        let any = if to.address.is_ipv4() {
            "0.0.0.0"
        } else {
            "::"
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((to.address, to.port))?;
        if let Some(segment) = segment {
            ensure!(segment > 0, "a segment has no bytes");
            setsockopt(&socket, UdpGsoSegment, &segment.into()).context("cutting datagrams")?;
        }
        Ok(Self { socket, segment })
    }

    /// Sends a datagram, and waits for its answer. Returns how often it was sent again.
    pub fn exchange(&self, size: usize) -> Result<u32> {
        let sizes = cut(size, self.segment);
        for again in 0..ATTEMPTS {
            let is_answered = try_once(&self.socket, &sizes)
                .with_context(|| format!("a datagram of {size} bytes"))?;
            if is_answered {
                return Ok(again);
            }
        }
        bail!("a datagram of {size} bytes has no answer after {ATTEMPTS} attempts");
    }
}

/// Returns the sizes of the datagrams that so many bytes are cut into.
fn cut(size: usize, segment: Option<u16>) -> Vec<usize> {
    let segment = segment.map_or(usize::MAX, usize::from);
    if size <= segment {
        return vec![size];
    }
    let mut pieces = vec![segment; size / segment];
    pieces.extend(Some(size % segment).filter(|&rest| rest > 0));
    pieces
}

/// Sends datagrams of these sizes at once. Returns whether all answers came.
fn try_once(socket: &UdpSocket, sizes: &[usize]) -> Result<bool> {
    let sent: Vec<u8> = sizes.iter().flat_map(|&size| datagram(size)).collect();
    match socket.send(&sent) {
        Ok(_) => {}
        // There is no memory, link, route or server now, or this is told of an earlier one.
        Err(error) if error.raw_os_error() != Some(TOO_LONG) => {
            std::thread::sleep(WAIT / 4);
            return Ok(false);
        }
        Err(error) => return Err(error).context("it cannot be sent"),
    }
    let deadline = Instant::now() + WAIT;
    let mut buffer = vec![0; BUFFER];
    let mut missing = sizes.to_vec();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let got = match socket.recv(&mut buffer) {
            Ok(count) => &buffer[..count],
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(false);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => {
                std::thread::sleep(WAIT / 4);
                return Ok(false);
            }
        };
        if got == WRONG {
            bail!(Corrupt(format!("{} bytes to the server", sent.len())));
        }
        // Late answers to earlier ones may come, too.
        if got != answer(got.len()) {
            bail!(Corrupt(format!("{} bytes from the server", got.len())));
        }
        if let Some(at) = missing.iter().position(|&size| size == got.len()) {
            missing.swap_remove(at);
        }
        if missing.is_empty() {
            return Ok(true);
        }
    }
}

/// Prints the text of the datagrams that come to a port, until the process ends.
pub fn print(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("::", port)).context("binding for UDP")?;
    println!("ready");
    let mut buffer = vec![0; BUFFER];
    loop {
        let size = socket.recv(&mut buffer)?;
        println!("{}", String::from_utf8_lossy(&buffer[..size]).trim_end());
    }
}
