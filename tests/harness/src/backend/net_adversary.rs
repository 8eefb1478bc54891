// SPDX-License-Identifier: GPL-2.0

//! What a network device of our backend can do wrong, and what drivers make of it.

use super::{
    handle::{Part, number},
    net::{Interface, builder_of, load_driver, reach, tcp_both_ways},
};
use crate::{cx::Cx, net::rig::Driver};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// The interface of the device.
const LAN: Interface = Interface {
    mac: "52:54:00:00:00:01",
    name: "lan",
    address: "10.0.0.2/24",
};

/// Lies about received frames, after each of which the driver goes on; in one guest.
pub fn frames(cx: &mut Cx, driver: Driver) -> Result<()> {
    let backend = cx.backend_of(vec![
        Part::net("net", ""),
        Part::port("peer", "ip=10.0.0.1/24,small"),
    ])?;
    let builder = builder_of(cx, driver)?;
    let builder = backend.attach_net(builder, "net", 1, &format!("mac={}", LAN.mac));
    let guest = cx.boot(&builder)?;
    load_driver(&guest, driver, &[LAN])?;
    reach(&backend, &guest, "net", "10.0.0.1")?;

    // Whether the frame that the lie is about arrives all the same.
    for (name, rule, arrives) in [
        ("flags", json!({ "do": "flags" }), false),
        ("unknown_gso", json!({ "do": "gso-type" }), false),
        (
            "gso_without_size",
            json!({ "do": "gso-type", "value": 1 }),
            false,
        ),
        ("gso_size", json!({ "do": "gso-size", "value": 7 }), true),
        ("header_length", json!({ "do": "hdr-len" }), true),
        ("checksum_start", json!({ "do": "csum-start" }), true),
        ("checksum_offset", json!({ "do": "csum-offset" }), true),
        (
            "no_buffers",
            json!({ "do": "num-buffers", "value": 0 }),
            false,
        ),
        ("buffers_missing", json!({ "do": "num-buffers" }), false),
        ("truncated", json!({ "do": "truncate" }), false),
        ("too_long", json!({ "do": "lengthen" }), true),
        ("used_length", json!({ "do": "used-length" }), false),
        (
            "used_nothing",
            json!({ "do": "used-length", "value": 0 }),
            false,
        ),
        ("lost", json!({ "do": "drop" }), false),
        ("late", json!({ "do": "delay", "value": 300 }), true),
    ] {
        cx.case(name, |_| {
            let mut rule: Value = rule;
            rule["op"] = "rx".into();
            rule["protocol"] = "icmp".into();
            rule["count"] = 1.into();
            backend.device("net", "inject", rule)?;
            let output = guest.run("ping -c 1 -W 1 10.0.0.1")?;
            let acts = backend.device("net", "acts", json!({}))?;
            backend.device("net", "clear", json!({}))?;
            ensure!(
                !acts.as_array().is_none_or(Vec::is_empty),
                "nothing was done"
            );
            let came = output.status == 0;
            ensure!(came == arrives, "arrived: {came}: {}", output.text);
            guest.sh("ping -c 2 -W 2 -i 0.1 10.0.0.1").map(|_| ())
        });
    }
    cx.case("wrong_data", |_| {
        let rule = json!({ "do": "corrupt", "op": "rx", "protocol": "icmp", "count": 1 });
        backend.device("net", "inject", rule)?;
        // The frame comes without a word on its checksum, so it is for the kernel to verify. The
        // raw socket of ping has it before that.
        let counted = "awk '/^Icmp:/ { n = $4 } END { print n }' /proc/net/snmp";
        let before = guest.sh(counted)?;
        guest.sh("ping -c 1 -W 2 10.0.0.1")?;
        let after = guest.sh(counted)?;
        let count = |text: &str| text.trim().parse::<u64>();
        ensure!(
            count(&after)? == count(&before)? + 1,
            "wrong checksums: {before} before, {after} after"
        );
        Ok(())
    });
    cx.case("held_and_released", |_| {
        let rule = json!({ "do": "hold", "op": "tx", "protocol": "icmp", "count": 1 });
        backend.device("net", "inject", rule)?;
        let output = guest.run("ping -c 1 -W 1 10.0.0.1")?;
        ensure!(output.status != 0, "it is answered: {}", output.text);
        let released = backend.device("net", "release", json!({}))?;
        ensure!(released["released"] == 1, "{released}");
        guest.sh("ping -c 1 10.0.0.1").map(|_| ())
    });
    cx.case("interrupts_without_a_reason", |_| {
        backend.device("net", "interrupt", json!({ "count": 500, "us": 100 }))?;
        guest.sh("ping -c 3 -i 0.2 10.0.0.1").map(|_| ())
    });
    Ok(())
}

