// SPDX-License-Identifier: GPL-2.0

use super::*;
use crate::rule::ACTIONS;
use virtio_wire::blk::Feature;

fn parse(arguments: &[&str]) -> Result<Options> {
    let parser = lexopt::Parser::from_args(arguments);
    read(parser).map(|options| options.expect("no help"))
}

#[test]
fn a_disk_is_described() {
    let spec = "name=d,socket=/s,ram=1M,read-only,queues=4,without=flush:VIRTIO_F_RING_PACKED";
    let options = parse(&["--control", "/c", "--blk", spec]).expect("options");
    let device = &options.devices[0];
    let Kind::Blk(blk) = &device.kind else {
        panic!("it is a disk");
    };

    assert_eq!(options.control, Some("/c".into()));
    assert_eq!(device.name, "d");
    assert_eq!(device.meeting, Meeting::Listen("/s".into()));
    assert_eq!(device.watch, Duration::from_millis(10));
    assert_eq!(blk.medium, blk::Medium::Ram(1 << 20));
    assert!(blk.read_only);
    assert_eq!(blk.queues, 4);
    assert!(blk.without.contains(Feature::FLUSH));
    assert!(blk.without.contains(Feature::RING_PACKED));
}

#[test]
fn a_disk_has_an_overlay() {
    let options = parse(&["--blk", "overlay=/o,file=/f,socket=/s,watch=0"]).expect("options");
    let Kind::Blk(blk) = &options.devices[0].kind else {
        panic!("it is a disk");
    };
    assert_eq!(options.devices[0].watch, Duration::ZERO);
    let (base, overlay) = ("/f".into(), "/o".into());
    assert_eq!(blk.medium, blk::Medium::Overlay { base, overlay });
}

#[test]
fn another_backend_is_told() {
    let options = parse(&["--control", "/c", "--tell", "a", "--tell", "b"]).expect("options");

    assert_eq!(options.control, Some("/c".into()));
    assert_eq!(options.tell, ["a", "b"]);
}

#[test]
fn what_is_missing_is_said() {
    for (arguments, why) in [
        (&[][..], "there is no device; see --help"),
        (&["--tell", "{}"], "--tell and --top need --control"),
        (
            &[
                "--control",
                "/c",
                "--tell",
                "{}",
                "--blk",
                "ram=1,socket=/s",
            ],
            "who tells or watches another backend serves nothing",
        ),
        (&["--blk", "socket=/s"], "file, ram or null is missing"),
        (
            &["--blk", "ram=1M,overlay=/o,socket=/s"],
            "an overlay needs a file",
        ),
        (&["--blk", "ram=1M"], "socket or connect is missing"),
        (
            &["--blk", "ram=1M,socket=/s,speed=9"],
            "a disk has no speed",
        ),
        (
            &["--blk", "ram=1M,socket=/s,queues=0"],
            "a disk needs a queue",
        ),
        (
            &[
                "--blk",
                "ram=1,socket=/s,name=x",
                "--blk",
                "ram=1,socket=/t,name=x",
            ],
            "the name x is used twice, by devices, ports, or the switch, which is called switch: \
             give one of them another with name=",
        ),
        (&["--blk", "ram=1M,socket=/s,name="], "a name is empty"),
        (&["--blk", "ram=1M,socket=/s,ram=2M"], "ram is given twice"),
        (&["--rule", "do=fail,do=hold"], "do is given twice"),
        (
            &["--blk", "ram=1M,socket=/s", "--net", "socket=/s"],
            "socket /s is given twice: each device, and --control, needs its own",
        ),
        (
            &["--control", "/s", "--blk", "ram=1M,socket=/s"],
            "socket /s is given twice: each device, and --control, needs its own",
        ),
    ] {
        let error = parse(arguments).expect_err("an error");
        assert_eq!(error.root_cause().to_string(), why);
    }
}

#[test]
fn the_help_names_everything() {
    let help = help::help();
    for action in ACTIONS {
        assert!(help.contains(action.name));
    }
    assert!(help.lines().all(|line| line.len() <= 100));
    for section in help::sections() {
        let lines = section.text.lines();
        assert!(
            lines.clone().all(|line| line.starts_with("    ")),
            "{}",
            section.title
        );
    }
}

