//! Limits of a cluster, over all workers.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use crate::observe::{CircuitLimit, Label};

/// A route's `circuit_breaker_thresholds`; `None` is no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct CircuitBreakerSpec {
    /// Connections. Each worker may have one to each endpoint, even beyond.
    pub max_connections: Option<u32>,
    /// Requests that wait for a connection, connecting included.
    pub max_pending_requests: Option<u32>,
    /// Requests from their start to the end of their response.
    pub max_requests: Option<u32>,
    /// Requests that are being sent again.
    pub max_retries: Option<u32>,
}

impl CircuitBreakerSpec {
    /// Whether nothing is limited.
    pub(crate) fn is_unlimited(&self) -> bool {
        *self == CircuitBreakerSpec::default()
    }

    fn most(&self, limit: CircuitLimit) -> Option<u32> {
        match limit {
            CircuitLimit::MaxRequests => self.max_requests,
            CircuitLimit::MaxConnections => self.max_connections,
            CircuitLimit::MaxPendingRequests => self.max_pending_requests,
            CircuitLimit::MaxRetries => self.max_retries,
            CircuitLimit::OpenFiles => None,
        }
    }
}

/// What all workers count for one cluster that has limits. What has no limit is not counted.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    spec: CircuitBreakerSpec,
    counts: [AtomicU32; CircuitLimit::ALL.len()],
}

/// Counts one until it is dropped.
#[derive(Debug)]
pub(crate) struct CircuitPermit {
    breaker: Arc<CircuitBreaker>,
    limit: CircuitLimit,
}

/// A limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CircuitOpen {
    pub(super) limit: CircuitLimit,
    most: u32,
}

impl CircuitBreaker {
    /// `None` if nothing is limited.
    pub(super) fn new(spec: &CircuitBreakerSpec) -> Option<Arc<CircuitBreaker>> {
        let counts = Default::default();
        let breaker = || Arc::new(CircuitBreaker { spec: spec.clone(), counts });
        (!spec.is_unlimited()).then(breaker)
    }

    /// Counts one more, unless that would exceed the limit. `None` if there is no such limit.
    pub(super) fn admit(
        self: &Arc<Self>,
        limit: CircuitLimit,
    ) -> Result<Option<CircuitPermit>, CircuitOpen> {
        let Some((most, count)) = self.limited(limit) else { return Ok(None) };
        let next = |now: u32| (now < most).then_some(now.saturating_add(1));
        match count.fetch_update(Relaxed, Relaxed, next) {
            Ok(_) => Ok(Some(self.permit(limit))),
            Err(_) => Err(CircuitOpen { limit, most }),
        }
    }

    /// Counts one more, even beyond the limit.
    pub(super) fn admit_anyway(self: &Arc<Self>, limit: CircuitLimit) -> Option<CircuitPermit> {
        let (_, count) = self.limited(limit)?;
        count.fetch_add(1, Relaxed);
        Some(self.permit(limit))
    }

    fn permit(self: &Arc<Self>, limit: CircuitLimit) -> CircuitPermit {
        CircuitPermit { breaker: Arc::clone(self), limit }
    }

    fn limited(&self, limit: CircuitLimit) -> Option<(u32, &AtomicU32)> {
        Some((self.spec.most(limit)?, self.counts.get(limit.index())?))
    }
}

impl Drop for CircuitPermit {
    fn drop(&mut self) {
        if let Some(count) = self.breaker.counts.get(self.limit.index()) {
            count.fetch_sub(1, Relaxed);
        }
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let CircuitOpen { limit, most } = self;
        write!(f, "the limit {} = {most} of its route is reached", limit.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    fn breaker(most: u32) -> Arc<CircuitBreaker> {
        let spec = CircuitBreakerSpec { max_requests: Some(most), ..Default::default() };
        CircuitBreaker::new(&spec).unwrap()
    }

    fn admit(breaker: &Arc<CircuitBreaker>) -> Option<CircuitPermit> {
        breaker.admit(CircuitLimit::MaxRequests).ok().flatten()
    }

    #[test]
    fn a_cluster_without_limits_counts_nothing() {
        assert!(CircuitBreaker::new(&CircuitBreakerSpec::default()).is_none());
        let breaker = breaker(0);
        assert!(admit(&breaker).is_none());
        assert!(matches!(breaker.admit(CircuitLimit::MaxRetries), Ok(None)));
        assert_eq!(Arc::strong_count(&breaker), 1);
    }

    #[test]
    fn an_open_circuit_names_its_limit() {
        let open = breaker(0).admit(CircuitLimit::MaxRequests).unwrap_err();
        assert_eq!(open.to_string(), "the limit max_requests = 0 of its route is reached");
    }

    #[test]
    fn beyond_the_limit_is_counted_too() {
        let breaker = breaker(1);
        let beyond = breaker.admit_anyway(CircuitLimit::MaxRequests);
        assert!(beyond.is_some() && admit(&breaker).is_none());
        drop(beyond);
        assert!(admit(&breaker).is_some());
    }

    #[test]
    fn workers_together_never_exceed_the_limit() {
        let breaker = breaker(3);
        let worker = || {
            for _ in 0..2_000 {
                let held = admit(&breaker);
                let count = breaker.counts[CircuitLimit::MaxRequests.index()].load(Relaxed);
                assert!(count <= 3, "{count}");
                drop(held);
            }
        };
        thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(worker))));
        let all: Vec<_> = (0..4).map(|_| admit(&breaker).is_some()).collect();
        assert_eq!(all, [true; 4], "each is dropped at once");
    }

    proptest! {
        #[test]
        fn as_many_are_admitted_as_the_limit_has_room_for(
            most in 0..6u32,
            steps in prop::collection::vec(prop::option::of(0..8usize), 0..100),
        ) {
            let breaker = breaker(most);
            let mut held = Vec::new();
            for step in steps {
                match step {
                    None => {
                        let has_room = held.len() < most as usize;
                        let permit = admit(&breaker);
                        prop_assert_eq!(permit.is_some(), has_room);
                        held.extend(permit);
                    }
                    Some(index) if index < held.len() => drop(held.swap_remove(index)),
                    Some(_) => {}
                }
            }
        }
    }
}
