// SPDX-License-Identifier: GPL-2.0

//! What is seen beside the backend: what it tells at its control socket, and the host of a tap.

use crate::guest;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value, json};
use std::{
    io::{BufRead, BufReader, Lines, Write},
    os::unix::net::UnixStream,
    path::Path,
    thread,
    time::Duration,
};

/// How long the backend may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// After how long the device is looked at again: what has not moved until then stands still. A backend
/// takes a buffer at once when it is notified; this is for a machine that has other things to do.
const MOMENT: Duration = Duration::from_millis(100);

/// The name of the switch at the control socket.
const SWITCH: &str = "switch";

/// What is looked at.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The control socket.
    pub control: &'a Path,
    /// The device.
    pub device: &'a str,
    /// The port where its frames leave, unless there is only one.
    pub port: Option<&'a str>,
}

/// A connection to the backend.
struct Backend {
    stream: UnixStream,
    answers: Lines<BufReader<UnixStream>>,
}

impl Backend {
    fn new(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("nobody listens at {}", path.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let answers = BufReader::new(stream.try_clone()?).lines();
        Ok(Self { stream, answers })
    }

    fn ask(&mut self, command: &str, device: &str) -> Result<Value> {
        let line = json!({ "command": command, "device": device });
        self.stream.write_all(format!("{line}\n").as_bytes())?;
        let answer = self.answers.next().context("the backend hangs up")?;
        let answer = answer.context("the backend does not answer")?;
        let mut answer: Value = serde_json::from_str(&answer)?;
        if let Some(error) = answer["error"].as_str() {
            bail!("{command} of {device} is refused: {error}");
        }
        Ok(answer["ok"].take())
    }
}

/// Looks at a device, its switch, and the port where its frames leave.
///
/// # Errors
///
/// The device has to be there, with its counters; and the port, if it is named.
pub fn read(wanted: &Wanted<'_>) -> Result<Value> {
    let mut backend = Backend::new(wanted.control)?;
    let device = wanted.device;
    let earlier = backend.ask("counters", device)?;
    ensure!(
        earlier["queues"].is_array() && earlier["class"]["rx"].is_object(),
        "{device} is no network device"
    );
    thread::sleep(MOMENT);
    let mut host = Map::new();
    host.insert("device".to_owned(), device.into());
    host.insert("earlier".to_owned(), earlier);
    host.insert("counters".to_owned(), backend.ask("counters", device)?);
    // A backend may not have any of these.
    for (field, command, of) in [
        ("explain", "explain", device),
        ("switch", "counters", SWITCH),
        ("table", "table", SWITCH),
    ] {
        if let Ok(value) = backend.ask(command, of) {
            host.insert(field.to_owned(), value);
        }
    }
    let ports = host.get("switch").map(|switch| &switch["ports"]);
    let port = match wanted.port {
        Some(port) => {
            let there = ports.is_none_or(|ports| ports[port].is_object());
            ensure!(
                there && port != device,
                "the switch has no other port {port}"
            );
            Some(port.to_owned())
        }
        None => ports.and_then(|ports| only_other(ports, device)),
    };
    if let Some(port) = port {
        if let Ok(peer) = backend.ask("counters", &port) {
            if let Some(interface) = interface(&peer) {
                host.insert("interface".to_owned(), interface);
            }
            host.insert("peer".to_owned(), peer);
        }
        host.insert("port".to_owned(), port.into());
    }
    Ok(host.into())
}

/// Returns the port beside that of the device, if there is one only.
fn only_other(ports: &Value, device: &str) -> Option<String> {
    let names = ports.as_object()?.keys();
    let mut others = names.filter(|name| *name != device);
    match (others.next(), others.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => None,
    }
}

/// Returns what the host tells of the interface of a tap, if it is in this name space.
fn interface(peer: &Value) -> Option<Value> {
    let name = peer["interface"].as_str()?;
    let (link, statistics) = guest::statistics(name)?;
    Some(json!({
        "name": name,
        "up": link.up,
        "operstate": link.operstate,
        "master": guest::master(name),
        "statistics": statistics,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Host;
    use std::{os::unix::net::UnixListener, path::PathBuf};

    /// A backend that answers from a list, to one who asks.
    fn backend(name: &str, answers: &[(&str, &str, Value)]) -> PathBuf {
        let path = format!("rv-{}-path-{name}", std::process::id());
        let path = std::env::temp_dir().join(path);
        let listener = UnixListener::bind(&path).expect("a socket");
        let answers: Vec<_> = answers
            .iter()
            .map(|(command, device, answer)| {
                (
                    json!({ "command": command, "device": device }),
                    answer.clone(),
                )
            })
            .collect();
        let socket = path.clone();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            // The name is not needed any more.
            let _ = std::fs::remove_file(socket);
            let lines = BufReader::new(stream.try_clone().expect("a stream")).lines();
            for line in lines {
                let line: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
                let answer = answers.iter().find(|(command, _)| *command == line);
                let answer = answer.map_or_else(
                    || json!({ "error": "there is no such thing" }),
                    |(_, answer)| json!({ "ok": answer }),
                );
                writeln!(stream, "{answer}").expect("an answer");
            }
        });
        path
    }

    fn device() -> Value {
        json!({ "queues": [{ "kicks": 1 }, { "kicks": 2 }], "class": { "rx": {}, "tx": {} } })
    }

    #[test]
    fn all_that_the_backend_has_is_read() {
        let switch = json!({ "ports": {
            "net": { "in_frames": 5, "vlans": "access 10", "link": true, "outlet": { "taken": 2 } },
            "host": { "out_frames": 4 },
        } });
        let path = backend(
            "all",
            &[
                ("counters", "net", device()),
                (
                    "explain",
                    "net",
                    json!({ "1": ["It is at a pause; `resume` has it go on."] }),
                ),
                ("counters", "switch", switch),
                (
                    "table",
                    "switch",
                    json!([{ "vlan": 10, "mac": "52:54:00:00:00:01", "port": "net" }]),
                ),
                (
                    "counters",
                    "host",
                    json!({ "interface": "lo", "to_host": 3 }),
                ),
            ],
        );

        let wanted = Wanted {
            control: &path,
            device: "net",
            port: None,
        };
        let host: Host = serde_json::from_value(read(&wanted).expect("an answer")).expect("a host");

        assert_eq!(host.port.as_deref(), Some("host"));
        assert_eq!(host.counters.expect("counters").queues[1].kicks, Some(2));
        assert_eq!(host.earlier.expect("counters").queues[0].kicks, Some(1));
        assert_eq!(host.explain["1"].len(), 1);
        let net = &host.switch.expect("a switch").ports["net"];
        assert_eq!(net.counters.get("in_frames"), Some(5));
        assert_eq!(net.outlet.get("taken"), Some(2));
        assert_eq!(
            (net.vlans.as_deref(), net.link),
            (Some("access 10"), Some(true))
        );
        assert_eq!(host.table.expect("a table")[0].port, "net");
        assert_eq!(host.peer.expect("a peer").counters.get("to_host"), Some(3));
        assert_eq!(host.interface.expect("an interface").name, "lo");
    }

    #[test]
    fn a_backend_without_a_switch_is_read() {
        let path = backend("bare", &[("counters", "net", device())]);

        let wanted = Wanted {
            control: &path,
            device: "net",
            port: None,
        };
        let host: Host = serde_json::from_value(read(&wanted).expect("an answer")).expect("a host");

        assert!(host.switch.is_none() && host.table.is_none() && host.peer.is_none());
        assert!(host.port.is_none() && host.explain.is_empty());
    }

    #[test]
    fn what_is_not_there_is_told() {
        let ports = json!({ "ports": { "net": {}, "a": {}, "b": {} } });
        let answers = [("counters", "net", device()), ("counters", "switch", ports)];
        let error = |name: &str, device: &str, port: Option<&str>| {
            let path = backend(name, &answers);
            let wanted = Wanted {
                control: &path,
                device,
                port,
            };
            read(&wanted).expect_err("it is not there").to_string()
        };

        assert_eq!(
            error("port", "net", Some("c")),
            "the switch has no other port c"
        );
        assert_eq!(
            error("same", "net", Some("net")),
            "the switch has no other port net"
        );
        assert_eq!(
            error("device", "disk", None),
            "counters of disk is refused: there is no such thing"
        );
        assert_eq!(
            error("switch", "switch", None),
            "switch is no network device"
        );
        let nowhere = Wanted {
            control: Path::new("/nowhere/at/all"),
            device: "net",
            port: None,
        };
        let nobody = read(&nowhere).expect_err("nobody is there").to_string();
        assert_eq!(nobody, "nobody listens at /nowhere/at/all");
        // Of several others, none is chosen.
        let path = backend("several", &answers);
        let wanted = Wanted {
            control: &path,
            device: "net",
            port: None,
        };
        assert_eq!(read(&wanted).expect("an answer")["port"], Value::Null);
    }
}
