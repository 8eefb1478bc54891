// SPDX-License-Identifier: GPL-2.0

//! What was counted, told when the program ends.

use crate::control::Controlled;
use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use std::{
    io::{Write, stderr, stdout},
    sync::Arc,
};

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// Not at all.
    Nothing,
    /// As a table, on standard error: a line for each device and each port.
    Table,
    /// As a line of JSON, on standard output: all counters of all devices, by their names.
    Json,
}

impl Summary {
    /// Finds one by its name.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "none" => Self::Nothing,
            "table" => Self::Table,
            "json" => Self::Json,
            _ => bail!("there is no summary {name}; there are none, table and json"),
        })
    }

    /// Tells what these have counted.
    pub fn tell(self, devices: &[Arc<dyn Controlled>]) {
        // Who does not listen any more does not want to know.
        let _ = match self {
            Self::Nothing => Ok(()),
            Self::Table => stderr().write_all(table(&all(devices)).as_bytes()),
            Self::Json => {
                let counters: Map<_, _> = all(devices).into_iter().collect();
                writeln!(stdout(), "{}", Value::from(counters))
            }
        };
    }
}

/// Returns the counters of all that have some, with their names.
fn all(devices: &[Arc<dyn Controlled>]) -> Vec<(String, Value)> {
    let counters = devices.iter().map(|device| {
        let counters = device.execute("counters", &json!({})).ok()?;
        Some((device.name(), counters))
    });
    counters.flatten().collect()
}

/// What is told of a device: the sums of what its queues have counted.
const OF_QUEUES: [&str; 7] = [
    "taken",
    "returned",
    "readable_bytes",
    "writable_bytes",
    "kicks",
    "calls",
    "errors",
];

/// What is told of a port of the switch.
const OF_PORTS: [&str; 4] = ["in_frames", "in_bytes", "out_frames", "out_bytes"];

/// Where a port counts frames that were lost.
const LOST: [&str; 7] = [
    "/malformed",
    "/wrong_vlan",
    "/wrong_source",
    "/link_down",
    "/outlet/lost_full",
    "/outlet/lost_closed",
    "/shaper/lost",
];

/// Draws the tables of devices that have queues, and of ports.
fn table(all: &[(String, Value)]) -> String {
    let mut devices = vec![heading("device", &OF_QUEUES)];
    let mut ports = vec![heading("port", &OF_PORTS)];
    ports.iter_mut().for_each(|row| row.push("lost".to_owned()));
    for (name, counters) in all {
        if let Some(queues) = counters["queues"].as_array() {
            devices.push(row(name, OF_QUEUES.map(|field| sum(queues, field))));
        }
        for (name, port) in counters["ports"].as_object().into_iter().flatten() {
            let number = |value: Option<&Value>| value.and_then(Value::as_u64).unwrap_or(0);
            let mut cells = row(name, OF_PORTS.map(|field| number(port.get(field))));
            let lost: u64 = LOST.iter().map(|at| number(port.pointer(at))).sum();
            cells.push(lost.to_string());
            ports.push(cells);
        }
    }
    let tables = [devices, ports].into_iter().filter(|rows| rows.len() > 1);
    tables.map(|rows| draw(&rows)).collect()
}

fn heading(name: &str, fields: &[&str]) -> Vec<String> {
    let fields = [name].into_iter().chain(fields.iter().copied());
    fields.map(|field| field.replace('_', " ")).collect()
}

fn row<const N: usize>(name: &str, numbers: [u64; N]) -> Vec<String> {
    let numbers = numbers.iter().map(u64::to_string);
    [name.to_owned()].into_iter().chain(numbers).collect()
}

fn sum(queues: &[Value], field: &str) -> u64 {
    let numbers = queues.iter().filter_map(|queue| queue[field].as_u64());
    numbers.fold(0, u64::saturating_add)
}

/// Draws rows: names to the left, numbers to the right.
fn draw(rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for row in rows {
        widths.resize(row.len().max(widths.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut text = String::new();
    for row in rows {
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            text += &match at {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_of_a_device_and_a_port() {
        let queue = |taken: u64| json!({ "taken": taken, "returned": 1, "kicks": 2, "errors": 0 });
        let disk = json!({ "queues": [queue(100), queue(23)] });
        let port = json!({
            "in_frames": 7, "in_bytes": 420, "out_frames": 0, "out_bytes": 0, "wrong_vlan": 1,
            "outlet": { "lost_full": 2, "lost_closed": 3 }, "shaper": { "lost": 4 },
        });
        let switch = json!({ "ports": { "one": port } });
        let peer = json!({ "received": 1 });
        let all = [("disk", disk), ("peer", peer), ("switch", switch)];

        let text = table(&all.map(|(name, counters)| (name.to_owned(), counters)));

        let wanted = "\
device  taken  returned  readable bytes  writable bytes  kicks  calls  errors
disk      123         2               0               0      4      0       0
port  in frames  in bytes  out frames  out bytes  lost
one           7       420           0          0    10
";
        assert_eq!(text, wanted);
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn summaries_have_names() {
        assert_eq!(Summary::named("json").expect("one"), Summary::Json);
        let error = Summary::named("all").expect_err("none").to_string();
        assert_eq!(
            error,
            "there is no summary all; there are none, table and json"
        );
    }
}
