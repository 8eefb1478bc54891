// SPDX-License-Identifier: GPL-2.0

//! A tap interface of the host at a port.

use crate::{
    control::Controlled,
    frame::{Frame, Takes, fit},
    log::{error, warning},
    switch::Handle,
    wake::Waker,
};
use anyhow::{Result, ensure};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use serde_json::{Value, json};
use std::{
    io::{self, Read, Write},
    num::NonZeroU16,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tap::{HEADER, Tap};
use virtio_wire::net::{
    Accepted, Feature, FeatureSet, Header, HeaderKind, Offered, Receive, RxRules,
};

/// How many frames go one way before the other one is looked at.
const BATCH: usize = 64;

/// The most bytes in a frame: a large packet, with its Ethernet header, and tags.
const MOST: usize = 65535 + 14 + 8;

/// Counts what went through an interface.
#[derive(Debug, Default)]
struct Counters {
    from_host: AtomicU64,
    from_host_large: AtomicU64,
    to_host: AtomicU64,
    to_host_large: AtomicU64,
    malformed: AtomicU64,
    too_long: AtomicU64,
    down: AtomicU64,
    refused: AtomicU64,
}

fn add(counter: &AtomicU64, by: impl Into<u64>) {
    counter.fetch_add(by.into(), Ordering::Relaxed);
}

/// An interface.
#[derive(Debug)]
struct Port {
    name: String,
    tap: Tap,
    handle: Handle,
    mtu: usize,
    waker: Waker,
    counters: Counters,
}

/// Starts the thread of a port.
pub fn start(name: &str, tap: Tap, handle: Handle, mtu: usize) -> Result<Arc<dyn Controlled>> {
    let waker = Waker::new()?;
    handle.outlet().set_waker(waker.clone());
    handle.outlet().set_open(true);
    let port = Arc::new(Port {
        name: name.to_owned(),
        tap,
        handle,
        mtu,
        waker,
        counters: Counters::default(),
    });
    let runner = Arc::clone(&port);
    thread::spawn(move || {
        if let Err(error) = runner.run() {
            error!("{}: the interface cannot be used: {error:#}", runner.name);
        }
        runner.handle.outlet().set_open(false);
    });
    Ok(port)
}

/// What goes through the interface, as if everything was negotiated.
fn rules(tap: &Tap) -> Option<(RxRules, Takes)> {
    let mut set = FeatureSet::of(&[
        Feature::VERSION_1,
        Feature::GUEST_CSUM,
        Feature::GUEST_TSO4,
        Feature::GUEST_TSO6,
        Feature::GUEST_ECN,
    ]);
    if tap.offloads().udp {
        set = set.with(Feature::GUEST_USO4).with(Feature::GUEST_USO6);
    }
    let accepted: Accepted = Offered::new(set).negotiate(set).ok()?;
    let udp = tap.offloads().udp;
    let takes = Takes {
        checksum: true,
        tcp_v4: true,
        tcp_v6: true,
        ecn: true,
        udp_v4: udp,
        udp_v6: udp,
    };
    Some((RxRules::new(accepted), takes))
}

/// Returns whether that is what the kernel says of an interface that is down.
fn is_down(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::IO.raw_os_error())
}

impl Port {
    fn run(&self) -> Result<()> {
        let Some((rules, takes)) = rules(&self.tap) else {
            anyhow::bail!("its features cannot be negotiated");
        };
        let mut buffer = vec![0; HEADER + MOST];
        loop {
            let mut events = [
                PollFd::new(self.tap.file(), PollFlags::IN),
                PollFd::new(&self.waker, PollFlags::IN),
            ];
            match poll(&mut events, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            self.waker.clear();
            for _ in 0..BATCH {
                match self.tap.file().read(&mut buffer) {
                    Ok(length) => self.receive(&rules, buffer.get(..length).unwrap_or_default()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if is_down(&error) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            for frame in self.handle.outlet().take() {
                self.send(&rules, takes, &frame);
            }
        }
    }

    /// Takes what the host sends.
    fn receive(&self, rules: &RxRules, bytes: &[u8]) {
        let (Ok(header), Some(rest)) = (Header::read(HeaderKind::V1, bytes), bytes.get(HEADER..))
        else {
            return add(&self.counters.malformed, 1_u64);
        };
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        match rules.check(&header, length) {
            Ok(said) => {
                add(&self.counters.from_host, 1_u64);
                add(&self.counters.from_host_large, said.offload.gso.is_some());
                self.handle.send(Frame {
                    bytes: rest.to_vec(),
                    offload: said.offload,
                });
            }
            Err(error) => {
                warning!("{}: a frame of the host is lost: {error}", self.name);
                add(&self.counters.malformed, 1_u64);
            }
        }
    }

    /// Gives the host a frame.
    fn send(&self, rules: &RxRules, takes: Takes, frame: &Arc<Frame>) {
        let pieces = match fit(frame, takes, self.mtu) {
            Ok(pieces) => pieces,
            Err(crate::frame::Misfit::TooLong(_)) => return add(&self.counters.too_long, 1_u64),
            Err(_) => return add(&self.counters.malformed, 1_u64),
        };
        for piece in pieces {
            let headers = piece.header_length().unwrap_or(0);
            let receive = Receive {
                offload: piece.offload,
                hash: None,
                header_hint: u16::try_from(headers).unwrap_or(0),
            };
            let length = u32::try_from(piece.bytes.len()).unwrap_or(u32::MAX);
            let header = rules.build(&receive, length, NonZeroU16::MIN);
            let mut bytes = vec![0; HEADER];
            let written = header.and_then(|mut header| {
                header.num_buffers = 0.into();
                header.write(HeaderKind::V1, &mut bytes)
            });
            if written.is_err() {
                add(&self.counters.malformed, 1_u64);
                continue;
            }
            bytes.extend(&piece.bytes);
            // A frame is written as a whole, or not at all.
            match self.tap.file().write(&bytes) {
                Ok(length) if length == bytes.len() => {
                    add(&self.counters.to_host, 1_u64);
                    add(&self.counters.to_host_large, piece.offload.gso.is_some());
                }
                Err(error) if is_down(&error) => add(&self.counters.down, 1_u64),
                // The host does not like it.
                _ => add(&self.counters.refused, 1_u64),
            }
        }
    }
}

impl Controlled for Port {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn execute(&self, command: &str, _arguments: &Value) -> Result<Value> {
        ensure!(command == "counters", "there is no command {command}");
        let counters = &self.counters;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(json!({
            "interface": self.tap.name(),
            "tcp_offload": self.tap.offloads().tcp,
            "udp_offload": self.tap.offloads().udp,
            "from_host": get(&counters.from_host),
            "from_host_large": get(&counters.from_host_large),
            "to_host": get(&counters.to_host),
            "to_host_large": get(&counters.to_host_large),
            "malformed": get(&counters.malformed),
            "too_long": get(&counters.too_long),
            "down": get(&counters.down),
            "refused": get(&counters.refused),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_that_is_down_is_told_apart() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());

        assert!(is_down(&error(Errno::IO)));
        // Of a frame that it does not like, and of one for which there is no room.
        assert!(!is_down(&error(Errno::INVAL)));
        assert!(!is_down(&error(Errno::NOBUFS)));
    }
}
