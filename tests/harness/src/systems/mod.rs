// SPDX-License-Identifier: GPL-2.0

//! Tests of whole systems: a guest, its driver, the device, and what is behind it.

mod mapped;
mod path;
mod steering;

use crate::{
    cx::Test,
    guest::Board::{Bare, Micro, Pc},
    kernel::{DEBUG, STOCK},
    net::rig::Driver::{InTree, Ours},
};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new("systems::path::names_the_hop_in_tree", |cx| {
        path::names_the_hop(cx, Pc, InTree)
    })
    .limit(200),
    Test::new("systems::path::names_the_hop", |cx| {
        path::names_the_hop(cx, Pc, Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("systems::path::names_the_hop_mapped", |cx| {
        path::names_the_hop(cx, Micro, Ours)
    })
    .kernels(&[STOCK])
    .limit(200)
    .exhaustive(),
    Test::new("systems::mapped::by_acpi_stock", |cx| {
        mapped::devices_work(cx, STOCK, Micro, mapped::OURS)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("systems::mapped::by_acpi_in_tree", |cx| {
        mapped::devices_work(cx, STOCK, Micro, mapped::IN_TREE)
    })
    .limit(200)
    .exhaustive(),
    Test::new("systems::mapped::by_acpi_debug", |cx| {
        mapped::devices_work(cx, DEBUG, Micro, mapped::OURS)
    })
    .kernels(&[DEBUG])
    .limit(400)
    .exhaustive(),
    Test::new("systems::mapped::by_command_line_debug", |cx| {
        mapped::devices_work(cx, DEBUG, Bare, mapped::OURS)
    })
    .kernels(&[DEBUG])
    .limit(400)
    .exhaustive(),
    Test::new("systems::steering::by_user_and_mark", |cx| {
        steering::by_user_and_mark(cx, Pc, Ours)
    })
    .kernels(&[STOCK]),
    Test::new("systems::steering::by_user_and_mark_mapped", |cx| {
        steering::by_user_and_mark(cx, Micro, Ours)
    })
    .kernels(&[STOCK]),
    Test::new("systems::steering::by_user_and_mark_in_tree", |cx| {
        steering::by_user_and_mark(cx, Pc, InTree)
    })
    .exhaustive(),
];
