// SPDX-License-Identifier: GPL-2.0

//! The RAM disk of the samples, `rust_ramdisk`.

use crate::{
    cx::Cx,
    guest::{Builder, Guest, NO_TAGS},
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// How often the module is loaded and unloaded, while somebody reads and writes.
const ROUNDS: usize = 50;

/// What fio does: how it asks for requests, and how many at once.
const ENGINES: &[(&str, &str)] = &[
    ("psync", "--ioengine=psync"),
    ("libaio", "--ioengine=libaio --iodepth=32"),
    ("io_uring", "--ioengine=io_uring --iodepth=32"),
    ("polled", "--ioengine=io_uring --iodepth=16 --hipri"),
];

fn builder(cx: &Cx, flavour: &str) -> Result<Builder> {
    let builder = cx.kernel(flavour)?.module("rust_ramdisk")?;
    Ok(builder.cpus(4).tool("fio").tool("blkdiscard"))
}

pub fn keeps_data_stock(cx: &mut Cx) -> Result<()> {
    let builder = builder(cx, STOCK)?.kernel_module("ext4");
    keeps_data(cx, &builder, 16)
}

pub fn keeps_data_debug(cx: &mut Cx) -> Result<()> {
    let builder = builder(cx, DEBUG)?;
    keeps_data(cx, &builder, 2)
}

/// Writes and reads back, in every way; `mib` at a time.
fn keeps_data(cx: &mut Cx, builder: &Builder, mib: u32) -> Result<()> {
    let guest = cx.boot(&builder.clone().tool("mke2fs").tool("e2fsck"))?;
    guest.sh("modprobe rust_ramdisk queues=3")?;

    for (name, options) in ENGINES {
        cx.case(name, |_| {
            guest.sh(&format!(
                "fio --name={name} --filename=/dev/rustram0 --direct=1 {options} --rw=randwrite \
                 --bsrange=4k-64k --size={mib}m --verify=crc32c --verify_fatal=1 >/tmp/fio 2>&1 ||
                 {{ cat /tmp/fio; exit 1; }}"
            ))?;
            Ok(())
        });
    }
    cx.case("schedulers", |_| changes_schedulers(&guest));
    cx.case("discards", |_| discards(&guest));
    cx.case("filesystem", |_| holds_a_filesystem(&guest, mib));
    cx.case("attributes", |_| has_attributes(&guest));
    guest.sh("rmmod rust_ramdisk")?;
    cx.end(&guest)
}

/// Changes the scheduler while requests are under way: each has requests of its own.
fn changes_schedulers(guest: &Guest) -> Result<()> {
    guest.sh(
        "fio --name=busy --filename=/dev/rustram0 --direct=1 --ioengine=libaio --iodepth=32 \
             --rw=randrw --bs=4k --size=8m --time_based --runtime=4 >/tmp/fio 2>&1 &
         cd /sys/block/rustram0/queue
         known=$(tr -d '[]' <scheduler)
         for round in 1 2 3; do
             for i in $known; do echo $i >scheduler || exit 1; done
         done
         wait $! || { cat /tmp/fio; exit 1; }
         echo none >scheduler",
    )?;
    Ok(())
}

/// What was discarded, or zeroed, reads as zeroes, and the rest as it was.
fn discards(guest: &Guest) -> Result<()> {
    let said = guest.sh("dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>/dev/null
         dd if=/tmp/data of=/dev/rustram0 bs=64k oflag=direct 2>/dev/null
         blkdiscard -o 65536 -l 131072 /dev/rustram0
         blkdiscard -z -o 524288 -l 8192 /dev/rustram0
         dd if=/dev/zero of=/tmp/data bs=64k seek=1 count=2 conv=notrunc 2>/dev/null
         dd if=/dev/zero of=/tmp/data bs=4k seek=128 count=2 conv=notrunc 2>/dev/null
         dd if=/dev/rustram0 of=/tmp/back bs=64k count=16 iflag=direct 2>/dev/null
         cmp /tmp/data /tmp/back && echo same")?;
    ensure!(said == "same\n", "the guest says {said}");
    Ok(())
}

fn holds_a_filesystem(guest: &Guest, mib: u32) -> Result<()> {
    let said = guest.sh(&format!(
        "modprobe ext4 2>/dev/null
         mke2fs -q -t ext4 /dev/rustram0 && mount -t ext4 -o discard /dev/rustram0 /mnt
         dd if=/dev/urandom of=/mnt/a bs=1M count={mib} 2>/dev/null
         cp /mnt/a /mnt/b && sync && echo 3 >/proc/sys/vm/drop_caches
         cmp /mnt/a /mnt/b && rm /mnt/a && umount /mnt && mount -t ext4 /dev/rustram0 /mnt
         ls /mnt/b && umount /mnt
         e2fsck -fn /dev/rustram0 >/tmp/fsck 2>&1 || cat /tmp/fsck"
    ))?;
    ensure!(said == "/mnt/b\n", "the guest says {said}");
    Ok(())
}

/// The attributes of the disk, one of which asks the disk itself; the other one changes its size.
fn has_attributes(guest: &Guest) -> Result<()> {
    let said = guest.sh("cd /sys/block/rustram0; cat serial size_mib
         echo 32 >size_mib; cat size_mib size
         dd if=/dev/rustram0 of=/dev/null bs=1M count=1 skip=32 iflag=direct 2>&1 | head -n 1
         echo many 2>/dev/null >size_mib; echo 64 >size_mib; cat size")?;
    let expected = "R4M-0001\n64\n32\n65536\n0+0 records in\n131072\n";
    ensure!(said == expected, "the guest says {said}");
    let log = guest.sh("dmesg | grep -c 'rustram0: detected capacity change'")?;
    ensure!(log == "2\n", "there are {log} messages");
    Ok(())
}

pub fn comes_and_goes_stock(cx: &mut Cx) -> Result<()> {
    comes_and_goes(cx, STOCK)
}

pub fn comes_and_goes_debug(cx: &mut Cx) -> Result<()> {
    comes_and_goes(cx, DEBUG)
}

/// Loads and unloads the module while programs open, read and zero the disk, whenever it is there.
fn comes_and_goes(cx: &mut Cx, flavour: &str) -> Result<()> {
    let guest = cx.boot(&builder(cx, flavour)?)?;

    let said = guest.sh(&format!(
        "while [ ! -e /tmp/stop ]; do
             blkdiscard -z -l 1048576 /dev/rustram0 && blkdiscard /dev/rustram0
         done >/dev/null 2>&1 &
         while [ ! -e /tmp/stop ]; do
             dd if=/dev/rustram0 of=/dev/null bs=4k count=8
             cat /sys/block/rustram0/serial
         done >/dev/null 2>&1 &
         rounds=0 refused=0
         while [ $rounds -lt {ROUNDS} ]; do
             modprobe rust_ramdisk || exit 1
             while ! rmmod rust_ramdisk 2>/dev/null; do refused=$((refused + 1)); done
             rounds=$((rounds + 1))
         done
         touch /tmp/stop; wait
         ls /dev/rustram0 /sys/block/rustram0 2>/dev/null
         echo $rounds $((refused > 0))"
    ))?;
    ensure!(said == format!("{ROUNDS} 1\n"), "the guest says {said}");
    cx.end(&guest)
}

/// Has each allocation fail in turn, while requests are made: those that take memory come again.
/// Then has all allocations fail from some point on, while the disk is made.
pub fn survives_failing_allocations(cx: &mut Cx) -> Result<()> {
    let guest = cx.boot(&builder(cx, DEBUG)?)?;

    let said = guest.sh("cd /sys/kernel/debug/failslab
         echo N >ignore-gfp-wait; echo 0 >verbose
         modprobe rust_ramdisk
         n=0
         while [ $n -lt 60 ]; do
             n=$((n + 1))
             (blkdiscard /dev/rustram0
              exec 3<>/dev/rustram0
              echo $n >/proc/self/fail-nth
              echo written >&3) 2>/dev/null
             sync
         done
         head -c 7 /dev/rustram0; echo
         rmmod rust_ramdisk && echo gone")?;
    ensure!(said == "written\ngone\n", "the guest says {said}");

    // From where so many bytes were allocated, all fails: somewhere in the program, in the module's
    // own memory, in the tag set, in the disk, in what the core makes for it. Not for ever: a page fault
    // of the program tries again until it has its memory.
    let said = guest.sh("cd /sys/kernel/debug/failslab
         echo 1 >task-filter; echo 1 >interval; echo 100 >probability
         file=$(find /lib/modules -name rust_ramdisk.ko)
         kib=1180 failed=0
         while [ $kib -lt 1700 ]; do
             kib=$((kib + 24))
             echo 1000 >times
             echo $((kib << 10)) >space
             sh -c \"echo 1 >/proc/self/make-it-fail; exec insmod $file\" || failed=$((failed + 1))
             rmmod rust_ramdisk
         done 2>/dev/null
         echo 0 >probability
         modprobe rust_ramdisk && rmmod rust_ramdisk && echo made, $((failed > 10))")?;
    ensure!(said == "made, 1\n", "the guest says {said}");
    guest.excuse(&[NO_TAGS])?;
    cx.end(&guest)
}
