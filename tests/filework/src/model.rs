// SPDX-License-Identifier: GPL-2.0

//! What a directory should contain, and the steps that change both.

use anyhow::{Context, Result, ensure};
use random::Random;
use rustix::fs::{FallocateFlags, fallocate};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, OpenOptions},
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
};

/// How many files there are at most.
const FILES: usize = 64;

/// How many directories they are in.
const DIRECTORIES: usize = 6;

/// How long a file is at most.
const LONGEST: usize = 512 << 10;

/// How much is written at most.
const MOST: usize = 96 << 10;

/// The files of a directory. Several names may be links to the same content.
pub struct Model {
    root: PathBuf,
    names: BTreeMap<PathBuf, usize>,
    contents: BTreeMap<usize, Vec<u8>>,
    made: usize,
}

impl Model {
    /// Begins with an empty directory.
    pub fn new(root: &Path) -> Result<Self> {
        for number in 0..DIRECTORIES {
            fs::create_dir_all(root.join(format!("directory{number}")))?;
        }
        Ok(Self {
            root: root.to_owned(),
            names: BTreeMap::new(),
            contents: BTreeMap::new(),
            made: 0,
        })
    }

    /// Does one thing.
    pub fn step(&mut self, random: &mut Random) -> Result<()> {
        let Some(name) = self.any(random) else {
            return self.create(random);
        };
        let step = random.below(100);
        match step {
            0..12 if self.names.len() < FILES => self.create(random),
            0..45 => self.write(&name, random),
            45..52 => self.truncate(&name, random),
            52..58 => self.punch(&name, random),
            58..75 => self.read(&name),
            75..81 => self.rename(&name, random),
            81..85 if self.names.len() < FILES => self.link(&name, random),
            81..89 => self.remove(&name),
            89..93 => self.synchronize(&name, random),
            93..97 => self.list(),
            _ => self.replace(&name, random),
        }
        .with_context(|| format!("{} (kind {step})", name.display()))
    }

    /// Looks at every file.
    pub fn check(&self) -> Result<()> {
        self.list()?;
        for name in self.names.keys() {
            self.read(name)
                .with_context(|| format!("{}", name.display()))?;
        }
        Ok(())
    }

    fn any(&self, random: &mut Random) -> Option<PathBuf> {
        let count = self.names.len();
        let at = (count > 0).then(|| random.below(count))?;
        self.names.keys().nth(at).cloned()
    }

    fn new_name(&mut self, random: &mut Random) -> PathBuf {
        self.made += 1;
        let directory = random.below(DIRECTORIES);
        self.root
            .join(format!("directory{directory}/file{}", self.made))
    }

    /// Returns the content that a name stands for.
    fn content(&mut self, name: &Path) -> Result<&mut Vec<u8>> {
        let content = self.names.get(name);
        content
            .and_then(|content| self.contents.get_mut(content))
            .context("the model does not know it")
    }

    fn open(name: &Path) -> Result<File> {
        Ok(OpenOptions::new().read(true).write(true).open(name)?)
    }

    fn create(&mut self, random: &mut Random) -> Result<()> {
        let name = self.new_name(random);
        let length = random.below(MOST);
        let bytes = random.bytes(length);
        fs::write(&name, &bytes)?;
        self.contents.insert(self.made, bytes);
        self.names.insert(name, self.made);
        Ok(())
    }

    /// Writes somewhere, also behind the end.
    fn write(&mut self, name: &Path, random: &mut Random) -> Result<()> {
        let content = self.content(name)?;
        let at = random.below((content.len() + MOST / 2).min(LONGEST - MOST));
        let length = random.below(MOST) + 1;
        let bytes = random.bytes(length);
        Self::open(name)?.write_all_at(&bytes, at as u64)?;
        let end = at + bytes.len();
        content.resize(content.len().max(end), 0);
        content[at..end].copy_from_slice(&bytes);
        Ok(())
    }

    fn truncate(&mut self, name: &Path, random: &mut Random) -> Result<()> {
        let content = self.content(name)?;
        let length = random.below((content.len() * 2 + 1).min(LONGEST));
        Self::open(name)?.set_len(length as u64)?;
        content.resize(length, 0);
        Ok(())
    }

