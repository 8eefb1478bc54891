// SPDX-License-Identifier: GPL-2.0

//! Questions to the kernel by netlink.
//!
//! A *message* has a kind, and a body: a structure of its kind, and *attributes* behind it, which have a
//! kind and a value each. See `Documentation/userspace-api/netlink` of the kernel.

use anyhow::{Context, Result, bail, ensure};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv,
        send, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};
use std::time::Duration;

/// How long the kernel may take. It answers at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longer than any part of an answer.
const BUFFER: usize = 64 << 10;

/// The header of a message.
const HEADER: usize = 16;

/// The header of an attribute.
const ATTRIBUTE: usize = 4;

const ERROR: u16 = 2;
const DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;

/// The bits of the kind of an attribute that are not flags.
const KIND: u16 = 0x3fff;

/// The kind of a message that asks for a family of generic netlink, and its parts.
const CONTROL: u16 = 16;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One thing.
    One,
    /// All of a kind.
    All,
}

/// A message of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its kind.
    pub kind: u16,
    /// Its structure, and its attributes.
    pub body: Vec<u8>,
}

/// Somebody to ask.
#[derive(Debug)]
pub struct Netlink {
    socket: OwnedFd,
    sequence: u32,
}

impl Netlink {
    /// Asks about interfaces, and what belongs to them.
    pub fn route() -> Result<Self> {
        Self::open(None)
    }

    /// Asks families that have a name.
    pub fn generic() -> Result<Self> {
        Self::open(Some(netlink::GENERIC))
    }

    fn open(protocol: Option<Protocol>) -> Result<Self> {
        let (family, flags) = (AddressFamily::NETLINK, SocketFlags::CLOEXEC);
        // The protocol about interfaces is the first.
        let socket = socket_with(family, SocketType::RAW, flags, protocol);
        let socket = socket.context("making a netlink socket")?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self {
            socket,
            sequence: 0,
        })
    }

    /// Asks, and returns all messages of the answer.
    pub fn ask(&mut self, kind: u16, ask: Ask, body: &[u8]) -> Result<Vec<Message>> {
        self.sequence += 1;
        let flags = match ask {
            Ask::One => REQUEST | ACK,
            Ask::All => REQUEST | DUMP,
        };
        let request = request(kind, flags, self.sequence, body)?;
        let sent = send(&self.socket, &request, SendFlags::empty())?;
        ensure!(sent == request.len(), "a request was not sent as a whole");

        let mut answer = Vec::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let (size, whole) = match recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Err(Errno::INTR) => continue,
                result => result?,
            };
            ensure!(size == whole, "an answer of {whole} bytes is too long");
            let bytes = buffer.get(..size).unwrap_or_default();
            if collect(bytes, self.sequence, &mut answer)? {
                return Ok(answer);
            }
        }
    }

    /// Asks a family of generic netlink, which it calls by its name. Bodies of the answer begin with
    /// attributes.
    pub fn ask_family(
        &mut self,
        family: &str,
        command: u8,
        ask: Ask,
        attributes: &[u8],
    ) -> Result<Vec<Message>> {
        let name = [family.as_bytes(), &[0]].concat();
        let body = [generic(GET_FAMILY), attribute(FAMILY_NAME, &name)?].concat();
        let found = self.ask(CONTROL, Ask::One, &body)?;
        let id = found
            .iter()
            .flat_map(|message| self::attributes(message.body.get(4..).unwrap_or_default()))
            .find(|(kind, _)| *kind == FAMILY_ID)
            .and_then(|(_, value)| number(value))
            .and_then(|id| u16::try_from(id).ok())
            .with_context(|| format!("the kernel has no family {family}"))?;
        let body = [&generic(command)[..], attributes].concat();
        let mut answer = self.ask(id, ask, &body)?;
        for message in &mut answer {
            message.body = message.body.get(4..).unwrap_or_default().to_vec();
        }
        Ok(answer)
    }
}

/// Makes the structure of a message of generic netlink.
fn generic(command: u8) -> Vec<u8> {
    vec![command, 1, 0, 0]
}

fn request(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = u32::try_from(HEADER + body.len())?.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    // Who asks: the kernel knows.
    bytes.extend([0; 4]);
    bytes.extend(body);
    Ok(bytes)
}

/// Makes an attribute.
pub fn attribute(kind: u16, value: &[u8]) -> Result<Vec<u8>> {
    let length = u16::try_from(ATTRIBUTE + value.len())?;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Ok(bytes)
}

