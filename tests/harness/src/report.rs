// SPDX-License-Identifier: GPL-2.0

//! What was measured, as files: for the next run, which goes on where one has ended, and for people,
//! as a page and a table.
//!
//! A [`Document`] is what a command has measured, and where ([`About`]). It has outcomes of scenarios,
//! which are against the clock, or rows of costs, which are in instructions.

mod about;
mod again;
mod bars;
mod cost;
mod document;
pub mod field;
mod forest;
mod html;
mod latency;
mod markdown;
mod outcome;
mod record;
#[cfg(test)]
mod samples;
mod svg;

pub use about::{About, Stamp, accelerator};
pub use cost::{CostRow, Spent};
pub use document::Document;
pub use outcome::{Features, Outcome};
pub use record::{Record, write};

use crate::race::statistics::geometric_mean;
use anyhow::{Context, Result, ensure};
use std::{fs, path::PathBuf};

/// What is made of which files.
pub struct Options {
    /// The files, as `bench` and `cost` write them.
    pub files: Vec<PathBuf>,
    /// Where the page goes.
    pub html: Option<PathBuf>,
    /// Where the table goes.
    pub markdown: Option<PathBuf>,
}

/// Makes a page and a table, or prints the table if neither is wanted.
pub fn run(options: &Options) -> Result<()> {
    ensure!(!options.files.is_empty(), "there is no file to report");
    let parts = options
        .files
        .iter()
        .map(Part::read)
        .collect::<Result<Vec<_>>>()?;
    if let Some(path) = &options.html {
        write(path, &html::page(&parts))?;
    }
    if let Some(path) = &options.markdown {
        write(path, &markdown::table(&parts))?;
    }
    if options.html.is_none() && options.markdown.is_none() {
        print!("{}", markdown::table(&parts));
    }
    Ok(())
}

/// A file of a report.
struct Part {
    /// What the file is called.
    file: String,
    document: Document,
}

impl Part {
    fn read(path: &PathBuf) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let document = Document::parse(&text)
            .with_context(|| format!("{} is not what bench or cost write", path.display()))?;
        let file = path.file_name().unwrap_or(path.as_os_str());
        Ok(Self {
            file: file.to_string_lossy().into_owned(),
            document,
        })
    }

    /// Returns where and with what it was measured, in short.
    fn place(&self) -> String {
        let about = &self.document.about;
        format!(
            "{}: kernel {}, {}, commit {}",
            self.file,
            about.kernel,
            about.accelerator,
            about.revision()
        )
    }

    /// Returns what was measured against the clock, by the kinds of scenarios; controls are the last.
    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group<'_>> = Vec::new();
        for outcome in &self.document.outcomes {
            let name = outcome.group();
            match groups.iter_mut().find(|group| group.name == name) {
                Some(group) => group.outcomes.push(outcome),
                None => groups.push(Group {
                    name,
                    outcomes: vec![outcome],
                }),
            }
        }
        // A stable sort: all the others stay where they are.
        groups.sort_by_key(|group| group.name == outcome::CONTROL);
        groups
    }

    /// Returns the costs, by what was done.
    fn works(&self) -> Vec<Work<'_>> {
        let mut works: Vec<Work<'_>> = Vec::new();
        for row in &self.document.costs {
            match works.iter_mut().find(|work| work.name == row.work) {
                Some(work) => work.rows.push(row),
                None => works.push(Work {
                    name: &row.work,
                    rows: vec![row],
                }),
            }
        }
        works
    }
}

/// Scenarios of a kind.
struct Group<'a> {
    name: &'a str,
    outcomes: Vec<&'a Outcome>,
}

impl Group<'_> {
    fn is_control(&self) -> bool {
        self.name == outcome::CONTROL
    }

    fn mean(&self) -> Option<f64> {
        mean(self.outcomes.iter().copied())
    }
}

/// What was done, and what it cost in its ways.
struct Work<'a> {
    name: &'a str,
    rows: Vec<&'a CostRow>,
}

impl Work<'_> {
    /// Returns the mean ratio of all instructions.
    fn whole(&self) -> Option<f64> {
        geometric_mean(self.rows.iter().map(|row| row.whole()))
    }

    /// Returns that of the driver's.
    fn driver(&self) -> Option<f64> {
        geometric_mean(self.rows.iter().map(|row| row.driver()))
    }
}

/// Returns the mean ratio of scenarios, without controls.
fn mean<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Option<f64> {
    let ratios = outcomes.filter(|outcome| !outcome.is_control);
    geometric_mean(ratios.map(|outcome| outcome.comparison.median))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths::Scratch;

    #[test]
    fn what_is_no_result_is_refused() -> Result<()> {
        let scratch = Scratch::new()?;
        let path = scratch.path().join("other.json");
        for text in ["nothing", "[]", "{}", "{\"about\": {}, \"scenarios\": []}"] {
            fs::write(&path, text)?;
            let refused = run(&Options {
                files: vec![path.clone()],
                html: None,
                markdown: None,
            });
            let said = format!("{:#}", refused.expect_err("it is no result"));
            assert!(
                said.contains("other.json is not what bench or cost write"),
                "{said}"
            );
        }
        Ok(())
    }

    #[test]
    fn a_file_becomes_a_page_and_a_table() -> Result<()> {
        let scratch = Scratch::new()?;
        let (json, html) = (scratch.path().join("in"), scratch.path().join("page"));
        let markdown = scratch.path().join("table");
        write(&json, &samples::document()?.text()?)?;
        run(&Options {
            files: vec![json],
            html: Some(html.clone()),
            markdown: Some(markdown.clone()),
        })?;
        assert!(fs::read_to_string(html)?.ends_with("</html>\n"));
        assert!(fs::read_to_string(markdown)?.contains("| nic tcp in |"));
        Ok(())
    }

    #[test]
    fn controls_come_last_and_are_in_no_mean() -> Result<()> {
        let part = samples::part()?;
        let groups = part.groups();
        let names: Vec<_> = groups.iter().map(|group| group.name).collect();
        assert_eq!(names, ["disk", "nic", "control"]);
        let means: Vec<_> = groups
            .iter()
            .map(|group| group.mean().map(|mean| format!("{mean:.2}")))
            .collect();
        // The same, and a half more; and what is 2 times as fast.
        assert_eq!(
            means,
            [Some("1.22".to_owned()), Some("2.00".to_owned()), None]
        );
        Ok(())
    }
}
