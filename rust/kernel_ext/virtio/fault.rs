// SPDX-License-Identifier: GPL-2.0

//! Queues whose device says what cannot be.

use super::{
    buffer::Buffer,
    ring::Fault,
    Virtqueue, //
};
use crate::bindings;
use kernel::{
    fmt::Arguments,
    prelude::*, //
};

impl<B: Buffer> Virtqueue<'_, B> {
    /// Tells whether the queue is broken: it takes and gives nothing any more.
    #[doc(alias = "virtqueue_is_broken")]
    pub fn is_broken(&self) -> bool {
        // SAFETY: By the type invariant, `vq` is valid.
        unsafe { bindings::virtqueue_is_broken(self.vq.as_ptr()) }
    }

    /// Breaks the queue, after the device has put something into a buffer that it must not.
    /// Nothing comes out of it any more until the device was reset.
    #[doc(alias = "__virtqueue_break")]
    pub fn break_down(&mut self) {
        // SAFETY: By the type invariant, `vq` is valid, and nobody else uses it.
        unsafe { bindings::__virtqueue_break(self.vq.as_ptr()) };
        self.check_broken();
    }

    /// Tells whether the queue is broken, and counts that.
    fn check_broken(&mut self) -> bool {
        if !self.is_broken() {
            return false;
        }
        if !self.broken {
            self.broken = true;
            if self.state.is_live() {
                self.state.count_violation();
            }
        }
        true
    }

    /// Breaks the queue, unless it is. The message is put together out of the way of
    /// [`Virtqueue::pop`].
    #[cold]
    #[inline(never)]
    pub(super) fn fail(&mut self, fault: Fault) -> Error {
        match fault {
            Fault::Broken => {
                self.check_broken();
                EIO
            }
            Fault::TooMany(suspect) => {
                if suspect.is_some() {
                    self.outstanding = self.outstanding.wrapping_sub(1);
                }
                // SAFETY: The ring returns tokens that were added, each once. By the type invariant,
                // they come from `into_token` of `B`.
                self.suspect = suspect.map(|token| unsafe { B::from_token(token) });
                self.say(fmt!("the device has used more buffers than it has\n"));
                self.break_for_good()
            }
            Fault::OutOfRange(id) => {
                self.say(fmt!("{}:id {id} out of range\n", self.name()));
                self.break_for_good()
            }
            Fault::NotAHead(id) => {
                self.say(fmt!("{}:id {id} is not a head!\n", self.name()));
                self.break_for_good()
            }
        }
    }

    /// Returns the name of the queue.
    fn name(&self) -> &CStr {
        // SAFETY: By the type invariant, `vq` is valid.
        let name = unsafe { (*self.vq.as_ptr()).name };
        // SAFETY: It is that of `QueueSetup::queue`, which the binding does not change while the slot
        // has a user.
        unsafe { CStr::from_char_ptr(name) }
    }

    /// As above.
    #[cold]
    #[inline(never)]
    pub(super) fn written_too_much(&mut self, buffer: B, written: u32, room: u32) -> Error {
        self.suspect = Some(buffer);
        self.say(fmt!(
            "the device has written {written} bytes to a buffer of {room}\n"
        ));
        self.break_for_good()
    }

    /// Counts what the device has done, and says it, unless that was said often.
    fn say(&self, reason: Arguments<'_>) {
        if self.state.count_violation() {
            dev_err!(self.state.device(), "{}", reason);
        }
    }

    fn break_for_good(&mut self) -> Error {
        self.broken = true;
        self.break_down();
        EIO
    }
}
