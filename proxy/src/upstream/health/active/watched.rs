//! An endpoint of a cluster, as its checks see it.

use std::{
    cell::Cell,
    sync::{Arc, Weak},
};

use crate::upstream::{Cluster, EndpointHealth};

/// An endpoint of a cluster, for as long as one configuration is in use.
pub(super) struct WatchedEndpoint {
    pub(super) cluster: Weak<Cluster>,
    pub(super) cluster_name: Arc<str>,
    pub(super) health: Arc<EndpointHealth>,
    /// How many of its checks say that it is down.
    pub(super) failed: Cell<usize>,
}

impl WatchedEndpoint {
    pub(super) fn new(
        cluster: Weak<Cluster>,
        cluster_name: &Arc<str>,
        health: &Arc<EndpointHealth>,
    ) -> WatchedEndpoint {
        let (cluster_name, health) = (Arc::clone(cluster_name), Arc::clone(health));
        WatchedEndpoint { cluster, cluster_name, health, failed: Cell::default() }
    }

    /// Applies what its checks say. Whether that makes a difference.
    pub(super) fn apply(&self) -> bool {
        self.health.set_failed_check(self.failed.get() > 0, std::time::Instant::now())
    }
}
