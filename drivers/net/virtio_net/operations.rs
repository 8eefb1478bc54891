// SPDX-License-Identifier: GPL-2.0

//! What the kernel asks of the network device.

use super::{
    affinity,
    module_parameters,
    receive::{
        Rx,
        RxQueue,
        RxSettings,
        WHOLE, //
    },
    rings::{
        Rings,
        RxRing, //
    },
    shape::{
        ReceiveMode,
        Wanted, //
    },
    stats::TxStats,
    transmit::{
        self,
        Tx,
        TxSettings, //
    },
    Data,
    VirtioNet, //
};
use core::pin::Pin;
use kernel::{
    cpumask::Cpumask,
    device::{
        Bound,
        Core, //
    },
    prelude::*,
    time::msecs_to_jiffies, //
};
use kernel_ext::{
    net::{
        self,
        DeviceOptions,
        Features,
        LinkStats,
        MacAddress,
        More,
        NapiKind,
        Netpoll,
        Poll,
        Rtnl,
        RxFilter,
        SkBuff,
        TxQueue, //
    },
    virtio::{
        self,
        Context,
        Device,
        HeaderPlace, //
    },
};
use virtio_wire::net::{
    Feature,
    Header,
    RxRules,
    TxRules, //
};

/// How long a queue may stand still, in milliseconds.
const WATCHDOG: u32 = 5000;

/// How long to wait for memory, in milliseconds.
const STARVED: u32 = 10;

/// Returns the number of the NAPI instance that receives.
pub(crate) fn rx_napi(pair: u32) -> u32 {
    2 * pair
}

/// Returns the number of the NAPI instance that takes back what was sent.
pub(crate) fn tx_napi(pair: u32) -> u32 {
    2 * pair + 1
}

/// The network device.
pub(crate) struct Nic;

/// What a NAPI instance has.
pub(crate) enum Napi<'bound> {
    /// It receives.
    Rx(Rx<'bound>),
    /// It takes back what was sent, which it has a lock for.
    Tx,
}

impl<'bound> Napi<'bound> {
    /// Gives it a ring, which is empty.
    fn set_ring(&mut self, ring: RxRing<'bound>) -> Result {
        match (self, ring) {
            (Self::Rx(Rx::Single(rx)), RxRing::Single(ring)) => rx.set_ring(ring),
            (Self::Rx(Rx::Big(rx)), RxRing::Big(ring)) => rx.set_ring(ring),
            // The way to receive does not change.
            _ => Err(EINVAL),
        }
    }

    fn fill(&mut self, data: &Data<'_>, pair: u32) -> bool {
        let Some(stats) = data.rx_stats(pair) else {
            return true;
        };
        match self {
            Self::Rx(Rx::Single(rx)) => rx.fill(stats, Context::Process),
            Self::Rx(Rx::Big(rx)) => rx.fill(stats, Context::Process),
            Self::Tx => true,
        }
    }

    fn set_affinity(&mut self, cpus: &Cpumask) {
        // It is a matter of speed only.
        let _ = match self {
            Self::Rx(Rx::Single(rx)) => rx.set_affinity(cpus),
            Self::Rx(Rx::Big(rx)) => rx.set_affinity(cpus),
            Self::Tx => Ok(()),
        };
    }

    fn drain(&mut self) -> Result {
        match self {
            Self::Rx(Rx::Single(rx)) => rx.drain(),
            Self::Rx(Rx::Big(rx)) => rx.drain(),
            Self::Tx => Ok(()),
        }
    }
}

