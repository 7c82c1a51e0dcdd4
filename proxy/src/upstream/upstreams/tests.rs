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
    let busy =
        |index: usize| InFlight::new(upstreams.pools.pool(cluster.current().endpoint(index)), None);
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

/// The same, which uses all if fewer than half are available.
fn panicking() -> (Arc<Cluster>, tokio::sync::mpsc::Receiver<EjectionProposal>) {
    let outlier = Some(OutlierSpec::default());
    let resilience = ResilienceSpec { outlier, ..ResilienceSpec::default() };
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
fn a_request_in_a_panic_counts_once() {
    let (upstreams, (cluster, _)) = (upstreams(), panicking());
    let panics = || upstreams.pools.observer.metrics.upstream.panic_requests.get();
    let first = upstreams.choose(&cluster, 0).unwrap();
    assert_eq!(panics(), 0);
    (0..2).for_each(|index| eject(&cluster, index));
    let mut tried = Tried::default();
    tried.add(&first);
    upstreams.choose(&cluster, 0).unwrap();
    upstreams.choose_other(&cluster, 0, &tried).unwrap();
    assert_eq!(panics(), 1, "however many endpoints it tries");
}

#[test]
fn what_is_down_in_one_cluster_and_used_by_another_is_kept() {
    let (upstreams, (ejects, _)) = (upstreams(), ejecting());
    upstreams.choose(&ejects, 0).unwrap();
    (0..2).for_each(|index| eject(&ejects, index));
    assert!(upstreams.choose(&ejects, 0).is_none());
    let unavailable = || upstreams.pools.clusters.borrow().unavailable();
    assert_eq!(unavailable().len(), 2);
    // It uses the second one.
    let other = cluster(endpoints(["10.0.0.2:1", "10.0.0.3:1"]), BalancePolicy::RoundRobin);
    upstreams.choose(&other, 0).unwrap();
    assert_eq!(unavailable().into_iter().collect::<Vec<_>>(), [first(&ejects).key]);
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
