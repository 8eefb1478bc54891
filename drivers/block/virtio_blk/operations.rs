// SPDX-License-Identifier: GPL-2.0

//! What the block layer asks of the driver.

use super::{
    io::{
        self,
        Frame,
        Refused, //
    },
    queue::Added,
    Data, //
};
use core::pin::Pin;
use kernel::{
    prelude::*,
    sync::atomic::Relaxed, //
};
use kernel_ext::{
    block::{
        Again,
        Chain,
        CompletionBatch,
        Expired,
        InFlight,
        Last,
        Operations,
        Queue,
        QueueKind,
        QueueMap,
        Rejected,
        Request,
        RequestList,
        Retry,
        Status, //
    },
    virtio::Transfer, //
};

/// The operations of the disks.
pub(crate) struct Io;

impl Data<'_> {
    /// Ends a request that a device without a ring cannot do, or says when to try again.
    fn without_ring(&self, request: Request<Io>) -> Result<(), Rejected<Io>> {
        if self.recovery.is_dead() {
            request.end(Status::IO_ERROR);
            return Ok(());
        }
        Err(request.reject(Retry::Soon))
    }

    /// Deals with a request that was not added although nobody waits for that.
    fn put_back(&self, added: Added) {
        match added {
            Added::Yes => {}
            Added::Full(request) | Added::NoMemory(request) => {
                self.requeue(request, Again::Now);
            }
            Added::Broken(request) => self.after_break(request),
            Added::Absent(request) => {
                if let Err(rejected) = self.without_ring(request) {
                    self.requeue(rejected.request, Again::Now);
                }
            }
        }
    }

    /// Keeps a request until the device was reset.
    fn after_break(&self, request: Request<Io>) {
        if self.recovery.is_dead() {
            request.end(Status::IO_ERROR);
        } else {
            self.requeue(request, Again::WhenKicked);
        }
        self.recovery.begin();
    }

    /// Queues several requests for the same queue.
    fn queue_run(&self, index: u32, transfers: &mut Chain<Transfer<Io>>) {
        if let Some(queue) = self.queue(index) {
            queue.submit_all(transfers, |added| self.put_back(added));
        }
        // What is left came behind one that could not be added.
        for transfer in transfers {
            self.requeue(transfer.into_request(), Again::Now);
        }
    }
}

#[vtable]
impl Operations for Io {
    type Data<'bound> = Data<'bound>;
    type RequestData = Frame;

    fn init_request<'a>(_: Pin<&'a Data<'a>>, _: u32) -> impl PinInit<Frame, Error> {
        io::frame()
    }

    fn queue_rq(
        this: Pin<&Data<'_>>,
        queue: Queue<'_, Self>,
        request: Request<Self>,
        last: Last,
    ) -> Result<(), Rejected<Self>> {
        let transfer = match io::prepare(request, &this.shape) {
            Ok(transfer) => transfer,
            Err(Refused::Never(request, status)) => {
                request.end(status);
                return Ok(());
            }
            Err(Refused::NotNow(request)) => return Err(request.reject(Retry::Soon)),
        };
        let Some(io_queue) = this.queue(queue.index()) else {
            transfer.into_request().end(Status::IO_ERROR);
            return Ok(());
        };
        match io_queue.submit(&queue, transfer, last) {
            Added::Yes => Ok(()),
            // All that was in the ring may have ended, and the queue may have been started again,
            // before the block layer puts this request where it looks for it then. Requests that end
            // in a batch do not have it look again: so it has to try by itself.
            Added::Full(request) | Added::NoMemory(request) => Err(request.reject(Retry::Soon)),
            Added::Broken(request) => {
                this.after_break(request);
                Ok(())
            }
            Added::Absent(request) => this.without_ring(request),
        }
    }

    fn queue_rqs(this: Pin<&Data<'_>>, requests: &mut RequestList<'_, Self>) {
        while let Some(index) = requests.next_queue() {
            let mut transfers = Chain::new();
            while requests.next_queue() == Some(index) {
                let Some(request) = requests.pop() else {
                    break;
                };
                match io::prepare(request, &this.shape) {
                    Ok(transfer) => transfers.push(transfer),
                    Err(Refused::Never(request, status)) => request.end(status),
                    Err(Refused::NotNow(request)) => this.requeue(request, Again::Now),
                }
            }
            this.queue_run(index, &mut transfers);
        }
    }

    fn commit_rqs(this: Pin<&Data<'_>>, queue: Queue<'_, Self>) {
        if let Some(queue) = this.queue(queue.index()) {
            queue.commit();
        }
    }

    fn poll(this: Pin<&Data<'_>>, queue: Queue<'_, Self>, batch: &mut CompletionBatch<Self>) {
        let index = queue.index();
        if let Some(queue) = this.queue(index) {
            this.finish(queue, index, queue.poll_done(), batch);
        }
    }

    fn timeout(this: Pin<&Data<'_>>, request: InFlight<'_, Self>) -> Expired {
        // The device may have done it without saying so.
        let index = request.queue().index();
        if let Some(queue) = this.queue(index) {
            let done = queue.poll_done();
            if done.count > 0 {
                dev_warn!(this.vdev, "an interrupt was lost\n");
                let mut batch = CompletionBatch::new();
                this.finish(queue, index, done, &mut batch);
                return Expired::Wait;
            }
        }

        if this.deleting.load(Relaxed) || !this.started.load(Relaxed) {
            // Nobody else can reset it now.
            dev_err!(this.vdev, "the device does not end its requests\n");
            this.abandon();
            return Expired::Handled;
        }
        if !this.recovery.is_resetting() {
            dev_err!(
                this.vdev,
                "request {} of queue {} takes too long\n",
                request.tag().unwrap_or(u32::MAX),
                index
            );
        }
        this.recovery.begin();
        Expired::Wait
    }

    fn map_queues(this: Pin<&Data<'_>>, mut map: QueueMap<'_>) {
        if this.counts.default > 1 {
            this.vdev.map_queues(&mut map, QueueKind::Default, 0);
        }
    }

    fn deleting(this: Pin<&Data<'_>>) {
        this.deleting.store(true, Relaxed);
        if this.is_broken() {
            this.abandon();
        }
    }
}
