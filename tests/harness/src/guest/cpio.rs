// SPDX-License-Identifier: GPL-2.0

//! Writer of the archive format that the kernel unpacks as its initial root file system.
//!
//! The format ("newc") is described in the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`.

use anyhow::{Context, Result};
use std::{collections::BTreeSet, io::Write, path::Path};

const DIRECTORY: u32 = 0o040_755;
const SYMLINK: u32 = 0o120_777;
const FILE: u32 = 0o100_644;
const PROGRAM: u32 = 0o100_755;
const DEVICE: u32 = 0o020_600;

/// An archive that is being written.
pub struct Archive<W: Write> {
    out: W,
    entries: u32,
    directories: BTreeSet<String>,
}

impl<W: Write> Archive<W> {
    /// Starts an archive with `/dev/console`, which the kernel opens before anything is mounted.
    pub fn new(out: W) -> Result<Self> {
        let mut archive = Self {
            out,
            entries: 0,
            directories: BTreeSet::new(),
        };
        archive.parents("dev/console")?;
        archive.entry("dev/console", DEVICE, (5, 1), &[])?;
        Ok(archive)
    }

    /// Adds a directory, and those above it. `path` has no leading slash.
    pub fn directory(&mut self, path: &str) -> Result<()> {
        self.parents(path)?;
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY, (0, 0), &[])?;
        }
        Ok(())
    }

    /// Adds a file that anybody may read.
    pub fn file(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, FILE, (0, 0), content)
    }

    /// Adds a program.
    pub fn program(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.parents(path)?;
        self.entry(path, PROGRAM, (0, 0), content)
    }

    /// Adds a symbolic link.
    pub fn symlink(&mut self, path: &str, target: &str) -> Result<()> {
        self.parents(path)?;
        self.entry(path, SYMLINK, (0, 0), target.as_bytes())
    }

    /// Writes the end of the archive, and gives the output back.
    pub fn finish(mut self) -> Result<W> {
        self.entry("TRAILER!!!", 0, (0, 0), &[])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn parents(&mut self, path: &str) -> Result<()> {
        match Path::new(path).parent().and_then(Path::to_str) {
            None | Some("") => Ok(()),
            Some(parent) => self.directory(parent),
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) -> Result<()> {
        let size = u32::try_from(content.len())
            .with_context(|| format!("{name} does not fit in the archive"))?;
        let name_size = u32::try_from(name.len() + 1)?;
        self.entries += 1;

        // Inode, mode, user, group, links, time, size, device, device of the node, name, checksum.
        let fields = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }

        self.out.write_all(header.as_bytes())?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(header.len() + name.len() + 1)?;
        self.out.write_all(content)?;
        self.pad(content.len())
    }

    fn pad(&mut self, written: usize) -> Result<()> {
        let padding = written.next_multiple_of(4) - written;
        self.out.write_all(&[0; 3][..padding])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_lists_what_was_added() {
        let mut archive = Archive::new(Vec::new()).expect("writing to memory");
        archive.file("a/b/file", b"12345").expect("a file");
        archive.symlink("a/link", "b/file").expect("a link");
        archive.program("a/b/run", b"").expect("a program");
        let bytes = archive.finish().expect("the end");

        let mut cpio = std::process::Command::new("cpio")
            .args(["--list", "--quiet", "--verbose"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("cpio is in the toolbox");
        cpio.stdin
            .take()
            .expect("a pipe")
            .write_all(&bytes)
            .expect("cpio reads");
        let output = cpio.wait_with_output().expect("cpio ends");
        let list = String::from_utf8(output.stdout).expect("text");

        assert!(output.status.success());
        let names: Vec<_> = list
            .lines()
            .filter_map(|line| line.split_whitespace().nth(8))
            .collect();
        assert_eq!(names[0], "dev");
        assert!(list.contains("5,   1"), "{list}");
        assert!(list.contains("a/link -> b/file"), "{list}");
        assert!(list.contains("-rwxr-xr-x"), "{list}");
        assert!(
            list.lines()
                .any(|line| line.contains(" 5 ") && line.ends_with("a/b/file"))
        );
    }
}
