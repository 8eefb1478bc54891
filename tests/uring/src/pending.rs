// SPDX-License-Identifier: GPL-2.0

//! An operation that is not done.

use crate::{Kind, Operation, Piece};
use io_uring::{
    opcode::{Fsync, Readv, Writev},
    squeue::Entry,
    types::{Fd, FsyncFlags},
};
use libc::iovec;
use std::{io, os::fd::AsRawFd};

/// How often in a row the kernel may give up an operation for no reason of its own.
const TRIES: u32 = 100;

/// Where memory is, as the kernel reads it.
#[derive(Debug)]
struct List(Vec<iovec>);

// SAFETY: The pointers are never used here: they are numbers for the kernel, which has them mean the
// same for each thread of the process. What they point to is owned by `Pending`, in an `Arc` of a mapping
// that may be sent itself.
#[expect(unsafe_code, reason = "pointers that are not followed")]
unsafe impl Send for List {}

/// What becomes of an operation.
#[derive(Debug)]
pub enum Step {
    /// It is done.
    Done(io::Result<()>),
    /// The rest of it has to be asked for.
    Again,
}

/// An operation that is not done.
///
/// # Invariants
///
/// Each element of `list` is a part of a piece of `operation`, which is in the mapping that the piece
/// has.
#[derive(Debug)]
pub struct Pending {
    token: u64,
    operation: Operation,
    list: List,
    /// How many bytes are done.
    done: usize,
    tries: u32,
}

/// Returns where pieces are, but for some bytes at the front.
fn list(pieces: &[Piece], mut skip: usize) -> List {
    let mut list = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let here = skip.min(piece.length);
        skip -= here;
        if here < piece.length {
            // INVARIANT: `Piece::new` has checked that `offset + length` is in the mapping, and `here` is
            // less than `length`.
            list.push(iovec {
                iov_base: piece
                    .region
                    .as_ptr()
                    .wrapping_add(piece.offset + here)
                    .cast(),
                iov_len: piece.length - here,
            });
        }
    }
    List(list)
}

impl Pending {
    /// Takes an operation.
    pub fn new(token: u64, operation: Operation) -> Self {
        Self {
            token,
            list: list(&operation.pieces, 0),
            operation,
            done: 0,
            tries: 0,
        }
    }

    /// Returns what it is called.
    pub fn token(&self) -> u64 {
        self.token
    }

    fn length(&self) -> usize {
        self.operation.pieces.iter().map(Piece::length).sum()
    }

    /// Returns what the kernel is to do, which is what is not done.
    pub fn entry(&self) -> Entry {
        let Operation {
            file, kind, offset, ..
        } = &self.operation;
        let file = Fd(file.as_raw_fd());
        let List(list) = &self.list;
        let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
        let offset = offset.wrapping_add(u64::try_from(self.done).unwrap_or(0));
        match kind {
            Kind::Read => Readv::new(file, list.as_ptr(), count)
                .offset(offset)
                .build(),
            Kind::Write => Writev::new(file, list.as_ptr(), count)
                .offset(offset)
                .build(),
            Kind::Sync => Fsync::new(file).flags(FsyncFlags::DATASYNC).build(),
        }
    }

    /// Takes note of what the kernel has done: a number of bytes, or an error, which is negative. The
    /// kernel does not read the list any more.
    pub fn advance(&mut self, result: i32) -> Step {
        let Ok(count) = usize::try_from(result) else {
            let error = io::Error::from_raw_os_error(result.saturating_neg());
            self.tries += 1;
            return match error.raw_os_error() {
                // The last one is for a thread that has ended, and took operations with it.
                Some(libc::EINTR | libc::EAGAIN | libc::ECANCELED) if self.tries < TRIES => {
                    Step::Again
                }
                _ => Step::Done(Err(error)),
            };
        };
        self.tries = 0;
        if self.operation.kind == Kind::Sync {
            return Step::Done(Ok(()));
        }
        self.done = self.done.saturating_add(count);
        if self.done >= self.length() {
            Step::Done(Ok(()))
        } else if count == 0 {
            let kind = match self.operation.kind {
                Kind::Read => io::ErrorKind::UnexpectedEof,
                _ => io::ErrorKind::WriteZero,
            };
            Step::Done(Err(kind.into()))
        } else {
            self.list = list(&self.operation.pieces, self.done);
            Step::Again
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::File, sync::Arc};
    use vm_memory::MmapRegion;

    fn pending(kind: Kind) -> Pending {
        let region = Arc::new(MmapRegion::new(0x1000).expect("memory"));
        let piece =
            |offset, length| Piece::new(Arc::clone(&region), offset, length).expect("a piece");
        let pieces = match kind {
            Kind::Sync => Vec::new(),
            _ => vec![piece(0x100, 10), piece(0x200, 20)],
        };
        let file = Arc::new(File::open("/dev/null").expect("a file"));
        Pending::new(
            7,
            Operation {
                file,
                kind,
                offset: 512,
                pieces,
            },
        )
    }

    /// Returns offsets in the mapping, and lengths.
    fn parts(pending: &Pending) -> Vec<(usize, usize)> {
        let base = pending.operation.pieces[0].region.as_ptr().addr();
        let parts = pending.list.0.iter();
        parts
            .map(|part| (part.iov_base.addr() - base, part.iov_len))
            .collect()
    }

    #[test]
    fn what_is_short_is_continued() {
        let mut pending = pending(Kind::Read);
        assert_eq!(parts(&pending), [(0x100, 10), (0x200, 20)]);
        assert!(matches!(pending.advance(4), Step::Again));
        assert_eq!(parts(&pending), [(0x104, 6), (0x200, 20)]);
        assert!(matches!(pending.advance(6), Step::Again));
        assert_eq!(parts(&pending), [(0x200, 20)]);
        assert!(matches!(pending.advance(19), Step::Again));
        assert_eq!(parts(&pending), [(0x213, 1)]);
        assert!(matches!(pending.advance(1), Step::Done(Ok(()))));
    }

    #[test]
    fn an_end_is_an_error() {
        for (kind, wanted) in [
            (Kind::Read, io::ErrorKind::UnexpectedEof),
            (Kind::Write, io::ErrorKind::WriteZero),
        ] {
            let mut pending = pending(kind);
            assert!(matches!(pending.advance(29), Step::Again));
            let Step::Done(Err(error)) = pending.advance(0) else {
                panic!("it is an error");
            };
            assert_eq!(error.kind(), wanted);
        }
    }

    #[test]
    fn what_is_given_up_is_done_again_but_not_for_ever() {
        for error in [libc::EINTR, libc::EAGAIN, libc::ECANCELED] {
            let mut pending = pending(Kind::Sync);
            assert!(matches!(pending.advance(-error), Step::Again));
            assert!(matches!(pending.advance(0), Step::Done(Ok(()))));
            for _ in 1..TRIES {
                assert!(matches!(pending.advance(-error), Step::Again));
            }
            assert!(matches!(pending.advance(-error), Step::Done(Err(_))));
        }
        let step = pending(Kind::Write).advance(-libc::EIO);
        assert!(matches!(step, Step::Done(Err(_))));
    }
}
