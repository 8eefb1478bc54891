// SPDX-License-Identifier: GPL-2.0

//! The command line.

use crate::{blk, control::COMMANDS, rule::ACTIONS, service::Meeting};
use anyhow::{Context, Result, bail, ensure};
use lexopt::prelude::*;
use std::path::PathBuf;

const USAGE: &str = "\
virtio-backend [--control PATH] DEVICE ...

Serves virtio devices over vhost-user, and lies on request. It ends on SIGTERM.

    --control PATH   listen at this socket for commands
    --blk SPEC       a disk, as KEY=VALUE,...

Keys of a disk:

    name=NAME           what it is called on the control socket (blk0, ...)
    socket=PATH         listen here for QEMU (a chardev with reconnect-ms=...)
    connect=PATH        or connect to QEMU here (a chardev with server=on)
    file=PATH           its sectors are in this file,
    ram=SIZE            or in memory (64M, ...),
    null=SIZE           or they are all zeroes
    read-only           it cannot be written
    write-through       its cache writes through, until the driver switches that
    serial=TEXT         its name for the guest
    queues=N            the most queues (8): QEMU uses one for each CPU
    block-size=N        bytes in a block (512)
    physical-exponent=N a physical block has 2^N blocks (3)
    segments=N          the most segments in a request (126)
    segment-bytes=N     the most bytes in a segment
    latency=US          each request takes so many microseconds
    without=F:F:...     features that are not offered, such as ring_packed:flush
";

/// A device to be.
#[derive(Debug)]
pub struct DeviceOptions {
    /// Its name.
    pub name: String,
    /// How QEMU and it meet.
    pub meeting: Meeting,
    /// How many microseconds each request takes.
    pub latency: u64,
    /// What it is.
    pub blk: blk::Options,
}

/// What the program is to do.
#[derive(Debug, Default)]
pub struct Options {
    /// Where to listen for commands.
    pub control: Option<PathBuf>,
    /// The devices.
    pub devices: Vec<DeviceOptions>,
}

/// Reads the command line. Returns nothing if it asks only for help.
pub fn read(mut arguments: lexopt::Parser) -> Result<Option<Options>> {
    let mut options = Options::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("control") => options.control = Some(arguments.value()?.into()),
            Long("blk") => {
                let spec = arguments.value()?.string()?;
                let number = options.devices.len();
                let device = disk(&spec, number).with_context(|| format!("--blk {spec}"))?;
                options.devices.push(device);
            }
            Long("help") | Short('h') => {
                print!("{}", help());
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    ensure!(
        !options.devices.is_empty(),
        "there is no device; see --help"
    );
    let mut names: Vec<_> = options.devices.iter().map(|device| &device.name).collect();
    names.sort();
    names.dedup();
    ensure!(
        names.len() == options.devices.len(),
        "two devices have the same name"
    );
    Ok(Some(options))
}

fn help() -> String {
    let mut text = format!(
        "{USAGE}
Commands of the control socket are lines such as
{{\"command\": \"inject\", \"device\": \"blk0\", \"do\": \"fail\", \"op\": \"read\", \"count\": 1}}
and each is answered by a line with \"ok\" or \"error\". The device may be left out if there is one.

"
    );
    for (name, what) in COMMANDS {
        text += &format!("    {name:12} {what}\n");
    }
    text += "\nWhat a rule can do:\n\n";
    for (name, default, what) in ACTIONS {
        let default = default.map_or(String::new(), |value| format!(" ({value})"));
        text += &format!("    {name:12} {what}{default}\n");
    }
    text
}

/// Reads a number of bytes.
fn size(text: &str) -> Result<u64> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'M' | b'm') => (text.get(..text.len() - 1), 1 << 20),
        Some(b'G' | b'g') => (text.get(..text.len() - 1), 1 << 30),
        _ => (Some(text), 1_u64),
    };
    let number: u64 = digits.unwrap_or_default().parse()?;
    number.checked_mul(factor).context("that is too large")
}

fn disk(spec: &str, number: usize) -> Result<DeviceOptions> {
    let mut name = format!("blk{number}");
    let (mut meeting, mut medium, mut latency) = (None, None, 0);
    let mut blk = blk::Options::new(blk::Medium::Null(0));
    for part in spec.split(',') {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        match key {
            "name" => name = value.to_owned(),
            "socket" => meeting = Some(Meeting::Listen(value.into())),
            "connect" => meeting = Some(Meeting::Connect(value.into())),
            "file" => medium = Some(blk::Medium::File(value.into())),
            "ram" => medium = Some(blk::Medium::Ram(size(value)?)),
            "null" => medium = Some(blk::Medium::Null(size(value)?)),
            "read-only" => blk.read_only = true,
            "write-through" => blk.write_back = false,
            "serial" => value.clone_into(&mut blk.serial),
            "queues" => blk.queues = value.parse()?,
            "block-size" => blk.block_size = value.parse()?,
            "physical-exponent" => blk.physical_exponent = value.parse()?,
            "segments" => blk.segments = value.parse()?,
            "segment-bytes" => blk.segment_bytes = Some(value.parse()?),
            "latency" => latency = value.parse()?,
            "without" => {
                for feature in value.split(':') {
                    blk.without = blk.without.with(blk::feature(feature)?);
                }
            }
            _ => bail!("a disk has no {key}"),
        }
    }
    blk.medium = medium.context("file, ram or null is missing")?;
    ensure!(blk.queues > 0, "a disk needs a queue");
    Ok(DeviceOptions {
        name,
        meeting: meeting.context("socket or connect is missing")?,
        latency,
        blk,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use virtio_wire::blk::Feature;

    fn parse(arguments: &[&str]) -> Result<Options> {
        let parser = lexopt::Parser::from_args(arguments);
        read(parser).map(|options| options.expect("no help"))
    }

    #[test]
    fn a_disk_is_described() {
        let spec = "name=d,socket=/s,ram=1M,read-only,queues=4,without=flush:VIRTIO_F_RING_PACKED";
        let options = parse(&["--control", "/c", "--blk", spec]).expect("options");
        let device = &options.devices[0];

        assert_eq!(options.control, Some("/c".into()));
        assert_eq!(device.name, "d");
        assert_eq!(device.meeting, Meeting::Listen("/s".into()));
        assert_eq!(device.blk.medium, blk::Medium::Ram(1 << 20));
        assert!(device.blk.read_only);
        assert_eq!(device.blk.queues, 4);
        assert!(device.blk.without.contains(Feature::FLUSH));
        assert!(device.blk.without.contains(Feature::RING_PACKED));
    }

    #[test]
    fn what_is_missing_is_said() {
        for (arguments, why) in [
            (&[][..], "there is no device; see --help"),
            (&["--blk", "socket=/s"], "file, ram or null is missing"),
            (&["--blk", "ram=1M"], "socket or connect is missing"),
            (
                &["--blk", "ram=1M,socket=/s,speed=9"],
                "a disk has no speed",
            ),
            (
                &["--blk", "ram=1M,socket=/s,queues=0"],
                "a disk needs a queue",
            ),
            (
                &[
                    "--blk",
                    "ram=1,socket=/s,name=x",
                    "--blk",
                    "ram=1,socket=/t,name=x",
                ],
                "two devices have the same name",
            ),
        ] {
            let error = parse(arguments).expect_err("an error");
            assert_eq!(error.root_cause().to_string(), why);
        }
    }

    #[test]
    fn the_help_names_everything() {
        let help = help();
        for (name, ..) in ACTIONS {
            assert!(help.contains(name));
        }
        assert!(help.lines().all(|line| line.len() <= 100));
    }
}
