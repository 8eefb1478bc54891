// SPDX-License-Identifier: GPL-2.0

//! Finds what a kernel complains of in its log.

use std::fmt;

/// A kind of complaint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A `WARN()` that is none of the others.
    Warn,
    /// A `BUG()`, or another message that starts with "BUG:".
    Bug,
    /// A fault of the processor in the kernel.
    Oops,
    /// The end.
    Panic,
    /// A panic of Rust code.
    RustPanic,
    /// A bad access to memory.
    Kasan,
    /// Undefined behaviour of C.
    Ubsan,
    /// A wrong use of locks or RCU.
    Lockdep,
    /// Sleeping where that is not allowed.
    AtomicSleep,
    /// A CPU that does not let RCU go on.
    RcuStall,
    /// A task that sleeps for too long.
    HungTask,
    /// A CPU or a work queue that does nothing else for too long.
    Lockup,
    /// A reference counter that over- or underflows.
    Refcount,
    /// A reference to a network device that nobody drops.
    RefLeak,
    /// A list whose links are wrong.
    List,
    /// An object of the slab allocator that was overwritten.
    Slab,
    /// A timer, a work or another object that is used in a wrong state.
    DebugObjects,
    /// A wrong use of DMA mappings.
    DmaApi,
    /// Memory that nobody refers to, as [`crate::guest::Guest::find_leaks`] reports it.
    Kmemleak,
    /// A transmit queue of a network device that is stuck.
    TxTimeout,
    /// A taint flag that only a complaint sets, and no message.
    Taint,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Warn => "WARN",
            Self::Bug => "BUG",
            Self::Oops => "Oops",
            Self::Panic => "panic",
            Self::RustPanic => "Rust panic",
            Self::Kasan => "KASAN",
            Self::Ubsan => "UBSAN",
            Self::Lockdep => "lockdep",
            Self::AtomicSleep => "sleep in atomic context",
            Self::RcuStall => "RCU stall",
            Self::HungTask => "hung task",
            Self::Lockup => "lockup",
            Self::Refcount => "refcount",
            Self::RefLeak => "reference leak",
            Self::List => "list corruption",
            Self::Slab => "slab corruption",
            Self::DebugObjects => "debug objects",
            Self::DmaApi => "DMA-API",
            Self::Kmemleak => "kmemleak",
            Self::TxTimeout => "transmit timeout",
            Self::Taint => "taint",
        })
    }
}

/// A complaint, with the line that tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splat {
    /// Its kind.
    pub kind: Kind,
    /// The line of the log.
    pub line: String,
}

impl fmt::Display for Splat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.line)
    }
}

/// What a line contains, all of it, and what that means. The first match counts.
const PATTERNS: &[(Kind, &[&str])] = &[
    (Kind::Kasan, &["BUG: KASAN:"]),
    (Kind::Kasan, &["BUG: KFENCE:"]),
    (Kind::Ubsan, &["UBSAN:"]),
    (
        Kind::AtomicSleep,
        &["BUG: sleeping function called from invalid context"],
    ),
    (Kind::AtomicSleep, &["BUG: scheduling while atomic"]),
    (
        Kind::AtomicSleep,
        &["Voluntary context switch within RCU read-side critical section"],
    ),
    (Kind::Lockdep, &["WARNING: possible "]),
    (Kind::Lockdep, &["WARNING: inconsistent lock state"]),
    (Kind::Lockdep, &["WARNING: suspicious RCU usage"]),
    (Kind::Lockdep, &["WARNING: bad unlock balance"]),
    (
        Kind::Lockdep,
        &["WARNING: lock held when returning to user space"],
    ),
    (Kind::Lockdep, &["WARNING: held lock freed"]),
    (Kind::Lockdep, &["WARNING: Nested lock was not taken"]),
    (Kind::Lockdep, &["BUG: Invalid wait context"]),
    (Kind::Lockdep, &["BUG: MAX_LOCK"]),
    (Kind::Lockdep, &["BUG: workqueue leaked"]),
    (Kind::Lockdep, &["INFO: trying to register non-static key"]),
    (Kind::Lockdep, &["still has locks held!"]),
    (Kind::RcuStall, &["rcu:", "detected stall"]),
    (Kind::RcuStall, &["rcu:", "self-detected stall"]),
    (Kind::RcuStall, &["rcu:", "detected expedited stalls"]),
    (Kind::HungTask, &["INFO: task ", "blocked for more than"]),
    (
        Kind::HungTask,
        &["INFO: task ", "blocked in I/O wait for more than"],
    ),
    (Kind::Lockup, &["BUG: soft lockup"]),
    (Kind::Lockup, &["hard LOCKUP"]),
    (Kind::Lockup, &["BUG: workqueue lockup"]),
    (Kind::Refcount, &["refcount_t:"]),
    (Kind::RefLeak, &["unregister_netdevice: waiting for"]),
    (Kind::RefLeak, &["ref_tracker: reference already released"]),
    (Kind::RefLeak, &["leaked reference"]),
    (Kind::List, &["list_add corruption"]),
    (Kind::List, &["list_add double add"]),
    (Kind::List, &["list_del corruption"]),
    (Kind::Slab, &["BUG ", "(Not tainted):"]),
    (Kind::Slab, &["BUG ", "(Tainted:"]),
    (Kind::Slab, &["Slab cache still has objects"]),
    (Kind::Slab, &["pagealloc: memory corruption"]),
    (Kind::DebugObjects, &["ODEBUG:"]),
    (Kind::DmaApi, &["DMA-API: ", "device driver"]),
    (Kind::DmaApi, &["DMA-API: ", "exceed"]),
    (Kind::DmaApi, &["DMA-API: ", "cacheline tracking"]),
    (Kind::TxTimeout, &["NETDEV WATCHDOG"]),
    (Kind::RustPanic, &["rust_kernel: panicked at"]),
    (Kind::Bug, &["kernel BUG at"]),
    (Kind::Oops, &["BUG: kernel NULL pointer dereference"]),
    (Kind::Oops, &["BUG: unable to handle"]),
    (Kind::Oops, &["Oops:"]),
    (Kind::Oops, &["general protection fault"]),
    (Kind::Oops, &["Unhandled fault"]),
    (Kind::Oops, &["Unable to handle kernel"]),
    (Kind::Oops, &["Internal error: "]),
    (Kind::Panic, &["Kernel panic - not syncing"]),
    (Kind::Warn, &["WARNING: "]),
    (Kind::Bug, &["BUG: "]),
];

