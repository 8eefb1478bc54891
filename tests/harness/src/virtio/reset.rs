// SPDX-License-Identifier: GPL-2.0

//! The function of a PCI device is reset behind its driver's back, as far as the kernel tells it.

use super::rng;
use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// Forms of the ring.
const FORMS: [(&str, &str); 2] = [("split", ""), ("packed", ",packed=on")];

pub fn is_survived_stock(cx: &mut Cx) -> Result<()> {
    is_survived(cx, STOCK, 20)
}

pub fn is_survived_debug(cx: &mut Cx) -> Result<()> {
    is_survived(cx, DEBUG, 5)
}

/// Whoever reads random bytes may meet an error, and then gets more of them.
fn is_survived(cx: &mut Cx, flavour: &str, rounds: u32) -> Result<()> {
    let mut builder = cx.kernel(flavour)?.module("rust_virtio_rng")?;
    for (index, (_, options)) in FORMS.iter().enumerate() {
        let slot = index + 1;
        builder = builder
            .device(&format!(
                "pcie-root-port,id=port{index},chassis={slot},slot={slot}"
            ))
            .device(&format!("virtio-rng-pci,bus=port{index}{options}"));
    }
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe rust_virtio_rng")?;
    for (index, (name, _)) in FORMS.iter().enumerate() {
        cx.case(name, |_| goes_on(&guest, index, rounds));
    }
    guest.sh("rmmod rust_virtio_rng")?;
    cx.end(&guest)
}

fn goes_on(guest: &Guest, index: usize, rounds: u32) -> Result<()> {
    let said = guest.sh(&format!(
        "echo rust_virtio_rng.{index} >/sys/class/misc/hw_random/rng_current
         cd -P /sys/bus/virtio/devices/virtio{index}/.. || exit
         echo flr >reset_method || exit
         : >/tmp/reads
         (while :; do
              dd if=/dev/hwrng of=/dev/null bs=64 count=4 2>/dev/null && echo >>/tmp/reads
          done) & reader=$!
         n=0
         while [ $n -lt {rounds} ]; do
             before=$(wc -l </tmp/reads)
             echo 1 >reset || break
             left=400
             while [ $(wc -l </tmp/reads) -le $((before + 1)) ] && [ $left -gt 0 ]; do
                 left=$((left - 1))
                 usleep 50000
             done
             [ $left -gt 0 ] || break
             n=$((n + 1))
         done
         kill $reader; wait 2>/dev/null
         dmesg | grep -e 'failure: ' -e 'virtio{index}: '
         echo $n"
    ))?;
    ensure!(said == format!("{rounds}\n"), "the guest says {said}");
    rng::gives_random_bytes(guest)
}
