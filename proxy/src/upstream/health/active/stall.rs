//! How long the thread of the checks has not run though it should have. Pure.
//!
//! A check that takes too long because this process was stopped, or got no processor, says nothing about
//! its endpoint.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

/// How often a task of the thread shows that it runs.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// The time that the thread has lost since it began.
#[derive(Debug)]
pub(super) struct StallClock {
    last_tick: Cell<Instant>,
    lost: Cell<Duration>,
}

impl StallClock {
    pub(super) fn new(now: Instant) -> StallClock {
        StallClock { last_tick: Cell::new(now), lost: Cell::default() }
    }

    /// To be called every [`TICK`].
    pub(super) fn tick(&self, now: Instant) {
        self.lost.set(self.lost_until(now));
        self.last_tick.set(now);
    }

    /// The time lost until now, with what the next tick will find.
    pub(super) fn lost_until(&self, now: Instant) -> Duration {
        let overdue = now.saturating_duration_since(self.last_tick.get()).saturating_sub(TICK);
        self.lost.get() + overdue
    }
}

/// Whether so much of a check's time was lost that its failure does not count.
pub(super) fn is_our_fault(lost: Duration, timeout: Duration) -> bool {
    lost > timeout / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn ticks_in_time_lose_nothing() {
        let begin = Instant::now();
        let clock = StallClock::new(begin);
        (1..50).for_each(|tick| clock.tick(begin + ms(100) * tick));
        assert_eq!(clock.lost_until(begin + ms(4_950)), ms(0));
    }

    #[test]
    fn time_without_a_tick_is_lost_before_the_next_one_says_so() {
        let begin = Instant::now();
        let clock = StallClock::new(begin);
        clock.tick(begin + ms(100));
        let resumed = begin + ms(2_100);
        assert_eq!(clock.lost_until(resumed), ms(1_900));
        clock.tick(resumed);
        assert_eq!(clock.lost_until(resumed), ms(1_900), "and is counted once");
    }

    #[test]
    fn half_of_a_timeout_is_too_much_to_lose() {
        assert!(!is_our_fault(ms(500), ms(1_000)));
        assert!(is_our_fault(ms(501), ms(1_000)));
    }
}
