// SPDX-License-Identifier: GPL-2.0

//! Delay, loss, disorder and duplication of frames that leave at a port.

use super::{Outlet, capture::Loss};
use crate::frame::Frame;
use anyhow::{Result, ensure};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, Once, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// What is done to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How long each takes.
    pub delay: Duration,
    /// How much longer it may take, at random.
    pub jitter: Duration,
    /// How many of 100 are lost.
    pub loss: u64,
    /// How many of 100 come twice.
    pub duplicate: u64,
    /// How many of 100 come later than those behind them.
    pub reorder: u64,
    /// What determines what is at random.
    pub seed: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            seed: 1,
        }
    }
}

impl Shape {
    /// Checks that it can be.
    pub fn check(&self) -> Result<()> {
        for share in [self.loss, self.duplicate, self.reorder] {
            ensure!(share <= 100, "{share} is no percentage");
        }
        Ok(())
    }
}

/// How much later a frame comes that shall be behind others.
const LATER: Duration = Duration::from_millis(5);

/// Does it, and counts.
#[derive(Debug)]
pub struct Shaper {
    shape: Shape,
    random: u64,
    /// Frames were lost.
    pub lost: u64,
    /// Frames were sent twice.
    pub duplicated: u64,
    /// Frames were put behind others.
    pub reordered: u64,
    /// Frames were sent later.
    pub delayed: u64,
}

impl Shaper {
    /// Makes one.
    pub fn new(shape: Shape) -> Self {
        Self {
            shape,
            random: shape.seed.max(1),
            lost: 0,
            duplicated: 0,
            reordered: 0,
            delayed: 0,
        }
    }

    /// Returns what it does.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Sets what it does. What was counted stays.
    pub fn set(&mut self, shape: Shape) {
        self.shape = shape;
        self.random = shape.seed.max(1);
    }

    /// Returns a number below `most`. Marsaglia's xorshift.
    fn random(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % most.max(1)
    }

    /// Lets a frame pass, or not.
    pub fn pass(&mut self, frame: Arc<Frame>, outlet: &Arc<Outlet>, timer: &Timer, now: Instant) {
        if self.shape == Shape::default() {
            return outlet.push(frame);
        }
        if self.random(100) < self.shape.loss {
            self.lost += 1;
            return outlet.note_loss(&frame, Loss::Shaper);
        }
        let twice = self.random(100) < self.shape.duplicate;
        self.duplicated += u64::from(twice);
        for _ in 0..=u8::from(twice) {
            let mut delay = self.shape.delay;
            let jitter = u64::try_from(self.shape.jitter.as_micros()).unwrap_or(u64::MAX);
            if jitter > 0 {
                delay += Duration::from_micros(self.random(jitter));
            }
            if self.random(100) < self.shape.reorder {
                self.reordered += 1;
                delay += LATER;
            }
            if delay.is_zero() {
                outlet.push(Arc::clone(&frame));
            } else {
                self.delayed += 1;
                timer.add(now + delay, Arc::clone(&frame), Arc::clone(outlet));
            }
        }
    }
}

/// The most frames that are delayed at once, in a switch.
const MOST: usize = 100_000;

type Waiting = BTreeMap<Reverse<(Instant, u64)>, (Arc<Frame>, Arc<Outlet>)>;

#[derive(Debug, Default)]
struct Clock {
    /// What waits, the next one last.
    waiting: Mutex<(Waiting, u64)>,
    changed: Condvar,
}

/// Puts frames into outlets when it is time. Its thread begins with the first one.
#[derive(Debug)]
pub struct Timer {
    clock: Arc<Clock>,
    started: Once,
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            clock: Arc::default(),
            started: Once::new(),
        }
    }
}

impl Timer {
    fn add(&self, when: Instant, frame: Arc<Frame>, outlet: Arc<Outlet>) {
        self.started.call_once(|| {
            let clock = Arc::clone(&self.clock);
            thread::spawn(move || clock.run());
        });
        let mut waiting = self
            .clock
            .waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (frames, number) = &mut *waiting;
        if frames.len() < MOST {
            *number += 1;
            frames.insert(Reverse((when, *number)), (frame, outlet));
            self.clock.changed.notify_one();
        }
    }
}

impl Clock {
    fn run(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = waiting
                .0
                .last_key_value()
                .map(|(Reverse((when, _)), _)| *when);
            let now = Instant::now();
            waiting = match next {
                Some(when) if when <= now => {
                    if let Some((_, (frame, outlet))) = waiting.0.pop_last() {
                        outlet.push(frame);
                    }
                    continue;
                }
                Some(when) => {
                    let wait = self.changed.wait_timeout(waiting, when - now);
                    wait.map_or_else(|error| error.into_inner().0, |(guard, _)| guard)
                }
                None => self
                    .changed
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

#[cfg(test)]
mod tests;
