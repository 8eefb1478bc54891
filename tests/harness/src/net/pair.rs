// SPDX-License-Identifier: GPL-2.0

//! The pair of network devices of the samples, `rust_netpair`: no hardware is in the way.

use crate::{cx::Cx, guest::Guest};
use anyhow::{Result, ensure};

/// Waits until a frame has gone there and back: the first ones may come before the link is known.
const WORKS: &str = "for i in 1 2 3 4 5; do ping -q -c 1 -W 1 10.0.0.2 >/dev/null && break; done";

/// Puts one end into a name space, and brings both up.
const SETUP: &str = "modprobe rust_netpair
    ip netns add peer && ip link set rustpair1 netns peer
    ip addr add 10.0.0.1/24 dev rustpair0
    ip -n peer addr add 10.0.0.2/24 dev rustpair1
    ip link set rustpair0 up && ip -n peer link set rustpair1 up";

fn boot(cx: &mut Cx, flavour: &str) -> Result<std::sync::Arc<Guest>> {
    let builder = cx.kernel(flavour)?.module("rust_netpair")?;
    let tools = ["ip", "iperf3", "ethtool"];
    cx.boot(
        &tools
            .iter()
            .fold(builder.cpus(2), |builder, tool| builder.tool(tool)),
    )
}

/// Frames of each size arrive, in both directions, and are counted at both ends.
pub fn carries_frames(cx: &mut Cx, flavour: &str) -> Result<()> {
    let guest = boot(cx, flavour)?;
    guest.sh(&format!("{SETUP} && {WORKS}"))?;

    cx.case("sizes", |_| {
        let said = guest.sh(
            "ip link set rustpair0 mtu 9000 && ip -n peer link set rustpair1 mtu 9000
             for size in 0 1 18 1472 1473 8972; do
                 ping -q -c 3 -i 0.1 -W 5 -s $size 10.0.0.2 | grep -c ' 0% packet loss' || exit
             done",
        )?;
        ensure!(said == "1\n".repeat(6), "the guest says {said}");
        Ok(())
    });
    cx.case("limits", |_| refuses(&guest));
    cx.case("streams", |_| streams(&guest));
    cx.case("counts", |_| counts(&guest));
    cx.case("carrier", |_| carrier(&guest));
    cx.case("ethtool", |_| {
        let said =
            guest.sh("ethtool -i rustpair0 | grep ^driver:; ethtool -S rustpair0 | wc -l")?;
        ensure!(said == "driver: rust_netpair\n2\n", "the guest says {said}");
        Ok(())
    });
    guest.sh("ip netns del peer; rmmod rust_netpair")?;
    cx.end(&guest)
}

/// What the device was not made for is refused.
fn refuses(guest: &Guest) -> Result<()> {
    let said = guest.sh(&format!(
        "ip link set rustpair0 mtu 9001 2>/dev/null || echo too long
         ip link set rustpair0 mtu 67 2>/dev/null || echo too short
         ip link set rustpair0 address 02:00:00:00:00:01 2>/dev/null || echo busy
         ip link set rustpair0 down
         ip link set rustpair0 address 03:00:00:00:00:01 2>/dev/null || echo a group
         ip link set rustpair0 address 02:00:00:00:00:01 && cat /sys/class/net/rustpair0/address
         ip link set rustpair0 up && {WORKS} && echo works"
    ))?;
    let expected = "too long\ntoo short\nbusy\na group\n02:00:00:00:00:01\nworks\n";
    ensure!(said == expected, "the guest says {said}");
    Ok(())
}

/// TCP goes both ways, and loses nothing: a queue is stopped before its ring is full.
fn streams(guest: &Guest) -> Result<()> {
    // When it was down, the kernel may have dropped something for it.
    let lost = || {
        guest.sh("cat /sys/class/net/rustpair0/statistics/tx_dropped
             cat /sys/class/net/rustpair0/statistics/rx_dropped")
    };
    let before = lost()?;
    guest.sh("for way in '' -R; do
             ip netns exec peer iperf3 -s -1 -D && usleep 500000
             iperf3 -c 10.0.0.2 -P 4 -t 3 $way >/tmp/iperf 2>&1 || { cat /tmp/iperf; exit 1; }
         done")?;
    let after = lost()?;
    ensure!(after == before, "lost before: {before}, after: {after}");
    Ok(())
}

/// What one end has sent, the other one has received.
fn counts(guest: &Guest) -> Result<()> {
    guest.sh("here=/sys/class/net/rustpair0/statistics; there=/sys/class/net/rustpair1/statistics
         cd / && for i in 1 2 3 4 5; do
             usleep 500000
             sent=$(cd $here && cat tx_packets tx_bytes rx_packets rx_bytes)
             got=$(ip netns exec peer sh -c \"cd $there && cat rx_packets rx_bytes tx_packets tx_bytes\")
             [ \"$sent\" = \"$got\" ] && break
         done
         echo $sent, $got
         [ \"$sent\" = \"$got\" ] && ! echo $sent | grep -qw 0")?;
    Ok(())
}

/// There is a carrier while both ends are up.
fn carrier(guest: &Guest) -> Result<()> {
    let said = guest.sh("cat /sys/class/net/rustpair0/carrier
         ip -n peer link set rustpair1 down; cat /sys/class/net/rustpair0/carrier
         ip -n peer link set rustpair1 up; cat /sys/class/net/rustpair0/carrier")?;
    ensure!(said == "1\n0\n1\n", "the guest says {said}");
    Ok(())
}

/// Brings an end down and up, and unloads the module, so many times, while frames go both ways.
pub fn comes_and_goes(cx: &mut Cx, flavour: &str, rounds: u32) -> Result<()> {
    let guest = boot(cx, flavour)?;
    let flood = "while [ ! -e /tmp/stop ]; do
             ping -q -A -c 200 -w 2 -s 1400 10.0.0.2 || usleep 20000
         done >/dev/null 2>&1 &
         while [ ! -e /tmp/stop ]; do
             ip netns exec peer ping -q -A -c 200 -w 2 10.0.0.1 || usleep 20000
         done >/dev/null 2>&1 &";

    cx.case("down", |_| {
        guest.sh(&format!(
            "{SETUP} && {WORKS} || exit
             {flood}
             for round in $(seq {rounds}); do
                 ip link set rustpair0 down && usleep 50000 && ip link set rustpair0 up || exit
                 {WORKS} || exit
             done
             touch /tmp/stop; wait; rm /tmp/stop
             ip netns del peer; rmmod rust_netpair"
        ))?;
        Ok(())
    });
    cx.case("unload", |_| {
        let said = guest.sh(&format!(
            "{flood}
             for round in $(seq {rounds}); do
                 {SETUP} && {WORKS} || exit
                 usleep 50000
                 ip netns del peer; rmmod rust_netpair || exit
             done
             touch /tmp/stop; wait
             ls -d /sys/class/net/rustpair* 2>/dev/null | wc -l"
        ))?;
        ensure!(said == "0\n", "the guest says {said}");
        Ok(())
    });
    cx.end(&guest)
}
