// SPDX-License-Identifier: GPL-2.0

//! What a disk is to be like.

use super::{
    attribute::Attribute,
    limits::Limits,
    name::{
        DiskName,
        Major, //
    },
    operations::Operations,
    tag_set::TagSetOptions,
    MAX_CAPACITY, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    ptr, //
};
use kernel::{
    device,
    module::ModuleMetadata,
    prelude::*,
    sync::aref::ARef, //
};

/// The geometry of a disk, for those who still ask.
///
/// # Examples
///
/// ```ignore
/// let geometry = Geometry { heads: 16, sectors: 63, cylinders: 1024 };
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "hd_geometry")]
pub struct Geometry {
    /// How many heads there are.
    pub heads: u8,
    /// How many sectors a track has.
    pub sectors: u8,
    /// How many cylinders there are.
    pub cylinders: u16,
}

impl Geometry {
    /// Makes one up that has about the right capacity.
    fn of_capacity(sectors: u64) -> Self {
        Self {
            heads: 64,
            sectors: 32,
            cylinders: u16::try_from(sectors >> 11).unwrap_or(u16::MAX),
        }
    }

    /// Puts it into a pointer, which lives as long as the disk does, whoever owns that.
    fn into_pointer(this: Option<Self>) -> *mut c_void {
        let packed = this.map_or([0; 4], |this| {
            let [low, high] = this.cylinders.to_le_bytes();
            [low, high, this.sectors, this.heads]
        });
        // CAST: This only widens.
        ptr::without_provenance_mut(u32::from_le_bytes(packed) as usize)
    }

    /// Gets it back.
    fn from_pointer(pointer: *mut c_void) -> Option<Self> {
        let packed = u32::try_from(pointer.addr()).ok().filter(|i| *i != 0)?;
        let [low, high, sectors, heads] = packed.to_le_bytes();
        Some(Self {
            heads,
            sectors,
            cylinders: u16::from_le_bytes([low, high]),
        })
    }
}

/// What a disk is, for its users.
pub(super) struct Identity<T: Operations> {
    name: DiskName,
    capacity: u64,
    read_only: bool,
    geometry: Option<Geometry>,
    numbers: Option<Numbers>,
    _operations: PhantomData<T>,
}

/// The numbers that a disk gets, and its partitions.
#[derive(Clone, Copy)]
struct Numbers {
    major: c_int,
    first_minor: c_int,
    minors: c_int,
}

impl<T: Operations> Identity<T> {
    const FOPS: &'static bindings::block_device_operations = &bindings::block_device_operations {
        owner: <T::OwnerModule as ModuleMetadata>::THIS_MODULE.as_ptr(),
        getgeo: Some(getgeo),
        ..pin_init::zeroed()
    };

    /// Gives it to a disk.
    ///
    /// # Safety
    ///
    /// `disk` must be valid, and known to nobody else.
    pub(super) unsafe fn apply(&self, disk: *mut bindings::gendisk) {
        // SAFETY: By the safety requirements.
        let fields = unsafe { &mut *disk };
        fields.fops = Self::FOPS;
        fields.private_data = Geometry::into_pointer(self.geometry);
        for (target, byte) in fields.disk_name.iter_mut().zip(self.name.with_zeroes()) {
            *target = *byte;
        }
        if let Some(numbers) = self.numbers {
            fields.major = numbers.major;
            fields.first_minor = numbers.first_minor;
            fields.minors = numbers.minors;
        }
        // SAFETY: By the safety requirements.
        unsafe { bindings::set_capacity(disk, self.capacity) };
        if self.read_only {
            // SAFETY: By the safety requirements.
            unsafe { bindings::set_disk_ro(disk, true) };
        }
    }
}

/// Tells the geometry of a disk.
///
/// # Safety
///
/// Only the core may call this, for a disk that [`Identity::apply`] set up.
unsafe extern "C" fn getgeo(
    disk: *mut bindings::gendisk,
    geometry: *mut kernel::bindings::hd_geometry,
) -> c_int {
    // SAFETY: By the safety requirements, `disk` is valid; the field does not change.
    let pointer = unsafe { (*disk).private_data };
    // SAFETY: By the safety requirements, `disk` is valid.
    let capacity = unsafe { bindings::get_capacity(disk) };
    let found = Geometry::from_pointer(pointer).unwrap_or_else(|| Geometry::of_capacity(capacity));

    let geometry = geometry.cast::<bindings::hd_geometry>();
    // SAFETY: The core gives one, which nobody else uses.
    let geometry = unsafe { &mut *geometry };
    geometry.heads = found.heads;
    geometry.sectors = found.sectors;
    geometry.cylinders = found.cylinders;
    0
}

