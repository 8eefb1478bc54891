// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::switch::Switch;
use smoltcp::{socket::tcp, wire::IpAddress};
use std::time::Duration;

const STATION: [u8; 4] = [10, 0, 0, 1];
const OWN: [u8; 4] = [10, 0, 0, 2];
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

/// A station, and another port of its switch.
fn bench(large: Large) -> (Arc<Switch>, Handle, Arc<dyn Controlled>) {
    let switch = Arc::new(Switch::new("switch", Duration::from_secs(300)));
    let options = PortOptions::new("station");
    let handle = switch.add(options.clone()).expect("a port");
    let addresses = ["10.0.0.1/24".parse().expect("an address")];
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

/// Another station, which connects and sends, and returns what it gets.
fn ask(port: Handle, to: u16, text: &[u8]) -> Vec<u8> {
    let waker = Waker::new().expect("a waker");
    port.outlet().set_waker(waker.clone());
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
        list.push("10.0.0.2/24".parse().expect("an address"))
            .expect("room");
    });
    let buffer = || tcp::SocketBuffer::new(vec![0; 1 << 16]);
    let mut sockets = SocketSet::new(Vec::new());
    let socket = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let [a, b, c, d] = STATION;
    sockets
        .get_mut::<tcp::Socket<'_>>(socket)
        .connect(interface.context(), (IpAddress::v4(a, b, c, d), to), 4000)
        .expect("to connect");
    let (mut left, mut got) = (text, Vec::new());
    for _ in 0..20_000 {
        interface.poll(Instant::now(), &mut link, &mut sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(socket);
        if !left.is_empty() && socket.can_send() {
            let sent = socket.send_slice(left).expect("to send");
            left = &left[sent..];
            if left.is_empty() && !text.starts_with(b"send") {
                socket.close();
            }
        }
        while socket.can_recv() {
            let part = socket.recv(|bytes| (bytes.len(), bytes.to_vec()));
            got.extend(part.expect("bytes"));
        }
        let open = socket.is_active() && (socket.may_recv() || !left.is_empty());
        if !open && left.is_empty() {
            return got;
        }
        thread::sleep(Duration::from_micros(500));
    }
    panic!("it does not end");
}

#[test]
fn it_sends_a_pattern() {
    for large in [Large::Yes, Large::No] {
        let (_switch, port, station) = bench(large);
        let got = ask(port, 5001, b"send 300000\n");
        assert_eq!(got.len(), 300_000);
        let right = |(at, byte): (usize, &u8)| usize::from(*byte) == at % 251;
        assert!(got.iter().enumerate().all(right));
        let counters = station.execute("counters", &json!({})).expect("counters");
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
