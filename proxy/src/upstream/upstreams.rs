//! A worker's connections to all upstreams.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    pin::pin,
    rc::{Rc, Weak as RcWeak},
    sync::Arc,
    time::{Duration, Instant},
};

use ::http::Request;
use portcullis_abi::SplitMix64;

use super::{
    ChosenEndpoint, CircuitPermit, Cluster, ConnectionOwner, Endpoint, EndpointSet, RequestOutcome,
    SendFailure, SendOptions, Tried, UpstreamResponse,
    body::SentBody,
    connection_share::ConnectionShare,
    endpoint::EndpointKey,
    endpoint_pool::EndpointPool,
    hasher::BuildNumberHasher,
    meter::Meter,
    reachability,
    request::UpstreamRequest,
    worker_clusters::{Turns, WorkerClusters},
};
use crate::{
    observe::{CircuitLimit, UpstreamRetry, WorkerObserver},
    rt,
};

/// How often expired connections are removed. One task of the worker does it for all, so that no
/// connection needs its own timer.
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// How often the balancer draws an endpoint before those that may be chosen are gone through: then they
/// get their shares, unless most have failed.
const DRAWS: u64 = 8;

/// A worker's connections to all upstreams.
pub(crate) struct Upstreams {
    pools: Rc<WorkerPools>,
}

struct WorkerPools {
    observer: Rc<WorkerObserver>,
    share: Rc<ConnectionShare>,
    by_endpoint: RefCell<HashMap<EndpointKey, Rc<EndpointPool>, BuildNumberHasher>>,
    clusters: RefCell<WorkerClusters>,
    random: RefCell<SplitMix64>,
    reaping: Cell<bool>,
}

impl Upstreams {
    /// No connections yet, and no limit of them. For tests.
    #[cfg(test)]
    pub(crate) fn new(observer: Rc<WorkerObserver>) -> Upstreams {
        Upstreams::with_at_most(usize::MAX, observer)
    }

    /// No connections yet, and at most so many at a time.
    pub(crate) fn with_at_most(connections: usize, observer: Rc<WorkerObserver>) -> Upstreams {
        let seed = RandomState::new().hash_one(observer.worker);
        let pools = WorkerPools {
            clusters: RefCell::new(WorkerClusters::new(observer.worker)),
            share: ConnectionShare::new(connections),
            observer,
            by_endpoint: RefCell::default(),
            random: RefCell::new(SplitMix64::new(seed)),
            reaping: Cell::new(false),
        };
        Upstreams { pools: Rc::new(pools) }
    }

    /// Chooses the endpoint for a request of the client that hashes to `client_hash`, among those that
    /// the cluster has now; `None` if none of them is available.
    pub(crate) fn choose(
        &self,
        cluster: &Arc<Cluster>,
        client_hash: u64,
    ) -> Option<ChosenEndpoint> {
        let pools = &*self.pools;
        let mut clusters = pools.clusters.borrow_mut();
        let known = clusters.current(cluster);
        if cluster.retry().is_budgeted() {
            known.retries().request(Instant::now());
        }
        let chosen = match pools.share.setbacks.get() {
            0 => known.choose(|endpoints, turns| pools.pick(endpoints, turns, client_hash)),
            _ => known.choose(|endpoints, turns| {
                pools.pick_untried(endpoints, turns, client_hash, &Tried::default())
            }),
        };
        if chosen.as_ref().is_some_and(ChosenEndpoint::is_panic) {
            pools.observer.metrics.upstream.panic_requests.inc();
        }
        chosen
    }

    /// Chooses another endpoint for a request that may be sent again; `None` if all that are available
    /// have been tried. Also gives the number of those that were not.
    pub(crate) fn choose_other(
        &self,
        cluster: &Arc<Cluster>,
        client_hash: u64,
        tried: &Tried,
    ) -> Option<(ChosenEndpoint, usize)> {
        let pools = &*self.pools;
        let mut untried = 0;
        let chosen = pools.clusters.borrow_mut().current(cluster).choose(|endpoints, turns| {
            untried = endpoints.selectable_but(tried).count();
            pools.pick_untried(endpoints, turns, client_hash, tried)
        })?;
        Some((chosen, untried))
    }

