// SPDX-License-Identifier: GPL-2.0

//! Tests of the block layer, with the RAM disk of the samples: no device is in the way.

mod ramdisk;

use crate::{
    cx::Test,
    kernel::{DEBUG, STOCK},
};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new(
        "block::ramdisk::keeps_data_stock",
        ramdisk::keeps_data_stock,
    )
    .kernels(&[STOCK])
    .limit(200),
    Test::new(
        "block::ramdisk::keeps_data_debug",
        ramdisk::keeps_data_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(500),
    Test::new(
        "block::ramdisk::comes_and_goes_stock",
        ramdisk::comes_and_goes_stock,
    )
    .kernels(&[STOCK])
    .limit(200),
    Test::new(
        "block::ramdisk::comes_and_goes_debug",
        ramdisk::comes_and_goes_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(500),
    Test::new(
        "block::ramdisk::survives_failing_allocations",
        ramdisk::survives_failing_allocations,
    )
    .kernels(&[DEBUG])
    .limit(500),
];
