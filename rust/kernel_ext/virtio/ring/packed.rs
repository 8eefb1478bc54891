// SPDX-License-Identifier: GPL-2.0

//! A packed ring that is driven here, not by the core.
//!
//! As for a [split one](super::split), the core makes the queue, and between that and its end, it does
//! not touch the ring. This is for devices that see memory where it is; others are left to the core.
//!
//! What is different from the core: buffers are told to the device when it is kicked, all at once, by
//! the flags of the first descriptor that are written last; and what the driver asks to be told of is
//! written at once, in one word.

use super::{
    super::{
        buffer::Parts,
        outcome::Context, //
    },
    barrier,
    decoy::Decoy,
    element,
    handle::Handle,
    places::{
        NotUsed,
        Places, //
    },
    table::Count,
    tables::Tables,
    Chains,
    Drives,
    Fault,
    Interrupts, //
};
use crate::bindings;
use core::ptr::NonNull;
use kernel::prelude::*;
use virtio_wire::ring::packed::{
    Event,
    EventIndex,
    Position, //
};

mod chain;
mod memory;

use self::{
    chain::{
        Added,
        Chain,
        Table, //
    },
    memory::Memory,
};

/// A packed ring.
///
/// # Invariants
///
/// - `vq` is a queue of the core with a packed ring whose device sees memory where it is, without
///   features that this does not know; it is valid as long as the user of this keeps it, who does not
///   ask the core to take anything from it.
/// - The memory is that of the queue.
/// - Each head in `places` belongs to a buffer that was given up, and its table is its own.
pub(in crate::virtio) struct Packed {
    vq: Handle,
    memory: Memory,
    /// Buffers by their numbers, and how many descriptors each has.
    places: Places,
    /// By the numbers of buffers.
    tables: Tables<Table>,
    /// Nothing while the core resets the queue.
    decoy: Option<Decoy>,
    index: EventIndex,
    interrupts: Interrupts,
    /// How far buffers were added, how far the device was told, and how far they were taken.
    added: Position,
    told: Position,
    taken: Position,
    /// How many descriptors the device is yet to be told of, and the flags that tell it of the first.
    untold: u16,
    flags: u16,
}

/// The room for the private state of a ring.
pub(in crate::virtio) struct Room {
    places: Places,
    tables: Tables<Table>,
}

impl Room {
    fn new(size: u16, chains: Chains) -> Result<Self> {
        Ok(Self {
            places: Places::new(size)?,
            tables: Tables::new(size, chains)?,
        })
    }
}

/// Returns the ring of a queue, if it is where it can be seen.
///
/// # Safety
///
/// `vq` must be valid, and have a packed ring.
unsafe fn vring(vq: Handle) -> Option<NonNull<bindings::vring>> {
    // SAFETY: By the safety requirements.
    let vring = unsafe { bindings::virtqueue_packed_vring(vq.as_ptr()) };
    // CAST: It is a field of a structure that the core has allocated.
    NonNull::new(vring.cast_mut())
}

impl Packed {
    /// Takes over the ring of a queue, if it can be driven here.
    ///
    /// # Safety
    ///
    /// - `vq` must be valid as long as the result is used, and have the features of the type invariant.
    /// - Nothing has been added to it, and the core must not be asked to add or take anything, or to
    ///   reset it, except between [`Packed::release`] and [`Packed::take_over`].
    pub(super) unsafe fn new(
        vq: NonNull<bindings::virtqueue>,
        chains: Chains,
        has_event: bool,
    ) -> Result<Option<Self>> {
        // SAFETY: By the safety requirements.
        let vq = unsafe { Handle::new(vq) };
        // SAFETY: By the safety requirements.
        let Some(ring) = (unsafe { vring(vq) }) else {
            return Ok(None);
        };
        // SAFETY: It is valid, and while it is read, nobody writes it.
        let parts = unsafe { ring.as_ref() };
        // SAFETY: It is a packed ring, and where it is expected.
        let memory = unsafe { Memory::new(parts) }?;
        let Room { places, tables } = Room::new(memory.size().get(), chains)?;
        // INVARIANT: By the safety requirements. There are no heads yet.
        let mut this = Self {
            vq,
            memory,
            places,
            tables,
            // SAFETY: By the safety requirements.
            decoy: Some(unsafe { Decoy::of_descriptors(ring) }),
            index: if has_event {
                EventIndex::Negotiated
            } else {
                EventIndex::Absent
            },
            interrupts: Interrupts::Off,
            added: Position::START,
            told: Position::START,
            taken: Position::START,
            untold: 0,
            flags: 0,
        };
        this.start();
        Ok(Some(this))
    }

