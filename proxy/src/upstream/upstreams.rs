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
    Cluster, Endpoint, Reply, RequestBody, SendOptions, UpstreamError, balance::RoundRobin,
    body::SentBody, cluster::EndpointKey, exchange::Exchange, hasher::BuildNumberHasher,
    host::Host, meter::Meter,
};
use crate::{observe::WorkerObserver, rt};

/// How often expired connections are looked for. One task of the worker does it for all, so that
/// no connection needs a timer of its own.
const REAP_INTERVAL: Duration = Duration::from_secs(5);

/// A worker's connections to all upstreams.
pub struct Upstreams {
    state: Rc<State>,
}

struct State {
    observer: Rc<WorkerObserver>,
    hosts: RefCell<HashMap<EndpointKey, Rc<Host>, BuildNumberHasher>>,
    /// Whose turn it is, by cluster.
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
    pub fn new(observer: Rc<WorkerObserver>) -> Upstreams {
        let seed = RandomState::new().hash_one(observer.worker);
        let state = State {
            observer,
            hosts: RefCell::default(),
            turns: RefCell::default(),
            random: RefCell::new(SplitMix64::new(seed)),
            reaping: Cell::new(false),
        };
        Upstreams { state: Rc::new(state) }
    }

    /// Chooses the endpoint for a request of the client that hashes to `client_hash`.
    pub fn pick<'a>(&self, cluster: &'a Cluster, client_hash: u64) -> &'a Arc<Endpoint> {
        if let Some(only) = cluster.only_endpoint() {
            return only;
        }
        let index = cluster.balance.pick(
            client_hash,
            &mut self.state.random.borrow_mut(),
            |index| self.state.in_flight(cluster.endpoint(index)),
            |weights| self.state.turn(cluster, weights),
        );
        cluster.endpoint(index)
    }

    /// Sends a request over a pooled or a new connection and waits for the response's head.
    ///
    /// The request has its final path (origin form), Host header and end-to-end headers, `Cookie`
    /// in one line; this turns them into what the connection's HTTP version wants. A request that failed on a pooled
    /// connection which the upstream had closed meanwhile is sent once more on a new connection,
    /// where that is safe (RFC 9110 section 9.2.2).
    pub async fn send(
        &self,
        cluster: &Arc<Cluster>,
        endpoint: &Arc<Endpoint>,
        request: Request<RequestBody>,
        options: SendOptions,
    ) -> Result<Reply, UpstreamError> {
        self.start_reaping();
        let host = self.state.host(endpoint);
        let request = request.map(SentBody::new);
        let exchange = Exchange::new(&host, cluster, endpoint, request.body());
        let reply = exchange.run(request, options).await;
        reply.inspect_err(|error| host.meter.failed(error.kind))
    }

    /// Counts a request that [`Upstreams::send`] was not given the time to answer.
    pub fn unanswered(&self, endpoint: &Endpoint) {
        self.state.host(endpoint).meter.unanswered();
    }

    /// Begins with the first request, since only then is there surely a runtime.
    fn start_reaping(&self) {
        if !self.state.reaping.replace(true) {
            rt::spawn(reap_for_ever(Rc::downgrade(&self.state)));
        }
    }
}

/// Ends with the worker.
async fn reap_for_ever(state: RcWeak<State>) {
    loop {
        rt::sleep(REAP_INTERVAL).await;
        let Some(state) = state.upgrade() else { return };
        state.reap(Instant::now());
    }
}

impl State {
    fn host(&self, endpoint: &Endpoint) -> Rc<Host> {
        let mut hosts = self.hosts.borrow_mut();
        let host = hosts.entry(endpoint.key).or_insert_with(|| {
            let meter = Meter::new(self.observer.clone(), endpoint.metrics.clone());
            Rc::new(Host::new(meter, Instant::now()))
        });
        host.clone()
    }

    fn in_flight(&self, endpoint: &Endpoint) -> usize {
        self.hosts.borrow().get(&endpoint.key).map_or(0, |host| host.in_flight())
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
        self.hosts.borrow_mut().retain(|_, host| host.reap(now));
        self.turns.borrow_mut().retain(|_, turns| turns.cluster.strong_count() > 0);
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("hosts", &self.state.hosts.borrow().len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        observe::UpstreamFailure,
        upstream::{
            BalancePolicy,
            host::InFlight,
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
        authorities.map(|endpoint| endpoint.spec.authority.to_string()).collect()
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
        let busy = |index: usize| InFlight::new(upstreams.state.host(cluster.endpoint(index)));
        let _held = (busy(0), busy(0), busy(1));
        assert!(picks(&upstreams, &cluster, 200).iter().all(|picked| picked != "10.0.0.1:1"));
    }

    #[test]
    fn a_request_without_an_answer_in_time_is_a_failure_of_its_kind() {
        let upstreams = upstreams();
        upstreams.unanswered(three(BalancePolicy::RoundRobin).endpoint(0));
        let failures = &upstreams.state.observer.metrics.upstream.connect_failures;
        assert_eq!(failures.get(UpstreamFailure::ResponseTimeout), 1);
    }

    #[test]
    fn what_belongs_to_clusters_that_are_gone_is_forgotten() {
        let upstreams = upstreams();
        let (gone, kept) = (three(BalancePolicy::RoundRobin), three(BalancePolicy::RoundRobin));
        picks(&upstreams, &gone, 1);
        picks(&upstreams, &kept, 1);
        drop(gone);
        upstreams.state.reap(Instant::now());
        assert_eq!(upstreams.state.turns.borrow().len(), 1);
        assert_eq!(picks(&upstreams, &kept, 1), ["10.0.0.2:1"]);
    }

    #[test]
    fn an_endpoint_keeps_its_state_across_reloads_and_loses_it_when_unused_for_long() {
        let upstreams = upstreams();
        let now = Instant::now();
        let before = upstreams.state.host(three(BalancePolicy::RoundRobin).endpoint(0));
        let after = upstreams.state.host(three(BalancePolicy::RoundRobin).endpoint(0));
        assert!(Rc::ptr_eq(&before, &after));
        upstreams.state.reap(now + Duration::from_secs(3000));
        assert_eq!(upstreams.state.hosts.borrow().len(), 1);
        upstreams.state.reap(now + Duration::from_secs(4000));
        assert_eq!(upstreams.state.hosts.borrow().len(), 0);
    }
}
