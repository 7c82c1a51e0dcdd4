use proptest::prelude::*;

use super::*;
use crate::upstream::EnforcingSpec;

mod model;

/// A detector of so many new endpoints.
fn detector(spec: OutlierSpec, hosts: usize, now: Instant) -> OutlierDetector {
    OutlierDetector::new(&spec, vec![HostEjections::default(); hosts], now, 7)
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn reach(detector: &mut OutlierDetector, host: usize, now: Instant) -> EjectionDecision {
    detector.reached(host, EjectionTrigger::Consecutive5xx, now)
}

fn end(detector: &mut OutlierDetector, now: Instant) -> Vec<usize> {
    detector.end_interval(&[], now).returned
}

#[test]
fn one_of_few_endpoints_is_ejected_unless_a_percentage_is_written() {
    use EjectionDecision::*;
    let now = Instant::now();
    let decisions = |hosts: usize, percent: Option<u8>, always: bool| {
        let spec = OutlierSpec {
            max_ejection_percent: percent,
            always_eject_one_host: always,
            ..OutlierSpec::default()
        };
        let mut detector = detector(spec, hosts, now);
        [0, 1].map(|host| reach(&mut detector, host, now))
    };
    let eject = Eject(seconds(30));
    assert_eq!(decisions(2, None, false), [eject, TooMany]);
    assert_eq!(decisions(9, None, false), [eject, TooMany]);
    assert_eq!(decisions(10, None, false), [eject, TooMany]);
    assert_eq!(decisions(20, None, false), [eject, eject]);
    assert_eq!(decisions(1, None, false), [TooMany, Ignore], "the only one");
    assert_eq!(decisions(9, Some(10), false), [TooMany, TooMany], "Envoy's arithmetic");
    assert_eq!(decisions(2, Some(50), false), [eject, TooMany]);
    assert_eq!(decisions(2, Some(100), false), [eject, eject]);
    assert_eq!(decisions(2, Some(0), true), [eject, TooMany]);
    assert_eq!(decisions(1, None, true), [eject, Ignore]);
}

#[test]
fn each_ejection_in_a_row_is_longer_up_to_the_longest() {
    let start = Instant::now();
    let spec = OutlierSpec { max_ejection_time: seconds(80), ..OutlierSpec::default() };
    let mut detector = detector(spec, 2, start);
    let mut now = start;
    let mut lasted = Vec::new();
    for _ in 0..4 {
        let EjectionDecision::Eject(lasts) = reach(&mut detector, 0, now) else { panic!() };
        lasted.push(lasts.as_secs());
        assert!(end(&mut detector, now + lasts - Duration::from_millis(1)).is_empty());
        now += lasts;
        assert_eq!(end(&mut detector, now), [0]);
    }
    assert_eq!(lasted, [30, 60, 80, 80]);
}

#[test]
fn each_interval_without_an_ejection_forgives_one() {
    let start = Instant::now();
    let mut detector = detector(OutlierSpec::default(), 2, start);
    let mut now = start;
    for _ in 0..2 {
        let EjectionDecision::Eject(lasts) = reach(&mut detector, 0, now) else { panic!() };
        now += lasts;
        assert_eq!(end(&mut detector, now), [0]);
    }
    assert_eq!(detector.hosts[0].in_a_row, 2, "the interval in which it returned does not count");
    for left in [1, 0, 0] {
        now += seconds(10);
        assert!(end(&mut detector, now).is_empty());
        assert_eq!(detector.hosts[0].in_a_row, left);
    }
    assert_eq!(reach(&mut detector, 0, now), EjectionDecision::Eject(seconds(30)));
}

#[test]
fn an_outlier_that_is_only_detected_stays() {
    let now = Instant::now();
    let enforcing = EnforcingSpec { consecutive_5xx: 0, ..EnforcingSpec::default() };
    let spec = OutlierSpec { enforcing, ..OutlierSpec::default() };
    let mut detector = detector(spec, 2, now);
    assert_eq!(reach(&mut detector, 0, now), EjectionDecision::NotEnforced);
    assert!(!detector.is_ejected(0));
    let gateway = EjectionTrigger::ConsecutiveGatewayFailure;
    assert_eq!(detector.reached(0, gateway, now), EjectionDecision::NotEnforced, "by default");
}

#[test]
fn a_chance_of_half_ejects_about_half() {
    let now = Instant::now();
    let enforcing = EnforcingSpec { consecutive_5xx: 50, ..EnforcingSpec::default() };
    let max_ejection_percent = Some(100);
    let spec = OutlierSpec { enforcing, max_ejection_percent, ..OutlierSpec::default() };
    let mut detector = detector(spec, 1000, now);
    let ejected = (0..1000)
        .filter(|host| matches!(reach(&mut detector, *host, now), EjectionDecision::Eject(_)));
    assert!((400..600).contains(&ejected.count()));
}

#[test]
fn a_check_that_succeeds_ends_an_ejection_if_that_is_wanted() {
    let now = Instant::now();
    for wanted in [true, false] {
        let spec = OutlierSpec {
            successful_active_health_check_uneject_host: wanted,
            ..OutlierSpec::default()
        };
        let mut detector = detector(spec, 2, now);
        assert!(!detector.check_succeeded(0, now), "it is not ejected");
        reach(&mut detector, 0, now);
        assert_eq!(detector.check_succeeded(0, now), wanted);
        assert_eq!(detector.is_ejected(0), !wanted);
    }
}

#[test]
fn the_worst_rate_is_ejected_if_not_all_may_be() {
    let now = Instant::now();
    let enforcing = EnforcingSpec { failure_percentage: 100, ..EnforcingSpec::default() };
    let spec = OutlierSpec { enforcing, max_ejection_percent: Some(20), ..OutlierSpec::default() };
    let mut detector = detector(spec, 5, now);
    let rates = [100, 10, 0, 100, 100].map(|successes| IntervalRates {
        external: RequestRates { requests: 100, successes },
        ..IntervalRates::default()
    });
    let result = detector.end_interval(&rates, now + seconds(10));
    let by_failures = |host, decision| DetectedOutlier {
        host,
        reason: EjectionReason::FailurePercentage,
        decision,
    };
    assert_eq!(
        result.outliers,
        [
            by_failures(2, EjectionDecision::Eject(seconds(30))),
            by_failures(1, EjectionDecision::TooMany),
        ]
    );
}

#[test]
fn the_longest_ejection_grows_with_the_base_if_it_is_not_written() {
    let now = Instant::now();
    let spec = OutlierSpec { base_ejection_time: seconds(600), ..OutlierSpec::default() };
    let mut detector = detector(spec, 2, now);
    assert_eq!(reach(&mut detector, 0, now), EjectionDecision::Eject(seconds(600)));
}
