// SPDX-License-Identifier: GPL-2.0

//! Frames to the device.
//!
//! A queue is used with the lock that the core has for it: while it transmits, and when frames come
//! back.

use super::{
    offload,
    stats::TxStats, //
};
use kernel::prelude::*;
use kernel_ext::{
    net::{
        More,
        ScatterTable,
        SkBuff,
        TxQueue, //
    },
    virtio::{
        AddError,
        Context,
        HeaderPlace,
        TxFrame,
        Virtqueue, //
    },
};
use virtio_wire::net::{
    Header,
    TxRules, //
};

/// How many places a frame may take.
pub(crate) const ROOM: u32 = ScatterTable::SIZE;

/// The queue for frames to the device.
pub(crate) type Ring<'bound> = Virtqueue<'bound, TxFrame>;

/// What is the same for all queues of a device.
#[derive(Clone, Copy)]
pub(crate) struct TxSettings {
    pub(crate) rules: TxRules,
    /// Where the header may be.
    pub(crate) place: HeaderPlace,
    /// Whether the device interrupts for frames that it has sent.
    pub(crate) interrupts: bool,
}

/// One queue.
pub(crate) struct Tx<'bound> {
    ring: Option<Ring<'bound>>,
    table: ScatterTable,
    settings: TxSettings,
    /// Whether the device can be told not to interrupt for those before while another frame is sent.
    defers: bool,
    /// How many frames the device has to have for an interrupt to be asked for anew: one comes when it
    /// has sent most of those that it had then. Zero if none was asked for.
    due: u16,
}

/// Why a frame was not sent.
enum Refused {
    /// It is gone: nobody can send it.
    Dropped,
    /// The ring is broken.
    Broken,
}

impl<'bound> Tx<'bound> {
    pub(crate) fn new(ring: Ring<'bound>, settings: TxSettings) -> Result<Self> {
        let mut this = Self {
            ring: None,
            table: ScatterTable::new(GFP_KERNEL)?,
            settings,
            defers: false,
            due: 0,
        };
        this.set_ring(ring);
        Ok(this)
    }

    /// Gives the queue a ring, which is empty.
    pub(crate) fn set_ring(&mut self, mut ring: Ring<'bound>) {
        self.defers = self.settings.interrupts && ring.can_defer_callback();
        ring.disable_callback();
        self.ring = Some(ring);
        self.due = 0;
    }

    /// Has the device interrupt when it has sent frames, or not. The queue must be empty.
    pub(crate) fn set_interrupts(&mut self, on: bool) {
        self.settings.interrupts = on;
        if let Some(ring) = self.take_ring() {
            self.set_ring(ring);
        }
    }

