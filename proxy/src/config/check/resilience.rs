//! What a route configures for upstreams that fail, from several keys of its own.

use std::{sync::Arc, time::Duration};

use super::{
    super::section::Section, circuit_breakers, health_checks::health_checks,
    outlier_detection::outlier_detection, proto_json::percent, retry,
};
use crate::upstream::{CircuitBreakerSpec, ResilienceSpec};

/// `None` if the route configures nothing of it. `endpoints` is their number, and `limits` are those of
/// all routes.
pub(super) fn resilience(
    route: &Section<'_>,
    endpoints: usize,
    limits: &CircuitBreakerSpec,
) -> Option<Arc<ResilienceSpec>> {
    let default = ResilienceSpec::default();
    let spec = ResilienceSpec {
        checks: health_checks(route),
        outlier: outlier_detection(route, endpoints),
        panic_threshold_percent: percent(route, "healthy_panic_threshold")
            .unwrap_or(default.panic_threshold_percent),
        slow_start: slow_start(route),
        retry: retry::retry(route),
        limits: circuit_breakers::limits(route, limits),
    };
    warn_of_idle_keys(route, &spec);
    (spec != default).then(|| Arc::new(spec))
}

/// 0 is the same as absent.
fn slow_start(route: &Section<'_>) -> Option<Duration> {
    let window = route.child_or_empty("portcullis").duration("slow_start")?;
    (!window.is_zero()).then_some(window)
}

fn warn_of_idle_keys(route: &Section<'_>, spec: &ResilienceSpec) {
    if !spec.checks.is_empty() || spec.outlier.is_some() {
        return;
    }
    let why = "has no effect without `health_checks` or `outlier_detection`";
    if route.has("healthy_panic_threshold") {
        route.warn("healthy_panic_threshold", why);
    }
    if spec.slow_start.is_some() {
        route.warn("portcullis.slow_start", why);
    }
}
