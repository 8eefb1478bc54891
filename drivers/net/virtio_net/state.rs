// SPDX-License-Identifier: GPL-2.0

//! What users have set, and how the device gets to know it: when it is set, and again after a reset.

use super::{
    control::Failure,
    operations::Nic,
    shape::Shape,
    Data, //
};
use core::mem::offset_of;
use kernel::prelude::*;
use kernel_ext::net::{
    self,
    Features,
    Rings,
    RxFilter, //
};
use virtio_wire::net::{
    config::{
        Config,
        ConfigLayout,
        Duplex,
        QueuePairs,
        Speed, //
    },
    ctrl::{
        MacTable,
        Offloads,
        RxMode,
        VlanId, //
    },
    Command,
    Feature,
    FeatureSet,
    MacAddress, //
};

/// How many VLANs there can be.
const VLANS: usize = 4096;

/// The most addresses that are told to the device: with more, it is to take all.
const MOST_ADDRESSES: usize = 1024;

/// The bytes of a table of addresses beside those.
const TABLE_OVERHEAD: usize = 16;

/// What users have set.
pub(crate) struct State {
    /// How many pairs of queues are used.
    pub(crate) pairs: u16,
    /// How many places the rings have, and how many they can have.
    pub(crate) rings: (Rings, Rings),
    /// What a user wants them to have.
    pub(crate) wanted: Option<Rings>,
    /// Whether the device interrupts when it has sent frames.
    pub(crate) tx_interrupts: bool,
    vlans: Vlans,
    /// The frames to be cut that the guest takes.
    gso: FeatureSet,
    /// The address, if a user has set it.
    mac: Option<MacAddress>,
    pub(crate) speed: Speed,
    pub(crate) duplex: Duplex,
    /// Whether a user has set those two.
    pub(crate) forced: bool,
}

impl State {
    pub(crate) fn new(pairs: u16, tx_interrupts: bool, shape: &Shape) -> Self {
        let config = shape.config();
        Self {
            pairs,
            rings: (Rings::default(), Rings::default()),
            wanted: None,
            tx_interrupts,
            vlans: Vlans([0; VLANS / 64]),
            gso: config.accepted().set(),
            mac: None,
            speed: config.speed(),
            duplex: config.duplex(),
            forced: false,
        }
    }

    /// Takes over what the device says of the link.
    pub(crate) fn learn_speed(&mut self, config: &Config) {
        if !self.forced {
            self.speed = config.speed();
            self.duplex = config.duplex();
        }
    }
}

/// The VLANs to receive, a bit each.
#[derive(Clone, Copy)]
struct Vlans([u64; VLANS / 64]);

impl Vlans {
    fn set(&mut self, vlan: VlanId, on: bool) {
        let id = usize::from(vlan.get());
        if let Some(word) = self.0.get_mut(id / 64) {
            let bit = 1 << (id % 64);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }

    fn iter(&self) -> impl Iterator<Item = VlanId> + '_ {
        let words = self.0.iter().zip((0..).step_by(64));
        let ids = words.flat_map(|(word, first)| {
            let has = move |bit: &u16| word & 1 << bit != 0;
            (0..64).filter(has).map(move |bit| first + bit)
        });
        ids.filter_map(|id| VlanId::new(id).ok())
    }
}

/// The addresses to receive.
struct Addresses {
    promiscuous: bool,
    all_multicast: bool,
    unicast: KVec<u8>,
    multicast: KVec<u8>,
}

