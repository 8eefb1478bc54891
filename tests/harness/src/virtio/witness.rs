// SPDX-License-Identifier: GPL-2.0

//! A device that lies (`tests/guest/modules/liar.c`) about features and its configuration, and what
//! a driver (`tests/guest/drivers/witness.rs`) sees of it: what the rules allow, or an error.

use crate::{
    cx::Cx,
    guest::Guest,
    kernel::{DEBUG, STOCK},
};
use anyhow::{Result, ensure};

/// A device, and what the kernel's log says of it: a part of each line.
struct Case {
    name: &'static str,
    /// Parameters of the liar.
    parameters: &'static str,
    /// What is done while it is bound.
    commands: &'static str,
    said: &'static [&'static str],
}

const fn case(
    name: &'static str,
    parameters: &'static str,
    commands: &'static str,
    said: &'static [&'static str],
) -> Case {
    Case {
        name,
        parameters,
        commands,
        said,
    }
}

const ACCEPTS: &str = "accepts 0x100430028";
const ADDRESS: &str = "address 02:00:00:00:00:01";
const UP: &str = "1 pairs, MTU Some(1500), link Up";

/// `VERSION_1`, `MQ`, `CTRL_VQ`, `STATUS`, `MAC` and `MTU`, unless a case says otherwise; 6 bytes of
/// the address, then 2 each of the status, the number of pairs, and the MTU.
const CASES: &[Case] = &[
    case(
        "honest",
        "config=2,0,0,0,0,1,1,0,1,0,220,5",
        "",
        &[ACCEPTS, ADDRESS, UP, "0 changes, 0 violations"],
    ),
    case(
        "changes",
        "config=2,0,0,0,0,1,1,0,1,0,220,5",
        "echo 0x20000000002 >$change; sleep 1",
        &[
            ACCEPTS,
            ADDRESS,
            UP,
            "address 02:00:00:00:00:02",
            "1 pairs, MTU Some(1500), link Down",
            "1 changes, 0 violations",
        ],
    ),
    case(
        "changes_to_what_cannot_be",
        "config=2,0,0,0,0,1,1,0,1,0,220,5",
        "echo 0x20000000001 >$change; sleep 1",
        &[
            ACCEPTS,
            ADDRESS,
            UP,
            "the MAC address is that of a group",
            "1 changes, 0 violations",
        ],
    ),
    case(
        "storm",
        "config=2,0,0,0,0,1,1,0,1,0,220,5 lie=config_storm",
        "sleep 2",
        &[ACCEPTS, ADDRESS, UP, " changes, 0 violations"],
    ),
    case(
        "restless",
        "config=2,0,0,0,0,1,1,0,1,0,220,5 lie=config_restless",
        "",
        &[
            ACCEPTS,
            "the configuration does not stop changing",
            "failed with error -5",
        ],
    ),
    case(
        "restless_for_a_while",
        "config=2,0,0,0,0,1,1,0,1,0,220,5 lie=config_restless times=6",
        "",
        &[
            ACCEPTS,
            "address 08:00:00:00:00:01",
            UP,
            "0 changes, 0 violations",
        ],
    ),
    case(
        "mtu",
        "config=2,0,0,0,0,1,1,0,1,0,10,0",
        "",
        &[ACCEPTS, "an MTU of 10", "failed with error -22"],
    ),
    case(
        "pairs",
        "config=2,0,0,0,0,1,1,0,0,0,220,5",
        "",
        &[
            ACCEPTS,
            "there cannot be 0 pairs of queues",
            "failed with error -22",
        ],
    ),
    case(
        "address",
        "config=1,0,0,0,0,1,1,0,1,0,220,5",
        "",
        &[
            ACCEPTS,
            "the MAC address is that of a group",
            "failed with error -22",
        ],
    ),
    case(
        "gso_without_checksums",
        "features=0x100000080",
        "",
        &[
            "the device offers what cannot be: VIRTIO_NET_F_GUEST_TSO4 needs VIRTIO_NET_F_GUEST_CSUM",
            "accepts 0x100000000",
            "no address",
            "1 pairs, MTU None, link Up",
            "0 changes, 0 violations",
        ],
    ),
    case(
        "queues_without_control",
        "features=0x100400000",
        "",
        &[
            "the device offers what cannot be: VIRTIO_NET_F_MQ needs VIRTIO_NET_F_CTRL_VQ",
            "accepts 0x100000000",
            "no address",
            "1 pairs, MTU None, link Up",
            "0 changes, 0 violations",
        ],
    ),
    case(
        "legacy_with_modern_features",
        "features=0x8000000000000020 config=2,0,0,0,0,1",
        "",
        &[
            "the device offers what cannot be: VIRTIO_NET_F_SPEED_DUPLEX needs VIRTIO_F_VERSION_1",
            "accepts 0x20",
            ADDRESS,
            "1 pairs, MTU None, link Up",
            "0 changes, 0 violations",
        ],
    ),
    case(
        "undefined",
        "features=0x200106000000",
        "",
        &[
            "accepts 0x100000000",
            "no address",
            "1 pairs, MTU None, link Up",
            "0 changes, 0 violations",
        ],
    ),
    case(
        "refused",
        "lie=features_refused",
        "",
        &["virtio: device refuses features"],
    ),
];

