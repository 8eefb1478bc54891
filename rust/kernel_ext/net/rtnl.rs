// SPDX-License-Identifier: GPL-2.0

//! The RTNL lock, which serializes the control of network devices.
//!
//! C header: [`include/linux/rtnetlink.h`](srctree/include/linux/rtnetlink.h)

use crate::bindings;
use core::{
    marker::PhantomData,
    ops::Deref, //
};

/// A proof that this task has the RTNL lock.
///
/// # Invariants
///
/// Whoever has a reference runs in the task that has the lock, and does so for as long.
#[doc(alias = "ASSERT_RTNL")]
pub struct Rtnl(PhantomData<*mut ()>);

impl Rtnl {
    /// Takes the lock.
    ///
    /// # Context
    ///
    /// Process context; this sleeps. Not in an operation that gets a [`Rtnl`], nor in what somebody
    /// waits for who has the lock.
    #[doc(alias = "rtnl_lock")]
    pub fn lock() -> RtnlGuard {
        // SAFETY: The lock can be taken in any task; see above for who must not.
        unsafe { bindings::rtnl_lock() };
        // INVARIANT: It was just taken.
        RtnlGuard(Self(PhantomData))
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Context
    ///
    /// Process context.
    #[doc(alias = "rtnl_trylock")]
    pub fn try_lock() -> Option<RtnlGuard> {
        // SAFETY: As in `lock`; this does not wait.
        if unsafe { bindings::rtnl_trylock() } == 0 {
            return None;
        }
        // INVARIANT: It was just taken.
        Some(RtnlGuard(Self(PhantomData)))
    }

    /// Makes a proof for those who know.
    ///
    /// # Safety
    ///
    /// This task must have the lock for as long as the result is used.
    pub(super) const unsafe fn assume() -> Self {
        // INVARIANT: By the safety requirements.
        Self(PhantomData)
    }
}

/// The RTNL lock: it is given back when this is dropped.
///
/// # Invariants
///
/// This task has the lock, for as long as this lives.
#[must_use = "the lock is given back when this is dropped"]
pub struct RtnlGuard(Rtnl);

impl Deref for RtnlGuard {
    type Target = Rtnl;

    fn deref(&self) -> &Rtnl {
        &self.0
    }
}

impl Drop for RtnlGuard {
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this task has the lock.
        unsafe { bindings::rtnl_unlock() };
    }
}
