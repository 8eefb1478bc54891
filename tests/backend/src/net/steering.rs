// SPDX-License-Identifier: GPL-2.0

//! Which receive queue a frame gets: that of the pair which the driver last used for the flow.
//!
//! Virtio 1.3, 5.1.6.5.6.

use crate::frame::Frame;

/// How many flows are told apart.
const FLOWS: u32 = 1024;

/// The pairs that were used.
#[derive(Debug)]
pub struct Steering(Vec<Option<u16>>);

impl Default for Steering {
    fn default() -> Self {
        Self(vec![None; usize::try_from(FLOWS).unwrap_or(0)])
    }
}

fn place(frame: &Frame) -> usize {
    usize::try_from(frame.flow() % FLOWS).unwrap_or(0)
}

impl Steering {
    /// Notes that the driver has transmitted a frame in a pair.
    pub fn learn(&mut self, frame: &Frame, pair: u16) {
        if let Some(entry) = self.0.get_mut(place(frame)) {
            *entry = Some(pair);
        }
    }

    /// Chooses one of so many pairs.
    pub fn choose(&self, frame: &Frame, pairs: usize) -> usize {
        let place = place(frame);
        let learnt = self.0.get(place).copied().flatten().map(usize::from);
        let choice = learnt.filter(|pair| *pair < pairs);
        choice.unwrap_or(place % pairs.max(1))
    }
}
