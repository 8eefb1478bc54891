// SPDX-License-Identifier: GPL-2.0

//! The numbers of commands, and how their data is laid out.

use super::{
    filter::{
        MacTable,
        RxMode,
        Switch,
        VlanId, //
    },
    offloads::{
        Coalesce,
        CoalesceLayout,
        CoalesceQueueLayout,
        Offloads, //
    },
    steering::{
        HashConfig,
        RssConfig, //
    },
    Command,
    CtrlError,
    MacAddress,
    QueuePairs,
    StatsRequest, //
};
use crate::{
    int::{
        Le16,
        Le64, //
    },
    wire::{
        split,
        Wire,
        Writer, //
    },
};

const RX: u8 = 0;
const MAC: u8 = 1;
const VLAN: u8 = 2;
const ANNOUNCE: u8 = 3;
const MQ: u8 = 4;
const GUEST_OFFLOADS: u8 = 5;
const NOTF_COAL: u8 = 6;
const STATS: u8 = 8;

/// Returns the class of a command, and its number there.
fn number(command: &Command<'_>) -> [u8; 2] {
    match command {
        Command::RxMode(mode, _) => [RX, mode.code()],
        Command::MacTable(_) => [MAC, 0],
        Command::SetMac(_) => [MAC, 1],
        Command::AddVlan(_) => [VLAN, 0],
        Command::RemoveVlan(_) => [VLAN, 1],
        Command::AnnounceAck => [ANNOUNCE, 0],
        Command::QueuePairs(_) => [MQ, 0],
        Command::Rss(_) => [MQ, 1],
        Command::Hash(_) => [MQ, 2],
        Command::Offloads(_) => [GUEST_OFFLOADS, 0],
        Command::CoalesceTx(_) => [NOTF_COAL, 0],
        Command::CoalesceRx(_) => [NOTF_COAL, 1],
        Command::CoalesceQueue(..) => [NOTF_COAL, 2],
        Command::StatsQuery => [STATS, 0],
        Command::StatsGet(_) => [STATS, 1],
    }
}

pub(super) fn encode(command: &Command<'_>, writer: &mut Writer<'_>) {
    writer.put(number(command));
    match command {
        Command::RxMode(_, switch) => writer.put(switch.byte()),
        Command::MacTable(table) => table.encode(writer),
        Command::SetMac(address) => writer.put(address.bytes()),
        Command::AddVlan(id) | Command::RemoveVlan(id) => writer.put(Le16::new(id.get())),
        Command::AnnounceAck | Command::StatsQuery => {}
        Command::QueuePairs(pairs) => writer.put(Le16::new(pairs.get())),
        Command::Rss(rss) => rss.encode(writer),
        Command::Hash(hash) => hash.encode(writer),
        Command::Offloads(offloads) => writer.put(Le64::new(offloads.bits())),
        Command::CoalesceTx(coalesce) | Command::CoalesceRx(coalesce) => {
            writer.put(CoalesceLayout::from(*coalesce));
        }
        Command::CoalesceQueue(index, coalesce) => writer.put(CoalesceQueueLayout {
            vq_index: (*index).into(),
            reserved: Le16::new(0),
            coalesce: (*coalesce).into(),
        }),
        Command::StatsGet(request) => writer.bytes(request.bytes()),
    }
}

pub(super) fn decode(bytes: &[u8]) -> Result<Command<'_>, CtrlError> {
    let ([class, command], data) = split::<[u8; 2], 2>(bytes)?;
    let decoded = match (class, command) {
        (RX, code) => Command::RxMode(
            RxMode::from_code(code).ok_or(CtrlError::Unknown { class, command })?,
            Switch::new(whole::<u8, 1>(data)?)?,
        ),
        (MAC, 0) => Command::MacTable(MacTable::decode(data)?),
        (MAC, 1) => Command::SetMac(MacAddress::new(whole(data)?)?),
        (VLAN, 0) => Command::AddVlan(vlan(data)?),
        (VLAN, 1) => Command::RemoveVlan(vlan(data)?),
        (ANNOUNCE, 0) => {
            whole::<[u8; 0], 0>(data)?;
            Command::AnnounceAck
        }
        (MQ, 0) => {
            let pairs = whole::<Le16, 2>(data)?.get();
            Command::QueuePairs(QueuePairs::new(pairs).map_err(|_| CtrlError::QueuePairs(pairs))?)
        }
        (MQ, 1) => Command::Rss(RssConfig::decode(data)?),
        (MQ, 2) => Command::Hash(HashConfig::decode(data)?),
        (GUEST_OFFLOADS, 0) => Command::Offloads(Offloads::new(whole::<Le64, 8>(data)?.get())?),
        (NOTF_COAL, 0) => Command::CoalesceTx(coalesce(data)?),
        (NOTF_COAL, 1) => Command::CoalesceRx(coalesce(data)?),
        (NOTF_COAL, 2) => {
            let layout: CoalesceQueueLayout = whole(data)?;
            Command::CoalesceQueue(layout.vq_index.get(), layout.coalesce.into())
        }
        (STATS, 0) => {
            whole::<[u8; 0], 0>(data)?;
            Command::StatsQuery
        }
        (STATS, 1) => Command::StatsGet(StatsRequest::new(data).map_err(CtrlError::Stats)?),
        _ => return Err(CtrlError::Unknown { class, command }),
    };
    Ok(decoded)
}

fn vlan(data: &[u8]) -> Result<VlanId, CtrlError> {
    VlanId::new(whole::<Le16, 2>(data)?.get())
}

fn coalesce(data: &[u8]) -> Result<Coalesce, CtrlError> {
    whole::<CoalesceLayout, 8>(data).map(Coalesce::from)
}

/// Reads a structure that is all there is.
fn whole<T: Wire<N>, const N: usize>(data: &[u8]) -> Result<T, CtrlError> {
    let (value, rest) = split(data)?;
    end(rest, data)?;
    Ok(value)
}

/// Checks that nothing is left of `data`.
pub(super) fn end(rest: &[u8], data: &[u8]) -> Result<(), CtrlError> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(CtrlError::TooLong(data.len()))
    }
}
