// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::memory::tests::{GUEST, memory};
use proptest::prelude::*;
use virtio_wire::{
    blk::{SegmentLayout, segment::Unmap},
    ring::{Access, Element},
};

const SECTORS: u64 = 128;
const HEADER: u64 = GUEST;
const STATUS: u64 = GUEST + 0x20;
const DATA: u64 = GUEST + 0x1000;

fn options() -> Options {
    Options::new(Medium::Ram(SECTORS * 512))
}

fn disk(options: &Options) -> Blk {
    let mut disk = Blk::new(options).expect("a disk");
    disk.accept(disk.offers());
    disk
}

/// A disk, and memory to talk to it by.
struct Bench {
    disk: Blk,
    memory: Memory,
}

impl Bench {
    fn new(options: &Options) -> Self {
        Self {
            disk: disk(options),
            memory: memory(0x10000),
        }
    }

    fn element(address: u64, length: usize, access: Access) -> Element {
        Element {
            address,
            length: u32::try_from(length).expect("a length"),
            access,
        }
    }

    /// Sends a request, and returns the status and the used length. Data is at `DATA`.
    fn send(
        &mut self,
        header: RequestHeader,
        data: Option<(usize, Access)>,
        actions: &[Action],
    ) -> (u8, u32) {
        self.memory
            .write(HEADER, &header.to_bytes())
            .expect("a header");
        self.memory.write(STATUS, &[0x55]).expect("a status");
        let mut elements = vec![Self::element(HEADER, 16, Access::Read)];
        elements.extend(data.map(|(length, access)| Self::element(DATA, length, access)));
        elements.push(Self::element(STATUS, 1, Access::Write));
        let buffer = Buffer::of(elements);
        let (_, job) = self.disk.read(&self.memory, 0, &buffer).expect("a request");
        let written = self.disk.serve(&self.memory, &job, actions);
        let mut status = [0];
        self.memory.read(STATUS, &mut status).expect("a status");
        (status[0], written)
    }

    fn write(&mut self, sector: u64, byte: u8) {
        self.memory.write(DATA, &[byte; 512]).expect("data");
        let header = RequestHeader::new(RequestKind::Write, sector);
        assert_eq!(self.send(header, Some((512, Access::Read)), &[]), (0, 1));
    }

    fn read(&mut self, sector: u64, actions: &[Action]) -> (u8, u32, [u8; 512]) {
        let header = RequestHeader::new(RequestKind::Read, sector);
        self.memory.write(DATA, &[0xee; 512]).expect("data");
        let (status, used) = self.send(header, Some((512, Access::Write)), actions);
        let mut bytes = [0; 512];
        self.memory.read(DATA, &mut bytes).expect("data");
        (status, used, bytes)
    }

    fn flush(&mut self) -> u8 {
        let header = RequestHeader::new(RequestKind::Flush, 0);
        self.send(header, None, &[]).0
    }

    fn segments(&mut self, kind: RequestKind, segments: &[SegmentLayout]) -> u8 {
        let bytes: Vec<u8> = segments.iter().flat_map(|s| s.to_bytes()).collect();
        self.memory.write(DATA, &bytes).expect("segments");
        let header = RequestHeader::new(kind, 0);
        self.send(header, Some((bytes.len(), Access::Read)), &[]).0
    }

    fn command(&mut self, name: &str, arguments: &Value) -> Answer {
        let answer = self.disk.command(name, arguments);
        answer.expect("a command").expect("an answer")
    }
}

#[test]
fn sectors_are_written_and_read() {
    let mut bench = Bench::new(&options());
    bench.write(5, 0xa5);

    assert_eq!(bench.read(5, &[]), (0, 513, [0xa5; 512]));
    assert_eq!(bench.read(6, &[]), (0, 513, [0; 512]));
    assert_eq!(bench.read(SECTORS, &[]), (1, 513, [0; 512]));
    let counters = bench.disk.counters();
    assert_eq!(counters["requests"]["read"], 3);
    assert_eq!(counters["requests"]["write"], 1);
    assert_eq!(counters["bytes_read"], 1024);
    // Those that were written, too, by way of the backend.
    assert_eq!(counters["bytes_copied"], 1536);
    assert_eq!(counters["io_errors"], 1);
}

#[test]
fn a_power_cut_loses_what_was_not_flushed() {
    let mut bench = Bench::new(&options());
    bench.write(1, 1);
    assert_eq!(bench.flush(), 0);
    bench.write(1, 2);
    assert_eq!(bench.read(1, &[]).2, [2; 512]);

    let answer = bench.command("power-cut", &json!({}));
    assert_eq!(answer.value, json!({ "lost": 1 }));
    assert_eq!(bench.read(1, &[]).2, [1; 512]);
}