/// Finds the complaints in a log.
pub fn find(log: &str) -> Vec<Splat> {
    log.lines().filter_map(classify).collect()
}

fn classify(line: &str) -> Option<Splat> {
    let message = message(line);
    PATTERNS
        .iter()
        .find(|(_, parts)| parts.iter().all(|part| message.contains(part)))
        .map(|&(kind, _)| Splat {
            kind,
            line: message.to_owned(),
        })
}

/// Cuts the time stamp off, and what a serial port adds.
fn message(line: &str) -> &str {
    let line = line.trim();
    match line
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((stamp, rest)) if stamp.trim().starts_with(|c: char| c.is_ascii_digit()) => rest,
        _ => line,
    }
}

/// The taint flags that only a complaint sets: bad page, Oops, WARN, lockup.
const TAINTS: u64 = 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;

/// Tells whether `/proc/sys/kernel/tainted` tells of a complaint.
pub fn taint(flags: u64) -> Option<Splat> {
    (flags & TAINTS != 0).then(|| Splat {
        kind: Kind::Taint,
        line: format!("the kernel is tainted ({flags:#x}), but its log does not tell why"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line of a log of Linux 7.3 for each kind that a guest test provokes, and others.
    #[test]
    fn each_complaint_is_named() {
        for (line, kind) in [
            (
                "[    1.5] WARNING: drivers/x.c:12 at f+0x1/0x2 [x], CPU#1: insmod/80",
                Kind::Warn,
            ),
            (
                "[    1.5] BUG: KASAN: slab-out-of-bounds in f+0x1/0x2 [x]",
                Kind::Kasan,
            ),
            (
                "[    1.5] UBSAN: shift-out-of-bounds in x.c:9:3",
                Kind::Ubsan,
            ),
            (
                "[    1.5] WARNING: possible circular locking dependency detected",
                Kind::Lockdep,
            ),
            ("[    1.5] WARNING: suspicious RCU usage", Kind::Lockdep),
            (
                "[    1.5] BUG: sleeping function called from invalid context at x.c:1",
                Kind::AtomicSleep,
            ),
            (
                "[   21.1] rcu: INFO: rcu_preempt self-detected stall on CPU",
                Kind::RcuStall,
            ),
            (
                "[   31.1] INFO: task x:12 blocked for more than 30 seconds.",
                Kind::HungTask,
            ),
            (
                "[   22.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [x:1]",
                Kind::Lockup,
            ),
            (
                "[    1.5] refcount_t: addition on 0; use-after-free.",
                Kind::Refcount,
            ),
            (
                "[    1.5] list_del corruption. prev->next should be x, but was y.",
                Kind::List,
            ),
            (
                "[    1.5] BUG kmalloc-64 (Not tainted): Poison overwritten",
                Kind::Slab,
            ),
            (
                "[    1.5] DMA-API: splat splat: device driver tries to free DMA memory",
                Kind::DmaApi,
            ),
            ("[    1.5] kernel BUG at x.c:5!", Kind::Bug),
            (
                "[    1.5] BUG: kernel NULL pointer dereference, address: 0",
                Kind::Oops,
            ),
            (
                "[    1.5] Unable to handle kernel NULL pointer dereference at virtual address 0",
                Kind::Oops,
            ),
            (
                "[    1.5] Internal error: synchronous external abort: 0000000096000010 [#1]  SMP",
                Kind::Oops,
            ),
            ("[    1.5] Kernel panic - not syncing: x", Kind::Panic),
            (
                "[    1.5] rust_kernel: panicked at x.rs:1:1:",
                Kind::RustPanic,
            ),
        ] {
            let found = find(line);
            assert_eq!(found.len(), 1, "{line}");
            assert_eq!(found[0].kind, kind, "{line}");
            assert!(!found[0].line.starts_with('['), "{line}");
        }
    }

    #[test]
    fn ordinary_messages_are_no_complaints() {
        let log = "[    0.1] DMA-API: preallocated 65536 debug entries\n\
                   [    0.1] DMA-API: debugging enabled by kernel config\n\
                   [    0.1] rcu: Hierarchical RCU implementation.\n\
                   [    0.1] kmemleak: Kernel memory leak detector initialized (mem pool available: 1)\n\
                   [    0.1] Spectre V2 : Mitigation: Retpolines\n\
                   [    0.1] x: loading out-of-tree module taints kernel.\n";

        assert_eq!(find(log), []);
    }

    #[test]
    fn taints_of_modules_are_no_complaints() {
        // Out of tree, unsigned.
        assert_eq!(taint(1 << 12 | 1 << 13), None);
        assert_eq!(
            taint(1 << 12 | 1 << 9).map(|splat| splat.kind),
            Some(Kind::Taint)
        );
    }
}
