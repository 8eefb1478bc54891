// SPDX-License-Identifier: GPL-2.0

//! Networks of our backend, with the kernel's virtio_net.

use super::handle::{Backend, Part, number, sum};
use crate::{
    cx::Cx,
    guest::{Builder, Guest},
    kernel::STOCK,
    net::rig::Driver,
};
use anyhow::{Result, bail, ensure};
use serde_json::json;

/// A guest with the kernel's driver, and what the tests use.
pub fn builder(cx: &Cx) -> Result<Builder> {
    builder_of(cx, Driver::InTree)
}

/// A guest with a driver, and what the tests use.
pub fn builder_of(cx: &Cx, driver: Driver) -> Result<Builder> {
    Ok(driver.builder(cx, STOCK)?.kernel_module("8021q"))
}

/// A network interface of a guest.
pub struct Interface {
    /// Its MAC address.
    pub mac: &'static str,
    /// What it shall be called.
    pub name: &'static str,
    /// Its address.
    pub address: &'static str,
}

/// Loads the driver, and sets interfaces up, which are found by their MAC addresses.
pub fn load(guest: &Guest, interfaces: &[Interface]) -> Result<()> {
    load_driver(guest, Driver::InTree, interfaces)
}

/// As above, with a driver.
pub fn load_driver(guest: &Guest, driver: Driver, interfaces: &[Interface]) -> Result<()> {
    guest.sh(&format!(
        "modprobe {} && ip link set lo up",
        driver.module()
    ))?;
    for Interface { mac, name, address } in interfaces {
        guest.sh(&format!(
            "n=0
             until there=$(grep -l {mac} /sys/class/net/*/address); do
                 n=$((n + 1)); [ $n -lt 100 ] || exit; sleep 0.1
             done
             there=${{there%/address}}
             ip link set ${{there##*/}} down &&
             ip link set ${{there##*/}} name {name} &&
             ip addr add {address} dev {name} &&
             ip link set {name} up"
        ))?;
    }
    Ok(())
}

/// Pings an address; if that fails, tells what both ends have counted.
pub fn reach(backend: &Backend, guest: &Guest, net: &str, address: &str) -> Result<()> {
    let output = guest.run(&format!("ping -c 3 -i 0.2 -s 1300 {address}"))?;
    if output.status == 0 {
        return Ok(());
    }
    let there = guest.run("ip -s link; ip neigh; grep virtio /proc/interrupts")?;
    let here = backend.counters(net)?;
    let switch = backend.device("switch", "counters", json!({}))?;
    bail!(
        "{address} cannot be reached: {}\n{}\n{here}\n{switch}",
        output.text,
        there.text
    )
}

/// Returns the CRC-32 of so many bytes of the pattern that stations send.
fn pattern_crc(bytes: u64) -> String {
    let mut crc = u32::MAX;
    for at in 0..bytes {
        crc ^= u32::try_from(at % 251).unwrap_or(0);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
        }
    }
    format!("{:08x}", !crc)
}

/// Sends and receives so many bytes by TCP, and compares what arrives.
pub fn tcp_both_ways(guest: &Guest, peer: &str, bytes: u64) -> Result<()> {
    guest.sh(&format!(
        "echo send {bytes} | timeout 60 nc {peer} 5001 >/tmp/got &&
         [ $(wc -c </tmp/got) = {bytes} ] &&
         crc32 /tmp/got | grep -qi {} &&
         head -c {bytes} /dev/urandom >/tmp/sent &&
         {{ echo receive; cat /tmp/sent; }} | timeout 60 nc {peer} 5001 >/tmp/told &&
         cat /tmp/told &&
         crc=$(sed 's/.*\"crc\":\\([0-9]*\\).*/\\1/' /tmp/told) &&
         grep -q '\"bytes\":{bytes},' /tmp/told &&
         crc32 /tmp/sent | grep -qi $(printf %08x $crc)",
        pattern_crc(bytes)
    ))?;
    Ok(())
}

