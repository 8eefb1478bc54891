// SPDX-License-Identifier: GPL-2.0

//! Guests that move, while they use a disk or a network, to another QEMU with another backend.

use super::handle::{Backend, Part, number, sum};
use crate::{
    blk::{
        driver::Driver,
        load::{self, Load},
    },
    cx::Cx,
    guest::{Builder, Guest},
    kernel::STOCK,
    net::{lan::Lan, rig},
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{process::Command, sync::Arc};

/// How often a guest moves, and how often when time does not matter.
pub const MOVES: u32 = 3;
/// The same, in the long tests.
pub const MANY_MOVES: u32 = 10;

/// The forms of the rings, by the properties of QEMU's devices.
const FORMS: [(&str, &str); 2] = [("split", "packed=off"), ("packed", "packed=on")];

/// The same of disks, of which QEMU may move the record of what is in flight, too.
const FORMS_OF_DISKS: [(&str, &str); 3] = [
    ("split", "packed=off"),
    ("packed", "packed=on"),
    ("packed_with_record", "packed=on,inflight-migration=on"),
];

const PACKED: usize = 34;

/// How many pages are logged at least while what has changed is sent again.
const PAGES: u64 = 100;

/// Both backends, of which the guest has one.
struct Hosts {
    backends: [Arc<Backend>; 2],
    device: &'static str,
    here: usize,
    /// How long each move has taken, in milliseconds, and how long the guest stood still.
    times: Vec<[u64; 2]>,
}

impl Hosts {
    fn new(cx: &mut Cx, device: &'static str, parts: [Vec<Part>; 2]) -> Result<Self> {
        let [one, other] = parts;
        Ok(Self {
            backends: [cx.backend_of(one)?, cx.backend_of(other)?],
            device,
            here: 0,
            times: Vec::new(),
        })
    }

    fn here(&self) -> &Backend {
        &self.backends[self.here]
    }

    fn there(&self) -> &Backend {
        &self.backends[1 - self.here]
    }

    /// Moves the guest; what it has left is looked at, and begins anew.
    fn swap(&mut self, guest: &Guest, there: &Builder) -> Result<Value> {
        let (here, device) = (self.here(), self.device);
        let before = number(&here.counters(device)?, "logged_pages")?;
        let enough = |counters: &Value| counters["logged_pages"].as_u64() > Some(before + PAGES);
        let told = guest.migrate(there, || {
            here.wait_until(device, "pages are logged", |counters| {
                let mut queues = counters["queues"].as_array().into_iter().flatten();
                enough(counters) || queues.all(|queue| queue["running"] == false)
            })?;
            Ok(())
        })?;
        let left = self.here().counters(self.device)?;
        ensure!(sum(&left, "errors") == 0, "{left:#}");
        ensure!(sum(&left, "twice") == 0, "{left:#}");
        ensure!(enough(&left), "{left:#}");
        ensure!(sum(&left, "taken") == sum(&left, "returned"), "{left:#}");
        ensure!(number(&left, "not_in_log")? == 0, "{left:#}");
        ensure!(number(&left, "refused")? == 0, "{left:#}");
        self.here().end()?;
        self.here().restart()?;
        self.here = 1 - self.here;
        self.times
            .push([number(&told, "total-time")?, number(&told, "downtime")?]);
        Ok(left)
    }

    /// Says how long the moves took.
    fn say(&self, cx: &Cx, name: &str) {
        let of = |at: usize| {
            let mut times: Vec<_> = self.times.iter().map(|times| times[at]).collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied().unwrap_or_default();
            (middle, times.last().copied().unwrap_or_default())
        };
        let ((time, longest_time), (down, longest_down)) = (of(0), of(1));
        cx.say(&format!(
            "{name}: {} moves, each in {time} ms ({longest_time} at most), of which the guest stood still \
             for {down} ({longest_down} at most)",
            self.times.len()
        ));
    }
}

/// Fails if the driver does not use the form of the ring that it should.
fn has_form(guest: &Guest, features: &str, packed: bool) -> Result<()> {
    let accepted = guest.sh(&format!("cat {features}"))?;
    let there = accepted.as_bytes().get(PACKED) == Some(&b'1');
    ensure!(there == packed, "features: {accepted}");
    Ok(())
}

/// A guest moves with its disk, which is a file that both backends have, while somebody writes to it and
/// reads again; and begins to move, which is given up.
pub fn of_disks(cx: &mut Cx, driver: &Driver, moves: u32) -> Result<()> {
    for (name, properties) in FORMS_OF_DISKS {
        cx.case(name, |cx| {
            let scratch = Scratch::new()?;
            let image = load::image(scratch.path())?;
            let parts = || {
                let disk = format!("file={},queues=2", image.display());
                vec![Part::blk("disk", &disk)]
            };
            let mut hosts = Hosts::new(cx, "disk", [parts(), parts()])?;
            let properties = format!("num-queues=2,{properties}");
            let plain = driver.builder(cx, STOCK)?.tool("fio").tool("dd");
            let builder = |at: &Backend| at.attach(plain.clone(), "disk", &properties);
            let guest = cx.boot(&builder(hosts.here()))?;
            driver.load(&guest, "", 1)?;
            let disk = driver.disk(0);
            has_form(
                &guest,
                &format!("/sys/block/{disk}/device/features"),
                name != "split",
            )?;
            let load = Load::start(&guest, &format!("/dev/{disk}"), &disk)?;

            is_given_up(hosts.here(), &guest, &load, &disk)?;
            for _ in 0..moves {
                let there = builder(hosts.there());
                let left = hosts.swap(&guest, &there)?;
                ensure!(left["class"]["unstable_sectors"] == 0, "{left:#}");
                load.goes_on(&disk)?;
            }
            load.end()?;
            let counters = hosts.here().counters("disk")?;
            ensure!(sum(&counters, "errors") == 0, "{counters:#}");
            ensure!(sum(&counters, "returned") > 100, "{counters:#}");

            // What the guest reads is what the file has when all have ended.
            let said = guest.sh(&format!(
                "dd if=/dev/{disk} bs=1M iflag=direct 2>/dev/null | sha256sum"
            ))?;
            hosts.say(cx, name);
            cx.end(&guest)?;
            hosts.here().end()?;
            let there = Command::new("sha256sum").arg(&image).output()?;
            let there = String::from_utf8_lossy(&there.stdout).into_owned();
            let sum = |said: &str| said.split(' ').next().map(str::to_owned);
            ensure!(
                sum(&said).is_some_and(|sum| sum.len() == 64) && sum(&said) == sum(&there),
                "the guest says {said}, the file has {there}"
            );
            Ok(())
        });
    }
    Ok(())
}

/// A migration is begun and given up: writes are logged only meanwhile, and the queues go on.
fn is_given_up(backend: &Backend, guest: &Guest, load: &Load<'_>, disk: &str) -> Result<()> {
    let before = backend.counters("disk")?;
    ensure!(before["logging"] == false, "{before:#}");
    guest.begin_to_migrate(|| {
        backend.wait_until("disk", "pages are logged", |counters| {
            counters["logging"] == true && counters["logged_pages"].as_u64() > Some(PAGES)
        })?;
        load.goes_on(disk)
    })?;
    let after = backend.wait_until("disk", "nothing is logged any more", |counters| {
        counters["logging"] == false
    })?;
    ensure!(sum(&before, "starts") == sum(&after, "starts"), "{after:#}");
    load.goes_on(disk)?;
    let later = backend.counters("disk")?;
    ensure!(
        later["logged_pages"] == after["logged_pages"],
        "{after:#} {later:#}"
    );
    Ok(())
}

/// A guest moves with its network, while somebody has connections to a peer, each byte of which is looked
/// at. Each backend has a tap of the same bridge, and the guest tells the bridge where it is.
pub fn of_networks(cx: &mut Cx, driver: rig::Driver, moves: u32) -> Result<()> {
    for (name, properties) in FORMS {
        cx.case(name, |cx| {
            let mut lan = Lan::new(cx)?;
            let mut parts = Vec::new();
            for tap in ["rv0", "rv1"] {
                lan.tap(tap, 1)?;
                let tap = format!("tap={tap}");
                parts.push(vec![Part::net("net", "queues=2"), Part::port("host", &tap)]);
            }
            let parts: [_; 2] = parts.try_into().ok().context("there are two")?;
            let mut hosts = Hosts::new(cx, "net", parts)?;
            let properties = format!("mac=52:54:00:09:00:00,romfile=,{properties}");
            let plain = driver.builder(cx, STOCK)?;
            let builder = |at: &Backend| at.attach_net(plain.clone(), "net", 2, &properties);
            let guest = cx.boot(&builder(hosts.here()))?;
            let nic = rig::load(&guest, driver)?;
            has_form(
                &guest,
                &format!("/sys/class/net/{nic}/device/features"),
                name == "packed",
            )?;
            rig::works(&guest)?;
            let load = rig::Load::start(&guest, 25)?;
            for _ in 0..moves {
                let there = builder(hosts.there());
                hosts.swap(&guest, &there)?;
                let counters = hosts.here().wait_until("net", "it goes on", |counters| {
                    ["rx", "tx"]
                        .iter()
                        .all(|way| counters["class"][*way]["frames"].as_u64() > Some(500))
                })?;
                ensure!(sum(&counters, "errors") == 0, "{counters:#}");
            }
            load.finish_whole()?;
            rig::works(&guest)?;
            rig::checksums_are_right(&guest)?;
            lan.check()?;
            hosts.say(cx, name);
            cx.end(&guest)?;
            for backend in &hosts.backends {
                backend.end()?;
            }
            Ok(())
        });
    }
    Ok(())
}
