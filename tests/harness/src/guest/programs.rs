// SPDX-License-Identifier: GPL-2.0

//! The programs of a guest, and the libraries that they need.

use crate::kernel::{Arch, Kernel};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

/// Where the libraries of another architecture are; those of the toolbox say where they are.
const LIBRARIES: &str = "/usr/lib/aarch64-linux-gnu";

/// The programs that run with a kernel.
pub struct Programs<'a> {
    root: &'a Path,
    arch: Arch,
}

impl<'a> Programs<'a> {
    /// Those for this kernel.
    pub fn of(kernel: &'a Kernel) -> Self {
        Self {
            root: &kernel.programs,
            arch: kernel.arch,
        }
    }

    /// Finds one by its name; a path stays what it is.
    pub fn find(&self, name: &str) -> Result<PathBuf> {
        if name.starts_with('/') {
            return Ok(name.into());
        }
        ["usr/local/bin", "usr/sbin", "usr/bin", "sbin", "bin"]
            .iter()
            .map(|directory| self.root.join(directory).join(name))
            .find(|path| path.is_file())
            .with_context(|| format!("{} has no program {name}", self.root.display()))
    }

    /// Finds the libraries that a program needs, its loader among them: by their paths in the guest,
    /// where they are here.
    pub fn libraries(&self, program: &Path) -> Result<BTreeMap<String, PathBuf>> {
        match self.arch {
            Arch::Amd64 => asked_for(program),
            Arch::Arm64 => self.looked_up(program),
        }
    }

    /// Reads from the files what they need: the loader that knows does not run here.
    fn looked_up(&self, program: &Path) -> Result<BTreeMap<String, PathBuf>> {
        let mut found = BTreeMap::new();
        let mut unread = vec![program.to_owned()];
        while let Some(file) = unread.pop() {
            let said = headers(&file)?;
            let directories = of_label(&said, "Library runpath: [").flat_map(|it| it.split(':'));
            let directories: Vec<_> = directories.chain([LIBRARIES]).collect();
            let loader = of_label(&said, "[Requesting program interpreter: ");
            let mut paths: Vec<_> = loader.map(str::to_owned).collect();
            for name in of_label(&said, "Shared library: [") {
                // The loader is there, as the program asks for it.
                if name.starts_with("ld-linux-") {
                    continue;
                }
                let mut candidates = directories.iter().map(|at| format!("{at}/{name}"));
                let path = candidates.find(|path| self.is_here(path));
                paths.push(path.with_context(|| format!("{} needs {name}", file.display()))?);
            }
            for path in paths {
                let here = self.here(&path);
                if found.insert(path, here.clone()).is_none() {
                    unread.push(here);
                }
            }
        }
        Ok(found)
    }

    /// Returns where a path of the guest is here.
    fn here(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn is_here(&self, path: &str) -> bool {
        self.here(path).is_file()
    }
}

/// Asks the loader, which finds them where the guest has them, too.
fn asked_for(program: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("running ldd")?;
    let text = String::from_utf8(output.stdout)?;
    let mut libraries: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
        .map(PathBuf::from)
        .collect();
    // The C library loads this one by name when a thread ends early.
    if let Some(libc) = libraries.iter().find(|path| path.ends_with("libc.so.6")) {
        let unwinder = libc.with_file_name("libgcc_s.so.1");
        if unwinder.exists() && text.contains("libpthread") | program.ends_with("iperf3") {
            libraries.push(unwinder);
        }
    }
    let mut named = BTreeMap::new();
    for library in libraries {
        let path = library.to_str().context("a library with an odd name")?;
        named.insert(path.to_owned(), library);
    }
    Ok(named)
}

/// Returns what the headers of a program, or of a library, say of others.
fn headers(file: &Path) -> Result<String> {
    let output = Command::new("readelf")
        .args(["--wide", "--dynamic", "--program-headers"])
        .arg(file)
        .output()
        .context("running readelf")?;
    ensure!(output.status.success(), "{} is no program", file.display());
    Ok(String::from_utf8(output.stdout)?)
}

/// Returns what stands between a label and the bracket that closes.
fn of_label<'a>(text: &'a str, label: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.split_once(label))
        .filter_map(|(_, rest)| rest.split_once(']'))
        .map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_of_libraries() {
        let said = "      [Requesting program interpreter: /lib/ld-linux-aarch64.so.1]
             0x0000000000000001 (NEEDED) Shared library: [libm.so.6]
             0x0000000000000001 (NEEDED) Shared library: [libc.so.6]
             0x000000000000001d (RUNPATH) Library runpath: [/usr/lib/x/ceph]";
        let of = |label| of_label(said, label).collect::<Vec<_>>();

        assert_eq!(of("Shared library: ["), ["libm.so.6", "libc.so.6"]);
        assert_eq!(of("Library runpath: ["), ["/usr/lib/x/ceph"]);
        assert_eq!(
            of("[Requesting program interpreter: "),
            ["/lib/ld-linux-aarch64.so.1"]
        );
    }
}
