// SPDX-License-Identifier: GPL-2.0

//! Where things are.

use anyhow::{Context, Result, ensure};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The root of the project's sources.
pub fn project() -> &'static Path {
    static PROJECT: OnceLock<PathBuf> = OnceLock::new();
    PROJECT.get_or_init(|| {
        // This crate is in tests/harness.
        let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
    })
}

/// The project's cache: the toolbox, kernels, ...
pub fn cache() -> Result<PathBuf> {
    env::var_os("RUST_VIRTIO_CACHE")
        .map(PathBuf::from)
        .context("RUST_VIRTIO_CACHE is not set: this runs in the toolbox, see make help")
}

/// A program of this workspace, which was built together with this one.
pub fn built(name: &str) -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is not built: make harness",
        path.display()
    );
    Ok(path)
}

/// Where what a failed test leaves is kept.
pub fn artefacts() -> PathBuf {
    project().join("build/artefacts")
}

/// A directory that ends with its owner. Its name is short, as those of sockets must be.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes a directory.
    pub fn new() -> Result<Self> {
        let base = env::temp_dir();
        for attempt in 0_u32.. {
            let path = base.join(format!("rv-{}-{attempt}", std::process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("making {}", path.display()));
                }
            }
        }
        unreachable!("the loop has no end")
    }

    /// Returns its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed lies in a directory for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
