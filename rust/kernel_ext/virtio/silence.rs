// SPDX-License-Identifier: GPL-2.0

//! Keeps a device from interrupting while the core replaces the ring of a queue.
//!
//! The core (7.3) waits for the interrupt of a queue that it resets if that is being handled, but does
//! not prevent another: one whose message was on its way, or that a device sends which lies. Then
//! `vring_interrupt()` looks at the ring, which was freed if the queue is being resized.
//!
//! An interrupt that comes while it is disabled is not lost: it is handled when it is enabled again.

use crate::bindings;
use kernel::{
    device,
    prelude::*, //
};

/// The interrupts of a device, which are disabled as long as this lives.
///
/// # Invariants
///
/// This has disabled each of the interrupt vectors of `parent`, which stay what they are.
pub(super) struct Silence<'a> {
    parent: Option<&'a device::Device>,
}

impl<'a> Silence<'a> {
    /// Disables the interrupts of a transport's device, and waits until none is being handled. Queues
    /// can be reset alone on PCI only; elsewhere, this does nothing.
    ///
    /// # Safety
    ///
    /// The device must keep its interrupt vectors as long as the result lives.
    ///
    /// # Context
    ///
    /// Process context; this sleeps.
    pub(super) unsafe fn begin(parent: Option<&'a device::Device>) -> Self {
        for irq in parent.into_iter().flat_map(vectors) {
            // SAFETY: It is an interrupt of the device.
            unsafe { bindings::disable_irq(irq) };
        }
        // INVARIANT: They were just disabled; by the safety requirements, they stay.
        Self { parent }
    }
}

impl Drop for Silence<'_> {
    fn drop(&mut self) {
        for irq in self.parent.into_iter().flat_map(vectors) {
            // SAFETY: By the type invariant, this has disabled it.
            unsafe { bindings::enable_irq(irq) };
        }
    }
}

/// Returns the interrupts of a device, as far as they are known.
#[cfg(CONFIG_PCI)]
fn vectors(device: &device::Device) -> impl Iterator<Item = c_uint> {
    let pci = <&kernel::pci::Device>::try_from(device)
        .map(|pci| {
            core::ptr::from_ref(pci)
                .cast_mut()
                .cast::<bindings::pci_dev>()
        })
        .ok();
    // CAST: The type of the `kernel` crate is that of C, transparently.
    pci.into_iter().flat_map(|pci| {
        (0..)
            // SAFETY: It is valid as long as `device`.
            .map(move |vector| unsafe { bindings::pci_irq_vector(pci, vector) })
            .map_while(|irq| c_uint::try_from(irq).ok())
            // There is none.
            .filter(|&irq| irq > 0)
    })
}

/// As above.
#[cfg(not(CONFIG_PCI))]
fn vectors(_device: &device::Device) -> impl Iterator<Item = c_uint> {
    core::iter::empty()
}
