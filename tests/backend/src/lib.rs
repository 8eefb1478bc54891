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
mod claim;
mod class;
mod control;
mod data;
mod device;
mod end;
pub mod frame;
pub mod fuzz;
mod histogram;
mod log;
pub mod memory;
mod metrics;
mod net;
mod options;
mod order;
mod pcapng;
mod port;
mod queue;
mod replay;
pub mod ring;
mod rule;
mod service;
mod session;
mod socket;
mod summary;
pub mod switch;
mod wake;

#[cfg(test)]
mod tests;

use anyhow::{Context, Result, anyhow};
use class::Class;
use control::Controlled;
use end::End;
use options::{DeviceOptions, Kind};
use replay::{Recorder, Replay};
use service::{Served, Shared};
use std::{
    io::{Write, stdout},
    sync::Arc,
    thread,
    time::Duration,
};
use switch::Switch;

/// Makes a device that can be served.
fn serve<C: Class>(
    options: &DeviceOptions,
    class: C,
    recorder: Option<&Recorder>,
) -> Result<Arc<dyn Served>> {
    let shared = Shared::new(&options.name, class)?;
    {
        let mut device = shared.lock();
        device.latency = Duration::from_micros(options.latency);
        device.watch = options.watch;
        device.recorder = recorder.cloned();
    }
    Ok(Arc::new(shared))
}

/// Does what arguments say, which are those of the program, until it is told to end.
pub fn run(arguments: lexopt::Parser) -> Result<()> {
    let Some(options) = options::read(arguments)? else {
        return Ok(());
    };
    if let (Some(path), false) = (&options.control, options.tell.is_empty()) {
        return control::tell(path, &options.tell, |answer| println!("{answer:#}"));
    }
    if let (Some(path), true) = (&options.control, options.top) {
        return control::top(path);
    }
    log::set(options.log);
    let mut end = End::new()?;
    // What another backend serves is not opened.
    let places = options.devices.iter().map(|device| {
        let place = device.meeting.prepare();
        place.with_context(|| device.name.clone())
    });
    let places: Vec<_> = places.collect::<Result<_>>()?;
    let replay = options.replay.as_deref().map(Replay::read).transpose()?;
    let recorder = options.record.as_deref().map(Recorder::create);
    let recorder = recorder.transpose()?;
    let switch = Arc::new(Switch::new(options::SWITCH, options.ageing));
    let mut devices = Vec::new();
    let mut switched = !options.ports.is_empty();
    for device in &options.devices {
        let recorder = recorder.as_ref();
        let made: Result<Arc<dyn Served>> = match &device.kind {
            Kind::Blk(blk) => blk::Blk::new(blk).and_then(|blk| serve(device, blk, recorder)),
            Kind::Net(net) => {
                switched = true;
                let port = switch.add(net.port.clone());
                port.and_then(|port| serve(device, net::Net::new(net, port), recorder))
            }
        };
        devices.push(made.with_context(|| device.name.clone())?);
    }
    let mut controlled: Vec<_> = devices
        .iter()
        .map(|device| Arc::clone(device) as Arc<dyn Controlled>)
        .collect();
    for port in &options.ports {
        controlled.push(port::start(port, &switch)?);
    }
    if switched {
        controlled.push(switch);
    }
    if let Some(address) = &options.metrics {
        metrics::listen(address, controlled.clone())?;
    }
    for rule in &options.rules {
        control::execute(rule, &controlled).with_context(|| rule.to_string())?;
    }
    if let Some(replay) = replay {
        replay.begin(controlled.clone())?;
    }
    let mut control = None;
    if let Some(path) = &options.control {
        let listening = control::listen(path, controlled.clone(), recorder, end.quit()?);
        control = Some(listening.context("the control socket")?);
    }

    if !devices.is_empty() {
        let arguments = options::qemu_arguments(&options.devices);
        // Nobody needs to read it.
        let _ = writeln!(stdout(), "QEMU finds the devices with\n{arguments}");
    }
    let mut threads = Vec::new();
    for ((device, options), place) in devices.iter().zip(options.devices).zip(places) {
        let device = Arc::clone(device);
        let mut ended = end.quit()?;
        threads.push(thread::spawn(move || {
            let result = device.run(place).context(options.name);
            // A device that cannot go on ends the others, too.
            let _ = ended.write(&[0]);
            result
        }));
    }
    end.wait()?;
    for device in &devices {
        device.stop();
    }
    let mut result = Ok(());
    for thread in threads {
        let ended = thread.join().map_err(|_| anyhow!("a device panics"))?;
        result = result.and(ended);
    }
    drop(control);
    options.summary.tell(&controlled);
    result
}
