// SPDX-License-Identifier: GPL-2.0

//! What a guest can tell of a network interface.
//!
//! Each part comes from another place, any of which a kernel may not have: what is not there is left out.

mod link;
mod neighbours;
mod netlink;
mod qdisc;
mod queue_stats;
mod tables;

use crate::snapshot::{Counters, Guest, Link, Neighbour, Qdisc, QueueStats, TxQueue};
use anyhow::{Context, Result, bail, ensure};
use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where the kernel tells of itself.
#[derive(Debug)]
struct Kernel {
    proc: PathBuf,
    sys: PathBuf,
}

/// What only the running kernel can be asked, with the number of an interface.
#[derive(Debug, Default)]
struct Asked {
    link: Option<link::Told>,
    qdisc: Option<Qdisc>,
    queue_stats: QueueStats,
    neighbours: Vec<Neighbour>,
    ethtool: Counters,
}

/// Looks at an interface; without a name, at the only one of a virtio device.
///
/// # Errors
///
/// There must be such an interface. Nothing else is needed.
pub fn read(interface: Option<&str>) -> Result<Guest> {
    let kernel = Kernel {
        proc: "/proc".into(),
        sys: "/sys".into(),
    };
    let interface = kernel.choose(interface)?;
    let asked = ask(&interface, kernel.index(&interface));
    Ok(kernel.look(&interface, asked))
}

/// Looks at an interface of this machine that need not be a virtio device.
pub fn statistics(interface: &str) -> Option<(Link, Counters)> {
    let kernel = Kernel {
        proc: "/proc".into(),
        sys: "/sys".into(),
    };
    let path = kernel.path(interface);
    path.exists()
        .then(|| (kernel.link(interface), kernel.statistics(interface)))
}

/// Returns the bridge that an interface of this machine is at.
pub fn master(interface: &str) -> Option<String> {
    let path = Path::new("/sys/class/net").join(interface).join("master");
    name_of(&fs::read_link(path).ok()?)
}

fn ask(interface: &str, index: Option<u32>) -> Asked {
    let mut asked = Asked {
        ethtool: ethtool(interface),
        ..Asked::default()
    };
    if let Some(index) = index {
        asked.link = link::read(index).ok();
        asked.qdisc = qdisc::read(index).ok().flatten();
        asked.queue_stats = queue_stats::read(index).unwrap_or_default();
        asked.neighbours = neighbours::read(index).unwrap_or_default();
    }
    asked
}

/// Asks `ethtool`, if there is one: the kernel tells these counters by no safe way.
fn ethtool(interface: &str) -> Counters {
    let mut command = Command::new("ethtool");
    command.args(["-S", interface]).stdin(Stdio::null());
    let Ok(output) = command.output() else {
        return Counters::default();
    };
    numbers(&String::from_utf8_lossy(&output.stdout))
}

fn numbers(text: &str) -> Counters {
    tables::values(text)
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect()
}

/// Returns the last part of a path.
fn name_of(path: &Path) -> Option<String> {
    path.file_name()
        .and_then(OsStr::to_str)
        .map(ToOwned::to_owned)
}

/// Reads a file of one line.
fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

fn number(path: &Path) -> Option<u64> {
    line(path)?.parse().ok()
}

/// Returns the names in a directory, in their order.
fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

impl Kernel {
    fn path(&self, interface: &str) -> PathBuf {
        self.sys.join("class/net").join(interface)
    }

    fn index(&self, interface: &str) -> Option<u32> {
        let index = number(&self.path(interface).join("ifindex"))?;
        u32::try_from(index).ok()
    }

