// SPDX-License-Identifier: GPL-2.0

//! How far a race is, for whoever waits for it.

use std::{
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

/// How far it is.
pub struct Progress {
    /// How many scenarios there are, and how many legs each has.
    scenarios: u32,
    legs: u32,
    /// The scenario, by its number, and how many legs of all are done.
    scenario: u32,
    name: &'static str,
    done: u32,
    start: Instant,
    /// What is said can be replaced, so that each leg says something.
    is_terminal: bool,
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(0, 0)
    }
}

impl Progress {
    /// Begins.
    pub fn new(scenarios: u32, legs: u32) -> Self {
        Self {
            scenarios,
            legs,
            scenario: 0,
            name: "",
            done: 0,
            start: Instant::now(),
            is_terminal: io::stderr().is_terminal(),
        }
    }

    /// Says which scenario begins.
    pub fn begin(&mut self, name: &'static str) {
        self.scenario += 1;
        self.name = name;
        let text = self.text(self.start.elapsed());
        if self.is_terminal {
            eprint!("\r\x1b[K{text}");
        } else {
            eprintln!("{text}");
        }
    }

    /// Counts a leg.
    pub fn leg(&mut self) {
        self.done += 1;
        if self.is_terminal {
            eprint!("\r\x1b[K{}", self.text(self.start.elapsed()));
        }
    }

    /// Makes room for the line of the table.
    pub fn end(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }

    /// Says how far it is after some time, in which guests were booted, too.
    fn text(&self, elapsed: Duration) -> String {
        let said = format!("{}/{} {}", self.scenario, self.scenarios, self.name);
        if self.done == 0 {
            return said;
        }
        let left = (self.scenarios * self.legs).saturating_sub(self.done);
        let seconds = (elapsed * left / self.done).as_secs();
        match seconds.div_ceil(60) {
            0 | 1 => format!("{said}, less than a minute left"),
            minutes => format!("{said}, {minutes} minutes left"),
        }
    }
}

/// An error begins a line of its own.
impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(done: u32, seconds: u64) -> String {
        let mut progress = Progress::new(18, 20);
        progress.scenario = 3;
        progress.name = "nic tcp in";
        progress.done = done;
        progress.text(Duration::from_secs(seconds))
    }

    #[test]
    fn the_rest_takes_as_long_as_what_is_done() {
        assert_eq!(text(0, 9), "3/18 nic tcp in");
        assert_eq!(text(40, 60), "3/18 nic tcp in, 8 minutes left");
        assert_eq!(text(350, 60), "3/18 nic tcp in, less than a minute left");
    }
}
