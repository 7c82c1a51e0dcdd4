use crate::{
    config::tests::support::{config_of, errors, warnings, with_certificate},
    http::ActionSpec,
    upstream::CircuitBreakerSpec,
};

const ROUTE: &str = "routes:\n- from: https://a.example\n  to: http://b\n";

fn limits(yaml: &str, variables: &[(&str, &str)]) -> CircuitBreakerSpec {
    let config = config_of(&with_certificate(yaml), variables);
    let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!("not a proxy") };
    let resilience = proxy.cluster.resilience.as_ref();
    resilience.map_or_else(Default::default, |resilience| resilience.limits.clone())
}

#[test]
fn nothing_is_limited_unless_it_is_written() {
    assert_eq!(limits(ROUTE, &[]), CircuitBreakerSpec::default());
}

#[test]
fn a_route_overrides_single_limits_in_any_spelling() {
    let global = "circuit_breaker_thresholds: {max_requests: 5, maxRetries: '3'}\n";
    let route = "  circuit_breaker_thresholds: {maxRequests: 7, max_pending_requests: 0}\n";
    let expected = CircuitBreakerSpec {
        max_requests: Some(7),
        max_pending_requests: Some(0),
        max_retries: Some(3),
        max_connections: None,
    };
    assert_eq!(limits(&format!("{global}{ROUTE}{route}"), &[]), expected);
}

#[test]
fn the_environment_gives_limits_as_json() {
    let variable = ("CIRCUIT_BREAKER_THRESHOLDS", r#"{"maxConnections": 9}"#);
    let expected = CircuitBreakerSpec { max_connections: Some(9), ..Default::default() };
    assert_eq!(limits(ROUTE, &[variable]), expected);
}

#[test]
fn mistakes_in_limits_are_told_with_their_place() {
    let wrong = format!("{ROUTE}  circuit_breaker_thresholds: {{max_requests: -1}}\n");
    let at = "routes[0].circuit_breaker_thresholds.max_requests";
    let errors = errors(&wrong);
    assert!(errors.iter().any(|error| error.contains(at)), "{errors:?}");
    let odd = "circuit_breaker_thresholds: {max_connection_pools: 1, max_request: 4}\n";
    let warnings = warnings(&format!("{odd}{ROUTE}"));
    for key in ["max_connection_pools: has no effect", "max_request"] {
        let is_told = |warning: &String| warning.contains(key);
        assert!(warnings.iter().any(is_told), "{key}: {warnings:?}");
    }
}
