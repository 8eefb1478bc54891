// SPDX-License-Identifier: GPL-2.0

//! Boots guests, runs the tests in them, and says what went wrong.
//!
//! A test is a function ([`cx::Test`]) that boots guests and talks to them. Each runs in a process
//! of its own ([`runner`]), with a time limit; when it has ended, its guests are asked for leaks,
//! their logs are searched for complaints of the kernel ([`splat`]), and what it has left on the
//! host is counted ([`leftovers`]).

mod backend;
mod bench;
mod blk;
mod block;
mod counts;
mod cx;
mod form;
mod foundation;
mod gate;
mod guest;
mod kernel;
mod ktap;
mod leftovers;
mod net;
mod paths;
mod program;
mod race;
mod registry;
mod report;
mod results;
mod runner;
mod selftest;
mod show;
mod splat;
mod systems;
mod virtio;

use anyhow::{Result, bail};
use lexopt::prelude::*;
use registry::Wanted;
use report::{About, CostRow, Document};
use runner::{Network, Places};
use std::{path::PathBuf, process::ExitCode, thread};

const USAGE: &str = "\
harness list [--all] [PATTERN ...]
                                list the tests whose name contains one of the patterns
    --all                       and exhaustive ones; the same for the next three commands
harness kernels [--all] [PATTERN ...]
                                list the kernels whose modules these tests load
harness trees [--all] [PATTERN ...]
                                list the kernels that they use beside those
harness run [OPTION ...] [PATTERN ...]
                                run these tests
    --jobs N                    at most N at a time, by default as many as there are CPUs
    --artefacts DIR             where what a failed test leaves is kept
    --results FILE              where what came out of each test is kept (build/results.json); what is
                                there of other tests stays
harness matrix [OPTION ...]     make tables of whole systems from such a file, and print them
    --results FILE              the file
    --write DOC                 put them into a document, between its lines \".. matrix: begin\" and
                                \".. matrix: end\"
    --strict                    fail if a row of them has failed, or has not run
harness cost [OPTION ...]       count what the virtio layer costs, and print the table
    --disk, --net               what a request to a disk costs, or a frame
    --functions                 and in which functions
    --json FILE                 where the results go, too
harness bench [OPTION ...] [PATTERN ...]
                                have drivers, and devices, do the same, and print how fast
                                they are
    --rounds N                  how often, in fours, after one of each to warm up (3)
    --json FILE                 where the results go, too, each when it is there; those that are in
                                it, and were measured the same way, are kept
    --fresh                     none is kept
harness report [OPTION ...] JSON ...
                                make tables of such files, and print them
    --html FILE                 a page, with pictures
    --markdown FILE             where the tables go
harness guest [OPTION ...]      boot a guest, run commands in it, power it off
    --kernel FLAVOUR            its kernel (7.3-amd64)
    --module NAME               a module that was built here; repeatable
    --kernel-module NAME        a module that comes with the kernel; repeatable
    --tool NAME                 a program of the toolbox; repeatable
    --device DEVICE             a device, as QEMU takes it; repeatable
    --qemu ARGUMENT             an argument of QEMU; repeatable
    --run COMMAND               a command; repeatable
    --interactive               a shell on this terminal instead
";

