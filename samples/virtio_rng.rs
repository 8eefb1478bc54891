// SPDX-License-Identifier: GPL-2.0

//! Virtio entropy driver: random bytes of the device, for the kernel.
//!
//! One buffer goes back and forth: the device fills it, and readers empty it.

#![forbid(unsafe_code)]

use core::pin::Pin;
use kernel::time::{msecs_to_jiffies, Instant, Monotonic};
use kernel::{device::Core, new_mutex, prelude::*, sync::Mutex};
use kernel_ext::hwrng::{self, Wait};
use kernel_ext::sync::Completion;
use kernel_ext::virtio::{self, Context, Device, Exchange, QueueCallback, QueueSetup, Virtqueue};

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

/// How long a device may take to fill the buffer, in milliseconds. It may interrupt before that.
const PATIENCE: u32 = 5000;

type Buffer = Exchange<(), [u8; 64]>;

struct Rng;

#[pin_data]
struct RngData<'bound> {
    /// Nothing while the device is suspended.
    #[pin]
    state: Mutex<Option<State<'bound>>>,
    /// Completed when the device may have filled the buffer.
    #[pin]
    filled: Completion,
}

struct State<'bound> {
    queue: Virtqueue<'bound, Buffer>,
    /// A buffer that the device has filled, how far, and how far that was read.
    filled: Option<(Buffer, usize, usize)>,
}

impl<'bound> State<'bound> {
    fn new(vdev: &'bound Device<Core<'_>>) -> Result<Self> {
        let mut setup = QueueSetup::<Rng>::new(vdev)?;
        let callback = QueueCallback::new(|this: Pin<&RngData<'_>>, _| this.filled.complete(), 0);
        let queue = setup.queue(c"input", Some(callback))?;
        let mut queue: Virtqueue<'_, Buffer> = setup.make()?.take(queue)?;

        // The device gets it with the first kick.
        queue.add(Exchange::new((), [0; 64], GFP_KERNEL)?, Context::Process)?;
        let filled = None;
        Ok(Self { queue, filled })
    }

    /// Moves bytes to `target`, and returns how many. The device gets an empty buffer back.
    fn take(&mut self, target: &mut [u8], filled: &Completion) -> Result<usize> {
        if self.filled.is_none() {
            if let Some(used) = self.queue.pop()? {
                self.filled = Some((used.buffer, usize::try_from(used.written)?, 0));
            }
        }
        let Some((mut buffer, end, read)) = self.filled.take() else {
            return Ok(0);
        };
        let bytes = buffer.writable().get(read..end).unwrap_or_default();
        let count = bytes.len().min(target.len());
        for (to, from) in target.iter_mut().zip(bytes) {
            *to = *from;
        }
        if count < bytes.len() {
            self.filled = Some((buffer, end, read + count));
        } else {
            filled.reset();
            self.queue.add(buffer, Context::Process)?;
            self.queue.kick();
        }
        Ok(count)
    }
}

impl hwrng::Source for RngData<'_> {
    fn read(self: Pin<&Self>, target: &mut [u8], wait: Wait) -> Result<usize> {
        let start = Instant::<Monotonic>::now();
        while start.elapsed().as_millis() < PATIENCE.into() {
            let count = match &mut *self.state.lock() {
                Some(state) => state.take(target, &self.filled)?,
                None => return Err(ENODEV),
            };
            if count > 0 || wait == Wait::No {
                return Ok(count);
            }
            self.filled.wait(msecs_to_jiffies(PATIENCE))?;
        }
        Err(ETIMEDOUT)
    }
}

#[vtable]
impl virtio::Driver for Rng {
    type Class = virtio_wire::feature::Entropy;
    type Data<'bound> = RngData<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound Device<Core<'_>>,
    ) -> impl PinInit<RngData<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let state = State::new(vdev)?;
            Ok(try_pin_init!(RngData {
                state <- new_mutex!(Some(state)),
                filled <- Completion::new(),
            }))
        })
    }

    fn start<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound RngData<'bound>>) -> Result {
        Self::resume(vdev, this)?;
        hwrng::register::<Self>(vdev, c"rust_virtio_rng")
    }

    fn release<'bound>(this: Pin<&'bound RngData<'bound>>) {
        *this.state.lock() = None;
    }

    fn restore<'bound>(
        vdev: &'bound Device<Core<'_>>,
        this: Pin<&'bound RngData<'bound>>,
    ) -> Result {
        *this.state.lock() = Some(State::new(vdev)?);
        Ok(())
    }

    fn resume<'bound>(_: &'bound Device<Core<'_>>, this: Pin<&'bound RngData<'bound>>) -> Result {
        if let Some(state) = &mut *this.state.lock() {
            state.queue.kick();
        }
        Ok(())
    }
}
