// SPDX-License-Identifier: GPL-2.0

//! What is sent arrives, on every form of the device: pings, datagrams, streams, in both directions,
//! of all sizes.

use super::{
    lan::{Lan, TAP_MTU},
    rig::{self, Driver, GUEST, GUEST6, PEER, PEER6},
};
use crate::{cx::Cx, guest::Guest, kernel::DEBUG, paths, program::Program};
use anyhow::{Result, ensure};
use std::process::Command;

/// A form of the device.
struct Form {
    name: &'static str,
    queues: u32,
    options: &'static str,
}

const FORMS: &[Form] = &[
    Form {
        name: "transitional",
        queues: 1,
        options: "",
    },
    Form {
        name: "modern",
        queues: 4,
        options: ",disable-legacy=on,mq=on",
    },
    Form {
        name: "legacy",
        queues: 1,
        options: ",disable-modern=on,disable-legacy=off",
    },
    Form {
        name: "packed",
        queues: 2,
        options: ",packed=on,mq=on",
    },
    Form {
        name: "in_order",
        queues: 1,
        options: ",in_order=on",
    },
    Form {
        name: "plain_ring",
        queues: 1,
        options: ",indirect_desc=off,event_idx=off",
    },
    // Receive buffers of one frame, of one page chain, and in between: see the names in virtio 1.3,
    // 5.1.6.3.1.
    Form {
        name: "small_buffers",
        queues: 1,
        options: ",mrg_rxbuf=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_uso4=off,guest_uso6=off",
    },
    Form {
        name: "big_buffers",
        queues: 1,
        options: ",mrg_rxbuf=off",
    },
    Form {
        name: "nothing_offloaded",
        queues: 1,
        options: ",csum=off,gso=off,guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_uso4=off,guest_uso6=off,host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,host_uso=off,status=off,ctrl_vq=off,ctrl_rx=off,ctrl_rx_extra=off,ctrl_vlan=off,ctrl_mac_addr=off,ctrl_guest_offloads=off,guest_announce=off",
    },
];

/// Sizes of datagrams around what a frame, a page, several fragments, and a packet can hold.
const SIZES: &str = "0 1 2 17 18 19 59 60 61 1023 1445 1451 1452 1453 1471 1472 1473 1474 1480 2951 2952 \
                     2953 4095 4096 8972 8973 16384 32767 65507";

/// The forms of which each is another way through the driver.
const WAYS: &[&str] = &["transitional", "packed", "small_buffers", "big_buffers"];

/// The forms that are also used with the shortest packets, and with long ones.
const LARGE: &[&str] = &["transitional", "packed", "big_buffers"];

/// Does everything on each form of the device, one after the other.
pub fn arrives(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    arrives_by(cx, flavour, driver, &FORMS.iter().collect::<Vec<_>>())
}

/// As above, on fewer forms.
pub fn arrives_by_each_way(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let forms: Vec<_> = FORMS
        .iter()
        .filter(|form| WAYS.contains(&form.name))
        .collect();
    arrives_by(cx, flavour, driver, &forms)
}

fn arrives_by(cx: &mut Cx, flavour: &str, driver: Driver, forms: &[&Form]) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let mut builder = driver.builder(cx, flavour)?.cpus(4);
    for (number, form) in forms.iter().enumerate() {
        let id = format!("tap{number}");
        let netdev = lan.tap(&id, form.queues)?;
        builder = rig::device(builder, number, &netdev, &id, form.options);
    }
    let user = forms.len();
    builder = rig::device(
        builder,
        user,
        "user,id=user,hostfwd=tcp:127.0.0.1:7100-:7000,hostfwd=udp:127.0.0.1:7100-:7000",
        "user",
        "",
    );
    let guest = cx.boot(&builder)?;
    guest.sh(&format!(
        "modprobe {}; netcheck serve >/tmp/serve 2>&1 &",
        driver.module()
    ))?;
    // Under the checks of the debug kernel, a byte costs a multiple.
    let bytes = if flavour == DEBUG { 1 << 20 } else { 6 << 20 };

    for (number, form) in forms.iter().enumerate() {
        guest.sh(&format!("up {number}"))?;
        cx.case(&format!("{}/ping", form.name), |_| pings(&guest, &lan));
        cx.case(&format!("{}/udp", form.name), |_| datagrams(&guest, &lan));
        cx.case(&format!("{}/tcp", form.name), |_| {
            streams(&guest, &lan, bytes)
        });
        if LARGE.contains(&form.name) {
            for mtu in [9000, 65535, 68] {
                cx.case(&format!("{}/mtu_{mtu}", form.name), |_| {
                    fits(&guest, &lan, number, mtu, bytes / 2)
                });
            }
        }
        guest.sh(&format!(
            "ip addr flush dev $(nic {number}) && ip link set $(nic {number}) down"
        ))?;
    }
    cx.case("transitional/every_size", |_| {
        let step = if flavour == DEBUG { 7 } else { 1 };
        guest.sh(&format!(
            "up 0 && netcheck udp {PEER} $(seq 0 {step} 1600) &&
             ip addr flush dev $(nic 0) && ip link set $(nic 0) down"
        ))?;
        Ok(())
    });
    cx.case("user", |cx| talks_to_qemu(cx, &guest, user, bytes));
    cx.case("nothing_is_wrong", |_| {
        lan.check()?;
        rig::checksums_are_right(&guest)?;
        let said = guest.sh("cat /tmp/serve")?;
        ensure!(!said.contains("CORRUPT"), "the guest's server says {said}");
        Ok(())
    });
    guest.sh(&format!(
        "rmmod {} && ! ls -d /sys/class/net/eth*",
        driver.module()
    ))?;
    cx.end(&guest)
}

