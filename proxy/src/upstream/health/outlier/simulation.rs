//! A hundred endpoints over an hour of simulated time: workers' counts, the detector, the panic
//! threshold and the balancer together.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portcullis_abi::SplitMix64;
use tokio::sync::mpsc;

use super::{EjectionProposal, Ejector, EnforcingSpec, OutlierSpec, RequestOutcome};
use crate::upstream::{
    BalancePolicy, Cluster, ResilienceSpec,
    balance::RoundRobin,
    testing::{endpoint, watched_cluster},
};

const ENDPOINTS: usize = 100;
const MOST_EJECTED: usize = 30;
const REQUESTS_A_SECOND: usize = 300;
const SECONDS: u64 = 3600;
/// From then on all endpoints are well.
const RECOVERY: u64 = 2400;

/// How an endpoint behaves until the recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Well,
    Dead,
    /// Down for a minute, up for a minute.
    Flapping,
    /// One of so many requests fails.
    FailsOneIn(u64),
}

struct Simulation {
    start: Instant,
    random: SplitMix64,
    cluster: Arc<Cluster>,
    proposals: mpsc::Receiver<EjectionProposal>,
    ejector: Ejector,
    turns: RoundRobin,
    behaviours: Vec<Behaviour>,
    ejections: Vec<usize>,
    was_ejected: Vec<bool>,
    failed: usize,
}

impl Simulation {
    fn new(seed: u64) -> Simulation {
        let mut random = SplitMix64::new(seed);
        let resilience = ResilienceSpec { outlier: Some(spec()), ..ResilienceSpec::default() };
        let endpoints = (0..ENDPOINTS).map(|at| endpoint(&format!("10.0.0.{at}:1"))).collect();
        let (cluster, proposals) =
            watched_cluster(endpoints, BalancePolicy::RoundRobin, resilience);
        let start = Instant::now();
        let mut ejector = Ejector::new(Arc::default());
        ejector.follow(&[Arc::downgrade(&cluster)], start);
        let behaviours = (0..ENDPOINTS).map(|_| match random.below(20) {
            0 | 1 => Behaviour::Dead,
            2 => Behaviour::Flapping,
            3 => Behaviour::FailsOneIn(3),
            // Fails hardly ever so often in a row, or so much more than the others.
            4 => Behaviour::FailsOneIn(200),
            _ => Behaviour::Well,
        });
        Simulation {
            start,
            behaviours: behaviours.collect(),
            random,
            cluster,
            proposals,
            ejector,
            turns: RoundRobin::new(&[1; ENDPOINTS], 0),
            ejections: vec![0; ENDPOINTS],
            was_ejected: vec![false; ENDPOINTS],
            failed: 0,
        }
    }

    fn second(&mut self, second: u64) {
        let now = self.start + Duration::from_secs(second);
        for _ in 0..REQUESTS_A_SECOND {
            self.request(second, now);
        }
        if self.ejector.next_due().is_some_and(|due| due <= now) {
            self.ejector.end_intervals(now);
        }
        self.observe();
    }

    fn request(&mut self, second: u64, now: Instant) {
        let set = Arc::clone(&self.cluster.current());
        assert!(!set.is_panic(), "most endpoints are well");
        let turn = |weights: crate::upstream::endpoint_set::TurnWeights<'_>| {
            self.turns.next(weights.current)
        };
        let picked = set.pick(0, &mut self.random, |_| 0, turn).expect("one is available");
        let fails = self.fails(picked, second);
        self.failed += usize::from(fails && second >= RECOVERY);
        let outcome = match fails {
            false => RequestOutcome::Response(200),
            true if picked.is_multiple_of(2) => RequestOutcome::Response(503),
            true => RequestOutcome::Failure,
        };
        set.health().unwrap().record(0, picked, outcome);
        while let Ok(proposal) = self.proposals.try_recv() {
            self.ejector.propose(&proposal, now);
        }
    }

    fn fails(&mut self, endpoint: usize, second: u64) -> bool {
        if second >= RECOVERY {
            return false;
        }
        match self.behaviours[endpoint] {
            Behaviour::Well => false,
            Behaviour::Dead => true,
            Behaviour::Flapping => (second / 60).is_multiple_of(2),
            Behaviour::FailsOneIn(count) => self.random.below(count) == 0,
        }
    }

    fn observe(&mut self) {
        let health = self.cluster.health().unwrap();
        let ejected = health.endpoints().iter().map(|endpoint| endpoint.is_ejected());
        let mut count = 0;
        for (at, is_ejected) in ejected.enumerate() {
            count += usize::from(is_ejected);
            self.ejections[at] += usize::from(is_ejected && !self.was_ejected[at]);
            self.was_ejected[at] = is_ejected;
        }
        assert!(count <= MOST_EJECTED, "{count} are ejected");
    }

    fn run(mut self) {
        (0..SECONDS).for_each(|second| self.second(second));
        assert_eq!(self.failed, 0);
        assert_eq!(self.was_ejected, [false; ENDPOINTS], "all came back");
        for (behaviour, ejections) in self.behaviours.iter().zip(&self.ejections) {
            match behaviour {
                Behaviour::Well | Behaviour::FailsOneIn(200) => {
                    assert_eq!(*ejections, 0, "{behaviour:?}");
                }
                // 30 s, 60 s, ... 300 s: 2,400 s have room for 12 or 13 and no more: each comes sooner
                // or later than its time by an interval at most, and is forgiven nothing.
                Behaviour::Dead => assert!((8..=14).contains(ejections), "{ejections}"),
                // Each of 20 minutes down has room for two: one of 30 s, and one after it.
                Behaviour::Flapping => assert!((1..=40).contains(ejections), "{ejections}"),
                Behaviour::FailsOneIn(_) => assert!(*ejections <= 40, "{ejections}"),
            }
        }
    }
}

fn spec() -> OutlierSpec {
    OutlierSpec {
        max_ejection_percent: Some(u8::try_from(MOST_EJECTED).unwrap()),
        max_ejection_time_jitter: Duration::from_secs(5),
        enforcing: EnforcingSpec { failure_percentage: 100, ..EnforcingSpec::default() },
        ..OutlierSpec::default()
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// `PORTCULLIS_SIMULATIONS` is the number of runs, and `PORTCULLIS_SIMULATION_SEED` the first seed.
#[test]
fn outliers_leave_and_return_and_nobody_else_does() {
    let first = number("PORTCULLIS_SIMULATION_SEED").unwrap_or(1);
    for seed in first..first + number("PORTCULLIS_SIMULATIONS").unwrap_or(1) {
        // Shown if the test fails.
        println!("PORTCULLIS_SIMULATION_SEED={seed}");
        Simulation::new(seed).run();
    }
}
