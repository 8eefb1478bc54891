// SPDX-License-Identifier: GPL-2.0

//! Which devices a driver claims.
//!
//! The kernel has drivers of its own for most devices, and whichever is registered first gets a
//! device that is free. A driver that is installed beside them must not take one by surprise, such as
//! the disk that the machine runs on. So it claims nothing, unless the parameter `claim` of its
//! module says what; the bus offers the rest to others. A device that has a driver stays there,
//! whatever is claimed, until somebody unbinds it.
//!
//! C header: [`include/linux/moduleparam.h`](srctree/include/linux/moduleparam.h)

use super::Device;
use crate::bindings;
use core::ptr;
use kernel::{
    device,
    error::from_result,
    prelude::*,
    sync::SetOnce, //
};

/// How long the parameter can be.
const ROOM: usize = 512;

/// The value of a parameter.
struct Text {
    bytes: [u8; ROOM],
    length: usize,
}

/// The devices that a driver claims: words, with commas between them, each of which is
///
/// - `all`,
/// - `none`, as if the parameter were not there,
/// - the address of a device on the bus of its transport, such as `0000:00:04.0` on PCI, or
/// - a kind of name, a colon, and a name that the device has for itself, such as `serial:scratch`.
///
/// It is declared by [`virtio_claim!`](crate::virtio_claim).
pub struct Claim {
    /// The kinds of names.
    kinds: &'static [&'static str],
    text: SetOnce<Text>,
}

/// What is claimed of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    Claimed,
    /// It depends on its name, which the driver finds out.
    ByName,
    NotClaimed,
}

impl Claim {
    /// Begins with nothing claimed.
    pub const fn new(kinds: &'static [&'static str]) -> Self {
        Self {
            kinds,
            text: SetOnce::new(),
        }
    }

    fn set(&self, value: &[u8]) -> Result {
        let mut text = Text {
            bytes: [0; ROOM],
            length: value.len(),
        };
        let room = text.bytes.get_mut(..value.len()).ok_or(E2BIG)?;
        room.copy_from_slice(value);
        if text.words().any(<[u8]>::is_empty) {
            return Err(EINVAL);
        }
        self.text.populate(text).then_some(()).ok_or(EEXIST)
    }

    fn words(&self) -> impl Iterator<Item = &[u8]> {
        self.text.as_ref().into_iter().flat_map(Text::words)
    }

    /// Splits a word into a kind, and a name of that kind.
    fn split<'a>(&self, word: &'a [u8]) -> Option<(&'static str, &'a [u8])> {
        self.kinds.iter().find_map(|kind| {
            let name = word.strip_prefix(kind.as_bytes())?.strip_prefix(b":")?;
            Some((*kind, name))
        })
    }

    /// Tells whether there is nothing that could be claimed.
    pub(super) fn is_nothing(&self) -> bool {
        self.words().all(|word| word == b"none")
    }

    /// Judges the device with this address.
    pub(super) fn judge(&self, address: &[u8]) -> Verdict {
        if self.words().any(|word| word == b"all" || word == address) {
            Verdict::Claimed
        } else if self.words().any(|word| self.split(word).is_some()) {
            Verdict::ByName
        } else {
            Verdict::NotClaimed
        }
    }

    /// Tells whether a device is claimed only if it has one of certain names. A driver that gets such
    /// a device asks it, and gives it back with `ENODEV` if it has [another](Claim::names).
    pub fn depends_on_name(&self, vdev: &Device<device::Bound>) -> bool {
        self.judge(vdev.address()) == Verdict::ByName
    }

    /// Tells whether devices are claimed whose name of this kind is `name`.
    pub fn names(&self, kind: &str, name: &[u8]) -> bool {
        self.words()
            .filter_map(|word| self.split(word))
            .any(|claimed| claimed == (kind, name))
    }
}

impl Text {
    fn words(&self) -> impl Iterator<Item = &[u8]> {
        let text = self.bytes.get(..self.length).unwrap_or_default();
        text.split(|byte| *byte == b',')
    }
}

/// The parameter of a module that sets a [`Claim`], as the core wants it.
#[doc(hidden)]
#[repr(transparent)]
pub struct ClaimParam(bindings::kernel_param);

// SAFETY: It never changes, and only the core uses it.
unsafe impl Sync for ClaimParam {}

static PARAM_OPS: bindings::kernel_param_ops = bindings::kernel_param_ops {
    flags: 0,
    set: Some(set_claim),
    get: None,
    free: None,
};

impl ClaimParam {
    /// Makes the parameter of this module that sets `claim`. Files in sysfs have nothing of it.
    pub const fn new(claim: &'static Claim) -> Self {
        Self(bindings::kernel_param {
            name: kernel::str::as_char_ptr_in_const_context(c"claim"),
            mod_: (&raw const bindings::__this_module).cast_mut(),
            ops: &raw const PARAM_OPS,
            perm: 0,
            level: -1,
            flags: 0,
            __bindgen_anon_1: bindings::kernel_param__bindgen_ty_1 {
                arg: ptr::from_ref(claim).cast_mut().cast(),
            },
        })
    }
}

