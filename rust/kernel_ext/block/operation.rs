// SPDX-License-Identifier: GPL-2.0

//! What a request asks for.

use crate::bindings;

/// What a request asks the device to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[doc(alias = "req_op")]
pub enum Operation {
    /// Read sectors.
    Read,
    /// Write sectors.
    Write,
    /// Make durable what has been written.
    Flush,
    /// Forget sectors; what they read as is up to the device.
    Discard,
    /// Forget sectors, so that nobody can get at them any more.
    SecureErase,
    /// Let sectors read as zeroes; [`Flags::no_unmap`] tells whether they must stay allocated.
    WriteZeroes,
    /// Manage or append to a zone.
    Zone(ZoneOperation),
    /// A command of the driver's own, with data that the device writes: see
    /// [`Disk::execute`](super::Disk::execute).
    DriverIn,
    /// A command of the driver's own, with data that the device reads.
    DriverOut,
    /// What this layer does not know.
    Other(u32),
}

/// What a request asks the device to do with a zone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ZoneOperation {
    /// Write at the zone's write pointer, and tell where that was.
    Append,
    /// Open a zone.
    Open,
    /// Close a zone.
    Close,
    /// Make a zone full.
    Finish,
    /// Make a zone empty.
    Reset,
    /// Make all zones empty.
    ResetAll,
}

/// Which way data goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The device writes, to memory.
    FromDevice,
    /// The device reads, from memory.
    ToDevice,
}

impl Operation {
    /// Finds the operation of a request's `cmd_flags`.
    pub(super) const fn from_raw(flags: bindings::blk_opf_t) -> Self {
        match flags & ((1 << bindings::REQ_OP_BITS) - 1) {
            bindings::req_op_REQ_OP_READ => Self::Read,
            bindings::req_op_REQ_OP_WRITE => Self::Write,
            bindings::req_op_REQ_OP_FLUSH => Self::Flush,
            bindings::req_op_REQ_OP_DISCARD => Self::Discard,
            bindings::req_op_REQ_OP_SECURE_ERASE => Self::SecureErase,
            bindings::req_op_REQ_OP_WRITE_ZEROES => Self::WriteZeroes,
            bindings::req_op_REQ_OP_ZONE_APPEND => Self::Zone(ZoneOperation::Append),
            bindings::req_op_REQ_OP_ZONE_OPEN => Self::Zone(ZoneOperation::Open),
            bindings::req_op_REQ_OP_ZONE_CLOSE => Self::Zone(ZoneOperation::Close),
            bindings::req_op_REQ_OP_ZONE_FINISH => Self::Zone(ZoneOperation::Finish),
            bindings::req_op_REQ_OP_ZONE_RESET => Self::Zone(ZoneOperation::Reset),
            bindings::req_op_REQ_OP_ZONE_RESET_ALL => Self::Zone(ZoneOperation::ResetAll),
            bindings::req_op_REQ_OP_DRV_IN => Self::DriverIn,
            bindings::req_op_REQ_OP_DRV_OUT => Self::DriverOut,
            other => Self::Other(other),
        }
    }

    /// Tells the same as [`Operation::direction`], if all that one wants to know is whether the
    /// device writes; quicker, for each request asks.
    pub(super) const fn reads(flags: bindings::blk_opf_t) -> bool {
        matches!(
            flags & ((1 << bindings::REQ_OP_BITS) - 1),
            bindings::req_op_REQ_OP_READ | bindings::req_op_REQ_OP_DRV_IN
        )
    }

    /// Returns which way the data goes, if there is any.
    pub const fn direction(self) -> Option<Direction> {
        match self {
            Self::Read | Self::DriverIn => Some(Direction::FromDevice),
            Self::Write | Self::DriverOut | Self::Zone(ZoneOperation::Append) => {
                Some(Direction::ToDevice)
            }
            _ => None,
        }
    }
}

/// How many operations are counted apart. None has a greater number yet.
const COUNTED: usize = 64;

/// How many requests there were of each operation. To count one costs next to nothing.
#[derive(Clone, Copy)]
pub struct OperationCounts([u64; COUNTED]);

impl OperationCounts {
    /// Begins with none.
    pub const fn new() -> Self {
        Self([0; COUNTED])
    }

    /// Counts a request.
    #[inline]
    pub fn count(&mut self, operation: OperationNumber) {
        // CAST: This only widens.
        if let Some(count) = self.0.get_mut(operation.0 as usize % COUNTED) {
            *count += 1;
        }
    }

