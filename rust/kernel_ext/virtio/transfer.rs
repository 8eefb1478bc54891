// SPDX-License-Identifier: GPL-2.0

//! Requests of disks, as buffers of queues.

use super::{
    buffer::{
        length_of,
        Apart,
        Buffer,
        Parts,
        LISTS, //
    },
    outcome::Used, //
};
use crate::{
    bindings,
    block::{
        Entry,
        OperationNumber,
        Operations,
        Request, //
    },
};
use core::{
    marker::PhantomPinned,
    mem::{
        size_of,
        ManuallyDrop, //
    },
    pin::Pin,
    ptr::{
        self,
        NonNull, //
    },
};
use kernel::{
    prelude::*,
    transmute::{
        AsBytes,
        FromBytes, //
    },
    types::Opaque, //
};

/// What a request has for the device beside its data: a header `O` that the device reads first, some
/// more bytes that it reads, mostly none, and a footer `I` that it writes last. It is made once for
/// each tag, so nothing is allocated for a request.
///
/// # Invariants
///
/// The entries for the header and the footer describe those, and end their lists.
#[pin_data]
#[repr(C)]
pub struct Envelope<O, I> {
    header: O,
    /// How many bytes the device said that it has written, the last time.
    written: u32,
    payload: KVec<u8>,
    header_entry: Opaque<bindings::scatterlist>,
    payload_entry: Opaque<bindings::scatterlist>,
    footer_entry: Opaque<bindings::scatterlist>,
    footer: Apart<I>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The entries point to the envelope itself.
unsafe impl<O: Send, I: Send> Send for Envelope<O, I> {}

impl<O: AsBytes, I: FromBytes> Envelope<O, I> {
    /// The sizes: checked when the type is used.
    const HEADER: u32 = {
        assert!(size_of::<O>() > 0, "there must be a header");
        length_of::<O>()
    };
    /// As above.
    const FOOTER: u32 = {
        assert!(size_of::<I>() > 0, "there must be a footer");
        length_of::<I>()
    };

    /// Makes an envelope in the driver's data of a request.
    pub fn new(header: O, footer: I) -> impl PinInit<Self, Error> {
        try_pin_init!(Self {
            header,
            written: 0,
            payload: KVec::new(),
            header_entry: Opaque::uninit(),
            payload_entry: Opaque::uninit(),
            footer_entry: Opaque::uninit(),
            footer: Apart(footer),
            _pin: PhantomPinned,
        })
        .pin_chain(|this| {
            // The data of requests is in the linear map.
            //
            // INVARIANT: The entries are those of the header and the footer, and nothing moves.
            let entry = this.header_entry.get();
            let start = ptr::from_ref(&this.header).cast_mut().cast();
            // SAFETY: Both are valid, and the size is right.
            unsafe { bindings::sg_init_one(entry, start, Self::HEADER) };

            let entry = this.footer_entry.get();
            let start = ptr::from_ref(&this.footer.0).cast_mut().cast();
            // SAFETY: As above.
            unsafe { bindings::sg_init_one(entry, start, Self::FOOTER) };
            Ok(())
        })
    }

    /// Returns the fields; nothing is moved out of them.
    fn fields(self: Pin<&mut Self>) -> &mut Self {
        // SAFETY: Only this module uses it, and it moves nothing.
        unsafe { self.get_unchecked_mut() }
    }

    /// Returns the header.
    pub fn header(self: Pin<&mut Self>) -> &mut O {
        &mut self.fields().header
    }

    /// Returns what the device reads behind the header. It stays there until it is cleared, with
    /// its memory.
    pub fn payload(self: Pin<&mut Self>) -> &mut KVec<u8> {
        &mut self.fields().payload
    }

    /// Returns the footer.
    pub fn footer(self: Pin<&mut Self>) -> &mut I {
        &mut self.fields().footer.0
    }

