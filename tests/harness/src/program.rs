// SPDX-License-Identifier: GPL-2.0

//! A program of the host that runs beside a test: QEMU, a backend, ...

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    fs::{self, File},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to make its socket.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A program that runs. It is killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts it; what it prints goes to a log, called after it, in directory `artefacts`.
    pub fn spawn(command: &mut Command, artefacts: &Path) -> Result<Self> {
        let name = Path::new(command.get_program())
            .file_name()
            .context("a program has no name")?
            .to_string_lossy()
            .into_owned();
        Self::spawn_to(command, &artefacts.join(format!("{name}.log")))
    }

    /// Starts it; what it prints goes to file `log`.
    pub fn spawn_to(command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::create(log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("starting {}", command.get_program().display()))?;
        Ok(Self {
            child,
            log: log.to_owned(),
        })
    }

    /// Waits until it has made the socket at `path`.
    pub fn wait_for(&mut self, path: &Path) -> Result<()> {
        self.wait_until(&format!("make {}", path.display()), || {
            path.exists().then_some(())
        })
    }

    /// Connects to its socket at `path`, which it may not have made yet, or not listen at.
    pub fn connect(&mut self, path: &Path) -> Result<UnixStream> {
        self.wait_until(&format!("listen at {}", path.display()), || {
            UnixStream::connect(path).ok()
        })
    }

    fn wait_until<T>(&mut self, what: &str, mut done: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if let Some(result) = done() {
                return Ok(result);
            }
            if let Some(status) = self.child.try_wait()? {
                let text = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("it ends with {status}: {}", text.trim());
            }
            ensure!(Instant::now() < deadline, "it does not {what}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Tells whether it runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, and returns whether it came within `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<bool> {
        Ok(self.end_within(limit)?.is_some())
    }

    /// Waits for its end, and returns its status if it came within `limit`.
    pub fn end_within(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || Instant::now() > deadline {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks it to end.
    pub fn terminate(&self) -> Result<()> {
        let pid = Pid::from_raw(self.child.id().try_into()?).context("it has no process")?;
        kill_process(pid, Signal::TERM).context("asking a program to end")
    }

    /// Kills it.
    pub fn kill(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
