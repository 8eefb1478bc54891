// SPDX-License-Identifier: GPL-2.0

//! The counters, in the text format of Prometheus, over HTTP.

use crate::{control::Controlled, log::warning};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread,
    time::Duration,
};

/// What all names begin with.
const PREFIX: &str = "virtio_backend";

/// How long somebody who asks may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line for each label of a metric.
type Metrics = BTreeMap<String, Vec<String>>;

/// Listens at an address, such as `127.0.0.1:9100`, and tells who asks.
pub fn listen(address: &str, devices: Vec<Arc<dyn Controlled>>) -> Result<()> {
    let listener = TcpListener::bind(address).with_context(|| format!("listening at {address}"))?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            if let Err(error) = answer(&connection, &devices) {
                warning!("metrics: {error:#}");
            }
        }
    });
    Ok(())
}

fn answer(connection: &TcpStream, devices: &[Arc<dyn Controlled>]) -> Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    // Whatever is asked for, there is one answer; a request ends with an empty line.
    for line in BufReader::new(connection).lines() {
        if line?.is_empty() {
            break;
        }
    }
    let body = text(devices);
    let mut connection = connection;
    write!(
        connection,
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    Ok(())
}

/// Returns all counters of devices.
fn text(devices: &[Arc<dyn Controlled>]) -> String {
    let mut metrics = Metrics::new();
    for device in devices {
        // Not everything has counters.
        if let Ok(counters) = device.execute("counters", &json!({})) {
            let labels = format!("device=\"{}\"", device.name());
            add(&mut metrics, PREFIX, &labels, &counters);
        }
    }
    let mut text = String::new();
    for (name, lines) in metrics {
        text += &format!("# TYPE {name} untyped\n");
        for line in lines {
            text += &line;
        }
    }
    text
}

/// Adds what a value has: numbers by the names that lead there, what is in a list by its place.
fn add(metrics: &mut Metrics, name: &str, labels: &str, value: &Value) {
    let line = &mut |name: &str, labels: &str, number: &dyn std::fmt::Display| {
        let lines = metrics.entry(name.to_owned()).or_default();
        lines.push(format!("{name}{{{labels}}} {number}\n"));
    };
    match value {
        Value::Bool(is) => line(name, labels, &u8::from(*is)),
        Value::Number(number) => line(name, labels, number),
        Value::Array(parts) => {
            let name = name.strip_suffix('s').unwrap_or(name);
            let kind = name.rsplit('_').next().unwrap_or(name);
            for (index, part) in parts.iter().enumerate() {
                add(metrics, name, &format!("{labels},{kind}=\"{index}\""), part);
            }
        }
        Value::Object(fields) => {
            if let Some(Value::Array(buckets)) = fields.get("buckets") {
                let mut count = 0;
                for bucket in buckets {
                    count += bucket[1].as_u64().unwrap_or(0);
                    let labels = format!("{labels},le=\"{}\"", bucket[0]);
                    line(&format!("{name}_bucket"), &labels, &count);
                }
                let labels_of_all = format!("{labels},le=\"+Inf\"");
                line(&format!("{name}_bucket"), &labels_of_all, &count);
            }
            for (field, value) in fields.iter().filter(|(field, _)| *field != "buckets") {
                let field = field.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
                add(metrics, &format!("{name}_{field}"), labels, value);
            }
        }
        Value::Null | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// A device that has a queue.
    struct Fixed;

    impl Controlled for Fixed {
        fn name(&self) -> String {
            "disk".to_owned()
        }

        fn execute(&self, _: &str, _: &Value) -> Result<Value> {
            Ok(json!({
                "name": "disk",
                "connected": true,
                "queues": [
                    {"kicks": 3, "latency": {"count": 3, "sum": 12, "buckets": [[3, 1], [7, 2]]}},
                    {"kicks": 4},
                ],
                "class": {"requests": {"get-id": 1}},
            }))
        }
    }

    #[test]
    fn counters_become_metrics() {
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").expect("a port");
            free.local_addr().expect("an address").port()
        };
        let address = format!("127.0.0.1:{port}");
        listen(&address, vec![Arc::new(Fixed)]).expect("to listen");
        let mut connection = TcpStream::connect(&address).expect("a connection");
        connection
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n")
            .expect("to ask");
        let mut said = String::new();
        connection.read_to_string(&mut said).expect("an answer");

        let (head, body) = said.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with("HTTP/1.0 200 OK\r\n"), "{head}");
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
        for line in [
            "# TYPE virtio_backend_queue_kicks untyped",
            "virtio_backend_connected{device=\"disk\"} 1",
            "virtio_backend_queue_kicks{device=\"disk\",queue=\"0\"} 3",
            "virtio_backend_queue_kicks{device=\"disk\",queue=\"1\"} 4",
            "virtio_backend_queue_latency_bucket{device=\"disk\",queue=\"0\",le=\"3\"} 1",
            "virtio_backend_queue_latency_bucket{device=\"disk\",queue=\"0\",le=\"7\"} 3",
            "virtio_backend_queue_latency_bucket{device=\"disk\",queue=\"0\",le=\"+Inf\"} 3",
            "virtio_backend_queue_latency_sum{device=\"disk\",queue=\"0\"} 12",
            "virtio_backend_class_requests_get_id{device=\"disk\"} 1",
        ] {
            assert!(body.lines().any(|there| there == line), "{line}:\n{body}");
        }
        assert_eq!(
            body.matches("# TYPE virtio_backend_queue_kicks ").count(),
            1
        );
    }
}
