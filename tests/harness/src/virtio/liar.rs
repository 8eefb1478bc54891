// SPDX-License-Identifier: GPL-2.0

//! A device that lies (`tests/guest/modules/liar.c`), and what the entropy driver makes of it: an
//! error in a bounded time, one message at most, and a guest that goes on.

use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// What a reader gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Read {
    /// Bytes, all the time.
    Bytes,
    /// An error, now and later: the queue is broken.
    Broken,
    /// An error after a bounded time.
    TimedOut,
    /// An error after a bounded time, then at once: the queue is broken.
    Fails,
    /// Bytes, until the driver looks at the right time and notices: the device is a buffer ahead,
    /// which is what a fast device looks like. Then there is an error, now and later.
    Perhaps,
    /// The device has no driver.
    Unbound,
}

/// A lie.
struct Lie {
    name: &'static str,
    /// Parameters of the module.
    parameters: &'static str,
    read: Read,
    /// What the kernel's log says of the device, each line in part.
    messages: &'static [&'static str],
}

const fn lie(
    name: &'static str,
    parameters: &'static str,
    read: Read,
    messages: &'static [&'static str],
) -> Lie {
    Lie {
        name,
        parameters,
        read,
        messages,
    }
}

const LIES: &[Lie] = &[
    lie(
        "id_range",
        "lie=id_range after=4",
        Read::Broken,
        &["input:id 8 out of range"],
    ),
    lie(
        "id_huge",
        "lie=id_huge after=4",
        Read::Broken,
        &["input:id 4294967295 out of range"],
    ),
    lie(
        "id_free",
        "lie=id_free after=4",
        Read::Broken,
        &["is not a head!"],
    ),
    lie(
        "len_long",
        "lie=len_long after=4",
        Read::Broken,
        &["has written 65 bytes to a buffer of 64"],
    ),
    lie(
        "len_huge",
        "lie=len_huge after=4",
        Read::Broken,
        &["has written 4294967295 bytes to a buffer of 64"],
    ),
    lie(
        "id_twice",
        "lie=id_twice after=4 times=1",
        Read::Broken,
        &["has used more buffers than it has"],
    ),
    lie(
        "idx_jump",
        "lie=idx_jump after=4 times=1",
        Read::Broken,
        &["has used more buffers than it has"],
    ),
    lie(
        "idx_back",
        "lie=idx_back after=4 times=1",
        Read::Broken,
        &["has used more buffers than it has"],
    ),
    lie("in_order", "features=0x930000000", Read::Bytes, &[]),
    lie(
        "in_order_id_free",
        "features=0x930000000 lie=id_free after=4",
        Read::Broken,
        &["is not a head!"],
    ),
    lie(
        "in_order_id_range",
        "features=0x930000000 lie=id_range after=4",
        Read::Broken,
        &["input:id 8 out of range"],
    ),
    lie(
        "in_order_len_long",
        "features=0x930000000 lie=len_long after=4",
        Read::Broken,
        &["has written 65 bytes to a buffer of 64"],
    ),
    lie(
        "in_order_idx_jump",
        "features=0x930000000 lie=idx_jump after=4 times=1",
        Read::Broken,
        &["has used more buffers than it has"],
    ),
    lie(
        "plain_ring_id_free",
        "features=0x100000000 lie=id_free after=4",
        Read::Broken,
        &["is not a head!"],
    ),
    lie("legacy", "features=0", Read::Bytes, &[]),
    lie(
        "idx_early",
        "lie=idx_early",
        Read::Perhaps,
        &["has used more buffers than it has"],
    ),
    lie("len_zero", "lie=len_zero after=4", Read::TimedOut, &[]),
    lie(
        "len_zero_thrice",
        "lie=len_zero after=4 times=3",
        Read::Bytes,
        &[],
    ),
    lie("silent", "lie=silent after=4", Read::TimedOut, &[]),
    lie("notify_fails", "lie=notify_fails after=4", Read::Fails, &[]),
    lie("irq_early", "lie=irq_early", Read::Bytes, &[]),
    lie("irq_late", "lie=irq_late", Read::Bytes, &[]),
    lie("irq_storm", "lie=irq_storm", Read::Bytes, &[]),
    lie("config_storm", "lie=config_storm", Read::Bytes, &[]),
    lie(
        "needs_reset",
        "lie=needs_reset after=4 times=1",
        Read::Bytes,
        &[],
    ),
    lie("features_fickle", "lie=features_fickle", Read::Bytes, &[]),
    lie(
        "features_refused",
        "lie=features_refused",
        Read::Unbound,
        &["device refuses features"],
    ),
    lie(
        "status_early",
        "lie=status_early",
        Read::Unbound,
        &["live before it was told", "failed with error -5"],
    ),
    lie(
        "no_queue",
        "queues=0",
        Read::Unbound,
        &["failed with error -2"],
    ),
    lie("size_0", "size=0", Read::Unbound, &["failed with error -2"]),
    lie("size_1", "size=1", Read::Bytes, &[]),
    lie(
        "size_7",
        "size=7",
        Read::Unbound,
        &["Bad virtqueue length 7", "failed with error -12"],
    ),
    lie("size_32768", "size=32768", Read::Bytes, &[]),
];

