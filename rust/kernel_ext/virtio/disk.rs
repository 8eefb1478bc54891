// SPDX-License-Identifier: GPL-2.0

//! Disks at virtio devices.

use super::{
    binding::Resource,
    Device,
    Driver, //
};
use crate::block::{
    Disk,
    DiskOptions,
    Operations,
    Owner,
    QueueKind,
    QueueMap, //
};
use kernel::{
    device,
    prelude::*, //
};

impl<T: Operations> Resource for Owner<T> {}

/// Makes a disk, which is ended when the device is taken from its driver: see [`Driver::start`].
/// `T` must be that driver; the operations get its data. The disk is yet to be [added](Disk::add).
///
/// # Errors
///
/// `ENODEV` if the device was not live yet.
pub fn make_disk<'bound, T, O>(
    vdev: &'bound Device<device::Core<'_>>,
    options: DiskOptions<O>,
) -> Result<Disk<O>>
where
    T: Driver,
    O: Operations<Data<'bound> = <T as Driver>::Data<'bound>>,
{
    // SAFETY: The owner becomes a resource of the binding.
    let data = unsafe { vdev.driver_data::<T>() }?;
    // SAFETY: As above; the data is pinned.
    let owner = unsafe { Owner::new(options.parent(vdev.as_ref()), data) }?;
    let disk = owner.handle();
    vdev.add_resource::<T>(KBox::new(owner, GFP_KERNEL)?)?;
    Ok(disk)
}

impl Device<device::Bound> {
    /// Sends each CPU to the queue of a kind whose interrupt it gets; the first of them is queue
    /// `first` of the device, and so on.
    #[doc(alias = "blk_mq_map_hw_queues")]
    pub fn map_queues(&self, map: &mut QueueMap<'_>, kind: QueueKind, first: u32) {
        let end = first.checked_add(map.count(kind));
        if end.is_some_and(|end| end <= self.queue_count()) {
            // SAFETY: The device has so many queues, of which its bus knows the affinity.
            unsafe { map.by_affinity(kind, self.as_ref(), first) };
        }
    }
}
