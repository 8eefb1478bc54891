// SPDX-License-Identifier: GPL-2.0

//! What the drivers for users do not do with a queue, or not yet (`tests/guest/drivers/exercise.rs`).

use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// A form of the device, and what its queue cannot.
struct Form {
    name: &'static str,
    options: &'static str,
    cannot: &'static [&'static str],
}

const FORMS: &[Form] = &[
    Form {
        name: "split",
        options: "",
        cannot: &[],
    },
    Form {
        name: "packed",
        options: ",packed=on",
        cannot: &[],
    },
    Form {
        name: "in_order",
        options: ",in_order=on",
        cannot: &[],
    },
    Form {
        name: "packed_in_order",
        options: ",packed=on,in_order=on",
        cannot: &[],
    },
    Form {
        name: "plain_ring",
        options: ",indirect_desc=off,event_idx=off",
        cannot: &[],
    },
    Form {
        name: "without_queue_reset",
        options: ",queue_reset=off",
        cannot: &[RESET, RESIZE],
    },
    Form {
        name: "legacy",
        options: ",disable-modern=on,disable-legacy=off",
        cannot: &[RESET, RESIZE],
    },
];

const RESET: &str = "cannot reset a queue alone";
const RESIZE: &str = "cannot resize a queue";

/// What the driver says, one after the other.
const SAID: &[&str] = &[
    "fills up",
    "is told",
    RESET,
    "is reset alone",
    RESIZE,
    "is resized",
    "is told afterwards",
    "moves its interrupt",
    "cancels its work",
    "the device is reset",
    "works after it was reset",
];

pub fn is_done_stock(cx: &mut Cx) -> Result<()> {
    is_done(cx, STOCK)
}

pub fn is_done_debug(cx: &mut Cx) -> Result<()> {
    is_done(cx, DEBUG)
}

fn is_done(cx: &mut Cx, flavour: &str) -> Result<()> {
    let mut builder = cx
        .kernel(flavour)?
        .module("rust_virtio_exercise")?
        .module("rust_virtio_rng")?;
    for form in FORMS {
        builder = builder.device(&format!("virtio-rng-pci{}", form.options));
    }
    let guest = cx.boot(&builder)?;
    guest.sh("echo 0 >/sys/bus/virtio/drivers_autoprobe
         modprobe rust_virtio_exercise")?;
    for (index, form) in FORMS.iter().enumerate() {
        cx.case(form.name, |_| works(&guest, index, form));
    }
    guest.sh("rmmod rust_virtio_exercise")?;
    // What is forgotten is a leak, of which the debug kernel would tell.
    if flavour == STOCK {
        cx.case("forgotten", |_| is_forgotten(&guest));
    }
    cx.end(&guest)
}

/// The driver forgets the queue of each device instead of dropping it.
fn is_forgotten(guest: &Guest) -> Result<()> {
    for index in 0..FORMS.len() {
        guest.sh(&format!(
            "modprobe rust_virtio_exercise forget=1 && cd /sys/bus/virtio/drivers/rust_virtio_exercise
             ! echo virtio{index} >bind && ! grep virtio{index}-input /proc/interrupts &&
             rmmod rust_virtio_exercise"
        ))?;
    }
    guest.sh(
        "modprobe rust_virtio_rng && echo virtio0 >/sys/bus/virtio/drivers/rust_virtio_rng/bind &&
         head -c 16 /dev/hwrng | wc -c && rmmod rust_virtio_rng",
    )?;
    Ok(())
}

/// Binds a device, and compares what the driver says with what it should.
fn works(guest: &Guest, index: usize, form: &Form) -> Result<()> {
    let device = format!("virtio{index}");
    guest.sh(&format!(
        "cd /sys/bus/virtio/drivers/rust_virtio_exercise
         echo {device} >bind || {{ dmesg | grep {device}: ; exit 1; }}
         for i in $(seq 100); do
             dmesg | grep -q '{device}: works after it was reset' && break
             usleep 200000
         done"
    ))?;
    // The core tells of a size that it refuses, if the ring is split.
    let said = guest.sh(&format!(
        "dmesg | grep -v 'Bad virtqueue length 3' | sed -n 's/.* {device}: //p'
         grep {device}-input /proc/interrupts | sed 's/:.*//' | while read irq; do
             cat /proc/irq/$irq/smp_affinity_list
         done"
    ))?;
    let mut expected: Vec<_> = SAID
        .iter()
        .filter(|line| !line.starts_with("cannot") || form.cannot.contains(line))
        .copied()
        .collect();
    // Where the interrupt goes.
    expected.push("1");
    let said: Vec<_> = said.lines().collect();
    ensure!(
        said == expected,
        "it says {said:#?} instead of {expected:#?}"
    );
    guest.sh(&format!(
        "echo {device} >/sys/bus/virtio/drivers/rust_virtio_exercise/unbind"
    ))?;
    Ok(())
}
