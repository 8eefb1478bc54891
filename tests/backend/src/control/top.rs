// SPDX-License-Identifier: GPL-2.0

//! What goes on in a backend, for somebody who watches.

use super::tell::Connection;
use anyhow::Result;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{IsTerminal, Write, stdout},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// How long a screen is shown.
const PERIOD: Duration = Duration::from_secs(1);

/// Puts the cursor to the first place, and clears what follows.
const CLEAR: &str = "\x1b[H\x1b[J";

/// The counters of all devices that have queues, by their names.
type Counters = BTreeMap<String, Value>;

/// Shows what the backend that listens at `path` does, until it hangs up.
pub fn top(path: &Path) -> Result<()> {
    let mut connection = Connection::new(path)?;
    let clear = if stdout().is_terminal() { CLEAR } else { "" };
    let (mut before, mut begun) = (read(&mut connection)?, Instant::now());
    loop {
        thread::sleep(PERIOD);
        let now = read(&mut connection)?;
        let seconds = begun.elapsed().as_secs_f64();
        begun = Instant::now();
        let mut out = stdout();
        write!(out, "{clear}{}", screen(&before, &now, seconds))?;
        out.flush()?;
        before = now;
    }
}

fn read(connection: &mut Connection) -> Result<Counters> {
    let mut all = Counters::new();
    let names = connection.ask(&json!({ "command": "devices" }))?;
    for name in names.as_array().into_iter().flatten() {
        let counters = connection.ask(&json!({ "command": "counters", "device": name }))?;
        if counters["queues"].is_array() {
            all.insert(name.as_str().unwrap_or_default().to_owned(), counters);
        }
    }
    Ok(all)
}

/// Draws what has changed in so many seconds: queues that were used.
fn screen(before: &Counters, now: &Counters, seconds: f64) -> String {
    let mut text = format!(
        "{:<10} {:>5} {:<8} {:>5} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}\n",
        "device",
        "queue",
        "state",
        "out",
        "kicks/s",
        "calls/s",
        "taken/s",
        "MiB/s in",
        "MiB/s out",
        "us each"
    );
    for (name, counters) in now {
        let empty = Vec::new();
        let queues = counters["queues"].as_array().unwrap_or(&empty);
        for (index, queue) in queues.iter().enumerate() {
            if queue["starts"] == 0 {
                continue;
            }
            let old = before
                .get(name)
                .map_or(&Value::Null, |old| &old["queues"][index]);
            text += &row(name, index, old, queue, seconds);
        }
    }
    text
}

fn row(name: &str, index: usize, old: &Value, queue: &Value, seconds: f64) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(0.0);
    let more = |field: &str| number(&queue[field]) - number(&old[field]);
    let rate = |field: &str| more(field) / seconds;
    let mebibytes = |field: &str| rate(field) / f64::from(1 << 20);
    let latency =
        |field: &str| number(&queue["latency_us"][field]) - number(&old["latency_us"][field]);
    let state = if queue["running"] != true {
        "stopped"
    } else if queue["paused"] == true {
        "paused"
    } else if queue["enabled"] != true {
        "disabled"
    } else {
        "runs"
    };
    let each = latency("sum") / latency("count").max(1.0);
    format!(
        "{name:<10} {index:>5} {state:<8} {:>5} {:>9.0} {:>9.0} {:>9.0} {:>9.1} {:>9.1} {each:>9.0}\n",
        queue["out"],
        rate("kicks"),
        rate("calls"),
        rate("taken"),
        mebibytes("readable_bytes"),
        mebibytes("writable_bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(kicks: u64, taken: u64, sum: u64) -> Value {
        json!({
            "starts": 1, "running": true, "enabled": true, "paused": false, "out": 2,
            "kicks": kicks, "calls": kicks, "taken": taken,
            "readable_bytes": taken << 20, "writable_bytes": 0,
            "latency_us": {"count": taken, "sum": sum},
        })
    }

    #[test]
    fn what_has_changed_is_shown() {
        let unused = json!({ "starts": 0 });
        let counters = |first: Value| {
            let device = json!({ "queues": [first, unused] });
            Counters::from([("disk".to_owned(), device)])
        };
        let before = counters(queue(10, 100, 1000));
        let text = screen(&before, &counters(queue(30, 300, 5000)), 2.0);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();

        assert_eq!(lines.len(), 2, "{text}");
        let wanted = [
            "disk", "0", "runs", "2", "10", "10", "100", "100.0", "0.0", "20",
        ];
        assert_eq!(lines[1], wanted);
        let mut paused = queue(0, 0, 0);
        paused["paused"] = true.into();
        let text = screen(&Counters::new(), &counters(paused), 1.0);
        assert!(text.contains(" paused "), "{text}");
    }
}
