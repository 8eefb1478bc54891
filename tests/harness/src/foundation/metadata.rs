// SPDX-License-Identifier: GPL-2.0

//! `scripts/rust-kernel-headers`: what it makes works, and what it cannot do it says.

use super::{Printed, call, copy_of};
use crate::{
    cx::Cx,
    guest::Builder,
    kernel::{CLOUD, Kernel, OLDER, STOCK},
    paths,
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What the module of `tests/guest/probe` says.
const SAID: &str =
    "rust_probe: sums [1, 3, 6, 10, 15, 21, 28, 36, 45, 55]\nrust_probe: bye, 10 sums\n";

/// Somebody else's module, built for three kernels, is loaded in each.
pub fn modules_load_in_their_kernels(cx: &mut Cx) -> Result<()> {
    for flavour in [STOCK, CLOUD, OLDER] {
        cx.case(flavour, |cx| builds_and_loads(cx, flavour));
    }
    Ok(())
}

fn builds_and_loads(cx: &mut Cx, flavour: &str) -> Result<()> {
    let kernel = Kernel::find(flavour)?;
    let source = cx.artefacts().join(format!("probe-{flavour}"));
    copy_of(&paths::project().join("tests/guest/probe"), &source)?;
    let built = call(
        Command::new("make")
            .arg("-C")
            .arg(&kernel.tree)
            .arg(format!("M={}", source.display()))
            .arg("CC=x86_64-linux-gnu-gcc-14")
            .arg("KRUSTFLAGS=-Dwarnings")
            .env_remove("MAKEFLAGS"),
    )?;
    ensure!(built.success, "make fails:\n{}", built.text);
    ensure!(
        !built.text.contains("warning"),
        "make warns:\n{}",
        built.text
    );

    let guest = cx.boot(
        &Builder::new(&kernel)
            .name(flavour)
            .module_file(&source.join("rust_probe.ko")),
    )?;
    let said = guest.sh("modprobe rust_probe; rmmod rust_probe; uname -r
         dmesg | sed -n 's/^\\[[^]]*\\] \\(rust_probe: [sb]\\)/\\1/p'")?;
    let expected = format!("{}\n{SAID}", kernel.release);
    ensure!(
        said == expected,
        "the guest says\n{said}\ninstead of\n{expected}"
    );
    Ok(())
}

/// A cache with the package lists of the real one, and a program path in which some are replaced.
struct Fake {
    cache: PathBuf,
    bin: PathBuf,
}

impl Fake {
    fn new(cx: &mut Cx) -> Result<Self> {
        let base = cx.scratch()?;
        let (cache, bin) = (base.join("cache"), base.join("bin"));
        fs::create_dir_all(&cache)?;
        fs::create_dir_all(&bin)?;
        copy_of(&paths::cache()?.join("kernels/.apt"), &cache.join(".apt"))?;
        Ok(Self { cache, bin })
    }

    /// Replaces a program by a script.
    fn replace(&self, name: &str, script: &str) -> Result<()> {
        let path = self.bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let path = std::env::var("PATH")?;
        let mut command = Command::new(paths::project().join("scripts/rust-kernel-headers"));
        command
            .arg("--cache")
            .arg(&self.cache)
            .args(arguments)
            .env("PATH", format!("{}:{path}", self.bin.display()));
        Ok(command)
    }

    fn call(&self, arguments: &[&str]) -> Result<Printed> {
        call(&mut self.command(arguments)?)
    }

    /// Calls it, and checks that it fails with a last line that has all of `parts`, and that it
    /// leaves no half-made tree.
    fn refuses(&self, arguments: &[&str], parts: &[&str]) -> Result<()> {
        let printed = self.call(arguments)?;
        printed.fails_with(parts)?;
        for entry in fs::read_dir(&self.cache)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            ensure!(
                [".apt", ".lock", ".alias"].contains(&name.as_ref()),
                "{name} is left over after: {}",
                printed.text
            );
        }
        Ok(())
    }
}

/// Everything that stands between a user and a tree is said in one line.
pub fn says_what_is_wrong(cx: &mut Cx) -> Result<()> {
    cx.case("unknown_abi", |cx| {
        Fake::new(cx)?.refuses(
            &["7.3.99+deb13-amd64"],
            &["unknown ABI", "linux-headers-7.3.99+deb13-amd64"],
        )
    });
    cx.case("unknown_series", |cx| {
        Fake::new(cx)?.refuses(&["9.9-amd64"], &["the mirror has no kernel 9.9-amd64"])
    });
    cx.case("not_a_kernel", |cx| {
        Fake::new(cx)?.refuses(&["hello"], &["'hello' is neither an ABI"])
    });
    cx.case("kernel_without_rust", |cx| {
        let fake = Fake::new(cx)?;
        let list = fake.call(&["--list"])?;
        let old = list
            .text
            .lines()
            .find(|abi| {
                abi.starts_with("6.12.") && abi.ends_with("-amd64") && !abi.contains("cloud")
            })
            .context("the mirror has no 6.12 kernel")?
            .to_owned();
        fake.refuses(&[&old], &[&old, "without CONFIG_RUST"])
    });
    cx.case("another_rustc", |cx| {
        let fake = Fake::new(cx)?;
        fake.replace("rustc", "echo 'rustc 1.99.0 (0123456 2030-01-01)'")?;
        fake.refuses(&[STOCK], &["rustc differs", "rustc 1.99.0", "rustc 1.85.1"])
    });
    cx.case("no_matching_source", |cx| {
        let fake = Fake::new(cx)?;
        fake.replace(
            "apt-cache",
            "/usr/bin/apt-cache \"$@\" | sed '/^ *linux-source/s/| [^|]* |/| 7.3.99-1 |/'",
        )?;
        fake.refuses(
            &[STOCK],
            &["no matching linux-source", "the mirror has 7.3.99-1"],
        )
    });
    cx.case("missing_tool", |cx| {
        let fake = Fake::new(cx)?;
        // The shell's own look-up finds no program of that name.
        let path = fake.bin.join("path");
        only_without(&path, "bindgen")?;
        let printed = call(
            Command::new("bash")
                .arg(paths::project().join("scripts/rust-kernel-headers"))
                .arg("--cache")
                .arg(&fake.cache)
                .arg(STOCK)
                .env("PATH", &path),
        )?;
        printed.fails_with(&["missing: bindgen", "apt-get install"])
    });
    cx.case("no_network", |cx| {
        let fake = Fake::new(cx)?;
        fs::remove_dir_all(fake.cache.join(".apt"))?;
        fake.replace("apt-get", "exec /usr/bin/apt-get -o Acquire::http::Proxy=http://127.0.0.1:9 -o Acquire::https::Proxy=http://127.0.0.1:9 -o Acquire::Retries=0 \"$@\"")?;
        fake.refuses(&[STOCK], &["package lists cannot be read", "check the network"])?;

        // Lists that are there stay: what needs no network goes on.
        fs::remove_dir_all(fake.cache.join(".apt"))?;
        copy_of(&paths::cache()?.join("kernels/.apt"), &fake.cache.join(".apt"))?;
        fake.call(&["--update", "--list"])?.fails_with(&["package lists cannot be read"])?;
        let list = fake.call(&["--list"])?;
        ensure!(list.success && list.text.contains("7.3."), "{}", list.text);
        Ok(())
    });
    cx.case("no_space", |cx| {
        let fake = Fake::new(cx)?;
        fake.replace("df", "printf 'Avail\\n200000\\n'")?;
        fake.refuses(&[STOCK], &["MiB are needed", "195 MiB are free"])
    });
    cx.case("disk_full_on_the_way", |cx| {
        let fake = Fake::new(cx)?;
        fake.replace(
            "dpkg-deb",
            "echo 'dpkg-deb: error: No space left on device' >&2; exit 2",
        )?;
        fake.refuses(&[STOCK], &["the disk is full"])
    });
    cx.case("cache_of_somebody_else", |_| {
        let printed = call(
            Command::new(paths::project().join("scripts/rust-kernel-headers")).args([
                "--cache",
                "/proc/nowhere",
                STOCK,
            ]),
        )?;
        printed.fails_with(&["/proc/nowhere cannot be written"])
    });
    Ok(())
}

/// Makes a directory with links to every program of the toolbox but one.
fn only_without(directory: &Path, missing: &str) -> Result<()> {
    fs::create_dir_all(directory)?;
    for bin in ["/usr/sbin", "/usr/bin"] {
        for entry in fs::read_dir(bin)? {
            let entry = entry?;
            let link = directory.join(entry.file_name());
            if entry.file_name() != missing && !link.exists() {
                std::os::unix::fs::symlink(entry.path(), link)?;
            }
        }
    }
    Ok(())
}

/// Stands in for a build of a tree: it takes 2 seconds, and makes what the script looks for.
const MAKE: &str = r#"
for i; do
	case $i in
	O=*) tree=${i#O=} ;;
	prepare) prepare=1 ;;
	esac
