// SPDX-License-Identifier: GPL-2.0

//! What can be said of a ring without a change to it.

/// What a ring says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// How many buffers are available, and were not taken.
    pub waiting: u16,
    /// Whether the driver is asked to notify of the next one.
    pub asked: bool,
    /// After how many more are returned the driver wants to be notified, if at all. For a packed ring
    /// these are descriptors.
    pub wanted: Option<u16>,
}
