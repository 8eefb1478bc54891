// SPDX-License-Identifier: GPL-2.0

//! What our backend can do wrong arrives in a guest: the kernel's own driver says so, or shows it.

use super::{blk::builder, handle::Backend};
use crate::{blk::driver::IN_TREE, cx::Cx, guest::Guest};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::time::Duration;

/// How long a guest may take for what does not hang.
const LIMIT: Duration = Duration::from_secs(20);

/// A lie of the rings, and what the kernel says of it.
struct Lie {
    name: &'static str,
    rule: Value,
    says: &'static str,
}

/// Boots a guest, lies once to a read, and looks at what it says. The driver of the kernel never
/// gets over it, so its power is cut.
fn told(cx: &mut Cx, lie: &Lie, properties: &str) -> Result<()> {
    let backend = cx.backend(&[("disk", "ram=16M")])?;
    let guest = cx.boot(&backend.attach(builder(cx, &IN_TREE)?, "disk", properties))?;
    IN_TREE.load(&guest, "", 1)?;
    backend.device("disk", "inject", lie.rule.clone())?;
    guest.sh(
        "(dd if=/dev/vda of=/dev/null bs=4k count=4 iflag=direct >/tmp/dd 2>&1
          echo $? >>/tmp/dd) &",
    )?;
    backend.wait_until("disk", "the lie is told", |_| {
        let rules = backend.device("disk", "rules", json!({}));
        rules.is_ok_and(|rules| rules[0]["done"].as_u64() >= Some(1))
    })?;
    let found = guest.run_within(
        &format!(
            "n=0; until dmesg | grep -q '{}'; do n=$((n + 1)); [ $n -lt 50 ] || exit 1; sleep 0.1; done",
            lie.says
        ),
        LIMIT,
    )?;
    let log = guest.sh("dmesg | tail -5; cat /tmp/dd")?;
    guest.kill();
    ensure!(
        found.status == 0,
        "the kernel does not say {:?}:\n{log}",
        lie.says
    );
    Ok(())
}

/// Used rings that cannot be.
pub fn rings(cx: &mut Cx) -> Result<()> {
    let lies = [
        Lie {
            name: "id_out_of_range",
            rule: json!({ "do": "used-id", "op": "read", "count": 1 }),
            says: "id 30583 out of range",
        },
        Lie {
            name: "id_not_out",
            rule: json!({ "do": "used-not-out", "op": "read", "count": 1 }),
            says: "is not a head",
        },
        Lie {
            name: "used_twice",
            rule: json!({ "do": "used-twice", "op": "read", "count": 1 }),
            says: "is not a head",
        },
        Lie {
            name: "used_index_jumps",
            rule: json!({ "do": "used-jump", "op": "read", "count": 1 }),
            says: "is not a head",
        },
    ];
    for (form, properties) in [("split", ""), ("packed", "packed=on")] {
        for lie in &lies {
            cx.case(&format!("{form}_{}", lie.name), |cx| {
                told(cx, lie, properties)
            });
        }
    }
    Ok(())
}

/// Reads the first block, and returns the exit status and what was read; nothing if it hangs.
fn read(guest: &Guest) -> Result<String> {
    let output = guest.run_within(
        "timeout 10 dd if=/dev/vda of=/tmp/block bs=4096 count=1 iflag=direct 2>/tmp/dd
         echo $?; head -c 1 /tmp/block | od -An -tx1; cat /tmp/dd",
        LIMIT,
    )?;
    Ok(output.text)
}

