// SPDX-License-Identifier: GPL-2.0

//! Socket buffers.

use crate::bindings;
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    prelude::*, //
};

/// Why a frame is dropped: what tools tell who look for lost frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "skb_drop_reason")]
pub enum Reason {
    /// None of these.
    NotSpecified,
    /// It is too short.
    TooShort,
    /// What the device says of it cannot be.
    DeviceHeader,
    /// The device is not ready.
    DeviceReady,
    /// The queue is full.
    FullRing,
    /// There is no memory.
    NoMemory,
    /// A queue is emptied.
    QueuePurge,
}

impl Reason {
    fn as_raw(self) -> bindings::skb_drop_reason {
        match self {
            Self::NotSpecified => bindings::skb_drop_reason_SKB_DROP_REASON_NOT_SPECIFIED,
            Self::TooShort => bindings::skb_drop_reason_SKB_DROP_REASON_PKT_TOO_SMALL,
            Self::DeviceHeader => bindings::skb_drop_reason_SKB_DROP_REASON_DEV_HDR,
            Self::DeviceReady => bindings::skb_drop_reason_SKB_DROP_REASON_DEV_READY,
            Self::FullRing => bindings::skb_drop_reason_SKB_DROP_REASON_FULL_RING,
            Self::NoMemory => bindings::skb_drop_reason_SKB_DROP_REASON_NOMEM,
            Self::QueuePurge => bindings::skb_drop_reason_SKB_DROP_REASON_QUEUE_PURGE,
        }
    }
}

/// A frame, with what the network stack knows of it.
///
/// Its data is in one or more places: the *head*, up to `MAX_SKB_FRAGS` pages, and then other socket
/// buffers. If it is dropped, the frame counts as lost: see [`SkBuff::consume`].
///
/// # Invariants
///
/// The pointer is valid, nobody else has a reference to the `struct sk_buff`, and it is in no list.
/// Others may have references to the data.
#[doc(alias = "sk_buff")]
#[repr(transparent)]
pub struct SkBuff(NonNull<bindings::sk_buff>);

// SAFETY: A socket buffer may be used and freed by any thread.
unsafe impl Send for SkBuff {}

// SAFETY: What takes `&self` only reads.
unsafe impl Sync for SkBuff {}