/// A device that has its configuration space and its control queue itself.
pub fn whole(cx: &mut Cx, driver: Driver) -> Result<()> {
    let backend = cx.backend_of(vec![
        Part::net("net", "control,queues=1,mtu=1400,mac=52:54:00:00:00:01"),
        Part::port("peer", "ip=10.0.0.1/24,mtu=1400"),
        Part::net(
            "plain",
            "control,queues=1,vlan=20,without=mac:ctrl-mac-addr:status",
        ),
        Part::port("other", "ip=10.0.1.1/24,vlan=20"),
    ])?;
    let builder = backend.attach_whole_net(builder_of(cx, driver)?, "net", 1);
    let builder = backend.attach_whole_net(builder, "plain", 1);
    let guest = cx.boot(&builder)?;
    load_driver(&guest, driver, &[LAN])?;
    cx.case("says_what_it_is", |_| {
        let said = guest.sh("cat /sys/class/net/lan/mtu /sys/class/net/lan/carrier &&
                             ping -c 2 -i 0.2 -s 1300 10.0.0.1 >/dev/null")?;
        ensure!(said == "1400\n1\n", "the guest says {said}");
        Ok(())
    });
    cx.case("gets_exact_header_lengths", |_| {
        let features = guest.sh("cat /sys/class/net/lan/device/features")?;
        ensure!(features.as_bytes().get(59) == Some(&b'1'), "{features}");
        tcp_both_ways(&guest, "10.0.0.1", 1_000_000)?;
        let counters = &backend.counters("net")?["class"]["tx"];
        // It looks whether what is said of a large frame is true.
        ensure!(number(counters, "large")? > 0, "{counters:#}");
        ensure!(number(counters, "bad_header")? == 0, "{counters:#}");
        ensure!(number(counters, "slips")? == 0, "{counters:#}");
        Ok(())
    });
    cx.case("has_no_address", |_| {
        // A random one is that of one station, which nobody has assigned.
        guest
            .sh(
                "cd /sys/class/net && nic=$(dirname $(grep -lx 1 eth*/addr_assign_type)) &&
             grep -q '^.[26ae]:' $nic/address &&
             ip addr add 10.0.1.2/24 dev $nic && ip link set $nic up &&
             ping -c 2 -i 0.2 10.0.1.1 >/dev/null &&
             ip link set $nic down && ip link set $nic address 52:54:00:00:00:09 &&
             ip link set $nic up && ping -c 2 -i 0.2 10.0.1.1 >/dev/null",
            )
            .map(|_| ())
    });
    cx.case("takes_commands", |_| {
        let before = backend.counters("net")?;
        guest.sh("modprobe 8021q &&
                  ip link set lan promisc on && ip link set lan promisc off &&
                  ip link add link lan name lan.7 type vlan id 7 && ip link del lan.7")?;
        let after = backend.counters("net")?;
        let done = |counters: &Value| number(&counters["class"]["control"], "done");
        ensure!(done(&after)? > done(&before)?, "{after:#}");
        ensure!(after["class"]["control"]["refused"] == 0, "{after:#}");
        Ok(())
    });
    cx.case("refuses_commands", |_| {
        // The command that sets this address, not another one that the kernel gives on its own.
        let rule = json!({ "do": "fail", "op": "control", "pattern": "0101525400000077" });
        backend.device("net", "inject", rule)?;
        let said = guest.sh("cd /sys/class/net/lan && before=$(cat address)
             ip link set lan address 52:54:00:00:00:77 2>/dev/null && echo changed
             [ $(cat address) = $before ] && echo kept")?;
        backend.device("net", "clear", json!({}))?;
        let acts = backend.device("net", "acts", json!({}))?;
        ensure!(acts[0]["op"] == "control", "{acts}");
        ensure!(said == "kept\n", "the guest says {said}");
        guest.sh("ping -c 2 -i 0.2 10.0.0.1").map(|_| ())
    });
    cx.case("loses_its_link", |_| {
        for (up, carrier) in [(false, "0"), (true, "1")] {
            backend.device("net", "link", json!({ "up": up }))?;
            guest.sh(&format!(
                "n=0; until [ $(cat /sys/class/net/lan/carrier) = {carrier} ]; do
                     n=$((n + 1)); [ $n -lt 50 ] || exit; sleep 0.1
                 done"
            ))?;
        }
        guest.sh("ping -c 2 -i 0.2 10.0.0.1").map(|_| ())
    });
    Ok(())
}
