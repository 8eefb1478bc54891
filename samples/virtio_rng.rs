// SPDX-License-Identifier: GPL-2.0

//! Virtio entropy driver: random bytes of the device, for the kernel.
//!
//! One buffer goes back and forth: the device fills it, and readers empty it.

#![forbid(unsafe_code)]

use core::{
    ops::Range,
    pin::Pin, //
};
use kernel::{
    device::Core,
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::msecs_to_jiffies, //
};
use kernel_ext::{
    hwrng::{
        self,
        Wait, //
    },
    sync::Completion,
    virtio::{
        self,
        Context,
        Exchange,
        QueueCallback,
        QueueSetup,
        Virtqueue, //
    },
};

kernel_ext::module_virtio_driver! {
    type: Rng,
    name: "rust_virtio_rng",
    authors: ["The rust-virtio developers"],
    description: "Virtio entropy driver",
    license: "GPL",
}

kernel_ext::virtio_device_table!(
    ID_TABLE,
    [virtio::DeviceId::new(virtio::DeviceType::ENTROPY)]
);

/// How long a device may take to fill the buffer, in milliseconds.
const PATIENCE: u32 = 5000;

/// How often it may interrupt without having filled it, while somebody waits.
const ROUNDS: u32 = 16;

/// What the device fills.
const SIZE: usize = 64;
type Buffer = Exchange<(), [u8; SIZE]>;

struct Rng;

#[pin_data]
struct RngData<'bound> {
    #[pin]
    state: Mutex<State<'bound>>,
    /// Completed when the device may have filled the buffer.
    #[pin]
    filled: Completion,
}

struct State<'bound> {
    queue: Virtqueue<'bound, Buffer>,
    /// The buffer, unless the device has it.
    buffer: Option<Buffer>,
    /// Which part of the buffer nobody has read yet.
    unread: Range<usize>,
}

impl State<'_> {
    /// Moves unread bytes to `target`, and returns how many.
    fn take(&mut self, target: &mut [u8]) -> usize {
        let count = target.len().min(self.unread.len());
        let end = self.unread.start + count;
        let source = match &mut self.buffer {
            Some(buffer) => buffer.writable().get(self.unread.start..end),
            None => None,
        };
        let (Some(source), Some(target)) = (source, target.get_mut(..count)) else {
            return 0;
        };
        target.copy_from_slice(source);
        self.unread.start = end;
        count
    }

    /// Takes the buffer back, if the device has filled it.
    fn collect(&mut self) -> Result {
        if let Some(used) = self.queue.pop()? {
            self.unread = 0..usize::try_from(used.written)?;
            self.buffer = Some(used.buffer);
        }
        Ok(())
    }

    /// Has the device fill the buffer, unless it has it, or there is something in it.
    fn refill(&mut self, filled: &Completion) -> Result {
        if self.unread.is_empty() {
            if let Some(buffer) = self.buffer.take() {
                filled.reset();
                self.queue.add(buffer, Context::Process)?;
                self.queue.kick();
            }
        }
        Ok(())
    }
}

impl hwrng::Source for RngData<'_> {
    fn read(self: Pin<&Self>, target: &mut [u8], wait: Wait) -> Result<usize> {
        for _ in 0..ROUNDS {
            let mut state = self.state.lock();
            state.collect()?;
            let count = state.take(target);
            state.refill(&self.filled)?;
            drop(state);

            if count > 0 || wait == Wait::No {
                return Ok(count);
            }
            self.filled.wait(msecs_to_jiffies(PATIENCE))?;
        }
        Err(ETIMEDOUT)
    }
}

impl Rng {
    fn filled(data: Pin<&RngData<'_>>, _: usize) {
        data.filled.complete();
    }
}

impl virtio::Driver for Rng {
    type Data<'bound> = RngData<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let mut setup = QueueSetup::<Self>::new(vdev)?;
            let queue = setup.queue(c"input", Some(QueueCallback::new(Self::filled, 0)))?;
            let state = State {
                queue: setup.make()?.take(queue)?,
                buffer: Some(Exchange::new((), [0; SIZE], GFP_KERNEL)?),
                unread: 0..0,
            };
            Ok(try_pin_init!(RngData {
                state <- new_mutex!(state),
                filled <- Completion::new(),
            }))
        })
    }

    fn start<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
        this: Pin<&'bound Self::Data<'bound>>,
    ) -> Result {
        this.state.lock().refill(&this.filled)?;
        hwrng::register::<Self, _>(vdev, c"rust_virtio_rng", this)
    }
}
