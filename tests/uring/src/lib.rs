// SPDX-License-Identifier: GPL-2.0

//! Files that are read and written by io_uring of Linux.
//!
//! A [`Uring`] is given operations, each with a token; it hands them to the kernel, and returns the
//! token when one is done. The data goes straight from and to memory that is mapped, in [`Piece`]s:
//! memory that others use at the same time, such as that of a guest.
//!
//! What the kernel accesses, it accesses while nobody waits for it. So an operation is owned by the
//! `Uring` until the kernel has said that it is done: the file, the mappings, and the list of where
//! they are. Who drops the `Uring` waits for all of them.
//!
//! What is done only in part is continued, and what was interrupted is done again, so that a token
//! comes back once, with all or with an error. A thread that hands over operations may end before they
//! are done: the kernel gives up some of them then, and they are handed over again.
//!
//! See `io_uring(7)`.

mod pending;
#[cfg(test)]
mod tests;

use io_uring::IoUring;
use pending::{Pending, Step};
use std::{
    collections::{HashMap, VecDeque},
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread::sleep,
    time::Duration,
};
use thiserror::Error;
use vm_memory::MmapRegion;

/// The most pieces of an operation, as the kernel has it.
pub const MOST_PIECES: usize = 1024;

/// How long to wait for a kernel that has no memory for an operation, and how often.
const PAUSE: Duration = Duration::from_millis(1);
const PATIENCE: u32 = 60_000;

/// Why io_uring cannot be used, or not like that.
#[derive(Debug, Error)]
pub enum Error {
    /// The kernel has none, or does not let this process use it.
    #[error("io_uring is not available: {0}")]
    Unavailable(#[source] io::Error),
    /// The kernel is too old: it could lose what was done.
    #[error("io_uring of this kernel is too old")]
    Old,
    /// A piece is not in its mapping, or has no bytes.
    #[error("{length} bytes at {offset} are no piece of a mapping")]
    Piece {
        /// Where it begins in the mapping.
        offset: usize,
        /// The number of bytes.
        length: usize,
    },
}

/// A part of a mapping, which stays mapped while this exists.
#[derive(Clone, Debug)]
pub struct Piece {
    region: Arc<MmapRegion>,
    offset: usize,
    length: usize,
}

impl Piece {
    /// Takes a part of a mapping.
    ///
    /// # Errors
    ///
    /// The mapping does not have all of it, or it has no bytes.
    pub fn new(region: Arc<MmapRegion>, offset: usize, length: usize) -> Result<Self, Error> {
        match offset.checked_add(length) {
            Some(end) if end <= region.size() && length > 0 => Ok(Self {
                region,
                offset,
                length,
            }),
            _ => Err(Error::Piece { offset, length }),
        }
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> usize {
        self.length
    }
}

/// What is done to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It is read into the pieces.
    Read,
    /// The pieces are written to it.
    Write,
    /// Its data is made stable; there are no pieces.
    Sync,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Operation {
    /// What it is done to.
    pub file: Arc<File>,
    /// What it is.
    pub kind: Kind,
    /// Where it begins in the file.
    pub offset: u64,
    /// The memory: at most [`MOST_PIECES`].
    pub pieces: Vec<Piece>,
}

/// An operation that is done.
#[derive(Debug)]
pub struct Completion {
    /// What it was called.
    pub token: u64,
    /// Whether all of it was done.
    pub result: io::Result<()>,
}

/// An io_uring, and the operations that it has not done yet.
///
/// # Invariants
///
/// Each operation that was pushed to `ring`, and for which no last completion has been taken from it, is
/// in `pending`, under the number that the kernel returns.
pub struct Uring {
    ring: IoUring,
    pending: HashMap<u64, Pending>,
    next: u64,
    capacity: usize,
    /// What there was no room for in the ring.
    unpushed: VecDeque<u64>,
    continued: u64,
}

impl std::fmt::Debug for Uring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Uring")
            .field("pending", &self.pending)
            .finish_non_exhaustive()
    }
}

impl Uring {
    /// Makes one for so many operations at once.
    ///
    /// # Errors
    ///
    /// The kernel has no io_uring, or it is not allowed.
    pub fn new(capacity: u32) -> Result<Self, Error> {
        let ring = IoUring::new(capacity).map_err(Error::Unavailable)?;
        if !ring.params().is_feature_nodrop() {
            return Err(Error::Old);
        }
        Ok(Self {
            ring,
            pending: HashMap::new(),
            next: 0,
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
            unpushed: VecDeque::new(),
            continued: 0,
        })
    }