fn main() -> ExitCode {
    match call() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("harness: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn call() -> Result<bool> {
    let mut arguments = lexopt::Parser::from_env();
    let Some(Value(command)) = arguments.next()? else {
        print!("{USAGE}");
        return Ok(false);
    };
    match command.string()?.as_str() {
        "list" => {
            for test in registry::find(&wanted(&mut arguments)?)?.tests {
                println!("{}", test.name);
            }
        }
        "kernels" => {
            for kernel in registry::kernels(&registry::find(&wanted(&mut arguments)?)?.tests) {
                println!("{kernel}");
            }
        }
        "trees" => {
            for kernel in registry::trees(&registry::find(&wanted(&mut arguments)?)?.tests) {
                println!("{kernel}");
            }
        }
        "run" => return run(&mut arguments),
        "matrix" => return matrix(&mut arguments),
        "exec" => runner::exec(
            &arguments.value()?.string()?,
            &PathBuf::from(arguments.value()?),
        )?,
        "cost" => cost(&mut arguments)?,
        "bench" => {
            // Whatever becomes of it, nothing is left on the host.
            let mut apart = runner::apart(Network::Own)?;
            apart.arg("race").args(arguments.raw_args()?);
            return Ok(apart.status()?.success());
        }
        "race" => bench(&mut arguments)?,
        "report" => report(&mut arguments)?,
        "guest" => show::guest(&mut arguments)?,
        "help" => print!("{USAGE}"),
        other => bail!("there is no command {other}, see harness help"),
    }
    Ok(true)
}

fn run(arguments: &mut lexopt::Parser) -> Result<bool> {
    let mut wanted = Wanted::default();
    let mut jobs = thread::available_parallelism()?.get();
    let mut places = Places {
        artefacts: paths::artefacts(),
        results: results::default_path(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("jobs") => jobs = arguments.value()?.parse()?,
            Long("artefacts") => places.artefacts = arguments.value()?.into(),
            Long("results") => places.results = arguments.value()?.into(),
            Long("all") => wanted.all = true,
            Value(pattern) => wanted.patterns.push(pattern.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    runner::run(&wanted, jobs, &places)
}

fn matrix(arguments: &mut lexopt::Parser) -> Result<bool> {
    let mut options = systems::matrix::Options {
        results: results::default_path(),
        document: None,
        is_strict: false,
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("results") => options.results = arguments.value()?.into(),
            Long("write") => options.document = Some(arguments.value()?.into()),
            Long("strict") => options.is_strict = true,
            other => return Err(other.unexpected().into()),
        }
    }
    systems::matrix::run(&options)
}

fn cost(arguments: &mut lexopt::Parser) -> Result<()> {
    let mut functions = false;
    let mut json: Option<PathBuf> = None;
    let mut print: fn(bool) -> Result<Vec<CostRow>> = virtio::cost::print;
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("functions") => functions = true,
            Long("json") => json = Some(arguments.value()?.into()),
            Long("disk") => print = blk::cost::print,
            Long("net") => print = net::cost::print,
            other => return Err(other.unexpected().into()),
        }
    }
    // What is wrong there is said before all is measured.
    let about = json.as_ref().map(|_| About::here("TCG, by -icount"));
    let about = about.transpose()?;
    let costs = print(functions)?;
    if let (Some(path), Some(about)) = (json, about) {
        let document = Document {
            costs,
            ..Document::new(about)
        };
        report::write(&path, &document.text()?)?;
    }
    Ok(())
}

fn bench(arguments: &mut lexopt::Parser) -> Result<()> {
    let mut options = race::Options {
        rounds: 3,
        json: None,
        is_fresh: false,
        patterns: Vec::new(),
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("rounds") => options.rounds = arguments.value()?.parse()?,
            Long("json") => options.json = Some(arguments.value()?.into()),
            Long("fresh") => options.is_fresh = true,
            Value(pattern) => options.patterns.push(pattern.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    race::run(&options)
}

fn report(arguments: &mut lexopt::Parser) -> Result<()> {
    let mut options = report::Options {
        files: Vec::new(),
        html: None,
        markdown: None,
    };
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("html") => options.html = Some(arguments.value()?.into()),
            Long("markdown") => options.markdown = Some(arguments.value()?.into()),
            Value(file) => options.files.push(file.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    report::run(&options)
}

fn wanted(arguments: &mut lexopt::Parser) -> Result<Wanted> {
    let mut wanted = Wanted::default();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("all") => wanted.all = true,
            Value(pattern) => wanted.patterns.push(pattern.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(wanted)
}
