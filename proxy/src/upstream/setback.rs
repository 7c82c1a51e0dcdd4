//! An endpoint that no connection could be made to is put last for a while.

use std::time::{Duration, Instant};

/// How long an endpoint is put last for the first time. Each further time is twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest time.
const LONGEST: Duration = Duration::from_secs(30);
/// How long other requests go elsewhere while one tries the endpoint: an attempt that takes longer is
/// given up.
const TRIAL: Duration = Duration::from_secs(2);

/// The setback of an endpoint that no connection could be made to: until its time is up, requests go
/// there only if no other endpoint is left. Then one request tries it, while the others wait for how
/// that ends. Pure: the clock is passed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setback {
    until: Instant,
    pause: Duration,
    /// A request tries the endpoint since its time is up.
    is_tried: bool,
}

impl Setback {
    /// After a connection has failed, `before` that which the endpoint had.
    pub(super) fn after_failure(before: Option<Setback>, now: Instant) -> Setback {
        let pause = match before {
            None => FIRST,
            // One of many requests that had begun to connect, or had no other endpoint left.
            Some(before) if !before.is_tried && before.is_last(now) => return before,
            Some(before) => (before.pause * 2).min(LONGEST),
        };
        Setback { until: now + pause, pause, is_tried: false }
    }

    /// Whether requests go elsewhere.
    pub(super) fn is_last(&self, now: Instant) -> bool {
        now < self.until
    }

    /// Whether a request tries the endpoint.
    pub(super) fn is_tried(&self) -> bool {
        self.is_tried
    }

    /// Whether nothing is to be kept of it: no request has tried the endpoint for long.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.until) > LONGEST
    }

    /// The same, once a request goes to the endpoint.
    pub(super) fn tried(self, now: Instant) -> Setback {
        match self.is_last(now) {
            true => self,
            false => Setback { until: now + TRIAL, is_tried: true, ..self },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn failed(before: Option<Setback>, now: Instant) -> Option<Setback> {
        Some(Setback::after_failure(before, now))
    }

    fn is_last(setback: Option<Setback>, now: Instant) -> bool {
        setback.is_some_and(|setback| setback.is_last(now))
    }

    #[test]
    fn each_trial_that_fails_doubles_the_time_up_to_half_a_minute() {
        let mut now = Instant::now();
        let mut setback = failed(None, now);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            let pause = Duration::from_secs(seconds);
            assert!(is_last(setback, now + pause - Duration::from_millis(1)), "{seconds}");
            now += pause;
            assert!(!is_last(setback, now), "{seconds}");
            setback = failed(setback.map(|setback| setback.tried(now)), now);
        }
    }

    #[test]
    fn a_burst_of_failures_counts_once() {
        let now = Instant::now();
        let first = failed(None, now);
        let burst = (0..100).fold(first, |before, n| failed(before, now + TRIAL / 1000 * n));
        assert_eq!(burst, first);
    }

    #[test]
    fn one_request_tries_while_the_others_go_elsewhere() {
        let now = Instant::now();
        let due = now + FIRST;
        let tried = Setback::after_failure(None, now).tried(due);
        assert!(tried.is_last(due) && !tried.is_last(due + TRIAL), "a trial may come to no end");
        assert!(tried.is_tried());
        assert_eq!(tried.tried(due), tried, "a request without another endpoint is no trial");
    }

    proptest! {
        #[test]
        fn no_setback_lasts_longer_than_half_a_minute(
            steps in prop::collection::vec((0..40_000u64, any::<bool>()), 1..50),
        ) {
            let (mut now, mut setback) = (Instant::now(), None);
            for (pause, is_failure) in steps {
                now += Duration::from_millis(pause);
                setback = match is_failure {
                    true => failed(setback, now),
                    false => setback.map(|setback: Setback| setback.tried(now)),
                };
                prop_assert!(!is_last(setback, now + LONGEST));
            }
        }
    }
}
