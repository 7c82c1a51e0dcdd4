//! A route's upstreams, compiled.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use arc_swap::{ArcSwap, Guard};

use super::{CircuitBreaker, ClusterHealth, ClusterSpec, EndpointSet, ResilienceSpec, RetrySpec};

/// A route's upstreams, compiled once for all workers. Their set changes alone: the cluster stays,
/// and with it what workers know of it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Identifies the cluster in a worker's own state; never reused.
    pub(super) id: u64,
    /// In few bytes, since there may be 100,000 clusters; see [`Cluster::connect_timeout`].
    connect_timeout_ms: u32,
    endpoints: ArcSwap<EndpointSet>,
    /// `None` if nothing is configured for endpoints that fail.
    resilience: Option<Box<ClusterResilience>>,
}

/// What a cluster keeps to deal with endpoints that fail.
#[derive(Debug)]
struct ClusterResilience {
    spec: Arc<ResilienceSpec>,
    /// `None` if nothing is limited.
    breaker: Option<Arc<CircuitBreaker>>,
    /// The set in use is compiled from this. The loader locks it to put another one here, and the
    /// health thread when the state of an endpoint has changed.
    configured: Mutex<ConfiguredEndpoints>,
}

/// The endpoints that a configuration gives a cluster.
#[derive(Debug, Clone)]
pub(super) struct ConfiguredEndpoints {
    /// All of them, with tables over all.
    pub(super) all: Arc<EndpointSet>,
    /// What is known of them; `None` if nothing is kept.
    pub(super) health: Option<Arc<ClusterHealth>>,
}

impl ConfiguredEndpoints {
    /// The set for requests.
    fn compile(&self, now: Instant) -> Arc<EndpointSet> {
        match &self.health {
            Some(health) => {
                Arc::new(self.all.watched(Arc::clone(health), health.availability(now)))
            }
            None => Arc::clone(&self.all),
        }
    }

    /// The set for requests, if that is another than `current`.
    fn refreshed(&self, current: &EndpointSet, now: Instant) -> Option<Arc<EndpointSet>> {
        let health = self.health.as_ref()?;
        let availability = health.availability(now);
        let is_current = current.is_of(health, &availability);
        (!is_current).then(|| Arc::new(self.all.watched(Arc::clone(health), availability)))
    }
}

impl Cluster {
    pub(super) fn new(spec: &ClusterSpec, endpoints: ConfiguredEndpoints, now: Instant) -> Cluster {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        let current = endpoints.compile(now);
        let resilience = spec.resilience.as_ref().map(|spec| {
            let (configured, breaker) = (Mutex::new(endpoints), CircuitBreaker::new(&spec.limits));
            Box::new(ClusterResilience { spec: Arc::clone(spec), breaker, configured })
        });
        Cluster {
            id: NEXT_ID.fetch_add(1, Relaxed),
            connect_timeout_ms: u32::try_from(spec.connect_timeout.as_millis()).unwrap_or(u32::MAX),
            endpoints: ArcSwap::new(current),
            resilience,
        }
    }

    /// The set in use. The guard is for a moment, not for a request: it costs no shared count only
    /// while a thread has few of them.
    pub(crate) fn current(&self) -> Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }

    /// What is configured for endpoints that fail; `None` if nothing is.
    pub(crate) fn resilience(&self) -> Option<&Arc<ResilienceSpec>> {
        self.resilience.as_ref().map(|resilience| &resilience.spec)
    }

    /// How long connecting may take, for all endpoints that a request tries.
    pub(crate) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms.into())
    }

    /// When a request is sent again.
    pub(crate) fn retry(&self) -> &RetrySpec {
        self.resilience().map_or(&RetrySpec::DEFAULT, |spec| &spec.retry)
    }

    /// Its limits; `None` if it has none.
    pub(super) fn breaker(&self) -> Option<&Arc<CircuitBreaker>> {
        self.resilience.as_ref()?.breaker.as_ref()
    }

    /// What is known of its endpoints; `None` if nothing is kept of them.
    pub(crate) fn health(&self) -> Option<Arc<ClusterHealth>> {
        self.current().health().cloned()
    }

    /// Compiles the set in use again, if other endpoints are available than those it was compiled for,
    /// or with other shares. Whether it has changed. To be called by the health thread, after the state
    /// of an endpoint has changed, and now and then while an endpoint is in its slow start.
    pub(crate) fn refresh_available(&self, now: Instant) -> bool {
        let Some(resilience) = &self.resilience else { return false };
        let configured = resilience.configured();
        let refreshed = configured.refreshed(&self.current(), now);
        let is_changed = refreshed.is_some();
        if let Some(refreshed) = refreshed {
            self.endpoints.store(refreshed);
        }
        is_changed
    }

    /// Puts another set into use, and gives back the former one.
    fn replace_endpoints(&self, next: ConfiguredEndpoints, now: Instant) -> Arc<EndpointSet> {
        let Some(resilience) = &self.resilience else { return self.endpoints.swap(next.all) };
        let mut configured = resilience.configured();
        *configured = next;
        self.endpoints.swap(configured.compile(now))
    }
}

impl ClusterResilience {
    fn configured(&self) -> MutexGuard<'_, ConfiguredEndpoints> {
        self.configured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A set that a cluster is about to get.
#[derive(Debug)]
#[must_use]
pub(crate) struct StagedEndpoints {
    pub(super) cluster: Arc<Cluster>,
    pub(super) next: ConfiguredEndpoints,
}

impl StagedEndpoints {
    /// Puts the set into use for requests to come, and gives back the former one. Each worker goes
    /// over to it with its next request.
    pub(crate) fn publish(self) -> Arc<EndpointSet> {
        self.cluster.replace_endpoints(self.next, Instant::now())
    }
}
