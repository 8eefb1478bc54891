// SPDX-License-Identifier: GPL-2.0

//! Rules: what is done to which requests, beside what a device does.
//!
//! A rule has conditions, and an action. It leaves the first requests that it matches alone (`skip`),
//! and ends after some more (`count`). Rules of errors and of latency are the same as those of an
//! adversary: only the action tells them apart.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use std::{ops::Range, time::Duration};

/// What rules can ask about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What is requested, such as `read`.
    pub operation: &'static str,
    /// The sectors, if there are any.
    pub sectors: Option<Range<u64>>,
}

/// What is done to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is served later.
    Delay(Duration),
    /// It is served when it is released, or never.
    Hold,
    /// It is not done, but has this status.
    Fail(u8),
    /// It is done, but has this status.
    Status(u8),
    /// It is done, but its status is not written.
    NoStatus,
    /// It is done, but the data that is read is not the right one.
    Corrupt,
    /// It is done, but the second half of the data that is read is not written, nor counted.
    Short,
    /// It is returned under this number.
    UsedId(u32),
    /// It is returned under the number of a buffer that is not out.
    UsedNotOut,
    /// It is returned twice.
    UsedTwice,
    /// It is returned with this number of bytes written.
    UsedLength(u32),
    /// The used index goes on by so many more.
    UsedJump(u16),
    /// It is returned without an interrupt.
    Mute,
    /// The connection is closed instead.
    Disconnect,
    /// The backend dies instead.
    Die,
}

/// The names of actions, as the control socket and the documentation have them; whether there is a
/// value, and what it is by default.
pub const ACTIONS: &[(&str, Option<u64>, &str)] = &[
    ("delay", Some(100), "serve it after VALUE milliseconds"),
    ("hold", None, "serve it when it is released, or never"),
    (
        "fail",
        Some(1),
        "do not do it, but answer with status VALUE",
    ),
    ("status", Some(3), "do it, but answer with status VALUE"),
    ("no-status", None, "do it, but do not write a status"),
    ("corrupt", None, "change what is read"),
    ("short", None, "write, and count, half of what is read"),
    ("used-id", Some(0x7777), "return buffer VALUE instead"),
    ("used-not-out", None, "return a buffer that is not out"),
    ("used-twice", None, "return it twice"),
    (
        "used-length",
        Some(0xffff_fff0),
        "say that VALUE bytes were written",
    ),
    (
        "used-jump",
        Some(1),
        "let the used index go on by VALUE more",
    ),
    ("mute", None, "return it without an interrupt"),
    ("disconnect", None, "close the connection instead"),
    ("die", None, "die instead, as if killed"),
];

impl Action {
    /// Makes an action.
    pub fn new(name: &str, value: Option<u64>) -> Result<Self> {
        let Some((_, default, _)) = ACTIONS.iter().find(|(known, _, _)| *known == name) else {
            bail!("there is no action {name}");
        };
        ensure!(
            default.is_some() || value.is_none(),
            "action {name} takes no value"
        );
        let value = value.or(*default).unwrap_or(0);
        Ok(match name {
            "delay" => Self::Delay(Duration::from_millis(value)),
            "hold" => Self::Hold,
            "fail" => Self::Fail(value.try_into()?),
            "status" => Self::Status(value.try_into()?),
            "no-status" => Self::NoStatus,
            "corrupt" => Self::Corrupt,
            "short" => Self::Short,
            "used-id" => Self::UsedId(value.try_into()?),
            "used-not-out" => Self::UsedNotOut,
            "used-twice" => Self::UsedTwice,
            "used-length" => Self::UsedLength(value.try_into()?),
            "used-jump" => Self::UsedJump(value.try_into()?),
            "mute" => Self::Mute,
            "disconnect" => Self::Disconnect,
            _ => Self::Die,
        })
    }
}

/// A rule.
#[derive(Clone, Debug)]
struct Rule {
    number: u64,
    action: Action,
    text: String,
    operation: Option<String>,
    sectors: Option<Range<u64>>,
    queue: Option<u16>,
    skip: u64,
    count: Option<u64>,
    matched: u64,
    done: u64,
}

impl Rule {
    fn matches(&self, facts: &Facts, queue: u16) -> bool {
        let operation = self.operation.as_deref();
        let sectors = match (&self.sectors, &facts.sectors) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(there)) => wanted.start < there.end && there.start < wanted.end,
        };
        sectors
            && operation.is_none_or(|operation| operation == facts.operation)
            && self.queue.is_none_or(|wanted| wanted == queue)
    }
}

/// The rules of a device.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    made: u64,
}