    /// Tells whether the device has no frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.outstanding() == 0
    }

    /// Returns how many frames the device has.
    #[inline]
    fn outstanding(&self) -> u16 {
        self.ring.as_ref().map_or(0, |ring| ring.outstanding())
    }

    /// Takes the ring out.
    pub(crate) fn take_ring(&mut self) -> Option<Ring<'bound>> {
        self.ring.take()
    }

    /// Sends a frame, or drops it. Tells whether the device has failed.
    #[inline(always)]
    pub(crate) fn send(
        &mut self,
        queue: TxQueue<'_>,
        stats: &TxStats,
        skb: SkBuff,
        more: More,
    ) -> Result {
        if self.settings.interrupts {
            self.defer();
        } else {
            // Otherwise that is left to whoever polls, as long as there is room.
            self.reclaim(queue, stats)?;
        }
        let length = skb.len();
        let result = self.add(skb, stats);
        if let Err(refused) = result {
            return self.refuse(refused, queue, stats, more);
        }
        let Some(ring) = &self.ring else {
            return Ok(());
        };

        let mut kick = if self.settings.interrupts {
            queue.sent(length, more)
        } else {
            more == More::No
        };
        let full = ring.free() < ROOM && !self.make_room(queue, stats)?;
        if full {
            queue.stop();
            stats.stops.increment();
            kick = true;
        }
        if !kick {
            return Ok(());
        }
        if self.kick(stats) || full {
            self.ask(queue, stats)?;
        }
        Ok(())
    }

    /// Asks for an interrupt when the device has sent most of what it has.
    #[inline]
    fn ask(&mut self, queue: TxQueue<'_>, stats: &TxStats) -> Result {
        // If it has sent so much by now, it may not interrupt for that.
        while self.enable_callback() {
            self.reclaim(queue, stats)?;
        }
        Ok(())
    }

    /// Counts a frame that was not sent.
    #[cold]
    fn refuse(
        &mut self,
        refused: Refused,
        queue: TxQueue<'_>,
        stats: &TxStats,
        more: More,
    ) -> Result {
        stats.drops.increment();
        match refused {
            Refused::Broken => Err(EIO),
            // Those before are not followed by anything now.
            Refused::Dropped if more == More::No => {
                self.kick(stats);
                if self.settings.interrupts {
                    self.ask(queue, stats)?;
                }
                Ok(())
            }
            Refused::Dropped => Ok(()),
        }
    }

    /// Tells the device of what was added. Tells whether an interrupt is to be asked for.
    #[inline(always)]
    fn kick(&mut self, stats: &TxStats) -> bool {
        let Some(ring) = &mut self.ring else {
            return false;
        };
        if let Some(notification) = ring.kick_prepare() {
            // It may send all of it right now: that is seen without an interrupt.
            self.mask();
            notification.send();
            stats.kicks.increment();
            return self.settings.interrupts;
        }
        !self.defers && self.is_due()
    }

    /// Tells whether an interrupt is to be asked for of a device that cannot be told when: whenever
    /// it has twice as many frames as the last time, so that it does not cost much.
    #[cold]
    fn is_due(&self) -> bool {
        self.settings.interrupts && self.outstanding() >= self.due
    }

    /// Tells whether there is room once what the device has sent is taken back.
    #[inline(never)]
    fn make_room(&mut self, queue: TxQueue<'_>, stats: &TxStats) -> Result<bool> {
        self.mask();
        self.reclaim(queue, stats)?;
        self.defer();
        Ok(self.ring.as_ref().is_some_and(|ring| ring.free() >= ROOM))
    }

    /// Has the device not interrupt, until somebody asks for it.
    #[inline(always)]
    fn mask(&mut self) {
        if let Some(ring) = &mut self.ring {
            ring.disable_callback();
        }
        self.due = 0;
    }

    /// Has the device interrupt for the frame that it is told of next, and not for those before.
    #[inline(always)]
    fn defer(&mut self) {
        let Some(ring) = &mut self.ring else {
            return;
        };
        if self.defers {
            ring.defer_callback();
        }
    }

    #[inline(always)]
    fn add(&mut self, mut skb: SkBuff, stats: &TxStats) -> Result<(), Refused> {
        let Some(ring) = &mut self.ring else {
            return Err(Refused::Dropped);
        };
        let rules = &self.settings.rules;
        let mut header = [0; Header::SIZE];
        // All else is about frames with such a checksum.
        if skb.has_partial_checksum() {
            describe(rules, &skb, &mut header, stats)?;
        }
        let Some(header) = header.get(..rules.kind().length()) else {
            return Err(Refused::Dropped);
        };
        skb.timestamp_tx();
        if !self.settings.interrupts {
            // It may be long until it comes back.
            skb.orphan();
            skb.reset_conntrack();
        }

        let frame = TxFrame::new(skb, header, self.settings.place);
        let frame = frame.map_err(|_| Refused::Dropped)?;
        match ring.add_listed(frame, &mut self.table, Context::Atomic) {
            Ok(()) => Ok(()),
            Err(error) => self.add_linear(error, header),
        }
    }

    /// Adds a frame in one place, if it was in too many.
    #[cold]
    fn add_linear(&mut self, error: AddError<TxFrame>, header: &[u8]) -> Result<(), Refused> {
        let Some(ring) = &mut self.ring else {
            return Err(Refused::Dropped);
        };
        let mut error = error;
        if error.error == EMSGSIZE {
            let mut skb = error.buffer.into_skb();
            skb.linearize().map_err(|_| Refused::Dropped)?;
            let frame = TxFrame::new(skb, header, self.settings.place);
            let frame = frame.map_err(|_| Refused::Dropped)?;
            match ring.add_listed(frame, &mut self.table, Context::Atomic) {
                Ok(()) => return Ok(()),
                Err(again) => error = again,
            }
        }
        Err(if error.error == EIO {
            Refused::Broken
        } else {
            Refused::Dropped
        })
    }

    /// Takes back what the device has sent.
    pub(crate) fn reclaim(&mut self, queue: TxQueue<'_>, stats: &TxStats) -> Result {
        let Some(ring) = &mut self.ring else {
            return Ok(());
        };
        if ring.outstanding() == 0 {
            return Ok(());
        }
        let mut packets = 0;
        let mut bytes = 0;
        let mut result = Ok(());
        loop {
            match ring.pop() {
                Ok(Some(used)) => {
                    let skb = used.buffer.into_skb();
                    packets += 1;
                    bytes += skb.len();
                    skb.consume();
                }
                Ok(None) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        if packets == 0 {
            return result;
        }
        stats.packets.add(packets.into());
        stats.bytes.add(bytes.into());
        if self.settings.interrupts {
            queue.completed(packets, bytes);
        }
        if queue.is_stopped() && ring.free() >= ROOM {
            queue.wake();
            stats.wakes.increment();
        }
        result
    }

    /// Takes back what the device has sent, and lets it not interrupt. Tells whether there was
    /// anything.
    pub(crate) fn take_back(&mut self, queue: TxQueue<'_>, stats: &TxStats) -> Result<bool> {
        self.mask();
        let before = self.outstanding();
        self.reclaim(queue, stats)?;
        Ok(self.outstanding() < before)
    }

    /// Asks for an interrupt when the device has sent most of what it has, if it ever is to interrupt
    /// for that. Tells whether it has done so already.
    pub(crate) fn arm(&mut self) -> bool {
        self.settings.interrupts && self.enable_callback()
    }

    fn enable_callback(&mut self) -> bool {
        let Some(ring) = &mut self.ring else {
            return false;
        };
        let outstanding = ring.outstanding();
        if outstanding == 0 {
            return false;
        }
        self.due = outstanding.saturating_mul(2);
        ring.enable_callback_delayed()
    }
}

/// Writes the header of a frame that the device has something left to do for.
#[inline(never)]
fn describe(
    rules: &TxRules,
    skb: &SkBuff,
    bytes: &mut [u8; Header::SIZE],
    stats: &TxStats,
) -> Result<(), Refused> {
    let Some(transmit) = offload::transmit(skb) else {
        return Ok(());
    };
    let header = rules.build(&transmit, skb.len());
    let header = header.map_err(|_| Refused::Dropped)?;
    // There is room for any kind.
    let _ = header.write(rules.kind(), bytes);
    if transmit.offload.gso.is_some() {
        stats.gso_packets.increment();
    }
    Ok(())
}
