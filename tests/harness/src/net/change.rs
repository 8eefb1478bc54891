// SPDX-License-Identifier: GPL-2.0

//! What is changed while traffic goes on: it goes on, and no connection breaks.

use super::{
    lan::Lan,
    rig::{self, Driver, GUEST, GUEST6, Load, PEER, wait_for, works},
};
use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, bail, ensure};
use serde_json::json;
use std::{thread, time::Duration};

/// How often each change is made.
const ROUNDS: u32 = 3;

/// A device with queues to choose from, and rings that can be made smaller.
const DEVICE: &str = ",disable-legacy=on,mq=on,rx_queue_size=1024";

/// What is done to the interface `$nic` while there is traffic.
const CHANGES: &[(&str, &str)] = &[
    (
        "queues",
        "for i in 4 1 3 2 4; do
             ethtool -L $nic combined $i && usleep 300000 || exit
             [ $(ethtool -l $nic | awk '/Combined/ { last = $2 } END { print last }') = $i ] || exit
         done
         device=$(basename $(readlink -f /sys/class/net/$nic/device))
         for i in input.0 output.0 input.3 output.3; do
             [ $(grep -c $device-$i'$' /proc/interrupts) = 1 ] || exit
         done",
    ),
    (
        "cpus",
        // What came to a CPU that goes comes to it again when it is back.
        "device=$(basename $(readlink -f /sys/class/net/$nic/device))
         ethtool -L $nic combined 4
         irqs() {
             for i in input output; do
                 irq=$(awk -v name=$device-$i.1 '$NF == name { print $1 }' /proc/interrupts)
                 cat /proc/irq/${irq%:}/effective_affinity_list || exit
             done
         }
         for round in 1 2 3; do
             [ \"$(irqs | uniq)\" = 1 ] || exit
             echo 0 >/sys/devices/system/cpu/cpu1/online || exit
             irqs | grep -q '^1$' && exit 1
             usleep 200000
             echo 1 >/sys/devices/system/cpu/cpu1/online || exit
             for i in $(seq 50); do [ \"$(irqs | uniq)\" = 1 ] && break; usleep 100000; done
         done
         [ \"$(irqs | uniq)\" = 1 ]",
    ),
    (
        "rings",
        "for i in '64 64' '64 128' '1024 128' '256 256' '1024 256'; do
             set -- $i
             ethtool -G $nic rx $1 tx $2 && usleep 300000 || exit
             [ \"$(ethtool -g $nic | awk '/^(RX|TX):/ { v[$1] = $2 } END { print v[\"RX:\"], v[\"TX:\"] }')\" = \"$i\" ] || exit
         done",
    ),
    (
        "mtu",
        "for i in 9000 1280 1500 4000 1500; do
             ip link set $nic mtu $i && usleep 300000 || exit
         done",
    ),
    (
        "address",
        "for i in 11 12 13 00; do
             ip link set $nic address 52:54:00:09:00:$i && usleep 500000 || exit
         done",
    ),
    (
        "receive_mode",
        "for i in promisc allmulticast; do
             ip link set $nic $i on && usleep 200000 && ip link set $nic $i off || exit
         done",
    ),
    (
        "vlans",
        "for i in $(seq 2 40); do ip link add link $nic name v$i type vlan id $i || exit; done
         for i in $(seq 2 40); do ip link del v$i || exit; done",
    ),
    (
        "offloads",
        "for i in off on off on; do
             ethtool -K $nic tso $i gro $i rx-gro-hw $i && usleep 200000 && ethtool -K $nic tx $i sg $i || exit
         done
         ethtool -K $nic tx on sg on tso on",
    ),
    (
        "questions",
        "for i in 1 2 3 4 5; do
             ethtool $nic && ethtool -i $nic && ethtool -S $nic && ethtool -k $nic && ethtool -g $nic &&
             ethtool -l $nic && ip -s link show $nic || exit
         done",
    ),
];

/// Makes each change.
pub fn goes_on(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let mut builder = driver
        .builder(cx, flavour)?
        .cpus(4)
        .kernel_module("8021q")
        .kernel_module("bridge");
    for number in 0..2 {
        let id = format!("tap{number}");
        let netdev = lan.tap(&id, 4)?;
        builder = rig::device(builder, number, &netdev, &id, DEVICE);
    }
    if flavour == STOCK {
        // The debug kernel does not have these.
        builder = builder.kernel_module("bonding").kernel_module("netconsole");
    }
    let guest = cx.boot(&builder)?;
    let nic = rig::load(&guest, driver)?;
    guest.sh("for i in 8021q bridge; do modprobe $i || exit; done
         netcheck serve >/tmp/serve 2>&1 &
         cd /proc/sys/net && for i in all default; do
             echo 1 >ipv4/conf/$i/arp_notify; echo 1 >ipv6/conf/$i/ndisc_notify
         done")?;
    // The peer takes a jumbo frame when the guest sends one.
    lan.set_mtu(9000, 1500)?;

    for (name, commands) in CHANGES {
        cx.case(name, |_| {
            let load = Load::start(&guest, 25)?;
            let result = guest.sh(&format!("nic={nic}; {commands}"));
            let end = load.finish_whole();
            result?;
            end?;
            works(&guest)
        });
        // What a case that fails has left must not fail the others.
        guest.sh(&format!(
            "ip link set {nic} mtu 1500 address 52:54:00:09:00:00; up {nic}"
        ))?;
    }
    cx.case("small_rings", |_| small_rings(&guest, &nic, driver));
    if driver == Driver::Ours {
        cx.case("large_pieces", |_| large_pieces(&guest, &nic));
    }
    cx.case("link", |_| link(&guest, &nic));
    cx.case("name_space", |_| name_space(&guest, &nic));
    cx.case("bridge", |_| bridge(&guest, &lan, &nic));
    if flavour != DEBUG {
        cx.case("bond", |_| bond(&guest, &nic));
        cx.case("netconsole", |_| netconsole(&guest, &lan, &nic));
    }
    cx.case("nothing_is_wrong", |_| {
        lan.check()?;
        rig::checksums_are_right(&guest)?;
        let said = guest.sh("cat /tmp/serve")?;
        ensure!(!said.contains("CORRUPT"), "the guest's server says {said}");
        Ok(())
    });
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)
}

/// Whatever ring a driver takes has room for the longest frames; the kernel's own takes some that have
/// not, and then receives nothing at all.
fn small_rings(guest: &Guest, nic: &str, driver: Driver) -> Result<()> {
    let result = guest.sh(&format!(
        "for i in 64 32 16 8 4 2 1; do
             ethtool -G {nic} rx $i || {{ echo refused; break; }}
             timeout 20 netcheck tcp {PEER} --down 20000000 || {{ echo hangs at $i; break; }}
             echo takes $i
         done"
    ));
    guest.sh(&format!("ethtool -G {nic} rx 256"))?;
    works(guest)?;
    let said = result?;
    let end = match driver {
        Driver::Ours => "refused",
        Driver::InTree => "hangs at 16",
    };
    ensure!(said.contains("takes 32") && said.contains(end), "{said}");
    Ok(())
}

/// What the device has put together is received in pieces that are larger than a page.
fn large_pieces(guest: &Guest, nic: &str) -> Result<()> {
    let said = guest.sh(&format!(
        "counts() {{ ethtool -S {nic} | awk '/ rx_(bytes|buffers|gso_packets):/ {{ print $2 }}'; }}
         before=$(counts) && netcheck tcp {PEER} --down 20000000 && echo && echo $before $(counts)"
    ))?;
    let last = said.lines().last().unwrap_or_default();
    let counts: Vec<u64> = last.split(' ').flat_map(str::parse).collect();
    let [bytes, gso, buffers, bytes_after, gso_after, buffers_after] = counts[..] else {
        bail!("{said}");
    };
    let (bytes, gso) = (bytes_after - bytes, gso_after - gso);
    let buffers = buffers_after - buffers;
    ensure!(
        gso > 0 && buffers > 0 && bytes / buffers > 2 * 4096,
        "{bytes} bytes, frames put together {gso}, in {buffers} buffers"
    );
    Ok(())
}

/// The link is cut, and comes again; the interface knows.
fn link(guest: &Guest, nic: &str) -> Result<()> {
    let load = Load::start(guest, 25)?;
    for _ in 0..ROUNDS {
        guest.qmp("set_link", json!({ "name": "nic0", "up": false }))?;
        wait_for(
            guest,
            &format!("[ $(cat /sys/class/net/{nic}/carrier) = 0 ]"),
        )?;
        thread::sleep(Duration::from_millis(300));
        guest.qmp("set_link", json!({ "name": "nic0", "up": true }))?;
        wait_for(
            guest,
            &format!("[ $(cat /sys/class/net/{nic}/carrier) = 1 ]"),
        )?;
        works(guest)?;
    }
    load.finish_whole()
}

/// The interface moves to another name space, works there, and comes back when that ends.
fn name_space(guest: &Guest, nic: &str) -> Result<()> {
    for _ in 0..ROUNDS {
        let load = Load::start(guest, 1)?;
        guest.sh(&format!(
            "usleep 300000; ip netns add there && ip link set {nic} netns there &&
             ip netns exec there up {nic} &&
             ip netns exec there netcheck udp {PEER} 1 1472 9000 &&
             ip netns exec there netcheck tcp {PEER} --up 300000 --down 300000 &&
             ip netns del there"
        ))?;
        wait_for(guest, &format!("up {nic}"))?;
        works(guest)?;
        load.finish()?;
    }
    Ok(())
}

/// The interface is a port of a bridge, which has its address: it must get frames for others.
fn bridge(guest: &Guest, lan: &Lan, nic: &str) -> Result<()> {
    guest.sh(&format!(
        "ip addr flush dev {nic} && ip link add bridge0 type bridge forward_delay 0 &&
         ip link set bridge0 address 52:54:00:09:cc:01 && ip link set {nic} master bridge0 &&
         ip link set {nic} up && up bridge0"
    ))?;
    let done = works(guest).and_then(|()| {
        lan.netcheck(&format!("tcp {GUEST6} --up 300000 --down 300000"))?;
        lan.netcheck(&format!("udp {GUEST} 1 1472 9000"))?;
        Ok(())
    });
    // The peer takes the address to be that of the bridge until it is asked: the interface must not
    // take the peer for known from before.
    guest.sh(&format!(
        "ip link del bridge0 && ip neigh flush dev {nic} && up {nic}"
    ))?;
    done?;
    works(guest)
}

/// Two interfaces are bound together: when one loses its link, the other goes on.
fn bond(guest: &Guest, nic: &str) -> Result<()> {
    let second = guest.sh("nic 1")?;
    let second = second.trim();
    guest.sh(&format!(
        "ip addr flush dev {nic} && modprobe bonding max_bonds=0 &&
         ip link add bond type bond mode active-backup miimon 100 &&
         for i in {nic} {second}; do ip link set $i down && ip link set $i master bond || exit; done
         ip link set bond type bond primary {nic}; up bond"
    ))?;
    wait_for(guest, "ping -c 1 -W 1 10.9.0.1")?;
    let load = Load::start(guest, 25)?;
    let active = "/sys/class/net/bond/bonding/active_slave";
    let result = (|| {
        for (name, up, other) in [
            ("nic0", false, second),
            ("nic0", true, nic),
            ("nic1", false, nic),
            ("nic1", true, nic),
        ] {
            guest.qmp("set_link", json!({ "name": name, "up": up }))?;
            wait_for(guest, &format!("[ \"$(cat {active})\" = {other} ]"))?;
            works(guest)?;
        }
        anyhow::Ok(())
    })();
    let end = load.finish_whole();
    guest.sh(&format!("ip link del bond && up {nic}"))?;
    result?;
    end?;
    works(guest)
}

/// The kernel's messages go to the peer, also while there is traffic.
fn netconsole(guest: &Guest, lan: &Lan, nic: &str) -> Result<()> {
    let _printer = lan.spawn(&["print", "--port", "6666"], "netconsole.log")?;
    let load = Load::start(guest, 25)?;
    let mac = lan.peer("cat /sys/class/net/eth0/address")?;
    guest.sh(&format!(
        "modprobe netconsole netconsole=6665@{GUEST}/{nic},6666@{PEER}/{} &&
         for i in $(seq 200); do echo \"<3>message $i of 200\" >/dev/kmsg; done",
        mac.trim()
    ))?;
    load.finish_whole()?;
    guest.sh("rmmod netconsole")?;
    let log = lan.log("netconsole.log")?;
    let came = (1..=200)
        .filter(|i| log.contains(&format!("message {i} of 200\n")))
        .count();
    // Nobody sends a message again that finds the ring full.
    ensure!(came > 150, "{came} of 200 messages have come: {log}");
    works(guest)
}
