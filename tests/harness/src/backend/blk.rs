// SPDX-License-Identifier: GPL-2.0

//! Disks of our backend, with the kernel's virtio_blk. Group `blk` has the other driver do the same.

use super::handle::{Backend, number, sum};
use crate::{
    blk::driver::{Driver, IN_TREE},
    cx::Cx,
    guest::{Builder, Guest},
    kernel::STOCK,
};
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::sync::Arc;

/// A guest with a driver, and what the tests use.
pub fn builder(cx: &Cx, driver: &Driver) -> Result<Builder> {
    let builder = driver.builder(cx, STOCK)?;
    Ok(builder.tool("fio").tool("blkdiscard"))
}

/// What was written is read again, in every form of the rings.
pub fn keeps_data(cx: &mut Cx, driver: &Driver) -> Result<()> {
    const PACKED: usize = 34;
    const IN_ORDER: usize = 35;
    for (name, properties, features) in [
        (
            "split",
            "event_idx=off,indirect_desc=off,num-queues=1",
            vec![],
        ),
        ("split_events", "", vec![]),
        ("split_in_order", "in_order=on", vec![IN_ORDER]),
        ("packed", "packed=on,num-queues=4", vec![PACKED]),
        (
            "packed_in_order",
            "packed=on,in_order=on,event_idx=off",
            vec![PACKED, IN_ORDER],
        ),
    ] {
        cx.case(name, |cx| {
            let backend = cx.backend(&[("disk", "ram=32M")])?;
            let guest = cx.boot(&backend.attach(builder(cx, driver)?, "disk", properties))?;
            driver.load(&guest, "", 1)?;
            let accepted = guest.sh("cat /sys/block/vda/device/features")?;
            for bit in [PACKED, IN_ORDER] {
                let there = accepted.as_bytes().get(bit) == Some(&b'1');
                let expected = features.contains(&bit) && driver.accepts(bit);
                ensure!(there == expected, "features: {accepted}");
            }
            guest.sh("head -c 8388608 /dev/urandom >/tmp/data &&
                 dd if=/tmp/data of=/dev/vda bs=64k oflag=direct 2>&1 &&
                 dd if=/dev/vda of=/tmp/read bs=1M count=8 iflag=direct 2>&1 &&
                 cmp /tmp/data /tmp/read &&
                 fio --name=v --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=16 \
                     --rw=randrw --bsrange=512-64k --size=16M --io_size=4M --verify=crc32c \
                     --verify_fatal=1 --do_verify=1 --minimal")?;
            let counters = backend.counters("disk")?;
            ensure!(sum(&counters, "errors") == 0, "{counters:#}");
            ensure!(sum(&counters, "twice") == 0, "{counters:#}");
            cx.end(&guest)
        });
    }
    Ok(())
}

/// What is looked at in a guest.
type Case = fn(&Bench) -> Result<()>;

/// A guest that has one disk, and the backend of that.
struct Bench {
    backend: Arc<Backend>,
    guest: Arc<Guest>,
    driver: Driver,
}

impl Bench {
    fn counters(&self) -> Result<Value> {
        self.backend.counters("disk")
    }

    fn command(&self, command: &str, arguments: Value) -> Result<Value> {
        self.backend.device("disk", command, arguments)
    }

    /// Writes a byte again and again to the first 4 KiB, without a flush.
    fn write(&self, byte: char) -> Result<()> {
        self.guest.sh(&format!(
            "yes {byte} | tr -d '\\n' | head -c 4096 >/tmp/block
             dd if=/tmp/block of=/dev/vda bs=4096 oflag=direct 2>/dev/null"
        ))?;
        Ok(())
    }

    /// Reads the first byte.
    fn read(&self) -> Result<String> {
        self.guest
            .sh("dd if=/dev/vda bs=4096 count=1 iflag=direct 2>/dev/null | head -c 1")
    }
}

/// Everything that a disk says and does is seen by the guest.
pub fn behaves(cx: &mut Cx, driver: &Driver) -> Result<()> {
    const DISK: &str = "ram=64M,serial=a-disk,block-size=1024,physical-exponent=2,segments=62";
    let backend = cx.backend(&[("disk", DISK)])?;
    let guest = cx.boot(&backend.attach(builder(cx, driver)?, "disk", ""))?;
    driver.load(&guest, "", 1)?;
    let bench = &Bench {
        backend,
        guest,
        driver: *driver,
    };
    let cases: [(&str, Case); 9] = [
        ("says_what_it_is", says_what_it_is),
        ("counts_what_the_guest_does", counts_what_the_guest_does),
        ("loses_what_was_not_flushed", loses_what_was_not_flushed),
        ("writes_through_if_it_shall", writes_through_if_it_shall),
        ("is_resized", is_resized),
        ("fails_on_request", fails_on_request),
        ("discards_and_zeroes", discards_and_zeroes),
        ("pauses", pauses),
        ("takes_its_time", takes_its_time),
    ];
    for (name, case) in cases {
        cx.case(name, |_| case(bench));
    }
    Ok(())
}

fn says_what_it_is(bench: &Bench) -> Result<()> {
    let said = bench.guest.sh(
        "cd /sys/block/vda; cat serial; echo; cat size ro queue/logical_block_size \
             queue/physical_block_size queue/minimum_io_size queue/optimal_io_size \
             queue/max_segments queue/write_cache queue/discard_max_bytes \
             queue/write_zeroes_max_bytes; ls mq | wc -l",
    )?;
    // Ours puts segments into the ring: a request may take a quarter of it.
    let segments = if bench.driver == IN_TREE { 62 } else { 30 };
    let wanted =
        format!("a-disk 131072 0 1024 4096 8192 262144 {segments} write back 33554432 33554432 2");
    let said: Vec<_> = said.split_whitespace().collect();
    ensure!(said.join(" ") == wanted, "the guest says {said:?}");
    Ok(())
}

/// What both ends have counted is compared.
fn counts_what_the_guest_does(bench: &Bench) -> Result<()> {
    let before = bench.counters()?;
    let stat = |bench: &Bench| -> Result<Vec<u64>> {
        let text = bench.guest.sh("cat /sys/block/vda/stat")?;
        Ok(text.split_whitespace().flat_map(str::parse).collect())
    };
    let interrupts = |bench: &Bench| -> Result<u64> {
        let text = bench.guest.sh("grep req /proc/interrupts")?;
        let numbers = text.split_whitespace().filter(|word| word.len() < 9);
        // The columns of the CPUs; what follows them are names, and begins with the line's number.
        Ok(numbers.flat_map(str::parse::<u64>).sum())
    };
    let guest_before = stat(bench)?;
    let interrupts_before = interrupts(bench)?;
    bench.guest.sh("for i in 1 2 3; do
             dd if=/dev/zero of=/dev/vda bs=4k count=50 oflag=direct conv=fsync 2>&1
             dd if=/dev/vda of=/dev/null bs=16k count=20 iflag=direct 2>&1
         done")?;
    let (after, guest_after) = (bench.counters()?, stat(bench)?);
    let interrupts_after = interrupts(bench)?;
    let grown = |field: &str| {
        let of = |counters: &Value| counters["class"]["requests"][field].as_u64();
        of(&after)
            .zip(of(&before))
            .map(|(after, before)| after - before)
    };
    // See Documentation/block/stat.rst of the kernel: reads, writes, discards, flushes.
    for (field, column) in [("read", 0), ("write", 4), ("discard", 11), ("flush", 15)] {
        let there = grown(field).context("a counter")?;
        let mut wanted = guest_after[column] - guest_before[column];
        if field == "write" {
            // What only flushes is counted as a write, too, by the guest.
            wanted -= guest_after[15] - guest_before[15];
        }
        ensure!(
            there == wanted,
            "{field}: the backend {there}, the guest {wanted}"
        );
    }
    ensure!(grown("write") == Some(150), "writes: {:?}", grown("write"));
    // Sectors are of 512 bytes here, whatever the size of a block.
    for (field, column) in [("bytes_read", 2), ("bytes_written", 6)] {
        let there = number(&after["class"], field)? - number(&before["class"], field)?;
        let wanted = (guest_after[column] - guest_before[column]) * 512;
        ensure!(
            there == wanted && there > 0,
            "{field}: the backend {there}, the guest {wanted}"
        );
    }
    let count = |field| sum(&after, field) - sum(&before, field);
    ensure!(count("taken") == count("returned"), "{after:#}");
    // Notifications of a queue come together if nobody has looked at them in between.
    let (kicks, calls) = (count("kicks"), count("calls"));
    ensure!(kicks > 50 && kicks <= count("taken"), "{kicks} kicks");
    let interrupts = interrupts_after - interrupts_before;
    ensure!(
        interrupts > 50 && interrupts <= calls && calls <= count("returned"),
        "the guest had {interrupts} interrupts, the backend sent {calls}"
    );
    Ok(())
}

fn loses_what_was_not_flushed(bench: &Bench) -> Result<()> {
    bench.write('A')?;
    bench.guest.sh("sync /dev/vda || sync")?;
    bench
        .guest
        .sh("dd if=/dev/null of=/dev/vda conv=notrunc,fsync 2>&1")?;
    bench.write('B')?;
    ensure!(bench.read()? == "B");
    let lost = bench.command("power-cut", json!({}))?;
    ensure!(lost["lost"] == 8, "lost: {lost}");
    let read = bench.read()?;
    ensure!(read == "A", "what was flushed is {read}");
    Ok(())
}

fn writes_through_if_it_shall(bench: &Bench) -> Result<()> {
    bench
        .guest
        .sh("echo write through >/sys/block/vda/cache_type")?;
    ensure!(bench.counters()?["class"]["write_back"] == false);
    bench.write('C')?;
    bench.command("power-cut", json!({}))?;
    ensure!(bench.read()? == "C");
    bench
        .guest
        .sh("echo write back >/sys/block/vda/cache_type")?;
    ensure!(bench.counters()?["class"]["write_back"] == true);
    Ok(())
}

fn is_resized(bench: &Bench) -> Result<()> {
    for sectors in [200_000, 100_000, 131_072] {
        bench.command("resize", json!({ "sectors": sectors }))?;
        bench.guest.sh(&format!(
            "n=0; until [ $(cat /sys/block/vda/size) = {sectors} ]; do
                 n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1
             done"
        ))?;
    }
    Ok(())
}

fn fails_on_request(bench: &Bench) -> Result<()> {
    let read = "dd if=/dev/vda of=/dev/null bs=4k skip=2 count=1 iflag=direct 2>&1";
    let rule = json!({ "do": "fail", "op": "read", "sector": 18, "count": 1 });
    bench.command("inject", rule)?;
    bench
        .guest
        .sh("dd if=/dev/vda of=/dev/null bs=4k count=2 iflag=direct 2>&1")?;
    let output = bench.guest.run(read)?;
    ensure!(
        output.status != 0 && output.text.contains("Input/output error"),
        "{}",
        output.text
    );
    bench.guest.sh(read)?;
    let rules = bench.command("rules", json!({}))?;
    ensure!(rules[0]["done"] == 1, "{rules}");
    bench.command("clear", json!({}))?;
    Ok(())
}

fn discards_and_zeroes(bench: &Bench) -> Result<()> {
    for options in ["", "--zeroout"] {
        bench.write('D')?;
        bench
            .guest
            .sh(&format!("blkdiscard {options} -o 0 -l 1M /dev/vda"))?;
        let said = bench
            .guest
            .sh("head -c 1048576 /dev/vda | tr -d '\\0' | wc -c")?;
        ensure!(said == "0\n", "{said} bytes are there after {options:?}");
    }
    let requests = &bench.counters()?["class"]["requests"];
    ensure!(requests["discard"].as_u64() > Some(0), "{requests}");
    ensure!(requests["write-zeroes"].as_u64() > Some(0), "{requests}");
    Ok(())
}

fn pauses(bench: &Bench) -> Result<()> {
    bench.command("pause", json!({}))?;
    bench
        .guest
        .sh("dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct 2>/dev/null & sleep 1")?;
    let inflight = bench.guest.sh("cat /sys/block/vda/inflight")?;
    ensure!(
        inflight.split_whitespace().next() == Some("1"),
        "{inflight}"
    );
    bench.command("resume", json!({}))?;
    bench
        .guest
        .sh("n=0; until grep -q '^ *0 *0' /sys/block/vda/inflight; do
                        n=$((n + 1)); [ $n -lt 100 ]; sleep 0.1
                    done")?;
    Ok(())
}

fn takes_its_time(bench: &Bench) -> Result<()> {
    bench.command("latency", json!({ "us": 200_000 }))?;
    let took = bench.guest.sh("start=$(cut -d . -f 1 /proc/uptime)
         dd if=/dev/vda of=/dev/null bs=4k count=20 iflag=direct 2>/dev/null
         echo $(($(cut -d . -f 1 /proc/uptime) - start))")?;
    bench.command("latency", json!({ "us": 0 }))?;
    ensure!(
        took.trim().parse::<u64>()? >= 3,
        "20 requests take {took} s"
    );
    Ok(())
}

/// The backend is killed while the guest writes and verifies, again and again; requests that it had
/// taken are served by the next one.
pub fn is_killed_while_it_is_used(cx: &mut Cx, driver: &Driver) -> Result<()> {
    for (name, properties) in [("split", ""), ("packed", "packed=on")] {
        cx.case(name, |cx| {
            let image = cx.artefacts().join(format!("{name}.img"));
            std::fs::File::create(&image)?.set_len(32 << 20)?;
            // A backend that dies loses what was not flushed, as a disk does without its power: this
            // one has nothing to lose.
            let disk = format!("file={},write-through", image.display());
            let backend = cx.backend(&[("disk", &disk)])?;
            let guest = cx.boot(&backend.attach(builder(cx, driver)?, "disk", properties))?;
            driver.load(&guest, "", 1)?;
            guest.sh(
                "(fio --name=v --filename=/dev/vda --direct=1 --ioengine=libaio --iodepth=8 \
                     --rw=randwrite --bsrange=512-32k --size=24M --loops=100 --time_based \
                     --runtime=14 --verify=crc32c --verify_backlog=64 --verify_fatal=1 \
                     --minimal >/tmp/fio 2>&1
                  echo $? >/tmp/status) &",
            )?;
            let mut resumed = 0;
            for round in 0..3 {
                backend.wait_until("disk", "requests are served", |counters| {
                    sum(counters, "returned") > 100
                })?;
                // These are in its hands when it dies.
                backend.device("disk", "inject", json!({ "do": "hold", "count": 3 }))?;
                backend.wait_until("disk", "requests are held", |counters| {
                    sum(counters, "waiting") == 3
                })?;
                match round {
                    0 => backend.kill(),
                    1 => {
                        backend.device("disk", "inject", json!({ "do": "die" }))?;
                        ensure!(backend.wait_dead()?, "it does not die");
                    }
                    _ => backend.end()?,
                }
                backend.restart()?;
                let counters = backend.wait_until("disk", "it goes on", |counters| {
                    sum(counters, "returned") > 100
                })?;
                resumed += sum(&counters, "resumed");
                ensure!(sum(&counters, "errors") == 0, "{counters:#}");
            }
            ensure!(resumed >= 9, "{resumed} requests were taken up");
            guest.sh(
                "n=0; until [ -s /tmp/status ]; do n=$((n + 1)); [ $n -lt 900 ]; sleep 0.1; done
                      cat /tmp/fio; read status </tmp/status; [ $status = 0 ]",
            )?;
            cx.end(&guest)?;
            std::fs::remove_file(image)?;
            Ok(())
        });
    }
    Ok(())
}

/// Two disks of one backend, one of which waits for QEMU to listen; unbound and bound again, with a
/// connection that breaks between.
pub fn comes_and_goes(cx: &mut Cx, driver: &Driver) -> Result<()> {
    let backend = cx.backend(&[("one", "ram=16M"), ("two", "connect,ram=32M,read-only")])?;
    let builder = backend.attach(builder(cx, driver)?, "one", "packed=on");
    let guest = cx.boot(&backend.attach(builder, "two", ""))?;
    driver.load(&guest, "", 2)?;
    let sizes = guest.sh("cat /sys/block/vd?/size /sys/block/vd?/ro")?;
    let mut sizes: Vec<_> = sizes.split_whitespace().collect();
    sizes.sort_unstable();
    ensure!(sizes == ["0", "1", "32768", "65536"], "sizes: {sizes:?}");

    let module = driver.module;
    for round in 0..3 {
        guest.sh(&format!(
            "cd /sys/bus/virtio/drivers/{module}
             for i in virtio*; do echo $i >unbind; done
             [ $(ls /sys/block | grep -c ^vd) = 0 ]"
        ))?;
        for name in ["one", "two"] {
            let counters = backend.counters(name)?;
            let running = counters["queues"].as_array().into_iter().flatten();
            let running = running.filter(|queue| queue["running"] == true).count();
            ensure!(running == 0, "round {round}: {name} is reset: {counters:#}");
            for offence in ["kicks_after_reset", "buffers_after_reset"] {
                ensure!(sum(&counters, offence) == 0, "{offence}: {counters:#}");
            }
        }
        backend.device("one", "disconnect", json!({}))?;
        backend.wait_until("one", "QEMU calls again", |counters| {
            counters["connections"].as_u64() >= Some(round + 2) && counters["connected"] == true
        })?;
        guest.sh(&format!(
            "cd /sys/bus/virtio/drivers/{module}
             for i in /sys/bus/virtio/devices/virtio*; do echo ${{i##*/}} >bind; done
             for i in /dev/vda /dev/vdb; do
                 dd if=$i of=/dev/null bs=64k count=10 iflag=direct 2>&1
             done"
        ))?;
    }
    // The guest must not wait for requests to be answered when it ends.
    Ok(())
}
