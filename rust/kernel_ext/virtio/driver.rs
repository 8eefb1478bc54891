// SPDX-License-Identifier: GPL-2.0

//! Drivers, and how the bus calls them.

use super::{
    binding::{
        Binding,
        BindingOwner, //
    },
    claim::{
        Claim,
        Verdict, //
    },
    cpus::CpuState,
    feature::Table,
    state::Phase,
    Device,
    IdTable,
    Lines,
    Work, //
};
use crate::bindings;
use core::{
    fmt,
    mem::offset_of,
    pin::Pin,
    ptr, //
};
use kernel::{
    debugfs::Dir,
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
use virtio_wire::feature::{
    Accepted,
    Class,
    FeatureSet, //
};

/// The virtio driver trait. The functions are called in process context, and may sleep, but
/// [`Driver::config_changed`].
///
/// # Examples
///
/// See `samples/virtio_minimal.rs` and `samples/virtio_rng.rs`.
#[vtable]
pub trait Driver: 'static {
    /// What the driver drives, with its features.
    type Class: Class;

    /// The type of the driver's device private data. Callbacks of queues share it.
    type Data<'bound>: Send + Sync + 'bound;

    /// The table of device ids supported by the driver.
    const ID_TABLE: IdTable;

    /// The features of the class that the driver supports. Those of the ring and of the transport
    /// are the business of the core.
    const FEATURES: FeatureSet<Self::Class> = FeatureSet::empty();

    /// Returns which of the devices in [`Self::ID_TABLE`] the driver claims, unless that is all of
    /// them.
    fn claim() -> Option<&'static Claim> {
        None
    }

    /// Called before the features are settled, with those that the device offers, the driver
    /// supports, and the specification allows together. Returns those to keep; with an error, the
    /// device is not bound.
    fn validate(
        vdev: &Device<device::Bound>,
        features: Accepted<Self::Class>,
    ) -> Result<FeatureSet<Self::Class>> {
        let _ = vdev;
        Ok(features.set())
    }

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

    /// Called when the device says that its configuration has changed, or that it cannot go on, which it
    /// may do as often as it likes. Which of them can be read by [`Work`](super::Work) only; see
    /// [`Recovery::heeds_device`](super::Recovery::heeds_device).
    ///
    /// # Context
    ///
    /// Interrupt context.
    fn config_changed(this: Pin<&Self::Data<'_>>) {
        let _ = this;
    }

    /// Called before the device is reset, because the guest is suspended, the transport resets it,
    /// or a [`Resetter`](super::Resetter) was asked to. It is still live, unless it has failed.
    /// When this returns, nobody may add buffers any more.
    fn suspend<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        this: Pin<&'bound Self::Data<'bound>>,
    ) -> Result {
        let _ = (vdev, this);
        Ok(())
    }

    /// Called when the device was reset after [`Self::suspend`], or could not be restored: the
    /// driver has to drop its queues. A driver that has queues, but not this, cannot be suspended.
    fn release<'bound>(this: Pin<&'bound Self::Data<'bound>>) {
        let _ = this;
    }

    /// Called to make the queues again, with the features of before.
    fn restore<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        this: Pin<&'bound Self::Data<'bound>>,
    ) -> Result {
        let _ = (vdev, this);
        Ok(())
    }

    /// Called when the device is live again.
    fn resume<'bound>(
        vdev: &'bound Device<device::Core<'_>>,
        this: Pin<&'bound Self::Data<'bound>>,
    ) -> Result {
        let _ = (vdev, this);
        Ok(())
    }

    /// Called when the device could not be restored: it will do nothing any more, and there are no
    /// queues. It may be tried again.
    fn lost(vdev: &Device<device::Bound>, this: Pin<&Self::Data<'_>>) {
        let _ = (vdev, this);
    }

    /// Called when a CPU has come. The interrupts that were to go to it were sent elsewhere when it went,
    /// and stay there, unless the driver asks for it again. The device may be in any state.
    fn cpu_came(vdev: &Device<device::Bound>, this: Pin<&Self::Data<'_>>) {
        let _ = (vdev, this);
    }

    /// Called to show the state of the device, for those who look for what is wrong with it: in
    /// debugfs, `DRIVER/DEVICE`. A device may be in any state, also being reset, or lost.
    fn show(this: Pin<&Self::Data<'_>>, lines: &mut Lines<'_, '_>) -> fmt::Result {
        let _ = (this, lines);
        Ok(())
    }

    /// Called when the device is about to be taken from the driver, after [`Self::start`].
    ///
    /// The device is still live, unless it has failed. It is reset when this returns, and the data
    /// is dropped after that.
    fn unbind<'bound>(vdev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (vdev, this);
    }

    /// Called when the machine goes down, or another kernel is about to be started. The device is
    /// reset when this returns; a driver that wants to drop its queues does it before, by
    /// [`Device::quiesce`].
    fn shutdown<'bound>(vdev: &'bound Device<device::Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        let _ = (vdev, this);
    }
}

