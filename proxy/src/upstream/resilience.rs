//! What a route configures for upstreams that fail.

use std::time::Duration;

use super::{
    breaker::CircuitBreakerSpec,
    health::{HealthCheckSpec, OutlierSpec},
    retry::RetrySpec,
};

/// What a route configures for upstreams that fail. A route that configures nothing of it has none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ResilienceSpec {
    /// `health_checks`.
    pub checks: Vec<HealthCheckSpec>,
    /// `outlier_detection`; `None` ejects no endpoint.
    pub outlier: Option<OutlierSpec>,
    /// `healthy_panic_threshold`, 0 to 100: if fewer endpoints are available, all are used.
    pub panic_threshold_percent: u8,
    /// `portcullis.slow_start`: how long an endpoint that came back gets less than its share.
    pub slow_start: Option<Duration>,
    /// `portcullis.retry`.
    pub retry: RetrySpec,
    /// `circuit_breaker_thresholds`.
    pub limits: CircuitBreakerSpec,
}

impl ResilienceSpec {
    /// Envoy's default for the panic threshold.
    pub(crate) const DEFAULT_PANIC_THRESHOLD_PERCENT: u8 = 50;

    /// Whether the state of endpoints is kept: without checks and ejection, all are available.
    pub(super) fn watches_health(&self) -> bool {
        !self.checks.is_empty() || self.outlier.is_some()
    }
}

impl Default for ResilienceSpec {
    fn default() -> ResilienceSpec {
        ResilienceSpec {
            checks: Vec::new(),
            outlier: None,
            panic_threshold_percent: ResilienceSpec::DEFAULT_PANIC_THRESHOLD_PERCENT,
            slow_start: None,
            retry: RetrySpec::default(),
            limits: CircuitBreakerSpec::default(),
        }
    }
}
