// SPDX-License-Identifier: GPL-2.0

//! The tests of the crate that both ends share, and of its fuzz targets: they need no guest.

use crate::cx::{Cx, Skip};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// The toolbox' Rust for userspace.
const RUST: &str = "/opt/rust/usr/bin";

/// Has cargo do something in the workspace.
pub fn cargo(arguments: &[&str]) -> Result<String> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(format!("{RUST}/cargo"))
        .args(["--offline", "--locked"])
        .args(arguments)
        .current_dir("tests")
        .env("PATH", format!("{RUST}:{path}"))
        .output()
        .context("starting cargo")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(said)
}

/// Unit tests and property tests, and each fuzz target on its corpus and on mutations of it.
pub fn keeps_its_word(_: &mut Cx) -> Result<()> {
    let said = cargo(&[
        "test",
        "--release",
        "--package",
        "fuzz",
        "--package",
        "virtio_wire",
    ])?;
    // Nobody may have left them out.
    let passed: u32 = said
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|line| line.split(' ').next()?.parse::<u32>().ok())
        .sum();
    ensure!(passed > 200, "only {passed} tests ran:\n{said}");
    Ok(())
}

/// Miri finds what is undefined, in unsafe code of the standard library, too.
pub fn is_defined_behaviour(_: &mut Cx) -> Result<()> {
    if cargo(&["miri", "--version"]).is_err() {
        return Err(
            Skip("there is no Miri: it comes with nightly compilers only".to_owned()).into(),
        );
    }
    cargo(&["miri", "test", "--package", "virtio_wire"]).map(|_| ())
}
