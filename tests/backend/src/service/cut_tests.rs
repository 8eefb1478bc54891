// SPDX-License-Identifier: GPL-2.0

//! A connection that ends in the middle of what QEMU sets up.

use super::{
    host::{Host, SIZE, event},
    tests::{Bench, FEATURES},
    *,
};
use crate::{
    class::Class,
    net::{Net, Options},
    switch::{PortOptions, Switch},
};
use serde_json::json;
use std::thread;
use vhost::{
    VhostBackend,
    vhost_user::{VhostUserFrontend, VhostUserProtocolFeatures, message::VhostUserHeaderFlag},
};

/// The messages by which a front-end has a queue run.
const HANDSHAKE: [&str; 12] = [
    "set-owner",
    "get-features",
    "get-protocol-features",
    "set-protocol-features",
    "set-features",
    "set-mem-table",
    "set-vring-num",
    "set-vring-base",
    "set-vring-addr",
    "set-vring-kick",
    "set-vring-call",
    "set-vring-enable",
];

impl<C: Class> Host<C> {
    /// Sends a message.
    fn say(&mut self, message: &str) -> vhost::Result<()> {
        let region = self.region();
        let front = &mut self.front;
        match message {
            "set-owner" => front.set_owner(),
            "get-features" => front.get_features().map(|_| ()),
            "get-protocol-features" => front.get_protocol_features().map(|_| ()),
            "set-protocol-features" => {
                let ack = VhostUserProtocolFeatures::REPLY_ACK | VhostUserProtocolFeatures::MQ;
                front.set_protocol_features(ack)?;
                front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
                Ok(())
            }
            "set-features" => front.set_features(FEATURES),
            "set-mem-table" => front.set_mem_table(&[region]).map(|_| ()),
            "set-vring-num" => front.set_vring_num(0, SIZE),
            "set-vring-base" => front.set_vring_base(0, 0),
            "set-vring-addr" => self.try_place(0, 0, None),
            "set-vring-kick" => front.set_vring_kick(0, &event()),
            "set-vring-call" => front.set_vring_call(0, &event()),
            "set-vring-enable" => front.set_vring_enable(0, true),
            other => panic!("{other} is no message of these"),
        }
    }

    /// Sends messages until the connection ends. Returns how many got through.
    fn talk(&mut self) -> usize {
        let said = HANDSHAKE
            .iter()
            .take_while(|message| self.say(message).is_ok());
        said.count()
    }

    fn messages(&self) -> u64 {
        self.counters()["messages"].as_u64().expect("a number")
    }
}

/// Has a connection end at each message in turn, and returns how many there were before.
fn cut_everywhere<C: Class>(host: &mut Host<C>) {
    // What was said before is counted when the next connection is there.
    host.reconnect();
    while host.counters()["connections"] != 2 {
        thread::sleep(Duration::from_millis(1));
    }
    for (at, message) in HANDSHAKE.iter().enumerate() {
        let cut = json!({ "message": message });
        host.command("disconnect", cut);
        let before = host.messages();
        host.reconnect();
        let said = host.talk();
        // What nobody answers to is lost without an error: that comes with the next one.
        let unanswered = ["set-owner", "set-protocol-features"].contains(message);
        assert_eq!(said, at + usize::from(unanswered), "{message}");
        while host.counters()["connected"] == true {
            thread::sleep(Duration::from_millis(1));
        }
        let taken = host.messages() - before;
        assert_eq!(taken, u64::try_from(at).expect("a number"), "{message}");
        assert_eq!(host.counters()["queues"][0]["running"], false);
    }
}

#[test]
fn a_connection_ends_at_each_message_and_another_one_is_served() {
    let mut bench = Bench::new("cut");
    cut_everywhere(&mut bench.host);
    assert_eq!(bench.host.counters()["cuts"], HANDSHAKE.len());
    assert_eq!(bench.host.counters()["refused"], 0);

    bench.host.reconnect();
    bench.negotiate();
    bench.serves_first();
}

#[test]
fn the_connection_of_a_network_ends_at_each_message() {
    let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
    let port = switch.add(PortOptions::new("net")).expect("a port");
    let net = Net::new(&Options::new("net"), port);
    let mut host = Host::new("cut-net", net, 0x10000);
    cut_everywhere(&mut host);
    host.reconnect();
    assert_eq!(host.talk(), HANDSHAKE.len());
    assert_eq!(host.counters()["queues"][0]["running"], true);
}

#[test]
fn a_connection_ends_at_a_message_that_comes_again() {
    let mut bench = Bench::new("cut-later");
    let cut = json!({ "message": "set-vring-enable", "nth": 2 });
    bench.host.command("disconnect", cut);
    for _ in 0..2 {
        bench.host.enable(0, true);
    }
    assert!(bench.host.front.set_vring_enable(0, true).is_err());

    // That was once: it does not come again.
    bench.host.reconnect();
    bench.negotiate();
    for _ in 0..4 {
        bench.host.enable(0, true);
    }
    assert_eq!(bench.host.counters()["cuts"], 1);
}

#[test]
fn messages_that_there_are_not_are_refused() {
    let bench = Bench::new("cut-refused");
    for (cut, why) in [
        (json!({ "message": "x" }), "there is no message x"),
        (json!({ "message": 5 }), "message is no name"),
        (
            json!({ "nth": 1 }),
            "nth is that of a message, which is missing",
        ),
    ] {
        let error = bench.host.shared.execute("disconnect", &cut);
        assert_eq!(error.expect_err("an error").to_string(), why);
    }
    assert_eq!(bench.host.counters()["connected"], true);
}
