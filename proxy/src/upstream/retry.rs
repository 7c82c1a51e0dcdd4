//! Failover and retries: what a request may do when an endpoint fails.

/// A route's `portcullis.retry`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct RetrySpec {}
