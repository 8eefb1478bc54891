// SPDX-License-Identifier: GPL-2.0

//! What the tests of network drivers have in common: the driver, the guest, its addresses.

use crate::{
    cx::Cx,
    guest::{Builder, Guest},
};
use anyhow::{Context, Result, ensure};
use std::{thread, time::Duration};

/// The addresses of the peer.
pub const PEER: &str = "10.9.0.1";
/// The same, for IPv6.
pub const PEER6: &str = "fd09::1";
/// The addresses of the guest.
pub const GUEST: &str = "10.9.0.2";
/// The same, for IPv6.
pub const GUEST6: &str = "fd09::2";

/// A driver of network devices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    /// The kernel's own.
    InTree,
    /// That of this project.
    Ours,
}

impl Driver {
    /// Returns the name of its module, and of the driver on the bus.
    pub const fn module(self) -> &'static str {
        match self {
            Self::InTree => "virtio_net",
            Self::Ours => "virtio_net_rs",
        }
    }

    /// Starts the description of a guest that has the driver, and what tests do with it.
    pub fn builder(self, cx: &Cx, flavour: &str) -> Result<Builder> {
        let builder = tools(cx.kernel(flavour)?.name(self.module()))?;
        match self {
            Self::InTree => Ok(builder.kernel_module(self.module())),
            Self::Ours => builder.module(self.module()),
        }
    }
}

/// Gives a guest what tests use.
pub fn tools(builder: Builder) -> Result<Builder> {
    Ok(builder
        .built("netcheck")?
        .tool("ip")
        .tool("ethtool")
        .file("/usr/bin/nic", NIC.as_bytes())
        .file("/usr/bin/up", UP.as_bytes()))
}

/// Prints the name of the interface with a number, when it is there.
const NIC: &str = "#!/bin/sh
for i in $(seq 100); do
	path=$(grep -ls $(printf 52:54:00:09:00:%02x $1) /sys/class/net/*/address | head -n 1)
	if [ -n \"$path\" ]; then
		basename ${path%/address}
		exit
	fi
	usleep 100000
done
echo there is no interface $1 >&2
exit 1
";

/// Makes an interface ready for use: its name, or its number.
const UP: &str = "#!/bin/sh
case $1 in
[0-9]*) nic=$(nic $1) || exit ;;
*) nic=$1 ;;
esac
ip link set $nic up &&
ip addr replace 10.9.0.2/24 dev $nic &&
ip addr replace fd09::2/64 dev $nic nodad
";

/// Adds a device with a number and options, to the netdev of that id.
pub fn device(builder: Builder, number: usize, netdev: &str, id: &str, options: &str) -> Builder {
    builder
        .qemu(&["-netdev", netdev])
        .device(&device_options(number, id, options))
}

/// Returns the option `-device` for a device.
pub fn device_options(number: usize, netdev: &str, options: &str) -> String {
    format!(
        "virtio-net-pci,id=nic{number},netdev={netdev},mac=52:54:00:09:00:{number:02x},romfile={options}"
    )
}

/// Loads the driver, and makes the first interface ready; returns its name.
pub fn load(guest: &Guest, driver: Driver) -> Result<String> {
    guest.sh(&format!("modprobe {}", driver.module()))?;
    let name = guest.sh("nic 0 && up 0")?;
    Ok(name.trim().to_owned())
}

/// Waits until a command of the guest succeeds.
pub fn wait_for(guest: &Guest, command: &str) -> Result<()> {
    for _ in 0..120 {
        if guest.run(command)?.status == 0 {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(250));
    }
    anyhow::bail!("this does not come true: {command}");
}

/// Exchanges something with the peer: the network works.
pub fn works(guest: &Guest) -> Result<()> {
    guest.sh(&format!(
        "netcheck udp {PEER} 1 1472 9000 && netcheck tcp {PEER6} --up 100000 --down 100000"
    ))?;
    Ok(())
}

/// What prints how often our driver has reset a device.
pub fn counter(nic: &str) -> String {
    format!("ethtool -S {nic} | awk '$1 == \"resets:\" {{ print $2 }}'")
}

/// Returns how often our driver has reset a device.
pub fn resets(guest: &Guest, nic: &str) -> Result<u64> {
    let said = guest.sh(&counter(nic))?;
    let number = said.trim().parse();
    number.with_context(|| format!("the guest says {said}"))
}

/// Traffic of the guest, for as long as something else goes on.
pub struct Load<'a> {
    guest: &'a Guest,
}

/// What has become of it.
#[derive(Debug)]
pub struct Done {
    /// How many transfers have ended well.
    pub transfers: u32,
    /// How many rounds of datagrams have.
    pub datagrams: u32,
    /// How many broke.
    pub broken: u32,
    /// What it printed.
    pub said: String,
}

impl<'a> Load<'a> {
    /// Starts it: no connection may be silent for so many seconds.
    pub fn start(guest: &'a Guest, patience: u32) -> Result<Self> {
        guest.sh(&format!(
            "rm -f /tmp/stop /tmp/load.status
             (netcheck load {PEER} --stop /tmp/stop --patience {patience}
              echo $? >/tmp/load.status) >/tmp/load 2>&1 &"
        ))?;
        Ok(Self { guest })
    }

    /// Ends it, and returns what it has done. It fails if a byte was wrong.
    pub fn finish(self) -> Result<Done> {
        self.guest.sh("touch /tmp/stop")?;
        wait_for(self.guest, "[ -s /tmp/load.status ]")?;
        let said = self.guest.sh("cat /tmp/load /tmp/load.status")?;
        ensure!(said.ends_with(" broken\n0\n"), "netcheck says {said}");
        let last = said.lines().rev().nth(1).unwrap_or_default();
        let numbers: Vec<u32> = last
            .split(' ')
            .filter_map(|word| word.parse().ok())
            .collect();
        let [transfers, datagrams, broken] = numbers
            .try_into()
            .ok()
            .with_context(|| format!("netcheck says {said}"))?;
        Ok(Done {
            transfers,
            datagrams,
            broken,
            said,
        })
    }

    /// Ends it; each connection must have lasted.
    pub fn finish_whole(self) -> Result<()> {
        let done = self.finish()?;
        ensure!(
            done.broken == 0 && done.transfers > 0 && done.datagrams > 0,
            "netcheck says {}",
            done.said
        );
        Ok(())
    }
}

/// Fails if packets were dropped in the guest for their checksum.
pub fn checksums_are_right(guest: &Guest) -> Result<()> {
    let wrong = guest.sh(super::lan::CHECKSUM_ERRORS)?;
    ensure!(wrong == "0\n", "{wrong} checksums were wrong in the guest");
    Ok(())
}
