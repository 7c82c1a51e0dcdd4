//! What the loops did.

use std::time::Duration;

use hdrhistogram::Histogram;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

/// Latencies within 0.1 %.
const DIGITS: u8 = 3;
/// An hour; what took longer counts as that, but `slowest` has it.
const LONGEST_US: u64 = 3_600_000_000;

/// Counts of a period.
#[derive(Debug)]
pub(crate) struct Tally {
    /// That succeeded.
    pub(crate) units: u64,
    /// Units that did not.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
    /// Of the units, in microseconds, rounded up.
    pub(crate) latency: Histogram<u64>,
    pub(crate) slowest: Duration,
    /// What was seen of the units, each once.
    pub(crate) seen: Vec<Seen>,
}

/// How the server did its part of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Exchange { terms: Terms, http: &'static str },
    Answer(Answer),
}

/// What a handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) suite: Option<CipherSuite>,
    /// None of a resumed handshake of TLS 1.2.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) resumed: bool,
}

/// The first that came back for a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// Not even a connection.
    NoConnection,
    Reset,
    End,
    /// A fatal alert, by its number.
    Alert(u8),
    /// The handshake goes on.
    Handshake,
}

impl Tally {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            units: 0,
            errors: 0,
            first_error: None,
            handshakes: 0,
            resumed: 0,
            latency: histogram(),
            slowest: Duration::ZERO,
            seen: Vec::new(),
        }
    }

    /// A unit succeeded.
    pub(crate) fn unit(&mut self, latency: Duration, seen: Seen) {
        self.units += 1;
        self.latency.saturating_record(micros(latency));
        self.slowest = self.slowest.max(latency);
        self.see(seen);
    }

    /// A unit failed.
    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("{error:#}"));
    }

    /// A handshake is complete.
    pub(crate) fn handshake(&mut self, terms: Terms) {
        self.handshakes += 1;
        self.resumed += u64::from(terms.resumed);
    }

    /// Adds what others did beside this or after it.
    pub(crate) fn add(&mut self, other: Self) {
        self.units += other.units;
        self.errors += other.errors;
        self.first_error = self.first_error.take().or(other.first_error);
        self.handshakes += other.handshakes;
        self.resumed += other.resumed;
        self.slowest = self.slowest.max(other.slowest);
        for step in other.latency.iter_recorded() {
            self.latency.saturating_record_n(step.value_iterated_to(), step.count_at_value());
        }
        other.seen.into_iter().for_each(|seen| self.see(seen));
    }

    fn see(&mut self, seen: Seen) {
        if !self.seen.contains(&seen) {
            self.seen.push(seen);
        }
    }
}

/// Whole microseconds, rounded up.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
}

#[expect(clippy::expect_used, reason = "these bounds are within what a histogram can have")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(LONGEST_US, DIGITS).expect("a histogram of fixed size")
}