    /// Returns how many bytes the device said that it has written, with the footer.
    pub fn written(&self) -> u32 {
        self.written
    }
}

/// A request that is ready for the device: its memory is listed.
pub struct Transfer<T: Operations>(Request<T>);

impl<T, O, I> Transfer<T>
where
    T: Operations<RequestData = Envelope<O, I>>,
    O: AsBytes + Send,
    I: FromBytes + Send,
{
    /// Lists the memory of a request.
    ///
    /// Cost: one call of a C function, if there is data.
    ///
    /// # Errors
    ///
    /// The request, and why: it has more segments than there is room for.
    pub fn new(mut request: Request<T>) -> Result<Self, (Request<T>, Error)> {
        if let Err(error) = request.map() {
            return Err((request, error));
        }
        let envelope = request.data().fields();
        if !envelope.payload.is_empty() {
            let Ok(length) = u32::try_from(envelope.payload.len()) else {
                return Err((request, EINVAL));
            };
            let start = envelope.payload.as_mut_ptr().cast();
            // SAFETY: The entry is valid for writes; the payload was allocated by `kmalloc`, and does
            // not change while the device has it.
            unsafe { bindings::sg_init_one(envelope.payload_entry.get(), start, length) };
        }
        Ok(Self(request))
    }

    /// Returns the number of what the request asks for.
    #[inline]
    pub fn operation_number(&self) -> OperationNumber {
        self.0.operation_number()
    }

    /// Gives the request back.
    pub fn into_request(self) -> Request<T> {
        self.0
    }
}

impl<T, O, I> Used<Transfer<T>>
where
    T: Operations<RequestData = Envelope<O, I>>,
    O: AsBytes + Send,
    I: FromBytes + Send,
{
    /// Returns the request; its [envelope](Envelope::written) knows how much was written.
    pub fn into_request(self) -> Request<T> {
        let mut request = self.buffer.0;
        request.data().fields().written = self.written;
        request
    }
}

// SAFETY: Both functions are those of requests.
unsafe impl<T: Operations> Entry for Transfer<T> {
    fn into_raw(self) -> NonNull<bindings::request> {
        self.0.into_raw()
    }

    unsafe fn from_raw(rq: NonNull<bindings::request>) -> Self {
        // SAFETY: By the safety requirements, it comes from `into_raw`.
        Self(unsafe { Request::from_raw(rq) })
    }
}

// SAFETY:
// - `into_token` returns the pointer of a request that only its owner has.
// - The memory of a request's data is valid until it has ended, and so are its driver's data and its
//   scatter list, which only the owner of the request accesses. There are two or three lists.
unsafe impl<T, O, I> Buffer for Transfer<T>
where
    T: Operations<RequestData = Envelope<O, I>>,
    O: AsBytes + Send,
    I: FromBytes + Send,
{
    fn into_token(self) -> NonNull<c_void> {
        self.0.into_raw().cast()
    }

    unsafe fn from_token(token: NonNull<c_void>) -> Self {
        // SAFETY: By the safety requirements, this is the pointer of a request that was given up.
        Self(unsafe { Request::from_raw(token.cast()) })
    }

    unsafe fn parts(token: NonNull<c_void>) -> Parts {
        // SAFETY: By the safety requirements, this is the pointer of a request that was given up; it
        // stays given up.
        let mut request = ManuallyDrop::new(unsafe { Request::<T>::from_raw(token.cast()) });
        let reads = request.reads();
        let mut list = request.list();
        let data = (list.len() > 0).then(|| list.data());
        let envelope = request.data().fields();

        let header = envelope.header_entry.get();
        let footer = envelope.footer_entry.get();
        let more = if envelope.payload.is_empty() {
            data
        } else {
            Some(envelope.payload_entry.get())
        };
        let mut lists = [ptr::null_mut(); LISTS];
        let [first, second, third, _] = &mut lists;
        *first = header;
        let Some(more) = more else {
            *second = footer;
            return Parts::Lists {
                lists,
                readable: 1,
                writable: 1,
            };
        };
        *second = more;
        *third = footer;
        let (readable, writable) = if reads { (1, 2) } else { (2, 1) };
        Parts::Lists {
            lists,
            readable,
            writable,
        }
    }

    fn writable_len(&self) -> u32 {
        let data = if self.0.reads() { self.0.bytes() } else { 0 };
        data.saturating_add(Envelope::<O, I>::FOOTER)
    }
}