impl<'bound> Data<'bound> {
    /// Makes the network device, and lets the kernel know it.
    pub(crate) fn make_nic(
        vdev: &'bound Device<Core<'_>>,
        this: Pin<&'bound Data<'bound>>,
    ) -> Result {
        let (mtu, most) = this.shape.mtu(vdev)?;
        let (may, on) = this.shape.offloads(Wanted {
            checksum: module_parameters::csum.value() != 0,
            gso: module_parameters::gso.value() != 0,
        });
        let room = u16::try_from(Header::SIZE)?;
        let weight = u8::try_from(module_parameters::napi_weight.value()).unwrap_or(u8::MAX);
        let pairs = u32::from(this.pairs);
        let mut options = DeviceOptions::new(c"eth%d", pairs, pairs)?
            .parent(vdev.as_ref())
            .mtu(this.shape.min_mtu(), most, mtu)
            .features(on)
            .hw_features(may)
            .vlan_features(may | Features::HIGHDMA)
            .room(room, 0)
            .weight(weight)
            .ethtool()
            .queue_stats()
            .unicast_filter()
            .live_address_change()
            .no_linear()
            .watchdog(WATCHDOG);
        if let Some(mac) = this.shape.mac(vdev)? {
            options = options.address(mac.bytes());
        }
        for queue in 0..pairs {
            options = options
                .napi(NapiKind::Rx { queue })?
                .napi(NapiKind::Tx { queue })?;
        }

        let mut rings = this.rings.lock().take().ok_or(EINVAL)?;
        let (mut rx, mut tx) = (KVec::new(), KVec::new());
        for pair in 0..pairs {
            let (rx_ring, tx_ring) = (rings.take_rx(pair)?, rings.take_tx(pair)?);
            this.state.lock().rings = sizes(&rx_ring, &tx_ring);
            rx.push(Some(this.napi(rx_ring)?), GFP_KERNEL)?;
            tx.push(Some(this.tx(tx_ring)?), GFP_KERNEL)?;
        }
        let take_tx = |queue| take(&mut tx, queue);
        let take_napi = |kind| match kind {
            NapiKind::Rx { queue } => take(&mut rx, queue),
            NapiKind::Tx { .. } => Ok(Napi::Tx),
        };
        let nic = virtio::make_netdev::<VirtioNet, Nic>(vdev, options, take_tx, take_napi)?;

        this.nic.populate(nic.clone());
        let pairs = this.state.lock().pairs;
        this.set_pairs(pairs)?;
        nic.set_real_queues(pairs.into(), pairs.into(), &Rtnl::lock())?;
        nic.carrier_off();
        nic.register()?;
        this.changed.queue();
        // The device has no address of its own, so it does not know which one is used.
        if !this.has(Feature::MAC) {
            this.set_mac(nic.mac())?;
        }
        Ok(())
    }

    fn rx_settings(&self) -> Result<RxSettings> {
        Ok(RxSettings {
            rules: RxRules::new(self.features).believe_verified(),
            longest: self.shape.longest_frame(self.shape.mtu(self.vdev)?.1),
        })
    }

    /// Returns how many places a ring from the device has to have, so that the longest frame has room.
    pub(crate) fn least_rx(&self) -> Result<u32> {
        Ok(match self.mode {
            ReceiveMode::Big => 1,
            _ => self.rx_settings()?.pieces(WHOLE),
        })
    }

