// SPDX-License-Identifier: GPL-2.0

//! Keys and values that describe a device or a port.

use crate::{
    frame::Mac,
    switch::{PortOptions, Vlans},
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Keys and their values, which may be empty.
#[derive(Debug, Default)]
pub struct Keys(Vec<(String, String)>);

impl Keys {
    /// Takes them out of a text such as `name=a,read-only`.
    pub fn of(spec: &str) -> Self {
        let mut keys = Self::default();
        keys.extend(spec);
        keys
    }

    /// Adds those of another text.
    pub fn extend(&mut self, spec: &str) {
        let parts = spec.split(',').filter(|part| !part.is_empty());
        for part in parts {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            self.push(key, value.to_owned());
        }
    }

    /// Adds one.
    pub fn push(&mut self, key: &str, value: String) {
        self.0.push((key.to_owned(), value));
    }

    /// Checks that none is given twice, but for one that adds to what it has said before.
    pub fn check_once(&self) -> Result<()> {
        for (index, (key, _)) in self.0.iter().enumerate() {
            let before = self.0.iter().take(index);
            let twice = key != "without" && before.map(|(key, _)| key).any(|there| there == key);
            ensure!(!twice, "{key} is given twice");
        }
        Ok(())
    }

    /// Goes through them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Reads a number of bytes.
pub fn size(text: &str) -> Result<u64> {
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (text.get(..text.len() - 1), 1 << 10),
        Some(b'M' | b'm') => (text.get(..text.len() - 1), 1 << 20),
        Some(b'G' | b'g') => (text.get(..text.len() - 1), 1 << 30),
        _ => (Some(text), 1_u64),
    };
    let number: u64 = digits.unwrap_or_default().parse()?;
    number.checked_mul(factor).context("that is too large")
}

/// Reads a MAC address of one station.
pub fn mac(text: &str) -> Result<Mac> {
    let bytes: Result<Vec<u8>, _> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16))
        .collect();
    let bytes: Option<Mac> = bytes.ok().and_then(|bytes| bytes.try_into().ok());
    let bytes = bytes.with_context(|| format!("{text} is no MAC address"))?;
    Ok(virtio_wire::net::MacAddress::new(bytes)?.bytes())
}

/// What is said of a port.
#[derive(Debug)]
pub struct PortKeys {
    options: PortOptions,
    access: Option<String>,
    trunk: Option<String>,
    native: Option<String>,
}

impl Default for PortKeys {
    fn default() -> Self {
        Self {
            options: PortOptions::new(""),
            access: None,
            trunk: None,
            native: None,
        }
    }
}

impl PortKeys {
    /// Takes a key. Returns whether it is one of a port.
    pub fn take(&mut self, key: &str, value: &str) -> Result<bool> {
        let options = &mut self.options;
        let shape = &mut options.shape;
        let micros = |value: &str| value.parse().map(Duration::from_micros);
        match key {
            "vlan" => self.access = Some(value.to_owned()),
            "trunk" => self.trunk = Some(value.to_owned()),
            "native" => self.native = Some(value.to_owned()),
            "mac" => options.mac = Some(mac(value)?),
            "strict" => options.strict = true,
            "isolated" => options.isolated = true,
            "mirror" => options.mirror = true,
            "mtu" => options.mtu = usize::from(value.parse::<u16>()?),
            "capture" => options.capture = Some(value.into()),
            "queue" => options.queue = value.parse()?,
            "delay" => shape.delay = micros(value)?,
            "jitter" => shape.jitter = micros(value)?,
            "loss" => shape.loss = value.parse()?,
            "duplicate" => shape.duplicate = value.parse()?,
            "reorder" => shape.reorder = value.parse()?,
            "seed" => shape.seed = value.parse()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Makes a port with a name.
    pub fn finish(self, name: &str) -> Result<PortOptions> {
        let mut options = self.options;
        ensure!(!name.is_empty(), "a name is empty");
        name.clone_into(&mut options.name);
        options.vlans = Vlans::from_texts(
            self.access.as_deref(),
            self.trunk.as_deref(),
            self.native.as_deref(),
        )?;
        options.shape.check()?;
        ensure!(options.mtu >= 68, "an MTU of {}", options.mtu);
        Ok(options)
    }
}
