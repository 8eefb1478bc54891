// SPDX-License-Identifier: GPL-2.0

//! Formatting of types that know nothing of the kernel, such as those of [`virtio_wire`].

use core::fmt;

/// Prints what implements `Display` of `core`, where the kernel wants its own.
///
/// # Examples
///
/// ```ignore
/// dev_err!(vdev, "the configuration is wrong: {}\n", Plain(error));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Plain<T>(pub T);

impl<T: fmt::Display> kernel::fmt::Display for Plain<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
