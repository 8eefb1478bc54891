// SPDX-License-Identifier: GPL-2.0

//! The driver and the device come and go while there is traffic, and the machine sleeps.

use super::{
    lan::Lan,
    rig::{self, Driver, Load, PEER, device_options, wait_for, works},
};
use crate::{
    cx::Cx,
    guest::{Guest, NO_IRQ_FILES},
    kernel::DEBUG,
    virtio::power,
};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{thread, time::Duration};

/// How often the driver is unbound, the device unplugged, the machine put to sleep.
const UNBINDS: u32 = 5;
const UNPLUGS: u32 = 2;
const NIGHTS: u32 = 2;

/// Boots a guest with a device that can be unplugged.
fn boot(
    cx: &mut Cx,
    lan: &mut Lan,
    flavour: &str,
    driver: Driver,
) -> Result<std::sync::Arc<Guest>> {
    let netdev = lan.tap("tap0", 2)?;
    let builder = driver
        .builder(cx, flavour)?
        .device("pcie-root-port,id=port0,chassis=1,slot=1")
        .qemu(&["-netdev", &netdev])
        .device(&device_options(0, "tap0", ",mq=on,bus=port0"));
    cx.boot(&builder)
}

/// Loads and unloads the module so many times, and does all the rest.
pub fn comes_and_goes(cx: &mut Cx, flavour: &str, driver: Driver, unloads: u32) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let guest = boot(cx, &mut lan, flavour, driver)?;
    let module = driver.module();

    cx.case("unload", |_| unload(&guest, module, unloads));
    rig::load(&guest, driver)?;
    cx.case("unbind", |_| {
        let load = Load::start(&guest, 1)?;
        guest.sh(&format!(
            "cd /sys/bus/virtio/drivers/{module} && for i in $(seq {UNBINDS}); do
                 echo virtio0 >unbind && ! ls -d /sys/class/net/eth* 2>/dev/null &&
                 echo virtio0 >bind && up 0 && netcheck udp {PEER} 1 1472 9000 || exit
             done"
        ))?;
        load.finish()?;
        works(&guest)
    });
    cx.case("unplug", |_| unplug(&guest));
    cx.case("sleep", |_| {
        let load = Load::start(&guest, 25)?;
        for _ in 0..NIGHTS {
            power::sleep(&guest)?;
            works(&guest)?;
        }
        load.finish_whole()
    });
    cx.case("sleep_while_down", |_| {
        guest.sh("ip link set $(nic 0) down")?;
        power::sleep(&guest)?;
        guest.sh("up 0")?;
        works(&guest)
    });
    cx.case("memory", |_| runs_short(&guest));
    if flavour == DEBUG {
        cx.case("failing_refill", |_| fails_to_refill(&guest));
        cx.case("failing_bind", |_| fails_to_bind(&guest, driver));
        cx.case("failing_open", |_| fails_to_open(&guest));
    }
    cx.case("nothing_is_wrong", |_| {
        lan.check()?;
        rig::checksums_are_right(&guest)
    });
    guest.sh(&format!("rmmod {module}"))?;
    cx.end(&guest)
}

/// Only loads and unloads the module, but very often.
pub fn is_unloaded(cx: &mut Cx, flavour: &str, driver: Driver, unloads: u32) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let guest = boot(cx, &mut lan, flavour, driver)?;
    unload(&guest, driver.module(), unloads)?;
    lan.check()?;
    cx.end(&guest)
}

/// Loads the module, uses the network, and unloads it.
fn unload(guest: &Guest, module: &str, times: u32) -> Result<()> {
    let load = Load::start(guest, 1)?;
    guest.sh(&format!(
        "for i in $(seq {times}); do
             modprobe {module} && up 0 && netcheck udp {PEER} 1 1472 9000 || exit
             usleep 200000
             rmmod {module} && ! ls -d /sys/class/net/eth* 2>/dev/null || exit
         done"
    ))?;
    let done = load.finish()?;
    ensure!(done.datagrams > 0, "netcheck says {}", done.said);
    Ok(())
}

