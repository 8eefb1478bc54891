// SPDX-License-Identifier: GPL-2.0

//! The minimal driver and the KUnit suites, in their kernels.

use crate::{
    cx::{Cx, Verdict},
    kernel::{CLOUD, DEBUG, STOCK},
    ktap::{self, Outcome},
};
use anyhow::{Result, ensure};

/// How often the driver is loaded, bound and unloaded.
const ROUNDS: usize = 50;

/// What the driver says when it is bound; the features depend on the version of QEMU.
const FOUND: &str = "rust_virtio_minimal virtio0: entropy device of vendor 0x1af4, offers features";

/// On the distribution's kernel.
pub fn stock(cx: &mut Cx) -> Result<()> {
    load_and_unload(cx, STOCK, ROUNDS)
}

/// On the distribution's kernel for virtual machines: an ABI of its own.
pub fn cloud(cx: &mut Cx) -> Result<()> {
    load_and_unload(cx, CLOUD, 1)
}

/// On the debug kernel, which tells of any leak at the end.
pub fn debug(cx: &mut Cx) -> Result<()> {
    load_and_unload(cx, DEBUG, ROUNDS)
}

fn load_and_unload(cx: &mut Cx, flavour: &str, rounds: usize) -> Result<()> {
    let builder = cx
        .kernel(flavour)?
        .module("rust_virtio_minimal")?
        .device("virtio-rng-pci");
    let guest = cx.boot(&builder)?;

    let said = guest.sh(&format!(
        "cd /sys/bus/virtio/devices/virtio0
         for i in $(seq {rounds}); do
             modprobe rust_virtio_minimal || exit
             [ $(basename $(readlink driver)) = rust_virtio_minimal ] && [ $(cat status) = 0x0000000f ] ||
                 echo \"round $i: not bound, status $(cat status)\"
             rmmod rust_virtio_minimal || exit
             [ ! -e driver ] && [ $(cat status) = 0x00000001 ] ||
                 echo \"round $i: still bound, status $(cat status)\"
         done
         echo \"bound $(dmesg | grep -c '{FOUND}') times\"
         lsmod | grep -c rust_virtio_minimal || true"
    ))?;

    let expected = format!("bound {rounds} times\n0\n");
    ensure!(
        said == expected,
        "the guest says\n{said}\ninstead of\n{expected}"
    );
    Ok(())
}

/// Each KUnit suite of the support crate.
pub fn kunit(cx: &mut Cx) -> Result<()> {
    let builder = cx.kernel(DEBUG)?.module("kernel_ext_kunit")?;
    let guest = cx.boot(&builder)?;

    let log = guest.sh("dmesg -c >/dev/null; modprobe kernel_ext_kunit; dmesg")?;
    for case in ktap::parse(&log)? {
        let verdict = match case.outcome {
            Outcome::Passed => Verdict::Passed,
            Outcome::Skipped(why) => Verdict::Skipped(why),
            Outcome::Failed(why) => Verdict::Failed(why),
        };
        cx.add_case(&case.name, &verdict);
    }
    guest.sh("rmmod kernel_ext_kunit")?;
    Ok(())
}