impl SkBuff {
    /// Takes a socket buffer over.
    ///
    /// # Safety
    ///
    /// `skb` must be valid and in no list; the caller must give the only reference up.
    #[inline]
    pub(crate) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirements.
        Self(skb)
    }

    /// Gives the socket buffer up.
    #[inline]
    pub(crate) fn into_raw(self) -> NonNull<bindings::sk_buff> {
        ManuallyDrop::new(self).0
    }

    /// Returns the pointer.
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut bindings::sk_buff {
        self.0.as_ptr()
    }

    /// Returns the fields.
    #[inline]
    pub(super) fn fields(&self) -> &bindings::sk_buff {
        // SAFETY: By the type invariant, it is valid, and nobody else has it.
        unsafe { self.0.as_ref() }
    }

    /// Returns the bytes that belong to who has the socket buffer.
    #[inline]
    pub(crate) fn control(&mut self) -> &mut [u8; CONTROL] {
        // SAFETY: By the type invariant, it is valid.
        let control = unsafe { &raw mut (*self.0.as_ptr()).cb };
        // CAST: Both are arrays of bytes of this size.
        //
        // SAFETY: As above, and nobody else has it.
        unsafe { &mut *control.cast() }
    }

    /// Makes an empty socket buffer, with room for `len` bytes in its head.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias = "netdev_alloc_skb")]
    pub fn new(len: u32) -> Option<Self> {
        if len > MAX_HEAD {
            return None;
        }
        // SAFETY: This may be called anywhere.
        let skb = unsafe { bindings::netdev_alloc_skb(len) };
        // INVARIANT: It was just made.
        NonNull::new(skb).map(Self)
    }

    /// Returns the length of the frame.
    #[inline]
    pub fn len(&self) -> u32 {
        self.fields().len
    }

    /// Tells whether there is no data.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns how much of the frame is in the head.
    #[inline]
    #[doc(alias = "skb_headlen")]
    pub fn head_len(&self) -> u32 {
        let skb = self.fields();
        skb.len.saturating_sub(skb.data_len)
    }

    /// Returns how much room there is before the data.
    #[inline]
    #[doc(alias = "skb_headroom")]
    pub fn headroom(&self) -> usize {
        let skb = self.fields();
        skb.data.addr().saturating_sub(skb.head.addr())
    }

    /// Returns where the data begins.
    #[inline]
    pub(crate) fn data(&self) -> *mut u8 {
        self.fields().data
    }

    fn shared_info(&self) -> &bindings::skb_shared_info {
        let skb = self.fields();
        // CAST: This only widens.
        //
        // SAFETY: By the type invariant, the head is valid, and this is in it.
        let info = unsafe { skb.head.add(skb.end as usize) };
        // CAST: This is what is there.
        //
        // SAFETY: As above. It changes only by who has a socket buffer of its own.
        unsafe { &*info.cast() }
    }

    /// Returns in how many pages there is data, beside the head.
    pub fn frag_count(&self) -> u8 {
        self.shared_info().nr_frags
    }

    /// Tells whether there is data in other socket buffers.
    #[doc(alias = "skb_has_frag_list")]
    pub fn has_frag_list(&self) -> bool {
        !self.shared_info().frag_list.is_null()
    }

    /// Tells whether all the data is in the head.
    #[inline]
    pub fn is_linear(&self) -> bool {
        self.fields().data_len == 0
    }

    /// Tells whether somebody else has the headers, too.
    #[doc(alias = "skb_header_cloned")]
    pub fn is_header_cloned(&self) -> bool {
        // SAFETY: By the type invariant, it is valid.
        unsafe { bindings::skb_header_cloned(self.as_ptr()) }
    }

    /// Returns the index of the transmit queue that the network stack has chosen.
    #[doc(alias = "skb_get_queue_mapping")]
    #[inline]
    pub fn queue_mapping(&self) -> u16 {
        self.fields().queue_mapping
    }

    /// Copies some of the data.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is not so much.
    #[doc(alias = "skb_copy_bits")]
    pub fn copy_bits(&self, offset: u32, target: &mut [u8]) -> Result {
        let length = i32::try_from(target.len())?;
        let offset = i32::try_from(offset)?;
        // SAFETY: By the type invariant, it is valid. `target` has this length.
        to_result(unsafe {
            bindings::skb_copy_bits(self.as_ptr(), offset, target.as_mut_ptr().cast(), length)
        })
    }

    /// Moves all the data into one place.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; the frame is as it was.
    #[doc(alias = "skb_linearize")]
    pub fn linearize(&mut self) -> Result {
        // SAFETY: By the type invariant, it is valid, and nobody else has it.
        to_result(unsafe { bindings::skb_linearize(self.as_ptr()) })
    }

    /// Takes note of the time at which the frame goes to the device, if somebody wants to know.
    ///
    /// This comes right before it is added to the queue.
    #[doc(alias = "skb_tx_timestamp")]
    #[inline]
    pub fn timestamp_tx(&mut self) {
        // SAFETY: By the type invariant, it is valid.
        unsafe { bindings::skb_tx_timestamp(self.as_ptr()) };
    }

    /// Tells the sender that its frame is gone, although it is not.
    #[doc(alias = "skb_orphan")]
    pub fn orphan(&mut self) {
        // SAFETY: By the type invariant, it is valid, and nobody else has it.
        unsafe { bindings::skb_orphan(self.as_ptr()) };
    }

    /// Forgets the connection that the frame is of, so that the frame may stay in a queue for long.
    #[doc(alias = "nf_reset_ct")]
    pub fn reset_conntrack(&mut self) {
        // SAFETY: By the type invariant, it is valid, and nobody else has it.
        unsafe { bindings::nf_reset_ct(self.as_ptr()) };
    }

    /// Frees a frame that has arrived where it should.
    ///
    /// # Context
    ///
    /// Any. It is cheapest in softirq context.
    #[doc(alias("napi_consume_skb", "dev_consume_skb_any"))]
    #[inline]
    pub fn consume(self) {
        // SAFETY: By the type invariant, this is the only reference, which is given up.
        unsafe { bindings::consume_skb(self.into_raw().as_ptr()) };
    }

    /// Frees a frame that is lost, and tells why.
    ///
    /// # Context
    ///
    /// Any.
    #[doc(alias("kfree_skb_reason", "dev_kfree_skb_any_reason"))]
    pub fn drop_for(self, reason: Reason) {
        // SAFETY: By the type invariant, this is the only reference, which is given up.
        unsafe { bindings::dev_kfree_skb_any_reason(self.into_raw().as_ptr(), reason.as_raw()) };
    }
}

/// How many bytes belong to who has a socket buffer.
pub(crate) const CONTROL: usize = 48;

/// The longest head that [`SkBuff::new`] makes.
const MAX_HEAD: u32 = 1 << 17;

impl Drop for SkBuff {
    /// Frees a frame that is lost.
    fn drop(&mut self) {
        // SAFETY: By the type invariant, this is the only reference, which is given up.
        unsafe {
            bindings::dev_kfree_skb_any_reason(self.0.as_ptr(), Reason::NotSpecified.as_raw());
        }
    }
}