#[test]
fn the_driver_chooses_the_cache_mode() {
    let mut bench = Bench::new(&options());
    let offset = offset_of!(ConfigLayout, writeback);
    bench.disk.write_config(offset, &[0]).expect("to write");
    bench.write(1, 1);
    bench.command("power-cut", &json!({}));
    assert_eq!(bench.read(1, &[]).2, [1; 512]);
    assert!(bench.disk.write_config(offset, &[2]).is_err());
    assert!(bench.disk.write_config(0, &[0; 8]).is_err());

    // Without FLUSH there is nothing that could make it stable later.
    bench.disk.accept(1 << 32);
    bench.write(2, 2);
    bench.command("power-cut", &json!({}));
    assert_eq!(bench.read(2, &[]).2, [2; 512]);
}

/// Two files: a base with sectors that have their number, and an overlay that is not there yet.
fn overlay_options(name: &str) -> Options {
    let path = |what: &str| {
        let name = format!("rv-{}-{name}-{what}", std::process::id());
        std::env::temp_dir().join(name)
    };
    let bytes: Vec<u8> = (0..128).flat_map(|sector| [sector; 512]).collect();
    std::fs::write(path("base"), bytes).expect("a base");
    let (base, overlay) = (path("base"), path("overlay"));
    let _ = std::fs::remove_file(&overlay);
    Options::new(Medium::Overlay { base, overlay })
}

fn remove_overlay(options: &Options) {
    if let Medium::Overlay { base, overlay } = &options.medium {
        std::fs::remove_file(base).expect("the base");
        std::fs::remove_file(overlay).expect("the overlay");
    }
}

#[test]
fn an_overlay_outlives_a_power_cut_and_a_backend() {
    let options = overlay_options("cut");
    let mut bench = Bench::new(&options);
    bench.write(1, 0xa1);
    assert_eq!(bench.flush(), 0);
    bench.write(2, 0xa2);
    bench.command("power-cut", &json!({}));
    assert_eq!([1, 2].map(|s| bench.read(s, &[]).2[0]), [0xa1, 2]);
    let overlay = &bench.disk.counters()["overlay"];
    assert_eq!(*overlay, json!({ "clusters": 1, "copied": 1 }));

    // What is erased is hidden at once.
    let erased = [SegmentLayout::new(3, 1, Unmap::Keep)];
    assert_eq!(bench.segments(RequestKind::SecureErase, &erased), 0);
    drop(bench);
    let mut bench = Bench::new(&options);
    let there = [0, 1, 2, 3, 4].map(|s| bench.read(s, &[]).2[0]);
    assert_eq!(there, [0, 0xa1, 2, 0, 4]);
    remove_overlay(&options);
}

#[test]
fn an_overlay_that_is_written_through_needs_no_flush() {
    let options = overlay_options("through");
    let mut bench = Bench::new(&options);
    bench.disk.accept(1 << 32);
    bench.write(5, 0xa5);
    drop(bench);

    let mut bench = Bench::new(&options);
    assert_eq!([4, 5].map(|s| bench.read(s, &[]).2[0]), [4, 0xa5]);
    let error = Blk::new(&options).expect_err("two disks");
    assert_eq!(error.root_cause().to_string(), "the overlay is in use");
    remove_overlay(&options);
}

