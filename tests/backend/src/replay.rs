// SPDX-License-Identifier: GPL-2.0

//! What was done to a driver, to do it again.
//!
//! A record has a line for each act, which is a command of the control socket. For what a rule did, it
//! adds a rule that does the same to the same request; for what somebody commanded, it is that, and the
//! time of it. A driver that makes the same requests meets the same device again.

use crate::{
    control::{Controlled, execute},
    log::{error, warning},
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// When a command came, in microseconds since the start.
const SINCE: &str = "since";

/// Commands that change nothing, or of which the effects are noted.
const UNNOTED: &[&str] = &[
    "acts", "clear", "counters", "explain", "inject", "peek", "quit", "rules", "table",
];

/// Writes a record.
#[derive(Clone, Debug)]
pub struct Recorder {
    file: Arc<Mutex<File>>,
    begun: Instant,
}

impl Recorder {
    /// Begins a record, now.
    pub fn create(path: &Path) -> Result<Self> {
        let file = File::create(path).with_context(|| path.display().to_string())?;
        Ok(Self {
            file: Arc::new(Mutex::new(file)),
            begun: Instant::now(),
        })
    }

    /// Notes a rule that does what was done to a request of a device.
    pub fn note_rule(&self, device: &str, mut rule: Value) {
        rule["command"] = "inject".into();
        rule["device"] = device.into();
        self.write(&rule);
    }

    /// Notes a command, if it has an effect that is not noted otherwise.
    pub fn note_command(&self, device: &str, command: &Value) {
        let name = command["command"].as_str().unwrap_or_default();
        if UNNOTED.contains(&name) {
            return;
        }
        let mut command = command.clone();
        let since = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        command["device"] = device.into();
        command[SINCE] = since.into();
        self.write(&command);
    }

    fn write(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // At once: the program may be killed.
        if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
            error!("the record is not complete: {error}");
        }
    }
}

/// What was done, to be done again.
#[derive(Debug, Default, PartialEq)]
pub struct Replay {
    /// Rules, which are there from the beginning.
    rules: Vec<Value>,
    /// Commands, and when they come.
    commands: Vec<(Duration, Value)>,
}

impl Replay {
    /// Reads a record.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let mut replay = Self::default();
        for (number, line) in text.lines().enumerate() {
            replay
                .add(line)
                .with_context(|| format!("{}:{}", path.display(), number + 1))?;
        }
        Ok(replay)
    }

    fn add(&mut self, line: &str) -> Result<()> {
        let mut command: Value = serde_json::from_str(line).context("no JSON")?;
        ensure!(command["command"].is_string(), "command is missing");
        if command["command"] == "inject" {
            self.rules.push(command);
            return Ok(());
        }
        let since = command.as_object_mut().and_then(|it| it.remove(SINCE));
        let since = since.and_then(|since| since.as_u64());
        let since = since.context("it is not told when that came")?;
        self.commands.push((Duration::from_micros(since), command));
        Ok(())
    }

    /// Adds the rules, and gives the commands when it is time for them, as counted from now.
    pub fn begin(self, devices: Vec<Arc<dyn Controlled>>) -> Result<()> {
        let begun = Instant::now();
        for rule in &self.rules {
            execute(rule, &devices).with_context(|| rule.to_string())?;
        }
        thread::spawn(move || {
            for (since, command) in self.commands {
                thread::sleep(since.saturating_sub(begun.elapsed()));
                if let Err(error) = execute(&command, &devices) {
                    warning!("{command} cannot be done again: {error:#}");
                }
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::sync::mpsc::{Sender, channel};

    /// Tells what it is commanded.
    struct Told(Mutex<Sender<(String, Value)>>);

    impl Controlled for Told {
        fn name(&self) -> String {
            "disk".to_owned()
        }

        fn execute(&self, command: &str, arguments: &Value) -> Result<Value> {
            let told = self.0.lock().expect("the lock");
            told.send((command.to_owned(), arguments.clone()))?;
            Ok(json!({}))
        }
    }

    #[test]
    fn what_is_noted_is_done_again() {
        let name = format!("rv-{}-record", std::process::id());
        let path = std::env::temp_dir().join(name);
        let recorder = Recorder::create(&path).expect("a file");
        recorder.note_command("disk", &json!({"command": "counters"}));
        recorder.note_command("disk", &json!({"command": "pause", "queue": 1}));
        let rule = json!({"do": "fail", "value": 1, "at": 7, "queue": 0});
        recorder.note_rule("disk", rule.clone());
        thread::sleep(Duration::from_millis(30));
        recorder.note_command("disk", &json!({"command": "resume"}));

        let (sender, told) = channel();
        let begun = Instant::now();
        let replay = Replay::read(&path).expect("a record");
        fs::remove_file(&path).expect("the file");
        replay
            .begin(vec![Arc::new(Told(Mutex::new(sender)))])
            .expect("to begin");
        let (first, arguments) = told.recv().expect("a rule");
        assert_eq!(first, "inject");
        assert_eq!(
            (&arguments["at"], &arguments["do"]),
            (&rule["at"], &rule["do"])
        );
        let (second, arguments) = told.recv().expect("a command");
        assert_eq!((second.as_str(), &arguments["queue"]), ("pause", &json!(1)));
        let (third, arguments) = told.recv().expect("another");
        assert_eq!(
            (third.as_str(), &arguments["since"]),
            ("resume", &Value::Null)
        );
        assert!(begun.elapsed() >= Duration::from_millis(30));
        assert!(told.recv().is_err(), "there is nothing else");
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (line, why) in [
            ("{", "no JSON"),
            ("{}", "command is missing"),
            ("{\"command\": \"pause\"}", "it is not told when that came"),
        ] {
            let error = Replay::default().add(line).expect_err("an error");
            assert_eq!(error.to_string(), why);
        }
    }
}
