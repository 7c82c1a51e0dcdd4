//! A route's upstreams, compiled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::{ArcSwap, Guard};

use super::EndpointSet;

/// A route's upstreams, compiled once for all workers. Their set changes alone: the cluster stays,
/// and with it what workers know of it.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// Identifies the cluster in a worker's own state; never reused.
    pub(super) id: u64,
    pub(super) connect_timeout: Duration,
    endpoints: ArcSwap<EndpointSet>,
}

impl Cluster {
    pub(super) fn new(connect_timeout: Duration, endpoints: Arc<EndpointSet>) -> Cluster {
        static NEXT_ID: AtomicU64 = AtomicU64::new(0);
        Cluster {
            id: NEXT_ID.fetch_add(1, Relaxed),
            connect_timeout,
            endpoints: ArcSwap::new(endpoints),
        }
    }

    /// The set in use. The guard is for a moment, not for a request: it costs no shared count only
    /// while a thread has few of them.
    pub(crate) fn current(&self) -> Guard<Arc<EndpointSet>> {
        self.endpoints.load()
    }
}

/// A set that a cluster is about to get.
#[derive(Debug)]
#[must_use]
pub(crate) struct StagedEndpoints {
    pub(super) cluster: Arc<Cluster>,
    pub(super) next: Arc<EndpointSet>,
}

impl StagedEndpoints {
    /// Puts the set into use for requests to come, and gives back the former one. Each worker goes
    /// over to it with its next request.
    pub(crate) fn publish(self) -> Arc<EndpointSet> {
        self.cluster.endpoints.swap(self.next)
    }
}
