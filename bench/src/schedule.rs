//! The times at which the units of an open loop are due.

use std::time::Duration;

/// Moments at a fixed rate, at which several threads take turns.
#[derive(Debug)]
pub(crate) struct Schedule {
    /// Units per second, over all threads.
    rate: f64,
    /// The number of the next unit among all units, from 0.
    next: u64,
    threads: u64,
}

impl Schedule {
    /// The share of one of these threads, numbered from 0.
    pub(crate) fn new(rate: f64, thread: usize, threads: usize) -> Self {
        Self { rate, next: thread as u64, threads: threads as u64 }
    }

    /// When the next unit is due, measured from the beginning. It is computed from the number of
    /// the unit, so that no rounding adds up.
    pub(crate) fn next(&mut self) -> Duration {
        let due = Duration::from_secs_f64(self.next as f64 / self.rate);
        self.next += self.threads;
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_fall_due_at_the_rate() {
        let mut schedule = Schedule::new(1000.0, 0, 1);
        let due: Vec<_> = (0..4).map(|_| schedule.next().as_millis()).collect();
        assert_eq!(due, [0, 1, 2, 3]);
    }

    #[test]
    fn threads_take_turns() {
        let mut all: Vec<_> = (0..3)
            .flat_map(|thread| {
                let mut schedule = Schedule::new(30.0, thread, 3);
                (0..10).map(move |_| schedule.next())
            })
            .collect();
        all.sort();
        let mut alone = Schedule::new(30.0, 0, 1);
        let expected: Vec<_> = (0..30).map(|_| alone.next()).collect();
        assert_eq!(all, expected);
    }

    #[test]
    fn a_rate_that_does_not_divide_a_second_does_not_drift() {
        let mut schedule = Schedule::new(3.0, 0, 1);
        let due = (0..=3_000_000).map(|_| schedule.next()).last().unwrap();
        assert_eq!(due, Duration::from_secs(1_000_000));
    }
}
