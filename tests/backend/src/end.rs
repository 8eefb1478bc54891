// SPDX-License-Identifier: GPL-2.0

//! How the program is told to end: by a signal, by the control socket, or by a device that cannot go
//! on.

use signal_hook::{
    SigId,
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::{pipe, unregister},
};
use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{Arc, atomic::AtomicBool},
};

/// What waits to be told.
#[derive(Debug)]
pub struct End {
    asked: UnixStream,
    quit: UnixStream,
    signals: Vec<SigId>,
}

impl End {
    /// Has signals end the program. A second one does it at once, should the first one not.
    pub fn new() -> io::Result<Self> {
        let (asked, quit) = UnixStream::pair()?;
        let ends = Arc::new(AtomicBool::new(false));
        let mut end = Self {
            asked,
            quit,
            signals: Vec::new(),
        };
        for signal in [SIGTERM, SIGINT] {
            // As a shell tells of a program that a signal has ended.
            let status = 128 + signal;
            let second = flag::register_conditional_shutdown(signal, status, Arc::clone(&ends))?;
            let first = flag::register(signal, Arc::clone(&ends))?;
            let told = pipe::register(signal, end.quit.try_clone()?)?;
            end.signals.extend([second, first, told]);
        }
        Ok(end)
    }

    /// Returns what has to be written to, whatever it is, for the program to end.
    pub fn quit(&self) -> io::Result<UnixStream> {
        self.quit.try_clone()
    }

    /// Waits until it is told.
    pub fn wait(&mut self) -> io::Result<()> {
        self.asked.read_exact(&mut [0])
    }
}

impl Drop for End {
    fn drop(&mut self) {
        for signal in self.signals.drain(..) {
            unregister(signal);
        }
    }
}
