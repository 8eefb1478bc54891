// SPDX-License-Identifier: GPL-2.0

//! Devices, their types and ids.

use super::{
    binding::{
        Binding,
        Header,
        Resource, //
    },
    state::State,
    Driver, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    device,
    device_id::RawDeviceId,
    fmt,
    prelude::*,
    types::Opaque, //
};

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

    /// A console.
    pub const CONSOLE: Self = Self(bindings::VIRTIO_ID_CONSOLE);

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
            Self::CONSOLE => f.write_str("console"),
            Self::ENTROPY => f.write_str("entropy device"),
            Self(number) => write!(f, "device of type {number}"),
        }
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

/// The virtio device representation.
///
/// # Invariants
///
/// - A [`Device`] instance represents a valid `struct virtio_device`.
/// - In context [`device::Bound`], it is bound to a driver of this crate, or about to be; its `priv`
///   field is null, or the pointer of the `Binding`, which lives as long as the context.
/// - In context [`device::Core`], that is not null.
#[repr(transparent)]
#[doc(alias = "virtio_device")]
pub struct Device<Ctx: device::DeviceContext = device::Normal>(
    Opaque<bindings::virtio_device>,
    PhantomData<Ctx>,
);

impl<Ctx: device::DeviceContext> Device<Ctx> {
    pub(super) fn as_raw(&self) -> *mut bindings::virtio_device {
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

    /// Returns the device of the transport.
    pub(super) fn parent(&self) -> Option<&device::Device> {
        // SAFETY: By the type invariant, the device is valid; its parent never changes.
        let parent = unsafe { (*self.as_raw()).dev.parent };
        // SAFETY: A device holds its parent, so it lives as long.
        (!parent.is_null()).then(|| unsafe { device::Device::from_raw(parent) })
    }

    /// Returns the number that no other device of the bus has.
    pub fn index(&self) -> i32 {
        // SAFETY: By the type invariant, `self.as_raw()` is valid; the index never changes.
        unsafe { (*self.as_raw()).index }
    }
}

impl Device<device::Bound> {
    /// Returns the address of the device on the bus of its transport, such as `0000:00:04.0` on PCI.
    pub(super) fn address(&self) -> &[u8] {
        self.parent().map_or(&[], |parent| parent.name().to_bytes())
    }

    /// Returns how often the device was caught doing what it must not, since it was bound.
    pub fn violations(&self) -> i64 {
        self.state().map_or(0, State::violations)
    }

    /// Counts something that the device must not do; `print` says what, unless there were many.
    pub fn complain(&self, print: impl FnOnce()) {
        if self.state().is_none_or(State::count_violation) {
            print();
        }
    }

    /// Tells whether the device says that it cannot go on without a reset.
    ///
    /// # Context
    ///
    /// Process: some transports sleep.
    pub(super) fn needs_reset(&self) -> bool {
        self.state().is_some_and(State::needs_reset)
    }

    /// Returns how many bytes a piece of memory can have that the device is to access: less than any
    /// number if they are copied to where it can.
    #[doc(alias = "virtio_max_dma_size")]
    pub fn max_dma_size(&self) -> usize {
        // SAFETY: By the type invariant, the device is valid.
        unsafe { bindings::virtio_max_dma_size(self.as_raw()) }
    }

    /// Returns how many queues the device has.
    pub(super) fn queue_count(&self) -> u32 {
        self.state().map_or(0, State::slot_count)
    }

    /// Returns the state, unless features are yet to be negotiated.
    fn state(&self) -> Option<&State> {
        // SAFETY: By the type invariant, `self.as_raw()` is valid.
        let header = unsafe { (*self.as_raw()).priv_ }.cast::<Header>();
        // SAFETY: By the type invariant, this is null, or points to a binding, which begins with a
        // header, and lives as long as the context.
        unsafe { header.as_ref() }.map(|header| &header.state)
    }
}

impl Device<device::Core<'_>> {
    /// Resets the device, unless that was done: for [`Driver::shutdown`]. Its queues can be dropped then.
    ///
    /// # Context
    ///
    /// Process; this sleeps.
    pub fn quiesce(&self) {
        if let Some(state) = self.state() {
            state.quiesce();
        }
    }

    /// Returns the data of driver `T`, to which the device is bound.
    ///
    /// # Safety
    ///
    /// The result must not be used after the resources of the binding have ended.
    pub(crate) unsafe fn driver_data<'bound, T: Driver>(
        &'bound self,
    ) -> Result<Pin<&'bound T::Data<'bound>>> {
        let binding = Binding::<T>::of(self)?;
        // SAFETY: By the safety requirements: the data ends later.
        unsafe { binding.data() }.ok_or(ENODEV)
    }

    /// Keeps a resource until the device is taken from its driver, which must be `T`.
    pub(crate) fn add_resource<T: Driver>(&self, resource: KBox<dyn Resource>) -> Result {
        Binding::<T>::of(self)?.add_resource(resource)
    }
}

// SAFETY: What the methods of these contexts do may be done by any thread.
unsafe impl Send for Device {}

// SAFETY: As above, by several threads at once: the core and the transport lock what they must.
unsafe impl Sync for Device {}

// SAFETY: As above.
unsafe impl Sync for Device<device::Bound> {}

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
#[kernel::prelude::kunit_tests(kernel_ext_virtio_device)]
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
        assert_eq!(DeviceType::CONSOLE.number(), 3);
        assert_eq!(DeviceType::ENTROPY.number(), 4);
    }
}
