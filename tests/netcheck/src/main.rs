// SPDX-License-Identifier: GPL-2.0

//! Sends data over a network, and checks each byte at the other end.
//!
//! It runs in a guest and beside it: either can be the server.

mod load;
mod talk;
mod tcp;
mod times;
mod udp;
mod watch;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use std::{path::PathBuf, process::ExitCode, thread, time::Duration};
use tcp::Server;
use times::What;

const USAGE: &str = "\
netcheck serve [OPTION ...]             answer TCP and UDP, until it is killed
netcheck tcp ADDRESS [OPTION ...]       move bytes over TCP, in both directions at once
    --up BYTES, --down BYTES            how many, in which direction (0)
netcheck udp ADDRESS SIZE ...           have datagrams of these sizes answered
    --segment BYTES                     have the kernel, or the device, cut them
netcheck times ADDRESS COUNT            have datagrams of a byte answered, one after the other, and
                                        print how many took how many nanoseconds
    --connections                       connections instead
netcheck load ADDRESS --stop FILE       move what it can until there is such a file
    --streams N                         on N connections (2)
    --patience SECONDS                  over TCP, nothing may move for so long (25)
netcheck talk ADDRESS                   have standard input and output talk with a TCP server
    --mark MARK                         by the way that a mark has
netcheck print                          print the text of datagrams, until it is killed
netcheck watch                          print the text of frames of a type of our own
    --port PORT                         of the server (7000)
";

struct Arguments {
    words: Vec<String>,
    port: u16,
    up: u64,
    down: u64,
    streams: u64,
    patience: u64,
    segment: Option<u16>,
    mark: Option<u32>,
    stop: Option<PathBuf>,
    what: What,
}

fn main() -> ExitCode {
    match call() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("netcheck: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Arguments> {
    let mut arguments = Arguments {
        words: Vec::new(),
        port: 7000,
        up: 0,
        down: 0,
        streams: 2,
        patience: 25,
        segment: None,
        mark: None,
        stop: None,
        what: What::Datagram,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("port") => arguments.port = parser.value()?.parse()?,
            Long("up") => arguments.up = parser.value()?.parse()?,
            Long("down") => arguments.down = parser.value()?.parse()?,
            Long("streams") => arguments.streams = parser.value()?.parse()?,
            Long("patience") => arguments.patience = parser.value()?.parse()?,
            Long("segment") => arguments.segment = Some(parser.value()?.parse()?),
            Long("mark") => arguments.mark = Some(parser.value()?.parse()?),
            Long("stop") => arguments.stop = Some(parser.value()?.into()),
            Long("connections") => arguments.what = What::Connection,
            Value(word) => arguments.words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(arguments)
}

fn call() -> Result<()> {
    let arguments = parse()?;
    let mut words = arguments.words.iter().map(String::as_str);
    let command = words.next().unwrap_or_default();
    let port = arguments.port;
    let mut server = || -> Result<Server> {
        let word = words.next().context("an address is missing")?;
        Ok(Server {
            address: word
                .parse()
                .with_context(|| format!("not an address: {word}"))?,
            port,
            patience: Duration::from_secs(arguments.patience),
        })
    };
    match command {
        "serve" => {
            let udp = thread::spawn(move || udp::serve(port));
            tcp::serve(port)?;
            udp.join().ok().context("a thread panics")?
        }
        "tcp" => tcp::transfer(&server()?, 1, arguments.up, arguments.down),
        "udp" => {
            let server = server()?;
            let sizes: Result<Vec<usize>, _> = words.map(str::parse).collect();
            let sizes = sizes.context("not a size")?;
            let client = udp::Client::new(&server, arguments.segment)?;
            let mut again = 0;
            for size in sizes {
                again += client.exchange(size)?;
            }
            println!("{again} sent again");
            Ok(())
        }
        "times" => {
            let server = server()?;
            let count = words.next().context("a count is missing")?;
            let count = count.parse().context("not a count")?;
            times::run(&server, arguments.what, count)
        }
        "load" => {
            let stop = arguments.stop.as_deref().context("--stop is missing")?;
            load::run(&server()?, arguments.streams, stop)
        }
        "talk" => talk::run(&server()?, arguments.mark),
        "print" => udp::print(port),
        "watch" => watch::run(),
        _ => {
            print!("{USAGE}");
            bail!("there is no command {command}")
        }
    }
}
