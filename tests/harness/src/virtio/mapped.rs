// SPDX-License-Identifier: GPL-2.0

//! Buffers that are mapped once (`tests/guest/drivers/mapped.rs`).

use crate::{
    cx::Cx,
    guest::Builder,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

pub fn go_back_and_forth_stock(cx: &mut Cx) -> Result<()> {
    go_back_and_forth(cx, STOCK)
}

pub fn go_back_and_forth_debug(cx: &mut Cx) -> Result<()> {
    go_back_and_forth(cx, DEBUG)
}

/// Where the device reaches all memory, some, and what an IOMMU lets it.
fn go_back_and_forth(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = cx.kernel(flavour)?.module("rust_virtio_mapped")?;
    let modern = "virtio-rng-pci,disable-legacy=on,iommu_platform=on";
    let kinds: [(&str, Builder); 3] = [
        (
            "plain",
            builder
                .clone()
                .device("virtio-rng-pci")
                .device("virtio-rng-pci,packed=on"),
        ),
        (
            "bounce_buffers",
            builder.clone().append("swiotlb=force").device(modern),
        ),
        (
            "iommu",
            builder
                .append("intel_iommu=on")
                .device("intel-iommu,intremap=off")
                .device(modern),
        ),
    ];
    for (name, builder) in kinds {
        cx.case(name, |cx| {
            let guest = cx.boot(&builder.name(name))?;
            let devices = if name == "plain" { 2 } else { 1 };
            guest.sh("modprobe rust_virtio_mapped")?;
            // Sums of 256 bytes are rarely the same twice; those of none always are.
            let said = guest.sh(
                "dmesg | sed -n 's/.* \\([0-9]*\\) of 400 buffers differ/\\1/p' |
                 while read n; do [ $n -gt 380 ] && echo good; done | grep -c good
                 cd /sys/bus/virtio/drivers/rust_virtio_mapped
                 for i in 1 2 3; do echo virtio0 >unbind && echo virtio0 >bind || exit; done
                 rmmod rust_virtio_mapped",
            )?;
            ensure!(said == format!("{devices}\n"), "the guest says {said}");
            cx.end(&guest)
        });
    }
    Ok(())
}
