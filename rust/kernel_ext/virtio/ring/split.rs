// SPDX-License-Identifier: GPL-2.0

//! A split ring that is driven here, not by the core.
//!
//! The core makes the queue, and finds its place and its interrupt; it notifies the device, knows
//! whether the queue is broken, resets it, and deletes it. Between these, it does not touch the ring.
//!
//! What is different: buffers are told to the device when it is kicked, all at once; `used_event` is
//! followed by a barrier when nothing is left to take, not after each buffer; chains go into the ring
//! and out of it in one pass; and no descriptor is ever read.

use super::{
    super::{
        buffer::Parts,
        outcome::Context, //
    },
    barrier,
    chain::{
        Chain,
        Mapped,
        Plain, //
    },
    decoy::Decoy,
    element::{
        self,
        Mapper,
        Mapping, //
    },
    handle::Handle,
    memory::Memory,
    places::{
        Growing,
        NotUsed,
        Places, //
    },
    table::{
        Count,
        Table, //
    },
    tables::Tables,
    Chains,
    Drives,
    Fault,
    Interrupts, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;
use virtio_wire::ring::split::{
    need_event,
    Index,
    Suppression,
    NO_INTERRUPT, //
};

/// A split ring.
///
/// # Invariants
///
/// - `vq` is a queue of the core with a split ring and `VIRTIO_F_VERSION_1`, but without features
///   that this does not know; it is valid as long as the user of this keeps it, who does not ask the
///   core to take anything from it.
/// - The memory is that of the queue.
/// - Each head in `places` belongs to a buffer that was given up, and the mappings of its descriptors,
///   and its table, are its own.
pub(in crate::virtio) struct Split {
    vq: Handle,
    memory: Memory,
    places: Places,
    mapper: Mapper,
    /// What has to be unmapped, by descriptors; empty if there are no mappings.
    mappings: KVVec<Option<Mapping>>,
    tables: Tables<Table>,
    /// How many descriptors buffers leave free that need neither a mapping nor a table, and whether all
    /// that are there are like that.
    floor: u16,
    is_plain: bool,
    /// Nothing while the core resets the queue.
    decoy: Option<Decoy>,
    has_event: bool,
    interrupts: Interrupts,
    /// How far buffers were added, how far the device was told, how far it has used them as was last
    /// seen, and how far they were taken.
    added: Index,
    told: Index,
    seen: Index,
    taken: Index,
    /// When the device should interrupt.
    event: Index,
}

/// The room for the private state of a ring.
pub(in crate::virtio) struct Room {
    places: Places,
    mappings: KVVec<Option<Mapping>>,
    tables: Tables<Table>,
}

impl Room {
    fn new(size: u16, mapper: &Mapper, chains: Chains) -> Result<Self> {
        let mapped = if mapper.translates() { size } else { 0 };
        Ok(Self {
            places: Places::new(size)?,
            mappings: KVVec::from_elem(None, mapped.into(), GFP_KERNEL)?,
            tables: Tables::new(size, chains)?,
        })
    }
}

/// Returns the ring of a queue.
///
/// # Safety
///
/// `vq` must be valid, and have a split ring.
unsafe fn vring(vq: Handle) -> Result<NonNull<bindings::vring>> {
    // SAFETY: By the safety requirements.
    let vring = unsafe { bindings::virtqueue_get_vring(vq.as_ptr()) };
    // CAST: It is a field of a structure that the core has allocated.
    NonNull::new(vring.cast_mut()).ok_or(EINVAL)
}

impl Split {
    /// Takes over the ring of a queue.
    ///
    /// # Safety
    ///
    /// - `vq` must be valid as long as the result is used, and have the features of the type invariant.
    /// - Nothing has been added to it, and the core must not be asked to add or take anything, or to
    ///   reset it, except between [`Split::release`] and [`Split::take_over`].
    pub(super) unsafe fn new(
        vq: NonNull<bindings::virtqueue>,
        chains: Chains,
        has_event: bool,
    ) -> Result<Self> {
        // SAFETY: By the safety requirements.
        let handle = unsafe { Handle::new(vq) };
        // SAFETY: By the safety requirements.
        let ring = unsafe { vring(handle) }?;
        // SAFETY: It is valid, and while it is read, nobody writes it.
        let parts = unsafe { ring.as_ref() };
        // SAFETY: As above; with `VIRTIO_F_VERSION_1`, integers are little-endian.
        let memory = unsafe { Memory::new(parts) }?;
        // SAFETY: By the safety requirements.
        let mapper = unsafe { Mapper::new(vq) };
        let Room {
            places,
            mappings,
            tables,
        } = Room::new(memory.size(), &mapper, chains)?;
        let is_plain = mappings.is_empty();
        let floor = if is_plain { tables.floor() } else { u16::MAX };
        // INVARIANT: By the safety requirements. There are no heads yet.
        let mut this = Self {
            vq: handle,
            memory,
            places,
            mapper,
            mappings,
            tables,
            floor,
            is_plain,
            // SAFETY: By the safety requirements.
            decoy: Some(unsafe { Decoy::of_used(ring) }),
            has_event,
            interrupts: Interrupts::Off,
            added: Index::new(0),
            told: Index::new(0),
            seen: Index::new(0),
            taken: Index::new(0),
            event: Index::new(0),
        };
        this.start();
        Ok(this)
    }

    /// Begins with a ring in which nothing has happened yet.
    fn start(&mut self) {
        for index in [
            &mut self.added,
            &mut self.told,
            &mut self.seen,
            &mut self.taken,
            &mut self.event,
        ] {
            *index = Index::new(0);
        }
        self.interrupts = Interrupts::On;
        if !self.vq.is_heard() {
            self.disable_callback();
        }
    }

    /// Gives a chain to the device, which is yet to be told of it.
    #[inline(always)]
    fn give(&mut self, chain: Growing, token: NonNull<c_void>) {
        let head = chain.head();
        self.places.give(chain, token);
        self.memory.set_available(self.added, head);
        self.added = self.added.plus(1);
    }

    /// Adds a buffer that needs a table, or a mapping.
    ///
    /// # Safety
    ///
    /// As for [`Drives::add`].
    #[inline(never)]
    unsafe fn add_other(
        &mut self,
        parts: &Parts,
        token: NonNull<c_void>,
        context: Context,
    ) -> Result {
        // SAFETY: By the safety requirements.
        let chain = unsafe { self.make_other(parts, context) }?;
        self.give(chain, token);
        Ok(())
    }

    /// Puts the elements of a buffer into the ring, or into a table, if that suits it, and there is
    /// memory.
    ///
    /// # Safety
    ///
    /// The parts must be those of a buffer that was given up.
    unsafe fn make_other(&mut self, parts: &Parts, context: Context) -> Result<Growing> {
        if self.tables.chains() != Chains::InRing {
            let mut count = Count(0);
            // SAFETY: By the safety requirements.
            unsafe { element::for_each(parts, &mut count) }?;
            // SAFETY: By the safety requirements.
            let make = || unsafe { Table::new(parts, count.0, &self.mapper, context.flags()) };
            let suits = self.tables.suits(count.0, self.places.free());
            if let Some(Ok((table, descriptor))) = suits.then(make) {
                let mut chain = self.places.grow(0);
                let (number, _) = self.places.extend(&mut chain)?;
                self.memory.set_descriptor(number, descriptor);
                self.tables.keep(number, table);
                self.is_plain = false;
                return Ok(chain);
            }
        }
        let mut chain = Mapped {
            chain: Chain::new(&self.memory, &self.places, 0),
            mapper: &self.mapper,
            mappings: &mut self.mappings,
        };
        // SAFETY: By the safety requirements.
        let added = unsafe { element::for_each(parts, &mut chain) };
        if let Err(error) = added {
            let chain = chain.chain.give_up();
            // SAFETY: The device was not told of them.
            unsafe { self.unmap(chain.head(), chain.count()) };
            return Err(error);
        }
        Ok(chain.chain.end())
    }

    /// Ends the mappings of a chain.
    ///
    /// # Safety
    ///
    /// The device must not use them any more.
    #[inline(never)]
    unsafe fn unmap(&mut self, head: u16, count: u16) {
        let mut number = head;
        for _ in 0..count {
            let mapping = self.mappings.get_mut(usize::from(number));
            if let Some(mapping) = mapping.and_then(Option::take) {
                // SAFETY: By the type invariant, it is that of the buffer, and it was taken out. By
                // the safety requirements, the device does not use it.
                unsafe { self.mapper.unmap(mapping) };
            }
            number = self.places.next(number);
        }
    }

    /// Takes a chain from the device, that says it has used it.
    ///
    /// # Safety
    ///
    /// The device must not use it any more, as far as one can know.
    #[inline(never)]
    unsafe fn take_other(&mut self, id: u32) -> Result<NonNull<c_void>, NotUsed> {
        let head = self.places.check(id)?;
        // SAFETY: By the safety requirements.
        unsafe { self.unmap(head, self.places.count(head)) };
        if let Some(table) = self.tables.take(head) {
            // SAFETY: By the safety requirements.
            unsafe { table.end(&self.mapper) };
        }
        self.is_plain = self.mappings.is_empty() && self.tables.is_unused();
        Ok(self.places.take(id)?.0)
    }

    /// As above.
    ///
    /// # Safety
    ///
    /// As above.
    #[inline(always)]
    unsafe fn take_chain(&mut self, id: u32) -> Result<NonNull<c_void>, NotUsed> {
        if self.is_plain {
            return Ok(self.places.take(id)?.0);
        }
        // SAFETY: By the safety requirements.
        unsafe { self.take_other(id) }
    }

    /// Tells the device of the buffers that were added. Returns whether it wants to be notified.
    #[inline(always)]
    pub(super) fn kick_prepare(&mut self) -> bool {
        let (old, new) = (self.told, self.added);
        if old == new {
            return false;
        }
        // The device sees the buffers before the index.
        barrier::write();
        self.memory.set_available_index(new);
        self.told = new;
        self.places.tell();
        // It sees the index before it says that it is notified of it.
        barrier::full();
        let suppression = if self.has_event {
            Suppression::Event(self.memory.available_event())
        } else {
            Suppression::Flags(self.memory.used_flags())
        };
        suppression.notifies(old, new)
    }

    /// Looks how far the device is, when everything that was seen is taken. Returns whether there is
    /// more.
    #[inline(always)]
    fn look(&mut self) -> Result<bool, Fault> {
        let mut used = self.memory.used_index();
        if used == self.taken && self.interrupts == Interrupts::On {
            // The device sees `used_event` before one looks for the last time.
            barrier::full();
            self.interrupts = Interrupts::Settled;
            used = self.memory.used_index();
        }
        if used == self.taken {
            // What was used before the queue broke is as good as ever.
            return if self.vq.is_broken() {
                Err(Fault::Broken)
            } else {
                Ok(false)
            };
        }
        if used.since(self.taken) > self.told.since(self.taken) {
            return Err(Fault::TooMany(None));
        }
        // The entries were written before the index.
        barrier::read();
        self.seen = used;
        Ok(true)
    }

    /// Sets when the device should interrupt, if it can be told like that.
    #[inline(always)]
    fn set_event(&mut self, event: Index) {
        if self.has_event {
            self.event = event;
            self.memory.set_used_event(event);
        }
    }

    /// Asks the device not to interrupt.
    #[inline(always)]
    pub(super) fn disable_callback(&mut self) {
        if self.interrupts == Interrupts::Off {
            return;
        }
        self.interrupts = Interrupts::Off;
        if !self.has_event {
            self.memory.set_available_flags(NO_INTERRUPT);
        } else if !need_event(self.event, self.memory.used_index(), self.taken) {
            // It has not come there yet. What is behind it, it does not reach for long.
            self.set_event(self.taken.plus(u16::MAX));
        }
    }

    /// Asks the device to interrupt at `event`.
    #[inline(always)]
    fn enable_callback_at(&mut self, event: Index) {
        if self.interrupts == Interrupts::Off && !self.has_event {
            self.memory.set_available_flags(0);
        }
        self.interrupts = Interrupts::On;
        self.set_event(event);
    }

    /// Asks the device to interrupt for the next buffer. Returns whether it has used one already.
    #[inline(always)]
    pub(super) fn enable_callback(&mut self) -> bool {
        self.enable_callback_at(self.taken);
        barrier::full();
        self.interrupts = Interrupts::Settled;
        // If the queue is broken, who looks for what was used finds out.
        self.memory.used_index() != self.taken
    }

    /// Asks the device to interrupt for the next buffer. Returns how far it was.
    #[inline(always)]
    pub(super) fn enable_callback_prepare(&mut self) -> u32 {
        self.enable_callback_at(self.taken);
        self.taken.get().into()
    }

    /// Asks the device to interrupt when it has used most of what it has. Returns whether it has used
    /// that already.
    pub(super) fn enable_callback_delayed(&mut self) -> bool {
        let outstanding = self.added.since(self.taken);
        let most = outstanding.wrapping_sub(outstanding.div_ceil(4));
        self.enable_callback_at(self.taken.plus(most));
        barrier::full();
        self.interrupts = Interrupts::Ahead;
        self.memory.used_index().since(self.taken) > most && !self.vq.is_broken()
    }

    /// Asks the device to interrupt when it has used the first of the buffers of which it is told next.
    #[inline(always)]
    pub(super) fn defer_callback(&mut self) {
        // Of the others of a batch, it is told with the first one.
        let is_first = self.told == self.added || self.interrupts == Interrupts::Off;
        if is_first && self.can_defer_callback() {
            // It sees that before it sees them.
            self.enable_callback_at(self.told);
            self.interrupts = Interrupts::Ahead;
        }
    }

    /// Tells whether the device can be told that.
    #[inline(always)]
    pub(super) fn can_defer_callback(&self) -> bool {
        self.has_event
    }

    /// Tells whether the device has used a buffer since then.
    #[inline(always)]
    pub(super) fn has_used_since(&self, progress: u32) -> bool {
        if self.vq.is_broken() {
            return false;
        }
        barrier::full();
        u32::from(self.memory.used_index().get()) != progress
    }

    /// Returns how many descriptors are free.
    #[inline(always)]
    pub(super) fn free(&self) -> u32 {
        self.places.free().into()
    }

    /// Returns how many tables were made.
    pub(super) fn tables(&self) -> u64 {
        self.tables.made()
    }

    /// Takes a buffer that the device has not used.
    ///
    /// # Safety
    ///
    /// The device, or the queue, was reset.
    pub(super) unsafe fn detach(&mut self) -> Option<NonNull<c_void>> {
        let head = self.places.first_head()?;
        // It was not taken, but it is as if it had not been added.
        self.added = self.added.plus(u16::MAX);
        // SAFETY: By the safety requirements.
        unsafe { self.take_chain(head.into()) }.ok()
    }

    /// Makes room for a ring of `size`, and lets the core have the queue, to reset it or to resize
    /// it.
    pub(super) fn release(&mut self, size: u16) -> Result<Room> {
        let room = Room::new(size, &self.mapper, self.tables.chains())?;
        self.decoy = None;
        Ok(room)
    }

    /// Takes over the queue again, which was not reset.
    ///
    /// # Safety
    ///
    /// As for [`Split::new`].
    pub(super) unsafe fn keep(&mut self) -> Result {
        // SAFETY: By the safety requirements.
        let ring = unsafe { vring(self.vq) }?;
        // SAFETY: As above.
        self.decoy = Some(unsafe { Decoy::of_used(ring) });
        Ok(())
    }

    /// Takes over the queue again, which was reset, and perhaps resized. There must be no buffer in
    /// it any more.
    ///
    /// # Safety
    ///
    /// As for [`Split::new`].
    pub(super) unsafe fn take_over(&mut self, room: Room) -> Result {
        // SAFETY: By the safety requirements.
        let ring = unsafe { vring(self.vq) }?;
        // SAFETY: It is valid, and while it is read, nobody writes it.
        let parts = unsafe { ring.as_ref() };
        // SAFETY: As in `new`.
        self.memory = unsafe { Memory::new(parts) }?;
        // If the ring could not be made larger, it is what it was.
        if usize::from(self.memory.size()) == room.places.size() {
            self.places = room.places;
            self.mappings = room.mappings;
            self.tables = room.tables;
        } else if usize::from(self.memory.size()) != self.places.size() {
            return Err(EINVAL);
        }
        // SAFETY: By the safety requirements.
        self.decoy = Some(unsafe { Decoy::of_used(ring) });
        self.start();
        Ok(())
    }
}

impl Drives for Split {
    #[inline(always)]
    unsafe fn add(&mut self, parts: &Parts, token: NonNull<c_void>, context: Context) -> Result {
        if self.vq.is_broken() {
            return Err(EIO);
        }
        let mut chain = Plain(Chain::new(&self.memory, &self.places, self.floor));
        // SAFETY: By the safety requirements.
        if unsafe { element::for_each(parts, &mut chain) }.is_ok() {
            let chain = chain.0.end();
            self.give(chain, token);
            return Ok(());
        }
        // SAFETY: By the safety requirements.
        unsafe { self.add_other(parts, token, context) }
    }

    #[inline(always)]
    fn take(&mut self) -> Result<Option<(NonNull<c_void>, u32)>, Fault> {
        if self.seen == self.taken && !self.look()? {
            return Ok(None);
        }
        let used = self.memory.used_entry(self.taken);
        if self.told != self.added && self.places.is_untold(used.id) {
            return Err(Fault::NotAHead(used.id));
        }
        // SAFETY: The device says that it has used it.
        let token = unsafe { self.take_chain(used.id) }.map_err(|error| match error {
            NotUsed::OutOfRange => Fault::OutOfRange(used.id),
            NotUsed::NotAHead => Fault::NotAHead(used.id),
        })?;
        self.taken = self.taken.plus(1);
        if self.interrupts.is_for_next() {
            self.interrupts = Interrupts::On;
            self.set_event(self.taken);
        }
        Ok(Some((token, used.written)))
    }
}
