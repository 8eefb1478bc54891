// SPDX-License-Identifier: GPL-2.0

//! Tests that fail on purpose, each in its way: `foundation::harness` runs them, and checks what is
//! said of them. They run only when they are asked for.

use crate::{
    cx::{Cx, Skip, Test},
    kernel,
};
use anyhow::{Result, bail};
use std::{
    process::{self, Command, Stdio},
    time::Duration,
};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("selftest::passes", |_| Ok(())),
    Test::new("selftest::is_long", |_| Ok(())).exhaustive(),
    Test::new("selftest::fails", |_| bail!("this is the reason")),
    Test::new("selftest::panics", |_| panic!("this is the panic")),
    Test::new("selftest::dies", |_| process::abort()),
    Test::new("selftest::skips", |_| {
        Err(Skip("this is the reason".to_owned()).into())
    }),
    Test::new("selftest::has_cases", has_cases),
    Test::new("selftest::leaves_a_process", leaves_a_process),
    Test::new("selftest::leaves_an_interface", leaves_an_interface),
    Test::new("selftest::leaves_a_name_space", leaves_a_name_space),
    Test::new("selftest::hangs_on_the_host", hangs_on_the_host).limit(2),
    Test::new("selftest::hangs_in_a_command", hangs_in_a_command).limit(20),
    Test::new("selftest::hangs_in_the_kernel", hangs_in_the_kernel)
        .kernels(&[kernel::STOCK])
        .limit(20),
    Test::new("selftest::boots_twice", boots_twice),
    Test::new("selftest::ignores_a_warning", ignores_a_warning).kernels(&[kernel::STOCK]),
    Test::new("selftest::ignores_a_leak", ignores_a_leak)
        .kernels(&[kernel::DEBUG])
        .limit(150),
];

fn has_cases(cx: &mut Cx) -> Result<()> {
    cx.case("good", |cx| {
        cx.say("5 of 6");
        Ok(())
    });
    cx.case("bad", |_| bail!("the reason of a case"));
    cx.case("unable", |_| Err(Skip("no such thing".to_owned()).into()));
    Ok(())
}

fn leaves_a_process(_: &mut Cx) -> Result<()> {
    Command::new("sh")
        .args([
            "-c",
            "sleep 1000 & until grep -aq ^sleep /proc/$!/cmdline; do :; done",
        ])
        .stdin(Stdio::null())
        .status()?;
    Ok(())
}

fn leaves_an_interface(_: &mut Cx) -> Result<()> {
    Command::new("ip")
        .args(["tuntap", "add", "dev", "left0", "mode", "tap"])
        .status()?;
    Ok(())
}

fn leaves_a_name_space(_: &mut Cx) -> Result<()> {
    Command::new("ip").args(["netns", "add", "left"]).status()?;
    Ok(())
}

fn hangs_on_the_host(_: &mut Cx) -> Result<()> {
    loop {
        std::thread::park();
    }
}

fn hangs_in_a_command(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(kernel::STOCK)?;
    let guest = cx.boot(&builder)?;
    guest.run("sleep 1000")?;
    Ok(())
}

/// No CPU ever takes an interrupt again.
fn hangs_in_the_kernel(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(kernel::STOCK)?.module("splat")?;
    let guest = cx.boot(&builder)?;
    guest.run("modprobe splat what=dead_cpus")?;
    Ok(())
}

/// No guest boots that fast; the next time, it may take longer.
fn boots_twice(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(kernel::STOCK)?.stall(Duration::from_millis(10));
    cx.boot(&builder)?.sh("true")?;
    Ok(())
}

fn ignores_a_warning(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(kernel::STOCK)?.module("splat")?;
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe splat what=warn")?;
    Ok(())
}

fn ignores_a_leak(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(kernel::DEBUG)?.module("splat")?;
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe splat what=leak && rmmod splat")?;
    Ok(())
}
