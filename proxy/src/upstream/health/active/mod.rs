//! Active health checks.

mod spec;

pub(crate) use spec::HealthCheckSpec;
