// SPDX-License-Identifier: GPL-2.0

//! A pair of network devices without hardware: what is sent by one is received by the other.
//!
//! Each has a ring, into which the other one puts frames, and a NAPI instance, which copies them.

#![forbid(unsafe_code)]

use core::{mem, pin::Pin};
use kernel::sync::{Arc, SetOnce, SpinLock};
use kernel::{new_spinlock, prelude::*};
use kernel_ext::net::{
    Counter, Device, DeviceOptions, Ethtool, Features, LinkStats, More, NapiHandle, NapiKind,
    Operations, Poll, Rtnl, SkBuff, Standalone, Statistics, Traffic, TxQueue,
};

module! {
    type: NetPair,
    name: "rust_netpair",
    authors: ["The rust-virtio developers"],
    description: "Pair of network devices",
    license: "GPL",
}

/// How many frames a ring has room for.
const DEPTH: usize = 256;

/// What there is of a device for the other one.
#[pin_data]
struct End {
    /// Frames for the device, from the oldest on.
    #[pin]
    ring: SpinLock<KVec<SkBuff>>,
    device: SetOnce<Device<'static, Pair>>,
    rx: Traffic,
    tx: Traffic,
    stops: Counter,
}

impl End {
    fn new() -> Result<Arc<Self>> {
        let ring = KVec::with_capacity(DEPTH, GFP_KERNEL)?;
        let init = pin_init!(Self {
            ring <- new_spinlock!(ring),
            device: SetOnce::new(),
            rx: Traffic::default(),
            tx: Traffic::default(),
            stops: Counter::new(),
        });
        Arc::pin_init(init, GFP_KERNEL)
    }

    /// Returns what looks into the ring.
    fn napi(&self) -> Option<NapiHandle<'_, 'static, Pair>> {
        self.device.as_ref()?.napi(0)
    }
}

/// The data of a device.
struct Ends {
    own: Arc<End>,
    peer: Arc<End>,
}

impl Ends {
    fn devices(&self) -> impl Iterator<Item = &Device<'static, Pair>> {
        let ends = [&self.own, &self.peer];
        ends.into_iter().filter_map(|end| end.device.as_ref())
    }
}

/// Gives a copy to the core: what becomes of it is no business of the sender.
fn receive(skb: SkBuff, poll: &mut Poll<'_, '_, Pair>) -> Result {
    let mut copy = poll.alloc_skb(skb.len())?;
    copy.append_frame(&skb)?;
    skb.consume();
    poll.receive(copy)
}

struct Pair;

#[vtable]
impl Operations for Pair {
    type Data<'bound> = Ends;
    type Tx<'bound> = ();
    /// What was taken out of the ring; the next frame is the last one.
    type Napi<'bound> = KVec<SkBuff>;

    fn open(ends: Pin<&Ends>, device: &Device<'_, Self>, _: &Rtnl) -> Result {
        let napi = device.napi(0).ok_or(ENODEV)?;
        napi.enable();
        // There may be frames since it was up.
        napi.schedule();
        // There is a carrier if both are up.
        if ends.devices().all(Device::is_running) {
            ends.devices().for_each(Device::carrier_on);
        }
        Ok(())
    }

    fn stop(ends: Pin<&Ends>, device: &Device<'_, Self>, _: &Rtnl) {
        ends.devices().for_each(Device::carrier_off);
        if let Some(napi) = device.napi(0) {
            napi.disable();
        }
    }

    fn start_xmit(
        ends: Pin<&Ends>,
        queue: TxQueue<'_>,
        (): &mut (),
        mut skb: SkBuff,
        more: More,
    ) -> Result<(), SkBuff> {
        let len = skb.len();
        // It waits until the other device is up: nobody else should wait for it.
        skb.orphan();
        skb.reset_conntrack();
        let mut ring = ends.peer.ring.lock();
        // Whoever empties the ring wakes the queue.
        if ring.len() >= DEPTH - 1 {
            queue.stop();
            ends.own.stops.increment();
        }
        ring.push_within_capacity(skb).map_err(|error| error.0)?;
        drop(ring);

        ends.own.tx.count(len);
        if queue.sent(len, more) {
            ends.peer.napi().map(|napi| napi.schedule());
        }
        Ok(())
    }

    fn poll(ends: Pin<&Ends>, frames: &mut KVec<SkBuff>, poll: &mut Poll<'_, '_, Self>) -> u32 {
        if frames.is_empty() {
            mem::swap(frames, &mut *ends.own.ring.lock());
            frames.reverse();
        }
        let (mut packets, mut bytes) = (0, 0);
        while packets < poll.budget() {
            let Some(skb) = frames.pop() else { break };
            let len = skb.len();
            (packets, bytes) = (packets + 1, bytes + len);
            match receive(skb, poll) {
                Ok(()) => ends.own.rx.count(len),
                Err(_) => ends.own.rx.dropped.increment(),
            }
        }
        if packets == 0 {
            // What was put into the ring meanwhile has not scheduled the instance.
            if poll.complete(0) && !ends.own.ring.lock().is_empty() {
                poll.again();
            }
        } else if let Some(tx) = ends.peer.device.as_ref().and_then(|peer| peer.lock_tx(0)) {
            tx.queue().completed(packets, bytes);
            tx.queue().wake();
        }
        packets
    }

    fn stats(ends: Pin<&Ends>, stats: &mut LinkStats) {
        stats.add_rx(&ends.own.rx);
        stats.add_tx(&ends.own.tx);
    }
}

#[vtable]
impl Ethtool for Pair {
    const DRIVER: &'static CStr = c"rust_netpair";

    fn statistics(ends: Pin<&Ends>, statistics: &mut Statistics<'_>) {
        statistics.add(fmt!("stops"), ends.own.stops.get());
    }
}

fn make(own: Arc<End>, peer: Arc<End>) -> Result<Standalone<Pair>> {
    let options = DeviceOptions::new(c"rustpair%d", 1, 1)?
        .napi(NapiKind::Rx { queue: 0 })?
        .ethtool()
        .features(Features::SG | Features::HIGHDMA | Features::FRAGLIST)
        .mtu(68, 9000, 1500);
    let data = KBox::pin(Ends { own, peer }, GFP_KERNEL)?;
    let frames = |_| Ok(KVec::with_capacity(DEPTH, GFP_KERNEL)?);
    let device = Standalone::<Pair>::new(options, data, |_| Ok(()), frames)?;
    device.carrier_off();
    device.data().own.device.populate(Device::clone(&device));
    Ok(device)
}

struct NetPair([Standalone<Pair>; 2]);

impl kernel::Module for NetPair {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        let (one, other) = (End::new()?, End::new()?);
        let this = Self([make(one.clone(), other.clone())?, make(other, one)?]);
        this.0.iter().try_for_each(|device| device.register())?;
        Ok(this)
    }
}
