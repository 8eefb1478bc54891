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
    rust_helper_blk_mq_add_to_batch as blk_mq_add_to_batch,
    rust_helper_blk_mq_freeze_queue as blk_mq_freeze_queue,
    rust_helper_blk_mq_unfreeze_queue as blk_mq_unfreeze_queue,
    rust_helper_blk_set_write_cache as blk_set_write_cache,
    rust_helper_device_attribute_init as device_attribute_init,
    rust_helper_get_capacity as get_capacity,
    rust_helper_init_delayed_work as init_delayed_work,
    rust_helper_memcpy_from_bvec as memcpy_from_bvec,
    rust_helper_memcpy_to_bvec as memcpy_to_bvec,
    rust_helper_reinit_completion as reinit_completion,
    rust_helper_rq_next_segment as rq_next_segment,
    rust_helper_sg_set_mapped as sg_set_mapped,
    rust_helper_virtio_config_length as virtio_config_length,
    rust_helper_virtio_del_vqs as virtio_del_vqs,
    rust_helper_virtio_device_ready as virtio_device_ready,
    rust_helper_virtio_find_vqs as virtio_find_vqs,
    rust_helper_virtio_find_vqs_spread as virtio_find_vqs_spread,
    rust_helper_virtio_get_features as virtio_get_features,
    rust_helper_virtio_synchronize_cbs as virtio_synchronize_cbs,
    rust_helper_virtio_trylock as virtio_trylock,
    rust_helper_virtio_unlock as virtio_unlock,
    rust_helper_virtqueue_add_in as virtqueue_add_in,
    rust_helper_virtqueue_add_out as virtqueue_add_out,
    rust_helper_virtqueue_add_out_in as virtqueue_add_out_in,
    rust_helper_virtqueue_set_affinity as virtqueue_set_affinity,
    rust_helper_virtqueue_used_index as virtqueue_used_index, //
};
