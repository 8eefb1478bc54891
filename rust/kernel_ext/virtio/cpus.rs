// SPDX-License-Identifier: GPL-2.0

//! Tells drivers of CPUs that come.
//!
//! C header: [`include/linux/cpuhotplug.h`](srctree/include/linux/cpuhotplug.h)

use super::{
    binding::Resource,
    Work, //
};
use crate::bindings;
use core::{
    marker::PhantomPinned,
    pin::Pin, //
};
use kernel::{
    error::to_result,
    prelude::*,
    types::Opaque, //
};

/// What a driver has that is told of CPUs: a state of its own among those that a CPU goes through.
///
/// # Invariants
///
/// The state exists, and calls [`Instance::came`].
pub(super) struct CpuState(c_int);

impl CpuState {
    /// Makes a state.
    pub(super) fn new(name: &'static CStr) -> Result<Self> {
        let came = Some(Instance::came as unsafe extern "C" fn(_, _) -> _);
        // SAFETY: The name is valid for ever, and `came` may be called with what `add` adds.
        let state = unsafe { bindings::cpuhp_setup_multi_state(name.as_char_ptr(), came) };
        if state < 0 {
            return Err(Error::from_errno(state));
        }
        // INVARIANT: It was just made.
        Ok(Self(state))
    }

    /// Has `work` queued whenever a CPU has come, until the result is dropped.
    ///
    /// # Safety
    ///
    /// The result must be dropped before this is, and before the binding whose work it is.
    pub(super) unsafe fn add(&self, work: Work<'_>) -> Result<KBox<dyn Resource>> {
        let number = self.0;
        // INVARIANT: By the safety requirements.
        let instance = KBox::try_pin_init(
            try_pin_init!(Instance {
                // SAFETY: By the safety requirements, the work lives longer.
                work: unsafe { work.for_as_long_as_it_lives() },
                state: number,
                _pin: PhantomPinned,
                // It comes last: it may be used from now on.
                node <- Opaque::try_ffi_init(|node| {
                    // SAFETY: By the type invariant, the state exists. The node is pinned, in an
                    // instance, and in no list; it is taken out of this one before it is dropped.
                    to_result(unsafe { bindings::cpuhp_state_add_instance(number, node) })
                }),
            }),
            GFP_KERNEL,
        )?;
        Ok(KBox::new(instance, GFP_KERNEL)?)
    }
}

impl Drop for CpuState {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, the state exists; by the safety requirements of `add`, it
        // has no instance any more.
        unsafe { bindings::cpuhp_remove_multi_state(self.0) };
    }
}

/// A device whose driver is told.
///
/// # Invariants
///
/// `node` is in the list of `state`, and the work lives as long as this.
#[pin_data(PinnedDrop)]
#[repr(C)]
struct Instance {
    /// It comes first: `came` gets its address.
    #[pin]
    node: Opaque<bindings::hlist_node>,
    work: Work<'static>,
    state: c_int,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: It may be dropped by any thread; what else is done with it only reads, or has a lock.
unsafe impl Send for Instance {}

impl Instance {
    /// Called by the core when a CPU has come.
    ///
    /// # Safety
    ///
    /// `node` must be that of an instance.
    unsafe extern "C" fn came(_: c_uint, node: *mut bindings::hlist_node) -> c_int {
        // SAFETY: By the safety requirements, and as it comes first, this is an instance. It is valid as
        // long as it is in the list: taking it out waits for this function.
        let this = unsafe { &*node.cast::<Self>() };
        this.work.queue();
        0
    }
}

#[pinned_drop]
impl PinnedDrop for Instance {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant, it is in the list.
        unsafe { bindings::cpuhp_state_remove_instance(self.state, self.node.get()) };
    }
}

impl Resource for Pin<KBox<Instance>> {}
