// SPDX-License-Identifier: GPL-2.0

//! What a device is told to let pass, seen on the wire: addresses, VLANs, checksums, sizes.

use super::{
    rig::Driver,
    wire::{BROADCAST, Frame, SOURCE, Wire, received},
};
use crate::{cx::Cx, guest::Guest};
use anyhow::{Context, Result, bail, ensure};
use etherparse::{PacketBuilder, SlicedPacket, TransportSlice};
use netcheck::pattern::{answer, datagram};
use serde_json::json;
use std::{thread, time::Duration};

/// A station that is not the guest, and two groups.
const OTHER: [u8; 6] = [0x52, 0x54, 0, 9, 0xee, 1];
const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];
const GROUP2: [u8; 6] = [1, 0, 0x5e, 1, 2, 4];

/// An address that the guest takes.
const MOVED: [u8; 6] = [0x52, 0x54, 0, 9, 0xdd, 1];

/// More groups than QEMU's table holds (64).
const GROUPS: u8 = 80;

/// How often frames are sent until the filter is as it was asked for.
const SETTLES: u32 = 5;

/// Receive buffers for a single frame.
const SMALL: &str = ",mrg_rxbuf=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_uso4=off,guest_uso6=off";

/// The interface of the guest that is tried.
pub struct Port<'a> {
    pub guest: &'a Guest,
    pub wire: &'a Wire,
    /// Its name.
    pub nic: String,
}

impl Port<'_> {
    /// Runs a command in which `$nic` is the interface, and fails unless exactly these texts arrive.
    /// What is seen twice is seen in no order: the kernel takes frames from the device in batches.
    pub fn gets(&self, command: &str, frames: &[Frame], expected: &str) -> Result<()> {
        self.sh(command)?;
        // A driver may tell the device later than the command ends.
        let mut said = String::new();
        for _ in 0..SETTLES {
            said = received(self.wire, self.guest, frames)?;
            if sorted(&said) == sorted(expected) {
                break;
            }
        }
        ensure!(
            sorted(&said) == sorted(expected),
            "after '{command}', the guest gets '{said}' instead of '{expected}'"
        );
        Ok(())
    }

    /// Runs a command in which `$nic` is the interface.
    pub fn sh(&self, command: &str) -> Result<String> {
        self.guest.sh(&format!("nic={}; {command}", self.nic))
    }
}

fn sorted(texts: &str) -> Vec<&str> {
    let mut texts: Vec<_> = texts.split(", ").collect();
    texts.sort_unstable();
    texts
}

/// What is tried.
type Case = fn(&Port<'_>) -> Result<()>;

/// Tries everything, first with receive buffers that are merged, then with small ones.
pub fn lets_pass(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let wires = [Wire::new(0)?, Wire::new(1)?];
    let mut builder = driver
        .builder(cx, flavour)?
        .kernel_module("8021q")
        .tool("bridge");
    for (wire, options) in wires.iter().zip(["", SMALL]) {
        builder = wire.connect(builder, options);
    }
    let guest = cx.boot(&builder)?;
    guest.sh(&format!(
        "modprobe {}; modprobe 8021q 2>/dev/null
         netcheck serve >/tmp/serve 2>&1 &",
        driver.module()
    ))?;

    for (number, (wire, form)) in wires.iter().zip(["merged", "small"]).enumerate() {
        let nic = guest.sh(&format!("up {number} && nic {number}"))?;
        let port = Port {
            guest: &guest,
            wire,
            nic: nic.trim().to_owned(),
        };
        let cases: [(&str, Case); 10] = [
            ("addresses", addresses),
            ("promiscuous", promiscuous),
            ("groups", groups),
            ("many_groups", many_groups),
            ("moves", moves),
            ("vlans", vlans),
            ("tagged_data", tagged_data),
            ("checksums", checksums),
            ("sizes", sizes),
            ("announces", announces),
        ];
        for (name, case) in cases {
            cx.case(&format!("{form}/{name}"), |_| case(&port));
        }
        port.sh("ip addr flush dev $nic && ip link set $nic down")?;
    }
    let said = guest.sh("cat /tmp/serve")?;
    ensure!(!said.contains("CORRUPT"), "the guest's server says {said}");
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)
}

