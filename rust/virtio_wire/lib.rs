// SPDX-License-Identifier: GPL-2.0

//! What virtio drivers and devices tell each other, and whether it is valid.
//!
//! The *wire* is all that both ends see: feature bits, the device status, the configuration space,
//! the headers of requests and frames, control commands, and the rings. This crate defines the
//! layouts that the virtio specification gives them, and the checks that make values of the other
//! end usable. Reading memory is the business of its users: they copy what is on the wire once,
//! and hand the copy in.
//!
//! There are three sorts of types:
//!
//! - *Layouts*, such as [`net::Header`] or [`blk::RequestHeader`], have the fields in the order of
//!   the specification, in little-endian bytes, without alignment. Anything can be in them.
//! - *Meanings*, such as [`net::Receive`] or [`blk::Request`], come out of checks, and hold only
//!   what the specification allows.
//! - *Rules*, such as [`net::RxRules`] or [`blk::RequestRules`], are the checks. They are made once
//!   from the [`Accepted`](feature::Accepted) features, which in turn only a negotiation makes.
//!
//! Driver and device share all of it: what one end encodes, the other decodes. For the driver the
//! device is hostile, and for the device the driver is, so no function of this crate panics,
//! loops without a bound, or wraps around, whatever it is given.
//!
//! References are to the OASIS specification, as "virtio 1.3, 5.1.6.2"; what came later is cited
//! as "virtio 1.4". The legacy interface is understood where it is little-endian, as on x86.
//!
//! The crate is built twice from the same sources: by Kbuild into kernel modules, and by cargo for
//! programs and tests.

#![crate_name = "virtio_wire"]
// Kbuild says `no_std` on the command line, too.
#![allow(unused_attributes, clippy::duplicated_attributes)]
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::todo,
        clippy::unreachable,
        clippy::unwrap_used,
    )
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::cast_possible_truncation))]

#[cfg(test)]
extern crate std;

pub mod blk;
pub mod feature;
pub mod int;
pub mod net;
pub mod ring;
pub mod status;
pub mod wire;

#[cfg(test)]
mod props;
