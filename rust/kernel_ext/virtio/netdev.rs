// SPDX-License-Identifier: GPL-2.0

//! Network devices at virtio devices.

use super::{
    binding::Resource,
    Device,
    Driver, //
};
use crate::net::{
    self,
    DeviceOptions,
    NapiKind,
    Operations,
    Owner, //
};
use kernel::{
    device,
    prelude::*, //
};

impl<T: Operations> Resource for Owner<T> {}

/// Makes a network device, which is unregistered when the device is taken from its driver: see
/// [`Driver::start`]. `T` must be that driver; the operations get its data, and `tx` and `napi` make
/// what belongs to its queues and instances. The network device is yet to be
/// [registered](net::Device::register).
///
/// # Errors
///
/// `ENODEV` if the device was not live yet.
pub fn make_netdev<'bound, T, O>(
    vdev: &'bound Device<device::Core<'_>>,
    options: DeviceOptions<O>,
    tx: impl FnMut(u32) -> Result<O::Tx<'bound>>,
    napi: impl FnMut(NapiKind) -> Result<O::Napi<'bound>>,
) -> Result<net::Device<'bound, O>>
where
    T: Driver,
    O: Operations<Data<'bound> = <T as Driver>::Data<'bound>>,
{
    // SAFETY: The owner becomes a resource of the binding.
    let data = unsafe { vdev.driver_data::<T>() }?;
    // SAFETY: As above; the data is pinned. Handles cannot outlive the lifetime.
    let owner = unsafe { Owner::new(options.parent(vdev.as_ref()), data, tx, napi) }?;
    // SAFETY: It is the lifetime of the binding.
    let netdev = unsafe { owner.handle() };
    vdev.add_resource::<T>(KBox::new(owner, GFP_KERNEL)?)?;
    Ok(netdev)
}
