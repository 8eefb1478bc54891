// SPDX-License-Identifier: GPL-2.0

//! What `ethtool` shows and changes, and what queues have counted.

use super::{
    operations::{
        rx_napi,
        tx_napi,
        Napi,
        Nic, //
    },
    receive::Rx,
    stats::{
        RX,
        TX, //
    },
    Data, //
};
use core::pin::Pin;
use kernel::{
    prelude::*,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};
use kernel_ext::net::{
    self,
    Channels,
    Coalesce,
    Duplex,
    Ethtool,
    Extack,
    Link,
    QueueStats,
    Rings,
    Rtnl,
    Statistics, //
};
use virtio_wire::net::config::{
    self,
    Speed, //
};

/// How often, and after how long, it is looked whether frames were sent.
const SENDING_LOOKS: u32 = 50;
const SENDING_WAIT: Delta = Delta::from_millis(2);

impl<'bound> Data<'bound> {
    /// Changes how many places the rings have, while the queues stand still. The device is reset if
    /// it fails.
    pub(crate) fn resize(&self, nic: &net::Device<'bound, Nic>, rings: Rings) -> Result {
        let (now, _) = self.state.lock().rings;
        if now == rings {
            return Ok(());
        }
        for pair in 0..u32::from(self.pairs) {
            self.resize_pair(nic, pair, rings).inspect_err(|error| {
                // The device cannot do that, and nothing has changed.
                if *error != ENOENT {
                    self.recovery.begin();
                }
            })?;
        }
        self.state.lock().rings.0 = rings;
        Ok(())
    }

    fn resize_pair(&self, nic: &net::Device<'bound, Nic>, pair: u32, rings: Rings) -> Result {
        let napi = nic.napi(rx_napi(pair)).ok_or(EINVAL)?;
        napi.with_disabled(|napi| match napi {
            Napi::Rx(Rx::Single(rx)) => rx.resize(rings.rx),
            Napi::Rx(Rx::Big(rx)) => rx.resize(rings.rx),
            Napi::Tx => Ok(()),
        })??;

        // The ring is taken out of the queue, as to resize it takes time.
        let taken = nic.lock_tx(pair).and_then(|mut tx| {
            tx.queue().stop();
            tx.take_ring()
        });
        let mut ring = taken.ok_or(ENETDOWN)?;
        let result = ring.resize(rings.tx, |frame| drop(frame.into_skb()));
        let mut tx = nic.lock_tx(pair).ok_or(EINVAL)?;
        let (queue, tx) = tx.parts();
        tx.set_ring(ring);
        queue.reset();
        queue.wake();
        result
    }

    /// Changes how many pairs of queues are used.
    fn use_pairs(&self, nic: &net::Device<'bound, Nic>, pairs: u16, rtnl: &Rtnl) -> Result {
        let before = self.state.lock().pairs;
        let is_used = nic.is_running() && nic.is_present();
        if pairs < before {
            // What was received by the others is still taken meanwhile.
            nic.set_real_queues(pairs.into(), before.into(), rtnl)?;
            if is_used {
                self.wait_until_sent(nic, pairs);
            }
        }
        let set = self.set_pairs(pairs).and_then(|()| {
            if is_used {
                self.pause_rx(nic, pairs);
            }
            nic.set_real_queues(pairs.into(), pairs.into(), rtnl)
        });
        if set.is_err() {
            // The first error is the one to tell of.
            let restored = nic.set_real_queues(before.into(), before.into(), rtnl);
            let _ = restored.and_then(|()| self.set_pairs(before));
        }
        if is_used {
            self.go_on(nic, rtnl)?;
        }
        set
    }

    /// Has the device interrupt when it has sent frames, or not: then they come back when others are
    /// sent. The queues stand still, and must be empty: which frames are counted differs.
    fn set_tx_interrupts(&self, nic: &net::Device<'bound, Nic>, on: bool) -> Result {
        for pair in 0..self.pairs.into() {
            self.take_all_back(nic, pair)?;
        }
        for pair in 0..self.pairs.into() {
            let mut tx = nic.lock_tx(pair).ok_or(EINVAL)?;
            let (queue, tx) = tx.parts();
            tx.set_interrupts(on);
            queue.reset();
        }
        self.state.lock().tx_interrupts = on;
        Ok(())
    }

