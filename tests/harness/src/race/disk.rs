// SPDX-License-Identifier: GPL-2.0

//! A disk that loses what is written, and gives zeroes: what is measured is the way there.

use super::{
    Course, Scenario,
    driver::{Drivers, IN_TREE},
};
use crate::{
    bench::Side,
    blk::load::Driver,
    guest::{Builder, Guest},
    kernel::{Kernel, STOCK},
    report::Features,
};
use anyhow::{Context, Result, ensure};
use std::{path::Path, sync::Arc};

/// How long fio runs, in seconds.
const SECONDS: u32 = 2;

/// The drivers.
const DRIVERS: Drivers = Drivers {
    theirs: Driver::InTree.module(),
    ours: Driver::Ours.module(),
};

/// A unit.
pub const REQUESTS: &str = "IO/s";
const MEBIBYTES: &str = "MiB/s";

/// What is measured for the control, too.
pub const READ_32: &str = "--ioengine=libaio --iodepth=32 --rw=randread --bs=4k";

/// Something for fio to do, by its options.
const fn fio(name: &'static str, unit: &'static str, load: &'static str) -> Scenario<&'static str> {
    Scenario {
        name,
        unit,
        is_control: false,
        load,
    }
}

/// A guest with a disk.
pub struct Disk {
    guest: Arc<Guest>,
    features: Features,
}

impl Course for Disk {
    type Load = &'static str;

    const OTHER: &str = IN_TREE;

    const SCENARIOS: &[Scenario<&'static str>] = &[
        fio(
            "disk 4k randread qd1",
            REQUESTS,
            "--ioengine=libaio --iodepth=1 --rw=randread --bs=4k",
        ),
        fio("disk 4k randread qd32", REQUESTS, READ_32),
        fio(
            "disk 4k randwrite qd32",
            REQUESTS,
            "--ioengine=libaio --iodepth=32 --rw=randwrite --bs=4k",
        ),
        fio(
            "disk 4k randread qd32 io_uring",
            REQUESTS,
            "--ioengine=io_uring --iodepth=32 --rw=randread --bs=4k",
        ),
        fio(
            "disk 4k randread qd16 polled",
            REQUESTS,
            "--ioengine=io_uring --hipri --iodepth=16 --rw=randread --bs=4k",
        ),
        fio(
            "disk 4k randread 4 jobs qd32",
            REQUESTS,
            "--ioengine=io_uring --iodepth=32 --numjobs=4 --rw=randread --bs=4k",
        ),
        fio(
            "disk 128k read qd8",
            MEBIBYTES,
            "--ioengine=libaio --iodepth=8 --rw=read --bs=128k",
        ),
        fio(
            "disk 128k write qd8",
            MEBIBYTES,
            "--ioengine=libaio --iodepth=8 --rw=write --bs=128k",
        ),
        Scenario {
            is_control: true,
            ..fio("disk 4k randread qd32, control", REQUESTS, READ_32)
        },
    ];

    fn boot(directory: &Path) -> Result<Self> {
        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name("disk")
            .module(DRIVERS.ours)?
            .kernel_module(DRIVERS.theirs)
            .tool("fio")
            .cpus(2)
            .memory(1024)
            .qemu(&[
                "-blockdev",
                "driver=null-co,node-name=null,size=1073741824,read-zeroes=on",
            ])
            // One queue to interrupt and one to poll: with more, they would not have as many.
            .device("virtio-blk-pci,drive=null,addr=0x10,num-queues=2");
        let guest = builder.boot(directory)?;
        let features = DRIVERS.load(&guest, "poll_queues=1")?;
        Ok(Self { guest, features })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn features(&self) -> Option<&Features> {
        Some(&self.features)
    }

    fn leg(&self, scenario: &Scenario<&'static str>, side: Side) -> Result<f64> {
        DRIVERS.bind(&self.guest, side)?;
        let disk = match side {
            Side::Theirs => Driver::InTree.disk(),
            Side::Ours => Driver::Ours.disk(),
        };
        // One job is where the device interrupts: whether it happens to be makes twice the difference.
        let cpus = if scenario.load.contains("numjobs") {
            "echo 0-1"
        } else {
            "cat /proc/irq/$irq/effective_affinity_list"
        };
        let cpus = self.guest.sh(&format!(
            "until [ -b /dev/{disk} ]; do usleep 50000; done
             irq=$(awk '/virtio.*-req/ {{ print $1 + 0; exit }}' /proc/interrupts)
             {cpus}"
        ))?;
        run(&self.guest, disk, cpus.trim(), scenario.unit, scenario.load)
    }
}

/// Has fio use a disk on some CPUs, and returns what it reaches, in a unit.
pub fn run(guest: &Guest, disk: &str, cpus: &str, unit: &str, load: &str) -> Result<f64> {
    let said = guest.sh(&format!(
        "fio --name=race --filename=/dev/{disk} --cpus_allowed={cpus} --direct=1 --size=100% \
             --time_based --runtime={SECONDS} --ramp_time=200ms --norandommap --thread \
             --group_reporting --gtod_reduce=1 --output-format=json --eta=never {load}"
    ))?;
    let report: serde_json::Value =
        serde_json::from_str(&said).with_context(|| format!("fio says {said}"))?;
    let job = &report["jobs"][0];
    ensure!(job["error"] == 0, "fio fails: {said}");
    let way = if load.contains("write") {
        "write"
    } else {
        "read"
    };
    let value = if unit == REQUESTS {
        job[way]["iops"].as_f64()
    } else {
        job[way]["bw_bytes"]
            .as_f64()
            .map(|bytes| bytes / f64::from(1 << 20))
    };
    value.with_context(|| format!("fio says {said}"))
}