fn pings(guest: &Guest, lan: &Lan) -> Result<()> {
    for size in [0, 56, 1472, 1473, 20000] {
        guest.sh(&format!(
            "ping -c 2 -i 0.1 -W 5 -s {size} {PEER} && ping -6 -c 2 -i 0.1 -W 5 -s {size} {PEER6}"
        ))?;
        lan.peer(&format!(
            "busybox ping -c 1 -W 5 -s {size} {GUEST} && busybox ping -6 -c 1 -W 5 -s {size} {GUEST6}"
        ))?;
    }
    Ok(())
}

fn datagrams(guest: &Guest, lan: &Lan) -> Result<()> {
    guest.sh(&format!("netcheck udp {PEER} {SIZES}"))?;
    guest.sh(&format!("netcheck udp {PEER6} {SIZES}"))?;
    lan.netcheck(&format!("udp {GUEST} {SIZES}"))?;
    Ok(())
}

/// Streams one way, the other way, and both; begun by the guest, and by the peer.
fn streams(guest: &Guest, lan: &Lan, bytes: u32) -> Result<()> {
    guest.sh(&format!(
        "netcheck tcp {PEER} --up {bytes} && netcheck tcp {PEER} --down {bytes} &&
         netcheck tcp {PEER6} --up {bytes} --down {bytes}"
    ))?;
    let half = bytes / 2;
    lan.netcheck(&format!("tcp {GUEST6} --up {half} --down {half}"))?;
    lan.netcheck(&format!("tcp {GUEST} --up {half} --down 1"))?;
    Ok(())
}

/// Uses an MTU at both ends, and goes back to the usual one.
fn fits(guest: &Guest, lan: &Lan, number: usize, mtu: u32, bytes: u32) -> Result<()> {
    guest.sh(&format!(
        "ip link set $(nic {number}) mtu {mtu} && up {number} || [ {mtu} -lt 1280 ]"
    ))?;
    // What the peer sends must pass the tap.
    lan.set_mtu(mtu, mtu.min(TAP_MTU))?;
    let done = if mtu < 1280 {
        guest
            .sh(&format!("netcheck udp {PEER} 0 1 19 20 40 41 300 1000"))
            .and_then(|_| lan.netcheck(&format!("udp {GUEST} 0 1 19 20 40 41 300 1000")))
            .map(|_| ())
    } else {
        datagrams(guest, lan).and_then(|()| streams(guest, lan, bytes))
    };
    guest.sh(&format!(
        "ip link set $(nic {number}) mtu 1500 && up {number}"
    ))?;
    lan.set_mtu(1500, 1500)?;
    done
}

/// Talks through QEMU's own network stack to a server beside QEMU, and the other way.
fn talks_to_qemu(cx: &Cx, guest: &Guest, number: usize, bytes: u32) -> Result<()> {
    let netcheck = paths::built("netcheck")?;
    let server = Program::spawn_to(
        Command::new(&netcheck).arg("serve"),
        &cx.artefacts().join("host.log"),
    )?;
    let half = bytes / 2;
    guest.sh(&format!(
        "nic=$(nic {number}) && ip link set $nic up &&
         ip addr add 10.0.2.15/24 dev $nic && ip addr add fec0::15/64 dev $nic nodad &&
         ping -c 2 -i 0.1 -W 5 10.0.2.2 && ping -6 -c 2 -i 0.1 -W 5 fec0::2 &&
         netcheck udp 10.0.2.2 0 1 18 1000 1472 1473 8000 &&
         netcheck udp fec0::2 1 18 1000 1452 &&
         netcheck tcp 10.0.2.2 --up {half} --down {half} &&
         netcheck tcp fec0::2 --up {half} --down {half}"
    ))?;
    for arguments in [
        "udp 127.0.0.1 --port 7100 1 18 1000 1472 1473".to_owned(),
        format!("tcp 127.0.0.1 --port 7100 --up {half} --down {half}"),
    ] {
        let output = Command::new(&netcheck)
            .args(arguments.split(' '))
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "netcheck {arguments} says {text}");
    }
    drop(server);
    Ok(())
}
