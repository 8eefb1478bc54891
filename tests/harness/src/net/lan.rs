// SPDX-License-Identifier: GPL-2.0

//! A network of the host: a bridge, taps for guests, and a peer in a name space of its own.
//!
//! Between the bridge and the peer nothing is offloaded. What a guest leaves to the other end (a
//! checksum, the cutting of segments) is done there by the host, from what the guest's driver said;
//! and the peer checks the result.

use super::rig::{GUEST6, PEER, PEER6};
use crate::{
    cx::{Cx, Skip},
    paths,
    program::Program,
};
use anyhow::{Context, Result, ensure};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The largest MTU of a tap.
pub const TAP_MTU: u32 = 65521;

/// A network. It is removed when it is dropped.
pub struct Lan {
    taps: Vec<String>,
    server: Option<Program>,
    log: PathBuf,
}

impl Lan {
    /// Makes a network with a peer that answers; the test is skipped on a host that cannot.
    pub fn new(cx: &Cx) -> Result<Self> {
        Self::at(cx.artefacts())
    }

    /// As above; what its programs print goes to a directory.
    pub fn at(directory: &Path) -> Result<Self> {
        let mut lan = Self {
            taps: Vec::new(),
            server: None,
            log: directory.join("peer.log"),
        };
        shell(&format!(
            "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6
             if [ -e /proc/sys/net/bridge ]; then
                 for i in /proc/sys/net/bridge/bridge-nf-call-*; do echo 0 >$i; done
             fi
             ip netns add peer
             ip link add lan type bridge mcast_snooping 0 forward_delay 0
             ip link add port mtu 65535 type veth peer name eth0 netns peer
             ethtool -K port tx off tso off gso off >/dev/null
             ip link set port master lan up
             ip link set lan up
             ip -n peer link set lo up
             ip -n peer link set eth0 up
             ip -n peer addr add {PEER}/24 dev eth0
             ip -n peer addr add {PEER6}/64 dev eth0 nodad"
        ))
        .map_err(|error| Skip(format!("the host cannot make a network: {error:#}")))?;
        lan.server = Some(lan.spawn(&["serve"], "peer.log")?);
        Ok(lan)
    }

    /// Adds a tap, and returns the option `-netdev` for it, with this id.
    pub fn tap(&mut self, id: &str, queues: u32) -> Result<String> {
        let (multi, count) = if queues > 1 {
            (" multi_queue", format!(",queues={queues}"))
        } else {
            ("", String::new())
        };
        shell(&format!(
            "ip tuntap add dev {id} mode tap vnet_hdr{multi}
             ip link set {id} mtu {TAP_MTU} master lan up"
        ))
        .map_err(|error| Skip(format!("the host cannot make a tap: {error:#}")))?;
        self.taps.push(id.to_owned());
        Ok(format!(
            "tap,id={id},ifname={id},script=no,downscript=no,vhost=off{count}"
        ))
    }

    /// Runs a command of the shell at the peer, which must succeed; returns what it prints.
    pub fn peer(&self, command: &str) -> Result<String> {
        run(Command::new("ip").args(["netns", "exec", "peer", "sh", "-ec", command]))
    }

    /// Sets how much a packet may have that the peer gets, and that it sends.
    pub fn set_mtu(&self, gets: u32, sends: u32) -> Result<()> {
        self.peer(&format!(
            "ip link set eth0 mtu {gets}
             ip route replace 10.9.0.0/24 dev eth0 mtu {sends}
             if [ {gets} -ge 1280 ]; then
                 ip addr replace {PEER6}/64 dev eth0 nodad
                 ip -6 route replace {GUEST6}/128 dev eth0 mtu {sends}
             fi"
        ))?;
        Ok(())
    }

    /// Runs `netcheck` at the peer.
    pub fn netcheck(&self, arguments: &str) -> Result<String> {
        let program = paths::built("netcheck")?;
        self.peer(&format!("{} {arguments}", program.display()))
    }

    /// Starts `netcheck` at the peer; what it prints goes to an artefact.
    pub fn spawn(&self, arguments: &[&str], log: &str) -> Result<Program> {
        let netcheck = paths::built("netcheck")?;
        let mut words = vec![netcheck.to_str().context("a path is not UTF-8")?];
        words.extend(arguments);
        self.run(&words, log)
    }

    /// Starts a program at the peer; what it prints goes to an artefact.
    pub fn run(&self, words: &[&str], log: &str) -> Result<Program> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "peer"]).args(words);
        Program::spawn_to(&mut command, &self.log.with_file_name(log))
    }

    /// Returns what a program has printed.
    pub fn log(&self, name: &str) -> Result<String> {
        Ok(std::fs::read_to_string(self.log.with_file_name(name))?)
    }

    /// Fails if the peer has got anything that was not right.
    pub fn check(&self) -> Result<()> {
        let log = std::fs::read_to_string(&self.log)?;
        ensure!(!log.contains("CORRUPT"), "the peer says {log}");
        let wrong = self.peer(CHECKSUM_ERRORS)?;
        ensure!(wrong == "0\n", "{wrong} checksums were wrong at the peer");
        Ok(())
    }

    /// Returns how many bytes a frame has on the average that a tap has got from its guest, or was
    /// given for it, since `command` began.
    pub fn frame_size(
        &self,
        tap: &str,
        from_guest: bool,
        work: impl FnOnce() -> Result<()>,
    ) -> Result<u64> {
        // What the guest sends, the host receives.
        let way = if from_guest { "rx" } else { "tx" };
        let count = |what: &str| -> Result<u64> {
            // The files of sysfs are those of another name space.
            let said = shell(&format!("ip -j -s link show {tap}"))?;
            let said: serde_json::Value = serde_json::from_str(&said)?;
            let count = said[0]["stats64"][way][what].as_u64();
            count.with_context(|| format!("{tap} has no count of {what}"))
        };
        let (bytes, frames) = (count("bytes")?, count("packets")?);
        work()?;
        let frames = count("packets")? - frames;
        ensure!(frames > 0, "nothing has passed the tap");
        Ok((count("bytes")? - bytes) / frames)
    }
}

/// Prints how many packets were dropped for their checksum in this name space.
pub const CHECKSUM_ERRORS: &str = "awk '
    function add(name, value) { if (name ~ /InCsumErrors|InHdrErrors/) sum += value }
    FILENAME ~ /snmp6/ { add($1, $2); next }
    $1 != last { last = $1; split($0, names); next }
    { for (i = 2; i <= NF; i++) add(names[i], $i); last = \"\" }
    END { print sum + 0 }' /proc/net/snmp /proc/net/snmp6";

impl Drop for Lan {
    fn drop(&mut self) {
        self.server = None;
        for tap in &self.taps {
            // A test that leaves something fails for that.
            let _ = shell(&format!("ip link del {tap}"));
        }
        let _ = shell("ip link del port; ip link del lan; ip netns del peer");
    }
}

/// Runs a command of the shell beside the taps, which must succeed; returns what it prints.
pub fn shell(command: &str) -> Result<String> {
    run(Command::new("sh").args(["-ec", command]))
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} ends with {}: {text}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(text)
}
