// SPDX-License-Identifier: GPL-2.0

//! A backend that runs beside a test, and its control socket.

use crate::{
    guest::Builder,
    paths::{self, Scratch},
    program::Program,
};
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
    parts: Vec<Part>,
    artefacts: PathBuf,
    sockets: Scratch,
    state: Mutex<State>,
}

/// A part of a backend: its name, and what the option of `virtio-backend` takes, but for the name and
/// the socket. If that of a device begins with `connect`, QEMU listens.
#[derive(Clone, Debug)]
pub enum Part {
    /// A disk.
    Blk(String, String),
    /// A network device.
    Net(String, String),
    /// What else is at a port of the switch.
    Port(String, String),
}

impl Part {
    /// A disk.
    pub fn blk(name: &str, spec: &str) -> Self {
        Self::Blk(name.to_owned(), spec.to_owned())
    }

    /// A network device.
    pub fn net(name: &str, spec: &str) -> Self {
        Self::Net(name.to_owned(), spec.to_owned())
    }

    /// What else is at a port of the switch.
    pub fn port(name: &str, spec: &str) -> Self {
        Self::Port(name.to_owned(), spec.to_owned())
    }

    fn name(&self) -> &str {
        let (Self::Blk(name, _) | Self::Net(name, _) | Self::Port(name, _)) = self;
        name
    }

    /// Returns the option and how it meets QEMU, if it does, and the rest.
    fn option(&self) -> (&'static str, Option<&'static str>, &str) {
        let (option, spec) = match self {
            Self::Blk(_, spec) => ("--blk", spec),
            Self::Net(_, spec) => ("--net", spec),
            Self::Port(_, spec) => return ("--port", None, spec),
        };
        match spec.strip_prefix("connect") {
            Some(rest) => (option, Some("connect"), rest.trim_start_matches(',')),
            None => (option, Some("socket"), spec),
        }
    }
}

#[derive(Debug)]
struct State {
    program: Option<Program>,
    control: Option<BufReader<UnixStream>>,
    starts: u32,
}

impl Backend {
    /// Starts a backend.
    pub fn start(parts: Vec<Part>, artefacts: &Path) -> Result<Self> {
        let backend = Self {
            parts,
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
        let program = paths::built("virtio-backend")?;
        let control = self.control();
        // One that was killed has left it.
        let _ = std::fs::remove_file(&control);
        let mut command = Command::new(program);
        command.arg("--control").arg(&control);
        for part in &self.parts {
            let name = part.name();
            let (option, key, spec) = part.option();
            let mut description = format!("name={name},{spec}");
            if let Some(key) = key {
                let socket = self.sockets.path().join(name);
                let _ = std::fs::remove_file(&socket);
                description += &format!(",{key}={}", socket.display());
            }
            command.arg(option).arg(description);
        }
        // A test may have several backends.
        let mut logs = (state.starts..).map(|n| self.artefacts.join(format!("backend.{n}.log")));
        let log = logs.find(|log| !log.exists());
        let log = log.context("there are too many logs")?;
        let mut program = Program::spawn_to(&mut command, &log)?;
        for part in &self.parts {
            if part.option().1 == Some("socket") {
                program.wait_for(&self.sockets.path().join(part.name()))?;
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
        let kind = builder.virtio("vhost-user-blk");
        let device = format!("{kind},chardev=backend-{disk},id={disk}");
        self.connect(builder, disk)
            .qemu(&["-device", &with(device, properties)])
    }

    /// Gives a guest a network device with so many pairs of queues, and properties of QEMU's device
    /// such as `packed=on`. QEMU has its configuration space, and its control queue.
    pub fn attach_net(&self, builder: Builder, net: &str, pairs: u16, properties: &str) -> Builder {
        let netdev = format!("vhost-user,id=net-{net},chardev=backend-{net},queues={pairs}");
        let mut device = format!("{},netdev=net-{net},id={net}", builder.virtio("virtio-net"));
        if pairs > 1 {
            device += ",mq=on";
            if builder.has_pci() {
                // A vector for each queue, one for the control queue, one for the configuration.
                device += &format!(",vectors={}", pairs * 2 + 2);
            }
        }
        self.connect(builder, net)
            .qemu(&["-netdev", &netdev, "-device", &with(device, properties)])
    }

    /// Gives a guest a network device that has its own configuration space and control queue, as
    /// `control` in its description says, with so many pairs of queues.
    pub fn attach_whole_net(&self, builder: Builder, net: &str, pairs: u16) -> Builder {
        let queues = pairs * 2 + 1;
        let socket = self.sockets.path().join(net);
        builder.qemu(&[
            // Where it is to connect again, QEMU does not wait for this device.
            "-chardev",
            &format!("socket,id=backend-{net},path={}", socket.display()),
            "-device",
            &format!(
                "vhost-user-test-device-pci,chardev=backend-{net},id={net},virtio-id=1,\
                 num_vqs={queues},config_size=24"
            ),
        ])
    }

    /// Lets QEMU and a device meet.
    fn connect(&self, builder: Builder, name: &str) -> Builder {
        let socket = self.sockets.path().join(name);
        let part = self.parts.iter().find(|part| part.name() == name);
        let end = match part.and_then(|part| part.option().1) {
            // QEMU waits for the backend before it goes on.
            Some("connect") => "server=on,wait=on",
            _ => "reconnect-ms=200",
        };
        builder.qemu(&[
            "-chardev",
            &format!("socket,id=backend-{name},path={},{end}", socket.display()),
        ])
    }

    /// Returns where the control socket is.
    pub fn control(&self) -> PathBuf {
        self.sockets.path().join("control")
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

/// Adds properties to a device.
fn with(mut device: String, properties: &str) -> String {
    if !properties.is_empty() {
        device += ",";
        device += properties;
    }
    device
}

/// Adds up a counter of all queues.
pub fn sum(counters: &Value, field: &str) -> u64 {
    let queues = counters["queues"].as_array().into_iter().flatten();
    queues.filter_map(|queue| queue[field].as_u64()).sum()
}

/// Returns one of the numbers that a backend tells.
pub fn number(value: &Value, field: &str) -> Result<u64> {
    value[field]
        .as_u64()
        .with_context(|| format!("{field} is no number of {value:#}"))
}
