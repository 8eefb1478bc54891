// SPDX-License-Identifier: GPL-2.0

//! The targets. Each says what its bytes are; where there are no more, they are zero.

mod backend;
mod blk;
mod common;
mod net;
mod ring;

pub use self::{
    backend::{backend_blk, backend_control, backend_messages, backend_net, backend_receive},
    blk::{blk_config, blk_request},
    common::{features, status},
    net::{net_command, net_config, net_receive, net_stats, net_transmit},
    ring::{packed_event, packed_walk, split_walk},
};
