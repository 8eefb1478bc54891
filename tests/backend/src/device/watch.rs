// SPDX-License-Identifier: GPL-2.0

//! What drivers do after they have reset the device.
//!
//! A driver must not use a queue between the reset and the time when it has set up the device again:
//! it must not notify, nor make buffers available. To see that it does not, what it has notified by
//! stays in the set of what is waited for, and its parts of the ring are compared with what they were:
//! when it notifies, and once at some time after the reset. What is later is not looked at, for the
//! memory of a ring that is not used is the driver's, which has it used for something else.

use super::{Device, token};
use crate::{
    class::Class,
    log::{note, warning},
    queue::{Seen, Telling, Watch},
    ring::Ring,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, epoll, poll},
    io::Errno,
};
use std::{
    fs::File,
    time::{Duration, Instant},
};

/// How long after a reset a ring is looked at, if nothing else is said.
pub const WATCH: Duration = Duration::from_millis(10);

/// Returns whether the driver has notified, and nobody has looked.
fn is_signalled(kick: &File) -> Result<bool, Errno> {
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut files = [PollFd::new(kick, PollFlags::IN)];
    Ok(poll(&mut files, Some(&at_once))? > 0)
}

impl<C: Class> Device<C> {
    /// Watches a queue that is about to be stopped, from now on.
    pub(super) fn begin_watch(&mut self, index: usize) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        let kick = queue.kick.take();
        let Some(ring) = queue.ring.as_ref().filter(|_| !self.watch.is_zero()) else {
            // It has not run, or nobody wants to know.
            if let Some(kick) = kick {
                let _ = epoll::delete(&*self.epoll, &kick);
            }
            return;
        };
        let mut watch = Watch {
            kick: None,
            seal: Ring::seal(ring).ok(),
            look: Some(Instant::now() + self.watch),
            stale: false,
            seen: Seen::default(),
        };
        if let Some(kick) = kick {
            let number = token::AFTER + u64::try_from(index).unwrap_or(0);
            let data = epoll::EventData::new_u64(number);
            // Nothing is read: the description is QEMU's, which may use it for itself.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
            // A notification that nobody has seen yet may be one from before the reset.
            let result = is_signalled(&kick).and_then(|stale| {
                watch.stale = stale;
                epoll::modify(&*self.epoll, &kick, data, flags)
            });
            match result {
                Ok(()) => watch.kick = Some(kick),
                Err(error) => {
                    let _ = epoll::delete(&*self.epoll, &kick);
                    warning!("{}: a queue cannot be watched: {error}", self.name);
                }
            }
        }
        queue.watch = Some(watch);
    }

    /// Ends that, as the driver may use the queue, or is gone.
    pub(super) fn end_watch(&mut self, index: usize) {
        let queue = self.queues.get_mut(index);
        let watch = queue.and_then(|queue| queue.watch.take());
        if let Some(kick) = watch.and_then(|watch| watch.kick) {
            let _ = epoll::delete(&*self.epoll, &kick);
        }
    }

    /// Takes a notification of a queue that is stopped.
    pub fn kicked_after_reset(&mut self, index: usize) {
        self.watched(index, Watch::kicked);
    }

    /// Looks at the ring of a queue that was stopped, if it is time for that.
    pub(super) fn look_after_reset(&mut self, index: usize, now: Instant) {
        let queue = self.queues.get(index);
        let time = queue.and_then(|queue| queue.watch.as_ref()?.look);
        if time.is_some_and(|time| time <= now) {
            self.watched(index, Watch::look_in_time);
        }
    }

    fn watched(
        &mut self,
        index: usize,
        see: impl Fn(&mut Watch, &mut crate::queue::Counters) -> Telling,
    ) {
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        let Some(watch) = &mut queue.watch else {
            return;
        };
        let telling = see(watch, &mut queue.counters);
        let words = watch.seen.words();
        let name = &self.name;
        match telling {
            Telling::Nothing => {}
            Telling::Change => note!("{name}: after a reset of queue {index}, {words}"),
            Telling::Offence => warning!("{name}: after a reset of queue {index}, {words}"),
        }
    }
}
