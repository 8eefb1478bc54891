// SPDX-License-Identifier: GPL-2.0

//! The format pcapng, as far as frames of one interface need it: the header of a section, the
//! description of an interface, and packets.

use anyhow::{Context, Result, bail, ensure};
use std::{fs::File, io::Write, time::Duration};

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const PACKET: u32 = 6;
const MAGIC: u32 = 0x1a2b_3c4d;
const ETHERNET: u16 = 1;
const OPTION_END: u16 = 0;
/// Of any block: a text for people.
const OPTION_COMMENT: u16 = 1;
/// Of an interface.
const OPTION_NAME: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
/// Of a packet: bits, of which the lowest two tell the direction.
const OPTION_FLAGS: u16 = 2;
/// Times are in units of 10^-9 s.
const NANOSECONDS: u8 = 9;

/// Which way a frame goes, as the port sees it that is written about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// It comes in there.
    In,
    /// It leaves there.
    Out,
}

impl Direction {
    fn flags(self) -> u32 {
        match self {
            Self::In => 1,
            Self::Out => 2,
        }
    }
}

/// A file that is written. Each frame is in it when the call that writes it returns.
#[derive(Debug)]
pub struct Pcapng(File);

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().next_multiple_of(4), 0);
    padded
}

fn block(kind: u32, body: &[u8]) -> Result<Vec<u8>> {
    let length = u32::try_from(body.len() + 12)?;
    let mut block = kind.to_le_bytes().to_vec();
    block.extend(length.to_le_bytes());
    block.extend(body);
    block.extend(length.to_le_bytes());
    Ok(block)
}

fn option(code: u16, value: &[u8]) -> Result<Vec<u8>> {
    let mut option = code.to_le_bytes().to_vec();
    option.extend(u16::try_from(value.len())?.to_le_bytes());
    option.extend(padded(value));
    Ok(option)
}

impl Pcapng {
    /// Begins a file, of an interface with a name.
    pub fn new(mut file: File, name: &str) -> Result<Self> {
        let mut section = MAGIC.to_le_bytes().to_vec();
        section.extend([1, 0, 0, 0]);
        // It is not known how long it will be.
        section.extend([0xff; 8]);
        let mut interface = ETHERNET.to_le_bytes().to_vec();
        interface.extend([0; 6]);
        interface.extend(option(OPTION_NAME, name.as_bytes())?);
        interface.extend(option(OPTION_RESOLUTION, &[NANOSECONDS])?);
        interface.extend(option(OPTION_END, &[])?);
        let begin = [block(SECTION, &section)?, block(INTERFACE, &interface)?].concat();
        file.write_all(&begin)?;
        Ok(Self(file))
    }

    /// Writes a frame, when it came since 1970, which way it goes, and what there is to say of it.
    pub fn write(
        &mut self,
        time: Duration,
        frame: &[u8],
        direction: Direction,
        comment: Option<&str>,
    ) -> Result<()> {
        let time = u64::try_from(time.as_nanos())?;
        let [a, b, c, d, e, f, g, h] = time.to_le_bytes();
        let length = u32::try_from(frame.len())?.to_le_bytes();
        let mut body = vec![0; 4];
        body.extend([e, f, g, h, a, b, c, d]);
        body.extend(length);
        body.extend(length);
        body.extend(padded(frame));
        body.extend(option(OPTION_FLAGS, &direction.flags().to_le_bytes())?);
        if let Some(comment) = comment {
            body.extend(option(OPTION_COMMENT, comment.as_bytes())?);
        }
        body.extend(option(OPTION_END, &[])?);
        Ok(self.0.write_all(&block(PACKET, &body)?)?)
    }
}

/// The frames of a file, with their times.
pub struct Packets;

