// SPDX-License-Identifier: GPL-2.0

//! What is counted, and how it is shown.

use super::Data;
use core::fmt;
use kernel::sync::atomic::Relaxed;
use kernel_ext::{
    block::{
        Operation,
        OperationCounts, //
    },
    virtio::Lines, //
};

/// What requests ask for, as they are shown.
const SHOWN: &[(&str, Operation)] = &[
    ("reads", Operation::Read),
    ("writes", Operation::Write),
    ("flushes", Operation::Flush),
    ("discards", Operation::Discard),
    ("write zeroes", Operation::WriteZeroes),
    ("secure erases", Operation::SecureErase),
];

fn show_requests(requests: &OperationCounts, lines: &mut Lines<'_, '_>) -> fmt::Result {
    for (name, shown) in SHOWN {
        lines.line(name, requests.of(|operation| operation == *shown))?;
    }
    let is_shown = |operation| SHOWN.iter().any(|(_, shown)| *shown == operation);
    lines.line("others", requests.of(|operation| !is_shown(operation)))
}

/// Shows the state of a device, and of each of its queues.
pub(crate) fn show(this: &Data<'_>, lines: &mut Lines<'_, '_>) -> fmt::Result {
    this.recovery.show(lines)?;
    lines.yes_no("deleting", this.deleting.load(Relaxed))?;

    for (index, queue) in this.queues.iter().enumerate() {
        let shown = queue.look();
        lines.section(format_args!("queue {index}"))?;
        lines.snapshot(shown.snapshot.as_ref())?;
        lines.yes_no("stopped", shown.stopped)?;
        lines.counters(&shown.counters)?;
        show_requests(&shown.requests, lines)?;
        lines.line("errors", queue.errors.load(Relaxed))?;
        lines.line("requeues", queue.requeues.load(Relaxed))?;
    }
    Ok(())
}
