// SPDX-License-Identifier: GPL-2.0

//! What can be at a port of the switch, beside a guest.
//!
//! Each has a thread that takes what leaves there, and sends what comes in. It ends with the
//! program.

mod pcap;
mod peer;
mod tap;

use crate::{
    control::Controlled,
    switch::{Handle, PortOptions, Switch},
};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use smoltcp::wire::IpCidr;
use std::{path::PathBuf, sync::Arc};

/// What is at a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tap interface of the host.
    Tap(String),
    /// A station with these addresses, in this process.
    Peer(Vec<IpCidr>, Large),
    /// Files: one to write to, and one to read from.
    Pcap {
        /// Where what leaves is written to.
        record: Option<PathBuf>,
        /// What is sent, when that is asked for.
        replay: Option<PathBuf>,
    },
    /// Nothing: what leaves is counted, and gone.
    Null,
}

/// Whether a station sends large frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Large {
    /// It sends some that are to be cut, with checksums that are to be completed.
    Yes,
    /// It does not.
    No,
}

/// A port to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// How the switch sees it.
    pub port: PortOptions,
    /// What is there.
    pub kind: Kind,
}

/// Adds a port, and starts what is there.
pub fn start(options: &Options, switch: &Arc<Switch>) -> Result<Arc<dyn Controlled>> {
    let name = &options.port.name;
    // What can fail comes first.
    Ok(match &options.kind {
        Kind::Tap(interface) => {
            let tap = ::tap::Tap::open(interface).with_context(|| name.clone())?;
            tap::start(
                name,
                tap,
                switch.add(options.port.clone())?,
                options.port.mtu,
            )?
        }
        Kind::Peer(addresses, large) => {
            let handle = switch.add(options.port.clone())?;
            peer::start(&options.port, addresses, *large, handle)?
        }
        Kind::Pcap { record, replay } => {
            pcap::start(&options.port, record.as_deref(), replay.clone(), || {
                switch.add(options.port.clone())
            })?
        }
        Kind::Null => {
            let handle = switch.add(options.port.clone())?;
            handle.outlet().swallow();
            let name = name.clone();
            Arc::new(Nothing { name, handle })
        }
    })
}

#[cfg(test)]
mod tests;

/// A port where nothing is.
struct Nothing {
    name: String,
    handle: Handle,
}

impl Controlled for Nothing {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn execute(&self, command: &str, _arguments: &Value) -> Result<Value> {
        anyhow::ensure!(command == "counters", "there is no command {command}");
        let (frames, bytes) = self.handle.outlet().swallowed();
        Ok(json!({ "frames": frames, "bytes": bytes }))
    }
}
