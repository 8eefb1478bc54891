// SPDX-License-Identifier: GPL-2.0

//! Attributes of disks, in sysfs.

use super::operations::Operations;
use crate::bindings;
use core::{
    pin::Pin,
    ptr, //
};
use kernel::{
    error::from_result,
    fmt,
    page::PAGE_SIZE,
    prelude::*,
    types::Opaque, //
};

/// Writes the text of an attribute. It shares the driver's data with other calls.
type Show<T> =
    for<'a, 'bound> fn(Pin<&'a <T as Operations>::Data<'bound>>, &mut Text<'_>) -> Result;

/// Takes what a user wrote to an attribute.
type Store<T> = for<'a, 'bound> fn(Pin<&'a <T as Operations>::Data<'bound>>, &[u8]) -> Result;

/// A file in the disk's directory in sysfs.
///
/// # Examples
///
/// ```ignore
/// Attribute::read_only(c"serial", |data, text| {
///     text.format(fmt!("{}\n", data.serial))
/// })
/// ```
#[doc(alias = "device_attribute")]
pub struct Attribute<T: Operations> {
    name: &'static CStr,
    show: Show<T>,
    store: Option<Store<T>>,
}

impl<T: Operations> Attribute<T> {
    /// Makes an attribute that anybody may read.
    pub const fn read_only(name: &'static CStr, show: Show<T>) -> Self {
        Self {
            name,
            show,
            store: None,
        }
    }

    /// Makes an attribute that anybody may read, and the administrator may write.
    pub const fn read_write(name: &'static CStr, show: Show<T>, store: Store<T>) -> Self {
        Self {
            name,
            show,
            store: Some(store),
        }
    }
}

/// Where the text of an attribute goes: a page.
#[doc(alias = "sysfs_emit")]
pub struct Text<'a> {
    room: &'a mut [u8],
    used: usize,
}

impl Text<'_> {
    /// Appends formatted text.
    ///
    /// # Errors
    ///
    /// `ENOSPC`.
    pub fn format(&mut self, text: fmt::Arguments<'_>) -> Result {
        fmt::Write::write_fmt(self, text).map_err(|_| ENOSPC)
    }

    /// Appends bytes, all or none.
    ///
    /// # Errors
    ///
    /// `ENOSPC`.
    pub fn append(&mut self, bytes: &[u8]) -> Result {
        let end = self.used.checked_add(bytes.len()).ok_or(ENOSPC)?;
        let room = self.room.get_mut(self.used..end).ok_or(ENOSPC)?;
        room.copy_from_slice(bytes);
        self.used = end;
        Ok(())
    }
}

