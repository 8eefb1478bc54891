// SPDX-License-Identifier: GPL-2.0

//! What a frame costs: the instructions of the guest's kernel, compared with those of the in-tree
//! driver, in the same boot, on the same device.
//!
//! A module sends frames past the network stack (`tests/bench/cost_frames.c`), to nobody or to another
//! device of the same driver; and streams go to and from a device that is the same for both drivers.
//! QEMU takes and delivers frames in the time of the guest, by the thread that executes it. All is done
//! some times and twice as often: what is between them are frames.

use crate::{
    bench::{self, Bench, COUNTS_KICKS, Cost, Functions, KICKS, PROBE_KICKS, Side},
    counts::Function,
    cx::Cx,
    guest::{Builder, Guest, Idle, WINDOW},
    kernel::{Kernel, STOCK},
    paths::Scratch,
    report::{CostRow, Spent},
};
use anyhow::{Context, Result, ensure};
use std::{cell::RefCell, collections::BTreeMap, path::Path};

/// How many frames there are at least: a multiple of [`BATCH`].
const FRAMES: u32 = 8192;

/// How many frames are sent in one go, if not one.
const BATCH: u32 = 32;

/// The data of a full segment of a stream.
const SEGMENT: u32 = 1448;

/// How many more kicks a frame may have than with the in-tree driver, and how many more interrupts.
/// When the device sends depends on the time, which is not the same.
const TRAFFIC_LIMIT: f64 = 0.02;

/// How much two measurements of the same may differ: when the allocator has to do more than usual, and
/// which frames a stream is cut into, depends on little things.
const TOLERANCE: f64 = 0.02;

/// The drivers.
const IN_TREE: &str = "virtio_net";
const OURS: &str = "virtio_net_rs";

/// A ring, and what frames may cost on it: what was measured, and some more for what differs.
struct Ring {
    name: &'static str,
    /// What QEMU is told.
    options: &'static str,
    /// What the whole kernel executes, compared with the in-tree driver: at most this.
    whole: f64,
    /// The same for the driver, the virtio core, and what these allocate.
    driver: f64,
}

const RINGS: &[Ring] = &[
    Ring {
        name: "split",
        options: "",
        whole: 1.0,
        driver: 0.95,
    },
    Ring {
        name: "packed",
        options: ",packed=on",
        whole: 1.0,
        driver: 0.98,
    },
];

/// The PCI slots of the devices: that which sends to nobody, those that send to each other, and that
/// which has a peer. For each ring there are four.
const SINK: usize = 0x10;
const PAIR: [usize; 2] = [0x11, 0x12];
const END: usize = 0x13;
const DEVICES: usize = 4;

/// The PCI slot of the first ring's peer, which is a device of another kind.
const PEER: usize = 0x18;

/// What is done.
#[derive(Clone, Copy)]
enum Work {
    /// Frames of this size are sent, so many in one go.
    Send { size: u32, batch: u32 },
    /// The same, one by one, and another device receives them.
    Pass { size: u32 },
    /// A stream goes to the peer.
    Out,
    /// A stream comes from the peer.
    In,
}

const fn send(size: u32, batch: u32) -> Work {
    Work::Send { size, batch }
}

const fn pass(size: u32) -> Work {
    Work::Pass { size }
}

const WORKS: &[Work] = &[
    send(60, 1),
    send(60, BATCH),
    send(1500, 1),
    send(1500, BATCH),
    pass(60),
    pass(1500),
    Work::Out,
    Work::In,
];

impl Work {
    fn name(self) -> String {
        match self {
            Self::Send { size, batch: 1 } => format!("send {size}"),
            Self::Send { size, batch } => format!("send {size}, {batch} at a time"),
            Self::Pass { size } => format!("send and receive {size}"),
            Self::Out => "stream out".to_owned(),
            Self::In => "stream in".to_owned(),
        }
    }

    /// Returns the PCI slots of its devices, with the first ring; the first one sends.
    fn slots(self) -> &'static [usize] {
        match self {
            Self::Send { .. } => &[SINK],
            Self::Pass { .. } => &PAIR,
            Self::Out | Self::In => &[END],
        }
    }

    /// Returns the command that does it so many times, by the interface `$1`; streams use a ring's
    /// network.
    fn command(self, ring: usize, times: u32) -> String {
        let send = |size, batch| {
            format!("echo $1 {size} {batch} {times} >/sys/module/cost_frames/parameters/send")
        };
        let peer = format!("netcheck tcp 10.9.{ring}.1");
        match self {
            Self::Send { size, batch } => send(size, batch),
            Self::Pass { size } => send(size, 1),
            Self::Out => format!("{peer} --up {}", times * SEGMENT),
            Self::In => format!("{peer} --down {}", times * SEGMENT),
        }
    }
}

