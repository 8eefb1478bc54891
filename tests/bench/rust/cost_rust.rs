// SPDX-License-Identifier: GPL-2.0

//! Passes buffers to a device and gets them back, for their instructions to be counted.
//!
//! It does the same as `cost_c.c`, which says what for: the loops run when a device is bound.

#![forbid(unsafe_code)]

use core::pin::Pin;
use kernel::{
    device::Core,
    interrupt::local_interrupt_disable,
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use kernel_ext::virtio::{
    self,
    Buffer,
    Context,
    Exchange,
    QueueSetup,
    Virtqueue, //
};

kernel_ext::module_virtio_driver! {
    type: Cost,
    name: "cost_rust",
    authors: ["The rust-virtio developers"],
    description: "Loops over buffers, to be measured",
    license: "GPL",
    params: {
        rounds: u32 {
            default: 0,
            description: "How many buffers are passed",
        },
        batch: bool {
            default: false,
            description: "Pass them in batches of 32",
        },
    },
}

kernel_ext::virtio_device_table!(
    ID_TABLE,
    [
        virtio::DeviceId::new(virtio::DeviceType::CONSOLE),
        virtio::DeviceId::new(virtio::DeviceType::NET)
    ]
);

const BATCH: usize = 32;

/// What a console reads.
type OnePart = Exchange<[u8; 64], ()>;

/// A command to a network card, and its answer.
type TwoParts = Exchange<[u8; 64], u8>;

struct Cost;

#[pin_data]
struct CostData<'bound> {
    #[pin]
    device: Mutex<Device<'bound>>,
}

enum Device<'bound> {
    Console(Loops<'bound, OnePart>),
    Net(Loops<'bound, TwoParts>),
}

struct Loops<'bound, B: Buffer> {
    queue: Virtqueue<'bound, B>,
    buffers: [Option<B>; BATCH],
}

impl<'bound, B: Buffer> Loops<'bound, B> {
    /// Takes over queue `index` of the device, which has no other after it.
    fn new(
        vdev: &'bound virtio::Device<Core<'_>>,
        names: &[&'static CStr],
        mut make: impl FnMut() -> Result<B>,
    ) -> Result<Self> {
        let mut setup = QueueSetup::<Cost>::new(vdev)?;
        let mut last = None;
        for &name in names {
            last = Some(setup.direct_queue(name, None)?);
        }
        let queue = setup.make()?.take(last.ok_or(EINVAL)?)?;

        let mut buffers = [const { None }; BATCH];
        for buffer in &mut buffers {
            *buffer = Some(make()?);
        }
        Ok(Self { queue, buffers })
    }

    fn run(&mut self) -> Result {
        let rounds = module_parameters::rounds.value();
        // No interrupt is counted.
        let _disabled = local_interrupt_disable();
        if module_parameters::batch.value() {
            self.batches(usize::try_from(rounds)? / BATCH)
        } else {
            self.singles(rounds)
        }
    }

    #[inline(never)]
    fn singles(&mut self, rounds: u32) -> Result {
        let [first, ..] = &mut self.buffers;
        let mut buffer = first.take().ok_or(EINVAL)?;
        for _ in 0..rounds {
            self.queue.add(buffer, Context::Atomic)?;
            self.queue.kick();
            buffer = get(&mut self.queue)?;
        }
        *first = Some(buffer);
        Ok(())
    }

    #[inline(never)]
    fn batches(&mut self, rounds: usize) -> Result {
        for _ in 0..rounds {
            for buffer in &mut self.buffers {
                let buffer = buffer.take().ok_or(EINVAL)?;
                self.queue.add(buffer, Context::Atomic)?;
            }
            self.queue.kick();
            for buffer in &mut self.buffers {
                *buffer = Some(get(&mut self.queue)?);
            }
        }
        Ok(())
    }
}

/// Gets a buffer, which must be there: waiting would be counted, too.
fn get<B: Buffer>(queue: &mut Virtqueue<'_, B>) -> Result<B> {
    Ok(queue.pop()?.ok_or(EAGAIN)?.buffer)
}

#[vtable]
impl virtio::Driver for Cost {
    // No feature of either device is needed, and this class has none.
    type Class = virtio_wire::feature::Entropy;
    type Data<'bound> = CostData<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            // There is no class 0xff of commands.
            let command = [0xff; 64];
            let device = if vdev.device_type() == virtio::DeviceType::NET {
                let names = [c"in", c"out", c"control"];
                Device::Net(Loops::new(vdev, &names, || {
                    Exchange::new(command, 0, GFP_KERNEL)
                })?)
            } else {
                Device::Console(Loops::new(vdev, &[c"in", c"out"], || {
                    Exchange::new(command, (), GFP_KERNEL)
                })?)
            };
            Ok(try_pin_init!(CostData {
                device <- new_mutex!(device),
            }))
        })
    }

    fn start<'bound>(
        _vdev: &'bound virtio::Device<Core<'_>>,
        this: Pin<&'bound Self::Data<'bound>>,
    ) -> Result {
        match &mut *this.device.lock() {
            Device::Console(loops) => loops.run(),
            Device::Net(loops) => loops.run(),
        }
    }
}
