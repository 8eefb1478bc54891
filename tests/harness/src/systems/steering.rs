// SPDX-License-Identifier: GPL-2.0

//! One guest with two network devices, each in a VLAN of its own: by which one somebody goes depends on
//! who it is, or on a mark.

use crate::{
    backend::{
        Backend, Part,
        handle::number,
        net::{Interface, builder_of, load_driver},
    },
    cx::Cx,
    guest::{Board, Guest},
    net::rig::Driver,
};
use anyhow::{Result, ensure};

/// The interfaces, and the VLAN of each. In both, the gateway has the same address.
const INTERFACES: [(Interface, u16); 2] = [
    (
        Interface {
            mac: "52:54:00:00:00:0a",
            name: "lan10",
            address: "10.0.10.2/32",
        },
        10,
    ),
    (
        Interface {
            mac: "52:54:00:00:00:14",
            name: "lan20",
            address: "10.0.20.2/32",
        },
        20,
    ),
];

/// Where the outside is.
const GATEWAY: &str = "10.0.0.1";

/// How much each of them gets.
const BYTES: u64 = 200_000;

/// Who is steered: what begins a command, what it says of a mark, and by which interface it goes.
const WHO: &[(&str, &str, &str, Option<usize>)] = &[
    (
        "user_1010",
        "/usr/bin/setpriv --reuid 1010 --clear-groups",
        "",
        Some(0),
    ),
    (
        "user_1020",
        "/usr/bin/setpriv --reuid 1020 --clear-groups",
        "",
        Some(1),
    ),
    (
        "user_1030",
        "/usr/bin/setpriv --reuid 1030 --clear-groups",
        "",
        None,
    ),
    ("mark_10", "", "--mark 10", Some(0)),
    ("mark_20", "", "--mark 20", Some(1)),
    ("mark_30", "", "--mark 30", None),
];

/// Each goes by its VLAN only, and who has none goes nowhere.
pub fn by_user_and_mark(cx: &mut Cx, board: Board, driver: Driver) -> Result<()> {
    let backend = cx.backend_of(vec![
        Part::net("lan10", "vlan=10"),
        Part::net("lan20", "vlan=20"),
        Part::port("gateway10", &format!("vlan=10,ip={GATEWAY}/16")),
        Part::port("gateway20", &format!("vlan=20,ip={GATEWAY}/16")),
    ])?;
    let mut builder = builder_of(cx, driver)?.board(board)?.tool("setpriv");
    for (interface, _) in &INTERFACES {
        let properties = format!("mac={}", interface.mac);
        builder = backend.attach_net(builder, interface.name, 1, &properties);
    }
    let guest = cx.boot(&builder)?;
    let [(first, _), (second, _)] = INTERFACES;
    load_driver(&guest, driver, &[first, second])?;
    for (interface, vlan) in &INTERFACES {
        let Interface { name, address, .. } = interface;
        let source = address.trim_end_matches("/32");
        guest.sh(&format!(
            "ip route add {GATEWAY} dev {name} src {source} table {vlan} &&
             ip rule add uidrange 10{vlan}-10{vlan} lookup {vlan} &&
             ip rule add fwmark {vlan} lookup {vlan}"
        ))?;
    }
    for (name, prefix, mark, way) in WHO {
        let command = format!("{prefix} netcheck talk {GATEWAY} --port 5001 {mark}");
        cx.case(name, |_| goes_by(&backend, &guest, &command, *way));
    }
    cx.end(&guest)
}

/// Fails unless a command goes by one VLAN, and by no other.
fn goes_by(backend: &Backend, guest: &Guest, command: &str, way: Option<usize>) -> Result<()> {
    let received = || -> Result<Vec<u64>> {
        let devices = INTERFACES.iter().map(|(interface, _)| interface.name);
        devices
            .map(|device| number(&backend.counters(device)?["class"]["rx"], "bytes"))
            .collect()
    };
    let before = received()?;
    let said = guest.run(&format!(
        "echo send {BYTES} | timeout 20 {command} >/tmp/got || {{ cat /tmp/got; exit 1; }}
         wc -c </tmp/got"
    ))?;
    let after = received()?;
    let wanted = match way {
        Some(_) => BYTES.to_string(),
        None => {
            "netcheck: connecting to 10.0.0.1:5001: ENETUNREACH: Network is unreachable".to_owned()
        }
    };
    ensure!(said.text.trim() == wanted, "{}", said.text);
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        // Now and then there is something that nobody has asked for.
        let came = after - before;
        let wanted = if way == Some(index) {
            BYTES..=2 * BYTES
        } else {
            0..=BYTES / 100
        };
        ensure!(
            wanted.contains(&came),
            "{came} bytes came by interface {index}"
        );
    }
    Ok(())
}
