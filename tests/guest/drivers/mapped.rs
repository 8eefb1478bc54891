// SPDX-License-Identifier: GPL-2.0

//! A driver of entropy devices whose buffers are mapped once, and go back and forth.

#![forbid(unsafe_code)]

use core::pin::Pin;
use kernel::{
    device::Core,
    new_mutex,
    prelude::*,
    sync::Mutex,
    time::{
        delay::fsleep,
        Delta, //
    },
};
use kernel_ext::virtio::{
    self,
    Context,
    Device,
    DeviceId,
    DeviceType,
    Mapped,
    QueueSetup,
    Virtqueue, //
};
use virtio_wire::feature::Entropy;

kernel_ext::module_virtio_driver! {
    type: Mapping,
    name: "rust_virtio_mapped",
    authors: ["The rust-virtio developers"],
    description: "Driver with buffers that are mapped once",
    license: "GPL",
}

kernel_ext::virtio_device_table!(ID_TABLE, [DeviceId::new(DeviceType::ENTROPY)]);

/// How many buffers there are, and how often they come back.
const BUFFERS: usize = 4;
const ROUNDS: u32 = 400;

/// How often one looks for a buffer, and how long each time.
const LOOKS: u32 = 20_000;
const LOOK: Delta = Delta::from_micros(100);

type Buffer<'bound> = Mapped<'bound, [u8; 256]>;

struct Mapping;

#[pin_data]
struct Data<'bound> {
    #[pin]
    queue: Mutex<Virtqueue<'bound, Buffer<'bound>>>,
}

/// Waits for a buffer, and returns the sum of what the device has written.
fn next<'bound>(queue: &mut Virtqueue<'bound, Buffer<'bound>>) -> Result<(Buffer<'bound>, u32)> {
    for _ in 0..LOOKS {
        if let Some(mut used) = queue.pop()? {
            let written = usize::try_from(used.written)?;
            let bytes = used.buffer.writable().iter().take(written);
            let sum = bytes.map(|byte| u32::from(*byte)).sum();
            return Ok((used.buffer, sum));
        }
        fsleep(LOOK);
    }
    Err(ETIMEDOUT)
}

#[vtable]
impl virtio::Driver for Mapping {
    type Class = Entropy;
    type Data<'bound> = Data<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(vdev: &'bound Device<Core<'_>>) -> impl PinInit<Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let mut setup = QueueSetup::<Self>::new(vdev)?;
            let queue = setup.queue(c"input", None)?;
            let queue = setup.make()?.take(queue)?;
            Ok(try_pin_init!(Data { queue <- new_mutex!(queue) }))
        })
    }

    fn start<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        let mut queue = this.queue.lock();
        for _ in 0..BUFFERS {
            let buffer = queue.map([0; 256], GFP_KERNEL)?;
            queue.add(buffer, Context::Process)?;
        }
        queue.kick();

        let (mut different, mut before) = (0, 0);
        for _ in 0..ROUNDS {
            let (mut buffer, sum) = next(&mut queue)?;
            if sum != before {
                different += 1;
            }
            before = sum;
            buffer.writable().fill(0);
            queue.add(buffer, Context::Process)?;
            queue.kick();
        }
        dev_info!(vdev, "{} of {} buffers differ\n", different, ROUNDS);
        Ok(())
    }
}
