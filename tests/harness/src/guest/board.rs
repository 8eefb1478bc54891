// SPDX-License-Identifier: GPL-2.0

//! What a guest's devices are on.

use super::{Builder, accelerator};
use crate::{kernel::Arch, paths};
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// A machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Board {
    /// A PC with PCI Express.
    Pc,
    /// One that has only what virtual machines need. Virtio devices are mapped to memory, and ACPI tells
    /// where.
    Micro,
    /// The same without ACPI: the command line of the kernel tells.
    Bare,
    /// Arm's for virtual machines, with PCI Express. A device tree describes it.
    Virt,
    /// The same. Virtio devices are mapped to memory, and the device tree tells where.
    Tree,
}

impl Board {
    /// Returns the usual one for an architecture.
    pub(super) fn of(arch: Arch) -> Self {
        match arch {
            Arch::Amd64 => Self::Pc,
            Arch::Arm64 => Self::Virt,
        }
    }

    /// Returns its architecture.
    pub(super) fn arch(self) -> Arch {
        match self {
            Self::Pc | Self::Micro | Self::Bare => Arch::Amd64,
            Self::Virt | Self::Tree => Arch::Arm64,
        }
    }

    /// Returns the name of the QEMU that has it.
    pub(super) fn qemu(self) -> &'static str {
        match self.arch() {
            Arch::Amd64 => "qemu-system-x86_64",
            Arch::Arm64 => "qemu-system-aarch64",
        }
    }

    /// Returns what QEMU runs it with.
    pub(super) fn accelerator(self) -> &'static str {
        match self.arch() {
            Arch::Amd64 => accelerator(),
            Arch::Arm64 => "tcg,thread=multi",
        }
    }

    /// Returns the model of its CPUs.
    pub(super) fn cpu(self) -> &'static str {
        match self.arch() {
            // With five levels of page tables, KASAN takes interrupts during the identification of
            // the CPU for wild accesses.
            Arch::Amd64 => "max,la57=off",
            // An emulated CPU that signs pointers as the architecture says does little else.
            Arch::Arm64 => "max,pauth-impdef=on",
        }
    }

    /// Returns what QEMU is told of the machine.
    pub(super) fn machine(self) -> &'static str {
        match self {
            Self::Pc => "q35",
            Self::Micro => "microvm,acpi=on,pcie=off",
            Self::Bare => "microvm,acpi=off,pcie=off",
            Self::Virt | Self::Tree => "virt,gic-version=3",
        }
    }

    /// Returns the options that connect a second serial port. There is only room for one on the small
    /// machines, so it is a device there.
    pub(super) fn second_port(self, chardev: &str) -> [String; 2] {
        match self {
            Self::Pc | Self::Virt | Self::Tree => {
                ["-serial".to_owned(), format!("chardev:{chardev}")]
            }
            Self::Micro | Self::Bare => [
                "-device".to_owned(),
                format!("isa-serial,chardev={chardev},iobase=0x2f8,irq=3"),
            ],
        }
    }

    /// Returns what the kernel is told of an architecture: its console, the port that `tests/guest/init`
    /// serves, what its emulation needs.
    pub(super) fn basics(self) -> &'static str {
        match self.arch() {
            // The kernel panics if the timer does not tick ten times while it waits: an emulated CPU
            // that runs beside others may be too late for that.
            Arch::Amd64 => "console=ttyS0 rv.port=ttyS1 no_timer_check unknown_nmi_panic",
            Arch::Arm64 => "console=ttyAMA0 rv.port=ttyAMA1",
        }
    }

    /// Returns what the kernel has to be told of the machine.
    pub(super) fn parameters(self) -> Result<String> {
        if self != Self::Micro || accelerator() == "kvm" {
            return Ok(String::new());
        }
        // KVM tells how fast the clock is. Without it there is nothing to compare that with.
        let program = paths::project().join("build/guest/tsc");
        let output = Command::new(&program).output();
        let output = output.with_context(|| format!("running {}", program.display()))?;
        ensure!(output.status.success(), "the clock cannot be measured");
        let kilohertz = String::from_utf8(output.stdout)?;
        Ok(format!("tsc_early_khz={}", kilohertz.trim()))
    }

    /// Tells whether the guest can switch the machine off.
    pub(super) fn switches_off(self) -> bool {
        self != Self::Bare
    }

    /// Returns the module of the kernel that finds the devices, if it is one.
    pub(super) fn transport(self) -> Option<&'static str> {
        match self {
            Self::Pc | Self::Virt => None,
            Self::Micro | Self::Bare | Self::Tree => Some("virtio_mmio"),
        }
    }

    /// Returns what QEMU is told for devices that are mapped not to be legacy ones.
    pub(super) fn modern(self) -> &'static [&'static str] {
        match self {
            Self::Pc | Self::Virt => &[],
            Self::Micro | Self::Bare | Self::Tree => &["-global", "virtio-mmio.force-legacy=false"],
        }
    }

    /// Returns what QEMU calls a virtio device of a kind, such as `virtio-net`.
    pub fn virtio(self, kind: &str) -> String {
        match (self, kind) {
            (Self::Pc | Self::Virt, _) => format!("{kind}-pci"),
            (_, "vhost-user-blk") => kind.to_owned(),
            (Self::Micro | Self::Bare | Self::Tree, _) => format!("{kind}-device"),
        }
    }
}

impl Builder {
    /// Puts it on a board; devices come after that. They are not legacy ones, unless QEMU is told.
    pub fn board(mut self, board: Board) -> Result<Self> {
        let arch = self.kernel.arch;
        ensure!(board.arch() == arch, "{board:?} is not for {arch:?}");
        self.board = board;
        self.append.push(board.parameters()?);
        self = self.qemu(board.modern());
        Ok(match board.transport() {
            Some(module) => self.kernel_module(module),
            None => self,
        })
    }

    /// Returns what QEMU calls a virtio device of a kind, such as `virtio-net`.
    pub fn virtio(&self, kind: &str) -> String {
        self.board.virtio(kind)
    }

    /// Tells whether its devices are on PCI.
    pub fn has_pci(&self) -> bool {
        matches!(self.board, Board::Pc | Board::Virt)
    }
}
