// SPDX-License-Identifier: GPL-2.0

//! What the driver shows of its state in debugfs.

use super::data;
use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::{collections::BTreeMap, time::Duration};

const DISK: &str = "vdaaa";

/// The file of the device.
const FILE: &str = "/sys/kernel/debug/virtio_blk_rs/virtio0";

/// How long a request may take, in milliseconds: less than by default.
const TIMEOUT: u32 = 2000;

/// How long an application may wait for a device that is given up.
const LIMIT: Duration = Duration::from_secs(60);

/// Values by their names: those of the device, and those of each queue.
struct Shown {
    device: BTreeMap<String, String>,
    queues: Vec<BTreeMap<String, String>>,
}

impl Shown {
    fn read(guest: &Guest) -> Result<Self> {
        let text = guest.sh(&format!("cat {FILE}"))?;
        let mut shown = Self {
            device: BTreeMap::new(),
            queues: Vec::new(),
        };
        for line in text.lines() {
            let (name, value) = line.split_once(':').context("a line without a name")?;
            let value = value.trim().to_owned();
            match name.strip_prefix("  ") {
                Some(name) => {
                    let queue = shown.queues.last_mut().context("no section")?;
                    queue.insert(name.to_owned(), value);
                }
                None if value.is_empty() => {
                    let number = shown.queues.len();
                    ensure!(name == format!("queue {number}"), "a section {name}");
                    shown.queues.push(BTreeMap::new());
                }
                None => {
                    shown.device.insert(name.to_owned(), value);
                }
            }
        }
        ensure!(!shown.queues.is_empty(), "no queue in {text}");
        Ok(shown)
    }

    fn device(&self, name: &str) -> Result<&str> {
        let value = self.device.get(name);
        value
            .map(String::as_str)
            .with_context(|| format!("no {name}"))
    }

    /// Returns the values of the queues.
    fn queues(&self, name: &str) -> Result<Vec<&str>> {
        let values: Option<Vec<_>> = self
            .queues
            .iter()
            .map(|queue| queue.get(name).map(String::as_str))
            .collect();
        values.with_context(|| format!("a queue has no {name}"))
    }

    /// Returns the sum of the values of the queues.
    fn sum(&self, name: &str) -> Result<u64> {
        self.queues(name)?
            .iter()
            .map(|value| value.parse::<u64>().context("not a number"))
            .sum()
    }
}

pub fn agree_with_fio_stock(cx: &mut Cx) -> Result<()> {
    agree_with_fio(cx, STOCK, 10)
}

pub fn agree_with_fio_debug(cx: &mut Cx) -> Result<()> {
    agree_with_fio(cx, DEBUG, 3)
}

/// What fio does, what it may be, and how many requests that are at least.
const JOBS: &[(&str, &str)] = &[
    (
        "one_by_one",
        "--ioengine=psync --rw=randrw --bs=4k --number_ios=300 --fsync=8",
    ),
    (
        "trims",
        "--ioengine=psync --rw=randtrim --bs=64k --number_ios=60",
    ),
    (
        "many_at_once",
        "--ioengine=libaio --iodepth=32 --numjobs=2 --group_reporting --rw=randrw --bs=4k --number_ios=400",
    ),
];

/// The kinds of requests: in the file, and in what fio says.
const KINDS: &[(&str, &str)] = &[
    ("reads", "read"),
    ("writes", "write"),
    ("discards", "trim"),
    ("flushes", "sync"),
];

fn agree_with_fio(cx: &mut Cx, flavour: &str, rounds: u32) -> Result<()> {
    let scratch = Scratch::new()?;
    let builder = cx.kernel(flavour)?.module("virtio_blk_rs")?.tool("fio");
    let builder = data::disk(builder, scratch.path(), 0, ",num-queues=2")?;
    let guest = cx.boot(&builder)?;
    // The numbers are those of the driver if nothing is merged.
    guest.sh(&format!(
        "modprobe virtio_blk_rs && echo 2 >/sys/block/{DISK}/queue/nomerges"
    ))?;
    for (name, options) in JOBS {
        cx.case(name, |_| agrees(&guest, options));
    }
    cx.case("come_and_go", |_| come_and_go(&guest, rounds));
    guest.sh("rmmod virtio_blk_rs && [ ! -e /sys/kernel/debug/virtio_blk_rs ]")?;
    cx.end(&guest)
}