    /// Returns how many operations are not done.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Returns how often the kernel was asked for the rest of an operation.
    pub fn continued(&self) -> u64 {
        self.continued
    }

    /// Takes an operation. It goes to the kernel with the next [`launch`](Self::launch).
    ///
    /// # Errors
    ///
    /// There are as many as there can be, or it has too many pieces: it is given back.
    pub fn submit(&mut self, token: u64, operation: Operation) -> Result<(), Operation> {
        if self.pending.len() >= self.capacity || operation.pieces.len() > MOST_PIECES {
            return Err(operation);
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.pending.insert(number, Pending::new(token, operation));
        self.unpushed.push_back(number);
        self.push();
        Ok(())
    }

    /// Puts what there is into the ring, as far as there is room.
    #[expect(
        unsafe_code,
        reason = "the kernel accesses memory by what is put into the ring"
    )]
    fn push(&mut self) {
        while let Some(number) = self.unpushed.front() {
            let Some(pending) = self.pending.get(number) else {
                self.unpushed.pop_front();
                continue;
            };
            let entry = pending.entry().user_data(*number);
            let mut queue = self.ring.submission();
            // SAFETY: What the entry names has to be valid until the operation is done:
            // - The list of memory is a `Vec` of `pending`, with as many elements as the entry says. It
            //   is not changed, nor dropped, before `reap` has taken the completion: `pending` stays in
            //   the map until then, and to move it there does not move what a `Vec` has.
            // - Each element of the list is a part of a mapping, as `Piece::new` has checked, which is
            //   mapped while `pending` has its `Arc`. Others may access it at the same time: nobody
            //   here has a reference to it, and the kernel copies bytes.
            // - The file is open while `pending` has its `Arc`.
            // If this is dropped, `Drop` waits for all completions before any of that is dropped.
            let pushed = unsafe { queue.push(&entry) };
            if pushed.is_err() {
                return;
            }
            self.unpushed.pop_front();
        }
    }

    /// Hands over what was submitted, and waits until so many are done.
    fn enter(&mut self, wanted: usize) {
        for _ in 0..PATIENCE {
            self.push();
            match self.ring.submit_and_wait(wanted) {
                // The kernel may have taken a part.
                Ok(_) if self.ring.submission().is_empty() && self.unpushed.is_empty() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    if wanted > 0 {
                        // Who waits looks whether there is something to wait for.
                        return;
                    }
                }
                // It has no memory, or wants completions to be taken.
                Err(_) => {
                    if !self.ring.completion().is_empty() {
                        return;
                    }
                    sleep(PAUSE);
                }
            }
        }
        eprintln!("io_uring takes nothing any more");
        // What it has taken can neither be waited for nor be dropped.
        std::process::abort();
    }

    /// Hands over what was submitted.
    pub fn launch(&mut self) {
        if !self.ring.submission().is_empty() || !self.unpushed.is_empty() {
            self.enter(0);
        }
    }

    /// Returns what is done.
    pub fn reap(&mut self) -> Vec<Completion> {
        let mut done = Vec::new();
        let mut again = false;
        let results: Vec<_> = self
            .ring
            .completion()
            .map(|entry| (entry.user_data(), entry.result()))
            .collect();
        for (number, result) in results {
            let Some(pending) = self.pending.get_mut(&number) else {
                continue;
            };
            match pending.advance(result) {
                Step::Done(result) => {
                    let token = pending.token();
                    self.pending.remove(&number);
                    done.push(Completion { token, result });
                }
                Step::Again => {
                    self.continued += 1;
                    self.unpushed.push_back(number);
                    again = true;
                }
            }
        }
        if again {
            self.launch();
        }
        done
    }

    /// Waits until everything is done, and returns it.
    pub fn wait(&mut self) -> Vec<Completion> {
        let mut done = self.reap();
        while !self.pending.is_empty() {
            self.enter(1);
            done.append(&mut self.reap());
        }
        done
    }
}

impl AsFd for Uring {
    /// Returns what can be read when something is done.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.wait();
    }
}
