//! What a route configures for upstreams that fail, from several keys of its own.

use std::sync::Arc;

use super::{super::section::Section, health_checks::health_checks};
use crate::upstream::ResilienceSpec;

/// `None` if the route configures nothing of it. `endpoints` is their number.
pub(super) fn resilience(route: &Section<'_>, endpoints: usize) -> Option<Arc<ResilienceSpec>> {
    let _ = endpoints;
    let spec = ResilienceSpec { checks: health_checks(route), ..ResilienceSpec::default() };
    (spec != ResilienceSpec::default()).then(|| Arc::new(spec))
}
