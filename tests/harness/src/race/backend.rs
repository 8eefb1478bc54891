// SPDX-License-Identifier: GPL-2.0

//! Devices of our backend, against others that do the same: QEMU's own, and those of
//! `qemu-storage-daemon`. All are in one guest, with the kernel's own drivers.

use super::{
    Course, Kind, Leg, Options, Race, Scenario,
    disk::{self, READ_32, REQUESTS},
    nic,
};
use crate::{
    backend::{Backend, Part},
    bench::Side,
    cx::Cx,
    guest::{Builder, Guest},
    kernel::{Kernel, STOCK},
    net::{
        lan::Lan,
        rig::{self, Driver, PEER},
    },
    program::Program,
};
use anyhow::{Context, Result, ensure};
use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

/// How large the images are. They stay in the host's cache.
const MIB: usize = 128;

/// How many times as fast as QEMU's own device one of ours is at least, and as that of the daemon.
const OF_QEMU: f64 = 0.9;
const OF_DAEMON: f64 = 1.0;

/// The same for datagrams: each batch of them is a kick and an interrupt, which pass through QEMU.
const OF_QEMU_DATAGRAMS: f64 = 0.5;

const READ_LARGE: &str = "--ioengine=libaio --iodepth=8 --rw=read --bs=128k";

/// Whose device ours is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    Qemu,
    Daemon,
}

/// What there is.
pub(super) const KINDS: [Kind; 2] = [Kind::of::<Disks>(), Kind::of::<Nics>()];

/// Fails if a device of ours is told apart from one that is as fast as it should be: neither the best legs,
/// which the rest of the host has hindered least, reach that, nor the interval of the medians.
pub fn is_fast(cx: &Cx, rounds: u32) -> Result<()> {
    let options = Options {
        rounds,
        json: None,
        is_fresh: false,
        patterns: Vec::new(),
    };
    let outcomes = Race::new(&options)?.run(&KINDS)?;
    outcomes
        .iter()
        .for_each(|outcome| cx.say(&outcome.to_string()));
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_control) {
        let least = match outcome.name.as_str() {
            name if name.ends_with("daemon") => OF_DAEMON,
            name if name.contains("udp") => OF_QEMU_DATAGRAMS,
            _ => OF_QEMU,
        };
        let (best, (_, high)) = (outcome.comparison.best, outcome.comparison.interval);
        ensure!(
            best.max(high) >= least,
            "{}: only {best:.2} times as fast by the best legs, {high:.2} at most by the medians",
            outcome.name
        );
    }
    Ok(())
}

const fn fio(
    name: &'static str,
    unit: &'static str,
    load: &'static str,
    other: Other,
) -> Scenario<Work> {
    Scenario {
        name,
        unit,
        is_control: false,
        load: Work { load, other },
    }
}

/// What fio does, with whom.
struct Work {
    load: &'static str,
    other: Other,
}

/// A guest with three disks, all of them files on the host that are read by io_uring.
struct Disks {
    guest: Arc<Guest>,
    _daemon: Program,
    _backend: Backend,
}

impl Course for Disks {
    type Load = Work;

    const OTHER: &str = "other";

    const SCENARIOS: &[Scenario<Work>] = &[
        fio(
            "backend 4k randread qd32 / QEMU",
            REQUESTS,
            READ_32,
            Other::Qemu,
        ),
        fio(
            "backend 4k randread qd32 / daemon",
            REQUESTS,
            READ_32,
            Other::Daemon,
        ),
        fio(
            "backend 128k read qd8 / QEMU",
            "MiB/s",
            READ_LARGE,
            Other::Qemu,
        ),
        fio(
            "backend 128k read qd8 / daemon",
            "MiB/s",
            READ_LARGE,
            Other::Daemon,
        ),
        Scenario {
            is_control: true,
            ..fio(
                "backend 4k randread qd32, control",
                REQUESTS,
                READ_32,
                Other::Qemu,
            )
        },
    ];