#[test]
fn a_network_is_described() {
    let net = "name=n,socket=/s,queues=4,mtu=9000,mac=02:00:00:00:00:01,strict,vlan=10,loss=3";
    let gateway = "name=gateway,ip=10.0.0.1/24+fd00::1/64,trunk=10:20-29,native=5";
    let options = parse(&["--net", net, "--port", gateway, "--ageing", "7"]).expect("options");
    let Kind::Net(net) = &options.devices[0].kind else {
        panic!("it is a network device");
    };
    assert_eq!((net.queues, net.mtu, net.port.mtu), (4, Some(9000), 9000));
    assert_eq!(net.port.mac, Some([2, 0, 0, 0, 0, 1]));
    assert!(net.port.strict);
    assert_eq!(net.port.vlans.text(), "access 10");
    assert_eq!(net.port.shape.loss, 3);
    assert_eq!(net.port.name, "n");
    let port = &options.ports[0];
    assert_eq!(port.port.vlans.text(), "trunk 10:20-29 native 5");
    let port::Kind::Peer(addresses, Large::Yes) = &port.kind else {
        panic!("it is a station");
    };
    assert_eq!(addresses.len(), 2);
    assert_eq!(options.ageing, Duration::from_secs(7));
}

#[test]
fn ports_that_cannot_be_are_refused() {
    for (spec, why) in [
        ("name=a", "tap, ip, record, replay or null is missing"),
        ("null,tap=x", "a port has two ends"),
        ("ip=x", "x is no address with the length of a prefix"),
        (
            "null,vlan=0",
            "there is no VLAN 0: their numbers are 1 to 4094",
        ),
        (
            "null,native=4095",
            "there is no VLAN 4095: their numbers are 1 to 4094",
        ),
        ("null,trunk=7:5-9", "VLAN 7 is twice in 7:5-9"),
        ("null,vlan=1,vlan=2", "vlan is given twice"),
        ("null,name=", "a name is empty"),
        (
            "null,vlan=1,trunk=2",
            "a port has vlan, or trunk and native",
        ),
        (
            "null,mac=01:00:00:00:00:00",
            "the MAC address is that of a group",
        ),
        ("null,mac=1:2:3", "1:2:3 is no MAC address"),
        ("null,loss=101", "101 is no percentage"),
        ("null,ram=1M", "a port has no ram"),
        (
            "null,name=switch",
            "the name switch is used twice, by devices, ports, or the switch, which is called \
             switch: give one of them another with name=",
        ),
    ] {
        let error = parse(&["--blk", "ram=1M,socket=/s", "--port", spec]).expect_err("an error");
        assert_eq!(error.root_cause().to_string(), why);
    }
}

#[test]
fn a_file_says_the_same() {
    let text = r#"
        control = "/c"
        ageing = 60
        summary = "json"

        [[net]]
        name = "one"
        socket = "/one"
        vlan = 10
        control = true
        strict = false

        [[port]]
        name = "gateway"
        ip = ["10.0.0.1/24", "fd00::1/64"]
        trunk = [10, "20-29"]

        [[blk]]
        name = "disk"
        socket = "/disk"
        ram = "1M"
    "#;
    let mut options = Options {
        control: None,
        tell: Vec::new(),
        log: Level::Warn,
        summary: Summary::Table,
        top: false,
        metrics: None,
        record: None,
        replay: None,
        devices: Vec::new(),
        rules: Vec::new(),
        ports: Vec::new(),
        ageing: Duration::ZERO,
    };
    file::parse(text, &mut options).expect("options");
    assert_eq!(options.control, Some("/c".into()));
    assert_eq!(options.ageing, Duration::from_secs(60));
    assert_eq!(options.summary, Summary::Json);
    let names: Vec<_> = options.devices.iter().map(|device| &device.name).collect();
    assert_eq!(names, ["disk", "one"]);
    let Kind::Net(net) = &options.devices[1].kind else {
        panic!("it is a network device");
    };
    assert!(net.control && !net.port.strict);
    assert_eq!(
        options.ports[0].port.vlans.text(),
        "trunk 10:20-29 native none"
    );
    for bad in [
        "[[net]]\nname = 1.5",
        "net = 1",
        "[[disk]]\n",
        "ageing = -1",
        "x",
    ] {
        assert!(file::parse(bad, &mut options).is_err(), "{bad}");
    }
}

