// SPDX-License-Identifier: GPL-2.0

//! The end of a driver, of its kernel, or of the whole guest: then nobody may use the device any more.
//! The backend, which shares the memory of the guest, has seen whether somebody did.

use super::mapped::Drivers;
use crate::{
    backend::{
        Backend, Part,
        handle::{number, sum},
        net::{Interface, builder_of, load_driver, tcp_both_ways},
        switch::{host, tap_works},
    },
    blk,
    cx::Cx,
    guest::Guest,
    kernel::STOCK,
    net,
    program::Program,
    virtio::end::{self, Change, Victim},
};
use anyhow::{Result, ensure};
use serde_json::json;
use std::{process::Command, sync::Arc, thread, time::Duration};

const LAN: Interface = Interface {
    mac: "52:54:00:00:00:01",
    name: "lan",
    address: "10.0.0.2/24",
};

/// How long it is looked for what must not be.
const LOOK: Duration = Duration::from_millis(500);

/// How long QEMU may take to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How drivers end.
struct End {
    name: &'static str,
    /// What the guest does, with NET and BLK for the drivers. If it is nothing, the guest is killed.
    command: &'static str,
    /// Whether that ends the guest, too.
    ends_guest: bool,
}

const ENDS: &[End] = &[
    End {
        name: "is_unbound",
        command: "for driver in NET BLK; do
             for i in /sys/bus/virtio/drivers/$driver/virtio*; do
                 echo ${i##*/} >/sys/bus/virtio/drivers/$driver/unbind
             done
         done",
        ends_guest: false,
    },
    End {
        name: "is_unloaded",
        command: "rmmod NET BLK",
        ends_guest: false,
    },
    End {
        name: "switches_off",
        command: "poweroff -f",
        ends_guest: true,
    },
    End {
        name: "reboots",
        command: "reboot -f",
        ends_guest: true,
    },
    End {
        name: "is_cut_off",
        command: "echo b >/proc/sysrq-trigger",
        ends_guest: true,
    },
    End {
        name: "is_killed",
        command: "",
        ends_guest: true,
    },
];

impl End {
    /// Makes it happen, and returns after it.
    fn come(&self, guest: &Guest, drivers: Drivers) -> Result<()> {
        let command = self
            .command
            .replace("NET", drivers.net.module())
            .replace("BLK", drivers.blk.module());
        if command.is_empty() {
            guest.kill();
        } else if self.ends_guest {
            // The guest has to answer before.
            guest.sh(&format!("(sleep 0.5; {command}) >/dev/null 2>&1 &"))?;
            ensure!(guest.wait_off(PATIENCE)?, "it does not end");
        } else {
            // Who uses the disk has to let go of it.
            guest.sh(&format!("touch /tmp/stop; wait; sleep 0.5; {command}"))?;
        }
        Ok(())
    }
}

/// A backend with a network device and a disk, and a host that sends to the guest whether somebody is
/// there or not.
struct Bench {
    backend: Arc<Backend>,
    _sender: Program,
}

impl Bench {
    fn new(cx: &mut Cx) -> Result<Self> {
        tap_works()?;
        let backend = cx.backend_of(vec![
            Part::net("net", ""),
            Part::blk("disk", "ram=32M"),
            Part::port("host", "tap=rv0"),
            Part::port("peer", "ip=10.0.0.9/24"),
        ])?;
        host(
            "ip link set rv0 up; ip addr add 10.0.0.1/24 dev rv0
             ip neigh replace 10.0.0.2 lladdr 52:54:00:00:00:01 nud permanent dev rv0",
        )?;
        let mut ping = Command::new("ping");
        let sender = Program::spawn(ping.args(["-q", "-i", "0.01", "10.0.0.2"]), cx.artefacts())?;
        Ok(Self {
            backend,
            _sender: sender,
        })
    }
}

/// Each end, with a guest of its own; and once more with nobody who ends it: the guest is killed.
pub fn of_drivers(cx: &mut Cx, drivers: Drivers) -> Result<()> {
    let Bench { backend, _sender } = Bench::new(cx)?;
    for end in ENDS {
        cx.case(end.name, |cx| {
            let guest = boot(cx, &backend, drivers, end.name)?;
            let quiet = end.come(&guest, drivers).and_then(|()| is_quiet(&backend));
            if quiet.is_err() || end.ends_guest {
                // The next one connects to the same backend.
                guest.kill();
                return quiet;
            }
            cx.end(&guest)
        });
    }
    cx.case("goes_on", |cx| {
        let guest = boot(cx, &backend, drivers, "last")?;
        guest.sh("touch /tmp/stop")?;
        tcp_both_ways(&guest, "10.0.0.9", 100_000)?;
        cx.end(&guest)
    });
    Ok(())
}

/// A guest that uses both devices.
fn boot(cx: &mut Cx, backend: &Backend, drivers: Drivers, name: &str) -> Result<Arc<Guest>> {
    let builder = builder_of(cx, drivers.net)?.name(name);
    let builder = match drivers.blk {
        blk::load::Driver::InTree => builder.kernel_module(drivers.blk.module()),
        blk::load::Driver::Ours => builder.module(drivers.blk.module())?,
    };
    let builder = backend.attach_net(builder, "net", 1, &format!("mac={}", LAN.mac));
    let guest = cx.boot(&backend.attach(builder, "disk", "num-queues=2"))?;
    load_driver(&guest, drivers.net, &[LAN])?;
    drivers.blk.load(&guest)?;
    let disk = drivers.blk.disk();
    guest.sh(&format!(
        "(while [ ! -e /tmp/stop ]; do dd if=/dev/zero of=/dev/{disk} bs=64k count=100; done) \
             >/dev/null 2>&1 &
         (while [ ! -e /tmp/stop ]; do ping -c 10 -i 0.01 -q 10.0.0.9; done) >/dev/null 2>&1 &"
    ))?;
    for (device, queues) in [("net", 0..2), ("disk", 0..1)] {
        let before = sum(&backend.counters(device)?, "returned");
        backend.wait_until(device, "it is used", |counters| {
            sum(counters, "returned") > before + 20
        })?;
        let counters = backend.counters(device)?;
        for queue in queues {
            ensure!(counters["queues"][queue]["running"] == true, "{counters:#}");
        }
    }
    Ok(guest)
}

/// Fails if somebody has used a queue after its reset, or something is still returned.
fn is_quiet(backend: &Backend) -> Result<()> {
    for device in ["net", "disk"] {
        backend.wait_until(device, "its queues are stopped", |counters| {
            let queues = counters["queues"].as_array().into_iter().flatten();
            queues.filter(|queue| queue["running"] == true).count() == 0
        })?;
    }
    let returned = || -> Result<Vec<u64>> {
        let devices = ["net", "disk"].into_iter();
        devices
            .map(|device| Ok(sum(&backend.counters(device)?, "returned")))
            .collect()
    };
    let lost = || {
        number(
            &backend.device("switch", "counters", json!({}))?["ports"]["host"],
            "in_frames",
        )
    };
    let (before, sent) = (returned()?, lost()?);
    thread::sleep(LOOK);
    ensure!(lost()? > sent + 5, "the host sends nothing");
    ensure!(returned()? == before, "something is returned");
    for device in ["net", "disk"] {
        let counters = backend.counters(device)?;
        // What the rings were in may change: it is the guest's again.
        for offence in ["kicks_after_reset", "buffers_after_reset"] {
            ensure!(sum(&counters, offence) == 0, "{offence}: {counters:#}");
        }
    }
    Ok(())
}

/// The kernel makes place for another one, which uses the device.
pub fn of_kernels(cx: &mut Cx, driver: net::rig::Driver) -> Result<()> {
    let Bench { backend, _sender } = Bench::new(cx)?;
    for (name, change) in [("kexec", Change::Kexec), ("crash", Change::Crash)] {
        cx.case(name, |cx| {
            let builder = driver.builder(cx, STOCK)?.name(name);
            let victim = Victim {
                module: driver.module(),
                builder: backend.attach_net(builder, "net", 1, &format!("mac={}", LAN.mac)),
                works: "lan=$(basename $(dirname $(grep -l 52:54:00:00:00:01 /sys/class/net/*/address)))
                     ip link set $lan up && ip addr replace 10.0.0.2/24 dev $lan &&
                     ping -c 3 -i 0.2 -W 5 -s 1400 10.0.0.9"
                    .to_owned(),
                uses: "ping -c 1000 -i 0.001 -s 1400 10.0.0.9".to_owned(),
            };
            end::changes_kernels(cx, STOCK, &victim, change)?;
            let counters = backend.counters("net")?;
            for offence in ["kicks_after_reset", "buffers_after_reset"] {
                ensure!(sum(&counters, offence) == 0, "{offence}: {counters:#}");
            }
            ensure!(sum(&counters, "errors") == 0, "{counters:#}");
            Ok(())
        });
    }
    Ok(())
}
