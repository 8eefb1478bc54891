// SPDX-License-Identifier: GPL-2.0

//! Minimal virtio driver: it binds to an entropy device, and says what it found.

#![forbid(unsafe_code)]

use core::pin::Pin;
use kernel::{
    device::Core,
    prelude::*, //
};
use kernel_ext::virtio;
use virtio_wire::feature::{
    Entropy,
    Offered, //
};

kernel_ext::module_virtio_driver! {
    type: Minimal,
    name: "rust_virtio_minimal",
    authors: ["The rust-virtio developers"],
    description: "Minimal virtio driver",
    license: "GPL",
}

kernel_ext::virtio_device_table!(
    ID_TABLE,
    [virtio::DeviceId::new(virtio::DeviceType::ENTROPY)]
);

struct Minimal {
    offered: Offered<Entropy>,
}

#[vtable]
impl virtio::Driver for Minimal {
    type Class = Entropy;
    type Data<'bound> = Self;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;

    fn probe<'bound>(
        vdev: &'bound virtio::Device<Core<'_>>,
    ) -> impl PinInit<Self::Data<'bound>, Error> + 'bound {
        let offered = vdev.offered_features();

        dev_info!(
            vdev,
            "{} of vendor {:#06x}, offers features {:#x}\n",
            vdev.device_type(),
            vdev.vendor(),
            offered.set().bits()
        );

        Ok(Self { offered })
    }

    fn unbind<'bound>(vdev: &'bound virtio::Device<Core<'_>>, this: Pin<&Self::Data<'bound>>) {
        if vdev.offered_features() != this.offered {
            dev_warn!(vdev, "the offered features have changed\n");
        }
    }
}
