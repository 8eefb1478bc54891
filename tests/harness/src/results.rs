// SPDX-License-Identifier: GPL-2.0

//! What came out of each test, the last time that it ran: a file to which each run adds.
//!
//! A run replaces what there is of the tests that it has run, and keeps the rest. It does so whenever a
//! test has ended, so that one that is interrupted has lost nothing.

use crate::{
    cx::Verdict,
    paths,
    report::{self, Stamp, field},
};
use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// Where it is, unless somebody says otherwise.
pub fn default_path() -> PathBuf {
    paths::project().join("build/results.json")
}

/// What came out of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// How it ended.
    pub verdict: Verdict,
    /// What it found out, but for its cases.
    pub said: Vec<String>,
    /// How long it took.
    pub seconds: f64,
    /// How its cases ended, in their order.
    pub cases: Vec<Case>,
    /// Of what that is, and when.
    pub stamp: Stamp,
}

/// What came out of a part of a test.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Its name, without that of the test.
    pub name: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What it found out.
    pub said: Vec<String>,
}

impl Entry {
    fn json(&self) -> Value {
        let mut value = told(&self.verdict, &self.said);
        value["seconds"] = ((self.seconds * 10.0).round() / 10.0).into();
        value["commit"] = self.stamp.commit.as_str().into();
        value["day"] = self.stamp.day.as_str().into();
        let cases = self.cases.iter().map(|case| {
            let mut value = told(&case.verdict, &case.said);
            value["case"] = case.name.as_str().into();
            value
        });
        value["cases"] = cases.collect();
        value
    }

    fn from_json(value: &Value) -> Result<Self> {
        let cases = field::list(value, "cases")?.iter().map(|case| {
            let name = field::text(case, "case")?;
            let verdict = verdict(case).with_context(|| format!("case {name:?}"))?;
            Ok(Case {
                name,
                verdict,
                said: said(case),
            })
        });
        Ok(Self {
            verdict: verdict(value)?,
            said: said(value),
            seconds: field::number(value, "seconds")?,
            cases: cases.collect::<Result<_>>()?,
            stamp: Stamp {
                day: field::text(value, "day")?,
                commit: field::text(value, "commit")?,
            },
        })
    }
}

/// Writes a verdict, and what was found out. Only one that is not good has a reason.
fn told(verdict: &Verdict, said: &[String]) -> Value {
    let mut value = match verdict.words() {
        (word, "") => json!({ "verdict": word }),
        (word, why) => json!({ "verdict": word, "why": why }),
    };
    if !said.is_empty() {
        value["said"] = said.into();
    }
    value
}

/// Reads what was found out: mostly, that is nothing.
fn said(value: &Value) -> Vec<String> {
    let lines = value["said"].as_array().into_iter().flatten();
    lines
        .filter_map(|line| line.as_str().map(str::to_owned))
        .collect()
}

/// Reads a verdict.
fn verdict(value: &Value) -> Result<Verdict> {
    let word = field::text(value, "verdict")?;
    let why = field::optional_text(value, "why").unwrap_or_default();
    Verdict::from_words(&word, &why).with_context(|| format!("{word:?} is no verdict"))
}

/// What came out of tests, by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Results(BTreeMap<String, Entry>);

impl Results {
    /// Reads a file. There is nothing in one that is not there.
    pub fn read(path: &Path) -> Result<Self> {
        let Some(text) = text(path)? else {
            return Ok(Self::default());
        };
        Self::parse(&text)
            .with_context(|| format!("{} is not what harness run writes", path.display()))
    }

    /// Reads what [`Results::text`] has written.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let tests = field::value(&value, "tests")?;
        let tests = tests.as_object().context("its \"tests\" is no object")?;
        let entries = tests.iter().map(|(name, entry)| {
            let entry = Entry::from_json(entry).with_context(|| format!("test {name:?}"))?;
            Ok((name.clone(), entry))
        });
        Ok(Self(entries.collect::<Result<_>>()?))
    }

    /// Writes all of it.
    pub fn text(&self) -> Result<String> {
        let tests: Map<_, _> = self
            .0
            .iter()
            .map(|(name, entry)| (name.clone(), entry.json()))
            .collect();
        Ok(serde_json::to_string_pretty(&json!({ "tests": tests }))? + "\n")
    }

    /// Returns what came out of a test, if it has run.
    pub fn find(&self, test: &str) -> Option<&Entry> {
        self.0.get(test)
    }

    /// Replaces what came out of a test.
    pub fn insert(&mut self, test: &str, entry: Entry) {
        self.0.insert(test.to_owned(), entry);
    }
}

/// Adds to a file what comes out of tests.
pub struct Recorder {
    path: PathBuf,
    stamp: Stamp,
}

impl Recorder {
    /// Looks at the file, and at the checkout, before tests run: a commit that is made meanwhile is not
    /// theirs.
    pub fn new(path: &Path) -> Result<Self> {
        fs::create_dir_all(directory(path))
            .with_context(|| format!("making the directory of {}", path.display()))?;
        begin(path)?;
        Ok(Self {
            path: path.to_owned(),
            stamp: Stamp::now()?,
        })
    }

