//! What a run of the benchmarks found: written as `report.json`, and what the other forms of the
//! report are made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One run: every work that was asked for, on every peer that could be had.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// When it began, RFC 3339, UTC.
    pub(crate) started: String,
    /// `--quick`: fewer and shorter rounds, and figures to match.
    pub(crate) quick: bool,
    /// What the figures depend on, as name and value: processor, cores used by whom, kernel,
    /// cipher, load of the machine before and after ...
    pub(crate) conditions: Vec<(String, String)>,
    /// Columns of the tables; ours is the first.
    pub(crate) peers: Vec<Peer>,
    pub(crate) works: Vec<Work>,
    /// What pieces of the works cost without a proxy; empty where it could not be measured.
    #[serde(default)]
    pub(crate) floor: Vec<Floor>,
}

/// What one of the pieces that works are made of costs on the floor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// What is done, in a few words.
    pub(crate) work: String,
    /// CPU time in microseconds, the median of the rounds.
    pub(crate) cpu_us: f64,
    /// The least of the rounds.
    pub(crate) least: f64,
    /// The most.
    pub(crate) most: f64,
}

/// A proxy that does the work.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// As in `--peers`, `nginx`.
    pub(crate) id: String,
    /// As it says of itself, with its TLS library.
    pub(crate) version: String,
}

/// A work, such as W1, and what each peer did of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    /// As in `--work`, `W4a`.
    pub(crate) id: String,
    /// What is measured, in a few words.
    pub(crate) title: String,
    /// What a unit is, `request`.
    pub(crate) unit: String,
    /// The figure by which peers are compared.
    pub(crate) primary: Figure,
    /// What our primary figure is to be at most, as a ratio to the best other peer's.
    pub(crate) aim: Option<f64>,
    /// What no other peer has: there is nobody to compare with.
    #[serde(default)]
    pub(crate) ours_alone: bool,
    /// One of each peer and round, in the order they were made.
    pub(crate) samples: Vec<Sample>,
    /// Peers without samples, and why.
    pub(crate) absent: BTreeMap<String, String>,
}

/// What one peer did in one round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) peer: String,
    pub(crate) round: u32,
    pub(crate) units: u64,
    /// Units that failed; with any, no ratio is given.
    pub(crate) errors: u64,
    /// The first of them.
    pub(crate) first_error: Option<String>,
    /// What was done for a unit, as the client saw it: version, cipher, status, hash of the body,
    /// handshakes ... Where two peers differ in it, no ratio is given.
    pub(crate) done: String,
    pub(crate) figures: BTreeMap<Figure, f64>,
    /// Upper ends of latencies in microseconds, and how many units fell under each.
    pub(crate) latency_us: Vec<(u64, u64)>,
}

/// What is measured. Each has its unit in its name.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// User and system time of all the proxy's threads and processes.
    #[default]
    CpuUsPerUnit,
    UnitsPerSecond,
    LatencyP50Us,
    LatencyP90Us,
    LatencyP99Us,
    LatencyP999Us,
    LatencyMaxUs,
    /// Resident memory of the proxy.
    MemoryKib,
    MemoryKibPerConnection,
    SystemCallsPerUnit,
    /// The load generator's own.
    ClientCpuUsPerUnit,
    UpstreamHandshakesPerUnit,
    Dropped,
    SlowestMs,
    /// From the start until the proxy could serve.
    StartMs,
    /// Of the same work without the disturbance.
    UndisturbedP999Us,
    /// The 99th percentile of `/healthz` of the administrative listener.
    HealthP99Us,
}

impl Figure {
    /// The heading of its column, with the unit of measure.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::CpuUsPerUnit => "CPU µs",
            Self::UnitsPerSecond => "units/s",
            Self::LatencyP50Us => "p50 µs",
            Self::LatencyP90Us => "p90 µs",
            Self::LatencyP99Us => "p99 µs",
            Self::LatencyP999Us => "p99.9 µs",
            Self::LatencyMaxUs => "max µs",
            Self::MemoryKib => "memory KiB",
            Self::MemoryKibPerConnection => "KiB per connection",
            Self::SystemCallsPerUnit => "system calls",
            Self::ClientCpuUsPerUnit => "client's CPU µs",
            Self::UpstreamHandshakesPerUnit => "upstream handshakes",
            Self::Dropped => "dropped",
            Self::SlowestMs => "slowest ms",
            Self::StartMs => "start ms",
            Self::UndisturbedP999Us => "p99.9 µs undisturbed",
            Self::HealthP99Us => "/healthz p99 µs",
        }
    }

    /// Whether more of it is better.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::UnitsPerSecond
    }
}
