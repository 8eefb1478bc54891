// SPDX-License-Identifier: GPL-2.0

//! `make modules`: quiet, incremental, for several kernels, natively; and clear about mistakes.

use super::{Printed, call, copy_of_project};
use crate::{
    cx::Cx,
    kernel::{Kernel, OLDER, STOCK},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How much time of the CPUs a build may take that has nothing to do.
const IDLE_BUILD: Duration = Duration::from_secs(3);

/// How many ticks `/proc` counts in a second.
const TICKS: f64 = 100.0;

/// Returns how much time of the CPUs this process' children have taken that have ended: what else the
/// machine does is not in it.
fn time_of_children() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(") ").context("an odd line")?;
    // The state, which comes first here, is the third field.
    let ticks = fields.split(' ').skip(13).take(2).map(str::parse::<u32>);
    let ticks: u32 = ticks.sum::<Result<u32, _>>()?;
    Ok(Duration::from_secs_f64(f64::from(ticks) / TICKS))
}

fn make(project: &Path, arguments: &[&str]) -> Result<Printed> {
    call(
        Command::new("make")
            .arg("-C")
            .arg(project)
            .arg("--no-print-directory")
            .args(arguments)
            .env_remove("MAKEFLAGS")
            .env_remove("MFLAGS")
            .env_remove("FLAVOUR"),
    )
}

fn project(cx: &Cx) -> Result<PathBuf> {
    let project = cx.artefacts().join("project");
    copy_of_project(&project)?;
    Ok(project)
}

/// Changes a file in a way that changes its object.
fn append(path: &Path, text: &str) -> Result<()> {
    File::options()
        .append(true)
        .open(path)?
        .write_all(text.as_bytes())?;
    Ok(())
}

/// What is not changed is not built again.
pub fn is_incremental(cx: &mut Cx) -> Result<()> {
    let project = project(cx)?;
    let first = make(&project, &["W=1"])?;
    ensure!(
        first.success && first.text.contains("rust_virtio_minimal.ko"),
        "{}",
        first.text
    );
    ensure!(
        !first.text.contains("warning"),
        "W=1 warns:\n{}",
        first.text
    );

    let before = time_of_children()?;
    ensure!(before > IDLE_BUILD, "a build takes {before:.1?}");
    let second = make(&project, &["W=1"])?;
    let time = time_of_children()? - before;
    ensure!(
        second.success && second.text.is_empty(),
        "the second make prints\n{}",
        second.text
    );
    ensure!(time < IDLE_BUILD, "the second make takes {time:.1?}");

    for (file, change, built, kept) in [
        (
            "samples/virtio_minimal.rs",
            "// Changed.\n",
            "RUSTC [M] samples/virtio_minimal.o",
            "kernel_ext/lib.o",
        ),
        (
            "rust/helpers/virtio.c",
            "\nint changed(void);\nint changed(void)\n{\n\treturn 0;\n}\n",
            "CC [M]  rust/helpers/virtio.o",
            "RUSTC",
        ),
        (
            "rust/kernel_ext/virtio.rs",
            "// Changed.\n",
            "RUSTC [M] rust/kernel_ext/lib.o",
            "BINDGEN",
        ),
        (
            "rust/helpers/helpers.h",
            "int another(void);\n",
            "BINDGEN rust/bindings/bindings_generated.rs",
            "RUSTDOC",
        ),
    ] {
        append(&project.join(file), change)?;
        let printed = make(&project, &["W=1"])?;
        ensure!(
            printed.success,
            "after a change of {file}:\n{}",
            printed.text
        );
        ensure!(
            printed.text.contains(built),
            "{file} does not rebuild {built}:\n{}",
            printed.text
        );
        ensure!(
            !printed.text.contains(kept),
            "{file} rebuilds {kept}:\n{}",
            printed.text
        );
        let again = make(&project, &["W=1"])?;
        ensure!(
            again.text.is_empty(),
            "after {file}, a second make prints\n{}",
            again.text
        );
    }
    Ok(())
}

