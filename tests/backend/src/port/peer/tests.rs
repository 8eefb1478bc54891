// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::switch::Switch;
use smoltcp::{
    iface::SocketHandle,
    phy::ChecksumCapabilities,
    socket::{tcp, udp},
    wire::{
        EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpAddress,
        IpEndpoint, IpProtocol, Ipv6Address, Ipv6Packet, Ipv6Repr, NdiscRepr,
    },
};
use std::time::Duration;

const STATION: [u8; 4] = [10, 0, 0, 1];
const OWN: [u8; 4] = [10, 0, 0, 2];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A station, and another port of its switch.
fn bench(large: Large) -> (Arc<Switch>, Handle, Arc<dyn Controlled>) {
    let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
    let options = PortOptions::new("station");
    let handle = switch.add(options.clone()).expect("a port");
    let addresses = ["10.0.0.1/24", "fd00::1/64"].map(|text| text.parse().expect("an address"));
    let station = start(&options, &addresses, large, handle).expect("a station");
    let port = switch.add(PortOptions::new("test")).expect("a port");
    port.outlet().set_open(true);
    (switch, port, station)
}

fn wait(port: &Handle) -> Arc<Frame> {
    for _ in 0..2000 {
        if let Some(frame) = port.outlet().take_one() {
            return frame;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("nothing comes");
}

#[test]
fn it_answers_to_arp() {
    let (_switch, port, _station) = bench(Large::Yes);
    let request = [
        &[0xff; 6][..],
        &MAC,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &MAC,
        &OWN,
        &[0; 6],
        &STATION,
    ]
    .concat();
    port.send(Frame::plain(request));
    let answer = wait(&port);
    assert_eq!(answer.destination(), Some(MAC));
    assert_eq!(answer.bytes[20..22], [0, 2], "a reply");
    assert_eq!(answer.bytes[28..32], STATION);
}

/// Another station, which asks this one.
struct Client {
    link: Link,
    interface: Interface,
    sockets: SocketSet<'static>,
}

impl Client {
    fn new(port: Handle) -> Self {
        let waker = Waker::new().expect("a waker");
        port.outlet().set_waker(waker);
        let mut link = Link {
            handle: port,
            mtu: 1500,
            large: Large::Yes,
            taken: VecDeque::new(),
            counters: Arc::default(),
        };
        let config = Config::new(HardwareAddress::Ethernet(EthernetAddress(MAC)));
        let mut interface = Interface::new(config, &mut link, Instant::now());
        interface.update_ip_addrs(|list| {
            for address in ["10.0.0.2/24", "fd00::2/64"] {
                let address = address.parse().expect("an address");
                list.push(address).expect("room");
            }
        });
        Self {
            link,
            interface,
            sockets: SocketSet::new(Vec::new()),
        }
    }

    /// Connects to a port of the station.
    fn connect(&mut self, to: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 1 << 16]);
        let handle = self.sockets.add(tcp::Socket::new(buffer(), buffer()));
        let [a, b, c, d] = STATION;
        self.sockets
            .get_mut::<tcp::Socket<'_>>(handle)
            .connect(
                self.interface.context(),
                (IpAddress::v4(a, b, c, d), to),
                4000,
            )
            .expect("to connect");
        handle
    }

    /// Goes on until `step` returns something.
    fn until<T>(&mut self, mut step: impl FnMut(&mut SocketSet<'static>) -> Option<T>) -> T {
        for _ in 0..20_000 {
            self.interface
                .poll(Instant::now(), &mut self.link, &mut self.sockets);
            if let Some(result) = step(&mut self.sockets) {
                // What is to be said at the end.
                self.interface
                    .poll(Instant::now(), &mut self.link, &mut self.sockets);
                return result;
            }
            thread::sleep(Duration::from_micros(500));
        }
        panic!("it does not end");
    }
}

/// Takes all that has come.
fn received(socket: &mut tcp::Socket<'_>) -> Vec<u8> {
    let mut got = Vec::new();
    while socket.can_recv() {
        let part = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
        got.extend(part.expect("bytes"));
    }
    got
}

/// Connects and sends, and returns what it gets.
fn ask(port: Handle, to: u16, text: &[u8]) -> Vec<u8> {
    let mut client = Client::new(port);
    let socket = client.connect(to);
    let (mut left, mut got) = (text, Vec::new());
    client.until(|sockets| {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(socket);
        if !left.is_empty() && socket.can_send() {
            let sent = socket.send_slice(left).expect("to send");
            left = &left[sent..];
            if left.is_empty() && !text.starts_with(b"send") {
                socket.close();
            }
        }
        got.extend(received(socket));
        let open = socket.is_active() && (socket.may_recv() || !left.is_empty());
        (!open && left.is_empty()).then_some(())
    });
    got
}

fn counters(station: &Arc<dyn Controlled>) -> Value {
    station.execute("counters", &json!({})).expect("counters")
}

#[test]
fn it_sends_a_pattern() {
    for large in [Large::Yes, Large::No] {
        let (_switch, port, station) = bench(large);
        let got = ask(port, 5001, b"send 300000\n");
        assert_eq!(got.len(), 300_000);
        let right = |(at, byte): (usize, &u8)| usize::from(*byte) == at % 251;
        assert!(got.iter().enumerate().all(right));
        let counters = counters(&station);
        assert_eq!(counters["malformed"], 0);
        assert_eq!(
            counters["sent_large"].as_u64() > Some(0),
            large == Large::Yes
        );
    }
}

#[test]
fn it_tells_what_it_has_taken() {
    let (_switch, port, _station) = bench(Large::Yes);
    let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    let got = ask(port, 5001, &[b"receive\n", sent.as_slice()].concat());
    let told: Value = serde_json::from_slice(&got).expect("a line");
    assert_eq!(told["bytes"], sent.len());
    assert_eq!(told["crc"], crate::frame::crc32(0, &sent));
}

#[test]
fn it_echoes_and_asks_back() {
    let (_switch, port, _station) = bench(Large::Yes);
    assert_eq!(ask(port, 7, b"hello"), b"hello");
    let (_switch, port, _station) = bench(Large::Yes);
    assert_eq!(ask(port, 5001, b"fly\n"), b"what?\n");
}

#[test]
fn what_is_discarded_is_counted() {
    let (_switch, port, station) = bench(Large::Yes);
    let sent = vec![0xa5; 300_000];

    assert!(ask(port, 9, &sent).is_empty());

    let counters = counters(&station);
    assert_eq!(counters["bytes_in"], sent.len());
    assert_eq!(counters["bytes_out"], 0);
    assert_eq!(counters["connections"], 1);
}

#[test]
fn a_source_sends_until_nobody_listens() {
    let (_switch, port, station) = bench(Large::Yes);
    let mut client = Client::new(port);
    let socket = client.connect(19);
    let mut got = Vec::new();
    client.until(|sockets| {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(socket);
        got.extend(received(socket));
        let enough = got.len() >= 1_000_000;
        if enough {
            socket.abort();
        }
        enough.then_some(())
    });

    let right = |(at, byte): (usize, &u8)| usize::from(*byte) == at % 251;
    assert!(got.iter().enumerate().all(right));
    // It serves the next one, and does not go on with this.
    let begun = std::time::Instant::now();
    let mut before = counters(&station)["bytes_out"].clone();
    loop {
        thread::sleep(Duration::from_millis(20));
        let now = counters(&station)["bytes_out"].clone();
        if std::mem::replace(&mut before, now.clone()) == now {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "it goes on");
    }
}

#[test]
fn datagrams_come_back() {
    let (_switch, port, station) = bench(Large::Yes);
    let mut client = Client::new(port);
    let room = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 8], vec![0; 1 << 14]);
    let mut socket = udp::Socket::new(room(), room());
    socket.bind(4000).expect("a port");
    let socket = client.sockets.add(socket);
    let addresses = ["10.0.0.1", "fd00::1"].map(|text| text.parse::<IpAddress>());
    for address in addresses {
        let station = IpEndpoint::new(address.expect("an address"), 7);
        for length in [0, 1, 1400] {
            let sent = vec![0x5a; length];
            let socket_of = |sockets: &mut SocketSet<'static>| {
                let socket = sockets.get_mut::<udp::Socket<'_>>(socket);
                let (bytes, from) = socket.recv().ok()?;
                Some((bytes.to_vec(), from.endpoint))
            };
            client
                .sockets
                .get_mut::<udp::Socket<'_>>(socket)
                .send_slice(&sent, station)
                .expect("to send");
            assert_eq!(client.until(socket_of), (sent, station));
        }
    }
    assert_eq!(counters(&station)["datagrams"], 6);
}

