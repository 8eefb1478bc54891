// SPDX-License-Identifier: GPL-2.0

use super::*;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{MemfdFlags, memfd_create},
    pipe::pipe,
};
use std::{io::Write, os::unix::fs::FileExt};
use vm_memory::{Bytes, VolatileMemory};

/// Makes one, or says why there is none.
fn uring(capacity: u32) -> Option<Uring> {
    Uring::new(capacity)
        .inspect_err(|error| println!("skipped: {error}"))
        .ok()
}

fn file(length: u64) -> Arc<File> {
    let file = File::from(memfd_create("test", MemfdFlags::CLOEXEC).expect("a file"));
    file.set_len(length).expect("its length");
    Arc::new(file)
}

fn region(length: usize) -> Arc<MmapRegion> {
    Arc::new(MmapRegion::new(length).expect("memory"))
}

fn piece(region: &Arc<MmapRegion>, offset: usize, length: usize) -> Piece {
    Piece::new(Arc::clone(region), offset, length).expect("a piece")
}

fn operation(file: &Arc<File>, kind: Kind, offset: u64, pieces: Vec<Piece>) -> Operation {
    Operation {
        file: Arc::clone(file),
        kind,
        offset,
        pieces,
    }
}

fn fill(region: &MmapRegion, offset: usize, bytes: &[u8]) {
    let slice = region.get_slice(offset, bytes.len()).expect("a slice");
    slice.copy_from(bytes);
}

fn bytes(region: &MmapRegion, offset: usize, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let slice = region.as_volatile_slice();
    slice.read_slice(&mut bytes, offset).expect("bytes");
    bytes
}

#[test]
fn pieces_are_in_their_mapping() {
    let region = region(0x1000);
    for (offset, length) in [
        (0, 0),
        (0, 0x1001),
        (0xfff, 2),
        (usize::MAX, 2),
        (0x1000, 1),
    ] {
        let piece = Piece::new(Arc::clone(&region), offset, length);
        assert!(piece.is_err(), "{length} bytes at {offset}");
    }
    assert_eq!(piece(&region, 0xfff, 1).length(), 1);
}

#[test]
fn data_goes_to_a_file_and_back() {
    let Some(mut uring) = uring(8) else { return };
    let (file, memory) = (file(0x10000), region(0x10000));
    fill(&memory, 0x100, b"abc");
    fill(&memory, 0x300, b"defg");
    let from = vec![piece(&memory, 0x100, 3), piece(&memory, 0x300, 4)];
    let write = operation(&file, Kind::Write, 1000, from);
    uring.submit(5, write).expect("to be submitted");
    assert_eq!(uring.in_flight(), 1);
    uring.launch();
    let done = uring.wait();
    assert_eq!((done.len(), done[0].token), (1, 5));
    done[0].result.as_ref().expect("written");
    uring
        .submit(6, operation(&file, Kind::Sync, 0, Vec::new()))
        .expect("to be submitted");
    uring.wait().remove(0).result.expect("stable");

    let mut there = [0; 7];
    file.read_exact_at(&mut there, 1000).expect("a read");
    assert_eq!(&there, b"abcdefg");
    let to = vec![piece(&memory, 0x500, 5), piece(&memory, 0x600, 2)];
    let read = operation(&file, Kind::Read, 1000, to);
    uring.submit(7, read).expect("to be submitted");
    assert_eq!(uring.wait()[0].token, 7);
    assert_eq!(bytes(&memory, 0x500, 6), b"abcde\0");
    assert_eq!(bytes(&memory, 0x600, 3), b"fg\0");
    assert_eq!((uring.in_flight(), uring.continued()), (0, 0));
}

#[test]
fn errors_come_back() {
    let Some(mut uring) = uring(8) else { return };
    let memory = region(0x1000);
    let one = || vec![piece(&memory, 0, 0x1000)];
    let read_only = Arc::new(File::open("/dev/null").expect("a file"));
    for (number, file, kind) in [
        (1, &file(0x800), Kind::Read),
        (2, &read_only, Kind::Write),
        (3, &read_only, Kind::Sync),
    ] {
        let pieces = if kind == Kind::Sync {
            Vec::new()
        } else {
            one()
        };
        let operation = operation(file, kind, 0, pieces);
        uring.submit(number, operation).expect("to be submitted");
    }
    let mut done = uring.wait();
    done.sort_by_key(|done| done.token);
    let kinds: Vec<_> = done
        .iter()
        .map(|done| done.result.as_ref().expect_err("an error"))
        .map(|error| (error.kind(), error.raw_os_error()))
        .collect();
    assert_eq!(kinds[0].0, io::ErrorKind::UnexpectedEof);
    assert_eq!(kinds[1].1, Some(libc::EBADF));
    assert_eq!(kinds[2].1, Some(libc::EINVAL));
    // The part that there was has been read, and then the rest was asked for.
    assert_eq!(uring.continued(), 1);
}

