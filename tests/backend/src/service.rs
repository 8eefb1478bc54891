// SPDX-License-Identifier: GPL-2.0

//! The loop of a device: one thread waits for QEMU, the driver, and time.

use crate::{
    class::Class,
    control::Controlled,
    device::{Device, token},
    log::{self, Level, error, note, trace, warning},
    session::{backend_channel, early_enable, next_message},
    socket::{self, Bound},
    wake::Waker,
};
use anyhow::{Context, Result};
use rustix::{
    buffer::spare_capacity,
    event::{Timespec, epoll},
};
use std::{
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use vhost::vhost_user::{BackendReqHandler, Error, VhostUserBackendReqHandlerMut};

/// How long to wait before QEMU is called again.
const RETRY: Duration = Duration::from_millis(100);

/// How long the rest of a message may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// How QEMU and a device meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// QEMU connects to this socket.
    Listen(PathBuf),
    /// QEMU listens at this socket.
    Connect(PathBuf),
}

impl Meeting {
    /// Makes the socket, if QEMU is to connect: from then on it can.
    pub fn prepare(&self) -> Result<Place> {
        Ok(match self {
            Self::Listen(path) => {
                let (listener, bound) = socket::listen(path)?;
                Place::Listen(listener, bound)
            }
            Self::Connect(path) => Place::Connect(path.clone()),
        })
    }
}

/// Where QEMU and a device meet.
#[derive(Debug)]
pub enum Place {
    /// This listens here, and the file of the socket ends with it.
    Listen(UnixListener, Bound),
    /// QEMU listens at this socket.
    Connect(PathBuf),
}

/// A device, whatever it is.
pub trait Served: Controlled {
    /// Serves until [`stop`](Self::stop), QEMU after QEMU.
    fn run(&self, place: Place) -> Result<()>;

    /// Ends [`run`](Self::run).
    fn stop(&self);
}

impl<C: Class> Served for Shared<C> {
    fn run(&self, place: Place) -> Result<()> {
        Self::run(self, place)
    }

    fn stop(&self) {
        Self::stop(self);
    }
}

/// A device that others have at hand, too.
#[derive(Debug)]
pub struct Shared<C: Class> {
    device: Arc<Mutex<Device<C>>>,
    epoll: Arc<OwnedFd>,
    waker: Waker,
    stop: AtomicBool,
}

impl<C: Class> Shared<C> {
    /// Makes a device.
    pub fn new(name: &str, class: C) -> Result<Self> {
        let epoll = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let waker = Waker::new()?;
        add(&epoll, &waker, token::WAKE)?;
        if let Some(events) = class.events() {
            add(&epoll, events, token::DONE)?;
        }
        let device = Device::new(name, class, Arc::clone(&epoll), waker.clone());
        Ok(Self {
            device: Arc::new(Mutex::new(device)),
            epoll,
            waker,
            stop: AtomicBool::new(false),
        })
    }