    /// Takes back all that a pair has sent, unless that takes long.
    fn take_all_back(&self, nic: &net::Device<'bound, Nic>, pair: u32) -> Result {
        let stats = self.tx_stats(pair).ok_or(EINVAL)?;
        for _ in 0..SENDING_LOOKS {
            let is_empty = {
                let mut tx = nic.lock_tx(pair).ok_or(EINVAL)?;
                let (queue, tx) = tx.parts();
                tx.reclaim(queue, stats)?;
                tx.is_empty()
            };
            if is_empty {
                return Ok(());
            }
            fsleep(SENDING_WAIT);
        }
        Err(EBUSY)
    }

    /// Waits until the pairs from `first` on have sent what they have, if that does not take long. A
    /// device does not look at a pair any more that is not used; and as long as a frame is not sent,
    /// TCP does not send it by another one.
    fn wait_until_sent(&self, nic: &net::Device<'bound, Nic>, first: u16) {
        for _ in 0..SENDING_LOOKS {
            let mut waits = false;
            for pair in u32::from(first)..self.pairs.into() {
                if nic.lock_tx(pair).is_some_and(|tx| !tx.is_empty()) {
                    waits = true;
                    self.schedule(tx_napi(pair));
                }
            }
            if !waits {
                break;
            }
            fsleep(SENDING_WAIT);
        }
    }
}

#[vtable]
impl Ethtool for Nic {
    const DRIVER: &'static CStr = c"virtio_net_rs";

    fn statistics(data: Pin<&Data<'_>>, statistics: &mut Statistics<'_>) {
        for (name, counter) in RX {
            let all = data.rx_stats.iter().map(|stats| counter(stats).get());
            statistics.add(fmt!("rx_{name}"), all.sum());
        }
        for (name, counter) in TX {
            let all = data.tx_stats.iter().map(|stats| counter(stats).get());
            statistics.add(fmt!("tx_{name}"), all.sum());
        }
        statistics.add(fmt!("resets"), data.recovery.count());
        for (pair, stats) in data.rx_stats.iter().enumerate() {
            for (name, counter) in RX {
                statistics.add(fmt!("rx{pair}_{name}"), counter(stats).get());
            }
        }
        for (pair, stats) in data.tx_stats.iter().enumerate() {
            for (name, counter) in TX {
                statistics.add(fmt!("tx{pair}_{name}"), counter(stats).get());
            }
        }
    }

    fn rings(data: Pin<&Data<'_>>) -> (Rings, Rings) {
        data.state.lock().rings
    }

    fn set_rings<'bound>(
        data: Pin<&Data<'bound>>,
        nic: &net::Device<'bound, Self>,
        rings: Rings,
        extack: &mut Extack<'_>,
        rtnl: &Rtnl,
    ) -> Result {
        if rings.tx <= super::transmit::ROOM || rings.rx < data.least_rx()? {
            extack.set(c"a ring must have room for the longest frame");
            return Err(EINVAL);
        }
        let used = nic.is_running();
        if used {
            data.pause(nic);
        }
        let result = data.resize(nic, rings);
        if used {
            data.go_on(nic, rtnl)?;
        }
        if result == Err(ENOENT) {
            extack.set(c"the device cannot reset a queue alone");
            return Err(EOPNOTSUPP);
        }
        result?;
        data.state.lock().wanted = Some(rings);
        Ok(())
    }

    fn channels(data: Pin<&Data<'_>>) -> (Channels, Channels) {
        let pairs = |combined: u16| Channels {
            combined: combined.into(),
            ..Channels::default()
        };
        (pairs(data.state.lock().pairs), pairs(data.pairs))
    }

    fn set_channels<'bound>(
        data: Pin<&Data<'bound>>,
        nic: &net::Device<'bound, Self>,
        channels: Channels,
        rtnl: &Rtnl,
    ) -> Result {
        let pairs = u16::try_from(channels.combined)?;
        if pairs == 0 || channels.rx != 0 || channels.tx != 0 {
            return Err(EINVAL);
        }
        data.use_pairs(nic, pairs, rtnl)
    }

    fn link(data: Pin<&Data<'_>>) -> Link {
        let state = data.state.lock();
        Link {
            speed: match state.speed {
                Speed::Known(speed) => Some(speed),
                Speed::Unknown => None,
            },
            duplex: match state.duplex {
                config::Duplex::Half => Duplex::Half,
                config::Duplex::Full => Duplex::Full,
                config::Duplex::Unknown => Duplex::Unknown,
            },
        }
    }

    fn set_link(data: Pin<&Data<'_>>, link: Link, _: &Rtnl) -> Result {
        let mut state = data.state.lock();
        state.forced = true;
        state.speed = link.speed.map_or(Speed::Unknown, Speed::Known);
        state.duplex = match link.duplex {
            Duplex::Half => config::Duplex::Half,
            Duplex::Full => config::Duplex::Full,
            Duplex::Unknown => config::Duplex::Unknown,
        };
        Ok(())
    }

    fn coalesce(data: Pin<&Data<'_>>) -> Result<Coalesce> {
        Ok(Coalesce {
            rx_frames: 1,
            tx_frames: data.state.lock().tx_interrupts.into(),
            ..Coalesce::default()
        })
    }

    fn set_coalesce<'bound>(
        data: Pin<&Data<'bound>>,
        nic: &net::Device<'bound, Self>,
        coalesce: Coalesce,
        extack: &mut Extack<'_>,
        _: &Rtnl,
    ) -> Result {
        let on = coalesce.tx_frames != 0;
        let possible = Coalesce {
            rx_frames: 1,
            tx_frames: on.into(),
            ..Coalesce::default()
        };
        if coalesce != possible {
            extack.set(c"the device interrupts for each frame, or for none that is sent");
            return Err(EINVAL);
        }
        if on == data.state.lock().tx_interrupts {
            return Ok(());
        }
        if nic.is_running() {
            extack.set(c"the interface must be down");
            return Err(EBUSY);
        }
        data.set_tx_interrupts(nic, on)
    }
}

