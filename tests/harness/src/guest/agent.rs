// SPDX-License-Identifier: GPL-2.0

//! The second serial port of a guest: commands go in, their output and status come out.
//!
//! Its other end is `tests/guest/init`. A command is one line of base64; what it prints comes back
//! as it is, followed by a line that starts with [`MARK`] and tells its number and exit status.

use anyhow::{Context, Result, bail};
use std::{
    io::{ErrorKind, Read, Write},
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

/// Starts a line of the agent itself. No program prints it.
const MARK: &str = "\u{1}rv ";

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// Its standard output and standard error, as they came.
    pub text: String,
}

/// The connection to the agent of a guest.
pub struct Agent {
    stream: UnixStream,
    received: Vec<u8>,
    commands: u32,
}

impl Agent {
    /// Talks to the agent at the other end of `stream`.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            commands: 0,
        }
    }

    /// Waits until the guest has booted.
    pub fn wait_ready(&mut self, deadline: Instant) -> Result<()> {
        let line = format!("{MARK}ready\n");
        self.read_until(line.as_bytes(), deadline)
            .map(|_| ())
            .context("the guest has not booted in time")
    }

    /// Runs a command of the shell.
    pub fn run(&mut self, command: &str, deadline: Instant) -> Result<Output> {
        self.commands += 1;
        let request = format!("{} {}\n", self.commands, base64(command.as_bytes()));
        self.stream
            .write_all(request.as_bytes())
            .context("sending a command to the guest")?;

        let end = format!("\n{MARK}{} ", self.commands);
        let text = self
            .read_until(end.as_bytes(), deadline)
            .with_context(|| format!("the command has not ended in time: {command}"))?;
        let status = self.read_until(b"\n", deadline)?;
        let status = String::from_utf8_lossy(&status);
        Ok(Output {
            status: status
                .trim()
                .parse()
                .with_context(|| format!("the guest tells an exit status of {status:?}"))?,
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }

    /// Returns what comes before `end`, which is dropped.
    fn read_until(&mut self, end: &[u8], deadline: Instant) -> Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            let start = searched;
            if let Some(at) = find(&self.received[start..], end) {
                let rest = self.received.split_off(start + at + end.len());
                let mut text = std::mem::replace(&mut self.received, rest);
                text.truncate(start + at);
                return Ok(text);
            }
            searched = self.received.len().saturating_sub(end.len());

            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!(
                    "{}",
                    match String::from_utf8_lossy(&self.received).trim() {
                        "" => "nothing was printed".to_owned(),
                        text => format!("until then it printed:\n{text}"),
                    }
                );
            }
            self.stream
                .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!(
                    "the guest has ended; the last that it printed is\n{}",
                    String::from_utf8_lossy(&self.received)
                ),
                Ok(read) => self.received.extend_from_slice(&buffer[..read]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error).context("reading the guest's serial port"),
            }
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for digit in 0..4_usize {
            if digit <= chunk.len() {
                let index = (word >> (18 - 6 * digit)) & 63;
                text.push(char::from(DIGITS[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_has_its_digits_and_padding() {
        for (bytes, text) in [
            ("", ""),
            ("a", "YQ=="),
            ("ab", "YWI="),
            ("abc", "YWJj"),
            ("abc~", "YWJjfg=="),
            ("\u{0}?>", "AD8+"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn output_that_comes_in_pieces_is_put_together() {
        let (harness, mut guest) = UnixStream::pair().expect("sockets");
        let mut agent = Agent::new(harness);
        let deadline = Instant::now() + Duration::from_secs(5);

        let speaker = std::thread::spawn(move || {
            for piece in [
                "boot noise\n\u{1}r",
                "v ready\nhel",
                "lo\n\n\u{1}rv 1",
                " 7\n",
            ] {
                guest
                    .write_all(piece.as_bytes())
                    .expect("the harness reads");
                std::thread::sleep(Duration::from_millis(20));
            }
            guest
        });
        agent.wait_ready(deadline).expect("ready");
        let output = agent.run("true", deadline).expect("an answer");
        let guest = speaker.join().expect("a thread");
        let late = agent.run("sleep", Instant::now() + Duration::from_millis(50));

        assert_eq!((output.status, output.text.as_str()), (7, "hello\n"));
        assert!(format!("{:#}", late.expect_err("no answer")).contains("not ended in time"));
        drop(guest);
    }
}