impl Rules {
    /// Adds the rule that `value` describes, and returns its number. Conditions: `op`, `sector` (a
    /// number, or the first one and the one behind the last), `queue`, `skip`, `count`.
    pub fn add(&mut self, value: &Value, operations: &[&str]) -> Result<u64> {
        for (name, _) in value.as_object().into_iter().flatten() {
            let known = [
                "command", "device", "id", "do", "value", "op", "sector", "queue", "skip", "count",
            ];
            ensure!(known.contains(&name.as_str()), "a rule has no {name}");
        }
        let name = value["do"].as_str().unwrap_or_default();
        let number = |field: &str| match &value[field] {
            Value::Null => Ok(None),
            value => match value.as_u64() {
                Some(number) => Ok(Some(number)),
                None => Err(anyhow::anyhow!("{field} is no number")),
            },
        };
        let operation = value["op"].as_str().map(str::to_owned);
        if let Some(operation) = &operation {
            ensure!(
                operations.contains(&operation.as_str()),
                "there is no operation {operation}; there are {}",
                operations.join(", ")
            );
        }
        let sectors = match &value["sector"] {
            Value::Null => None,
            Value::Array(ends) => match ends.as_slice() {
                [start, end] => start.as_u64().zip(end.as_u64()).map(|(s, e)| s..e),
                _ => None,
            }
            .map_or_else(|| bail!("sector is no range"), |range| Ok(Some(range)))?,
            _ => number("sector")?.map(|sector| sector..sector.saturating_add(1)),
        };
        let rule = Rule {
            number: self.made,
            action: Action::new(name, number("value")?)?,
            text: name.to_owned(),
            operation,
            sectors,
            queue: number("queue")?.map(u16::try_from).transpose()?,
            skip: number("skip")?.unwrap_or(0),
            count: number("count")?,
            matched: 0,
            done: 0,
        };
        self.made += 1;
        self.rules.push(rule);
        Ok(self.made - 1)
    }

    /// Removes a rule, or all of them.
    pub fn remove(&mut self, number: Option<u64>) -> Result<()> {
        let before = self.rules.len();
        self.rules
            .retain(|rule| number.is_some_and(|number| number != rule.number));
        ensure!(
            number.is_none() || self.rules.len() < before,
            "there is no such rule"
        );
        Ok(())
    }

    /// Returns what is to be done to a request.
    pub fn apply(&mut self, facts: &Facts, queue: u16) -> Vec<Action> {
        let mut actions = Vec::new();
        for rule in &mut self.rules {
            if !rule.matches(facts, queue) {
                continue;
            }
            rule.matched += 1;
            if rule.matched > rule.skip && rule.count.is_none_or(|count| rule.done < count) {
                rule.done += 1;
                actions.push(rule.action.clone());
            }
        }
        actions
    }

    /// Describes the rules, and how often each was applied.
    pub fn list(&self) -> Value {
        self.rules
            .iter()
            .map(|rule| {
                json!({
                    "rule": rule.number,
                    "do": rule.text,
                    "matched": rule.matched,
                    "done": rule.done,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(operation: &'static str, sectors: Range<u64>) -> Facts {
        Facts {
            operation,
            sectors: Some(sectors),
        }
    }

    fn rules(value: Value) -> Rules {
        let mut rules = Rules::default();
        rules.add(&value, &["read", "write"]).expect("a rule");
        rules
    }

    #[test]
    fn conditions_are_met_all_at_once() {
        let mut rules = rules(json!({"do": "fail", "op": "read", "sector": [8, 16], "queue": 1}));

        assert_eq!(rules.apply(&facts("read", 0..8), 1), []);
        assert_eq!(rules.apply(&facts("read", 0..9), 1), [Action::Fail(1)]);
        assert_eq!(rules.apply(&facts("read", 15..99), 1), [Action::Fail(1)]);
        assert_eq!(rules.apply(&facts("read", 16..17), 1), []);
        assert_eq!(rules.apply(&facts("write", 8..9), 1), []);
        assert_eq!(rules.apply(&facts("read", 8..9), 0), []);
        let flush = Facts {
            operation: "read",
            sectors: None,
        };
        assert_eq!(rules.apply(&flush, 1), []);
    }

    #[test]
    fn a_rule_begins_and_ends() {
        let mut rules = rules(json!({"do": "used-id", "value": 9, "skip": 2, "count": 1}));
        let done: Vec<_> = (0..4)
            .map(|_| rules.apply(&facts("read", 0..1), 0).len())
            .collect();

        assert_eq!(done, [0, 0, 1, 0]);
        assert_eq!(
            rules.list(),
            json!([{"rule": 0, "do": "used-id", "matched": 4, "done": 1}])
        );
        rules.remove(Some(0)).expect("to be removed");
        assert!(rules.remove(Some(0)).is_err());
        assert_eq!(rules.list(), json!([]));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let mut rules = Rules::default();
        for (value, why) in [
            (json!({}), "there is no action "),
            (json!({"do": "explode"}), "there is no action explode"),
            (
                json!({"do": "hold", "value": 1}),
                "action hold takes no value",
            ),
            (
                json!({"do": "fail", "value": 256}),
                "out of range integral type conversion attempted",
            ),
            (
                json!({"do": "fail", "op": "fly"}),
                "there is no operation fly; there are read",
            ),
            (json!({"do": "fail", "sector": [1]}), "sector is no range"),
            (json!({"do": "fail", "skip": "x"}), "skip is no number"),
            (json!({"do": "fail", "sectors": 1}), "a rule has no sectors"),
        ] {
            let error = rules.add(&value, &["read"]).expect_err("an error");
            assert_eq!(error.to_string(), why);
        }
    }

    #[test]
    fn every_action_has_a_name() {
        for (name, _, _) in ACTIONS {
            assert!(Action::new(name, None).is_ok(), "{name}");
        }
    }
}
