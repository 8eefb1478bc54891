// SPDX-License-Identifier: GPL-2.0

//! Follows frames between a guest and the backend, hop by hop, and says at which of them they stop.
//!
//! A *snapshot* is what the counters of both sides are at a moment; two of them, before and after some
//! frames were to pass, are judged. A *hop* is a place where frames are counted, or can be lost.

mod guest;
mod host;
mod judge;
mod snapshot;
mod watch;

use anyhow::{Context, Result, bail, ensure};
use host::Wanted;
use judge::Verdict;
use lexopt::prelude::*;
use serde_json::Value;
use snapshot::Snapshot;
use std::{fs, io::Read, path::PathBuf, process::ExitCode, time::Duration};

const USAGE: &str = "\
virtio-path guest [OPTION ...]      print what a guest sees of an interface; run it there, as root
    --interface NAME                which one (that of the only virtio device)
virtio-path host [OPTION ...]       print what the backend has counted
    --control SOCKET                its control socket
    --device NET                    the network device
    --port NAME                     the port where its frames leave (the only other one)
virtio-path judge BEFORE AFTER      say at which hop frames stopped between two snapshots, each a file
                                    of {\"guest\": ..., \"host\": ...}, or - for standard input
    --verbose                       print a table of the hops, too
virtio-path watch [OPTION ...]      take both snapshots, and judge: options of host and judge, and
    --guest COMMAND                 what runs `virtio-path guest` in the guest, for a shell
    --seconds N                     how long to wait in between (5)
    --keep DIRECTORY                write before.json and after.json there

judge and watch print one line. Their status is 0 if no fault was found, 1 if frames stop, and 2 if that
cannot be told.
";

/// The statuses: no fault was found, frames stop, it cannot be told.
const PASSES: u8 = 0;
const STOPS: u8 = 1;
const UNKNOWN: u8 = 2;

#[derive(Debug, Default)]
struct Arguments {
    words: Vec<String>,
    interface: Option<String>,
    control: Option<PathBuf>,
    device: Option<String>,
    port: Option<String>,
    guest: Option<String>,
    keep: Option<PathBuf>,
    seconds: Option<u64>,
    verbose: bool,
}

fn main() -> ExitCode {
    let done = parse(lexopt::Parser::from_env()).and_then(|arguments| call(&arguments));
    done.unwrap_or_else(|error| {
        eprintln!("virtio-path: {error:#}");
        ExitCode::from(UNKNOWN)
    })
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments> {
    let mut arguments = Arguments::default();
    while let Some(argument) = parser.next()? {
        let option = match argument {
            Value(word) => {
                arguments.words.push(word.string()?);
                continue;
            }
            Long(name) => name.to_owned(),
            other => return Err(other.unexpected().into()),
        };
        let mut text = || -> Result<String> { Ok(parser.value()?.string()?) };
        match option.as_str() {
            "interface" => arguments.interface = Some(text()?),
            "control" => arguments.control = Some(text()?.into()),
            "device" => arguments.device = Some(text()?),
            "port" => arguments.port = Some(text()?),
            "guest" => arguments.guest = Some(text()?),
            "keep" => arguments.keep = Some(text()?.into()),
            "seconds" => {
                let seconds = text()?;
                let number = seconds.parse();
                arguments.seconds =
                    Some(number.with_context(|| format!("{seconds} is no number"))?);
            }
            "verbose" => arguments.verbose = true,
            "help" => arguments.words.insert(0, "help".to_owned()),
            other => bail!("there is no option --{other}; see --help"),
        }
    }
    Ok(arguments)
}

impl Arguments {
    fn wanted(&self) -> Result<Wanted<'_>> {
        Ok(Wanted {
            control: self.control.as_deref().context("--control is missing")?,
            device: self.device.as_deref().context("--device is missing")?,
            port: self.port.as_deref(),
        })
    }
}

fn call(arguments: &Arguments) -> Result<ExitCode> {
    let words: Vec<_> = arguments.words.iter().map(String::as_str).collect();
    match words[..] {
        ["guest"] => {
            let guest = guest::read(arguments.interface.as_deref())?;
            println!("{:#}", without_nothing(serde_json::to_value(guest)?));
            Ok(ExitCode::SUCCESS)
        }
        ["host"] => {
            println!("{:#}", host::read(&arguments.wanted()?)?);
            Ok(ExitCode::SUCCESS)
        }
        ["judge", before, after] => {
            ensure!(
                (before, after) != ("-", "-"),
                "only one snapshot comes from standard input"
            );
            let (before, after) = (open(before)?, open(after)?);
            Ok(tell(&before, &after, arguments.verbose))
        }
        ["watch"] => {
            let guest = arguments.guest.as_deref().context("--guest is missing")?;
            let wait = Duration::from_secs(arguments.seconds.unwrap_or(5));
            let (before, after) = watch::watch(&arguments.wanted()?, guest, wait)?;
            if let Some(directory) = &arguments.keep {
                for (name, snapshot) in [("before", &before), ("after", &after)] {
                    let path = directory.join(name).with_extension("json");
                    let written = fs::write(&path, format!("{snapshot:#}\n"));
                    written.with_context(|| format!("writing {}", path.display()))?;
                }
            }
            let (before, after) = (watch::typed(&before)?, watch::typed(&after)?);
            Ok(tell(&before, &after, arguments.verbose))
        }
        ["help", ..] => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprint!("{USAGE}");
            bail!("there is no command {:?}", words.join(" "))
        }
    }
}