/// Requests that are answered in a wrong way, which the driver survives: in one guest.
pub fn requests(cx: &mut Cx) -> Result<()> {
    let backend = cx.backend(&[("disk", "ram=16M")])?;
    let guest = cx.boot(&backend.attach(builder(cx, &IN_TREE)?, "disk", "packed=on"))?;
    IN_TREE.load(&guest, "", 1)?;
    let inject = |backend: &Backend, mut rule: Value| -> Result<()> {
        rule["op"] = "read".into();
        rule["count"] = 1.into();
        backend.device("disk", "inject", rule).map(|_| ())
    };
    for (name, rule, says) in [
        ("io_error", json!({ "do": "fail" }), "Input/output error"),
        (
            "unsupported",
            json!({ "do": "fail", "value": 2 }),
            "not supported",
        ),
        (
            "wrong_status",
            json!({ "do": "status", "value": 77 }),
            "Input/output error",
        ),
        ("wrong_data", json!({ "do": "corrupt" }), "ff"),
        ("delayed", json!({ "do": "delay", "value": 500 }), "00"),
        ("too_long", json!({ "do": "used-length" }), "00"),
        ("empty", json!({ "do": "used-length", "value": 0 }), "00"),
    ] {
        cx.case(name, |_| {
            inject(&backend, rule)?;
            let text = read(&guest)?;
            ensure!(text.contains(says), "the guest says {text}");
            let text = read(&guest)?;
            ensure!(text.starts_with("0\n"), "it does not go on: {text}");
            Ok(())
        });
    }
    for name in ["no-status", "short", "early", "late"] {
        // The driver of the kernel does not look.
        cx.case(name, |_| {
            inject(&backend, json!({ "do": name }))?;
            let text = read(&guest)?;
            ensure!(text.starts_with("0\n"), "the guest says {text}");
            Ok(())
        });
    }
    cx.case("mutated", |_| {
        inject(&backend, json!({ "do": "mutate", "value": 50 }))?;
        let said = guest.sh(
            "dd if=/dev/vda of=/tmp/block bs=4096 count=1 iflag=direct 2>/tmp/dd
             tr -d '\\0' </tmp/block | wc -c",
        )?;
        let changed: u32 = said.trim().parse()?;
        ensure!((1..=50).contains(&changed), "{changed} bytes are others");
        let text = read(&guest)?;
        ensure!(text.starts_with("0\n"), "it does not go on: {text}");
        Ok(())
    });
    cx.case("mute", |_| {
        inject(&backend, json!({ "do": "mute" }))?;
        guest.sh(
            "dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>/tmp/dd & sleep 1
                  ! grep -q '1+0 records in' /tmp/dd",
        )?;
        backend.device("disk", "interrupt", json!({ "count": 1 }))?;
        guest
            .sh("sleep 1; grep -q '1+0 records in' /tmp/dd")
            .map(|_| ())
    });
    cx.case("held_and_released", |_| {
        inject(&backend, json!({ "do": "hold" }))?;
        guest.sh("dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>/tmp/dd & sleep 1")?;
        let released = backend.device("disk", "release", json!({}))?;
        ensure!(released["released"] == 1, "{released}");
        guest
            .sh("wait; sleep 0.5; grep -q '1+0 records in' /tmp/dd")
            .map(|_| ())
    });
    cx.case("interrupts_without_a_reason", |_| {
        backend.device("disk", "interrupt", json!({ "count": 500, "us": 100 }))?;
        backend.wait_until("disk", "the storm ends", |counters| {
            super::handle::sum(counters, "storm_calls") >= 500
        })?;
        let text = read(&guest)?;
        ensure!(text.starts_with("0\n"), "{text}");
        Ok(())
    });
    cx.case("odd_order", |_| {
        backend.device(
            "disk",
            "order",
            json!({ "order": "random", "many": 6, "seed": 7 }),
        )?;
        let result = guest.sh(
            "fio --name=v --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 \
                 --rw=randrw --bsrange=512-16k --size=8M --io_size=1M --verify=crc32c \
                 --verify_fatal=1 --do_verify=1 --minimal",
        );
        backend.device("disk", "order", json!({ "order": "done" }))?;
        result.map(|_| ())
    });
    cx.case("disconnected", |_| {
        inject(&backend, json!({ "do": "disconnect" }))?;
        let text = read(&guest)?;
        ensure!(
            text.starts_with("0\n"),
            "it is served after the connection is back: {text}"
        );
        Ok(())
    });
    Ok(())
}

/// Configuration spaces that cannot be, from the first look on.
pub fn config(cx: &mut Cx) -> Result<()> {
    for (name, lies, says) in [
        ("no_block_size", json!({ "blk_size": 0 }), "[vda] 32768"),
        (
            "odd_block_size",
            json!({ "blk_size": 1000 }),
            "Invalid logical block size (1000)",
        ),
        ("no_segments", json!({ "seg_max": 0 }), "[vda] 32768"),
        ("cache_mode_7", json!({ "writeback": 7 }), "[vda] 32768"),
        (
            "huge",
            json!({ "capacity": u64::MAX }),
            "[vda] 18446744073709551615",
        ),
    ] {
        cx.case(name, |cx| {
            let backend = cx.backend(&[("disk", "ram=16M")])?;
            backend.device("disk", "config", json!({ "set": lies }))?;
            let guest = cx.boot(&backend.attach(builder(cx, &IN_TREE)?, "disk", ""))?;
            let log = guest.run_within("modprobe virtio_blk; sleep 1; dmesg | tail -20", LIMIT)?;
            let found = guest.run(&format!("dmesg | grep -qF '{says}'"))?;
            ensure!(found.status == 0, "the kernel says {}", log.text);
            guest.kill();
            Ok(())
        });
    }
    Ok(())
}
