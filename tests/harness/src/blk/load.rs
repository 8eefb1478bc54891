// SPDX-License-Identifier: GPL-2.0

//! What tests of both drivers share: how a driver comes into a guest, the disk that it gets, and
//! somebody who uses that.

use crate::{
    cx::Cx,
    guest::{Builder, Guest},
};
use anyhow::{Result, ensure};
use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

/// The size of a disk, in MiB.
pub const MIB: u64 = 64;

/// How long anything may take that does not hang.
pub const LIMIT: Duration = Duration::from_secs(60);

/// A driver of block devices.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Driver {
    InTree,
    Ours,
}

impl Driver {
    pub const fn module(self) -> &'static str {
        match self {
            Self::InTree => "virtio_blk",
            Self::Ours => "virtio_blk_rs",
        }
    }

    /// Returns the name of its first disk.
    pub const fn disk(self) -> &'static str {
        match self {
            Self::InTree => "vda",
            Self::Ours => "vdaaa",
        }
    }

    /// A guest that has the driver, and fio. The dd of busybox does not align its memory, and goes
    /// through the cache if it must.
    pub fn builder(self, cx: &Cx, flavour: &str) -> Result<Builder> {
        let builder = cx.kernel(flavour)?.name(self.module());
        let builder = builder.tool("fio").tool("dd");
        match self {
            Self::InTree => Ok(builder.kernel_module(self.module())),
            Self::Ours => builder.module(self.module()),
        }
    }

    /// Loads it, and waits for its disk.
    pub fn load(self, guest: &Guest) -> Result<()> {
        guest.sh(&format!("modprobe {}", self.module()))?;
        self.appears(guest)
    }

    /// Waits for its disk.
    pub fn appears(self, guest: &Guest) -> Result<()> {
        let disk = self.disk();
        waits(guest, &format!("[ -b /dev/{disk} ]"))
    }

    /// Unloads it; its disk goes, too.
    pub fn unload(self, guest: &Guest) -> Result<()> {
        let (module, disk) = (self.module(), self.disk());
        let said = guest.run_within(&format!("rmmod {module} && [ ! -e /dev/{disk} ]"), LIMIT)?;
        ensure!(said.status == 0, "it is not unloaded: {}", said.text);
        Ok(())
    }
}

/// Makes the file of a disk.
pub fn image(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("disk");
    File::create(&path)?.set_len(MIB << 20)?;
    Ok(path)
}

/// Gives QEMU the file of a disk, as `d0`.
pub fn file(builder: Builder, path: &Path, options: &str) -> Builder {
    let path = path.display();
    builder.qemu(&[
        "-blockdev",
        &format!("driver=file,filename={path},node-name=d0,discard=unmap,locking=off{options}"),
    ])
}

/// Waits until a condition of the shell is true.
pub fn waits(guest: &Guest, condition: &str) -> Result<()> {
    let said = guest.run_within(&format!("until {condition}; do usleep 50000; done"), LIMIT)?;
    ensure!(said.status == 0, "{condition}: {}", said.text);
    Ok(())
}

/// Somebody who writes, reads and compares again and again, until it fails or is told to end.
pub struct Load<'a> {
    guest: &'a Guest,
}

impl<'a> Load<'a> {
    /// Starts it with a disk, or a file that is as large, and waits until it uses `disk`.
    pub fn start(guest: &'a Guest, path: &str, disk: &str) -> Result<Self> {
        guest.sh(&format!(
            "rm -f /tmp/stop /tmp/status
             (while [ ! -e /tmp/stop ]; do
                  fio --name=load --filename={path} --allow_file_create=0 --direct=1 \
                      --ioengine=libaio --iodepth=16 --numjobs=2 --size=8m \
                      --offset_increment=8m --rw=randwrite --bsrange=4k-64k --randrepeat=0 \
                      --verify=crc32c --verify_fatal=1 >/tmp/fio 2>&1 ||
                      {{ echo 1 >/tmp/status; exit; }}
              done
              echo 0 >/tmp/status) &"
        ))?;
        let load = Self { guest };
        load.goes_on(disk)?;
        Ok(load)
    }

    /// Waits until some more requests were done.
    pub fn goes_on(&self, disk: &str) -> Result<()> {
        let said = self.guest.run_within(
            &format!(
                "requests() {{ set -- $(cat /sys/block/{disk}/stat); echo $(($1 + $5)); }}
                 start=$(requests)
                 until [ $(($(requests) - start)) -gt 100 ]; do
                     [ ! -e /tmp/status ] || {{ cat /tmp/fio; exit 1; }}
                     usleep 50000
                 done"
            ),
            LIMIT,
        )?;
        ensure!(said.status == 0, "nothing is done: {}", said.text);
        Ok(())
    }

    /// Ends it; everything must have been as it was written.
    pub fn end(self) -> Result<()> {
        self.guest.sh("touch /tmp/stop")?;
        let (status, said) = self.result()?;
        ensure!(status == "0", "fio says {said}");
        Ok(())
    }

    /// Waits until it fails, because its disk is gone.
    pub fn fails(self) -> Result<()> {
        let (status, said) = self.result()?;
        ensure!(status == "1", "fio does not fail: {said}");
        // A disk that is gone is empty; it may be gone before it is opened again. What fio reads from
        // behind the end, it compares, too.
        let errors = [
            "creation disallowed",
            "Input/output error",
            "No such device",
            "No such file",
            "No space left on device",
            "No data available",
            "bad header",
        ];
        ensure!(
            errors.iter().any(|error| said.contains(error)),
            "fio says {said}"
        );
        Ok(())
    }

    fn result(self) -> Result<(String, String)> {
        waits(self.guest, "[ -s /tmp/status ]")?;
        let status = self.guest.sh("cat /tmp/status")?;
        Ok((status.trim().to_owned(), self.guest.sh("cat /tmp/fio")?))
    }
}
