// SPDX-License-Identifier: GPL-2.0

//! Frames that have left the switch at a port, and wait for whoever serves it.

use super::capture::{Capture, Loss};
use crate::{frame::Frame, pcapng::Direction, wake::Waker};
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Arc<Frame>>,
    waker: Option<Waker>,
    open: bool,
    /// If nobody is to take frames one by one: their bytes.
    swallowed: Option<u64>,
    taken: u64,
    full: u64,
    closed: u64,
}

impl State {
    /// Returns why a frame would be lost that comes now, if so many can wait.
    fn loss(&self, most: usize) -> Option<Loss> {
        match self {
            _ if self.swallowed.is_some() => None,
            _ if !self.open => Some(Loss::Closed),
            _ if self.frames.len() >= most => Some(Loss::Full),
            _ => None,
        }
    }
}

/// Where frames wait.
#[derive(Debug)]
pub struct Outlet {
    most: usize,
    capture: Option<Capture>,
    state: Mutex<State>,
}

impl Outlet {
    /// Makes one for so many frames, and the file of its port, if there is one. It is closed: what
    /// comes is lost.
    pub fn new(most: usize, capture: Option<Capture>) -> Self {
        Self {
            most,
            capture,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the file of the port, if there is one.
    pub fn capture(&self) -> Option<&Capture> {
        self.capture.as_ref()
    }

    /// Writes to the file of the port that a frame is lost which was to leave there.
    pub fn note_loss(&self, frame: &Arc<Frame>, loss: Loss) {
        if let Some(capture) = &self.capture {
            capture.write(frame, Direction::Out, Some(loss));
        }
    }

    /// Sets what is woken when a frame comes.
    pub fn set_waker(&self, waker: Waker) {
        self.lock().waker = Some(waker);
    }

    /// Lets frames in. What waits when it is closed is lost.
    pub fn set_open(&self, open: bool) {
        let mut state = self.lock();
        state.open = open;
        if !open {
            state.closed += u64::try_from(state.frames.len()).unwrap_or(0);
            state.frames.clear();
        }
    }

    /// Takes each frame at once that comes from now on, and only counts it.
    pub fn swallow(&self) {
        self.lock().swallowed.get_or_insert(0);
    }

    /// Counts what was swallowed: frames, and their bytes.
    pub fn swallowed(&self) -> (u64, u64) {
        let state = self.lock();
        let bytes = state.swallowed;
        bytes.map_or((0, 0), |bytes| (state.taken, bytes))
    }

    /// Puts a frame in, if there is room.
    pub fn push(&self, frame: Arc<Frame>) {
        let mut state = self.lock();
        let loss = state.loss(self.most);
        if let Some(capture) = &self.capture {
            capture.write(&frame, Direction::Out, loss);
        }
        if let Some(bytes) = &mut state.swallowed {
            *bytes += u64::try_from(frame.bytes.len()).unwrap_or(0);
            state.taken += 1;
            return;
        }
        match loss {
            Some(Loss::Closed) => state.closed += 1,
            Some(_) => state.full += 1,
            None => {
                state.frames.push_back(frame);
                if let (1, Some(waker)) = (state.frames.len(), &state.waker) {
                    waker.wake();
                }
            }
        }
    }

    /// Takes all frames.
    pub fn take(&self) -> VecDeque<Arc<Frame>> {
        let mut state = self.lock();
        state.taken += u64::try_from(state.frames.len()).unwrap_or(0);
        std::mem::take(&mut state.frames)
    }

    /// Takes one frame.
    pub fn take_one(&self) -> Option<Arc<Frame>> {
        let mut state = self.lock();
        let frame = state.frames.pop_front();
        state.taken += u64::from(frame.is_some());
        frame
    }

    /// Returns whether no frame waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.lock().frames.is_empty()
    }

    /// Counts what was taken, and what was lost: because there was no room, and because nobody
    /// was there to take it.
    pub fn counters(&self) -> Value {
        let state = self.lock();
        json!({
            "waiting": state.frames.len(),
            "taken": state.taken,
            "lost_full": state.full,
            "lost_closed": state.closed,
        })
    }
}
