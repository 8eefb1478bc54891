// SPDX-License-Identifier: GPL-2.0

//! Disks.

mod config;
mod disk;
mod flight;
mod overlay;
mod serve;
mod storage;

#[cfg(test)]
mod tests;

pub use config::{Medium, Options};
pub use flight::Io;

use crate::{
    claim::{Lies, change_features, hex},
    class::{Answer, Begun, Class, Completed, Ticket},
    data::Data,
    log::error,
    memory::Memory,
    ring::Buffer,
    rule::{Action, Facts, Scope},
};
use anyhow::{Context, Result, bail, ensure};
use disk::Disk;
use flight::Flights;
use serde_json::{Value, json};
use std::{io, mem::offset_of, os::fd::BorrowedFd};
use virtio_wire::blk::{
    Accepted, Capacity, ConfigLayout, Feature, FeatureSet, Offered, RequestHeader, RequestKind,
    RequestRules,
    request::{self, Lengths, RequestError},
};

/// What was read of a request.
#[derive(Debug)]
pub struct Job {
    kind: Option<RequestKind>,
    request: Result<request::Request, RequestError>,
    readable: Data,
    writable: Data,
    status: Data,
}

/// What was done, by requests.
#[derive(Debug, Default)]
struct Counters {
    requests: [u64; RequestKind::ALL.len()],
    unknown: u64,
    bytes_read: u64,
    bytes_written: u64,
    /// What of these went by a buffer of the backend: the others went straight to and from the guest.
    bytes_copied: u64,
    io_errors: u64,
    unsupported: u64,
    power_cuts: u64,
}

/// A disk.
#[derive(Debug)]
pub struct Blk {
    disk: Disk,
    /// What the kernel serves by itself, if it does.
    flights: Option<Flights>,
    /// What is true.
    layout: ConfigLayout,
    /// What is said instead.
    lies: Lies,
    offered: FeatureSet,
    accepted: Option<Accepted>,
    rules: Option<RequestRules>,
    read_only: bool,
    serial: String,
    queues: u16,
    counters: Counters,
    scratch: Vec<u8>,
}

fn features_of(bits: u64) -> FeatureSet {
    FeatureSet::from_bits(bits.into())
}

impl Blk {
    /// Makes a disk.
    pub fn new(options: &Options) -> Result<Self> {
        let (storage, bytes) = options.open()?;
        let (layout, offered) = options.describe(bytes / 512);
        let disk = Disk::new(storage);
        let mut disk = Self {
            flights: Flights::of(&disk, options.io),
            disk,
            layout,
            lies: Lies::default(),
            offered,
            accepted: None,
            rules: None,
            read_only: options.read_only,
            serial: options.serial.clone(),
            queues: options.queues,
            counters: Counters::default(),
            scratch: Vec::new(),
        };
        disk.accept(0);
        Ok(disk)
    }

    /// Makes the rules of requests anew: of what is true, not of what is said.
    fn renew(&mut self) {
        let Some(accepted) = self.accepted else {
            return;
        };
        let access = if self.read_only {
            request::Access::ReadOnly
        } else {
            request::Access::ReadWrite
        };
        let config = virtio_wire::blk::Config::parse(&self.layout.to_bytes(), accepted);
        self.rules = config
            .and_then(|config| RequestRules::new(&config, access))
            .inspect_err(|error| error!("no request can be served: {error}"))
            .ok();
        // Writes must not go both ways at once.
        self.drain_flights();
        let write_back = accepted.has(Feature::FLUSH)
            && (!accepted.has(Feature::CONFIG_WCE) || self.layout.writeback != 0);
        if let Err(error) = self.disk.set_write_back(write_back) {
            error!("the cache cannot be flushed: {error}");
        }
    }

    fn resize(&mut self, sectors: u64) -> Result<Answer> {
        let capacity = Capacity::new(sectors)?;
        self.drain_flights();
        self.disk.resize(capacity.bytes())?;
        self.layout.capacity = sectors.into();
        self.renew();
        Ok(Answer {
            value: json!({ "sectors": sectors }),
            config_changed: true,
        })
    }

