// SPDX-License-Identifier: GPL-2.0

//! Virtio network driver.
//!
//! Each pair of queues of the device is one of the network device. A frame to the device goes into
//! a ring with the lock that the core has for its queue anyway; a frame from the device is taken out
//! by NAPI, which nothing else uses the ring with. So no lock of the driver's own is on the way of a
//! frame, and nothing is allocated for one but itself.
//!
//! A device that fails is reset, and gets to know again what users have set: if a ring is broken, a
//! queue stands still, or a command is not answered. After several times without anything done in
//! between it is given up: the link is down, and nothing hangs.

#![forbid(unsafe_code)]

use core::pin::Pin;
use kernel::{
    cpu,
    device::{
        Bound,
        Core, //
    },
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Mutex,
        SetOnce, //
    },
};
use kernel_ext::{
    fmt::Plain,
    net::{
        self,
        Rtnl, //
    },
    virtio::{
        self,
        Claim,
        Device,
        Recovery,
        Work, //
    },
};
use virtio_wire::{
    feature::FeatureSet,
    net::{
        ctrl::CtrlRules,
        Accepted,
        Feature,
        MacAddress,
        Net, //
    },
};

mod affinity;
mod control;
mod ethtool;
mod offload;
mod operations;
mod receive;
mod rings;
mod shape;
mod state;
mod stats;
mod transmit;

use control::Control;
use operations::Nic;
use rings::Rings;
use shape::{
    ReceiveMode,
    Shape, //
};
use state::State;
use stats::{
    RxStats,
    TxStats, //
};

kernel_ext::module_virtio_driver! {
    type: VirtioNet,
    name: "virtio_net_rs",
    authors: ["The rust-virtio developers"],
    description: "Virtio network driver",
    license: "GPL",
    params: {
        napi_weight: u32 {
            default: 64,
            description: "Number of frames that a queue may receive before others have their turn",
        },
        csum: u32 {
            default: 1,
            description: "Let the device complete checksums (1), or not (0)",
        },
        gso: u32 {
            default: 1,
            description: "Let the device cut frames (1), or not (0)",
        },
        napi_tx: u32 {
            default: 1,
            description: "Let the device interrupt when it has sent frames (1), or not (0)",
        },
    },
}

kernel_ext::virtio_claim!(CLAIM, ["mac"], "mac:ADDRESS");

kernel_ext::virtio_device_table!(ID_TABLE, [virtio::DeviceId::new(virtio::DeviceType::NET)]);

/// How often the device is reset without anything being done in between, before it is given up.
const PATIENCE: u32 = 3;

struct VirtioNet;

/// What the driver keeps of a device.
#[pin_data]
pub(crate) struct Data<'bound> {
    vdev: &'bound Device<Bound>,
    features: Accepted,
    shape: Shape,
    mode: ReceiveMode,
    /// The most pairs of queues: so many there are.
    pairs: u16,
    nic: SetOnce<net::Device<'bound, Nic>>,
    /// The queues, until there is a network device for them.
    #[pin]
    rings: Mutex<Option<Rings<'bound>>>,
    control: Option<Pin<KBox<Control<'bound>>>>,
    /// What users have set.
    #[pin]
    state: Mutex<State>,
    rx_stats: KVec<RxStats>,
    tx_stats: KVec<TxStats>,
    /// Looks at the configuration.
    changed: Work<'bound>,
    /// Tries again to fill rings.
    refill: Work<'bound>,
    recovery: Recovery<'bound>,
}

impl<'bound> Data<'bound> {
    fn has(&self, feature: Feature) -> bool {
        self.features.has(feature)
    }

    /// Looks at the state of the link, and whether an announcement is wanted.
    fn look(vdev: &Device<Bound>, this: Pin<&Data<'_>>) {
        if this.recovery.heeds_device() {
            return;
        }
        let Some(nic) = this.nic.as_ref() else {
            return;
        };
        let Ok(shape) = Shape::read(vdev, this.features) else {
            return;
        };
        if shape.is_up() && !this.recovery.is_dead() {
            nic.carrier_on();
        } else {
            nic.carrier_off();
        }
        if shape.config().announce() {
            nic.notify_peers(&Rtnl::lock());
            this.acknowledge();
        }
        this.state.lock().learn_speed(shape.config());
    }
}

/// Tells whether the device with this address is claimed.
fn is_claimed(mac: MacAddress) -> bool {
    let name = CString::try_from_fmt(fmt!("{}", Plain(mac)));
    name.is_ok_and(|name| CLAIM.names("mac", name.to_bytes()))
}

impl VirtioNet {
    fn received(this: Pin<&Data<'_>>, pair: usize) {
        this.schedule(operations::rx_napi(u32::try_from(pair).unwrap_or(u32::MAX)));
    }

    fn sent(this: Pin<&Data<'_>>, pair: usize) {
        this.schedule(operations::tx_napi(u32::try_from(pair).unwrap_or(u32::MAX)));
    }

    fn answered(this: Pin<&Data<'_>>, _: usize) {
        if let Some(control) = &this.control {
            control.used();
        }
    }
}

