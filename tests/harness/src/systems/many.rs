// SPDX-License-Identifier: GPL-2.0

//! Many devices at once: each is what it says, whoever comes first.

use super::mapped::Drivers;
use crate::{blk, cx::Cx, guest::Guest, net::rig, paths::Scratch};
use anyhow::{Result, ensure};
use std::{collections::BTreeSet, fs::File};

/// How many there are of each kind.
const MANY: usize = 8;

/// The size of the first disk, in MiB; each that follows has one more.
const MIB: usize = 8;

/// Eight network devices and eight disks, each with queues of its own.
pub fn devices_at_once(cx: &mut Cx, flavour: &str, drivers: Drivers) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut builder = drivers.net.builder(cx, flavour)?.tool("fio");
    builder = match drivers.blk {
        blk::load::Driver::InTree => builder.kernel_module(drivers.blk.module()),
        blk::load::Driver::Ours => builder.module(drivers.blk.module())?,
    };
    for number in 0..MANY {
        let (nic, disk) = (format!("user{number}"), format!("d{number}"));
        // Each network of QEMU is one of its own.
        let netdev =
            format!("user,restrict=on,id={nic},net=10.9.{number}.0/24,host=10.9.{number}.1");
        builder = rig::device(builder, number, &netdev, &nic, "");
        let path = scratch.path().join(&disk);
        File::create(&path)?.set_len(u64::try_from(MIB + number)? << 20)?;
        let file = format!("driver=file,filename={},node-name={disk}", path.display());
        builder = builder.qemu(&["-blockdev", &file]).device(&format!(
            "virtio-blk-pci,drive={disk},serial=disk{number},num-queues=2"
        ));
    }
    let guest = cx.boot(&builder)?;
    for round in 0..2 {
        guest.sh(&format!(
            "modprobe {} && modprobe {}",
            drivers.net.module(),
            drivers.blk.module()
        ))?;
        cx.case(&format!("all_work/{round}"), |_| {
            let names = names(&guest)?;
            all_work(&guest, &names)
        });
        guest.sh(&format!(
            "rmmod {} {} && ! ls -d /sys/block/vd* /sys/class/net/eth* 2>/dev/null",
            drivers.net.module(),
            drivers.blk.module()
        ))?;
    }
    cx.end(&guest)
}

/// Returns the name of each disk, by what it says that it is. No two have the same, and none has a queue
/// of another.
fn names(guest: &Guest) -> Result<Vec<String>> {
    let said = guest.sh("for i in /sys/block/vd*; do
             echo $(cat $i/serial) ${i##*/} $(cat $i/size) $(ls $i/mq | wc -l)
         done")?;
    let mut names = Vec::new();
    for number in 0..MANY {
        let serial = format!("disk{number}");
        let sectors = ((MIB + number) * 2048).to_string();
        let of: Vec<Vec<_>> = said
            .lines()
            .map(|line| line.split_whitespace().collect())
            .filter(|words: &Vec<_>| words.first() == Some(&serial.as_str()))
            .collect();
        let [[_, name, size, "2"]] = of.iter().map(|words| &words[..]).collect::<Vec<_>>()[..]
        else {
            anyhow::bail!("of {serial}: {said}");
        };
        ensure!(*size == sectors, "{said}");
        names.push((*name).to_owned());
    }
    let different: BTreeSet<_> = names.iter().collect();
    ensure!(different.len() == MANY, "{said}");
    Ok(names)
}

/// All are used at once: each network reaches its own gateway, each disk keeps its own data.
fn all_work(guest: &Guest, disks: &[String]) -> Result<()> {
    let jobs: Vec<_> = disks
        .iter()
        .map(|disk| format!("--name={disk} --filename=/dev/{disk} --verify_pattern=\\\"{disk}\\\""))
        .collect();
    guest.sh(&format!(
        "for i in $(seq 0 {last}); do
             nic=$(nic $i); ip link set $nic up && ip addr replace 10.9.$i.2/24 dev $nic || exit
         done
         for i in $(seq 0 {last}); do
             (ping -c 5 -i 0.2 -W 5 10.9.$i.1 >/tmp/ping$i || echo $i) &
         done >/tmp/lost
         fio --direct=1 --ioengine=libaio --iodepth=4 --rw=randwrite --bs=4k --size=1M \
             --verify=pattern --verify_fatal=1 --do_verify=1 --minimal {jobs} || exit
         wait
         ! grep . /tmp/lost",
        last = MANY - 1,
        jobs = jobs.join(" ")
    ))?;
    Ok(())
}
