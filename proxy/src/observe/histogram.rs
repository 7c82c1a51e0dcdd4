//! Durations counted into fixed buckets.

use std::{array, time::Duration};

use super::Cell;

/// Upper bounds of the buckets in microseconds, from a request over a pooled connection to the
/// longest deadline. A last bucket, `+Inf`, counts longer durations.
pub(super) const BOUNDS_US: [u64; 16] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

const BUCKETS: usize = BOUNDS_US.len() + 1;

/// A distribution of durations. One thread writes, others read.
#[derive(Debug)]
pub(crate) struct Histogram {
    buckets: [Cell; BUCKETS],
    sum_us: Cell,
}

impl Histogram {
    /// Counts one duration. Only ever called by the histogram's own worker.
    pub(crate) fn record(&self, duration: Duration) {
        self.record_us(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// The same, in microseconds.
    pub(crate) fn record_us(&self, duration_us: u64) {
        // A bucket counts durations up to its bound, inclusive.
        let bucket = BOUNDS_US.partition_point(|bound| *bound < duration_us);
        if let Some(cell) = self.buckets.get(bucket) {
            cell.inc();
        }
        self.sum_us.add(duration_us);
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram { buckets: array::from_fn(|_| Cell::default()), sum_us: Cell::default() }
    }
}

/// The sum of several histograms at one time.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Distribution {
    buckets: [u64; BUCKETS],
    sum_us: u64,
}

impl Distribution {
    /// Adds the histograms of all workers.
    pub(super) fn of<'a>(histograms: impl Iterator<Item = &'a Histogram>) -> Distribution {
        let mut all = Distribution::default();
        for histogram in histograms {
            for (sum, cell) in all.buckets.iter_mut().zip(&histogram.buckets) {
                *sum = sum.wrapping_add(cell.get());
            }
            all.sum_us = all.sum_us.wrapping_add(histogram.sum_us.get());
        }
        all
    }

    /// Bounds in seconds, each with the number of durations up to it; without `+Inf`.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS_US.iter().zip(&self.buckets).scan(0, |below, (bound_us, count)| {
            *below += count;
            Some((seconds(*bound_us), *below))
        })
    }

    /// The number of durations.
    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Their sum in seconds.
    pub(super) fn sum_s(&self) -> f64 {
        seconds(self.sum_us)
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_equal_to_a_bound_is_in_that_bounds_bucket() {
        let histogram = Histogram::default();
        histogram.record_us(500);
        histogram.record_us(501);
        let sum = Distribution::of([&histogram].into_iter());
        assert_eq!(sum.cumulative().take(2).collect::<Vec<_>>(), [(0.0005, 1), (0.001, 2)]);
    }

    #[test]
    fn a_duration_beyond_every_bound_is_counted() {
        let histogram = Histogram::default();
        histogram.record(Duration::MAX);
        let sum = Distribution::of([&histogram].into_iter());
        assert_eq!(sum.count(), 1);
        assert!(sum.cumulative().all(|(_, count)| count == 0));
    }

    proptest! {
        #[test]
        fn buckets_count_what_is_at_most_their_bound(
            durations in proptest::collection::vec(0_u64..100_000_000, 0..100),
        ) {
            let (even, odd) = (Histogram::default(), Histogram::default());
            for (i, us) in durations.iter().enumerate() {
                if i % 2 == 0 { even.record_us(*us) } else { odd.record_us(*us) }
            }
            let sum = Distribution::of([&even, &odd].into_iter());
            for ((bound_s, count), bound_us) in sum.cumulative().zip(BOUNDS_US) {
                prop_assert_eq!(bound_s, bound_us as f64 / 1e6);
                let expected = durations.iter().filter(|us| **us <= bound_us).count();
                prop_assert_eq!(count, expected as u64);
            }
            prop_assert_eq!(sum.count(), durations.len() as u64);
            prop_assert_eq!(sum.sum_us, durations.iter().sum::<u64>());
        }
    }
}