/// The device is unplugged, and plugged in again, into the same slot.
fn unplug(guest: &Guest) -> Result<()> {
    let load = Load::start(guest, 1)?;
    for round in 0..UNPLUGS {
        let id = if round == 0 { "nic0" } else { "again" };
        guest.qmp("device_del", json!({ "id": id }))?;
        wait_for(guest, "! ls -d /sys/class/net/eth*")?;
        let again = json!({
            "driver": "virtio-net-pci", "bus": "port0", "id": "again", "netdev": "tap0",
            "mac": "52:54:00:09:00:00", "mq": true, "romfile": "",
        });
        // The slot is free when the guest has cut its power; the test's time limit is the limit.
        while guest.qmp("device_add", again.clone()).is_err() {
            thread::sleep(Duration::from_millis(500));
        }
        wait_for(guest, "up 0")?;
        works(guest)?;
    }
    load.finish()?;
    Ok(())
}

/// Hardly any memory is left while there is traffic, which goes on when there is some again.
fn runs_short(guest: &Guest) -> Result<()> {
    let load = Load::start(guest, 25)?;
    // If the kernel must kill something, it is what takes the memory.
    guest.sh(
        "mkdir -p /tmp/full && mount -t tmpfs -o size=95% tmpfs /tmp/full || exit
         for i in 1 2; do
             free=$(awk '/MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)
             (echo 1000 >/proc/self/oom_score_adj
              exec fallocate -l $((free - 16))M /tmp/full/file) || exit
             sleep 2; rm -f /tmp/full/file
         done
         umount /tmp/full",
    )?;
    works(guest)?;
    load.finish_whole()
}

/// Many of the allocations fail that cannot wait, as those that fill the ring again in an interrupt.
fn fails_to_refill(guest: &Guest) -> Result<()> {
    let load = Load::start(guest, 25)?;
    guest.sh("cd /sys/kernel/debug
         for i in fail_page_alloc failslab; do
             echo Y >$i/ignore-gfp-wait; echo 0 >$i/verbose; echo 1 >$i/interval; echo -1 >$i/times
         done
         echo 0 >fail_page_alloc/min-order
         for i in 5 30 100; do
             echo $i >fail_page_alloc/probability; echo 2 >failslab/probability; sleep 2
         done
         for i in fail_page_alloc failslab; do echo 0 >$i/probability; done")?;
    works(guest)?;
    let done = load.finish()?;
    ensure!(done.datagrams > 0, "netcheck says {}", done.said);
    Ok(())
}

/// An allocation fails, from the first one of the command that binds until none is left: every one of
/// the first, then some, as they are many.
fn fails_to_bind(guest: &Guest, driver: Driver) -> Result<()> {
    let said = guest.sh(&format!(
        "cd /sys/kernel/debug/failslab; echo N >ignore-gfp-wait; echo 0 >verbose
         cd /sys/bus/virtio/drivers/{}
         device=$(basename $(ls -d virtio[0-9]*)); echo $device >unbind
         failed=0 n=0 left=0
         while [ $n -lt 3000 ] && [ ${{left:-0}} = 0 ]; do
             n=$((n + 1 + n / 40))
             left=$(echo $n >/proc/self/fail-nth; echo $device >bind
                    read left </proc/self/fail-nth; echo 0 >/proc/self/fail-nth; echo $left)
             if [ -e $device ]; then echo $device >unbind; else failed=$((failed + 1)); fi
         done 2>/dev/null
         [ -e $device ] || echo $device >bind
         echo $((n > 40 && n < 3000)) $((failed > 10)) $n",
        driver.module()
    ))?;
    ensure!(said.starts_with("1 1 "), "the guest says {said}");
    guest.excuse(&[NO_IRQ_FILES])?;
    guest.sh("up 0")?;
    works(guest)
}

/// Each allocation fails in turn while the interface is opened, and when it fails to open or not, it
/// works the next time.
fn fails_to_open(guest: &Guest) -> Result<()> {
    let said = guest.sh("nic=$(nic 0)
         failed=0 n=0 left=0
         while [ $n -lt 500 ] && [ ${left:-0} = 0 ]; do
             n=$((n + 1))
             ip link set $nic down
             # IFF_UP of the flags.
             left=$(echo $n >/proc/self/fail-nth; echo 0x1003 >/sys/class/net/$nic/flags
                    read left </proc/self/fail-nth; echo 0 >/proc/self/fail-nth; echo $left)
             case $(cat /sys/class/net/$nic/flags) in *[02468ace]) failed=$((failed + 1)) ;; esac
         done 2>/dev/null
         echo $((n > 5 && n < 500)) $n $failed")?;
    ensure!(said.starts_with("1 "), "the guest says {said}");
    guest.excuse(&[NO_IRQ_FILES])?;
    guest.sh("ip link set $(nic 0) down; up 0")?;
    works(guest)
}
