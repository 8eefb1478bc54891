// SPDX-License-Identifier: GPL-2.0

//! What a device says of itself: features, and the configuration space, in which it may lie.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use virtio_wire::feature::{Class, Feature, FeatureSet};

/// Finds a feature by its name in C, of which the beginning and the case do not matter, or by its
/// number.
pub fn feature<C: Class>(name: &str) -> Result<Feature<C>> {
    if let Ok(bit) = name.parse() {
        return Feature::new(bit).context("there is no such feature");
    }
    let wanted = name.to_uppercase().replace('-', "_");
    (0..FeatureSet::<C>::BITS)
        .filter_map(Feature::new)
        .find(|feature: &Feature<C>| {
            let known = feature.name().unwrap_or_default();
            let short = known.split_once("_F_").map(|(_, short)| short);
            known == wanted || short == Some(wanted.as_str())
        })
        .with_context(|| format!("there is no feature {name}"))
}

/// Adds and removes features as a command says.
pub fn change_features<C: Class>(set: &mut FeatureSet<C>, arguments: &Value) -> Result<()> {
    let list = |field: &str| -> Result<FeatureSet<C>> {
        let names = arguments[field].as_array().into_iter().flatten();
        names
            .map(|name| match name {
                Value::String(name) => feature(name),
                other => feature(&other.to_string()),
            })
            .collect()
    };
    *set = set.union(list("add")?).difference(list("remove")?);
    Ok(())
}

/// What is said in the configuration space instead of the truth: offsets, and bytes.
#[derive(Clone, Debug, Default)]
pub struct Lies(Vec<(usize, Vec<u8>)>);

impl Lies {
    /// Takes what a command wants to be said: in `set`, an object of fields and numbers; without
    /// it, the truth. `field` returns where a field is, and how long it is.
    pub fn change(
        &mut self,
        arguments: &Value,
        field: impl Fn(&str) -> Option<(usize, usize)>,
    ) -> Result<()> {
        let lies = read(arguments, field)?;
        if lies.is_empty() {
            self.0.clear();
        }
        self.0.extend(lies);
        Ok(())
    }

    /// Writes them over the truth.
    pub fn tell(&self, bytes: &mut [u8]) {
        for (offset, lie) in &self.0 {
            if let Some(there) = bytes.get_mut(*offset..offset + lie.len()) {
                there.copy_from_slice(lie);
            }
        }
    }
}

fn read(
    arguments: &Value,
    field: impl Fn(&str) -> Option<(usize, usize)>,
) -> Result<Vec<(usize, Vec<u8>)>> {
    let mut lies = Vec::new();
    let Some(fields) = arguments.get("set") else {
        return Ok(lies);
    };
    let Value::Object(fields) = fields else {
        bail!("set is no object");
    };
    for (name, value) in fields {
        let (offset, length) =
            field(name).with_context(|| format!("the configuration space has no {name}"))?;
        let number = value
            .as_u64()
            .with_context(|| format!("{name} is no number"))?;
        let bytes = number.to_le_bytes();
        let (bytes, rest) = bytes.split_at(length);
        ensure!(rest.iter().all(|byte| *byte == 0), "{name} is too large");
        lies.push((offset, bytes.to_vec()));
    }
    Ok(lies)
}

/// Writes bytes as a text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
