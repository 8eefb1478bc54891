// SPDX-License-Identifier: GPL-2.0

//! The switch of our backend, with several guests, the host, and queues that come and go.

use super::{
    handle::{Backend, Part, number},
    net::{Interface, builder, builder_of, load, load_driver, tcp_both_ways},
};
use crate::{
    cx::{Cx, Skip},
    form::{Form, IN_ORDER, Negotiated, PACKED},
    guest::Guest,
    net::rig::Driver,
};
use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use std::{process::Command, time::Duration};

const fn interface(mac: &'static str, name: &'static str, address: &'static str) -> Interface {
    Interface { mac, name, address }
}

/// Rings of each kind that the switch has to do with.
pub const SPLIT: Form = Form {
    name: "split",
    options: "in_order=off",
    with: &[],
    without: &[PACKED, IN_ORDER],
};
pub const PACKED_RINGS: Form = Form {
    name: "packed",
    options: "packed=on",
    with: &[PACKED],
    without: &[IN_ORDER],
};
pub const RINGS_IN_ORDER: Form = Form {
    name: "in_order",
    options: "in_order=on",
    with: &[IN_ORDER],
    without: &[PACKED],
};

/// Fails if an interface has other rings.
fn has_rings(guest: &Guest, interface: &str, form: &Form) -> Result<()> {
    let device = format!("/sys/class/net/{interface}/device");
    Negotiated::read(guest, &device)?.check(form)
}

/// Two guests in VLANs 10 and 20, with the same addresses in both; each has a gateway of its own, and
/// both reach the host on a trunk.
pub fn vlans_are_apart(cx: &mut Cx, driver: Driver, form: &Form) -> Result<()> {
    const FIRST: Interface = interface("52:54:00:00:00:0a", "lan", "10.0.0.2/24");
    const SECOND: Interface = interface("52:54:00:00:00:14", "lan", "10.0.0.3/24");
    let tap = tap_works();
    let mut parts = vec![
        Part::net("one", "vlan=10,mac=52:54:00:00:00:0a,strict"),
        Part::net("two", "vlan=20"),
        Part::port("gateway10", "vlan=10,ip=10.0.0.1/24"),
        Part::port("gateway20", "vlan=20,ip=10.0.0.1/24"),
        Part::port(
            "record",
            &format!("record={}/all.pcapng,mirror", cx.artefacts().display()),
        ),
    ];
    if tap.is_ok() {
        parts.push(Part::port("trunk", "tap=rv0,trunk=20,native=10"));
    }
    let backend = cx.backend_of(parts)?;
    let mut guests = Vec::new();
    for (name, interface) in [("one", FIRST), ("two", SECOND)] {
        let properties = format!("mac={},{}", interface.mac, form.options);
        let builder = builder_of(cx, driver)?
            .name(name)
            .tool("iperf3")
            .memory(384);
        let guest = cx.boot(&backend.attach_net(builder, name, 1, &properties))?;
        load_driver(&guest, driver, &[interface])?;
        has_rings(&guest, "lan", form)?;
        guests.push(guest);
    }
    let [one, two] = guests.as_slice() else {
        bail!("there are two guests");
    };

    cx.case("guests_do_not_meet", |_| {
        for guest in [one, two] {
            guest.sh("ping -c 2 -i 0.2 10.0.0.1")?;
        }
        let met = one.run("ping -c 2 -W 1 10.0.0.3")?;
        ensure!(met.status != 0, "they meet: {}", met.text);
        let met = two.run("ip neigh flush all; ping -c 2 -W 1 10.0.0.2")?;
        ensure!(met.status != 0, "they meet: {}", met.text);
        for gateway in ["gateway10", "gateway20"] {
            let counters = backend.counters(gateway)?;
            ensure!(number(&counters, "received")? > 0, "{counters:#}");
        }
        Ok(())
    });
    cx.case("another_vlan_lets_them_meet", |_| {
        backend.device("switch", "vlans", json!({ "port": "two", "vlan": 10 }))?;
        one.sh("ip neigh flush all; ping -c 2 -i 0.2 10.0.0.3")?;
        backend.device("switch", "vlans", json!({ "port": "two", "vlan": 20 }))?;
        let met = one.run("ping -c 1 -W 1 10.0.0.3")?;
        ensure!(met.status != 0, "they meet: {}", met.text);
        Ok(())
    });
    cx.case("a_strange_source_is_refused", |_| {
        one.sh(
            "ip link set lan down; ip link set lan address 52:54:00:00:00:99
                ip link set lan up",
        )?;
        let heard = one.run("ping -c 1 -W 1 10.0.0.1")?;
        one.sh(
            "ip link set lan down; ip link set lan address 52:54:00:00:00:0a
                ip link set lan up; ping -c 1 10.0.0.1",
        )?;
        ensure!(heard.status != 0, "it is heard: {}", heard.text);
        let ports = backend.device("switch", "counters", json!({}))?;
        let port = &ports["ports"]["one"];
        ensure!(number(port, "wrong_source")? > 0, "{port:#}");
        Ok(())
    });
    cx.case("all_is_recorded", |cx| {
        let file = cx.artefacts().join("all.pcapng");
        let counters = backend.counters("record")?;
        let output = Command::new("capinfos")
            .args(["-c", "-M", "-T"])
            .arg(&file)
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.split_whitespace().last().map(str::parse::<u64>);
        let wanted = number(&counters, "recorded")?;
        // More may have come since it was counted.
        ensure!(
            matches!(count, Some(Ok(count)) if count >= wanted && wanted > 10),
            "{wanted} frames are recorded, capinfos says {text}"
        );
        Ok(())
    });
    cx.case("tags_are_for_trunks", |_| tags(&backend, two));
    match tap {
        Ok(()) => {
            cx.case("the_host_is_on_the_trunk", |_| on_the_trunk(&backend, one));
            cx.case("the_host_has_vlans", |_| tagged_host(two));
        }
        Err(error) => cx.case("the_host_is_on_the_trunk", |_| Err(error)),
    }
    Ok(())
}