    fn napi(&self, ring: RxRing<'bound>) -> Result<Napi<'bound>> {
        let settings = self.rx_settings()?;
        let mut napi = Napi::Rx(match self.mode {
            ReceiveMode::Big => Rx::Big(RxQueue::new(settings)),
            _ => Rx::Single(RxQueue::new(settings)),
        });
        napi.set_ring(ring)?;
        Ok(napi)
    }

    fn tx(&self, ring: transmit::Ring<'bound>) -> Result<Tx<'bound>> {
        let inline = self.has(Feature::VERSION_1) || self.has(Feature::ANY_LAYOUT);
        let settings = TxSettings {
            rules: TxRules::new(self.features),
            place: if inline {
                HeaderPlace::Inline
            } else {
                HeaderPlace::Apart
            },
            interrupts: self.state.lock().tx_interrupts,
        };
        Tx::new(ring, settings)
    }

    pub(crate) fn rx_stats(&self, pair: u32) -> Option<&super::RxStats> {
        self.rx_stats.get(usize::try_from(pair).ok()?)
    }

    pub(crate) fn tx_stats(&self, pair: u32) -> Option<&TxStats> {
        self.tx_stats.get(usize::try_from(pair).ok()?)
    }

    /// Has a NAPI instance polled soon.
    pub(crate) fn schedule(&self, napi: u32) {
        if let Some(napi) = self.nic.as_ref().and_then(|nic| nic.napi(napi)) {
            napi.schedule();
        }
    }

    /// Lets all queues stand still.
    pub(crate) fn pause(&self, nic: &net::Device<'bound, Nic>) {
        for napi in (0..2 * u32::from(self.pairs)).filter_map(|i| nic.napi(i)) {
            napi.disable();
        }
    }

    /// Receives nothing any more by the pairs from `first` on.
    pub(crate) fn pause_rx(&self, nic: &net::Device<'bound, Nic>, first: u16) {
        for napi in (first..self.pairs).filter_map(|pair| nic.napi(rx_napi(pair.into()))) {
            napi.disable();
        }
    }

    /// Fills the rings of the pairs that are used, and lets their queues go on.
    pub(crate) fn go_on(&self, nic: &net::Device<'bound, Nic>, rtnl: &Rtnl) -> Result {
        let used = u32::from(self.state.lock().pairs);
        let mut enough = true;
        for pair in 0..used {
            let rx = nic.napi(rx_napi(pair)).ok_or(EINVAL)?;
            let cpus = affinity::share(pair, used)?;
            let filled = rx.with_disabled(|napi| {
                napi.set_affinity(&cpus);
                napi.fill(self, pair)
            });
            match filled {
                Ok(filled) => {
                    enough &= filled;
                    self.set_tx_affinity(nic, pair, &cpus)?;
                }
                // It was used before, and goes on.
                Err(_) => continue,
            }
            nic.set_xps(pair, &cpus, rtnl)?;
            rx.enable();
            // The device may have done something before.
            rx.schedule();
        }
        // A pair that is not used any more may have frames to take back: as long as it keeps one, TCP
        // does not send that again.
        for tx in (0..self.pairs).filter_map(|pair| nic.napi(tx_napi(pair.into()))) {
            tx.enable();
            tx.schedule();
        }
        if !enough {
            self.refill.queue_after(msecs_to_jiffies(STARVED));
        }
        Ok(())
    }

    /// Gives queues back to a CPU that was away.
    pub(crate) fn spread_again(&self) {
        let Some(nic) = self.nic.as_ref() else {
            return;
        };
        let rtnl = Rtnl::lock();
        if nic.is_running() && nic.is_present() {
            self.pause_rx(nic, 0);
            if self.go_on(nic, &rtnl).is_err() {
                self.recovery.begin();
            }
        }
    }

    /// Asks for the interrupts of a queue that nobody sends by to go to these CPUs.
    fn set_tx_affinity(&self, nic: &net::Device<'bound, Nic>, pair: u32, cpus: &Cpumask) -> Result {
        // That sleeps, so it cannot be done with the lock.
        let ring = nic.lock_tx(pair).ok_or(EINVAL)?.take_ring();
        if let Some(mut ring) = ring {
            // It is a matter of speed only.
            let _ = ring.set_affinity(cpus);
            nic.lock_tx(pair).ok_or(EINVAL)?.set_ring(ring);
        }
        Ok(())
    }

    /// Drops the rings, after the device was reset.
    pub(crate) fn drop_rings(&self) {
        let mut result = Ok(());
        for pair in 0..self.pairs.into() {
            let Some(nic) = self.nic.as_ref() else {
                break;
            };
            if let Some(napi) = nic.napi(rx_napi(pair)) {
                result = result.and(napi.with_disabled(Napi::drain).and_then(|done| done));
            }
            // To drop a ring may sleep, so it cannot be done with the lock.
            let ring = nic.lock_tx(pair).and_then(|mut tx| {
                tx.queue().reset();
                tx.take_ring()
            });
            if let Some(mut ring) = ring {
                result = result.and(ring.drain(|frame| drop(frame.into_skb())));
            }
        }
        if let Some(control) = &self.control {
            drop(control.take_ring());
        }
        drop(self.rings.lock().take());
        if result.is_err() {
            dev_err!(self.vdev, "the device was not reset\n");
        }
    }

    /// Takes over the rings that were made after the device was reset.
    pub(crate) fn set_rings(&self, mut rings: Rings<'bound>) -> Result {
        let nic = self.nic.as_ref().ok_or(ENODEV)?;
        for pair in 0..self.pairs.into() {
            let napi = nic.napi(rx_napi(pair)).ok_or(EINVAL)?;
            let (rx, tx) = (rings.take_rx(pair)?, rings.take_tx(pair)?);
            self.state.lock().rings = sizes(&rx, &tx);
            napi.with_disabled(|napi| napi.set_ring(rx))??;
            nic.lock_tx(pair).ok_or(EINVAL)?.set_ring(tx);
        }
        if let (Some(control), Some(ring)) = (&self.control, rings.control.take()) {
            control.set_ring(ring);
        }
        Ok(())
    }

    /// Tries again to fill rings.
    pub(crate) fn refill(_: &Device<Bound>, this: Pin<&Data<'_>>) {
        for pair in 0..this.pairs.into() {
            this.schedule(rx_napi(pair));
        }
    }

    fn receive(&self, rx: &mut Rx<'_>, poll: &mut Poll<'_, '_, Nic>) -> Result<u32> {
        let pair = poll.index() / 2;
        let stats = self.rx_stats(pair).ok_or(EINVAL)?;
        // Whoever sends much receives much, so this saves an interrupt.
        if let (Some(mut tx), Some(stats)) = (poll.try_lock_tx(pair), self.tx_stats(pair)) {
            let (queue, tx) = tx.parts();
            tx.reclaim(queue, stats)?;
        }
        let (count, enough) = match rx {
            Rx::Single(rx) => rx.poll(stats, poll)?,
            Rx::Big(rx) => rx.poll(stats, poll)?,
        };
        if count > 0 {
            self.recovery.works();
        }
        if !enough {
            self.refill.queue_after(msecs_to_jiffies(STARVED));
        }
        Ok(count)
    }

    fn take_back(&self, poll: &mut Poll<'_, '_, Nic>) -> Result {
        let pair = poll.index() / 2;
        let stats = self.tx_stats(pair).ok_or(EINVAL)?;
        let mut tx = poll.lock_tx(pair).ok_or(EINVAL)?;
        let (queue, tx) = tx.parts();
        if tx.take_back(queue, stats)? {
            self.recovery.works();
        }
        if poll.complete(0) && tx.arm() {
            poll.again();
        }
        Ok(())
    }
}

/// Returns how many places rings have, and how many they can have.
fn sizes(rx: &RxRing<'_>, tx: &transmit::Ring<'_>) -> (net::Rings, net::Rings) {
    let (rx, most) = rx.sizes();
    let now = net::Rings { rx, tx: tx.size() };
    let max = net::Rings {
        rx: most,
        tx: tx.max_size(),
    };
    (now, max)
}

fn take<T>(made: &mut KVec<Option<T>>, queue: u32) -> Result<T> {
    let made = made.get_mut(usize::try_from(queue)?).ok_or(EINVAL)?;
    made.take().ok_or(ENOENT)
}

#[vtable]
impl net::Operations for Nic {
    type Data<'bound> = Data<'bound>;
    type Tx<'bound> = Tx<'bound>;
    type Napi<'bound> = Napi<'bound>;

    fn open<'bound>(
        data: Pin<&Data<'bound>>,
        nic: &net::Device<'bound, Self>,
        rtnl: &Rtnl,
    ) -> Result {
        data.go_on(nic, rtnl)?;
        data.changed.queue();
        Ok(())
    }

    fn stop<'bound>(data: Pin<&Data<'bound>>, nic: &net::Device<'bound, Self>, _: &Rtnl) {
        data.pause(nic);
    }

