// SPDX-License-Identifier: GPL-2.0

//! Fields of JSON, which may be missing, or of another kind.

use anyhow::{Context, Result};
use serde_json::Value;

/// Returns a field.
pub fn value<'a>(object: &'a Value, key: &str) -> Result<&'a Value> {
    object
        .get(key)
        .with_context(|| format!("it has no {key:?}"))
}

/// Returns a text.
pub fn text(object: &Value, key: &str) -> Result<String> {
    let text = value(object, key)?.as_str();
    text.map(str::to_owned)
        .with_context(|| format!("its {key:?} is no text"))
}

/// Returns a text, if there is one.
pub fn optional_text(object: &Value, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

/// Returns a number.
pub fn number(object: &Value, key: &str) -> Result<f64> {
    let number = value(object, key)?.as_f64();
    number.with_context(|| format!("its {key:?} is no number"))
}

/// Returns a number that is counted.
pub fn count(object: &Value, key: &str) -> Result<u32> {
    let number = value(object, key)?.as_u64();
    number
        .and_then(|number| u32::try_from(number).ok())
        .with_context(|| format!("its {key:?} is no count"))
}

/// Returns whether something is so.
pub fn truth(object: &Value, key: &str) -> Result<bool> {
    let truth = value(object, key)?.as_bool();
    truth.with_context(|| format!("its {key:?} is neither true nor false"))
}

/// Returns a list, which is empty if it is missing.
pub fn list<'a>(object: &'a Value, key: &str) -> Result<&'a [Value]> {
    match object.get(key) {
        None => Ok(&[]),
        Some(value) => value
            .as_array()
            .map(Vec::as_slice)
            .with_context(|| format!("its {key:?} is no list")),
    }
}

/// Returns a list of numbers.
pub fn numbers(object: &Value, key: &str) -> Result<Vec<f64>> {
    list(object, key)?
        .iter()
        .map(|value| {
            let number = value.as_f64();
            number.with_context(|| format!("{value} in {key:?} is no number"))
        })
        .collect()
}
