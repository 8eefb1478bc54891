// SPDX-License-Identifier: GPL-2.0

//! What the device says of itself, and what users say when they load the driver: the network device is
//! like that, and works.

use super::{
    lan::Lan,
    rig::{self, Driver, works},
};
use crate::{
    cx::{Cx, Test},
    guest::{Builder, Guest},
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("net::told::by_device_stock", |cx| {
        by_device(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::told::by_device_debug", |cx| {
        by_device(cx, DEBUG, Driver::Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::told::by_device_in_tree", |cx| {
        by_device(cx, STOCK, Driver::InTree)
    })
    .exhaustive()
    .limit(150),
    Test::new("net::told::by_users_stock", |cx| {
        by_users(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::told::claims_stock", claims).kernels(&[STOCK]),
    Test::new("net::told::by_users_debug", |cx| {
        by_users(cx, DEBUG, Driver::Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::told::by_users_in_tree", |cx| {
        by_users(cx, STOCK, Driver::InTree)
    })
    .exhaustive()
    .limit(150),
];

/// What fails unless `$nic`, which has QEMU's own network, works.
const PINGS: &str = "begins && ping -c 5 -i 0.1 -W 5 -s 900 10.0.2.2";

/// What begins to use it.
const BEGINS: &str = "begins() { ip link set $nic up && ip addr replace 10.0.2.15/24 dev $nic; }";

/// A device, and what has to be true of its interface `$nic`.
struct Device {
    name: &'static str,
    options: &'static str,
    commands: &'static str,
}

/// The interface gets another address, and works with it.
const MOVES: &str = "before=$(cat /sys/class/net/$nic/address)
     ip link set $nic address 52:54:00:09:0a:0a && pings && ip link set $nic address $before";

/// The device that lets only frames through that the driver has asked for, and knows the address with
/// which it began.
const FILTERED: &str = "address_filtered";

const DEVICES: &[Device] = &[
    Device {
        name: "large_frames",
        options: ",host_mtu=3000",
        commands: "[ $(cat /sys/class/net/$nic/mtu) = 3000 ] &&
             ! ip link set $nic mtu 3001 && ip link set $nic mtu 1400 && ip link set $nic mtu 3000",
    },
    Device {
        name: "small_frames",
        options: ",host_mtu=1000",
        commands: "[ $(cat /sys/class/net/$nic/mtu) = 1000 ] && ! ip link set $nic mtu 1500",
    },
    Device {
        name: "speed",
        options: ",speed=25000,duplex=full",
        // What a user says is believed more than what the device says.
        commands: "says() { ethtool $nic | grep -q \"$1: $2\"; }
             ip link set $nic up && usleep 300000
             says Speed 25000Mb/s && says Duplex Full &&
             ethtool -s $nic speed 100 duplex half && says Speed 100Mb/s && says Duplex Half",
    },
    Device {
        name: "no_speed",
        options: "",
        commands: "ip link set $nic up && usleep 300000
             ethtool $nic | grep -q 'Speed: Unknown' && ethtool $nic | grep -q 'Duplex: Unknown'",
    },
    Device {
        name: "one_interrupt",
        options: ",vectors=0",
        commands: "device=$(basename $(readlink -f /sys/class/net/$nic/device))
             grep -q \"IO-APIC.*[ ,]$device\\b\" /proc/interrupts",
    },
    Device {
        name: "two_interrupts",
        options: ",vectors=2",
        commands: "device=$(basename $(readlink -f /sys/class/net/$nic/device))
             [ $(grep -c \"MSI.*[ ,]$device-\" /proc/interrupts) = 2 ]",
    },
    Device {
        name: "address_written",
        options: ",disable-modern=on,disable-legacy=off,ctrl_mac_addr=off",
        commands: MOVES,
    },
    Device {
        name: FILTERED,
        options: ",disable-legacy=on,ctrl_mac_addr=off",
        commands: MOVES,
    },
    Device {
        name: "remapped",
        options: ",disable-legacy=on,iommu_platform=on",
        // The debug kernel cannot remap, and has the device take addresses as they are.
        commands:
            "[ -e /sys/class/net/$nic/device/../iommu_group ] || uname -r | grep -q debug || exit
             [ $(cut -c 34 /sys/class/net/$nic/device/features) = 1 ]",
    },
    Device {
        name: "remapped_packed",
        options: ",disable-legacy=on,iommu_platform=on,packed=on,mrg_rxbuf=off",
        commands: "[ $(cut -c 34,35 /sys/class/net/$nic/device/features) = 11 ]",
    },
];

/// Adds devices, which have QEMU's own network.
fn with_devices<'a>(mut builder: Builder, options: impl IntoIterator<Item = &'a str>) -> Builder {
    for (number, options) in options.into_iter().enumerate() {
        let id = format!("user{number}");
        let netdev = format!("user,restrict=on,id={id}");
        builder = rig::device(builder, number, &netdev, &id, options);
    }
    builder
}

fn by_device(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let options = DEVICES.iter().map(|device| device.options);
    let builder = with_devices(driver.builder(cx, flavour)?, options);
    // The devices that do not ask for it pass it by.
    let builder = builder
        .append("intel_iommu=on")
        .device("intel-iommu,intremap=off");
    let guest = cx.boot(&builder)?;
    guest.sh(&format!("modprobe {}", driver.module()))?;
    for (number, device) in DEVICES.iter().enumerate() {
        cx.case(device.name, |_| {
            let works = match driver {
                // It does not ask for those to another address.
                Driver::InTree if device.name == FILTERED => "begins && ! ping -c 5 -W 5 10.0.2.2",
                _ => PINGS,
            };
            guest.sh(&format!(
                "nic=$(nic {number}); {BEGINS}; pings() {{ {works}; }}
                 {}",
                device.commands
            ))?;
            pings(&guest, number)
        });
        guest.sh(&format!(
            "ip addr flush dev $(nic {number}); ip link set $(nic {number}) down"
        ))?;
    }
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)
}

fn pings(guest: &Guest, number: usize) -> Result<()> {
    guest.sh(&format!("nic=$(nic {number}); {BEGINS}; {PINGS}"))?;
    Ok(())
}

/// What users say, and what has to be true of interface `$nic`.
const SAYINGS: &[(&str, &str)] = &[
    (
        "",
        "has tx-checksumming on && has tcp-segmentation-offload on && [ $sent -ge 20 ]",
    ),
    (
        "csum=0",
        "has tx-checksumming off && has tcp-segmentation-offload off && has rx-checksumming on",
    ),
    (
        "gso=0",
        "has tx-checksumming on && has tcp-segmentation-offload off",
    ),
    ("napi_weight=1", "true"),
    // It interrupts only when the ring is full.
    ("napi_tx=0", "[ $sent -lt 4 ]"),
];

/// What prints how often the device of `$nic` interrupts for 100 frames that are sent. Nobody answers:
/// an answer would have the driver look for what was sent, too, before the device says so.
const SENT: &str = "
     device=$(basename $(readlink -f /sys/class/net/$nic/device))
     interrupts() {
         awk -v name=\"$device-output\" 'index($NF, name) == 1 {
             for (i = 2; i <= 5; i++) sum += $i } END { print sum + 0 }' /proc/interrupts
     }
     ip neigh replace 10.9.0.77 lladdr 02:00:00:00:00:77 nud permanent dev $nic &&
         before=$(interrupts) && { ! ping -q -c 100 -i 0.01 -W 1 10.9.0.77 >/dev/null; } &&
         echo $(($(interrupts) - before))";

/// The driver is loaded with each parameter.
fn by_users(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 4)?;
    let builder = driver.builder(cx, flavour)?.cpus(4);
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", ",mq=on"))?;
    let module = driver.module();
    for (saying, commands) in SAYINGS {
        let name = if saying.is_empty() { "nothing" } else { saying };
        let commands = match driver {
            // It has the device complete checksums nevertheless.
            Driver::InTree if *saying == "csum=0" => "has tx-checksumming on",
            _ => commands,
        };
        cx.case(name, |_| {
            guest.sh(&format!("modprobe {module} {saying} && up 0"))?;
            works(&guest)?;
            guest.sh(&format!(
                "nic=$(nic 0); has() {{ ethtool -k $nic | grep -q \"^$1: $2\"; }}
                 sent=$({SENT}) || exit
                 {commands}"
            ))?;
            Ok(())
        });
        guest.sh(&format!("rmmod {module}"))?;
    }
    cx.case("queues", |_| {
        rig::load(&guest, driver)?;
        queues(&guest)
    });
    cx.case("interrupts", |_| interrupts(&guest));
    guest.sh(&format!("rmmod {module}"))?;
    cx.case("nothing_is_wrong", |_| {
        lan.check()?;
        rig::checksums_are_right(&guest)
    });
    cx.end(&guest)
}

/// Each CPU has a queue of its own to send by, which holds back what is too much.
fn queues(guest: &Guest) -> Result<()> {
    works(guest)?;
    guest.sh(&format!(
        "netcheck tcp {} --up 3000000 || exit
         cd /sys/class/net/$(nic 0)/queues && limited=0
         for i in 0 1 2 3; do
             [ $((0x$(cat tx-$i/xps_cpus))) = $((1 << i)) ] || {{ cat tx-*/xps_cpus; exit 1; }}
             [ $(cat tx-$i/byte_queue_limits/inflight) = 0 ] ||
                 {{ sleep 1; [ $(cat tx-$i/byte_queue_limits/inflight) = 0 ]; }} || exit
             [ $(cat tx-$i/byte_queue_limits/limit) = 0 ] || limited=1
         done
         [ $limited = 1 ]",
        rig::PEER
    ))?;
    Ok(())
}

/// The device interrupts for frames that are sent, or for none, as users say while nothing is sent.
fn interrupts(guest: &Guest) -> Result<()> {
    guest.sh(&format!(
        "nic=$(nic 0); says() {{ ethtool -c $nic | grep -qw \"$1-frames:.$2\"; }}
         says rx 1 && says tx 1 && ! ethtool -C $nic tx-frames 0 2>/dev/null || exit
         for i in 0 1 0 1; do
             ip link set $nic down && ethtool -C $nic tx-frames $i && says tx $i && up $nic || exit
             sent=$({SENT}) || exit
             if [ $i = 1 ]; then [ $sent -ge 20 ]; else [ $sent -lt 4 ]; fi ||
                 {{ echo $sent interrupts; exit 1; }}
             netcheck tcp {PEER} --up 300000 --down 300000 || exit
         done
         ! ethtool -C $nic rx-frames 7 2>/dev/null && ! ethtool -C $nic tx-frames 2 2>/dev/null",
        PEER = rig::PEER
    ))?;
    works(guest)
}

/// The driver takes the devices that are claimed, by their addresses, and leaves the others alone.
fn claims(cx: &mut Cx) -> Result<()> {
    let builder = rig::tools(cx.kernel(STOCK)?)?.module_as_is(Driver::Ours.module())?;
    let guest = cx.boot(&with_devices(builder, ["", ""]))?;
    for (name, claim, expected) in [
        ("nothing", "", ""),
        ("none", "claim=none", ""),
        ("first", "claim=mac:52:54:00:09:00:00", "virtio0 "),
        ("second", "claim=mac:52:54:00:09:00:01", "virtio1 "),
        ("other", "claim=mac:52:54:00:09:00:02", ""),
        (
            "both",
            "claim=mac:52:54:00:09:00:01,mac:52:54:00:09:00:00",
            "virtio0 virtio1 ",
        ),
        ("all", "claim=all", "virtio0 virtio1 "),
    ] {
        cx.case(name, |_| {
            let said = guest.sh(&format!(
                "modprobe virtio_net_rs {claim} && cd /sys/bus/virtio/drivers/virtio_net_rs &&
                 for i in virtio?; do [ ! -e $i ] || printf '%s ' $i; done; cd /; rmmod virtio_net_rs"
            ))?;
            ensure!(said == expected, "it takes {said}");
            Ok(())
        });
    }
    cx.end(&guest)
}