#[vtable]
impl virtio::Driver for VirtioNet {
    type Class = Net;
    type Data<'bound> = Data<'bound>;
    const ID_TABLE: virtio::IdTable = &ID_TABLE;
    const FEATURES: FeatureSet<Net> = FeatureSet::of(&[
        Feature::CSUM,
        Feature::GUEST_CSUM,
        Feature::CTRL_GUEST_OFFLOADS,
        Feature::MTU,
        Feature::MAC,
        Feature::GUEST_TSO4,
        Feature::GUEST_TSO6,
        Feature::GUEST_ECN,
        Feature::GUEST_UFO,
        Feature::HOST_TSO4,
        Feature::HOST_TSO6,
        Feature::HOST_ECN,
        Feature::HOST_UFO,
        Feature::MRG_RXBUF,
        Feature::STATUS,
        Feature::CTRL_VQ,
        Feature::CTRL_RX,
        Feature::CTRL_VLAN,
        Feature::GUEST_ANNOUNCE,
        Feature::MQ,
        Feature::CTRL_MAC_ADDR,
        Feature::GUEST_USO4,
        Feature::GUEST_USO6,
        Feature::HOST_USO,
        Feature::GUEST_HDRLEN,
        Feature::SPEED_DUPLEX,
        Feature::ANY_LAYOUT,
    ]);

    fn claim() -> Option<&'static Claim> {
        Some(&CLAIM)
    }

    fn validate(vdev: &Device<Bound>, features: Accepted) -> Result<virtio_wire::net::FeatureSet> {
        Ok(Shape::read(vdev, features)?.usable(vdev))
    }

    fn probe<'bound>(vdev: &'bound Device<Core<'_>>) -> impl PinInit<Data<'bound>, Error> + 'bound {
        pin_init::pin_init_scope(move || {
            let features = vdev.features::<Self>()?;
            let shape = Shape::read(vdev, features)?;
            if CLAIM.depends_on_name(vdev) && !shape.mac(vdev)?.is_some_and(is_claimed) {
                return Err(ENODEV);
            }
            let pairs = shape.pairs(vdev)?.get();
            let mode = shape.receive_mode(shape.mtu(vdev)?.0);
            let rules = CtrlRules::new(features, shape.config());
            let rules = rules.map_err(|error| shape::wrong(vdev, error))?;

            let mut rings = Rings::make(vdev, features, mode, pairs)?;
            let control = match rings.control.take() {
                Some(ring) => Some(KBox::pin_init(Control::new(vdev, rules, ring), GFP_KERNEL)?),
                None => None,
            };
            let mut rx_stats = KVec::new();
            let mut tx_stats = KVec::new();
            for _ in 0..pairs {
                rx_stats.push(RxStats::default(), GFP_KERNEL)?;
                tx_stats.push(TxStats::default(), GFP_KERNEL)?;
            }
            let used = u16::try_from(cpu::nr_cpu_ids()).unwrap_or(u16::MAX);
            let tx_interrupts = module_parameters::napi_tx.value() != 0;
            let state = State::new(used.min(pairs), tx_interrupts, &shape);
            let changed = Work::new::<Self>(vdev, Data::look)?;
            let refill = Work::new::<Self>(vdev, Data::refill)?;
            let recovery = Recovery::new::<Self>(vdev, PATIENCE)?;
            Ok(try_pin_init!(Data {
                vdev,
                features,
                shape,
                mode,
                pairs,
                nic: SetOnce::new(),
                rings <- new_mutex!(Some(rings)),
                control,
                state <- new_mutex!(state),
                rx_stats,
                tx_stats,
                changed,
                refill,
                recovery,
            }))
        })
    }

    fn start<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        Data::make_nic(vdev, this)
    }

    fn cpu_came(_: &Device<Bound>, this: Pin<&Data<'_>>) {
        this.spread_again();
    }

    fn config_changed(this: Pin<&Data<'_>>) {
        this.changed.queue();
    }

    fn suspend<'bound>(_: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        if let Some(nic) = this.nic.as_ref() {
            let _rtnl = Rtnl::lock();
            nic.detach();
            this.pause(nic);
        }
        Ok(())
    }

    fn release<'bound>(this: Pin<&'bound Data<'bound>>) {
        this.drop_rings();
    }

    fn restore<'bound>(vdev: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        if this.recovery.is_dead() {
            return Err(ENODEV);
        }
        let rings = Rings::make(vdev, this.features, this.mode, this.pairs)?;
        this.set_rings(rings)
    }

    fn resume<'bound>(_: &'bound Device<Core<'_>>, this: Pin<&'bound Data<'bound>>) -> Result {
        this.recovery.end();
        if let Some(nic) = this.nic.as_ref() {
            let rtnl = Rtnl::lock();
            let wanted = this.state.lock().wanted;
            if let Some(wanted) = wanted {
                this.resize(nic, wanted)?;
            }
            this.replay();
            if nic.is_running() {
                this.go_on(nic, &rtnl)?;
            }
            nic.attach();
            this.replay_filter(nic);
        }
        // The link may be another by now.
        this.changed.queue();
        Ok(())
    }

    fn lost(_: &Device<Bound>, this: Pin<&Data<'_>>) {
        this.recovery.give_up();
        if let Some(nic) = this.nic.as_ref() {
            nic.carrier_off();
        }
    }

    fn shutdown<'bound>(_: &'bound Device<Core<'_>>, this: Pin<&Data<'bound>>) {
        if let Some(nic) = this.nic.as_ref() {
            let _rtnl = Rtnl::lock();
            nic.detach();
            this.pause(nic);
        }
    }
}
