// SPDX-License-Identifier: GPL-2.0

//! A driver of network devices that only says what it sees: the features that it accepts, and the
//! configuration, now and when it changes.
//!
//! It has no queues, so that nothing but these is there to be lied about.

#![forbid(unsafe_code)]

use core::pin::Pin;
use kernel::{
    device::{
        Bound,
        Core, //
    },
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
};
use kernel_ext::{
    fmt::Plain,
    virtio::{
        self,
        Device,
        DeviceId,
        DeviceType,
        Work, //
    },
};
use virtio_wire::net::{
    self,
    config::{
        Config,
        ConfigError,
        ConfigLayout, //
    },
};

kernel_ext::module_virtio_driver! {
    type: Witness,
    name: "rust_virtio_witness",
    authors: ["The rust-virtio developers"],
    description: "Driver that says what it sees",
    license: "GPL",
}

kernel_ext::virtio_device_table!(ID_TABLE, [DeviceId::new(DeviceType::NET)]);

struct Witness;

#[pin_data]
struct WitnessData<'bound> {
    features: net::Accepted,
    /// What was seen last.
    #[pin]
    config: Mutex<Config>,
    look: Work<'bound>,
    /// How often the device said that its configuration has changed.
    changes: Atomic<i64>,
}

impl Witness {
    fn read(vdev: &Device<Bound>, features: net::Accepted) -> Result<Config> {
        let mut bytes = [0; ConfigLayout::SIZE];
        vdev.read_config::<ConfigLayout>(Config::length(features), &mut bytes)?;
        Config::parse(&bytes, features).map_err(|_| EINVAL)
    }

    /// Says what the configuration is, or what is wrong with it.
    fn tell(vdev: &Device<Bound>, config: &Config) -> Result<(), ConfigError> {
        let pairs = config.queue_pairs()?.get();
        let mtu = config.mtu()?;
        let link = config.link();

        match config.mac()? {
            Some(mac) => dev_info!(vdev, "address {}\n", Plain(mac)),
            None => dev_info!(vdev, "no address\n"),
        }
        dev_info!(vdev, "{} pairs, MTU {:?}, link {:?}\n", pairs, mtu, link);
        Ok(())
    }

    fn look(vdev: &Device<Bound>, this: Pin<&WitnessData<'_>>) {
        let Ok(config) = Self::read(vdev, this.features) else {
            return;
        };
        let mut last = this.config.lock();
        if *last != config {
            if let Err(error) = Self::tell(vdev, &config) {
                dev_err!(vdev, "{}\n", Plain(error));
            }
            *last = config;
        }
    }
}

#[vtable]
impl virtio::Driver for Witness {
    type Class = net::Net;
    type Data<'bound> = WitnessData<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;
    const FEATURES: net::FeatureSet = <net::Net as virtio_wire::feature::Class>::DEFINED;

    fn probe<'bound>(
        vdev: &'bound Device<Core<'_>>,
    ) -> impl PinInit<WitnessData<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let features = vdev.features::<Self>()?;
            dev_info!(vdev, "accepts {:#x}\n", features.set().bits());

            let config = Self::read(vdev, features)?;
            Self::tell(vdev, &config)
                .inspect_err(|error| dev_err!(vdev, "{}\n", Plain(error)))
                .map_err(|_| EINVAL)?;
            Ok(try_pin_init!(WitnessData {
                features,
                config <- new_mutex!(config),
                look: Work::new::<Self>(vdev, Self::look)?,
                changes: Atomic::new(0),
            }))
        })
    }

    fn config_changed(this: Pin<&WitnessData<'_>>) {
        // However often that is, there is one look at a time.
        this.changes.fetch_add(1, Relaxed);
        this.look.queue_after(1);
    }

    fn unbind<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&WitnessData<'bound>>) {
        dev_info!(
            vdev,
            "{} changes, {} violations\n",
            this.changes.load(Relaxed),
            vdev.violations()
        );
    }
}