pub fn sees_stock(cx: &mut Cx) -> Result<()> {
    sees(cx, STOCK)
}

pub fn sees_debug(cx: &mut Cx) -> Result<()> {
    sees(cx, DEBUG)
}

fn sees(cx: &mut Cx, flavour: &str) -> Result<()> {
    let builder = cx
        .kernel(flavour)?
        .module("liar")?
        .module("rust_virtio_witness")?;
    let guest = cx.boot(&builder)?;
    guest.sh("modprobe rust_virtio_witness")?;

    for case in CASES {
        cx.case(case.name, |_| is_seen(&guest, case));
    }
    cx.case("offers_differ", |_| offers_differ(&guest));
    cx.case("messages_end", |_| messages_end(&guest));
    Ok(())
}

/// Loads the liar, does something, and unloads it; returns what the log says of the device.
fn lines(guest: &Guest, parameters: &str, commands: &str) -> Result<Vec<String>> {
    let said = guest.sh(&format!(
        "change=/sys/kernel/debug/liar/change
         dmesg -c >/dev/null
         modprobe liar device_type=1 features=0x100430028 {parameters} || exit
         {commands}
         rmmod liar || exit
         dmesg | grep -e virtio0: -e rust_virtio
         true"
    ))?;
    Ok(said.lines().map(str::to_owned).collect())
}

fn is_seen(guest: &Guest, case: &Case) -> Result<()> {
    let lines = lines(guest, case.parameters, case.commands)?;

    ensure!(
        lines.len() == case.said.len()
            && lines
                .iter()
                .zip(case.said)
                .all(|(line, part)| line.contains(part)),
        "the log has {lines:#?} instead of {:#?}",
        case.said
    );
    Ok(())
}

/// Each time that it is asked, the device offers other features: the driver is bound with what the
/// rules allow of the first offer, or not at all.
fn offers_differ(guest: &Guest) -> Result<()> {
    for after in 0..3 {
        let parameters =
            format!("config=2,0,0,0,0,1,1,0,1,0,220,5 lie=features_fickle after={after}");
        let lines = lines(guest, &parameters, "")?;
        ensure!(
            lines.iter().any(|line| line.contains("accepts 0x1")) && lines.len() <= 5,
            "the log has {lines:#?}"
        );
    }
    Ok(())
}

/// Every change is one that does not end: the log has some of them, and the counter all.
fn messages_end(guest: &Guest) -> Result<()> {
    let lines = lines(
        guest,
        "config=2,0,0,0,0,1,1,0,1,0,220,5",
        "echo config_restless >/sys/module/liar/parameters/lie
         for i in $(seq 20); do
             echo 0x1020000000002 >$change; usleep 100000
         done",
    )?;

    let restless = lines
        .iter()
        .filter(|line| line.contains("the configuration does not stop changing"));
    let count = restless.count();
    ensure!(
        count == 16
            && lines
                .last()
                .is_some_and(|line| line.contains("20 changes, 20 violations")),
        "the log has {count}: {lines:#?}"
    );
    Ok(())
}