/// Called by the core when the module is loaded with this parameter.
///
/// # Safety
///
/// `value` must be null, or a valid C string; `param` a valid parameter made by [`ClaimParam::new`].
unsafe extern "C" fn set_claim(
    value: *const c_char,
    param: *const bindings::kernel_param,
) -> c_int {
    if value.is_null() {
        return EINVAL.to_errno();
    }
    // SAFETY: By the safety requirements, it is a valid C string.
    let value = unsafe { CStr::from_char_ptr(value) };
    // SAFETY: By the safety requirements, the parameter is valid.
    let anonymous = unsafe { &(*param).__bindgen_anon_1 };
    // SAFETY: `ClaimParam::new` has set this field.
    let claim = unsafe { anonymous.arg }.cast::<Claim>();
    // SAFETY: It is a `'static` claim, which may be shared.
    let claim = unsafe { &*claim };
    from_result(|| claim.set(value.to_bytes()).map(|()| 0))
}

/// Declares the static `$claim`, with the names of these kinds, and the parameter `claim` of the
/// module that sets it.
///
/// # Examples
///
/// ```ignore
/// kernel_ext::virtio_claim!(CLAIM, ["serial"], "serial:NAME");
/// ```
#[macro_export]
macro_rules! virtio_claim {
    ($claim:ident, [$($kind:literal),*], $forms:literal) => {
        static $claim: $crate::virtio::Claim = $crate::virtio::Claim::new(&[$($kind),*]);

        const _: () = {
            #[link_section = "__param"]
            #[used(compiler)]
            static PARAM: $crate::virtio::ClaimParam = $crate::virtio::ClaimParam::new(&$claim);

            const TYPE_TEXT: &str = "parmtype=claim:charp\0";
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static TYPE: [u8; TYPE_TEXT.len()] = $crate::virtio::bytes_of(TYPE_TEXT);

            const INFO_TEXT: &str = ::core::concat!(
                "parm=claim:Devices to take, with commas between them: all, none (default), ADDRESS, ",
                $forms,
                "\0"
            );
            #[link_section = ".modinfo"]
            #[used(compiler)]
            static INFO: [u8; INFO_TEXT.len()] = $crate::virtio::bytes_of(INFO_TEXT);
        };
    };
}

/// Returns the bytes of a text of `N` bytes, for [`virtio_claim!`](crate::virtio_claim).
#[doc(hidden)]
pub const fn bytes_of<const N: usize>(text: &str) -> [u8; N] {
    match text.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => [0; N],
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_virtio_claim)]
mod tests {
    use super::*;

    const ADDRESS: &[u8] = b"0000:00:04.0";

    fn claim(text: &str) -> Result<Claim> {
        let claim = Claim::new(&["serial"]);
        claim.set(text.as_bytes()).map(|()| claim)
    }

    fn judge(text: &str) -> Result<Verdict> {
        claim(text).map(|claim| claim.judge(ADDRESS))
    }

    #[test]
    fn nothing_is_claimed_by_default() {
        let claim = Claim::new(&["serial"]);

        assert!(claim.is_nothing());
        assert!(claim.judge(ADDRESS) == Verdict::NotClaimed);
    }

    #[test]
    fn a_device_is_claimed_by_its_address() {
        assert!(judge("all") == Ok(Verdict::Claimed));
        assert!(judge("none") == Ok(Verdict::NotClaimed));
        assert!(judge("0000:00:04.0") == Ok(Verdict::Claimed));
        assert!(judge("0000:00:04.1,0000:00:04.0") == Ok(Verdict::Claimed));
        assert!(judge("0000:00:04") == Ok(Verdict::NotClaimed));
        assert!(judge("0000:00:04.00") == Ok(Verdict::NotClaimed));
    }

    #[test]
    fn a_device_is_claimed_by_its_name() {
        assert!(judge("serial:a") == Ok(Verdict::ByName));
        assert!(judge("mac:a") == Ok(Verdict::NotClaimed));

        let claim = claim("0000:00:05.0,serial:a,serial:b");
        assert!(claim.is_ok_and(|claim| claim.names("serial", b"b")
            && !claim.names("serial", b"")
            && !claim.names("serial", b"ab")
            && !claim.names("mac", b"a")));
    }

    #[test]
    fn a_claim_is_set_once_and_has_words() {
        assert!(claim("").is_err());
        assert!(claim("all,").is_err());
        assert!(claim("0000:00:04.0,,all").is_err());
        assert!(claim("all").is_ok_and(|claim| claim.set(b"none").is_err()));
    }
}
