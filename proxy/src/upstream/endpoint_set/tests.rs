use std::time::{Duration, Instant};

use super::*;
use crate::upstream::{
    Cluster, OutlierSpec, ResilienceSpec,
    balance::RoundRobin,
    testing::{cluster, endpoint, watched_cluster},
};

#[test]
fn an_endpoint_listed_twice_has_two_identities() {
    let twice = ["127.0.0.1:1", "127.0.0.1:1", "127.0.0.1:12"].map(|at| Arc::new(endpoint(at)));
    let identities: Vec<_> = candidates(&twice).into_iter().map(|c| c.identity).collect();
    assert_eq!(identities, ["127.0.0.1:1", "127.0.0.1:1|1", "127.0.0.1:12"]);
}

#[test]
fn what_changes_for_requests_makes_another_set() {
    let listed = || vec![endpoint("127.0.0.1:1"), endpoint("127.0.0.1:2")];
    let set = |specs, policy| Arc::clone(&cluster(specs, policy).current());
    let one = set(listed(), BalancePolicy::RoundRobin);
    assert!(one.is_equivalent(&set(listed(), BalancePolicy::RoundRobin)));
    assert!(!one.is_equivalent(&set(listed(), BalancePolicy::Maglev)));
    let changes: [fn(&mut Vec<EndpointSpec>); 5] = [
        |specs| specs.swap(0, 1),
        |specs| specs.push(endpoint("127.0.0.1:3")),
        |specs| specs[1] = endpoint("127.0.0.1:3"),
        |specs| specs[1].weight = 2,
        |specs| specs[1].authority = "localhost:2".into(),
    ];
    for change in changes {
        let mut specs = listed();
        change(&mut specs);
        assert!(!one.is_equivalent(&set(specs.clone(), BalancePolicy::RoundRobin)), "{specs:?}");
    }
}

const ALL_POLICIES: [BalancePolicy; 5] = [
    BalancePolicy::RoundRobin,
    BalancePolicy::LeastRequest,
    BalancePolicy::Random,
    BalancePolicy::RingHash,
    BalancePolicy::Maglev,
];

/// Endpoints of these weights, none of which is used below a threshold of 0.
fn weighted(weights: &[u32], balance: BalancePolicy, resilience: ResilienceSpec) -> Arc<Cluster> {
    let endpoint = |(at, weight): (usize, &u32)| EndpointSpec {
        weight: *weight,
        ..endpoint(&format!("10.0.0.{}:1", at + 1))
    };
    let endpoints = weights.iter().enumerate().map(endpoint).collect();
    watched_cluster(endpoints, balance, resilience).0
}

fn three(balance: BalancePolicy, panic_threshold_percent: u8) -> Arc<Cluster> {
    let outlier = Some(OutlierSpec::default());
    let resilience =
        ResilienceSpec { outlier, panic_threshold_percent, ..ResilienceSpec::default() };
    weighted(&[1, 1, 1], balance, resilience)
}

fn set_down(cluster: &Cluster, index: usize, down: bool) {
    let now = Instant::now();
    let set = Arc::clone(&cluster.current());
    set.endpoint_health(index).unwrap().set_failed_check(down, now);
    cluster.refresh_available(now);
}

/// Picks so many times; how often each endpoint was picked.
fn shares(cluster: &Cluster, picks: u64, turns: &mut RoundRobin) -> Vec<u64> {
    let set = cluster.current();
    let mut random = SplitMix64::new(3);
    let mut shares = vec![0; set.endpoints().len()];
    for hash in 0..picks {
        let pick = set.pick(hash, &mut random, |_| 0, |weights| turns.next(weights.current));
        shares[pick.expect("one is available")] += 1;
    }
    shares
}

fn fresh() -> RoundRobin {
    RoundRobin::new(&[1, 1, 1], 0)
}

#[test]
fn an_endpoint_that_is_down_is_never_picked() {
    for balance in ALL_POLICIES {
        for down in 0..3 {
            let cluster = three(balance, 50);
            set_down(&cluster, down, true);
            let picked = shares(&cluster, 600, &mut fresh());
            assert_eq!(picked[down], 0, "{balance:?}");
            let others = picked.iter().enumerate().filter(|(at, _)| *at != down);
            assert!(others.clone().all(|(_, count)| *count > 150), "{balance:?}: {picked:?}");
            set_down(&cluster, down, false);
            assert!(shares(&cluster, 600, &mut fresh())[down] > 100, "{balance:?}");
        }
    }
}

#[test]
fn requests_in_flight_are_those_of_the_endpoint_itself() {
    let cluster = three(BalancePolicy::LeastRequest, 50);
    set_down(&cluster, 0, true);
    let set = cluster.current();
    let mut random = SplitMix64::new(3);
    let busy = |index: usize| if index == 2 { 1 } else { 0 };
    for _ in 0..100 {
        assert_eq!(set.pick(0, &mut random, busy, |_| unreachable!()), Some(1));
    }
}

