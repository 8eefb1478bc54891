// SPDX-License-Identifier: GPL-2.0

//! A file of results that grows while there are more of them.

use super::{About, Document, Outcome};
use anyhow::{Context, Result};
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

/// A file, and what is in it.
pub struct Record {
    path: PathBuf,
    document: Document,
}

impl Record {
    /// Opens a file, with what is in it already if that was measured the same way, or without if all is
    /// to be measured anew.
    pub fn open(path: &Path, about: About, is_fresh: bool) -> Result<Self> {
        let document = if is_fresh || !path.exists() {
            Document::new(about)
        } else {
            let text =
                fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            let found = Document::parse(&text).with_context(|| {
                format!(
                    "{} is not what bench writes; --fresh replaces it",
                    path.display()
                )
            })?;
            let differences = found.about.differences(&about);
            if !differences.is_empty() {
                eprintln!(
                    "{} is of another {}: all is run anew",
                    path.display(),
                    differences.join(" and ")
                );
            }
            resume(found, about)
        };
        Ok(Self {
            path: path.to_owned(),
            document,
        })
    }

    /// Returns what was reached in a scenario.
    pub fn find(&self, name: &str) -> Option<&Outcome> {
        let mut outcomes = self.document.outcomes.iter();
        outcomes.find(|outcome| outcome.name == name)
    }

    /// Writes another one, instead of what there was of the same scenario.
    pub fn add(&mut self, outcome: Outcome) -> Result<()> {
        let outcomes = &mut self.document.outcomes;
        match outcomes.iter_mut().find(|old| old.name == outcome.name) {
            Some(old) => *old = outcome,
            None => outcomes.push(outcome),
        }
        write(&self.path, &self.document.text()?)
    }
}

/// Returns what to begin with when a file has been found: what is in it, if it was measured the same way.
fn resume(found: Document, about: About) -> Document {
    if found.about.differences(&about).is_empty() {
        Document { about, ..found }
    } else {
        Document::new(about)
    }
}

/// Writes a file: whoever reads it has the old text, or the new one.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let mut new = OsString::from(path);
    new.push(".new");
    fs::write(&new, text)
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};
    use crate::paths::Scratch;

    fn later() -> About {
        About {
            date: "later".to_owned(),
            ..samples::about()
        }
    }

    #[test]
    fn what_was_measured_the_same_way_is_kept() -> Result<()> {
        let kept = resume(samples::document()?, later());
        assert_eq!(kept.outcomes.len(), 4);
        assert_eq!(kept.about.date, "later");

        let other = About {
            commit: "another".to_owned(),
            ..samples::about()
        };
        assert!(resume(samples::document()?, other).outcomes.is_empty());
        Ok(())
    }

    #[test]
    fn a_record_goes_on_where_it_has_ended() -> Result<()> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("bench.json");
        let first = samples::outcomes()?.remove(0);
        let open = |is_fresh| Record::open(&path, later(), is_fresh);

        open(false)?.add(first.clone())?;
        let mut record = open(false)?;
        assert_eq!(record.find("disk one").map(|found| found.rounds), Some(4));
        assert!(record.find("disk two").is_none());

        record.add(Outcome { rounds: 5, ..first })?;
        assert_eq!(
            open(false)?.find("disk one").map(|found| found.rounds),
            Some(5)
        );
        assert!(open(true)?.find("disk one").is_none());
        assert_eq!(fs::read_dir(scratch.path())?.count(), 1);
        Ok(())
    }

    #[test]
    fn what_is_something_else_is_not_overwritten() -> Result<()> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("letter");
        fs::write(&path, "Dear reader")?;
        let refused = Record::open(&path, later(), false);
        let said = format!("{:#}", refused.err().context("it is a letter")?);
        assert!(said.contains("--fresh replaces it"), "{said}");
        assert!(Record::open(&path, later(), true).is_ok());
        Ok(())
    }
}
