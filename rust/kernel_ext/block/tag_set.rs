// SPDX-License-Identifier: GPL-2.0

//! Tag sets: hardware queues, and the requests that they may have at once.

use super::{
    operations::{
        Callbacks,
        Operations, //
    },
    queue::QueueKind,
    request::Pdu, //
};
use crate::bindings;
use core::{
    marker::PhantomData,
    pin::Pin, //
};
use kernel::{
    device,
    error::to_result,
    prelude::*,
    time::Msecs,
    types::Opaque, //
};

/// How many hardware queues there are, of each [kind](QueueKind). They are numbered in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct QueueCounts {
    /// Those for what no other kind is for: at least one.
    pub default: u32,
    /// Those for reads; if there is none, reads go to the first kind.
    pub read: u32,
    /// Those for requests that somebody polls for; if there is none, nobody can.
    pub poll: u32,
}

impl QueueCounts {
    /// The most that make sense: more than any machine has CPUs.
    const MAX: u32 = 1 << 16;

    /// Starts with queues for everything.
    pub const fn new(default: u32) -> Self {
        Self {
            default,
            read: 0,
            poll: 0,
        }
    }

    /// Has queues for reads.
    pub const fn read(self, read: u32) -> Self {
        Self { read, ..self }
    }

    /// Has queues for requests that somebody polls for.
    pub const fn poll(self, poll: u32) -> Self {
        Self { poll, ..self }
    }

    /// Returns how many there are in all.
    pub fn total(self) -> Result<u32> {
        let total = self
            .default
            .checked_add(self.read)
            .and_then(|sum| sum.checked_add(self.poll))
            .filter(|total| *total <= Self::MAX);
        match total {
            Some(total) if self.default > 0 => Ok(total),
            _ => Err(EINVAL),
        }
    }

    /// Returns how many maps are needed.
    const fn maps(self) -> u32 {
        match self {
            Self { poll: 1.., .. } => 3,
            Self { read: 1.., .. } => 2,
            _ => 1,
        }
    }

    /// Returns the number of the first queue of a kind, and how many there are, if there are no
    /// more than `total`.
    const fn of(self, kind: QueueKind, total: u32) -> (u32, u32) {
        match kind {
            QueueKind::Default if self.default > total => (0, total),
            QueueKind::Default => (0, self.default),
            QueueKind::Read => (self.default, self.read),
            QueueKind::Poll => (self.default + self.read, self.poll),
        }
    }
}

/// What a disk's tag set is to be like.
///
/// # Examples
///
/// ```ignore
/// let options = TagSetOptions::new(QueueCounts::new(4).poll(1), 128).segments(64).timeout(30_000);
/// ```
#[derive(Clone, Copy, Debug)]
#[doc(alias = "blk_mq_tag_set")]
pub struct TagSetOptions {
    queues: QueueCounts,
    depth: u32,
    segments: u16,
    timeout: Msecs,
    node: i32,
    flags: u32,
}

impl TagSetOptions {
    /// Starts with queues that have `depth` requests each, at most.
    pub fn new(queues: QueueCounts, depth: u32) -> Self {
        Self {
            queues,
            depth,
            segments: 0,
            timeout: 30_000,
            node: bindings::NUMA_NO_NODE,
            flags: 0,
        }
    }

    /// Has room in each request for a scatter list of so many segments, for
    /// [`Request::map`](super::Request::map). The disk is limited to as many. They take 32 bytes
    /// each, in each request.
    pub fn segments(self, segments: u16) -> Self {
        Self { segments, ..self }
    }

    /// Returns how many segments there is room for.
    pub(super) fn max_segments(&self) -> u16 {
        self.segments
    }

    /// Returns how many queues there are to be.
    pub fn queues(&self) -> QueueCounts {
        self.queues
    }

    /// Sets how many milliseconds a request may take, before
    /// [`Operations::timeout`](super::Operations::timeout) is asked; 30 seconds by default.
    pub fn timeout(self, timeout: Msecs) -> Self {
        Self { timeout, ..self }
    }

    /// Has memory allocated near a device.
    #[doc(alias = "dev_to_node")]
    pub fn near(self, dev: &device::Device) -> Self {
        #[cfg(CONFIG_NUMA)]
        {
            let dev: *const device::Device = dev;
            // SAFETY: The device is valid, a transparent wrapper; its node is set before its driver
            // sees it.
            let node = unsafe { (*dev.cast::<bindings::device>()).numa_node };
            Self { node, ..self }
        }
        #[cfg(not(CONFIG_NUMA))]
        {
            let _ = dev;
            self
        }
    }

    /// Uses no I/O scheduler, unless the user says so.
    #[doc(alias = "BLK_MQ_F_NO_SCHED_BY_DEFAULT")]
    pub fn no_scheduler(self) -> Self {
        Self {
            flags: self.flags | bindings::BLK_MQ_F_NO_SCHED_BY_DEFAULT,
            ..self
        }
    }