/// Adds the messages that are an answer to a request. Returns whether it was the end.
fn collect(bytes: &[u8], sequence: u32, answer: &mut Vec<Message>) -> Result<bool> {
    let mut left = bytes;
    while let Some(header) = left.get(..HEADER) {
        let length = usize::try_from(word(header).unwrap_or(0))?;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        let body = left.get(HEADER..length);
        let body = body.context("a message is cut")?;
        // An answer to a request that was given up may still come.
        if word(&header[8..]) == Some(sequence) {
            match kind {
                DONE => return Ok(true),
                ERROR => match word(body).map_or(0, u32::cast_signed) {
                    0 => return Ok(true),
                    error => bail!(Errno::from_raw_os_error(error.wrapping_neg())),
                },
                _ => answer.push(Message {
                    kind,
                    body: body.to_vec(),
                }),
            }
        }
        left = left.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

/// Returns all attributes, with their kinds. What is behind one that cannot be is left out.
pub fn attributes(bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let (mut all, mut left) = (Vec::new(), bytes);
    while let Some(header) = left.get(..ATTRIBUTE) {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & KIND;
        let Some(value) = left.get(ATTRIBUTE..length) else {
            break;
        };
        all.push((kind, value));
        left = left.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// Returns the value of an attribute.
pub fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let all = attributes(bytes).into_iter();
    all.filter(|(kind, _)| *kind == wanted)
        .map(|(_, value)| value)
        .next()
}

/// Reads a number, of any length that there is.
pub fn number(value: &[u8]) -> Option<u64> {
    match *value {
        [a] => Some(a.into()),
        [a, b] => Some(u16::from_ne_bytes([a, b]).into()),
        [a, b, c, d] => Some(u32::from_ne_bytes([a, b, c, d]).into()),
        _ => Some(u64::from_ne_bytes(value.try_into().ok()?)),
    }
}

/// Reads the number of 4 bytes that something begins with.
pub fn word(bytes: &[u8]) -> Option<u32> {
    let bytes = bytes.get(..4)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Reads a text, which ends with a zero.
pub fn text(value: &[u8]) -> String {
    let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = request(kind, 0, sequence, body).expect("a message");
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn an_answer_has_several_messages() {
        let bytes = [
            message(28, 7, &[1, 2, 3]),
            message(28, 6, &[9]),
            message(28, 7, &[4]),
        ]
        .concat();
        let mut answer = Vec::new();

        assert!(!collect(&bytes, 7, &mut answer).expect("messages"));
        assert!(collect(&message(DONE, 7, &[0; 4]), 7, &mut answer).expect("the end"));

        let bodies: Vec<_> = answer.iter().map(|message| &message.body[..]).collect();
        assert_eq!(
            bodies,
            [&[1, 2, 3][..], &[4]],
            "that of another request is not in it"
        );
    }

    #[test]
    fn an_error_is_told() {
        let refused = message(ERROR, 7, &(-95_i32).to_ne_bytes());
        let error = collect(&refused, 7, &mut Vec::new()).expect_err("it is refused");
        assert_eq!(error.downcast_ref(), Some(&Errno::OPNOTSUPP));

        let done = message(ERROR, 7, &0_i32.to_ne_bytes());
        assert!(collect(&done, 7, &mut Vec::new()).expect("it is done"));
    }

    #[test]
    fn a_message_that_is_cut_is_an_error() {
        let whole = message(28, 7, &[5; 8]);
        for length in HEADER..whole.len() {
            collect(&whole[..length], 7, &mut Vec::new()).expect_err("it is cut");
        }
    }

    #[test]
    fn attributes_are_what_was_made() {
        let bytes = [
            attribute(1, b"fq\0").expect("a text"),
            attribute(2 | 0x8000, &7_u64.to_ne_bytes()).expect("a number"),
            vec![200, 0, 3, 0, 1],
        ]
        .concat();

        assert_eq!(attributes(&bytes).len(), 2, "the last one is cut");
        assert_eq!(text(find(&bytes, 1).expect("a text")), "fq");
        assert_eq!(find(&bytes, 2).and_then(number), Some(7));
        assert_eq!(find(&bytes, 3), None);
        assert_eq!(number(&[1, 2, 3]), None);
    }

    #[test]
    fn the_kernel_answers() {
        // RTM_GETLINK: everybody has a loopback interface, and may ask for it.
        let mut netlink = Netlink::route().expect("a socket");
        let links = netlink.ask(18, Ask::All, &[0; 16]).expect("an answer");

        assert!(links.iter().any(|link| {
            let attributes = link.body.get(16..).unwrap_or_default();
            find(attributes, 3).map(text).as_deref() == Some("lo")
        }));
    }
}
