// SPDX-License-Identifier: GPL-2.0

//! What the program says of itself.

use super::subcommand::SUBCOMMANDS;
use crate::{
    control::COMMANDS,
    rule::{ACTIONS, Scope},
    switch,
};

/// The ways to call it.
pub const SYNOPSIS: &str = "\
virtio-backend [--control PATH] [--config FILE] DEVICE|PORT ...
virtio-backend blk|net KEY=VALUE ... [OPTION ...]
virtio-backend switch --net SPEC|--port SPEC ... [OPTION ...]
virtio-backend run FILE [OPTION ...]
virtio-backend --control PATH --tell COMMAND ...
virtio-backend --control PATH --top
";

/// What it does.
pub const PURPOSE: &str = "\
Serves virtio devices over vhost-user, and lies on request. It ends on SIGTERM and SIGINT.
Or tells one that runs what to do, or shows what it does.
";

/// A list of terms, and what each of them is.
pub struct Section {
    /// What they are.
    pub title: &'static str,
    /// What there is to know before.
    pub before: &'static str,
    /// A line for each, which begins with four spaces and the term.
    pub text: String,
    /// Where the explanation begins in a line.
    pub column: usize,
}

impl Section {
    /// Returns it with its title.
    pub fn draw(&self) -> String {
        let Self {
            title,
            before,
            text,
            ..
        } = self;
        let gap = if before.is_empty() { "" } else { "\n" };
        format!("\n{title}:\n\n{before}{gap}{text}")
    }
}

const OPTIONS: &str = "    --control PATH   listen at this socket for commands
    --tell COMMAND   send it to the backend that listens there, and print the answer
    --metrics HOST:PORT
                     tell Prometheus what was counted, over HTTP
    --record FILE    write down what is done to drivers: rules, and commands
    --replay FILE    do it again, each to the same request, or after the same time
    --log LEVEL      say so much on standard error: off, error (what ends something), warn (what is
                     not as it should be: the default), info (what happens to devices and queues),
                     debug (what rules do) or trace (each message of QEMU, and each buffer)
    --summary FORM   tell at the end what was counted: as a table on standard error, which is the
                     default, as a line of json on standard output, or none
    --top            show what goes on in the backend that listens there, each second
    --config FILE    read devices and ports from a file, see Documentation/backend.rst
    --blk SPEC       a disk, as KEY=VALUE,...
    --net SPEC       a network device at a port of the switch
    --port SPEC      something else at a port of the switch
    --rule SPEC      what is done to requests, as KEY=VALUE,... of command inject; a range is 0-7
    --ageing SECONDS how long the switch remembers addresses (300)
    --help           print this; --man prints a manual page, --completion what bash reads
";

const DEVICE_KEYS: &str =
    "    name=NAME           what it is called on the control socket (blk0, net0, ...)
    socket=PATH         listen here for QEMU (a chardev with reconnect-ms=...)
    connect=PATH        or connect to QEMU here (a chardev with server=on)
    latency=US          each request takes so many microseconds
    watch=MS            so many milliseconds after a reset it is looked at what the driver
                        has done since (10); 0: nothing is watched
    without=F:F:...     features that are not offered, such as ring_packed:flush
";

const DISK_KEYS: &str = "    file=PATH           its sectors are in this file,
    overlay=PATH        which is not written, as what is written goes here: a sparse
                        file, which is made if it is missing,
    ram=SIZE            or in memory (64M, ...),
    null=SIZE           or they are all zeroes
    read-only           it cannot be written
    write-through       its cache writes through, until the driver switches that
    serial=TEXT         its name for the guest
    queues=N            the most queues (8): QEMU uses one for each CPU
    block-size=N        bytes in a block (512)
    physical-exponent=N a physical block has 2^N blocks (3)
    segments=N          the most segments in a request (126)
    segment-bytes=N     the most bytes in a segment
    io=uring            a file has several requests at once, by io_uring, if the kernel has
                        one: that is the default; io=sync has one after the other
";

const NET_KEYS: &str = "    queues=N            the most pairs of queues (8)
    control             it has the control queue, and the configuration space: for
                        QEMU's vhost-user-test-device-pci
