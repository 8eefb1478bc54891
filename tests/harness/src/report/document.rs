// SPDX-License-Identifier: GPL-2.0

//! A file of results.

use super::{About, CostRow, Outcome, field};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

/// What a command has measured, and where.
#[derive(Clone, Debug)]
pub struct Document {
    pub about: About,
    /// What was reached against the clock.
    pub outcomes: Vec<Outcome>,
    /// What work has cost.
    pub costs: Vec<CostRow>,
}

impl Document {
    /// Begins one.
    pub fn new(about: About) -> Self {
        Self {
            about,
            outcomes: Vec::new(),
            costs: Vec::new(),
        }
    }

    /// Reads one.
    pub fn parse(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text)?;
        ensure!(
            value.get("scenarios").is_some() || value.get("costs").is_some(),
            "it has neither \"scenarios\" nor \"costs\""
        );
        let about = field::value(&value, "about")?;
        Ok(Self {
            about: About::from_json(about).context("what it is about")?,
            outcomes: field::list(&value, "scenarios")?
                .iter()
                .map(Outcome::from_json)
                .collect::<Result<_>>()?,
            costs: field::list(&value, "costs")?
                .iter()
                .map(CostRow::from_json)
                .collect::<Result<_>>()?,
        })
    }

    /// Writes it.
    pub fn text(&self) -> Result<String> {
        let mut value = json!({ "about": self.about.json() });
        let lists = [
            (
                "scenarios",
                self.outcomes.iter().map(Outcome::json).collect::<Vec<_>>(),
            ),
            ("costs", self.costs.iter().map(CostRow::json).collect()),
        ];
        for (key, list) in lists {
            // One without costs is of scenarios, even if there is none yet.
            if !list.is_empty() || (key == "scenarios" && self.costs.is_empty()) {
                value[key] = list.into();
            }
        }
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
        assert_eq!(read.costs, samples::costs());
        Ok(())
    }

    #[test]
    fn an_empty_one_can_be_read() -> Result<()> {
        let read = Document::parse(&Document::new(samples::about()).text()?)?;
        assert!(read.outcomes.is_empty() && read.costs.is_empty());
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
