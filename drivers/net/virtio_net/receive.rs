// SPDX-License-Identifier: GPL-2.0

//! Frames from the device.
//!
//! A queue belongs to whoever polls it. Its buffers are pieces of pages, which become part of the
//! `sk_buff`: what is not longer than a piece is never copied. At the end of each piece is room for
//! what the kernel keeps there, which the device is not told of.

use super::{
    offload,
    operations::Nic,
    stats::RxStats, //
};
use kernel::{
    cpumask::Cpumask,
    prelude::*, //
};
use kernel_ext::{
    net::{
        Chain,
        PagePool,
        PagePoolOptions,
        Piece,
        Poll,
        SkBuff,
        SHARED_INFO, //
    },
    virtio::{
        Buffer,
        Context,
        Pieces,
        RxBuffer,
        RxSlot,
        Virtqueue, //
    },
};
use virtio_wire::net::{
    Header,
    HeaderError,
    RxRules,
    ETHERNET_HEADER, //
};

/// Half a page is enough for a frame of the usual MTU.
const HALF: u32 = 2048;

/// A page.
pub(crate) const WHOLE: u32 = 4096;

/// If the device puts frames together, a piece is 2 to the power of this pages,
const LONG_ORDER: u32 = 2;
const LONG: u32 = WHOLE << LONG_ORDER;

/// for frames that are longer than this on average,
const LONG_FROM: u32 = LONG / 2;

/// and a ring has so many of them at most, which is enough.
const LONG_PLACES: u32 = 128;

/// How many buffers are taken out of a ring at most before it is filled again.
const LAG: u32 = 32;

/// Frames weigh one in so many in the average of their lengths.
const WEIGHT: u32 = 64;

/// The queue for frames from the device.
pub(crate) type Ring<'bound, const N: usize> = Virtqueue<'bound, RxBuffer<'bound, N>>;

/// The most pieces of a buffer for frames that may be longer than one.
pub(crate) const PIECES: usize = 18;

/// What is the same for all queues of a device.
#[derive(Clone, Copy)]
pub(crate) struct RxSettings {
    pub(crate) rules: RxRules,
    /// How long a frame may be.
    pub(crate) longest: u32,
}

impl RxSettings {
    /// Returns how many bytes of memory the longest frame takes.
    fn needed(&self) -> u32 {
        u32::try_from(self.rules.kind().length()).unwrap_or(0) + self.longest
    }

    /// Returns how many pieces of a size the longest frame takes. A device may wait until a ring has as
    /// many, and take nothing else meanwhile.
    pub(crate) fn pieces(&self, size: u32) -> u32 {
        self.needed().div_ceil(size - SHARED_INFO)
    }
}

/// One queue, in the mode of the device.
pub(crate) enum Rx<'bound> {
    /// Frames are in one piece, or in as many as it takes.
    Single(RxQueue<'bound, 1>),
    /// Each buffer has room for the longest frame.
    Big(RxQueue<'bound, PIECES>),
}

/// One queue.
pub(crate) struct RxQueue<'bound, const N: usize> {
    ring: Option<Ring<'bound, N>>,
    store: Option<Store<'bound, N>>,
    /// For long frames, if there can be any.
    long: Option<Store<'bound, N>>,
    settings: RxSettings,
    /// How long pieces are at least.
    least: u32,
    /// The average length of frames, times [`WEIGHT`].
    average: u32,
}

/// Where memory comes from.
struct Store<'bound, const N: usize> {
    pool: PagePool<'bound>,
    /// Buffers without memory. There is room for all that there are.
    slots: KVec<RxSlot<'bound, N>>,
}