/// A guest is on a trunk itself: what has the tag of a VLAN of it arrives there, and nothing else.
fn tags(backend: &Backend, two: &Guest) -> Result<()> {
    // Nothing shall be sent but what is asked for.
    two.sh("modprobe 8021q; ip addr flush dev lan
         for i in all default; do echo 1 >/proc/sys/net/ipv6/conf/$i/disable_ipv6; done
         for vlan in 10 20 30; do
             ip link add link lan name lan.$vlan type vlan id $vlan
             ip link set lan.$vlan up
         done")?;
    let vlans = json!({ "port": "two", "trunk": "10:20" });
    backend.device("switch", "vlans", vlans)?;
    let refused = || {
        let ports = backend.device("switch", "counters", json!({}))?;
        number(&ports["ports"]["two"], "wrong_vlan")
    };
    let ping = |interface: &str, peer: &str| {
        two.run(&format!(
            "ip addr add 10.0.0.3/24 dev {interface}; ping -c 2 -W 1 -i 0.2 {peer}; status=$?
             ip addr flush dev {interface}; exit $status"
        ))
    };
    for (interface, peer, arrives) in [
        // The other guest takes no tags, and is in this VLAN only.
        ("lan.10", "10.0.0.2", true),
        ("lan.20", "10.0.0.1", true),
        ("lan.20", "10.0.0.2", false),
        ("lan.30", "10.0.0.1", false),
        ("lan", "10.0.0.1", false),
    ] {
        let before = refused()?;
        let output = ping(interface, peer)?;
        ensure!(
            (output.status == 0) == arrives,
            "{peer} by {interface}: {}",
            output.text
        );
        // What is in no VLAN of the port does not get into the switch.
        let outside = matches!(interface, "lan.30" | "lan");
        ensure!(
            (refused()? > before) == outside,
            "{before} frames were refused before {interface}, then {}",
            refused()?
        );
    }
    backend.device("switch", "vlans", json!({ "port": "two", "vlan": 20 }))?;
    two.sh("for vlan in 10 20 30; do ip link del lan.$vlan; done
         ip addr add 10.0.0.3/24 dev lan; ping -c 2 -i 0.2 10.0.0.1")
        .map(|_| ())
}

/// Finds out whether there are tap interfaces here, in the name space of this test.
pub fn tap_works() -> Result<()> {
    for action in ["add", "del"] {
        let tap = ["tuntap", action, "name", "rvtry", "mode", "tap"];
        let output = Command::new("ip").args(tap).output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            bail!(Skip(format!("there are no tap interfaces here: {why}")));
        }
    }
    Ok(())
}

/// Runs a command of the shell on the host, in the name space of this test.
pub fn host(command: &str) -> Result<()> {
    let output = Command::new("sh").args(["-ec", command]).output()?;
    ensure!(
        output.status.success(),
        "the host's command {command} fails: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// The host is at a tap interface, in VLAN 10 without tags.
fn on_the_trunk(backend: &Backend, one: &Guest) -> Result<()> {
    host("ip link set rv0 up; ip addr add 10.0.0.254/24 dev rv0")?;
    one.sh("ping -c 2 -i 0.2 10.0.0.254")?;
    for direction in ["", "-R"] {
        let mut server = Command::new("iperf3")
            .args(["-s", "-1", "-B", "10.0.0.254"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .context("iperf3")?;
        let result = one.sh(&format!(
            "n=0
             until timeout 60 iperf3 -c 10.0.0.254 -n 8M {direction} >/tmp/iperf 2>&1; do
                 n=$((n + 1)); [ $n -lt 5 ] || {{ cat /tmp/iperf; exit 1; }}; sleep 0.5
             done"
        ));
        let _ = server.kill();
        server.wait()?;
        result?;
    }
    let counters = backend.counters("trunk")?;
    ensure!(counters["tcp_offload"] == true, "{counters:#}");
    for way in ["from_host_large", "to_host_large"] {
        ensure!(number(&counters, way)? > 0, "{counters:#}");
    }
    ensure!(number(&counters, "malformed")? == 0, "{counters:#}");
    Ok(())
}

/// It is in VLAN 20 with tags, if its kernel has VLANs.
fn tagged_host(two: &Guest) -> Result<()> {
    if host("ip link add link rv0 name rv0.20 type vlan id 20").is_err() {
        bail!(Skip("the kernel of the host has no VLANs".to_owned()));
    }
    host(
        "ip addr flush dev rv0; ip link set rv0 up
         ip addr add 10.0.0.254/24 dev rv0.20; ip link set rv0.20 up",
    )?;
    two.sh("ping -c 2 -i 0.2 10.0.0.254").map(|_| ())
}

/// Four pairs of queues, all of which are used; fewer when the guest wants fewer; and a backend that
/// ends and comes again while a connection goes through it.
pub fn queues_come_and_go(cx: &mut Cx, form: &Form) -> Result<()> {
    const NEAR: Interface = interface("52:54:00:00:00:01", "near", "10.0.0.2/24");
    const FAR: Interface = interface("52:54:00:00:00:02", "far", "10.0.0.3/24");
    let backend = cx.backend_of(vec![
        Part::net("near", ""),
        Part::net("far", "queues=1"),
        Part::port("peer", "ip=10.0.0.1/24"),
    ])?;
    let builder = builder(cx)?.cpus(4);
    let properties = |mac| format!("mac={mac},{}", form.options);
    let builder = backend.attach_net(builder, "near", 4, &properties(NEAR.mac));
    let builder = backend.attach_net(builder, "far", 1, &properties(FAR.mac));
    let guest = cx.boot(&builder)?;
    load(&guest, &[NEAR, FAR])?;
    has_rings(&guest, "near", form)?;
    has_rings(&guest, "far", form)?;
    // Between the two is only the switch.
    guest.sh(
        "mkdir -p /run/netns; ip netns add far; ip link set far netns far
              ip netns exec far ip addr add 10.0.0.3/24 dev far
              ip netns exec far ip link set far up",
    )?;

    cx.case("all_are_used", |_| {
        let queues = guest.sh("ethtool -l near; ls /sys/class/net/near/queues")?;
        ensure!(queues.contains("tx-3"), "queues: {queues}");
        guest.sh("ethtool -L near combined 4
                  for cpu in 0 1 2 3; do
                      taskset $((1 << cpu)) sh -c \\
                          'echo send 200000 | timeout 60 nc 10.0.0.1 5001 | wc -c >/tmp/got'$cpu &
                  done
                  wait
                  for cpu in 0 1 2 3; do [ $(cat /tmp/got$cpu) = 200000 ]; done")?;
        let counters = backend.counters("near")?;
        for queue in 0..8 {
            let taken = number(&counters["queues"][queue], "taken")?;
            ensure!(taken > 0, "queue {queue} is not used: {counters:#}");
        }
        Ok(())
    });
    cx.case("fewer_are_used", |_| {
        guest.sh("ethtool -L near combined 2; ping -c 2 -i 0.2 10.0.0.1")?;
        let counters = backend.counters("near")?;
        for queue in 0..8 {
            let enabled = counters["queues"][queue]["enabled"] == true;
            ensure!(enabled == (queue < 4), "queue {queue}: {counters:#}");
        }
        tcp_both_ways(&guest, "10.0.0.1", 100_000)?;
        guest
            .sh("ethtool -L near combined 4; ping -c 2 -i 0.2 10.0.0.1")
            .map(|_| ())
    });
    cx.case("a_connection_outlives_backends", |_| {
        // This nc ends when the other end has nothing more to say, so the one that listens must not
        // come to the end of its input.
        guest.sh("mkfifo /tmp/silence
             ip netns exec far timeout 80 nc -l -p 9000 <>/tmp/silence >/tmp/received &
             sleep 1
             (n=0
              while [ $n -lt 60 ]; do
                  head -c 20000 /dev/urandom; n=$((n + 1)); sleep 0.1
              done | tee /tmp/sent | timeout 80 nc 10.0.0.3 9000; echo $? >/tmp/status) \\
                  >/dev/null 2>&1 &")?;
        for round in 0..2 {
            backend.wait_until("far", "frames are received", |counters| {
                counters["class"]["rx"]["frames"].as_u64() > Some(20)
            })?;
            if round == 0 {
                backend.kill();
            } else {
                backend.end()?;
            }
            std::thread::sleep(Duration::from_millis(300));
            backend.restart()?;
        }
        guest.sh(
            "n=0; until [ -s /tmp/status ]; do n=$((n + 1)); [ $n -lt 700 ] || exit; sleep 0.1; done
                  sleep 0.5
                  ls -l /tmp/sent /tmp/received && cmp /tmp/sent /tmp/received &&
                  [ $(wc -c </tmp/sent) = 1200000 ]",
        )?;
        let counters = backend.counters("far")?;
        ensure!(super::handle::sum(&counters, "errors") == 0, "{counters:#}");
        Ok(())
    });
    Ok(())
}