";

const PORT_KEYS: &str = "    name=NAME           what it is called (port0, ...)
    vlan=ID             it is in this VLAN, whose frames have no tags here
    trunk=ID:ID-ID:...  or in these, whose frames have tags
    native=ID           and in this one, whose frames have none; by default it is in
                        all, and frames without tags are in VLAN 1
    mac=ADDRESS         its address
    strict              it sends only from that address
    isolated            it reaches only ports that are not isolated
    mirror              it gets a copy of all frames
    mtu=N               the largest packets (1500)
    capture=PATH        a file of format pcapng for all that comes in and leaves there, with
                        what the switch loses, and why
    queue=N             the most frames that wait (1024)
    delay=US, jitter=US frames that leave here take longer, and so much at random
    loss=N, duplicate=N, reorder=N
                        so many of 100 are lost, come twice, or come late
    seed=N              what determines what is at random
";

const END_KEYS: &str = "    tap=NAME            an interface of the host
    ip=A/N+A/N          a station in this process: it answers to ARP and pings, and has
                        services at TCP and UDP 7 (echo), TCP 9 (discard), 19 (source)
                        and 5001 (a line says `send N`, or `receive`)
    small               the station sends no large frames
    record=PATH         what leaves is written to a file of format pcapng,
    replay=PATH         and such a file is sent, when the control socket says so
    null                nothing: it takes all, counts it, and sends nothing
";

const COMMANDS_ARE: &str = "\
They are lines such as
{\"command\": \"inject\", \"device\": \"blk0\", \"do\": \"fail\", \"op\": \"read\", \"count\": 1}
and each is answered by a line with \"ok\" or \"error\". The device may be left out if there is one.
";

const PORTS_ARE: &str = "\
Ports have counters; one that replays has \"replay\": FAST, true or false.
";

const SUBCOMMANDS_ARE: &str = "\
Each has --help of its own; options are the same with and without one.
";

/// Returns all lists.
pub fn sections() -> Vec<Section> {
    let of = |title, column, text: &str| Section {
        title,
        before: "",
        text: text.to_owned(),
        column,
    };
    let commands = |commands: &[(&str, &str)]| -> String {
        let lines = commands.iter();
        lines
            .map(|(name, what)| format!("    {name:12} {what}\n"))
            .collect()
    };
    vec![
        Section {
            title: "Subcommands",
            before: SUBCOMMANDS_ARE,
            text: subcommands(),
            column: 17,
        },
        of("Options", 21, OPTIONS),
        of("Keys of all devices", 24, DEVICE_KEYS),
        of("Keys of a disk", 24, DISK_KEYS),
        of(
            "Keys of a network device, beside those of its port",
            24,
            NET_KEYS,
        ),
        of("Keys of a port, and of a network device", 24, PORT_KEYS),
        of(
            "Keys of a port, one of which says what is there",
            24,
            END_KEYS,
        ),
        Section {
            title: "Commands of the control socket",
            before: COMMANDS_ARE,
            text: commands(COMMANDS),
            column: 17,
        },
        Section {
            title: "Those of device \"switch\"",
            before: PORTS_ARE,
            text: commands(switch::COMMANDS),
            column: 17,
        },
        of("What a rule can do", 17, &actions()),
    ]
}

fn subcommands() -> String {
    let lines = SUBCOMMANDS.iter();
    lines
        .map(|about| format!("    {:12} {}\n", about.name, about.what))
        .collect()
}

fn actions() -> String {
    let mut text = String::new();
    for action in ACTIONS {
        let value = action
            .value
            .map_or(String::new(), |value| format!(" ({value})"));
        let scope = match action.scope {
            Scope::All => "",
            Scope::Disk => "disks: ",
            Scope::Net => "networks: ",
        };
        text += &format!("    {:12} {scope}{}{value}\n", action.name, action.what);
    }
    text
}

/// Returns all of it.
pub fn help() -> String {
    let mut help = format!("{SYNOPSIS}\n{PURPOSE}");
    for section in sections() {
        help += &section.draw();
    }
    help
}
