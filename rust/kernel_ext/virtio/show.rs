// SPDX-License-Identifier: GPL-2.0

//! Files in debugfs that show the state of devices: `/sys/kernel/debug/DRIVER/DEVICE`.
//!
//! The file of a device is there from when it is live until it is taken from its driver, and can be
//! read whatever happens meanwhile. It goes before the driver's data does, and waits for those who
//! read it.

use super::{
    binding::Binding,
    Driver,
    Lines, //
};
use core::{
    fmt,
    ptr::NonNull, //
};
use kernel::{
    debugfs::{
        Dir,
        File, //
    },
    prelude::*, //
};

/// What the file of a device shows.
///
/// # Invariants
///
/// The binding is valid as long as this lives, and does not end.
pub(super) struct Shown<T: Driver>(NonNull<Binding<T>>);

// SAFETY: Only what bindings share between threads is used.
unsafe impl<T: Driver> Send for Shown<T> {}

// SAFETY: As above.
unsafe impl<T: Driver> Sync for Shown<T> {}

/// The file of a device.
pub(super) type ShowFile<T> = Pin<KBox<File<Shown<T>>>>;

/// Makes the file of a device, in the directory of its driver.
///
/// # Safety
///
/// The result must be dropped before the binding ends.
pub(super) unsafe fn file<T: Driver>(
    directory: &Dir,
    name: &CStr,
    binding: &Binding<T>,
) -> Result<ShowFile<T>> {
    // INVARIANT: By the safety requirements.
    let shown = Shown(NonNull::from(binding));
    let file = directory.read_callback_file(name, shown, &Shown::<T>::show);
    KBox::pin_init(file, GFP_KERNEL)
}

impl<T: Driver> Shown<T> {
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: By the type invariant, the binding is valid.
        let binding = unsafe { self.0.as_ref() };
        // SAFETY: By the type invariant, it does not end.
        let Some(data) = (unsafe { binding.data() }) else {
            return Ok(());
        };
        let mut lines = Lines::new(f);
        lines.line("phase", binding.state().phase().name())?;
        lines.line("violations", binding.state().violations())?;
        T::show(data, &mut lines)
    }
}
