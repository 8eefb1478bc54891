// SPDX-License-Identifier: GPL-2.0

//! A device that is neither QEMU's nor ours: `qemu-storage-daemon`, over vhost-user.

use super::load::{Driver, LIMIT, Load, image};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::{DEBUG, STOCK},
    paths::Scratch,
    program::Program,
};
use anyhow::{Result, ensure};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::peer::is_served_stock", |cx| {
        is_served(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK]),
    Test::new("blk::peer::is_served_debug", |cx| {
        is_served(cx, DEBUG, Driver::Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("blk::peer::is_served_in_tree", |cx| {
        is_served(cx, STOCK, Driver::InTree)
    })
    .exhaustive(),
];

/// How long a request may take, in milliseconds: less than by default.
const TIMEOUT: u32 = 2000;

/// What the daemon is given.
struct Daemon {
    image: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    /// Starts it; it ends with what this returns.
    fn start(&self, cx: &Cx) -> Result<Program> {
        // One that was killed has left it.
        let _ = fs::remove_file(&self.socket);
        let (image, socket) = (self.image.display(), self.socket.display());
        let mut program = cx.spawn(
            Command::new("qemu-storage-daemon")
                .arg("--blockdev")
                .arg(format!(
                    "driver=file,filename={image},node-name=d0,discard=unmap,locking=off"
                ))
                .arg("--export")
                .arg(format!(
                    "type=vhost-user-blk,id=disk,node-name=d0,writable=on,num-queues=2,\
                     addr.type=unix,addr.path={socket}"
                )),
        )?;
        program.wait_for(&self.socket)?;
        Ok(program)
    }
}

/// Somebody uses the disk, flushes it, and discards; the daemon is killed meanwhile, and another one
/// follows.
fn is_served(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let daemon = Daemon {
        image: image(scratch.path())?,
        socket: scratch.path().join("socket"),
    };
    let program = daemon.start(cx)?;
    let builder = driver
        .builder(cx, flavour)?
        .memory(1024)
        .tool("blkdiscard")
        .qemu(&[
            "-chardev",
            &format!(
                "socket,id=c0,path={},reconnect-ms=200",
                daemon.socket.display()
            ),
        ])
        .device("vhost-user-blk-pci,chardev=c0,num-queues=2");
    let guest = cx.boot(&builder)?;
    driver.load(&guest)?;
    let disk = driver.disk();

    cx.case("data", |_| {
        let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;
        load.goes_on(disk)?;
        load.end()
    });
    cx.case("flush", |_| {
        let said = guest.sh(&format!(
            "flushes() {{ set -- $(cat /sys/block/{disk}/stat); shift 15; echo $1; }}
             echo write back >/sys/block/{disk}/cache_type && before=$(flushes)
             dd if=/dev/zero of=/dev/{disk} bs=4k count=1 conv=fsync 2>/dev/null &&
             echo $(($(flushes) - before))"
        ))?;
        ensure!(said == "1\n", "so many flushes: {said}");
        Ok(())
    });
    cx.case("discard", |_| discards(&guest, disk, &daemon.image));
    if driver == Driver::Ours {
        cx.case("killed", |cx| {
            guest.sh(&format!(
                "echo {TIMEOUT} >/sys/block/{disk}/queue/io_timeout"
            ))?;
            let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;
            drop(program);
            let program = daemon.start(cx)?;
            load.goes_on(disk)?;
            load.goes_on(disk)?;
            load.end()?;
            driver.unload(&guest)?;
            drop(program);
            Ok(())
        });
    } else {
        driver.unload(&guest)?;
    }
    cx.end(&guest)
}

/// What is discarded reads as zeroes, and takes no space on the host.
fn discards(guest: &Guest, disk: &str, image: &Path) -> Result<()> {
    use std::os::unix::fs::MetadataExt;

    let blocks = || fs::metadata(image).map(|metadata| metadata.blocks());
    guest.sh(&format!(
        "dd if=/dev/urandom of=/dev/{disk} bs=1M count=8 oflag=direct 2>/dev/null"
    ))?;
    let before = blocks()?;
    let said = guest.run_within(
        &format!(
            "blkdiscard --length 8388608 /dev/{disk} &&
             dd if=/dev/{disk} bs=1M count=8 iflag=direct 2>/dev/null | tr -d '\\0' | wc -c"
        ),
        LIMIT,
    )?;
    ensure!(said.text == "0\n", "so many bytes are left: {}", said.text);
    let after = blocks()?;
    ensure!(
        before >= after + (8 << 11),
        "the file has {before} blocks, and {after} then"
    );
    Ok(())
}
