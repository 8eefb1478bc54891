// SPDX-License-Identifier: GPL-2.0

//! Rules: what is done to which requests, beside what a device does.
//!
//! A rule has conditions, and an action. It leaves the first requests that it matches alone (`skip`),
//! and ends after some more (`count`). Rules of errors and of latency are the same as those of an
//! adversary: only the action tells them apart.
//!
//! What a rule has done is described as a rule that does it to that request alone: a device that is
//! given these does all of it again.

mod action;

pub use action::{ACTIONS, Action, Field, Named, Scope};

use crate::frame::PROTOCOLS;
use anyhow::{Context, Result, bail, ensure};
use random::Random;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

/// What rules can ask about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What is requested, such as `read`.
    pub operation: &'static str,
    /// The sectors, if there are any.
    pub sectors: Option<Range<u64>>,
    /// The length of a frame.
    pub length: Option<u64>,
    /// The protocol of a frame, such as `tcp`.
    pub protocol: Option<&'static str>,
}

impl Facts {
    /// What is known of any request.
    pub fn of(operation: &'static str) -> Self {
        Self {
            operation,
            sectors: None,
            length: None,
            protocol: None,
        }
    }
}

/// A request, as rules see it.
pub struct Request<'a> {
    /// What is known of it.
    pub facts: &'a Facts,
    /// Its queue.
    pub queue: u16,
    /// The number of the last notification of its queue, if there was one.
    pub kick: Option<u64>,
    /// What the driver is sent, or sends, if a rule asks for that.
    pub bytes: &'a [u8],
    /// Whether it has a table of descriptors of its own.
    pub has_table: bool,
    /// Returns the number of a buffer that is out in some queue, and not in this one.
    pub out_of: &'a dyn Fn(u16) -> Option<u16>,
}

/// A rule.
#[derive(Clone, Debug)]
struct Rule {
    number: u64,
    action: &'static Named,
    value: Option<u64>,
    made: Instant,
    operation: Option<String>,
    sectors: Option<Range<u64>>,
    lengths: Option<Range<u64>>,
    protocol: Option<&'static str>,
    pattern: Option<Vec<u8>>,
    queue: Option<u16>,
    /// The number of the request in its queue.
    at: Option<u64>,
    /// The number of the notification that came before it, in its queue.
    kick: Option<u64>,
    /// How old the rule has to be.
    after: Duration,
    skip: u64,
    count: Option<u64>,
    /// Of how many in a hundred it is applied to one.
    percent: Option<u64>,
    seed: u64,
    random: Random,
    matched: u64,
    done: u64,
}

impl Rule {
    /// Returns whether it is for a request that has this number in its queue.
    fn matches(&self, request: &Request<'_>, at: u64) -> bool {
        let facts = request.facts;
        let operation = self.operation.as_deref();
        let sectors = match (&self.sectors, &facts.sectors) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(wanted), Some(there)) => wanted.start < there.end && there.start < wanted.end,
        };
        let lengths = self.lengths.as_ref();
        sectors
            && lengths.is_none_or(|wanted| facts.length.is_some_and(|it| wanted.contains(&it)))
            && self
                .protocol
                .is_none_or(|wanted| facts.protocol == Some(wanted))
            && operation.is_none_or(|operation| operation == facts.operation)
            && self.action.suits(facts.operation)
            && (request.has_table || !self.action.needs_table())
            && self.queue.is_none_or(|wanted| wanted == request.queue)
            && self.at.is_none_or(|wanted| wanted == at)
            && (self.kick.is_none() || self.kick == request.kick)
            && self.pattern.as_ref().is_none_or(|wanted| {
                let bytes = request.bytes;
                bytes
                    .windows(wanted.len())
                    .any(|part| part == wanted.as_slice())
            })
            && (self.after.is_zero() || self.made.elapsed() >= self.after)
    }

    /// Returns what is done to a request, and with which value, if it can be done to that.
    fn meant(&self, request: &Request<'_>) -> Option<(&'static Named, Option<u64>)> {
        if self.action.name != "used-id-of" {
            return Some((self.action, self.value));
        }
        // What is noted is the number: another time, the other queue may be another.
        let queue = self.value.and_then(|queue| u16::try_from(queue).ok())?;
        let id = (request.out_of)(queue)?;
        let named = ACTIONS.iter().find(|action| action.name == "used-id")?;
        Some((named, Some(id.into())))
    }

    /// Returns the seed of the action, if it is time for that.
    fn acts(&mut self) -> Option<u64> {
        self.matched += 1;
        if self.matched <= self.skip || self.count.is_some_and(|count| self.done >= count) {
            return None;
        }
        if let Some(percent) = self.percent
            && self.random.number() % 100 >= percent
        {
            return None;
        }
        self.done += 1;
        // What is done to one request is all that there is to say of it.
        Some(match self.at {
            Some(_) => self.seed,
            None => self.random.number() >> SEED_SHIFT,
        })
    }
}