#[test]
fn subcommands_say_what_options_say() {
    let words = [
        "blk",
        "socket=/s",
        "ram=1M,queues=4",
        "read-only",
        "--control",
        "/c",
    ];
    let options = parse(&words).expect("options");
    let same = [
        "--control",
        "/c",
        "--blk",
        "socket=/s,ram=1M,queues=4,read-only",
    ];
    let wanted = parse(&same).expect("options");
    assert_eq!(format!("{options:?}"), format!("{wanted:?}"));

    let words = ["net", "socket=/s", "mtu=9000", "--port", "ip=10.0.0.1/24"];
    let options = parse(&words).expect("options");
    let same = ["--port", "ip=10.0.0.1/24", "--net", "socket=/s,mtu=9000"];
    let wanted = parse(&same).expect("options");
    assert_eq!(format!("{options:?}"), format!("{wanted:?}"));

    let words = ["switch", "--port", "tap=a,name=a", "--port", "null"];
    let options = parse(&words).expect("options");
    assert_eq!((options.devices.len(), options.ports.len()), (0, 2));
}

#[test]
fn a_file_is_run() {
    let name = format!("rv-{}-options.toml", std::process::id());
    let path = std::env::temp_dir().join(name);
    let text = "log = \"off\"\nageing = 7\n[[blk]]\nsocket = \"/s\"\nram = \"1M\"\n";
    std::fs::write(&path, text).expect("a file");
    let name = path.to_str().expect("a name");

    let options = parse(&["run", name, "--log", "info"]).expect("options");
    let twice = parse(&["run", name, name]).expect_err("two files");
    std::fs::remove_file(&path).expect("the file");
    let gone = parse(&["run", name]).expect_err("no file");

    assert_eq!(options.ageing, Duration::from_secs(7));
    assert_eq!(options.log, Level::Info, "what comes later counts");
    assert_eq!(options.devices.len(), 1);
    assert!(twice.to_string().starts_with("run takes one file"));
    assert_eq!(gone.to_string(), name);
}

#[test]
fn subcommands_that_cannot_be_are_refused() {
    for (words, why) in [
        (
            &["disk"][..],
            "there is no subcommand disk; there are blk, net, switch and run",
        ),
        (&["blk"], "file, ram or null is missing"),
        (
            &["blk", "ram=1M", "null=1M", "ram=2M"],
            "ram is given twice",
        ),
        (&["net", "file=/f"], "a network device has no file"),
        (&["switch"], "a switch without --net and --port has no use"),
        (&["switch", "a"], "switch takes no a; see switch --help"),
        (&["run"], "run needs a file; see run --help"),
    ] {
        let error = parse(words).expect_err("an error");
        assert_eq!(error.root_cause().to_string(), why);
    }
}

#[test]
fn each_subcommand_has_help() {
    for about in subcommand::SUBCOMMANDS {
        let help = Subcommand::named(about.name).expect("one").help();
        let usage = format!("virtio-backend {} {} ", about.name, about.arguments);
        assert!(help.starts_with(&usage), "{help}");
        assert!(help.contains("--control PATH"), "{help}");
        assert!(help.lines().all(|line| line.len() <= 100));
    }
    let help = |name: &str| Subcommand::named(name).expect("one").help();
    assert!(help("blk").contains("    block-size=N"));
    assert!(!help("blk").contains("    mirror "));
    assert!(help("net").contains("    mirror "));
    assert!(help("switch").contains("    tap=NAME"));
}

#[test]
fn the_manual_page_is_one() {
    let page = pages::man();
    for action in ACTIONS {
        assert!(page.contains(&format!(".B {}\n", action.name.replace('-', "\\-"))));
    }
    assert!(page.contains(".TP\n.B \\-\\-record FILE\nwrite down what is done"));
    assert!(page.contains(".TP\n.B delay=US, jitter=US\nframes that leave here"));
    let macros = [".TH", ".SH", ".TP", ".B ", ".nf", ".fi"];
    for line in page.lines() {
        let is_macro = macros.iter().any(|known| line.starts_with(known));
        assert!(is_macro || !line.starts_with(['.', '\'']), "{line}");
    }
}

