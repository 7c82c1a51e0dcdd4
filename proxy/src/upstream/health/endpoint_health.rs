//! What is known of one endpoint of one cluster.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use super::{EndpointShare, outlier::FailureCounts};

/// The least share of an endpoint in slow start, in percent (Envoy's `min_weight_percent`).
const SLOW_START_LEAST_PERCENT: u128 = 10;

/// What is known of one endpoint of one cluster. The health thread alone changes the verdicts; workers
/// count. It outlives reloads that change neither the endpoint nor its checks and ejection.
#[derive(Debug)]
pub(crate) struct EndpointHealth {
    failed_check: AtomicBool,
    ejected: AtomicBool,
    facts: Mutex<HealthFacts>,
    /// What workers count.
    pub(super) counts: FailureCounts,
}

/// What is shown of an endpoint. Workers never look at it.
#[derive(Debug, Clone)]
pub(crate) struct HealthFacts {
    /// Since when it has been available, or not.
    pub since: SystemTime,
    /// The last error of a check, or the reason of the last ejection; empty if there was none, or if it has
    /// recovered.
    pub last_error: String,
    /// When it became available again.
    returned: Option<Instant>,
}

impl EndpointHealth {
    /// Nothing is known: it is available.
    pub(super) fn new(workers: usize) -> EndpointHealth {
        EndpointHealth {
            failed_check: AtomicBool::new(false),
            ejected: AtomicBool::new(false),
            facts: Mutex::new(HealthFacts {
                since: SystemTime::now(),
                last_error: String::new(),
                returned: None,
            }),
            counts: FailureCounts::new(workers),
        }
    }

    /// The same, with the last verdict of the checks.
    pub(super) fn with_check_of(former: &EndpointHealth, workers: usize) -> EndpointHealth {
        let health = EndpointHealth::new(workers);
        if former.has_failed_check() {
            health.failed_check.store(true, Relaxed);
            *health.facts() = former.facts().clone();
        }
        health
    }

    /// Whether it may get requests.
    pub(crate) fn is_available(&self) -> bool {
        !self.has_failed_check() && !self.is_ejected()
    }

    /// Whether its checks say that it is down.
    pub(crate) fn has_failed_check(&self) -> bool {
        self.failed_check.load(Relaxed)
    }

    /// Whether it is ejected.
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// What is shown of it.
    pub(crate) fn shown(&self) -> HealthFacts {
        self.facts().clone()
    }

    /// Sets what its checks say. Whether that makes a difference to its availability: then the caller
    /// calls [`Cluster::refresh_available`](crate::upstream::Cluster::refresh_available).
    pub(crate) fn set_failed_check(&self, failed: bool, now: Instant) -> bool {
        self.change(&self.failed_check, failed, now)
    }

    /// Sets whether it is ejected; the rest as in [`EndpointHealth::set_failed_check`].
    pub(crate) fn set_ejected(&self, ejected: bool, now: Instant) -> bool {
        self.change(&self.ejected, ejected, now)
    }

    /// It may get requests, whatever was known of it.
    pub(crate) fn make_available(&self, now: Instant) {
        self.set_failed_check(false, now);
        self.set_ejected(false, now);
        self.counts.reset();
    }

    /// Forgets the error of a check that failed, if the endpoint may get requests.
    pub(crate) fn clear_last_error(&self) {
        if self.is_available() {
            self.facts().last_error.clear();
        }
    }

    /// Notes the error of a check that failed, or the reason of an ejection.
    pub(crate) fn set_last_error(&self, error: impl Into<String>) {
        self.facts().last_error = error.into();
    }

    /// Its share of the requests.
    pub(super) fn share(&self, slow_start: Option<Duration>, now: Instant) -> EndpointShare {
        if !self.is_available() {
            return EndpointShare::NONE;
        }
        match slow_start.and_then(|window| self.warming(window, now)) {
            Some(percent) => EndpointShare(percent),
            None => EndpointShare::FULL,
        }
    }

    /// The percentage that it has reached in a window since it returned; `None` after its end.
    fn warming(&self, window: Duration, now: Instant) -> Option<u8> {
        let age = now.saturating_duration_since(self.facts().returned?);
        if age >= window {
            return None;
        }
        let percent = age.as_millis() * 100 / window.as_millis().max(1);
        u8::try_from(percent.clamp(SLOW_START_LEAST_PERCENT, 100)).ok()
    }

    fn change(&self, verdict: &AtomicBool, value: bool, now: Instant) -> bool {
        let was_available = self.is_available();
        verdict.store(value, Relaxed);
        let is_available = self.is_available();
        if was_available != is_available {
            let mut facts = self.facts();
            facts.since = SystemTime::now();
            facts.returned = is_available.then_some(now);
            if is_available {
                facts.last_error.clear();
            }
        }
        was_available != is_available
    }

    fn facts(&self) -> MutexGuard<'_, HealthFacts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Option<Duration> = Some(Duration::from_secs(10));

    #[test]
    fn an_endpoint_is_available_if_neither_verdict_is_against_it() {
        let (health, now) = (EndpointHealth::new(1), Instant::now());
        assert!(health.is_available());
        assert!(health.set_failed_check(true, now));
        assert!(!health.set_ejected(true, now), "it was down already");
        assert!(!health.set_failed_check(false, now), "it is ejected");
        assert!(health.set_ejected(false, now));
        assert!(health.is_available());
    }

    #[test]
    fn an_endpoint_that_came_back_gets_its_share_step_by_step() {
        let (health, now) = (EndpointHealth::new(1), Instant::now());
        assert_eq!(health.share(WINDOW, now), EndpointShare::FULL, "it was never down");
        health.set_failed_check(true, now);
        assert_eq!(health.share(WINDOW, now), EndpointShare::NONE);
        health.set_failed_check(false, now);
        let after = |ms| health.share(WINDOW, now + Duration::from_millis(ms)).0;
        assert_eq!([0, 999, 2_000, 9_999, 10_000].map(after), [10, 10, 20, 99, 100]);
        assert_eq!(health.share(None, now), EndpointShare::FULL, "without slow start at once");
    }

    #[test]
    fn an_endpoint_that_recovers_has_no_error() {
        let (health, now) = (EndpointHealth::new(1), Instant::now());
        health.set_last_error("connection refused");
        health.set_failed_check(true, now);
        health.clear_last_error();
        assert_eq!(health.shown().last_error, "connection refused", "it is down");
        health.set_failed_check(false, now);
        assert_eq!(health.shown().last_error, "");
        health.set_last_error("one check failed");
        health.clear_last_error();
        assert_eq!(health.shown().last_error, "");
    }

    #[test]
    fn a_reload_that_keeps_the_checks_keeps_their_verdict() {
        let (former, now) = (EndpointHealth::new(1), Instant::now());
        former.set_failed_check(true, now);
        former.set_ejected(true, now);
        former.set_last_error("connection refused");
        let next = EndpointHealth::with_check_of(&former, 1);
        assert!(next.has_failed_check());
        assert!(!next.is_ejected(), "another configuration of ejection begins from nothing");
        assert_eq!(next.shown().last_error, "connection refused");
    }
}