    /// Whether a request may be sent again for this reason. While the permit is held, it counts against
    /// the limit of repetitions, if there is one.
    pub(crate) fn may_retry(
        &self,
        cluster: &Arc<Cluster>,
        reason: UpstreamRetry,
    ) -> Option<RetryPermit> {
        let spec = cluster.retry();
        if !spec.allows(reason) {
            return None;
        }
        let metrics = &self.pools.observer.metrics.upstream;
        let circuit = match cluster.breaker().map(|it| it.admit(CircuitLimit::MaxRetries)) {
            None => None,
            Some(Ok(circuit)) => circuit,
            Some(Err(_)) => {
                metrics.circuit_open.inc(CircuitLimit::MaxRetries);
                return None;
            }
        };
        if reason != UpstreamRetry::Connect {
            let mut clusters = self.pools.clusters.borrow_mut();
            let budget = clusters.current(cluster).retries();
            if !budget.take(spec.budget_percent, Instant::now()) {
                return None;
            }
        }
        metrics.retries.inc(reason);
        Some(RetryPermit { _circuit: circuit })
    }

    /// Sends a request over a pooled or a new connection and waits for the response's head.
    ///
    /// The request has its final path (origin form), Host header and end-to-end headers, `Cookie`
    /// in one line; this converts them for the connection's HTTP version. A request that failed on
    /// a pooled connection because the upstream had closed it is sent again on a new connection if
    /// that is safe (RFC 9110 section 9.2.2).
    ///
    /// `client` is the client's connection, which may own connections to the upstream.
    pub(crate) async fn send(
        &self,
        cluster: &Cluster,
        endpoint: ChosenEndpoint,
        request: Request<SentBody>,
        client: &ConnectionOwner,
        options: SendOptions,
    ) -> Result<UpstreamResponse, SendFailure> {
        self.start_reaping();
        self.pools.close_if_changed();
        let pool = self.pools.pool(&endpoint);
        pool.max_response_headers.set(options.max_response_headers);
        let mut sending = UpstreamRequest::new(&pool, cluster, &endpoint, client, request.body());
        sending.interim.clone_from(&options.interim);
        sending.connecting = options.connecting;
        let running = pin!(sending.run(request, &options));
        let response = match &options.interim {
            Some(interim) => interim.limit(running).await,
            None => running.await,
        };
        let response = response.map_err(|failed| SendFailure::from(*failed));
        if response.is_ok() {
            self.pools.answered(&endpoint, &pool);
        }
        self.pools.count(&endpoint, response).inspect_err(|failure| {
            pool.meter.failed(failure.error.kind);
            if failure.is_unconnected() {
                pool.connect_failed(Instant::now());
            }
            if failure.is_unreachable() {
                reachability::failed(&self.pools.observer, &endpoint, failure);
            }
        })
    }

    /// Counts a request whose call of [`Upstreams::send`] timed out. `is_complete` says that the endpoint
    /// was sent all of it: otherwise the client may have been the one that was waited for.
    pub(crate) fn unanswered(&self, endpoint: &ChosenEndpoint, is_complete: bool) {
        self.pools.pool(endpoint).meter.unanswered();
        if is_complete {
            endpoint.record(self.pools.observer.worker, RequestOutcome::Timeout);
        }
    }

    /// Gives former endpoints away that no request uses any more: another thread frees them.
    pub(crate) fn release_former(&self) {
        self.pools.clusters.borrow().release_former();
    }

    /// Starts with the first request, since a runtime certainly exists then.
    fn start_reaping(&self) {
        if !self.pools.reaping.replace(true) {
            rt::spawn(reap_for_ever(Rc::downgrade(&self.pools)));
        }
    }
}

/// Counts a request that is sent again, until it has a response.
#[derive(Debug)]
pub(crate) struct RetryPermit {
    _circuit: Option<CircuitPermit>,
}

