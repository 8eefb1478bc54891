// SPDX-License-Identifier: GPL-2.0

//! In which VLANs a port is.

use anyhow::{Context, Result, ensure};
use std::ops::RangeInclusive;

/// The VLAN of frames without a tag, by default.
pub const DEFAULT: u16 = 1;

/// The bits of a tag that are the number of the VLAN.
const ID: u16 = 0xfff;

/// The VLANs of a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vlans {
    /// One, whose frames have no tag here.
    Access(u16),
    /// Several, whose frames have tags.
    Trunk {
        /// The VLAN of frames without a tag, if those are taken.
        native: Option<u16>,
        /// The others.
        tagged: Vec<RangeInclusive<u16>>,
    },
}

impl Default for Vlans {
    /// All VLANs.
    fn default() -> Self {
        Self::Trunk {
            native: Some(DEFAULT),
            tagged: vec![1..=4094],
        }
    }
}

/// How a frame leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Out {
    /// Without a tag.
    Plain,
    /// With the tag of its VLAN.
    Tagged,
}

impl Vlans {
    /// Makes the VLANs of a port from what is said of it.
    pub fn from_texts(
        access: Option<&str>,
        trunk: Option<&str>,
        native: Option<&str>,
    ) -> Result<Self> {
        ensure!(
            access.is_none() || (trunk.is_none() && native.is_none()),
            "a port has vlan, or trunk and native"
        );
        if let Some(access) = access {
            return Ok(Self::Access(id(access)?));
        }
        if trunk.is_none() && native.is_none() {
            return Ok(Self::default());
        }
        Ok(Self::Trunk {
            native: native.map(id).transpose()?,
            tagged: list(trunk.unwrap_or_default())?,
        })
    }

    /// Returns the VLAN of a frame that comes in, with its tag; nothing if it is refused.
    pub fn of(&self, tag: Option<u16>) -> Option<u16> {
        // A tag without a number has only a priority.
        let id = tag.map(|tag| tag & ID).filter(|id| *id != 0);
        match (self, id) {
            (Self::Access(own), None) => Some(*own),
            (Self::Access(_), Some(_)) => None,
            (Self::Trunk { native, .. }, None) => *native,
            (Self::Trunk { .. }, Some(id)) => self.has(id).then_some(id),
        }
    }

    fn has(&self, id: u16) -> bool {
        match self {
            Self::Access(own) => *own == id,
            Self::Trunk { native, tagged } => {
                *native == Some(id) || tagged.iter().any(|range| range.contains(&id))
            }
        }
    }

    /// Returns how a frame of a VLAN leaves; nothing if it does not. A copy leaves in any case.
    pub fn out(&self, vlan: u16, copy: bool) -> Option<Out> {
        match self {
            Self::Access(own) if *own == vlan => Some(Out::Plain),
            Self::Trunk { native, .. } if *native == Some(vlan) => Some(Out::Plain),
            _ if copy || self.has(vlan) => Some(Out::Tagged),
            _ => None,
        }
    }

    /// Describes them.
    pub fn text(&self) -> String {
        match self {
            Self::Access(own) => format!("access {own}"),
            Self::Trunk { native, tagged } => {
                let list: Vec<_> = tagged
                    .iter()
                    .map(|range| match (range.start(), range.end()) {
                        (start, end) if start == end => start.to_string(),
                        (start, end) => format!("{start}-{end}"),
                    })
                    .collect();
                let native = native.map_or("none".to_owned(), |native| native.to_string());
                format!("trunk {} native {native}", list.join(":"))
            }
        }
    }
}

/// Reads the number of a VLAN.
pub fn id(text: &str) -> Result<u16> {
    let id: u16 = text
        .parse()
        .with_context(|| format!("{text} is no number of a VLAN"))?;
    ensure!(
        (1..=4094).contains(&id),
        "there is no VLAN {id}: their numbers are 1 to 4094"
    );
    Ok(id)
}

/// Reads numbers of VLANs and ranges of them, such as `10:20-29`.
pub fn list(text: &str) -> Result<Vec<RangeInclusive<u16>>> {
    let mut list: Vec<RangeInclusive<u16>> = Vec::new();
    for part in text.split(':').filter(|part| !part.is_empty()) {
        let (start, end) = part.split_once('-').unwrap_or((part, part));
        let (start, end) = (id(start)?, id(end)?);
        ensure!(
            start <= end,
            "{part} has no VLAN: say {end}-{start} for those between them"
        );
        for there in &list {
            let (first, last) = (start.max(*there.start()), end.min(*there.end()));
            ensure!(first > last, "VLAN {first} is twice in {text}");
        }
        list.push(start..=end);
    }
    Ok(list)
}
