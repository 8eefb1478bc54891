// SPDX-License-Identifier: GPL-2.0

//! How requests end.

use crate::bindings;
use kernel::prelude::*;

/// How a request ended: the name of an error says what the block layer does about it.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "blk_status_t")]
pub struct Status(bindings::blk_status_t);

impl Status {
    /// The request succeeded.
    pub const OK: Self = Self(0);

    /// The device cannot do this; the block layer may do without.
    pub const UNSUPPORTED: Self = Self(bindings::RUST_CONST_BLK_STS_NOTSUPP);

    /// The device did not answer in time.
    pub const TIMEOUT: Self = Self(bindings::RUST_CONST_BLK_STS_TIMEOUT);

    /// The device is full.
    pub const NO_SPACE: Self = Self(bindings::RUST_CONST_BLK_STS_NOSPC);

    /// The path to the device failed; another one may not.
    pub const TRANSPORT: Self = Self(bindings::RUST_CONST_BLK_STS_TRANSPORT);

    /// The device has failed, for good.
    pub const TARGET: Self = Self(bindings::RUST_CONST_BLK_STS_TARGET);

    /// The data cannot be read or written.
    pub const MEDIUM: Self = Self(bindings::RUST_CONST_BLK_STS_MEDIUM);

    /// The data does not match its checksum.
    pub const PROTECTION: Self = Self(bindings::RUST_CONST_BLK_STS_PROTECTION);

    /// There is too little memory.
    pub const NO_MEMORY: Self = Self(bindings::RUST_CONST_BLK_STS_RESOURCE);

    /// Any other error.
    pub const IO_ERROR: Self = Self(bindings::RUST_CONST_BLK_STS_IOERR);

    /// Too many zones are open.
    pub const ZONE_OPEN_RESOURCE: Self = Self(bindings::RUST_CONST_BLK_STS_ZONE_OPEN_RESOURCE);

    /// Too many zones are active.
    pub const ZONE_ACTIVE_RESOURCE: Self = Self(bindings::RUST_CONST_BLK_STS_ZONE_ACTIVE_RESOURCE);

    /// The device is, or is being, taken away.
    pub const OFFLINE: Self = Self(bindings::RUST_CONST_BLK_STS_OFFLINE);

    /// The size or the alignment is wrong.
    pub const INVALID: Self = Self(bindings::RUST_CONST_BLK_STS_INVAL);

    /// Wraps a status that the block layer says.
    pub(super) const fn from_raw(status: bindings::blk_status_t) -> Self {
        Self(status)
    }

    /// Returns the number, for the block layer.
    pub(super) const fn as_raw(self) -> bindings::blk_status_t {
        self.0
    }

    /// Tells whether the request succeeded.
    pub const fn is_ok(self) -> bool {
        self.0 == Self::OK.0
    }

    /// Returns an error of the kernel, unless the request succeeded.
    #[doc(alias = "blk_status_to_errno")]
    pub fn to_result(self) -> Result {
        // SAFETY: Any number may be asked for; the core answers `EIO` if it does not know it.
        kernel::error::to_result(unsafe { bindings::blk_status_to_errno(self.0) })
    }
}

impl From<Error> for Status {
    /// Finds the status of an error: [`Status::IO_ERROR`], if there is none of its own.
    #[doc(alias = "errno_to_blk_status")]
    fn from(error: Error) -> Self {
        // SAFETY: Any number may be asked for.
        match unsafe { bindings::errno_to_blk_status(error.to_errno()) } {
            // With these, the block layer would do something else than end the request.
            bindings::RUST_CONST_BLK_STS_AGAIN
            | bindings::RUST_CONST_BLK_STS_DEV_RESOURCE
            | bindings::RUST_CONST_BLK_STS_DM_REQUEUE => Self::IO_ERROR,
            status => Self(status),
        }
    }
}

impl From<Result> for Status {
    fn from(result: Result) -> Self {
        match result {
            Ok(()) => Self::OK,
            Err(error) => error.into(),
        }
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_status)]
mod tests {
    use super::*;
    use kernel::error::code;

    #[test]
    fn errors_survive_the_way_there_and_back() {
        for error in [code::EOPNOTSUPP, code::ETIMEDOUT, code::ENOSPC, code::EIO] {
            assert_eq!(Status::from(error).to_result(), Err(error));
        }
        assert_eq!(Status::from(Ok(())), Status::OK);
        assert_eq!(Status::OK.to_result(), Ok(()));
    }

    #[test]
    fn an_error_never_becomes_a_success_or_a_retry() {
        for errno in 1..134 {
            let status = Status::from(Error::from_errno(-errno));

            assert!(!status.is_ok());
            assert!(status.as_raw() != bindings::RUST_CONST_BLK_STS_DEV_RESOURCE);
            assert!(status.to_result().is_err());
        }
    }
}
