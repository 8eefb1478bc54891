// SPDX-License-Identifier: GPL-2.0

//! Tests of what everything else stands on: the toolbox, the kernels, the build, the guests, and
//! the harness itself.

mod boot;
mod build;
mod harness;
mod metadata;
mod sample;
mod splats;
mod toolbox;

use crate::{
    cx::Test,
    kernel::{CLOUD, DEBUG, OLDER, STOCK},
    paths,
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    path::Path,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new("foundation::boot::is_fast", boot::is_fast).alone(),
    Test::new(
        "foundation::boot::has_what_was_asked_for",
        boot::has_what_was_asked_for,
    ),
    Test::new(
        "foundation::boot::shares_memory_with_a_backend",
        boot::shares_memory_with_a_backend,
    ),
    Test::new(
        "foundation::boot::through_virtme_ng",
        boot::through_virtme_ng,
    )
    .kernels(&[STOCK])
    .limit(240),
    Test::new("foundation::build::is_incremental", build::is_incremental)
        .alone()
        .limit(300),
    Test::new(
        "foundation::build::is_native_with_kdir",
        build::is_native_with_kdir,
    )
    .limit(200),
    Test::new("foundation::build::is_restartable", build::is_restartable).limit(200),
    Test::new(
        "foundation::build::says_what_is_wrong",
        build::says_what_is_wrong,
    )
    .network()
    .trees(&[STOCK, OLDER]),
    Test::new(
        "foundation::metadata::modules_load_in_their_kernels",
        metadata::modules_load_in_their_kernels,
    )
    .trees(&[STOCK, CLOUD, OLDER])
    .limit(180),
    Test::new(
        "foundation::metadata::says_what_is_wrong",
        metadata::says_what_is_wrong,
    )
    .network()
    .limit(120),
    Test::new(
        "foundation::metadata::is_restartable",
        metadata::is_restartable,
    )
    .network()
    .limit(60),
    Test::new(
        "foundation::toolbox::is_restartable",
        toolbox::is_restartable,
    )
    .network()
    .limit(240),
    Test::new(
        "foundation::toolbox::says_what_is_wrong",
        toolbox::says_what_is_wrong,
    )
    .network()
    .memory(5 * 1024)
    .limit(240),
    Test::new("foundation::sample::stock", sample::stock)
        .kernels(&[STOCK])
        .limit(120),
    Test::new("foundation::sample::cloud", sample::cloud).kernels(&[CLOUD]),
    Test::new("foundation::sample::debug", sample::debug)
        .kernels(&[DEBUG])
        .limit(300)
        .exhaustive(),
    Test::new("foundation::kunit::debug", sample::kunit)
        .kernels(&[DEBUG])
        .limit(180),
    Test::new("foundation::splats::debug", splats::debug)
        .kernels(&[DEBUG])
        .limit(300),
    Test::new("foundation::splats::stock", splats::stock)
        .kernels(&[STOCK])
        .limit(90),
    Test::new(
        "foundation::harness::tells_verdicts",
        harness::tells_verdicts,
    ),
    Test::new(
        "foundation::harness::leaves_long_tests_out",
        harness::leaves_long_tests_out,
    ),
    Test::new(
        "foundation::harness::finds_leftovers",
        harness::finds_leftovers,
    ),
    Test::new(
        "foundation::harness::looks_into_a_hang",
        harness::looks_into_a_hang,
    )
    .kernels(&[STOCK])
    .limit(120),
    Test::new(
        "foundation::harness::tells_repeated_boots",
        harness::tells_repeated_boots,
    ),
    Test::new(
        "foundation::harness::fails_on_complaints",
        harness::fails_on_complaints,
    )
    .kernels(&[STOCK, DEBUG])
    .limit(300),
];

/// What a program printed, to either stream, and whether it succeeded.
struct Printed {
    text: String,
    success: bool,
}

impl From<&Output> for Printed {
    fn from(output: &Output) -> Self {
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        Self {
            text,
            success: output.status.success(),
        }
    }
}

impl Printed {
    /// Checks that the program failed, and that the last line it printed has all of `parts`.
    fn fails_with(&self, parts: &[&str]) -> Result<()> {
        ensure!(!self.success, "it succeeds:\n{}", self.text);
        let last = self.text.lines().last().unwrap_or_default();
        for part in parts {
            ensure!(
                last.contains(part),
                "the last line lacks {part:?}:\n{}",
                self.text
            );
        }
        Ok(())
    }
}

/// Runs a program to its end.
fn call(command: &mut Command) -> Result<Printed> {
    let output = command
        .stdin(std::process::Stdio::null())
        .output()
        .with_context(|| format!("starting {}", command.get_program().display()))?;
    Ok(Printed::from(&output))
}

/// Copies a directory.
fn copy_of(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "{} cannot be copied", from.display());
    Ok(())
}

/// Copies the project's sources, without what was built from them.
fn copy_of_project(to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    let status = Command::new("sh")
        .args([
            "-ec",
            "tar -C \"$1\" --exclude=./build --exclude=./.git -c . | tar -C \"$2\" -x",
            "-",
        ])
        .arg(paths::project())
        .arg(to)
        .status()?;
    ensure!(status.success(), "the project cannot be copied");
    Ok(())
}

/// Waits until something has happened on the host; the test's time limit is the limit.
fn wait_until(what: &str, happened: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !happened() {
        ensure!(
            started.elapsed() < Duration::from_secs(120),
            "waiting in vain: {what}"
        );
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
