// SPDX-License-Identifier: GPL-2.0

//! How devices are found, and what becomes of them when somebody ends.

use super::{
    By::{Cases, Test, Unable},
    Ring::{Both, Every, InOrder, Packed},
    Row, System,
    Transport::{Acpi, AcpiLegacy, CommandLine, Fdt, FdtLegacy, PciArm},
};

/// The tests that several rows are about.
const BY_ACPI: &str = "systems::mapped::by_acpi_stock";
const BY_ACPI_IN_TREE: &str = "systems::mapped::by_acpi_in_tree";
const BY_TREE: &str = "systems::mapped::by_fdt";
const BY_LINE: &str = "systems::mapped::by_command_line_debug";
const NIC_GOES: &str = "net::life::comes_and_goes_stock";
const NIC_GOES_IN_TREE: &str = "net::life::comes_and_goes_in_tree_stock";
const QUIET: &str = "systems::quiesce::of_drivers_stock";
const KERNELS_IN_TREE: &str = "systems::quiesce::of_kernels_in_tree";
const CUT: &str = "blk::cut::keeps_what_is_stable_stock";
const CUT_IN_TREE: &str = "blk::cut::keeps_what_is_stable_in_tree";
const CUT_RINGS: &str = "blk::cut::keeps_it_in_other_rings_stock";
const CUT_RINGS_IN_TREE: &str = "blk::cut::keeps_it_in_other_rings_in_tree";

