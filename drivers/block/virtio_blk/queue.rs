// SPDX-License-Identifier: GPL-2.0

//! The queues of the device.

use super::{
    io,
    Io, //
};
use core::pin::Pin;
use kernel::{
    new_spinlock_irq,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        SpinLockIrq, //
    },
};
use kernel_ext::{
    block::{
        Chain,
        CompletionBatch,
        Last,
        OperationCounts,
        Queue,
        Request,
        Status, //
    },
    virtio::{
        AddError,
        Context,
        Counters,
        Notification,
        Snapshot,
        Transfer,
        Virtqueue, //
    },
};
use virtio_wire::blk::StatusError;

pub(crate) type Ring<'bound> = Virtqueue<'bound, Transfer<Io>>;

/// A queue of the device, and that of the disk with the same number.
#[pin_data]
pub(crate) struct IoQueue<'bound> {
    #[pin]
    inner: SpinLockIrq<Inner<'bound>>,
    /// How many requests have failed.
    pub(crate) errors: Atomic<u64>,
    /// How many requests were queued again.
    pub(crate) requeues: Atomic<u64>,
}

struct Inner<'bound> {
    /// Nothing while the device is reset.
    ring: Option<Ring<'bound>>,
    /// Whether the disk's queue was stopped because the ring is full.
    stopped: bool,
    requests: OperationCounts,
    /// What has happened on the rings of before.
    counters: Counters,
}

/// What a queue looks like.
pub(crate) struct Look {
    /// Nothing while the device is reset.
    pub(crate) snapshot: Option<Snapshot>,
    /// Whether the disk's queue was stopped because the ring is full.
    pub(crate) stopped: bool,
    pub(crate) requests: OperationCounts,
    pub(crate) counters: Counters,
}

/// What became of a request that was to be added.
pub(crate) enum Added {
    /// The device has it.
    Yes,
    /// The ring is full; the disk's queue was stopped.
    Full(Request<Io>),
    /// There is no memory.
    NoMemory(Request<Io>),
    /// The ring is broken.
    Broken(Request<Io>),
    /// The device is being reset.
    Absent(Request<Io>),
}

/// What the device has used.
pub(crate) struct Done {
    requests: Chain<Request<Io>>,
    /// How many.
    pub(crate) count: u32,
    /// Whether the disk's queue was stopped, and can go on.
    pub(crate) restart: bool,
    /// Whether the ring is broken.
    pub(crate) broken: bool,
}

impl<'bound> IoQueue<'bound> {
    pub(crate) fn new(ring: Ring<'bound>) -> impl PinInit<Self> {
        pin_init!(Self {
            inner <- new_spinlock_irq!(Inner {
                ring: Some(ring),
                stopped: false,
                requests: OperationCounts::new(),
                counters: Counters::default(),
            }),
            errors: Atomic::new(0),
            requeues: Atomic::new(0),
        })
    }

    /// Gives the queue a ring, after the device was reset.
    pub(crate) fn set_ring(&self, mut ring: Ring<'bound>) {
        let mut inner = self.inner.lock();
        inner.stopped = false;
        ring.count_from(inner.counters);
        inner.ring = Some(ring);
    }

