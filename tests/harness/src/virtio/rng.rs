// SPDX-License-Identifier: GPL-2.0

//! The entropy driver of the samples, `rust_virtio_rng`.

use crate::{
    cx::Cx,
    form::{ACCESS_PLATFORM, EVENT_IDX, Form, IN_ORDER, INDIRECT, Negotiated, PACKED, VERSION_1},
    guest::{Builder, Guest, NO_IRQ_FILES},
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};
use std::{sync::Arc, thread, time::Duration};

/// How often the driver is unbound and bound again.
const ROUNDS: usize = 200;

/// How often it is unloaded while somebody reads.
const UNLOADS: usize = 20;

fn builder(cx: &Cx, flavour: &str) -> Result<Builder> {
    cx.kernel(flavour)?.module("rust_virtio_rng")
}

/// Forms of the transport and of the ring.
const FORMS: &[Form] = &[
    Form {
        name: "transitional",
        options: "",
        with: &[VERSION_1, INDIRECT, EVENT_IDX],
        without: &[PACKED, IN_ORDER],
    },
    Form {
        name: "modern",
        options: ",disable-legacy=on",
        with: &[VERSION_1],
        without: &[],
    },
    Form {
        name: "legacy",
        options: ",disable-modern=on,disable-legacy=off",
        with: &[],
        without: &[VERSION_1],
    },
    Form {
        name: "packed",
        options: ",packed=on",
        with: &[PACKED],
        without: &[],
    },
    Form {
        name: "in_order",
        options: ",in_order=on",
        with: &[],
        without: &[PACKED, IN_ORDER],
    },
    Form {
        name: "packed_in_order",
        options: ",packed=on,in_order=on",
        with: &[PACKED],
        without: &[IN_ORDER],
    },
    Form {
        name: "plain_ring",
        options: ",indirect_desc=off,event_idx=off",
        with: &[VERSION_1],
        without: &[INDIRECT, EVENT_IDX],
    },
];

/// A device whose access to memory the platform restricts.
const RESTRICTED: &[Form] = &[Form {
    name: "device",
    options: ",disable-legacy=on,iommu_platform=on",
    with: &[ACCESS_PLATFORM],
    without: &[],
}];

pub fn variants_stock(cx: &mut Cx) -> Result<()> {
    variants(cx, STOCK)
}

pub fn variants_debug(cx: &mut Cx) -> Result<()> {
    variants(cx, DEBUG)
}

fn variants(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = builder(cx, flavour)?;
    works_in(cx, &builder.clone().name("forms"), FORMS)?;
    works_in(
        cx,
        &builder
            .clone()
            .name("bounce_buffers")
            .append("swiotlb=force"),
        RESTRICTED,
    )?;
    works_in(
        cx,
        &builder
            .name("iommu")
            .append("intel_iommu=on")
            .device("intel-iommu,intremap=off"),
        RESTRICTED,
    )
}

/// Boots a guest with a device of each form, and tries them one by one.
fn works_in(cx: &mut Cx, builder: &Builder, forms: &[Form]) -> Result<()> {
    let mut builder = builder.clone();
    for form in forms {
        builder = builder.device(&format!("virtio-rng-pci{}", form.options));
    }
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe rust_virtio_rng")?;

    for (index, form) in forms.iter().enumerate() {
        cx.case(&format!("{}/{}", guest.name(), form.name), |_| {
            let device = format!("/sys/bus/virtio/devices/virtio{index}");
            Negotiated::read(&guest, &device)?.check(form)?;
            guest.sh(&format!(
                "cd /sys/bus/virtio/drivers/rust_virtio_rng
                 echo virtio{index} >unbind && echo virtio{index} >bind &&
                 echo rust_virtio_rng.{index} >/sys/class/misc/hw_random/rng_current"
            ))?;
            gives_random_bytes(&guest)
        });
    }
    cx.end(&guest)
}