impl Addresses {
    /// Reads what is to be received. It may not sleep.
    fn read(filter: &RxFilter<'_>) -> Result<Self> {
        let mut this = Self {
            promiscuous: filter.is_promiscuous(),
            all_multicast: filter.all_multicast(),
            unicast: KVec::new(),
            multicast: KVec::new(),
        };
        // With too many, it takes all.
        if filter.unicast_count() > MOST_ADDRESSES {
            this.promiscuous = true;
        } else {
            let mut result = Ok(());
            filter.for_each_unicast(|address| {
                result = result.and(this.unicast.extend_from_slice(&address, GFP_ATOMIC));
            });
            result?;
        }
        if filter.multicast_count() > MOST_ADDRESSES {
            this.all_multicast = true;
        } else {
            let mut result = Ok(());
            filter.for_each_multicast(|address| {
                result = result.and(this.multicast.extend_from_slice(&address, GFP_ATOMIC));
            });
            result?;
        }
        Ok(this)
    }
}

/// What is set while the device is not there, it is told when it is back.
fn later(result: Result<(), Failure>) -> Result {
    match result {
        Ok(()) | Err(Failure::Absent | Failure::Broken) => Ok(()),
        Err(failure) => Err(failure.into()),
    }
}

impl Data<'_> {
    /// Sends a command, and has the device reset if it does not answer.
    pub(crate) fn command(&self, command: &Command<'_>) -> Result<(), Failure> {
        self.long_command(command, None)
    }

    fn long_command(&self, command: &Command<'_>, length: Option<usize>) -> Result<(), Failure> {
        let Some(control) = &self.control else {
            return Err(Failure::Other(EOPNOTSUPP));
        };
        let result = match length {
            Some(length) => control.send_long(command, length),
            None => control.send(command),
        };
        // That one is answered does not mean that the device works: some are sent after each reset, and
        // who answers them may be somebody else than who has frames.
        if let Err(Failure::Broken) = result {
            self.recovery.begin();
        }
        result
    }

    /// Sends a command about something that was set.
    fn set(&self, command: &Command<'_>) -> Result {
        later(self.command(command))
    }

    /// Says that an announcement was noticed.
    pub(crate) fn acknowledge(&self) {
        if let Err(failure) = self.command(&Command::AnnounceAck) {
            self.complain("an announcement", failure);
        }
    }

    fn complain(&self, what: &str, failure: Failure) {
        if failure != Failure::Absent {
            let error = Error::from(failure);
            dev_warn!(self.vdev, "{} was refused: {:?}\n", what, error);
        }
    }

    /// Sets the address.
    pub(crate) fn set_mac(&self, address: [u8; 6]) -> Result {
        let mac = MacAddress::new(address).map_err(|_| EADDRNOTAVAIL)?;
        later(self.tell_mac(mac))?;
        self.state.lock().mac = Some(mac);
        Ok(())
    }

    /// Tells the device an address, if there is a way.
    fn tell_mac(&self, mac: MacAddress) -> Result<(), Failure> {
        if self.has(Feature::CTRL_MAC_ADDR) {
            self.command(&Command::SetMac(mac))
        } else if self.writes_mac() {
            let offset = offset_of!(ConfigLayout, mac);
            let written = self.vdev.write_config::<ConfigLayout>(offset, &mac.bytes());
            written.map_err(Failure::from)
        } else {
            Ok(())
        }
    }

    /// Tells whether the device has the address in its configuration space.
    fn writes_mac(&self) -> bool {
        self.has(Feature::MAC) && self.features.is_legacy()
    }

    /// Tells whether the device cannot be told the address, so that it is one of those that the filter
    /// has to let through.
    pub(crate) fn filters_own(&self) -> bool {
        !self.has(Feature::CTRL_MAC_ADDR) && !self.writes_mac()
    }

    /// Starts or stops to receive a VLAN.
    pub(crate) fn set_vlan(&self, id: u16, on: bool) -> Result {
        let vlan = VlanId::new(id).map_err(|_| EINVAL)?;
        self.set(&if on {
            Command::AddVlan(vlan)
        } else {
            Command::RemoveVlan(vlan)
        })?;
        self.state.lock().vlans.set(vlan, on);
        Ok(())
    }

    /// Sets how many pairs of queues are used.
    pub(crate) fn set_pairs(&self, pairs: u16) -> Result {
        if self.has(Feature::MQ) {
            let pairs = QueuePairs::new(pairs).map_err(|_| EINVAL)?;
            self.set(&Command::QueuePairs(pairs))?;
        }
        self.state.lock().pairs = pairs;
        Ok(())
    }

    /// Sets whether the guest takes frames that are to be cut.
    pub(crate) fn set_gso(&self, on: bool) -> Result {
        let accepted = self.features.set();
        let set = if on {
            accepted
        } else {
            accepted.difference(Feature::GUEST_GSO)
        };
        self.set(&Command::Offloads(Offloads::of(set)))?;
        self.state.lock().gso = set;
        Ok(())
    }

    /// Tells the device which frames to receive.
    pub(crate) fn set_filter(&self, filter: &RxFilter<'_>) -> Result {
        if !self.has(Feature::CTRL_RX) {
            return Ok(());
        }
        later(self.send_filter(Addresses::read(filter)?))
    }

    fn send_filter(&self, mut addresses: Addresses) -> Result<(), Failure> {
        let own = self.state.lock().mac.filter(|_| self.filters_own());
        if let Some(mac) = own {
            let unicast = &mut addresses.unicast;
            unicast
                .extend_from_slice(&mac.bytes(), GFP_KERNEL)
                .map_err(Error::from)?;
        }
        let promiscuous = addresses.promiscuous.into();
        self.command(&Command::RxMode(RxMode::Promiscuous, promiscuous))?;
        let all = addresses.all_multicast.into();
        self.command(&Command::RxMode(RxMode::AllMulticast, all))?;
        let table = MacTable::new(&addresses.unicast, &addresses.multicast);
        let length = addresses.unicast.len() + addresses.multicast.len() + TABLE_OVERHEAD;
        self.long_command(
            &Command::MacTable(table.map_err(Failure::Refused)?),
            Some(length),
        )
    }

    /// Tells the device what users have set before it was reset, but for the filter.
    pub(crate) fn replay(&self) {
        let (pairs, gso, mac) = {
            let state = self.state.lock();
            (state.pairs, state.gso, state.mac)
        };
        let mut result = mac.map_or(Ok(()), |mac| self.tell_mac(mac));
        let mut send = |command: &Command<'_>| {
            if result.is_ok() {
                result = self.command(command);
            }
        };
        if self.has(Feature::MQ) {
            if let Ok(pairs) = QueuePairs::new(pairs) {
                send(&Command::QueuePairs(pairs));
            }
        }
        if self.has(Feature::CTRL_GUEST_OFFLOADS) && gso != self.features.set() {
            send(&Command::Offloads(Offloads::of(gso)));
        }
        if self.has(Feature::CTRL_VLAN) {
            // A command sleeps: the lock is not kept meanwhile.
            let vlans = self.state.lock().vlans;
            vlans.iter().for_each(|vlan| send(&Command::AddVlan(vlan)));
        }
        if let Err(failure) = result {
            self.complain("what was set before", failure);
        }
    }

    /// Tells the device again which frames to receive. The device must be attached: what changes
    /// before that, the core does not tell.
    pub(crate) fn replay_filter(&self, nic: &net::Device<'_, Nic>) {
        if !self.has(Feature::CTRL_RX) {
            return;
        }
        let addresses = nic.rx_filter(Addresses::read).map_err(Failure::from);
        let result = addresses.and_then(|addresses| self.send_filter(addresses));
        if let Err(failure) = result {
            self.complain("the filter", failure);
        }
    }

    /// Takes over which offloads users want.
    pub(crate) fn set_offloads(&self, old: Features, new: Features) -> Result {
        let changed = |feature| old.contains(feature) != new.contains(feature);
        if changed(Features::GRO_HW) {
            self.set_gso(new.contains(Features::GRO_HW))?;
        }
        Ok(())
    }
}
