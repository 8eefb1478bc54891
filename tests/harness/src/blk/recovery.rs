// SPDX-License-Identifier: GPL-2.0

//! What an application sees of a device that fails: bytes, or an error, in a bounded time.

use crate::{
    backend::Backend,
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a request may take, in milliseconds: less than by default.
const TIMEOUT: u32 = 2000;

/// How long an application may wait for what a reset helps against, and for a device that is given
/// up.
const LIMIT: Duration = Duration::from_secs(60);

const DISK: &str = "vdaaa";

/// What a device does wrong, once, and what `dd` says.
struct Fault {
    name: &'static str,
    rule: fn() -> Value,
    /// Nothing, if it succeeds.
    says: &'static str,
    /// Whether a ring breaks: packed ones do not have all the lies.
    split_only: bool,
}

const FAULTS: &[Fault] = &[
    Fault {
        name: "no_answer",
        rule: || json!({ "do": "hold" }),
        says: "",
        split_only: false,
    },
    Fault {
        name: "no_interrupt",
        rule: || json!({ "do": "mute" }),
        says: "",
        split_only: false,
    },
    Fault {
        name: "id_out_of_range",
        rule: || json!({ "do": "used-id" }),
        says: "",
        split_only: false,
    },
    Fault {
        name: "id_not_out",
        rule: || json!({ "do": "used-not-out" }),
        says: "",
        split_only: false,
    },
    Fault {
        name: "index_jumps",
        rule: || json!({ "do": "used-jump" }),
        says: "",
        split_only: true,
    },
    Fault {
        name: "too_long",
        rule: || json!({ "do": "used-length", "value": 1 << 20 }),
        says: "",
        split_only: false,
    },
    Fault {
        name: "no_status",
        rule: || json!({ "do": "no-status" }),
        says: "Input/output error",
        split_only: false,
    },
    Fault {
        name: "no_such_status",
        rule: || json!({ "do": "status", "value": 77 }),
        says: "Input/output error",
        split_only: false,
    },
    Fault {
        name: "short",
        rule: || json!({ "do": "short" }),
        says: "Input/output error",
        split_only: false,
    },
    Fault {
        name: "error",
        rule: || json!({ "do": "fail" }),
        says: "Input/output error",
        split_only: false,
    },
    Fault {
        name: "unsupported",
        rule: || json!({ "do": "fail", "value": 2 }),
        says: "not supported",
        split_only: false,
    },
];

pub fn helps_stock(cx: &mut Cx) -> Result<()> {
    helps(cx, STOCK)
}

pub fn helps_debug(cx: &mut Cx) -> Result<()> {
    helps(cx, DEBUG)
}

/// Each fault meets a read: what was written before is read, or there is an error; and afterwards the
/// disk works.
fn helps(cx: &mut Cx, flavour: &str) -> Result<()> {
    for (ring, properties) in [("split", ""), ("packed", "packed=on")] {
        let backend = cx.backend(&[("disk", "ram=16M")])?;
        let builder = cx
            .kernel(flavour)?
            .module("virtio_blk_rs")?
            .name(ring)
            .memory(1024);
        let guest = cx.boot(&backend.attach(builder, "disk", properties))?;
        load(&guest)?;
        for fault in FAULTS {
            if fault.split_only && ring != "split" {
                continue;
            }
            cx.case(&format!("{ring}/{}", fault.name), |_| {
                let mut rule = (fault.rule)();
                rule["op"] = "read".into();
                rule["count"] = 1.into();
                backend.device("disk", "inject", rule)?;
                let said = read(&guest)?;
                met(&backend, 1)?;
                if fault.says.is_empty() {
                    ensure!(said == "0\nx\n", "dd says {said}");
                } else {
                    ensure!(
                        said.starts_with("1\n") && said.contains(fault.says),
                        "dd says {said}"
                    );
                }
                let said = read(&guest)?;
                ensure!(said == "0\nx\n", "afterwards, dd says {said}");
                Ok(())
            });
        }
        cx.case(&format!("{ring}/no_answer_to_many"), |_| {
            many_are_held(&guest, &backend)
        });
        guest.sh("rmmod virtio_blk_rs")?;
        cx.end(&guest)?;
    }
    Ok(())
}

/// Requests that take too long together are one failure, not several.
fn many_are_held(guest: &Guest, backend: &Backend) -> Result<()> {
    backend.device(
        "disk",
        "inject",
        json!({ "do": "hold", "op": "read", "count": 8 }),
    )?;
    let said = guest.run_within(
        &format!(
            "for i in 0 1 2 3 4 5 6 7; do
                 dd if=/dev/{DISK} of=/tmp/block$i bs=4096 count=1 skip=$i iflag=direct 2>/dev/null &
             done
             wait; cat /tmp/block? | tr -d '\\0' | wc -c"
        ),
        LIMIT,
    )?;
    met(backend, 8)?;
    ensure!(said.text == "32768\n", "the guest says {}", said.text);
    Ok(())
}

/// Ends the only rule, which must have met so many requests.
fn met(backend: &Backend, requests: u64) -> Result<()> {
    let rules = backend.device("disk", "rules", json!({}))?;
    backend.device("disk", "clear", json!({}))?;
    let done = rules[0]["done"].as_u64();
    ensure!(
        done == Some(requests),
        "{requests} requests should meet the fault: {rules}"
    );
    Ok(())
}

/// Loads the driver, and writes what is read later.
fn load(guest: &Guest) -> Result<()> {
    guest.sh(&format!(
        "modprobe virtio_blk_rs && echo {TIMEOUT} >/sys/block/{DISK}/queue/io_timeout
         tr '\\0' x </dev/zero | dd of=/dev/{DISK} bs=64k count=16 iflag=fullblock oflag=direct 2>/dev/null"
    ))?;
    Ok(())
}

/// Reads a block, and returns the exit status, the first byte, and what is said of an error.
fn read(guest: &Guest) -> Result<String> {
    let output = guest.run_within(
        &format!(
            "dd if=/dev/{DISK} of=/tmp/block bs=4096 count=1 iflag=direct 2>/tmp/dd
             status=$?; echo $status
             [ $status = 0 ] && {{ head -c 1 /tmp/block; echo; }} || cat /tmp/dd"
        ),
        LIMIT,
    )?;
    Ok(output.text)
}

pub fn has_an_end_stock(cx: &mut Cx) -> Result<()> {
    has_an_end(cx, STOCK)
}

pub fn has_an_end_debug(cx: &mut Cx) -> Result<()> {
    has_an_end(cx, DEBUG)
}

/// A device that never answers again is given up: applications get errors, and the driver can be
/// unloaded. One that is taken away while it does not answer goes away, too.
fn has_an_end(cx: &mut Cx, flavour: &str) -> Result<()> {
    let backend = cx.backend(&[("disk", "ram=16M")])?;
    let builder = cx.kernel(flavour)?.module("virtio_blk_rs")?.memory(1024);
    let guest = cx.boot(&backend.attach(builder, "disk", ""))?;
    cx.case("unloaded", |_| {
        load(&guest)?;
        hold(&backend)?;
        guest.sh(&format!(
            "(dd if=/dev/{DISK} of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null; true) &"
        ))?;
        backend.wait_until("disk", "it is held", |_| {
            let rules = backend.device("disk", "rules", json!({}));
            rules.is_ok_and(|rules| rules[0]["done"].as_u64() >= Some(1))
        })?;
        // The module is in use as long as the disk is open.
        let said = guest.run_within(
            "cd /sys/bus/virtio/drivers/virtio_blk_rs
             rmmod virtio_blk_rs 2>/dev/null && exit 1
             echo virtio* >unbind && wait && rmmod virtio_blk_rs",
            LIMIT,
        )?;
        backend.device("disk", "clear", json!({}))?;
        ensure!(said.status == 0, "it is not unbound: {}", said.text);
        Ok(())
    });
    cx.case("given_up", |_| {
        load(&guest)?;
        hold(&backend)?;
        let said = read(&guest)?;
        ensure!(said.starts_with("1\n"), "dd says {said}");
        // The disk of a dead device is empty.
        let said = read(&guest)?;
        ensure!(!said.contains('x'), "then dd says {said}");
        backend.device("disk", "clear", json!({}))?;
        guest.sh("rmmod virtio_blk_rs")?;
        Ok(())
    });
    cx.case("comes_back", |_| {
        load(&guest)?;
        let said = read(&guest)?;
        ensure!(said == "0\nx\n", "dd says {said}");
        guest.sh("rmmod virtio_blk_rs")?;
        Ok(())
    });
    cx.end(&guest)
}

pub fn may_never_begin_stock(cx: &mut Cx) -> Result<()> {
    may_never_begin(cx, STOCK)
}

pub fn may_never_begin_debug(cx: &mut Cx) -> Result<()> {
    may_never_begin(cx, DEBUG)
}

/// A device that does not answer from the beginning, or breaks its queue: to load the driver takes as
/// long as a request may take, and there is no disk. When it answers, it can be bound.
fn may_never_begin(cx: &mut Cx, flavour: &str) -> Result<()> {
    let backend = cx.backend(&[("disk", "ram=16M")])?;
    let builder = cx.kernel(flavour)?.module("virtio_blk_rs")?.memory(1024);
    let guest = cx.boot(&backend.attach(builder, "disk", ""))?;
    for (name, rule) in [
        ("silent", json!({ "do": "hold" })),
        ("broken", json!({ "do": "used-id" })),
    ] {
        cx.case(name, |_| {
            backend.device("disk", "inject", rule)?;
            let said = guest.run_within(
                &format!("modprobe virtio_blk_rs && [ ! -e /sys/block/{DISK} ]"),
                LIMIT,
            )?;
            backend.device("disk", "clear", json!({}))?;
            ensure!(said.status == 0, "it has a disk: {}", said.text);
            guest.sh(
                "cd /sys/bus/virtio/drivers/virtio_blk_rs && echo virtio0 >bind &&
                 rmmod virtio_blk_rs",
            )?;
            Ok(())
        });
    }
    cx.end(&guest)
}

/// Lets the device not answer any more.
fn hold(backend: &Backend) -> Result<()> {
    backend.device("disk", "inject", json!({ "do": "hold" }))?;
    Ok(())
}
