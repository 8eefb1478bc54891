// SPDX-License-Identifier: GPL-2.0

//! File systems on disks of our backend, which ends again and again while programs work on files.

use super::handle::{Backend, Part, sum};
use crate::{
    blk::driver::Driver,
    cx::Cx,
    guest::Guest,
    kernel::STOCK,
    paths::{self, Scratch},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::fs::File;

/// The size of a disk, in bytes.
const SIZE: u64 = 64 << 20;

/// How many requests a disk has to return before its backend ends, and after that.
const ENOUGH: u64 = 50;

/// A disk: its name, where its sectors are, the properties of QEMU's device, and which of [`BITS`] the
/// driver accepts.
struct Form {
    name: &'static str,
    sectors: Sectors,
    properties: &'static str,
    features: &'static [usize],
}

/// Where the sectors of a disk are.
#[derive(PartialEq, Eq)]
enum Sectors {
    /// In a file.
    File,
    /// In a file that is empty, and stays so, and in what is over it.
    Overlay,
}

const PACKED: usize = 34;
const IN_ORDER: usize = 35;

/// The features that make a form.
const BITS: [usize; 2] = [PACKED, IN_ORDER];

const FORMS: [Form; 5] = [
    Form {
        name: "split",
        sectors: Sectors::File,
        properties: "num-queues=2",
        features: &[],
    },
    Form {
        name: "split_in_order",
        sectors: Sectors::File,
        properties: "num-queues=2,in_order=on",
        features: &[IN_ORDER],
    },
    Form {
        name: "packed",
        sectors: Sectors::File,
        properties: "num-queues=2,packed=on",
        features: &[PACKED],
    },
    Form {
        name: "packed_in_order",
        sectors: Sectors::File,
        properties: "num-queues=2,packed=on,in_order=on",
        features: &[PACKED, IN_ORDER],
    },
    Form {
        name: "overlay",
        sectors: Sectors::Overlay,
        properties: "num-queues=2",
        features: &[],
    },
];

/// A disk of each form has an ext4, all in one guest. Programs work on files, and look at what they
/// have written, while the backend is killed and ended; afterwards each file system is in order, and
/// has what it had.
pub fn outlive_backends(cx: &mut Cx, driver: &Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut parts = Vec::new();
    for Form { name, sectors, .. } in &FORMS {
        let image = scratch.path().join(name);
        File::create(&image)?.set_len(SIZE)?;
        // What is not flushed would be lost with a backend that is killed, as it has to be.
        let mut disk = format!("file={},write-through,serial={name}", image.display());
        if *sectors == Sectors::Overlay {
            disk += &format!(",overlay={}.changes", image.display());
        }
        parts.push(Part::blk(name, &disk));
    }
    let backend = cx.backend_of(parts)?;
    let filework = paths::built("filework")?;
    let mut builder = driver
        .builder(cx, STOCK)?
        .kernel_module("ext4")
        .tool("mkfs.ext4")
        .tool("e2fsck")
        .tool(filework.to_str().context("an odd path")?);
    for form in &FORMS {
        builder = backend.attach(builder, form.name, form.properties);
    }
    let guest = cx.boot(&builder)?;
    driver.load(&guest, "", FORMS.len())?;
    // Each has a name of its own in the guest, too.
    guest.sh("modprobe ext4
         for i in /sys/block/vd*; do
             name=$(cat $i/serial); ln -s ${i##*/} /dev/$name; mkdir /mnt/$name
             mkfs.ext4 -q -F /dev/$name; mount -t ext4 -o discard /dev/$name /mnt/$name
             (n=0; status=0
              until [ -e /tmp/stop ]; do
                  n=$((n + 1)); mkdir /mnt/$name/$n
                  filework --seed $n --workers 2 --steps 40 /mnt/$name/$n || { status=1; break; }
                  rm -rf /mnt/$name/$((n - 1))
              done
              echo $status >/tmp/$name.status) >/tmp/$name.said 2>&1 &
         done")?;
    for round in 0..3 {
        ends(&backend, round)?;
    }
    guest.sh("touch /tmp/stop")?;
    for form in &FORMS {
        cx.case(form.name, |_| is_in_order(&backend, &guest, driver, form));
        if form.sectors == Sectors::Overlay {
            let base = std::fs::read(scratch.path().join(form.name))?;
            ensure!(base.iter().all(|byte| *byte == 0), "the base was written");
        }
    }
    cx.end(&guest)
}

/// Has the backend end with a request of each disk in its hands, and another one go on.
fn ends(backend: &Backend, round: usize) -> Result<()> {
    for Form { name, .. } in &FORMS {
        backend.wait_until(name, "requests are served", |counters| {
            sum(counters, "returned") > ENOUGH
        })?;
    }
    for Form { name, .. } in &FORMS {
        backend.device(name, "inject", json!({ "do": "hold", "count": 1 }))?;
        backend.wait_until(name, "a request is held", |counters| {
            sum(counters, "waiting") > 0
        })?;
    }
    if round == 1 {
        backend.end()?;
    } else {
        backend.kill();
    }
    backend.restart()?;
    for Form { name, .. } in &FORMS {
        let counters = backend.wait_until(name, "it goes on", |counters| {
            sum(counters, "returned") > ENOUGH
        })?;
        ensure!(
            sum(&counters, "resumed") > 0,
            "nothing of {name} is taken up: {counters:#}"
        );
    }
    Ok(())
}

/// Waits for the work on a disk to end well, and looks at its file system before and after it was
/// unmounted.
fn is_in_order(backend: &Backend, guest: &Guest, driver: &Driver, form: &Form) -> Result<()> {
    let name = form.name;
    let accepted = guest.sh(&format!(
        "n=0
         until [ -s /tmp/{name}.status ]; do n=$((n + 1)); [ $n -lt 300 ] || exit; sleep 0.1; done
         cat /tmp/{name}.said >&2; [ $(cat /tmp/{name}.status) = 0 ] &&
         cat /sys/block/$(readlink /dev/{name})/device/features"
    ))?;
    for bit in BITS {
        let there = accepted.as_bytes().get(bit) == Some(&b'1');
        let expected = form.features.contains(&bit) && driver.accepts(bit);
        ensure!(there == expected, "features: {accepted}");
    }

    let sums = format!("cd /mnt/{name} && find . -type f | sort | xargs sha256sum");
    let before = guest.sh(&sums)?;
    let files = before.lines().count();
    ensure!(files > 4, "there are only {files} files");
    let discards = || -> Result<u64> {
        let counters = backend.counters(name)?;
        let discards = counters["class"]["requests"]["discard"].as_u64();
        discards.context("discards are not counted")
    };
    let discards_before = discards()?;
    guest.sh(&format!("fstrim /mnt/{name}; umount /mnt/{name}"))?;
    ensure!(discards()? > discards_before, "nothing is discarded");
    let checked = guest.run(&format!("e2fsck -f -n /dev/{name} 2>&1"))?;
    ensure!(checked.status == 0, "e2fsck: {}", checked.text);
    guest.sh(&format!("mount -t ext4 /dev/{name} /mnt/{name}"))?;
    let after = guest.sh(&sums)?;
    ensure!(
        before == after,
        "the files have changed, from\n{before}\nto\n{after}"
    );
    guest.sh(&format!("umount /mnt/{name}"))?;

    let counters = backend.counters(name)?;
    ensure!(sum(&counters, "errors") == 0, "{counters:#}");
    ensure!(sum(&counters, "twice") == 0, "{counters:#}");
    Ok(())
}
