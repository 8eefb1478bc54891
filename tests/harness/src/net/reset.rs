// SPDX-License-Identifier: GPL-2.0

//! A device that is reset while it is used: its function is, or it says that it cannot go on. What users
//! have set is as before, and no connection breaks.

use super::{
    filter::Port,
    lan::Lan,
    rig::{self, Driver, GUEST, Load, PEER, counter, resets, wait_for, works},
    wire::{Frame, Wire},
};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("net::reset::is_replayed_stock", |cx| is_replayed(cx, STOCK))
        .kernels(&[STOCK])
        .limit(200),
    Test::new("net::reset::is_replayed_debug", |cx| is_replayed(cx, DEBUG))
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(400),
    Test::new("net::reset::is_the_end_in_tree", is_the_end_in_tree).exhaustive(),
    Test::new("net::reset::is_asked_for_stock", |cx| {
        is_asked_for(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::reset::is_asked_for_debug", |cx| {
        is_asked_for(cx, DEBUG, Driver::Ours)
    })
    .kernels(&[DEBUG])
    .limit(300),
    Test::new("net::reset::is_asked_for_in_tree", |cx| {
        is_asked_for(cx, STOCK, Driver::InTree)
    })
    .limit(150),
];

/// Where the function of a device can be reset.
const PORT: &str = "pcie-root-port,id=port0,chassis=1,slot=1";

/// What resets the function of the device of `$nic`.
const RESET: &str = "echo 1 >/sys/class/net/$nic/device/../reset";

/// How often that is done under traffic.
const ROUNDS: u32 = 5;

/// A station that is not the guest, two groups, and an address that the guest takes.
const OTHER: [u8; 6] = [0x52, 0x54, 0, 9, 0xee, 1];
const GROUP: [u8; 6] = [1, 0, 0x5e, 1, 2, 3];
const GROUP2: [u8; 6] = [1, 0, 0x5e, 1, 2, 4];
const MOVED: [u8; 6] = [0x52, 0x54, 0, 9, 0xdd, 1];

/// What `ethtool` tells of what can be set.
const SETTINGS: &str = "for i in -l -g -k ''; do ethtool $i $nic || exit; done
     cat /sys/class/net/$nic/mtu /sys/class/net/$nic/address";

/// What is set, seen on the wire and in the guest, before a reset and after it.
fn is_replayed(cx: &mut Cx, flavour: &str) -> Result<()> {
    let driver = Driver::Ours;
    let wire = Wire::new(0)?;
    let builder = driver.builder(cx, flavour)?.name("wire");
    let builder = builder.kernel_module("8021q").tool("bridge").device(PORT);
    let guest = cx.boot(&wire.connect(builder, ",bus=port0"))?;
    let nic = rig::load(&guest, driver)?;
    guest.sh("modprobe 8021q 2>/dev/null || true")?;
    let port = Port {
        guest: &guest,
        wire: &wire,
        nic,
    };
    for (name, case) in [
        ("addresses", addresses as fn(&Port<'_>) -> Result<()>),
        ("vlans", vlans),
        ("promiscuous", promiscuous),
        ("all_groups", all_groups),
        ("moved", moved),
    ] {
        cx.case(name, |_| case(&port));
    }
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)?;

    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 4)?;
    let builder = driver.builder(cx, flavour)?.cpus(4).device(PORT);
    let options = ",mq=on,rx_queue_size=1024,bus=port0";
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", options))?;
    let nic = rig::load(&guest, driver)?;
    guest.sh("netcheck serve >/tmp/serve 2>&1 &")?;
    cx.case("settings", |_| settings(&guest, &lan, &nic));
    cx.case("traffic", |_| traffic(&guest, &nic));
    cx.case("nothing_is_wrong", |_| {
        lan.check()?;
        rig::checksums_are_right(&guest)
    });
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)
}

/// The kernel's own driver does not know of the reset: its network is gone.
fn is_the_end_in_tree(cx: &mut Cx) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 1)?;
    let builder = Driver::InTree.builder(cx, STOCK)?.device(PORT);
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", ",bus=port0"))?;
    let nic = rig::load(&guest, Driver::InTree)?;
    works(&guest)?;
    guest.sh(&format!("nic={nic}; {RESET}"))?;
    is_gone(&guest)?;
    guest.kill();
    Ok(())
}

/// Fails if the network works.
fn is_gone(guest: &Guest) -> Result<()> {
    // What a device has taken out of a ring by now, it still does.
    let said = guest.run(&format!(
        "ping -c 300 -i 0.01 -W 1 {PEER} >/dev/null; ping -c 3 -W 1 {PEER}"
    ))?;
    ensure!(said.status != 0, "the network works: {}", said.text);
    Ok(())
}

/// Has the same arrive before and after a reset.
fn same(port: &Port<'_>, frames: &[Frame], expected: &str) -> Result<()> {
    port.gets("true", frames, expected)?;
    port.gets(RESET, frames, expected)
}

fn addresses(port: &Port<'_>) -> Result<()> {
    port.sh(
        "bridge fdb add 52:54:00:09:ee:01 dev $nic self && ip maddr add 01:00:5e:01:02:03 dev $nic",
    )?;
    let frames = [
        Frame::new(port.wire.station(), "mine"),
        Frame::new(OTHER, "other"),
        Frame::new(GROUP, "group"),
        Frame::new(GROUP2, "second"),
    ];
    same(port, &frames, "mine 60, other 60, group 60")?;
    port.sh(
        "bridge fdb del 52:54:00:09:ee:01 dev $nic self && ip maddr del 01:00:5e:01:02:03 dev $nic",
    )?;
    Ok(())
}

