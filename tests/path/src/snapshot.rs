// SPDX-License-Identifier: GPL-2.0

//! What was seen of a network at one moment, in a guest and beside it.
//!
//! Whatever could not be seen is not there: no field is ever made up, and none is needed. A *guest* is
//! written by `virtio-path guest`, a *host* by `virtio-path host`, whose counters are those of the
//! backend, as its control socket tells them.

mod guest;
mod host;

pub use guest::{Guest, Link, Neighbour, Qdisc, QueueStats, Sockets, TxQueue};
pub use host::{Class, Device, Host, Peer, Port, Queue};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Both sides at one moment.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Snapshot {
    /// What the guest has seen.
    pub guest: Option<Guest>,
    /// What was seen beside the backend.
    pub host: Option<Host>,
}

impl Snapshot {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// What has neither side is no snapshot, but something else that was given by mistake.
    pub fn read(text: &str) -> Result<Self> {
        let snapshot: Self = serde_json::from_str(text).context("it is no snapshot")?;
        ensure!(
            snapshot.guest.is_some() || snapshot.host.is_some(),
            "it is no snapshot: it has neither \"guest\" nor \"host\""
        );
        Ok(snapshot)
    }
}

/// Counters with their names. What is no counter is left out, so that texts and lists may be among them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counters(pub BTreeMap<String, u64>);

impl Counters {
    /// Returns a counter.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }
}

impl<'de> Deserialize<'de> for Counters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all: Option<BTreeMap<String, Value>> = Option::deserialize(deserializer)?;
        let all = all.unwrap_or_default().into_iter();
        Ok(all
            .filter_map(|(name, value)| Some((name, value.as_u64()?)))
            .collect())
    }
}

impl FromIterator<(String, u64)> for Counters {
    fn from_iter<I: IntoIterator<Item = (String, u64)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_not_there() {
        let snapshot = Snapshot::read("{\"guest\": {\"interface\": \"eth0\"}}").expect("one side");

        assert!(snapshot.host.is_none());
        let guest = snapshot.guest.expect("a guest");
        assert_eq!(guest.interface, "eth0");
        assert_eq!(guest.link.up, None);
        assert!(guest.statistics.0.is_empty());
    }

    #[test]
    fn what_is_no_counter_is_left_out() {
        let counters: Counters =
            serde_json::from_str("{\"a\": 1, \"b\": \"text\", \"c\": -1, \"d\": null, \"e\": {}}")
                .expect("counters");

        assert_eq!(counters.0, BTreeMap::from([("a".to_owned(), 1)]));
    }

    #[test]
    fn what_is_no_snapshot_is_refused() {
        for text in ["", "[]", "{}", "{\"queues\": []}", "{\"guest\": 1}"] {
            Snapshot::read(text).expect_err(text);
        }
    }
}
