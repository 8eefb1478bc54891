// SPDX-License-Identifier: GPL-2.0

//! What it takes to pass frames through the switch, on one core of this machine: each is made, goes in
//! at a port, and is taken where its address was learnt.

use backend::{
    frame::Frame,
    switch::{Handle, PortOptions, Switch},
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::{hint::black_box, sync::Arc, time::Duration};

/// How many frames go in before they are taken.
const BATCH: u64 = 64;

/// How many ports there are: those that the frames have nothing to do with are in the way.
const PORTS: usize = 4;

const AGEING: Duration = Duration::from_secs(300);

fn bytes(to: u8, from: u8, length: usize) -> Vec<u8> {
    let mac = |number| [2, 0, 0, 0, 0, number];
    let mut bytes = [&mac(to)[..], &mac(from), &[0x88, 0xb5]].concat();
    bytes.resize(length, 7);
    bytes
}

/// Makes a switch that knows an address at each of its ports.
fn ports() -> Vec<Handle> {
    let switch = Arc::new(Switch::new("switch", AGEING));
    let ports: Vec<_> = (0..PORTS)
        .map(|number| {
            let port = switch.add(PortOptions::new(&number.to_string()));
            let port = port.expect("a port");
            port.outlet().set_open(true);
            port
        })
        .collect();
    for (number, port) in (0..).zip(&ports) {
        port.send(Frame::plain(bytes(0xff, number, 60)));
    }
    for port in &ports {
        port.outlet().take();
    }
    ports
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("switch");
    group.throughput(Throughput::Elements(BATCH));
    for length in [60, 1514] {
        let ports = ports();
        let sample = bytes(1, 0, length);
        group.bench_function(BenchmarkId::from_parameter(length), |bencher| {
            bencher.iter(|| {
                for _ in 0..BATCH {
                    ports[0].send(Frame::plain(sample.clone()));
                }
                let taken = black_box(ports[1].outlet().take());
                assert_eq!(u64::try_from(taken.len()), Ok(BATCH));
            });
        });
        assert!(ports[2].outlet().take().is_empty(), "it was flooded");
    }
    group.finish();
}

criterion_group!(benches, frames);
criterion_main!(benches);
