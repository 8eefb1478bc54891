// SPDX-License-Identifier: GPL-2.0

//! Tests of requests, on a disk whose device does what a test says.

use super::*;
use core::{
    pin::Pin,
    ptr, //
};
use kernel::{
    module::ModuleMetadata,
    new_spinlock,
    prelude::*,
    str::CStr,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        SpinLock, //
    },
    ThisModule, //
};

/// The module of a kernel that has these tests built in: there is none.
struct NoModule;

impl ModuleMetadata for NoModule {
    const NAME: &'static CStr = c"kernel_ext";
    const THIS_MODULE: ThisModule = {
        // SAFETY: This is what it is in code that is built in.
        unsafe { ThisModule::from_ptr(ptr::null_mut()) }
    };
}

/// What the device does with commands, by their number in the driver's data of the request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Command {
    /// It ends well, here.
    End,
    /// It ends well, where it comes from.
    Complete,
    /// It ends badly.
    Fail,
    /// The driver loses it.
    Drop,
    /// There is no memory, the first time.
    Reject,
    /// The device is reset, the first time.
    Requeue,
    /// It is one of a batch.
    Batch,
    /// The batch says that it ends badly.
    BatchFail,
    /// The device does not answer until it takes too long.
    Silent,
    /// The data is listed, and the number of segments is the answer.
    Map,
}

struct Device {
    /// How often a request was queued.
    queued: Atomic<i32>,
    /// How often it took too long.
    expired: Atomic<i32>,
    /// How many requests' data was dropped.
    dropped: Arc<Atomic<i32>>,
    silent: Pin<KBox<SpinLock<Option<Request<Commands>>>>>,
}

/// What the driver has with each request.
struct Asked {
    command: Command,
    answer: u32,
    dropped: Arc<Atomic<i32>>,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.dropped.fetch_add(1, Relaxed);
    }
}

struct Commands;

#[vtable]
impl Operations for Commands {
    type OwnerModule = NoModule;
    type Data<'bound> = Device;
    type RequestData = Asked;

    fn init_request<'a>(device: Pin<&'a Device>, _: u32) -> impl PinInit<Asked, Error> {
        Ok::<_, Error>(Asked {
            command: Command::End,
            answer: 0,
            dropped: device.get_ref().dropped.clone(),
        })
    }

    fn queue_rq(
        device: Pin<&Device>,
        _queue: Queue<'_, Self>,
        mut request: Request<Self>,
        _last: Last,
    ) -> Result<(), Rejected<Self>> {
        let first = device.queued.fetch_add(1, Relaxed) == 0;
        let mut batch = CompletionBatch::new();
        match request.data().command {
            Command::End => request.end(Status::OK),
            Command::Complete => request.complete(Status::OK),
            Command::Fail => request.end(Status::MEDIUM),
            Command::Drop => drop(request),
            Command::Reject if first => return Err(request.reject(Retry::Soon)),
            Command::Requeue if first => request.requeue(Again::Now),
            Command::Reject | Command::Requeue => request.end(Status::OK),
            Command::Batch => batch.add(request, Status::OK),
            Command::BatchFail => batch.complete(request, Status::NO_SPACE),
            Command::Silent => *device.silent.lock() = Some(request),
            Command::Map => {
                let mapped = request.map();
                request.data().answer = mapped.map_or(u32::MAX, u32::from);
                request.end(mapped.map(drop).into());
            }
        }
        Ok(())
    }

    fn timeout(device: Pin<&Device>, request: InFlight<'_, Self>) -> Expired {
        assert!(request.tag().is_some());
        assert_eq!(request.operation(), Operation::DriverOut);
        assert_eq!(request.queue().index(), 0);

        // Once more, and then it answers.
        if device.expired.fetch_add(1, Relaxed) == 0 {
            return Expired::Wait;
        }
        match device.silent.lock().take() {
            Some(silent) => silent.end(Status::TIMEOUT),
            None => return Expired::Wait,
        }
        Expired::Handled
    }
}

/// How many requests the disk has, that for flushing included.
const REQUESTS: i32 = 4 + 1;

