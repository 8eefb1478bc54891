// SPDX-License-Identifier: GPL-2.0

//! The kernel's own tests of network devices, from its source: what passes with its own driver passes
//! with ours.

mod drivers;

use super::{
    lan::Lan,
    rig::{self, Driver},
};
use crate::{
    cx::{Cx, Test},
    kernel::{Kernel, STOCK},
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeSet, fs};

/// The tests of this file.
pub const TESTS: &[Test] = &[
    Test::new("net::selftest::netdevice", netdevice)
        .kernels(&[STOCK])
        .limit(120),
    Test::new("net::selftest::drivers", |cx| {
        drivers::are_passed(cx, drivers::SHORT)
    })
    .kernels(&[STOCK])
    .memory(1536)
    .alone()
    .limit(900),
    Test::new("net::selftest::long_drivers", |cx| {
        drivers::are_passed(cx, drivers::LONG)
    })
    .kernels(&[STOCK])
    .memory(1536)
    .alone()
    .exhaustive()
    .limit(3000),
];

/// Where it is in the kernel's source.
const NETDEVICE: &str = "tools/testing/selftests/net/netdevice.sh";

/// `netdevice.sh` opens and closes the device, changes its address, and switches each of its features
/// off and on.
fn netdevice(cx: &mut Cx) -> Result<()> {
    let theirs = results(cx, Driver::InTree)?;
    let ours = results(cx, Driver::Ours)?;
    ensure!(
        theirs
            .iter()
            .filter(|line| line.starts_with("PASS"))
            .count()
            > 30,
        "it tells of {theirs:?}"
    );
    for line in &ours {
        cx.case(&name(line), |_| {
            let fails = line.starts_with("FAIL") || line.starts_with("XFAIL");
            ensure!(!fails || theirs.contains(line), "{line}");
            Ok(())
        });
    }
    cx.case("nothing_is_missing", |_| {
        let missing: Vec<_> = theirs
            .difference(&ours)
            .filter(|line| line.starts_with("PASS"))
            .collect();
        ensure!(missing.is_empty(), "{missing:?}");
        Ok(())
    });
    Ok(())
}

/// Returns what the name of a case may be made of.
fn name(line: &str) -> String {
    let (_, what) = line.split_once(": eth0: ").unwrap_or(("", line));
    what.replace(|c: char| !c.is_ascii_alphanumeric(), "_")
}

/// Returns its lines.
fn results(cx: &mut Cx, driver: Driver) -> Result<BTreeSet<String>> {
    let mut lan = Lan::new(cx)?;
    let source = Kernel::find(STOCK)?.tree.join("source").join(NETDEVICE);
    let script = fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
    let netdev = lan.tap("tap0", 2)?;
    let builder = driver.builder(cx, STOCK)?.file("/netdevice.sh", &script);
    // Our driver does not know of tunnels.
    let options = ",mq=on,host_tunnel=off,guest_tunnel=off";
    let guest = cx.boot(&rig::device(builder, 0, &netdev, "tap0", options))?;
    guest.sh(&format!("modprobe {} && nic 0", driver.module()))?;
    let said = guest.run("sh /netdevice.sh 2>/dev/null")?.text;
    guest.sh(&format!("rmmod {}", driver.module()))?;
    cx.end(&guest)?;
    let verdicts = ["PASS: ", "FAIL: ", "XFAIL: ", "SKIP: "];
    Ok(said
        .lines()
        .filter(|line| verdicts.iter().any(|verdict| line.starts_with(verdict)))
        .filter(|line| line.contains(": eth"))
        .map(str::to_owned)
        .collect())
}
