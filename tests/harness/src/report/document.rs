// SPDX-License-Identifier: GPL-2.0

//! A file of results.

use super::{About, Outcome, field};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What a command has measured, and where.
#[derive(Clone, Debug)]
pub struct Document {
    pub about: About,
    /// What was reached against the clock.
    pub outcomes: Vec<Outcome>,
}

impl Document {
    /// Begins one.
    pub fn new(about: About) -> Self {
        Self {
            about,
            outcomes: Vec::new(),
        }
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        let about = field::value(&value, "about")?;
        let scenarios = field::list(&value, "scenarios")?;
        Ok(Self {
            about: About::from_json(about).context("what it is about")?,
            outcomes: scenarios
                .iter()
                .map(Outcome::from_json)
                .collect::<Result<_>>()?,
        })
    }

    /// Writes it.
    pub fn text(&self) -> Result<String> {
        let outcomes: Vec<_> = self.outcomes.iter().map(Outcome::json).collect();
        let value = json!({ "about": self.about.json(), "scenarios": outcomes });
        Ok(serde_json::to_string_pretty(&value)? + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::samples, *};

    #[test]
    fn it_is_read_as_it_was_written() -> Result<()> {
        let text = samples::document()?.text()?;
        let read = Document::parse(&text)?;
        assert_eq!(read.text()?, text);
        assert_eq!(read.outcomes.len(), 4);
        Ok(())
    }

    #[test]
    fn an_empty_one_can_be_read() -> Result<()> {
        let read = Document::parse(&Document::new(samples::about()).text()?)?;
        assert!(read.outcomes.is_empty());
        Ok(())
    }

    #[test]
    fn the_scenario_with_a_flaw_is_named() -> Result<()> {
        let text = samples::document()?.text()?;
        let said = Document::parse(&text.replace("\"rounds\": 4", "\"rounds\": -4"));
        let said = format!("{:#}", said.expect_err("there are no rounds below 0"));
        assert!(said.contains("scenario \"disk one\""), "{said}");
        Ok(())
    }
}