    /// Returns how many requests there were of the operations that `which` says.
    pub fn of(&self, which: impl Fn(Operation) -> bool) -> u64 {
        let numbers = self.0.iter().zip(0..);
        let counts = numbers.filter(|(_, number)| which(Operation::from_raw(*number)));
        counts.map(|(count, _)| count).sum()
    }
}

impl Default for OperationCounts {
    fn default() -> Self {
        Self::new()
    }
}

/// The number of an operation, to be [counted](OperationCounts::count).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationNumber(u32);

impl OperationNumber {
    pub(super) const fn from_raw(flags: bindings::blk_opf_t) -> Self {
        Self(flags & ((1 << bindings::REQ_OP_BITS) - 1))
    }
}

/// How a request is to be done.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[doc(alias = "req_flag_bits")]
pub struct Flags(bindings::blk_opf_t);

impl Flags {
    pub(super) const fn from_raw(flags: bindings::blk_opf_t) -> Self {
        Self(flags)
    }

    const fn has(self, bit: bindings::req_flag_bits) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// Tells whether what is written must be durable when the request ends.
    #[doc(alias = "REQ_FUA")]
    pub const fn fua(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_FUA)
    }

    /// Tells whether somebody waits for the request.
    #[doc(alias = "REQ_SYNC")]
    pub const fn sync(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_SYNC)
            || matches!(Operation::from_raw(self.0), Operation::Read)
    }

    /// Tells whether somebody polls for the end of the request.
    #[doc(alias = "REQ_POLLED")]
    pub const fn polled(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_POLLED)
    }

    /// Tells whether the request must rather fail than wait.
    #[doc(alias = "REQ_NOWAIT")]
    pub const fn no_wait(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_NOWAIT)
    }

    /// Tells whether it is about metadata.
    #[doc(alias = "REQ_META")]
    pub const fn meta(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_META)
    }

    /// Tells whether it may fail without harm.
    #[doc(alias = "REQ_RAHEAD")]
    pub const fn read_ahead(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_RAHEAD)
    }

    /// Tells whether sectors that are to be zeroes must stay allocated.
    #[doc(alias = "REQ_NOUNMAP")]
    pub const fn no_unmap(self) -> bool {
        self.has(bindings::req_flag_bits___REQ_NOUNMAP)
    }
}

#[cfg(kernel_ext_kunit)]
#[kernel::prelude::kunit_tests(kernel_ext_block_operation)]
mod tests {
    use super::*;

    #[test]
    fn the_operation_is_found_among_flags() {
        let fua_write = bindings::req_op_REQ_OP_WRITE | 1 << bindings::req_flag_bits___REQ_FUA;

        assert_eq!(Operation::from_raw(fua_write), Operation::Write);
        assert!(Flags::from_raw(fua_write).fua());
        assert!(!Flags::from_raw(fua_write).no_unmap());
    }

    #[test]
    fn operations_are_counted_apart() {
        let mut counts = OperationCounts::new();
        counts.count(OperationNumber::from_raw(bindings::req_op_REQ_OP_WRITE));
        counts.count(OperationNumber::from_raw(
            bindings::req_op_REQ_OP_WRITE | 1 << bindings::req_flag_bits___REQ_FUA,
        ));
        counts.count(OperationNumber::from_raw(bindings::req_op_REQ_OP_DRV_IN));

        assert_eq!(counts.of(|operation| operation == Operation::Write), 2);
        assert_eq!(counts.of(|operation| operation == Operation::DriverIn), 1);
        assert_eq!(counts.of(|operation| operation == Operation::Read), 0);
        assert_eq!(counts.of(|_| true), 3);
    }

    #[test]
    fn what_is_unknown_has_no_data() {
        let unknown = Operation::from_raw(77);

        assert_eq!(unknown, Operation::Other(77));
        assert_eq!(unknown.direction(), None);
    }

    #[test]
    fn data_goes_where_the_operation_says() {
        assert_eq!(Operation::Read.direction(), Some(Direction::FromDevice));
        assert_eq!(Operation::Write.direction(), Some(Direction::ToDevice));
        assert_eq!(Operation::WriteZeroes.direction(), None);
    }

    #[test]
    fn reads_are_waited_for() {
        assert!(Flags::from_raw(bindings::req_op_REQ_OP_READ).sync());
        assert!(!Flags::from_raw(bindings::req_op_REQ_OP_WRITE).sync());
    }
}