fn addresses(port: &Port<'_>) -> Result<()> {
    let frames = || {
        [
            Frame::new(port.wire.station(), "mine"),
            Frame::new(OTHER, "other"),
            Frame::new(BROADCAST, "all"),
        ]
    };
    port.gets("true", &frames(), "mine 60, all 60")?;
    port.gets(
        "bridge fdb add 52:54:00:09:ee:01 dev $nic self",
        &frames(),
        "mine 60, other 60, all 60",
    )?;
    port.gets(
        "bridge fdb del 52:54:00:09:ee:01 dev $nic self",
        &frames(),
        "mine 60, all 60",
    )
}

fn promiscuous(port: &Port<'_>) -> Result<()> {
    let frames = || [Frame::new(OTHER, "other"), Frame::new(GROUP2, "group")];
    port.gets(
        "ip link set $nic promisc on",
        &frames(),
        "other 60, group 60",
    )?;
    port.gets("ip link set $nic promisc off", &frames(), "")
}

fn groups(port: &Port<'_>) -> Result<()> {
    let frames = || [Frame::new(GROUP, "group"), Frame::new(GROUP2, "second")];
    let maddr = "01:00:5e:01:02:03 dev $nic";
    port.gets("true", &frames(), "")?;
    port.gets(&format!("ip maddr add {maddr}"), &frames(), "group 60")?;
    port.gets(
        "ip link set $nic allmulticast on",
        &frames(),
        "group 60, second 60",
    )?;
    port.gets("ip link set $nic allmulticast off", &frames(), "group 60")?;
    // The device is told again when it is opened again.
    port.gets(
        "ip link set $nic down && ip link set $nic up",
        &frames(),
        "group 60",
    )?;
    port.gets(&format!("ip maddr del {maddr}"), &frames(), "")
}

/// The device holds fewer addresses than these, or the driver: none may be lost for that.
fn many_groups(port: &Port<'_>) -> Result<()> {
    let frames: Vec<_> = (0..GROUPS)
        .map(|group| Frame::new([1, 0, 0x5e, 7, 7, group], &format!("g{group}")))
        .collect();
    let expected: Vec<_> = (0..GROUPS).map(|group| format!("g{group} 60")).collect();
    let each = |what: &str| {
        format!(
            "for i in $(seq 0 {}); do ip maddr {what} $(printf 01:00:5e:07:07:%02x $i) dev $nic; done",
            GROUPS - 1
        )
    };
    port.gets(&each("add"), &frames, &expected.join(", "))?;
    port.gets(&each("del"), &frames, "")
}

/// The interface takes another address.
fn moves(port: &Port<'_>) -> Result<()> {
    let frames = || {
        [
            Frame::new(MOVED, "new"),
            Frame::new(port.wire.station(), "old"),
        ]
    };
    port.gets(
        "ip link set $nic address 52:54:00:09:dd:01",
        &frames(),
        "new 60",
    )?;
    port.gets(
        &format!(
            "ip link set $nic address 52:54:00:09:00:{:02x}",
            port.wire.station()[5]
        ),
        &frames(),
        "old 60",
    )
}

