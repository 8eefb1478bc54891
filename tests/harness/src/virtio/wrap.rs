// SPDX-License-Identifier: GPL-2.0

//! Rings whose indices go around: each of the 65536 values of an index is met, and an interrupt is
//! waited for at each of them.
//!
//! The entropy driver has one buffer, and waits for it. If an interrupt is lost, the reader is told
//! that it took too long.

use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// How many buffers it takes to go around, and then some.
const ONCE: u32 = 70_000;
/// The same for three times.
const THRICE: u32 = 200_000;

/// Reads buffers from a source, one after the other, and returns how many there were.
fn read(guest: &Guest, source: &str, buffers: u32) -> Result<()> {
    let said = guest.sh(&format!(
        "echo {source} >/sys/class/misc/hw_random/rng_current || exit
         dd if=/dev/hwrng bs=64 count={buffers} iflag=fullblock 2>/tmp/said | wc -c
         grep -v -e records -e copied /tmp/said
         true"
    ))?;
    ensure!(
        said == format!("{}\n", u64::from(buffers) * 64),
        "the guest says {said}"
    );
    Ok(())
}

/// A device of QEMU is the first one; one in the guest, which is faster, the second one.
fn goes_around(cx: &mut Cx, flavour: &str, qemu: u32, guests: u32) -> Result<()> {
    let builder = cx
        .kernel(flavour)?
        .module("liar")?
        .module("rust_virtio_rng")?
        .device("virtio-rng-pci");
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe rust_virtio_rng && modprobe liar")?;

    cx.case("of_a_device_in_the_guest", |_| {
        read(&guest, "rust_virtio_rng.1", guests)?;
        let served = guest.sh("cat /sys/kernel/debug/liar/buffers")?;
        let served: u32 = served.trim().parse()?;
        ensure!(served >= guests, "the device has served {served} buffers");
        Ok(())
    });
    if qemu > 0 {
        cx.case("of_a_device_of_qemu", |_| {
            read(&guest, "rust_virtio_rng.0", qemu)
        });
    }
    guest.sh("rmmod liar && rmmod rust_virtio_rng")?;
    cx.end(&guest)
}

pub fn goes_around_stock(cx: &mut Cx) -> Result<()> {
    goes_around(cx, STOCK, ONCE, THRICE)
}

pub fn goes_around_debug(cx: &mut Cx) -> Result<()> {
    goes_around(cx, DEBUG, 0, ONCE)
}
