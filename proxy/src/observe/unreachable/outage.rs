//! Whether one upstream can be reached, and when that is worth a line in the log. Pure: the clock is
//! passed in.

use std::time::{Duration, Instant};

/// Lines about one upstream that fails again and again: one for an outage, and one for its end, in this
/// time.
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// An outage is over if nobody has tried the upstream for this long: nothing is known of it any more.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);

/// Whether one upstream can be reached.
#[derive(Debug, Default)]
pub(super) struct Reachability {
    outage: Option<Outage>,
    /// When an outage was told last.
    last_told: Option<Instant>,
    /// The outages that ended untold since then.
    untold: u64,
}

/// The time in which an upstream cannot be reached.
#[derive(Debug)]
pub(super) struct Outage {
    pub(super) begun: Instant,
    pub(super) failures: u64,
    pub(super) last_error: String,
    last_failure: Instant,
    is_told: bool,
}

/// A change that is worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ReachabilityChange {
    /// It cannot be reached.
    Unreachable {
        /// The outages since the last line about one.
        outages_before: u64,
    },
    /// It can be reached again.
    Reachable {
        /// The connections that could not be made.
        failures: u64,
        /// How long that was so.
        lasted: Duration,
    },
}

impl Reachability {
    /// The outage that has not ended.
    pub(super) fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// No connection could be made.
    pub(super) fn failed(&mut self, error: &str, now: Instant) -> Option<ReachabilityChange> {
        let outage = self.outage.get_or_insert_with(|| Outage {
            begun: now,
            failures: 0,
            last_error: String::new(),
            last_failure: now,
            is_told: false,
        });
        outage.failures += 1;
        outage.last_failure = now;
        error.clone_into(&mut outage.last_error);
        let is_due =
            self.last_told.is_none_or(|told| now.saturating_duration_since(told) >= BETWEEN_LINES);
        if outage.is_told || !is_due {
            return None;
        }
        outage.is_told = true;
        self.last_told = Some(now);
        let outages_before = std::mem::take(&mut self.untold);
        Some(ReachabilityChange::Unreachable { outages_before })
    }

    /// It has answered over a connection that was made at this time. An older connection says nothing of
    /// whether new ones can be made.
    pub(super) fn answered(
        &mut self,
        connected: Instant,
        now: Instant,
    ) -> Option<ReachabilityChange> {
        let outage = self.outage.take_if(|outage| connected > outage.last_failure)?;
        if !outage.is_told {
            self.untold += 1;
            return None;
        }
        let lasted = now.saturating_duration_since(outage.begun);
        Some(ReachabilityChange::Reachable { failures: outage.failures, lasted })
    }

    /// Whether nothing is to be kept of it.
    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        let last = self.outage.as_ref().map(|outage| outage.last_failure).max(self.last_told);
        last.is_none_or(|last| now.saturating_duration_since(last) >= FORGET_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_has_one_line_at_each_end() {
        let (mut upstream, now) = (Reachability::default(), Instant::now());
        let first = upstream.failed("refused", now);
        assert_eq!(first, Some(ReachabilityChange::Unreachable { outages_before: 0 }));
        assert_eq!(upstream.failed("no answer", now + s(100)), None);
        assert_eq!(upstream.outage().unwrap().last_error, "no answer");
        let end = upstream.answered(now + s(101), now + s(102));
        let expected = ReachabilityChange::Reachable { failures: 2, lasted: s(102) };
        assert_eq!(end, Some(expected));
        assert!(upstream.outage().is_none());
    }

    #[test]
    fn an_answer_over_an_older_connection_is_no_end() {
        let (mut upstream, now) = (Reachability::default(), Instant::now());
        upstream.failed("refused", now + s(1));
        assert_eq!(upstream.answered(now, now + s(2)), None);
        assert!(upstream.outage().is_some());
    }

    #[test]
    fn flapping_is_told_once_a_minute_and_the_last_state_in_the_end() {
        let (mut upstream, now) = (Reachability::default(), Instant::now());
        upstream.failed("refused", now);
        upstream.answered(now + s(1), now + s(1)).unwrap();
        for second in 2..9 {
            assert_eq!(upstream.failed("refused", now + s(2 * second)), None);
            let up = now + s(2 * second + 1);
            assert_eq!(upstream.answered(up, up), None, "its begin was not told");
        }
        assert_eq!(upstream.failed("refused", now + s(20)), None);
        let told = upstream.failed("refused", now + s(60));
        assert_eq!(told, Some(ReachabilityChange::Unreachable { outages_before: 7 }));
    }

    #[test]
    fn what_nobody_tries_any_more_is_forgotten() {
        let (mut upstream, now) = (Reachability::default(), Instant::now());
        assert!(upstream.is_forgotten(now));
        upstream.failed("refused", now);
        upstream.failed("refused", now + s(300));
        assert!(!upstream.is_forgotten(now + s(899)));
        assert!(upstream.is_forgotten(now + s(900)));
    }

    proptest! {
        #[test]
        fn no_upstream_has_more_than_two_lines_a_minute(
            steps in prop::collection::vec((0..30_000u64, any::<bool>()), 1..200),
        ) {
            let (mut upstream, mut now) = (Reachability::default(), Instant::now());
            let (mut begins, mut is_told) = (Vec::new(), false);
            for (pause, fails) in steps {
                now += Duration::from_millis(pause + 1);
                let change = match fails {
                    true => upstream.failed("refused", now),
                    false => upstream.answered(now, now),
                };
                match change {
                    Some(ReachabilityChange::Unreachable { .. }) => {
                        prop_assert!(!is_told && fails);
                        let is_early = |last: &Instant| now - *last < BETWEEN_LINES;
                        prop_assert!(!begins.last().is_some_and(is_early));
                        begins.push(now);
                        is_told = true;
                    }
                    Some(ReachabilityChange::Reachable { .. }) => {
                        prop_assert!(is_told, "each end follows a begin");
                        is_told = false;
                    }
                    None => {}
                }
                prop_assert_eq!(upstream.outage().is_some(), fails);
            }
        }
    }
}