impl QueueStats for Nic {
    fn rx(data: Pin<&Data<'_>>, queue: u32) -> net::RxStats {
        let Some(stats) = data.rx_stats(queue) else {
            return net::RxStats::default();
        };
        net::RxStats {
            packets: Some(stats.packets.get()),
            bytes: Some(stats.bytes.get()),
            alloc_fail: Some(stats.no_memory.get()),
            hw_gro_packets: Some(stats.gso_packets.get()),
            ..net::RxStats::default()
        }
    }

    fn tx(data: Pin<&Data<'_>>, queue: u32) -> net::TxStats {
        let Some(stats) = data.tx_stats(queue) else {
            return net::TxStats::default();
        };
        net::TxStats {
            packets: Some(stats.packets.get()),
            bytes: Some(stats.bytes.get()),
            hw_gso_packets: Some(stats.gso_packets.get()),
            stop: Some(stats.stops.get()),
            wake: Some(stats.wakes.get()),
            ..net::TxStats::default()
        }
    }

    fn base(data: Pin<&Data<'_>>) -> (net::RxStats, net::TxStats) {
        // What the pairs have counted that are not used now.
        let first = u32::from(data.state.lock().pairs);
        let (mut rx, mut tx) = (zero_rx(), zero_tx());
        for pair in first..data.pairs.into() {
            let (of_rx, of_tx) = (Self::rx(data, pair), Self::tx(data, pair));
            for (sum, of) in [
                (&mut rx.packets, of_rx.packets),
                (&mut rx.bytes, of_rx.bytes),
                (&mut rx.alloc_fail, of_rx.alloc_fail),
                (&mut rx.hw_gro_packets, of_rx.hw_gro_packets),
                (&mut tx.packets, of_tx.packets),
                (&mut tx.bytes, of_tx.bytes),
                (&mut tx.hw_gso_packets, of_tx.hw_gso_packets),
                (&mut tx.stop, of_tx.stop),
                (&mut tx.wake, of_tx.wake),
            ] {
                *sum = sum.zip(of).map(|(sum, of)| sum + of);
            }
        }
        (rx, tx)
    }
}

fn zero_rx() -> net::RxStats {
    net::RxStats {
        packets: Some(0),
        bytes: Some(0),
        alloc_fail: Some(0),
        hw_gro_packets: Some(0),
        ..net::RxStats::default()
    }
}

fn zero_tx() -> net::TxStats {
    net::TxStats {
        packets: Some(0),
        bytes: Some(0),
        hw_gso_packets: Some(0),
        stop: Some(0),
        wake: Some(0),
        ..net::TxStats::default()
    }
}