/// A driver, as the bus knows it.
#[derive(Default)]
#[repr(C)]
#[doc(hidden)]
pub struct Registered {
    driver: bindings::virtio_driver,
    /// The directory of its devices' files.
    directory: Option<Dir>,
    /// If it is told of CPUs that come.
    cpus: Option<CpuState>,
}

/// The end of a table of device ids, which is one that matches no device.
static NOTHING: bindings::virtio_device_id = bindings::virtio_device_id {
    device: 0,
    vendor: 0,
};

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
// - `Registered` is declared as `repr(C)`.
// - `Bound` is the type of what `probe_callback` stores as the device's private data.
// - `Registered` embeds a `struct virtio_driver`, which embeds a `struct device_driver`, at
//   `DEVICE_DRIVER_OFFSET`.
unsafe impl<T: Driver> driver::DriverLayout for Adapter<T> {
    type DriverType = Registered;
    type DriverData<'bound> = Bound<'bound, T>;
    const DEVICE_DRIVER_OFFSET: usize = offset_of!(Self::DriverType, driver.driver);
}

// SAFETY: `unregister` undoes exactly what a successful `register` did.
unsafe impl<T: Driver> driver::RegistrationOps for Adapter<T> {
    unsafe fn register(
        vdrv: &Opaque<Self::DriverType>,
        name: &'static CStr,
        module: &'static ThisModule,
    ) -> Result {
        let vdrv = vdrv.get();
        // SAFETY: `vdrv` is valid for writes, and nobody else uses it before it is registered.
        let registered = unsafe { &mut *vdrv };
        let fields = &mut registered.driver;

        if T::HAS_CPU_CAME {
            registered.cpus = Some(CpuState::new(name)?);
        }
        if T::HAS_SHOW {
            registered.directory = Some(Dir::new(name));
        }
        fields.driver.name = kernel::str::as_char_ptr_in_const_context(name);
        fields.id_table = match T::claim() {
            Some(claim) if claim.is_nothing() => &raw const NOTHING,
            _ => T::ID_TABLE.as_ptr(),
        };
        fields.feature_table = Self::FEATURES.as_ptr();
        fields.feature_table_size = Self::FEATURES.len();
        fields.validate = Some(Self::validate_callback);
        fields.probe = Some(Self::probe_callback);
        fields.remove = Some(Self::remove_callback);
        fields.shutdown = Some(Self::shutdown_callback);
        fields.freeze = Some(Self::suspend_callback);
        fields.restore = Some(Self::restore_callback);
        fields.reset_prepare = Some(Self::suspend_callback);
        fields.reset_done = Some(Self::restore_callback);
        if T::HAS_CONFIG_CHANGED {
            fields.config_changed = Some(Binding::<T>::config_callback);
        }

        // SAFETY: `vdrv` is valid.
        let driver = unsafe { &raw mut (*vdrv).driver };
        // SAFETY:
        // - The caller keeps `vdrv` valid and pinned until `unregister`.
        // - `name` and the id table are `'static`; the callbacks are functions of this module,
        //   which outlives the registration.
        let result = unsafe { bindings::__register_virtio_driver(driver, module.as_ptr()) };

        to_result(result).inspect_err(|_| {
            // SAFETY: It was not registered, so nobody else uses it.
            unsafe { Self::clean_up(vdrv) };
        })
    }

    unsafe fn unregister(vdrv: &Opaque<Self::DriverType>) {
        let vdrv = vdrv.get();
        // SAFETY: The caller guarantees that `vdrv` is valid.
        let driver = unsafe { &raw mut (*vdrv).driver };
        // SAFETY: The caller guarantees that `register` succeeded for `vdrv`.
        unsafe { bindings::unregister_virtio_driver(driver) };

        // SAFETY: The driver has no devices any more, so nobody else uses it.
        unsafe { Self::clean_up(vdrv) };
    }
}

impl<T: Driver> Adapter<T> {
    /// Drops what belongs to a driver.
    ///
    /// # Safety
    ///
    /// `vdrv` must be valid, and nobody else use it.
    unsafe fn clean_up(vdrv: *mut Registered) {
        // SAFETY: By the safety requirements.
        let vdrv = unsafe { &mut *vdrv };
        drop(vdrv.directory.take());
        drop(vdrv.cpus.take());
    }

    /// The features, as the core takes them.
    const FEATURES: &'static Table = &Table::new(T::FEATURES);

    extern "C" fn validate_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // The driver before may have left something there.
        //
        // SAFETY: The virtio bus calls this with a valid `struct virtio_device`, which has no binding
        // yet.
        unsafe { (*vdev).priv_ = ptr::null_mut() };

        // SAFETY: As above.
        //
        // INVARIANT: `vdev` is valid for the duration of `validate_callback()`; its `priv` field is
        // null.
        let vdev = unsafe { &*vdev.cast::<Device<device::Bound>>() };

