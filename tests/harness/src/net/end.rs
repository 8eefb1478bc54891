// SPDX-License-Identifier: GPL-2.0

//! The end of a kernel under traffic: the device is left reset, and another kernel can use it.

use super::rig::{self, Driver};
use crate::{
    cx::{Cx, Test},
    kernel::{DEBUG, STOCK},
    virtio::end::{self, Victim},
};
use anyhow::Result;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("net::end::reboots_stock", |cx| {
        end::reboots(cx, &victim(cx, STOCK, Driver::Ours)?)
    })
    .kernels(&[STOCK])
    .limit(120),
    Test::new("net::end::reboots_debug", |cx| {
        end::reboots(cx, &victim(cx, DEBUG, Driver::Ours)?)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::end::reboots_in_tree", |cx| {
        end::reboots(cx, &victim(cx, STOCK, Driver::InTree)?)
    })
    .exhaustive()
    .limit(120),
    Test::new("net::end::starts_another_kernel_stock", |cx| {
        end::starts_another_kernel(cx, STOCK, &victim(cx, STOCK, Driver::Ours)?)
    })
    .kernels(&[STOCK])
    .memory(1536)
    .limit(180),
    Test::new("net::end::starts_another_kernel_debug", |cx| {
        end::starts_another_kernel(cx, DEBUG, &victim(cx, DEBUG, Driver::Ours)?)
    })
    .kernels(&[DEBUG])
    .memory(1536)
    .exhaustive()
    .limit(300),
];

/// A driver with QEMU's own network, which answers pings.
fn victim(cx: &Cx, flavour: &str, driver: Driver) -> Result<Victim> {
    let builder = driver.builder(cx, flavour)?;
    Ok(Victim {
        module: driver.module(),
        builder: rig::device(builder, 0, "user,restrict=on,id=user", "user", ""),
        works: "ip link set $(nic 0) up && ip addr replace 10.0.2.15/24 dev $(nic 0) &&
             ping -c 3 -i 0.1 -W 5 -s 1400 10.0.2.2"
            .to_owned(),
        uses: "ping -c 1000 -i 0.001 -s 1400 10.0.2.2".to_owned(),
    })
}