fn vlans(port: &Port<'_>) -> Result<()> {
    let mine = port.wire.station();
    let frames = || {
        let mut frames = vec![Frame::new(mine, "untagged")];
        for vlan in [1, 5, 6, 4094] {
            frames.push(Frame::new(mine, &format!("v{vlan}")).vlan(vlan));
        }
        frames
    };
    // The kernel takes the tag off before anybody sees the frame. It passes where a VLAN has the tag,
    // once as a frame of the interface, and once as one of the VLAN.
    port.gets("true", &frames(), "untagged 60")?;
    port.gets(
        "ip link add link $nic name five type vlan id 5 && ip link set five up",
        &frames(),
        "untagged 60, v5 60, v5 60",
    )?;
    port.gets(
        "ip link add link $nic name last type vlan id 4094 && ip link set last up",
        &frames(),
        "untagged 60, v5 60, v5 60, v4094 60, v4094 60",
    )?;
    // The device is told again when it is opened again.
    port.gets(
        "ip link del last && ip link set $nic down && ip link set $nic up && ip link set five up",
        &frames(),
        "untagged 60, v5 60, v5 60",
    )?;
    port.gets("ip link del five", &frames(), "untagged 60")
}

/// Datagrams with a tag are answered with the same tag, and right checksums.
fn tagged_data(port: &Port<'_>) -> Result<()> {
    let mac = "52:54:00:09:ff:01";
    port.sh(&format!(
        "ip link add link $nic name five type vlan id 5 && ip link set five up &&
         ip addr add 10.9.5.2/24 dev five && ip neigh replace 10.9.5.1 lladdr {mac} dev five"
    ))?;
    let done = [0, 1, 18, 64, 1000, 1472].into_iter().try_for_each(|size| {
        let packet = PacketBuilder::ethernet2(SOURCE, port.wire.station())
            .single_vlan(5.try_into()?)
            .ipv4([10, 9, 5, 1], [10, 9, 5, 2], 64)
            .udp(7777, 7000);
        let mut frame = Vec::new();
        packet.write(&mut frame, &datagram(size))?;
        answers(port, &frame, size, Some(5))
    });
    port.sh("ip link del five")?;
    done
}

/// Gives a frame with a datagram of netcheck to the guest, and fails unless it is answered right.
fn answers(port: &Port<'_>, frame: &[u8], size: usize, vlan: Option<u16>) -> Result<()> {
    port.wire.clear();
    port.wire.give(frame)?;
    let what = format!("the answer to a datagram of {size} bytes");
    let said = port.wire.take(&what, |frame| {
        let packet = SlicedPacket::from_ethernet(frame).ok()?;
        match packet.transport {
            Some(TransportSlice::Udp(ref udp)) if udp.destination_port() == 7777 => {
                Some(examine(frame, &packet, size, vlan))
            }
            _ => None,
        }
    })?;
    said.with_context(|| what)
}

/// Fails unless a frame is the answer to a datagram of this size.
fn examine(frame: &[u8], packet: &SlicedPacket<'_>, size: usize, vlan: Option<u16>) -> Result<()> {
    let Some(TransportSlice::Udp(ref udp)) = packet.transport else {
        bail!("it is not a datagram");
    };
    let tag = packet.vlan_ids().first().map(|tag| u16::from(*tag));
    ensure!(tag == vlan, "its tag is {tag:?}");
    ensure!(frame.get(..6) == Some(&SOURCE), "it is for another station");
    ensure!(udp.payload() == answer(size), "its data is wrong");
    let right = match &packet.net {
        Some(etherparse::NetSlice::Ipv4(ip)) => udp
            .to_header()
            .calc_checksum_ipv4(&ip.header().to_header(), udp.payload())?,
        Some(etherparse::NetSlice::Ipv6(ip)) => udp
            .to_header()
            .calc_checksum_ipv6(&ip.header().to_header(), udp.payload())?,
        _ => bail!("it has no addresses"),
    };
    ensure!(
        udp.checksum() == right,
        "its checksum is {:#x} instead of {right:#x}",
        udp.checksum()
    );
    Ok(())
}

