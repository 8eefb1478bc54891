// SPDX-License-Identifier: GPL-2.0

//! Configuration files: tables of keys, which are those of the command line.

use super::{Keys, Level, Options, Summary, add, as_command};
use anyhow::{Context, Result, bail};
use std::{fs, path::Path, time::Duration};
use toml::{Table, Value};

/// Reads a file, and adds what it has.
pub fn read(path: &Path, options: &mut Options) -> Result<()> {
    parse(&fs::read_to_string(path)?, options)
}

/// Reads the text of a file.
pub fn parse(text: &str, options: &mut Options) -> Result<()> {
    let table: Table = text.parse()?;
    for (name, value) in &table {
        match (name.as_str(), value) {
            ("control", Value::String(path)) => options.control = Some(path.into()),
            ("log", Value::String(level)) => options.log = Level::named(level)?,
            ("summary", Value::String(name)) => options.summary = Summary::named(name)?,
            ("metrics", Value::String(address)) => options.metrics = Some(address.clone()),
            ("record", Value::String(path)) => options.record = Some(path.into()),
            ("replay", Value::String(path)) => options.replay = Some(path.into()),
            ("ageing", Value::Integer(seconds)) => {
                let seconds = u64::try_from(*seconds).context("ageing")?;
                options.ageing = Duration::from_secs(seconds);
            }
            ("rule", Value::Array(tables)) => {
                for (index, table) in tables.iter().enumerate() {
                    let place = || format!("[[rule]] number {}", index + 1);
                    let rule = serde_json::to_value(table).with_context(place)?;
                    options.rules.push(as_command(rule).with_context(place)?);
                }
            }
            ("blk" | "net" | "port", Value::Array(tables)) => {
                for (index, value) in tables.iter().enumerate() {
                    let place = || format!("[[{name}]] number {}", index + 1);
                    let Value::Table(table) = value else {
                        bail!("{} is no table", place());
                    };
                    keys(table)
                        .and_then(|keys| add(options, name, keys))
                        .with_context(place)?;
                }
            }
            _ => bail!("there is no {name}, or it is not like that"),
        }
    }
    Ok(())
}

fn keys(table: &Table) -> Result<Keys> {
    let mut keys = Keys::default();
    for (key, value) in table {
        match value {
            Value::String(text) => keys.push(key, text.clone()),
            Value::Integer(number) => keys.push(key, number.to_string()),
            // What is not so is not said.
            Value::Boolean(false) => {}
            Value::Boolean(true) => keys.push(key, String::new()),
            Value::Array(parts) => {
                let parts: Option<Vec<_>> = parts.iter().map(part).collect();
                let parts = parts.with_context(|| format!("{key} has odd parts"))?;
                let between = if key == "ip" { "+" } else { ":" };
                keys.push(key, parts.join(between));
            }
            _ => bail!("{key} cannot be {value:?}"),
        }
    }
    Ok(keys)
}

fn part(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}
