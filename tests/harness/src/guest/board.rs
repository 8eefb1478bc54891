// SPDX-License-Identifier: GPL-2.0

//! What a guest's devices are on.

use super::{Builder, accelerator};
use crate::paths;
use anyhow::{Context, Result, ensure};
use std::process::Command;

/// A machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Board {
    /// A PC with PCI Express.
    #[default]
    Pc,
    /// One that has only what virtual machines need. Virtio devices are mapped to memory, and ACPI tells
    /// where.
    Micro,
    /// The same without ACPI: the command line of the kernel tells.
    Bare,
}

impl Board {
    /// Returns what QEMU is told of the machine.
    pub(super) fn machine(self) -> &'static str {
        match self {
            Self::Pc => "q35",
            Self::Micro => "microvm,acpi=on,pcie=off",
            Self::Bare => "microvm,acpi=off,pcie=off",
        }
    }

    /// Returns the options that connect a second serial port. There is only room for one on the small
    /// machines, so it is a device there.
    pub(super) fn second_port(self, chardev: &str) -> [String; 2] {
        match self {
            Self::Pc => ["-serial".to_owned(), format!("chardev:{chardev}")],
            Self::Micro | Self::Bare => [
                "-device".to_owned(),
                format!("isa-serial,chardev={chardev},iobase=0x2f8,irq=3"),
            ],
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
            Self::Pc => None,
            Self::Micro | Self::Bare => Some("virtio_mmio"),
        }
    }

    /// Returns what QEMU is told for devices that are mapped not to be legacy ones.
    pub(super) fn modern(self) -> &'static [&'static str] {
        match self {
            Self::Pc => &[],
            Self::Micro | Self::Bare => &["-global", "virtio-mmio.force-legacy=false"],
        }
    }

    /// Returns what QEMU calls a virtio device of a kind, such as `virtio-net`.
    pub fn virtio(self, kind: &str) -> String {
        match (self, kind) {
            (Self::Pc, _) => format!("{kind}-pci"),
            (Self::Micro | Self::Bare, "vhost-user-blk") => kind.to_owned(),
            (Self::Micro | Self::Bare, _) => format!("{kind}-device"),
        }
    }
}

impl Builder {
    /// Puts it on a board; devices come after that. They are not legacy ones, unless QEMU is told.
    pub fn board(mut self, board: Board) -> Result<Self> {
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
        self.board == Board::Pc
    }
}