/// What a disk is to be like.
///
/// # Examples
///
/// ```ignore
/// let options = DiskOptions::new(DiskName::letters("vd", id)?, tag_set, limits)
///     .capacity(sectors)?
///     .parent(vdev.as_ref())
///     .attribute(Attribute::read_only(c"serial", show_serial))?;
/// ```
pub struct DiskOptions<T: Operations> {
    pub(super) identity: Identity<T>,
    pub(super) tag_set: TagSetOptions,
    pub(super) limits: Limits,
    pub(super) attributes: KVec<Attribute<T>>,
    pub(super) parent: Option<ARef<device::Device>>,
}

impl<T: Operations> DiskOptions<T> {
    /// Starts with what each disk has.
    pub fn new(name: DiskName, tag_set: TagSetOptions, limits: Limits) -> Self {
        Self {
            identity: Identity {
                name,
                capacity: 0,
                read_only: false,
                geometry: None,
                numbers: None,
                _operations: PhantomData,
            },
            tag_set,
            limits,
            attributes: KVec::new(),
            parent: None,
        }
    }

    /// Sets the capacity, in sectors.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is too large.
    pub fn capacity(mut self, sectors: u64) -> Result<Self> {
        if sectors > MAX_CAPACITY {
            return Err(EINVAL);
        }
        self.identity.capacity = sectors;
        Ok(self)
    }

    /// Keeps users from writing.
    pub fn read_only(mut self) -> Self {
        self.identity.read_only = true;
        self
    }

    /// Sets the geometry. Without it, one is made up.
    pub fn geometry(mut self, geometry: Geometry) -> Self {
        self.identity.geometry = Some(geometry);
        self
    }

    /// Uses a major number of the driver, and `minors` numbers from `first_minor`, for the disk and
    /// its partitions. Without it, the core chooses.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there are no such numbers, or none are asked for.
    pub fn numbers(mut self, major: &'static Major, first_minor: u32, minors: u32) -> Result<Self> {
        /// How many there are.
        const MINORS: u32 = 1 << bindings::MINORBITS;
        /// How many partitions the core looks for.
        const MAX: u32 = bindings::DISK_MAX_PARTS;

        let end = first_minor.checked_add(minors).ok_or(EINVAL)?;
        if minors == 0 || minors > MAX || end > MINORS {
            return Err(EINVAL);
        }
        self.identity.numbers = Some(Numbers {
            major: c_int::try_from(major.number())?,
            first_minor: c_int::try_from(first_minor)?,
            minors: c_int::try_from(minors)?,
        });
        Ok(self)
    }

    /// Sets the device that the disk is at.
    pub fn parent(mut self, parent: &device::Device) -> Self {
        self.parent = Some(parent.into());
        self
    }

    /// Adds an attribute to the disk's directory in sysfs.
    pub fn attribute(mut self, attribute: Attribute<T>) -> Result<Self> {
        self.attributes.push(attribute, GFP_KERNEL)?;
        Ok(self)
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_options)]
mod tests {
    use super::*;

    #[test]
    fn a_geometry_survives_in_a_pointer() {
        let geometry = Geometry {
            heads: 255,
            sectors: 63,
            cylinders: 1025,
        };

        let pointer = Geometry::into_pointer(Some(geometry));
        assert_eq!(Geometry::from_pointer(pointer), Some(geometry));
        assert_eq!(Geometry::from_pointer(Geometry::into_pointer(None)), None);
    }

    #[test]
    fn a_large_disk_has_the_largest_geometry() {
        assert_eq!(Geometry::of_capacity(1 << 20).cylinders, 512);
        assert_eq!(Geometry::of_capacity(u64::MAX).cylinders, u16::MAX);
    }
}
