// SPDX-License-Identifier: GPL-2.0

//! The command line.

mod file;
mod help;
mod keys;
mod pages;
mod qemu;
mod subcommand;

use crate::{
    blk,
    claim::feature,
    device::WATCH,
    log::Level,
    net,
    port::{self, Large},
    service::Meeting,
    summary::Summary,
};
use anyhow::{Context, Result, anyhow, bail, ensure};
#[cfg(test)]
pub use keys::mac;
use keys::{Keys, PortKeys, size};
use lexopt::prelude::*;
pub use qemu::arguments as qemu_arguments;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use subcommand::Subcommand;

/// What the switch is called on the control socket.
pub const SWITCH: &str = "switch";

/// A device to be.
#[derive(Debug)]
pub struct DeviceOptions {
    /// Its name.
    pub name: String,
    /// How QEMU and it meet.
    pub meeting: Meeting,
    /// How many microseconds each request takes.
    pub latency: u64,
    /// How long after a reset it is looked at what the driver has done since; if zero, never.
    pub watch: Duration,
    /// What it is.
    pub kind: Kind,
}

/// What a device is.
#[derive(Debug)]
pub enum Kind {
    /// A disk.
    Blk(blk::Options),
    /// A network device.
    Net(net::Options),
}

/// What the program is to do.
#[derive(Debug)]
pub struct Options {
    /// Where to listen for commands.
    pub control: Option<PathBuf>,
    /// What to tell the backend that listens there; if there is anything, nothing is served.
    pub tell: Vec<String>,
    /// What is said on standard error.
    pub log: Level,
    /// How it is told at the end what was counted.
    pub summary: Summary,
    /// Whether to show what goes on in that backend, instead.
    pub top: bool,
    /// Where to listen for who wants metrics.
    pub metrics: Option<String>,
    /// Where to write down what is done to drivers.
    pub record: Option<PathBuf>,
    /// What is done to them again.
    pub replay: Option<PathBuf>,
    /// The devices.
    pub devices: Vec<DeviceOptions>,
    /// What is done to requests from the beginning, as commands of the control socket.
    pub rules: Vec<Value>,
    /// What else is at the switch.
    pub ports: Vec<port::Options>,
    /// How long the switch remembers addresses.
    pub ageing: Duration,
}

