// SPDX-License-Identifier: GPL-2.0

//! Which frames the driver wants, as it has said by commands.

use super::Form;
use crate::frame::{Frame, Mac};
use std::collections::BTreeSet;
use virtio_wire::net::{
    Feature,
    ctrl::{MacTable, RxMode, Switch},
};

/// What the driver has said.
#[derive(Clone, Debug)]
pub struct Filter {
    promiscuous: bool,
    all_multicast: bool,
    all_unicast: bool,
    no_multicast: bool,
    no_unicast: bool,
    no_broadcast: bool,
    addresses: BTreeSet<Mac>,
    own: Option<Mac>,
    vlans: BTreeSet<u16>,
}

impl Default for Filter {
    /// All frames.
    fn default() -> Self {
        Self {
            promiscuous: true,
            all_multicast: false,
            all_unicast: false,
            no_multicast: false,
            no_unicast: false,
            no_broadcast: false,
            addresses: BTreeSet::new(),
            own: None,
            vlans: BTreeSet::new(),
        }
    }
}

impl Filter {
    /// Switches a way to receive.
    pub fn set(&mut self, mode: RxMode, switch: Switch) {
        let place = match mode {
            RxMode::Promiscuous => &mut self.promiscuous,
            RxMode::AllMulticast => &mut self.all_multicast,
            RxMode::AllUnicast => &mut self.all_unicast,
            RxMode::NoMulticast => &mut self.no_multicast,
            RxMode::NoUnicast => &mut self.no_unicast,
            RxMode::NoBroadcast => &mut self.no_broadcast,
        };
        *place = switch == Switch::On;
    }

    /// Sets the addresses.
    pub fn set_table(&mut self, table: MacTable<'_>) {
        let unicast = table.unicast().map(|mac| mac.bytes());
        let multicast = table.multicast().map(|mac| mac.bytes());
        self.addresses = unicast.chain(multicast).collect();
    }

    /// Sets the address of the station.
    pub fn set_own(&mut self, mac: Mac) {
        self.own = Some(mac);
    }

    /// Adds or removes a VLAN.
    pub fn set_vlan(&mut self, id: u16, there: bool) {
        if there {
            self.vlans.insert(id);
        } else {
            self.vlans.remove(&id);
        }
    }

    /// Returns whether the driver wants a frame. `mac` is the address that it was told.
    pub(super) fn wants(&self, form: &Form, mac: Mac, frame: &Frame) -> bool {
        if let Some(tag) = frame.tag()
            && form.accepted.has(Feature::CTRL_VLAN)
            && !self.vlans.contains(&(tag & 0xfff))
        {
            return false;
        }
        if self.promiscuous || !form.accepted.has(Feature::CTRL_RX) {
            return true;
        }
        let to = frame.destination().unwrap_or_default();
        let listed = self.addresses.contains(&to);
        if to == [0xff; 6] {
            !self.no_broadcast
        } else if virtio_wire::net::mac::is_group(to) {
            !self.no_multicast && (self.all_multicast || listed)
        } else {
            // Whoever was not told an address has one of its own making, which the device may not know.
            let told = || form.accepted.has(Feature::MAC).then_some(mac);
            let own = self.own.or_else(told);
            !self.no_unicast && (self.all_unicast || listed || own.is_none_or(|own| own == to))
        }
    }
}
