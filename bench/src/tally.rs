//! Counts what the loops did.

use std::time::Duration;

use hdrhistogram::Histogram;
use rustls::{CipherSuite, NamedGroup, ProtocolVersion};

/// Latencies are exact to 0.1 %.
const DIGITS: u8 = 3;
/// An hour; longer times count as an hour, but `slowest` is exact.
const LONGEST_US: u64 = 3_600_000_000;

/// The counts of a period.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Units that succeeded.
    pub(crate) units: u64,
    /// Units that failed.
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) handshakes: u64,
    pub(crate) resumed: u64,
    /// Latencies of the units, in microseconds, rounded up.
    pub(crate) latency: Histogram<u64>,
    pub(crate) slowest: Duration,
    /// Each different way in which the server did a unit, once.
    pub(crate) seen: Vec<Seen>,
}

/// The way in which the server did its part of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Exchange {
        terms: Terms,
        http: &'static str,
    },
    Answer(Answer),
    /// The refusal that was expected, in any of its forms.
    Refused(Answer),
}

/// The parameters that a handshake agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) version: Option<ProtocolVersion>,
    pub(crate) suite: Option<CipherSuite>,
    /// `None` for a resumed handshake of TLS 1.2.
    pub(crate) group: Option<NamedGroup>,
    pub(crate) resumed: bool,
}

/// The server's answer, to a hello or to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answer {
    /// The connection failed.
    NoConnection,
    Reset,
    End,
    /// A fatal alert, by its number.
    Alert(u8),
    /// A response with this status.
    Status(u16),
    /// The handshake continues.
    Handshake,
}

impl Tally {
    /// An empty tally.
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

    /// Counts a unit that succeeded.
    pub(crate) fn unit(&mut self, latency: Duration, seen: Seen) {
        self.units += 1;
        self.latency.saturating_record(micros(latency));
        self.slowest = self.slowest.max(latency);
        self.see(seen);
    }

    /// Counts a unit that failed.
    pub(crate) fn error(&mut self, error: &anyhow::Error) {
        self.errors += 1;
        self.first_error.get_or_insert_with(|| format!("{error:#}"));
    }

    /// Counts a complete handshake.
    pub(crate) fn handshake(&mut self, terms: Terms) {
        self.handshakes += 1;
        self.resumed += u64::from(terms.resumed);
    }

    /// Adds the counts of other threads or of another period.
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
