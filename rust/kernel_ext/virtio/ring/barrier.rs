// SPDX-License-Identifier: GPL-2.0

//! Barriers between the driver and a device that is, in truth, another processor.
//!
//! They are those of [`include/linux/virtio_ring.h`](srctree/include/linux/virtio_ring.h) for a
//! device that does not ask for stronger ones (`VIRTIO_F_ORDER_PLATFORM`). A kernel for one
//! processor has them, too: the host may have more. So they are not those of `kernel::sync`.
//!
//! On x86, where loads stay in order, and stores, they are written out here: elsewhere, and for a
//! call alone, a helper costs more than what it does.

#[cfg(CONFIG_X86_64)]
mod imp {
    use core::arch::asm;

    #[inline(always)]
    pub(super) fn read() {
        // SAFETY: There is no instruction; the compiler moves no access to memory over it.
        unsafe { asm!("", options(nostack, preserves_flags)) };
    }

    #[inline(always)]
    pub(super) fn write() {
        read();
    }

    #[inline(always)]
    pub(super) fn full() {
        // SAFETY: This changes nothing but the flags; the compiler moves no access over it.
        unsafe { asm!("lock add dword ptr [rsp - 4], 0", options(nostack)) };
    }
}

#[cfg(not(CONFIG_X86_64))]
mod imp {
    use crate::bindings;

    #[inline(always)]
    pub(super) fn read() {
        // SAFETY: A barrier can be anywhere.
        unsafe { bindings::rust_helper_virt_rmb() };
    }

    #[inline(always)]
    pub(super) fn write() {
        // SAFETY: A barrier can be anywhere.
        unsafe { bindings::rust_helper_virt_wmb() };
    }

    #[inline(always)]
    pub(super) fn full() {
        // SAFETY: A barrier can be anywhere.
        unsafe { bindings::rust_helper_virt_mb() };
    }
}

/// Orders loads before it with loads behind it.
#[doc(alias = "virt_rmb")]
#[inline(always)]
pub(super) fn read() {
    imp::read();
}

/// Orders stores before it with stores behind it.
#[doc(alias = "virt_wmb")]
#[inline(always)]
pub(super) fn write() {
    imp::write();
}

/// Orders all accesses before it with all accesses behind it.
#[doc(alias = "virt_mb")]
#[inline(always)]
pub(super) fn full() {
    imp::full();
}
