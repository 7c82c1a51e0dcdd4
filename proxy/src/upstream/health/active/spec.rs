//! The configuration of active health checks.

/// One item of `health_checks`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HealthCheckSpec {}