    /// Returns the name of an interface that is there.
    fn choose(&self, wanted: Option<&str>) -> Result<String> {
        if let Some(name) = wanted {
            let there = !name.contains('/') && self.path(name).join("ifindex").exists();
            ensure!(there, "there is no interface {name}");
            return Ok(name.to_owned());
        }
        let all = names(&self.sys.join("class/net"));
        let mut virtio = all.into_iter().filter(|name| {
            let device = self.device(name);
            device.is_some_and(|device| device.starts_with("virtio"))
        });
        let found = virtio
            .next()
            .context("there is no interface of a virtio device")?;
        match virtio.next() {
            None => Ok(found),
            Some(other) => bail!("say --interface: there are {found} and {other}"),
        }
    }

    fn device(&self, interface: &str) -> Option<String> {
        let target = fs::read_link(self.path(interface).join("device")).ok()?;
        name_of(&target)
    }

    fn driver(&self, interface: &str) -> Option<String> {
        let target = fs::read_link(self.path(interface).join("device/driver")).ok()?;
        name_of(&target)
    }

    fn link(&self, interface: &str) -> Link {
        let path = self.path(interface);
        let flags = line(&path.join("flags"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok());
        Link {
            up: flags.map(|flags| flags & 1 != 0),
            // The kernel tells this only of interfaces that are up.
            carrier: number(&path.join("carrier")).map(|carrier| carrier != 0),
            carrier_changes: number(&path.join("carrier_changes")),
            operstate: line(&path.join("operstate")),
            ..Link::default()
        }
    }

    fn statistics(&self, interface: &str) -> Counters {
        let path = self.path(interface).join("statistics");
        let all = names(&path).into_iter();
        all.filter_map(|name| Some((name.clone(), number(&path.join(name))?)))
            .collect()
    }

    fn tx_queues(&self, interface: &str) -> Vec<TxQueue> {
        let path = self.path(interface).join("queues");
        (0..)
            .map(|queue| path.join(format!("tx-{queue}")))
            .take_while(|queue| queue.exists())
            .map(|queue| TxQueue {
                inflight: number(&queue.join("byte_queue_limits/inflight")),
                timeouts: number(&queue.join("tx_timeout")),
            })
            .collect()
    }

    fn look(&self, interface: &str, asked: Asked) -> Guest {
        let path = self.path(interface);
        let proc = |name: &str| fs::read_to_string(self.proc.join(name)).unwrap_or_default();
        let mut guest = Guest {
            interface: interface.to_owned(),
            index: number(&path.join("ifindex")),
            driver: self.driver(interface),
            device: self.device(interface),
            address: line(&path.join("address")),
            mtu: number(&path.join("mtu")),
            link: self.link(interface),
            statistics: self.statistics(interface),
            qdisc: asked.qdisc,
            tx_queues: self.tx_queues(interface),
            queue_stats: asked.queue_stats,
            ethtool: asked.ethtool,
            neighbours: asked.neighbours,
            softnet: tables::softnet(&proc("net/softnet_stat")),
            ..Guest::default()
        };
        if let Some(told) = asked.link {
            guest.link.running = Some(told.running);
            guest.link.lower_up = Some(told.lower_up);
            let dropped = told
                .other_host
                .map(|count| ("rx_otherhost_dropped".to_owned(), count));
            guest.statistics.0.extend(dropped);
        }
        if let (Some(driver), Some(device)) = (&guest.driver, &guest.device) {
            guest.interrupts = tables::interrupts(&proc("interrupts"), device);
            let file = self.sys.join("kernel/debug").join(driver).join(device);
            let text = fs::read_to_string(file).unwrap_or_default();
            guest.debugfs = tables::values(&text).collect();
        }
        for name in ["net/snmp", "net/netstat"] {
            tables::protocols(&proc(name), &mut guest.protocols);
        }
        tables::protocols6(&proc("net/snmp6"), &mut guest.protocols);
        for name in ["udp", "udp6", "tcp", "tcp6"] {
            let text = proc(&format!("net/{name}"));
            if !text.is_empty() {
                guest
                    .sockets
                    .insert(name.to_owned(), tables::sockets(&text));
            }
        }
        guest
    }
}

#[cfg(test)]
mod tests;