impl<'bound, const N: usize> Store<'bound, N> {
    /// Makes as many buffers as there are places.
    fn new(ring: &Ring<'bound, N>, places: u32, order: u32) -> Result<Self> {
        let pool = ring.page_pool(PagePoolOptions::new(places).order(order))?;
        let mut slots = KVec::with_capacity(usize::try_from(places)?, GFP_KERNEL)?;
        for _ in 0..places {
            slots.push(RxSlot::new(&pool, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self { pool, slots })
    }

    #[inline(never)]
    fn fill_long(&mut self, ring: &mut Ring<'bound, N>, needed: u32, context: Context) -> bool {
        self.fill(ring, LONG, needed, context)
    }

    /// Adds buffers of pieces of a size, as long as there are any, and room in the ring. Returns whether
    /// there was enough memory.
    #[inline(always)]
    fn fill(
        &mut self,
        ring: &mut Ring<'bound, N>,
        size: u32,
        needed: u32,
        context: Context,
    ) -> bool {
        let Self { pool, slots } = self;
        for _ in 0..ring.free() {
            let Some(slot) = slots.pop() else {
                break;
            };
            let buffer = if N > 1 {
                slot.fill_all(Filler {
                    pool,
                    size,
                    left: needed,
                    is_first: true,
                })
            } else {
                match first_piece(pool, size) {
                    Some(piece) => slot.fill(piece).map_err(|(slot, _)| slot),
                    None => Err(slot),
                }
            };
            let buffer = match buffer {
                Ok(buffer) => buffer,
                Err(slot) => {
                    keep(slots, slot);
                    return false;
                }
            };
            // A buffer that has too little room is not added: the device may count on more.
            if N > 1 && buffer.writable_len() < needed {
                keep(slots, buffer.cancel().0);
                return false;
            }
            if let Err(error) = ring.add(buffer, context) {
                keep(slots, error.buffer.cancel().0);
                break;
            }
        }
        true
    }
}

/// Why a frame was dropped.
pub(crate) enum Bad {
    Header,
    Length,
    Buffers,
    NoMemory,
}

impl From<HeaderError> for Bad {
    fn from(error: HeaderError) -> Self {
        match error {
            HeaderError::NoBuffers | HeaderError::TooManyBuffers(_) => Self::Buffers,
            HeaderError::FrameTooShort(_) | HeaderError::Truncated(_) => Self::Length,
            _ => Self::Header,
        }
    }
}

impl<'bound, const N: usize> RxQueue<'bound, N> {
    pub(crate) fn new(settings: RxSettings) -> Self {
        Self {
            ring: None,
            store: None,
            long: None,
            settings,
            least: WHOLE,
            average: 0,
        }
    }

    /// Gives the queue a ring, which is empty.
    pub(crate) fn set_ring(&mut self, ring: Ring<'bound, N>) -> Result {
        let size = ring.size();
        self.least = if N > 1 || size < self.settings.pieces(HALF) {
            WHOLE
        } else {
            HALF
        };
        self.store = Some(Store::new(&ring, size, 0)?);
        self.long = if N == 1 && self.settings.longest > LONG {
            Some(Store::new(&ring, size.min(LONG_PLACES), LONG_ORDER)?)
        } else {
            None
        };
        self.ring = Some(ring);
        Ok(())
    }

    /// Changes how many places the ring has. The buffers that were in it are made again.
    pub(crate) fn resize(&mut self, size: u32) -> Result {
        let mut ring = self.ring.take().ok_or(ENETDOWN)?;
        let result = ring.resize(size, drop);
        if ring.outstanding() > 0 {
            // It was not reset, and a slot takes pieces of its own pool only.
            self.ring = Some(ring);
            return result;
        }
        self.set_ring(ring)?;
        result
    }

    /// Asks for the interrupts to go to these CPUs.
    pub(crate) fn set_affinity(&mut self, cpus: &Cpumask) -> Result {
        let ring = self.ring.as_mut();
        ring.map_or(Ok(()), |ring| ring.set_affinity(cpus))
    }

    /// Drops what the device had, after it was reset.
    pub(crate) fn drain(&mut self) -> Result {
        let result = self.ring.take().map_or(Ok(()), |mut ring| ring.drain(drop));
        self.store = None;
        self.long = None;
        result
    }

    /// Returns how long frames are on average.
    fn average(&self) -> u32 {
        self.average / WEIGHT
    }

    /// Returns how long pieces are, but for long frames.
    fn piece(&self) -> u32 {
        if self.average() > HALF - SHARED_INFO {
            WHOLE
        } else {
            self.least
        }
    }

    /// Adds buffers until the ring is full, or has enough. Returns whether there was enough memory.
    pub(crate) fn fill(&mut self, stats: &RxStats, context: Context) -> bool {
        let size = self.piece();
        let needed = self.settings.needed();
        let is_long = self.average() > LONG_FROM;
        let (Some(ring), Some(store)) = (&mut self.ring, &mut self.store) else {
            return true;
        };
        let before = ring.outstanding();
        let long = self.long.as_mut().filter(|_| is_long);
        // If there is none of that, single pages are better than nothing.
        let enough = long.is_some_and(|long| long.fill_long(ring, needed, context))
            || store.fill(ring, size, needed, context);
        if ring.outstanding() > before && ring.kick() {
            stats.kicks.increment();
        }
        enough
    }

    /// Takes what the device has used, and gives it to the kernel. Returns how many frames there
    /// were, and whether there was enough memory for the ring.
    // The stack of one mode is not that of the other, too.
    #[inline(never)]
    pub(crate) fn poll(
        &mut self,
        stats: &RxStats,
        poll: &mut Poll<'_, '_, Nic>,
    ) -> Result<(u32, bool)> {
        let mut before = 0;
        if let Some(ring) = &mut self.ring {
            ring.disable_callback();
            before = ring.outstanding();
        }
        let mut count = 0;
        let mut bytes = 0u64;
        while count < poll.budget() {
            let Some(used) = self.pop()? else {
                break;
            };
            count += 1;
            match self.frame(used, stats) {
                Ok(skb) => {
                    let length = skb.len();
                    self.average = self.average - self.average / WEIGHT + length;
                    if poll.receive(skb).is_ok() {
                        bytes += u64::from(length);
                    } else {
                        stats.drop_for(&Bad::Length);
                    }
                }
                Err(bad) => stats.drop_for(&bad),
            }
        }
        stats.packets.add(count.into());
        stats.bytes.add(bytes);
        let after = self.ring.as_ref().map_or(0, Ring::outstanding);
        stats.buffers.add(before.saturating_sub(after).into());

        let idle = count < poll.budget();
        let mut enough = true;
        if idle || self.ring.as_ref().is_some_and(|ring| ring.free() >= LAG) {
            enough = self.fill(stats, Context::Atomic);
        }
        if idle && poll.complete(count) {
            if let Some(ring) = &mut self.ring {
                if ring.enable_callback() {
                    ring.disable_callback();
                    poll.again();
                }
            }
        }
        Ok((count, enough))
    }

    /// Takes another buffer of a frame. Most frames have one only.
    #[inline(never)]
    fn pop_more(&mut self) -> Result<Option<(Pieces<N>, u32)>> {
        self.pop()
    }

    #[inline(always)]
    fn pop(&mut self) -> Result<Option<(Pieces<N>, u32)>> {
        let Some(ring) = &mut self.ring else {
            return Ok(None);
        };
        let Some(used) = ring.pop()? else {
            return Ok(None);
        };
        let (slot, pieces, written) = used.take();
        match (&mut self.long, &mut self.store) {
            (Some(long), _) if slot.is_of(&long.pool) => keep(&mut long.slots, slot),
            (_, Some(store)) => keep(&mut store.slots, slot),
            _ => {}
        }
        Ok(Some((pieces, written)))
    }

    /// Puts a frame together.
    #[inline(always)]
    fn frame(&mut self, used: (Pieces<N>, u32), stats: &RxStats) -> Result<SkBuff, Bad> {
        let rules = self.settings.rules;
        let kind = rules.kind();
        let before = u32::try_from(kind.length()).unwrap_or(u32::MAX);
        let (pieces, written) = used;
        let mut pieces = pieces.into_iter();
        let first = pieces.next().ok_or(Bad::Length)?;

        // Any header is shorter than a piece, and what is behind it does not matter.
        let mut bytes = [0; Header::SIZE];
        // Without its header, one cannot tell which buffers belong to it.
        if written < before + ETHERNET_HEADER || first.read(0, &mut bytes).is_err() {
            return Err(Bad::Length);
        }
        let header = Header::from_longest(kind, &bytes);

        let in_first = written.min(first.length());
        let head = SkBuff::build(first.into_frag(), before, in_first - before);
        let mut chain = Chain::new(head.map_err(|_| Bad::NoMemory)?);
        // The compiler sees that there is nothing left otherwise.
        if N > 1 {
            let mut left = written - in_first;
            for piece in pieces {
                let part = left.min(piece.length());
                if part == 0 {
                    break;
                }
                add(&mut chain, piece, part)?;
                left -= part;
            }
        }

        let others = self.ring.as_ref().map_or(0, Ring::outstanding);
        for _ in 1..rules.buffers(&header, others.saturating_add(1))?.get() {
            let Ok(Some((pieces, written))) = self.pop_more() else {
                return Err(Bad::Buffers);
            };
            let piece = pieces.into_iter().next().ok_or(Bad::Length)?;
            add(&mut chain, piece, written)?;
        }
        let mut skb = chain.finish().map_err(|_| Bad::NoMemory)?;

        let length = skb.len();
        if length > self.settings.longest {
            return Err(Bad::Length);
        }
        let receive = rules.check(&header, length)?;
        offload::receive(&mut skb, &receive).map_err(|_| Bad::Length)?;
        if receive.offload.gso.is_some() {
            stats.gso_packets.increment();
        }
        Ok(skb)
    }
}

/// Makes pieces for a buffer of several, until there is enough room.
struct Filler<'a, 'bound> {
    pool: &'a mut PagePool<'bound>,
    size: u32,
    left: u32,
    is_first: bool,
}

impl Iterator for Filler<'_, '_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        if self.left == 0 {
            return None;
        }
        let piece = if core::mem::take(&mut self.is_first) {
            first_piece(self.pool, self.size)
        } else {
            let frag = self.pool.alloc(self.size)?;
            let length = frag.capacity();
            Piece::new(frag, 0, length).ok()
        }?;
        self.left = self.left.saturating_sub(piece.length());
        Some(piece)
    }
}

/// Makes a piece that the kernel keeps something behind.
#[inline(always)]
fn first_piece(pool: &mut PagePool<'_>, size: u32) -> Option<Piece> {
    let frag = pool.alloc(size)?;
    let length = frag.capacity().checked_sub(SHARED_INFO)?;
    Piece::new(frag, 0, length).ok()
}

/// Keeps a slot. There is room for all that there are.
fn keep<T>(slots: &mut KVec<T>, slot: T) {
    let _ = slots.push_within_capacity(slot);
}

/// Adds what is in a piece to a frame.
fn add(chain: &mut Chain, piece: Piece, length: u32) -> Result<(), Bad> {
    let offset = piece.offset();
    let added = chain.add_frag(piece.into_frag(), offset, length);
    added.map_err(|_| Bad::NoMemory)
}
