// SPDX-License-Identifier: GPL-2.0

//! Boots guests, runs the tests in them, and says what went wrong.
//!
//! A test is a function ([`cx::Test`]) that boots guests and talks to them. Each runs in a process
//! of its own ([`runner`]), with a time limit; when it has ended, its guests are asked for leaks,
//! their logs are searched for complaints of the kernel ([`splat`]), and what it has left on the
//! host is counted ([`leftovers`]).

mod backend;
mod blk;
mod block;
mod counts;
mod cx;
mod foundation;
mod guest;
mod kernel;
mod ktap;
mod leftovers;
mod paths;
mod program;
mod registry;
mod runner;
mod selftest;
mod show;
mod splat;
mod virtio;

use anyhow::{Result, bail};
use lexopt::prelude::*;
use std::{path::PathBuf, process::ExitCode, thread};

const USAGE: &str = "\
harness list [PATTERN ...]      list tests
harness kernels [PATTERN ...]   list the kernels whose modules these tests load
harness trees [PATTERN ...]     list the kernels that they use beside those
harness run [OPTION ...] [PATTERN ...]
                                run the tests whose name contains one of the patterns
    --jobs N                    at most N at a time, by default as many as there are CPUs
    --artefacts DIR             where what a failed test leaves is kept
harness cost [OPTION]           count what the virtio layer costs, and print the table
    --functions                 and in which functions
harness guest [OPTION ...]      boot a guest, run commands in it, power it off
    --kernel FLAVOUR            its kernel (7.3-amd64)
    --module NAME               a module that was built here; repeatable
    --kernel-module NAME        a module that comes with the kernel; repeatable
    --tool NAME                 a program of the toolbox; repeatable
    --device DEVICE             a device, as QEMU takes it; repeatable
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
            for test in registry::matching(&patterns(&mut arguments)?)? {
                println!("{}", test.name);
            }
        }
        "kernels" => {
            let tests = registry::matching(&patterns(&mut arguments)?)?;
            for kernel in registry::kernels(&tests) {
                println!("{kernel}");
            }
        }
        "trees" => {
            let tests = registry::matching(&patterns(&mut arguments)?)?;
            for kernel in registry::trees(&tests) {
                println!("{kernel}");
            }
        }
        "run" => return run(&mut arguments),
        "exec" => runner::exec(
            &arguments.value()?.string()?,
            &PathBuf::from(arguments.value()?),
        )?,
        "cost" => cost(&mut arguments)?,
        "guest" => show::guest(&mut arguments)?,
        "help" => print!("{USAGE}"),
        other => bail!("there is no command {other}, see harness help"),
    }
    Ok(true)
}

fn run(arguments: &mut lexopt::Parser) -> Result<bool> {
    let mut patterns = Vec::new();
    let mut jobs = thread::available_parallelism()?.get();
    let mut artefacts = paths::artefacts();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("jobs") => jobs = arguments.value()?.parse()?,
            Long("artefacts") => artefacts = arguments.value()?.into(),
            Value(pattern) => patterns.push(pattern.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    runner::run(&patterns, jobs, &artefacts)
}

fn cost(arguments: &mut lexopt::Parser) -> Result<()> {
    let (mut functions, mut disk) = (false, false);
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("functions") => functions = true,
            Long("disk") => disk = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if disk {
        return blk::cost::print(functions);
    }
    virtio::cost::print(functions)
}

fn patterns(arguments: &mut lexopt::Parser) -> Result<Vec<String>> {
    let mut patterns = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Value(pattern) => patterns.push(pattern.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(patterns)
}
