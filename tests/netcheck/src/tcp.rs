// SPDX-License-Identifier: GPL-2.0

//! Transfers over TCP, in both directions at once.
//!
//! The client says in a header which bytes come from either end. The server ends with a word that
//! tells whether it got its own.

use anyhow::{Context, Result, anyhow, bail, ensure};
use netcheck::pattern::Pattern;
use std::{
    fmt,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

/// How long nothing may move for a server: longer than the kernel waits between several attempts.
const STALL: Duration = Duration::from_secs(25);

/// How much is sent with a call: no divisor of anything that a driver has.
const CHUNK: usize = 60_013;

/// The word at the end: all is well.
const RIGHT: u64 = u64::MAX;

/// A server, as its client sees it.
pub struct Server {
    /// Its address.
    pub address: IpAddr,
    /// Its port.
    pub port: u16,
    /// How long nothing may move over TCP.
    pub patience: Duration,
}

/// Bytes that arrived were not those that were sent. Whatever else ends a transfer is an error of
/// the network, which may be allowed.
#[derive(Debug)]
pub struct Corrupt(pub String);

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CORRUPT: {}", self.0)
    }
}

impl std::error::Error for Corrupt {}

/// Serves clients until the process ends.
pub fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("::", port)).context("listening with TCP")?;
    for stream in listener.incoming() {
        // A connection may break before it is accepted.
        let Ok(stream) = stream else { continue };
        thread::spawn(move || {
            if let Err(error) = answer(stream) {
                println!("tcp: {error:#}");
            }
        });
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let [seed, up, down] = [
        read_word(&mut stream)?,
        read_word(&mut stream)?,
        read_word(&mut stream)?,
    ];
    let writer = stream.try_clone()?;
    let sender = thread::spawn(move || send(writer, !seed, down));
    let received = receive(&mut stream, seed, up);
    joined(sender)?;
    let end = match &received {
        Ok(None) => RIGHT,
        Ok(Some(at)) => *at,
        Err(_) => return received.map(|_| ()),
    };
    stream.write_all(&end.to_le_bytes())?;
    if end != RIGHT {
        bail!(Corrupt(format!("byte {end} of {up} from the client")));
    }
    Ok(())
}

/// Sends `up` bytes, and gets `down` bytes; both ends check them.
pub fn transfer(to: &Server, seed: u64, up: u64, down: u64) -> Result<()> {
    let mut stream = begin(to, [seed, up, down])?;
    let writer = stream.try_clone()?;
    let sender = thread::spawn(move || send(writer, seed, up));
    if let Some(at) = receive(&mut stream, !seed, down)? {
        bail!(Corrupt(format!("byte {at} of {down} from the server")));
    }
    joined(sender)?;
    finish(stream, up)
}

/// Opens a connection, has it answered, and closes it.
pub fn ask(to: &Server) -> Result<()> {
    finish(begin(to, [0; 3])?, 0)
}

/// Connects, and sends the header.
fn begin(to: &Server, header: [u64; 3]) -> Result<TcpStream> {
    let address = SocketAddr::new(to.address, to.port);
    let mut stream = TcpStream::connect_timeout(&address, to.patience).context("connecting")?;
    stream.set_read_timeout(Some(to.patience))?;
    stream.set_write_timeout(Some(to.patience))?;
    stream.write_all(header.map(u64::to_le_bytes).as_flattened())?;
    Ok(stream)
}

/// Waits for the server to say that it got so many bytes.
fn finish(mut stream: TcpStream, up: u64) -> Result<()> {
    let end = read_word(&mut stream).context("waiting for the server's verdict")?;
    if end != RIGHT {
        bail!(Corrupt(format!("byte {end} of {up} to the server")));
    }
    Ok(())
}

fn joined(sender: thread::JoinHandle<Result<()>>) -> Result<()> {
    sender.join().map_err(|_| anyhow!("a thread panics"))?
}

fn send(mut stream: TcpStream, seed: u64, bytes: u64) -> Result<()> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        pattern.fill(&mut buffer[..count]);
        stream
            .write_all(&buffer[..count])
            .with_context(|| format!("sending, {left} of {bytes} bytes before the end"))?;
        left -= count as u64;
    }
    Ok(())
}

/// Returns the place of the first wrong byte.
fn receive(stream: &mut TcpStream, seed: u64, bytes: u64) -> Result<Option<u64>> {
    let mut pattern = Pattern::new(seed);
    let mut buffer = vec![0; CHUNK];
    let mut left = bytes;
    let mut wrong = None;
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let count = match stream.read(&mut buffer[..most]) {
            // A sleep of the machine ends a read that has a time limit.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => {
                read.with_context(|| format!("receiving, {left} of {bytes} bytes before the end"))?
            }
        };
        ensure!(count > 0, "the other end closes {left} bytes too early");
        if let Err(at) = pattern.check(&buffer[..count]) {
            wrong.get_or_insert(at);
        }
        left -= count as u64;
    }
    Ok(wrong)
}

fn read_word(stream: &mut TcpStream) -> Result<u64> {
    let mut word = [0; 8];
    stream.read_exact(&mut word)?;
    Ok(u64::from_le_bytes(word))
}