/// Tells whether a function is in a driver, or in the virtio core.
fn is_driver(function: &Function) -> bool {
    let core = ["virtqueue", "vring", "vp_", "virtio", "_split", "_packed"];
    match function.module.as_deref() {
        Some(module) => module == IN_TREE || module == OURS,
        None => core.iter().any(|part| function.name.contains(part)),
    }
}

/// Tells whether a function is there to allocate memory, or to free it.
fn is_allocation(function: &Function) -> bool {
    let parts = [
        "alloc",
        "build_skb",
        "kfree",
        "kmem_cache_free",
        "page_pool",
        "page_frag",
        "pp_put_page",
        "skb_cache_put",
    ];
    function.module.is_none()
        && !is_driver(function)
        && parts.iter().any(|part| function.name.contains(part))
}

/// How often a device is notified, and interrupts, for a frame.
#[derive(Clone, Copy, Debug)]
struct Traffic {
    kicks: f64,
    interrupts: f64,
}

/// What a frame has with a driver.
struct Measured {
    cost: Cost,
    traffic: Traffic,
    /// What of its cost is to allocate memory for others than the driver.
    others: f64,
}

impl Measured {
    fn allocations(&self) -> f64 {
        self.cost.part(is_allocation)
    }

    /// Returns what the driver costs: itself, the virtio core, and what they allocate.
    fn driver(&self) -> f64 {
        self.cost.part(is_driver) + self.allocations() - self.others
    }

    fn spent(&self) -> Spent {
        Spent {
            whole: self.cost.total(),
            driver: self.driver(),
            core: None,
            traffic: Some((self.traffic.kicks, self.traffic.interrupts)),
        }
    }
}

/// What a row of the table is about.
const WORK: &str = "frames, by their bytes";

/// A line of the table.
struct Row {
    name: String,
    theirs: Measured,
    ours: Measured,
}

impl Row {
    /// Returns how ours compares with theirs: the whole, and what the driver costs.
    fn ratios(&self) -> (f64, f64) {
        (
            self.ours.cost.total() / self.theirs.cost.total(),
            self.ours.driver() / self.theirs.driver(),
        )
    }

    fn check(&self, ring: &Ring) -> Result<()> {
        let (whole, driver) = self.ratios();
        ensure!(
            whole <= ring.whole && driver <= ring.driver,
            "a frame takes {whole:.3} times the instructions, and {driver:.3} times those of the \
             driver and of the virtio core"
        );
        let (theirs, ours) = (self.theirs.traffic, self.ours.traffic);
        ensure!(
            ours.kicks <= theirs.kicks + TRAFFIC_LIMIT
                && ours.interrupts <= theirs.interrupts + TRAFFIC_LIMIT,
            "a frame has {ours:.4?}, with the kernel's own driver {theirs:.4?}"
        );
        Ok(())
    }

    fn print(&self) {
        let of = |measured: &Measured| {
            format!(
                "{:7.1}  {:6.1}  {:6.4}  {:6.4}",
                measured.cost.total(),
                measured.driver(),
                measured.traffic.kicks,
                measured.traffic.interrupts
            )
        };
        let (whole, driver) = self.ratios();
        println!(
            "{:<31}  {}  {}  {whole:5.3}  {driver:6.3}",
            self.name,
            of(&self.theirs),
            of(&self.ours),
        );
    }

    /// Returns what a file has of it.
    fn record(&self) -> CostRow {
        CostRow {
            work: WORK.to_owned(),
            name: self.name.clone(),
            other: "in-tree".to_owned(),
            theirs: self.theirs.spent(),
            ours: self.ours.spent(),
        }
    }

    fn print_functions(&self) {
        for (driver, measured) in [(IN_TREE, &self.theirs), (OURS, &self.ours)] {
            println!("{}, {driver}:", self.name);
            measured.cost.print(|_| true);
        }
    }
}

