// SPDX-License-Identifier: GPL-2.0

//! Devices that are not on PCI, but mapped to memory: found by what ACPI tells, a device tree, or the
//! command line.

use crate::{
    blk,
    cx::Cx,
    form::{Form, Negotiated, PACKED, VERSION_1},
    guest::{Board, Guest},
    net::{self, lan::Lan, rig},
    paths::Scratch,
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::File;

/// Who has the devices.
#[derive(Clone, Copy)]
pub struct Drivers {
    pub net: net::rig::Driver,
    pub blk: blk::load::Driver,
}

pub const OURS: Drivers = Drivers {
    net: net::rig::Driver::Ours,
    blk: blk::load::Driver::Ours,
};
pub const IN_TREE: Drivers = Drivers {
    net: net::rig::Driver::InTree,
    blk: blk::load::Driver::InTree,
};

/// The interfaces of such devices. The options are those of a device; whether it is a legacy one, QEMU
/// is told for all.
const FORMS: &[Form] = &[
    Form {
        name: "modern",
        options: "",
        with: &[VERSION_1],
        without: &[PACKED],
    },
    Form {
        name: "packed",
        options: ",packed=on",
        with: &[VERSION_1, PACKED],
        without: &[],
    },
    Form {
        name: "legacy",
        options: "",
        with: &[],
        without: &[VERSION_1, PACKED],
    },
];

/// The size of a disk, in MiB.
const MIB: u64 = 16;

/// Two network devices and two disks of each form: they are found, used, told of changes, taken away.
pub fn devices_work(cx: &mut Cx, flavour: &str, board: Board, drivers: Drivers) -> Result<()> {
    for form in FORMS {
        one_form(cx, flavour, board, drivers, form)?;
    }
    Ok(())
}

fn one_form(cx: &mut Cx, flavour: &str, board: Board, drivers: Drivers, form: &Form) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 1)?;
    let options = form.options;
    let legacy = form.without.contains(&VERSION_1);
    let mut builder = drivers
        .net
        .builder(cx, flavour)?
        .name(form.name)
        .board(board)?
        .tool("fio")
        .qemu(&[
            "-global",
            &format!("virtio-mmio.force-legacy={legacy}"),
            "-netdev",
            &netdev,
            "-netdev",
            "user,restrict=on,id=user1",
        ]);
    builder = match drivers.blk {
        blk::load::Driver::InTree => builder.kernel_module(drivers.blk.module()),
        blk::load::Driver::Ours => builder.module(drivers.blk.module())?,
    };
    if board == Board::Bare {
        // Nobody tells it of a second one.
        builder = builder.cpus(1);
    }
    for (number, netdev) in ["tap0", "user1"].into_iter().enumerate() {
        let kind = builder.virtio("virtio-net");
        builder = builder.device(&format!(
            "{kind},id=nic{number},netdev={netdev},mac=52:54:00:09:00:{number:02x}{options}"
        ));
    }
    let mut disks = [0, 1];
    if board == Board::Tree {
        // Its last device has the first place.
        disks.reverse();
    }
    for number in disks {
        let path = scratch.path().join(format!("disk{number}"));
        File::create(&path)?.set_len(MIB << 20)?;
        let drive = format!(
            "driver=file,filename={},node-name=d{number}",
            path.display()
        );
        let kind = builder.virtio("virtio-blk");
        builder = builder.qemu(&["-blockdev", &drive]).device(&format!(
            "{kind},id=disk{number},drive=d{number},serial=disk{number}{options}"
        ));
    }
    let guest = cx.boot(&builder)?;
    let bench = Bench {
        guest: &guest,
        drivers,
        board,
    };
    guest.sh(&format!(
        "modprobe {} && modprobe {} && ip link set lo up",
        drivers.net.module(),
        drivers.blk.module()
    ))?;

    let name = |case| format!("{}/{case}", form.name);
    cx.case(&name("are_found"), |_| bench.are_found(form));
    cx.case(&name("frames"), |_| bench.frames());
    cx.case(&name("data"), |_| bench.data());
    cx.case(&name("changes_are_told"), |_| bench.changes());
    cx.case(&name("they_come_and_go"), |_| bench.come_and_go());
    cx.case(&name("drivers_come_and_go"), |_| bench.reload());
    cx.end(&guest)?;
    lan.check()
}

struct Bench<'a> {
    guest: &'a Guest,
    drivers: Drivers,
    board: Board,
}

