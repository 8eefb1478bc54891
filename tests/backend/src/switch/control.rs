// SPDX-License-Identifier: GPL-2.0

//! What the control socket can ask a switch.

use super::{Capture, Learnt, Shape, State, Switch, Vlans, mac_text};
use crate::control::Controlled;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The commands of a switch, and what they do; for `--help`.
pub const COMMANDS: &[(&str, &str)] = &[
    ("counters", "tell what was counted at each port"),
    ("table", "tell which address is at which port"),
    ("flush", "forget the addresses at PORT, or all"),
    ("ageing", "forget addresses after SECONDS"),
    ("link", "set the link of PORT: UP, true or false"),
    (
        "vlans",
        "put PORT into other VLANs: VLAN, or TRUNK and NATIVE",
    ),
    (
        "isolate",
        "let PORT reach only ports that are not isolated: ON",
    ),
    (
        "shape",
        "treat what leaves at PORT: DELAY, JITTER (us), LOSS, DUPLICATE, REORDER (%), SEED",
    ),
];

impl Controlled for Switch {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn execute(&self, command: &str, arguments: &Value) -> Result<Value> {
        let mut state = self.lock();
        let now = Instant::now();
        match command {
            "counters" => return Ok(state.describe(now)),
            "table" => return Ok(state.addresses(now)),
            "flush" => {
                let port = match arguments.get("port") {
                    Some(_) => Some(state.port(arguments)?),
                    None => None,
                };
                state.table.flush(port);
            }
            "ageing" => {
                let seconds = arguments["seconds"].as_u64();
                let seconds = seconds.context("seconds is no number")?;
                state.table.set_ageing(Duration::from_secs(seconds));
            }
            "link" | "vlans" | "isolate" | "shape" => {
                let index = state.port(arguments)?;
                let port = state.ports.get_mut(index).context("there is no port")?;
                match command {
                    "link" => {
                        port.link = arguments["up"].as_bool().context("up is missing")?;
                    }
                    "isolate" => {
                        let on = arguments["on"].as_bool();
                        port.options.isolated = on.context("on is missing")?;
                    }
                    "vlans" => {
                        let text = |field: &str| match &arguments[field] {
                            Value::Null => None,
                            Value::String(text) => Some(text.clone()),
                            other => Some(other.to_string()),
                        };
                        let (access, trunk, native) = (text("vlan"), text("trunk"), text("native"));
                        port.options.vlans = Vlans::from_texts(
                            access.as_deref(),
                            trunk.as_deref(),
                            native.as_deref(),
                        )?;
                        state.table.flush(Some(index));
                    }
                    _ => {
                        let shape = shape(port.shaper.shape(), arguments)?;
                        port.shaper.set(shape);
                    }
                }
            }
            _ => bail!("a switch has no command {command}"),
        }
        Ok(json!({}))
    }
}

/// Changes what a command names.
fn shape(mut shape: Shape, arguments: &Value) -> Result<Shape> {
    let number = |field: &str, before: u64| match &arguments[field] {
        Value::Null => Ok(before),
        value => value
            .as_u64()
            .with_context(|| format!("{field} is no number")),
    };
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    shape.delay = Duration::from_micros(number("delay", micros(shape.delay))?);
    shape.jitter = Duration::from_micros(number("jitter", micros(shape.jitter))?);
    shape.loss = number("loss", shape.loss)?;
    shape.duplicate = number("duplicate", shape.duplicate)?;
    shape.reorder = number("reorder", shape.reorder)?;
    shape.seed = number("seed", shape.seed)?;
    shape.check()?;
    Ok(shape)
}

impl State {
    fn port(&self, arguments: &Value) -> Result<usize> {
        let name = arguments["port"].as_str().context("port is missing")?;
        self.ports
            .iter()
            .position(|port| port.options.name == name)
            .with_context(|| format!("there is no port {name}"))
    }

    fn name(&self, port: usize) -> &str {
        let port = self.ports.get(port);
        port.map_or("", |port| port.options.name.as_str())
    }

    fn addresses(&mut self, now: Instant) -> Value {
        self.table.age(now);
        let list = self.table.list();
        list.into_iter()
            .map(|(vlan, mac, Learnt { port, seen })| {
                json!({
                    "vlan": vlan,
                    "mac": mac_text(mac),
                    "port": self.name(port),
                    "age": now.saturating_duration_since(seen).as_secs(),
                })
            })
            .collect()
    }

    fn describe(&mut self, now: Instant) -> Value {
        self.table.age(now);
        let mut ports = serde_json::Map::new();
        for port in &self.ports {
            let mut counters = port.counters.describe();
            counters["vlans"] = port.options.vlans.text().into();
            counters["link"] = port.link.into();
            counters["outlet"] = port.outlet.counters();
            counters["captured"] = port.outlet.capture().map(Capture::written).into();
            counters["shaper"] = json!({
                "lost": port.shaper.lost,
                "duplicated": port.shaper.duplicated,
                "reordered": port.shaper.reordered,
                "delayed": port.shaper.delayed,
            });
            ports.insert(port.options.name.clone(), counters);
        }
        json!({
            "ports": ports,
            "addresses": self.table.list().len(),
            "moves": self.table.moves,
            "overflows": self.table.overflows,
        })
    }
}
