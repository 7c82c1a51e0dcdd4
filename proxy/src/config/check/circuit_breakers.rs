//! `circuit_breaker_thresholds`, of all routes or of one.

use super::{super::section::Section, proto_json};
use crate::upstream::CircuitBreakerSpec;

const KEY: &str = "circuit_breaker_thresholds";

/// The limits, where the section does not say otherwise those of `defaults`.
pub(super) fn limits(section: &Section<'_>, defaults: &CircuitBreakerSpec) -> CircuitBreakerSpec {
    let Some(message) = section.child(KEY) else { return defaults.clone() };
    let limit = |key, default| limit(&message, key).or(default);
    CircuitBreakerSpec {
        max_connections: limit("max_connections", defaults.max_connections),
        max_pending_requests: limit("max_pending_requests", defaults.max_pending_requests),
        max_requests: limit("max_requests", defaults.max_requests),
        max_retries: limit("max_retries", defaults.max_retries),
    }
}

fn limit(message: &Section<'_>, key: &str) -> Option<u32> {
    let limit = proto_json::number(message, key, 0..=u32::MAX)?;
    if limit == 0 && matches!(key, "max_requests" | "max_pending_requests") {
        message.warn(key, "is 0: requests that need it get 503");
    }
    Some(limit)
}

#[cfg(test)]
mod tests;
