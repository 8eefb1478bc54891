// SPDX-License-Identifier: GPL-2.0

//! Abstractions for the virtio bus.
//!
//! A *virtio driver* is bound to the *virtio devices* whose type is in its table. Any transport
//! (PCI, MMIO, vDPA) brings such devices; a driver cannot tell them apart. `probe`, `unbind` and
//! the destructor of the driver's data run in process context.
//!
//! C header: [`include/linux/virtio.h`](srctree/include/linux/virtio.h)

use crate::bindings;
use core::{
    marker::PhantomData,
    mem::offset_of,
    pin::Pin, //
};
use kernel::{
    device,
    device_id::RawDeviceId,
    driver,
    error::{
        from_result,
        to_result, //
    },
    fmt,
    prelude::*,
    types::Opaque,
    ThisModule, //
};

/// An adapter for the registration of virtio drivers.
pub struct Adapter<T: Driver>(T);

// SAFETY:
// - `bindings::virtio_driver` is a C type declared as `repr(C)`.
// - `T::Data` is the type of the driver's device private data.
// - `struct virtio_driver` embeds a `struct device_driver` at `DEVICE_DRIVER_OFFSET`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = bindings::virtio_driver;
    type DriverData<'bound> = T::Data<'bound>;
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
        // INVARIANT: `vdev` is valid for the duration of `probe_callback()`.
        let vdev = unsafe { &*vdev.cast::<Device<device::CoreInternal<'_>>>() };

        from_result(|| {
            vdev.as_ref().set_drvdata(T::probe(vdev))?;
            Ok(0)
        })
    }

    extern "C" fn remove_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: The virtio bus calls this with a valid `struct virtio_device`.
        //
        // INVARIANT: `vdev` is valid for the duration of `remove_callback()`.
        let vdev = unsafe { &*vdev.cast::<Device<device::CoreInternal<'_>>>() };

        // SAFETY: The bus calls this only after `probe_callback` succeeded, so `set_drvdata` has
        // stored a `Pin<KBox<T::Data<'_>>>`, which lives until after this returns.
        let data = unsafe { vdev.as_ref().drvdata_borrow::<T::Data<'_>>() };

        T::unbind(vdev, data);

        // The core warns of a device whose status is not zero when its driver is gone.
        //
        // SAFETY: By the type invariant, `vdev` is valid; this may sleep.
        unsafe { bindings::virtio_reset_device(vdev.as_raw()) };
    }
}

/// Abstraction for `struct virtio_device_id`.
#[repr(transparent)]
#[derive(Clone, Copy)]
#[doc(alias = "virtio_device_id")]
pub struct DeviceId(bindings::virtio_device_id);

impl DeviceId {
    /// Matches devices of type `ty` by any vendor.
    pub const fn new(ty: DeviceType) -> Self {
        Self(bindings::virtio_device_id {
            device: ty.0,
            vendor: bindings::VIRTIO_DEV_ANY_ID,
        })
    }
}

// SAFETY: `DeviceId` is a `#[repr(transparent)]` wrapper of `virtio_device_id`.
unsafe impl RawDeviceId for DeviceId {
    type RawType = bindings::virtio_device_id;
}

/// What a device is: a network card, a disk, ...
///
/// C header: [`include/uapi/linux/virtio_ids.h`](srctree/include/uapi/linux/virtio_ids.h)
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DeviceType(u32);

impl DeviceType {
    /// A network card.
    pub const NET: Self = Self(bindings::VIRTIO_ID_NET);

    /// A disk.
    pub const BLOCK: Self = Self(bindings::VIRTIO_ID_BLOCK);

    /// A source of random bytes.
    pub const ENTROPY: Self = Self(bindings::VIRTIO_ID_RNG);

    /// Returns the number that the specification gives this type.
    pub const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for DeviceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NET => f.write_str("network device"),
            Self::BLOCK => f.write_str("block device"),
            Self::ENTROPY => f.write_str("entropy device"),
            Self(number) => write!(f, "device of type {number}"),
        }
    }
}

