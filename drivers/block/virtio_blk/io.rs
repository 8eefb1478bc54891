// SPDX-License-Identifier: GPL-2.0

//! Requests of the block layer, as the device takes them, and what becomes of them.

use super::{
    shape::Shape,
    Io, //
};
use kernel::prelude::*;
use kernel_ext::{
    block::{
        Operation,
        Request,
        Status, //
    },
    virtio::{
        Envelope,
        Transfer, //
    },
};
use virtio_wire::blk::{
    self,
    segment::{
        SegmentLayout,
        Unmap, //
    },
    RequestHeader,
    RequestKind,
    StatusError, //
};

/// What a request has for the device, beside its data: a header, and a status.
pub(crate) type Frame = Envelope<[u8; RequestHeader::SIZE], [u8; 1]>;

/// Makes one for each tag.
pub(crate) fn frame() -> impl PinInit<Frame, Error> {
    Envelope::new([0; RequestHeader::SIZE], [blk::Status::UNWRITTEN])
}

/// Why a request does not go to the device.
pub(crate) enum Refused {
    /// It cannot be done at all.
    Never(Request<Io>, Status),
    /// There is no memory for it now.
    NotNow(Request<Io>),
}

/// Makes a request ready for the device.
pub(crate) fn prepare(mut request: Request<Io>, shape: &Shape) -> Result<Transfer<Io>, Refused> {
    let (kind, sector) = match request.operation() {
        Operation::Read => (Some(RequestKind::Read), request.sector()),
        Operation::Write => (Some(RequestKind::Write), request.sector()),
        Operation::Flush => (Some(RequestKind::Flush), 0),
        Operation::Discard => (Some(RequestKind::Discard), 0),
        Operation::WriteZeroes => (Some(RequestKind::WriteZeroes), 0),
        Operation::SecureErase => (Some(RequestKind::SecureErase), 0),
        // Who made it has made the header.
        Operation::DriverIn => (None, 0),
        _ => return Err(Refused::Never(request, Status::UNSUPPORTED)),
    };
    if let Some(kind) = kind {
        *request.data().header() = RequestHeader::new(kind, sector).to_bytes();
    }
    // A device that writes no status must not be taken for one that has succeeded.
    *request.data().footer() = [blk::Status::UNWRITTEN];

    let ranges = matches!(
        request.operation(),
        Operation::Discard | Operation::WriteZeroes | Operation::SecureErase
    );
    if ranges {
        let zeroes = request.operation() == Operation::WriteZeroes;
        let unmap = if zeroes && shape.may_unmap() && !request.flags().no_unmap() {
            Unmap::May
        } else {
            Unmap::Keep
        };
        if list_ranges(&mut request, unmap).is_err() {
            return Err(Refused::NotNow(request));
        }
    } else if !request.data().payload().is_empty() {
        request.data().payload().clear();
    }
    Transfer::new(request).map_err(|(request, _)| Refused::Never(request, Status::IO_ERROR))
}

fn list_ranges(request: &mut Request<Io>, unmap: Unmap) -> Result {
    // The memory stays with the tag.
    let mut list = core::mem::take(request.data().payload());
    list.clear();
    for range in request.ranges() {
        let segment = SegmentLayout::new(range.sector, range.count, unmap);
        list.extend_from_slice(&segment.to_bytes(), GFP_ATOMIC)?;
    }
    *request.data().payload() = list;
    Ok(())
}

/// Finds out how a request ended that the device has used.
#[inline]
pub(crate) fn status(request: &mut Request<Io>, legacy: bool) -> Result<Status, StatusError> {
    let [byte] = *request.data().footer();
    // What the device has written matters if somebody reads it, and if it says so truly.
    let expected = if request.reads() && !legacy {
        request.bytes().saturating_add(1)
    } else {
        0
    };
    let written = request.data().written();
    if byte == blk::Status::Ok.byte() && written >= expected {
        return Ok(Status::OK);
    }
    failure(byte, written, expected)
}

/// Finds out why a request has failed.
#[cold]
fn failure(byte: u8, written: u32, expected: u32) -> Result<Status, StatusError> {
    Ok(match blk::Status::of_read(byte, written, expected)? {
        blk::Status::Ok => Status::OK,
        blk::Status::Unsupported => Status::UNSUPPORTED,
        blk::Status::IoError | blk::Status::Zone(_) => Status::IO_ERROR,
    })
}
