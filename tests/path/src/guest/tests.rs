// SPDX-License-Identifier: GPL-2.0

use super::*;
use std::os::unix::fs::symlink;

/// A kernel that is made of files. They are removed when it ends.
struct Fake {
    root: PathBuf,
    kernel: Kernel,
}

impl Fake {
    fn new(name: &str) -> Self {
        let root = format!("rv-{}-path-{name}", std::process::id());
        let root = std::env::temp_dir().join(root);
        let kernel = Kernel {
            proc: root.join("proc"),
            sys: root.join("sys"),
        };
        fs::create_dir_all(kernel.sys.join("class/net")).expect("a directory");
        Self { root, kernel }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        symlink(target, path).expect("a link");
    }

    /// Adds an interface of a device.
    fn interface(&self, name: &str, device: &str) {
        self.write(&format!("sys/class/net/{name}/ifindex"), "2\n");
        self.write(&format!("sys/devices/{device}/uevent"), "");
        let target = format!("../../../devices/{device}");
        self.link(&format!("sys/class/net/{name}/device"), &target);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[test]
fn an_interface_is_looked_at() {
    let fake = Fake::new("look");
    fake.interface("eth0", "virtio1");
    fake.link(
        "sys/devices/virtio1/driver",
        "../../bus/virtio/drivers/virtio_net_rs",
    );
    let of = "sys/class/net/eth0";
    for (file, text) in [
        ("address", "52:54:00:00:00:01\n"),
        ("flags", "0x1003\n"),
        ("carrier", "1\n"),
        ("operstate", "up\n"),
        ("statistics/rx_packets", "17\n"),
        ("statistics/tx_dropped", "0\n"),
        ("queues/tx-0/tx_timeout", "1\n"),
        ("queues/tx-0/byte_queue_limits/inflight", "98\n"),
        ("queues/tx-1/tx_timeout", "0\n"),
    ] {
        fake.write(&format!("{of}/{file}"), text);
    }
    let debug = "sys/kernel/debug/virtio_net_rs/virtio1";
    fake.write(debug, "phase: live\nviolations: 0\n");
    fake.write(
        "proc/interrupts",
        " CPU0\n25: 9 PCI-MSIX 1-edge virtio1-input.0\n",
    );
    fake.write("proc/net/snmp", "Ip: InReceives\nIp: 5\n");
    let asked = Asked {
        link: Some(link::Told {
            running: true,
            lower_up: true,
            other_host: Some(3),
        }),
        ethtool: numbers("NIC statistics:\n     tx_kicks: 4\n     odd: x\n"),
        ..Asked::default()
    };

    let guest = fake.kernel.look("eth0", asked);

    assert_eq!(guest.index, Some(2));
    assert_eq!(guest.driver.as_deref(), Some("virtio_net_rs"));
    assert_eq!(guest.device.as_deref(), Some("virtio1"));
    assert_eq!(
        (guest.link.up, guest.link.carrier),
        (Some(true), Some(true))
    );
    assert_eq!(guest.link.lower_up, Some(true));
    assert_eq!(guest.statistics.get("rx_packets"), Some(17));
    assert_eq!(guest.statistics.get("rx_otherhost_dropped"), Some(3));
    let inflight: Vec<_> = guest.tx_queues.iter().map(|queue| queue.inflight).collect();
    assert_eq!(inflight, [Some(98), None]);
    assert_eq!(guest.tx_queues[0].timeouts, Some(1));
    assert_eq!(guest.debugfs["phase"], "live");
    assert_eq!(guest.interrupts.get("virtio1-input.0"), Some(9));
    assert_eq!(guest.protocols["Ip"].get("InReceives"), Some(5));
    assert_eq!(guest.ethtool.get("tx_kicks"), Some(4));
    assert_eq!(guest.ethtool.0.len(), 1);
}

#[test]
fn a_kernel_may_tell_nothing() {
    let fake = Fake::new("nothing");
    fake.interface("eth0", "virtio1");

    let guest = fake.kernel.look("eth0", Asked::default());

    assert_eq!(guest.interface, "eth0");
    assert_eq!(
        (guest.driver, guest.link.up, guest.link.carrier),
        (None, None, None)
    );
    assert!(guest.statistics.0.is_empty() && guest.tx_queues.is_empty());
    assert!(guest.protocols.is_empty() && guest.sockets.is_empty());
}

#[test]
fn the_interface_of_a_virtio_device_is_chosen() {
    let fake = Fake::new("choose");
    fake.write("sys/class/net/lo/ifindex", "1\n");
    let none = fake.kernel.choose(None).expect_err("there is none");
    assert_eq!(none.to_string(), "there is no interface of a virtio device");

    fake.interface("eth0", "virtio1");
    assert_eq!(fake.kernel.choose(None).expect("one"), "eth0");
    assert_eq!(fake.kernel.choose(Some("lo")).expect("that one"), "lo");
    for name in ["eth9", "../net/lo", ""] {
        fake.kernel.choose(Some(name)).expect_err(name);
    }

    fake.interface("eth1", "virtio2");
    let several = fake.kernel.choose(None).expect_err("there are two");
    assert_eq!(
        several.to_string(),
        "say --interface: there are eth0 and eth1"
    );
}
