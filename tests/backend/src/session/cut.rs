// SPDX-License-Identifier: GPL-2.0

//! A connection that ends at a message of QEMU, which is not taken any more.

use anyhow::{Context, Result};
use rustix::net::{RecvFlags, recv};
use std::os::unix::net::UnixStream;
use vhost::vhost_user::message::FrontendReq;

/// The numbers of messages are below this one.
const MESSAGES: u32 = 64;

/// At which message a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    message: FrontendReq,
    /// How many of these are taken before.
    left: u64,
}

impl Cut {
    /// Finds a message by its name, of which so many are taken before.
    pub fn new(name: &str, left: u64) -> Result<Self> {
        let wanted = name.to_uppercase().replace('-', "_");
        let mut known = (0..MESSAGES).filter_map(|code| FrontendReq::try_from(code).ok());
        let found = known.find(|message| format!("{message:?}") == wanted);
        let message = found.with_context(|| format!("there is no message {name}"))?;
        Ok(Self { message, left })
    }

    /// Looks at the next message. Returns whether the connection ends before it.
    pub fn is_here(&mut self, connection: &UnixStream) -> bool {
        if next(connection) != Some(u32::from(self.message)) {
            return false;
        }
        let is_here = self.left == 0;
        self.left = self.left.saturating_sub(1);
        is_here
    }
}

/// Returns the number of the next message, if there is one.
fn next(connection: &UnixStream) -> Option<u32> {
    let mut code = [0; 4];
    let received = recv(connection, &mut code[..], RecvFlags::PEEK).ok()?;
    (received.1 == code.len()).then_some(u32::from_ne_bytes(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    #[test]
    fn messages_have_names() {
        for name in ["set-mem-table", "SET_MEM_TABLE"] {
            let cut = Cut::new(name, 0).expect("a message");
            assert_eq!(cut.message, FrontendReq::SET_MEM_TABLE);
        }
        assert!(Cut::new("get-shmem-config", 0).is_ok(), "the last one");
        let error = Cut::new("set-nothing", 0).expect_err("an error");
        assert_eq!(error.to_string(), "there is no message set-nothing");
    }

    #[test]
    fn others_are_taken_before() {
        let (here, mut there) = UnixStream::pair().expect("a connection");
        let mut cut = Cut::new("set-owner", 1).expect("a message");
        let mut ends = Vec::new();
        for code in [1_u32, 3, 1, 3] {
            there.write_all(&code.to_ne_bytes()).expect("a message");
            ends.push(cut.is_here(&here));
            (&here).read_exact(&mut [0; 4]).expect("to be taken");
        }
        assert_eq!(ends, [false, false, false, true]);
        drop(there);
        assert!(!cut.is_here(&here), "it has ended");
    }
}