fn builder(kernel: Builder, shared: &Path) -> Result<Builder> {
    let mut builder = kernel
        .module(OURS)?
        .module("cost_frames")?
        .kernel_module(IN_TREE)
        .kernel_module("vmxnet3")
        .tool("ip")
        .built("netcheck")?
        // To clear memory takes as many instructions as there are bytes, here; and what programs need
        // of memory and of the scheduler is the same each time.
        .append("init_on_alloc=0 norandmaps transparent_hugepage=never psi=0")
        .share(shared, "shared")
        .count(&shared.join("counts"), Idle::Skipped)?
        .memory(1024);
    for (ring, Ring { options, .. }) in RINGS.iter().enumerate() {
        let hub = |port: &str, number: usize| {
            format!("hubport,id={port}{ring},hubid={}", 2 * ring + number)
        };
        let nics = [
            (SINK, "sink", format!("user,id=sink{ring},restrict=on")),
            (PAIR[0], "from", hub("from", 0)),
            (PAIR[1], "to", hub("to", 0)),
            (END, "end", hub("end", 1)),
        ];
        for (slot, id, netdev) in nics {
            let slot = slot + DEVICES * ring;
            builder = builder.qemu(&["-netdev", &netdev]).device(&format!(
                "virtio-net-pci,netdev={id}{ring},addr={slot:#x},ioeventfd=off,tx=timer,romfile=\
                 {options}"
            ));
        }
        let peer = PEER + ring;
        builder = builder.qemu(&["-netdev", &hub("peer", 1)]).device(&format!(
            "vmxnet3,netdev=peer{ring},addr={peer:#x},romfile="
        ));
    }
    Ok(builder)
}

/// Makes the peers ready, and returns what counts in a guest that has settled.
fn bench<'a>(guest: &'a Guest, shared: &Path) -> Result<Bench<'a>> {
    guest.sh(&format!(
        "sysctl -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 \
             net.ipv4.tcp_no_metrics_save=1 >/dev/null
         modprobe cost_frames && modprobe vmxnet3 && ip netns add peer || exit
         for ring in $(seq 0 {last}); do
             cd /sys/bus/pci/devices/0000:00:$(printf %x $(({PEER} + ring))).0/net &&
             ip link set * netns peer name eth$ring &&
             ip -n peer addr add 10.9.$ring.1/24 dev eth$ring &&
             ip -n peer link set eth$ring up || exit
         done
         ip netns exec peer netcheck serve >/tmp/peer 2>&1 &
         {PROBE_KICKS}",
        last = RINGS.len() - 1
    ))?;
    let bench = Bench::new(guest, shared, &[IN_TREE, OURS])?;
    guest.sh("head -c 64 /dev/random >/dev/null; sleep 4")?;
    Ok(bench)
}

/// Returns the command that binds the devices of some work, does it some times after and before what
/// is to be done then, and unbinds them.
fn command(
    module: &str,
    ring: usize,
    work: Work,
    frames: u32,
    before: &str,
    after: &str,
) -> String {
    let slots: Vec<_> = work
        .slots()
        .iter()
        .map(|slot| slot + DEVICES * ring)
        .collect();
    let slots: Vec<_> = slots.iter().map(|slot| format!("{slot:02x}")).collect();
    format!(
        "cd /sys/bus/virtio/drivers/{module}
         devices=; nics=
         for slot in {slots}; do
             device=$(basename /sys/bus/pci/devices/0000:00:$slot.0/virtio*)
             echo $device >bind || exit
             nic=$(ls /sys/bus/virtio/devices/$device/net)
             ip link set $nic up || exit
             devices=\"$devices $device\"
             nics=\"$nics $nic\"
         done
         set -- $nics
         ip addr add 10.9.{ring}.2/24 dev $1
         sleep 1
         {warm} && sleep 1
         {before}
         {work}
         status=$?
         {after}
         for device in $devices; do echo $device >unbind; done
         rmmod {module} && exit $status",
        slots = slots.join(" "),
        warm = work.command(ring, 64),
        work = work.command(ring, frames),
    )
}

/// Counts how often devices are notified and interrupt.
fn traffic(guest: &Guest, module: &str, ring: usize, work: Work) -> Result<Traffic> {
    let before = format!(
        "{KICKS}
         interrupts() {{
             awk '$NF ~ /^virtio.*(input|output)/ {{ n += $2 }} END {{ print n + 0 }}' \
                 /proc/interrupts
         }}
         all() {{ echo $(kicks) $(interrupts); }}
         echo 1 >{COUNTS_KICKS}
         numbers=$(all)"
    );
    let after = format!(
        "sleep 1
         echo $numbers $(all)
         echo 0 >{COUNTS_KICKS}"
    );
    let command = command(module, ring, work, FRAMES, &before, &after);
    let said = guest.sh(&format!("modprobe {module} && {{ {command}; }}"))?;
    let numbers: Vec<f64> = said.split_whitespace().flat_map(str::parse).collect();
    let &[kicks, interrupts, kicks_after, interrupts_after] = numbers.as_slice() else {
        anyhow::bail!("the guest says {said}");
    };
    let frames = f64::from(FRAMES);
    Ok(Traffic {
        kicks: (kicks_after - kicks) / frames,
        interrupts: (interrupts_after - interrupts) / frames,
    })
}