done
mkdir -p "$tree/include/config" "$tree/include/generated" "$tree/rust"
[ -n "$prepare" ] || exit 0
touch "$tree/begun"
sleep 2
[ -e "$tree/begun" ] && touch "$tree/rust/libkernel.rmeta"
"#;

/// Killed while it works, it begins again the next time; two at once make one tree.
pub fn is_restartable(cx: &mut Cx) -> Result<()> {
    let fake = Fake::new(cx)?;
    fake.replace("make", MAKE)?;
    let release = Kernel::find(STOCK)?.release;
    let kernels = paths::cache()?.join("kernels");
    for entry in fs::read_dir(kernels)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("linux-source-")
        {
            std::os::unix::fs::symlink(entry.path(), fake.cache.join(entry.file_name()))?;
        }
    }
    let tree = fake.cache.join(&release).join("build");

    let mut killed = fake.command(&[&release])?.spawn()?;
    super::wait_until("make is begun", || tree.join("begun").exists())?;
    killed.kill()?;
    killed.wait()?;
    ensure!(
        !tree.join(".rust-kernel-headers").exists(),
        "the tree was ready too early"
    );

    let mut calls = Vec::new();
    for _ in 0..2 {
        let mut command = fake.command(&[&release])?;
        calls.push(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()?,
        );
    }
    let mut made = 0;
    for child in calls {
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "it fails: {errors}");
        let path = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        ensure!(path == tree, "it prints {}", path.display());
        made += u32::from(errors.contains("is ready after"));
    }
    ensure!(made == 1, "the tree was made {made} times");
    ensure!(
        tree.join("rust/libkernel.rmeta").exists(),
        "the tree is not complete"
    );

    // A tree of an older version of the script is made again; a current one is not.
    let again = fake.call(&[&release])?;
    ensure!(
        again.success && !again.text.contains("building"),
        "{}",
        again.text
    );
    fs::write(tree.join(".rust-kernel-headers"), "recipe 0\n")?;
    let printed = fake.call(&[&release])?;
    ensure!(
        printed.success && printed.text.contains("is ready after"),
        "{}",
        printed.text
    );
    Ok(())
}
