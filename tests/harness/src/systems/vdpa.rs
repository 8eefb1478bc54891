// SPDX-License-Identifier: GPL-2.0

//! Devices of vDPA, which a kernel has without a hypervisor: the guest is its own host. Such a device has
//! its memory mapped in a way of its own.

use super::{mapped::Drivers, others::keeps_data};
use crate::{
    blk,
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
    net::rig,
};
use anyhow::{Result, ensure};

/// A program in user space has a disk (VDUSE), which works, and comes and goes.
pub fn disk_in_user_space(cx: &mut Cx, driver: blk::load::Driver) -> Result<()> {
    let builder = driver
        .builder(cx, STOCK)?
        .memory(768)
        .kernel_module("vduse")
        .kernel_module("virtio_vdpa")
        .tool("qemu-storage-daemon")
        .tool("vdpa");
    let guest = cx.boot(&builder)?;
    guest.sh(
        "modprobe vduse && modprobe virtio_vdpa && truncate -s 32M /tmp/image
         qemu-storage-daemon --daemonize --pidfile /tmp/pid \
             --blockdev driver=file,filename=/tmp/image,node-name=disk \
             --export type=vduse-blk,id=export,node-name=disk,name=disk,writable=on,num-queues=2,serial=vduse"
    )?;
    let disk = driver.disk();
    let data = || keeps_data(&guest, disk);

    cx.case("is_found", |_| {
        guest.sh("vdpa dev add name disk mgmtdev vduse")?;
        driver.load(&guest)?;
        let said = guest.sh(&format!(
            "echo $(cat /sys/block/{disk}/serial); readlink -f /sys/block/{disk}/device
             basename $(readlink /sys/block/{disk}/device/driver)"
        ))?;
        let [serial, place, module] = said.lines().collect::<Vec<_>>()[..] else {
            anyhow::bail!("the guest says {said}");
        };
        ensure!(serial == "vduse" && place.contains("/vduse/"), "{said}");
        ensure!(module == driver.module(), "{said}");
        Ok(())
    });
    cx.case("keeps_data", |_| data());
    cx.case("drivers_come_and_go", |_| {
        for _ in 0..3 {
            driver.unload(&guest)?;
            driver.load(&guest)?;
        }
        data()
    });
    cx.case("comes_and_goes", |_| {
        guest.sh(&format!(
            "vdpa dev del disk && [ ! -e /dev/{disk} ] && vdpa dev add name disk mgmtdev vduse"
        ))?;
        driver.appears(&guest)?;
        data()
    });
    driver.unload(&guest)?;
    guest.sh("vdpa dev del disk; kill $(cat /tmp/pid)")?;
    cx.end(&guest)
}

/// The kernel simulates a network device, which returns what it is sent, and a disk.
pub fn simulated(cx: &mut Cx, drivers: Drivers) -> Result<()> {
    let mut builder = drivers
        .net
        .builder(cx, DEBUG)?
        .tool("vdpa")
        .tool("fio")
        .kernel_module("virtio_vdpa")
        .kernel_module("vdpa_sim_net")
        .kernel_module("vdpa_sim_blk");
    builder = match drivers.blk {
        blk::load::Driver::InTree => builder.kernel_module(drivers.blk.module()),
        blk::load::Driver::Ours => builder.module(drivers.blk.module())?,
    };
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe virtio_vdpa && modprobe vdpa_sim_net && modprobe vdpa_sim_blk")?;
    let disk = drivers.blk.disk();
    let add = || {
        guest.sh(
            "vdpa dev add name nic mgmtdev vdpasim_net mac 52:54:00:09:00:00 &&
             vdpa dev add name disk mgmtdev vdpasim_blk",
        )
    };
    let load = || -> Result<()> {
        guest.sh(&format!("modprobe {} && nic 0", drivers.net.module()))?;
        drivers.blk.load(&guest)
    };
    let works = || -> Result<()> {
        frames_return(&guest)?;
        guest.sh(&format!(
            "fio --name=d --filename=/dev/{disk} --direct=1 --ioengine=libaio --iodepth=8 \
                 --rw=randrw --bs=4k --size=2M --verify=crc32c --verify_fatal=1 --do_verify=1 \
                 --minimal"
        ))?;
        Ok(())
    };

    cx.case("work", |_| {
        add()?;
        load()?;
        works()
    });
    cx.case("drivers_come_and_go", |_| {
        for _ in 0..3 {
            guest.sh(&format!("rmmod {}", drivers.net.module()))?;
            drivers.blk.unload(&guest)?;
            load()?;
        }
        works()
    });
    cx.case("come_and_go", |_| {
        for _ in 0..3 {
            guest.sh(&format!(
                "vdpa dev del nic && vdpa dev del disk && [ ! -e /dev/{disk} ]"
            ))?;
            add()?;
        }
        drivers.blk.appears(&guest)?;
        works()
    });
    guest.sh("vdpa dev del nic && vdpa dev del disk")?;
    cx.end(&guest)
}

/// The guest talks with itself by its network device: it has two addresses, and what goes to either is
/// sent, although it is its own.
fn frames_return(guest: &Guest) -> Result<()> {
    guest.sh(&format!(
        "nic=$(nic 0); mac=$(cat /sys/class/net/$nic/address)
         for i in all $nic; do
             echo 1 >/proc/sys/net/ipv4/conf/$i/accept_local
             echo 0 >/proc/sys/net/ipv4/conf/$i/rp_filter
         done
         ip link set $nic up
         for i in {} {}; do
             ip addr replace $i/24 dev $nic
             ip neigh replace $i lladdr $mac nud permanent dev $nic
         done
         ip rule add pref 10 iif $nic lookup local
         ip rule add pref 20 iif lo to 10.9.0.0/24 lookup main
         ip rule add pref 30 lookup local
         ip rule del pref 0
         netcheck serve >/tmp/server 2>&1 &
         sleep 0.5
         before=$(cat /sys/class/net/$nic/statistics/rx_packets)
         ping -c 3 -i 0.2 -W 5 {} && netcheck tcp {} --up 300000 --down 300000; status=$?
         kill $!; ip rule add pref 0 lookup local
         for i in 10 20 30; do ip rule del pref $i; done
         [ $status = 0 ] && [ $(($(cat /sys/class/net/$nic/statistics/rx_packets) - before)) -gt 100 ]",
        rig::GUEST,
        rig::PEER,
        rig::PEER,
        rig::PEER
    ))?;
    Ok(())
}