#[test]
fn there_is_a_limit() {
    let Some(mut uring) = uring(4) else { return };
    let (file, memory) = (file(0x1000), region(0x1000));
    let read = || operation(&file, Kind::Read, 0, vec![piece(&memory, 0, 512)]);
    for token in 0..4 {
        uring.submit(token, read()).expect("to be submitted");
    }
    assert_eq!(uring.submit(4, read()).expect_err("full").kind, Kind::Read);
    assert_eq!(uring.wait().len(), 4);
    let long = vec![piece(&memory, 0, 1); MOST_PIECES + 1];
    assert!(
        uring
            .submit(5, operation(&file, Kind::Read, 0, long))
            .is_err()
    );
    uring.submit(6, read()).expect("to be submitted");
    assert_eq!(uring.wait().len(), 1);
}

#[test]
fn many_are_in_flight_at_once_and_come_back_as_they_are_done() {
    const DEPTH: u64 = 32;
    let Some(mut uring) = uring(64) else { return };
    let memory = region(0x1000);
    let mut pipes = Vec::new();
    for token in 0..DEPTH {
        // A pipe has nothing to read until somebody writes to it.
        let (reader, writer) = pipe().expect("a pipe");
        let at = usize::try_from(token).expect("an offset") * 8;
        let reader = Arc::new(File::from(reader));
        let read = operation(&reader, Kind::Read, 0, vec![piece(&memory, at, 8)]);
        uring.submit(token, read).expect("to be submitted");
        pipes.push(File::from(writer));
    }
    uring.launch();
    assert!(uring.reap().is_empty());
    assert_eq!(uring.in_flight(), 32);
    for token in (0..DEPTH).rev() {
        let pipe = &mut pipes[usize::try_from(token).expect("an index")];
        // In two parts, of which the first is a short read.
        pipe.write_all(&[b'a'; 3]).expect("a write");
        while uring.continued() < DEPTH - token {
            assert!(uring.reap().is_empty());
        }
        pipe.write_all(&[b'b'; 5]).expect("a write");
        let mut done = Vec::new();
        while done.is_empty() {
            done = uring.reap();
        }
        assert_eq!((done.len(), done[0].token), (1, token));
        done[0].result.as_ref().expect("a read");
        let at = usize::try_from(token).expect("an offset") * 8;
        assert_eq!(bytes(&memory, at, 8), b"aaabbbbb");
    }
    assert_eq!(uring.in_flight(), 0);
}

/// Submits a read of 4 bytes from a pipe, and returns both ends: it is done when somebody writes.
fn submit_read(uring: &mut Uring, memory: &Arc<MmapRegion>) -> (Arc<File>, File) {
    let (reader, writer) = pipe().expect("a pipe");
    let reader = Arc::new(File::from(reader));
    let read = operation(&reader, Kind::Read, 0, vec![piece(memory, 0, 4)]);
    uring.submit(0, read).expect("to be submitted");
    (reader, writer.into())
}

#[test]
fn who_drops_it_waits() {
    let Some(mut uring) = uring(4) else { return };
    let memory = region(0x1000);
    let (reader, mut writer) = submit_read(&mut uring, &memory);
    uring.launch();
    let late = std::thread::spawn(move || {
        sleep(Duration::from_millis(50));
        writer.write_all(b"late").expect("a write");
    });
    drop(uring);
    assert_eq!(bytes(&memory, 0, 4), b"late");
    late.join().expect("a thread");
    // Nothing has the mapping any more.
    assert_eq!(Arc::strong_count(&memory), 1);
    assert_eq!(Arc::strong_count(&reader), 1);
}

#[test]
fn a_thread_that_ends_takes_nothing_with_it() {
    let Some(mut uring) = uring(4) else { return };
    let memory = region(0x1000);
    let (_, mut writer) = submit_read(&mut uring, &memory);
    let mut uring = std::thread::spawn(move || {
        uring.launch();
        uring
    })
    .join()
    .expect("a thread");
    writer.write_all(b"data").expect("a write");
    let done = uring.wait();
    done[0].result.as_ref().expect("a read");
    assert_eq!(bytes(&memory, 0, 4), b"data");
}

#[test]
fn it_can_be_waited_for() {
    let Some(mut uring) = uring(4) else { return };
    let (_, mut writer) = submit_read(&mut uring, &region(0x1000));
    uring.launch();
    let ready = |uring: &Uring, milliseconds: i64| {
        let time = Timespec {
            tv_sec: 0,
            tv_nsec: milliseconds * 1_000_000,
        };
        let mut files = [PollFd::new(uring, PollFlags::IN)];
        // Another thread may have to be interrupted for it.
        matches!(poll(&mut files, Some(&time)), Ok(1))
    };
    assert!(!ready(&uring, 0));
    writer.write_all(b"data").expect("a write");
    assert!((0..100).any(|_| ready(&uring, 10)));
    assert_eq!(uring.reap().len(), 1);
    assert!(!ready(&uring, 0));
}

#[test]
fn a_ring_that_cannot_be_is_an_error() {
    let error = Uring::new(0).expect_err("no ring has no room");
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
}