/// Reads integers in the order that a section has.
#[derive(Clone, Copy)]
struct Order {
    little: bool,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> Result<u16> {
        let pair: [u8; 2] = bytes.get(at..at + 2).context("it is cut off")?.try_into()?;
        Ok(if self.little {
            u16::from_le_bytes(pair)
        } else {
            u16::from_be_bytes(pair)
        })
    }

    fn u32(self, bytes: &[u8], at: usize) -> Result<u32> {
        let four: [u8; 4] = bytes.get(at..at + 4).context("it is cut off")?.try_into()?;
        Ok(if self.little {
            u32::from_le_bytes(four)
        } else {
            u32::from_be_bytes(four)
        })
    }
}

/// An interface: how many units of time a second has.
#[derive(Clone, Copy)]
struct Interface {
    units: u64,
    ethernet: bool,
}

impl Packets {
    /// Reads the frames of all interfaces that are Ethernet.
    pub fn read(bytes: &[u8]) -> Result<Vec<(Duration, Vec<u8>)>> {
        let mut order = Order { little: true };
        let (mut interfaces, mut packets) = (Vec::new(), Vec::new());
        let mut rest = bytes;
        ensure!(
            order.u32(rest, 0).is_ok_and(|kind| kind == SECTION),
            "it is not of format pcapng"
        );
        while !rest.is_empty() {
            let kind = order.u32(rest, 0)?;
            if kind == SECTION {
                order.little = Order { little: true }.u32(rest, 8)? == MAGIC;
                ensure!(
                    order.u32(rest, 8)? == MAGIC,
                    "a section has no magic number"
                );
                interfaces.clear();
            }
            let length = usize::try_from(order.u32(rest, 4)?)?;
            ensure!(
                length >= 12 && length <= rest.len() && length.is_multiple_of(4),
                "a block of {length} bytes"
            );
            let (block, after) = rest.split_at(length);
            rest = after;
            let body = block.get(8..length - 4).unwrap_or_default();
            match kind {
                INTERFACE => interfaces.push(interface(order, body)?),
                PACKET => {
                    let at = usize::try_from(order.u32(body, 0)?)?;
                    let interface: &Interface = interfaces.get(at).context("no interface")?;
                    let units =
                        u64::from(order.u32(body, 4)?) << 32 | u64::from(order.u32(body, 8)?);
                    let length = usize::try_from(order.u32(body, 12)?)?;
                    let frame = body.get(20..).and_then(|data| data.get(..length));
                    let frame = frame.context("a packet is cut off")?.to_vec();
                    if interface.ethernet {
                        packets.push((time(units, interface.units), frame));
                    }
                }
                SIMPLE_PACKET => bail!("it has packets without times"),
                _ => {}
            }
        }
        Ok(packets)
    }
}

fn interface(order: Order, body: &[u8]) -> Result<Interface> {
    let ethernet = order.u16(body, 0)? == ETHERNET;
    let mut units = 1_000_000;
    let mut options = body.get(8..).unwrap_or_default();
    while !options.is_empty() {
        let code = order.u16(options, 0)?;
        let length = usize::from(order.u16(options, 2)?);
        if code == OPTION_END {
            break;
        }
        if code == OPTION_RESOLUTION {
            let value = *options.get(4).context("an option is cut off")?;
            let power = u32::from(value & 0x7f);
            let base: u64 = if value & 0x80 == 0 { 10 } else { 2 };
            units = base
                .checked_pow(power)
                .context("a resolution is too fine")?;
        }
        let next = 4 + length.next_multiple_of(4);
        options = options.get(next..).context("an option is cut off")?;
    }
    Ok(Interface { units, ethernet })
}

