// SPDX-License-Identifier: GPL-2.0

//! Looks into a guest that hangs, as far as it still answers.

use super::{Guest, lock, qmp::Qmp};
use anyhow::Result;
use serde_json::json;
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

/// What the kernel is asked for: memory, all tasks, blocked tasks; and last, as it may wait for a
/// CPU that does not answer, the backtraces of what runs.
const SYSRQ_KEYS: &[u8] = b"mtwl";

/// What the debug kernel is asked for before: the locks that are held.
const SYSRQ_DEBUG_KEYS: &[u8] = b"d";

/// How long the kernel may print after each key, and how long it is silent when it has ended.
const SYSRQ_LIMIT: Duration = Duration::from_secs(12);
const SYSRQ_SILENCE: Duration = Duration::from_millis(600);

/// How long the kernel may print after an NMI.
const NMI_PAUSE: Duration = Duration::from_secs(3);

/// Writes down the state of the guest's machine, and has its kernel print its own.
///
/// The first goes to `NAME.hang.txt` of the test's artefacts, the second to the guest's log.
pub fn look(guest: &Guest) {
    let mut report = format!("{} ({}) hangs.\n\n", guest.name, guest.kernel.release);
    report.push_str(&machine_state(&mut lock(&guest.qmp)));
    let kernel = press_sysrq(guest).and_then(|answered| {
        if answered {
            return Ok("The output of sysrq is at the end of the serial log.");
        }
        // Interrupts do not reach the kernel. This does, and it panics: see its command line.
        lock(&guest.qmp).execute("inject-nmi", json!({}))?;
        thread::sleep(NMI_PAUSE);
        Ok("Sysrq is not answered; that of an NMI is at the end of the serial log.")
    });
    match kernel {
        Ok(what) => report.push_str(&format!("== {what}\n")),
        Err(error) => report.push_str(&format!("== The kernel cannot be asked: {error:#}\n")),
    }
    let path = guest.artefacts.join(format!("{}.hang.txt", guest.name));
    if let Err(error) = fs::write(&path, report) {
        eprintln!("{}: {error}", path.display());
    }
}

/// Sends a break and a key for each of [`SYSRQ_KEYS`] to the console's serial port. Returns whether
/// the kernel printed anything.
fn press_sysrq(guest: &Guest) -> Result<bool> {
    let mut answered = false;
    let console = lock(&guest.sockets).path().join("console");
    let mut console = UnixStream::connect(console)?;
    console.set_read_timeout(Some(SYSRQ_SILENCE))?;
    let debug = guest.kernel.is_debug().then_some(SYSRQ_DEBUG_KEYS);
    for &key in debug.into_iter().chain([SYSRQ_KEYS]).flatten() {
        lock(&guest.qmp).execute("chardev-send-break", json!({ "id": "console" }))?;
        console.write_all(&[key])?;
        // The output goes to the log in any case.
        let deadline = Instant::now() + SYSRQ_LIMIT;
        let mut buffer = [0; 4096];
        while Instant::now() < deadline && matches!(console.read(&mut buffer), Ok(read) if read > 0)
        {
            answered = true;
        }
    }
    Ok(answered)
}

/// Asks QEMU for the state of the machine.
fn machine_state(qmp: &mut Qmp) -> String {
    let mut text = String::new();
    for command in ["query-status", "query-cpus-fast", "x-query-virtio"] {
        let answer = match qmp.execute(command, json!({})) {
            Ok(value) => serde_json::to_string_pretty(&value).unwrap_or_default(),
            Err(error) => format!("{error:#}"),
        };
        text.push_str(&format!("== {command}\n{answer}\n\n"));
    }
    for command in ["info registers -a", "info pic", "info qtree"] {
        let answer = qmp
            .human(command)
            .unwrap_or_else(|error| format!("{error:#}"));
        text.push_str(&format!("== {command}\n{answer}\n\n"));
    }
    text
}
