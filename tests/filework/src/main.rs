// SPDX-License-Identifier: GPL-2.0

//! Works on the files of a directory at random: writes, holes, truncations, renames, links, removals.
//! What a file should contain is known at any time, and is looked at: when it is read, and of every
//! file at the end. Whatever differs ends the program with status 1.
//!
//! The same seed does the same work.

mod model;

use anyhow::{Context, Result, bail};
use lexopt::prelude::*;
use model::Model;
use random::Random;
use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
filework [OPTION ...] DIRECTORY
    --seed N        the seed (1)
    --steps N       how much to do (1000)
    --workers N     how many do it, each in a directory of its own (1)
";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("filework: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let (mut seed, mut steps, mut workers) = (1, 1000, 1);
    let mut directory: Option<PathBuf> = None;
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("seed") => seed = arguments.value()?.parse()?,
            Long("steps") => steps = arguments.value()?.parse()?,
            Long("workers") => workers = arguments.value()?.parse()?,
            Long("help") => {
                print!("{USAGE}");
                return Ok(());
            }
            Value(path) => directory = Some(path.into()),
            other => return Err(other.unexpected().into()),
        }
    }
    let directory = directory.context(USAGE)?;

    let threads: Vec<_> = (0..workers)
        .map(|worker| {
            let directory = directory.join(format!("worker{worker}"));
            std::thread::spawn(move || -> Result<()> {
                let mut random = Random::new(seed + worker);
                let mut model = Model::new(&directory)?;
                for step in 0..steps {
                    model
                        .step(&mut random)
                        .with_context(|| format!("worker {worker}, step {step}"))?;
                }
                model.check().context("at the end")
            })
        })
        .collect();
    for thread in threads {
        match thread.join() {
            Ok(result) => result?,
            Err(_) => bail!("a worker panics"),
        }
    }
    Ok(())
}
