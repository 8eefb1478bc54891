// SPDX-License-Identifier: GPL-2.0

//! Runs fuzz targets for a while, on random mutations of their corpora.

use fuzz::{
    TARGETS, Target, hex,
    mutate::{self, Corpus},
};
use random::Random;
use std::{
    error::Error,
    fs, panic,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

const USAGE: &str = "\
Usage: fuzz [OPTION ...]

Runs fuzz targets on random mutations of their corpora, and says how often. An input
that makes a target fail is written to a file, from which --replay runs it again.

  --target NAME      run this target; can be given several times; by default all
  --seconds N        for how long each is run; by default 10
  --seed N           where the random numbers begin; by default 1
  --corpus DIR       where the corpora are; by default tests/fuzz/corpus
  --failures DIR     where to write inputs that fail; by default build/fuzz
  --replay FILE      run the target on the input in this file, and nothing else
  --raw DIR          write the corpora there as bytes, for libFuzzer, and do nothing else
  --list             list the targets";

/// How many times a target runs between two looks at the clock.
const BATCH: u32 = 256;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

struct Options {
    targets: Vec<Target>,
    time: Duration,
    seed: u64,
    corpus: PathBuf,
    failures: PathBuf,
    replay: Option<PathBuf>,
    raw: Option<PathBuf>,
}

fn options() -> Result<Option<Options>> {
    use lexopt::prelude::{Long, ValueExt};

    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut options = Options {
        targets: Vec::new(),
        time: Duration::from_secs(10),
        seed: 1,
        corpus: crate_directory.join("corpus"),
        failures: crate_directory.join("../../build/fuzz"),
        replay: None,
        raw: None,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Long("target") => {
                let name = parser.value()?.string()?;
                let found = TARGETS.iter().find(|target| target.name == name);
                let target = found.ok_or_else(|| format!("there is no target {name}"))?;
                options.targets.push(*target);
            }
            Long("seconds") => options.time = Duration::from_secs(parser.value()?.parse()?),
            Long("seed") => options.seed = parser.value()?.parse()?,
            Long("corpus") => options.corpus = parser.value()?.into(),
            Long("failures") => options.failures = parser.value()?.into(),
            Long("replay") => options.replay = Some(parser.value()?.into()),
            Long("raw") => options.raw = Some(parser.value()?.into()),
            Long("list") => {
                for target in TARGETS {
                    println!("{}", target.name);
                }
                return Ok(None);
            }
            Long("help") => {
                println!("{USAGE}");
                return Ok(None);
            }
            other => return Err(other.unexpected().into()),
        }
    }
    if options.targets.is_empty() {
        options.targets.extend(TARGETS);
    }
    Ok(Some(options))
}

/// Runs a target, and returns whether it has failed. What it says is printed.
fn fails(target: &Target, input: &[u8]) -> bool {
    panic::catch_unwind(|| (target.run)(input)).is_err()
}

/// Runs a target for a while, and returns whether it has failed.
fn fuzz(target: &Target, options: &Options) -> Result<bool> {
    let corpus = Corpus::read(&options.corpus.join(target.name))?;
    let mut random = Random::new(options.seed);
    let started = Instant::now();
    let mut executions = 0u64;
    let failed = 'failed: {
        for input in corpus.inputs() {
            executions += 1;
            if fails(target, input) {
                break 'failed Some(input.to_vec());
            }
        }
        while started.elapsed() < options.time {
            for _ in 0..BATCH {
                let input = corpus.mutated(&mut random);
                executions += 1;
                if fails(target, &input) {
                    break 'failed Some(input);
                }
            }
        }
        None
    };

    let time = started.elapsed().as_secs_f64();
    let name = target.name;
    let Some(input) = failed else {
        println!("{name}: {executions} executions in {time:.1} s");
        return Ok(false);
    };
    let path = options
        .failures
        .join(format!("{name}-{}-{executions}.hex", options.seed));
    fs::create_dir_all(&options.failures)?;
    fs::write(&path, hex::print(&format!("{name} fails"), &input))?;
    println!(
        "{name}: FAILED after {executions} executions, on {}",
        path.display()
    );
    Ok(true)
}

/// Writes the corpus of a target as bytes.
fn write_raw(target: &Target, options: &Options, raw: &Path) -> Result<()> {
    let directory = raw.join(target.name);
    fs::create_dir_all(&directory)?;
    let corpus = Corpus::read(&options.corpus.join(target.name))?;
    for (number, input) in corpus.inputs().enumerate() {
        fs::write(directory.join(number.to_string()), input)?;
    }
    Ok(())
}

fn run() -> Result<ExitCode> {
    let Some(options) = options()? else {
        return Ok(ExitCode::SUCCESS);
    };
    let mut failed = false;
    for target in &options.targets {
        if let Some(raw) = &options.raw {
            write_raw(target, &options, raw)?;
        } else if let Some(path) = &options.replay {
            if options.targets.len() != 1 {
                return Err("--replay needs one --target".into());
            }
            failed |= fails(target, &mutate::read(path)?);
        } else {
            failed |= fuzz(target, &options)?;
        }
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("fuzz: {error}");
        ExitCode::from(2)
    })
}