/// What measures, in a guest.
struct Rig<'a> {
    guest: &'a Guest,
    bench: Bench<'a>,
    /// What it takes to allocate a frame of a size that is only sent, with their driver and ours, by
    /// the ring and the size: the sender does that.
    senders: RefCell<BTreeMap<(usize, u32), (f64, f64)>>,
}

impl<'a> Rig<'a> {
    /// Makes the peers ready, and waits until the guest has settled.
    fn new(guest: &'a Guest, shared: &Path) -> Result<Self> {
        let bench = bench(guest, shared)?;
        Ok(Self {
            guest,
            bench,
            senders: RefCell::default(),
        })
    }

    /// Compares what both drivers execute for frames.
    fn row(&self, ring: usize, work: Work) -> Result<Row> {
        let run = |side, frames| -> Result<Functions> {
            let module = match side {
                Side::Theirs => IN_TREE,
                Side::Ours => OURS,
            };
            let (begin, end) = (format!("{WINDOW} begin"), format!("{WINDOW} end"));
            let command = command(module, ring, work, frames, &begin, &end);
            self.bench.run(module, "", &command)
        };
        let (theirs, ours) = bench::compare(FRAMES, TOLERANCE, run)?;
        let measured = |module, cost| -> Result<Measured> {
            Ok(Measured {
                cost,
                traffic: traffic(self.guest, module, ring, work)?,
                others: 0.0,
            })
        };
        let (mut theirs, mut ours) = (measured(IN_TREE, theirs)?, measured(OURS, ours)?);
        let mut senders = self.senders.borrow_mut();
        (theirs.others, ours.others) = match work {
            Work::Send { size, batch } => {
                // The drivers allocate nothing then.
                let others = (theirs.allocations(), ours.allocations());
                if batch == 1 {
                    senders.insert((ring, size), others);
                }
                others
            }
            Work::Pass { size } => *senders
                .get(&(ring, size))
                .context("frames of this size were not sent")?,
            Work::Out | Work::In => (0.0, 0.0),
        };
        let name = RINGS.get(ring).context("there is no such ring")?.name;
        Ok(Row {
            name: format!("{}, {name}", work.name()),
            theirs,
            ours,
        })
    }
}

/// A frame takes about as many instructions as with the in-tree driver, or fewer, and about as many
/// kicks and interrupts.
pub fn is_near_that_of_the_in_tree_driver(cx: &mut Cx) -> Result<()> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?, &shared)?)?;
    let rig = Rig::new(&guest, &shared)?;
    for (index, ring) in RINGS.iter().enumerate() {
        for work in WORKS {
            let name = format!("{}, {}", work.name(), ring.name);
            cx.case(&name, |_| rig.row(index, *work)?.check(ring));
        }
    }
    cx.end(&guest)
}

/// Returns some rows of the table: short frames that are sent, and those that are received, too.
pub fn some(cx: &mut Cx) -> Result<Vec<CostRow>> {
    let shared = cx.scratch()?;
    let guest = cx.boot(&builder(cx.kernel(STOCK)?.name("networks"), &shared)?)?;
    let rig = Rig::new(&guest, &shared)?;
    let mut rows = Vec::new();
    for ring in 0..RINGS.len() {
        for work in [send(60, 1), pass(60)] {
            rows.push(rig.row(ring, work)?.record());
        }
    }
    cx.end(&guest)?;
    Ok(rows)
}

/// Prints the table of the documentation, and where the instructions are if `functions` says so; returns
/// its rows.
pub fn print(functions: bool) -> Result<Vec<CostRow>> {
    let shared = Scratch::new()?;
    let kernel = Builder::new(&Kernel::find(STOCK)?);
    let guest = builder(kernel, shared.path())?.boot(shared.path())?;
    let rig = Rig::new(&guest, shared.path())?;
    println!(
        "{:<31}  in-tree  driver  kicks   irqs    ours     driver  kicks   irqs    whole  driver",
        WORK
    );
    let mut records = Vec::new();
    for ring in 0..RINGS.len() {
        for work in WORKS {
            let row = rig.row(ring, *work)?;
            row.print();
            if functions {
                row.print_functions();
            }
            records.push(row.record());
        }
    }
    guest.end()?;
    Ok(records)
}
