// SPDX-License-Identifier: GPL-2.0

//! The power is cut while somebody writes: what was said to be stable is on the disk.

use super::load::{Driver, MIB, file, image};
use crate::{
    backend::Backend,
    cx::{Cx, Test},
    form::{IN_ORDER, Negotiated, PACKED},
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
        keeps(cx, Driver::Ours, FORMS)
    })
    .kernels(&[STOCK])
    .limit(300),
    Test::new("blk::cut::keeps_what_is_stable_in_tree", |cx| {
        keeps(cx, Driver::InTree, FORMS)
    })
    .limit(300)
    .exhaustive(),
    Test::new("blk::cut::keeps_it_in_other_rings_stock", |cx| {
        keeps(cx, Driver::Ours, RINGS)
    })
    .kernels(&[STOCK])
    .limit(200)
    .exhaustive(),
    Test::new("blk::cut::keeps_it_in_other_rings_in_tree", |cx| {
        keeps(cx, Driver::InTree, RINGS)
    })
    .limit(200)
    .exhaustive(),
];

/// When the power is cut, and in which order blocks are written.
const SEED: u64 = 11;

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
    Backend(Ring),
}

/// What the rings are like that our backend offers.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ring {
    Split,
    Packed,
    InOrder,
}

impl Ring {
    const fn options(self) -> &'static str {
        match self {
            Self::Split => "num-queues=2",
            Self::Packed => "num-queues=2,packed=on",
            Self::InOrder => "num-queues=2,in_order=on",
        }
    }

    /// Fails if the driver uses another.
    fn check(self, guest: &Guest, driver: Driver) -> Result<()> {
        let features = Negotiated::read(guest, &format!("/sys/block/{}/device", driver.disk()))?;
        // Only the kernel's own driver cares for the order.
        let in_order = self == Self::InOrder && driver == Driver::InTree;
        ensure!(
            features.has(PACKED) == (self == Self::Packed) && features.has(IN_ORDER) == in_order,
            "the rings are of another kind"
        );
        Ok(())
    }
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
        place: Place::Backend(Ring::Split),
        cache: Some("write back"),
        flushes: true,
    },
    Form {
        name: "write_through",
        place: Place::Backend(Ring::Split),
        cache: Some("write through"),
        flushes: true,
    },
    Form {
        name: "never_flushed",
        place: Place::Backend(Ring::Split),
        cache: Some("write back"),
        flushes: false,
    },
];

/// The same with other rings.
const RINGS: &[Form] = &[
    Form {
        name: "packed",
        place: Place::Backend(Ring::Packed),
        cache: Some("write back"),
        flushes: true,
    },
    Form {
        name: "packed_never_flushed",
        place: Place::Backend(Ring::Packed),
        cache: Some("write back"),
        flushes: false,
    },
    Form {
        name: "in_order",
        place: Place::Backend(Ring::InOrder),
        cache: Some("write back"),
        flushes: true,
    },
];

/// Cuts the power once in each form.
fn keeps(cx: &mut Cx, driver: Driver, forms: &[Form]) -> Result<()> {
    for form in forms {
        cx.case(form.name, |cx| {
            let scratch = Scratch::new()?;
            let path = image(scratch.path())?;
            let stable = cut(cx, driver, form, &path)?;
            let lost = lost(&path, &stable)?;
            ensure!(
                lost.is_empty() == form.flushes,
                "after {stable:?} stable writes, these blocks are older: {lost:?}"
            );
            Ok(())
        });
    }
    Ok(())
}

/// Boots a guest, has it write, and kills it, and who has the disk. Returns the last number that
/// each writer has told.
fn cut(cx: &mut Cx, driver: Driver, form: &Form, path: &Path) -> Result<Vec<u64>> {
    let builder = driver
        .builder(cx, STOCK)?
        .name(form.name)
        .tool("perl")
        .file("/writer", WRITER.as_bytes());
    let (builder, backend) = match form.place {
        Place::Qemu(options) => {
            let builder = file(builder, path, options);
            (builder.device("virtio-blk-pci,drive=d0,num-queues=2"), None)
        }
        Place::Backend(ring) => {
            let backend = cx.backend(&[("disk", &format!("file={}", path.display()))])?;
            let builder = backend.attach(builder, "disk", ring.options());
            (builder, Some(backend))
        }
    };
    let guest = cx.boot(&builder)?;
    driver.load(&guest)?;
    if let Place::Backend(ring) = form.place {
        ring.check(&guest, driver)?;
    }
    let disk = driver.disk();
    if let Some(cache) = form.cache {
        guest.sh(&format!(
            "cd /sys/block/{disk} && echo {cache} >cache_type && cat cache_type"
        ))?;
    }
    let flushes = u32::from(form.flushes);
    for writer in 0..WRITERS {
        guest.sh(&format!(
            "perl /writer {disk} {writer} {BLOCKS} {SEED} {flushes} >/tmp/writer{writer} 2>&1 &"
        ))?;
    }
    wait_for_some(&guest)?;
    thread::sleep(Duration::from_millis(SEED * 7));
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
fn lost(path: &Path, stable: &[u64]) -> Result<Vec<(usize, u64)>> {
    let file = File::open(path)?;
    ensure!(
        file.metadata()?.len() == MIB << 20,
        "the file has another size"
    );
    let mut lost = Vec::new();
    for (writer, stable) in stable.iter().enumerate() {
        for block in 0..BLOCKS {
            let is_here = |number: u64| (number * 7 + SEED) % BLOCKS == block;
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