/// Two at once wait for each other; a killed one is gone on with.
pub fn is_restartable(cx: &mut Cx) -> Result<()> {
    let project = project(cx)?;
    let kernel = Kernel::find(STOCK)?;
    let out = project.join("build").join(&kernel.release);

    let mut killed = Command::new("setsid")
        .args(["make", "-C"])
        .arg(&project)
        .env_remove("MAKEFLAGS")
        .spawn()?;
    super::wait_until("the bindings are there", || {
        out.join("rust/bindings/bindings_generated.rs").exists()
    })?;
    Command::new("pkill")
        .args(["-KILL", "-s", &killed.id().to_string()])
        .status()?;
    killed.wait()?;
    ensure!(
        !out.join("rust_virtio_minimal.ko").exists(),
        "the build was too fast"
    );

    let mut builds = Vec::new();
    for _ in 0..2 {
        builds.push(
            Command::new("make")
                .arg("-C")
                .arg(&project)
                .env_remove("MAKEFLAGS")
                .stderr(std::process::Stdio::piped())
                .spawn()?,
        );
    }
    for build in builds {
        let output = build.wait_with_output()?;
        ensure!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    ensure!(
        out.join("rust_virtio_minimal.ko").exists(),
        "there is no module"
    );
    let again = make(&project, &[])?;
    ensure!(
        again.success && again.text.is_empty(),
        "then make prints\n{}",
        again.text
    );
    Ok(())
}

/// With `KDIR=`, without the toolbox, as on a machine that has everything.
pub fn is_native_with_kdir(cx: &mut Cx) -> Result<()> {
    let project = project(cx)?;
    let kernel = Kernel::find(STOCK)?;
    let printed = call(
        Command::new("make")
            .arg("-C")
            .arg(&project)
            .args(["modules", &format!("KDIR={}", kernel.tree.display())])
            .env_remove("MAKEFLAGS")
            .env_remove("RUST_VIRTIO_TOOLBOX")
            .env_remove("RUST_VIRTIO_CACHE"),
    )?;
    ensure!(printed.success, "{}", printed.text);
    let module = project
        .join("build")
        .join(&kernel.release)
        .join("rust_virtio_minimal.ko");
    ensure!(module.exists(), "there is no {}", module.display());

    let root = cx.artefacts().join("root");
    let root_argument = format!("INSTALL_MOD_PATH={}", root.display());
    let printed = make(&project, &["modules_install", &root_argument])?;
    ensure!(printed.success, "{}", printed.text);
    let installed = root
        .join("lib/modules")
        .join(&kernel.release)
        .join("updates");
    ensure!(
        installed.join("rust_virtio_minimal.ko.xz").exists(),
        "{}",
        printed.text
    );
    ensure!(
        !printed.text.contains("rror"),
        "modules_install complains:\n{}",
        printed.text
    );
    Ok(())
}

/// Each mistake ends in a line that says what to do.
pub fn says_what_is_wrong(cx: &mut Cx) -> Result<()> {
    let project = project(cx)?;
    let empty = project.join("LICENSES");
    let source = fs::canonicalize(Kernel::find(STOCK)?.tree.join("source"))?;
    for (name, argument, parts) in [
        (
            "missing_kdir",
            "KDIR=/nowhere".to_owned(),
            &["KDIR=/nowhere: there is no such directory"][..],
        ),
        (
            "wrong_kdir",
            format!("KDIR={}", empty.display()),
            &["is no build tree", "rust-kernel-headers"],
        ),
        (
            "unprepared_source",
            format!("KDIR={}", source.display()),
            &["is no build tree", "rust-kernel-headers"],
        ),
        (
            "unknown_flavour",
            "FLAVOUR=9.9-amd64".to_owned(),
            &["no kernel 9.9-amd64"],
        ),
        (
            "old_kernel",
            format!("FLAVOUR={OLDER}"),
            &["is too old", "7.3"],
        ),
    ] {
        cx.case(name, |_| {
            let printed = make(&project, &["modules", &argument])?;
            ensure!(!printed.success, "make succeeds:\n{}", printed.text);
            let said = printed
                .text
                .lines()
                .any(|line| parts.iter().all(|part| line.contains(part)));
            ensure!(said, "no line has {parts:?}:\n{}", printed.text);
            Ok(())
        });
    }
    Ok(())
}