/// Makes a disk of a file of so many bytes, with blocks of a size.
fn disk_of(bytes: u64, block_size: u32) -> Result<Blk> {
    let name = format!("rv-{}-size-{bytes}-{block_size}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let file = std::fs::File::create(&path).expect("a file");
    file.set_len(bytes).expect("a length");
    let disk = Blk::new(&Options {
        block_size,
        ..Options::new(Medium::File(path.clone()))
    });
    std::fs::remove_file(path).expect("the file");
    disk
}

#[test]
fn an_image_without_a_block_is_refused() {
    for (bytes, block_size) in [(0, 512), (511, 512), (4095, 4096)] {
        let error = disk_of(bytes, block_size).expect_err("too small");
        let why = format!("has {bytes} bytes, which is less than a block of {block_size}");
        assert!(error.to_string().contains(&why), "{error:#}");
    }
    let error = Blk::new(&Options::new(Medium::Ram(0))).expect_err("too small");
    assert!(error.to_string().starts_with("ram=0 has 0 bytes"));
}

#[test]
fn the_end_of_an_image_that_is_no_block_is_left_out() {
    for (bytes, block_size, sectors) in [(1025, 512, 2), (9 * 512, 4096, 8)] {
        let disk = disk_of(bytes, block_size).expect("a disk");
        assert_eq!(disk.counters()["sectors"], sectors);
    }
}

#[test]
fn what_is_no_image_is_said() {
    let directory = std::env::temp_dir();
    let nothing = directory.join("rv-there-is-no-such-file");
    for (path, why) in [(directory, "is a directory"), (nothing, "truncate -s 1G")] {
        let options = Options::new(Medium::File(path));
        let error = Blk::new(&options).expect_err("no image");
        assert!(error.to_string().contains(why), "{error:#}");
    }
    for block_size in [0, 256, 1000] {
        let error = disk_of(8192, block_size).expect_err("no size of a block");
        let why = format!("block-size is {block_size}, and has to be");
        assert!(error.to_string().starts_with(&why), "{error:#}");
    }
}

#[test]
fn a_null_disk_forgets_what_is_written() {
    let mut bench = Bench::new(&Options::new(Medium::Null(SECTORS * 512)));
    bench.write(5, 0xa5);
    // While it is in the cache, it is there.
    assert_eq!(bench.read(5, &[]), (0, 513, [0xa5; 512]));
    assert_eq!(bench.flush(), 0);

    assert_eq!(bench.read(5, &[]), (0, 513, [0; 512]));
    assert_eq!(bench.read(SECTORS - 1, &[]), (0, 513, [0; 512]));
    assert_eq!(bench.read(SECTORS, &[]).0, 1, "it ends there");
    let counters = bench.disk.counters();
    assert_eq!(counters["requests"]["write"], 1);
    assert_eq!(counters["bytes_written"], 512);
}

#[test]
fn segments_become_zeroes() {
    for kind in [
        RequestKind::Discard,
        RequestKind::WriteZeroes,
        RequestKind::SecureErase,
    ] {
        let mut bench = Bench::new(&options());
        for sector in 0..8 {
            bench.write(sector, 9);
        }
        let segments = [(1, 2), (5, 1)].map(|(s, n)| SegmentLayout::new(s, n, Unmap::Keep));
        assert_eq!(bench.segments(kind, &segments), 0);
        let there: Vec<_> = (0..8).map(|sector| bench.read(sector, &[]).2[0]).collect();
        assert_eq!(there, [9, 0, 0, 9, 9, 0, 9, 9], "{kind:?}");

        let beyond = [SegmentLayout::new(SECTORS - 1, 2, Unmap::Keep)];
        assert_eq!(bench.segments(kind, &beyond), 1);
    }
}

#[test]
fn it_says_its_name() {
    let mut bench = Bench::new(&Options {
        serial: "a disk".to_owned(),
        ..options()
    });
    let header = RequestHeader::new(RequestKind::GetId, 0);
    assert_eq!(bench.send(header, Some((20, Access::Write)), &[]), (0, 21));
    let mut name = [0; 20];
    bench.memory.read(DATA, &mut name).expect("a name");
    assert_eq!(&name[..7], b"a disk\0");
}

#[test]
fn what_is_not_there_is_unsupported() {
    let mut bench = Bench::new(&Options {
        without: FeatureSet::of(&[Feature::DISCARD]),
        read_only: true,
        ..options()
    });
    let discard = [SegmentLayout::new(0, 1, Unmap::Keep)];
    assert_eq!(bench.segments(RequestKind::Discard, &discard), 2);
    assert_eq!(bench.segments(RequestKind::WriteZeroes, &discard), 1);
    let header = RequestHeader::new(RequestKind::Write, 0);
    assert_eq!(bench.send(header, Some((512, Access::Read)), &[]).0, 1);
    assert_eq!(bench.disk.counters()["unsupported"], 1);
}

#[test]
fn it_grows_and_shrinks() {
    let mut bench = Bench::new(&options());
    let answer = bench.command("resize", &json!({ "sectors": 200 }));
    assert!(answer.config_changed);
    assert_eq!(bench.disk.config()[0], 200);
    bench.write(199, 1);
    bench.command("resize", &json!({ "sectors": 10 }));
    assert_eq!(bench.read(10, &[]).0, 1);
}

#[test]
fn it_fails_and_lies_on_request() {
    let mut bench = Bench::new(&options());
    bench.write(0, 7);
    bench.write(1, 8);

    assert_eq!(bench.read(0, &[Action::Fail(2)]), (2, 513, [0; 512]));
    assert_eq!(bench.read(0, &[Action::Status(9)]), (9, 513, [7; 512]));
    assert_eq!(bench.read(0, &[Action::NoStatus]).0, 0x55);
    assert_eq!(bench.read(0, &[Action::Corrupt]).2[0], 7 ^ 0xff);
    bench.memory.write(DATA, &[0; 1024]).expect("data");
    let two = RequestHeader::new(RequestKind::Read, 0);
    let (status, used) = bench.send(two, Some((1024, Access::Write)), &[Action::Short]);
    assert_eq!((status, used), (0, 513));
    let mut bytes = [0; 1024];
    bench.memory.read(DATA, &mut bytes).expect("data");
    assert_eq!((bytes[511], bytes[512]), (7, 0), "the rest is as it was");
}

#[test]
fn the_configuration_space_lies_on_request() {
    let mut bench = Bench::new(&options());
    let truth = bench.disk.config();
    let lies = json!({ "set": { "blk_size": 0, "num_queues": 0xffff, "capacity": u64::MAX } });
    assert!(bench.command("config", &lies).config_changed);
    let layout = ConfigLayout::parse(&bench.disk.config()).expect("a layout");
    assert_eq!(layout.blk_size.get(), 0);
    assert_eq!(layout.num_queues.get(), 0xffff);
    assert_eq!(layout.capacity.get(), u64::MAX);
    // It does as it would without the lies.
    assert_eq!(bench.read(SECTORS, &[]).0, 1);

    bench.command("config", &json!({}));
    assert_eq!(bench.disk.config(), truth);
    for bad in [json!({"set": {"x": 1}}), json!({"set": {"heads": 256}})] {
        assert!(bench.disk.command("config", &bad).expect("known").is_err());
    }
}

#[test]
fn features_come_and_go() {
    let mut bench = Bench::new(&options());
    let change = json!({ "remove": ["flush", "VIRTIO_F_RING_PACKED"], "add": [17, "zoned"] });
    bench.command("features", &change);
    let set = features_of(bench.disk.offers());
    assert!(!set.contains(Feature::FLUSH) && !set.contains(Feature::RING_PACKED));
    assert!(set.contains(Feature::ZONED) && set.contains(Feature::CONFIG_WCE));
    // What is accepted of that breaks a rule, and is used as far as it does not.
    bench.disk.accept(bench.disk.offers());
    bench.write(0, 1);
}

fn elements() -> impl Strategy<Value = Vec<Element>> {
    let address = prop_oneof![GUEST..GUEST + 0x10100, Just(GUEST), any::<u64>()];
    let length = prop_oneof![Just(16_u32), Just(512), Just(1), 0..2000_u32, any::<u32>()];
    let one = (address, length);
    (
        prop::collection::vec(one.clone(), 0..4),
        prop::collection::vec(one, 0..4),
    )
        .prop_map(|(read, write)| {
            let of = |access| {
                move |(address, length)| Element {
                    address,
                    length,
                    access,
                }
            };
            let read = read.into_iter().map(of(Access::Read));
            read.chain(write.into_iter().map(of(Access::Write)))
                .collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever a request is, it is served or refused, and nothing is written but to its elements.
    #[test]
    fn only_what_can_be_written_is_written(
        elements in elements(),
        kind in prop_oneof![0..30_u32, any::<u32>()],
        sector in prop_oneof![0..200_u64, any::<u64>()],
        filling in prop::collection::vec(any::<u8>(), 64),
        features in prop_oneof![Just(u64::MAX), any::<u64>()],
    ) {
        let mut bench = Bench::new(&options());
        bench.disk.accept(features & bench.disk.offers());
        let header = RequestHeader {
            kind: kind.into(),
            ioprio: 0.into(),
            sector: sector.into(),
        };
        bench.memory.write(GUEST, &header.to_bytes()).expect("a header");
        bench.memory.write(GUEST + 16, &filling).expect("a filling");
        let mut before = vec![0; 0x10000];
        bench.memory.read(GUEST, &mut before).expect("a read");

        let buffer = Buffer::of(elements.clone());
        if let Ok((_, job)) = bench.disk.read(&bench.memory, 0, &buffer) {
            let written = bench.disk.serve(&bench.memory, &job, &[]);
            let most: u64 = buffer.writable().map(|e| u64::from(e.length)).sum();
            prop_assert!(u64::from(written) <= most);
        }
        let mut after = vec![0; 0x10000];
        bench.memory.read(GUEST, &mut after).expect("a read");
        for (at, (old, new)) in before.iter().zip(&after).enumerate() {
            let address = GUEST + u64::try_from(at).expect("an address");
            let mine = buffer.writable().any(|element| {
                address >= element.address && address - element.address < element.length.into()
            });
            prop_assert!(old == new || mine, "{address:#x} has changed");
        }
    }
}