impl fmt::Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.append(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// An attribute, with what the core needs.
#[repr(C)]
struct Entry<T: Operations> {
    /// It comes first: callbacks get its address.
    raw: bindings::device_attribute,
    attribute: Attribute<T>,
    data: *const c_void,
}

/// The attributes of a disk.
///
/// # Invariants
///
/// `groups` is an array of one group and a null; the group is `group`, whose attributes are
/// `pointers`, an array of those in `entries`, and a null.
pub(super) struct Attributes<T: Operations> {
    entries: KVec<Entry<T>>,
    pointers: KVec<*mut bindings::attribute>,
    group: KBox<Opaque<bindings::attribute_group>>,
    groups: KVec<*const bindings::attribute_group>,
}

// SAFETY: The pointers are to what this owns, but for the data, which can be shared.
unsafe impl<T: Operations> Send for Attributes<T> {}

// SAFETY: Nothing is changed through a shared reference.
unsafe impl<T: Operations> Sync for Attributes<T> {}

impl<T: Operations> Attributes<T> {
    /// Makes what the core needs.
    ///
    /// # Safety
    ///
    /// `data` must be pinned, and valid for as long as the core knows the attributes.
    pub(super) unsafe fn new(
        attributes: KVec<Attribute<T>>,
        data: *const T::Data<'_>,
    ) -> Result<Self> {
        let count = attributes.len();
        let mut entries = KVec::with_capacity(count, GFP_KERNEL)?;
        for attribute in attributes {
            entries.push(
                Entry {
                    raw: pin_init::zeroed(),
                    attribute,
                    data: data.cast(),
                },
                GFP_KERNEL,
            )?;
        }

        // From here on, the entries do not move.
        let mut pointers = KVec::with_capacity(count + 1, GFP_KERNEL)?;
        for entry in &mut entries {
            let (mode, store): (_, bindings::disk_attr_store_t) = match entry.attribute.store {
                Some(_) => (0o644, Some(Self::store)),
                None => (0o444, None),
            };
            let name = kernel::str::as_char_ptr_in_const_context(entry.attribute.name);
            let raw = &raw mut entry.raw;
            // SAFETY: `raw` is valid for writes, and was zeroed; the name is static.
            unsafe { bindings::device_attribute_init(raw, name, mode, Some(Self::show), store) };
            pointers.push(&raw mut entry.raw.attr, GFP_KERNEL)?;
        }
        pointers.push(ptr::null_mut(), GFP_KERNEL)?;

        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2.attrs = pointers.as_mut_ptr();
        let group = KBox::new(Opaque::new(group), GFP_KERNEL)?;
        let mut groups = KVec::with_capacity(2, GFP_KERNEL)?;
        groups.push(group.get().cast_const(), GFP_KERNEL)?;
        groups.push(ptr::null(), GFP_KERNEL)?;

        // INVARIANT: That is how they were made; none of them is changed any more, or moves.
        Ok(Self {
            entries,
            pointers,
            group,
            groups,
        })
    }

    /// Returns the groups, for the core.
    pub(super) fn as_ptr(&self) -> *mut *const bindings::attribute_group {
        // Those are only there to be kept.
        let _ = (&self.entries, &self.pointers, &self.group);
        self.groups.as_ptr().cast_mut()
    }

    /// Finds the entry of an attribute, and the driver's data.
    ///
    /// # Safety
    ///
    /// `raw` must be the field of an [`Entry`] that the core knows, for as long as the results are
    /// used.
    unsafe fn of<'a>(raw: *mut bindings::device_attribute) -> (&'a Entry<T>, Pin<&'a T::Data<'a>>) {
        // SAFETY: By the safety requirements, it is the first field of an entry, which lives.
        let entry = unsafe { &*raw.cast::<Entry<T>>() };
        // SAFETY: By the safety requirements of `new`, the data is valid.
        let data = unsafe { &*entry.data.cast::<T::Data<'a>>() };
        // SAFETY: By the safety requirements of `new`, it is pinned.
        (entry, unsafe { Pin::new_unchecked(data) })
    }

    /// Writes the text of an attribute.
    ///
    /// # Safety
    ///
    /// Only the core may call this, for an attribute that it knows.
    unsafe extern "C" fn show(
        _dev: *mut bindings::device,
        raw: *mut bindings::device_attribute,
        page: *mut c_char,
    ) -> isize {
        // SAFETY: By the safety requirements. The core waits for this before it forgets them.
        let (entry, data) = unsafe { Self::of(raw) };
        // SAFETY: The core gives a page, which is zeroed, and which nobody else uses.
        let room = unsafe { core::slice::from_raw_parts_mut(page.cast::<u8>(), PAGE_SIZE) };

        let mut text = Text { room, used: 0 };
        from_result(|| {
            (entry.attribute.show)(data, &mut text)?;
            Ok(isize::try_from(text.used)?)
        })
    }

    /// Takes what a user wrote.
    ///
    /// # Safety
    ///
    /// Only the core may call this, for an attribute that it knows.
    unsafe extern "C" fn store(
        _dev: *mut bindings::device,
        raw: *mut bindings::device_attribute,
        text: *const c_char,
        count: usize,
    ) -> isize {
        // SAFETY: By the safety requirements. The core waits for this before it forgets them.
        let (entry, data) = unsafe { Self::of(raw) };
        // SAFETY: The core gives as many bytes, which nobody changes.
        let text = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), count) };

        from_result(|| {
            let store = entry.attribute.store.ok_or(EIO)?;
            store(data, text.strip_suffix(b"\n").unwrap_or(text))?;
            Ok(isize::try_from(count)?)
        })
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_attribute)]
mod tests {
    use super::*;

    #[test]
    fn text_that_does_not_fit_is_an_error() {
        let mut room = [0; 4];
        let mut text = Text {
            room: &mut room,
            used: 0,
        };

        assert!(text.format(fmt!("{}", 12)).is_ok());
        assert!(text.format(fmt!("{}", 345)).is_err());
        assert!(text.append(b"34").is_ok());
        assert_eq!(text.used, 4);
        assert_eq!(room, *b"1234");
    }
}
