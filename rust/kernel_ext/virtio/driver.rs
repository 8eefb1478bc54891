// SPDX-License-Identifier: GPL-2.0

//! Drivers, and how the bus calls them.

use super::{
    binding::{
        Binding,
        BindingOwner, //
    },
    Device,
    IdTable, //
};
use crate::bindings;
use core::{
    mem::offset_of,
    pin::Pin, //
};
use kernel::{
    device,
    driver,
    error::{
        from_result,
        to_result, //
    },
    prelude::*,
    types::Opaque,
    ThisModule, //
};

/// The virtio driver trait. The functions are called in process context, and may sleep.
///
/// # Examples
///
/// See `samples/virtio_minimal.rs` and `samples/virtio_rng.rs`.
pub trait Driver: 'static {
    /// The type of the driver's device private data. Callbacks of queues share it.
    type Data<'bound>: Send + Sync + 'bound;

    /// The table of device ids supported by the driver.
    const ID_TABLE: IdTable;

    /// Called when a device that matches [`Self::ID_TABLE`] is found.
    ///
    /// The features are negotiated; the device is not live, and must not be kicked. After `ENODEV`
    /// the bus offers the device to another driver.
    fn probe<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound;

    /// Called when the device is live: this is the place to make oneself known to the rest of the
    /// kernel. If it fails, so does the binding.
    fn start<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        this: Pin<&'bound Self::Data<'bound>>,
    ) -> Result {
        let _ = (vdev, this);
        Ok(())
    }

    /// Called when the device is about to be taken from the driver, after [`Self::start`].
    ///
    /// The device is still live. It is reset when this returns, and the data is dropped after that.
    fn unbind<'bound>(vdev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (vdev, this);
    }
}

/// What a bound device has: the driver's data, and below it, what must outlive them.
#[pin_data]
pub struct Bound<'bound, T: Driver> {
    #[pin]
    data: T::Data<'bound>,
    /// Dropped last: see there.
    binding: BindingOwner<T>,
}

/// An adapter for the registration of virtio drivers.
pub struct Adapter<T: Driver>(T);

// SAFETY:
// - `bindings::virtio_driver` is a C type declared as `repr(C)`.
// - `Bound` is the type of what `probe_callback` stores as the device's private data.
// - `struct virtio_driver` embeds a `struct device_driver` at `DEVICE_DRIVER_OFFSET`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::virtio_driver;
    type DriverData<'bound> = Bound<'bound, T>;
    const DEVICE_DRIVER_OFFSET: usize = offset_of!(Self::DriverType, driver);
}

// SAFETY: `unregister` undoes exactly what a successful `register` did.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        vdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        // SAFETY: `vdrv` is valid for writes, and nobody else uses it before it is registered.
        let fields = unsafe { &mut *vdrv.get() };

        fields.driver.name = kernel::str::as_char_ptr_in_const_context(name);
        fields.probe = Some(Self::probe_callback);
        fields.remove = Some(Self::remove_callback);
        fields.id_table = T::ID_TABLE.as_ptr();

        // SAFETY:
        // - The caller keeps `vdrv` valid and pinned until `unregister`.
        // - `name` and the id table are `'static`; the callbacks are functions of this module,
        //   which outlives the registration.
        to_result(unsafe { bindings::__register_virtio_driver(vdrv.get(), module.as_ptr()) })
    }

    unsafe fn unregister(vdrv: &Opaque<Self::DriverType>) {
        // SAFETY: The caller guarantees that `register` succeeded for `vdrv`.
        unsafe { bindings::unregister_virtio_driver(vdrv.get()) }
    }
}

impl<T: Driver> Adapter<T> {
    extern "C" fn probe_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: The virtio bus calls this with a valid `struct virtio_device`.
        //
        // INVARIANT: `vdev` is valid for the duration of `probe_callback()`; its `priv` field is set
        // below, before the driver sees it.
        let vdev = unsafe { &*vdev.cast::<Device<device::CoreInternal<'_>>>() };

        from_result(|| {
            let binding = BindingOwner::new(vdev)?;
            vdev.as_ref().set_drvdata(try_pin_init!(Bound::<'_, T> {
                data <- T::probe(vdev),
                binding,
            }))?;

            // SAFETY: `set_drvdata` has just stored a `Pin<KBox<Bound<'_, T>>>`, which lives until
            // after `probe_callback` has failed, or `remove_callback` has returned.
            let bound = unsafe { vdev.as_ref().drvdata_borrow::<Bound<'_, T>>() }.get_ref();
            // SAFETY: `bound` is pinned, and so is its field `data`, structurally.
            let data = unsafe { Pin::new_unchecked(&bound.data) };

            let binding: &Binding<T> = &bound.binding;
            binding
                .go_live(data)
                .and_then(|()| T::start(vdev, data))
                .inspect_err(|_| binding.end())?;
            Ok(0)
        })
    }

    extern "C" fn remove_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: The virtio bus calls this with a valid `struct virtio_device`.
        //
        // INVARIANT: `vdev` is valid for the duration of `remove_callback()`; its `priv` field was
        // set by `probe_callback`.
        let vdev = unsafe { &*vdev.cast::<Device<device::CoreInternal<'_>>>() };

        // SAFETY: The bus calls this only after `probe_callback` succeeded, so `set_drvdata` has
        // stored a `Pin<KBox<Bound<'_, T>>>`, which lives until after this returns.
        let bound = unsafe { vdev.as_ref().drvdata_borrow::<Bound<'_, T>>() }.get_ref();
        // SAFETY: `bound` is pinned, and so is its field `data`, structurally.
        let data = unsafe { Pin::new_unchecked(&bound.data) };

        bound.binding.end_resources();
        T::unbind(vdev, data);
        bound.binding.end();
    }
}

/// Declares a kernel module that exposes a single virtio driver.
///
/// # Examples
///
/// ```ignore
/// kernel_ext::module_virtio_driver! {
///     type: MyDriver,
///     name: "my_driver",
///     authors: ["Author name"],
///     description: "Description",
///     license: "GPL",
/// }
/// ```
#[macro_export]
macro_rules! module_virtio_driver {
    ($($f:tt)*) => {
        ::kernel::module_driver!(<T>, $crate::virtio::Adapter<T>, { $($f)* });
    };
}