    /// Begins with a ring in which nothing has happened yet.
    fn start(&mut self) {
        for position in [&mut self.added, &mut self.told, &mut self.taken] {
            *position = Position::START;
        }
        self.untold = 0;
        self.interrupts = Interrupts::On;
        if !self.vq.is_heard() {
            self.disable_callback();
        }
    }

    /// Puts the elements of a buffer into a table, if that suits it, and memory is available, and the
    /// table into the ring.
    ///
    /// # Safety
    ///
    /// The parts must be those of a buffer that was given up, with the number `id`.
    #[inline(never)]
    unsafe fn add_table(&mut self, parts: &Parts, id: u16, context: Context) -> Option<Added> {
        let mut count = Count(0);
        // SAFETY: By the safety requirements.
        unsafe { element::for_each(parts, &mut count) }.ok()?;
        if !self.tables.suits(count.0, self.places.free()) {
            return None;
        }
        // SAFETY: By the safety requirements.
        let mut table = unsafe { Table::new(parts, count.0, context.flags()) }.ok()?;
        let mut chain = Chain::new(&self.memory, id, 1, self.added);
        table.refer(&mut chain).ok()?;
        self.tables.keep(id, table);
        chain.end().ok()
    }

    /// Puts the elements of a buffer into the ring, if that leaves so many descriptors free.
    ///
    /// # Safety
    ///
    /// As for [`Packed::add_table`].
    #[inline(always)]
    unsafe fn add_chain(&mut self, parts: &Parts, id: u16, floor: u16) -> Result<Added> {
        let room = self.places.free().saturating_sub(floor);
        let mut chain = Chain::new(&self.memory, id, room, self.added);
        // SAFETY: By the safety requirements.
        if let Err(error) = unsafe { element::for_each(parts, &mut chain) } {
            chain.give_up(self.added);
            return Err(error);
        }
        chain.end()
    }

    /// Adds a buffer in another way than its elements by themselves, if there is one.
    ///
    /// # Safety
    ///
    /// As for [`Packed::add_table`]; and as for [`Drives::add`].
    #[inline(never)]
    unsafe fn add_other(
        &mut self,
        parts: &Parts,
        id: u16,
        token: NonNull<c_void>,
        context: Context,
    ) -> Result {
        // SAFETY: By the safety requirements.
        let added = match unsafe { self.add_table(parts, id, context) } {
            Some(added) => added,
            // SAFETY: By the safety requirements.
            None => unsafe { self.add_chain(parts, id, 0) }?,
        };
        self.give(token, added);
        Ok(())
    }

    /// Gives a chain to the device, which is yet to be told of it.
    #[inline(always)]
    fn give(&mut self, token: NonNull<c_void>, added: Added) {
        let Added { count, flags, next } = added;
        self.places.give_first(count, token);
        if self.untold == 0 {
            self.flags = flags;
        } else {
            self.memory.set_flags(self.added.index().into(), flags);
        }
        self.added = next;
        self.untold = self.untold.wrapping_add(count);
    }

    /// Drops the table of a buffer, if it has one.
    #[inline(never)]
    fn drop_table(&mut self, id: u32) {
        if let Ok(id) = u16::try_from(id) {
            drop(self.tables.take(id));
        }
    }

    /// Takes a buffer from the device, that says it has used it.
    ///
    /// # Safety
    ///
    /// The device must not use it any more, as far as one can know.
    #[inline(always)]
    unsafe fn take_buffer(&mut self, id: u32) -> Result<(NonNull<c_void>, u16), NotUsed> {
        let taken = self.places.take(id)?;
        if !self.tables.is_unused() {
            self.drop_table(id);
        }
        Ok(taken)
    }