/// Makes a frame with a message of ICMPv6 from `fd00::2`.
fn icmpv6(mac: [u8; 6], to: Ipv6Address, message: &Icmpv6Repr<'_>) -> Frame {
    let from = "fd00::2".parse().expect("an address");
    let length = message.buffer_len();
    let mut bytes = vec![0; 14 + 40 + length];
    let ethernet = EthernetRepr {
        src_addr: EthernetAddress(MAC),
        dst_addr: EthernetAddress(mac),
        ethertype: EthernetProtocol::Ipv6,
    };
    ethernet.emit(&mut EthernetFrame::new_unchecked(&mut bytes));
    let ip = Ipv6Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Icmpv6,
        payload_len: length,
        hop_limit: 255,
    };
    ip.emit(&mut Ipv6Packet::new_unchecked(&mut bytes[14..]));
    let mut packet = Icmpv6Packet::new_unchecked(&mut bytes[54..]);
    message.emit(&from, &to, &mut packet, &ChecksumCapabilities::default());
    Frame::plain(bytes)
}

/// Waits for a message of ICMPv6 of some type, and returns all of it.
fn wait_icmpv6(port: &Handle, wanted: u8) -> Vec<u8> {
    loop {
        let bytes = wait(port).bytes.clone();
        if bytes[12..14] == [0x86, 0xdd] && bytes[20] == 58 && bytes[54] == wanted {
            let ip = Ipv6Packet::new_checked(&bytes[14..]).expect("a packet");
            let (from, to) = (ip.src_addr(), ip.dst_addr());
            let message = Icmpv6Packet::new_checked(ip.payload()).expect("a message");
            assert!(message.verify_checksum(&from, &to));
            return ip.payload().to_vec();
        }
    }
}

