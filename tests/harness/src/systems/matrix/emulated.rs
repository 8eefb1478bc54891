// SPDX-License-Identifier: GPL-2.0

//! A network card that is emulated in full is what virtio is better than; and the drivers are compared.

use super::{
    By::{Cases, Lacking, Test},
    Ring::{Both, Own, Packed},
    Row, System,
};

/// Disks, compared in kicks and interrupts.
const TRAFFIC: &str = "blk::traffic::is_not_more";
/// All three, by the same work.
const EMULATED: &str = "systems::emulated::costs_more";
const SPEED: &str = "make bench measures it, no test judges it";

/// The system.
pub(super) const SYSTEM: System = System {
    title: "Emulation, the baseline",
    sentence: "what a frame or a request costs is counted in one boot with both drivers, and ours is to be \
               no worse.",
    rows: &[
        Row::net("streams and answers, of an e1000", Test(EMULATED)).ring(Own),
        Row::net("streams and datagrams in time", Lacking(SPEED)),
        Row::blk("requests in time", Lacking(SPEED)),
        Row::both(
            "our device in time, as QEMU's",
            Test("backend::race::is_fast"),
        )
        .in_tree(),
        Row::net(
            "instructions, kicks, interrupts",
            Test("net::cost::is_near_that_of_the_in_tree_driver"),
        )
        .ring(Both),
        Row::blk(
            "instructions",
            Test("blk::cost::is_below_that_of_the_in_tree_driver"),
        )
        .ring(Both),
        Row::both("instructions, as recorded", Test("bench::gate::holds")).ring(Both),
        Row::blk("kicks, interrupts", Cases(TRAFFIC, "split_")),
        Row::blk("kicks, interrupts", Cases(TRAFFIC, "packed_")).ring(Packed),
    ],
};
