// SPDX-License-Identifier: GPL-2.0

//! The control socket: a line of JSON for each command, and one for its answer.

mod tell;
mod top;

pub use tell::tell;
pub use top::top;

use crate::{
    class::{Answer, Class},
    device::{Device, die},
    log::warning,
    order::Order,
    queue::Storm,
    replay::Recorder,
    service::Shared,
    session::Cut,
    socket::{self, Bound},
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The commands of every device, and what they do; for `--help`.
pub const COMMANDS: &[(&str, &str)] = &[
    ("counters", "tell what was counted"),
    (
        "explain",
        "tell in words why QUEUE, or each, does not go on",
    ),
    (
        "inject",
        "add a rule: do, value, op, sector, length, protocol, pattern, queue, at, kick,\n\
         \x20                after, skip, count, percent, seed",
    ),
    ("rules", "list the rules"),
    ("acts", "list what the rules did, the last 1000 times"),
    ("clear", "remove rule RULE, or all"),
    ("pause", "take nothing from queue QUEUE, or from all"),
    ("resume", "go on"),
    ("deafen", "lose the notifications of queue QUEUE, or of all"),
    ("listen", "take them again, and do what there is"),
    ("release", "serve what is held"),
    ("latency", "let each request take US microseconds"),
    (
        "order",
        "return buffers: order done, reverse or random, MANY together, SEED",
    ),
    (
        "interrupt",
        "interrupt QUEUE without a reason, COUNT times, each US microseconds",
    ),
    (
        "config",
        "lie in the configuration space: SET {field: number}; without it, stop that; NOTIFY",
    ),
    (
        "features",
        "ADD and REMOVE features, by name or number, for the next negotiation",
    ),
    ("resize", "set the number of SECTORS"),
    (
        "power-cut",
        "lose what was not flushed; of 8 sectors, KEEP are stable",
    ),
    ("peek", "read COUNT sectors at SECTOR"),
    (
        "disconnect",
        "close the connection to QEMU; with MESSAGE, instead of taking that, after NTH",
    ),
    ("die", "die, as if killed"),
    ("quit", "end"),
    ("devices", "list the devices"),
];

/// What the control socket sees of a device.
pub trait Controlled: Send + Sync {
    /// Returns its name.
    fn name(&self) -> String;

    /// Executes a command.
    fn execute(&self, command: &str, arguments: &Value) -> Result<Value>;
}

impl<C: Class> Controlled for Shared<C> {
    fn name(&self) -> String {
        self.lock().name.clone()
    }

    fn execute(&self, command: &str, arguments: &Value) -> Result<Value> {
        let mut device = self.lock();
        let value = device.execute(command, arguments);
        device.wake();
        value
    }
}

/// Returns a number of a command, if it is there.
fn number(arguments: &Value, field: &str) -> Result<Option<u64>> {
    match &arguments[field] {
        Value::Null => Ok(None),
        value => Ok(Some(
            value
                .as_u64()
                .with_context(|| format!("{field} is no number"))?,
        )),
    }
}

impl<C: Class> Device<C> {
    /// Returns the queues that a command is about.
    fn chosen(&self, arguments: &Value) -> Result<std::ops::Range<usize>> {
        let all = 0..self.queues.len();
        match number(arguments, "queue")? {
            None => Ok(all),
            Some(queue) => {
                let queue = usize::try_from(queue)?;
                ensure!(all.contains(&queue), "there is no queue {queue}");
                Ok(queue..queue + 1)
            }
        }
    }

    /// Executes a command.
    pub(crate) fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        match command {
            "counters" => return Ok(self.describe()),
            "inject" => {
                let rule = self.rules.add(arguments, C::OPERATIONS)?;
                return Ok(json!({ "rule": rule }));
            }
            "explain" => {
                let mut words = serde_json::Map::new();
                for index in self.chosen(arguments)? {
                    if let Some(queue) = self.queues.get(index) {
                        let used_for = self.class.queue_use(index);
                        words.insert(index.to_string(), queue.explain(used_for).into());
                    }
                }
                return Ok(words.into());
            }
            "rules" => return Ok(self.rules.list()),
            "acts" => return Ok(self.rules.acts()),
            "clear" => self.rules.remove(number(arguments, "rule")?)?,
            "pause" | "resume" => {
                for index in self.chosen(arguments)? {
                    if let Some(queue) = self.queues.get_mut(index) {
                        queue.paused = command == "pause";
                    }
                    self.run(index);
                }
            }
            "deafen" | "listen" => {
                for index in self.chosen(arguments)? {
                    if let Some(queue) = self.queues.get_mut(index) {
                        queue.deaf = command == "deafen";
                    }
                    if command == "listen" {
                        self.run(index);
                    }
                }
            }
            "release" => {
                let mut count = 0;
                for index in self.chosen(arguments)? {
                    count += self.serve_waiting(index, |waiting| waiting.ready.is_none());
                }
                return Ok(json!({ "released": count }));
            }
            "latency" => {
                let time = number(arguments, "us")?.context("us is missing")?;
                self.latency = Duration::from_micros(time);
            }
            "order" => self.set_order(arguments)?,
            "interrupt" => {
                let storm = Storm {
                    left: number(arguments, "count")?.unwrap_or(1),
                    interval: Duration::from_micros(number(arguments, "us")?.unwrap_or(1000)),
                    next: Instant::now(),
                };
                for index in self.chosen(arguments)? {
                    if let Some(queue) = self.queues.get_mut(index) {
                        queue.storm = queue.ring.is_some().then_some(storm);
                    }
                }
            }
            "disconnect" => self.disconnect(arguments)?,
            "die" => die(),
            _ => {
                let Some(answer) = self.class.command(command, arguments) else {
                    bail!("there is no command {command}");
                };
                let Answer {
                    value,
                    config_changed,
                } = answer?;
                if config_changed {
                    self.config_changed();
                }
                return Ok(value);
            }
        }
        Ok(json!({}))
    }

    /// Closes the connection, now or at a message.
    fn disconnect(&mut self, arguments: &Value) -> Result<()> {
        let nth = number(arguments, "nth")?;
        match &arguments["message"] {
            Value::Null => {
                ensure!(nth.is_none(), "nth is that of a message, which is missing");
                self.hang_up();
            }
            message => {
                let name = message.as_str().context("message is no name")?;
                self.cut = Some(Cut::new(name, nth.unwrap_or(0))?);
            }
        }
        Ok(())
    }

    fn set_order(&mut self, arguments: &Value) -> Result<()> {
        let many = usize::try_from(number(arguments, "many")?.unwrap_or(4))?;
        self.order = match arguments["order"].as_str() {
            Some("done") => Order::Done,
            Some("reverse") => Order::Reverse(many),
            Some("random") => Order::Random(many, number(arguments, "seed")?.unwrap_or(1).max(1)),
            _ => bail!("order is done, reverse or random"),
        };
        for index in 0..self.queues.len() {
            self.change_order(index);
        }
        Ok(())
    }

    fn describe(&self) -> Value {
        let queues: Vec<_> = self.queues.iter().map(|queue| queue.describe()).collect();
        json!({
            "name": self.name,
            "connected": self.connection.is_some(),
            "connections": self.counters.connections,
            "messages": self.counters.messages,
            "refused": self.counters.refused,
            "cuts": self.counters.cuts,
            "resets": self.counters.resets,
            "config_changes": self.counters.config_changes,
            "features": self.accepted,
            "written_to_memory": self.memory.written(),
            "logging": self.memory.log().is_on(),
            "logged_pages": self.memory.log().logged(),
            "not_in_log": self.memory.log().beyond(),
            "queues": queues,
            "class": self.class.counters(),
        })
    }
}

