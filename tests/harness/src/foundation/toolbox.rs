// SPDX-License-Identifier: GPL-2.0

//! `scripts/toolbox`, with a short list of packages, in a cache of its own.
//!
//! These tests run in the toolbox, which has what a bare machine with mmdebstrap has.

use super::{Printed, call};
use crate::{cx::Cx, paths};
use anyhow::{Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// A toolbox to be: a list of packages, and a cache.
struct Toolbox {
    cache: PathBuf,
    packages: PathBuf,
}

impl Toolbox {
    fn new(cx: &mut Cx, packages: &str) -> Result<Self> {
        let base = cx.scratch()?;
        let file = base.join("packages");
        fs::write(&file, packages)?;
        Ok(Self {
            cache: base.join("cache"),
            packages: file,
        })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(paths::project().join("scripts/toolbox"));
        command
            .args(arguments)
            .env_remove("RUST_VIRTIO_TOOLBOX")
            .env_remove("RUST_VIRTIO_CACHE")
            .env("XDG_CACHE_HOME", &self.cache)
            .env("RUST_VIRTIO_PACKAGES", &self.packages);
        command
    }

    fn call(&self, arguments: &[&str]) -> Result<Printed> {
        call(&mut self.command(arguments))
    }

    fn start(&self, arguments: &[&str]) -> Result<Child> {
        Ok(self
            .command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    /// Lists the toolboxes in the cache, made or half-made.
    fn found(&self) -> Vec<String> {
        let directory = self.cache.join("rust-virtio");
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.starts_with("toolbox-"))
            .collect();
        names.sort();
        names
    }

    /// Checks that no toolbox is there.
    fn left_nothing(&self) -> Result<()> {
        let found = self.found();
        ensure!(found.is_empty(), "it leaves {found:?}");
        Ok(())
    }

    /// Checks that exactly one toolbox is there, and that it works.
    fn works(&self) -> Result<()> {
        let printed = self.call(&["run", "sh", "-c", "echo $((6 * 7)); ls -d /proc/self"])?;
        ensure!(
            printed.success && printed.text == "42\n/proc/self\n",
            "{}",
            printed.text
        );
        ensure!(self.found().len() == 1, "the cache has {:?}", self.found());
        Ok(())
    }
}

/// Killed in each phase, it leaves nothing that hurts the next run, which removes the rest.
pub fn is_restartable(cx: &mut Cx) -> Result<()> {
    let toolbox = Toolbox::new(cx, "zstd\n")?;
    for (phase, delay) in [("base system", 4), ("packages", 1), ("Rust", 0)] {
        let mut child = toolbox.start(&["make"])?;
        let mut errors = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
        let mut line = String::new();
        while !line.contains(phase) {
            line.clear();
            let read = std::io::BufRead::read_line(&mut errors, &mut line)?;
            ensure!(read > 0, "it ends before phase {phase}");
        }
        thread::sleep(Duration::from_secs(delay));
        child.kill()?;
        child.wait()?;
        let finished: Vec<_> = toolbox
            .found()
            .into_iter()
            .filter(|name| !name.contains(".tmp"))
            .collect();
        ensure!(
            finished.is_empty(),
            "killed in phase {phase}, it leaves {finished:?}"
        );
    }

    // Two at once: one makes it, the other waits.
    let children = [toolbox.start(&["make"])?, toolbox.start(&["make"])?];
    let mut texts = String::new();
    for child in children {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{text}");
        texts.push_str(&text);
    }
    ensure!(texts.matches("ready after").count() == 1, "{texts}");
    ensure!(
        texts.contains("another run is making it, waiting"),
        "{texts}"
    );
    toolbox.works()?;

    // What an older version of the project has left is not used, and can be removed.
    let old = toolbox.cache.join("rust-virtio/toolbox-000000000000");
    fs::create_dir(&old)?;
    let printed = toolbox.call(&["clean"])?;
    ensure!(printed.success && !old.exists(), "{}", printed.text);
    toolbox.works()
}

/// Each failure ends in one line that says what to do, and leaves nothing.
pub fn says_what_is_wrong(cx: &mut Cx) -> Result<()> {
    cx.case("missing_package", |cx| {
        let toolbox = Toolbox::new(cx, "no-such-package\n")?;
        toolbox.call(&["make"])?.fails_with(&[
            "Unable to locate package no-such-package",
            "not on the mirror",
        ])?;
        toolbox.left_nothing()
    });
    cx.case("no_network", |cx| {
        let toolbox = Toolbox::new(cx, "zstd\n")?;
        let configuration = toolbox.packages.with_file_name("apt.conf");
        let proxy = "http://127.0.0.1:9";
        fs::write(
            &configuration,
            format!("Acquire::http::Proxy \"{proxy}\";\nAcquire::https::Proxy \"{proxy}\";\n"),
        )?;
        let printed = call(toolbox.command(&["make"]).env("APT_CONFIG", &configuration))?;
        printed.fails_with(&["the Debian mirror cannot be reached", "check the network"])?;
        toolbox.left_nothing()
    });
    cx.case("no_space", |cx| {
        let toolbox = Toolbox::new(cx, "zstd\n")?;
        mount(&toolbox.cache, "100m")?;
        toolbox.call(&["make"])?.fails_with(&[
            "GiB are needed",
            "MiB are free",
            "XDG_CACHE_HOME",
        ])?;
        toolbox.left_nothing()
    });
    cx.case("disk_full_on_the_way", |cx| {
        let toolbox = Toolbox::new(cx, "zstd\n")?;
        mount(&toolbox.cache, "4500m")?;
        let child = toolbox.start(&["make"])?;
        // Its own check of the space comes before this.
        super::wait_until("the base system is begun", || {
            toolbox.found().iter().any(|name| name.ends_with(".tmp"))
        })?;
        Command::new("fallocate")
            .args(["-l", "4400m"])
            .arg(toolbox.cache.join("ballast"))
            .status()?;
        let output = child.wait_with_output()?;
        Printed::from(&output).fails_with(&["the disk is full", "XDG_CACHE_HOME"])?;
        toolbox.left_nothing()
    });
    cx.case("somebody_elses_cache", |cx| {
        let toolbox = Toolbox::new(cx, "zstd\n")?;
        fs::create_dir(&toolbox.cache)?;
        as_nobody(&toolbox, &["make"])?.fails_with(&["cannot be written", "XDG_CACHE_HOME"])
    });
    cx.case("no_range_of_users", |cx| {
        let toolbox = Toolbox::new(cx, "zstd\n")?;
        fs::create_dir(&toolbox.cache)?;
        let status = Command::new("chown")
            .arg("nobody")
            .arg(&toolbox.cache)
            .status()?;
        ensure!(status.success(), "chown fails");
        as_nobody(&toolbox, &["make"])?
            .fails_with(&["nobody has no range of users", "usermod --add-subuids"])
    });
    Ok(())
}

/// Mounts a file system of a given size; it ends with the test's mount name space.
fn mount(path: &Path, size: &str) -> Result<()> {
    fs::create_dir_all(path)?;
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
        .arg(path)
        .status()?;
    ensure!(status.success(), "a tmpfs cannot be mounted");
    Ok(())
}

/// Calls it as a user who owns nothing.
fn as_nobody(toolbox: &Toolbox, arguments: &[&str]) -> Result<Printed> {
    // The project may lie where only root may go.
    let base = toolbox.packages.with_file_name("project");
    fs::create_dir_all(base.join("scripts"))?;
    fs::copy(
        paths::project().join("scripts/toolbox"),
        base.join("scripts/toolbox"),
    )?;
    call(
        Command::new("setpriv")
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
            .arg(base.join("scripts/toolbox"))
            .args(arguments)
            .env_remove("RUST_VIRTIO_TOOLBOX")
            .env("XDG_CACHE_HOME", &toolbox.cache)
            .env("RUST_VIRTIO_PACKAGES", &toolbox.packages),
    )
}
