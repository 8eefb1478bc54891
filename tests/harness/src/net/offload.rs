// SPDX-License-Identifier: GPL-2.0

//! Each offload is switched off and on again: what is sent still arrives, with a right checksum, in
//! frames of the size that the switch says.

use super::{
    lan::Lan,
    rig::{self, Driver, GUEST, PEER, PEER6},
};
use crate::{cx::Cx, guest::Guest, kernel::DEBUG};
use anyhow::{Result, ensure};

/// What `ethtool` calls the offloads that a driver must let be switched, if the host has them all.
const EXPECTED: &[&str] = &[
    "tx-checksum-ip-generic",
    "tx-scatter-gather",
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-udp-segmentation",
    "rx-gro-hw",
];

/// The longest frame, without VLAN tag, of an MTU of 1500.
const FRAME: u64 = 1514;

const DEVICE: &str = ",mq=on";

/// Datagrams that the kernel gets in large pieces.
const CUT: &str = "udp {} --segment 1400 60000 14000 14001 2801 60000 1401";

/// Switches one after the other.
pub fn is_switched(cx: &mut Cx, flavour: &str, driver: Driver) -> Result<()> {
    let mut lan = Lan::new(cx)?;
    let netdev = lan.tap("tap0", 1)?;
    let builder = rig::device(driver.builder(cx, flavour)?, 0, &netdev, "tap0", DEVICE);
    let guest = cx.boot(&builder)?;
    let nic = rig::load(&guest, driver)?;
    guest.sh("netcheck serve >/tmp/serve 2>&1 &")?;
    let bytes = if flavour == DEBUG { 400_000 } else { 2_000_000 };

    let switches = switches(&guest, &nic)?;
    cx.case("has_switches", |_| {
        for name in EXPECTED {
            ensure!(
                switches.iter().any(|switch| switch == name),
                "{name} cannot be switched, only {switches:?}"
            );
        }
        Ok(())
    });
    for name in &switches {
        cx.case(name, |_| {
            guest.sh(&format!("ethtool -K {nic} {name} off"))?;
            let off = everything_arrives(&guest, &lan, bytes);
            guest.sh(&format!("ethtool -K {nic} {name} on"))?;
            off?;
            everything_arrives(&guest, &lan, bytes / 4)
        });
    }
    cx.case("all", |_| {
        for state in ["off", "on"] {
            let all: Vec<_> = switches
                .iter()
                .map(|name| format!("{name} {state}"))
                .collect();
            guest.sh(&format!("ethtool -K {nic} {}", all.join(" ")))?;
            everything_arrives(&guest, &lan, bytes)?;
        }
        Ok(())
    });

    for (case, switch, work) in [
        ("streams", "tso", format!("tcp {{}} --up {bytes}")),
        ("datagrams", "tx-udp-segmentation", CUT.to_owned()),
    ] {
        cx.case(&format!("{case}_to_the_peer"), |_| {
            let work = format!("netcheck {}", work.replace("{}", PEER));
            are_cut(&guest, &lan, &nic, switch, true, || {
                guest.sh(&work).map(|_| ())
            })
        });
        cx.case(&format!("{case}_from_the_peer"), |_| {
            let work = work.replace("{}", GUEST);
            are_cut(&guest, &lan, &nic, "rx-gro-hw", false, || {
                lan.netcheck(&work).map(|_| ())
            })
        });
    }
    cx.case("nothing_is_wrong", |_| {
        lan.check()?;
        rig::checksums_are_right(&guest)?;
        let said = guest.sh("cat /tmp/serve")?;
        ensure!(!said.contains("CORRUPT"), "the guest's server says {said}");
        Ok(())
    });
    cx.end(&guest)
}

/// While a switch is on, frames of the work are larger than one can be on a wire; while it is off, not.
fn are_cut(
    guest: &Guest,
    lan: &Lan,
    nic: &str,
    switch: &str,
    from_guest: bool,
    work: impl Fn() -> Result<()>,
) -> Result<()> {
    let large = lan.frame_size("tap0", from_guest, &work)?;
    guest.sh(&format!("ethtool -K {nic} {switch} off"))?;
    let cut = lan.frame_size("tap0", from_guest, &work)?;
    guest.sh(&format!("ethtool -K {nic} {switch} on"))?;
    // Little but data is sent this way, in frames that are full.
    ensure!(
        large > FRAME && (FRAME / 2..=FRAME).contains(&cut),
        "frames have {large} bytes with {switch}, {cut} without"
    );
    Ok(())
}

/// Returns the features that `ethtool` can switch off, and that are on.
fn switches(guest: &Guest, nic: &str) -> Result<Vec<String>> {
    // The features of a group are indented below its name, or are it.
    let said = guest.sh(&format!("ethtool --json -k {nic}"))?;
    let said: serde_json::Value = serde_json::from_str(&said)?;
    let features = said[0].as_object();
    Ok(features
        .into_iter()
        .flatten()
        .filter(|(_, feature)| feature["active"] == true && feature["fixed"] == false)
        .map(|(name, _)| name.clone())
        .collect())
}

/// Datagrams and streams, in both directions.
fn everything_arrives(guest: &Guest, lan: &Lan, bytes: u32) -> Result<()> {
    guest.sh(&format!(
        "netcheck udp {PEER} 0 1 18 1000 1472 1473 9000 &&
         netcheck udp {PEER6} 1 1000 9000 &&
         netcheck tcp {PEER} --up {bytes} --down {bytes} &&
         netcheck tcp {PEER6} --up {bytes} --down {bytes}"
    ))?;
    lan.netcheck(&format!("udp {GUEST} 1 1000 9000"))?;
    Ok(())
}