    /// Uses tags in turn, instead of the lowest one that is free.
    #[doc(alias = "BLK_MQ_F_TAG_RR")]
    pub fn round_robin(self) -> Self {
        Self {
            flags: self.flags | bindings::BLK_MQ_F_TAG_RR,
            ..self
        }
    }
}

/// A tag set.
///
/// # Invariants
///
/// `set` was allocated; its `driver_data` points to the driver's data, which is pinned, and outlives
/// this.
#[pin_data(PinnedDrop)]
#[repr(C)]
pub(super) struct TagSet<T: Operations> {
    /// It comes first: see `of`.
    #[pin]
    set: Opaque<bindings::blk_mq_tag_set>,
    segments: u16,
    queues: QueueCounts,
    _operations: PhantomData<T>,
}

impl<T: Operations> TagSet<T> {
    /// Allocates a tag set.
    ///
    /// # Safety
    ///
    /// `data` must be pinned, and valid for as long as the tag set lives.
    pub(super) unsafe fn new(
        options: TagSetOptions,
        data: *const T::Data<'_>,
    ) -> Result<Pin<KBox<Self>>> {
        if options.depth > bindings::BLK_MQ_MAX_DEPTH {
            return Err(EINVAL);
        }
        if options.queues.poll > 0 && !T::HAS_POLL {
            return Err(EINVAL);
        }
        let set = bindings::blk_mq_tag_set {
            ops: Callbacks::<T>::TABLE,
            nr_maps: options.queues.maps(),
            nr_hw_queues: options.queues.total()?,
            queue_depth: options.depth,
            cmd_size: Pdu::<T>::size(options.segments)?,
            numa_node: options.node,
            timeout: c_uint::try_from(kernel::time::msecs_to_jiffies(options.timeout))?,
            flags: options.flags,
            driver_data: data.cast_mut().cast(),
            ..pin_init::zeroed()
        };

        KBox::try_pin_init(
            try_pin_init!(Self {
                segments: options.segments,
                queues: options.queues,
                _operations: PhantomData,
                // It comes last: callbacks read the other fields.
                set <- Opaque::try_ffi_init(|slot: *mut bindings::blk_mq_tag_set| {
                    // SAFETY: `slot` is valid for writes.
                    unsafe { slot.write(set) };
                    // SAFETY: `slot` is pinned, and set up. The callbacks are those of `T`; what they
                    // need is there: `data`, by the safety requirements, and the fields above.
                    let result = to_result(unsafe { bindings::blk_mq_alloc_tag_set(slot) });
                    if result.is_err() {
                        // SAFETY: `slot` is valid; its allocation has just failed.
                        unsafe { finish_failure(slot) };
                    }
                    result
                }),
            }),
            GFP_KERNEL,
        )
    }

    pub(super) fn as_raw(&self) -> *mut bindings::blk_mq_tag_set {
        self.set.get()
    }

    /// Returns the driver's data, and how many segments requests have room for.
    ///
    /// # Safety
    ///
    /// `set` must be the field of a tag set that is being, or was, allocated, and not yet freed for
    /// as long as the result is used.
    pub(super) unsafe fn of<'a>(set: *mut bindings::blk_mq_tag_set) -> (Pin<&'a T::Data<'a>>, u16) {
        // SAFETY: By the safety requirements, `set` is valid.
        let data = unsafe { (*set).driver_data };
        // SAFETY: By the type invariant, it points to the data, which is valid.
        let data = unsafe { &*data.cast::<T::Data<'a>>() };
        // SAFETY: By the type invariant, it is pinned.
        let data = unsafe { Pin::new_unchecked(data) };
        // SAFETY: `set` is the first field; this one was initialized before.
        let segments = unsafe { (*set.cast::<Self>()).segments };
        (data, segments)
    }
}

/// Waits for what a failed allocation has left behind.
///
/// The core frees tags after a grace period, but forgets to wait for it if it fails midway: then it
/// warns, and leaves the domain of these grace periods to whoever frees the set.
///
/// # Safety
///
/// `set` must be valid, and `blk_mq_alloc_tag_set` must just have failed for it.
unsafe fn finish_failure(set: *mut bindings::blk_mq_tag_set) {
    // SAFETY: By the safety requirements.
    let domain = unsafe { &raw mut (*set).tags_srcu };
    // SAFETY: As above.
    if unsafe { (*domain).sda }.is_null() {
        // It was never there, or is gone.
        return;
    }
    // SAFETY: The domain was initialized, and not cleaned up.
    unsafe { bindings::srcu_barrier(domain) };
    // SAFETY: As above; nobody uses it any more.
    unsafe { bindings::cleanup_srcu_struct(domain) };
}

#[pinned_drop]
impl<T: Operations> PinnedDrop for TagSet<T> {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: By the type invariant, it was allocated. Its disk is gone: see `Owner`.
        unsafe { bindings::blk_mq_free_tag_set(self.as_raw()) };
    }
}

