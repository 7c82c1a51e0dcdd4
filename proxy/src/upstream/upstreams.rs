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
        match pools.share.setbacks.get() {
            0 => known.choose(|endpoints, turns| pools.pick(endpoints, turns, client_hash)),
            _ => known.choose(|endpoints, turns| {
                pools.pick_untried(endpoints, turns, client_hash, &Tried::default())
            }),
        }
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
        self.pools.begin(&endpoint);
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
        if response.is_ok() && self.pools.share.setbacks.get() > 0 {
            pool.answered();
        }
        self.pools.count(&endpoint, response).inspect_err(|failure| {
            pool.meter.failed(failure.error.kind);
            if failure.is_unconnected() {
                pool.connect_failed(Instant::now());
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

    /// A request is about to be sent to an endpoint.
    fn begin(&self, endpoint: &ChosenEndpoint) {
        if endpoint.is_panic() {
            self.observer.metrics.upstream.panic_requests.inc();
        }
        if self.clusters.borrow_mut().take_changed() {
            self.close_unavailable();
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

    /// Closes idle connections to endpoints that get no requests now. Those that carry one go on, and
    /// are closed by the next call.
    fn close_unavailable(&self) {
        let (clusters, pools) = (self.clusters.borrow(), self.by_endpoint.borrow());
        let unavailable = clusters.unavailable();
        unavailable.filter_map(|endpoint| pools.get(&endpoint.key)).for_each(|pool| {
            pool.close_idle();
        });
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
mod tests {
    use super::*;
    use crate::{
        observe::UpstreamFailure,
        upstream::{
            BalancePolicy, EjectionProposal, EndpointSpec, OutlierSpec, ResilienceSpec,
            endpoint_pool::InFlight,
            testing::{cluster, endpoint, next_endpoints, watched_cluster},
        },
    };

    fn upstreams() -> Upstreams {
        Upstreams::new(Rc::new(WorkerObserver::detached(0)))
    }

    fn three(balance: BalancePolicy) -> Arc<Cluster> {
        cluster(endpoints(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]), balance)
    }

    fn endpoints<const N: usize>(addresses: [&str; N]) -> Vec<EndpointSpec> {
        addresses.map(endpoint).into()
    }

    fn first(cluster: &Cluster) -> Arc<Endpoint> {
        Arc::clone(cluster.current().endpoint(0))
    }

    fn picks(upstreams: &Upstreams, cluster: &Arc<Cluster>, count: u64) -> Vec<String> {
        let chosen = (0..count).map(|hash| upstreams.choose(cluster, hash).unwrap());
        chosen.map(|endpoint| endpoint.spec.authority.to_string()).collect()
    }

    #[test]
    fn clusters_take_turns_independently() {
        let upstreams = upstreams();
        let (one, other) = (three(BalancePolicy::RoundRobin), three(BalancePolicy::RoundRobin));
        assert_eq!(picks(&upstreams, &one, 2), ["10.0.0.1:1", "10.0.0.2:1"]);
        assert_eq!(picks(&upstreams, &other, 1), ["10.0.0.1:1"]);
        assert_eq!(picks(&upstreams, &one, 2), ["10.0.0.3:1", "10.0.0.1:1"]);
    }

    #[test]
    fn one_client_stays_with_one_endpoint_in_every_worker() {
        for balance in [BalancePolicy::RingHash, BalancePolicy::Maglev] {
            let cluster = three(balance);
            let (one, other) = (upstreams(), upstreams());
            assert_eq!(picks(&one, &cluster, 50), picks(&other, &cluster, 50));
        }
    }

    #[test]
    fn least_request_counts_what_this_worker_has_under_way() {
        let upstreams = upstreams();
        let cluster = three(BalancePolicy::LeastRequest);
        let busy = |index: usize| {
            InFlight::new(upstreams.pools.pool(cluster.current().endpoint(index)), None)
        };
        let _held = (busy(0), busy(0), busy(1));
        assert!(picks(&upstreams, &cluster, 200).iter().all(|picked| picked != "10.0.0.1:1"));
    }

    #[test]
    fn a_request_without_an_answer_in_time_is_a_failure_of_its_kind() {
        let upstreams = upstreams();
        let endpoint = upstreams.choose(&three(BalancePolicy::RoundRobin), 0).unwrap();
        upstreams.unanswered(&endpoint, true);
        let failures = &upstreams.pools.observer.metrics.upstream.connect_failures;
        assert_eq!(failures.get(UpstreamFailure::ResponseTimeout), 1);
    }

    #[test]
    fn what_belongs_to_clusters_that_are_gone_is_forgotten() {
        let upstreams = upstreams();
        let (gone, kept) = (three(BalancePolicy::RoundRobin), three(BalancePolicy::RoundRobin));
        picks(&upstreams, &gone, 1);
        picks(&upstreams, &kept, 1);
        drop(gone);
        upstreams.pools.reap(Instant::now());
        assert_eq!(upstreams.pools.clusters.borrow().len(), 1);
        assert_eq!(picks(&upstreams, &kept, 1), ["10.0.0.2:1"]);
    }

    #[test]
    fn a_cluster_chooses_among_the_endpoints_it_has_now() {
        let upstreams = upstreams();
        let cluster = three(BalancePolicy::RoundRobin);
        let held = upstreams.choose(&cluster, 0).unwrap();
        let next = endpoints(["10.0.0.4:1", "10.0.0.5:1"]);
        drop(next_endpoints(&cluster, next, BalancePolicy::RoundRobin).publish());
        // Its second turn.
        assert_eq!(picks(&upstreams, &cluster, 2), ["10.0.0.5:1", "10.0.0.4:1"]);
        assert_eq!(&*held.spec.authority, "10.0.0.1:1", "a request keeps what was chosen for it");
    }

    #[test]
    fn turns_go_on_where_equal_endpoints_are_put() {
        let upstreams = upstreams();
        let cluster = three(BalancePolicy::RoundRobin);
        assert_eq!(picks(&upstreams, &cluster, 1), ["10.0.0.1:1"]);
        let next = endpoints(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.4:1"]);
        drop(next_endpoints(&cluster, next, BalancePolicy::RoundRobin).publish());
        assert_eq!(picks(&upstreams, &cluster, 2), ["10.0.0.2:1", "10.0.0.4:1"]);
    }

    #[test]
    fn a_policy_that_changes_with_the_endpoints_holds_at_once() {
        let upstreams = upstreams();
        let cluster = three(BalancePolicy::RoundRobin);
        picks(&upstreams, &cluster, 1);
        let next = endpoints(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
        drop(next_endpoints(&cluster, next, BalancePolicy::Maglev).publish());
        let fresh = Upstreams::new(Rc::new(WorkerObserver::detached(0)));
        let expected = picks(&fresh, &three(BalancePolicy::Maglev), 50);
        assert_eq!(picks(&upstreams, &cluster, 50), expected);
    }

    #[test]
    fn an_endpoint_with_a_setback_is_chosen_last() {
        for balance in [
            BalancePolicy::RoundRobin,
            BalancePolicy::LeastRequest,
            BalancePolicy::Random,
            BalancePolicy::RingHash,
            BalancePolicy::Maglev,
        ] {
            let (upstreams, cluster) = (upstreams(), three(balance));
            let pool = |index: usize| upstreams.pools.pool(cluster.current().endpoint(index));
            pool(0).connect_failed(Instant::now());
            let picked = picks(&upstreams, &cluster, 200);
            assert!(picked.iter().all(|picked| picked != "10.0.0.1:1"), "{balance:?}");
            // The clients of the one that is left out spread over the others.
            assert!(picked.iter().any(|it| it == "10.0.0.2:1"), "{balance:?}");
            assert!(picked.iter().any(|it| it == "10.0.0.3:1"), "{balance:?}");
            (1..3).for_each(|index| pool(index).connect_failed(Instant::now()));
            assert_eq!(picks(&upstreams, &cluster, 3).len(), 3, "one of them, if all have failed");
            (0..3).for_each(|index| pool(index).connected());
            assert_eq!(upstreams.pools.share.setbacks.get(), 0);
        }
    }

    #[test]
    fn a_request_goes_to_each_endpoint_once() {
        let (upstreams, cluster) = (upstreams(), three(BalancePolicy::Random));
        let mut tried = Tried::default();
        for left in (1..=3).rev() {
            let (endpoint, untried) = upstreams.choose_other(&cluster, 1, &tried).unwrap();
            assert_eq!(untried, left);
            tried.add(&endpoint);
        }
        assert!(upstreams.choose_other(&cluster, 1, &tried).is_none());
    }

    #[test]
    fn no_request_moves_a_count_of_its_endpoints() {
        let upstreams = upstreams();
        let cluster = three(BalancePolicy::RoundRobin);
        let endpoints = Arc::clone(&cluster.current());
        drop(upstreams.choose(&cluster, 0).unwrap());
        let counts = || {
            let each = endpoints.endpoints().iter().map(Arc::strong_count);
            let ours = [Arc::strong_count(&cluster), Arc::strong_count(&endpoints)];
            ours.into_iter().chain(each).collect::<Vec<_>>()
        };
        let before = counts();
        let under_way: Vec<_> =
            (0..100).map(|hash| upstreams.choose(&cluster, hash).unwrap()).collect();
        assert_eq!(counts(), before);
        drop(under_way);
        assert_eq!(counts(), before);
    }

    #[test]
    fn former_endpoints_are_given_away_once_no_request_uses_them() {
        let upstreams = upstreams();
        let cluster = three(BalancePolicy::RoundRobin);
        let former = Arc::downgrade(&cluster.current());
        let held = upstreams.choose(&cluster, 0).unwrap();
        let next = endpoints(["10.0.0.4:1", "10.0.0.5:1"]);
        drop(next_endpoints(&cluster, next, BalancePolicy::RoundRobin).publish());
        // No request comes that would find the new ones.
        upstreams.pools.reap(Instant::now());
        upstreams.release_former();
        assert_eq!(former.strong_count(), 1, "a request uses them");
        drop(held);
        upstreams.release_former();
        // The other thread frees them at its own pace.
        while former.strong_count() > 0 {
            std::thread::yield_now();
        }
    }

    /// Two endpoints of a cluster that ejects after one failure, and uses none that is down.
    fn ejecting() -> (Arc<Cluster>, tokio::sync::mpsc::Receiver<EjectionProposal>) {
        let outlier = Some(OutlierSpec { consecutive_5xx: 1, ..OutlierSpec::default() });
        let resilience =
            ResilienceSpec { outlier, panic_threshold_percent: 0, ..ResilienceSpec::default() };
        let endpoints = endpoints(["10.0.0.1:1", "10.0.0.2:1"]);
        watched_cluster(endpoints, BalancePolicy::RoundRobin, resilience)
    }

    fn eject(cluster: &Cluster, index: usize) {
        cluster.current().endpoint_health(index).unwrap().set_ejected(true, Instant::now());
        cluster.refresh_available(Instant::now());
    }

    #[test]
    fn nothing_is_chosen_if_no_endpoint_is_available() {
        let (upstreams, (cluster, _)) = (upstreams(), ejecting());
        eject(&cluster, 0);
        assert_eq!(picks(&upstreams, &cluster, 2), ["10.0.0.2:1", "10.0.0.2:1"]);
        eject(&cluster, 1);
        assert!(upstreams.choose(&cluster, 0).is_none());
    }

    #[test]
    fn a_request_that_timed_out_counts_unless_the_client_was_waited_for() {
        let (upstreams, (cluster, mut proposals)) = (upstreams(), ejecting());
        let endpoint = upstreams.choose(&cluster, 0).unwrap();
        upstreams.unanswered(&endpoint, false);
        assert!(proposals.try_recv().is_err());
        upstreams.unanswered(&endpoint, true);
        let proposal = proposals.try_recv().unwrap();
        let current = cluster.current();
        assert!(Arc::ptr_eq(&proposal.endpoint, current.endpoint_health(0).unwrap()));
    }

    #[test]
    fn an_endpoint_keeps_its_state_across_reloads_while_in_use() {
        let upstreams = upstreams();
        let now = Instant::now();
        let before = upstreams.pools.pool(&first(&three(BalancePolicy::RoundRobin)));
        let after = upstreams.pools.pool(&first(&three(BalancePolicy::RoundRobin)));
        assert!(Rc::ptr_eq(&before, &after));
        upstreams.pools.reap(now + Duration::from_secs(3000));
        assert_eq!(upstreams.pools.by_endpoint.borrow().len(), 1);
        upstreams.pools.reap(now + Duration::from_secs(4000));
        assert_eq!(upstreams.pools.by_endpoint.borrow().len(), 0);
    }
}
