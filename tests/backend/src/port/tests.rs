// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::frame::Frame;
use std::time::Duration;

fn switch() -> Arc<Switch> {
    Arc::new(Switch::new("switch", Duration::from_secs(300)))
}

#[test]
fn a_tap_that_cannot_be_is_said() {
    let options = Options {
        port: PortOptions::new("host"),
        kind: Kind::Tap("much-too-long-a-name".to_owned()),
    };

    let error = start(&options, &switch()).err().expect("no interface");

    let wanted = "host: \"much-too-long-a-name\" is no name of an interface: it has 1 to 15 bytes";
    assert!(format!("{error:#}").starts_with(wanted), "{error:#}");
}

#[test]
fn a_null_port_takes_all_and_sends_nothing() {
    let switch = switch();
    let options = Options {
        port: PortOptions::new("nothing"),
        kind: Kind::Null,
    };
    let nothing = start(&options, &switch).expect("a port");
    let port = switch.add(PortOptions::new("test")).expect("a port");
    port.outlet().set_open(true);

    // More than can wait at a port.
    for length in 60..2060 {
        let mut bytes = vec![0xff; length];
        bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
        port.send(Frame::plain(bytes));
    }

    let counters = nothing.execute("counters", &json!({}));
    let bytes: u64 = (60..2060).sum();
    let wanted = json!({ "frames": 2000, "bytes": bytes });
    assert_eq!(counters.expect("counters"), wanted);
    let counters = switch.execute("counters", &json!({})).expect("counters");
    assert_eq!(counters["ports"]["nothing"]["outlet"]["lost_full"], 0);
    assert_eq!(counters["ports"]["nothing"]["in_frames"], 0);
    assert!(port.outlet().is_empty());
    assert!(nothing.execute("replay", &json!({})).is_err());
}
