// SPDX-License-Identifier: GPL-2.0

//! What rules do.

use anyhow::{Result, bail, ensure};
use std::time::Duration;

/// To which devices an action makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To all.
    All,
    /// To disks.
    Disk,
    /// To networks.
    Net,
}

/// A field of the header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `flags`
    Flags,
    /// `gso_type`
    GsoType,
    /// `hdr_len`
    HdrLen,
    /// `gso_size`
    GsoSize,
    /// `csum_start`
    CsumStart,
    /// `csum_offset`
    CsumOffset,
    /// `num_buffers`
    NumBuffers,
}

/// What is done to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is served later.
    Delay(Duration),
    /// It is served when it is released, or never.
    Hold,
    /// It is not done, but has this status.
    Fail(u8),
    /// It is done, but has this status.
    Status(u8),
    /// It is done, but its status is not written.
    NoStatus,
    /// It is done, but the data that is read is not the right one.
    Corrupt,
    /// It is done, but the second half of the data that is read is not written, nor counted.
    Short,
    /// It is returned under this number.
    UsedId(u32),
    /// It is returned under the number of a buffer that is not out.
    UsedNotOut,
    /// It is returned twice.
    UsedTwice,
    /// It is returned with this number of bytes written.
    UsedLength(u32),
    /// The used index goes on by so many more.
    UsedJump(u16),
    /// A frame is lost.
    Drop,
    /// A frame for the driver ends after so many bytes.
    Truncate(usize),
    /// A frame for the driver is made longer, to so many bytes, or as the buffers are long.
    Lengthen(usize),
    /// A frame for the driver has this in its header.
    Header(Field, u16),
    /// It is returned without an interrupt.
    Mute,
    /// It is done, but never returned.
    Keep,
    /// It is returned at once, and done so much later.
    Early(Duration),
    /// So much after it was returned, what the driver has got changes, as this number determines.
    Late(Duration, u64),
    /// So many bytes of what is written for the driver are others, as a number determines.
    Mutate(u16, u64),
    /// So many bytes of the descriptors are others, as a number determines.
    Scribble(u16, u64),
    /// So many bytes of its table of descriptors are others when it is returned, as a number determines.
    ScribbleTable(u16, u64),
    /// So much after it was returned, its table of descriptors changes, as this number determines.
    LateTable(Duration, u64),
    /// The connection is closed instead.
    Disconnect,
    /// The backend dies instead.
    Die,
}

/// An action, as the control socket and the documentation have it.
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Its name.
    pub name: &'static str,
    /// Its value if none is given, if it has one.
    pub value: Option<u64>,
    /// To which devices it makes sense.
    pub scope: Scope,
    /// What it does.
    pub what: &'static str,
}

const fn action(name: &'static str, value: Option<u64>, scope: Scope, what: &'static str) -> Named {
    Named {
        name,
        value,
        scope,
        what,
    }
}

/// The actions.
pub const ACTIONS: &[Named] = &[
    action(
        "delay",
        Some(100),
        Scope::All,
        "serve it after VALUE milliseconds",
    ),
    action(
        "hold",
        None,
        Scope::All,
        "serve it when it is released, or never",
    ),
    action(
        "fail",
        Some(1),
        Scope::All,
        "do not do it, but answer with status VALUE",
    ),
    action(
        "status",
        Some(3),
        Scope::All,
        "do it, but answer with status VALUE",
    ),
    action(
        "no-status",
        None,
        Scope::All,
        "do it, but do not write a status",
    ),
    action(
        "corrupt",
        None,
        Scope::All,
        "change what is read, or the payload of a frame",
    ),
    action(
        "short",
        None,
        Scope::Disk,
        "write, and count, half of what is read",
    ),
    action(
        "used-id",
        Some(0x7777),
        Scope::All,
        "return buffer VALUE instead",
    ),
    action(
        "used-id-of",
        Some(0),
        Scope::All,
        "return one that is out in queue VALUE, and not in its own",
    ),
    action(
        "used-not-out",
        None,
        Scope::All,
        "return a buffer that is not out",
    ),
    action("used-twice", None, Scope::All, "return it twice"),
    action(
        "used-length",
        Some(0xffff_fff0),
        Scope::All,
        "say that VALUE bytes were written",
    ),
    action(
        "used-jump",
        Some(1),
        Scope::All,
        "let the used index go on by VALUE more",
    ),
    action("drop", None, Scope::Net, "lose the frame"),
    action(
        "truncate",
        Some(8),
        Scope::Net,
        "end a received frame after VALUE bytes",
    ),
    action(
        "lengthen",
        Some(0xffff),
        Scope::Net,
        "make it VALUE bytes, or as long as its buffers",
    ),
    action(
        "flags",
        Some(0xff),
        Scope::Net,
        "set flags of its header to VALUE",
    ),
    action("gso-type", Some(0x7f), Scope::Net, "set gso_type to VALUE"),
    action("hdr-len", Some(0xffff), Scope::Net, "set hdr_len to VALUE"),
    action("gso-size", Some(0), Scope::Net, "set gso_size to VALUE"),
    action(
        "csum-start",
        Some(0xffff),
        Scope::Net,
        "set csum_start to VALUE",
    ),
    action(
        "csum-offset",
        Some(0xffff),
        Scope::Net,
        "set csum_offset to VALUE",
    ),
    action(
        "num-buffers",
        Some(0xffff),
        Scope::Net,
        "set num_buffers to VALUE",
    ),
    action("mute", None, Scope::All, "return it without an interrupt"),
    action("keep", None, Scope::All, "do it, but never return it"),
    action(
        "early",
        Some(10),
        Scope::All,
        "return it at once, and do it VALUE milliseconds later",
    ),
    action(
        "late",
        Some(10),
        Scope::All,
        "change it VALUE milliseconds after it was returned",
    ),
    action(
        "mutate",
        Some(4),
        Scope::All,
        "change VALUE bytes of what the driver gets",
    ),
    action(
        "scribble",
        Some(4),
        Scope::All,
        "change VALUE bytes of the descriptors",
    ),
    action(
        "table",
        Some(4),
        Scope::All,
        "change VALUE bytes of its indirect table, if it has one",
    ),
    action(
        "late-table",
        Some(10),
        Scope::All,
        "change that VALUE milliseconds after it was returned",
    ),
    action(
        "disconnect",
        None,
        Scope::All,
        "close the connection instead",
    ),
    action("die", None, Scope::All, "die instead, as if killed"),
];