/// `IdTable` type for virtio.
pub type IdTable = &'static dyn kernel::device_id::IdTable<DeviceId, ()>;

/// Creates a virtio `IdTable` with its alias for modpost.
#[macro_export]
macro_rules! virtio_device_table {
    ($table_name:ident, $($tt:tt)*) => {
        ::kernel::module_device_table!(
            "virtio", $crate::virtio::DeviceId, $table_name, @none, $($tt)*
        );
    };
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

/// The virtio driver trait.
///
/// # Examples
///
/// See `samples/virtio_minimal.rs`.
pub trait Driver {
    /// The type of the driver's device private data.
    type Data<'bound>: Send + 'bound;

    /// The table of device ids supported by the driver.
    const ID_TABLE: IdTable;

    /// Called when a device that matches [`Self::ID_TABLE`] is found.
    ///
    /// The features are negotiated. When this succeeds, the device is made ready. After `ENODEV`
    /// the bus offers the device to another driver.
    fn probe<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound;

    /// Called when the device is about to be taken from the driver.
    ///
    /// The device is reset when this returns, and the data is dropped after that.
    fn unbind<'bound>(vdev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (vdev, this);
    }
}

/// The virtio device representation.
///
/// # Invariants
///
/// A [`Device`] instance represents a valid `struct virtio_device`.
#[repr(transparent)]
#[doc(alias = "virtio_device")]
pub struct Device<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::virtio_device>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> Device<Ctx> {
    fn as_raw(&self) -> *mut bindings::virtio_device {
        self.0.get()
    }

    /// Returns what the device is.
    pub fn device_type(&self) -> DeviceType {
        // SAFETY: By the type invariant, `self.as_raw()` is valid; the id never changes.
        DeviceType(unsafe { (*self.as_raw()).id.device })
    }

    /// Returns the vendor, which is the PCI subsystem vendor on that transport.
    pub fn vendor(&self) -> u32 {
        // SAFETY: By the type invariant, `self.as_raw()` is valid; the id never changes.
        unsafe { (*self.as_raw()).id.vendor }
    }
}

impl Device<device::Core<'_>> {
    /// Reads from the device which features it offers, bit 0 of the result being feature 0.
    #[doc(alias = "virtio_get_features")]
    pub fn offered_features(&self) -> u128 {
        let mut features = [0u64; bindings::VIRTIO_FEATURES_U64S as usize];

        // SAFETY:
        // - By the type invariant, `self.as_raw()` is valid, and it is bound to a driver.
        // - `features` has room for all the features that the core knows.
        unsafe { bindings::virtio_get_features(self.as_raw(), features.as_mut_ptr()) };

        let [low, high] = features;
        u128::from(high) << 64 | u128::from(low)
    }
}

// SAFETY: `Device` is a transparent wrapper that does not depend on its generic argument.
kernel::impl_device_context_deref!(unsafe { Device });

impl<Ctx: device::DeviceContext> AsRef<device::Device<Ctx>> for Device<Ctx> {
    fn as_ref(&self) -> &device::Device<Ctx> {
        // SAFETY: By the type invariant, `self.as_raw()` is valid.
        let dev = unsafe { &raw mut (*self.as_raw()).dev };

        // SAFETY: `dev` is the device of a valid `struct virtio_device`, and lives as long.
        unsafe { device::Device::from_raw(dev) }
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio)]
mod tests {
    use super::*;

    #[test]
    fn device_id_matches_any_vendor() {
        let id = DeviceId::new(DeviceType::NET);

        assert_eq!(id.0.device, 1);
        assert_eq!(id.0.vendor, u32::MAX);
    }

    #[test]
    fn device_types_have_the_numbers_of_the_specification() {
        assert_eq!(DeviceType::NET.number(), 1);
        assert_eq!(DeviceType::BLOCK.number(), 2);
        assert_eq!(DeviceType::ENTROPY.number(), 4);
    }
}
