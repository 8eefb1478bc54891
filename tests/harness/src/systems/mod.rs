// SPDX-License-Identifier: GPL-2.0

//! Tests of whole systems: a guest, its driver, the device, and what is behind it.

mod path;

use crate::{cx::Test, kernel::STOCK, net::rig::Driver};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new("systems::path::names_the_hop_in_tree", |cx| {
        path::names_the_hop(cx, Driver::InTree)
    })
    .limit(200),
    Test::new("systems::path::names_the_hop", |cx| {
        path::names_the_hop(cx, Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
];
