// SPDX-License-Identifier: GPL-2.0

//! Devices of which every register is emulated, and virtio ones with the kernel's own driver, against virtio
//! ones with ours: all are in one guest, and are used in turn.

use super::{
    Course, Kind, Leg, Scenario,
    disk::{self, READ_32, REQUESTS},
    driver::Drivers,
    nic::{self, Load, iperf},
};
use crate::{
    bench::Side,
    blk::load,
    guest::{Builder, Guest},
    kernel::{Kernel, STOCK},
    net::{
        lan::Lan,
        rig::{self, Driver, PEER},
    },
    program::Program,
};
use anyhow::Result;
use std::{path::Path, sync::Arc};

/// What there is.
pub(super) const KINDS: [Kind; 2] = [Kind::of::<Nics>(), Kind::of::<Disks>()];

/// Who is compared with ours.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    /// A network card.
    Card,
    /// A controller of disks.
    Ahci,
    /// A disk that has queues, too.
    Nvme,
    /// The same device with the kernel's own driver.
    InTree,
}

/// Some work, against another one.
struct Against<Work> {
    other: Other,
    work: Work,
}

/// A guest with an e1000 and a virtio device, each with a tap of one bridge.
struct Nics {
    guest: Arc<Guest>,
    _server: Program,
    _lan: Lan,
}

impl Nics {
    const DRIVERS: Drivers = Drivers {
        theirs: Driver::InTree.module(),
        ours: Driver::Ours.module(),
    };
}

const fn stream(
    name: &'static str,
    options: &'static str,
    other: Other,
) -> Scenario<Against<Load>> {
    let of = iperf(name, options);
    Scenario {
        name,
        unit: of.unit,
        is_control: false,
        load: Against {
            other,
            work: of.load,
        },
    }
}

impl Course for Nics {
    type Load = Against<Load>;

    const OTHER: &str = "other";

    const SCENARIOS: &[Scenario<Self::Load>] = &[
        stream("emulated tcp out / e1000", "", Other::Card),
        stream("emulated tcp out / in-tree", "", Other::InTree),
        stream("emulated tcp in / e1000", "-R", Other::Card),
        stream("emulated tcp in / in-tree", "-R", Other::InTree),
        Scenario {
            name: "emulated udp request/response / e1000",
            unit: "1/s",
            is_control: false,
            load: Against {
                other: Other::Card,
                work: Load::Answers(2000),
            },
        },
    ];

    fn boot(directory: &Path) -> Result<Self> {
        let mut lan = Lan::at(directory)?;
        let (card, virtio) = (lan.tap("tap0", 1)?, lan.tap("tap1", 1)?);
        let server = lan.run(&["iperf3", "--server"], "iperf3.log")?;
        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name("emulated-nics")
            .module(Self::DRIVERS.ours)?
            .kernel_module(Self::DRIVERS.theirs)
            .kernel_module("e1000")
            .tool("iperf3")
            .cpus(2)
            .memory(512)
            .qemu(&["-netdev", &card])
            .device("e1000,netdev=tap0,mac=52:54:00:09:00:00,romfile=");
        let options = ",addr=0x10,host_tunnel=off,guest_tunnel=off,\
                       host_tunnel_csum=off,guest_tunnel_csum=off";
        let builder = rig::device(rig::tools(builder)?, 1, &virtio, "tap1", options);
        let guest = builder.boot(directory)?;
        guest.sh("modprobe e1000")?;
        Self::DRIVERS.load(&guest, "")?;
        Ok(Self {
            guest,
            _server: server,
            _lan: lan,
        })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn leg(&self, scenario: &Scenario<Self::Load>, side: Side) -> Result<Leg> {
        let Against { other, work } = &scenario.load;
        let (used, idle) = if side == Side::Theirs && *other == Other::Card {
            (0, 1)
        } else {
            Self::DRIVERS.bind(&self.guest, side)?;
            (1, 0)
        };
        self.guest.sh(&format!(
            "idle=$(nic {idle}) && ip addr flush dev $idle && ip link set $idle down
             up {used} && until ping -c 1 -W 1 {PEER} >/dev/null; do :; done"
        ))?;
        nic::run(&self.guest, *work)
    }
}

/// A guest with a disk of each kind, behind which there is nothing.
struct Disks {
    guest: Arc<Guest>,
}

impl Disks {
    const DRIVERS: Drivers = Drivers {
        theirs: load::Driver::InTree.module(),
        ours: load::Driver::Ours.module(),
    };
}

const fn fio(name: &'static str, other: Other) -> Scenario<Against<&'static str>> {
    Scenario {
        name,
        unit: REQUESTS,
        is_control: false,
        load: Against {
            other,
            work: READ_32,
        },
    }
}

impl Course for Disks {
    type Load = Against<&'static str>;

    const OTHER: &str = "other";

    const SCENARIOS: &[Scenario<Self::Load>] = &[
        fio("emulated 4k randread qd32 / AHCI", Other::Ahci),
        fio("emulated 4k randread qd32 / NVMe", Other::Nvme),
        fio("emulated 4k randread qd32 / in-tree", Other::InTree),
    ];

    fn boot(directory: &Path) -> Result<Self> {
        let mut builder = Builder::new(&Kernel::find(STOCK)?)
            .name("emulated-disks")
            .module(Self::DRIVERS.ours)?
            .kernel_module(Self::DRIVERS.theirs)
            .tool("fio")
            .cpus(2)
            .memory(512);
        for module in ["ahci", "sd_mod", "nvme"] {
            builder = builder.kernel_module(module);
        }
        for (node, device) in [
            ("ahci", "ide-hd,drive=ahci,bus=ide.0"),
            ("nvme", "nvme,drive=nvme,serial=nvme"),
            (
                "virtio",
                "virtio-blk-pci,drive=virtio,addr=0x10,num-queues=2",
            ),
        ] {
            let null = format!("driver=null-co,node-name={node},size=1073741824,read-zeroes=on");
            builder = builder.qemu(&["-blockdev", &null]).device(device);
        }
        let guest = builder.boot(directory)?;
        // The one interrupt of the controller goes to the CPU that uses its disk; the others have queues.
        guest.sh("for i in ahci sd_mod nvme; do modprobe $i || exit; done
             until [ -b /dev/sda ] && [ -b /dev/nvme0n1 ]; do usleep 50000; done
             irq=$(awk '/ahci/ { print $1 + 0; exit }' /proc/interrupts)
             echo 1 >/proc/irq/$irq/smp_affinity")?;
        Self::DRIVERS.load(&guest, "")?;
        Ok(Self { guest })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn leg(&self, scenario: &Scenario<Self::Load>, side: Side) -> Result<Leg> {
        let Against { other, work } = &scenario.load;
        let disk = match (side, other) {
            (Side::Theirs, Other::Ahci) => "sda",
            (Side::Theirs, Other::Nvme) => "nvme0n1",
            (Side::Theirs, _) => load::Driver::InTree.disk(),
            (Side::Ours, _) => load::Driver::Ours.disk(),
        };
        if disk.starts_with("vd") {
            Self::DRIVERS.bind(&self.guest, side)?;
            self.guest
                .sh(&format!("until [ -b /dev/{disk} ]; do usleep 50000; done"))?;
        }
        disk::run(&self.guest, disk, "0", scenario.unit, work)
    }
}