/// Reads some, and checks that they look random: every value comes, none comes too often, and a
/// second read is another.
pub fn gives_random_bytes(guest: &Guest) -> Result<()> {
    let said = guest.sh("for i in 1 2; do
             dd if=/dev/hwrng of=/tmp/bytes$i bs=4096 count=4 iflag=fullblock 2>/dev/null || exit
         done
         cmp -s /tmp/bytes1 /tmp/bytes2 && echo the same twice
         od -A n -v -t u1 -w1 /tmp/bytes1 | sort | uniq -c | awk '
             { values++; sum += $1; if ($1 > most) most = $1 }
             END { print values, sum, most < 120 }'")?;
    // The probability of a byte value that does not come, or comes 120 times, is below 1e-9.
    ensure!(said == "256 16384 1\n", "the bytes are not random: {said}");
    Ok(())
}

pub fn rebinds_stock(cx: &mut Cx) -> Result<()> {
    rebinds(cx, STOCK)
}

pub fn rebinds_debug(cx: &mut Cx) -> Result<()> {
    rebinds(cx, DEBUG)
}

/// Two devices, one of which comes and goes.
fn rebinds(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = builder(cx, flavour)?
        .device("virtio-rng-pci")
        .device("virtio-rng-pci");
    let guest = cx.boot(&builder)?;

    let said = guest.sh(&format!(
        "modprobe rust_virtio_rng
         cat /sys/class/misc/hw_random/rng_available
         cd /sys/bus/virtio/drivers/rust_virtio_rng
         for i in $(seq {ROUNDS}); do
             echo virtio1 >unbind && echo virtio1 >bind || exit
         done
         cat /sys/class/misc/hw_random/rng_available
         echo rust_virtio_rng.1 >/sys/class/misc/hw_random/rng_current"
    ))?;

    let both = "rust_virtio_rng.0 rust_virtio_rng.1 none\n";
    ensure!(
        said.replace(
            "rust_virtio_rng.1 rust_virtio_rng.0",
            "rust_virtio_rng.0 rust_virtio_rng.1"
        ) == format!("{both}{both}"),
        "the guest says {said}"
    );
    gives_random_bytes(&guest)
}

pub fn ends_while_it_is_read_stock(cx: &mut Cx) -> Result<()> {
    ends_while_it_is_read(cx, STOCK)
}

pub fn ends_while_it_is_read_debug(cx: &mut Cx) -> Result<()> {
    ends_while_it_is_read(cx, DEBUG)
}

/// A reader sees the end of the device, and no harm is done.
fn ends_while_it_is_read(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = builder(cx, flavour)?.device("virtio-rng-pci");
    let guest = cx.boot(&builder)?;

    guest.sh(&format!(
        "for i in $(seq {UNLOADS}); do
             modprobe rust_virtio_rng || exit
             (while cat /dev/hwrng >/dev/null 2>&1; do :; done) &
             cat /dev/hwrng >/dev/null 2>&1 &
             usleep 100000
             rmmod rust_virtio_rng || exit
             kill %1 %2 2>/dev/null
             wait
         done
         modprobe rust_virtio_rng"
    ))?;
    gives_random_bytes(&guest)
}

pub fn is_unplugged_stock(cx: &mut Cx) -> Result<()> {
    is_unplugged(cx, STOCK)
}

pub fn is_unplugged_debug(cx: &mut Cx) -> Result<()> {
    is_unplugged(cx, DEBUG)
}

/// The device goes away while it is read, and comes again.
fn is_unplugged(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = builder(cx, flavour)?
        .device("pcie-root-port,id=port0,chassis=1,slot=1")
        .device("virtio-rng-pci,bus=port0,id=rng");
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe rust_virtio_rng; (while :; do cat /dev/hwrng >/dev/null 2>&1; done) &")?;

    guest.qmp("device_del", serde_json::json!({ "id": "rng" }))?;
    wait_for(&guest, "[ ! -e /sys/bus/virtio/devices/virtio0 ]")?;
    // The slot is free when the guest has cut its power; the test's time limit is the limit.
    let again = serde_json::json!({ "driver": "virtio-rng-pci", "bus": "port0", "id": "again" });
    while guest.qmp("device_add", again.clone()).is_err() {
        thread::sleep(Duration::from_millis(500));
    }
    wait_for(
        &guest,
        "grep -q rust_virtio_rng /sys/class/misc/hw_random/rng_available",
    )?;
    guest.sh("kill %1 2>/dev/null; killall cat 2>/dev/null; true")?;
    gives_random_bytes(&guest)
}

/// Waits until a command of the guest succeeds: hot-plug takes the seconds that PCIe has for a
/// person to press a button again.
fn wait_for(guest: &Arc<Guest>, command: &str) -> Result<()> {
    for _ in 0..40 {
        if guest.run(command)?.status == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(500));
    }
    anyhow::bail!("this does not come true: {command}");
}

/// A device that fills one buffer, and then none for a long time: reading fails in a bounded time,
/// and the driver can be unloaded.
pub fn gives_up_on_a_silent_device(cx: &mut Cx) -> Result<()> {
    let builder = builder(cx, STOCK)?.device("virtio-rng-pci,max-bytes=64,period=1000000000");
    let guest = cx.boot(&builder)?;

    let said = guest.sh("modprobe rust_virtio_rng
         start=$(cut -d . -f 1 /proc/uptime)
         dd if=/dev/hwrng of=/dev/null bs=4096 count=1 iflag=fullblock 2>&1 | grep -o 'timed out'
         echo $(($(cut -d . -f 1 /proc/uptime) - start < 15))
         rmmod rust_virtio_rng && lsmod | grep -c rust_virtio_rng");
    // The last command finds nothing.
    let said = format!("{said:?}");
    ensure!(
        said.contains("timed out\\n1\\n0") || said.contains("timed out\n1\n0"),
        "{said}"
    );
    Ok(())
}

/// Each allocation fails in turn, from the first one of the command that binds, until none is left.
pub fn survives_failing_allocations(cx: &mut Cx) -> Result<()> {
    let builder = builder(cx, DEBUG)?.device("virtio-rng-pci");
    let guest = cx.boot(&builder)?;

    // What is left of the number tells whether an allocation failed; to ask for it takes some, too.
    let said = guest.sh("cd /sys/kernel/debug/failslab
         echo N >ignore-gfp-wait; echo 0 >verbose
         modprobe rust_virtio_rng
         cd /sys/bus/virtio/drivers/rust_virtio_rng
         echo virtio0 >unbind
         failed=0 n=0 left=0
         while [ $n -lt 500 ] && [ ${left:-0} = 0 ]; do
             n=$((n + 1))
             left=$(echo $n >/proc/self/fail-nth; echo virtio0 >bind
                    read left </proc/self/fail-nth; echo 0 >/proc/self/fail-nth; echo $left)
             if [ -e virtio0 ]; then
                 echo virtio0 >unbind
             else
                 failed=$((failed + 1))
             fi
         done 2>/dev/null
         echo virtio0 >bind
         echo $((n > 40 && n < 500)) $((failed > 10))")?;
    ensure!(said == "1 1\n", "the guest says {said}");
    guest.excuse(&[NO_IRQ_FILES])?;
    gives_random_bytes(&guest)
}
