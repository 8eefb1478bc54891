// SPDX-License-Identifier: GPL-2.0

//! Backends that others have written, over vhost-user.

use crate::{
    backend::switch::host,
    blk,
    cx::{Cx, Skip},
    guest::Guest,
    kernel::STOCK,
    net::{
        lan::Lan,
        rig::{self, PEER},
    },
    paths::{self, Scratch},
    program::Program,
};
use anyhow::{Result, bail};
use std::{fs::File, os::unix::fs::PermissionsExt, process::Command};

/// The size of the disk, in MiB.
const MIB: u64 = 32;

/// A disk of `qemu-storage-daemon`.
pub fn disk(cx: &mut Cx, driver: blk::load::Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let (image, socket) = (scratch.path().join("image"), scratch.path().join("socket"));
    File::create(&image)?.set_len(MIB << 20)?;
    let mut daemon = Command::new("qemu-storage-daemon");
    daemon
        .arg("--blockdev")
        .arg(format!(
            "driver=file,filename={},node-name=file,discard=unmap",
            image.display()
        ))
        .arg("--export")
        .arg(format!(
            "type=vhost-user-blk,id=disk,node-name=file,writable=on,num-queues=2,\
             addr.type=unix,addr.path={}",
            socket.display()
        ));
    let mut daemon = Program::spawn(&mut daemon, cx.artefacts())?;
    daemon.wait_for(&socket)?;
    let guest = cx.boot(&driver.builder(cx, STOCK)?.qemu(&[
        "-chardev",
        &format!("socket,id=disk,path={}", socket.display()),
        "-device",
        "vhost-user-blk-pci,chardev=disk,num-queues=2",
    ]))?;
    driver.load(&guest)?;
    let name = driver.disk();
    let data = || keeps_data(&guest, name);

    cx.case("keeps_data", |_| data());
    cx.case("drivers_come_and_go", |_| {
        for _ in 0..3 {
            driver.unload(&guest)?;
            driver.load(&guest)?;
        }
        data()
    });
    cx.case("discards", |_| {
        guest.sh(&format!(
            "blkdiscard /dev/{name} && cmp -n {} /dev/{name} /dev/zero",
            MIB << 20
        ))?;
        Ok(())
    });
    driver.unload(&guest)?;
    cx.end(&guest)
}

/// What is written to a disk is read again.
pub fn keeps_data(guest: &Guest, disk: &str) -> Result<()> {
    guest.sh(&format!(
        "fio --name=d --filename=/dev/{disk} --direct=1 --ioengine=libaio --iodepth=8 \
             --rw=randrw --bsrange=512-64k --size={MIB}M --io_size=8M --verify=crc32c \
             --verify_fatal=1 --do_verify=1 --end_fsync=1 --minimal"
    ))?;
    Ok(())
}

/// A network device that the host's kernel has, by itself: QEMU only sets it up.
pub fn host_kernel(cx: &mut Cx, driver: rig::Driver) -> Result<()> {
    const DEVICE: &str = "/dev/vhost-net";
    if let Err(error) = File::options().read(true).write(true).open(DEVICE) {
        bail!(Skip(format!("{DEVICE} of the host: {error}")));
    }
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 1)?.replace("vhost=off", "vhost=on");
    let builder = driver.builder(cx, STOCK)?;
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", ""))?;
    for round in 0..2 {
        cx.case(&format!("frames_pass/{round}"), |_| {
            rig::load(&guest, driver)?;
            rig::works(&guest)
        });
        guest.sh(&format!("rmmod {}", driver.module()))?;
    }
    lan.check()?;
    cx.end(&guest)
}

/// Where a default route goes: passt looks for that. It is removed when it is dropped.
struct Outside;

impl Outside {
    fn new() -> Result<Self> {
        host(
            "ip link add outside type veth peer name far
             ip link set far up; ip link set outside up; ip addr add 10.7.0.1/24 dev outside
             ip route add default via 10.7.0.254 dev outside",
        )
        .map(|()| Self)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        // What is left is found.
        let _ = host("ip link del outside");
    }
}

/// A network device of `passt`, which makes connections of its own for those of the guest. The
/// address of the gateway is that of the host's loopback.
pub fn network(cx: &mut Cx, driver: rig::Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    // It becomes nobody, who has to come here.
    std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o777))?;
    let socket = scratch.path().join("socket");
    let _outside = Outside::new()?;
    let mut server = Command::new(paths::built("netcheck")?);
    let _server = Program::spawn(server.arg("serve"), cx.artefacts())?;
    let mut passt = Command::new("passt");
    passt
        .args(["--vhost-user", "--foreground", "--ipv4-only"])
        .args([
            "--address",
            rig::GUEST,
            "--netmask",
            "24",
            "--gateway",
            PEER,
        ])
        .arg("--socket")
        .arg(&socket);
    let mut passt = Program::spawn(&mut passt, cx.artefacts())?;
    passt.wait_for(&socket)?;
    let builder = driver.builder(cx, STOCK)?.qemu(&[
        "-chardev",
        &format!("socket,id=passt,path={}", socket.display()),
    ]);
    let guest = cx.boot(&rig::device(
        builder,
        0,
        "vhost-user,id=net,chardev=passt",
        "net",
        "",
    ))?;

    for round in 0..2 {
        cx.case(&format!("frames_pass/{round}"), |_| {
            let nic = rig::load(&guest, driver)?;
            guest.sh(&format!(
                "ip route add default via {PEER}
                 netcheck udp {PEER} 1 1000 1472 &&
                 netcheck tcp {PEER} --up 2000000 --down 2000000 &&
                 ip link set {nic} down && up 0 && netcheck tcp {PEER} --up 100000 --down 100000"
            ))?;
            Ok(())
        });
        guest.sh(&format!("rmmod {}", driver.module()))?;
    }
    cx.end(&guest)
}
