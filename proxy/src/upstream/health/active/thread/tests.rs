use std::sync::Weak;

use super::*;
use crate::upstream::{
    BalancePolicy, CheckIntervals, CheckThresholds, CheckerSpec, EjectionSender, EndpointSpec,
    HealthCheckSpec, HealthMonitor, OutlierSpec, ResilienceSpec, TcpCheckSpec,
    testing::{endpoint, watched_cluster},
};

/// No instant has so long a time behind it.
const TOO_LONG: Duration = Duration::MAX;

fn outliers(interval: Duration) -> Option<OutlierSpec> {
    Some(OutlierSpec { interval, ..OutlierSpec::default() })
}

fn cluster(endpoints: Vec<EndpointSpec>, resilience: ResilienceSpec) -> Arc<Cluster> {
    watched_cluster(endpoints, BalancePolicy::RoundRobin, resilience).0
}

fn two() -> Vec<EndpointSpec> {
    ["127.0.0.1:1", "127.0.0.1:2"].map(endpoint).into()
}

fn watching(clusters: &[&Arc<Cluster>]) -> (HealthMonitor, Arc<HealthMetrics>) {
    let (_, proposals) = EjectionSender::channel();
    let metrics = Arc::default();
    let mut monitor = HealthMonitor::new(&metrics, proposals, None, 10);
    monitor.begin(weak(clusters)).unwrap();
    (monitor, metrics)
}

fn weak(clusters: &[&Arc<Cluster>]) -> Vec<Weak<Cluster>> {
    clusters.iter().map(|cluster| Arc::downgrade(cluster)).collect()
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain for {what}");
        thread::yield_now();
    }
}

fn is_available(cluster: &Cluster, index: usize) -> bool {
    cluster.current().endpoint_health(index).unwrap().is_available()
}

#[test]
fn after_a_panic_of_the_loop_no_endpoint_stays_ejected() {
    let resilience = ResilienceSpec { outlier: outliers(TOO_LONG), ..ResilienceSpec::default() };
    let panics = cluster(two(), resilience);
    panics.current().endpoint_health(0).unwrap().set_ejected(true, Instant::now());
    panics.refresh_available(Instant::now());
    let (_monitor, metrics) = watching(&[&panics]);
    wait_until("a panic", || metrics.panics.get() > 0);
    wait_until("its return", || panics.current().is_selectable(0));
    assert!(is_available(&panics, 0));
}

#[test]
fn after_a_panic_the_thread_follows_the_next_configuration() {
    let resilience = ResilienceSpec { outlier: outliers(TOO_LONG), ..ResilienceSpec::default() };
    let panics = cluster(two(), resilience);
    let (mut monitor, metrics) = watching(&[&panics]);
    wait_until("a panic", || metrics.panics.get() > 0);
    let refuses =
        ResilienceSpec { checks: vec![check(Duration::from_secs(5))], ..ResilienceSpec::default() };
    let checked = cluster(two(), refuses);
    monitor.watch(weak(&[&checked]));
    wait_until("checks", || !is_available(&checked, 0) && !is_available(&checked, 1));
}

#[test]
fn a_panic_of_a_check_is_one_of_the_thread() {
    let checks = vec![check(TOO_LONG)];
    let panics = cluster(two(), ResilienceSpec { checks, ..ResilienceSpec::default() });
    let (_monitor, metrics) = watching(&[&panics]);
    wait_until("two panics", || metrics.panics.get() > 1);
    assert!(is_available(&panics, 0));
}

/// A connection that is refused.
fn check(timeout: Duration) -> HealthCheckSpec {
    let hour = Duration::from_secs(3600);
    HealthCheckSpec {
        timeout,
        intervals: CheckIntervals {
            interval: hour,
            unhealthy: hour,
            unhealthy_edge: hour,
            healthy_edge: hour,
            no_traffic: None,
            initial_jitter: Duration::ZERO,
            jitter: Duration::ZERO,
            jitter_percent: 0,
        },
        thresholds: CheckThresholds { unhealthy: 1, healthy: 1 },
        reuse_connection: false,
        checker: CheckerSpec::Tcp(TcpCheckSpec { send: Box::default(), receive: Box::default() }),
    }
}
