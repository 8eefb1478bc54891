// SPDX-License-Identifier: GPL-2.0

//! What a device is to receive.

use crate::bindings;
use core::marker::PhantomData;
use kernel::prelude::*;

use super::MacAddress;

/// What a device is to receive, beside what is for its own address, and for everybody.
///
/// # Invariants
///
/// The lists are valid, and do not change, for `'a`.
pub struct RxFilter<'a> {
    flags: u32,
    unicast: *const bindings::netdev_hw_addr_list,
    multicast: *const bindings::netdev_hw_addr_list,
    _lists: PhantomData<&'a ()>,
}

impl RxFilter<'_> {
    /// Makes one.
    ///
    /// # Safety
    ///
    /// The type invariants must hold, for a lifetime that the caller chooses.
    pub(super) unsafe fn from_raw(
        flags: u32,
        unicast: *const bindings::netdev_hw_addr_list,
        multicast: *const bindings::netdev_hw_addr_list,
    ) -> Self {
        // INVARIANT: By the safety requirements.
        Self {
            flags,
            unicast,
            multicast,
            _lists: PhantomData,
        }
    }

    /// Tells whether to receive everything.
    #[doc(alias = "IFF_PROMISC")]
    pub fn is_promiscuous(&self) -> bool {
        self.flags & bindings::net_device_flags_IFF_PROMISC != 0
    }

    /// Tells whether to receive all that is for several.
    #[doc(alias = "IFF_ALLMULTI")]
    pub fn all_multicast(&self) -> bool {
        self.flags & bindings::net_device_flags_IFF_ALLMULTI != 0
    }

    /// Returns how many other addresses the device has.
    #[doc(alias = "netdev_uc_count")]
    pub fn unicast_count(&self) -> usize {
        // SAFETY: By the type invariant, the list is valid.
        unsafe { bindings::netdev_hw_addr_list_count(self.unicast) }
    }

    /// Returns how many addresses of groups there are.
    #[doc(alias = "netdev_mc_count")]
    pub fn multicast_count(&self) -> usize {
        // SAFETY: By the type invariant, the list is valid.
        unsafe { bindings::netdev_hw_addr_list_count(self.multicast) }
    }

    /// Calls a function with each other address of the device.
    #[doc(alias = "netdev_for_each_uc_addr")]
    pub fn for_each_unicast<F: FnMut(MacAddress)>(&self, function: F) {
        // SAFETY: By the type invariant, the list is valid.
        unsafe { for_each(self.unicast, function) };
    }

    /// Calls a function with the address of each group.
    #[doc(alias = "netdev_for_each_mc_addr")]
    pub fn for_each_multicast<F: FnMut(MacAddress)>(&self, function: F) {
        // SAFETY: By the type invariant, the list is valid.
        unsafe { for_each(self.multicast, function) };
    }
}

/// Calls a function with each address of a list.
///
/// # Safety
///
/// The list must be valid, and not change meanwhile.
unsafe fn for_each<F: FnMut(MacAddress)>(
    list: *const bindings::netdev_hw_addr_list,
    mut function: F,
) {
    let function: *mut F = &mut function;
    // SAFETY: The list is valid, by the safety requirements. The callback gets what it expects.
    unsafe { bindings::netdev_hw_addr_list_for_each(list, Some(visit::<F>), function.cast()) };
}

/// Calls a function with an address.
///
/// # Safety
///
/// `function` must be a valid `F` that nobody else uses, and `address` an Ethernet address.
unsafe extern "C" fn visit<F: FnMut(MacAddress)>(function: *mut c_void, address: *const u8) {
    // SAFETY: By the safety requirements.
    let function = unsafe { &mut *function.cast::<F>() };
    // SAFETY: By the safety requirements; an array of bytes may be anywhere.
    function(unsafe { *address.cast::<MacAddress>() });
}
