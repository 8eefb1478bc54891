// SPDX-License-Identifier: GPL-2.0

//! An Ethernet switch.
//!
//! A *port* is a guest's device, or one of [`port`](crate::port). A frame that comes in at a port
//! gets the VLAN of the port, or of its tag; its source is learnt, and it leaves at the port that
//! its destination was learnt at, or at all ports of its VLAN. What leaves waits in the [`Outlet`] of
//! the port, for the thread that serves it.
//!
//! A device calls this with its own lock; nothing here takes the lock of a device.

mod capture;
mod control;
mod outlet;
mod shaper;
mod table;
mod vlan;

#[cfg(test)]
mod tests;

pub use control::COMMANDS;
pub use outlet::Outlet;
pub use shaper::Shape;
pub use vlan::Vlans;

use crate::{
    frame::{Frame, Mac},
    pcapng::Direction,
};
use anyhow::{Result, ensure};
use capture::{Capture, Loss};
use serde_json::{Value, json};
use shaper::{Shaper, Timer};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use table::{Learnt, Table};

/// A port to be.
#[derive(Clone, Debug)]
pub struct PortOptions {
    /// Its name.
    pub name: String,
    /// The VLANs that it is in.
    pub vlans: Vlans,
    /// The address that is at it, if that is known.
    pub mac: Option<Mac>,
    /// Whether frames from other addresses are refused.
    pub strict: bool,
    /// Whether it reaches only ports that are not isolated.
    pub isolated: bool,
    /// Whether it gets a copy of all that comes in at other ports.
    pub mirror: bool,
    /// The longest frames, without their Ethernet header.
    pub mtu: usize,
    /// How many frames can wait to leave.
    pub queue: usize,
    /// What is done to frames that leave.
    pub shape: Shape,
    /// A file for all that comes in and leaves there.
    pub capture: Option<PathBuf>,
}

impl PortOptions {
    /// A port in all VLANs.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            vlans: Vlans::default(),
            mac: None,
            strict: false,
            isolated: false,
            mirror: false,
            mtu: 1500,
            queue: 1024,
            shape: Shape::default(),
            capture: None,
        }
    }
}

macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: u64,)*
        }

        impl $name {
            fn describe(&self) -> Value {
                json!({ $(stringify!($field): self.$field,)* })
            }
        }
    };
}

counters! {
    /// What happened at a port, as the switch sees it.
    PortCounters {
        /// Frames have come in.
        in_frames,
        /// Their bytes.
        in_bytes,
        /// ... that stand for several.
        in_large,
        /// Frames have left for the queue of the port.
        out_frames,
        /// Their bytes.
        out_bytes,
        /// Frames from it went to all ports.
        flooded,
        /// ... as nobody knows the address that they are for.
        unknown,
        /// A frame from it left nowhere: no other port is in its VLAN, or may be reached.
        nowhere,
        /// A frame from it was for an address that is at it, too.
        filtered,
        /// A frame from it was not one, or came from a group.
        malformed,
        /// A frame from it has a VLAN that it is not in.
        wrong_vlan,
        /// A frame from it has a source that is not its own.
        wrong_source,
        /// A frame for all, or for there, did not leave: the port is not in its VLAN.
        other_vlan,
        /// A frame from it is for switches only.
        reserved,
        /// The link is down, and a frame came in, or was to leave.
        link_down,
    }
}

#[derive(Debug)]
struct Port {
    options: PortOptions,
    link: bool,
    counters: PortCounters,
    outlet: Arc<Outlet>,
    shaper: Shaper,
}

#[derive(Debug)]
struct State {
    ports: Vec<Port>,
    table: Table,
}

/// A switch.
#[derive(Debug)]
pub struct Switch {
    name: String,
    state: Mutex<State>,
    timer: Timer,
}

/// A port, for whoever serves it.
#[derive(Clone, Debug)]
pub struct Handle {
    switch: Arc<Switch>,
    index: usize,
    outlet: Arc<Outlet>,
}

impl Handle {
    /// Sends a frame into the switch.
    pub fn send(&self, frame: Frame) {
        self.switch.send(self.index, frame, Instant::now());
    }

    /// Returns where frames wait that have left.
    pub fn outlet(&self) -> &Arc<Outlet> {
        &self.outlet
    }
}