/// Ends with the worker.
async fn reap_for_ever(pools: RcWeak<WorkerPools>) {
    loop {
        rt::sleep(REAP_INTERVAL).await;
        let Some(pools) = pools.upgrade() else { return };
        pools.reap(Instant::now());
    }
}

impl WorkerPools {
    fn pick(&self, endpoints: &EndpointSet, turns: &mut Turns, client_hash: u64) -> Option<usize> {
        endpoints.pick(
            client_hash,
            &mut self.random.borrow_mut(),
            |index| self.in_flight(endpoints.endpoint(index)),
            |weights| turns.next(weights),
        )
    }

    /// Chooses among those that the request has not tried. Endpoints with a setback come last.
    fn pick_untried(
        &self,
        endpoints: &EndpointSet,
        turns: &mut Turns,
        client_hash: u64,
        tried: &Tried,
    ) -> Option<usize> {
        let now = Instant::now();
        let draw = |round: u64| {
            // Clients of an endpoint that is left out spread over all others, the same on all workers.
            self.pick(endpoints, turns, client_hash ^ round.wrapping_mul(0x9e37_79b9_7f4a_7c15))
        };
        let mut draws = (0..DRAWS).map_while(draw);
        let is_last = |index: usize| {
            let pools = self.by_endpoint.borrow();
            pools.get(&endpoints.endpoint(index).key).is_some_and(|pool| pool.is_last(now))
        };
        let index = tried.choose(endpoints, &mut draws, is_last)?;
        if let Some(pool) = self.by_endpoint.borrow().get(&endpoints.endpoint(index).key) {
            pool.tried(now);
        }
        Some(index)
    }

    /// Closes idle connections to endpoints that have gone down since the last call.
    fn close_if_changed(&self) {
        if self.clusters.borrow_mut().take_changed() {
            self.close_unavailable();
        }
    }

    /// A request was answered.
    fn answered(&self, endpoint: &ChosenEndpoint, pool: &EndpointPool) {
        if self.share.setbacks.get() > 0 {
            pool.answered();
        }
        // Once for each connection.
        if !self.observer.metrics.unreachable.is_empty()
            && let Some(connected) = pool.take_connected_at()
        {
            reachability::answered(&self.observer, endpoint, connected);
        }
    }

    /// Counts how a request to an endpoint ended.
    fn count(
        &self,
        endpoint: &ChosenEndpoint,
        mut response: Result<UpstreamResponse, SendFailure>,
    ) -> Result<UpstreamResponse, SendFailure> {
        match &mut response {
            Ok(response) => endpoint.responded(self.observer.worker, &mut response.response),
            Err(failure) => endpoint.failed(self.observer.worker, failure.error.kind),
        }
        response
    }

    /// Closes idle connections to endpoints that get no requests now, of any cluster. Those that carry one
    /// go on, and are closed by the next call.
    fn close_unavailable(&self) {
        let (unavailable, pools) =
            (self.clusters.borrow().unavailable(), self.by_endpoint.borrow());
        unavailable.iter().filter_map(|key| pools.get(key)).for_each(|pool| pool.close_idle());
    }

    fn pool(&self, endpoint: &Endpoint) -> Rc<EndpointPool> {
        let mut pools = self.by_endpoint.borrow_mut();
        let pool = pools.entry(endpoint.key).or_insert_with(|| {
            let meter = Meter::new(self.observer.clone(), endpoint.metrics.clone());
            let pool = Rc::new(EndpointPool::new(meter, &self.share, Instant::now()));
            self.share.track(&pool);
            pool
        });
        pool.follow(endpoint.name());
        pool.clone()
    }

    fn in_flight(&self, endpoint: &Endpoint) -> usize {
        self.by_endpoint.borrow().get(&endpoint.key).map_or(0, |pool| pool.in_flight())
    }

    fn reap(&self, now: Instant) {
        self.by_endpoint.borrow_mut().retain(|_, pool| pool.reap(now));
        self.clusters.borrow_mut().reap();
        self.close_unavailable();
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams")
            .field("endpoints", &self.pools.by_endpoint.borrow().len())
            .finish()
    }
}

#[cfg(test)]
mod tests;