impl Named {
    /// Finds an action that makes sense to devices of some scope.
    pub fn find(name: &str, scope: Scope) -> Result<&'static Self> {
        let known = ACTIONS.iter().find(|action| {
            action.name == name && (action.scope == Scope::All || action.scope == scope)
        });
        match known {
            Some(known) => Ok(known),
            None => bail!("there is no action {name}"),
        }
    }

    /// Returns whether it is done only to requests that have a table of descriptors of their own.
    pub fn needs_table(&self) -> bool {
        ["table", "late-table"].contains(&self.name)
    }

    /// Returns whether it changes anything of requests of some sort.
    pub fn suits(&self, operation: &str) -> bool {
        let among = |operations: &[&str]| operations.contains(&operation);
        match self.name {
            // What is received is there: it cannot fail.
            "fail" => operation != "rx",
            // Frames have no status.
            "status" | "no-status" => !among(&["rx", "tx"]),
            // What is sent has nothing that the device writes.
            "late" | "mutate" => operation != "tx",
            "corrupt" => among(&["read", "rx", "tx"]),
            "short" => operation == "read",
            "drop" => among(&["rx", "tx"]),
            "truncate" | "lengthen" | "flags" | "gso-type" | "hdr-len" | "gso-size"
            | "csum-start" | "csum-offset" | "num-buffers" => operation == "rx",
            _ => true,
        }
    }

    /// Returns the value that it has if this one is given, or none.
    pub fn value(&self, given: Option<u64>) -> Result<Option<u64>> {
        ensure!(
            self.value.is_some() || given.is_none(),
            "action {} takes no value",
            self.name
        );
        Ok(given.or(self.value))
    }

    /// Makes an action; `seed` is what chance is made from.
    pub fn action(&self, value: Option<u64>, seed: u64) -> Result<Action> {
        let value = self.value(value)?.unwrap_or(0);
        Action::new(self.name, value, seed)
    }
}

impl Action {
    /// Returns what chance is made from, if it has a part in it.
    pub fn seed(&self) -> Option<u64> {
        match *self {
            Self::Late(_, seed)
            | Self::Mutate(_, seed)
            | Self::Scribble(_, seed)
            | Self::ScribbleTable(_, seed)
            | Self::LateTable(_, seed) => Some(seed),
            _ => None,
        }
    }

    fn new(name: &str, value: u64, seed: u64) -> Result<Self> {
        let header = |field| Ok(Self::Header(field, value.try_into()?));
        let time = Duration::from_millis(value);
        Ok(match name {
            "delay" => Self::Delay(time),
            "hold" => Self::Hold,
            "fail" => Self::Fail(value.try_into()?),
            "status" => Self::Status(value.try_into()?),
            "no-status" => Self::NoStatus,
            "corrupt" => Self::Corrupt,
            "short" => Self::Short,
            "used-id" => Self::UsedId(value.try_into()?),
            // Which one that is, is found when there is a request.
            "used-id-of" => Self::UsedId(u16::try_from(value)?.into()),
            "used-not-out" => Self::UsedNotOut,
            "used-twice" => Self::UsedTwice,
            "used-length" => Self::UsedLength(value.try_into()?),
            "used-jump" => Self::UsedJump(value.try_into()?),
            "mute" => Self::Mute,
            "keep" => Self::Keep,
            "early" => Self::Early(time),
            "late" => Self::Late(time, seed),
            "mutate" => Self::Mutate(value.try_into()?, seed),
            "scribble" => Self::Scribble(value.try_into()?, seed),
            "table" => Self::ScribbleTable(value.try_into()?, seed),
            "late-table" => Self::LateTable(time, seed),
            "drop" => Self::Drop,
            "truncate" => Self::Truncate(value.try_into()?),
            "lengthen" => Self::Lengthen(value.try_into()?),
            "flags" => return header(Field::Flags),
            "gso-type" => return header(Field::GsoType),
            "hdr-len" => return header(Field::HdrLen),
            "gso-size" => return header(Field::GsoSize),
            "csum-start" => return header(Field::CsumStart),
            "csum-offset" => return header(Field::CsumOffset),
            "num-buffers" => return header(Field::NumBuffers),
            "disconnect" => Self::Disconnect,
            _ => Self::Die,
        })
    }
}