    /// Tells the device of the buffers that were added. Returns whether it wants to be notified.
    #[inline(always)]
    pub(super) fn kick_prepare(&mut self) -> bool {
        if self.untold == 0 {
            return false;
        }
        // The device sees the buffers before the first one is available.
        barrier::write();
        self.memory.set_flags(self.told.index().into(), self.flags);
        // It sees that before it says that it is notified of it.
        barrier::full();
        self.places.tell();
        let first = core::mem::replace(&mut self.told, self.added);
        let count = core::mem::take(&mut self.untold);
        self.memory.notifies(first, count, self.index)
    }

    /// Looks again, when nothing was there. Returns whether there is something.
    #[inline(always)]
    fn look(&mut self) -> Result<bool, Fault> {
        if self.interrupts == Interrupts::On {
            // The device sees when it should interrupt before one looks for the last time.
            barrier::full();
            self.interrupts = Interrupts::Settled;
            if self.memory.is_used(self.taken) {
                return Ok(true);
            }
        }
        // What was used before the queue broke is as good as ever.
        if self.vq.is_broken() {
            Err(Fault::Broken)
        } else {
            Ok(false)
        }
    }

    /// Asks the device to interrupt when it comes to a position, or always if it cannot be told that.
    #[inline(always)]
    fn set_event(&mut self, at: Position) {
        if self.index == EventIndex::Negotiated {
            self.memory.set_event(Event::At(at));
        } else if self.interrupts == Interrupts::Off {
            self.memory.set_event(Event::Always);
        }
        self.interrupts = Interrupts::On;
    }

    /// Asks the device not to interrupt.
    #[inline(always)]
    pub(super) fn disable_callback(&mut self) {
        if self.interrupts != Interrupts::Off {
            self.interrupts = Interrupts::Off;
            self.memory.set_event(Event::Never);
        }
    }

    /// Asks the device to interrupt for the next buffer. Returns whether it has used one already.
    #[inline(always)]
    pub(super) fn enable_callback(&mut self) -> bool {
        self.enable_callback_at(self.taken)
    }

    /// Asks the device to interrupt at a position. Returns whether it has used a buffer already.
    #[inline(always)]
    fn enable_callback_at(&mut self, at: Position) -> bool {
        self.set_event(at);
        barrier::full();
        self.interrupts = Interrupts::Settled;
        // If the queue is broken, who looks for what was used finds out.
        self.memory.is_used(self.taken)
    }

    /// Asks the device to interrupt for the next buffer. Returns how far it was.
    #[inline(always)]
    pub(super) fn enable_callback_prepare(&mut self) -> u32 {
        self.set_event(self.taken);
        u32::from(self.taken.index()) | u32::from(self.taken.wrap()) << 16
    }

    /// Asks the device to interrupt when it has used most of what it has. Returns whether it has used
    /// something already: how much, the ring does not tell.
    pub(super) fn enable_callback_delayed(&mut self) -> bool {
        let size = self.memory.size();
        let told = size.get() - self.places.free() - self.untold;
        let most = told - told.div_ceil(4);
        let is_used = self.enable_callback_at(self.taken.plus(most, size).unwrap_or(self.taken));
        self.interrupts = Interrupts::Ahead;
        is_used
    }

    /// Asks the device to interrupt when it has used the first of the buffers of which it is told next.
    #[inline(always)]
    pub(super) fn defer_callback(&mut self) {
        // Of the others of a batch, it is told with the first one.
        let is_first = self.untold == 0 || self.interrupts == Interrupts::Off;
        if is_first && self.can_defer_callback() {
            // It sees that before it sees them.
            self.set_event(self.told);
            self.interrupts = Interrupts::Ahead;
        }
    }

    /// Tells whether the device can be told that.
    #[inline(always)]
    pub(super) fn can_defer_callback(&self) -> bool {
        self.index == EventIndex::Negotiated
    }