fn vlans(port: &Port<'_>) -> Result<()> {
    port.sh("ip link add link $nic name five type vlan id 5 && ip link set five up")?;
    let mine = port.wire.station();
    let frames = [
        Frame::new(mine, "untagged"),
        Frame::new(mine, "v5").vlan(5),
        Frame::new(mine, "v6").vlan(6),
    ];
    let done = same(port, &frames, "untagged 60, v5 60, v5 60");
    port.sh("ip link del five")?;
    done
}

fn promiscuous(port: &Port<'_>) -> Result<()> {
    let frames = [Frame::new(OTHER, "other"), Frame::new(GROUP2, "group")];
    port.sh("ip link set $nic promisc on")?;
    let done = same(port, &frames, "other 60, group 60");
    port.sh("ip link set $nic promisc off")?;
    done?;
    same(port, &frames, "")
}

fn all_groups(port: &Port<'_>) -> Result<()> {
    let frames = [Frame::new(OTHER, "other"), Frame::new(GROUP2, "group")];
    port.sh("ip link set $nic allmulticast on")?;
    let done = same(port, &frames, "group 60");
    port.sh("ip link set $nic allmulticast off")?;
    done
}

fn moved(port: &Port<'_>) -> Result<()> {
    let frames = [
        Frame::new(MOVED, "new"),
        Frame::new(port.wire.station(), "old"),
    ];
    port.sh("ip link set $nic address 52:54:00:09:dd:01")?;
    let done = same(port, &frames, "new 60");
    port.sh("ip link set $nic address 52:54:00:09:00:00")?;
    done
}

/// How many queues are used, how large the rings are, what is offloaded, and the rest.
fn settings(guest: &Guest, lan: &Lan, nic: &str) -> Result<()> {
    guest.sh(&format!(
        "ethtool -L {nic} combined 3 && ethtool -G {nic} rx 512 tx 128 &&
         ethtool -K {nic} rx-gro-hw off tso off && ethtool -s {nic} speed 2500 duplex full &&
         ip link set {nic} mtu 1400"
    ))?;
    let told = |text: &str| guest.sh(&format!("nic={nic}; {text}"));
    let before = told(SETTINGS)?;
    told(RESET)?;
    works(guest)?;
    let after = told(SETTINGS)?;
    ensure!(
        before == after,
        "before the reset: {before}\nand after it: {after}"
    );
    // The device itself knows that it is to cut what it gives to the guest.
    let send = || {
        lan.netcheck(&format!("tcp {GUEST} --up 400000"))
            .map(|_| ())
    };
    let size = lan.frame_size("tap0", false, send)?;
    ensure!(size <= 1514, "frames from the peer have {size} bytes");
    guest.sh(&format!(
        "ethtool -L {nic} combined 4 && ethtool -K {nic} rx-gro-hw on tso on && ip link set {nic} mtu 1500"
    ))?;
    Ok(())
}

/// No connection breaks.
fn traffic(guest: &Guest, nic: &str) -> Result<()> {
    let load = Load::start(guest, 25)?;
    for _ in 0..ROUNDS {
        guest.sh(&format!("nic={nic}; {RESET}; usleep 500000"))?;
    }
    works(guest)?;
    load.finish_whole()
}

/// A ring has a descriptor in it that cannot be (`tests/guest/modules/mislead.c`): the device says that it
/// needs a reset, and gets one from our driver. That of the kernel does not look.
fn is_asked_for(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 1)?;
    let builder = driver.builder(cx, flavour)?.module("mislead")?;
    let options = ",disable-legacy=on";
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", options))?;
    let nic = rig::load(&guest, driver)?;
    // Where frames are received, a driver soon has written over it.
    for (name, queue) in [("transmit", 1), ("control", 2)] {
        cx.case(name, |_| asks(&guest, &nic, driver, queue));
    }
    if driver == Driver::Ours {
        cx.case("traffic", |_| asks_under_traffic(&guest, &nic));
    }
    cx.case("nothing_is_wrong", |_| lan.check());
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)
}

fn asks(guest: &Guest, nic: &str, driver: Driver, queue: u32) -> Result<()> {
    works(guest)?;
    let before = match driver {
        Driver::Ours => resets(guest, nic)?,
        Driver::InTree => 0,
    };
    mislead(guest, queue)?;
    match driver {
        Driver::Ours => {
            wait_for(guest, &format!("[ $({}) -gt {before} ]", counter(nic)))?;
            works(guest)
        }
        Driver::InTree => {
            is_gone(guest)?;
            guest.sh(
                "cd /sys/bus/virtio/drivers/virtio_net && echo virtio0 >unbind &&
                 echo virtio0 >bind && up 0",
            )?;
            // It stands still, which the core may notice before it is taken away.
            guest.excuse(&["virtio_net virtio0 eth0: NETDEV WATCHDOG"])
        }
    }
}

/// Not each is seen: the driver may write over it before the device looks.
fn asks_under_traffic(guest: &Guest, nic: &str) -> Result<()> {
    let before = resets(guest, nic)?;
    let load = Load::start(guest, 25)?;
    for _ in 0..ROUNDS {
        mislead(guest, 1)?;
        guest.sh("usleep 500000")?;
    }
    works(guest)?;
    load.finish_whole()?;
    let after = resets(guest, nic)?;
    ensure!(after > before, "the device was not reset");
    Ok(())
}

fn mislead(guest: &Guest, queue: u32) -> Result<()> {
    guest.sh(&format!(
        "modprobe mislead type=1 queue={queue} && rmmod mislead"
    ))?;
    Ok(())
}