    /// Returns of what the results are.
    pub fn stamp(&self) -> &Stamp {
        &self.stamp
    }

    /// Replaces what came out of a test. Another run may do the same meanwhile, so the file is read each
    /// time.
    pub fn add(&self, test: &str, entry: Entry) -> Result<()> {
        let directory = File::open(directory(&self.path))?;
        directory.lock().context("waiting for another run")?;
        let mut results = begin(&self.path)?;
        results.insert(test, entry);
        report::write(&self.path, &results.text()?)
    }
}

/// Returns what a file has. One that is something else is put aside, and said: no run is given up for that.
fn begin(path: &Path) -> Result<Results> {
    let Some(text) = text(path)? else {
        return Ok(Results::default());
    };
    Results::parse(&text).or_else(|error| {
        let mut aside = OsString::from(path);
        aside.push(".bad");
        let aside = PathBuf::from(aside);
        fs::rename(path, &aside).with_context(|| format!("renaming {}", path.display()))?;
        eprintln!(
            "{} is not what harness run writes: {error:#}; it is {} now, and another one begins",
            path.display(),
            aside.display()
        );
        Ok(Results::default())
    })
}

/// Returns what is in a file, if there is one.
fn text(path: &Path) -> Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// Returns the directory of a file.
fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Scratch;

    fn entry(verdict: Verdict, commit: &str) -> Entry {
        Entry {
            verdict,
            said: vec!["5 of 6".to_owned()],
            seconds: 12.3,
            cases: vec![
                Case {
                    name: "split/ping".to_owned(),
                    verdict: Verdict::Passed,
                    said: vec!["one \"line\"".to_owned(), "and another".to_owned()],
                },
                Case {
                    name: "split/\"tcp\"".to_owned(),
                    verdict: Verdict::Failed("two\nlines".to_owned()),
                    said: Vec::new(),
                },
            ],
            stamp: Stamp {
                day: "2026-01-02".to_owned(),
                commit: commit.to_owned(),
            },
        }
    }

    fn skipped() -> Verdict {
        Verdict::Skipped("no such thing".to_owned())
    }

    #[test]
    fn it_is_read_as_it_was_written() -> Result<()> {
        let mut results = Results::default();
        results.insert("a::b::passes", entry(Verdict::Passed, "0011223344ff"));
        results.insert("a::b::skips", entry(skipped(), "0011223344ff-dirty"));
        let text = results.text()?;
        assert_eq!(Results::parse(&text)?, results);
        assert!(text.contains("\"seconds\": 12.3"), "{text}");
        assert_eq!(
            Results::parse(&Results::default().text()?)?,
            Results::default()
        );
        Ok(())
    }

    #[test]
    fn what_did_not_run_is_kept() -> Result<()> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("build/results.json");
        let first = Recorder::new(&path)?;
        first.add("one", entry(Verdict::Passed, "first"))?;
        first.add("two", entry(Verdict::Passed, "first"))?;
        // A run beside it, and one that comes later.
        Recorder::new(&path)?.add("three", entry(Verdict::Passed, "second"))?;
        first.add("four", entry(Verdict::Passed, "first"))?;
        Recorder::new(&path)?.add("two", entry(skipped(), "third"))?;

        let results = Results::read(&path)?;
        for (test, commit) in [
            ("one", "first"),
            ("two", "third"),
            ("three", "second"),
            ("four", "first"),
        ] {
            let found = results.find(test).context("it is lost")?;
            assert_eq!(found.stamp.commit, commit, "{test}");
        }
        assert_eq!(
            results.find("two").map(|entry| &entry.verdict),
            Some(&skipped())
        );
        assert_eq!(fs::read_dir(directory(&path))?.count(), 1);
        Ok(())
    }

    #[test]
    fn what_is_something_else_is_put_aside() -> Result<()> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("results.json");
        let flawed = r#"{ "tests": { "one": { "verdict": "perhaps", "seconds": 1 } } }"#;
        for text in ["", "Dear reader", "[]", "{}", "{\"tests\": []}", flawed] {
            fs::write(&path, text)?;
            let refused = Results::read(&path).err().context("it is read")?;
            assert!(
                format!("{refused:#}").contains("results.json is not what harness run writes"),
                "{refused:#}"
            );
            Recorder::new(&path)?.add("two", entry(Verdict::Passed, "first"))?;
            assert!(Results::read(&path)?.find("two").is_some());
            let aside = fs::read_to_string(scratch.path().join("results.json.bad"))?;
            assert_eq!(aside, text);
        }
        let refused = Results::parse(flawed).err().context("it is read")?;
        assert_eq!(
            format!("{refused:#}"),
            "test \"one\": \"perhaps\" is no verdict"
        );
        Ok(())
    }

    #[test]
    fn what_is_no_file_is_left_alone() -> Result<()> {
        let scratch = Scratch::new()?;
        assert!(Recorder::new(scratch.path()).is_err());
        assert!(scratch.path().exists());
        assert_eq!(
            Results::read(&scratch.path().join("none"))?,
            Results::default()
        );
        Ok(())
    }
}