    #[inline]
    fn start_xmit<'bound>(
        data: Pin<&Data<'bound>>,
        queue: TxQueue<'_>,
        tx: &mut Tx<'bound>,
        skb: SkBuff,
        more: More,
    ) -> Result<(), SkBuff> {
        if let Some(stats) = data.tx_stats(queue.index()) {
            if tx.send(queue, stats, skb, more).is_err() {
                data.recovery.begin();
            }
        }
        Ok(())
    }

    fn poll<'bound>(
        data: Pin<&Data<'bound>>,
        napi: &mut Napi<'bound>,
        poll: &mut Poll<'_, 'bound, Self>,
    ) -> u32 {
        let result = match napi {
            Napi::Rx(rx) => data.receive(rx, poll),
            Napi::Tx => data.take_back(poll).map(|()| 0),
        };
        result.unwrap_or_else(|_| {
            data.recovery.begin();
            // There is nothing to do until the device was reset.
            let _ = poll.complete(0);
            0
        })
    }

    fn netpoll<'bound>(data: Pin<&Data<'bound>>, poll: &Netpoll<'_, 'bound, Self>) {
        let pair = poll.index() / 2;
        if let (Some(mut tx), Some(stats)) = (poll.try_lock_tx(pair), data.tx_stats(pair)) {
            let (queue, tx) = tx.parts();
            // If the ring is broken, whoever sends next is told.
            let _ = tx.reclaim(queue, stats);
        }
    }

    fn stats(data: Pin<&Data<'_>>, total: &mut LinkStats) {
        for stats in &data.rx_stats {
            total.rx_packets += stats.packets.get();
            total.rx_bytes += stats.bytes.get();
            total.rx_dropped += stats.no_memory.get();
            total.rx_length_errors += stats.bad_length.get();
            total.rx_frame_errors += stats.bad_header.get();
            total.rx_errors +=
                stats.bad_length.get() + stats.bad_header.get() + stats.bad_buffers.get();
        }
        for stats in &data.tx_stats {
            total.tx_packets += stats.packets.get();
            total.tx_bytes += stats.bytes.get();
            total.tx_dropped += stats.drops.get();
            total.tx_errors += stats.timeouts.get();
        }
    }

    fn set_rx_mode<'bound>(
        data: Pin<&Data<'bound>>,
        _: &net::Device<'bound, Self>,
        filter: &RxFilter<'_>,
        _: &Rtnl,
    ) -> Result {
        data.set_filter(filter)
    }

    fn set_mac<'bound>(
        data: Pin<&Data<'bound>>,
        nic: &net::Device<'bound, Self>,
        address: MacAddress,
        _: &Rtnl,
    ) -> Result {
        data.set_mac(address)?;
        if data.filters_own() {
            data.replay_filter(nic);
        }
        Ok(())
    }

    fn vlan_add<'bound>(
        data: Pin<&Data<'bound>>,
        _: &net::Device<'bound, Self>,
        _: u16,
        id: u16,
        _: &Rtnl,
    ) -> Result {
        data.set_vlan(id, true)
    }

    fn vlan_remove<'bound>(
        data: Pin<&Data<'bound>>,
        _: &net::Device<'bound, Self>,
        _: u16,
        id: u16,
        _: &Rtnl,
    ) -> Result {
        data.set_vlan(id, false)
    }

    fn set_features<'bound>(
        data: Pin<&Data<'bound>>,
        nic: &net::Device<'bound, Self>,
        wanted: Features,
        _: &Rtnl,
    ) -> Result {
        data.set_offloads(nic.features(), wanted)
    }

    fn tx_timeout<'bound>(data: Pin<&Data<'bound>>, _: &net::Device<'bound, Self>, queue: u32) {
        if let Some(stats) = data.tx_stats(queue) {
            stats.timeouts.increment();
        }
        dev_err!(data.vdev, "queue {} stands still\n", queue);
        data.recovery.begin();
    }
}
