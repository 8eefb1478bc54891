// SPDX-License-Identifier: GPL-2.0

//! What fails on the host, fails in the guest, and nothing else does.

use super::load::{Driver, LIMIT, Load, image};
use crate::{
    cx::{Cx, Test},
    guest::Guest,
    kernel::STOCK,
    paths::Scratch,
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("blk::error::is_told_stock", |cx| {
        is_told(cx, STOCK, Driver::Ours)
    })
    .kernels(&[STOCK]),
    Test::new("blk::error::is_told_in_tree", |cx| {
        is_told(cx, STOCK, Driver::InTree)
    })
    .exhaustive(),
];

/// The sectors that fail, behind what the load uses.
const READ: u64 = 65_536;
const WRITE: u64 = 65_600;
const FULL: u64 = 65_664;
const BOTH: u64 = 65_728;

/// What fails on the host.
fn faults() -> Value {
    const EIO: u32 = 5;
    const ENOSPC: u32 = 28;
    let fault = |iotype: &str, errno: u32, sector: u64| {
        json!({
            "event": "none", "iotype": iotype, "errno": errno, "sector": sector, "immediately": true,
        })
    };
    json!([
        fault("read", EIO, READ),
        fault("write", EIO, WRITE),
        fault("write", ENOSPC, FULL),
        fault("read", EIO, BOTH),
        fault("write", EIO, BOTH),
    ])
}

/// What one does with a sector, and whether it works.
struct Access {
    name: &'static str,
    sector: u64,
    reads: Option<&'static str>,
    writes: Option<&'static str>,
}

const FAILS: Option<&str> = Some("Input/output error");
const WORKS: Option<&str> = None;

const ACCESSES: &[Access] = &[
    Access {
        name: "read",
        sector: READ,
        reads: FAILS,
        writes: WORKS,
    },
    Access {
        name: "write",
        sector: WRITE,
        reads: WORKS,
        writes: FAILS,
    },
    Access {
        name: "no_space",
        sector: FULL,
        reads: WORKS,
        writes: FAILS,
    },
    Access {
        name: "both",
        sector: BOTH,
        reads: FAILS,
        writes: FAILS,
    },
];

/// Sectors fail, and flushes, while somebody uses the rest of the disk.
fn is_told(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let scratch = Scratch::new()?;
    let path = image(scratch.path())?;
    let file = json!({ "driver": "file", "filename": path, "locking": "off" });
    let disk = json!({
        "driver": "blkdebug", "node-name": "d0", "image": file, "inject-error": faults(),
    });
    let broken = json!({
        "driver": "blkdebug", "node-name": "d1",
        "image": { "driver": "null-co", "size": 1 << 20, "read-zeroes": true },
        "inject-error": [{ "event": "none", "iotype": "flush", "errno": 5, "immediately": true }],
    });
    let guest = cx.boot(
        &driver
            .builder(cx, flavour)?
            .qemu(&[
                "-blockdev",
                &disk.to_string(),
                "-blockdev",
                &broken.to_string(),
            ])
            .device("virtio-blk-pci,drive=d0,num-queues=2,werror=report,rerror=report")
            .device("virtio-blk-pci,drive=d1,serial=broken,werror=report,rerror=report"),
    )?;
    driver.load(&guest)?;
    let disk = driver.disk();
    let load = Load::start(&guest, &format!("/dev/{disk}"), disk)?;

    for access in ACCESSES {
        cx.case(access.name, |_| {
            let sector = access.sector;
            sees(&guest, disk, "read", sector, access.reads)?;
            sees(&guest, disk, "write", sector, access.writes)?;
            // Again, and beside it; and one that it is a part of.
            sees(&guest, disk, "read", sector, access.reads)?;
            for neighbour in [sector - 1, sector + 1] {
                sees(&guest, disk, "write", neighbour, WORKS)?;
                sees(&guest, disk, "read", neighbour, WORKS)?;
            }
            whole(&guest, disk, sector, access.reads)
        });
    }
    cx.case("flush", |_| {
        let broken = guest.sh("cd /sys/block; grep -l broken vd*/serial")?;
        let broken = broken.split('/').next().unwrap_or_default();
        sees(&guest, broken, "write", 8, WORKS)?;
        for _ in 0..2 {
            let said = guest.run_within(
                &format!("dd if=/dev/zero of=/dev/{broken} bs=4k count=1 conv=fsync 2>&1"),
                LIMIT,
            )?;
            ensure!(
                said.status != 0 && said.text.contains("Input/output error"),
                "dd says {}",
                said.text
            );
        }
        sees(&guest, broken, "read", 8, WORKS)
    });
    cx.case("others", |_| load.end());
    driver.unload(&guest)?;
    cx.end(&guest)
}

/// Reads or writes a sector, and looks at what comes of that.
fn sees(guest: &Guest, disk: &str, how: &str, sector: u64, error: Option<&str>) -> Result<()> {
    let files = match how {
        "read" => format!("if=/dev/{disk} of=/dev/null iflag=direct skip={sector}"),
        _ => format!("if=/dev/zero of=/dev/{disk} oflag=direct seek={sector}"),
    };
    expects(guest, &format!("dd {files} bs=512 count=1 2>&1"), error)
}

/// Reads 64 sectors around one.
fn whole(guest: &Guest, disk: &str, sector: u64, error: Option<&str>) -> Result<()> {
    let skip = sector / 64;
    expects(
        guest,
        &format!("dd if=/dev/{disk} of=/dev/null iflag=direct bs=32k skip={skip} count=1 2>&1"),
        error,
    )
}

fn expects(guest: &Guest, command: &str, error: Option<&str>) -> Result<()> {
    let said = guest.run_within(command, LIMIT)?;
    let right = match error {
        Some(error) => said.status != 0 && said.text.contains(error),
        None => said.status == 0 && said.text.contains("1+0 records out"),
    };
    ensure!(right, "{command}\nends with {}: {}", said.status, said.text);
    Ok(())
}