/// Functions for the shell of the guest. Its first virtio device is QEMU's, the liar is the second.
const FUNCTIONS: &str = r#"
    available=/sys/class/misc/hw_random
    now() { cut -d . -f 1 /proc/uptime; }
    # Reads some bytes, and says how that ends.
    try() {
        if said=$(dd if=/dev/hwrng of=/tmp/bytes bs=64 count=${1:-64} iflag=fullblock 2>&1); then
            echo bytes
        else
            case $said in
            *timed\ out*) echo timeout ;;
            *Input/output\ error*) echo broken ;;
            *) echo "$said" ;;
            esac
        fi
    }
    # Each value is about as frequent as the others: the device counts.
    evenly() {
        od -A n -v -t u1 -w1 /tmp/bytes | sort | uniq -c | awk '
            { values++; if ($1 < 15 || $1 > 17) odd++ }
            END { print values, odd + 0 }'
    }
    load() {
        dmesg -c >/dev/null
        modprobe liar "$@" || exit
        echo rust_virtio_rng.1 >$available/rng_current 2>/dev/null
    }
"#;

/// What the functions print for one lie.
fn tell(guest: &Guest, parameters: &str, reads: &str) -> Result<String> {
    guest.sh(&format!(
        "{FUNCTIONS}
         load {parameters}
         if [ -e /sys/bus/virtio/drivers/rust_virtio_rng/virtio1 ]; then
             {reads}
         else
             echo unbound
         fi
         cat /sys/kernel/debug/liar/bad_kicks
         rmmod liar || exit
         [ ! -e /sys/bus/virtio/devices/virtio1 ] || exit
         dmesg | grep -e virtio1: -e rust_virtio
         true"
    ))
}

/// Checks that a device works that has nothing to do with the liar.
fn others_work(guest: &Guest) -> Result<()> {
    let said = guest.sh(&format!(
        "{FUNCTIONS}
         echo rust_virtio_rng.0 >$available/rng_current
         try"
    ))?;
    ensure!(said == "bytes\n", "another device does not work: {said}");
    Ok(())
}

/// Checks what the kernel has said of the device.
fn messages_are(lines: &[&str], expected: &[&str]) -> Result<()> {
    ensure!(
        lines.len() == expected.len()
            && lines
                .iter()
                .zip(expected)
                .all(|(line, part)| line.contains(part)),
        "the messages are {lines:#?} instead of {expected:?}"
    );
    Ok(())
}

fn is_met(guest: &Guest, lie: &Lie) -> Result<()> {
    let once = "try; echo $(($(now) - start < 20))";
    let said = tell(
        guest,
        lie.parameters,
        &format!(
            "start=$(now); {}",
            if lie.read == Read::TimedOut {
                once.to_owned()
            } else {
                format!("try; {once}")
            }
        ),
    )?;

    let expected = match lie.read {
        Read::Bytes => "bytes\nbytes\n1\n0\n",
        Read::Broken => "broken\nbroken\n1\n0\n",
        Read::TimedOut => "timeout\n1\n0\n",
        // The kernel's own thread may have read before, and have had to wait.
        Read::Fails if said.starts_with("timeout") => "timeout\nbroken\n1\n0\n",
        Read::Fails => "broken\nbroken\n1\n0\n",
        Read::Perhaps if said.starts_with("bytes\nbroken") => "bytes\nbroken\n1\n0\n",
        Read::Perhaps if said.starts_with("broken") => "broken\nbroken\n1\n0\n",
        Read::Perhaps => "bytes\nbytes\n1\n0\n",
        Read::Unbound => "unbound\n0\n",
    };
    let Some(messages) = said.strip_prefix(expected) else {
        anyhow::bail!("the guest says {said:?} instead of {expected:?}");
    };
    let unnoticed = lie.read == Read::Perhaps && !said.contains("broken");
    let expected = if unnoticed { &[] } else { lie.messages };
    messages_are(&messages.lines().collect::<Vec<_>>(), expected)?;
    others_work(guest)
}