fn agrees(guest: &Guest, options: &str) -> Result<()> {
    let before = Shown::read(guest)?;
    let interrupts = interrupts(guest)?;
    let text = guest.sh(&format!(
        "fio --name=count --filename=/dev/{DISK} --direct=1 --invalidate=0 --size=16m {options} \
         --output-format=json --output=/tmp/fio >/dev/null 2>&1 && cat /tmp/fio"
    ))?;
    let after = Shown::read(guest)?;
    let interrupts = self::interrupts(guest)? - interrupts;
    let said: Value = serde_json::from_str(&text).context("what fio says")?;
    let more = |name: &str| -> Result<u64> { Ok(after.sum(name)? - before.sum(name)?) };

    let mut sum = 0;
    for (name, fio) in KINDS {
        let expected = said["jobs"][0][fio]["total_ios"].as_u64();
        let expected = expected.with_context(|| format!("fio says nothing of {fio}"))?;
        let count = more(name)?;
        ensure!(
            count == expected,
            "the driver has counted {count} {name}, fio {expected}"
        );
        sum += count;
    }
    ensure!(sum > 50, "fio did {sum} requests");
    ensure!(
        more("added")? == sum && more("used")? == sum,
        "of {sum} requests, {} were added, and {} used",
        more("added")?,
        more("used")?
    );
    let (kicks, notifications) = (more("kicks")?, more("notifications")?);
    ensure!(
        kicks > 0 && kicks <= sum && notifications <= kicks,
        "{kicks} kicks, {notifications} notifications"
    );
    let counted = more("interrupts")?;
    // The kernel counts those, too, that come when there is nothing.
    ensure!(
        counted > 0 && counted <= interrupts,
        "the driver has counted {counted} interrupts of {interrupts}"
    );
    is_idle(&after)
}

/// Returns how often the queues of the device have interrupted.
fn interrupts(guest: &Guest) -> Result<u64> {
    let text = guest.sh(
        "awk '/virtio0-req/ { for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' \
         /proc/interrupts",
    )?;
    text.trim().parse().context("/proc/interrupts")
}

/// Checks the state of a device that has nothing to do, and has done nothing wrong.
fn is_idle(shown: &Shown) -> Result<()> {
    for (name, value) in [
        ("phase", "live"),
        ("violations", "0"),
        ("recoveries", "0"),
        ("failures", "0"),
        ("resetting", "no"),
        ("dead", "no"),
        ("deleting", "no"),
    ] {
        let is = shown.device(name)?;
        ensure!(is == value, "{name} is {is}");
    }
    for (name, value) in [
        ("outstanding", "0"),
        ("broken", "no"),
        ("stopped", "no"),
        ("errors", "0"),
        ("requeues", "0"),
    ] {
        let are = shown.queues(name)?;
        ensure!(are.iter().all(|is| *is == value), "{name} are {are:?}");
    }
    let (size, free) = (shown.queues("size")?, shown.queues("free")?);
    ensure!(size == free, "of {size:?} places, {free:?} are free");
    Ok(())
}

/// The file goes and comes with the device while it is read.
fn come_and_go(guest: &Guest, rounds: u32) -> Result<()> {
    guest.sh(&format!(
        "(while :; do cat {FILE}; done >/dev/null 2>&1) & reader=$!
         cd /sys/bus/virtio/drivers/virtio_blk_rs
         for i in $(seq {rounds}); do
             echo virtio0 >unbind && [ ! -e {FILE} ] && echo virtio0 >bind && [ -e {FILE} ] || break
         done
         kill $reader; wait 2>/dev/null
         [ $i = {rounds} ] && cat {FILE}"
    ))?;
    is_idle(&Shown::read(guest)?)
}

