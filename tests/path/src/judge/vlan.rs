// SPDX-License-Identifier: GPL-2.0

//! The VLANs of ports, as the switch describes them.

use std::ops::RangeInclusive;

/// Reads what the switch says of a port: `access 10`, or `trunk 10:20-29 native 5`.
fn read(text: &str) -> Option<Vec<RangeInclusive<u16>>> {
    let one = |text: &str| {
        let id: u16 = text.parse().ok()?;
        Some(id..=id)
    };
    if let Some(access) = text.strip_prefix("access ") {
        return Some(vec![one(access)?]);
    }
    let (tagged, native) = text.strip_prefix("trunk ")?.split_once("native ")?;
    let mut all = Vec::new();
    if native != "none" {
        all.push(one(native)?);
    }
    for part in tagged.trim().split(':').filter(|part| !part.is_empty()) {
        all.push(match part.split_once('-') {
            Some((start, end)) => start.parse().ok()?..=end.parse().ok()?,
            None => one(part)?,
        });
    }
    Some(all)
}

/// Returns whether two ports have no VLAN in common; nothing if one of them cannot be understood.
pub fn apart(one: &str, other: &str) -> Option<bool> {
    let (one, other) = (read(one)?, read(other)?);
    let meet = |a: &RangeInclusive<u16>, b: &RangeInclusive<u16>| {
        a.start().max(b.start()) <= a.end().min(b.end())
    };
    Some(!one.iter().any(|a| other.iter().any(|b| meet(a, b))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_meet_in_a_vlan() {
        for (one, other, wanted) in [
            ("access 10", "access 10", false),
            ("access 10", "access 20", true),
            ("access 10", "trunk 10:20 native none", false),
            ("access 30", "trunk 10:20-29 native none", true),
            ("access 25", "trunk 10:20-29 native none", false),
            ("access 5", "trunk 10 native 5", false),
            ("access 5", "trunk  native 6", true),
            ("trunk 1-4094 native 1", "access 77", false),
            ("trunk 1-9 native none", "trunk 10-20 native 30", true),
            ("trunk 1-9 native none", "trunk 5-20 native none", false),
        ] {
            assert_eq!(apart(one, other), Some(wanted), "{one} and {other}");
            assert_eq!(apart(other, one), Some(wanted), "{other} and {one}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_not_judged() {
        for text in [
            "",
            "access",
            "access x",
            "trunk 1-x native 2",
            "trunk 5",
            "mirror",
        ] {
            assert_eq!(apart(text, "access 10"), None, "{text}");
        }
    }
}
