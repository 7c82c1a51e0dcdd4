use super::*;
use crate::upstream::{
    BalancePolicy, ResilienceSpec,
    health::outlier::EjectionTrigger,
    testing::{endpoint, watched_cluster},
};

#[test]
fn an_outlier_that_stays_loses_its_error_after_an_interval() {
    let mut outlier = OutlierSpec::default();
    // Detected, and never ejected.
    outlier.enforcing.consecutive_5xx = 0;
    let interval = outlier.interval;
    let resilience = ResilienceSpec { outlier: Some(outlier), ..ResilienceSpec::default() };
    let endpoints = ["10.0.0.1:1", "10.0.0.2:1"].map(endpoint).into();
    let (cluster, _) = watched_cluster(endpoints, BalancePolicy::RoundRobin, resilience);
    let begun = Instant::now();
    let mut ejector = Ejector::new(Arc::default());
    ejector.follow(&[Arc::downgrade(&cluster)], begun);
    let health = Arc::clone(cluster.current().endpoint_health(0).unwrap());
    let trigger = EjectionTrigger::Consecutive5xx;
    ejector.propose(&EjectionProposal { endpoint: Arc::clone(&health), trigger }, begun);
    let error = || health.shown().last_error;
    ejector.end_intervals(begun + interval);
    assert!(error().ends_with("not ejected, by `enforcing_...`"), "{}", error());
    ejector.end_intervals(begun + interval * 2);
    assert_eq!(error(), "");
}
