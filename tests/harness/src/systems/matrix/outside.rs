// SPDX-License-Identifier: GPL-2.0

//! A guest reaches the outside by a switch with VLANs. The device is that of our backend.

use super::{
    By::{Cases, Test},
    Ring::{Both, Every, InOrder, Packed},
    Row, System,
    Transport::Acpi,
};

/// The tests that several rows are about.
const FORMS: &str = "backend::net::talks_in_every_form";
const FAULTS: &str = "net::recovery::helps_stock";
const VLANS: &str = "backend::switch::vlans_are_apart";
const USERS: &str = "systems::steering::by_user_and_mark";
const HOPS: &str = "systems::path::names_the_hop";
const HOPS_MAPPED: &str = "systems::path::names_the_hop_mapped";

/// The system.
pub(super) const SYSTEM: System = System {
    title: "Guest to outside by VLANs",
    sentence: "programs of a guest reach what is in their VLAN and nothing else, and where frames stop is \
               found. The device is the backend's.",
    rows: &[
        Row::net("pings, TCP both ways", Cases(FORMS, "split")).in_tree(),
        Row::net("pings, TCP both ways", Cases(FORMS, "packed"))
            .in_tree()
            .ring(Packed),
        Row::net("pings, TCP both ways", Cases(FORMS, "ordered"))
            .in_tree()
            .ring(InOrder),
        Row::net(
            "pings, TCP both ways, despite faults",
            Cases(FAULTS, "split"),
        ),
        Row::net(
            "pings, TCP both ways, despite faults",
            Cases(FAULTS, "packed"),
        )
        .ring(Packed),
        Row::net("pings", Cases(HOPS_MAPPED, "nothing_is_broken")).on(Acpi),
        Row::net(
            "a connection outlives the backend",
            Cases(
                "backend::switch::queues_come_and_go",
                "a_connection_outlives_backends",
            ),
        )
        .in_tree(),
        Row::net(
            "guests in two VLANs do not meet",
            Cases(VLANS, "guests_do_not_meet"),
        )
        .in_tree(),
        Row::net(
            "guests in two VLANs do not meet",
            Cases(
                "backend::switch::vlans_are_apart_packed",
                "guests_do_not_meet",
            ),
        )
        .in_tree()
        .ring(Packed),
        Row::net(
            "guests in two VLANs do not meet",
            Cases(
                "backend::switch::vlans_are_apart_in_order",
                "guests_do_not_meet",
            ),
        )
        .in_tree()
        .ring(InOrder),
        Row::net(
            "guests in two VLANs do not meet",
            Cases(
                "backend::switch::vlans_are_apart_with_ours",
                "guests_do_not_meet",
            ),
        ),
        Row::net(
            "a guest on a trunk has tags",
            Cases(VLANS, "tags_are_for_trunks"),
        )
        .in_tree(),
        Row::net(
            "the host is on the trunk",
            Cases(VLANS, "the_host_is_on_the_trunk"),
        )
        .in_tree(),
        Row::net("the host has VLANs", Cases(VLANS, "the_host_has_vlans")).in_tree(),
        Row::net("each user goes by its VLAN", Cases(USERS, "user_")),
        Row::net("each mark goes by its VLAN", Cases(USERS, "mark_")),
        Row::net(
            "users and marks go by their VLANs",
            Test("systems::steering::by_user_and_mark_mapped"),
        )
        .on(Acpi),
        Row::net(
            "users and marks go by their VLANs",
            Test("systems::steering::by_user_and_mark_in_tree"),
        )
        .in_tree(),
        Row::net("the hop where frames stop is named", Test(HOPS)),
        Row::net("the hop where frames stop is named", Test(HOPS_MAPPED)).on(Acpi),
        Row::net(
            "the hop where frames stop is named",
            Test("systems::path::names_the_hop_in_tree"),
        )
        .in_tree(),
        Row::net("both sides count the same, and kicks", Test(FORMS))
            .in_tree()
            .ring(Every),
        Row::net(
            "kicks and interrupts a frame are told",
            Cases(HOPS, "nothing_is_broken"),
        ),
        Row::net(
            "no more of them than in-tree",
            Test("net::cost::is_near_that_of_the_in_tree_driver"),
        )
        .ring(Both),
    ],
};
