// SPDX-License-Identifier: GPL-2.0

//! The services of a station.
//!
//! ===== ==============================================================================
//! 7     TCP and UDP: what comes goes back
//! 9     TCP: what comes is counted
//! 19    TCP: a pattern without an end
//! 5001  TCP: a line says what follows. `send N` has N bytes of the pattern sent back.
//!       `receive` has what follows taken until its end; then a line tells the number of
//!       bytes, their CRC-32 and the microseconds.
//! ===== ==============================================================================

use crate::frame::crc32;
use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use smoltcp::{
    iface::{SocketHandle, SocketSet},
    socket::{tcp, udp},
};
use std::time::{Duration, Instant};

/// What a station has done.
#[derive(Debug, Default)]
pub struct Counters {
    /// Frames were received.
    pub received: u64,
    /// Frames were sent.
    pub sent: u64,
    /// ... that stand for several.
    pub sent_large: u64,
    /// Frames were not what was said of them.
    pub malformed: u64,
    connections: u64,
    datagrams: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Counters {
    /// Describes them.
    pub fn describe(&self) -> Value {
        json!({
            "received": self.received,
            "sent": self.sent,
            "sent_large": self.sent_large,
            "malformed": self.malformed,
            "connections": self.connections,
            "datagrams": self.datagrams,
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        })
    }
}

const ECHO: u16 = 7;
const DISCARD: u16 = 9;
const SOURCE: u16 = 19;
const MEASURE: u16 = 5001;

/// How many connections there can be to each service.
const CONNECTIONS: usize = 4;

/// How much waits in each direction.
const BUFFER: usize = 1 << 18;

/// How long a connection may be silent.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest line.
const LINE: usize = 64;

/// The pattern, which is repeated.
fn pattern(at: u64) -> u8 {
    u8::try_from(at % 251).unwrap_or(0)
}

/// What a connection is about to do.
#[derive(Debug, Default)]
enum State {
    /// Nobody has connected.
    #[default]
    Listening,
    /// It does what its port does.
    Connected,
    /// It sends so many bytes more, from some place of the pattern.
    Sending { left: u64, at: u64 },
    /// It takes what comes.
    Taking {
        bytes: u64,
        crc: u32,
        since: Instant,
    },
    /// It has nothing more to do.
    Closing,
}

#[derive(Debug)]
struct Connection {
    socket: SocketHandle,
    port: u16,
    state: State,
}

/// The services.
#[derive(Debug)]
pub struct Services {
    connections: Vec<Connection>,
    echo: SocketHandle,
}

impl Services {
    /// Listens at all ports.
    pub fn new(sockets: &mut SocketSet<'_>) -> Result<Self> {
        let packets =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; BUFFER]);
        let mut echo = udp::Socket::new(packets(), packets());
        echo.bind(ECHO)
            .map_err(|error| anyhow!("a port is taken: {error}"))?;
        let echo = sockets.add(echo);
        let mut connections = Vec::new();
        for port in [ECHO, DISCARD, SOURCE, MEASURE] {
            for _ in 0..CONNECTIONS {
                let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
                let mut socket = tcp::Socket::new(buffer(), buffer());
                let patience = smoltcp::time::Duration::from_secs(PATIENCE.as_secs());
                socket.set_timeout(Some(patience));
                socket.set_nagle_enabled(false);
                connections.push(Connection {
                    socket: sockets.add(socket),
                    port,
                    state: State::Listening,
                });
            }
        }
        Ok(Self { connections, echo })
    }

    /// Does what there is to do. Returns whether there may be more.
    pub fn serve(&mut self, sockets: &mut SocketSet<'_>, counters: &mut Counters) -> bool {
        let mut busy = false;
        let echo = sockets.get_mut::<udp::Socket<'_>>(self.echo);
        while echo.can_send() {
            let Ok((bytes, from)) = echo.recv() else {
                break;
            };
            let bytes = bytes.to_vec();
            counters.datagrams += 1;
            let _ = echo.send_slice(&bytes, from.endpoint);
            busy = true;
        }
        for connection in &mut self.connections {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(connection.socket);
            busy |= connection.serve(socket, counters);
        }
        busy
    }
}