    /// Takes the ring away.
    pub(crate) fn take_ring(&self) -> Option<Ring<'bound>> {
        let mut inner = self.inner.lock();
        let ring = inner.ring.take()?;
        inner.counters = ring.counters();
        Some(ring)
    }

    /// Looks at the queue, whatever it is doing.
    pub(crate) fn look(&self) -> Look {
        let inner = self.inner.lock();
        let ring = inner.ring.as_ref();
        Look {
            snapshot: ring.map(|ring| ring.snapshot()),
            stopped: inner.stopped,
            requests: inner.requests,
            counters: ring.map_or(inner.counters, |ring| ring.counters()),
        }
    }

    /// Tells whether the ring is broken.
    pub(crate) fn is_broken(&self) -> bool {
        let inner = self.inner.lock();
        inner.ring.as_ref().is_some_and(|ring| ring.is_broken())
    }

    /// Returns how many places the ring has.
    pub(crate) fn size(&self) -> u32 {
        let inner = self.inner.lock();
        inner.ring.as_ref().map_or(0, |ring| ring.size())
    }

    /// Adds a request, and tells the device, if it is the last one of several.
    pub(crate) fn submit(
        &self,
        queue: &Queue<'_, Io>,
        transfer: Transfer<Io>,
        last: Last,
    ) -> Added {
        let mut inner = self.inner.lock();
        let added = inner.add(transfer, Some(queue));
        let notification = match (&added, last) {
            (Added::Yes, Last::No) => None,
            // Those before are not followed by anything now.
            _ => inner.kick(),
        };
        drop(inner);
        send(notification);
        added
    }

    /// Adds requests, and tells the device. Those that cannot be added are given to `refused`.
    pub(crate) fn submit_all(
        &self,
        transfers: &mut Chain<Transfer<Io>>,
        mut refused: impl FnMut(Added),
    ) {
        let mut inner = self.inner.lock();
        for transfer in &mut *transfers {
            match inner.add(transfer, None) {
                Added::Yes => {}
                other => {
                    refused(other);
                    break;
                }
            }
        }
        let notification = inner.kick();
        drop(inner);
        send(notification);
    }

    /// Tells the device what was added.
    pub(crate) fn commit(&self) {
        let notification = self.inner.lock().kick();
        send(notification);
    }

    /// Takes what the device has used, because it interrupts.
    pub(crate) fn take_done(&self) -> Done {
        let mut done = Done::new();
        let mut inner = self.inner.lock();
        if let Some(ring) = &mut inner.ring {
            ring.count_interrupt();
            loop {
                ring.disable_callback();
                done.take_from(ring);
                if done.broken || !ring.enable_callback() {
                    break;
                }
            }
        }
        done.restart = inner.may_restart(&done);
        done
    }

    /// Takes what the device has used, because somebody asks.
    pub(crate) fn poll_done(&self) -> Done {
        let mut done = Done::new();
        let mut inner = self.inner.lock();
        if let Some(ring) = &mut inner.ring {
            done.take_from(ring);
        }
        done.restart = inner.may_restart(&done);
        done
    }
}

impl<'bound> Inner<'bound> {
    #[inline(always)]
    fn add(&mut self, transfer: Transfer<Io>, queue: Option<&Queue<'_, Io>>) -> Added {
        let Some(ring) = &mut self.ring else {
            return Added::Absent(transfer.into_request());
        };
        let operation = transfer.operation_number();
        let Err(AddError { buffer, error }) = ring.add(transfer, Context::Atomic) else {
            self.requests.count(operation);
            return Added::Yes;
        };
        let request = buffer.into_request();
        if error == ENOMEM {
            return Added::NoMemory(request);
        }
        // A request that does not fit into an empty ring never will.
        if error != ENOSPC || ring.outstanding() == 0 {
            return Added::Broken(request);
        }
        if let Some(queue) = queue {
            queue.stop();
            self.stopped = true;
        }
        Added::Full(request)
    }

    fn kick(&mut self) -> Option<Notification<'bound>> {
        self.ring.as_mut()?.kick_prepare()
    }

    fn may_restart(&mut self, done: &Done) -> bool {
        done.count > 0 && core::mem::take(&mut self.stopped)
    }
}

/// Notifies the device, without the lock.
fn send(notification: Option<Notification<'_>>) {
    if let Some(notification) = notification {
        notification.send();
    }
}

impl Done {
    fn new() -> Self {
        Self {
            requests: Chain::new(),
            count: 0,
            restart: false,
            broken: false,
        }
    }

    fn take_from(&mut self, ring: &mut Ring<'_>) {
        loop {
            match ring.pop() {
                Ok(Some(used)) => {
                    self.requests.push(used.into_request());
                    self.count += 1;
                    // There is nothing that could follow.
                    if ring.outstanding() == 0 {
                        break;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    self.broken = true;
                    break;
                }
            }
        }
    }

    /// Ends the requests, without a lock.
    #[inline(always)]
    pub(crate) fn end(
        self,
        queue: &IoQueue<'_>,
        legacy: bool,
        batch: &mut CompletionBatch<Io>,
        complain: impl Fn(StatusError),
    ) {
        for mut request in self.requests {
            let status = io::status(&mut request, legacy).unwrap_or_else(|error| {
                complain(error);
                Status::IO_ERROR
            });
            if status != Status::OK {
                queue.errors.fetch_add(1, Relaxed);
            }
            batch.complete(request, status);
        }
    }
}

/// The queues, by their numbers.
pub(crate) type Queues<'bound> = KVec<Pin<KBox<IoQueue<'bound>>>>;