fn disk(dropped: &Arc<Atomic<i32>>) -> Result<Standalone<Commands>> {
    let tag_set = TagSetOptions::new(QueueCounts::new(1), 4)
        .segments(4)
        .timeout(100);
    let device = Device {
        queued: Atomic::new(0),
        expired: Atomic::new(0),
        dropped: dropped.clone(),
        silent: KBox::pin_init(new_spinlock!(None), GFP_KERNEL)?,
    };
    Standalone::new(
        DiskOptions::new(DiskName::new(fmt!("kunit"))?, tag_set, Limits::new()),
        KBox::pin(device, GFP_KERNEL)?,
    )
}

/// Has the device do a command, on a disk of its own, and returns how it ended, the answer, and how
/// often the request was queued.
fn execute(command: Command, buffer: &mut [u8]) -> Result<(Result<u32>, i32)> {
    let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
    let disk = disk(&dropped)?;

    let result = disk.execute(
        Direction::ToDevice,
        buffer,
        |asked| asked.get_mut().command = command,
        |asked| asked.answer,
    );
    let queued = disk.data().queued.load(Relaxed);

    drop(disk);
    assert_eq!(dropped.load(Relaxed), REQUESTS);
    Ok((result, queued))
}

#[kernel::prelude::kunit_tests(kernel_ext_block_request)]
mod cases {
    use super::*;

    #[test]
    fn requests_end() -> Result {
        assert_eq!(execute(Command::End, &mut [])?, (Ok(0), 1));
        assert_eq!(execute(Command::Complete, &mut [])?, (Ok(0), 1));
        assert_eq!(execute(Command::Batch, &mut [])?, (Ok(0), 1));
        Ok(())
    }

    #[test]
    fn requests_fail() -> Result {
        assert_eq!(execute(Command::Fail, &mut [])?, (Err(ENODATA), 1));
        assert_eq!(execute(Command::BatchFail, &mut [])?, (Err(ENOSPC), 1));
        Ok(())
    }

    #[test]
    fn a_request_that_is_dropped_fails() -> Result {
        assert_eq!(execute(Command::Drop, &mut [])?, (Err(EIO), 1));
        Ok(())
    }

    #[test]
    fn requests_come_again() -> Result {
        assert_eq!(execute(Command::Reject, &mut [])?, (Ok(0), 2));
        assert_eq!(execute(Command::Requeue, &mut [])?, (Ok(0), 2));
        Ok(())
    }

    #[test]
    fn a_request_that_takes_too_long_is_asked_about() -> Result {
        assert_eq!(execute(Command::Silent, &mut [])?, (Err(ETIMEDOUT), 1));
        Ok(())
    }

    #[test]
    fn data_is_listed() -> Result {
        let mut buffer = KVec::from_elem(0u8, 4096, GFP_KERNEL)?;

        assert_eq!(execute(Command::Map, &mut buffer)?, (Ok(1), 1));
        assert_eq!(execute(Command::Map, &mut [])?, (Ok(0), 1));
        Ok(())
    }

    #[test]
    fn a_quiesced_disk_does_not_queue() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let disk = disk(&dropped)?;

        // It ends what it must not keep from ending.
        let quiesced = disk.quiesce()?;
        let frozen = disk.freeze()?;
        drop(frozen);
        let kept = disk.clone();
        drop(disk);

        assert!(kept.quiesce().is_err());
        assert!(kept.freeze().is_err());
        assert!(kept.capacity().is_err());
        kept.start_stopped();
        kept.start_stopped_queue(0);
        drop(quiesced);
        drop(kept);
        assert_eq!(dropped.load(Relaxed), REQUESTS);
        Ok(())
    }

    #[test]
    fn requests_in_flight_are_found() -> Result {
        let dropped = Arc::new(Atomic::new(0), GFP_KERNEL)?;
        let disk = disk(&dropped)?;
        let mut found = 0;

        disk.for_each_in_flight(|_| found += 1)?;

        assert_eq!(found, 0);
        Ok(())
    }
}
