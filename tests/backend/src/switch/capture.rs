// SPDX-License-Identifier: GPL-2.0

//! A file with all that comes in and leaves at a port, and with what the switch loses, and why.

use crate::{
    frame::{Frame, Takes, fit},
    log::error,
    pcapng::{Direction, Pcapng},
};
use anyhow::{Context, Result};
use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

/// Why the switch loses a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is none, or comes from a group.
    Malformed,
    /// It has a VLAN that the port is not in.
    WrongVlan,
    /// It has a source that is not that of the port.
    WrongSource,
    /// It is for switches only.
    Reserved,
    /// It is for an address that is at the same port.
    Filtered,
    /// No other port is in its VLAN, or may be reached.
    Nowhere,
    /// The link is down.
    LinkDown,
    /// As it was wanted of the port.
    Shaper,
    /// Too many wait there.
    Full,
    /// Nobody takes frames there.
    Closed,
}

impl Loss {
    /// Returns what is said of it in a file.
    fn comment(self) -> &'static str {
        match self {
            Self::Malformed => "dropped: malformed",
            Self::WrongVlan => "dropped: wrong VLAN",
            Self::WrongSource => "dropped: wrong source",
            Self::Reserved => "dropped: reserved for switches",
            Self::Filtered => "dropped: its destination is at the same port",
            Self::Nowhere => "dropped: no port to leave at",
            Self::LinkDown => "dropped: the link is down",
            Self::Shaper => "dropped: loss of the port",
            Self::Full => "dropped: too many frames wait",
            Self::Closed => "dropped: nobody receives",
        }
    }
}

#[derive(Debug)]
struct State {
    /// Nothing any more, after an error.
    file: Option<Pcapng>,
    written: u64,
}

/// The file of a port.
#[derive(Debug)]
pub struct Capture {
    port: String,
    state: Mutex<State>,
}

impl Capture {
    /// Begins a file.
    pub fn create(path: &Path, port: &str) -> Result<Self> {
        let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
        let file = Some(Pcapng::new(file, port)?);
        let state = Mutex::new(State { file, written: 0 });
        Ok(Self {
            port: port.to_owned(),
            state,
        })
    }

    /// Writes a frame, and why it was lost, if it was.
    pub fn write(&self, frame: &Arc<Frame>, direction: Direction, loss: Option<Loss>) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        // As they would be on a wire: cut, and with their checksums.
        let pieces = fit(frame, Takes::default(), usize::MAX / 2);
        let pieces = pieces.unwrap_or_else(|_| vec![Arc::clone(frame)]);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { file, written } = &mut *state;
        let Some(open) = file else {
            return;
        };
        for piece in pieces {
            match open.write(now, &piece.bytes, direction, loss.map(Loss::comment)) {
                Ok(()) => *written += 1,
                Err(error) => {
                    error!("{}: frames cannot be captured: {error:#}", self.port);
                    *file = None;
                    return;
                }
            }
        }
    }

    /// Returns how many frames were written.
    pub fn written(&self) -> u64 {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.written
    }
}

#[cfg(test)]
mod tests;