    /// Makes a hole.
    fn punch(&mut self, name: &Path, random: &mut Random) -> Result<()> {
        let content = self.content(name)?;
        if content.is_empty() {
            return Ok(());
        }
        let at = random.below(content.len());
        let length = random.below(content.len() - at) + 1;
        fallocate(
            Self::open(name)?,
            FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            at as u64,
            length as u64,
        )?;
        content[at..at + length].fill(0);
        Ok(())
    }

    fn read(&self, name: &Path) -> Result<()> {
        let found = fs::read(name)?;
        let content = self.names.get(name);
        let wanted = content
            .and_then(|content| self.contents.get(content))
            .context("the model does not know it")?;
        ensure!(
            found.len() == wanted.len(),
            "it has {} bytes instead of {}",
            found.len(),
            wanted.len()
        );
        let differs = found.iter().zip(wanted).position(|(a, b)| a != b);
        ensure!(
            differs.is_none(),
            "it differs at byte {} of {}",
            differs.unwrap_or(0),
            wanted.len()
        );
        Ok(())
    }

    /// Gives it another name, which another file may have had.
    fn rename(&mut self, name: &Path, random: &mut Random) -> Result<()> {
        let new = match random.below(2) {
            0 => self.any(random).unwrap_or_else(|| name.to_owned()),
            _ => self.new_name(random),
        };
        // Of two links to the same file, both stay.
        if self.names.get(&new) == self.names.get(name) {
            return Ok(());
        }
        fs::rename(name, &new)?;
        let content = self.names.remove(name);
        let content = content.context("the model does not know it")?;
        self.names.insert(new, content);
        self.forget();
        Ok(())
    }

    fn link(&mut self, name: &Path, random: &mut Random) -> Result<()> {
        let new = self.new_name(random);
        fs::hard_link(name, &new)?;
        let content = self.names.get(name);
        let content = *content.context("the model does not know it")?;
        self.names.insert(new, content);
        Ok(())
    }

    fn remove(&mut self, name: &Path) -> Result<()> {
        fs::remove_file(name)?;
        self.names.remove(name);
        self.forget();
        Ok(())
    }

    /// Forgets contents without a name.
    fn forget(&mut self) {
        let named: BTreeSet<_> = self.names.values().copied().collect();
        self.contents.retain(|content, _| named.contains(content));
    }

    fn synchronize(&self, name: &Path, random: &mut Random) -> Result<()> {
        let file = Self::open(name)?;
        match random.below(2) {
            0 => file.sync_all()?,
            _ => file.sync_data()?,
        }
        Ok(())
    }

    /// Replaces a file as programs do that lose nothing: by a rename.
    fn replace(&mut self, name: &Path, random: &mut Random) -> Result<()> {
        let new = self.new_name(random);
        let length = random.below(MOST);
        let bytes = random.bytes(length);
        fs::write(&new, &bytes)?;
        File::open(&new)?.sync_all()?;
        fs::rename(&new, name)?;
        self.contents.insert(self.made, bytes);
        self.names.insert(name.to_owned(), self.made);
        self.forget();
        Ok(())
    }

    /// Looks at the names, and at how many links each file has.
    fn list(&self) -> Result<()> {
        let mut found = BTreeSet::new();
        for number in 0..DIRECTORIES {
            for entry in fs::read_dir(self.root.join(format!("directory{number}")))? {
                found.insert(entry?.path());
            }
        }
        let wanted: BTreeSet<_> = self.names.keys().cloned().collect();
        let differs: Vec<_> = found.symmetric_difference(&wanted).collect();
        ensure!(differs.is_empty(), "there, or not there: {differs:?}");
        for (name, content) in &self.names {
            let links = self.names.values().filter(|other| *other == content);
            let (links, found) = (links.count() as u64, fs::metadata(name)?.nlink());
            ensure!(
                links == found,
                "{} has {found} links instead of {links}",
                name.display()
            );
        }
        Ok(())
    }
}
