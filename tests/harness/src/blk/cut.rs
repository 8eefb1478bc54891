// SPDX-License-Identifier: GPL-2.0

//! The power is cut while somebody writes: what was said to be stable is on the disk.

use super::load::{Driver, MIB, file, image};
use crate::{
    backend::Backend,
    cx::{Cx, Test},
    guest::Guest,
    kernel::STOCK,
    paths::Scratch,
};
use anyhow::{Result, bail, ensure};
use std::{
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::cut::keeps_what_is_stable_stock", |cx| {
        keeps(cx, STOCK, Driver::Ours, &[11])
    })
    .kernels(&[STOCK])
    .limit(300),
    Test::new("blk::cut::keeps_what_is_stable_in_tree", |cx| {
        keeps(cx, STOCK, Driver::InTree, &[11])
    })
    .limit(300)
    .exhaustive(),
];

/// How many blocks of 4 KiB each of the writers has, and how many writers there are.
const BLOCKS: u64 = 64;
const WRITERS: u64 = 3;

/// How often a writer has its writes made stable before the power may be cut.
const ENOUGH: u64 = 10;

/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes its blocks again and again, in an order that follows from the seed: a block is full of the
/// number of the write. After each fourth write, it makes them stable, and tells the number:
/// twice, as the serial port of a busy machine may stammer.
const WRITER: &str = r#"
    my ($disk, $writer, $blocks, $seed, $flushes) = @ARGV;
    open(my $to, "+<", "/dev/$disk") or die "$disk: $!";
    open(my $log, ">", "/dev/ttyS0") or die "ttyS0: $!";
    for (my $number = 1; ; $number++) {
        my $block = ($number * 7 + $seed) % $blocks + $writer * $blocks;
        sysseek($to, $block * 4096, 0) or die "seeking: $!";
        syswrite($to, pack("V", $number) x 1024) == 4096 or die "writing: $!";
        next if $number % 4;
        # fsync(), or sync_file_range(), which writes, but does not flush.
        ($flushes ? syscall(74, fileno($to)) : syscall(277, fileno($to), 0, 0, 7)) == 0
            or die "flushing: $!";
        syswrite($log, "stable $writer $number $number\n");
    }
"#;

