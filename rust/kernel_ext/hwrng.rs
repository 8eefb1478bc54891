// SPDX-License-Identifier: GPL-2.0

//! Hardware random number generators.
//!
//! C header: [`include/linux/hw_random.h`](srctree/include/linux/hw_random.h)

use crate::{
    bindings,
    virtio, //
};
use core::{
    pin::Pin,
    ptr, //
};
use kernel::{
    device::Core,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    str::CString,
    types::Opaque, //
};

/// A source of random bytes.
pub trait Source: Send + Sync {
    /// Fills `buffer` as far as it can, and returns how far. If there is nothing, and `wait` says
    /// so, it waits for some. It is called by one thread at a time, in process context.
    fn read(self: Pin<&Self>, buffer: &mut [u8], wait: Wait) -> Result<usize>;
}

/// Whether to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Until there is something.
    Yes,
    /// Not at all.
    No,
}

/// Makes the driver's data known to the kernel as a source called `name`, with the number of the
/// device, until the device is taken from its driver: see [`virtio::Driver::start`]. `T` must be
/// that driver.
///
/// # Errors
///
/// `ENODEV` if the device was not live yet.
#[doc(alias = "hwrng_register")]
pub fn register<'bound, T: virtio::Driver>(
    vdev: &'bound virtio::Device<Core<'_>>,
    name: &CStr,
) -> Result
where
    T::Data<'bound>: Source,
{
    // SAFETY: The registration becomes a resource of the binding, which ends before the data does.
    let source = unsafe { vdev.driver_data::<T>() }?;
    let name = CString::try_from_fmt(fmt!("{}.{}", name, vdev.index()))?;
    let registration = KBox::new(
        Registration {
            hwrng: Opaque::new(bindings::hwrng {
                name: name.as_char_ptr(),
                read: Some(read_callback::<T::Data<'bound>>),
                ..pin_init::zeroed()
            }),
            source: ptr::from_ref(source.get_ref()).cast(),
            _name: name,
            registered: false,
        },
        GFP_KERNEL,
    )?;
    vdev.add_resource::<T>(registration.register()?)
}

/// A source that is registered.
///
/// # Invariants
///
/// If `registered`, the core knows `hwrng`, and `source` points to the source that belongs to its
/// `read` function, which lives for longer than this.
#[repr(C)]
struct Registration {
    /// It comes first: `read_callback` gets its address.
    hwrng: Opaque<bindings::hwrng>,
    source: *const c_void,
    _name: CString,
    registered: bool,
}

// SAFETY: A registration may be ended by any thread, and the source may be shared by threads.
unsafe impl Send for Registration {}

impl Registration {
    /// Registers the source. It lives until the binding of its device ends, which takes the
    /// registration back before.
    fn register(mut self: KBox<Self>) -> Result<KBox<Self>> {
        // SAFETY: `hwrng` is in a box that is not moved out of, and lives until `drop`. Its name and
        // its function do so, too.
        to_result(unsafe { bindings::hwrng_register(self.hwrng.get()) })?;
        // INVARIANT: The core knows it. The source is the driver's data: see `register`.
        self.registered = true;
        Ok(self)
    }
}

impl virtio::Resource for Registration {}

impl Drop for Registration {
    fn drop(&mut self) {
        if self.registered {
            // This waits until nobody reads any more.
            //
            // SAFETY: By the type invariant, it was registered.
            unsafe { bindings::hwrng_unregister(self.hwrng.get()) };
        }
    }
}

/// Called by the core to read from a source.
///
/// # Safety
///
/// `rng` must be the `hwrng` field of a registration with a source of type `S`, and `data` valid for
/// writes of `max` bytes.
unsafe extern "C" fn read_callback<S: Source>(
    rng: *mut bindings::hwrng,
    data: *mut c_void,
    max: usize,
    wait: bool,
) -> c_int {
    // SAFETY: By the safety requirements, this is the first field of a registration.
    let source = unsafe { (*rng.cast::<Registration>()).source };
    // SAFETY: By the type invariant of `Registration`, the source lives.
    let source = unsafe { &*source.cast::<S>() };
    // SAFETY: It was pinned when it was registered.
    let source = unsafe { Pin::new_unchecked(source) };
    // SAFETY: By the safety requirements, `data` is valid. The core's buffers are initialized.
    let buffer = unsafe { core::slice::from_raw_parts_mut(data.cast::<u8>(), max) };
    let wait = if wait { Wait::Yes } else { Wait::No };

    from_result(|| Ok(c_int::try_from(source.read(buffer, wait)?)?))
}