fn time(count: u64, units: u64) -> Duration {
    let seconds = Duration::from_secs(count / units.max(1));
    let rest = u128::from(count % units.max(1)) * 1_000_000_000 / u128::from(units.max(1));
    seconds + Duration::from_nanos(u64::try_from(rest).unwrap_or(0))
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::memory::tests::file;
    use std::os::unix::fs::FileExt;

    fn written() -> Vec<u8> {
        let file = file(0);
        let mut pcapng = Pcapng::new(file.try_clone().expect("a file"), "port").expect("a begin");
        for (at, length) in [(1_000_000_001, 60), (2_500_000_000, 61), (2_500_000_000, 0)] {
            let frame = vec![0xa5; length];
            let time = Duration::from_nanos(at);
            let result = pcapng.write(time, &frame, Direction::Out, None);
            result.expect("a frame");
        }
        let length = file.metadata().expect("a length").len();
        let mut bytes = vec![0; usize::try_from(length).expect("a length")];
        file.read_exact_at(&mut bytes, 0).expect("a read");
        bytes
    }

    /// What is told of a packet: its flags, and its comment.
    pub type Told = (u32, Option<String>);

    /// Returns what is told of each packet of a file that was written here.
    pub fn told(mut bytes: &[u8]) -> Vec<Told> {
        let word = |bytes: &[u8], at: usize| -> usize {
            let word = bytes[at..at + 4].try_into().expect("four bytes");
            usize::try_from(u32::from_le_bytes(word)).expect("a length")
        };
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (block, rest) = bytes.split_at(word(bytes, 4));
            bytes = rest;
            if word(block, 0) != 6 {
                continue;
            }
            let (mut flags, mut comment) = (0, None);
            let mut options = &block[28 + word(block, 20).next_multiple_of(4)..block.len() - 4];
            while let [code, 0, length, 0, ..] = options {
                let value = &options[4..4 + usize::from(*length)];
                match code {
                    1 => comment = Some(String::from_utf8(value.to_vec()).expect("a text")),
                    2 => flags = u32::from_le_bytes(value.try_into().expect("flags")),
                    _ => {}
                }
                options = &options[4 + value.len().next_multiple_of(4)..];
            }
            all.push((flags, comment));
        }
        all
    }

    #[test]
    fn directions_and_comments_are_told() {
        let file = file(0);
        let mut pcapng = Pcapng::new(file.try_clone().expect("a file"), "port").expect("a begin");
        for (length, direction, comment) in [
            (60, Direction::In, None),
            (61, Direction::Out, Some("lost")),
            (62, Direction::In, Some("a comment")),
        ] {
            let result = pcapng.write(Duration::ZERO, &vec![1; length], direction, comment);
            result.expect("a frame");
        }
        let length = file.metadata().expect("a length").len();
        let mut bytes = vec![0; usize::try_from(length).expect("a length")];
        file.read_exact_at(&mut bytes, 0).expect("a read");

        let comment = |text: &str| Some(text.to_owned());
        let wanted = [(1, None), (2, comment("lost")), (1, comment("a comment"))];
        assert_eq!(told(&bytes), wanted);
        let lengths = Packets::read(&bytes).expect("packets");
        let lengths: Vec<_> = lengths.iter().map(|(_, frame)| frame.len()).collect();
        assert_eq!(lengths, [60, 61, 62]);
    }

    #[test]
    fn what_is_written_is_read() {
        let packets = Packets::read(&written()).expect("packets");
        let told: Vec<_> = packets
            .iter()
            .map(|(time, bytes)| (time.as_nanos(), bytes.len()))
            .collect();
        assert_eq!(
            told,
            [(1_000_000_001, 60), (2_500_000_000, 61), (2_500_000_000, 0)]
        );
    }

    #[test]
    fn what_is_no_file_of_this_kind_is_refused() {
        let bytes = written();
        assert!(Packets::read(b"").is_err());
        assert!(Packets::read(b"hello, world").is_err());
        for end in 1..bytes.len() {
            // Never a panic; and what ends between two blocks is a shorter file.
            if let Ok(packets) = Packets::read(&bytes[..end]) {
                assert!(packets.len() < 3);
            }
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0xff;
            let _ = Packets::read(&changed);
        }
    }
}
