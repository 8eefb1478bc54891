// SPDX-License-Identifier: GPL-2.0

//! Tests of our backend, with the kernel's own drivers: what both ends say is proven by somebody
//! else's other end.

mod adversary;
pub mod blk;
mod files;
pub mod handle;
mod migration;
pub mod net;
mod net_adversary;
mod rings;
pub mod switch;

pub use handle::{Backend, Part};
pub use net::tcp_both_ways;

use crate::{
    blk::driver::{IN_TREE, RENAMED},
    cx::Test,
    kernel::STOCK,
    net::rig::Driver::{InTree, Ours},
    race,
};
use migration::{MANY_MOVES, MOVES};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new("backend::blk::keeps_data", |cx| {
        blk::keeps_data(cx, &IN_TREE)
    })
    .limit(240),
    Test::new("backend::blk::behaves", |cx| blk::behaves(cx, &IN_TREE)).limit(150),
    Test::new("backend::blk::is_killed_while_it_is_used", |cx| {
        blk::is_killed_while_it_is_used(cx, &IN_TREE)
    })
    .limit(240),
    Test::new("backend::blk::comes_and_goes", |cx| {
        blk::comes_and_goes(cx, &IN_TREE)
    })
    .limit(120),
    Test::new("backend::files::outlive_backends", |cx| {
        files::outlive_backends(cx, &IN_TREE)
    })
    .limit(200),
    Test::new("backend::files::outlive_backends_with_ours", |cx| {
        files::outlive_backends(cx, &RENAMED)
    })
    .kernels(&[STOCK])
    .exhaustive()
    .limit(200),
    Test::new(
        "backend::net::talks_in_every_form",
        net::talks_in_every_form,
    )
    .limit(200),
    Test::new("backend::switch::vlans_are_apart", |cx| {
        switch::vlans_are_apart(cx, InTree, &switch::SPLIT)
    })
    .limit(200),
    Test::new("backend::switch::vlans_are_apart_packed", |cx| {
        switch::vlans_are_apart(cx, InTree, &switch::PACKED_RINGS)
    })
    .exhaustive()
    .limit(200),
    Test::new("backend::switch::vlans_are_apart_in_order", |cx| {
        switch::vlans_are_apart(cx, InTree, &switch::RINGS_IN_ORDER)
    })
    .exhaustive()
    .limit(200),
    Test::new("backend::switch::vlans_are_apart_with_ours", |cx| {
        switch::vlans_are_apart(cx, Ours, &switch::SPLIT)
    })
    .kernels(&[STOCK])
    .exhaustive()
    .limit(200),
    Test::new("backend::switch::queues_come_and_go", |cx| {
        switch::queues_come_and_go(cx, &switch::SPLIT)
    })
    .limit(200),
    Test::new("backend::switch::queues_come_and_go_packed", |cx| {
        switch::queues_come_and_go(cx, &switch::PACKED_RINGS)
    })
    .exhaustive()
    .limit(200),
    Test::new("backend::switch::queues_come_and_go_in_order", |cx| {
        switch::queues_come_and_go(cx, &switch::RINGS_IN_ORDER)
    })
    .exhaustive()
    .limit(200),
    Test::new("backend::net_adversary::frames_in_tree", |cx| {
        net_adversary::frames(cx, InTree)
    })
    .limit(200),
    Test::new("backend::net_adversary::frames", |cx| {
        net_adversary::frames(cx, Ours)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("backend::net_adversary::whole_in_tree", |cx| {
        net_adversary::whole(cx, InTree)
    })
    .limit(150),
    Test::new("backend::net_adversary::whole", |cx| {
        net_adversary::whole(cx, Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("backend::migration::of_disks_in_tree", |cx| {
        migration::of_disks(cx, &IN_TREE, MOVES)
    })
    .memory(2048)
    .limit(400)
    .exhaustive(),
    Test::new("backend::migration::of_disks", |cx| {
        migration::of_disks(cx, &RENAMED, MOVES)
    })
    .kernels(&[STOCK])
    .memory(2048)
    .limit(400),
    Test::new("backend::migration::of_networks_in_tree", |cx| {
        migration::of_networks(cx, InTree, MOVES)
    })
    .memory(2048)
    .limit(400),
    Test::new("backend::migration::of_networks", |cx| {
        migration::of_networks(cx, Ours, MOVES)
    })
    .kernels(&[STOCK])
    .memory(2048)
    .limit(400),
    Test::new("backend::migration::of_disks_many_times", |cx| {
        migration::of_disks(cx, &RENAMED, MANY_MOVES)
    })
    .kernels(&[STOCK])
    .exhaustive()
    .memory(2048)
    .limit(600),
    Test::new("backend::migration::of_networks_many_times", |cx| {
        migration::of_networks(cx, Ours, MANY_MOVES)
    })
    .kernels(&[STOCK])
    .exhaustive()
    .memory(2048)
    .limit(600),
    Test::new("backend::rings::are_fast", rings::are_fast)
        .kernels(&[])
        .exhaustive()
        .limit(900),
    Test::new("backend::race::is_fast", |cx| race::backend::is_fast(cx, 5))
        .exhaustive()
        .alone()
        .memory(1024)
        .limit(900),
    Test::new("backend::adversary::rings", adversary::rings).limit(240),
    Test::new("backend::adversary::requests", adversary::requests).limit(150),
    Test::new("backend::adversary::config", adversary::config).limit(200),
];
