// SPDX-License-Identifier: GPL-2.0

//! Virtio devices over vhost-user: they behave, or lie on request.
//!
//! QEMU hands over the memory of a guest and the rings of a device. A thread for each device
//! ([`service`]) takes QEMU's messages ([`session`]), the driver's notifications, and the time, all
//! under the lock of the [`device`]; so do the commands of the [`control`] socket. What a driver
//! says is hostile: [`memory`] looks up each address, [`ring`] checks each index, and a class such
//! as [`blk`] each request.
//!
//! What makes this more than a device is in [`rule`]: errors, latency and lies, each for requests of
//! some sort, from and up to some number of them.

mod blk;
mod class;
mod control;
mod device;
mod memory;
mod options;
mod order;
mod queue;
mod ring;
mod rule;
mod service;
mod session;

use anyhow::{Context, Result, anyhow};
use control::Controlled;
use service::Shared;
use std::{io::Read, os::unix::net::UnixStream, process::ExitCode, sync::Arc, thread};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("virtio-backend: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let Some(options) = options::read(lexopt::Parser::from_env())? else {
        return Ok(());
    };
    let (mut asked, quit) = UnixStream::pair()?;
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::low_level::pipe::register(signal, quit.try_clone()?)?;
    }

    let mut devices = Vec::new();
    for device in &options.devices {
        let blk = blk::Blk::new(&device.blk).with_context(|| device.name.clone())?;
        let shared = Arc::new(Shared::new(&device.name, blk)?);
        shared.lock().latency = std::time::Duration::from_micros(device.latency);
        devices.push(shared);
    }
    if let Some(path) = &options.control {
        let controlled = devices
            .iter()
            .map(|device| Arc::clone(device) as Arc<dyn Controlled>);
        control::listen(path, controlled.collect(), quit.try_clone()?)?;
    }

    let mut threads = Vec::new();
    for (device, options) in devices.iter().zip(options.devices) {
        let device = Arc::clone(device);
        let mut ended = quit.try_clone()?;
        threads.push(thread::spawn(move || {
            let result = device.run(&options.meeting).context(options.name);
            // A device that cannot go on ends the others, too.
            let _ = std::io::Write::write(&mut ended, &[0]);
            result
        }));
    }
    asked.read_exact(&mut [0])?;
    for device in &devices {
        device.stop();
    }
    let mut result = Ok(());
    for thread in threads {
        let ended = thread.join().map_err(|_| anyhow!("a device panics"))?;
        result = result.and(ended);
    }
    if let Some(path) = &options.control {
        let _ = std::fs::remove_file(path);
    }
    result
}
