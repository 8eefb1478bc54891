// SPDX-License-Identifier: GPL-2.0

//! All ways from a driver to its device: QEMU, vhost, vhost-user, vDPA; and guests that move.

use super::{
    By::{Cases, Lacking, Test, Unable},
    Ring::{Both, Every, InOrder, Packed},
    Row, System,
    Transport::{PciLegacy, Transitional, Vdpa},
};

/// The tests that several rows are about.
const TAP: &str = "net::data::arrives_stock";
const TAP_IN_TREE: &str = "net::data::arrives_in_tree_stock";
const DISK: &str = "blk::data::is_kept_stock";
const DISK_IN_TREE: &str = "blk::compare::in_tree_keeps_data";
const FEATURES: &str = "blk::features::work_with_and_without_stock";
const NIC_MOVES: &str = "backend::migration::of_networks_many_times";
const NIC_MOVES_IN_TREE: &str = "backend::migration::of_networks_in_tree";
const DISK_MOVES: &str = "backend::migration::of_disks_many_times";
const DISK_MOVES_IN_TREE: &str = "backend::migration::of_disks_in_tree";

/// The system.
pub(super) const SYSTEM: System = System {
    title: "QEMU, vhost, vhost-user, vDPA",
    sentence: "the same driver works with every device that can be had, in every form.",
    rows: &[
        Row::net("tap", Cases(TAP, "modern")),
        Row::net("tap", Cases(TAP_IN_TREE, "modern")).in_tree(),
        Row::net("tap", Cases(TAP, "transitional")).on(Transitional),
        Row::net("tap", Cases(TAP_IN_TREE, "transitional"))
            .in_tree()
            .on(Transitional),
        Row::net("tap", Cases(TAP, "legacy")).on(PciLegacy),
        Row::net("tap", Cases(TAP_IN_TREE, "legacy"))
            .in_tree()
            .on(PciLegacy),
        Row::net("tap", Cases(TAP, "packed")).ring(Packed),
        Row::net("tap", Cases(TAP_IN_TREE, "packed"))
            .in_tree()
            .ring(Packed),
        Row::net("tap, order is offered, not taken", Cases(TAP, "in_order")),
        Row::net("tap", Cases(TAP_IN_TREE, "in_order"))
            .in_tree()
            .ring(InOrder),
        Row::net("tap, no tables, no event index", Cases(TAP, "plain_ring")),
        Row::net(
            "tap, no tables, no event index",
            Cases(TAP_IN_TREE, "plain_ring"),
        )
        .in_tree(),
        Row::net("QEMU's own network", Cases(TAP, "user")),
        Row::net("QEMU's own network", Cases(TAP_IN_TREE, "user")).in_tree(),
        Row::blk("QEMU's file", Cases(DISK, "transitional")).on(Transitional),
        Row::blk("QEMU's file", Cases(DISK_IN_TREE, "transitional"))
            .in_tree()
            .on(Transitional),
        Row::blk("QEMU's file", Cases(DISK, "legacy")).on(PciLegacy),
        Row::blk("QEMU's file", Cases(DISK_IN_TREE, "legacy"))
            .in_tree()
            .on(PciLegacy),
        Row::blk("QEMU's file", Cases(DISK, "packed")).ring(Packed),
        Row::blk("QEMU's file", Cases(DISK_IN_TREE, "packed"))
            .in_tree()
            .ring(Packed),
        Row::blk("QEMU's file, order is not taken", Cases(DISK, "in_order")),
        Row::blk("QEMU's file", Cases(DISK_IN_TREE, "in_order"))
            .in_tree()
            .ring(InOrder),
        Row::blk(
            "QEMU's file, no event index",
            Cases(FEATURES, "without_events"),
        ),
        Row::blk(
            "QEMU's file, no event index",
            Cases(FEATURES, "packed_without_events"),
        )
        .ring(Packed),
        Row::blk("QEMU's file, no tables", Cases(FEATURES, "without_tables")),
        Row::blk(
            "QEMU's file, no tables",
            Cases(FEATURES, "packed_without_tables"),
        )
        .ring(Packed),
        Row::blk("QEMU's file, neither", Cases(DISK_IN_TREE, "plain_ring")).in_tree(),
        Row::blk("QEMU's file, behind an IOMMU", Cases(FEATURES, "iommu")),
        Row::net("vhost-net", Test("systems::others::host_kernel_stock")),
        Row::net("vhost-net", Test("systems::others::host_kernel_in_tree")).in_tree(),
        Row::net(
            "vhost-user, our backend",
            Test("net::recovery::helps_stock"),
        )
        .ring(Both),
        Row::net(
            "vhost-user, our backend",
            Test("backend::net::talks_in_every_form"),
        )
        .in_tree()
        .ring(Every),
        Row::blk("vhost-user, our backend", Test("blk::compare::keeps_data")).ring(Every),
        Row::blk("vhost-user, our backend", Test("backend::blk::keeps_data"))
            .in_tree()
            .ring(Every),
        Row::net("vhost-user, passt", Test("systems::others::network_stock")),
        Row::net(
            "vhost-user, passt",
            Test("systems::others::network_in_tree"),
        )
        .in_tree(),
        Row::net("vhost-user, DPDK", Lacking("the toolbox has none")),
        Row::blk(
            "vhost-user, qemu-storage-daemon",
            Test("systems::others::disk_stock"),
        ),
        Row::blk(
            "vhost-user, qemu-storage-daemon",
            Test("systems::others::disk_in_tree"),
        )
        .in_tree(),
        Row::blk(
            "the same, which is killed",
            Cases("blk::peer::is_served_stock", "killed"),
        ),
        Row::blk(
            "VDUSE, qemu-storage-daemon",
            Test("systems::vdpa::disk_in_user_space_stock"),
        )
        .on(Vdpa),
        Row::blk(
            "VDUSE, qemu-storage-daemon",
            Test("systems::vdpa::disk_in_user_space_in_tree"),
        )
        .in_tree()
        .on(Vdpa),
        Row::both(
            "the kernel's simulators",
            Test("systems::vdpa::simulated_debug"),
        )
        .on(Vdpa)
        .debug(),
        Row::both(
            "the kernel's simulators",
            Test("systems::vdpa::simulated_in_tree"),
        )
        .in_tree()
        .on(Vdpa)
        .debug(),
        Row::both(
            "the kernel's simulators",
            Unable("the stock kernel is built without them"),
        )
        .on(Vdpa),
        Row::net("moves, under traffic", Cases(NIC_MOVES, "split")),
        Row::net("moves, under traffic", Cases(NIC_MOVES, "packed")).ring(Packed),
        Row::net("moves, under traffic", Cases(NIC_MOVES_IN_TREE, "split")).in_tree(),
        Row::net("moves, under traffic", Cases(NIC_MOVES_IN_TREE, "packed"))
            .in_tree()
            .ring(Packed),
        Row::blk("moves, while it is used", Cases(DISK_MOVES, "split")),
        Row::blk("moves, while it is used", Cases(DISK_MOVES, "packed")).ring(Packed),
        Row::blk(
            "moves, while it is used",
            Cases(DISK_MOVES_IN_TREE, "split"),
        )
        .in_tree(),
        Row::blk(
            "moves, while it is used",
            Cases(DISK_MOVES_IN_TREE, "packed"),
        )
        .in_tree()
        .ring(Packed),
        Row::net("SR-IOV", Unable("there is no such hardware")),
    ],
};