        let verdict = T::claim().map(|claim| claim.judge(vdev.address()));
        if verdict == Some(Verdict::NotClaimed) {
            return ENODEV.to_errno();
        }
        from_result(|| vdev.validate_features::<T>().map(|()| 0))
    }

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
            let (vdev, binding, data) = unsafe { Self::bound(vdev.as_raw()) };
            binding
                .go_live(data)
                .and_then(|()| {
                    // SAFETY: The device is bound to this driver.
                    let driver = unsafe { Self::registered(vdev) };
                    if let Some(directory) = &driver.directory {
                        binding.add_file(directory);
                    }
                    if let Some(cpus) = &driver.cpus {
                        let work = Work::new::<T>(vdev, T::cpu_came)?;
                        // SAFETY: The binding takes its resources back before its work goes, and
                        // before the driver does.
                        binding.add_resource(unsafe { cpus.add(work) }?)?;
                    }
                    T::start(vdev, data)
                })
                .inspect_err(|_| binding.end())?;
            Ok(0)
        })
    }

    /// Returns a device that is bound, and what it has.
    ///
    /// # Safety
    ///
    /// `vdev` must be valid, and `probe_callback` have succeeded for it, but for making it live; as
    /// long as the result is used.
    unsafe fn bound<'bound>(
        vdev: *mut bindings::virtio_device,
    ) -> (
        &'bound Device<device::CoreInternal<'bound>>,
        &'bound Binding<T>,
        Pin<&'bound T::Data<'bound>>,
    ) {
        // SAFETY: By the safety requirements, `vdev` is valid.
        //
        // INVARIANT: Its `priv` field was set by `probe_callback`.
        let vdev = unsafe { &*vdev.cast::<Device<device::CoreInternal<'bound>>>() };
        // SAFETY: By the safety requirements, `set_drvdata` has stored a `Pin<KBox<Bound<'_, T>>>`,
        // which lives as long as the context.
        let bound = unsafe { vdev.as_ref().drvdata_borrow::<Bound<'bound, T>>() }.get_ref();
        // SAFETY: `bound` is pinned, and so is its field `data`, structurally.
        let data = unsafe { Pin::new_unchecked(&bound.data) };
        (vdev, &bound.binding, data)
    }

    /// Returns the driver of a device.
    ///
    /// # Safety
    ///
    /// It must be `Adapter<T>`.
    unsafe fn registered<'a>(vdev: &'a Device<device::CoreInternal<'_>>) -> &'a Registered {
        // SAFETY: By the type invariant of `Device`, it is valid; while it is bound, its driver does
        // not change.
        let driver = unsafe { (*vdev.as_raw()).dev.driver };
        let offset = <Self as driver::DriverLayout>::DEVICE_DRIVER_OFFSET;
        // SAFETY: By the safety requirements, `register` was called for this driver, so it is in a
        // `Registered`, at that offset.
        let registered = unsafe { driver.byte_sub(offset) }.cast::<Registered>();
        // SAFETY: It is valid while the device is bound, and what is its own does not change meanwhile.
        unsafe { &*registered }
    }

    extern "C" fn remove_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: The bus calls this with a valid device, after `probe_callback` succeeded.
        let (vdev, binding, data) = unsafe { Self::bound(vdev) };

        binding.end_resources();
        T::unbind(vdev, data);
        binding.end();
        // The core complains if a status is left.
        binding.state().quiesce_finally();
    }

    extern "C" fn shutdown_callback(vdev: *mut bindings::virtio_device) {
        // SAFETY: The bus calls this with a valid device, after `probe_callback` succeeded.
        let (vdev, binding, data) = unsafe { Self::bound(vdev) };

        T::shutdown(vdev, data);
        binding.state().quiesce();
    }

    extern "C" fn suspend_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: The bus calls this with a valid device, after `probe_callback` succeeded.
        let (vdev, binding, data) = unsafe { Self::bound(vdev) };

        from_result(|| {
            if binding.has_queues() && !T::HAS_RELEASE {
                return Err(EOPNOTSUPP);
            }
            // A device that is lost is suspended as it is.
            if binding.state().is_live() {
                T::suspend(vdev, data)?;
            }
            Self::release(binding, data)?;
            Ok(0)
        })
    }

    extern "C" fn restore_callback(vdev: *mut bindings::virtio_device) -> c_int {
        // SAFETY: The bus calls this with a valid device, after `probe_callback` succeeded.
        let (vdev, binding, data) = unsafe { Self::bound(vdev) };

        from_result(|| {
            // The core has reset the device, perhaps without asking before, and negotiated again.
            binding.state().was_reset();
            Self::release(binding, data)?;
            binding.state().set_phase(Phase::Preparing);
            T::restore(vdev, data)
                .and_then(|()| binding.go_live(data))
                .and_then(|()| T::resume(vdev, data))
                .inspect_err(|_| {
                    if Self::release(binding, data).is_err() {
                        dev_err!(vdev.as_ref(), "the driver keeps a queue\n");
                    }
                })?;
            Ok(0)
        })
    }

    /// Resets the device, and takes the queues from the driver.
    fn release<'bound>(binding: &'bound Binding<T>, data: Pin<&'bound T::Data<'bound>>) -> Result {
        binding.state().quiesce();
        if binding.has_queues() {
            T::release(data);
        }
        binding.delete_queues()
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