/// Where the disk is.
#[derive(Clone, Copy)]
enum Place {
    /// A file that QEMU has, with the cache of the host or without.
    Qemu(&'static str),
    /// A file of our backend, which loses what was not flushed when it is killed.
    Backend,
}

/// What is done with it.
struct Form {
    name: &'static str,
    place: Place,
    /// What `cache_type` is set to.
    cache: Option<&'static str>,
    /// Whether the writers flush. If not, what they say must be wrong: else this proves nothing.
    flushes: bool,
}

const FORMS: &[Form] = &[
    Form {
        name: "file",
        place: Place::Qemu(""),
        cache: None,
        flushes: true,
    },
    Form {
        name: "file_without_cache",
        place: Place::Qemu(",cache.direct=on"),
        cache: None,
        flushes: true,
    },
    Form {
        name: "write_back",
        place: Place::Backend,
        cache: Some("write back"),
        flushes: true,
    },
    Form {
        name: "write_through",
        place: Place::Backend,
        cache: Some("write through"),
        flushes: true,
    },
    Form {
        name: "never_flushed",
        place: Place::Backend,
        cache: Some("write back"),
        flushes: false,
    },
];

/// Cuts the power in each form once for each seed.
fn keeps(cx: &mut Cx, flavour: &str, driver: Driver, seeds: &[u64]) -> Result<()> {
    for form in FORMS {
        for seed in seeds {
            cx.case(&format!("{}/{seed}", form.name), |cx| {
                let scratch = Scratch::new()?;
                let path = image(scratch.path())?;
                let stable = cut(cx, flavour, driver, form, *seed, &path)?;
                let lost = lost(&path, &stable, *seed)?;
                ensure!(
                    lost.is_empty() == form.flushes,
                    "after {stable:?} stable writes, these blocks are older: {lost:?}"
                );
                Ok(())
            });
        }
    }
    Ok(())
}

/// Boots a guest, has it write, and kills it, and who has the disk. Returns the last number that
/// each writer has told.
fn cut(
    cx: &mut Cx,
    flavour: &str,
    driver: Driver,
    form: &Form,
    seed: u64,
    path: &Path,
) -> Result<Vec<u64>> {
    let builder = driver
        .builder(cx, flavour)?
        .name(&format!("{}-{seed}", form.name))
        .tool("perl")
        .file("/writer", WRITER.as_bytes());
    let (builder, backend) = match form.place {
        Place::Qemu(options) => {
            let builder = file(builder, path, options);
            (builder.device("virtio-blk-pci,drive=d0,num-queues=2"), None)
        }
        Place::Backend => {
            let backend = cx.backend(&[("disk", &format!("file={}", path.display()))])?;
            let builder = backend.attach(builder, "disk", "num-queues=2");
            (builder, Some(backend))
        }
    };
    let guest = cx.boot(&builder)?;
    driver.load(&guest)?;
    let disk = driver.disk();
    if let Some(cache) = form.cache {
        guest.sh(&format!(
            "cd /sys/block/{disk} && echo {cache} >cache_type && cat cache_type"
        ))?;
    }
    let flushes = u32::from(form.flushes);
    for writer in 0..WRITERS {
        guest.sh(&format!(
            "perl /writer {disk} {writer} {BLOCKS} {seed} {flushes} >/tmp/writer{writer} 2>&1 &"
        ))?;
    }
    wait_for_some(&guest)?;
    // The moment differs from seed to seed.
    thread::sleep(Duration::from_millis(seed * 7));
    cut_power(&guest, backend.as_ref());
    Ok(stable(&guest))
}

fn wait_for_some(guest: &Guest) -> Result<()> {
    let start = Instant::now();
    while stable(guest).iter().any(|number| *number < 4 * ENOUGH) {
        if start.elapsed() > PATIENCE {
            let said = guest.sh("cat /tmp/writer*")?;
            bail!("the writers do not go on: {said}");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Kills the backend first: if QEMU went before, it would have time to tidy up.
fn cut_power(guest: &Guest, backend: Option<&Arc<Backend>>) {
    if let Some(backend) = backend {
        backend.kill();
    }
    guest.kill();
}

/// Returns the last number that each writer has told.
fn stable(guest: &Guest) -> Vec<u64> {
    let mut last = vec![0; usize::try_from(WRITERS).unwrap_or_default()];
    for line in guest.log().lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        let ["stable", writer, number, again] = words[..] else {
            continue;
        };
        let slot = writer
            .parse()
            .ok()
            .and_then(|index: usize| last.get_mut(index));
        if let (Some(slot), Ok(number), true) = (slot, number.parse::<u64>(), number == again) {
            *slot = number.max(*slot);
        }
    }
    last
}

/// Returns the writers and blocks in which something is older than what was stable, or was never
/// written there.
fn lost(path: &Path, stable: &[u64], seed: u64) -> Result<Vec<(usize, u64)>> {
    let file = File::open(path)?;
    ensure!(
        file.metadata()?.len() == MIB << 20,
        "the file has another size"
    );
    let mut lost = Vec::new();
    for (writer, stable) in stable.iter().enumerate() {
        for block in 0..BLOCKS {
            let is_here = |number: u64| (number * 7 + seed) % BLOCKS == block;
            let oldest = (1..=*stable).rev().find(|number| is_here(*number));
            let mut content = [0; 4096];
            let at = (u64::try_from(writer)? * BLOCKS + block) * 4096;
            file.read_exact_at(&mut content, at)?;
            let fine = content.chunks_exact(4).all(|word| {
                let number = word.try_into().map(u32::from_le_bytes).unwrap_or_default();
                let number = u64::from(number);
                match oldest {
                    Some(oldest) => number >= oldest && is_here(number),
                    None => number == 0 || is_here(number),
                }
            });
            if !fine {
                lost.push((writer, block));
            }
        }
    }
    ensure!(
        stable.iter().all(|number| *number > 0),
        "nothing was stable: {stable:?}"
    );
    Ok(lost)
}
