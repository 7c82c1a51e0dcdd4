//! What is said of `outlier_detection` and of what goes with it, and how they are read.

use std::time::Duration;

use super::{assert_route_errors, assert_route_warnings, route};
use crate::{
    config::tests::support::config,
    http::ActionSpec,
    upstream::{EnforcingSpec, OutlierSpec, ResilienceSpec},
};

const TWO: &str = "to: [http://b, http://c]";

fn resilience(keys: &str) -> Option<ResilienceSpec> {
    let config = config(&route(keys));
    let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!("no proxy") };
    proxy.cluster.resilience.as_deref().cloned()
}

fn outlier(keys: &str) -> OutlierSpec {
    let resilience = resilience(&format!("{TWO}\noutlier_detection: {{{keys}}}"));
    resilience.and_then(|spec| spec.outlier).expect("it ejects")
}

#[test]
fn an_empty_message_has_envoys_defaults() {
    assert_eq!(outlier(""), OutlierSpec::default());
    assert_eq!(resilience(TWO), None, "nothing is kept where nothing is configured");
}

#[test]
fn keys_are_read_in_each_of_protobufs_spellings() {
    let expected = OutlierSpec {
        consecutive_5xx: 3,
        interval: Duration::from_millis(2500),
        max_ejection_percent: Some(50),
        enforcing: EnforcingSpec { consecutive_5xx: 10, ..EnforcingSpec::default() },
        ..OutlierSpec::default()
    };
    for keys in [
        "consecutive_5xx: 3, interval: 2.5s, max_ejection_percent: 50, enforcing_consecutive_5xx: 10",
        "consecutive5xx: '3', interval: 2.5s, maxEjectionPercent: 50.0, enforcingConsecutive5xx: '10'",
        "consecutive5xx: 3, interval: 2500ms, maxEjectionPercent: 50, enforcingConsecutive5xx: 10",
    ] {
        assert_eq!(outlier(keys), expected, "{keys}");
    }
}

#[test]
fn a_panic_threshold_and_a_slow_start_are_read_beside_it() {
    let keys = "outlier_detection: {}\nhealthy_panic_threshold: 0\nportcullis: {slow_start: 1m}";
    let spec = resilience(&format!("{TWO}\n{keys}")).unwrap();
    assert_eq!(spec.panic_threshold_percent, 0);
    assert_eq!(spec.slow_start, Some(Duration::from_secs(60)));
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let detection = |keys: &str| format!("{TWO}\noutlier_detection:\n  {keys}");
    for (keys, problem) in [
        ("interval: 0s", "interval: must be longer than zero"),
        ("interval: 1ms", "interval: is shorter than 10ms"),
        ("base_ejection_time: 0s", "base_ejection_time: must be longer than zero"),
        (
            "max_ejection_time: 29s",
            "max_ejection_time: 29s is shorter than `base_ejection_time`, which is 30s",
        ),
        ("max_ejection_percent: 101", "max_ejection_percent: 101 is not from 0 to 100"),
        ("enforcing_success_rate: -1", "enforcing_success_rate: -1 is not from 0 to 100"),
        ("consecutive_5xx: many", "consecutive_5xx: expected a whole number"),
    ] {
        let expected = format!("config.yaml:6: routes[0].outlier_detection.{problem}");
        assert_route_errors(&[(&detection(keys), &[&expected])]);
    }
    assert_route_errors(&[(
        "to: http://b\nhealthy_panic_threshold: 101",
        &["config.yaml:5: routes[0].healthy_panic_threshold: 101 is not from 0 to 100"],
    )]);
}

#[test]
fn a_percentage_that_ejects_nobody_is_told() {
    assert_route_warnings(&[
        (&format!("{TWO}\noutlier_detection: {{max_ejection_percent: 50}}"), &[]),
        (&format!("{TWO}\noutlier_detection: {{always_eject_one_host: true}}"), &[]),
        (
            &format!("{TWO}\noutlier_detection: {{max_ejection_percent: 49}}"),
            &[
                "config.yaml:5: routes[0].outlier_detection.max_ejection_percent: no endpoint is ever \
               ejected: 49 % of 2 is less than one (write at least 50, or always_eject_one_host: true)",
            ],
        ),
        (
            &format!("{TWO}\noutlier_detection: {{}}"),
            &[
                "config.yaml:5: routes[0].outlier_detection: one of 2 endpoints may be ejected at a \
               time; by Envoy's default of 10 %, none would be (write max_ejection_percent: 50 to \
               confirm it)",
            ],
        ),
        (
            "to: http://b\noutlier_detection: {}",
            &[
                "config.yaml:5: routes[0].outlier_detection: has no effect: the only endpoint is not \
               ejected (write a second URL in `to`)",
            ],
        ),
    ]);
}

#[test]
fn keys_without_effect_are_told() {
    let why = "has no effect without `health_checks` or `outlier_detection`";
    assert_route_warnings(&[
        (
            "to: http://b\nhealthy_panic_threshold: 0",
            &[&format!("config.yaml:5: routes[0].healthy_panic_threshold: {why}")],
        ),
        (
            "to: http://b\nportcullis:\n  slow_start: 5s",
            &[&format!("config.yaml:6: routes[0].portcullis.slow_start: {why}")],
        ),
        (
            "redirect: {host_redirect: b}\noutlier_detection: {}",
            &[
                "config.yaml:5: routes[0].outlier_detection: has no effect: the route has `redirect`",
            ],
        ),
    ]);
}
