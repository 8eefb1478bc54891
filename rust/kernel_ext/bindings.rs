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
    rust_helper_blk_mq_freeze_queue_within as blk_mq_freeze_queue_within,
    rust_helper_blk_mq_unfreeze_queue as blk_mq_unfreeze_queue,
    rust_helper_blk_set_write_cache as blk_set_write_cache, rust_helper_build_skb as build_skb,
    rust_helper_consume_skb as consume_skb,
    rust_helper_cpuhp_remove_multi_state as cpuhp_remove_multi_state,
    rust_helper_cpuhp_setup_multi_state as cpuhp_setup_multi_state,
    rust_helper_cpuhp_state_add_instance as cpuhp_state_add_instance,
    rust_helper_cpuhp_state_remove_instance as cpuhp_state_remove_instance,
    rust_helper_device_attribute_init as device_attribute_init,
    rust_helper_get_capacity as get_capacity, rust_helper_init_delayed_work as init_delayed_work,
    rust_helper_memcpy_from_bvec as memcpy_from_bvec, rust_helper_memcpy_to_bvec as memcpy_to_bvec,
    rust_helper_napi_add as napi_add, rust_helper_napi_del as napi_del,
    rust_helper_napi_may_complete as napi_may_complete, rust_helper_napi_receive as napi_receive,
    rust_helper_napi_schedule as napi_schedule,
    rust_helper_napi_schedule_irqoff as napi_schedule_irqoff,
    rust_helper_netdev_addr_lock as netdev_addr_lock,
    rust_helper_netdev_addr_unlock as netdev_addr_unlock,
    rust_helper_netdev_alloc_skb as netdev_alloc_skb, rust_helper_netdev_detach as netdev_detach,
    rust_helper_netdev_flags as netdev_flags,
    rust_helper_netdev_get_tx_queue as netdev_get_tx_queue,
    rust_helper_netdev_hw_addr_list_count as netdev_hw_addr_list_count,
    rust_helper_netdev_hw_addr_list_for_each as netdev_hw_addr_list_for_each,
    rust_helper_netdev_set_mtu as netdev_set_mtu, rust_helper_netdev_setup as netdev_setup_device,
    rust_helper_netdev_state as netdev_state_of,
    rust_helper_netdev_tx_completed_queue as netdev_tx_completed_queue,
    rust_helper_netdev_tx_reset_queue as netdev_tx_reset_queue,
    rust_helper_netdev_tx_sent_queue as netdev_tx_sent_queue,
    rust_helper_netdev_xmit_begin as netdev_xmit_begin,
    rust_helper_netif_set_xps_queue as netif_set_xps_queue,
    rust_helper_netif_tx_lock as netif_tx_lock, rust_helper_netif_tx_lock_bh as netif_tx_lock_bh,
    rust_helper_netif_tx_queue_stopped as netif_tx_queue_stopped,
    rust_helper_netif_tx_start_queue as netif_tx_start_queue,
    rust_helper_netif_tx_stop_queue as netif_tx_stop_queue,
    rust_helper_netif_tx_trylock as netif_tx_trylock,
    rust_helper_netif_tx_trylock_bh as netif_tx_trylock_bh,
    rust_helper_netif_tx_unlock as netif_tx_unlock,
    rust_helper_netif_tx_unlock_bh as netif_tx_unlock_bh, rust_helper_nf_reset_ct as nf_reset_ct,
    rust_helper_page_pool_alloc as page_pool_alloc,
    rust_helper_page_pool_create as page_pool_create, rust_helper_page_pool_get as page_pool_get,
    rust_helper_page_pool_held as page_pool_held, rust_helper_page_pool_put as page_pool_put,
    rust_helper_page_pool_sync_for_cpu as page_pool_sync_for_cpu,
    rust_helper_reinit_completion as reinit_completion,
    rust_helper_rq_next_segment as rq_next_segment, rust_helper_sg_set_end as sg_set_end,
    rust_helper_sg_set_mapped as sg_set_mapped, rust_helper_sg_set_pool_page as sg_set_pool_page,
    rust_helper_skb_add_piece as skb_add_piece, rust_helper_skb_add_tail as skb_add_tail,
    rust_helper_skb_append as skb_append, rust_helper_skb_append_skb as skb_append_skb,
    rust_helper_skb_get_offload as skb_get_offload,
    rust_helper_skb_header_cloned as skb_header_cloned, rust_helper_skb_linearize as skb_linearize,
    rust_helper_skb_list as skb_list, rust_helper_skb_orphan as skb_orphan,
    rust_helper_skb_set_checksum_verified as skb_set_checksum_verified,
    rust_helper_skb_set_hash as skb_set_hash, rust_helper_skb_tx_timestamp as skb_tx_timestamp,
    rust_helper_skb_write_before as skb_write_before,
    rust_helper_virtio_config_length as virtio_config_length,
    rust_helper_virtio_del_vqs as virtio_del_vqs,
    rust_helper_virtio_device_ready as virtio_device_ready,
    rust_helper_virtio_entry_address as virtio_entry_address,
    rust_helper_virtio_find_vqs as virtio_find_vqs,
    rust_helper_virtio_find_vqs_spread as virtio_find_vqs_spread,
    rust_helper_virtio_get_features as virtio_get_features,
    rust_helper_virtio_net_hdr_to_skb as virtio_net_hdr_to_skb,
    rust_helper_virtio_span_address as virtio_span_address,
    rust_helper_virtio_synchronize_cbs as virtio_synchronize_cbs,
    rust_helper_virtio_trylock as virtio_trylock, rust_helper_virtio_unlock as virtio_unlock,
    rust_helper_virtqueue_add_in as virtqueue_add_in,
    rust_helper_virtqueue_add_out as virtqueue_add_out,
    rust_helper_virtqueue_add_out_in as virtqueue_add_out_in,
    rust_helper_virtqueue_add_out_list as virtqueue_add_out_list,
    rust_helper_virtqueue_map_entry as virtqueue_map_entry,
    rust_helper_virtqueue_packed_vring as virtqueue_packed_vring,
    rust_helper_virtqueue_set_affinity as virtqueue_set_affinity,
    rust_helper_virtqueue_used_index as virtqueue_used_index,
    rust_helper_virtqueue_uses_map as virtqueue_uses_map,
    rust_helper_vlan_features_check as vlan_features_check,
};
