//! What a worker knows of clusters.

use std::{
    collections::{HashMap, HashSet},
    ops::Deref,
    rc::Rc,
    sync::{Arc, Weak},
    time::Instant,
};

use ::http::Response;

use super::{
    Cluster, Endpoint, EndpointHealth, EndpointKey, EndpointSet, FailureKind, RequestOutcome,
    ResponseBody, balance::RoundRobin, endpoint_set::TurnWeights, hasher::BuildNumberHasher,
    retry::RetryBudget,
};
use crate::reclaim::FormerValues;

/// What a worker knows of the clusters that it has used.
#[derive(Debug)]
pub(super) struct WorkerClusters {
    /// The turns that it skips at first.
    worker: usize,
    by_id: HashMap<u64, WorkerCluster, BuildNumberHasher>,
    former: FormerValues<LocalEndpointSet>,
    /// Endpoints may have gone down since [`WorkerClusters::take_changed`].
    has_changed: bool,
}

/// What a worker knows of one cluster.
#[derive(Debug)]
pub(super) struct WorkerCluster {
    cluster: Weak<Cluster>,
    endpoints: Rc<LocalEndpointSet>,
    turns: Turns,
    /// Made if requests may be sent again after they reached an endpoint.
    retries: Option<Box<RetryBudget>>,
}

/// A worker's handle on an [`EndpointSet`]. Its requests count their references on an `Rc` of this,
/// so that no request touches a count that all workers share.
#[derive(Debug)]
struct LocalEndpointSet(Arc<EndpointSet>);

/// The endpoint that was chosen for a request, whatever becomes of its cluster's endpoints.
#[derive(Debug, Clone)]
pub(crate) struct ChosenEndpoint {
    endpoints: Rc<LocalEndpointSet>,
    index: usize,
}

impl Deref for ChosenEndpoint {
    type Target = Endpoint;

    fn deref(&self) -> &Endpoint {
        self.endpoints.0.endpoint(self.index)
    }
}

impl ChosenEndpoint {
    /// What is known of its health; `None` if nothing is kept.
    pub(super) fn health(&self) -> Option<&Arc<EndpointHealth>> {
        self.endpoints.0.endpoint_health(self.index)
    }

    /// Counts how a request to it ended.
    pub(super) fn record(&self, worker: usize, outcome: RequestOutcome) {
        if let Some(health) = self.endpoints.0.health() {
            health.record(worker, self.index, outcome);
        }
    }

    /// Counts a response, by its head. Its body tells if it breaks off.
    pub(super) fn responded(&self, worker: usize, response: &mut Response<ResponseBody>) {
        if self.health().is_some() {
            self.record(worker, RequestOutcome::of_head(response.status(), response.headers()));
            response.body_mut().watch(self.clone(), worker);
        }
    }

    /// Counts a request that got no response.
    pub(super) fn failed(&self, worker: usize, kind: FailureKind) {
        if let Some(outcome) = RequestOutcome::of_failure(kind) {
            self.record(worker, outcome);
        }
    }

    /// Whether it was chosen though it may be down: so few endpoints are available that all are used.
    pub(crate) fn is_panic(&self) -> bool {
        self.endpoints.0.is_panic()
    }
}

impl WorkerClusters {
    /// No cluster was used yet.
    pub(super) fn new(worker: usize) -> WorkerClusters {
        WorkerClusters {
            worker,
            by_id: HashMap::default(),
            former: FormerValues::default(),
            has_changed: false,
        }
    }

    /// The cluster with the endpoints that it has now.
    pub(super) fn current(&mut self, cluster: &Arc<Cluster>) -> &mut WorkerCluster {
        let WorkerClusters { worker, by_id, former, has_changed } = self;
        let known = by_id.entry(cluster.id).or_insert_with(|| WorkerCluster {
            cluster: Arc::downgrade(cluster),
            endpoints: Rc::new(LocalEndpointSet(Arc::clone(&cluster.current()))),
            turns: Turns { taken: *worker, state: None },
            retries: None,
        });
        *has_changed |= known.follow(cluster, former);
        known
    }