/// Seeds are as short as numbers in JSON are exact.
const SEED_SHIFT: u32 = 11;

/// The rules of a device.
#[derive(Debug)]
pub struct Rules {
    rules: Vec<Rule>,
    made: u64,
    scope: Scope,
    /// How many requests each queue has had.
    seen: Vec<u64>,
    /// When the first rule could act.
    begun: Instant,
    /// What the rules did, of which there can be much.
    acts: VecDeque<Act>,
    acted: u64,
}

/// How many acts are kept.
const MOST_ACTS: usize = 1000;

/// What a rule did.
#[derive(Clone, Debug)]
struct Act {
    number: u64,
    rule: u64,
    action: &'static Named,
    value: Option<u64>,
    seed: Option<u64>,
    operation: &'static str,
    queue: u16,
    at: u64,
    after: Duration,
}

impl Act {
    /// Describes a rule that does the same to the same request.
    fn rule(&self) -> Value {
        let mut rule = json!({
            "do": self.action.name,
            "op": self.operation,
            "queue": self.queue,
            "at": self.at,
        });
        if let Some(value) = self.value {
            rule["value"] = value.into();
        }
        if let Some(seed) = self.seed {
            rule["seed"] = seed.into();
        }
        rule
    }
}

/// Reads a number, or the first one and the one behind the last.
fn range(value: &Value, field: &str) -> Result<Option<Range<u64>>> {
    let found = match &value[field] {
        Value::Null => return Ok(None),
        Value::Array(ends) => match ends.as_slice() {
            [start, end] => start.as_u64().zip(end.as_u64()).map(|(s, e)| s..e),
            _ => None,
        },
        value => value.as_u64().map(|only| only..only.saturating_add(1)),
    };
    match found {
        Some(range) => Ok(Some(range)),
        None => bail!("{field} is no range"),
    }
}

/// Reads bytes, of which there is one at least.
fn bytes(value: &Value, field: &str) -> Result<Option<Vec<u8>>> {
    let digits = match &value[field] {
        Value::Null => return Ok(None),
        value => value.as_str().unwrap_or_default().as_bytes(),
    };
    let pairs = digits.chunks(2).map(|pair| {
        let pair = str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?;
        u8::from_str_radix(pair, 16).ok()
    });
    let bytes: Option<Vec<u8>> = pairs.collect();
    let bytes = bytes.filter(|bytes| !bytes.is_empty());
    bytes
        .map(Some)
        .with_context(|| format!("{field} is no bytes in hexadecimal digits"))
}

/// Finds the protocol of that name.
fn protocol(value: &Value) -> Result<&'static str> {
    let name = value.as_str().unwrap_or_default();
    let found = PROTOCOLS.into_iter().find(|known| *known == name);
    found.with_context(|| {
        let known = PROTOCOLS.join(", ");
        format!("there is no protocol {name}; there are {known}")
    })
}

/// What a rule may have.
const FIELDS: &[&str] = &[
    "command", "device", "id", "do", "value", "op", "sector", "length", "protocol", "pattern",
    "queue", "at", "kick", "after", "skip", "count", "percent", "seed",
];

impl Rules {
    /// No rules, for actions of some scope.
    pub fn new(scope: Scope) -> Self {
        Self {
            rules: Vec::new(),
            made: 0,
            scope,
            seen: Vec::new(),
            begun: Instant::now(),
            acts: VecDeque::new(),
            acted: 0,
        }
    }

