// SPDX-License-Identifier: GPL-2.0

//! Both snapshots, taken by one who sits beside the backend and can run a command in the guest.

use crate::{
    host::{self, Wanted},
    snapshot::Snapshot,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{
    process::{Command, Stdio},
    thread,
    time::Duration,
};

/// Takes a snapshot, waits, and takes another one.
///
/// The guest is asked at the very beginning and at the very end, so that it has seen all that the backend
/// has handed over in between: a frame that comes while snapshots are taken is not missing there.
pub fn watch(wanted: &Wanted<'_>, guest: &str, wait: Duration) -> Result<(Value, Value)> {
    let first = run(guest)?;
    let before = json!({ "guest": first, "host": host::read(wanted)? });
    thread::sleep(wait);
    let host = host::read(wanted)?;
    let after = json!({ "guest": run(guest)?, "host": host });
    Ok((before, after))
}

/// Returns a snapshot as it is judged.
pub fn typed(snapshot: &Value) -> Result<Snapshot> {
    Snapshot::read(&snapshot.to_string())
}

/// Runs a command of the shell, and returns the object that it prints.
fn run(command: &str) -> Result<Value> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("running a shell")?;
    ensure!(output.status.success(), "{command}: {}", output.status);
    let text = String::from_utf8_lossy(&output.stdout);
    object(&text).with_context(|| format!("{command} prints no snapshot"))
}

/// Finds the first object in a text: what runs commands in guests may say something of its own.
fn object(text: &str) -> Option<Value> {
    let starts = text.match_indices('{').map(|(at, _)| at);
    starts.filter_map(|at| text.get(at..)).find_map(|rest| {
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        values
            .next()?
            .ok()
            .filter(|value| value["interface"].is_string())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_found_among_other_things() {
        let text = "booting {1}\n{}\n{\"interface\": \"eth0\", \"link\": {}}\npowered off {\n";

        assert_eq!(
            object(text),
            Some(json!({ "interface": "eth0", "link": {} }))
        );
        assert_eq!(object("nothing {\"at\": \"all\"}"), None);
        assert_eq!(object("{\"interface\": \"eth0\", "), None, "it is cut");
    }

    #[test]
    fn a_command_is_run() {
        let guest = run("echo '{\"interface\": \"eth0\"}'").expect("an object");
        assert_eq!(guest["interface"], "eth0");

        let failed = run("exit 3").expect_err("it fails").to_string();
        assert_eq!(failed, "exit 3: exit status: 3");
        let silent = run("true").expect_err("it says nothing").to_string();
        assert_eq!(silent, "true prints no snapshot");
    }
}
