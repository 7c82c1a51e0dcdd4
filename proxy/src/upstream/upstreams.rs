//! A worker's connections to all upstreams.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    fmt,
    hash::{BuildHasher, RandomState},
    rc::{Rc, Weak as RcWeak},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use ::http::Request;
use portcullis_abi::SplitMix64;

use super::{
    Cluster, Endpoint, RequestBody, SendOptions, UpstreamError, UpstreamResponse,
    balance::RoundRobin, body::SentBody, cluster::EndpointKey, endpoint_pool::EndpointPool,
    hasher::BuildNumberHasher, meter::Meter, request::UpstreamRequest,
};
use crate::{observe::WorkerObserver, rt};

/// How often expired connections are removed. One task of the worker does it for all, so that no
/// connection needs its own timer.
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// A worker's connections to all upstreams.
pub(crate) struct Upstreams {
    pools: Rc<WorkerPools>,
}

struct WorkerPools {
    observer: Rc<WorkerObserver>,
    by_endpoint: RefCell<HashMap<EndpointKey, Rc<EndpointPool>, BuildNumberHasher>>,
    /// The state of round robin, by cluster.
    turns: RefCell<HashMap<u64, Turns, BuildNumberHasher>>,
    random: RefCell<SplitMix64>,
    reaping: Cell<bool>,
}

struct Turns {
    cluster: Weak<()>,
    turns: RoundRobin,
}

impl Upstreams {
    /// No connections yet.
    pub(crate) fn new(observer: Rc<WorkerObserver>) -> Upstreams {
        let seed = RandomState::new().hash_one(observer.worker);
        let pools = WorkerPools {
            observer,
            by_endpoint: RefCell::default(),
            turns: RefCell::default(),
            random: RefCell::new(SplitMix64::new(seed)),
            reaping: Cell::new(false),
        };
        Upstreams { pools: Rc::new(pools) }
    }

    /// Chooses the endpoint for a request of the client that hashes to `client_hash`: its index in
    /// the cluster. A request keeps the index, since a reference would write a count that all
    /// workers share.
    pub(crate) fn pick(&self, cluster: &Cluster, client_hash: u64) -> usize {
        if cluster.endpoints().len() == 1 {
            return 0;
        }
        cluster.balance.pick(
            client_hash,
            &mut self.pools.random.borrow_mut(),
            |index| self.pools.in_flight(cluster.endpoint(index)),
            |weights| self.pools.turn(cluster, weights),
        )
    }

    /// Sends a request over a pooled or a new connection and waits for the response's head.
    ///
    /// The request has its final path (origin form), Host header and end-to-end headers, `Cookie`
    /// in one line; this converts them for the connection's HTTP version. A request that failed on
    /// a pooled connection because the upstream had closed it is sent again on a new connection if
    /// that is safe (RFC 9110 section 9.2.2).
    pub(crate) async fn send(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
        request: Request<RequestBody>,
        options: SendOptions,
    ) -> Result<UpstreamResponse, UpstreamError> {
        self.start_reaping();
        let pool = self.pools.pool(endpoint);
        let request = request.map(SentBody::new);
        let sending = UpstreamRequest::new(&pool, cluster, endpoint, request.body());
        let response = sending.run(request, options).await;
        response.inspect_err(|error| pool.meter.failed(error.kind))
    }

    /// Counts a request whose call of [`Upstreams::send`] timed out.
    pub(crate) fn unanswered(&self, endpoint: &Endpoint) {
        self.pools.pool(endpoint).meter.unanswered();
    }

    /// Starts with the first request, since a runtime certainly exists then.
    fn start_reaping(&self) {
        if !self.pools.reaping.replace(true) {
            rt::spawn(reap_for_ever(Rc::downgrade(&self.pools)));
        }
    }
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
    fn pool(&self, endpoint: &Endpoint) -> Rc<EndpointPool> {
        let mut pools = self.by_endpoint.borrow_mut();
        let pool = pools.entry(endpoint.key).or_insert_with(|| {
            let meter = Meter::new(self.observer.clone(), endpoint.metrics.clone());
            Rc::new(EndpointPool::new(meter, Instant::now()))
        });
        pool.follow(endpoint.name());
        pool.clone()
    }

    fn in_flight(&self, endpoint: &Endpoint) -> usize {
        self.by_endpoint.borrow().get(&endpoint.key).map_or(0, |pool| pool.in_flight())
    }

    fn turn(&self, cluster: &Cluster, weights: &[u32]) -> usize {
        let mut turns = self.turns.borrow_mut();
        let turns = turns.entry(cluster.id).or_insert_with(|| Turns {
            cluster: Arc::downgrade(&cluster.alive),
            turns: RoundRobin::new(weights, self.observer.worker),
        });
        turns.turns.next(weights)
    }

    fn reap(&self, now: Instant) {
        self.by_endpoint.borrow_mut().retain(|_, pool| pool.reap(now));
        self.turns.borrow_mut().retain(|_, turns| turns.cluster.strong_count() > 0);
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
            BalancePolicy,
            endpoint_pool::InFlight,
            testing::{cluster, endpoint},
        },
    };

    fn upstreams() -> Upstreams {
        Upstreams::new(Rc::new(WorkerObserver::detached(0)))
    }

    fn three(balance: BalancePolicy) -> Cluster {
        cluster(["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"].map(endpoint).into(), balance)
    }

    fn picks(upstreams: &Upstreams, cluster: &Cluster, count: u64) -> Vec<String> {
        let authorities = (0..count).map(|hash| upstreams.pick(cluster, hash));
        authorities.map(|index| cluster.endpoint(index).spec.authority.to_string()).collect()
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
        let busy = |index: usize| InFlight::new(upstreams.pools.pool(cluster.endpoint(index)));
        let _held = (busy(0), busy(0), busy(1));
        assert!(picks(&upstreams, &cluster, 200).iter().all(|picked| picked != "10.0.0.1:1"));
    }

    #[test]
    fn a_request_without_an_answer_in_time_is_a_failure_of_its_kind() {
        let upstreams = upstreams();
        upstreams.unanswered(three(BalancePolicy::RoundRobin).endpoint(0));
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
        assert_eq!(upstreams.pools.turns.borrow().len(), 1);
        assert_eq!(picks(&upstreams, &kept, 1), ["10.0.0.2:1"]);
    }

    #[test]
    fn an_endpoint_keeps_its_state_across_reloads_while_in_use() {
        let upstreams = upstreams();
        let now = Instant::now();
        let before = upstreams.pools.pool(three(BalancePolicy::RoundRobin).endpoint(0));
        let after = upstreams.pools.pool(three(BalancePolicy::RoundRobin).endpoint(0));
        assert!(Rc::ptr_eq(&before, &after));
        upstreams.pools.reap(now + Duration::from_secs(3000));
        assert_eq!(upstreams.pools.by_endpoint.borrow().len(), 1);
        upstreams.pools.reap(now + Duration::from_secs(4000));
        assert_eq!(upstreams.pools.by_endpoint.borrow().len(), 0);
    }
}
