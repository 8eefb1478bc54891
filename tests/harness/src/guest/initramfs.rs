// SPDX-License-Identifier: GPL-2.0

//! The initial root file system of a guest: a shell, tools with their libraries, modules.

use super::{cpio::Archive, programs::Programs};
use crate::{
    kernel::Kernel,
    paths::{self, Scratch},
};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// What a guest's root file system contains.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// Programs of the toolbox, or paths of programs.
    pub tools: Vec<String>,
    /// Modules that come with the kernel, by their names.
    pub kernel_modules: Vec<String>,
    /// Files of modules that were built here.
    pub modules: Vec<PathBuf>,
    /// Other files, by their paths in the guest.
    pub files: Vec<(String, Vec<u8>)>,
}

impl Contents {
    /// Writes the archive for `kernel`.
    pub fn write<W: Write>(&self, kernel: &Kernel, out: W) -> Result<W> {
        let mut archive = Archive::new(out)?;
        for directory in ["bin", "mnt", "proc", "root", "run", "sbin", "sys", "tmp"] {
            archive.directory(directory)?;
        }
        let init = paths::project().join("tests/guest/init");
        archive.program("init", &read(&init)?)?;
        archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")?;
        archive.file("etc/hosts", b"127.0.0.1 localhost\n")?;

        let programs = Programs::of(kernel);
        archive.program("bin/busybox", &read(&programs.find("busybox")?)?)?;
        let mut libraries = BTreeMap::new();
        for tool in ["dash"]
            .into_iter()
            .chain(self.tools.iter().map(String::as_str))
        {
            let path = programs.find(tool)?;
            libraries.extend(programs.libraries(&path)?);
            let name = path.file_name().context("a program without a name")?;
            archive.program(&format!("usr/bin/{}", name.display()), &read(&path)?)?;
        }
        for (path, library) in libraries {
            archive.program(path.trim_start_matches('/'), &read(&library)?)?;
        }
        // Busybox puts its links to /bin; the shell that it provides is not the one to use.
        archive.symlink("bin/sh", "/usr/bin/dash")?;

        self.write_modules(kernel, &mut archive)?;
        for (path, content) in &self.files {
            archive.program(path.trim_start_matches('/'), content)?;
        }
        archive.finish()
    }

    /// Adds the modules, unpacked, with their own index.
    fn write_modules<W: Write>(&self, kernel: &Kernel, archive: &mut Archive<W>) -> Result<()> {
        let scratch = Scratch::new()?;
        let directory = scratch.path().join("lib/modules").join(&kernel.release);
        for path in kernel.own_modules(&self.kernel_modules)? {
            let (source, target) = (kernel.modules.join(&path), directory.join(&path));
            make_parent(&target)?;
            if path.ends_with(".xz") {
                let unpacked = Command::new("xz").args(["-dc"]).arg(&source).output()?;
                ensure!(unpacked.status.success(), "{} is damaged", source.display());
                fs::write(target.with_extension(""), unpacked.stdout)?;
            } else {
                fs::copy(source, target)?;
            }
        }
        for source in &self.modules {
            let name = source.file_name().context("a module without a name")?;
            let target = directory.join("updates").join(name);
            make_parent(&target)?;
            fs::copy(source, target).with_context(|| format!("reading {}", source.display()))?;
        }

        fs::create_dir_all(&directory)?;
        for index in [
            "modules.builtin",
            "modules.builtin.modinfo",
            "modules.order",
        ] {
            fs::copy(kernel.modules.join(index), directory.join(index))
                .with_context(|| format!("reading {index} of {}", kernel.release))?;
        }
        let depmod = Command::new("depmod")
            .arg("-b")
            .arg(scratch.path())
            .arg(&kernel.release)
            .output()
            .context("running depmod")?;
        if !depmod.status.success() {
            bail!("depmod fails: {}", String::from_utf8_lossy(&depmod.stderr));
        }
        add_tree(archive, scratch.path(), &directory)
    }
}

/// Adds the files below `directory` by their paths below `root`.
fn add_tree<W: Write>(archive: &mut Archive<W>, root: &Path, directory: &Path) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            add_tree(archive, root, &path)?;
        } else if path.extension().is_none_or(|extension| extension != "bin") {
            let name = path.strip_prefix(root)?.to_str().context("an odd name")?;
            archive.file(name, &read(&path)?)?;
        }
    }
    Ok(())
}

fn make_parent(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("reading {}", path.display()))
}