/// Reads the command line. Returns nothing if it asks only for help.
pub fn read(mut arguments: lexopt::Parser) -> Result<Option<Options>> {
    let mut options = Options {
        control: None,
        tell: Vec::new(),
        log: Level::Warn,
        summary: Summary::Table,
        top: false,
        metrics: None,
        record: None,
        replay: None,
        devices: Vec::new(),
        rules: Vec::new(),
        ports: Vec::new(),
        ageing: Duration::from_secs(300),
    };
    let mut subcommand: Option<Subcommand> = None;
    while let Some(argument) = arguments.next()? {
        match argument {
            lexopt::Arg::Value(word) => match &mut subcommand {
                Some(subcommand) => subcommand.take(word, &mut options)?,
                None => subcommand = Some(Subcommand::named(&word.string()?)?),
            },
            Long("control") => options.control = Some(arguments.value()?.into()),
            Long("tell") => options.tell.push(arguments.value()?.string()?),
            Long("log") => options.log = Level::named(&arguments.value()?.string()?)?,
            Long("summary") => options.summary = Summary::named(&arguments.value()?.string()?)?,
            Long("top") => options.top = true,
            Long("metrics") => options.metrics = Some(arguments.value()?.string()?),
            Long("record") => options.record = Some(arguments.value()?.into()),
            Long("replay") => options.replay = Some(arguments.value()?.into()),
            Long("ageing") => {
                options.ageing = Duration::from_secs(arguments.value()?.parse()?);
            }
            Long("config") => {
                read_file(Path::new(&arguments.value()?), &mut options)?;
            }
            Long(kind @ ("blk" | "net" | "port")) => {
                let kind = kind.to_owned();
                let spec = arguments.value()?.string()?;
                add(&mut options, &kind, Keys::of(&spec))
                    .with_context(|| format!("--{kind} {spec}"))?;
            }
            Long("rule") => {
                let spec = arguments.value()?.string()?;
                let rule = rule(&Keys::of(&spec)).with_context(|| format!("--rule {spec}"))?;
                options.rules.push(rule);
            }
            Long("help") | Short('h') => {
                let of_one = subcommand.as_ref().map(Subcommand::help);
                print!("{}", of_one.unwrap_or_else(help::help));
                return Ok(None);
            }
            Long("man") => {
                print!("{}", pages::man());
                return Ok(None);
            }
            Long("completion") => {
                print!("{}", pages::completion());
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if let Some(subcommand) = subcommand {
        subcommand.finish(&mut options)?;
    }
    check(&options)?;
    Ok(Some(options))
}

/// Reads a file, and adds what it has.
fn read_file(path: &Path, options: &mut Options) -> Result<()> {
    file::read(path, options).with_context(|| path.display().to_string())
}

/// Checks that all of it can be.
fn check(options: &Options) -> Result<()> {
    if options.tell.is_empty() && !options.top {
        // Ports may do without a guest.
        ensure!(
            !options.devices.is_empty() || !options.ports.is_empty(),
            "there is no device; see --help"
        );
    } else {
        ensure!(options.control.is_some(), "--tell and --top need --control");
        ensure!(
            options.devices.is_empty() && options.ports.is_empty(),
            "who tells or watches another backend serves nothing"
        );
    }
    let devices = options.devices.iter().map(|device| device.name.as_str());
    let ports = options.ports.iter().map(|port| port.port.name.as_str());
    let mut names: Vec<_> = devices.chain(ports).chain([SWITCH]).collect();
    names.sort_unstable();
    for pair in names.windows(2) {
        ensure!(
            pair[0] != pair[1],
            "the name {0} is used twice, by devices, ports, or the switch, which is called {SWITCH}: \
             give one of them another with name=",
            pair[0]
        );
    }
    check_sockets(options)
}

/// Checks that no socket is meant for two.
fn check_sockets(options: &Options) -> Result<()> {
    let devices = options.devices.iter().map(|device| &device.meeting);
    let listening = devices.filter_map(|meeting| match meeting {
        Meeting::Listen(path) => Some(path),
        Meeting::Connect(_) => None,
    });
    let mut paths: Vec<_> = listening.chain(&options.control).collect();
    paths.sort_unstable();
    for pair in paths.windows(2) {
        ensure!(
            pair[0] != pair[1],
            "socket {} is given twice: each device, and --control, needs its own",
            pair[0].display()
        );
    }
    Ok(())
}

/// Adds a device or a port.
fn add(options: &mut Options, kind: &str, keys: Keys) -> Result<()> {
    keys.check_once()?;
    match kind {
        "blk" => options.devices.push(disk(keys, options.devices.len())?),
        "net" => options.devices.push(network(keys, options.devices.len())?),
        _ => options.ports.push(other(keys, options.ports.len())?),
    }
    Ok(())
}

/// Makes a rule of keys.
fn rule(keys: &Keys) -> Result<Value> {
    keys.check_once()?;
    let mut rule = serde_json::Map::new();
    for (key, value) in keys.iter() {
        let number = |text: &str| -> Result<u64> {
            text.parse().with_context(|| format!("{key} is no number"))
        };
        let value: Value = match key {
            "device" | "do" | "op" | "pattern" | "protocol" => value.into(),
            "length" | "sector" => match value.split_once('-') {
                Some((first, last)) => json!([number(first)?, number(last)?.saturating_add(1)]),
                None => number(value)?.into(),
            },
            _ => number(value)?.into(),
        };
        rule.insert(key.to_owned(), value);
    }
    as_command(rule.into())
}

/// Makes a command of a rule.
fn as_command(mut rule: Value) -> Result<Value> {
    ensure!(rule["do"].is_string(), "a rule says what to `do`");
    rule["command"] = "inject".into();
    Ok(rule)
}

/// What is common to devices.
struct Common {
    name: Option<String>,
    meeting: Option<Meeting>,
    latency: u64,
    watch: Duration,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            name: None,
            meeting: None,
            latency: 0,
            watch: WATCH,
        }
    }
}

impl Common {
    /// Takes a key. Returns whether it is one of these.
    fn take(&mut self, key: &str, value: &str) -> Result<bool> {
        match key {
            "name" => self.name = Some(value.to_owned()),
            "socket" => self.meeting = Some(Meeting::Listen(value.into())),
            "connect" => self.meeting = Some(Meeting::Connect(value.into())),
            "latency" => self.latency = value.parse()?,
            "watch" => self.watch = Duration::from_millis(value.parse()?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn finish(
        self,
        default: String,
        kind: impl FnOnce(&str) -> Result<Kind>,
    ) -> Result<DeviceOptions> {
        let name = self.name.unwrap_or(default);
        ensure!(!name.is_empty(), "a name is empty");
        Ok(DeviceOptions {
            kind: kind(&name)?,
            name,
            meeting: self.meeting.context("socket or connect is missing")?,
            latency: self.latency,
            watch: self.watch,
        })
    }
}

fn disk(keys: Keys, number: usize) -> Result<DeviceOptions> {
    let mut common = Common::default();
    let (mut medium, mut overlay) = (None, None);
    let mut blk = blk::Options::new(blk::Medium::Null(0));
    for (key, value) in keys.iter() {
        match key {
            "file" => medium = Some(blk::Medium::File(value.into())),
            "overlay" => overlay = Some(value.into()),
            "ram" => medium = Some(blk::Medium::Ram(size(value)?)),
            "null" => medium = Some(blk::Medium::Null(size(value)?)),
            "read-only" => blk.read_only = true,
            "write-through" => blk.write_back = false,
            "serial" => value.clone_into(&mut blk.serial),
            "queues" => blk.queues = value.parse()?,
            "block-size" => blk.block_size = value.parse()?,
            "physical-exponent" => blk.physical_exponent = value.parse()?,
            "segments" => blk.segments = value.parse()?,
            "io" => {
                blk.io = match value {
                    "uring" => blk::Io::Uring,
                    "sync" => blk::Io::Sync,
                    _ => bail!("io is uring or sync"),
                }
            }
            "segment-bytes" => blk.segment_bytes = Some(value.parse()?),
            "without" => {
                for name in value.split(':') {
                    blk.without = blk.without.with(feature(name)?);
                }
            }
            _ => ensure!(common.take(key, value)?, "a disk has no {key}"),
        }
    }
    blk.medium = medium.context("file, ram or null is missing")?;
    if let Some(overlay) = overlay {
        let blk::Medium::File(base) = blk.medium else {
            bail!("an overlay needs a file");
        };
        blk.medium = blk::Medium::Overlay { base, overlay };
    }
    ensure!(blk.queues > 0, "a disk needs a queue");
    common.finish(format!("blk{number}"), |_| Ok(Kind::Blk(blk)))
}

fn network(keys: Keys, number: usize) -> Result<DeviceOptions> {
    let mut common = Common::default();
    let mut port = PortKeys::default();
    let mut net = net::Options::new("");
    for (key, value) in keys.iter() {
        match key {
            "queues" => net.queues = value.parse()?,
            "control" => net.control = true,
            "mtu" => {
                net.mtu = Some(value.parse()?);
                port.take(key, value)?;
            }
            "without" => {
                for name in value.split(':') {
                    net.without = net.without.with(feature(name)?);
                }
            }
            _ => ensure!(
                common.take(key, value)? || port.take(key, value)?,
                "a network device has no {key}"
            ),
        }
    }
    ensure!(
        (1..=128).contains(&net.queues),
        "a network device has 1 to 128 pairs of queues"
    );
    common.finish(format!("net{number}"), |name| {
        net.port = port.finish(name)?;
        Ok(Kind::Net(net))
    })
}

/// Reads what is at a port, if that is no device.
fn other(keys: Keys, number: usize) -> Result<port::Options> {
    let mut name = format!("port{number}");
    let mut port = PortKeys::default();
    let mut kinds = Vec::new();
    let (mut record, mut replay, mut large) = (None, None, Large::Yes);
    for (key, value) in keys.iter() {
        match key {
            "name" => value.clone_into(&mut name),
            "tap" => kinds.push(port::Kind::Tap(value.to_owned())),
            "ip" => {
                let addresses = value.split('+').map(|text| {
                    text.parse()
                        .map_err(|()| anyhow!("{text} is no address with the length of a prefix"))
                });
                kinds.push(port::Kind::Peer(addresses.collect::<Result<_>>()?, large));
            }
            "small" => large = Large::No,
            "record" => record = Some(value.into()),
            "replay" => replay = Some(value.into()),
            "null" => kinds.push(port::Kind::Null),
            _ => ensure!(port.take(key, value)?, "a port has no {key}"),
        }
    }
    if record.is_some() || replay.is_some() {
        kinds.push(port::Kind::Pcap { record, replay });
    }
    for kind in &mut kinds {
        if let port::Kind::Peer(_, small) = kind {
            *small = large;
        }
    }
    let mut kinds = kinds.into_iter();
    let kind = kinds
        .next()
        .context("tap, ip, record, replay or null is missing")?;
    ensure!(kinds.next().is_none(), "a port has two ends");
    Ok(port::Options {
        port: port.finish(&name)?,
        kind,
    })
}

#[cfg(test)]
mod tests;
