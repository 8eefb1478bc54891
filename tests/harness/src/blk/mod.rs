// SPDX-License-Identifier: GPL-2.0

//! Tests of the block driver.

mod change;
mod claim;
mod compare;
pub mod cost;
mod counters;
mod cut;
mod data;
pub mod driver;
mod end;
mod error;
mod features;
mod filesystem;
pub mod load;
mod memory;
mod peer;
mod plug;
mod power;
mod recovery;
mod root;
pub mod traffic;
mod verify;

use crate::{
    cx::Test,
    kernel::{DEBUG, STOCK},
};

/// Returns the tests of this group.
pub fn tests() -> impl Iterator<Item = &'static Test> {
    TESTS
        .iter()
        .chain(plug::TESTS)
        .chain(power::TESTS)
        .chain(end::TESTS)
        .chain(error::TESTS)
        .chain(cut::TESTS)
        .chain(change::TESTS)
        .chain(peer::TESTS)
        .chain(traffic::TESTS)
        .chain(memory::TESTS)
}

/// Those of the files that do not list their own.
const TESTS: &[Test] = &[
    Test::new("blk::claim::is_heeded_stock", claim::is_heeded_stock).kernels(&[STOCK]),
    Test::new("blk::claim::is_heeded_debug", claim::is_heeded_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(240),
    Test::new(
        "blk::cost::is_below_that_of_the_in_tree_driver",
        cost::is_below_that_of_the_in_tree_driver,
    )
    .kernels(&[STOCK])
    // How often a guest is idle depends on the host, which has to be quiet for this.
    .exhaustive()
    .limit(400),
    Test::new(
        "blk::counters::agree_with_fio_stock",
        counters::agree_with_fio_stock,
    )
    .kernels(&[STOCK]),
    Test::new(
        "blk::counters::agree_with_fio_debug",
        counters::agree_with_fio_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(400),
    Test::new(
        "blk::counters::tell_of_faults_stock",
        counters::tell_of_faults_stock,
    )
    .kernels(&[STOCK])
    .limit(120),
    Test::new(
        "blk::counters::tell_of_faults_debug",
        counters::tell_of_faults_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
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
    Test::new("blk::verify::some_ways_stock", verify::some_ways_stock)
        .kernels(&[STOCK])
        .limit(180),
    Test::new("blk::verify::some_ways_debug", verify::some_ways_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(400),
    Test::new("blk::verify::all_ways_stock", verify::all_ways_stock)
        .kernels(&[STOCK])
        .exhaustive()
        .limit(1800),
    Test::new("blk::verify::all_ways_debug", verify::all_ways_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(3600),
    Test::new("blk::verify::full_rings_stock", verify::full_rings_stock)
        .kernels(&[STOCK])
        .limit(180),
    Test::new("blk::verify::full_rings_debug", verify::full_rings_debug)
        .kernels(&[DEBUG])
        .limit(400)
        .exhaustive(),
    Test::new("blk::verify::deep_rings_stock", verify::deep_rings_stock).limit(180),
    Test::new("blk::verify::deep_rings_debug", verify::deep_rings_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(600),
    Test::new(
        "blk::features::work_with_and_without_stock",
        features::work_with_and_without_stock,
    )
    .kernels(&[STOCK])
    .limit(240),
    Test::new(
        "blk::features::work_with_and_without_debug",
        features::work_with_and_without_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(900),
    Test::new("blk::features::arrive_stock", features::arrive_stock).kernels(&[STOCK]),
    Test::new("blk::features::arrive_debug", features::arrive_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(240),
    Test::new(
        "blk::filesystem::are_kept_stock",
        filesystem::are_kept_stock,
    )
    .kernels(&[STOCK])
    .limit(180),
    Test::new(
        "blk::filesystem::are_kept_debug",
        filesystem::are_kept_debug,
    )
    .kernels(&[DEBUG])
    .limit(400),
    Test::new(
        "blk::filesystem::are_kept_everywhere_stock",
        filesystem::are_kept_everywhere_stock,
    )
    .kernels(&[STOCK])
    .exhaustive()
    .limit(1800),
    Test::new(
        "blk::filesystem::are_kept_everywhere_debug",
        filesystem::are_kept_everywhere_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(3600),
    Test::new(
        "blk::root::is_booted_from_stock",
        root::is_booted_from_stock,
    )
    .kernels(&[STOCK])
    .limit(180),
    Test::new(
        "blk::root::is_booted_from_debug",
        root::is_booted_from_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("blk::compare::behaves", compare::behaves)
        .kernels(&[STOCK])
        .limit(150),
    Test::new("blk::compare::comes_and_goes", compare::comes_and_goes)
        .kernels(&[STOCK])
        .limit(120),
    Test::new(
        "blk::compare::survives_its_backend",
        compare::survives_its_backend,
    )
    .kernels(&[STOCK])
    .limit(240),
    Test::new(
        "blk::compare::differs_as_documented",
        compare::differs_as_documented,
    )
    .kernels(&[STOCK])
    .limit(120),
    Test::new("blk::compare::keeps_data", compare::keeps_data)
        .kernels(&[STOCK])
        .exhaustive()
        .limit(240),
    Test::new(
        "blk::compare::in_tree_keeps_data",
        compare::in_tree_keeps_data,
    )
    .exhaustive()
    .limit(240),
    Test::new(
        "blk::recovery::may_never_begin_stock",
        recovery::may_never_begin_stock,
    )
    .kernels(&[STOCK])
    .limit(240),
    Test::new(
        "blk::recovery::may_never_begin_debug",
        recovery::may_never_begin_debug,
    )
    .kernels(&[DEBUG])
    .limit(400)
    .exhaustive(),
];
