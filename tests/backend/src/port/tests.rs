// SPDX-License-Identifier: GPL-2.0

use super::*;
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