/// The system.
pub(super) const SYSTEM: System = System {
    title: "Finding, connecting, quiescing",
    sentence: "a driver gets its devices wherever the platform says that they are, and leaves them at rest, \
               however it ends.",
    rows: &[
        Row::net("is found", Cases("net::data::arrives_stock", "modern")),
        Row::net(
            "is found",
            Cases("net::data::arrives_in_tree_stock", "modern"),
        )
        .in_tree(),
        Row::blk("is found", Cases("blk::data::is_kept_stock", "modern")),
        Row::blk(
            "is found",
            Cases("blk::compare::in_tree_keeps_data", "modern"),
        )
        .in_tree(),
        Row::both("are found, come and go", Cases(BY_ACPI, "modern")).on(Acpi),
        Row::both("are found, come and go", Cases(BY_ACPI, "packed"))
            .on(Acpi)
            .ring(Packed),
        Row::both("are found, come and go", Cases(BY_ACPI, "legacy")).on(AcpiLegacy),
        Row::both("are found, come and go", Cases(BY_ACPI_IN_TREE, "modern"))
            .in_tree()
            .on(Acpi),
        Row::both("are found, come and go", Cases(BY_ACPI_IN_TREE, "packed"))
            .in_tree()
            .on(Acpi)
            .ring(Packed),
        Row::both("are found, come and go", Cases(BY_ACPI_IN_TREE, "legacy"))
            .in_tree()
            .on(AcpiLegacy),
        Row::both("are found, come and go", Cases(BY_LINE, "modern"))
            .on(CommandLine)
            .debug(),
        Row::both("are found, come and go", Cases(BY_LINE, "packed"))
            .on(CommandLine)
            .ring(Packed)
            .debug(),
        Row::both("are found", Unable("the stock kernel is built without it")).on(CommandLine),
        Row::both(
            "are found, come and go",
            Test("systems::mapped::by_command_line_in_tree"),
        )
        .in_tree()
        .ring(Every)
        .on(CommandLine)
        .debug(),
        Row::both("are found, come and go", Cases(BY_TREE, "modern")).on(Fdt),
        Row::both("are found, come and go", Cases(BY_TREE, "packed"))
            .on(Fdt)
            .ring(Packed),
        Row::both("are found, come and go", Cases(BY_TREE, "legacy")).on(FdtLegacy),
        Row::both(
            "are found, with pages of 16 KiB",
            Test("systems::mapped::with_16k_pages"),
        )
        .on(Fdt)
        .ring(Every),
        Row::both(
            "are found, come and go",
            Test("systems::mapped::by_fdt_in_tree"),
        )
        .in_tree()
        .on(Fdt)
        .ring(Every),
        Row::both(
            "eight of each at once",
            Test("systems::many::devices_at_once_stock"),
        ),
        Row::both(
            "eight of each at once",
            Test("systems::many::devices_at_once_in_tree"),
        )
        .in_tree(),
        Row::both(
            "eight of each at once",
            Test("systems::many::devices_at_once_arm64"),
        )
        .on(PciArm),
        Row::net("is unloaded under traffic", Cases(NIC_GOES, "unload")),
        Row::net(
            "is unloaded under traffic",
            Cases(NIC_GOES_IN_TREE, "unload"),
        )
        .in_tree(),
        Row::net("is unbound under traffic", Cases(NIC_GOES, "unbind")),
        Row::net(
            "is unbound under traffic",
            Cases(NIC_GOES_IN_TREE, "unbind"),
        )
        .in_tree(),
        Row::blk(
            "is unbound while it is used",
            Test("blk::data::survives_rebinds_stock"),
        ),
        Row::blk(
            "is unbound with a mounted ext4",
            Cases("blk::plug::is_mounted_stock", "is_unbound"),
        ),
        Row::blk(
            "is unbound with a mounted ext4",
            Cases("blk::plug::is_mounted_in_tree", "is_unbound"),
        )
        .in_tree(),
        Row::blk(
            "no kick, no buffer after a reset",
            Test("blk::compare::comes_and_goes"),
        )
        .ring(Both),
        Row::blk(
            "no kick, no buffer after a reset",
            Test("backend::blk::comes_and_goes"),
        )
        .in_tree()
        .ring(Both),
        Row::both("rests when it is unbound", Cases(QUIET, "is_unbound")),
        Row::both("rests when it is unloaded", Cases(QUIET, "is_unloaded")),
        Row::both(
            "rests when the guest switches off",
            Cases(QUIET, "switches_off"),
        ),
        Row::both("rests when the guest reboots", Cases(QUIET, "reboots")),
        Row::both(
            "rests when the guest is cut off",
            Cases(QUIET, "is_cut_off"),
        ),
        Row::both("rests when the guest is killed", Cases(QUIET, "is_killed")),
        Row::both(
            "rests, whatever ends",
            Test("systems::quiesce::of_drivers_in_tree"),
        )
        .in_tree(),
        Row::net("is unplugged under traffic", Cases(NIC_GOES, "unplug")),
        Row::net(
            "is unplugged under traffic",
            Cases(NIC_GOES_IN_TREE, "unplug"),
        )
        .in_tree(),
        Row::blk(
            "is unplugged while it is used",
            Test("blk::plug::is_pulled_stock"),
        ),
        Row::blk(
            "is unplugged while it is used",
            Test("blk::plug::is_pulled_in_tree"),
        )
        .in_tree(),
        Row::both(
            "are gone without a word",
            Unable("QEMU's hot-unplug asks the guest first"),
        ),
        Row::net(
            "is reset by a reboot",
            Cases("net::end::reboots_stock", "reboots"),
        ),
        Row::net(
            "is reset by a reboot",
            Cases("net::end::reboots_in_tree", "reboots"),
        )
        .in_tree(),
        Row::blk(
            "is reset by a reboot",
            Cases("blk::end::reboots_stock", "reboots"),
        ),
        Row::blk(
            "is reset by a reboot",
            Cases("blk::end::reboots_in_tree", "reboots"),
        )
        .in_tree(),
        Row::net(
            "the kernel after a kexec has it",
            Test("net::end::starts_another_kernel_stock"),
        ),
        Row::blk(
            "the kernel after a kexec has it",
            Test("blk::end::starts_another_kernel_stock"),
        ),
        Row::net(
            "the kernel after a kexec has it",
            Cases(KERNELS_IN_TREE, "kexec"),
        )
        .in_tree(),
        Row::blk(
            "the kernel after a kexec has it",
            Test("blk::end::starts_another_kernel_in_tree"),
        )
        .in_tree(),
        Row::net(
            "the kernel after a crash has it",
            Cases("systems::quiesce::of_kernels_stock", "crash"),
        ),
        Row::net(
            "the kernel after a crash has it",
            Cases(KERNELS_IN_TREE, "crash"),
        )
        .in_tree(),
        Row::blk(
            "ext4 is kept",
            Cases("blk::filesystem::are_kept_stock", "ext4"),
        ),
        Row::blk(
            "XFS is kept",
            Cases("blk::filesystem::are_kept_stock", "xfs"),
        )
        .ring(Packed),
        Row::blk(
            "ext4 is kept, as the root",
            Test("blk::root::is_booted_from_stock"),
        )
        .ring(Packed),
        Row::blk("a power cut spares synced data", Cases(CUT, "write_back")),
        Row::blk("a power cut spares synced data", Cases(CUT_RINGS, "packed")).ring(Packed),
        Row::blk(
            "a power cut spares synced data",
            Cases(CUT_IN_TREE, "write_back"),
        )
        .in_tree(),
        Row::blk(
            "a power cut spares synced data",
            Cases(CUT_RINGS_IN_TREE, "packed"),
        )
        .in_tree()
        .ring(Packed),
        Row::blk(
            "a power cut spares synced data",
            Cases(CUT_RINGS_IN_TREE, "in_order"),
        )
        .in_tree()
        .ring(InOrder),
    ],
};
