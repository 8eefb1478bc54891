// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::{
    memory::tests::{GUEST, memory},
    rule::Field,
    switch::{PortOptions, Switch},
};
use proptest::prelude::*;
use std::time::Duration;
use virtio_wire::{
    net::{Header, HeaderKind, header::flag},
    ring::{Access, Element},
};

const BUFFERS: u64 = GUEST + 0x8000;
const LENGTH: u64 = 0x20000;

/// A device, another port of its switch, and memory to talk to it by.
struct Bench {
    net: Net,
    other: Handle,
    memory: Memory,
}

fn options() -> Options {
    Options::new("net")
}

impl Bench {
    fn new(options: &Options, without: &[Feature]) -> Self {
        let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
        let port = switch.add(options.port.clone()).expect("a port");
        let other = switch.add(PortOptions::new("other")).expect("a port");
        other.outlet().set_open(true);
        let mut net = Net::new(options, port);
        let accepted = net.offered.difference(FeatureSet::of(without));
        net.accept(bits(accepted));
        for queue in 0..2 {
            net.enable(queue, true);
        }
        Self {
            net,
            other,
            memory: memory(LENGTH),
        }
    }

    fn element(address: u64, length: usize, access: Access) -> Element {
        Element {
            address,
            length: u32::try_from(length).expect("a length"),
            access,
        }
    }

    /// Transmits bytes, and returns what leaves at the other port.
    fn transmit(&mut self, header: Header, frame: &[u8], actions: &[Action]) -> Vec<Arc<Frame>> {
        let kind = HeaderKind::V1;
        let mut bytes = vec![0; kind.length()];
        header.write(kind, &mut bytes).expect("a header");
        bytes.extend(frame);
        self.memory.write(BUFFERS, &bytes).expect("a buffer");
        let buffer = Buffer::of(vec![
            Self::element(BUFFERS, 5, Access::Read),
            Self::element(BUFFERS + 5, bytes.len() - 5, Access::Read),
        ]);
        let (_, job) = self.net.read(&self.memory, 1, &buffer).expect("a job");
        assert_eq!(self.net.serve(&self.memory, &job, actions), 0);
        self.other.outlet().take().into()
    }

    /// Gives the driver buffers of some lengths for the next frame, and returns what is in each.
    fn receive(&mut self, rooms: &[usize], actions: &[Action]) -> Vec<Vec<u8>> {
        self.net.collect();
        self.net.next(0).expect("a frame");
        let mut at = BUFFERS;
        let mut buffers = Vec::new();
        for room in rooms {
            buffers.push(Buffer::of(vec![Self::element(at, *room, Access::Write)]));
            at += u64::try_from(*room).expect("a length");
        }
        let jobs = self.net.fill(&self.memory, 0, &buffers, actions);
        let jobs = jobs.expect("to be filled");
        assert_eq!(jobs.len(), buffers.len());
        jobs.iter()
            .zip(&buffers)
            .map(|(job, buffer)| {
                let length = self.net.serve(&self.memory, job, &[]);
                let mut bytes = vec![0; usize::try_from(length).expect("a length")];
                let at = buffer.elements[0].address;
                self.memory.read(at, &mut bytes).expect("a read");
                bytes
            })
            .collect()
    }

    fn receive_one(&mut self, actions: &[Action]) -> (Header, Vec<u8>) {
        let bytes = self.receive(&[0x1000], actions).remove(0);
        let header = Header::read(HeaderKind::V1, &bytes).expect("a header");
        (header, bytes[12..].to_vec())
    }

    fn counter(&self, way: &str, name: &str) -> u64 {
        self.net.counters()[way][name].as_u64().expect("a counter")
    }
}

fn ethernet(length: usize) -> Vec<u8> {
    let mut bytes = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 7], &[0x88, 0xb5]].concat();
    bytes.resize(length, 0x5a);
    bytes
}

