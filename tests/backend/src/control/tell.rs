// SPDX-License-Identifier: GPL-2.0

//! The other end of the control socket, for a person who has a shell.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    io::{BufRead, BufReader, Lines, Write},
    os::unix::net::UnixStream,
    path::Path,
};

/// A connection to a backend.
pub(super) struct Connection {
    stream: UnixStream,
    answers: Lines<BufReader<UnixStream>>,
}

impl Connection {
    /// Connects to the backend that listens at `path`.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("nobody listens at {}", path.display()))?;
        let answers = BufReader::new(stream.try_clone()?).lines();
        Ok(Self { stream, answers })
    }

    /// Sends a command, and returns the answer.
    pub(super) fn ask(&mut self, command: &Value) -> Result<Value> {
        self.stream.write_all(format!("{command}\n").as_bytes())?;
        let answer = self.answers.next().context("the backend hangs up")??;
        let mut answer: Value = serde_json::from_str(&answer)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{command} is refused: {error}");
        }
        Ok(answer["ok"].take())
    }
}

/// Sends commands to the backend that listens at `path`, and gives each answer to `show`.
///
/// # Errors
///
/// The first command that the backend refuses ends it, as does a backend that hangs up.
pub fn tell(path: &Path, commands: &[String], mut show: impl FnMut(&Value)) -> Result<()> {
    let mut connection = Connection::new(path)?;
    for command in commands {
        // A command is a line; who writes it may have put it on several.
        let command: Value =
            serde_json::from_str(command).with_context(|| format!("{command} is no JSON"))?;
        show(&connection.ask(&command)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Controlled, listen};
    use serde_json::json;
    use std::sync::Arc;

    /// Answers with what it is asked, but to nothing that is unheard-of.
    struct Echo;

    impl Controlled for Echo {
        fn name(&self) -> String {
            "echo".to_owned()
        }

        fn execute(&self, command: &str, arguments: &Value) -> Result<Value> {
            if command == "unheard-of" {
                bail!("no such command");
            }
            Ok(json!([command, arguments["value"]]))
        }
    }

    fn answers(name: &str, commands: &[&str]) -> (Vec<Value>, Result<()>) {
        let name = format!("rv-{}-tell-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let (quit, _asked) = UnixStream::pair().expect("a pair");
        let _bound = listen(&path, vec![Arc::new(Echo)], None, quit).expect("a listener");
        let commands: Vec<_> = commands.iter().copied().map(str::to_owned).collect();
        let mut answers = Vec::new();
        let result = tell(&path, &commands, |answer| answers.push(answer.clone()));
        (answers, result)
    }

    #[test]
    fn each_command_is_answered() {
        let commands = [
            "{\"command\": \"a\",\n \"value\": 1}",
            "{\"command\": \"b\"}",
        ];
        let (answers, result) = answers("all", &commands);

        result.expect("no command is refused");
        assert_eq!(answers, [json!(["a", 1]), json!(["b", null])]);
    }

    #[test]
    fn what_is_refused_ends_it() {
        let commands = ["{\"command\": \"unheard-of\"}", "{\"command\": \"b\"}"];
        let (answers, result) = answers("refused", &commands);

        let error = result.expect_err("a refusal").to_string();
        assert_eq!(
            error,
            "{\"command\":\"unheard-of\"} is refused: no such command"
        );
        assert!(answers.is_empty());
    }

    #[test]
    fn what_is_no_json_is_not_sent() {
        let (answers, result) = answers("text", &["counters"]);

        let error = result.expect_err("no JSON").to_string();
        assert_eq!(error, "counters is no JSON");
        assert!(answers.is_empty());
    }

    #[test]
    fn nobody_may_listen() {
        let error = tell(Path::new("/nowhere/at/all"), &[], |_| {}).expect_err("nobody");

        assert_eq!(error.to_string(), "nobody listens at /nowhere/at/all");
    }
}
