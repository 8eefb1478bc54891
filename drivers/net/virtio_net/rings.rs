// SPDX-License-Identifier: GPL-2.0

//! The queues of the device, as they are made.

use super::{
    control,
    receive::{
        self,
        PIECES, //
    },
    shape::ReceiveMode,
    transmit,
    VirtioNet, //
};
use kernel::{
    device::Core,
    prelude::*, //
};
use kernel_ext::virtio::{
    Device,
    PendingQueue,
    QueueCallback,
    QueueName,
    QueueSetup,
    RxBuffer, //
};
use virtio_wire::net::{
    Accepted,
    Feature, //
};

/// The ring of a queue from the device.
pub(crate) enum RxRing<'bound> {
    Single(receive::Ring<'bound, 1>),
    Big(receive::Ring<'bound, PIECES>),
}

/// The queues of a device, to be taken.
pub(crate) struct Rings<'bound> {
    rx: KVec<Option<RxRing<'bound>>>,
    tx: KVec<Option<transmit::Ring<'bound>>>,
    pub(crate) control: Option<control::Ring<'bound>>,
}

/// A queue from the device that is yet to be made.
enum PendingRx<'bound> {
    Single(PendingQueue<RxBuffer<'bound, 1>>),
    Big(PendingQueue<RxBuffer<'bound, PIECES>>),
}

impl<'bound> Rings<'bound> {
    /// Makes the queues of the device, in their order.
    pub(crate) fn make(
        vdev: &'bound Device<Core<'_>>,
        features: Accepted,
        mode: ReceiveMode,
        pairs: u16,
    ) -> Result<Self> {
        let mut setup = QueueSetup::<VirtioNet>::new(vdev)?;
        let mut pending = KVec::new();
        for pair in 0..usize::from(pairs) {
            let received = Some(QueueCallback::<VirtioNet>::new(VirtioNet::received, pair));
            let sent = Some(QueueCallback::<VirtioNet>::new(VirtioNet::sent, pair));
            let input = QueueName::numbered("input", pair)?;
            let output = QueueName::numbered("output", pair)?;
            let rx = if mode == ReceiveMode::Big {
                PendingRx::Big(setup.queue(input, received)?)
            } else {
                PendingRx::Single(setup.direct_queue(input, received)?)
            };
            pending.push((rx, setup.direct_queue(output, sent)?), GFP_KERNEL)?;
        }
        let control = if features.has(Feature::CTRL_VQ) {
            let answered = Some(QueueCallback::<VirtioNet>::new(VirtioNet::answered, 0));
            Some(setup.queue(c"control", answered)?)
        } else {
            None
        };

        let mut queues = setup.make()?;
        let mut made = Self {
            rx: KVec::new(),
            tx: KVec::new(),
            control: control.map(|control| queues.take(control)).transpose()?,
        };
        for (rx, tx) in pending {
            let rx = match rx {
                PendingRx::Single(rx) => RxRing::Single(queues.take(rx)?),
                PendingRx::Big(rx) => RxRing::Big(queues.take(rx)?),
            };
            made.rx.push(Some(rx), GFP_KERNEL)?;
            made.tx.push(Some(queues.take(tx)?), GFP_KERNEL)?;
        }
        Ok(made)
    }

    /// Takes the ring of a queue from the device.
    pub(crate) fn take_rx(&mut self, pair: u32) -> Result<RxRing<'bound>> {
        take(&mut self.rx, pair)
    }

    /// Takes the ring of a queue to the device.
    pub(crate) fn take_tx(&mut self, pair: u32) -> Result<transmit::Ring<'bound>> {
        take(&mut self.tx, pair)
    }
}

impl RxRing<'_> {
    /// Returns how many places the ring has, and how many it can have.
    pub(crate) fn sizes(&self) -> (u32, u32) {
        match self {
            Self::Single(ring) => (ring.size(), ring.max_size()),
            Self::Big(ring) => (ring.size(), ring.max_size()),
        }
    }
}

fn take<T>(rings: &mut KVec<Option<T>>, pair: u32) -> Result<T> {
    let ring = rings.get_mut(usize::try_from(pair)?).ok_or(EINVAL)?;
    ring.take().ok_or(ENOENT)
}