/// The forms of the rings, all in one guest: each of its interfaces has another one.
pub fn talks_in_every_form(cx: &mut Cx) -> Result<()> {
    const PACKED: usize = 34;
    const IN_ORDER: usize = 35;
    const BYTES: u64 = 1 << 20;
    struct Form {
        interface: Interface,
        peer: &'static str,
        properties: &'static str,
        features: &'static [usize],
    }
    let interface = |mac, name, address| Interface { mac, name, address };
    let forms = [
        Form {
            interface: interface("52:54:00:00:00:01", "split", "10.0.1.2/24"),
            peer: "10.0.1.1",
            properties: "event_idx=off,indirect_desc=off",
            features: &[],
        },
        Form {
            interface: interface("52:54:00:00:00:02", "ordered", "10.0.2.2/24"),
            peer: "10.0.2.1",
            properties: "in_order=on",
            features: &[IN_ORDER],
        },
        Form {
            interface: interface("52:54:00:00:00:03", "packed", "10.0.3.2/24"),
            peer: "10.0.3.1",
            properties: "packed=on",
            features: &[PACKED],
        },
        Form {
            interface: interface("52:54:00:00:00:04", "both", "10.0.4.2/24"),
            peer: "10.0.4.1",
            properties: "packed=on,in_order=on,event_idx=off,mrg_rxbuf=off",
            features: &[PACKED, IN_ORDER],
        },
    ];
    let mut parts = Vec::new();
    for (index, form) in forms.iter().enumerate() {
        let vlan = 10 + index;
        let name = form.interface.name;
        parts.push(Part::net(name, &format!("vlan={vlan}")));
        let peer = format!("ip={}/24,vlan={vlan}", form.peer);
        parts.push(Part::port(&format!("{name}-peer"), &peer));
    }
    let backend = cx.backend_of(parts)?;
    let mut builder = builder(cx)?;
    for form in &forms {
        let properties = format!("mac={},{}", form.interface.mac, form.properties);
        builder = backend.attach_net(builder, form.interface.name, 1, &properties);
    }
    let guest = cx.boot(&builder)?;
    for form in forms {
        let name = form.interface.name;
        cx.case(name, |_| {
            load(&guest, &[form.interface])?;
            let accepted = guest.sh(&format!("cat /sys/class/net/{name}/device/features"))?;
            for bit in [PACKED, IN_ORDER] {
                let there = accepted.as_bytes().get(bit) == Some(&b'1');
                ensure!(
                    there == form.features.contains(&bit),
                    "features: {accepted}"
                );
            }
            let before = Kicks::of(&backend, &guest, name)?;
            reach(&backend, &guest, name, form.peer)?;
            tcp_both_ways(&guest, form.peer, BYTES)?;
            agrees(&backend, &guest, name)?;
            notifies_as_often(before, Kicks::of(&backend, &guest, name)?)?;
            let counters = backend.counters(name)?;
            ensure!(sum(&counters, "errors") == 0, "{counters:#}");
            ensure!(sum(&counters, "twice") == 0, "{counters:#}");
            // The driver sends large frames, and takes them; the station verifies the pieces.
            ensure!(
                number(&counters["class"]["tx"], "large")? > 0,
                "{counters:#}"
            );
            ensure!(
                number(&counters["class"]["rx"], "large")? > 0,
                "{counters:#}"
            );
            let peer = backend.counters(&format!("{name}-peer"))?;
            ensure!(number(&peer, "malformed")? == 0, "{peer:#}");
            Ok(())
        });
    }
    cx.end(&guest)
}

/// Compares what both ends have counted of an interface that is quiet, but for what the kernel sends on
/// its own: that may come between the looks at the two ends, but not each time.
fn agrees(backend: &Backend, guest: &Guest, name: &str) -> Result<()> {
    const LOOKS: u32 = 8;
    let mut agreed = agrees_now(backend, guest, name);
    for _ in 1..LOOKS {
        if agreed.is_ok() {
            break;
        }
        agreed = agrees_now(backend, guest, name);
    }
    agreed
}

fn agrees_now(backend: &Backend, guest: &Guest, name: &str) -> Result<()> {
    let text = guest.sh(&format!(
        "sleep 0.5; cd /sys/class/net/{name}/statistics
         cat rx_packets rx_bytes tx_packets tx_bytes rx_dropped rx_errors"
    ))?;
    let there: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
    let counters = backend.counters(name)?;
    let (rx, tx) = (&counters["class"]["rx"], &counters["class"]["tx"]);
    let here = [
        number(rx, "frames")?,
        number(rx, "bytes")?,
        number(tx, "frames")?,
        number(tx, "bytes")?,
    ];
    ensure!(
        there.get(..2) == Some(&here[..2]),
        "received: the guest counts {there:?}, the backend {here:?}"
    );
    ensure!(
        there.get(2..4) == Some(&here[2..4]),
        "transmitted: the guest counts {there:?}, the backend {here:?}"
    );
    ensure!(
        there.get(4..) == Some(&[0, 0]),
        "dropped, errors: {there:?}"
    );
    let port = &backend.device("switch", "counters", json!({}))?["ports"][name];
    ensure!(number(port, "in_frames")? == here[2], "{port:#}");
    Ok(())
}

/// What has notified the queues of a pair, as one end counts it.
struct Kicks {
    receive: u64,
    transmit: u64,
}

impl Kicks {
    /// Returns what the driver and the backend have counted until now.
    fn of(backend: &Backend, guest: &Guest, name: &str) -> Result<[Self; 2]> {
        let text = guest.sh(&format!(
            "ethtool -S {name} | awk '/rx0_kicks|tx0_kicks/ {{ print $2 }}'"
        ))?;
        let there: Vec<u64> = text.split_whitespace().flat_map(str::parse).collect();
        let [receive, transmit] = there[..] else {
            bail!("ethtool says {text}")
        };
        let counters = backend.counters(name)?;
        let here = |queue: usize| number(&counters["queues"][queue], "kicks");
        Ok([
            Self { receive, transmit },
            Self {
                receive: here(0)?,
                transmit: here(1)?,
            },
        ])
    }
}

/// Compares how often both ends say that queues were notified since `before`. QEMU does that, too,
/// when it starts a device; so it is not compared from the beginning on.
fn notifies_as_often(before: [Kicks; 2], after: [Kicks; 2]) -> Result<()> {
    let [there_before, here_before] = before;
    let [there_after, here_after] = after;
    let there = there_after.transmit - there_before.transmit;
    let here = here_after.transmit - here_before.transmit;
    // They come together if the backend has not looked in between.
    ensure!(
        here > 0 && here <= there,
        "the guest says {there} times that it has transmitted, the backend counts {here}"
    );
    let there = there_after.receive - there_before.receive;
    let here = here_after.receive - here_before.receive;
    // There may always be buffers, so that none of the two needs a notification.
    ensure!(
        here <= there,
        "the guest says {there} times that it has buffers, the backend counts {here}"
    );
    Ok(())
}
