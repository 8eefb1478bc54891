// SPDX-License-Identifier: GPL-2.0

//! Traffic for as long as something else goes on: transfers in both directions, and datagrams.

use crate::{
    tcp::{self, Corrupt, Server},
    udp,
};
use anyhow::{Result, anyhow, bail};
use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

/// How much a transfer moves each way.
const BYTES: u64 = 256 << 10;

/// The sizes of the datagrams: small, as large as a frame holds, in two fragments, in many.
const SIZES: [usize; 4] = [18, 1400, 2000, 9000];

/// What was done, and how often the network failed.
#[derive(Default)]
struct Counts {
    transfers: AtomicU64,
    datagrams: AtomicU64,
    broken: AtomicU64,
}

/// Makes traffic on `streams` connections at a time, and as many sockets for datagrams, until the file
/// `stop` is there. Only wrong bytes are an error; what else breaks is begun again, and counted.
pub fn run(to: &Server, streams: u64, stop: &Path) -> Result<()> {
    let counts = Counts::default();
    let counts = &counts;
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for stream in 0..streams {
            threads.push(scope.spawn(move || {
                let mut round = 0;
                repeat(stop, &counts.transfers, &counts.broken, || {
                    round += 1;
                    tcp::transfer(to, round << 8 | stream, BYTES, BYTES)
                })
            }));
            threads.push(scope.spawn(move || {
                repeat(stop, &counts.datagrams, &counts.broken, || {
                    let client = udp::Client::new(to, None)?;
                    SIZES
                        .into_iter()
                        .try_for_each(|size| client.exchange(size).map(|_| ()))
                })
            }));
        }
        for thread in threads {
            thread.join().map_err(|_| anyhow!("a thread panics"))??;
        }
        anyhow::Ok(())
    })?;
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    println!(
        "{} transfers, {} rounds of datagrams, {} broken",
        count(&counts.transfers),
        count(&counts.datagrams),
        count(&counts.broken)
    );
    Ok(())
}

fn repeat(
    stop: &Path,
    done: &AtomicU64,
    broken: &AtomicU64,
    mut work: impl FnMut() -> Result<()>,
) -> Result<()> {
    while !stop.exists() {
        match work() {
            Ok(()) => {
                done.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.is::<Corrupt>() => bail!(error),
            Err(error) => {
                println!("{error:#}");
                broken.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
            }
        }
    }
    Ok(())
}
