// SPDX-License-Identifier: GPL-2.0

//! Guests whose root file system is on a disk.
//!
//! The disk has what the initial file system has; that one loads a module, mounts the disk, and goes
//! on there: see `tests/guest/init`.

use super::Builder;
use crate::paths::Scratch;
use anyhow::{Context, Result, bail};
use std::{fs::File, path::Path, process::Command};

impl Builder {
    /// Makes an ext4 file system in file `image`, of this size, with all that the guest has.
    pub fn write_root(&self, image: &Path, mebibytes: u32) -> Result<()> {
        let scratch = Scratch::new()?;
        let archive = scratch.path().join("initrd");
        self.write_initrd(&archive)?;
        let output = Command::new("sh")
            .args([
                "-ec",
                "cd \"$1\"; mkdir root; cd root
                 cpio --quiet --extract --make-directories
                 mkdir -p dev
                 mke2fs -q -t ext4 -d . \"$2\" \"$3\"",
                "-",
            ])
            .arg(scratch.path())
            .arg(image)
            .arg(format!("{mebibytes}M"))
            .stdin(File::open(archive)?)
            .output()
            .context("making a root file system")?;
        if !output.status.success() {
            bail!(
                "no root file system is made: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Has the guest load a module, and go on from this disk.
    pub fn root(self, module: &str, disk: &str) -> Self {
        self.append(&format!("rv.module={module} rv.root=/dev/{disk}"))
    }
}