    /// Forgets clusters that are gone, and the former endpoints of those that are there.
    pub(super) fn reap(&mut self) {
        let WorkerClusters { by_id, former, .. } = self;
        by_id.retain(|_, known| match known.cluster.upgrade() {
            Some(cluster) => {
                let _ = known.follow(&cluster, former);
                true
            }
            None => {
                former.keep(Rc::clone(&known.endpoints));
                false
            }
        });
    }

    /// Whether a cluster has gone over to other endpoints since the last call.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// The keys of the endpoints that get no requests now, of any cluster: clusters share connections.
    pub(super) fn unavailable(&self) -> HashSet<EndpointKey> {
        let watched = self.sets().filter(|set| set.health().is_some());
        let mut unavailable: HashSet<_> = watched.flat_map(|set| keys(set, false)).collect();
        if !unavailable.is_empty() {
            self.sets().flat_map(|set| keys(set, true)).for_each(|key| {
                unavailable.remove(&key);
            });
        }
        unavailable
    }

    fn sets(&self) -> impl Iterator<Item = &EndpointSet> {
        self.by_id.values().map(|known| &*known.endpoints.0)
    }

    /// The number of clusters.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Gives former endpoints away that no request uses any more: another thread frees them.
    pub(super) fn release_former(&self) {
        self.former.release();
    }
}

/// The endpoints of a set that get requests now, or those that get none.
fn keys(set: &EndpointSet, selectable: bool) -> impl Iterator<Item = EndpointKey> {
    let endpoints = set.endpoints().iter().enumerate();
    endpoints
        .filter(move |(index, _)| set.is_selectable(*index) == selectable)
        .map(|(_, endpoint)| endpoint.key)
}

impl WorkerCluster {
    /// How many requests may be sent again.
    pub(super) fn retries(&mut self) -> &mut RetryBudget {
        self.retries.get_or_insert_with(|| Box::new(RetryBudget::new(Instant::now())))
    }

    /// Chooses an endpoint; `None` if none is available. `choose` gets the endpoints, and the turns of
    /// this worker.
    pub(super) fn choose(
        &mut self,
        choose: impl FnOnce(&EndpointSet, &mut Turns) -> Option<usize>,
    ) -> Option<ChosenEndpoint> {
        let index = choose(&self.endpoints.0, &mut self.turns)?;
        Some(ChosenEndpoint { endpoints: Rc::clone(&self.endpoints), index })
    }

    /// Goes over to the endpoints that the cluster has now. Whether they are others.
    fn follow(&mut self, cluster: &Cluster, former: &FormerValues<LocalEndpointSet>) -> bool {
        let current = cluster.current();
        let is_other = !Arc::ptr_eq(&current, &self.endpoints.0);
        if is_other {
            let next = Rc::new(LocalEndpointSet(Arc::clone(&current)));
            former.keep(std::mem::replace(&mut self.endpoints, next));
        }
        is_other
    }
}

/// The state of round robin, which goes on when endpoints change.
#[derive(Debug)]
pub(super) struct Turns {
    taken: usize,
    state: Option<(Box<[u32]>, RoundRobin)>,
}

impl Turns {
    /// The endpoint whose turn it is. Turns go on while endpoints come and go, and begin again when
    /// their configured weights change.
    pub(super) fn next(&mut self, weights: TurnWeights<'_>) -> usize {
        let taken = self.taken;
        self.taken = taken.wrapping_add(1);
        let state = match self.state.take() {
            Some(state) if *state.0 == *weights.configured => state,
            _ => {
                let configured = weights.configured;
                (configured.into(), RoundRobin::new(configured, taken))
            }
        };
        self.state.insert(state).1.next(weights.current)
    }
}
