// SPDX-License-Identifier: GPL-2.0

//! Bindings for the C items that `kernel::bindings` lacks.
//!
//! Everything `kernel::bindings` already has is reused: the glob import below provides those
//! items, and an item generated here shadows an opaque one of the same name.

#![allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
#![cfg_attr(not(CONFIG_RUSTC_HAS_UNNECESSARY_TRANSMUTES), allow(unknown_lints))]
#![allow(unnecessary_transmutes)]

pub(crate) use kernel::bindings::*;

use kernel::ffi;
use pin_init::MaybeZeroable;

include!(concat!(
    env!("KERNEL_EXT_OBJTREE"),
    "/bindings/bindings_generated.rs"
));

// Helpers go by the name of what they wrap.
pub(crate) use self::{
    rust_helper_reinit_completion as reinit_completion,
    rust_helper_virtio_del_vqs as virtio_del_vqs,
    rust_helper_virtio_device_ready as virtio_device_ready,
    rust_helper_virtio_find_vqs as virtio_find_vqs,
    rust_helper_virtio_get_features as virtio_get_features,
    rust_helper_virtio_synchronize_cbs as virtio_synchronize_cbs,
    rust_helper_virtqueue_add_parts as virtqueue_add_parts, //
};
