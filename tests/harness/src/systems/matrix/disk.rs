// SPDX-License-Identifier: GPL-2.0

//! A disk whose backend is a program: QEMU itself, or ours beside it.

use super::{
    By::{Cases, Test},
    Ring::{Both, Every, InOrder, Packed},
    Row, System,
};

/// The tests that several rows are about: of QEMU's device, and of ours, by either driver.
const QEMU: &str = "blk::data::is_kept_stock";
const QEMU_IN_TREE: &str = "blk::compare::in_tree_keeps_data";
const DATA: &str = "blk::compare::keeps_data";
const DATA_IN_TREE: &str = "backend::blk::keeps_data";
const BEHAVES: &str = "blk::compare::behaves";
const BEHAVES_IN_TREE: &str = "backend::blk::behaves";
const KILLED: &str = "blk::compare::survives_its_backend";
const KILLED_IN_TREE: &str = "backend::blk::is_killed_while_it_is_used";
const FILES: &str = "blk::filesystem::are_kept_stock";
const REQUESTS: &str = "systems::requests::are_counted";
const ARRIVE: &str = "blk::features::arrive_stock";

/// The system.
pub(super) const SYSTEM: System = System {
    title: "A disk in user space",
    sentence: "requests go to QEMU or to the backend beside it, data is what was written, and what the disk \
               says is seen.",
    rows: &[
        Row::blk("data, of QEMU", Cases(QEMU, "modern")),
        Row::blk("data, of QEMU", Cases(QEMU, "packed")).ring(Packed),
        Row::blk("data, of QEMU", Cases(QEMU_IN_TREE, "modern")).in_tree(),
        Row::blk("data, of QEMU", Cases(QEMU_IN_TREE, "packed"))
            .in_tree()
            .ring(Packed),
        Row::blk(
            "data, of QEMU with an iothread",
            Cases(REQUESTS, "qemu/ours/data"),
        ),
        Row::blk(
            "data, of QEMU with an iothread",
            Cases(REQUESTS, "qemu/in_tree/data"),
        )
        .in_tree(),
        Row::blk(
            "speed, as QEMU's with an iothread",
            Test("backend::race::is_fast"),
        )
        .in_tree(),
        Row::blk("data, of the backend", Cases(DATA, "split")),
        Row::blk("data, of the backend", Cases(DATA, "packed")).ring(Packed),
        Row::blk("data, of the backend", Cases(DATA_IN_TREE, "split")).in_tree(),
        Row::blk("data, of the backend", Cases(DATA_IN_TREE, "packed"))
            .in_tree()
            .ring(Packed),
        Row::blk(
            "data, of the backend",
            Cases(DATA_IN_TREE, "split_in_order"),
        )
        .in_tree()
        .ring(InOrder),
        Row::blk("ext4, of QEMU", Cases(FILES, "ext4")),
        Row::blk("XFS, of QEMU", Cases(FILES, "xfs")).ring(Packed),
        Row::blk(
            "ext4, of QEMU",
            Cases("blk::plug::is_mounted_in_tree", "module_stays"),
        )
        .in_tree(),
        Row::blk(
            "ext4, of backends that end",
            Test("backend::files::outlive_backends"),
        )
        .in_tree()
        .ring(Every),
        Row::blk(
            "ext4, of backends that end",
            Test("backend::files::outlive_backends_with_ours"),
        )
        .ring(Every),
        Row::blk("data, of backends that end", Cases(KILLED, "split")),
        Row::blk("data, of backends that end", Cases(KILLED, "packed")).ring(Packed),
        Row::blk("data, of backends that end", Test(KILLED_IN_TREE))
            .in_tree()
            .ring(Both),
        Row::blk(
            "io_uring, without a copy",
            Cases(REQUESTS, "backend/ours/requests"),
        ),
        Row::blk(
            "io_uring, without a copy",
            Cases(REQUESTS, "backend/in_tree/requests"),
        )
        .in_tree(),
        Row::blk(
            "kicks and interrupts of QEMU",
            Cases(REQUESTS, "qemu/ours/requests"),
        ),
        Row::blk(
            "kicks and interrupts of QEMU",
            Cases(REQUESTS, "qemu/in_tree/requests"),
        )
        .in_tree(),
        Row::blk(
            "both sides count the same",
            Cases(BEHAVES, "counts_what_the_guest_does"),
        ),
        Row::blk(
            "both sides count the same",
            Cases(BEHAVES_IN_TREE, "counts_what_the_guest_does"),
        )
        .in_tree(),
        Row::blk(
            "flushes: all else is lost",
            Cases(BEHAVES, "loses_what_was_not_flushed"),
        ),
        Row::blk(
            "flushes: all else is lost",
            Cases(BEHAVES_IN_TREE, "loses_what_was_not_flushed"),
        )
        .in_tree(),
        Row::blk("discards, zeroes", Cases(BEHAVES, "discards_and_zeroes")),
        Row::blk(
            "discards, zeroes",
            Cases(BEHAVES_IN_TREE, "discards_and_zeroes"),
        )
        .in_tree(),
        Row::blk(
            "both reach QEMU's file, and flushes",
            Cases(ARRIVE, "split"),
        ),
        Row::blk(
            "both reach QEMU's file, and flushes",
            Cases(ARRIVE, "packed"),
        )
        .ring(Packed),
        Row::blk(
            "serial number, sizes, limits",
            Cases(BEHAVES, "says_what_it_is"),
        ),
        Row::blk(
            "serial number, sizes, limits",
            Cases(BEHAVES_IN_TREE, "says_what_it_is"),
        )
        .in_tree(),
        Row::blk("a new size", Cases(BEHAVES, "is_resized")),
        Row::blk("a new size", Cases(BEHAVES_IN_TREE, "is_resized")).in_tree(),
        Row::blk(
            "a new size while it is used, of QEMU",
            Cases("blk::change::is_seen_stock", "size"),
        ),
        Row::blk(
            "a new size while it is used, of QEMU",
            Cases("blk::change::is_seen_in_tree", "size"),
        )
        .in_tree(),
        Row::blk(
            "read-only, of QEMU",
            Cases("blk::change::is_seen_stock", "read_only"),
        ),
        Row::blk(
            "read-only, of QEMU",
            Cases("blk::change::is_seen_in_tree", "read_only"),
        )
        .in_tree(),
        Row::blk("errors", Cases(BEHAVES, "fails_on_request")),
        Row::blk("errors", Cases(BEHAVES_IN_TREE, "fails_on_request")).in_tree(),
        Row::blk(
            "errors of QEMU, by sector",
            Test("blk::error::is_told_stock"),
        ),
        Row::blk(
            "errors of QEMU, by sector",
            Test("blk::error::is_told_in_tree"),
        )
        .in_tree(),
    ],
};