/// A TCP segment that is to be cut.
fn large() -> Frame {
    let mut bytes = ethernet(14);
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes.extend([0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 6, 0, 0]);
    bytes.extend([10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([
        0, 80, 0, 81, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 1, 0, 0, 0, 0, 0,
    ]);
    bytes.resize(bytes.len() + 3000, 0xa5);
    Frame::partial(bytes, std::num::NonZeroU16::new(1000))
}

#[test]
fn frames_go_both_ways() {
    let mut bench = Bench::new(&options(), &[]);
    let sent = ethernet(60);
    let left = bench.transmit(Header::default(), &sent, &[]);
    assert_eq!(left[0].bytes, sent);
    assert_eq!(bench.counter("tx", "frames"), 1);

    bench.other.send(Frame::plain(sent.clone()));
    let (header, bytes) = bench.receive_one(&[]);
    assert_eq!(bytes, sent);
    assert_eq!((header.flags, header.num_buffers.get()), (0, 1));
    assert_eq!(bench.counter("rx", "bytes"), 60);
    assert!(bench.net.next(0).is_none());
}

#[test]
fn a_frame_goes_into_several_buffers() {
    let mut bench = Bench::new(&options(), &[]);
    bench.other.send(Frame::plain(ethernet(100)));
    let parts = bench.receive(&[40, 40, 40], &[]);
    let lengths: Vec<_> = parts.iter().map(Vec::len).collect();
    assert_eq!(lengths, [40, 40, 32]);
    assert_eq!(parts.concat()[12..], ethernet(100));
    assert_eq!(parts[0][10], 3, "the number of buffers");
    assert_eq!(bench.counter("rx", "merged"), 1);

    let mut bench = Bench::new(&options(), &[Feature::MRG_RXBUF]);
    bench.other.send(Frame::plain(ethernet(100)));
    bench.net.collect();
    assert!(!bench.net.next(0).expect("a frame").several);
}

#[test]
fn large_frames_are_given_to_who_takes_them() {
    let mut bench = Bench::new(&options(), &[]);
    bench.other.send(large());
    let (header, bytes) = bench.receive_one(&[]);
    assert_eq!(header.gso_type, 1);
    assert_eq!(header.gso_size.get(), 1000);
    assert_eq!(header.hdr_len.get(), 54);
    assert_eq!(header.flags, flag::NEEDS_CSUM);
    assert_eq!(
        (header.csum_start.get(), header.csum_offset.get()),
        (34, 16)
    );
    assert_eq!(bytes.len(), 3054);

    let mut bench = Bench::new(&options(), &[Feature::GUEST_TSO4, Feature::GUEST_ECN]);
    bench.other.send(large());
    bench.net.collect();
    assert_eq!(bench.counter("rx", "cut"), 3);
    for length in [1054, 1054, 1054] {
        let (header, bytes) = bench.receive_one(&[]);
        assert_eq!((header.gso_type, bytes.len()), (0, length));
    }
}

#[test]
fn what_the_driver_says_is_checked() {
    let mut bench = Bench::new(&options(), &[]);
    let mut header = Header {
        flags: flag::NEEDS_CSUM,
        csum_start: 34.into(),
        csum_offset: 16.into(),
        gso_type: 1,
        gso_size: 1000.into(),
        ..Header::default()
    };
    let left = bench.transmit(header, &large().bytes, &[]);
    assert!(left[0].offload.gso.is_some());
    header.csum_start = 0xffff.into();
    assert!(bench.transmit(header, &large().bytes, &[]).is_empty());
    header.gso_type = 0x7f;
    assert!(bench.transmit(header, &large().bytes, &[]).is_empty());
    assert!(bench.transmit(Header::default(), &[1; 13], &[]).is_empty());
    assert_eq!(bench.counter("tx", "bad_header"), 3);
    assert!(
        bench
            .transmit(Header::default(), &ethernet(1515), &[])
            .is_empty()
    );
    assert!(
        bench
            .transmit(Header::default(), &ethernet(70_000), &[])
            .is_empty()
    );
    assert_eq!(bench.counter("tx", "too_long"), 2);

    // There is no header: the queue cannot go on.
    let short = Buffer::of(vec![Bench::element(BUFFERS, 11, Access::Read)]);
    assert!(bench.net.read(&bench.memory, 1, &short).is_err());
    bench.other.send(Frame::plain(ethernet(60)));
    bench.net.collect();
    let short = Buffer::of(vec![Bench::element(BUFFERS, 11, Access::Write)]);
    assert!(bench.net.fill(&bench.memory, 0, &[short], &[]).is_err());
}

#[test]
fn queues_that_are_not_enabled_lose_what_they_are_given() {
    let mut bench = Bench::new(&options(), &[]);
    bench.net.enable(1, false);
    assert!(
        bench
            .transmit(Header::default(), &ethernet(60), &[])
            .is_empty()
    );
    assert_eq!(bench.counter("tx", "disabled"), 1);
    bench.other.send(Frame::plain(ethernet(60)));
    bench.net.collect();
    for queue in [0, 2] {
        bench.net.enable(queue, false);
    }
    bench.other.send(Frame::plain(ethernet(60)));
    bench.net.enable(0, true);
    bench.net.collect();
    assert!(bench.net.next(0).is_none(), "what came before is gone");
    bench.net.enable(1, true);
    assert_eq!(
        bench.transmit(Header::default(), &ethernet(60), &[]).len(),
        1
    );
}

#[test]
fn a_flow_comes_where_it_went() {
    let mut bench = Bench::new(&options(), &[]);
    let frame = large();
    let used: Vec<_> = (0..2)
        .map(|pair| {
            bench.net.steering.learn(&frame, pair);
            bench.net.steering.choose(&frame, 2)
        })
        .collect();
    assert_eq!(used, [0, 1]);
    assert_eq!(bench.net.steering.choose(&frame, 1), 0, "it is not used");
}

#[test]
fn rules_change_frames_and_headers() {
    let mut bench = Bench::new(&options(), &[]);
    let mut receive = |actions: &[Action]| {
        bench.other.send(Frame::plain(ethernet(60)));
        bench.receive_one(actions)
    };
    for (field, value) in [
        (Field::Flags, 0xff),
        (Field::GsoType, 0x7f),
        (Field::HdrLen, 0xffff),
        (Field::GsoSize, 1),
        (Field::CsumStart, 2),
        (Field::CsumOffset, 3),
        (Field::NumBuffers, 0),
    ] {
        let (header, bytes) = receive(&[Action::Header(field, value)]);
        let said = match field {
            Field::Flags => header.flags.into(),
            Field::GsoType => header.gso_type.into(),
            Field::HdrLen => header.hdr_len.get(),
            Field::GsoSize => header.gso_size.get(),
            Field::CsumStart => header.csum_start.get(),
            Field::CsumOffset => header.csum_offset.get(),
            Field::NumBuffers => header.num_buffers.get(),
        };
        assert_eq!((said, bytes.len()), (value, 60), "{field:?}");
    }
    assert_eq!(receive(&[Action::Truncate(7)]).1.len(), 7);
    assert_eq!(receive(&[Action::Lengthen(100)]).1.len(), 100);
    assert_eq!(receive(&[Action::Lengthen(99_999)]).1.len(), 0x1000 - 12);
    assert_eq!(receive(&[Action::Corrupt]).1[59], 0xa5);
    assert_eq!(bench.counter("rx", "lies"), 7);

    let frame = ethernet(60);
    assert!(
        bench
            .transmit(Header::default(), &frame, &[Action::Drop])
            .is_empty()
    );
    let left = bench.transmit(Header::default(), &frame, &[Action::Corrupt]);
    assert_eq!(left[0].bytes[59], 0xa5);
}

fn control() -> Options {
    Options {
        control: true,
        queues: 2,
        mtu: Some(1400),
        ..options()
    }
}

impl Bench {
    /// Sends a command, and returns the answer.
    fn send_command(&mut self, command: &[u8]) -> u8 {
        self.memory.write(BUFFERS, command).expect("a command");
        let answer = BUFFERS + 0x1000;
        let buffer = Buffer::of(vec![
            Self::element(BUFFERS, command.len(), Access::Read),
            Self::element(answer, 1, Access::Write),
        ]);
        let (facts, job) = self.net.read(&self.memory, 4, &buffer).expect("a job");
        assert_eq!(facts.operation, "control");
        assert_eq!(self.net.serve(&self.memory, &job, &[]), 1);
        let mut ack = [0xff];
        self.memory.read(answer, &mut ack).expect("an answer");
        ack[0]
    }

    fn gets(&mut self, destination: [u8; 6], tag: Option<u16>) -> bool {
        let mut bytes = ethernet(60);
        bytes[..6].copy_from_slice(&destination);
        let frame = Frame::plain(bytes);
        self.other
            .send(tag.map_or(frame.clone(), |tag| frame.with_tag(tag)));
        self.net.collect();
        self.net.drop_frame(0) || self.net.drop_frame(2)
    }
}

#[test]
fn the_driver_says_what_it_wants() {
    let mut bench = Bench::new(&control(), &[]);
    let mac = bench.net.layout.mac;
    let (group, stranger) = ([1, 0, 0x5e, 0, 0, 1], [2, 0, 0, 0, 0, 99]);
    assert!(bench.gets(stranger, None), "at first it is promiscuous");
    assert_eq!(bench.send_command(&[0, 0, 0]), 0);
    assert!(!bench.gets(stranger, None) && !bench.gets(group, None));
    assert!(bench.gets(mac, None) && bench.gets([0xff; 6], None));
    let table = [&[1, 0][..], &[0; 4], &[1, 0, 0, 0], &group].concat();
    assert_eq!(bench.send_command(&table), 0);
    assert!(bench.gets(group, None));
    assert_eq!(bench.send_command(&[&[1, 1][..], &stranger].concat()), 0);
    assert!(bench.gets(stranger, None) && !bench.gets(mac, None));

    assert!(!bench.gets(stranger, Some(7)));
    assert_eq!(bench.send_command(&[2, 0, 7, 0]), 0);
    assert!(bench.gets(stranger, Some(7)));
    assert_eq!(bench.send_command(&[2, 1, 7, 0]), 0);
    assert!(!bench.gets(stranger, Some(7)));

    for queue in 2..4 {
        bench.net.enable(queue, true);
    }
    assert_eq!(bench.net.receiving(), 1);
    assert_eq!(bench.send_command(&[4, 0, 2, 0]), 0);
    assert_eq!(bench.net.receiving(), 2);
    for bad in [&[4, 0, 3, 0][..], &[4, 0, 0, 0], &[9, 9], &[0, 0, 2], &[]] {
        assert_eq!(bench.send_command(bad), 1, "{bad:?}");
    }
    // Without any offload, large frames are cut.
    let none = [&[5, 0][..], &[0; 8]].concat();
    assert_eq!(bench.send_command(&none), 0);
    bench.other.send(large());
    bench.net.collect();
    assert_eq!(bench.counter("rx", "cut"), 3);
}

#[test]
fn a_driver_without_an_address_gets_those_of_all_stations() {
    let mut bench = Bench::new(&control(), &[Feature::MAC]);
    let (chosen, stranger) = ([2, 0, 0, 0, 0, 98], [2, 0, 0, 0, 0, 99]);
    assert_eq!(bench.send_command(&[0, 0, 0]), 0);
    assert!(bench.gets(chosen, None) && bench.gets(stranger, None));
    assert!(!bench.gets([1, 0, 0x5e, 0, 0, 1], None));
    // Once it has said which one it has, it gets that.
    assert_eq!(bench.send_command(&[&[1, 1][..], &chosen].concat()), 0);
    assert!(bench.gets(chosen, None) && !bench.gets(stranger, None));
}

#[test]
fn the_configuration_space_is_there_and_lies() {
    let mut bench = Bench::new(&control(), &[]);
    let layout = ConfigLayout::parse(&bench.net.config()).expect("a layout");
    assert_eq!(
        (layout.mtu.get(), layout.max_virtqueue_pairs.get()),
        (1400, 2)
    );
    let command = |net: &mut Net, name: &str, arguments| {
        let answer = net.command(name, &arguments);
        answer.expect("a command").expect("an answer")
    };
    assert!(command(&mut bench.net, "link", json!({ "up": false })).config_changed);
    assert!(command(&mut bench.net, "announce", json!({})).config_changed);
    assert_eq!(bench.net.config()[6], 2);
    assert_eq!(bench.send_command(&[3, 0]), 0);
    assert_eq!(bench.net.config()[6], 0);
    command(&mut bench.net, "config", json!({ "set": { "mtu": 1 } }));
    assert_eq!(bench.net.config()[10], 1);
    assert!(bench.net.write_config(0, &[1]).is_err());
    assert_eq!((bench.net.queues(), bench.net.announced()), (5, 5));
    assert_eq!(Bench::new(&options(), &[]).net.announced(), 8);
}

fn elements(access: Access) -> impl Strategy<Value = Vec<Element>> {
    let address = prop_oneof![
        BUFFERS..BUFFERS + 0x4000,
        Just(GUEST + LENGTH - 20),
        any::<u64>()
    ];
    let length = prop_oneof![0..40_u32, Just(1526), any::<u32>()];
    prop::collection::vec((address, length), 0..4).prop_map(move |all| {
        all.into_iter()
            .map(|(address, length)| Element {
                address,
                length,
                access,
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever the driver makes available, and accepts, frames are sent or refused, and nothing is
    /// written but to what can be written.
    #[test]
    fn only_what_can_be_written_is_written(
        readable in elements(Access::Read),
        writable in prop::collection::vec(elements(Access::Write), 0..3),
        filling in prop::collection::vec(any::<u8>(), 64),
        queue in 0..6_usize,
        features in prop_oneof![Just(u64::MAX), any::<u64>()],
        own_control in any::<bool>(),
    ) {
        let options = if own_control { control() } else { options() };
        let mut bench = Bench::new(&options, &[]);
        bench.net.accept(features & bench.net.offers());
        bench.memory.write(BUFFERS, &filling).expect("a filling");
        let size = usize::try_from(LENGTH).expect("a length");
        let mut before = vec![0; size];
        bench.memory.read(GUEST, &mut before).expect("a read");

        let mut all = readable.clone();
        all.extend(writable.iter().flatten().copied());
        let buffer = Buffer::of(all);
        if let Ok((_, job)) = bench.net.read(&bench.memory, queue, &buffer) {
            bench.net.serve(&bench.memory, &job, &[]);
        }
        bench.other.send(large());
        bench.net.collect();
        let buffers: Vec<_> = writable.iter().cloned().map(Buffer::of).collect();
        if bench.net.next(0).is_some()
            && let Ok(jobs) = bench.net.fill(&bench.memory, 0, &buffers, &[])
        {
            for (job, buffer) in jobs.iter().zip(&buffers) {
                let written = bench.net.serve(&bench.memory, job, &[]);
                let most: u64 = buffer.writable().map(|e| u64::from(e.length)).sum();
                prop_assert!(u64::from(written) <= most);
            }
        }
        let mut after = vec![0; size];
        bench.memory.read(GUEST, &mut after).expect("a read");
        let pairs = before.iter().zip(&after).enumerate();
        for (at, _) in pairs.filter(|(_, (old, new))| old != new) {
            let address = GUEST + u64::try_from(at).expect("an address");
            let mine = writable.iter().flatten().any(|element| {
                address >= element.address && address - element.address < element.length.into()
            });
            prop_assert!(mine, "{address:#x} has changed");
        }
    }
}
