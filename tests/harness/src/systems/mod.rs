// SPDX-License-Identifier: GPL-2.0

//! Tests of whole systems: a guest, its driver, the device, and what is behind it.

mod emulated;
mod many;
mod mapped;
pub mod matrix;
mod others;
mod path;
mod quiesce;
mod requests;
mod steering;
mod vdpa;

use crate::{
    blk,
    cx::Test,
    guest::Board::{Bare, Micro, Pc, Tree},
    kernel::{ARM64, ARM64_16K, DEBUG, STOCK},
    net::rig::Driver::{InTree, Ours},
};

/// The tests of this group.
pub const TESTS: &[Test] = &[
    Test::new("systems::path::names_the_hop_in_tree", |cx| {
        path::names_the_hop(cx, Pc, InTree)
    })
    .limit(200)
    .exhaustive(),
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
    Test::new("systems::mapped::by_command_line_debug", |cx| {
        mapped::devices_work(cx, DEBUG, Bare, mapped::OURS)
    })
    .kernels(&[DEBUG])
    .limit(500)
    .exhaustive(),
    Test::new("systems::mapped::by_command_line_in_tree", |cx| {
        mapped::devices_work(cx, DEBUG, Bare, mapped::IN_TREE)
    })
    .trees(&[DEBUG])
    .limit(500)
    .exhaustive(),
    Test::new("systems::mapped::by_fdt", |cx| {
        mapped::devices_work(cx, ARM64, Tree, mapped::OURS)
    })
    .kernels(&[ARM64])
    .trees(&[])
    .limit(500)
    .exhaustive(),
    Test::new("systems::mapped::by_fdt_in_tree", |cx| {
        mapped::devices_work(cx, ARM64, Tree, mapped::IN_TREE)
    })
    .trees(&[ARM64])
    .limit(500)
    .exhaustive(),
    Test::new("systems::mapped::with_16k_pages", |cx| {
        mapped::devices_work(cx, ARM64_16K, Tree, mapped::OURS)
    })
    .kernels(&[ARM64_16K])
    .trees(&[])
    .limit(500)
    .exhaustive(),
    Test::new("systems::many::devices_at_once_stock", |cx| {
        many::devices_at_once(cx, STOCK, mapped::OURS)
    })
    .kernels(&[STOCK]),
    Test::new("systems::many::devices_at_once_arm64", |cx| {
        many::devices_at_once(cx, ARM64, mapped::OURS)
    })
    .kernels(&[ARM64])
    .trees(&[])
    .limit(300)
    .exhaustive(),
    Test::new("systems::many::devices_at_once_in_tree", |cx| {
        many::devices_at_once(cx, STOCK, mapped::IN_TREE)
    })
    .exhaustive(),
    Test::new("systems::quiesce::of_drivers_stock", |cx| {
        quiesce::of_drivers(cx, mapped::OURS)
    })
    .kernels(&[STOCK])
    .limit(200),
    Test::new("systems::quiesce::of_drivers_in_tree", |cx| {
        quiesce::of_drivers(cx, mapped::IN_TREE)
    })
    .limit(200)
    .exhaustive(),
    Test::new("systems::quiesce::of_kernels_stock", |cx| {
        quiesce::of_kernels(cx, Ours)
    })
    .kernels(&[STOCK])
    .memory(1536)
    .limit(200)
    .exhaustive(),
    Test::new("systems::quiesce::of_kernels_in_tree", |cx| {
        quiesce::of_kernels(cx, InTree)
    })
    .memory(1536)
    .limit(200)
    .exhaustive(),
    Test::new("systems::others::disk_stock", |cx| {
        others::disk(cx, blk::load::Driver::Ours)
    })
    .kernels(&[STOCK]),
    Test::new("systems::others::disk_in_tree", |cx| {
        others::disk(cx, blk::load::Driver::InTree)
    })
    .exhaustive(),
    Test::new("systems::others::network_stock", |cx| {
        others::network(cx, Ours)
    })
    .kernels(&[STOCK]),
    Test::new("systems::others::network_in_tree", |cx| {
        others::network(cx, InTree)
    })
    .exhaustive(),
    Test::new("systems::others::host_kernel_stock", |cx| {
        others::host_kernel(cx, Ours)
    })
    .kernels(&[STOCK]),
    Test::new("systems::others::host_kernel_in_tree", |cx| {
        others::host_kernel(cx, InTree)
    })
    .exhaustive(),
    Test::new("systems::vdpa::disk_in_user_space_stock", |cx| {
        vdpa::disk_in_user_space(cx, blk::load::Driver::Ours)
    })
    .kernels(&[STOCK])
    .limit(150),
    Test::new("systems::vdpa::disk_in_user_space_in_tree", |cx| {
        vdpa::disk_in_user_space(cx, blk::load::Driver::InTree)
    })
    .limit(150)
    .exhaustive(),
    Test::new("systems::vdpa::simulated_debug", |cx| {
        vdpa::simulated(cx, mapped::OURS)
    })
    .kernels(&[DEBUG])
    .limit(300)
    .exhaustive(),
    Test::new("systems::vdpa::simulated_in_tree", |cx| {
        vdpa::simulated(cx, mapped::IN_TREE)
    })
    .trees(&[DEBUG])
    .limit(200)
    .exhaustive(),
    Test::new("systems::requests::are_counted", requests::are_counted).kernels(&[STOCK]),
    Test::new("systems::emulated::costs_more", emulated::costs_more).kernels(&[STOCK]),
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
