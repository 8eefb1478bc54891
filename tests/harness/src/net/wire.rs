// SPDX-License-Identifier: GPL-2.0

//! The other end of a wire: a test gives and takes frames, as they are.

use super::rig;
use crate::{
    guest::{Builder, Guest},
    paths::Scratch,
};
use anyhow::{Context, Result, bail};
use std::{
    net::Shutdown,
    os::unix::net::UnixDatagram,
    path::PathBuf,
    sync::mpsc::{self, Receiver},
    thread,
    time::{Duration, Instant},
};

/// The type of frames for local experiments, which `netcheck watch` prints.
const ETHERTYPE: u16 = 0x88b5;

/// The address that frames come from.
pub const SOURCE: [u8; 6] = [0x52, 0x54, 0, 9, 0xff, 1];

/// All stations.
pub const BROADCAST: [u8; 6] = [0xff; 6];

/// How long a frame may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A wire: datagrams with a frame each.
pub struct Wire {
    number: u8,
    socket: UnixDatagram,
    /// What the device has sent.
    frames: Receiver<Vec<u8>>,
    device: PathBuf,
    directory: Scratch,
}

impl Wire {
    /// Lays a wire for the device with a number.
    pub fn new(number: u8) -> Result<Self> {
        let directory = Scratch::new()?;
        let socket = UnixDatagram::bind(directory.path().join("here"))?;
        let (sender, frames) = mpsc::channel();
        let reader = socket.try_clone()?;
        // If nobody took what the device sends, it would soon stand still.
        thread::spawn(move || {
            let mut buffer = vec![0; 70_000];
            while let Ok(size @ 1..) = reader.recv(&mut buffer) {
                if sender.send(buffer[..size].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            number,
            socket,
            frames,
            device: directory.path().join("there"),
            directory,
        })
    }

    /// Connects the device to it.
    pub fn connect(&self, builder: Builder, options: &str) -> Builder {
        let number = usize::from(self.number);
        let id = format!("wire{number}");
        let netdev = format!(
            "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            self.device.display(),
            self.directory.path().join("here").display()
        );
        rig::device(builder, number, &netdev, &id, options)
    }

    /// Returns the address of the device.
    pub fn station(&self) -> [u8; 6] {
        [0x52, 0x54, 0, 9, 0, self.number]
    }

    /// Gives a frame to the device.
    pub fn give(&self, frame: &[u8]) -> Result<()> {
        self.socket
            .send_to(frame, &self.device)
            .context("giving a frame to QEMU")?;
        Ok(())
    }

    /// Takes the next frame of the device that `wanted` makes something of.
    pub fn take<T>(&self, what: &str, wanted: impl Fn(&[u8]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(frame) = self.frames.recv_timeout(left) else {
                bail!("no frame comes that is {what}");
            };
            if let Some(found) = wanted(&frame) {
                return Ok(found);
            }
        }
    }

    /// Forgets the frames that have come.
    pub fn clear(&self) {
        while self.frames.try_recv().is_ok() {}
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // The thread ends.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}

/// A frame that `netcheck watch` prints.
pub struct Frame {
    /// Its destination.
    pub to: [u8; 6],
    /// The VLAN of its tag.
    pub vlan: Option<u16>,
    /// What is printed.
    pub text: String,
    /// Its size.
    pub size: usize,
}

impl Frame {
    /// A frame of the smallest size, without a tag.
    pub fn new(to: [u8; 6], text: &str) -> Self {
        Self {
            to,
            vlan: None,
            text: text.to_owned(),
            size: 60,
        }
    }

    /// Adds a tag.
    pub fn vlan(mut self, vlan: u16) -> Self {
        self.vlan = Some(vlan);
        self
    }

    /// Sets the size, without a tag.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Returns its bytes.
    fn bytes(&self) -> Vec<u8> {
        let mut frame = [self.to, SOURCE].concat();
        if let Some(vlan) = self.vlan {
            frame.extend([0x81, 0]);
            frame.extend(vlan.to_be_bytes());
        }
        frame.extend(ETHERTYPE.to_be_bytes());
        // The text is a few words.
        frame.extend(
            u16::try_from(self.text.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        frame.extend(self.text.as_bytes());
        let tag = if self.vlan.is_some() { 4 } else { 0 };
        frame.resize(frame.len().max(self.size + tag), b'~');
        frame
    }
}

/// Gives frames to the device, and returns the words of those that the guest has got, in order: each
/// with the size of the frame.
pub fn received(wire: &Wire, guest: &Guest, frames: &[Frame]) -> Result<String> {
    guest.sh("(netcheck watch; echo ended) >/tmp/watch 2>&1 &
         until grep -q ready /tmp/watch; do usleep 20000; done")?;
    for frame in frames {
        wire.give(&frame.bytes())?;
    }
    // What comes before this has come, or never will. It may get lost, as any frame.
    let end = Frame::new(BROADCAST, "end").bytes();
    let deadline = Instant::now() + PATIENCE;
    loop {
        wire.give(&end)?;
        if guest.run("usleep 100000; grep -q ended /tmp/watch")?.status == 0 {
            break;
        }
        if Instant::now() > deadline {
            let said = guest.sh("cat /tmp/watch; ip -color=never -s link")?;
            bail!("the guest does not get a frame to all; it says {said}");
        }
    }
    let said = guest.sh("grep -v -e ready -e ended /tmp/watch || true")?;
    Ok(said.lines().collect::<Vec<_>>().join(", "))
}
