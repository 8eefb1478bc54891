// SPDX-License-Identifier: GPL-2.0

//! Client of QEMU's machine protocol: a line of JSON for each command, answer and event.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

/// How long QEMU may take to answer. It answers at once, unless its main loop is stuck.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a QEMU.
pub struct Qmp {
    stream: BufReader<UnixStream>,
}

impl Qmp {
    /// Greets the QEMU at the other end of `stream`.
    pub fn new(stream: UnixStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut qmp = Self {
            stream: BufReader::new(stream),
        };
        let greeting = qmp.receive()?;
        if greeting.get("QMP").is_none() {
            bail!("QEMU's monitor greets with {greeting}");
        }
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// Executes a command, and returns what it returns. Events are passed over.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({ "execute": command, "arguments": arguments });
        self.stream
            .get_mut()
            .write_all(format!("{request}\n").as_bytes())
            .with_context(|| format!("sending {command} to QEMU"))?;
        loop {
            let mut answer = self.receive()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                bail!("QEMU refuses {command}: {error}");
            }
        }
    }

    /// Executes a command of the human monitor, and returns its text.
    pub fn human(&mut self, command: &str) -> Result<String> {
        let text = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        Ok(text.as_str().unwrap_or_default().replace('\r', ""))
    }

    fn receive(&mut self) -> Result<Value> {
        let mut line = String::new();
        let read = self
            .stream
            .read_line(&mut line)
            .context("waiting for QEMU's monitor")?;
        if read == 0 {
            bail!("QEMU has closed its monitor");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU's monitor says {line:?}"))
    }
}