/// Has bash complete the last word of a line.
fn completed(line: &str) -> Vec<String> {
    // As at a prompt: `=` ends a word.
    let script = format!(
        "{}
         COMP_LINE='{line}' COMP_POINT=${{#COMP_LINE}}
         read -ra COMP_WORDS <<<\"${{COMP_LINE//=/ = }}\"
         [[ $COMP_LINE == *[\\ =] ]] && COMP_WORDS+=('')
         COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
         compopt() {{ :; }}
         _virtio_backend
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        pages::completion()
    );
    let output = std::process::Command::new("bash")
        .args(["-euc", &script])
        .output()
        .expect("a shell");
    let said = String::from_utf8(output.stdout).expect("a text");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {error}");
    said.lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_shell_completes_options_and_keys() {
    assert_eq!(completed("virtio-backend --re"), ["--record", "--replay"]);
    assert_eq!(completed("virtio-backend --blk ra"), ["ram="]);
    assert_eq!(completed("virtio-backend --blk read"), ["read-only,"]);
    assert_eq!(
        completed("virtio-backend --blk name=a,ram=1M,seg"),
        ["1M,segment-bytes=", "1M,segments="]
    );
    assert_eq!(completed("virtio-backend --net name=a,mir"), ["a,mirror,"]);
    assert_eq!(completed("virtio-backend --port ta"), ["tap="]);
    assert_eq!(completed("virtio-backend --port reo"), ["reorder="]);
    assert_eq!(completed("virtio-backend --port na"), ["name=", "native="]);
    assert_eq!(completed("virtio-backend --blk file="), [""; 0]);
    assert_eq!(completed("virtio-backend --control "), [""; 0]);

    assert_eq!(completed("virtio-backend sw"), ["switch"]);
    assert_eq!(completed("virtio-backend bl"), ["blk"]);
    assert_eq!(completed("virtio-backend run "), [""; 0]);
    assert_eq!(completed("virtio-backend blk ra"), ["ram="]);
    assert_eq!(completed("virtio-backend blk ram=1M read"), ["read-only,"]);
    assert_eq!(completed("virtio-backend net mir"), ["mirror,"]);
    assert_eq!(completed("virtio-backend blk file="), [""; 0]);
    assert_eq!(
        completed("virtio-backend net --re"),
        ["--record", "--replay"]
    );
}

#[test]
fn qemu_is_told_where_devices_are() {
    let options = parse(&[
        "--blk",
        "name=disk,socket=/d,ram=1M,queues=4",
        "--net",
        "name=one,connect=/n,queues=2",
        "--net",
        "name=two,socket=/t,queues=1,control",
    ])
    .expect("options");
    let arguments = qemu_arguments(&options.devices);
    let lines: Vec<_> = arguments.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "-chardev socket,id=disk,path=/d,reconnect-ms=200 \
             -device vhost-user-blk-pci,chardev=disk,num-queues=4",
            "-chardev socket,id=one,path=/n,server=on \
             -netdev vhost-user,id=one,chardev=one,queues=2 \
             -device virtio-net-pci,netdev=one,mq=on,vectors=6",
            "-chardev socket,id=two,path=/t \
             -device vhost-user-test-device-pci,chardev=two,virtio-id=1,num_vqs=3,config_size=24",
        ]
    );
}

#[test]
fn rules_are_given_on_the_command_line_and_in_files() {
    let options = parse(&[
        "--blk",
        "socket=/d,ram=1M",
        "--rule",
        "do=fail,op=read,sector=0-7,count=2,pattern=00",
    ])
    .expect("options");
    let wanted = json!({
        "command": "inject", "do": "fail", "op": "read", "sector": [0, 8], "count": 2,
        "pattern": "00",
    });
    assert_eq!(options.rules, std::slice::from_ref(&wanted));

    let mut options = parse(&["--blk", "socket=/d,ram=1M"]).expect("options");
    let text = r#"
        [[rule]]
        do = "fail"
        op = "read"
        sector = [0, 8]
        count = 2
        pattern = "00"
    "#;
    file::parse(text, &mut options).expect("a rule");
    assert_eq!(options.rules, [wanted]);
    assert!(file::parse("[[rule]]\nop = \"read\"", &mut options).is_err());
}