/// Listens for who wants to control these devices, while what it returns is kept. The last sender to
/// `quit` ends the program.
pub fn listen(
    path: &Path,
    devices: Vec<Arc<dyn Controlled>>,
    recorder: Option<Recorder>,
    quit: UnixStream,
) -> Result<Bound> {
    let (listener, bound) = socket::listen(path)?;
    let devices: Arc<[_]> = devices.into();
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let devices = Arc::clone(&devices);
            let recorder = recorder.clone();
            let Ok(quit) = quit.try_clone() else { continue };
            // Who hangs up ends the thread.
            thread::spawn(move || {
                if let Err(error) = talk(&connection, &devices, recorder.as_ref(), &quit) {
                    warning!("control: {error:#}");
                }
            });
        }
    });
    Ok(bound)
}

/// Answers to one who controls.
fn talk(
    connection: &UnixStream,
    devices: &[Arc<dyn Controlled>],
    recorder: Option<&Recorder>,
    mut quit: &UnixStream,
) -> Result<()> {
    let mut answers = connection;
    for line in BufReader::new(connection).lines() {
        let line = line?;
        let parsed: Result<Value, _> = serde_json::from_str(&line);
        let (result, id) = match &parsed {
            Ok(command) if command["command"] == "quit" => {
                quit.write_all(&[0])?;
                (Ok(json!({})), command.get("id"))
            }
            Ok(command) => {
                if let (Some(recorder), Ok(device)) = (recorder, chosen(command, devices)) {
                    recorder.note_command(&device.name(), command);
                }
                (execute(command, devices), command.get("id"))
            }
            Err(error) => (Err(anyhow::anyhow!("no JSON: {error}")), None),
        };
        let mut answer = match result {
            Ok(value) => json!({ "ok": value }),
            Err(error) => json!({ "error": format!("{error:#}") }),
        };
        if let Some(id) = id {
            answer["id"] = id.clone();
        }
        answers.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

/// Returns the device that a command names, or the only one.
fn chosen<'a>(
    command: &Value,
    devices: &'a [Arc<dyn Controlled>],
) -> Result<&'a Arc<dyn Controlled>> {
    match (command["device"].as_str(), devices) {
        (Some(wanted), _) => devices
            .iter()
            .find(|device| device.name() == wanted)
            .with_context(|| format!("there is no device {wanted}")),
        (None, [only]) => Ok(only),
        (None, _) => bail!("device is missing"),
    }
}

/// Executes a command with the device that it names, or with the only one.
pub fn execute(command: &Value, devices: &[Arc<dyn Controlled>]) -> Result<Value> {
    let name = command["command"].as_str().context("command is missing")?;
    if name == "devices" {
        return Ok(devices.iter().map(|device| device.name()).collect());
    }
    chosen(command, devices)?.execute(name, command)
}
