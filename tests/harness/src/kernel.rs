// SPDX-License-Identifier: GPL-2.0

//! The kernels that guests boot, and the modules that were built for them.

use crate::paths;
use anyhow::{Context, Result, bail, ensure};
use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
};

/// The architecture of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// That of the toolbox.
    Amd64,
    /// 64 bits of Arm: its guests are emulated, and have programs of their own.
    Arm64,
}

impl Arch {
    /// Returns that of the kernel which `scripts/kernel` calls `flavour`.
    fn of(flavour: &str) -> Self {
        if flavour.split('-').any(|word| word == "arm64") {
            Self::Arm64
        } else {
            Self::Amd64
        }
    }
}

/// A stock or debug kernel, with its modules.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What `scripts/kernel` calls it.
    pub flavour: String,
    /// What `uname -r` calls it.
    pub release: String,
    /// Its build tree.
    pub tree: PathBuf,
    /// Its image.
    pub image: PathBuf,
    /// Where its own modules are: `kernel`, `modules.dep`, ...
    pub modules: PathBuf,
    /// What it runs on.
    pub arch: Arch,
    /// The root directory of the programs that its guests have.
    pub programs: PathBuf,
}

/// The distribution's newest kernel.
pub const STOCK: &str = "7.3-amd64";
/// The distribution's kernel for virtual machines.
pub const CLOUD: &str = "7.3-cloud-amd64";
/// The distribution's kernel of the series before.
pub const OLDER: &str = "7.2-amd64";
/// The distribution's newest kernel for Arm.
pub const ARM64: &str = "7.3-arm64";
/// The same, with larger pages.
pub const ARM64_16K: &str = "7.3-arm64-16k";
/// The kernel with every check.
pub const DEBUG: &str = "debug";

impl Kernel {
    /// Finds the kernel that `scripts/kernel` calls `flavour`. If it is not there, it is made.
    pub fn find(flavour: &str) -> Result<Self> {
        let tree = printed_path("kernel", flavour)?;
        let arch = Arch::of(flavour);
        let programs = match arch {
            Arch::Amd64 => PathBuf::from("/"),
            Arch::Arm64 => printed_path("userland", flavour)?,
        };
        let release = fs::read_to_string(tree.join("include/config/kernel.release"))
            .with_context(|| format!("reading the release of {}", tree.display()))?
            .trim()
            .to_owned();
        let kernel = tree.with_file_name("kernel");
        Ok(Self {
            flavour: flavour.to_owned(),
            image: kernel.join("vmlinuz"),
            modules: kernel.join("lib/modules").join(&release),
            release,
            tree,
            arch,
            programs,
        })
    }

    /// Tells whether this is the kernel with KASAN, lockdep, kmemleak, ...
    pub fn is_debug(&self) -> bool {
        self.flavour == DEBUG
    }

    /// Finds a module that was built here, by its name.
    pub fn built_module(&self, name: &str) -> Result<PathBuf> {
        let build = paths::project().join("build");
        let file = format!("{name}.ko");
        for directory in [self.release.clone(), format!("{}-tests", self.release)] {
            let path = build.join(directory).join(&file);
            if path.exists() {
                return Ok(path);
            }
        }
        bail!(
            "{file} is not built for {}: make modules test-modules FLAVOUR={}",
            self.release,
            self.flavour
        );
    }

    /// Finds a program of this workspace, which was built for its guests.
    pub fn built_program(&self, name: &str) -> Result<PathBuf> {
        if self.arch == Arch::Amd64 {
            return paths::built(name);
        }
        // Cargo puts it beside ours.
        let ours = env::current_exe()?;
        let target = ours.ancestors().nth(2).context("an odd place")?;
        let path = target.join("aarch64-unknown-linux-gnu/release").join(name);
        ensure!(path.exists(), "{} is not built", path.display());
        Ok(path)
    }

    /// Finds modules that come with the kernel, and those that they need, as paths in
    /// [`Kernel::modules`]. What is built into the kernel needs no module.
    pub fn own_modules(&self, names: &[String]) -> Result<Vec<String>> {
        let dep = fs::read_to_string(self.modules.join("modules.dep"))
            .with_context(|| format!("reading the modules of {}", self.release))?;
        let builtin = fs::read_to_string(self.modules.join("modules.builtin"))?;
        let mut found = Vec::new();
        for name in names {
            if let Some(line) = dep.lines().find(|line| {
                line.split_once(':')
                    .is_some_and(|(path, _)| module_name(path) == *name)
            }) {
                for path in line.split([':', ' ']).filter(|path| !path.is_empty()) {
                    if !found.iter().any(|known| known == path) {
                        found.push(path.to_owned());
                    }
                }
            } else if !builtin.lines().any(|path| module_name(path) == *name) {
                bail!("the kernel {} has no module {name}", self.release);
            }
        }
        Ok(found)
    }
}

/// Returns the path that a script prints for a kernel.
fn printed_path(script: &str, flavour: &str) -> Result<PathBuf> {
    let output = Command::new(paths::project().join("scripts").join(script))
        .arg(flavour)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running scripts/{script}"))?;
    ensure!(output.status.success(), "there is no {script} {flavour}");
    Ok(String::from_utf8(output.stdout)?.trim().into())
}

/// Returns the name of the module in a file, as the kernel writes it.
pub fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flavours_tell_the_architecture() {
        assert_eq!(Arch::of(STOCK), Arch::Amd64);
        assert_eq!(Arch::of(DEBUG), Arch::Amd64);
        assert_eq!(Arch::of("7.3.4+deb13-cloud-arm64"), Arch::Arm64);
        assert_eq!(Arch::of(ARM64_16K), Arch::Arm64);
    }

    #[test]
    fn module_names_are_those_of_the_kernel() {
        assert_eq!(
            module_name("kernel/net/9p/9pnet-virtio.ko.xz"),
            "9pnet_virtio"
        );
        assert_eq!(module_name("splat.ko"), "splat");
    }
}
