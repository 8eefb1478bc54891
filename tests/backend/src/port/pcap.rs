// SPDX-License-Identifier: GPL-2.0

//! Files of captured frames, in the format pcapng, at a port: what leaves is recorded, and what a
//! file has is sent.

use crate::{
    control::Controlled,
    frame::{Frame, Takes, fit},
    log::error,
    pcapng::{Direction, Packets, Pcapng},
    switch::{Handle, PortOptions},
    wake::Waker,
};
use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The longest wait between two frames that are sent.
const MOST_WAIT: Duration = Duration::from_secs(10);

/// A port, for the control socket.
#[derive(Debug)]
struct Files {
    name: String,
    replay: Option<PathBuf>,
    handle: Handle,
    recorded: AtomicU64,
    sent: AtomicU64,
    replays: AtomicU64,
}

/// Starts the thread that records. What is replayed waits for the control socket.
pub fn start(
    options: &PortOptions,
    record: Option<&Path>,
    replay: Option<PathBuf>,
    handle: impl FnOnce() -> Result<Handle>,
) -> Result<Arc<dyn Controlled>> {
    let file = record
        .map(|path| {
            let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
            Pcapng::new(file, &options.name)
        })
        .transpose()?;
    if let Some(path) = &replay {
        ensure!(path.exists(), "there is no {}", path.display());
    }
    let files = Arc::new(Files {
        name: options.name.clone(),
        replay,
        handle: handle()?,
        recorded: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        replays: AtomicU64::new(0),
    });
    if let Some(file) = file {
        let waker = Waker::new()?;
        files.handle.outlet().set_waker(waker.clone());
        files.handle.outlet().set_open(true);
        let recorder = Arc::clone(&files);
        thread::spawn(move || {
            if let Err(error) = recorder.record(file, &waker) {
                error!("{}: frames cannot be recorded: {error:#}", recorder.name);
            }
            recorder.handle.outlet().set_open(false);
        });
    }
    Ok(Arc::new(Shared(files)))
}

impl Files {
    fn record(&self, mut file: Pcapng, waker: &Waker) -> Result<()> {
        loop {
            match poll(&mut [PollFd::new(waker, PollFlags::IN)], None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => waker.clear(),
                Err(error) => return Err(error.into()),
            }
            for frame in self.handle.outlet().take() {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                // As they would be on a wire: cut, and with their checksums.
                let pieces = match fit(&frame, Takes::default(), usize::MAX / 2) {
                    Ok(pieces) => pieces,
                    Err(_) => vec![frame],
                };
                for piece in pieces {
                    file.write(now, &piece.bytes, Direction::Out, None)?;
                    self.recorded.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Sends what the file has: with the pauses in it, or without.
    fn replay(self: &Arc<Self>, path: &Path, arguments: &Value) -> Result<Value> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        let packets = Packets::read(&bytes).with_context(|| path.display().to_string())?;
        let fast = arguments["fast"].as_bool().unwrap_or(false);
        let count = packets.len();
        let files = Arc::clone(self);
        thread::spawn(move || {
            let mut last: Option<Duration> = None;
            for (time, bytes) in packets {
                if let (false, Some(last)) = (fast, last) {
                    thread::sleep(time.saturating_sub(last).min(MOST_WAIT));
                }
                last = Some(time);
                files.handle.send(Frame::plain(bytes));
                files.sent.fetch_add(1, Ordering::Relaxed);
            }
            files.replays.fetch_add(1, Ordering::Relaxed);
        });
        Ok(json!({ "frames": count }))
    }
}

/// The files, which a thread that sends keeps.
struct Shared(Arc<Files>);

impl Controlled for Shared {
    fn name(&self) -> String {
        self.0.name.clone()
    }

    fn execute(&self, command: &str, arguments: &Value) -> Result<Value> {
        let files = &self.0;
        match command {
            "counters" => Ok(json!({
                "recorded": files.recorded.load(Ordering::Relaxed),
                "sent": files.sent.load(Ordering::Relaxed),
                "replays": files.replays.load(Ordering::Relaxed),
            })),
            "replay" => {
                let path = files.replay.as_ref().context("it has no file to replay")?;
                files.replay(path, arguments)
            }
            _ => bail!("there is no command {command}"),
        }
    }
}

#[cfg(test)]
mod tests;
