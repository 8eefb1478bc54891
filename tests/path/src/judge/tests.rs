// SPDX-License-Identifier: GPL-2.0

//! A guest and a backend are made as they are after 20 pings, and then something is broken.

mod missing;
mod receive;
mod switch;
mod transmit;
mod whole;
mod world;

use world::{DRIVERS, Driver, World};
