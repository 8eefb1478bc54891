// SPDX-License-Identifier: GPL-2.0

//! The configuration space of devices.
//!
//! It is read field by field, as the transports demand it; [`virtio_wire`] knows the fields, and
//! what values they may have.

use super::Device;
use crate::bindings;
use kernel::{
    device,
    prelude::*, //
};
use virtio_wire::wire::Layout;

/// How often the configuration may change while it is read.
const TRIES: u32 = 16;

impl Device<device::Bound> {
    /// Reads the first `length` bytes of the configuration space, which is laid out as `L`, without
    /// a field that is only in part among them. They belong together: if the device changes them
    /// meanwhile, they are read again.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the device has less, or `target` is too short; `EIO` if the device does not stop
    /// changing them.
    ///
    /// # Context
    ///
    /// Process context.
    #[doc(alias = "virtio_cread_bytes")]
    pub fn read_config<L: Layout>(&self, length: usize, target: &mut [u8]) -> Result {
        // SAFETY: By the type invariant, the device is valid.
        let available = unsafe { bindings::virtio_config_length(self.as_raw()) };
        if u64::try_from(length)? > available {
            self.complain(|| {
                dev_err!(
                    self,
                    "the configuration has {} bytes, {} are needed\n",
                    available,
                    length
                );
            });
            return Err(EINVAL);
        }

        let mut generation = self.config_generation();
        for _ in 0..TRIES {
            for field in L::FIELDS {
                let end = field.offset.checked_add(field.size).ok_or(EINVAL)?;
                if end > length {
                    break;
                }
                let bytes = target.get_mut(field.offset..end).ok_or(EINVAL)?;
                self.get_field(field.offset, field.width, bytes)?;
            }

            let now = self.config_generation();
            if now == generation {
                return Ok(());
            }
            generation = now;
        }
        self.complain(|| dev_err!(self, "the configuration does not stop changing\n"));
        Err(EIO)
    }

    /// Writes a field of the configuration space, which is laid out as `L`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no field of that size begins there.
    ///
    /// # Context
    ///
    /// Process context.
    #[doc(alias = "virtio_cwrite_bytes")]
    pub fn write_config<L: Layout>(&self, offset: usize, bytes: &[u8]) -> Result {
        let mut fields = L::FIELDS.iter();
        let field = fields
            .find(|field| field.offset == offset && field.size == bytes.len())
            .ok_or(EINVAL)?;
        // SAFETY: By the type invariant, the device is valid.
        let available = unsafe { bindings::virtio_config_length(self.as_raw()) };
        if u64::try_from(offset.checked_add(field.size).ok_or(EINVAL)?)? > available {
            return Err(EINVAL);
        }

        let set = self.config_ops().set.ok_or(ENODEV)?;
        let mut offset = u32::try_from(offset)?;
        let width = u32::try_from(field.width)?;
        for bytes in bytes.chunks_exact(field.width) {
            // SAFETY: This is an operation of the device's transport. There are `width` bytes to
            // read, and there is such a field in the configuration.
            unsafe { set(self.as_raw(), offset, bytes.as_ptr().cast(), width) };
            offset = offset.checked_add(width).ok_or(EINVAL)?;
        }
        Ok(())
    }

    fn config_ops(&self) -> &bindings::virtio_config_ops {
        // SAFETY: By the type invariant, the device is valid.
        let config = unsafe { (*self.as_raw()).config };
        // SAFETY: A device has operations, which outlive it.
        unsafe { &*config }
    }

    fn config_generation(&self) -> u32 {
        self.config_ops().generation.map_or(0, |generation| {
            // SAFETY: This is an operation of the device's transport.
            unsafe { generation(self.as_raw()) }
        })
    }

    fn get_field(&self, offset: usize, width: usize, bytes: &mut [u8]) -> Result {
        let get = self.config_ops().get.ok_or(ENODEV)?;
        let mut offset = u32::try_from(offset)?;
        let length = u32::try_from(width)?;
        for bytes in bytes.chunks_exact_mut(width) {
            // SAFETY: This is an operation of the device's transport. There is room for `length`
            // bytes, and there is such a field in the configuration.
            unsafe { get(self.as_raw(), offset, bytes.as_mut_ptr().cast(), length) };
            offset = offset.checked_add(length).ok_or(EINVAL)?;
        }
        Ok(())
    }
}