    /// Tells whether the device has used a buffer since then.
    #[inline(always)]
    pub(super) fn has_used_since(&self, progress: u32) -> bool {
        let wrap = progress >> 16 != 0;
        let index = u16::try_from(progress & 0xffff);
        let at = index.map_or(Err(()), |index| {
            Position::new(index, wrap, self.memory.size()).map_err(|_| ())
        });
        if self.vq.is_broken() {
            return false;
        }
        barrier::full();
        at.is_ok_and(|at| self.memory.is_used(at))
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
        let id = self.places.first_head()?;
        // SAFETY: By the safety requirements.
        let taken = unsafe { self.take_buffer(id.into()) };
        taken.ok().map(|(token, _)| token)
    }

    /// Makes room for a ring of `size`, and lets the core have the queue, to reset it or to resize
    /// it.
    pub(super) fn release(&mut self, size: u16) -> Result<Room> {
        let room = Room::new(size, self.tables.chains())?;
        self.decoy = None;
        Ok(room)
    }

    /// Takes over the queue again, which was not reset.
    ///
    /// # Safety
    ///
    /// As for [`Packed::new`].
    pub(super) unsafe fn keep(&mut self) -> Result {
        // SAFETY: By the safety requirements.
        let ring = unsafe { vring(self.vq) }.ok_or(EINVAL)?;
        // SAFETY: As above.
        self.decoy = Some(unsafe { Decoy::of_descriptors(ring) });
        Ok(())
    }

    /// Takes over the queue again, which was reset, and perhaps resized. There must be no buffer in
    /// it any more.
    ///
    /// # Safety
    ///
    /// As for [`Packed::new`].
    pub(super) unsafe fn take_over(&mut self, room: Room) -> Result {
        // SAFETY: By the safety requirements.
        let ring = unsafe { vring(self.vq) }.ok_or(EINVAL)?;
        // SAFETY: It is valid, and while it is read, nobody writes it.
        let parts = unsafe { ring.as_ref() };
        // SAFETY: As in `new`.
        self.memory = unsafe { Memory::new(parts) }?;
        let size = usize::from(self.memory.size().get());
        // If the ring could not be made larger, it is what it was.
        if size == room.places.size() {
            self.places = room.places;
            self.tables = room.tables;
        } else if size != self.places.size() {
            return Err(EINVAL);
        }
        // SAFETY: By the safety requirements.
        self.decoy = Some(unsafe { Decoy::of_descriptors(ring) });
        self.start();
        Ok(())
    }
}

impl Drives for Packed {
    #[inline(always)]
    unsafe fn add(&mut self, parts: &Parts, token: NonNull<c_void>, context: Context) -> Result {
        if self.vq.is_broken() {
            return Err(EIO);
        }
        let id = self.places.first_free().ok_or(ENOSPC)?;
        // INVARIANT: By the safety requirements, the buffer was given up. So it is below.
        //
        // SAFETY: By the safety requirements.
        if let Ok(added) = unsafe { self.add_chain(parts, id, self.tables.floor()) } {
            self.give(token, added);
            return Ok(());
        }
        // SAFETY: By the safety requirements.
        unsafe { self.add_other(parts, id, token, context) }
    }

    #[inline(always)]
    fn take(&mut self) -> Result<Option<(NonNull<c_void>, u32)>, Fault> {
        if !self.memory.is_used(self.taken) && !self.look()? {
            return Ok(None);
        }
        // The rest of the descriptor was written before its flags.
        barrier::read();
        let used = self.memory.used(self.taken.index());
        if self.untold > 0 && self.places.is_untold(used.id) {
            return Err(Fault::NotAHead(used.id));
        }
        // SAFETY: The device says that it has used it.
        let (token, count) = unsafe { self.take_buffer(used.id) }.map_err(|error| match error {
            NotUsed::OutOfRange => Fault::OutOfRange(used.id),
            NotUsed::NotAHead => Fault::NotAHead(used.id),
        })?;
        if let Ok(taken) = self.taken.plus(count, self.memory.size()) {
            self.taken = taken;
        }
        if self.interrupts.is_for_next() {
            self.set_event(self.taken);
        }
        Ok(Some((token, used.written)))
    }
}
