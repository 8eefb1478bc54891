// SPDX-License-Identifier: GPL-2.0

//! A disk that loses what is written, and gives zeroes: what is measured is the way there.

use super::{
    Course, Leg, Scenario,
    driver::{Drivers, IN_TREE},
    latency::Latencies,
    way::{Many, Packed, Plain, Served, Way, properties},
};
use crate::{
    backend::{Backend, Part},
    bench::Side,
    blk::load::Driver,
    guest::{Builder, Guest},
    kernel::{Kernel, STOCK},
    report::Features,
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::{marker::PhantomData, path::Path, sync::Arc, time::Duration};

/// How long fio runs, in seconds.
const SECONDS: u32 = 1;

/// The drivers.
const DRIVERS: Drivers = Drivers {
    theirs: Driver::InTree.module(),
    ours: Driver::Ours.module(),
};

/// A unit.
pub const REQUESTS: &str = "IO/s";
const MEBIBYTES: &str = "MiB/s";

/// One after the other: how long each takes is measured, too.
const READ_1: &str = "--ioengine=libaio --iodepth=1 --rw=randread --bs=4k";

/// What is measured for the control, too.
pub const READ_32: &str = "--ioengine=libaio --iodepth=32 --rw=randread --bs=4k";

const FOUR_JOBS: &str = "--ioengine=io_uring --iodepth=32 --numjobs=4 --rw=randread --bs=4k";
const WRITE_LARGE: &str = "--ioengine=libaio --iodepth=8 --rw=write --bs=128k";

/// Something for fio to do, by its options.
const fn fio(name: &'static str, unit: &'static str, load: &'static str) -> Scenario<&'static str> {
    Scenario {
        name,
        unit,
        is_control: false,
        load,
    }
}

/// What is done in a way.
pub trait Jobs: Way {
    const SCENARIOS: &[Scenario<&'static str>];
}

impl Jobs for Plain {
    const SCENARIOS: &[Scenario<&'static str>] = &[
        fio("disk 4k randread qd1", REQUESTS, READ_1),
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
        fio("disk 4k randread 4 jobs qd32", REQUESTS, FOUR_JOBS),
        fio(
            "disk 128k read qd8",
            MEBIBYTES,
            "--ioengine=libaio --iodepth=8 --rw=read --bs=128k",
        ),
        fio("disk 128k write qd8", MEBIBYTES, WRITE_LARGE),
        Scenario {
            is_control: true,
            ..fio("disk 4k randread qd32, control", REQUESTS, READ_32)
        },
    ];
}

impl Jobs for Packed {
    const SCENARIOS: &[Scenario<&'static str>] = &[
        fio("packed 4k randread qd1", REQUESTS, READ_1),
        fio("packed 4k randread qd32", REQUESTS, READ_32),
    ];
}

impl Jobs for Served {
    const SCENARIOS: &[Scenario<&'static str>] = &[
        fio("served 4k randread qd1", REQUESTS, READ_1),
        fio("served 4k randread qd32", REQUESTS, READ_32),
        fio("served 128k write qd8", MEBIBYTES, WRITE_LARGE),
    ];
}

impl Jobs for Many {
    const SCENARIOS: &[Scenario<&'static str>] =
        &[fio("queues 4k randread 4 jobs qd32", REQUESTS, FOUR_JOBS)];
}

/// A guest with a disk.
pub struct Disk<W> {
    guest: Arc<Guest>,
    features: Features,
    _backend: Option<Backend>,
    _way: PhantomData<W>,
}

impl<W: Jobs> Course for Disk<W> {
    type Load = &'static str;

    const OTHER: &str = IN_TREE;

    const SCENARIOS: &[Scenario<&'static str>] = W::SCENARIOS;

    fn boot(directory: &Path) -> Result<Self> {
        let builder = Builder::new(&Kernel::find(STOCK)?)
            .name(W::NAME)
            .module(DRIVERS.ours)?
            .kernel_module(DRIVERS.theirs)
            .tool("fio")
            .cpus(W::CPUS.into())
            .memory(1024);
        let properties = format!("{},num-queues={}", properties::<W>(), W::CPUS);
        let (builder, backend) = if W::IS_SERVED {
            let disk = format!("ram=256M,queues={}", W::CPUS);
            let backend = Backend::start(vec![Part::blk("disk", &disk)], directory)?;
            (backend.attach(builder, "disk", &properties), Some(backend))
        } else {
            let null = "driver=null-co,node-name=null,size=1073741824,read-zeroes=on";
            let builder = builder
                .qemu(&["-blockdev", null])
                .device(&format!("virtio-blk-pci,drive=null,{properties}"));
            (builder, None)
        };
        let guest = builder.boot(directory)?;
        // With two CPUs, there is a queue to interrupt and one to poll.
        let parameters = if W::CPUS == 2 { "poll_queues=1" } else { "" };
        let features = DRIVERS.load(&guest, parameters)?;
        Ok(Self {
            guest,
            features,
            _backend: backend,
            _way: PhantomData,
        })
    }

    fn guest(&self) -> &Guest {
        &self.guest
    }

    fn features(&self) -> Option<&Features> {
        Some(&self.features)
    }

    fn leg(&self, scenario: &Scenario<&'static str>, side: Side) -> Result<Leg> {
        DRIVERS.bind(&self.guest, side)?;
        let disk = match side {
            Side::Theirs => Driver::InTree.disk(),
            Side::Ours => Driver::Ours.disk(),
        };
        // One job is where the device interrupts: whether it happens to be makes twice the difference.
        let cpus = if scenario.load.contains("numjobs") {
            "echo 0-$(($(nproc) - 1))"
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

/// Has fio use a disk on some CPUs.
pub fn run(guest: &Guest, disk: &str, cpus: &str, unit: &str, load: &str) -> Result<Leg> {
    // To look at the clock more often takes time.
    let times = load == READ_1;
    let clock = if times {
        "--clat_percentiles=0 --lat_percentiles=1 --output-format=json+"
    } else {
        "--gtod_reduce=1 --output-format=json"
    };
    let said = guest.sh(&format!(
        "fio --name=race --filename=/dev/{disk} --cpus_allowed={cpus} --direct=1 --size=100% \
             --time_based --runtime={SECONDS} --ramp_time=200ms --norandommap --thread \
             --group_reporting --eta=never {clock} {load}"
    ))?;
    let report: Value = serde_json::from_str(&said).with_context(|| format!("fio says {said}"))?;
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
    let latencies = if times {
        latencies(&job[way]["lat_ns"]["bins"])?
    } else {
        Latencies::default()
    };
    Ok(Leg {
        value: value.with_context(|| format!("fio says {said}"))?,
        latencies,
    })
}

/// Reads how often what took how long, as fio tells it.
fn latencies(bins: &Value) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    for (time, count) in bins.as_object().context("fio tells no times")? {
        let count = count.as_u64().context("fio tells no counts")?;
        latencies.count(Duration::from_nanos(time.parse()?), count);
    }
    Ok(latencies)
}
