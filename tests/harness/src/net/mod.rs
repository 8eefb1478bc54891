// SPDX-License-Identifier: GPL-2.0

//! Tests of network drivers: of what arrives at the other end, and of all
//! that may happen to a device meanwhile. The kernel's own driver goes the same way, to tell whose
//! fault a failure is.

mod change;
pub mod cost;
mod data;
mod end;
mod filter;
pub mod lan;
mod late;
mod life;
mod offload;
mod pair;
mod recovery;
mod reset;
pub mod rig;
mod selftest;
mod soak;
mod told;
mod wire;

use crate::{
    cx::Test,
    kernel::{DEBUG, STOCK},
};
use rig::Driver::{InTree, Ours};

/// How often a driver is unloaded under traffic, and how often when time does not matter.
const UNLOADS: u32 = 10;
const MANY_UNLOADS: u32 = 100;

/// Returns the tests of this group.
pub fn tests() -> impl Iterator<Item = &'static Test> {
    TESTS
        .iter()
        .chain(late::TESTS)
        .chain(end::TESTS)
        .chain(reset::TESTS)
        .chain(told::TESTS)
        .chain(soak::TESTS)
        .chain(selftest::TESTS)
}

/// Those of the files that do not list their own.
const TESTS: &[Test] = &[
    Test::new("net::data::arrives_in_tree_stock", |cx| {
        data::arrives(cx, STOCK, InTree)
    })
    .limit(200)
    .exhaustive(),
    Test::new("net::data::arrives_in_tree_debug", |cx| {
        data::arrives(cx, DEBUG, InTree)
    })
    .trees(&[DEBUG])
    .exhaustive()
    .limit(600),
    Test::new("net::data::arrives_stock", |cx| {
        data::arrives(cx, STOCK, Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("net::data::arrives_by_each_way", |cx| {
        data::arrives_by_each_way(cx, DEBUG, Ours)
    })
    .kernels(&[DEBUG])
    .limit(500),
    Test::new("net::data::arrives_debug", |cx| {
        data::arrives(cx, DEBUG, Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(600),
    Test::new("net::offload::is_switched_in_tree_stock", |cx| {
        offload::is_switched(cx, STOCK, InTree)
    })
    .limit(200),
    Test::new("net::offload::is_switched_in_tree_debug", |cx| {
        offload::is_switched(cx, DEBUG, InTree)
    })
    .trees(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::offload::is_switched_stock", |cx| {
        offload::is_switched(cx, STOCK, Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("net::offload::is_switched_debug", |cx| {
        offload::is_switched(cx, DEBUG, Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::filter::lets_pass_in_tree_stock", |cx| {
        filter::lets_pass(cx, STOCK, InTree)
    })
    .limit(150)
    .exhaustive(),
    Test::new("net::filter::lets_pass_in_tree_debug", |cx| {
        filter::lets_pass(cx, DEBUG, InTree)
    })
    .trees(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::filter::lets_pass_stock", |cx| {
        filter::lets_pass(cx, STOCK, Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::filter::lets_pass_debug", |cx| {
        filter::lets_pass(cx, DEBUG, Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("net::change::goes_on_in_tree_stock", |cx| {
        change::goes_on(cx, STOCK, InTree)
    })
    .exhaustive()
    .limit(200),
    Test::new("net::change::goes_on_in_tree_debug", |cx| {
        change::goes_on(cx, DEBUG, InTree)
    })
    .trees(&[DEBUG])
    .exhaustive()
    .limit(600),
    Test::new("net::change::goes_on_stock", |cx| {
        change::goes_on(cx, STOCK, Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("net::change::goes_on_debug", |cx| {
        change::goes_on(cx, DEBUG, Ours)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(600),
    Test::new("net::life::comes_and_goes_in_tree_stock", |cx| {
        life::comes_and_goes(cx, STOCK, InTree, UNLOADS)
    })
    .exhaustive()
    .limit(200),
    Test::new("net::life::comes_and_goes_in_tree_debug", |cx| {
        life::comes_and_goes(cx, DEBUG, InTree, UNLOADS)
    })
    .trees(&[DEBUG])
    .exhaustive()
    .limit(400),
    Test::new("net::life::comes_and_goes_stock", |cx| {
        life::comes_and_goes(cx, STOCK, Ours, UNLOADS)
    })
    .kernels(&[STOCK])
    .limit(300),
    Test::new("net::life::comes_and_goes_debug", |cx| {
        life::comes_and_goes(cx, DEBUG, Ours, UNLOADS)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(400),
    Test::new("net::life::is_unloaded_in_tree_stock", |cx| {
        life::is_unloaded(cx, STOCK, InTree, MANY_UNLOADS)
    })
    .exhaustive()
    .limit(600),
    Test::new("net::life::is_unloaded_in_tree_debug", |cx| {
        life::is_unloaded(cx, DEBUG, InTree, MANY_UNLOADS)
    })
    .trees(&[DEBUG])
    .exhaustive()
    .limit(900),
    Test::new("net::life::is_unloaded_stock", |cx| {
        life::is_unloaded(cx, STOCK, Ours, MANY_UNLOADS)
    })
    .kernels(&[STOCK])
    .exhaustive()
    .limit(600),
    Test::new("net::life::is_unloaded_debug", |cx| {
        life::is_unloaded(cx, DEBUG, Ours, MANY_UNLOADS)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(900),
    Test::new(
        "net::cost::is_near_that_of_the_in_tree_driver",
        cost::is_near_that_of_the_in_tree_driver,
    )
    .kernels(&[STOCK])
    .exhaustive()
    .limit(900),
    Test::new("net::recovery::helps_in_tree_stock", |cx| {
        recovery::helps(cx, STOCK, InTree)
    })
    .limit(300)
    .exhaustive(),
    Test::new("net::recovery::helps_stock", |cx| {
        recovery::helps(cx, STOCK, Ours)
    })
    .kernels(&[STOCK])
    .limit(300),
    Test::new("net::recovery::helps_debug", |cx| {
        recovery::helps(cx, DEBUG, Ours)
    })
    .kernels(&[DEBUG])
    .limit(400),
    Test::new("net::recovery::has_an_end_stock", |cx| {
        recovery::has_an_end(cx, STOCK)
    })
    .kernels(&[STOCK])
    .limit(120),
    Test::new("net::recovery::has_an_end_debug", |cx| {
        recovery::has_an_end(cx, DEBUG)
    })
    .kernels(&[DEBUG])
    .limit(200),
    Test::new("net::recovery::of_commands_stock", |cx| {
        recovery::of_commands(cx, STOCK)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::recovery::of_commands_debug", |cx| {
        recovery::of_commands(cx, DEBUG)
    })
    .kernels(&[DEBUG])
    .limit(300)
    .exhaustive(),
    Test::new("net::pair::carries_frames_stock", |cx| {
        pair::carries_frames(cx, STOCK)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::pair::carries_frames_debug", |cx| {
        pair::carries_frames(cx, DEBUG)
    })
    .kernels(&[DEBUG])
    .limit(500),
    Test::new("net::pair::comes_and_goes_stock", |cx| {
        pair::comes_and_goes(cx, STOCK, 20)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("net::pair::comes_and_goes_debug", |cx| {
        pair::comes_and_goes(cx, DEBUG, 5)
    })
    .kernels(&[DEBUG])
    .limit(500)
    .exhaustive(),
];