impl Bench<'_> {
    /// Returns the name of a disk.
    fn disk(&self, number: usize) -> &'static str {
        match (self.drivers.blk, number) {
            (blk::load::Driver::InTree, 0) => "vda",
            (blk::load::Driver::InTree, _) => "vdb",
            (blk::load::Driver::Ours, 0) => "vdaaa",
            (blk::load::Driver::Ours, _) => "vdaab",
        }
    }

    /// Each driver has two devices, which are where the platform says.
    fn are_found(&self, form: &Form) -> Result<()> {
        let said = self.guest.sh("for i in /sys/bus/virtio/devices/*; do
                 echo $(basename $(dirname $(readlink -f $i))) $(basename $(readlink $i/driver))
             done")?;
        let place = match self.board {
            Board::Pc | Board::Virt => "0000:",
            Board::Micro => "LNRO0005:",
            Board::Bare => "virtio-mmio.",
            Board::Tree => ".virtio_mmio",
        };
        for module in [self.drivers.net.module(), self.drivers.blk.module()] {
            let of = |line: &&str| line.contains(place) && line.ends_with(&format!(" {module}"));
            ensure!(said.lines().filter(of).count() == 2, "{said}");
        }
        ensure!(said.lines().count() == 4, "{said}");
        for number in 0..2 {
            let nic = self.guest.sh(&format!("nic {number}"))?;
            let device = format!("/sys/class/net/{}/device", nic.trim());
            Negotiated::read(self.guest, &device)?.check(form)?;
            let disk = format!("/sys/block/{}", self.disk(number));
            let serial = self.guest.sh(&format!("cat {disk}/serial"))?;
            ensure!(serial.trim() == format!("disk{number}"), "{serial}");
            Negotiated::read(self.guest, &format!("{disk}/device"))?.check(form)?;
        }
        Ok(())
    }

    /// Both networks work, and those who wait are interrupted for that.
    fn frames(&self) -> Result<()> {
        self.guest.sh("up 0")?;
        let before = self.interrupts()?;
        rig::works(self.guest)?;
        self.guest.sh(&format!(
            "netcheck tcp {} --up 1000000 --down 1000000 &&
             ip link set $(nic 1) up && ip addr replace 10.0.2.15/24 dev $(nic 1) &&
             ping -c 3 -i 0.2 -W 5 10.0.2.2",
            rig::PEER
        ))?;
        let after = self.interrupts()?;
        ensure!(after > before + 10, "{before} interrupts, then {after}");
        Ok(())
    }

    /// Returns how often the first network device has interrupted.
    fn interrupts(&self) -> Result<u64> {
        let said = self.guest.sh(
            "device=$(basename $(readlink -f /sys/class/net/$(nic 0)/device))
             awk -v name=$device '$NF == name {
                 for (i = 2; $i ~ /^[0-9]+$/; i++) sum += $i } END { print sum + 0 }' /proc/interrupts",
        )?;
        let count = said.trim().parse();
        count.with_context(|| format!("the guest says {said}"))
    }

    /// What was written to both disks at once is read again.
    fn data(&self) -> Result<()> {
        let jobs: Vec<_> = (0..2)
            .map(|number| {
                let disk = self.disk(number);
                format!("--name={disk} --filename=/dev/{disk}")
            })
            .collect();
        self.guest.sh(&format!(
            "fio --direct=1 --ioengine=libaio --iodepth=8 --rw=randrw --bsrange=512-64k \
                 --size={MIB}M --io_size=4M --verify=crc32c --verify_fatal=1 --do_verify=1 \
                 --minimal {}",
            jobs.join(" ")
        ))?;
        Ok(())
    }

    /// The link goes and comes; a disk grows.
    fn changes(&self) -> Result<()> {
        for up in [false, true] {
            let arguments = json!({ "name": "nic0", "up": up });
            self.guest.qmp("set_link", arguments)?;
            let carrier = u8::from(up);
            let path = "/sys/class/net/$(nic 0)/carrier";
            blk::load::waits(self.guest, &format!("[ $(cat {path}) = {carrier} ]"))?;
        }
        let size = json!({ "node-name": "d1", "size": (2 * MIB) << 20 });
        self.guest.qmp("block_resize", size)?;
        let sectors = 2 * MIB * 2048;
        let path = format!("/sys/block/{}/size", self.disk(1));
        blk::load::waits(self.guest, &format!("[ $(cat {path}) = {sectors} ]"))?;
        rig::works(self.guest)
    }

    /// The platform takes devices away, and gives them back.
    fn come_and_go(&self) -> Result<()> {
        let disk = self.disk(1);
        self.guest.sh(&format!(
            "cd /sys/bus/platform/drivers/virtio-mmio
             place() {{ basename $(dirname $(readlink -f $1/device)); }}
             for i in 1 2 3; do
                 nic=$(place /sys/class/net/$(nic 0)); disk=$(place /sys/block/{disk})
                 echo $nic >unbind && echo $disk >unbind || exit
                 [ ! -e /dev/{disk} ] && ! grep -l 52:54:00:09:00:00 /sys/class/net/*/address || exit
                 echo $nic >bind && echo $disk >bind && up 0 || exit
             done"
        ))?;
        blk::load::waits(self.guest, &format!("[ -b /dev/{disk} ]"))?;
        rig::works(self.guest)?;
        self.data()
    }

    /// The drivers are unloaded, and loaded again.
    fn reload(&self) -> Result<()> {
        let (net, blk) = (self.drivers.net.module(), self.drivers.blk.module());
        self.guest.sh(&format!(
            "for i in 1 2 3; do
                 rmmod {net} {blk} && modprobe {blk} && modprobe {net} && up 0 || exit
             done"
        ))?;
        self.drivers.blk.appears(self.guest)?;
        rig::works(self.guest)?;
        self.data()
    }
}
