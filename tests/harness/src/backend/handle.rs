// SPDX-License-Identifier: GPL-2.0

//! A backend that runs beside a test, and its control socket.

use crate::{guest::Builder, paths::Scratch, program::Program};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long the backend may take to answer, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What [`Backend::wait_until`] waits at most, on a machine that is busy.
const WAIT: Duration = Duration::from_secs(60);

/// A backend. It ends with the test, after its guests: until then it can be used.
#[derive(Debug)]
pub struct Backend {
    disks: Vec<(String, String)>,
    artefacts: PathBuf,
    sockets: Scratch,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    program: Option<Program>,
    control: Option<BufReader<UnixStream>>,
    starts: u32,
}

impl Backend {
    /// Starts a backend with disks: each has a name, and what `virtio-backend --blk` takes, but for
    /// the name and the socket. If that begins with `connect`, QEMU listens.
    pub fn start(disks: &[(&str, &str)], artefacts: &Path) -> Result<Self> {
        let backend = Self {
            disks: disks
                .iter()
                .map(|(name, spec)| ((*name).to_owned(), (*spec).to_owned()))
                .collect(),
            artefacts: artefacts.to_owned(),
            sockets: Scratch::new()?,
            state: Mutex::new(State {
                program: None,
                control: None,
                starts: 0,
            }),
        };
        backend.restart()?;
        Ok(backend)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it again, after [`kill`](Self::kill) or [`end`](Self::end).
    pub fn restart(&self) -> Result<()> {
        let mut state = self.state();
        state.program = None;
        state.starts += 1;
        let program = std::env::current_exe()?.with_file_name("virtio-backend");
        ensure!(
            program.exists(),
            "{} is not built: make harness",
            program.display()
        );
        let control = self.sockets.path().join("control");
        // One that was killed has left it.
        let _ = std::fs::remove_file(&control);
        let mut command = Command::new(program);
        command.arg("--control").arg(&control);
        for (name, spec) in &self.disks {
            let socket = self.sockets.path().join(name);
            let _ = std::fs::remove_file(&socket);
            let (key, spec) = meeting(spec);
            command
                .arg("--blk")
                .arg(format!("name={name},{key}={},{spec}", socket.display()));
        }
        let log = format!("backend.{}.log", state.starts);
        let mut program = Program::spawn_to(&mut command, &self.artefacts.join(log))?;
        for (name, spec) in &self.disks {
            if meeting(spec).0 == "socket" {
                program.wait_for(&self.sockets.path().join(name))?;
            }
        }
        let stream = program.connect(&control)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        state.program = Some(program);
        state.control = Some(BufReader::new(stream));
        Ok(())
    }

    /// Gives a guest a disk, with properties of QEMU's device such as `num-queues=4`.
    pub fn attach(&self, builder: Builder, disk: &str, properties: &str) -> Builder {
        let socket = self.sockets.path().join(disk);
        let spec = self.disks.iter().find(|(name, _)| name == disk);
        let end = match spec.map(|(_, spec)| meeting(spec).0) {
            // QEMU waits for the backend before it goes on.
            Some("connect") => "server=on,wait=on",
            _ => "reconnect-ms=200",
        };
        let between = if properties.is_empty() { "" } else { "," };
        builder.qemu(&[
            "-chardev",
            &format!("socket,id=backend-{disk},path={},{end}", socket.display()),
            "-device",
            &format!("vhost-user-blk-pci,chardev=backend-{disk},id={disk}{between}{properties}"),
        ])
    }

    /// Sends a command to the control socket, and returns what it answers.
    pub fn command(&self, command: Value) -> Result<Value> {
        let mut state = self.state();
        let control = state.control.as_mut().context("the backend has ended")?;
        let text = format!("{command}\n");
        control
            .get_mut()
            .write_all(text.as_bytes())
            .with_context(|| format!("sending {command} to the backend"))?;
        let mut line = String::new();
        let read = control
            .read_line(&mut line)
            .with_context(|| format!("waiting for the backend's answer to {command}"))?;
        ensure!(read > 0, "the backend hangs up at {command}");
        let mut answer: Value = serde_json::from_str(&line)?;
        if let Some(error) = answer.get("error") {
            bail!("the backend refuses {command}: {error}");
        }
        Ok(answer["ok"].take())
    }

    /// Sends a command to a device; `arguments` is an object.
    pub fn device(&self, name: &str, command: &str, arguments: Value) -> Result<Value> {
        let mut request = json!({ "command": command, "device": name });
        if let (Value::Object(request), Value::Object(arguments)) = (&mut request, arguments) {
            request.extend(arguments);
        }
        self.command(request)
    }

    /// Returns what was counted, see `virtio-backend --help`.
    pub fn counters(&self, name: &str) -> Result<Value> {
        self.device(name, "counters", json!({}))
    }

    /// Waits until the counters are as `enough` wants them, and returns them.
    pub fn wait_until(
        &self,
        name: &str,
        what: &str,
        enough: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let deadline = Instant::now() + WAIT;
        loop {
            let counters = self.counters(name)?;
            if enough(&counters) {
                return Ok(counters);
            }
            ensure!(
                Instant::now() < deadline,
                "the backend does not come to this: {what}; it counts {counters:#}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Kills it: nothing is flushed, nothing is said.
    pub fn kill(&self) {
        let mut state = self.state();
        state.control = None;
        if let Some(mut program) = state.program.take() {
            program.kill();
        }
    }

    /// Tells that it will die by itself, so that its end is no failure. Returns whether it has.
    pub fn wait_dead(&self) -> Result<bool> {
        let mut state = self.state();
        state.control = None;
        match state.program.take() {
            Some(mut program) => program.wait(PATIENCE),
            None => Ok(true),
        }
    }

    /// Asks it to end, and checks that it ends well.
    pub fn end(&self) -> Result<()> {
        let mut state = self.state();
        state.control = None;
        let Some(mut program) = state.program.take() else {
            return Ok(());
        };
        program.terminate()?;
        let status = program.end_within(PATIENCE)?;
        ensure!(
            status.is_some_and(|status| status.success()),
            "the backend does not end well: {status:?}"
        );
        Ok(())
    }
}

/// Divides what a disk is into how it meets QEMU, and the rest.
fn meeting(spec: &str) -> (&'static str, &str) {
    match spec.strip_prefix("connect,") {
        Some(spec) => ("connect", spec),
        None => ("socket", spec),
    }
}

/// Adds up a counter of all queues.
pub fn sum(counters: &Value, field: &str) -> u64 {
    let queues = counters["queues"].as_array().into_iter().flatten();
    queues.filter_map(|queue| queue[field].as_u64()).sum()
}