fn open(path: &str) -> Result<Snapshot> {
    let mut text = String::new();
    if path == "-" {
        std::io::stdin().read_to_string(&mut text)?;
    } else {
        text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    }
    Snapshot::read(&text).with_context(|| path.to_owned())
}

/// Prints the verdict.
fn tell(before: &Snapshot, after: &Snapshot, verbose: bool) -> ExitCode {
    let judged = judge::judge(before, after);
    if verbose {
        print!("{}", judged.table());
    }
    println!("{}", judged.verdict);
    ExitCode::from(status(&judged.verdict))
}

fn status(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Passes { .. } => PASSES,
        Verdict::Stops { .. } => STOPS,
        Verdict::Unknown(_) => UNKNOWN,
    }
}

/// Leaves out what was not seen.
fn without_nothing(value: Value) -> Value {
    let there = |value: &Value| match value {
        Value::Null => false,
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(parts) => !parts.is_empty(),
        _ => true,
    };
    match value {
        Value::Object(fields) => {
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, without_nothing(value)));
            fields.filter(|(_, value)| there(value)).collect()
        }
        // The place of a part tells what it is.
        Value::Array(parts) => parts.into_iter().map(without_nothing).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_not_seen_is_left_out() {
        let guest = json!({
            "interface": "eth0", "driver": null, "link": { "up": true, "carrier": null },
            "tx_queues": [{ "inflight": null }, { "inflight": 0 }], "neighbours": [], "ethtool": {},
        });

        assert_eq!(
            without_nothing(guest),
            json!({
                "interface": "eth0", "link": { "up": true },
                "tx_queues": [{}, { "inflight": 0 }],
            })
        );
    }

    #[test]
    fn a_guest_can_be_read_again() {
        let mut guest = snapshot::Guest {
            interface: "eth0".to_owned(),
            ..snapshot::Guest::default()
        };
        guest.link.carrier = Some(false);
        guest.statistics.0.insert("rx_packets".to_owned(), 7);
        let told = without_nothing(serde_json::to_value(&guest).expect("JSON"));
        let text = json!({ "guest": told }).to_string();

        let read = Snapshot::read(&text)
            .expect("a snapshot")
            .guest
            .expect("a guest");

        assert_eq!(read.link.carrier, Some(false));
        assert_eq!(read.statistics.get("rx_packets"), Some(7));
    }

    #[test]
    fn the_status_tells_the_verdict() {
        let status = |before: Value, after: Value| {
            let read = |value: Value| Snapshot::read(&value.to_string()).expect("a snapshot");
            super::status(&judge::judge(&read(before), &read(after)).verdict)
        };
        let guest = |up: bool, packets: u64| {
            let statistics = json!({ "tx_packets": packets, "rx_packets": packets });
            json!({ "guest": { "link": { "up": up }, "statistics": statistics } })
        };

        assert_eq!(status(guest(true, 3), guest(true, 9)), 0);
        assert_eq!(status(guest(true, 3), guest(false, 9)), 1);
        assert_eq!(status(guest(true, 9), guest(true, 3)), 2);
    }

    #[test]
    fn arguments_are_read() {
        let parse = |words: &[&str]| parse(lexopt::Parser::from_args(words));
        let arguments = parse(&["judge", "-", "after.json", "--verbose"]).expect("arguments");
        assert_eq!(arguments.words, ["judge", "-", "after.json"]);
        assert!(arguments.verbose);
        let arguments = parse(&["watch", "--device=net", "--seconds", "3"]).expect("arguments");
        assert_eq!(
            (arguments.device.as_deref(), arguments.seconds),
            (Some("net"), Some(3))
        );
        assert_eq!(
            arguments.wanted().expect_err("no socket").to_string(),
            "--control is missing"
        );

        for (words, why) in [
            (&["watch", "--seconds", "x"][..], "x is no number"),
            (&["guest", "--port"], "missing argument for option '--port'"),
            (&["guest", "--all"], "there is no option --all; see --help"),
            (&["guest", "-a"], "invalid option '-a'"),
        ] {
            assert_eq!(parse(words).expect_err("no arguments").to_string(), why);
        }
    }
}