    /// Locks the device.
    pub fn lock(&self) -> MutexGuard<'_, Device<C>> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends [`run`](Self::run).
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        self.lock().wake();
    }

    /// Serves until [`stop`](Self::stop), QEMU after QEMU.
    pub fn run(&self, place: Place) -> Result<()> {
        let mut result = Ok(());
        while !self.stopped() && result.is_ok() {
            result = match self.meet(&place) {
                Ok(Some(connection)) => self.serve(connection),
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
        }
        if let Place::Listen(_, bound) = place {
            drop(bound);
        }
        result.and(self.lock().class.finish())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Waits for QEMU. Returns nothing if there is something else to be done.
    fn meet(&self, place: &Place) -> Result<Option<UnixStream>> {
        match place {
            Place::Connect(path) => {
                if let Ok(connection) = UnixStream::connect(path) {
                    return Ok(Some(connection));
                }
                self.wait(Some(RETRY))?;
                Ok(None)
            }
            Place::Listen(listener, _) => {
                add(&self.epoll, listener, token::LISTENER)?;
                let tokens = self.wait(None)?;
                epoll::delete(&*self.epoll, listener)?;
                let called = tokens.contains(&token::LISTENER);
                Ok(called
                    .then(|| listener.accept())
                    .transpose()?
                    .map(|(c, _)| c))
            }
        }
    }

    /// Waits for events, and returns their tokens.
    fn wait(&self, limit: Option<Duration>) -> Result<Vec<u64>> {
        let limit = limit.map(Timespec::try_from).transpose()?;
        let mut events = Vec::with_capacity(32);
        match epoll::wait(&*self.epoll, spare_capacity(&mut events), limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let tokens: Vec<_> = events
            .iter()
            .map(|event: &epoll::Event| event.data.u64())
            .collect();
        if tokens.contains(&token::WAKE) {
            self.waker.clear();
        }
        Ok(tokens)
    }

    /// Serves one QEMU, until it, or this, hangs up.
    fn serve(&self, connection: UnixStream) -> Result<()> {
        // The rest of a message comes at once, or never.
        connection.set_read_timeout(Some(PATIENCE))?;
        let peek = connection.try_clone()?;
        add(&self.epoll, &peek, token::CONNECTION)?;
        {
            let mut device = self.lock();
            device.counters.connections += 1;
            note!("{}: QEMU is there", device.name);
            device.connection = Some(connection.try_clone()?);
        }
        let mut handler = BackendReqHandler::from_stream(connection, Arc::clone(&self.device));
        let mut connected = true;
        while connected && !self.stopped() {
            let next = self.lock().tick(Instant::now());
            let limit = next.map(|next| next.saturating_duration_since(Instant::now()));
            let mut tokens = self.wait(limit)?;
            // After a message, the notification of a queue may be another one.
            tokens.sort_unstable_by_key(|token| *token == token::CONNECTION);
            for token in tokens {
                match token {
                    token::CONNECTION if self.lock().ends_at(&peek) => connected = false,
                    token::CONNECTION => {
                        if log::wants(Level::Trace) {
                            let message = next_message(&peek);
                            trace!("{}: QEMU says {message}", self.lock().name);
                        }
                        if let Some(channel) = backend_channel(&peek) {
                            self.lock().channel = Some(channel);
                        }
                        connected = match self.early(&peek) {
                            Some(connected) => connected,
                            None => self.message(&mut handler),
                        };
                    }
                    token::WAKE => self.lock().woken(),
                    token::AFTER.. => {
                        let index = usize::try_from(token - token::AFTER)?;
                        self.lock().kicked_after_reset(index);
                    }
                    token::KICK.. => {
                        let index = usize::try_from(token - token::KICK)?;
                        self.lock().kicked(index);
                    }
                    // What is done is looked at with the time.
                    _ => {}
                }
            }
        }
        let mut device = self.lock();
        if connected {
            // This ends first: what was taken is served.
            for index in 0..device.queues.len() {
                device.stop(index);
            }
        }
        epoll::delete(&*self.epoll, &peek)?;
        note!("{}: QEMU is gone", device.name);
        device.disconnected();
        Ok(())
    }

    /// Takes a message that the crate would refuse, if it is one. Returns whether the connection goes
    /// on.
    fn early(&self, peek: &UnixStream) -> Option<bool> {
        let mut device = self.lock();
        if device.has_protocol() {
            return None;
        }
        let enable = early_enable(peek)?;
        device.counters.messages += 1;
        let result = device.set_vring_enable(enable.index, enable.enable);
        if let Err(error) = &result {
            device.counters.refused += 1;
            warning!("{}: a message is refused: {error}", device.name);
        }
        Some(enable.reply(peek, result.is_ok()).is_ok())
    }

    /// Takes a message. Returns whether the connection goes on.
    fn message(&self, handler: &mut BackendReqHandler<Mutex<Device<C>>>) -> bool {
        let result = handler.handle_request();
        let mut device = self.lock();
        match result {
            Ok(()) => {
                device.counters.messages += 1;
                true
            }
            // QEMU was told, if it wanted to know.
            Err(Error::ReqHandlerError(error)) => {
                device.counters.messages += 1;
                device.counters.refused += 1;
                warning!("{}: a message is refused: {error}", device.name);
                true
            }
            Err(Error::Disconnected) => false,
            Err(error) => {
                device.counters.refused += 1;
                error!("{}: the connection ends: {error}", device.name);
                false
            }
        }
    }
}

fn add(epoll: &OwnedFd, source: impl AsFd, token: u64) -> Result<()> {
    let data = epoll::EventData::new_u64(token);
    epoll::add(epoll, source, data, epoll::EventFlags::IN).context("waiting")
}

#[cfg(test)]
mod act_tests;
#[cfg(test)]
mod cut_tests;
#[cfg(test)]
mod explain_tests;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod host;
#[cfg(test)]
mod log_tests;
#[cfg(test)]
mod net_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod watch_tests;
