//! Limits of a cluster.

/// A route's `circuit_breaker_thresholds`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct CircuitBreakerSpec {}
