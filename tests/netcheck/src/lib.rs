// SPDX-License-Identifier: GPL-2.0

//! What `netcheck` sends, for whoever makes its frames by hand.

pub mod pattern;
