//! The results of a benchmark run: written as `report.json`, and the source of all other forms of
//! the report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One run: every requested work, on every available peer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// The time of its begin, RFC 3339, UTC.
    pub(crate) started: String,
    /// `--quick`: fewer and shorter rounds, and rough figures.
    pub(crate) quick: bool,
    /// The conditions of the run, as name and value: processor, cores and their users, kernel,
    /// cipher, load of the machine before and after ...
    pub(crate) conditions: Vec<(String, String)>,
    /// The columns of the tables; ours is the first.
    pub(crate) peers: Vec<Peer>,
    pub(crate) works: Vec<Work>,
    /// The cost of pieces of the works without a proxy; empty if it could not be measured.
    #[serde(default)]
    pub(crate) floor: Vec<Floor>,
}

/// The cost of one piece without a proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// The piece in a few words.
    pub(crate) work: String,
    /// CPU time in microseconds, the median of the rounds.
    pub(crate) cpu_us: f64,
    /// The lowest of the rounds.
    pub(crate) least: f64,
    /// The highest of the rounds.
    pub(crate) most: f64,
}

/// A proxy that does the work.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Peer {
    /// The name in `--peers`, `nginx`.
    pub(crate) id: String,
    /// The version that it reports, with its TLS library.
    pub(crate) version: String,
}

/// A work, such as W1, and the result of each peer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The name in `--work`, `W4a`.
    pub(crate) id: String,
    /// The measurement in a few words.
    pub(crate) title: String,
    /// The name of a unit, `request`.
    pub(crate) unit: String,
    /// The figure by which peers are compared.
    pub(crate) primary: Figure,
    /// The aim: the highest ratio of our primary figure to the best other peer's.
    pub(crate) aim: Option<f64>,
    /// No other peer can do this work, so there is no comparison.
    #[serde(default)]
    pub(crate) ours_alone: bool,
    /// One sample for each peer and round, in the order of the run.
    pub(crate) samples: Vec<Sample>,
    /// Peers without samples, and the reason.
    pub(crate) absent: BTreeMap<String, String>,
}

/// The result of one peer in one round.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) peer: String,
    pub(crate) round: u32,
    pub(crate) units: u64,
    /// Units that failed; if there are any, no ratio is given.
    pub(crate) errors: u64,
    /// The first failure.
    pub(crate) first_error: Option<String>,
    /// A description of each unit as the client saw it: version, cipher, status, hash of the body,
    /// handshakes ... If it differs between two peers, no ratio is given.
    pub(crate) done: String,
    /// How the proxy did it, where proxies may differ without a loss of the comparison.
    #[serde(default)]
    pub(crate) remark: String,
    pub(crate) figures: BTreeMap<Figure, f64>,
    /// Upper ends of latency buckets in microseconds, and the units in each bucket.
    pub(crate) latency_us: Vec<(u64, u64)>,
}

/// The measured quantities. Each has its unit in its name.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Hash,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// User and system time of all threads and processes of the proxy.
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
    /// The CPU time of the load generator.
    ClientCpuUsPerUnit,
    UpstreamHandshakesPerUnit,
    Dropped,
    SlowestMs,
    /// The CPU time of the same work without the keys that it measures.
    UnguardedCpuUsPerUnit,
    /// The CPU time with these keys, as a multiple of that without.
    CpuToUnguarded,
    /// The time from the start until the proxy was ready.
    StartMs,
    /// The p99.9 latency of the same work without the disturbance.
    UndisturbedP999Us,
    /// The 99th percentile of `/healthz` on the administrative listener.
    HealthP99Us,
    /// The control frames that a flooding client could send.
    FloodMibPerSecond,
    /// The connections of a flooding client that the proxy ended or did not accept.
    FloodEndsPerSecond,
}

impl Figure {
    /// The heading of the column, with the unit of measure.
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
            Self::UnguardedCpuUsPerUnit => "CPU µs without",
            Self::CpuToUnguarded => "CPU, times that without",
            Self::StartMs => "start ms",
            Self::UndisturbedP999Us => "p99.9 µs undisturbed",
            Self::HealthP99Us => "/healthz p99 µs",
            Self::FloodMibPerSecond => "flood MiB/s",
            Self::FloodEndsPerSecond => "floods ended/s",
        }
    }

    /// Whether a higher value is better.
    pub(crate) fn more_is_better(self) -> bool {
        self == Self::UnitsPerSecond
    }
}
