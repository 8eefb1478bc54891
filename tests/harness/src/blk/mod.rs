// SPDX-License-Identifier: GPL-2.0

//! Tests of the block driver.

pub mod cost;
mod data;
mod recovery;

use crate::{
    cx::Test,
    kernel::{DEBUG, STOCK},
};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new(
        "blk::cost::is_below_that_of_the_in_tree_driver",
        cost::is_below_that_of_the_in_tree_driver,
    )
    .kernels(&[STOCK])
    .limit(400),
    Test::new("blk::data::is_kept_stock", data::is_kept_stock)
        .kernels(&[STOCK])
        .limit(240),
    Test::new("blk::data::is_kept_debug", data::is_kept_debug)
        .kernels(&[DEBUG])
        .limit(600),
    Test::new(
        "blk::data::survives_rebinds_stock",
        data::survives_rebinds_stock,
    )
    .kernels(&[STOCK])
    .limit(200),
    Test::new(
        "blk::data::survives_rebinds_debug",
        data::survives_rebinds_debug,
    )
    .kernels(&[DEBUG])
    .limit(600),
    Test::new("blk::recovery::helps_stock", recovery::helps_stock)
        .kernels(&[STOCK])
        .limit(300)
        .memory(2048),
    Test::new("blk::recovery::helps_debug", recovery::helps_debug)
        .kernels(&[DEBUG])
        .limit(500)
        .memory(2048),
    Test::new(
        "blk::recovery::has_an_end_stock",
        recovery::has_an_end_stock,
    )
    .kernels(&[STOCK])
    .limit(200),
    Test::new(
        "blk::recovery::has_an_end_debug",
        recovery::has_an_end_debug,
    )
    .kernels(&[DEBUG])
    .limit(300),
];
