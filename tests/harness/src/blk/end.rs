// SPDX-License-Identifier: GPL-2.0

//! The end of a kernel while a disk is read and written: the disk is left reset, and another kernel can
//! use it.

use super::load::{Driver, file, image};
use crate::{
    cx::{Cx, Test},
    kernel::{DEBUG, STOCK},
    paths::Scratch,
    virtio::end::{self, Victim},
};
use anyhow::Result;

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::end::reboots_stock", |cx| {
        with_disk(cx, STOCK, Driver::Ours, end::reboots)
    })
    .kernels(&[STOCK])
    .limit(120),
    Test::new("blk::end::reboots_debug", |cx| {
        with_disk(cx, DEBUG, Driver::Ours, end::reboots)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("blk::end::reboots_in_tree", |cx| {
        with_disk(cx, STOCK, Driver::InTree, end::reboots)
    })
    .exhaustive()
    .limit(120),
    Test::new("blk::end::starts_another_kernel_stock", |cx| {
        with_disk(cx, STOCK, Driver::Ours, |cx, victim| {
            end::starts_another_kernel(cx, STOCK, victim)
        })
    })
    .kernels(&[STOCK])
    .memory(1536)
    .limit(180),
    Test::new("blk::end::starts_another_kernel_in_tree", |cx| {
        with_disk(cx, STOCK, Driver::InTree, |cx, victim| {
            end::starts_another_kernel(cx, STOCK, victim)
        })
    })
    .memory(1536)
    .exhaustive()
    .limit(180),
    Test::new("blk::end::starts_another_kernel_debug", |cx| {
        with_disk(cx, DEBUG, Driver::Ours, |cx, victim| {
            end::starts_another_kernel(cx, DEBUG, victim)
        })
    })
    .kernels(&[DEBUG])
    .memory(1536)
    .exhaustive()
    .limit(300),
];

/// Does something with a guest that has a disk.
fn with_disk(
    cx: &mut Cx,
    flavour: &str,
    driver: Driver,
    test: impl FnOnce(&mut Cx, &Victim) -> Result<()>,
) -> Result<()> {
    let scratch = Scratch::new()?;
    let disk = driver.disk();
    let builder = file(driver.builder(cx, flavour)?, &image(scratch.path())?, "");
    let victim = Victim {
        module: driver.module(),
        builder: builder.device("virtio-blk-pci,drive=d0,num-queues=2"),
        works: format!(
            "until [ -b /dev/{disk} ]; do usleep 50000; done
             dd if=/dev/urandom of=/tmp/data bs=64k count=16 &&
             dd if=/tmp/data of=/dev/{disk} bs=64k seek=32 oflag=direct &&
             dd if=/dev/{disk} of=/tmp/back bs=64k skip=32 count=16 iflag=direct &&
             cmp /tmp/data /tmp/back"
        ),
        uses: format!(
            "dd if=/dev/{disk} of=/dev/null bs=64k iflag=direct &
             dd if=/dev/{disk} of=/dev/{disk} bs=64k count=16 skip=64 seek=64 iflag=direct oflag=direct
             wait"
        ),
    };
    test(cx, &victim)
}