pub fn is_met_stock(cx: &mut Cx) -> Result<()> {
    all_are_met(cx, STOCK)
}

pub fn is_met_debug(cx: &mut Cx) -> Result<()> {
    all_are_met(cx, DEBUG)
}

fn all_are_met(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = cx
        .kernel(flavour)?
        .module("liar")?
        .module("rust_virtio_rng")?
        .kernel_module("virtio_rng")
        .device("virtio-rng-pci");
    let guest = cx.boot(&builder)?;

    cx.case("honest_with_the_driver_in_tree", |_| {
        let said = guest.sh(&format!(
            "{FUNCTIONS}
             modprobe virtio_rng && modprobe liar && echo virtio_rng.1 >$available/rng_current
             try; evenly
             cat /sys/kernel/debug/liar/bad_kicks
             rmmod virtio_rng liar"
        ))?;
        ensure!(said == "bytes\n256 0\n0\n", "the guest says {said}");
        Ok(())
    });
    guest.sh("modprobe rust_virtio_rng")?;
    cx.case("honest", |_| {
        let said = tell(&guest, "", "try; evenly")?;
        ensure!(said == "bytes\n256 0\n0\n", "the guest says {said}");
        others_work(&guest)
    });
    for lie in LIES {
        cx.case(lie.name, |_| is_met(&guest, lie));
    }
    cx.case("reset_slow", |_| reset_is_waited_for(&guest));
    cx.case("status_stuck", |_| status_is_stuck(&guest));
    cx.case("unplugged_while_it_is_read", |_| {
        is_unplugged_while_it_is_read(&guest)
    });
    cx.case("unloaded_while_broken", |_| unloads_while_broken(&guest));
    Ok(())
}

/// A driver waits for a reset for as long as the transport does: it must not free what the device
/// may still write to.
fn reset_is_waited_for(guest: &Guest) -> Result<()> {
    let said = guest.sh(&format!(
        "{FUNCTIONS}
         load lie=reset_slow times=1
         try
         start=$(cut -d . -f 1 /proc/uptime)
         rmmod liar
         took=$(($(now) - start))
         echo $((took >= 2 && took < 12))"
    ))?;
    ensure!(said == "bytes\n1\n", "the guest says {said}");
    others_work(guest)
}

/// A reset that leaves the status as it is: the core warns of that, not of the driver.
fn status_is_stuck(guest: &Guest) -> Result<()> {
    let said = guest.sh(&format!(
        "{FUNCTIONS}
         load lie=status_stuck
         try
         rmmod liar"
    ))?;
    ensure!(said == "bytes\n", "the guest says {said}");
    let splats = guest.take_splats();
    ensure!(
        splats.len() == 1 && splats[0].line.contains("virtio_dev_remove"),
        "the kernel complains: {splats:?}"
    );
    others_work(guest)
}

/// The device goes away under a reader and a storm of interrupts, again and again.
fn is_unplugged_while_it_is_read(guest: &Guest) -> Result<()> {
    let said = guest.sh(&format!(
        "{FUNCTIONS}
         for i in $(seq 10); do
             load lie=irq_storm
             cat /dev/hwrng >/dev/null 2>&1 &
             usleep 50000
             cat /sys/kernel/debug/liar/bad_kicks
             rmmod liar || exit
             kill $! 2>/dev/null
             wait
         done"
    ))?;
    ensure!(said == "0\n".repeat(10), "the guest says {said}");
    others_work(guest)
}

fn unloads_while_broken(guest: &Guest) -> Result<()> {
    let said = guest.sh(&format!(
        "{FUNCTIONS}
         load lie=id_range
         try
         rmmod rust_virtio_rng && rmmod liar && modprobe rust_virtio_rng"
    ))?;
    ensure!(said == "broken\n", "the guest says {said}");
    others_work(guest)
}