#[test]
fn it_answers_to_pings_of_ipv6() {
    let (_switch, port, _station) = bench(Large::Yes);
    let station: Ipv6Address = "fd00::1".parse().expect("an address");
    let solicitation = Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit {
        target_addr: station,
        lladdr: Some(EthernetAddress(MAC).into()),
    });
    let group = "ff02::1:ff00:1".parse().expect("an address");
    port.send(icmpv6([0x33, 0x33, 0xff, 0, 0, 1], group, &solicitation));
    let advertisement = wait_icmpv6(&port, 136);
    assert_eq!(advertisement[8..24], station.octets());
    // The option with its address.
    assert_eq!(advertisement[24..26], [2, 1]);
    let mac: [u8; 6] = advertisement[26..32].try_into().expect("an address");

    let ping = Icmpv6Repr::EchoRequest {
        ident: 0x1234,
        seq_no: 1,
        data: &[1, 2, 3, 4, 5],
    };
    port.send(icmpv6(mac, station, &ping));
    let answer = wait_icmpv6(&port, 129);
    assert_eq!(answer[4..], [0x12, 0x34, 0, 1, 1, 2, 3, 4, 5]);
}

#[test]
fn it_answers_to_pings() {
    let (_switch, port, station) = bench(Large::Yes);
    let value = station.execute("counters", &json!({})).expect("counters");
    let mac = crate::options::mac(value["mac"].as_str().expect("a text")).expect("a MAC");
    let mut ping = [&mac[..], &MAC, &[8, 0]].concat();
    ping.extend([0x45, 0, 0, 32, 0, 1, 0, 0, 64, 1, 0, 0]);
    ping.extend([OWN, STATION].concat());
    ping.extend([8, 0, 0, 0, 0x12, 0x34, 0, 1, 1, 2, 3, 4]);
    for (from, to, at) in [(14, 34, 24), (34, 46, 36)] {
        let sum: u32 = ping[from..to]
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]))
            .sum();
        let sum = !((sum & 0xffff) + (sum >> 16));
        let [.., high, low] = sum.to_be_bytes();
        ping[at..at + 2].copy_from_slice(&[high, low]);
    }
    port.send(Frame::plain(ping.clone()));
    // It may ask for the address first.
    let answer = loop {
        let frame = wait(&port);
        if frame.protocol() == "arp" {
            let mut answer = frame.bytes.clone();
            answer[..6].copy_from_slice(&mac);
            answer[6..12].copy_from_slice(&MAC);
            answer[20..22].copy_from_slice(&[0, 2]);
            answer[22..32].copy_from_slice(&[&MAC[..], &OWN].concat());
            answer[32..42].copy_from_slice(&[&mac[..], &STATION].concat());
            port.send(Frame::plain(answer));
            port.send(Frame::plain(ping.clone()));
        } else {
            break frame;
        }
    };
    assert_eq!(answer.bytes[34], 0, "an echo reply");
    assert_eq!(answer.bytes[38..46], ping[38..46]);
}