    fn lie(&mut self, arguments: &Value) -> Result<Answer> {
        self.lies.change(arguments, config::field)?;
        Ok(Answer {
            value: json!({ "config": hex(&self.config()) }),
            config_changed: arguments["notify"].as_bool().unwrap_or(true),
        })
    }
}

impl Class for Blk {
    type Job = Job;

    const OPERATIONS: &'static [&'static str] = &[
        "read",
        "write",
        "flush",
        "get-id",
        "get-lifetime",
        "discard",
        "write-zeroes",
        "secure-erase",
        "unknown",
    ];

    const SCOPE: Scope = Scope::Disk;
    const RECORDED: bool = true;

    fn offers(&self) -> u64 {
        u64::try_from(self.offered.bits()).unwrap_or(0)
    }

    fn queues(&self) -> u16 {
        self.queues
    }

    fn config(&self) -> Vec<u8> {
        let mut bytes = self.layout.to_bytes().to_vec();
        self.lies.tell(&mut bytes);
        bytes
    }

    fn write_config(&mut self, offset: usize, bytes: &[u8]) -> Result<()> {
        ensure!(
            offset == offset_of!(ConfigLayout, writeback) && bytes.len() == 1,
            "the driver writes {} bytes at {offset} of the configuration space",
            bytes.len()
        );
        let mode = bytes.first().copied().unwrap_or(0);
        ensure!(mode <= 1, "the driver sets a cache mode of {mode}");
        self.layout.writeback = mode;
        self.renew();
        Ok(())
    }

    fn accept(&mut self, features: u64) {
        let offered = Offered::new(features_of(features));
        // What breaks a rule is taken away, for the features on offer may break some.
        let everything = FeatureSet::from_bits(u128::MAX);
        self.accepted = offered.negotiate(everything).ok();
        self.renew();
    }

    fn read(&mut self, memory: &Memory, _queue: usize, buffer: &Buffer) -> Result<(Facts, Job)> {
        let readable: Data = buffer.readable().collect();
        let writable: Data = buffer.writable().collect();
        let header_length = u64::try_from(RequestHeader::SIZE)?;
        ensure!(
            readable.length() >= header_length,
            "a request of {} bytes",
            readable.length()
        );
        let status_at = writable.length().checked_sub(1);
        let status_at = status_at.context("a request without a status")?;
        let (header, readable) = readable.split(header_length);
        let (writable, status) = writable.split(status_at);
        let mut bytes = [0; RequestHeader::SIZE];
        header.cursor().read(memory, &mut bytes)?;
        let header = RequestHeader::from_bytes(&bytes);

        let lengths = Lengths {
            readable: readable.length(),
            writable: writable.length(),
        };
        let request = match &self.rules {
            Some(rules) => rules.check(&header, lengths),
            None => Err(RequestError::Length(0)),
        };
        let kind = RequestKind::from_code(header.kind.get());
        let sectors = match request {
            Ok(request::Request::Read(range) | request::Request::Write(range)) => {
                Some(range.sector()..range.sector() + range.sectors())
            }
            _ => None,
        };
        let facts = Facts {
            sectors,
            ..Facts::of(operation(kind))
        };
        let job = Job {
            kind,
            request,
            readable,
            writable,
            status,
        };
        Ok((facts, job))
    }

    fn serve(&mut self, memory: &Memory, job: &Job, actions: &[Action]) -> u32 {
        self.serve_job(memory, job, actions)
    }

    fn begin(&mut self, memory: &Memory, job: &Job, ticket: Ticket) -> Begun {
        self.begin_job(memory, job, ticket)
    }

    fn launch(&mut self) {
        if let Some(flights) = &mut self.flights {
            flights.launch();
        }
    }

    fn drain(&mut self) {
        self.drain_flights();
    }

    fn completed(&mut self) -> Vec<Completed> {
        let flights = self.flights.as_mut();
        flights.map(Flights::completed).unwrap_or_default()
    }

    fn end(&mut self, memory: &Memory, job: &Job, result: io::Result<()>) -> u32 {
        self.end_job(memory, job, result)
    }

    fn events(&self) -> Option<BorrowedFd<'_>> {
        self.flights.as_ref().map(Flights::events)
    }

    fn command(&mut self, name: &str, arguments: &Value) -> Option<Result<Answer>> {
        Some(match name {
            "resize" => arguments["sectors"]
                .as_u64()
                .context("sectors is no number")
                .and_then(|sectors| self.resize(sectors)),
            "config" => self.lie(arguments),
            "features" => change_features(&mut self.offered, arguments).map(|()| {
                json!({ "features": self.offered.to_string(), "bits": self.offers() }).into()
            }),
            "power-cut" => {
                let keep = arguments["keep"].as_u64().unwrap_or(0);
                self.counters.power_cuts += 1;
                self.drain_flights();
                match self.disk.cut_power(keep) {
                    Ok(lost) => Ok(json!({ "lost": lost }).into()),
                    Err(error) => Err(error.into()),
                }
            }
            "peek" => {
                self.drain_flights();
                self.peek(arguments)
            }
            _ => return None,
        })
    }

    fn counters(&self) -> Value {
        let mut requests = serde_json::Map::new();
        for (kind, count) in RequestKind::ALL.into_iter().zip(self.counters.requests) {
            if Self::OPERATIONS.contains(&operation(Some(kind))) {
                requests.insert(operation(Some(kind)).to_owned(), count.into());
            }
        }
        requests.insert("unknown".to_owned(), self.counters.unknown.into());
        let overlay = self.disk.overlay().map(|overlay| {
            json!({
                "clusters": overlay.count(),
                "copied": overlay.copied(),
            })
        });
        json!({
            "requests": requests,
            "bytes_read": self.counters.bytes_read,
            "bytes_written": self.counters.bytes_written,
            "bytes_copied": self.counters.bytes_copied,
            "io_errors": self.counters.io_errors,
            "unsupported": self.counters.unsupported,
            "power_cuts": self.counters.power_cuts,
            "unstable_sectors": self.disk.unstable(),
            "write_back": self.disk.writes_back(),
            "sectors": self.layout.capacity.get(),
            "overlay": overlay,
            "uring": self.flights.as_ref().map(Flights::describe),
        })
    }

    fn finish(&mut self) -> Result<()> {
        self.drain_flights();
        // That is not a power cut.
        Ok(self.disk.flush()?)
    }
}

impl Blk {
    /// Reads sectors for the control socket.
    fn peek(&self, arguments: &Value) -> Result<Answer> {
        let sector = arguments["sector"]
            .as_u64()
            .context("sector is no number")?;
        let count = arguments["count"].as_u64().unwrap_or(1);
        ensure!(count <= 256, "{count} sectors are too many");
        let mut bytes = vec![0; usize::try_from(count)? * disk::SECTOR];
        let Some(offset) = sector.checked_mul(512) else {
            bail!("there is no sector {sector}");
        };
        self.disk.read(offset, &mut bytes)?;
        Ok(json!({ "hex": hex(&bytes) }).into())
    }
}

/// Names an operation.
fn operation(kind: Option<RequestKind>) -> &'static str {
    match kind {
        Some(RequestKind::Read) => "read",
        Some(RequestKind::Write) => "write",
        Some(RequestKind::Flush) => "flush",
        Some(RequestKind::GetId) => "get-id",
        Some(RequestKind::GetLifetime) => "get-lifetime",
        Some(RequestKind::Discard) => "discard",
        Some(RequestKind::WriteZeroes) => "write-zeroes",
        Some(RequestKind::SecureErase) => "secure-erase",
        _ => "unknown",
    }
}