#[test]
fn all_are_picked_in_a_panic_and_none_without_one() {
    for balance in ALL_POLICIES {
        for threshold in [50, 0] {
            let cluster = three(balance, threshold);
            (0..3).for_each(|index| set_down(&cluster, index, true));
            let set = cluster.current();
            assert_eq!(set.is_panic(), threshold > 0);
            let pick = set.pick(
                9,
                &mut SplitMix64::new(3),
                |_| 0,
                |weights| fresh().next(weights.current),
            );
            assert_eq!(pick.is_some(), threshold > 0, "{balance:?}");
            if threshold > 0 {
                let picked = shares(&cluster, 600, &mut fresh());
                assert!(picked.iter().all(|count| *count > 100), "{balance:?}: {picked:?}");
            }
        }
    }
}

#[test]
fn the_only_endpoint_is_refused_if_it_is_down_and_nothing_else_is_wanted() {
    let resilience = |panic_threshold_percent| ResilienceSpec {
        outlier: Some(OutlierSpec::default()),
        panic_threshold_percent,
        ..ResilienceSpec::default()
    };
    for threshold in [50, 0] {
        let cluster = weighted(&[1], BalancePolicy::RoundRobin, resilience(threshold));
        set_down(&cluster, 0, true);
        let turns = |weights: TurnWeights<'_>| RoundRobin::new(&[1], 0).next(weights.current);
        let pick = cluster.current().pick(0, &mut SplitMix64::new(3), |_| 0, turns);
        assert_eq!(pick, (threshold > 0).then_some(0));
    }
}

#[test]
fn turns_go_on_in_their_order_while_endpoints_come_and_go() {
    let cluster = three(BalancePolicy::RoundRobin, 50);
    let mut turns = fresh();
    let mut picked = vec![0; 3];
    for round in 0..99 {
        set_down(&cluster, round % 3, true);
        for (sum, count) in picked.iter_mut().zip(shares(&cluster, 2, &mut turns)) {
            *sum += count;
        }
        set_down(&cluster, round % 3, false);
        for (sum, count) in picked.iter_mut().zip(shares(&cluster, 1, &mut turns)) {
            *sum += count;
        }
    }
    assert!(picked.iter().all(|count| (95..=103).contains(count)), "{picked:?}");
}

#[test]
fn clients_of_endpoints_that_are_up_stay_where_they_are() {
    for balance in [BalancePolicy::RingHash, BalancePolicy::Maglev] {
        let cluster = three(balance, 50);
        let pick = |hash: u64| {
            let set = cluster.current();
            set.pick(hash, &mut SplitMix64::new(3), |_| 0, |_| unreachable!()).unwrap()
        };
        let before: Vec<_> = (0..1000).map(pick).collect();
        set_down(&cluster, 1, true);
        let after: Vec<_> = (0..1000).map(pick).collect();
        let stayed = before.iter().zip(&after).filter(|(before, after)| before == after).count();
        let should_stay = before.iter().filter(|before| **before != 1).count();
        let may_move = if balance == BalancePolicy::Maglev { should_stay / 20 } else { 0 };
        assert!(stayed >= should_stay - may_move, "{balance:?}: {stayed} of {should_stay}");
    }
}

#[test]
fn an_endpoint_that_came_back_gets_more_with_each_step_of_its_slow_start() {
    for balance in [BalancePolicy::RoundRobin, BalancePolicy::LeastRequest, BalancePolicy::Random] {
        let resilience = ResilienceSpec {
            outlier: Some(OutlierSpec::default()),
            slow_start: Some(Duration::from_secs(10)),
            ..ResilienceSpec::default()
        };
        let cluster = weighted(&[2, 2, 2], balance, resilience);
        let start = Instant::now();
        let health = Arc::clone(cluster.current().endpoint_health(0).unwrap());
        health.set_failed_check(true, start);
        health.set_failed_check(false, start);
        let mut turns = RoundRobin::new(&[200, 200, 200], 0);
        let mut share_after = |ms: u64| {
            cluster.refresh_available(start + Duration::from_millis(ms));
            shares(&cluster, 3000, &mut turns)[0]
        };
        let (first, half, whole) = (share_after(0), share_after(5000), share_after(10_000));
        // A tenth, a half and a whole of the others' weight.
        assert!((110..180).contains(&first), "{balance:?}: {first}");
        assert!((540..660).contains(&half), "{balance:?}: {half}");
        assert!((930..1070).contains(&whole), "{balance:?}: {whole}");
    }
}

#[test]
fn what_has_not_changed_is_not_compiled_again() {
    let cluster = three(BalancePolicy::Maglev, 50);
    let now = Instant::now();
    assert!(!cluster.refresh_available(now));
    cluster.current().endpoint_health(0).unwrap().set_ejected(true, now);
    assert!(cluster.refresh_available(now));
    assert!(!cluster.refresh_available(now));
}

#[test]
fn the_largest_weights_have_no_room_for_a_scale() {
    let scale = |weights: &[u32]| {
        let set = weighted(weights, BalancePolicy::RoundRobin, ResilienceSpec::default());
        weight_scale(set.current().endpoints())
    };
    assert_eq!(scale(&[1, 7]), 100);
    assert_eq!(scale(&[1, u32::MAX]), 1);
    assert_eq!(scaled(u32::MAX, 1, EndpointShare(10)), u32::MAX / 10);
    assert_eq!(scaled(1, 1, EndpointShare(10)), 1, "never without a turn");
}
