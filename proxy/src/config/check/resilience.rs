//! What a route configures for upstreams that fail, from several keys of its own.

use std::sync::Arc;

use super::{super::section::Section, circuit_breakers, retry};
use crate::upstream::{CircuitBreakerSpec, ResilienceSpec};

/// `None` if the route configures nothing of it. `endpoints` is their number, and `limits` are those of
/// all routes.
pub(super) fn resilience(
    route: &Section<'_>,
    endpoints: usize,
    limits: &CircuitBreakerSpec,
) -> Option<Arc<ResilienceSpec>> {
    let _ = endpoints;
    let spec = ResilienceSpec {
        retry: retry::retry(route),
        limits: circuit_breakers::limits(route, limits),
        ..ResilienceSpec::default()
    };
    (spec != ResilienceSpec::default()).then(|| Arc::new(spec))
}
