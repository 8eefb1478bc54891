// SPDX-License-Identifier: GPL-2.0

//! A station in this process: it answers to ARP and pings, and has services for tests, so that these
//! need no network of the host. TCP/IP is `smoltcp`.

mod service;
#[cfg(test)]
mod tests;

use crate::{
    control::Controlled,
    frame::{Frame, Takes, fit},
    log::error,
    switch::{Handle, PortOptions, mac_text},
    wake::Waker,
};
use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use service::{Counters, Services};
use smoltcp::{
    iface::{Config, Interface, SocketSet},
    phy::{Checksum, Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken},
    time::Instant,
    wire::{EthernetAddress, HardwareAddress, IpCidr},
};
use std::{
    collections::VecDeque,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use super::Large;

/// The most payload of a large frame.
const LARGE: usize = 60_000;

/// The address of a station whose options have none, with the last byte from its name.
const NOBODY: [u8; 6] = [0x02, 0x72, 0x76, 1, 0, 0];

/// A station, for the control socket.
struct Peer {
    name: String,
    mac: [u8; 6],
    counters: Arc<Mutex<Counters>>,
}

/// Where frames of the station go, and come from.
struct Link {
    handle: Handle,
    mtu: usize,
    large: Large,
    /// What was taken, made into what the station takes.
    taken: VecDeque<Arc<Frame>>,
    counters: Arc<Mutex<Counters>>,
}

/// Starts the thread of a station.
pub fn start(
    options: &PortOptions,
    addresses: &[IpCidr],
    large: Large,
    handle: Handle,
) -> Result<Arc<dyn Controlled>> {
    let mac = options.mac.unwrap_or_else(|| {
        let sum = crate::frame::crc32(0, options.name.as_bytes());
        let [a, b, ..] = sum.to_le_bytes();
        let mut mac = NOBODY;
        mac[4] = a;
        mac[5] = b;
        mac
    });
    let counters = Arc::<Mutex<Counters>>::default();
    let peer = Arc::new(Peer {
        name: options.name.clone(),
        mac,
        counters: Arc::clone(&counters),
    });
    let waker = Waker::new()?;
    handle.outlet().set_waker(waker.clone());
    let mut link = Link {
        mtu: options.mtu.min(9216),
        handle,
        large,
        taken: VecDeque::new(),
        counters: Arc::clone(&counters),
    };

    let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac)));
    config.random_seed = u64::from(crate::frame::crc32(7, &mac));
    let mut interface = Interface::new(config, &mut link, Instant::now());
    let mut result = Ok(());
    interface.update_ip_addrs(|list| {
        for address in addresses {
            result = result.and(list.push(*address));
        }
    });
    ensure!(result.is_ok(), "{}: too many addresses", options.name);
    let name = options.name.clone();
    link.handle.outlet().set_open(true);
    thread::spawn(move || {
        let outlet = Arc::clone(link.handle.outlet());
        let ended = run(link, interface, &waker, &counters);
        outlet.set_open(false);
        if let Err(error) = ended {
            error!("{name}: the station has ended: {error:#}");
        }
    });
    Ok(peer)
}

fn run(
    mut link: Link,
    mut interface: Interface,
    waker: &Waker,
    counters: &Mutex<Counters>,
) -> Result<()> {
    let mut sockets = SocketSet::new(Vec::new());
    let mut services = Services::new(&mut sockets)?;
    loop {
        interface.poll(Instant::now(), &mut link, &mut sockets);
        let busy = {
            let mut counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
            services.serve(&mut sockets, &mut counters)
        };
        if busy {
            continue;
        }
        let delay = interface.poll_delay(Instant::now(), &sockets);
        let limit = delay.map(|delay| Timespec {
            tv_sec: i64::try_from(delay.secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(delay.micros()).unwrap_or(0) * 1000,
        });
        let limit = limit.as_ref();
        match poll(&mut [PollFd::new(waker, PollFlags::IN)], limit) {
            Ok(_) | Err(rustix::io::Errno::INTR) => waker.clear(),
            Err(error) => return Err(error).context("waiting"),
        }
    }
}

/// A frame for the station.
pub struct Received(Arc<Frame>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0.bytes)
    }
}

/// A frame of the station.
pub struct Sent<'a> {
    handle: &'a Handle,
    counters: &'a Mutex<Counters>,
    meta: PacketMeta,
}

impl TxToken for Sent<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut bytes = vec![0; length];
        let result = f(&mut bytes);
        let frame = Frame::partial(bytes, self.meta.segmentation_offload_size);
        {
            let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            counters.sent += 1;
            counters.sent_large += u64::from(frame.offload.gso.is_some());
        }
        self.handle.send(frame);
        result
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.meta = meta;
    }
}

impl Link {
    fn next(&mut self) -> Option<Arc<Frame>> {
        // It verifies every checksum, so each frame has to be complete.
        while self.taken.is_empty() {
            let frame = self.handle.outlet().take_one()?;
            let pieces = fit(&frame, Takes::default(), self.mtu);
            let mut counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            match pieces {
                Ok(pieces) => {
                    counters.received += u64::try_from(pieces.len()).unwrap_or(0);
                    self.taken.extend(pieces);
                }
                Err(_) => counters.malformed += 1,
            }
        }
        self.taken.pop_front()
    }
}

impl Device for Link {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sent<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sent<'_>)> {
        let frame = self.next()?;
        let sent = Sent {
            handle: &self.handle,
            counters: &self.counters,
            meta: PacketMeta::default(),
        };
        Some((Received(frame), sent))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sent<'_>> {
        Some(Sent {
            handle: &self.handle,
            counters: &self.counters,
            meta: PacketMeta::default(),
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu + crate::frame::ETHERNET;
        if self.large == Large::Yes {
            // What arrives is verified; what is sent is completed by whoever takes it.
            capabilities.checksum.tcp = Checksum::Rx;
            capabilities.segmentation.tcpv4 = NonZeroUsize::new(LARGE);
            capabilities.segmentation.tcpv6 = NonZeroUsize::new(LARGE);
        }
        capabilities
    }
}

impl Controlled for Peer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn execute(&self, command: &str, _arguments: &Value) -> Result<Value> {
        ensure!(command == "counters", "there is no command {command}");
        let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
        let mut value = counters.describe();
        value["mac"] = json!(mac_text(self.mac));
        Ok(value)
    }
}