/// A device that says nothing of checksums has them looked at: what is wrong is dropped, and counted.
fn checksums(port: &Port<'_>) -> Result<()> {
    let mac = "52:54:00:09:ff:01";
    port.sh(&format!(
        "ip addr replace 10.9.0.2/24 dev $nic && ip addr replace fd09::2/64 dev $nic nodad &&
         ip neigh replace 10.9.0.1 lladdr {mac} dev $nic &&
         ip neigh replace fd09::1 lladdr {mac} dev $nic"
    ))?;
    let mine = port.wire.station();
    let there = |last: u8| {
        let mut address = [0; 16];
        [address[0], address[1], address[15]] = [0xfd, 9, last];
        address
    };
    for size in [1, 64, 1400] {
        let data = datagram(size);
        let mut frames = [Vec::new(), Vec::new()];
        PacketBuilder::ethernet2(SOURCE, mine)
            .ipv4([10, 9, 0, 1], [10, 9, 0, 2], 64)
            .udp(7777, 7000)
            .write(&mut frames[0], &data)?;
        PacketBuilder::ethernet2(SOURCE, mine)
            .ipv6(there(1), there(2), 64)
            .udp(7777, 7000)
            .write(&mut frames[1], &data)?;
        for mut frame in frames {
            answers(port, &frame, size, None)?;
            let before = wrong(port)?;
            // The last byte of the data.
            if let Some(byte) = frame.last_mut() {
                *byte ^= 0x10;
            }
            port.wire.give(&frame)?;
            *frame.last_mut().context("an empty frame")? ^= 0x10;
            // The wire keeps the order: when this has come, that has come.
            answers(port, &frame, size, None)?;
            let after = wrong(port)?;
            ensure!(
                after == before + 1,
                "{} datagrams of {size} bytes count as wrong instead of 1",
                after - before
            );
        }
    }
    Ok(())
}

/// Returns how many packets the guest has dropped for their checksum.
fn wrong(port: &Port<'_>) -> Result<u64> {
    Ok(port.guest.sh(super::lan::CHECKSUM_ERRORS)?.trim().parse()?)
}

/// The guest tells the network where it is when the device asks it to, as after a migration; and again,
/// as it acknowledges that.
fn announces(port: &Port<'_>) -> Result<()> {
    port.sh("ip addr replace 10.9.0.2/24 dev $nic")?;
    for _ in 0..2 {
        // Two at once are one.
        thread::sleep(Duration::from_secs(1));
        port.wire.clear();
        port.guest.qmp(
            "announce-self",
            json!({ "initial": 50, "max": 100, "rounds": 1, "step": 50 }),
        )?;
        port.wire.take("an announcement", |frame| {
            // An ARP packet to all, of which both addresses are the guest's.
            let is_of_guest = |at: usize| frame.get(at..at + 4) == Some(&[10, 9, 0, 2]);
            let is_to_all = frame.starts_with(&BROADCAST) && frame.get(12..14) == Some(&[8, 6]);
            (is_to_all && is_of_guest(28) && is_of_guest(38)).then_some(())
        })?;
    }
    Ok(())
}

/// Frames of all sizes, even shorter than a wire has them; and longer ones than a driver must take,
/// after which others still arrive.
fn sizes(port: &Port<'_>) -> Result<()> {
    let mine = port.wire.station();
    let sizes = [19, 59, 60, 61, 127, 128, 1023, 1513, 1514];
    let frames: Vec<_> = sizes
        .iter()
        .map(|&size| Frame::new(mine, &format!("s{size}")).size(size))
        .collect();
    let expected: Vec<_> = sizes
        .iter()
        .map(|&size| format!("s{size} {size}"))
        .collect();
    port.gets("true", &frames, &expected.join(", "))?;

    let frames: Vec<_> = [1519, 4096, 9014, 60000]
        .iter()
        .map(|&size| Frame::new(mine, "long").size(size))
        .collect();
    let said = received(port.wire, port.guest, &frames)?;
    ensure!(!said.contains("CORRUPT"), "the guest gets {said}");
    port.gets("true", &[Frame::new(mine, "after")], "after 60")
}