    /// Adds the rule that `value` describes, and returns its number. Conditions: `op`, `sector` and
    /// `length` (a number, or the first one and the one behind the last), `protocol`, `pattern`,
    /// `queue`, `at`, `kick`, `after`, `skip`, `count`, `percent`.
    pub fn add(&mut self, value: &Value, operations: &[&str]) -> Result<u64> {
        for (name, _) in value.as_object().into_iter().flatten() {
            ensure!(FIELDS.contains(&name.as_str()), "a rule has no {name}");
        }
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
        let protocol = match &value["protocol"] {
            Value::Null => None,
            value => Some(protocol(value)?),
        };
        let action = Named::find(value["do"].as_str().unwrap_or_default(), self.scope)?;
        if let Some(operation) = &operation {
            ensure!(
                action.suits(operation),
                "action {} changes nothing of {operation}",
                action.name
            );
        }
        let seed = number("seed")?.unwrap_or(1);
        let given = action.value(number("value")?)?;
        action.action(given, seed)?;
        let percent = number("percent")?;
        ensure!(
            percent.is_none_or(|percent| percent <= 100),
            "percent is more than 100"
        );
        let rule = Rule {
            number: self.made,
            action,
            value: given,
            made: Instant::now(),
            operation,
            sectors: range(value, "sector")?,
            lengths: range(value, "length")?,
            protocol,
            pattern: bytes(value, "pattern")?,
            queue: number("queue")?.map(u16::try_from).transpose()?,
            at: number("at")?,
            kick: number("kick")?,
            after: Duration::from_millis(number("after")?.unwrap_or(0)),
            skip: number("skip")?.unwrap_or(0),
            count: number("count")?,
            percent,
            seed,
            random: Random::new(seed),
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

    /// Tells whether a rule asks for a pattern, so that [`apply`](Self::apply) has to get the bytes.
    pub fn look_for_patterns(&self) -> bool {
        self.rules.iter().any(|rule| rule.pattern.is_some())
    }

    /// Returns what is to be done to the next request of a queue.
    pub fn apply(&mut self, request: &Request<'_>) -> Vec<Action> {
        let place = usize::from(request.queue);
        if self.seen.len() <= place {
            self.seen.resize(place + 1, 0);
        }
        let at = self.seen.get_mut(place).map_or(0, |seen| {
            *seen += 1;
            *seen - 1
        });
        let mut actions = Vec::new();
        for rule in &mut self.rules {
            if !rule.matches(request, at) {
                continue;
            }
            let Some((named, value)) = rule.meant(request) else {
                continue;
            };
            let Some(seed) = rule.acts() else {
                continue;
            };
            // It was made when the rule was added.
            let Ok(action) = named.action(value, seed) else {
                continue;
            };
            self.acted += 1;
            self.acts.push_back(Act {
                number: self.acted,
                rule: rule.number,
                action: named,
                value,
                seed: action.seed(),
                operation: request.facts.operation,
                queue: request.queue,
                at,
                after: self.begun.elapsed(),
            });
            actions.push(action);
            if self.acts.len() > MOST_ACTS {
                self.acts.pop_front();
            }
        }
        actions
    }

    /// Tells how often rules did something.
    pub fn acted(&self) -> u64 {
        self.acted
    }

    /// Describes rules that do again what was done after so many acts.
    pub fn acts_after(&self, acted: u64) -> Vec<Value> {
        let acts = self.acts.iter().filter(|act| act.number > acted);
        acts.map(Act::rule).collect()
    }

    /// Tells what the rules did, the last thousand times.
    pub fn acts(&self) -> Value {
        self.acts
            .iter()
            .map(|act| {
                let mut told = act.rule();
                told["number"] = act.number.into();
                told["rule"] = act.rule.into();
                told["us"] = u64::try_from(act.after.as_micros())
                    .unwrap_or(u64::MAX)
                    .into();
                told
            })
            .collect()
    }

    /// Describes the rules, and how often each was applied.
    pub fn list(&self) -> Value {
        self.rules
            .iter()
            .map(|rule| {
                json!({
                    "rule": rule.number,
                    "do": rule.action.name,
                    "matched": rule.matched,
                    "done": rule.done,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