    fn boot(directory: &Path) -> Result<Self> {
        let images = ["qemu", "daemon", "ours"].map(|name| image(directory, name));
        let [qemu, served, ours] = images;
        let (qemu, served, ours) = (qemu?, served?, ours?);
        let socket = directory.join("daemon.socket");
        let mut daemon = Program::spawn_to(
            Command::new("qemu-storage-daemon")
                .arg("--blockdev")
                .arg(blockdev(&served))
                .arg("--object")
                .arg("iothread,id=thread")
                .arg("--export")
                .arg(format!(
                    "type=vhost-user-blk,id=disk,node-name=file,num-queues=2,iothread=thread,\
                     addr.type=unix,addr.path={}",
                    socket.display()
                )),
            &directory.join("daemon.log"),
        )?;
        daemon.wait_for(&socket)?;
        let spec = format!("file={},queues=2,read-only", ours.display());
        let backend = Backend::start(vec![Part::blk("disk", &spec)], directory)?;

        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name("disks")
            .kernel_module("virtio_blk")
            .tool("fio")
            .cpus(2)
            .memory(512)
            .qemu(&["-blockdev", &blockdev(&qemu)])
            .qemu(&["-object", "iothread,id=thread"])
            .device("virtio-blk-pci,drive=file,iothread=thread,num-queues=2,addr=0x10")
            .qemu(&[
                "-chardev",
                &format!("socket,id=daemon,path={}", socket.display()),
            ])
            .device("vhost-user-blk-pci,chardev=daemon,num-queues=2,addr=0x11");
        let builder = backend.attach(builder, "disk", "num-queues=2,addr=0x12");
        let guest = builder.boot(directory)?;
        guest.sh("modprobe virtio_blk
             for disk in vda vdb vdc; do
                 until [ -b /dev/$disk ]; do usleep 50000; done
             done")?;
        Ok(Self {
            guest,
            _daemon: daemon,
            _backend: backend,
        })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn leg(&self, scenario: &Scenario<Work>, side: Side) -> Result<Leg> {
        let slot = match (side, scenario.load.other) {
            (Side::Theirs, Other::Qemu) => 0x10,
            (Side::Theirs, Other::Daemon) => 0x11,
            (Side::Ours, _) => 0x12,
        };
        let disk = self.guest.sh(&format!(
            "ls /sys/bus/pci/devices/0000:00:{slot:02x}.0/virtio*/block"
        ))?;
        // Each CPU has a queue: with one job, that of the first is used, and interrupts there.
        disk::run(
            &self.guest,
            disk.trim(),
            "0",
            scenario.unit,
            scenario.load.load,
        )
    }
}

/// Makes an image; what is in it, nobody looks at.
fn image(directory: &Path, name: &str) -> Result<PathBuf> {
    let path = directory.join(name);
    let mut file = File::create(&path)?;
    for number in 0..MIB {
        let byte = u8::try_from(number)?;
        file.write_all(&vec![byte; 1 << 20])
            .with_context(|| path.display().to_string())?;
    }
    Ok(path)
}

/// What QEMU and the daemon take for an image.
fn blockdev(image: &Path) -> String {
    format!(
        "driver=file,node-name=file,filename={},read-only=on,aio=io_uring",
        image.display()
    )
}

/// A guest with two network devices, of QEMU and ours, each with a tap of one bridge.
struct Nics {
    guest: Arc<Guest>,
    _server: Program,
    _backend: Backend,
    _lan: Lan,
}

const fn iperf(name: &'static str, load: &'static str) -> Scenario<&'static str> {
    Scenario {
        name,
        unit: "Mbit/s",
        is_control: false,
        load,
    }
}

impl Course for Nics {
    type Load = &'static str;

    const OTHER: &str = "QEMU";

    const SCENARIOS: &[Scenario<&'static str>] = &[
        iperf("backend tcp out", ""),
        iperf("backend tcp in", "-R"),
        iperf("backend udp 1400 out", "-u -b 0 -l 1400"),
        Scenario {
            is_control: true,
            ..iperf("backend tcp out, control", "")
        },
    ];

    fn boot(directory: &Path) -> Result<Self> {
        let mut lan = Lan::at(directory)?;
        let netdev = lan.tap("tap0", 1)?;
        lan.tap("tap1", 1)?;
        let server = lan.run(&["iperf3", "--server"], "iperf3.log")?;
        let parts = vec![Part::net("net", ""), Part::port("host", "tap=tap1")];
        let backend = Backend::start(parts, directory)?;

        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name("nics")
            .kernel_module(Driver::InTree.module())
            .tool("iperf3")
            .cpus(2)
            .memory(512);
        let builder = rig::device(rig::tools(builder)?, 0, &netdev, "tap0", "");
        let ours = "mac=52:54:00:09:00:01,romfile=";
        let guest = backend
            .attach_net(builder, "net", 1, ours)
            .boot(directory)?;
        guest.sh(&format!("modprobe {}", Driver::InTree.module()))?;
        Ok(Self {
            guest,
            _server: server,
            _backend: backend,
            _lan: lan,
        })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn leg(&self, scenario: &Scenario<&'static str>, side: Side) -> Result<Leg> {
        let (used, other) = match side {
            Side::Theirs => (0, 1),
            Side::Ours => (1, 0),
        };
        self.guest.sh(&format!(
            "ip addr flush dev $(nic {other}) && ip link set $(nic {other}) down
             up {used} && until ping -c 1 -W 1 {PEER} >/dev/null; do :; done"
        ))?;
        nic::iperf3(&self.guest, scenario.load).map(Leg::from)
    }
}
