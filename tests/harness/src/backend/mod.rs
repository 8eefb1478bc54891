// SPDX-License-Identifier: GPL-2.0

//! Tests of our backend, with the kernel's own drivers: what both ends say is proven by somebody
//! else's other end.

mod adversary;
mod blk;
mod handle;

pub use handle::Backend;

use crate::cx::Test;

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new("backend::blk::keeps_data", blk::keeps_data).limit(240),
    Test::new("backend::blk::behaves", blk::behaves).limit(150),
    Test::new(
        "backend::blk::is_killed_while_it_is_used",
        blk::is_killed_while_it_is_used,
    )
    .limit(240),
    Test::new("backend::blk::comes_and_goes", blk::comes_and_goes).limit(120),
    Test::new("backend::adversary::rings", adversary::rings).limit(240),
    Test::new("backend::adversary::requests", adversary::requests).limit(150),
    Test::new("backend::adversary::config", adversary::config).limit(200),
];