impl Switch {
    /// Makes a switch without ports, which forgets addresses after some time.
    pub fn new(name: &str, ageing: Duration) -> Self {
        Self {
            name: name.to_owned(),
            state: Mutex::new(State {
                ports: Vec::new(),
                table: Table::new(ageing),
            }),
            timer: Timer::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a port.
    pub fn add(self: &Arc<Self>, options: PortOptions) -> Result<Handle> {
        let mut state = self.lock();
        let taken = state
            .ports
            .iter()
            .any(|port| port.options.name == options.name);
        ensure!(!taken, "two ports have the name {}", options.name);
        ensure!(
            options.mac.is_some() || !options.strict,
            "port {} is strict, but has no mac",
            options.name
        );
        let capture = options.capture.as_deref();
        let capture = capture.map(|path| Capture::create(path, &options.name));
        let outlet = Arc::new(Outlet::new(options.queue, capture.transpose()?));
        let index = state.ports.len();
        state.ports.push(Port {
            link: true,
            counters: PortCounters::default(),
            outlet: Arc::clone(&outlet),
            shaper: Shaper::new(options.shape),
            options,
        });
        Ok(Handle {
            switch: Arc::clone(self),
            index,
            outlet,
        })
    }

    /// Takes a frame that comes in at a port.
    fn send(&self, from: usize, frame: Frame, now: Instant) {
        let mut state = self.lock();
        let copy = state.capture(from).map(|_| Arc::new(frame.clone()));
        let admitted = state.admit(from, &frame, now);
        let routed = admitted.map(|vlan| (vlan, state.route(from, vlan, &frame, now)));
        if let (Some(capture), Some(copy)) = (state.capture(from), copy) {
            let loss = routed.as_ref().map_or_else(|loss| Some(*loss), |it| it.1.1);
            capture.write(&copy, Direction::In, loss);
        }
        let Ok((vlan, (to, _))) = routed else {
            return;
        };
        // The tag of the VLAN is taken off; what is behind it is the frame's own business.
        let frame = match frame.tag() {
            Some(_) => frame.without_tag(),
            None => frame,
        };
        let (plain, mut tagged) = (Arc::new(frame), None);
        for (index, port) in state.ports.iter_mut().enumerate() {
            let mirrored = port.options.mirror && index != from;
            if !to.contains(&index) && !mirrored {
                continue;
            }
            let out = match port.options.vlans.out(vlan, mirrored) {
                Some(vlan::Out::Plain) => Arc::clone(&plain),
                Some(vlan::Out::Tagged) => {
                    Arc::clone(tagged.get_or_insert_with(|| Arc::new(plain.with_tag(vlan))))
                }
                None => continue,
            };
            if !port.link {
                port.counters.link_down += 1;
                port.outlet.note_loss(&out, Loss::LinkDown);
                continue;
            }
            port.counters.out_frames += 1;
            port.counters.out_bytes += u64::try_from(out.bytes.len()).unwrap_or(0);
            port.shaper.pass(out, &port.outlet, &self.timer, now);
        }
    }
}

impl Port {
    /// Returns the VLAN of a frame that comes in, and where it comes from.
    fn check(&self, frame: &Frame) -> Result<(u16, Mac), Loss> {
        if !self.link {
            return Err(Loss::LinkDown);
        }
        let source = match frame.source() {
            Some(source) if frame.bytes.len() >= crate::frame::ETHERNET && !is_group(source) => {
                source
            }
            _ => return Err(Loss::Malformed),
        };
        if self.options.strict && self.options.mac != Some(source) {
            return Err(Loss::WrongSource);
        }
        let vlan = self.options.vlans.of(frame.tag()).ok_or(Loss::WrongVlan)?;
        Ok((vlan, source))
    }

    /// Counts a frame from there that is lost.
    fn count(&mut self, loss: Loss) {
        let counters = &mut self.counters;
        match loss {
            Loss::LinkDown => counters.link_down += 1,
            Loss::Malformed => counters.malformed += 1,
            Loss::WrongSource => counters.wrong_source += 1,
            Loss::WrongVlan => counters.wrong_vlan += 1,
            Loss::Reserved => counters.reserved += 1,
            Loss::Filtered => counters.filtered += 1,
            Loss::Nowhere => counters.nowhere += 1,
            // The outlet and the shaper count for themselves.
            Loss::Shaper | Loss::Full | Loss::Closed => {}
        }
    }
}

impl State {
    /// Returns the file of a port, if there is one.
    fn capture(&self, port: usize) -> Option<&Capture> {
        self.ports.get(port)?.outlet.capture()
    }

    /// Counts a frame that comes in, learns where it comes from, and returns its VLAN.
    fn admit(&mut self, from: usize, frame: &Frame, now: Instant) -> Result<u16, Loss> {
        let port = self.ports.get_mut(from).ok_or(Loss::LinkDown)?;
        let counters = &mut port.counters;
        counters.in_frames += 1;
        counters.in_bytes += u64::try_from(frame.bytes.len()).unwrap_or(0);
        counters.in_large += u64::from(frame.offload.gso.is_some());
        let checked = port.check(frame);
        if let Err(loss) = checked {
            port.count(loss);
        }
        let (vlan, source) = checked?;
        self.table.learn(vlan, source, from, now);
        Ok(vlan)
    }

    /// Returns at which ports a frame leaves, and why at none, if that is so. A mirror gets it all the
    /// same.
    fn route(
        &mut self,
        from: usize,
        vlan: u16,
        frame: &Frame,
        now: Instant,
    ) -> (Vec<usize>, Option<Loss>) {
        let destination = frame.destination().unwrap_or([0xff; 6]);
        let reserved = destination.starts_with(&[1, 0x80, 0xc2, 0, 0]) && destination[5] < 0x10;
        let found = self.table.find(vlan, destination, now);
        let loss = match found {
            _ if reserved => Some(Loss::Reserved),
            Some(to) if to == from => Some(Loss::Filtered),
            _ => None,
        };
        if let Some(port) = self.ports.get_mut(from) {
            let floods = found.is_none() && !reserved;
            port.counters.flooded += u64::from(floods);
            port.counters.unknown += u64::from(floods && !is_group(destination));
            if let Some(loss) = loss {
                port.count(loss);
                return (Vec::new(), Some(loss));
            }
        }
        let isolated = |port: &Port| port.options.isolated;
        let from_isolated = self.ports.get(from).is_some_and(isolated);
        let mut to = Vec::new();
        for (index, port) in self.ports.iter_mut().enumerate() {
            if index == from || found.is_some_and(|found| found != index) {
                continue;
            }
            if port.options.vlans.out(vlan, false).is_none() {
                port.counters.other_vlan += 1;
            } else if !(from_isolated && isolated(port)) {
                to.push(index);
            }
        }
        let loss = to.is_empty().then_some(Loss::Nowhere);
        if let (Some(port), Some(loss)) = (self.ports.get_mut(from), loss) {
            port.count(loss);
        }
        (to, loss)
    }
}

fn is_group(mac: Mac) -> bool {
    virtio_wire::net::mac::is_group(mac)
}

/// Writes a MAC address as a text.
pub fn mac_text(mac: Mac) -> String {
    let bytes: Vec<_> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}
