// SPDX-License-Identifier: GPL-2.0

//! Extension of the `kernel` crate: abstractions that are not upstream yet.
//!
//! Its modules have the paths that they would have in the `kernel` crate. It is the only crate of
//! the project with `unsafe` code, and the only one that names C bindings; it is linked into each
//! module that uses it.

#![crate_name = "kernel_ext"]

mod bindings;

pub mod block;
pub mod fmt;
pub mod hwrng;
pub mod net;
pub mod sync;

pub mod virtio;
