// SPDX-License-Identifier: GPL-2.0

//! A long time of traffic, while anything that can be changed is, in an order drawn from a seed.

use super::{
    lan::Lan,
    rig::{self, Driver, Load, PEER, wait_for, works},
};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Context, Result, ensure};
use random::Random;
use serde_json::json;
use std::time::{Duration, Instant};

/// The tests of this file. How long each lasts is not a limit: traffic is measured out by time.
pub const TESTS: &[Test] = &[
    Test::new("net::soak::lasts_stock", |cx| {
        lasts(cx, STOCK, Driver::Ours, 1, A_WHILE)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("net::soak::lasts_debug", |cx| {
        lasts(cx, DEBUG, Driver::Ours, 2, A_WHILE)
    })
    .kernels(&[DEBUG])
    .limit(500),
    Test::new("net::soak::lasts_in_tree", |cx| {
        lasts(cx, STOCK, Driver::InTree, 1, A_WHILE)
    })
    .exhaustive()
    .limit(200),
    Test::new("net::soak::lasts_long_stock", |cx| {
        lasts(cx, STOCK, Driver::Ours, 3, LONG)
    })
    .kernels(&[STOCK])
    .exhaustive()
    .limit(2400),
    Test::new("net::soak::lasts_long_debug", |cx| {
        lasts(cx, DEBUG, Driver::Ours, 4, LONG)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(2400),
];

const A_WHILE: Duration = Duration::from_secs(40);
const LONG: Duration = Duration::from_secs(1800);

/// How many changes are made before it is seen whether each connection has lasted.
const CHANGES: u32 = 5;

/// How much more memory the kernel may have in use for itself at the end than after the first changes,
/// in KiB: what it keeps for the next time differs by less.
const GROWTH: u64 = 8 << 10;

/// What is changed, with a number `n` that is drawn each time. No connection breaks.
const ACTIONS: &[(&str, &str)] = &[
    ("mtu", "ip link set $nic mtu $((1280 + n % 7721))"),
    (
        "address",
        "ip link set $nic address $(printf 52:54:00:09:00:%02x $((16 + n % 200)))",
    ),
    ("queues", "ethtool -L $nic combined $((1 + n % 4))"),
    (
        "rings",
        "ethtool -G $nic rx $((64 << n % 5)) tx $((64 << n / 8 % 3))",
    ),
    (
        "offloads",
        "bit() { [ $((n / $1 % 2)) = 1 ] && echo on || echo off; }
         ethtool -K $nic tso $(bit 1) gro $(bit 2) sg $(bit 4) tx $(bit 8) rx-gro-hw $(bit 16)",
    ),
    (
        "receive_mode",
        "ip link set $nic promisc on && ip link set $nic allmulticast on &&
         ip link set $nic allmulticast off && ip link set $nic promisc off",
    ),
    (
        "vlan",
        "ip link add link $nic name v type vlan id $((2 + n % 4000)) && ip link set v up &&
         usleep 100000; ip link del v",
    ),
    (
        "questions",
        "ethtool $nic && ethtool -S $nic && ethtool -k $nic && ethtool -g $nic && ethtool -l $nic &&
         ip -s -s -d link show $nic",
    ),
    ("threaded", "echo $((n % 2)) >/sys/class/net/$nic/threaded"),
    (
        "deferral",
        "echo $((n % 3)) >/sys/class/net/$nic/napi_defer_hard_irqs &&
         echo $((n % 3 * 20000)) >/sys/class/net/$nic/gro_flush_timeout",
    ),
    (
        "steering",
        "for i in /sys/class/net/$nic/queues/rx-*; do
             printf %x $((n % 16)) >$i/rps_cpus || exit
         done",
    ),
    (
        "cpus",
        "cpu=/sys/devices/system/cpu/cpu$((1 + n % 3))/online
         echo 0 >$cpu && usleep 200000; echo 1 >$cpu",
    ),
];

/// What the interface is told to be between the rounds.
const USUAL: &str = "ip link set $nic mtu 1500 address 52:54:00:09:00:00 &&
     ethtool -K $nic tx on sg on tso on gro on && up $nic";

fn lasts(cx: &mut Cx, flavour: &str, driver: Driver, seed: u64, duration: Duration) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 4)?;
    let builder = driver.builder(cx, flavour)?.cpus(4).kernel_module("8021q");
    let device = ",disable-legacy=on,mq=on,rx_queue_size=1024";
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", device))?;
    let nic = rig::load(&guest, driver)?;
    guest.sh("modprobe 8021q
         cd /proc/sys/net && for i in all default; do
             echo 1 >ipv4/conf/$i/arp_notify; echo 1 >ipv6/conf/$i/ndisc_notify
         done")?;
    lan.set_mtu(9000, 1500)?;

    let mut random = Random::new(seed);
    let mut done = Vec::new();
    let mut before = None;
    let begin = Instant::now();
    // The second round shows what the first has left.
    for rounds in 0.. {
        if rounds >= 2 && begin.elapsed() >= duration {
            break;
        }
        round(&guest, &nic, driver, &mut random, &mut done)
            .with_context(|| format!("with seed {seed}, after {}", done.join(", ")))?;
        if before.is_none() {
            before = Some(in_use(&guest)?);
        }
        done.clear();
    }
    let (before, after) = (before.context("there was no round")?, in_use(&guest)?);
    ensure!(
        after < before + GROWTH,
        "the kernel has {before} KiB in use for itself, and then {after} KiB"
    );
    lan.check()?;
    rig::checksums_are_right(&guest)?;
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)
}

/// Changes some things while there is traffic, and then what breaks it.
fn round(
    guest: &Guest,
    nic: &str,
    driver: Driver,
    random: &mut Random,
    done: &mut Vec<String>,
) -> Result<()> {
    let load = Load::start(guest, 25)?;
    let changed = (0..CHANGES).try_for_each(|_| change(guest, nic, random, done));
    let ended = load.finish_whole();
    changed?;
    ended?;
    guest.sh(&format!("nic={nic}; {USUAL}"))?;
    works(guest)?;
    done.push("rebind".to_owned());
    let load = Load::start(guest, 1)?;
    guest.sh(&format!(
        "ip link set {nic} down && usleep 100000 && up {nic} &&
         cd /sys/bus/virtio/drivers/{} && echo virtio0 >unbind && echo virtio0 >bind && up 0 &&
         netcheck udp {PEER} 1 1472 9000",
        driver.module()
    ))?;
    load.finish()?;
    works(guest)
}

/// Changes something.
fn change(guest: &Guest, nic: &str, random: &mut Random, done: &mut Vec<String>) -> Result<()> {
    let number = random.below(1 << 16);
    // One is not for a shell of the guest.
    let Some((name, action)) = ACTIONS.get(random.below(ACTIONS.len() + 1)) else {
        done.push("link".to_owned());
        guest.qmp("set_link", json!({ "name": "nic0", "up": false }))?;
        wait_for(
            guest,
            &format!("[ $(cat /sys/class/net/{nic}/carrier) = 0 ]"),
        )?;
        guest.qmp("set_link", json!({ "name": "nic0", "up": true }))?;
        return wait_for(
            guest,
            &format!("[ $(cat /sys/class/net/{nic}/carrier) = 1 ]"),
        );
    };
    done.push(format!("{name} {number}"));
    guest.sh(&format!("nic={nic} n={number}; {action}"))?;
    guest.sh("usleep 300000")?;
    Ok(())
}

/// Returns how much memory the kernel has in use for itself, in KiB, save for what it can take back.
fn in_use(guest: &Guest) -> Result<u64> {
    let said = guest.sh("sync; echo 3 >/proc/sys/vm/drop_caches; sleep 1
         awk '/^(SUnreclaim|PageTables|KernelStack|Percpu):/ { sum += $2 } END { print sum }' /proc/meminfo")?;
    said.trim()
        .parse()
        .with_context(|| format!("the guest says {said}"))
}
