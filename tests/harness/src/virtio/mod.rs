// SPDX-License-Identifier: GPL-2.0

//! Tests of the virtio layer, with the entropy driver: every transport, every form of the ring,
//! and everything that can happen to a device while it is in use.

pub mod cost;
pub mod end;
mod exercise;
mod liar;
mod mapped;
pub mod power;
mod reset;
mod rng;
pub mod wire;
mod witness;
mod wrap;

use crate::{
    cx::Test,
    kernel::{DEBUG, STOCK},
};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new(
        "virtio::cost::is_at_most_that_of_c",
        cost::is_at_most_that_of_c,
    )
    .kernels(&[STOCK])
    .limit(500),
    Test::new("virtio::rng::variants_stock", rng::variants_stock)
        .kernels(&[STOCK])
        .limit(150),
    Test::new("virtio::rng::variants_debug", rng::variants_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(500),
    Test::new("virtio::rng::rebinds_stock", rng::rebinds_stock).kernels(&[STOCK]),
    Test::new("virtio::rng::rebinds_debug", rng::rebinds_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(300),
    Test::new(
        "virtio::rng::ends_while_it_is_read_stock",
        rng::ends_while_it_is_read_stock,
    )
    .kernels(&[STOCK]),
    Test::new(
        "virtio::rng::ends_while_it_is_read_debug",
        rng::ends_while_it_is_read_debug,
    )
    .kernels(&[DEBUG])
    .limit(300)
    .exhaustive(),
    Test::new("virtio::rng::is_unplugged_stock", rng::is_unplugged_stock).kernels(&[STOCK]),
    Test::new("virtio::rng::is_unplugged_debug", rng::is_unplugged_debug)
        .kernels(&[DEBUG])
        .limit(240)
        .exhaustive(),
    Test::new(
        "virtio::rng::gives_up_on_a_silent_device",
        rng::gives_up_on_a_silent_device,
    )
    .kernels(&[STOCK]),
    Test::new(
        "virtio::rng::survives_failing_allocations",
        rng::survives_failing_allocations,
    )
    .kernels(&[DEBUG])
    .limit(300),
    Test::new("virtio::reset::is_survived_stock", reset::is_survived_stock).kernels(&[STOCK]),
    Test::new("virtio::reset::is_survived_debug", reset::is_survived_debug)
        .kernels(&[DEBUG])
        .limit(300)
        .exhaustive(),
    Test::new("virtio::wire::keeps_its_word", wire::keeps_its_word).limit(300),
    Test::new(
        "virtio::wire::is_defined_behaviour",
        wire::is_defined_behaviour,
    )
    .limit(600),
    Test::new("virtio::wrap::goes_around_stock", wrap::goes_around_stock)
        .kernels(&[STOCK])
        .limit(180),
    Test::new("virtio::wrap::goes_around_debug", wrap::goes_around_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(600),
    Test::new("virtio::liar::is_met_stock", liar::is_met_stock)
        .kernels(&[STOCK])
        .limit(180),
    Test::new("virtio::liar::is_met_debug", liar::is_met_debug)
        .kernels(&[DEBUG])
        .limit(500),
    Test::new(
        "virtio::power::sleeps_in_tree_stock",
        power::sleeps_in_tree_stock,
    )
    .limit(120),
    Test::new(
        "virtio::power::sleeps_in_tree_debug",
        power::sleeps_in_tree_debug,
    )
    .trees(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("virtio::power::sleeps_stock", power::sleeps_stock)
        .kernels(&[STOCK])
        .limit(120),
    Test::new("virtio::power::sleeps_debug", power::sleeps_debug)
        .kernels(&[DEBUG])
        .exhaustive()
        .limit(300),
    Test::new("virtio::end::reboots_in_tree", |cx| {
        end::reboots(cx, &power::Driver::InTree.victim(cx, STOCK)?)
    })
    .limit(120),
    Test::new("virtio::end::reboots_stock", |cx| {
        end::reboots(cx, &power::Driver::Ours.victim(cx, STOCK)?)
    })
    .kernels(&[STOCK])
    .limit(120),
    Test::new("virtio::end::reboots_debug", |cx| {
        end::reboots(cx, &power::Driver::Ours.victim(cx, DEBUG)?)
    })
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(300),
    Test::new("virtio::end::starts_another_kernel_stock", |cx| {
        end::starts_another_kernel(cx, STOCK, &power::Driver::Ours.victim(cx, STOCK)?)
    })
    .kernels(&[STOCK])
    .memory(1536)
    .limit(180),
    Test::new("virtio::end::starts_another_kernel_debug", |cx| {
        end::starts_another_kernel(cx, DEBUG, &power::Driver::Ours.victim(cx, DEBUG)?)
    })
    .kernels(&[DEBUG])
    .memory(1536)
    .exhaustive()
    .limit(300),
    Test::new("virtio::witness::sees_stock", witness::sees_stock).kernels(&[STOCK]),
    Test::new("virtio::witness::sees_debug", witness::sees_debug)
        .kernels(&[DEBUG])
        .limit(240),
    Test::new("virtio::exercise::is_done_stock", exercise::is_done_stock)
        .kernels(&[STOCK])
        .limit(120),
    Test::new("virtio::exercise::is_done_debug", exercise::is_done_debug)
        .kernels(&[DEBUG])
        .limit(400),
    Test::new(
        "virtio::mapped::go_back_and_forth_stock",
        mapped::go_back_and_forth_stock,
    )
    .kernels(&[STOCK])
    .limit(150),
    Test::new(
        "virtio::mapped::go_back_and_forth_debug",
        mapped::go_back_and_forth_debug,
    )
    .kernels(&[DEBUG])
    .exhaustive()
    .limit(400),
];
