// SPDX-License-Identifier: GPL-2.0

//! Guests boot, and have what their builder was asked for.

use super::call;
use crate::{cx::Cx, guest::accelerator, kernel::STOCK, paths};
use anyhow::{Result, ensure};
use std::{fs, process::Command, time::Duration};

/// The time that a stock kernel has from the start of QEMU to a prompt, without KVM.
const BOOT_TIME: Duration = Duration::from_secs(6);

/// The best of five counts: a slower one tells of the machine, not of the guest.
pub fn is_fast(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(STOCK)?;
    let mut times = Vec::new();
    for attempt in ["first", "second", "third", "fourth", "fifth"] {
        let guest = cx.boot(&builder.clone().name(attempt))?;
        times.push(guest.boot_time());
        cx.end(&guest)?;
        if guest.boot_time() < BOOT_TIME {
            return Ok(());
        }
    }
    anyhow::bail!("the stock kernel takes {times:.1?} with {}", accelerator());
}

/// CPUs, memory, tools, modules with what they need, devices, a shared directory, files.
pub fn has_what_was_asked_for(cx: &mut Cx) -> Result<()> {
    let shared = cx.artefacts().join("shared");
    fs::create_dir(&shared)?;
    fs::write(shared.join("from-host"), "hello guest")?;
    let builder = cx
        .kernel(STOCK)?
        .cpus(3)
        .memory(700)
        .tool("ethtool")
        .kernel_module("virtio_net")
        .device("virtio-net-pci,mac=52:54:00:12:34:56")
        .file("/opt/hello", b"#!/bin/sh\necho hello from $0\n")
        .share(&shared, "share")
        .append("rv.test=1");
    let guest = cx.boot(&builder)?;

    let said = guest.sh(
        "nproc; modprobe virtio_net; cat /sys/class/net/eth0/address; ethtool -i eth0 | head -n 1
         /opt/hello; cat /mnt/share/from-host; echo; echo hello host >/mnt/share/from-guest
         grep -o rv.test=1 /proc/cmdline; awk '/MemTotal/ { print ($2 > 600000) }' /proc/meminfo",
    )?;

    let expected = "3\n52:54:00:12:34:56\ndriver: virtio_net\nhello from /opt/hello\n\
                    hello guest\nrv.test=1\n1\n";
    ensure!(
        said == expected,
        "the guest says\n{said}\ninstead of\n{expected}"
    );
    let answer = fs::read_to_string(shared.join("from-guest"))?;
    ensure!(answer == "hello host\n", "the guest wrote {answer:?}");
    let status = guest.qmp("query-status", serde_json::json!({}))?;
    ensure!(status["status"] == "running", "QEMU tells {status}");
    Ok(())
}

/// A disk whose backend is another process, which maps the guest's memory.
pub fn shares_memory_with_a_backend(cx: &mut Cx) -> Result<()> {
    let (disk, socket) = (cx.artefacts().join("disk"), cx.scratch()?.join("disk.sock"));
    fs::write(&disk, "first block of the disk\n".repeat(1 << 14))?;
    let mut backend = cx.spawn(
        Command::new("qemu-storage-daemon")
            .args([
                "--blockdev",
                &format!("file,node-name=disk,filename={}", disk.display()),
            ])
            .args([
                "--export",
                &format!(
                    "vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path={}",
                    socket.display()
                ),
            ]),
    )?;
    backend.wait_for(&socket)?;
    let builder = cx
        .kernel(STOCK)?
        .kernel_module("virtio_blk")
        .qemu(&[
            "-chardev",
            &format!("socket,id=disk,path={}", socket.display()),
        ])
        .device("vhost-user-blk-pci,chardev=disk,num-queues=1");

    let guest = cx.boot(&builder)?;
    let said = guest.sh("modprobe virtio_blk; head -n 1 /dev/vda; md5sum </dev/vda")?;
    cx.end(&guest)?;

    let sum = Command::new("md5sum")
        .stdin(fs::File::open(&disk)?)
        .output()?;
    let expected = format!(
        "first block of the disk\n{}",
        String::from_utf8(sum.stdout)?
    );
    ensure!(
        said == expected,
        "the guest reads\n{said}\ninstead of\n{expected}"
    );
    Ok(())
}

/// What `make shell` starts: a guest by virtme-ng, in which a module is loaded from where it lies.
pub fn through_virtme_ng(_: &mut Cx) -> Result<()> {
    let printed = call(
        Command::new(paths::project().join("scripts/guest-shell"))
            .args([
                STOCK,
                "rmmod virtio_rng; insmod rust_virtio_minimal.ko &&
                 dmesg | grep -c 'entropy device of vendor 0x1af4'; id -u; basename /sys/block/vda; exit 3",
            ])
            .env("TERM", "dumb"),
    )?;
    let said = printed.text.replace('\r', "");
    ensure!(said.contains("1\n0\nvda\n"), "the guest says\n{said}");
    // That of the command in the guest.
    ensure!(!printed.success, "its exit status is lost");
    Ok(())
}