impl Connection {
    fn serve(&mut self, socket: &mut tcp::Socket<'_>, counters: &mut Counters) -> bool {
        if !socket.is_open() {
            self.state = State::Listening;
            // The port is not 0, and the socket is closed.
            let _ = socket.listen(self.port);
            return false;
        }
        if matches!(self.state, State::Listening) {
            if !socket.is_active() || !socket.may_send() {
                return false;
            }
            counters.connections += 1;
            self.state = match self.port {
                SOURCE => State::Sending {
                    left: u64::MAX,
                    at: 0,
                },
                DISCARD => State::Taking {
                    bytes: 0,
                    crc: 0,
                    since: Instant::now(),
                },
                _ => State::Connected,
            };
        }
        let before = (counters.bytes_in, counters.bytes_out);
        match &mut self.state {
            State::Connected if self.port == ECHO => self.echo(socket, counters),
            State::Connected => self.order(socket, counters),
            State::Sending { left, at } => {
                send(socket, left, at, counters);
                if *left == 0 || !socket.may_send() {
                    self.state = State::Closing;
                    socket.close();
                }
            }
            State::Taking { bytes, crc, since } => {
                take(socket, bytes, crc, counters);
                if !socket.may_recv() {
                    if self.port == MEASURE {
                        let text = json!({
                            "bytes": *bytes,
                            "crc": *crc,
                            "us": u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX),
                        });
                        let _ = socket.send_slice(format!("{text}\n").as_bytes());
                    }
                    self.state = State::Closing;
                    socket.close();
                }
            }
            State::Closing | State::Listening => {
                // What comes all the same is of no use.
                let _ = socket.recv(|bytes| (bytes.len(), ()));
            }
        }
        before != (counters.bytes_in, counters.bytes_out)
    }

    fn echo(&mut self, socket: &mut tcp::Socket<'_>, counters: &mut Counters) {
        let room = socket.send_capacity() - socket.send_queue();
        let bytes = socket.recv(|bytes| {
            let count = bytes.len().min(room);
            (count, bytes.get(..count).unwrap_or_default().to_vec())
        });
        let bytes = bytes.unwrap_or_default();
        let sent = socket.send_slice(&bytes).unwrap_or(0);
        count(&mut counters.bytes_in, bytes.len());
        count(&mut counters.bytes_out, sent);
        if !socket.may_recv() {
            self.state = State::Closing;
            socket.close();
        }
    }

    /// Reads the line that says what follows.
    fn order(&mut self, socket: &mut tcp::Socket<'_>, counters: &mut Counters) {
        let mut line = [0; LINE];
        let there = socket.peek_slice(&mut line).unwrap_or(0);
        let text = line.get(..there).unwrap_or_default();
        let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
            if there == LINE || !socket.may_recv() {
                socket.abort();
            }
            return;
        };
        let text = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
        let _ = socket.recv(|bytes| ((end + 1).min(bytes.len()), ()));
        count(&mut counters.bytes_in, end + 1);
        let mut words = text.split_whitespace();
        self.state = match (words.next(), words.next().map(str::parse)) {
            (Some("send"), Some(Ok(left))) => State::Sending { left, at: 0 },
            (Some("receive"), None) => State::Taking {
                bytes: 0,
                crc: 0,
                since: Instant::now(),
            },
            _ => {
                let _ = socket.send_slice(b"what?\n");
                socket.close();
                State::Closing
            }
        };
    }
}

fn count(counter: &mut u64, by: usize) {
    *counter += u64::try_from(by).unwrap_or(0);
}

fn send(socket: &mut tcp::Socket<'_>, left: &mut u64, at: &mut u64, counters: &mut Counters) {
    while *left > 0 && socket.can_send() {
        let sent = socket.send(|room| {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(room.len());
            for (place, byte) in (*at..).zip(room.iter_mut().take(most)) {
                *byte = pattern(place);
            }
            (most, most)
        });
        let Ok(sent @ 1..) = sent else {
            return;
        };
        count(&mut counters.bytes_out, sent);
        let sent = u64::try_from(sent).unwrap_or(0);
        *left -= sent;
        *at += sent;
    }
}

fn take(socket: &mut tcp::Socket<'_>, bytes: &mut u64, crc: &mut u32, counters: &mut Counters) {
    while socket.can_recv() {
        let taken = socket.recv(|there| {
            *crc = crc32(*crc, there);
            (there.len(), there.len())
        });
        let Ok(taken @ 1..) = taken else {
            return;
        };
        count(&mut counters.bytes_in, taken);
        count(bytes, taken);
    }
}
