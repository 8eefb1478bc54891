// SPDX-License-Identifier: GPL-2.0

//! What is counted.

use super::receive::Bad;
use kernel_ext::net::Counter;

/// What is counted for a queue to the device. Whoever has the lock of the queue counts.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct TxStats {
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
    pub(crate) drops: Counter,
    pub(crate) kicks: Counter,
    pub(crate) gso_packets: Counter,
    pub(crate) stops: Counter,
    pub(crate) wakes: Counter,
    pub(crate) timeouts: Counter,
}

/// What is counted for a queue from the device. Whoever polls it counts.
#[derive(Default)]
#[repr(align(64))]
pub(crate) struct RxStats {
    pub(crate) packets: Counter,
    pub(crate) bytes: Counter,
    pub(crate) drops: Counter,
    pub(crate) kicks: Counter,
    pub(crate) gso_packets: Counter,
    /// Buffers that the device has used for frames.
    pub(crate) buffers: Counter,
    /// Frames with a header that cannot be.
    pub(crate) bad_header: Counter,
    /// Frames that are too short, or longer than was negotiated.
    pub(crate) bad_length: Counter,
    /// Frames in the wrong number of buffers.
    pub(crate) bad_buffers: Counter,
    /// Frames for which there was no memory.
    pub(crate) no_memory: Counter,
}

impl RxStats {
    /// Counts a frame that was dropped.
    pub(crate) fn drop_for(&self, bad: &Bad) {
        self.drops.increment();
        match bad {
            Bad::Header => self.bad_header.increment(),
            Bad::Length => self.bad_length.increment(),
            Bad::Buffers => self.bad_buffers.increment(),
            Bad::NoMemory => self.no_memory.increment(),
        }
    }
}

/// A counter with its name.
pub(crate) type Named<S> = (&'static str, fn(&S) -> &Counter);

/// The counters of queues to the device, with the names that users of the C driver know.
pub(crate) const TX: &[Named<TxStats>] = &[
    ("packets", |stats| &stats.packets),
    ("bytes", |stats| &stats.bytes),
    ("drops", |stats| &stats.drops),
    ("kicks", |stats| &stats.kicks),
    ("tx_timeouts", |stats| &stats.timeouts),
    ("gso_packets", |stats| &stats.gso_packets),
    ("stops", |stats| &stats.stops),
    ("wakes", |stats| &stats.wakes),
];

/// The counters of queues from the device.
pub(crate) const RX: &[Named<RxStats>] = &[
    ("packets", |stats| &stats.packets),
    ("bytes", |stats| &stats.bytes),
    ("drops", |stats| &stats.drops),
    ("kicks", |stats| &stats.kicks),
    ("gso_packets", |stats| &stats.gso_packets),
    ("buffers", |stats| &stats.buffers),
    ("bad_header", |stats| &stats.bad_header),
    ("bad_length", |stats| &stats.bad_length),
    ("bad_buffers", |stats| &stats.bad_buffers),
    ("no_memory", |stats| &stats.no_memory),
];