/// Which CPU uses which queue. As it is, CPUs are spread evenly over the queues of each kind.
///
/// # Invariants
///
/// `set` is valid for `'a`, and nobody else uses its maps, which have room for each CPU.
#[doc(alias = "blk_mq_queue_map")]
pub struct QueueMap<'a> {
    set: *mut bindings::blk_mq_tag_set,
    _set: PhantomData<&'a mut ()>,
}

impl QueueMap<'_> {
    const KINDS: [QueueKind; 3] = [QueueKind::Default, QueueKind::Read, QueueKind::Poll];

    /// Sets the maps up, but for the CPUs.
    ///
    /// # Safety
    ///
    /// `set` must be the field of a [`TagSet`] with operations `T` that asks for its maps, and valid
    /// for a lifetime that the caller chooses.
    pub(super) unsafe fn from_raw<T: Operations>(set: *mut bindings::blk_mq_tag_set) -> Self {
        // SAFETY: By the safety requirements, `set` is the first field; this one was initialized
        // before.
        let queues = unsafe { (*set.cast::<TagSet<T>>()).queues };
        // INVARIANT: By the safety requirements.
        let mut this = Self {
            set,
            _set: PhantomData,
        };
        // SAFETY: By the safety requirements, `set` is valid.
        let total = unsafe { (*set).nr_hw_queues };
        for (map, kind) in this.maps().iter_mut().zip(Self::KINDS) {
            (map.queue_offset, map.nr_queues) = queues.of(kind, total);
        }
        this
    }

    fn maps(&mut self) -> &mut [bindings::blk_mq_queue_map] {
        // SAFETY: By the type invariant, `set` is valid.
        let count = unsafe { (*self.set).nr_maps };
        // SAFETY: By the type invariant, `set` is valid, and nobody else uses its maps.
        let maps = unsafe { &mut (*self.set).map };
        // CAST: This only widens.
        maps.get_mut(..count as usize).unwrap_or_default()
    }

    fn map(&mut self, kind: QueueKind) -> Option<&mut bindings::blk_mq_queue_map> {
        let index = Self::KINDS.iter().position(|i| *i == kind)?;
        self.maps().get_mut(index).filter(|map| map.nr_queues > 0)
    }

    /// Spreads CPUs evenly over the queues of each kind.
    #[doc(alias = "blk_mq_map_queues")]
    pub fn evenly(&mut self) {
        for map in self.maps() {
            if map.nr_queues > 0 {
                // SAFETY: The map is valid, and has queues.
                unsafe { bindings::blk_mq_map_queues(map) };
            }
        }
    }

    /// Returns how many queues there are of a kind, if there are any.
    pub fn count(&mut self, kind: QueueKind) -> u32 {
        self.map(kind).map_or(0, |map| map.nr_queues)
    }

    /// Sends each CPU to the queue of a kind whose interrupt it gets: the first queue has interrupt
    /// `first` of the device, and so on. If the device's bus does not know, CPUs are spread evenly.
    ///
    /// # Safety
    ///
    /// The device's bus must be able to tell the affinity of `count(kind)` interrupts, from `first`.
    #[doc(alias = "blk_mq_map_hw_queues")]
    pub(crate) unsafe fn by_affinity(
        &mut self,
        kind: QueueKind,
        dev: &device::Device<device::Bound>,
        first: u32,
    ) {
        let dev: *const device::Device<device::Bound> = dev;
        if let Some(map) = self.map(kind) {
            // SAFETY: The map is valid, and has queues. The device is valid, a transparent wrapper,
            // and bound, so it has a bus. The rest is by the safety requirements.
            unsafe { bindings::blk_mq_map_hw_queues(map, dev.cast_mut().cast(), first) };
        }
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_tag_set)]
mod tests {
    use super::*;

    const MIXED: QueueCounts = QueueCounts::new(4).read(2).poll(1);

    #[test]
    fn kinds_of_queues_follow_each_other() {
        assert_eq!(MIXED.total(), Ok(7));
        assert_eq!(MIXED.maps(), 3);
        assert_eq!(MIXED.of(QueueKind::Default, 7), (0, 4));
        assert_eq!(MIXED.of(QueueKind::Read, 7), (4, 2));
        assert_eq!(MIXED.of(QueueKind::Poll, 7), (6, 1));
    }

    #[test]
    fn a_single_kind_shrinks_with_the_machine() {
        let counts = QueueCounts::new(64);

        assert_eq!(counts.maps(), 1);
        assert_eq!(counts.of(QueueKind::Default, 2), (0, 2));
    }

    #[test]
    fn there_must_be_a_default_queue() {
        assert_eq!(QueueCounts::new(0).poll(1).total(), Err(EINVAL));
    }

    #[test]
    fn too_many_queues_are_refused() {
        assert_eq!(MIXED.poll(u32::MAX).total(), Err(EINVAL));
        assert_eq!(QueueCounts::new(1 << 20).total(), Err(EINVAL));
    }
}
