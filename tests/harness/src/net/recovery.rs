// SPDX-License-Identifier: GPL-2.0

//! What becomes of a network whose device fails: it works again, in a bounded time, or it is given up.

use super::rig::{self, Driver, PEER, counter, resets, wait_for};
use crate::{
    backend::{Backend, Part, tcp_both_ways},
    cx::Cx,
    guest::Guest,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// What the device is for the backend.
const NET: &str = "net";

/// Its address, and that of which the guest changes it to.
const MAC: &str = "52:54:00:09:00:00";
const OTHER_MAC: &str = "52:54:00:09:00:77";

/// How many bytes go either way, to see that it works.
const BYTES: u64 = 100_000;

/// How long a command of the guest may take that meets a device which does not answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What a device does wrong, once.
struct Fault {
    name: &'static str,
    rule: fn() -> Value,
    /// Packed rings do not have all the lies.
    split_only: bool,
    /// Of received frames, all buffers are out.
    tx_only: bool,
    /// What the kernel's own driver does not look at.
    is_ignored: bool,
}

const fn fault(name: &'static str, rule: fn() -> Value) -> Fault {
    Fault {
        name,
        rule,
        split_only: false,
        tx_only: false,
        is_ignored: false,
    }
}

const FAULTS: &[Fault] = &[
    fault("id_out_of_range", || json!({ "do": "used-id" })),
    Fault {
        tx_only: true,
        ..fault("id_not_out", || json!({ "do": "used-not-out" }))
    },
    fault("twice", || json!({ "do": "used-twice" })),
    Fault {
        split_only: true,
        ..fault(
            "index_jumps",
            || json!({ "do": "used-jump", "value": 1000 }),
        )
    },
    Fault {
        is_ignored: true,
        ..fault(
            "too_long",
            || json!({ "do": "used-length", "value": 1 << 24 }),
        )
    },
];

/// Each fault meets a frame, in either direction: afterwards, the network works. That of the kernel's
/// own driver does not, until somebody binds it anew.
pub fn helps(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    for (ring, properties) in [("split", ""), ("packed", ",packed=on")] {
        let (backend, guest) = boot(cx, flavour, driver, ring, properties)?;
        for fault in FAULTS {
            if fault.split_only && ring != "split" {
                continue;
            }
            let ways: &[_] = if fault.tx_only {
                &["tx"]
            } else {
                &["tx", "rx"]
            };
            for way in ways {
                cx.case(&format!("{ring}/{way}_{}", fault.name), |_| {
                    meets(&backend, &guest, driver, fault, way)
                });
            }
        }
        if driver == Driver::Ours {
            cx.case(&format!("{ring}/stands_still"), |_| {
                stands_still(&backend, &guest)
            });
        }
        guest.sh(&format!("rmmod {}", driver.module()))?;
        cx.end(&guest)?;
    }
    Ok(())
}

/// Boots a guest with a device of the backend, and a peer that answers.
fn boot(
    cx: &mut Cx,
    flavour: &str,
    driver: Driver,
    name: &str,
    properties: &str,
) -> Result<(Arc<Backend>, Arc<Guest>)> {
    let peer = format!("ip={PEER}/24");
    let backend = cx.backend_of(vec![Part::net(NET, ""), Part::port("peer", &peer)])?;
    let builder = driver.builder(cx, flavour)?.name(name);
    let properties = format!("mac={MAC}{properties}");
    let guest = cx.boot(&backend.attach_net(builder, NET, 1, &properties))?;
    rig::load(&guest, driver)?;
    works(&guest)?;
    Ok((backend, guest))
}

/// Has a frame meet a fault, and looks what becomes of it.
fn meets(backend: &Backend, guest: &Guest, driver: Driver, fault: &Fault, way: &str) -> Result<()> {
    let before = count(guest, driver)?;
    let mut rule = (fault.rule)();
    rule["op"] = way.into();
    rule["protocol"] = "icmp".into();
    rule["count"] = 1.into();
    backend.device(NET, "inject", rule)?;
    guest.run(&format!("ping -c 1 -W 1 {PEER}"))?;
    let rules = backend.device(NET, "rules", json!({}))?;
    backend.device(NET, "clear", json!({}))?;
    ensure!(rules[0]["done"] == 1, "no frame meets the fault: {rules}");

    if driver == Driver::InTree && !fault.is_ignored {
        // An answer is on its way for a moment; and only what comes behind is not received.
        let said = guest.run(&format!("sleep 1; ping -c 3 -W 1 {PEER}"))?;
        ensure!(said.status != 0, "the network works: {}", said.text);
        guest.sh(
            "cd /sys/bus/virtio/drivers/virtio_net && device=$(ls -d virtio*) &&
             echo $device >unbind && echo $device >bind && up 0",
        )?;
        return works(guest);
    }
    works(guest)?;
    if driver == Driver::Ours {
        let after = count(guest, driver)?;
        ensure!(after == before + 1, "{} resets", after - before);
    }
    Ok(())
}

/// The device does not give back what is sent: the watchdog of the kernel finds that.
fn stands_still(backend: &Backend, guest: &Guest) -> Result<()> {
    let before = resets(guest, "$(nic 0)")?;
    backend.device(NET, "inject", json!({ "do": "hold", "op": "tx" }))?;
    guest.sh(&format!(
        "ping -q -i 0.01 -s 1400 -c 1000 {PEER} >/dev/null 2>&1 &"
    ))?;
    wait_for(guest, &is_reset("$(nic 0)", before))?;
    backend.device(NET, "clear", json!({}))?;
    // Those that it has got since then would have the watchdog find it again.
    backend.device(NET, "release", json!({}))?;
    guest.run("killall ping; wait")?;
    works(guest)?;
    guest.sh("ethtool -S $(nic 0) | grep -q 'tx0_tx_timeouts: [1-9]'")?;
    guest.excuse(&["virtio_net_rs virtio0 eth0: NETDEV WATCHDOG"])
}

/// A device that does nothing right is given up: there is no carrier, and the driver can be unloaded.
pub fn has_an_end(cx: &mut Cx, flavour: &str) -> Result<()> {
    let (backend, guest) = boot(cx, flavour, Driver::Ours, "guest", "")?;
    cx.case("given_up", |_| {
        backend.device(NET, "inject", json!({ "do": "used-id" }))?;
        guest.run(&format!("ping -c 5 -W 1 {PEER}"))?;
        wait_for(&guest, "[ $(cat /sys/class/net/$(nic 0)/carrier) = 0 ]")?;
        backend.device(NET, "clear", json!({}))?;
        let said = guest.run_within("ip link set $(nic 0) down && rmmod virtio_net_rs", LIMIT)?;
        ensure!(said.status == 0, "it is not unloaded: {}", said.text);
        Ok(())
    });
    cx.case("comes_back", |_| {
        rig::load(&guest, Driver::Ours)?;
        works(&guest)?;
        guest.sh("rmmod virtio_net_rs")?;
        Ok(())
    });
    cx.end(&guest)
}

/// A command that is not answered takes a bounded time, and the device is reset; it gets to know what
/// users have set before. It has a control queue, and passes only frames to its address.
pub fn of_commands(cx: &mut Cx, flavour: &str) -> Result<()> {
    let peer = format!("ip={PEER}/24");
    let own = format!("control,queues=1,mac={MAC}");
    let backend = cx.backend_of(vec![Part::net(NET, &own), Part::port("peer", &peer)])?;
    let builder = Driver::Ours.builder(cx, flavour)?;
    let guest = cx.boot(&backend.attach_whole_net(builder, NET, 1))?;
    rig::load(&guest, Driver::Ours)?;
    // The name stays when the address changes.
    let nic = guest.sh("nic 0")?;
    let nic = nic.trim();
    guest.sh(&format!("ip link set {nic} address {OTHER_MAC}"))?;
    works(&guest)?;
    for (name, rule) in [
        ("broken", json!({ "do": "used-id" })),
        ("never", json!({ "do": "hold" })),
        ("late", json!({ "do": "delay", "value": 4000 })),
    ] {
        cx.case(name, |_| {
            let before = resets(&guest, nic)?;
            let mut rule = rule;
            rule["op"] = "control".into();
            rule["count"] = 1.into();
            backend.device(NET, "inject", rule)?;
            let said = guest.run_within(
                &format!("ip link set {nic} promisc on; ip link set {nic} promisc off"),
                LIMIT,
            )?;
            let rules = backend.device(NET, "rules", json!({}))?;
            backend.device(NET, "clear", json!({}))?;
            ensure!(
                rules[0]["done"] == 1,
                "no command meets the fault: {rules}, {}",
                said.text
            );
            wait_for(&guest, &is_reset(nic, before))?;
            works(&guest)?;
            let address = guest.sh(&format!("cat /sys/class/net/{nic}/address"))?;
            ensure!(address.trim() == OTHER_MAC, "the address is {address}");
            Ok(())
        });
    }
    guest.sh("rmmod virtio_net_rs")?;
    cx.end(&guest)
}

/// Returns how often the driver has reset the device.
fn count(guest: &Guest, driver: Driver) -> Result<u64> {
    match driver {
        Driver::InTree => Ok(0),
        Driver::Ours => resets(guest, "$(nic 0)"),
    }
}

/// What tells whether there were more resets than before.
fn is_reset(nic: &str, before: u64) -> String {
    format!("[ $({}) -gt {before} ]", counter(nic))
}

/// Fails if the network does not work soon, in both directions.
fn works(guest: &Guest) -> Result<()> {
    wait_for(guest, &format!("ping -c 2 -i 0.2 -W 1 {PEER}"))?;
    tcp_both_ways(guest, PEER, BYTES)
}
