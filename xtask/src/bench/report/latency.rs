//! The distribution of latencies: the counts of all rounds of a peer, together.

use std::collections::BTreeMap;

use super::judge::{Judged, Standing};

/// Percentiles of the tables.
pub(super) const PERCENTILES: [(f64, &str); 5] =
    [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (0.9999, "p99.99")];

/// The minimum number of units for a distribution.
const ENOUGH: u64 = 100;

/// The distribution of one peer.
pub(super) struct Curve<'a> {
    pub(super) standing: &'a Standing<'a>,
    pub(super) units: u64,
    /// Upper end of each bucket in microseconds, and the units up to and including it.
    pub(super) up_to: Vec<(u64, u64)>,
}

/// The curves of the peers with enough units; empty if latency has no meaning for the work.
pub(super) fn curves<'a>(judged: &'a Judged<'a>) -> Vec<Curve<'a>> {
    judged.standings.iter().filter_map(curve).collect()
}

fn curve<'a>(standing: &'a Standing<'a>) -> Option<Curve<'a>> {
    let mut counts: BTreeMap<u64, u64> = BTreeMap::new();
    for (upper_us, count) in standing.samples.iter().flat_map(|sample| &sample.latency_us) {
        let sum = counts.entry(*upper_us).or_default();
        *sum = sum.saturating_add(*count);
    }
    let mut units = 0_u64;
    let mut up_to = Vec::with_capacity(counts.len());
    for (upper_us, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
        units = units.saturating_add(count);
        up_to.push((upper_us, units));
    }
    (units >= ENOUGH).then_some(Curve { standing, units, up_to })
}

impl Curve<'_> {
    /// The upper end of the first bucket up to which this part of the units is counted. `None` if
    /// the tail is less than one unit.
    pub(super) fn at(&self, quantile: f64) -> Option<u64> {
        if (1.0 - quantile) * self.units as f64 <= 0.999_999 {
            return None;
        }
        let wanted = quantile * self.units as f64;
        self.up_to.iter().find(|(_, units)| *units as f64 >= wanted).map(|(upper_us, _)| *upper_us)
    }

    pub(super) fn slowest(&self) -> u64 {
        self.up_to.last().map_or(0, |(upper_us, _)| *upper_us)
    }
}