pub fn tell_of_faults_stock(cx: &mut Cx) -> Result<()> {
    tell_of_faults(cx, STOCK)
}

pub fn tell_of_faults_debug(cx: &mut Cx) -> Result<()> {
    tell_of_faults(cx, DEBUG)
}

/// A device that fails: what it has done is there to be seen, while it is reset, and when it is dead.
fn tell_of_faults(cx: &mut Cx, flavour: &str) -> Result<()> {
    let backend = cx.backend(&[("disk", "ram=16M")])?;
    let builder = cx.kernel(flavour)?.module("virtio_blk_rs")?.memory(1024);
    let guest = cx.boot(&backend.attach(builder, "disk", ""))?;
    let inject = |mut rule: Value| {
        rule["op"] = "read".into();
        backend.device("disk", "inject", rule)
    };
    guest.sh(&format!(
        "modprobe virtio_blk_rs && echo {TIMEOUT} >/sys/block/{DISK}/queue/io_timeout"
    ))?;

    cx.case("error", |_| {
        inject(json!({ "do": "fail", "count": 1 }))?;
        read(&guest)?;
        let shown = Shown::read(&guest)?;
        ensure!(
            shown.sum("errors")? == 1,
            "{:?} errors",
            shown.sum("errors")
        );
        ensure!(
            shown.device("violations")? == "0",
            "an error is a violation"
        );
        Ok(())
    });
    cx.case("violation", |_| {
        let before = Shown::read(&guest)?;
        inject(json!({ "do": "used-length", "value": 1 << 20, "count": 1 }))?;
        read(&guest)?;
        let shown = Shown::read(&guest)?;
        let seen = (
            shown.device("violations")?,
            shown.device("recoveries")?,
            shown.sum("requeues")?,
        );
        ensure!(
            seen == ("1", "1", 1),
            "violations, recoveries, requeues: {seen:?}"
        );
        // What was counted before the device was reset is not lost.
        let (before, after) = (before.sum("reads")?, shown.sum("reads")?);
        ensure!(after == before + 2, "{before} reads became {after}");
        Ok(())
    });
    cx.case("death", |_| {
        inject(json!({ "do": "hold" }))?;
        guest.sh(&format!(
            "dd if=/dev/{DISK} of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null &"
        ))?;
        backend.wait_until("disk", "it is held", |_| {
            let rules = backend.device("disk", "rules", json!({}));
            rules.is_ok_and(|rules| rules[0]["done"].as_u64() >= Some(1))
        })?;
        let shown = Shown::read(&guest)?;
        ensure!(
            shown.sum("outstanding")? == 1,
            "{:?} are held",
            shown.queues("outstanding")
        );

        // It is read all the time, also while the device is reset.
        let said = guest.run_within(
            &format!(
                "until cat {FILE} >/tmp/shown && grep -qx 'dead: yes' /tmp/shown &&
                       grep -qx 'phase: reset' /tmp/shown; do :; done; wait; cat {FILE}"
            ),
            LIMIT,
        )?;
        backend.device("disk", "clear", json!({}))?;
        ensure!(said.status == 0, "{}", said.text);
        let shown = Shown::read(&guest)?;
        let rings = shown.queues("ring")?;
        ensure!(rings.iter().all(|ring| *ring == "none"), "rings: {rings:?}");
        let failures = shown.device("failures")?;
        ensure!(failures == "4", "{failures} failures");
        Ok(())
    });
    guest.sh("rmmod virtio_blk_rs")?;
    cx.end(&guest)
}

/// Reads a block, whether that succeeds or not.
fn read(guest: &Guest) -> Result<()> {
    guest.run_within(
        &format!("dd if=/dev/{DISK} of=/dev/null bs=4096 count=1 iflag=direct 2>/dev/null"),
        LIMIT,
    )?;
    Ok(())
}
